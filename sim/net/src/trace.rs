//! The trace: every event of a run as a canonical record, hashed to 128 bits.
//!
//! A checkpoint every 1,024 records lets two runs be compared and their first difference be found.

use core::fmt;

use crate::arena::{Packet, PacketKind};
use crate::digest::{K0, K1, K2, K3, address_word};
use crate::fault::{Decision, DropCause, Edit};
use crate::rng::fold;
use crate::time::Time;

/// Goes into every hash: records of another layout never compare as equal.
pub const TRACE_VERSION: u32 = 2;

/// Records between two checkpoints.
pub const CHECKPOINT_EVERY: u64 = 1_024;

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
pub enum RecordKind {
    /// A node sent a packet.
    Sent,
    /// A packet entered a link.
    Entered,
    /// A packet reached the far end of a link.
    Arrived,
    /// A packet was handed to its node.
    Delivered,
    /// A packet was lost.
    Dropped(DropCause),
    /// A stage did something to a packet other than losing it.
    Fault(Decision),
    /// A NAT or router rewrote or passed on a packet.
    Forwarded,
    /// A node's deadline came.
    Timeout,
    /// A node was told of a change, or the world was changed from outside; the number says what.
    Changed(u16),
}

impl fmt::Display for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sent => f.write_str("sent"),
            Self::Entered => f.write_str("entered"),
            Self::Arrived => f.write_str("arrived"),
            Self::Delivered => f.write_str("delivered"),
            Self::Dropped(cause) => write!(f, "dropped ({cause})"),
            Self::Fault(decision) => write!(f, "fault ({decision})"),
            Self::Forwarded => f.write_str("forwarded"),
            Self::Timeout => f.write_str("timeout"),
            Self::Changed(code) => write!(f, "changed ({code})"),
        }
    }
}

impl RecordKind {
    fn words(self) -> (u8, u64) {
        match self {
            Self::Sent => (1, 0),
            Self::Entered => (2, 0),
            Self::Arrived => (3, 0),
            Self::Delivered => (4, 0),
            Self::Dropped(cause) => (5, cause as u64),
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
        Decision::Drop(cause) => (1, cause as u64),
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
    pub kind: RecordKind,
    /// Where: the device's number, or twice the link's number plus its direction (0 forward, 1 backward).
    /// [`Record::on_link`] tells which.
    pub place: u32,
    /// Whether `place` is a link.
    pub on_link: bool,
    /// The packet, if it is about one.
    pub packet: Option<Packet>,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (device, number) = if self.on_link { ("link", self.place / 2) } else { ("node", self.place) };
        write!(f, "#{} {} {device} {number}", self.index, self.time)?;
        if self.on_link {
            f.write_str(if self.place.is_multiple_of(2) { " forward" } else { " backward" })?;
        }
        write!(f, " {}", self.kind)?;
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
    /// Takes in a record. All its words are mixed side by side, and only the result enters the running hash: a record
    /// waits for the one before it in a single step.
    pub(crate) fn record(
        &mut self,
        time: Time,
        kind: RecordKind,
        (place, on_link): (u32, bool),
        packet: Option<&Packet>,
    ) {
        let (code, detail) = kind.words();
        let head = u64::from(place) << 16 | u64::from(on_link) << 8 | u64::from(code);
        let mut first = fold(time.0 ^ K0, head ^ K1);
        if detail != 0 {
            first ^= fold(detail ^ K2, head ^ K3).rotate_left(31);
        }
        let second = packet.map_or(0, packet_word);
        self.take_in(time, first, second);
    }

    /// The same for a packet that goes on as the record before this has it: its identity is enough.
    #[inline]
    pub(crate) fn pass(&mut self, time: Time, kind: RecordKind, (place, on_link): (u32, bool), packet: &Packet) {
        let (code, _) = kind.words();
        let head = u64::from(place) << 16 | u64::from(on_link) << 8 | u64::from(code);
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
        kind: RecordKind,
        (place, on_link): (u32, bool),
        packet: Option<(&Packet, &[u8])>,
    ) {
        if let Some(observer) = &mut self.observer {
            let (packet, bytes) = match packet {
                Some((packet, bytes)) => (Some(*packet), bytes),
                None => (None, &[][..]),
            };
            let index = self.records.wrapping_sub(1);
            observer.on_record(&Record { time, index, kind, place, on_link, packet }, bytes);
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
    fn difference_is_bracketed() {
        let run = |odd: Option<u64>| {
            let mut trace = Trace::default();
            for n in 0..10_000 {
                let time = Time(if Some(n) == odd { n + 1 } else { n });
                trace.record(time, RecordKind::Timeout, (1, false), None);
            }
            trace
        };
        let (same, other) = (run(None), run(Some(5_000)));
        assert_eq!(first_difference(same.checkpoints(), run(None).checkpoints()), None);
        assert_eq!(first_difference(same.checkpoints(), other.checkpoints()), Some((4_096, 5_120)));
        assert_ne!(same.hash(), other.hash());
    }
}
