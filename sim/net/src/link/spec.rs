//! Links as data: for each direction a list of stages, which a packet passes in order.

use std::sync::Arc;

use crate::ecn::Ecn;
use crate::queue::QueueSpec;
use crate::rng::Ppb;
use crate::time::{Duration, Rate, Time};

/// The stages of both directions of a link.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LinkSpec {
    /// From the first end to the second.
    pub forward: Vec<StageSpec>,
    /// From the second end to the first.
    pub backward: Vec<StageSpec>,
}

impl LinkSpec {
    /// The same both ways.
    #[must_use]
    pub fn symmetric(stages: Vec<StageSpec>) -> Self {
        Self { forward: stages.clone(), backward: stages }
    }

    /// Only a delay, each way.
    #[must_use]
    pub fn delay(one_way: Duration) -> Self {
        Self::symmetric(vec![StageSpec::Delay(one_way)])
    }

    /// A shaper with a drop-tail queue of `queue_bytes`, then a delay, each way.
    #[must_use]
    pub fn simple(rate: Rate, one_way: Duration, queue_bytes: u64) -> Self {
        Self::symmetric(vec![
            StageSpec::Shaper { rate: RateSpec::Fixed(rate), queue: QueueSpec::TailBytes(queue_bytes) },
            StageSpec::Delay(one_way),
        ])
    }
}

/// One stage of one direction of a link.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StageSpec {
    /// A queue drained at a rate. The packet being sent is not counted as queued.
    Shaper {
        /// How fast.
        rate: RateSpec,
        /// What happens to those that wait.
        queue: QueueSpec,
    },
    /// A token bucket that loses what it has no tokens for; nothing waits.
    Policer {
        /// How fast tokens come.
        rate: Rate,
        /// How many bytes of them there can be.
        burst: u64,
        /// Marks ECN-capable packets instead of losing them.
        mark: bool,
    },
    /// A constant delay.
    Delay(Duration),
    /// A random extra delay.
    Jitter {
        /// How much.
        distribution: JitterSpec,
        /// Packets may overtake one another (RFC 8868 "RBPDV"); else each leaves no earlier than the one before it
        /// ("NR-BPDV").
        reorder: bool,
    },
    /// Loss.
    Loss(LossSpec),
    /// Copies.
    Duplicate {
        /// How often.
        probability: Ppb,
        /// How many copies.
        copies: u8,
        /// Copies are late by up to this time, evenly distributed.
        late: Duration,
    },
    /// Changes of the bytes. (UDP checksums are as if switched off, or the damage were done before they are made.)
    Corrupt {
        /// How often.
        probability: Ppb,
        /// What.
        kind: CorruptSpec,
    },
    /// Holds some packets back, so that later ones overtake them.
    Reorder {
        /// How often, among the packets that are eligible.
        probability: Ppb,
        /// Only every `gap`-th packet is eligible; 0 and 1 mean all.
        gap: u32,
        /// For how long.
        by: Duration,
    },
    /// The largest IP packet that passes.
    Mtu {
        /// In bytes, IP header included.
        mtu: u32,
        /// Whether a "too big" signal goes back to the sender; a black hole if not. Packets that may be fragmented
        /// pass, and count the headers of their fragments.
        signal: bool,
    },
    /// Sets the ECN field.
    Ecn(EcnSpec),
    /// Gathers packets and lets them go in bursts (netem's `slot`).
    Slot {
        /// Bursts are at least so far apart …
        min: Duration,
        /// … and at most so far, evenly distributed.
        max: Duration,
    },
    /// Another stage that works only at times; else packets pass it untouched. Not for shapers, whose rate may have
    /// steps.
    During {
        /// From (included) to (excluded), in world time, in order.
        windows: Vec<(Time, Time)>,
        /// Begin again after so long.
        repeat: Option<Duration>,
        /// What works.
        stage: Box<Self>,
    },
}

/// How fast a shaper sends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RateSpec {
    /// Always the same.
    Fixed(Rate),
    /// From each time on this rate, in order; the first should be at time zero. A rate of zero is an outage.
    Steps(Vec<(Time, Rate)>),
    /// Delivery opportunities of 1,500 bytes.
    Trace(TraceRate),
}

/// A recorded sequence of delivery opportunities of 1,500 bytes each, as mahimahi has them; it wraps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TraceRate {
    /// When, in milliseconds, not falling. The last one is also the period.
    pub(crate) opportunities: Arc<[u64]>,
}

/// Why a trace cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TraceRateError {
    /// Not a whole number of milliseconds in this line (from 1).
    NotANumber(usize),
    /// Earlier than the line before it.
    Falling(usize),
    /// No opportunity, or all at time zero.
    Empty,
}

impl core::fmt::Display for TraceRateError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NotANumber(line) => write!(f, "line {line}: not a whole number of milliseconds"),
            Self::Falling(line) => write!(f, "line {line}: earlier than the line before it"),
            Self::Empty => f.write_str("no delivery opportunity after time zero"),
        }
    }
}

impl core::error::Error for TraceRateError {}

impl TraceRate {
    /// Reads mahimahi's format: one opportunity a line, its time in milliseconds.
    ///
    /// # Errors
    /// The first line that is no number or earlier than the one before, or that there is nothing.
    pub fn parse(text: &str) -> Result<Self, TraceRateError> {
        let mut opportunities: Vec<u64> = Vec::new();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let ms = line.trim().parse().map_err(|_| TraceRateError::NotANumber(index + 1))?;
            if opportunities.last().is_some_and(|&last| ms < last) {
                return Err(TraceRateError::Falling(index + 1));
            }
            opportunities.push(ms);
        }
        if opportunities.last().is_none_or(|&last| last == 0) {
            return Err(TraceRateError::Empty);
        }
        Ok(Self { opportunities: opportunities.into() })
    }
}

/// A distribution of extra delays.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JitterSpec {
    /// Evenly from 0 to this.
    Uniform(Duration),
    /// Normal around `mean` with standard deviation `sigma`, cut off at 0 and at four sigma.
    Normal {
        /// The middle.
        mean: Duration,
        /// The standard deviation.
        sigma: Duration,
    },
    /// Exponential with this mean: a long tail.
    Exponential(Duration),
    /// One of these, each as likely as the others.
    Table(Arc<[Duration]>),
}

/// A model of loss.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LossSpec {
    /// Each packet by itself.
    Random(Ppb),
    /// The Gilbert-Elliott model: two states, stepped once a packet.
    Gilbert {
        /// From good to bad.
        p: Ppb,
        /// From bad to good.
        r: Ppb,
        /// Loss in the good state (netem's 1-k).
        good: Ppb,
        /// Loss in the bad state (netem's 1-h).
        bad: Ppb,
    },
    /// netem's four-state Markov model: 1 received in a gap, 2 received within a burst, 3 lost within a burst, 4 lost
    /// by itself. Stepped once a packet; the start is state 1.
    Markov4 {
        /// From 1 to 3: a burst of losses begins.
        p13: Ppb,
        /// From 3 to 1: it ends.
        p31: Ppb,
        /// From 3 to 2: good packets within it begin …
        p32: Ppb,
        /// … and end.
        p23: Ppb,
        /// From 1 to 4: a loss by itself; the next packet is in state 1 again.
        p14: Ppb,
    },
    /// Random, but never more than this many in a row.
    Bounded {
        /// Of each packet.
        p: Ppb,
        /// At most so many in a row.
        burst: u32,
    },
    /// Exactly these, counted from 0 as they enter the link.
    List(Vec<u64>),
}

/// What damage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CorruptSpec {
    /// One bit, any.
    FlipBit,
    /// Cut off anywhere.
    Truncate,
    /// From 1 to this many bytes more.
    Extend(u32),
    /// Any of the three (extending by up to 16 bytes).
    Any,
}

/// What is done to the ECN field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EcnSpec {
    /// Marks ECN-capable packets as having experienced congestion, so often.
    Mark(Ppb),
    /// Clears it.
    Bleach,
    /// Loses ECN-capable packets.
    DropCapable,
    /// Overwrites it with this (a router that rewrites the old TOS byte).
    Set(Ecn),
}
