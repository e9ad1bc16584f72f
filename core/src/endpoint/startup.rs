//! Startup packets on their way out: sealed with the Default Session Key (RFC 7016 §2.2.3), outside any session.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::SocketAddr;

use sha2::{Digest as _, Sha256};

use super::fragments;
use super::interfaces::Blocked;
use super::limits::HiddenKey;
use crate::event::EventQueue;
use crate::params::{HELLO_LEN, STARTUP_RATE_PERIOD};
use crate::profile::SessionKeys;
use crate::time::Instant;
use crate::trace::TraceEvent;
use crate::transmit::{Path, Span, Transmit, TransmitBuf};
use crate::wire::{self, EncodeChunk, InitiatorHello, Mode, PacketHeader, PacketWriter};

/// Answers to strangers that may wait to be sent.
const MAX_REPLIES: usize = 256;
/// This end's own hellos and keyings that may wait to be sent: what all opening sessions may send at once.
const MAX_OWN: usize = 4_096;
/// The largest plain packet of startup, a chunk's own limit apart.
const MAX_PLAIN: usize = 65_000;
/// The largest plain packet that goes in one datagram. It fits a path of 1,500 bytes, and is generous because peers
/// exist that take no fragments.
const MAX_UNFRAGMENTED: usize = 1_380;
/// Bytes of a larger packet in each fragment.
const FRAGMENT_LEN: usize = 1_100;
/// What a fragment's packet has beside its bytes: its own header, and the chunk's header and fields.
const FRAGMENT_HEADER: usize = 16;
/// Where a plain startup packet has its timestamp.
const TIMESTAMP: core::ops::Range<usize> = 1..3;
/// Fragments sent in each [`STARTUP_RATE_PERIOD`]: under four packets and 4,380 bytes (§3.4).
const FRAGMENTS_PER_PERIOD: usize = 3;
/// Fragments that may wait for their period.
const MAX_LATER: usize = 1_024;
/// Of these, fragments of answers to strangers.
const MAX_LATER_REPLIES: usize = 512;

/// Addresses that fragments were sent to of late, when no more strangers are answered in fragments.
const MAX_PACED: usize = 256;

/// A plain startup packet and where it goes.
#[derive(Clone, Debug)]
pub(super) struct StartupPacket {
    pub(super) path: Path,
    /// 0, or the session ID that the initiator asked for (§2.3.6, §2.3.8).
    pub(super) session_id: u32,
    pub(super) plain: Vec<u8>,
}

impl StartupPacket {
    /// A packet of one chunk. Its timestamp is written when the packet is sent: RFC 7016 does not ask for one, but the
    /// Mona family accepts no startup packet without.
    pub(super) fn new(path: Path, session_id: u32, chunk: &impl EncodeChunk) -> Self {
        let mut plain = Vec::with_capacity(4 + chunk.payload_len());
        let mut writer = PacketWriter::new(&mut plain, MAX_PLAIN);
        writer.header(&PacketHeader { timestamp: Some(0), ..PacketHeader::new(Mode::Startup) });
        writer.push(chunk);
        Self { path, session_id, plain }
    }

    fn stamp(&mut self, now: Instant) {
        if let Some(timestamp) = self.plain.get_mut(TIMESTAMP) {
            timestamp.copy_from_slice(&now.timestamp().to_be_bytes());
        }
    }

    /// A hello, padded (RFC 7016 §2.2.4) to as much as lets any certificate of usual size be the answer.
    pub(super) fn hello(path: Path, hello: &InitiatorHello<'_>) -> Self {
        let mut packet = Self::new(path, 0, hello);
        // No chunk fits that is as long as these bytes say, so all of them are padding, as those of a cipher are.
        packet.plain.resize(packet.plain.len().max(HELLO_LEN), 0xff);
        packet
    }

    /// Bytes of the datagrams that it will be, or a little more.
    pub(super) fn wire_len(&self, keys: &dyn SessionKeys) -> usize {
        let sealed = |plain| wire::session_id::LEN + keys.sealed_len(keys.front_len(0), plain);
        if self.plain.len() <= MAX_UNFRAGMENTED {
            return sealed(self.plain.len());
        }
        self.plain.len().div_ceil(FRAGMENT_LEN) * sealed(FRAGMENT_LEN + FRAGMENT_HEADER)
    }
}

/// Startup packets in the order in which they are to be sent: this end's own before answers to strangers, so that
/// a flood of hellos does not keep this end from opening sessions.
#[derive(Debug, Default)]
pub(super) struct StartupQueue {
    own: VecDeque<StartupPacket>,
    replies: VecDeque<StartupPacket>,
    /// Fragments held back so as not to jam the path (§3.4), by when they may go and the order of their making.
    later: BTreeMap<(Instant, u64), Later>,
    later_replies: usize,
    next_later: u64,
    packet_ids: PacketIds,
    /// When the next fragments may go to an address, as long as that is to come.
    paced: BTreeMap<SocketAddr, Instant>,
}

/// Packet IDs that nobody can guess, so that nobody who does not see the fragments can add to them.
#[derive(Debug, Default)]
struct PacketIds {
    key: HiddenKey,
    made: u64,
}

impl PacketIds {
    /// 32 bits, so that a fragment has room for them.
    fn next(&mut self) -> u64 {
        self.made += 1;
        let digest: [u8; 32] =
            Sha256::new().chain_update(self.key.0).chain_update(self.made.to_be_bytes()).finalize().into();
        let [a, b, c, d, ..] = digest;
        u32::from_be_bytes([a, b, c, d]).into()
    }
}

/// A fragment that is held back.
#[derive(Debug)]
struct Later {
    packet: StartupPacket,
    is_reply: bool,
}

impl StartupQueue {
    /// The IDs of fragmented packets depend on `key`.
    pub(super) fn new(key: HiddenKey) -> Self {
        Self { packet_ids: PacketIds { key, made: 0 }, ..Self::default() }
    }

    /// Queues a packet of this end's own. Beyond the limit it is dropped, and its backoff will bring it again.
    pub(super) fn push_own(&mut self, now: Instant, packet: StartupPacket) {
        if self.own.len() < MAX_OWN {
            let packets = self.fragment(now, packet, false);
            self.own.extend(packets.into_iter().flatten());
        }
    }

    /// Queues an answer to a stranger; false if too many wait.
    pub(super) fn push_reply(&mut self, now: Instant, packet: StartupPacket) -> bool {
        if self.replies.len() >= MAX_REPLIES {
            return false;
        }
        let Some(packets) = self.fragment(now, packet, true) else { return false };
        self.replies.extend(packets);
        true
    }

    /// The packet itself, or if it is too large those of its fragments that may go now; the others are held back.
    /// `None` if there is no room for all of them.
    fn fragment(&mut self, now: Instant, mut packet: StartupPacket, is_reply: bool) -> Option<Vec<StartupPacket>> {
        if packet.plain.len() <= MAX_UNFRAGMENTED {
            return Some(alloc::vec![packet]);
        }
        packet.stamp(now);
        let StartupPacket { path, session_id, plain } = &packet;
        if self.paced.len() >= MAX_PACED {
            self.paced.retain(|_, at| *at > now);
        }
        // §3.4: the rate is that of an endpoint, whatever the number of packets.
        let start = self.paced.get(&path.remote).map_or(now, |at| now.max(*at));
        let count = plain.len().div_ceil(FRAGMENT_LEN);
        let at_once = if start > now { 0 } else { FRAGMENTS_PER_PERIOD.min(count) };
        let held_back = count - at_once;
        let full = self.later.len() + held_back > MAX_LATER
            || (is_reply && self.later_replies + held_back > MAX_LATER_REPLIES)
            || (is_reply && self.paced.len() >= MAX_PACED);
        if full {
            return None;
        }
        self.paced.insert(path.remote, start + STARTUP_RATE_PERIOD * count.div_ceil(FRAGMENTS_PER_PERIOD) as u32);
        let packet_id = self.packet_ids.next();
        let mut first = Vec::new();
        for (index, chunk) in fragments::split(plain, packet_id, FRAGMENT_LEN).enumerate() {
            let packet = StartupPacket::new(*path, *session_id, &chunk);
            if index < at_once {
                first.push(packet);
                continue;
            }
            let period = (index / FRAGMENTS_PER_PERIOD) as u32;
            self.later.insert((start + STARTUP_RATE_PERIOD * period, self.next_later), Later { packet, is_reply });
            self.next_later += 1;
            self.later_replies += usize::from(is_reply);
        }
        Some(first)
    }

    /// When the next held-back fragment may go.
    #[inline]
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.later.first_key_value().map(|((at, _), _)| *at)
    }

    /// Lets go the fragments whose time has come.
    #[inline]
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if !self.later.is_empty() {
            self.let_go(now);
        }
    }

    fn let_go(&mut self, now: Instant) {
        while let Some(entry) = self.later.first_entry().filter(|entry| entry.key().0 <= now) {
            let Later { packet, is_reply } = entry.remove();
            if is_reply {
                self.later_replies -= 1;
                self.replies.push_back(packet);
            } else {
                self.own.push_back(packet);
            }
        }
    }

    /// Whether no packet waits, those that are held back apart.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.own.is_empty() && self.replies.is_empty()
    }

    /// Seals the next packet into `buf`, but for those of blocked interfaces.
    pub(super) fn poll(
        &mut self,
        blocked: &Blocked,
        now: Instant,
        buf: &mut TransmitBuf,
        keys: &mut dyn SessionKeys,
        events: &mut EventQueue,
    ) -> Option<Transmit> {
        let mut packet = take(&mut self.own, blocked).or_else(|| take(&mut self.replies, blocked))?;
        packet.stamp(now);
        let StartupPacket { path, session_id, plain } = packet;
        let front = keys.front_len(0);
        let start = wire::session_id::LEN;
        let span = Span { start, front, plain: plain.len(), sealed: keys.sealed_len(front, plain.len()) };
        let (bytes, packets) = buf.parts_mut();
        bytes.resize(start + front, 0);
        bytes.extend_from_slice(&plain);
        bytes.resize(start + span.sealed, 0);
        events.trace(|| TraceEvent::PacketSent { path, size: start + span.sealed, plain: &plain });
        keys.seal(bytes, &[span]);
        if let Some((id, encrypted)) = bytes.split_at_mut_checked(start) {
            id.copy_from_slice(&wire::session_id::scramble(session_id, encrypted));
        }
        packets.push(span);
        Some(Transmit { path, ecn: None, len: start + span.sealed, segment_size: None, may_fragment: true })
    }
}

/// The first that is not for a blocked interface.
fn take(queue: &mut VecDeque<StartupPacket>, blocked: &Blocked) -> Option<StartupPacket> {
    let next = queue.iter().position(|packet| !blocked.contains(packet.path.interface))?;
    queue.remove(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transmit::InterfaceId;
    use crate::wire::Ping;

    fn packet(port: u16) -> StartupPacket {
        let remote = core::net::SocketAddr::from(([192, 0, 2, 1], port));
        StartupPacket::new(Path::new(InterfaceId(0), remote), 0, &Ping { message: b"x" })
    }

    #[test]
    fn a_flood_of_replies_is_bounded_and_does_not_delay_own_packets() {
        let mut queue = StartupQueue::default();
        assert_eq!((0..10_000).filter(|_| queue.push_reply(Instant::ORIGIN, packet(1))).count(), MAX_REPLIES);
        (0..10_000).for_each(|_| queue.push_own(Instant::ORIGIN, packet(2)));
        assert_eq!(queue.own.len(), MAX_OWN);
        assert_eq!(queue.own.front().map(|packet| packet.path.remote.port()), Some(2));
    }

    /// With one ID, fragments of two packets to one address would be put together.
    #[test]
    fn fragmented_packets_have_ids_of_their_own() {
        let mut ids = PacketIds::default();
        assert_ne!(ids.next(), ids.next());
    }

    #[test]
    fn a_large_packet_goes_in_fragments_of_at_most_four_packets_and_4380_bytes_every_200_ms() {
        let mut queue = StartupQueue::default();
        let mut large = packet(1);
        large.plain.resize(20_000, 7);
        let mut now = Instant::ORIGIN;
        queue.push_own(now, large);
        let mut fragments = 0;
        loop {
            let sent: Vec<_> = queue.own.drain(..).collect();
            assert!(sent.len() <= 4 && sent.iter().map(|packet| packet.plain.len() + 32).sum::<usize>() <= 4_380);
            fragments += sent.len();
            let Some(next) = queue.next_timeout() else { break };
            assert_eq!(next.saturating_duration_since(now), STARTUP_RATE_PERIOD);
            now = next;
            queue.handle_timeout(now);
        }
        assert_eq!(fragments, 20_000_usize.div_ceil(FRAGMENT_LEN));
    }

    /// RFC 7016 §3.4 is for paths of unknown MTU, and nothing is known of a path before a session is open.
    #[test]
    fn startup_packets_and_their_fragments_may_be_fragmented_on_the_way() {
        let mut queue = StartupQueue::default();
        let mut large = packet(1);
        large.plain.resize(2_000, 7);
        queue.push_own(Instant::ORIGIN, large);
        queue.push_own(Instant::ORIGIN, packet(2));
        let mut keys = crate::profile::CryptoProfile::default_keys(&crate::profile::plain::PlainProfile::new(b""));
        let mut buf = TransmitBuf::new(1);
        let sent: Vec<_> = core::iter::from_fn(|| {
            queue.poll(&Blocked::default(), Instant::ORIGIN, &mut buf, keys.as_mut(), &mut EventQueue::default())
        })
        .collect();
        assert_eq!(sent.len(), 3);
        assert!(sent.iter().all(|transmit| transmit.may_fragment));
    }

    #[test]
    fn large_packets_to_one_endpoint_share_its_rate_and_others_do_not_wait() {
        let mut queue = StartupQueue::default();
        let mut large = packet(1);
        large.plain.resize(2_000, 7);
        for _ in 0..3 {
            queue.push_own(Instant::ORIGIN, large.clone());
        }
        assert_eq!(queue.own.drain(..).count(), 2);
        large.path.remote.set_port(2);
        queue.push_own(Instant::ORIGIN, large.clone());
        assert_eq!(queue.own.drain(..).count(), 2);
        for period in 1..3 {
            let at = Instant::ORIGIN + STARTUP_RATE_PERIOD * period;
            assert_eq!(queue.next_timeout(), Some(at));
            queue.handle_timeout(at);
            assert_eq!(queue.own.drain(..).count(), 2);
        }
        assert_eq!(queue.next_timeout(), None);
    }

    #[test]
    fn addresses_that_are_paced_are_bounded_and_forgotten() {
        let mut queue = StartupQueue::default();
        let mut large = packet(1);
        large.plain.resize(2_000, 7);
        for port in 0..1_000 {
            large.path.remote.set_port(port);
            queue.push_reply(Instant::ORIGIN, large.clone());
            queue.replies.clear();
            assert!(queue.paced.len() <= MAX_PACED);
        }
        assert!(!queue.push_reply(Instant::ORIGIN, large.clone()));
        assert!(queue.push_reply(Instant::ORIGIN + STARTUP_RATE_PERIOD, large));
        assert_eq!(queue.paced.len(), 1);
    }

    #[test]
    fn fragments_held_back_are_bounded() {
        let mut queue = StartupQueue::default();
        let mut large = packet(1);
        large.plain.resize(60_000, 7);
        let to = |port: u16| {
            let mut packet = large.clone();
            packet.path.remote.set_port(port);
            packet
        };
        let taken = (0..200).filter(|port| queue.push_reply(Instant::ORIGIN, to(*port))).count();
        // No packet is taken in part, and none of this end's own is kept out by strangers.
        assert_eq!(queue.later.len(), taken * (60_000_usize.div_ceil(FRAGMENT_LEN) - FRAGMENTS_PER_PERIOD));
        assert!(queue.later.len() <= MAX_LATER_REPLIES);
        queue.push_own(Instant::ORIGIN, to(300));
        assert_eq!(queue.own.len(), FRAGMENTS_PER_PERIOD);
        (301..600).for_each(|port| queue.push_own(Instant::ORIGIN, to(port)));
        assert!(queue.later.len() <= MAX_LATER && queue.own.len() <= MAX_OWN);
        queue.handle_timeout(Instant::from_millis(1_000_000));
        assert_eq!((queue.later.len(), queue.later_replies, queue.next_timeout()), (0, 0, None));
    }
}
