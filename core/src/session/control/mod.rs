//! What a session has to send besides user data, acknowledgements and closes: pings and their replies, forwarded hellos.
//! None of it is ever held back by the congestion window, and all of it is bounded.

pub(super) mod liveness;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::transmit::Path;
use crate::wire::{Address, AddressOrigin, ForwardedHello, PacketWriter, PingReply};

/// Ping replies that wait to be sent; pings beyond are ignored.
pub(super) const MAX_REPLIES: usize = 8;
/// Bytes of all ping replies that wait to be sent.
pub(super) const MAX_REPLY_BYTES: usize = 4_096;
/// Forwarded hellos that wait to be sent.
pub(super) const MAX_FORWARDS: usize = 32;
/// Packets that wait to be sent over another path than the session's.
pub(super) const MAX_OFF_PATH: usize = 8;

/// What an entry of a queue takes beside its bytes, at most: its place in a queue that may be half empty.
const ENTRY: usize = 2 * size_of::<Forward>();

/// A packet of one chunk for another path than the session's.
#[derive(Debug)]
pub(super) struct OffPathProbe {
    pub(super) path: Path,
    pub(super) message: Vec<u8>,
    /// A Ping Reply, else a Ping.
    pub(super) reply: bool,
}

#[derive(Debug)]
struct Forward {
    discriminator: Vec<u8>,
    reply_address: SocketAddr,
    tag: Vec<u8>,
}

impl Forward {
    fn len(&self) -> usize {
        self.discriminator.len() + self.tag.len()
    }

    fn chunk(&self) -> ForwardedHello<'_> {
        // RFC 7016 §3.5.1.5: the address that the hello was seen to come from.
        let reply_address = Address { origin: AddressOrigin::Observed, socket: self.reply_address };
        ForwardedHello { discriminator: &self.discriminator, reply_address, tag: &self.tag }
    }
}

/// The queues of control chunks.
#[derive(Debug, Default)]
pub(super) struct Control {
    /// Hellos that the far end forwards to this end are not answered.
    pub(super) ignores_forwarded: bool,
    replies: VecDeque<Vec<u8>>,
    reply_bytes: usize,
    forwards: VecDeque<Forward>,
    forward_bytes: usize,
    off_path: VecDeque<OffPathProbe>,
    off_path_bytes: usize,
}

impl Control {
    /// Something waits for the session's own path.
    pub(super) fn is_due(&self) -> bool {
        !self.replies.is_empty() || !self.forwards.is_empty()
    }

    /// Bytes of memory that the queues take, at most.
    pub(super) fn memory(&self) -> usize {
        let (replies, forwards, off_path) = (self.replies.len(), self.forwards.len(), self.off_path.len());
        self.reply_bytes + self.forward_bytes + self.off_path_bytes + (replies + forwards + off_path) * ENTRY
    }

    /// Something waits for another path.
    pub(super) fn is_off_path_due(&self) -> bool {
        !self.off_path.is_empty()
    }

    /// Queues the reply to a Ping; false if too much waits.
    pub(super) fn reply(&mut self, message: &[u8]) -> bool {
        let fits = self.replies.len() < MAX_REPLIES && self.reply_bytes + message.len() <= MAX_REPLY_BYTES;
        if fits {
            self.reply_bytes += message.len();
            self.replies.push_back(message.into());
        }
        fits
    }

    /// Queues a packet for another path; false if too many wait.
    pub(super) fn queue_off_path(&mut self, probe: OffPathProbe) -> bool {
        let fits = self.off_path.len() < MAX_OFF_PATH;
        if fits {
            self.off_path_bytes += probe.message.len();
            self.off_path.push_back(probe);
        }
        fits
    }

    /// Where the next packet for another path goes.
    pub(super) fn next_off_path(&self) -> Option<Path> {
        self.off_path.front().map(|probe| probe.path)
    }

    pub(super) fn take_off_path(&mut self) -> Option<OffPathProbe> {
        let probe = self.off_path.pop_front()?;
        self.off_path_bytes -= probe.message.len();
        Some(probe)
    }

    /// Queues a forwarded hello; false if too many wait.
    pub(super) fn forward(&mut self, discriminator: &[u8], reply_address: SocketAddr, tag: &[u8]) -> bool {
        let fits = self.forwards.len() < MAX_FORWARDS;
        if fits {
            let forward = Forward { discriminator: discriminator.into(), reply_address, tag: tag.into() };
            self.forward_bytes += forward.len();
            self.forwards.push_back(forward);
        }
        fits
    }

    /// Ping replies, into a packet. Whether there was room for all.
    pub(super) fn write_replies(&mut self, packet: &mut PacketWriter<'_>) -> bool {
        while let Some(message) = self.replies.front() {
            // One that not even an empty packet holds came over a path that has got smaller since: nobody waits for it.
            if !packet.push(&PingReply { message }) && packet.has_chunks() {
                return false;
            }
            self.reply_bytes -= message.len();
            self.replies.pop_front();
        }
        true
    }

    /// Forwarded hellos, into a packet.
    pub(super) fn write_forwards(&mut self, packet: &mut PacketWriter<'_>) {
        while let Some(forward) = self.forwards.front() {
            // As for ping replies: one that fits no packet any more would wait for ever, and all behind it.
            if !packet.push(&forward.chunk()) && packet.has_chunks() {
                return;
            }
            self.forward_bytes -= forward.len();
            self.forwards.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_counted_with_its_places_in_the_queues() {
        let mut control = Control::default();
        assert_eq!(control.memory(), 0);
        assert!(control.reply(b"four") && control.reply(b"five!"));
        assert_eq!(control.memory(), 4 + 5 + 2 * ENTRY);
    }
}
