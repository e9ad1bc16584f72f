//! A flight, from the endpoint's buffer into a socket.

use core::net::IpAddr;
use std::io;

use quinn_udp::{EcnCodepoint, UdpSocketState};
use rtmfp_core::Transmit;

use crate::socket::Socket;

/// The most bytes that one UDP send can carry.
const SEND_MAX: usize = 65_507;
/// Datagrams up to this size are never fragmented (RFC 791: every path carries 576 bytes).
const NEVER_FRAGMENTED: usize = 548;
/// Local addresses that the system refused which are remembered.
const MAX_REFUSED: usize = 8;

/// How a socket sends, as far as it differs from flight to flight.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    /// Packets carry no don't-fragment bit now.
    fragmenting: bool,
    /// Local addresses that are gone, as the system says; the latest last.
    refused: Vec<IpAddr>,
    /// Pretends that the system's buffer is full.
    #[cfg(test)]
    pub(crate) full: bool,
}

impl Outgoing {
    /// A datagram came to this local address: it is there.
    pub(crate) fn heard_at(&mut self, local: IpAddr) {
        if !self.refused.is_empty() {
            self.refused.retain(|refused| *refused != local);
        }
    }
}

/// What became of a flight.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// Calls that sent something.
    pub(crate) sends: u64,
    /// Datagrams, or runs of them, that the system refused. They count as lost on the way.
    pub(crate) refused: u64,
    /// The last reason that it gave.
    pub(crate) error: Option<io::Error>,
    /// The socket is full: the flight from this offset on is not sent.
    pub(crate) unsent: Option<usize>,
}

impl Socket {
    /// Sends a flight from `offset` on. `segmentation`: with few calls, if the system can.
    pub(crate) fn send(&mut self, transmit: &Transmit, flight: &[u8], offset: usize, segmentation: bool) -> Sent {
        let flight = flight.get(..transmit.len).unwrap_or_default();
        let segment = transmit.segment_size.unwrap_or(transmit.len).max(1);
        // A kernel that is to fragment does not segment.
        let fragmented = transmit.may_fragment && segment > NEVER_FRAGMENTED;
        let segmentation = segmentation && !fragmented;
        self.set_fragmenting(transmit.may_fragment, segment);
        let mut sent = Sent::default();
        let (mut given_up, mut drained_at) = (None, None);
        let mut offset = offset;
        #[cfg(test)]
        if self.outgoing.full {
            sent.unsent = Some(offset);
            return sent;
        }
        while let Some(rest) = flight.get(offset..).filter(|rest| !rest.is_empty()) {
            // Asked each time: the first refusal by the kernel lowers it to one.
            let most = if segmentation { self.state.max_gso_segments() } else { 1 };
            let segments = most.min(SEND_MAX / segment).max(1);
            let part = rest.get(..segments * segment).unwrap_or(rest);
            let source = self.source(transmit.path.local);
            let outgoing = quinn_udp::Transmit {
                destination: transmit.path.remote,
                ecn: transmit.ecn.and_then(|mark| EcnCodepoint::from_bits(mark as u8)),
                contents: part,
                segment_size: (part.len() > segment).then_some(segment),
                src_ip: source,
            };
            match self.state.try_send((&*self.socket).into(), &outgoing) {
                Ok(()) => sent.sends += 1,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    sent.unsent = Some(offset);
                    return sent;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                // It may be what ICMP said of another datagram, perhaps to somebody else: this one was not tried then.
                Err(_) if self.drain_error_queue() && drained_at != Some(offset) => {
                    drained_at = Some(offset);
                    continue;
                }
                Err(_) if segments > 1 && self.state.max_gso_segments() == 1 => continue,
                Err(e) if source.is_some() && is_of_the_source(&e) && self.refuse(source).is_ok() => {
                    self.set_fragmenting(transmit.may_fragment, segment);
                    given_up = source;
                    continue;
                }
                // No route, too long, refused: for the protocol a datagram lost on the way.
                Err(e) => {
                    // It was not the source, if it fails without one too.
                    if let Some(local) = given_up.take() {
                        self.outgoing.heard_at(local);
                    }
                    sent.refused += 1;
                    sent.error = Some(e);
                }
            }
            offset += part.len();
        }
        sent
    }

    /// The local address to send from. A socket that is bound to one needs none, and an address that is gone would let
    /// nothing out any more: the system chooses another, and the far end learns of that.
    fn source(&self, local: Option<IpAddr>) -> Option<IpAddr> {
        local.filter(|local| self.is_wildcard() && !self.outgoing.refused.contains(local))
    }

    /// The system does not send from this address.
    fn refuse(&mut self, source: Option<IpAddr>) -> io::Result<()> {
        // What the system refused for its source was taken for a lack of features, which would be missed for good.
        self.state = UdpSocketState::new((&*self.socket).into())?;
        self.outgoing.fragmenting = false;
        self.outgoing.refused.extend(source);
        if self.outgoing.refused.len() > MAX_REFUSED {
            self.outgoing.refused.remove(0);
        }
        Ok(())
    }

    /// Whether IPv4 packets of this size carry the don't-fragment bit. It is a setting of the socket, so it is changed
    /// only when that matters.
    fn set_fragmenting(&mut self, fragmenting: bool, segment: usize) {
        if segment <= NEVER_FRAGMENTED || self.outgoing.fragmenting == fragmenting {
            return;
        }
        self.outgoing.fragmenting = fragmenting;
        // IPv6 has no such bit, and every path carries 1,280 bytes. On other systems the bit stays.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if self.local_addr().is_ipv4() {
            use rustix::net::sockopt::{Ipv4PathMtuDiscovery, set_ip_mtu_discover};
            let mode = if fragmenting { Ipv4PathMtuDiscovery::DONT } else { Ipv4PathMtuDiscovery::PROBE };
            // A refusal leaves things as they were, which is what other systems do.
            let _ = set_ip_mtu_discover(&*self.socket, mode);
        }
    }
}

/// Whether the system may have refused to send because the source address is none of its own (any more).
fn is_of_the_source(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidInput
            | io::ErrorKind::AddrNotAvailable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
    )
}

#[cfg(test)]
mod tests;
