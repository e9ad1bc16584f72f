//! Startup packets on their way out: sealed with the Default Session Key (RFC 7016 §2.2.3), outside any session.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::profile::SessionKeys;
use crate::transmit::{Path, Span, Transmit, TransmitBuf};
use crate::wire::{self, EncodeChunk, Mode, PacketHeader, PacketWriter};

/// Answers to strangers that may wait to be sent.
const MAX_REPLIES: usize = 256;
/// This end's own hellos and keyings that may wait to be sent: what all opening sessions may send at once.
const MAX_OWN: usize = 4_096;
/// The largest plain packet of startup, a chunk's own limit apart.
const MAX_PLAIN: usize = 65_000;

/// A plain startup packet and where it goes.
#[derive(Clone, Debug)]
pub(super) struct StartupPacket {
    pub(super) path: Path,
    /// 0, or the session ID that the initiator asked for (§2.3.6, §2.3.8).
    pub(super) session_id: u32,
    pub(super) plain: Vec<u8>,
}

impl StartupPacket {
    /// A packet of one chunk.
    pub(super) fn new(path: Path, session_id: u32, chunk: &impl EncodeChunk) -> Self {
        let mut plain = Vec::with_capacity(4 + chunk.payload_len());
        let mut writer = PacketWriter::new(&mut plain, MAX_PLAIN);
        writer.header(&PacketHeader::new(Mode::Startup));
        writer.push(chunk);
        Self { path, session_id, plain }
    }
}

/// Startup packets in the order in which they are to be sent: this end's own before answers to strangers, so that
/// a flood of hellos does not keep this end from opening sessions.
#[derive(Debug, Default)]
pub(super) struct StartupQueue {
    own: VecDeque<StartupPacket>,
    replies: VecDeque<StartupPacket>,
}

impl StartupQueue {
    /// Queues a packet of this end's own. Beyond the limit it is dropped, and its backoff will bring it again.
    pub(super) fn push_own(&mut self, packet: StartupPacket) {
        if self.own.len() < MAX_OWN {
            self.own.push_back(packet);
        }
    }

    /// Queues an answer to a stranger; false if too many wait.
    pub(super) fn push_reply(&mut self, packet: StartupPacket) -> bool {
        let room = self.replies.len() < MAX_REPLIES;
        if room {
            self.replies.push_back(packet);
        }
        room
    }

    /// Seals the next packet into `buf`.
    pub(super) fn poll(&mut self, buf: &mut TransmitBuf, keys: &mut dyn SessionKeys) -> Option<Transmit> {
        let StartupPacket { path, session_id, plain } = self.own.pop_front().or_else(|| self.replies.pop_front())?;
        let front = keys.front_len(0);
        let start = wire::session_id::LEN;
        let span = Span { start, front, plain: plain.len(), sealed: keys.sealed_len(front, plain.len()) };
        let (bytes, packets) = buf.parts_mut();
        bytes.resize(start + front, 0);
        bytes.extend_from_slice(&plain);
        bytes.resize(start + span.sealed, 0);
        keys.seal(bytes, &[span]);
        if let Some((id, encrypted)) = bytes.split_at_mut_checked(start) {
            id.copy_from_slice(&wire::session_id::scramble(session_id, encrypted));
        }
        packets.push(span);
        Some(Transmit { path, ecn: None, len: start + span.sealed, segment_size: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transmit::InterfaceId;
    use crate::wire::Ping;

    fn packet(port: u16) -> StartupPacket {
        let remote = core::net::SocketAddr::from(([192, 0, 2, 1], port));
        StartupPacket::new(Path { interface: InterfaceId(0), remote }, 0, &Ping { message: b"x" })
    }

    #[test]
    fn a_flood_of_replies_is_bounded_and_does_not_delay_own_packets() {
        let mut queue = StartupQueue::default();
        assert_eq!((0..10_000).filter(|_| queue.push_reply(packet(1))).count(), MAX_REPLIES);
        (0..10_000).for_each(|_| queue.push_own(packet(2)));
        assert_eq!(queue.own.len(), MAX_OWN);
        assert_eq!(queue.own.front().map(|packet| packet.path.remote.port()), Some(2));
    }
}
