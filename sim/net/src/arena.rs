//! Where packets live: a slab with 32-bit handles, and pooled buffers that copies of a packet share.

use core::net::SocketAddr;

use crate::digest::digest;
use crate::ecn::Ecn;
use crate::time::Time;

/// A packet in the world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PacketId(pub(crate) u32);

/// What a packet is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PacketKind {
    /// A UDP datagram.
    Datagram,
    /// A "packet too big" signal about a datagram from the destination to the source of this packet.
    TooBig {
        /// The largest IP packet that would have passed.
        mtu: u32,
    },
}

/// A packet: addresses, marks, and where its bytes are.
// Two cache lines and no more: see the test below.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub struct Packet {
    /// Source, as last translated.
    pub src: SocketAddr,
    /// Destination, as last translated.
    pub dst: SocketAddr,
    /// What it is.
    pub kind: PacketKind,
    /// Its ECN field.
    pub ecn: Ecn,
    /// Must not be fragmented.
    pub dont_fragment: bool,
    /// Hops left.
    pub hops: u8,
    /// Which copy of a packet it is; 0 is the packet itself.
    pub copy: u8,
    /// Identity in the world: packets are numbered in the order in which nodes send them. Copies have their original's.
    pub uid: u64,
    /// Its number among the packets that entered the link it is on.
    pub ordinal: u64,
    /// When its node sent it.
    pub sent: Time,
    /// When it entered the link or queue that it is on.
    pub entered: Time,
    /// Bytes on the wire, IP and UDP headers and padding included.
    pub wire_len: u32,
    /// Digest of its bytes.
    pub digest: u64,
    /// The epoch of the lane that it is on; a cut link begins a new one.
    pub(crate) epoch: u32,
    pub(crate) buffer: u32,
}

impl Packet {
    /// Ordinal and copy in one, as decisions are keyed.
    pub(crate) const fn decision_ordinal(&self) -> u64 {
        self.ordinal | (self.copy as u64) << 56
    }
}

#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    users: u32,
}

/// All packets and buffers of a world. Freed ones are used again, newest first.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    packets: Vec<Packet>,
    free_packets: Vec<u32>,
    buffers: Vec<Buffer>,
    free_buffers: Vec<u32>,
}

#[expect(clippy::indexing_slicing, reason = "handles are made here and the world frees each exactly once")]
impl Arena {
    /// How many packets are alive.
    #[must_use]
    pub(crate) fn live(&self) -> usize {
        self.packets.len() - self.free_packets.len()
    }

    /// How many buffers are in use.
    #[cfg(test)]
    pub(crate) fn live_buffers(&self) -> usize {
        self.buffers.len() - self.free_buffers.len()
    }

    /// The buffer that is taken next, empty: to be filled if there is something to fill it with.
    pub(crate) fn next_buffer(&mut self) -> &mut Vec<u8> {
        let id = match self.free_buffers.last() {
            Some(&id) => id,
            None => {
                let id = u32::try_from(self.buffers.len()).unwrap_or(u32::MAX);
                self.buffers.push(Buffer::default());
                self.free_buffers.push(id);
                id
            }
        };
        let bytes = &mut self.buffers[id as usize].bytes;
        bytes.clear();
        bytes
    }

    /// Takes the buffer that [`next_buffer`](Self::next_buffer) has given, for a packet.
    pub(crate) fn take_buffer(&mut self) -> u32 {
        let Some(id) = self.free_buffers.pop() else {
            self.next_buffer();
            return self.take_buffer();
        };
        self.buffers[id as usize].users = 1;
        id
    }

    pub(crate) fn buffer_mut(&mut self, id: u32) -> &mut Vec<u8> {
        &mut self.buffers[id as usize].bytes
    }

    fn release_buffer(&mut self, id: u32) {
        let buffer = &mut self.buffers[id as usize];
        buffer.users -= 1;
        if buffer.users == 0 {
            self.free_buffers.push(id);
        }
    }

    pub(crate) fn insert(&mut self, packet: Packet) -> PacketId {
        if let Some(id) = self.free_packets.pop() {
            self.packets[id as usize] = packet;
            return PacketId(id);
        }
        self.packets.push(packet);
        PacketId(u32::try_from(self.packets.len() - 1).unwrap_or(u32::MAX))
    }

    /// The packet of a handle.
    #[must_use]
    pub(crate) fn get(&self, id: PacketId) -> &Packet {
        &self.packets[id.0 as usize]
    }

    pub(crate) fn get_mut(&mut self, id: PacketId) -> &mut Packet {
        &mut self.packets[id.0 as usize]
    }

    /// Loads both cache lines of a packet into the cache.
    pub(crate) fn prefetch(&self, id: PacketId) -> u64 {
        let packet = self.get(id);
        packet.uid ^ u64::from(packet.src.port()) ^ u64::from(packet.epoch) ^ packet.digest
    }

    /// The same for where its bytes are …
    pub(crate) fn prefetch_buffer(&self, id: PacketId) -> u64 {
        self.bytes(id).len() as u64
    }

    /// … and the first of its bytes. The processor fetches the rest by itself.
    pub(crate) fn prefetch_bytes(&self, id: PacketId) -> u64 {
        let bytes = self.bytes(id);
        let line = |at: usize| bytes.get(at).map_or(0, |&byte| u64::from(byte));
        line(0) ^ line(64)
    }

    /// The packet's bytes.
    #[must_use]
    pub(crate) fn bytes(&self, id: PacketId) -> &[u8] {
        &self.buffers[self.packets[id.0 as usize].buffer as usize].bytes
    }

    /// Another packet with the same bytes, which are shared.
    pub(crate) fn duplicate(&mut self, id: PacketId) -> PacketId {
        let packet = *self.get(id);
        self.buffers[packet.buffer as usize].users += 1;
        self.insert(packet)
    }

    /// The packet's bytes to change; a copy of its own if they are shared. The digest is the caller's to renew.
    pub(crate) fn bytes_mut(&mut self, id: PacketId) -> &mut Vec<u8> {
        let shared = self.packets[id.0 as usize].buffer;
        if self.buffers[shared as usize].users > 1 {
            self.next_buffer();
            let own = self.take_buffer();
            // Both are wanted at once: the new one's storage is taken out for the copy.
            let mut bytes = core::mem::take(&mut self.buffers[own as usize].bytes);
            bytes.extend_from_slice(&self.buffers[shared as usize].bytes);
            self.buffers[own as usize].bytes = bytes;
            self.buffers[shared as usize].users -= 1;
            self.packets[id.0 as usize].buffer = own;
        }
        &mut self.buffers[self.packets[id.0 as usize].buffer as usize].bytes
    }

    /// Computes the digest again after a change, and the length on the wire.
    pub(crate) fn changed(&mut self, id: PacketId, old_len: usize) {
        let bytes = self.bytes(id);
        let (digest, len) = (digest(bytes), bytes.len());
        let packet = self.get_mut(id);
        packet.digest = digest;
        let grown = i64::try_from(len).unwrap_or(0) - i64::try_from(old_len).unwrap_or(0);
        packet.wire_len = u32::try_from(i64::from(packet.wire_len) + grown).unwrap_or(0);
    }

    /// Forgets a packet and gives its place and, if it was the last, its buffer back.
    pub(crate) fn remove(&mut self, id: PacketId) {
        let buffer = self.packets[id.0 as usize].buffer;
        self.release_buffer(buffer);
        self.free_packets.push(id.0);
    }
}

/// Bytes of IP and UDP headers for an address.
#[must_use]
pub const fn header_len(dst: &SocketAddr) -> u32 {
    if dst.is_ipv4() { 28 } else { 48 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(arena: &mut Arena, bytes: &[u8]) -> PacketId {
        arena.next_buffer().extend_from_slice(bytes);
        let buffer = arena.take_buffer();
        let addr = SocketAddr::from(([10, 0, 0, 1], 1));
        arena.insert(Packet {
            src: addr,
            dst: addr,
            kind: PacketKind::Datagram,
            ecn: Ecn::NotEct,
            dont_fragment: true,
            hops: 64,
            copy: 0,
            uid: 0,
            ordinal: 0,
            sent: Time::ZERO,
            entered: Time::ZERO,
            wire_len: 28 + bytes.len() as u32,
            digest: digest(bytes),
            epoch: 0,
            buffer,
        })
    }

    #[test]
    fn packets_are_two_cache_lines() {
        assert!(size_of::<Packet>() <= 128, "{}", size_of::<Packet>());
    }

    #[test]
    fn copies_share_until_changed() {
        let mut arena = Arena::default();
        let first = packet(&mut arena, b"abc");
        let second = arena.duplicate(first);
        assert_eq!((arena.live(), arena.live_buffers()), (2, 1));
        arena.bytes_mut(second).push(b'd');
        arena.changed(second, 3);
        assert_eq!((arena.bytes(first), arena.bytes(second)), (&b"abc"[..], &b"abcd"[..]));
        assert_eq!((arena.get(first).wire_len, arena.get(second).wire_len), (31, 32));
        assert_ne!(arena.get(first).digest, arena.get(second).digest);
        arena.remove(first);
        arena.remove(second);
        assert_eq!((arena.live(), arena.live_buffers()), (0, 0));
        let third = packet(&mut arena, b"x");
        assert_eq!((arena.bytes(third), arena.packets.len(), arena.buffers.len()), (&b"x"[..], 2, 2));
    }
}
