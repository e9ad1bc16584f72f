//! The Port Control Protocol's messages (RFC 6887): MAP alone.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use alloc::vec::Vec;

use super::Refusal;

const VERSION: u8 = 2;
const MAP: u8 = 1;
const RESPONSE: u8 = 0x80;
const UDP: u8 = 17;
const UNSUPPORTED_VERSION: u8 = 1;
/// Bytes of a request or response with MAP: a header of 24 and 36 of its own (§7.1, §11.1).
const MAP_LENGTH: usize = 60;
/// No message is longer (§7).
const MAX_LENGTH: usize = 1_100;

/// The secret of a mapping: a response without it is nobody's (§11.2).
pub(super) type Nonce = [u8; 12];

/// A request for a mapping of `internal`, or with a lifetime of nothing for its end (§15).
pub(super) fn request(
    internal: SocketAddr,
    nonce: &Nonce,
    suggested: Option<SocketAddr>,
    lifetime: Duration,
) -> Vec<u8> {
    let none = SocketAddr::new(unspecified_like(internal.ip()), 0);
    let suggested = suggested.unwrap_or(none);
    let mut bytes = Vec::with_capacity(MAP_LENGTH);
    bytes.extend([VERSION, MAP, 0, 0]);
    bytes.extend(u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend(octets(internal.ip()));
    bytes.extend(nonce);
    bytes.extend([UDP, 0, 0, 0]);
    bytes.extend(internal.port().to_be_bytes());
    bytes.extend(suggested.port().to_be_bytes());
    bytes.extend(octets(suggested.ip()));
    bytes
}

/// The same address in 16 bytes, those of IPv4 mapped (§5).
fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

const fn unspecified_like(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

/// What a response says of the mapping with this nonce and internal port: its external address and lifetime. `None` for
/// what is no response to it (§11.4).
pub(super) fn response(
    bytes: &[u8],
    nonce: &Nonce,
    internal_port: u16,
) -> Option<Result<(SocketAddr, Duration), Refusal>> {
    if bytes.len() > MAX_LENGTH {
        return None;
    }
    // A gateway that knows NAT-PMP alone answers like this, whatever it was asked (RFC 6886 §3.5). Some keep the operation.
    if let &[0, 0 | 0x81, 0, 1, ..] = bytes {
        return Some(Err(Refusal::Version));
    }
    let &[version, kind, _, code, a, b, c, d] = bytes.first_chunk::<8>()?;
    // Of another version, or about another version than this: no answer to what is asked here (§9).
    if version != VERSION || kind != RESPONSE | MAP || code == UNSUPPORTED_VERSION || !bytes.len().is_multiple_of(4) {
        return None;
    }
    let lifetime = Duration::from_secs(u32::from_be_bytes([a, b, c, d]).into());
    let map = bytes.get(24..MAP_LENGTH)?;
    let (theirs, map) = map.split_first_chunk::<12>()?;
    let (&[protocol, ..], map) = map.split_first_chunk::<4>()?;
    let (port, map) = map.split_first_chunk::<2>()?;
    let (external_port, map) = map.split_first_chunk::<2>()?;
    if theirs != nonce || protocol != UDP || u16::from_be_bytes(*port) != internal_port {
        return None;
    }
    let ip = IpAddr::V6(Ipv6Addr::from(*map.first_chunk::<16>()?)).to_canonical();
    let external = SocketAddr::new(ip, u16::from_be_bytes(*external_port));
    Some(match code {
        0 => Ok((external, lifetime)),
        2 => Err(Refusal::NotAuthorised),
        7 => Err(Refusal::NoNetwork),
        8 | 10 | 11 => Err(Refusal::NoRoom),
        code => Err(Refusal::Other(code.into())),
    })
}
