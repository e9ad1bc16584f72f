//! Faults as data: what a link decided about a packet, said explicitly instead of drawn at random.
//!
//! A run records every decision that was not to pass. The record can be played again with the random stages switched
//! off ([`Mode::Explicit`]). It can be cut down fault by fault until only those are left that matter. Each fault
//! names its packet by its ordinal on the link, so removing one does not move the others.

use core::fmt;
use std::collections::BTreeMap;

use crate::id::Direction;
use crate::time::Duration;

/// Why a packet was lost.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
#[non_exhaustive]
pub enum DropCause {
    /// Random loss.
    Loss = 1,
    /// An explicit fault said so.
    Fault,
    /// The queue was full.
    QueueFull,
    /// An active queue management dropped it early.
    Aqm,
    /// The policer had no tokens.
    Policed,
    /// Too big for the link.
    TooBig,
    /// An ECN-capable packet on a path that drops those.
    EctDropped,
    /// The link is down, or was cut while the packet was on it.
    LinkDown,
    /// The link's rate is zero for ever.
    Stalled,
    /// No route to the destination.
    NoRoute,
    /// The hop limit ran out.
    HopLimit,
    /// No host or interface has the destination address (any more).
    NoSuchHost,
    /// The source has no usable interface.
    InterfaceDown,
    /// A NAT has no mapping for it.
    NoMapping,
    /// A NAT's or firewall's filter.
    Filtered,
    /// A NAT does not hairpin.
    NoHairpin,
    /// A NAT has no port left.
    PortsExhausted,
    /// The host is frozen and its socket buffer full.
    SocketBuffer,
    /// A tap swallowed it.
    Tapped,
    /// The world ended or was cleared with the packet in it.
    Cleared,
}

impl DropCause {
    /// How many there are, plus one: the size of a table by reason.
    pub const COUNT: usize = Self::Cleared as usize + 1;

    /// All reasons, in order.
    pub const ALL: [Self; Self::COUNT - 1] = [
        Self::Loss,
        Self::Fault,
        Self::QueueFull,
        Self::Aqm,
        Self::Policed,
        Self::TooBig,
        Self::EctDropped,
        Self::LinkDown,
        Self::Stalled,
        Self::NoRoute,
        Self::HopLimit,
        Self::NoSuchHost,
        Self::InterfaceDown,
        Self::NoMapping,
        Self::Filtered,
        Self::NoHairpin,
        Self::PortsExhausted,
        Self::SocketBuffer,
        Self::Tapped,
        Self::Cleared,
    ];

    /// A short name, as used in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Fault => "fault",
            Self::QueueFull => "queue-full",
            Self::Aqm => "aqm",
            Self::Policed => "policed",
            Self::TooBig => "too-big",
            Self::EctDropped => "ect-dropped",
            Self::LinkDown => "link-down",
            Self::Stalled => "stalled",
            Self::NoRoute => "no-route",
            Self::HopLimit => "hop-limit",
            Self::NoSuchHost => "no-such-host",
            Self::InterfaceDown => "interface-down",
            Self::NoMapping => "no-mapping",
            Self::Filtered => "filtered",
            Self::NoHairpin => "no-hairpin",
            Self::PortsExhausted => "ports-exhausted",
            Self::SocketBuffer => "socket-buffer",
            Self::Tapped => "tapped",
            Self::Cleared => "cleared",
        }
    }
}

impl fmt::Display for DropCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A change to a packet's bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Edit {
    /// Flips this bit, counted from the first byte's lowest, modulo the length.
    FlipBit(u32),
    /// Keeps only this many bytes.
    Truncate(u32),
    /// Appends this many bytes of pseudo-random rubbish.
    Extend(u32),
}

/// What a stage of a link does to a packet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Decision {
    /// Nothing.
    Pass,
    /// Loses it.
    Drop(DropCause),
    /// Holds it back for so long.
    Delay(Duration),
    /// Sends this many more copies, later than the packet itself by this time.
    Duplicate(u8, Duration),
    /// Changes its bytes.
    Corrupt(Edit),
    /// Marks it as having experienced congestion, if it is ECN-capable.
    Mark,
    /// Clears its ECN field.
    Bleach,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => f.write_str("pass"),
            Self::Drop(cause) => write!(f, "drop: {cause}"),
            Self::Delay(span) => write!(f, "delay {span}"),
            Self::Duplicate(copies, late) => write!(f, "{copies} more, {late} later"),
            Self::Corrupt(Edit::FlipBit(bit)) => write!(f, "flip bit {bit}"),
            Self::Corrupt(Edit::Truncate(to)) => write!(f, "truncate to {to} bytes"),
            Self::Corrupt(Edit::Extend(by)) => write!(f, "extend by {by} bytes"),
            Self::Mark => f.write_str("mark"),
            Self::Bleach => f.write_str("bleach"),
        }
    }
}

/// One decision about one packet of one direction of a link.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ExplicitFault {
    /// The link's name.
    pub link: String,
    /// Which way.
    pub direction: Direction,
    /// The packet: its number among those that entered the link in this direction, from 0.
    pub ordinal: u64,
    /// Which of the packet's copies, 0 being itself.
    pub copy: u8,
    /// The stage that decides; `None` for the link's entry, before all stages.
    pub stage: Option<u8>,
    /// What happens.
    pub decision: Decision,
}

/// Where decisions come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// Drawn at random, except where an explicit fault says otherwise.
    #[default]
    Random,
    /// Only explicit faults; every random stage passes.
    Explicit,
}

/// Which decision: lane (link and direction), ordinal with copy, stage (0 for the entry).
type FaultKey = (u32, u64, u8);

/// The explicit decisions of a world, and the record of those that were made.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    mode: Mode,
    recording: bool,
    given: BTreeMap<FaultKey, Decision>,
    made: Vec<(FaultKey, Decision)>,
}

pub(crate) const fn fault_key(lane: u32, ordinal: u64, stage: Option<u8>) -> FaultKey {
    (
        lane,
        ordinal,
        match stage {
            Some(stage) => stage.saturating_add(1),
            None => 0,
        },
    )
}

impl Faults {
    pub(crate) fn new(mode: Mode, recording: bool) -> Self {
        Self { mode, recording, ..Self::default() }
    }

    pub(crate) fn give(&mut self, key: FaultKey, decision: Decision) {
        self.given.insert(key, decision);
    }

    /// Whether entry faults need to be looked up at all.
    pub(crate) fn any_given(&self) -> bool {
        !self.given.is_empty()
    }

    /// The explicit decision at a link's entry.
    pub(crate) fn at_entry(&mut self, lane: u32, ordinal: u64) -> Decision {
        let key = fault_key(lane, ordinal, None);
        let decision = self.given.get(&key).copied().unwrap_or(Decision::Pass);
        self.record(key, decision);
        decision
    }

    /// What is really decided where a stage has drawn `drawn`.
    #[inline]
    pub(crate) fn filter(&mut self, lane: u32, ordinal: u64, stage: u8, drawn: Decision) -> Decision {
        if drawn == Decision::Pass && self.given.is_empty() {
            return Decision::Pass;
        }
        self.decide(lane, ordinal, stage, drawn)
    }

    fn decide(&mut self, lane: u32, ordinal: u64, stage: u8, drawn: Decision) -> Decision {
        let key = fault_key(lane, ordinal, Some(stage));
        let decision = match (self.given.get(&key), self.mode) {
            (Some(&given), _) => given,
            (None, Mode::Random) => drawn,
            (None, Mode::Explicit) => Decision::Pass,
        };
        self.record(key, decision);
        decision
    }

    fn record(&mut self, key: FaultKey, decision: Decision) {
        if self.recording && decision != Decision::Pass {
            self.made.push((key, decision));
        }
    }

    pub(crate) fn made(&self) -> impl Iterator<Item = &(FaultKey, Decision)> {
        self.made.iter()
    }
}
