//! The messages of NAT-PMP (RFC 6886), which came before PCP: the external address, and a mapping for UDP.

use core::net::Ipv4Addr;
use core::time::Duration;

use alloc::vec::Vec;

use super::Refusal;

const VERSION: u8 = 0;
const EXTERNAL_ADDRESS: u8 = 0;
const MAP_UDP: u8 = 1;
const RESPONSE: u8 = 0x80;

/// Asks for the gateway's external address (§3.2).
pub(super) const ASK_EXTERNAL_ADDRESS: [u8; 2] = [VERSION, EXTERNAL_ADDRESS];

/// Asks for a mapping (§3.3), or with a lifetime of nothing for its end (§3.4).
pub(super) fn request(internal_port: u16, suggested_port: u16, lifetime: Duration) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(12);
    bytes.extend([VERSION, MAP_UDP, 0, 0]);
    bytes.extend(internal_port.to_be_bytes());
    // The end of a mapping suggests no port.
    bytes.extend(if lifetime.is_zero() { 0 } else { suggested_port }.to_be_bytes());
    bytes.extend(u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX).to_be_bytes());
    bytes
}

/// What a gateway has said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Response {
    ExternalAddress(Ipv4Addr),
    Mapping { external_port: u16, lifetime: Duration },
}

/// Reads a response about this internal port. `None` for what is none.
pub(super) fn response(bytes: &[u8], internal_port: u16) -> Option<Result<Response, Refusal>> {
    let (&[VERSION, kind, high, low], rest) = bytes.split_first_chunk::<4>()? else { return None };
    let refusal = match u16::from_be_bytes([high, low]) {
        0 => None,
        1 | 5 => Some(Refusal::Version),
        2 => Some(Refusal::NotAuthorised),
        3 => Some(Refusal::NoNetwork),
        4 => Some(Refusal::NoRoom),
        other => Some(Refusal::Other(other)),
    };
    if let Some(refusal) = refusal {
        return (kind & RESPONSE != 0).then_some(Err(refusal));
    }
    // The seconds since the gateway keeps mappings tell nothing new: each response is about the one mapping there is.
    let (_epoch, rest) = rest.split_first_chunk::<4>()?;
    if kind == RESPONSE | EXTERNAL_ADDRESS {
        return Some(Ok(Response::ExternalAddress(Ipv4Addr::from(*rest.first_chunk::<4>()?))));
    }
    let &[i1, i2, e1, e2, l1, l2, l3, l4] = rest.first_chunk::<8>()?;
    let is_ours = kind == RESPONSE | MAP_UDP && u16::from_be_bytes([i1, i2]) == internal_port;
    let lifetime = Duration::from_secs(u32::from_be_bytes([l1, l2, l3, l4]).into());
    is_ours.then_some(Ok(Response::Mapping { external_port: u16::from_be_bytes([e1, e2]), lifetime }))
}
