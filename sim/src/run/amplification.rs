//! I7: how much a node sends to an address that has proved nothing, for what comes from there.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use datagram_sim::Time;
use rtmfp_core::profile::SessionKeys;
use rtmfp_core::wire::{Chunk, PacketHeader, session_id};

/// What may be sent for a byte that came.
const TIMES: u64 = 3;
/// Bytes a second beyond that, for peers that do not pad their hellos: `max_excess_reply_bytes_per_source`, and as many
/// at once.
const EXCESS: u64 = 2_000;

/// What was sent and got between a node and an address, in startup packets (RFC 7016 §3.5.1). Bytes are UDP payload.
#[derive(Clone, Copy, Debug, Default)]
struct Exchange {
    /// When something came first.
    since: Time,
    got: u64,
    sent: u64,
    /// The node opens a session to the address itself, or has got a cookie back from there.
    free: bool,
}

/// Counts the startup packets of all nodes.
#[derive(Debug)]
pub(super) struct Amplification {
    /// Nodes that are judged, and their keys for startup packets.
    nodes: BTreeMap<u32, Box<dyn SessionKeys>>,
    exchanges: BTreeMap<(u32, SocketAddr), Exchange>,
}

impl Amplification {
    /// Judges these nodes, who have these startup keys.
    pub(super) const fn new(nodes: BTreeMap<u32, Box<dyn SessionKeys>>) -> Self {
        Self { nodes, exchanges: BTreeMap::new() }
    }

    /// The plain packet, if it is a startup packet that the node understands, or has sent itself.
    fn startup(&mut self, node: u32, datagram: &[u8]) -> Option<Vec<u8>> {
        let keys = self.nodes.get_mut(&node)?;
        let (id, at) = session_id::unscramble(datagram)?;
        let mut packet = datagram.get(at..).filter(|_| id == 0)?.to_vec();
        let plain = keys.open(&mut packet).ok()?;
        packet.get(plain).map(<[u8]>::to_vec)
    }

    /// A datagram from `from` reached node `node`.
    pub(super) fn got(&mut self, now: Time, node: u32, from: SocketAddr, datagram: &[u8]) {
        if self.startup(node, datagram).is_some() {
            let exchange = self.exchanges.entry((node, from)).or_default();
            if exchange.got == 0 {
                exchange.since = now;
            }
            exchange.got += datagram.len() as u64;
        }
    }

    /// Node `node` sent a datagram to `to`. Returns what is wrong with that.
    pub(super) fn sent(&mut self, now: Time, node: u32, to: SocketAddr, datagram: &[u8]) -> Option<String> {
        let plain = self.startup(node, datagram)?;
        let (_, chunks) = PacketHeader::parse(&plain).ok()?;
        let exchange = self.exchanges.entry((node, to)).or_default();
        for chunk in chunks {
            exchange.free |=
                matches!(chunk, Ok(Chunk::InitiatorHello(_) | Chunk::InitiatorKeying(_) | Chunk::ResponderKeying(_)));
        }
        // Nothing came from whom an introducer named.
        if exchange.free || exchange.got == 0 {
            return None;
        }
        exchange.sent += datagram.len() as u64;
        let Exchange { since, got, sent, .. } = *exchange;
        let excess = EXCESS * (1 + now.since(since).as_nanos() / 1_000_000_000);
        (sent > TIMES * got + excess)
            .then(|| format!("I7 (RFC 7016 §5): {sent} bytes sent to {to}, from where {got} came"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtmfp::ToyProfile;
    use rtmfp_core::profile::{CryptoProfile, Span};
    use rtmfp_core::wire::{InitiatorHello, Mode, PacketWriter, ResponderKeying};

    fn datagram(fill: impl FnOnce(&mut PacketWriter<'_>) -> bool) -> Vec<u8> {
        let mut plain = Vec::new();
        let mut writer = PacketWriter::new(&mut plain, 1_000);
        assert!(writer.header(&PacketHeader::new(Mode::Startup)) && fill(&mut writer));
        let mut keys = ToyProfile::new(1).default_keys();
        let sealed = keys.sealed_len(0, plain.len());
        let len = plain.len();
        plain.resize(sealed, 0);
        keys.seal(&mut plain, &[Span { start: 0, front: 0, plain: len, sealed }]);
        let mut datagram = session_id::scramble(0, &plain).to_vec();
        datagram.extend_from_slice(&plain);
        datagram
    }

    #[test]
    fn more_than_three_times_what_came_and_the_excess_is_seen() {
        let now = Time::ZERO;
        let (stranger, other) = (([192, 0, 2, 1], 1).into(), ([192, 0, 2, 2], 1).into());
        let mut amplification = Amplification::new(BTreeMap::from([(7, ToyProfile::new(1).default_keys())]));
        let answer = datagram(|writer| writer.push_with(0x70, |out| out.extend_from_slice(&[0; 40])));
        // Nothing came: named by an introducer.
        assert_eq!(amplification.sent(now, 7, stranger, &answer), None);
        amplification.got(now, 7, stranger, &answer);
        let free = 3 + EXCESS / answer.len() as u64;
        for _ in 0..free {
            assert_eq!(amplification.sent(now, 7, stranger, &answer), None);
        }
        let fault = amplification.sent(now, 7, stranger, &answer);
        assert!(fault.is_some_and(|fault| fault.starts_with("I7 ")));
        // Whom the node calls itself, or who has answered with a cookie, is not a stranger.
        let hello = datagram(|writer| writer.push(&InitiatorHello { discriminator: &[1], tag: &[2] }));
        let signed = ResponderKeying::signed_parameters(1, &[3]);
        let keying = ResponderKeying::from_signed(&signed, &[4]).unwrap();
        let keying = datagram(|writer| writer.push(&keying));
        for (to, first) in [(other, &hello), (([192, 0, 2, 3], 1).into(), &keying)] {
            amplification.got(now, 7, to, &answer);
            assert_eq!(amplification.sent(now, 7, to, first), None);
            assert!((0..free + 9).all(|_| amplification.sent(now, 7, to, &answer).is_none()));
        }
    }
}
