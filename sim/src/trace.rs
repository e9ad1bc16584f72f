//! The trace: every event of a run as a canonical record, hashed to 128 bits, with a checkpoint every 1,024 records so
//! that two runs can be compared and their first difference found.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

use crate::arena::{Packet, PacketKind};
use crate::fault::{Decision, Edit, Why};
use crate::rng::fold;
use crate::time::Time;

/// Goes into every hash: records of another layout never compare as equal.
pub const TRACE_VERSION: u32 = 1;

/// Records between two checkpoints.
pub const CHECKPOINT_EVERY: u64 = 1_024;

const K0: u64 = 0xa076_1d64_78bd_642f;
const K1: u64 = 0xe703_7ed1_a0b4_28db;
const K2: u64 = 0x8ebc_6af0_9c88_c6e3;
const K3: u64 = 0x5899_65cc_7537_4cc3;

/// A 64-bit digest of a packet's bytes. Not cryptographic: it tells runs apart, not attackers.
#[must_use]
pub fn digest(bytes: &[u8]) -> u64 {
    let word = |part: &[u8]| part.iter().rev().fold(0_u64, |word, &byte| word << 8 | u64::from(byte));
    let (mut a, mut b) = (K0 ^ bytes.len() as u64, K1);
    let (blocks, rest) = bytes.as_chunks::<32>();
    for block in blocks {
        let (words, _) = block.as_chunks::<8>();
        if let [w0, w1, w2, w3] = *words {
            a = fold(u64::from_le_bytes(w0) ^ K1 ^ a, u64::from_le_bytes(w1) ^ K2);
            b = fold(u64::from_le_bytes(w2) ^ K3 ^ b, u64::from_le_bytes(w3) ^ K0);
        }
    }
    for part in rest.chunks(16) {
        let (low, high) = part.split_at(part.len().min(8));
        a = fold(word(low) ^ K1 ^ a, word(high) ^ K3 ^ b);
    }
    fold(a ^ K2, b ^ K3)
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

impl Trace {
    pub(crate) fn record(
        &mut self,
        time: Time,
        what: What,
        (place, on_link): (u32, bool),
        packet: Option<(&Packet, &[u8])>,
    ) {
        let (kind, detail) = what.words();
        let hash = &mut self.hash;
        hash.absorb(time.0);
        hash.absorb(u64::from(place) << 16 | u64::from(on_link) << 8 | u64::from(kind));
        if detail != 0 {
            hash.absorb(detail);
        }
        if let Some((packet, _)) = packet {
            hash.absorb(packet.digest);
            hash.absorb(address_word(&packet.src) ^ address_word(&packet.dst).rotate_left(24));
            let mtu = match packet.kind {
                PacketKind::Datagram => 0,
                PacketKind::TooBig { mtu } => u64::from(mtu) + 1,
            };
            let marks = u64::from(packet.wire_len) << 16 | u64::from(packet.copy) << 8 | packet.ecn as u64;
            hash.absorb(marks ^ mtu << 40 ^ packet.uid.rotate_left(44));
        }
        let index = self.records;
        self.records += 1;
        if self.records.is_multiple_of(CHECKPOINT_EVERY) {
            self.checkpoints.push(Checkpoint { records: self.records, time, hash: self.hash.value() });
        }
        if let Some(observer) = &mut self.observer {
            let (packet, bytes) = match packet {
                Some((packet, bytes)) => (Some(*packet), bytes),
                None => (None, &[][..]),
            };
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
