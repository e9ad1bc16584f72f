//! The trace: every event of a run as a canonical record, hashed to 128 bits, with a checkpoint every 1,024 records so
//! that two runs can be compared and their first difference found.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

use crate::arena::{Packet, PacketKind};
use crate::fault::{Decision, Edit, Why};
use crate::rng::fold;
use crate::time::Time;

/// Goes into every hash: records of another layout never compare as equal.
pub const TRACE_VERSION: u32 = 2;

/// Records between two checkpoints.
pub const CHECKPOINT_EVERY: u64 = 1_024;

const K0: u64 = 0xa076_1d64_78bd_642f;
const K1: u64 = 0xe703_7ed1_a0b4_28db;
const K2: u64 = 0x8ebc_6af0_9c88_c6e3;
const K3: u64 = 0x5899_65cc_7537_4cc3;

/// A 64-bit digest of a packet's bytes. Not cryptographic: it tells runs apart, not attackers.
#[must_use]
pub fn digest(bytes: &[u8]) -> u64 {
    // Four lanes, because a processor multiplies several numbers at a time if none waits for another.
    let mut lanes = [K0 ^ bytes.len() as u64, K1, K2, K3];
    let (blocks, rest) = bytes.as_chunks::<64>();
    for block in blocks {
        mix_block(&mut lanes, block);
    }
    if !rest.is_empty() {
        mix_rest(&mut lanes, rest);
    }
    let [a, b, c, d] = lanes;
    fold(fold(a ^ K2, b ^ K3) ^ K1, fold(c ^ K0, d ^ K1) ^ K2)
}

fn mix_block(lanes: &mut [u64; 4], block: &[u8; 64]) {
    let (words, _) = block.as_chunks::<8>();
    if let &[w0, w1, w2, w3, w4, w5, w6, w7] = words {
        mix_words(lanes, [w0, w1, w2, w3, w4, w5, w6, w7].map(u64::from_le_bytes));
    }
}

const fn mix_words(lanes: &mut [u64; 4], [w0, w1, w2, w3, w4, w5, w6, w7]: [u64; 8]) {
    let [a, b, c, d] = *lanes;
    *lanes = [
        fold(w0 ^ K1 ^ a, w1 ^ K2),
        fold(w2 ^ K3 ^ b, w3 ^ K0),
        fold(w4 ^ K0 ^ c, w5 ^ K3),
        fold(w6 ^ K2 ^ d, w7 ^ K1),
    ];
}

/// The bytes after the last whole block, as if zeros followed: the length, which is hashed too, tells them from bytes.
fn mix_rest(lanes: &mut [u64; 4], rest: &[u8]) {
    let (whole, part) = rest.as_chunks::<8>();
    // Put together in a register. In memory, what is written byte by byte cannot soon be read as a word.
    let last = part.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
    let mut words = whole.iter().map(|word| u64::from_le_bytes(*word)).chain([last]);
    let mut next = || words.next().unwrap_or(0);
    if rest.len() <= 32 {
        let [a, b, ..] = lanes;
        *a = fold(next() ^ K1 ^ *a, next() ^ K2);
        *b = fold(next() ^ K3 ^ *b, next() ^ K0);
    } else {
        mix_words(lanes, [next(), next(), next(), next(), next(), next(), next(), next()]);
    }
}

/// A running hash of 128 bits over 64-bit words, the same on every machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TraceHash {
    a: u64,
    b: u64,
}

impl Default for TraceHash {
    fn default() -> Self {
        let mut hash = Self { a: K0, b: K2 };
        hash.absorb(TRACE_VERSION.into());
        hash
    }
}

impl TraceHash {
    /// Takes in a word.
    pub const fn absorb(&mut self, word: u64) {
        self.a = fold(self.a ^ word ^ K1, K0 ^ self.b.rotate_left(17)).wrapping_add(word);
        self.b = (self.b ^ word).wrapping_mul(K3).rotate_left(29) ^ self.a;
    }

    /// Takes in two words at once.
    pub const fn absorb_pair(&mut self, first: u64, second: u64) {
        let (a, b) = (self.a, self.b);
        self.a = fold(a ^ first ^ K1, K0 ^ b.rotate_left(17)).wrapping_add(second);
        self.b = (b ^ second).wrapping_mul(K3).rotate_left(29) ^ a.wrapping_add(first);
    }

    /// The hash of all taken in so far.
    #[must_use]
    pub const fn value(self) -> u128 {
        (fold(self.a ^ K3, self.b ^ K1) as u128) << 64 | (self.b ^ self.a.rotate_left(32)) as u128
    }
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum What {
    /// A node sent a packet.
    Sent,
    /// A packet entered a link.
    Entered,
    /// A packet reached the far end of a link.
    Arrived,
    /// A packet was handed to its node.
    Delivered,
    /// A packet was lost.
    Dropped(Why),
    /// A stage did something to a packet other than losing it.
    Fault(Decision),
    /// A NAT or router rewrote or passed on a packet.
    Forwarded,
    /// A node's deadline came.
    Timeout,
    /// A node was told of a change, or the world was changed from outside; the number says what.
    Changed(u16),
}

impl What {
    fn words(self) -> (u8, u64) {
        match self {
            Self::Sent => (1, 0),
            Self::Entered => (2, 0),
            Self::Arrived => (3, 0),
            Self::Delivered => (4, 0),
            Self::Dropped(why) => (5, why as u64),
            Self::Fault(decision) => (6, decision_word(decision)),
            Self::Forwarded => (7, 0),
            Self::Timeout => (8, 0),
            Self::Changed(code) => (9, code.into()),
        }
    }
}

fn decision_word(decision: Decision) -> u64 {
    let (tag, value) = match decision {
        Decision::Pass => (0, 0),
        Decision::Drop(why) => (1, why as u64),
        Decision::Delay(span) => (2, span.0),
        Decision::Duplicate(copies, late) => (3, late.0.rotate_left(8) ^ u64::from(copies)),
        Decision::Corrupt(Edit::FlipBit(bit)) => (4, bit.into()),
        Decision::Corrupt(Edit::Truncate(to)) => (5, to.into()),
        Decision::Corrupt(Edit::Extend(by)) => (6, by.into()),
        Decision::Mark => (7, 0),
        Decision::Bleach => (8, 0),
    };
    value.rotate_left(4) ^ tag
}

/// One event of a run.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// World time.
    pub time: Time,
    /// Position in the trace, from 0.
    pub index: u64,
    /// What happened.
    pub what: What,
    /// Where: the device's number, or twice the link's number plus its direction (0 forward, 1 backward) for
    /// [`What::Entered`], [`What::Arrived`], [`What::Fault`] and losses on a link (see [`Record::on_link`]).
    pub place: u32,
    /// Whether `place` is a link.
    pub on_link: bool,
    /// The packet, if it is about one.
    pub packet: Option<Packet>,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, number) = if self.on_link { ("link", self.place / 2) } else { ("node", self.place) };
        write!(f, "#{} {} {kind} {number}", self.index, self.time)?;
        if self.on_link {
            f.write_str(if self.place.is_multiple_of(2) { " forward" } else { " backward" })?;
        }
        write!(f, " {:?}", self.what)?;
        if let Some(packet) = self.packet {
            write!(f, " {} -> {} {} B", packet.src, packet.dst, packet.wire_len)?;
            write!(f, " uid {} ordinal {} {:?} {:016x}", packet.uid, packet.ordinal, packet.ecn, packet.digest)?;
        }
        Ok(())
    }
}

/// Sees every record of a run as it happens, with the packet's bytes: for captures, ladders and other recordings.
pub trait Observer {
    /// `bytes` are the UDP payload, empty if the record is not about a packet.
    fn on_record(&mut self, record: &Record, bytes: &[u8]);

    /// A node is about to be woken by its timer: the only thing that happens without a record before it.
    fn on_wake(&mut self, _now: Time) {}
}

/// The hash of the trace up to a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// Records hashed.
    pub records: u64,
    /// World time of the last of them.
    pub time: Time,
    /// The hash.
    pub hash: u128,
}

/// The hash and the checkpoints of a run.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    hash: TraceHash,
    records: u64,
    checkpoints: Vec<Checkpoint>,
    pub(crate) observer: Option<Box<dyn Observer>>,
}

impl fmt::Debug for dyn Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

pub(crate) const fn address_word(address: &SocketAddr) -> u64 {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_bits() as u64,
        IpAddr::V6(ip) => {
            let bits = ip.to_bits();
            fold((bits >> 64) as u64 ^ K1, bits as u64 ^ K2)
        }
    };
    ip.rotate_left(16) ^ address.port() as u64
}

/// All of a packet that counts, mixed into a word.
fn packet_word(packet: &Packet) -> u64 {
    let ends = address_word(&packet.src) ^ address_word(&packet.dst).rotate_left(24);
    let mtu = match packet.kind {
        PacketKind::Datagram => 0,
        PacketKind::TooBig { mtu } => u64::from(mtu) + 1,
    };
    let marks = u64::from(packet.wire_len) << 16 | u64::from(packet.copy) << 8 | packet.ecn as u64;
    fold(packet.digest ^ K2, ends ^ K3) ^ fold(marks ^ mtu << 40 ^ K1, packet.uid ^ K0).rotate_left(27)
}

impl Trace {
    /// Takes in a record: all its words are mixed side by side, and only the result enters the running hash, so that
    /// a record waits for the one before in a single step.
    pub(crate) fn record(&mut self, time: Time, what: What, (place, on_link): (u32, bool), packet: Option<&Packet>) {
        let (kind, detail) = what.words();
        let head = u64::from(place) << 16 | u64::from(on_link) << 8 | u64::from(kind);
        let mut first = fold(time.0 ^ K0, head ^ K1);
        if detail != 0 {
            first ^= fold(detail ^ K2, head ^ K3).rotate_left(31);
        }
        let second = packet.map_or(0, packet_word);
        self.take_in(time, first, second);
    }

    /// The same for a packet that goes on as the record before this has it: its identity is enough.
    #[inline]
    pub(crate) fn pass(&mut self, time: Time, what: What, (place, on_link): (u32, bool), packet: &Packet) {
        let (kind, _) = what.words();
        let head = u64::from(place) << 16 | u64::from(on_link) << 8 | u64::from(kind);
        let first = fold(time.0 ^ K0, head ^ K1);
        let second = fold(packet.uid ^ K2, u64::from(packet.copy) ^ K3);
        self.take_in(time, first, second);
    }

    #[inline]
    fn take_in(&mut self, time: Time, first: u64, second: u64) {
        self.hash.absorb_pair(first, second);
        self.records += 1;
        if self.records.is_multiple_of(CHECKPOINT_EVERY) {
            self.checkpoints.push(Checkpoint { records: self.records, time, hash: self.hash.value() });
        }
    }

    /// Shows the record just taken in to the observer.
    pub(crate) fn show(
        &mut self,
        time: Time,
        what: What,
        (place, on_link): (u32, bool),
        packet: Option<(&Packet, &[u8])>,
    ) {
        if let Some(observer) = &mut self.observer {
            let (packet, bytes) = match packet {
                Some((packet, bytes)) => (Some(*packet), bytes),
                None => (None, &[][..]),
            };
            let index = self.records.wrapping_sub(1);
            observer.on_record(&Record { time, index, what, place, on_link, packet }, bytes);
        }
    }

    pub(crate) const fn hash(&self) -> u128 {
        self.hash.value()
    }

    pub(crate) const fn records(&self) -> u64 {
        self.records
    }

    pub(crate) fn checkpoints(&self) -> &[Checkpoint] {
        &self.checkpoints
    }
}

/// The records, from and to, between which two runs first differ: after the last checkpoint that agrees and not after
/// the first that does not. None if all that both have agree.
#[must_use]
pub fn first_difference(a: &[Checkpoint], b: &[Checkpoint]) -> Option<(u64, u64)> {
    let at = a.iter().zip(b).position(|(a, b)| a != b)?;
    let from = if at == 0 { 0 } else { a.get(at - 1).map_or(0, |checkpoint| checkpoint.records) };
    Some((from, a.get(at).map_or(from, |checkpoint| checkpoint.records)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_sees_every_byte_and_the_length() {
        let mut bytes: Vec<u8> = (0..=255).cycle().take(1_431).collect();
        let whole = digest(&bytes);
        for at in 0..bytes.len() {
            bytes[at] ^= 0x40;
            assert_ne!(digest(&bytes), whole, "byte {at}");
            bytes[at] ^= 0x40;
        }
        assert_eq!(digest(&bytes), whole);
        let lengths: std::collections::BTreeSet<u64> = (0..200).map(|len| digest(&vec![0; len])).collect();
        assert_eq!(lengths.len(), 200);
    }

    #[test]
    fn difference_is_bracketed() {
        let run = |odd: Option<u64>| {
            let mut trace = Trace::default();
            for n in 0..10_000 {
                let time = Time(if Some(n) == odd { n + 1 } else { n });
                trace.record(time, What::Timeout, (1, false), None);
            }
            trace
        };
        let (same, other) = (run(None), run(Some(5_000)));
        assert_eq!(first_difference(same.checkpoints(), run(None).checkpoints()), None);
        assert_eq!(first_difference(same.checkpoints(), other.checkpoints()), Some((4_096, 5_120)));
        assert_ne!(same.hash(), other.hash());
    }
}
