//! What a shaper does with packets that wait.

mod codel;
mod fq;
mod list;
mod pie;
mod red;

use crate::arena::PacketId;
use crate::ecn::Ecn;
use crate::fault::DropCause;
use crate::rng::Ppb;
use crate::time::{Duration, Time};

pub(crate) use codel::CodelQueue;
pub(crate) use fq::{Drr, FqCodel};
pub(crate) use list::{DropHead, Priority};
pub(crate) use pie::Pie;
pub(crate) use red::Red;

/// A queue as data.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum QueueSpec {
    /// Everything waits.
    Unlimited,
    /// A packet that would make it more than this many bytes is lost.
    TailBytes(u64),
    /// A packet that would make it more than this many packets is lost.
    TailPackets(u32),
    /// A packet that would have to wait longer than this is lost.
    TailTime(Duration),
    /// A packet that would make it more than this many bytes pushes out the oldest.
    HeadBytes(u64),
    /// Random early detection.
    Red(RedSpec),
    /// Controlled delay (RFC 8289).
    Codel(CodelSpec),
    /// Flow queues with CoDel in each (RFC 8290).
    FqCodel(FqCodelSpec),
    /// Proportional integral enhanced (RFC 8033).
    Pie(PieSpec),
    /// Strict priorities: the first class that has packets is served. Classes go by the low bits of the source port,
    /// so that a scenario can choose them.
    Priority {
        /// How many classes.
        classes: u8,
        /// Bytes for each class; beyond it the newest are lost.
        bytes: u64,
    },
    /// Deficit round robin between flows (hashed by addresses and ports).
    Drr {
        /// How many queues.
        queues: u16,
        /// Bytes each may send a round.
        quantum: u32,
        /// Bytes for all; beyond it the longest queue loses its newest.
        bytes: u64,
    },
}

/// Parameters of random early detection (Floyd and Jacobson 1993), in bytes, with the "gentle" slope.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RedSpec {
    /// Below this average nothing happens.
    pub min_bytes: u64,
    /// At this average the probability is `max_p`; at twice it, one.
    pub max_bytes: u64,
    /// The hard limit.
    pub limit_bytes: u64,
    /// The probability at `max_bytes`.
    pub max_p: Ppb,
    /// The weight of a new sample in the average is 2^-this (9 is usual).
    pub weight_log: u8,
    /// Marks ECN-capable packets instead of losing them, below `max_bytes` times two.
    pub ecn: bool,
}

/// Parameters of CoDel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CodelSpec {
    /// The sojourn time that is acceptable.
    pub target: Duration,
    /// For how long it must be exceeded.
    pub interval: Duration,
    /// The hard limit in bytes.
    pub limit_bytes: u64,
    /// Marks ECN-capable packets instead of losing them.
    pub ecn: bool,
}

impl Default for CodelSpec {
    /// RFC 8289 §4: 5 ms, 100 ms; 1.5 MB; no ECN.
    fn default() -> Self {
        Self { target: Duration::millis(5), interval: Duration::millis(100), limit_bytes: 1_500_000, ecn: false }
    }
}

/// Parameters of FQ-CoDel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FqCodelSpec {
    /// CoDel's, for each flow; the limit is for all together.
    pub codel: CodelSpec,
    /// How many queues flows are hashed to.
    pub queues: u16,
    /// Bytes each may send a round.
    pub quantum: u32,
}

impl Default for FqCodelSpec {
    /// RFC 8290 §5.2: 1,024 queues, a quantum of 1,514 bytes, with ECN.
    fn default() -> Self {
        let codel = CodelSpec { ecn: true, limit_bytes: 10_240 * 1_514, ..CodelSpec::default() };
        Self { codel, queues: 1_024, quantum: 1_514 }
    }
}

/// Parameters of PIE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PieSpec {
    /// The queueing delay aimed at.
    pub target: Duration,
    /// How often the probability is computed.
    pub update: Duration,
    /// The burst that is let through at the beginning.
    pub max_burst: Duration,
    /// The hard limit in bytes.
    pub limit_bytes: u64,
    /// Marks ECN-capable packets instead of losing them while the probability is at most a tenth.
    pub ecn: bool,
}

impl Default for PieSpec {
    /// RFC 8033 §4: 15 ms, 15 ms, 150 ms; 1.5 MB; no ECN.
    fn default() -> Self {
        Self {
            target: Duration::millis(15),
            update: Duration::millis(15),
            max_burst: Duration::millis(150),
            limit_bytes: 1_500_000,
            ecn: false,
        }
    }
}

/// What a queue knows of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Item {
    pub(crate) packet: PacketId,
    pub(crate) len: u32,
    pub(crate) ecn: Ecn,
    /// Hash of addresses and ports.
    pub(crate) flow: u64,
    /// The class for strict priorities.
    pub(crate) class: u8,
    /// When it came.
    pub(crate) at: Time,
}

/// What a queue did to packets while one came or went.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) dropped: Vec<(PacketId, DropCause)>,
    pub(crate) marked: Vec<PacketId>,
}

/// A queue in which the next packet to go is known only when it goes.
pub(crate) trait Discipline: core::fmt::Debug {
    fn enqueue(&mut self, item: Item, effects: &mut Effects);
    fn dequeue(&mut self, now: Time, effects: &mut Effects) -> Option<Item>;
    /// Packets and bytes that wait.
    fn backlog(&self) -> (usize, u64);
    /// Takes everything out.
    fn drain(&mut self, out: &mut Vec<PacketId>);
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    pub(crate) fn item(packet: u32, len: u32) -> Item {
        Item { packet: PacketId(packet), len, ecn: Ecn::NotEct, flow: 0, class: 0, at: Time::ZERO }
    }
}
