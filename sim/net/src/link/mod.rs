//! Links: two lanes, one for each direction, each a pipeline of stages.
//!
//! A packet runs through its lane's stages when it enters, as far as its fate can be known then. A queue that only
//! drops on arrival knows at once when each packet will leave, so most links need one event for each packet. An event
//! separates two stages where order could change in between, or where a queue decides only when a packet goes.

mod loss;
mod pacer;
mod shaper;
mod spec;
mod stage;

pub use spec::{CorruptSpec, EcnSpec, JitterSpec, LinkSpec, LossSpec, RateSpec, StageSpec, TraceRate, TraceRateError};

use crate::arena::PacketId;
use crate::digest::address_word;
use crate::ecn::Ecn;
use crate::engine::{Core, Event};
use crate::fault::{Decision, DropCause};
use crate::id::NodeId;
use crate::queue::Item;
use crate::rng::{Key, fold};
use crate::time::{Duration, Time};
use crate::trace::RecordKind;
use shaper::Live;
use stage::{Stage, Step};

/// What a lane has counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LaneCounters {
    /// Packets that entered.
    pub entered: u64,
    /// Their bytes on the wire.
    pub entered_bytes: u64,
    /// Packets that reached the far end, copies included.
    pub arrived: u64,
    /// Their bytes on the wire.
    pub arrived_bytes: u64,
    /// Copies made.
    pub duplicated: u64,
    /// Packets lost.
    pub dropped: u64,
    /// Packets marked as having experienced congestion.
    pub marked: u64,
    /// Packets that a link with an MTU let pass in fragments.
    pub fragmented: u64,
}

/// One direction of a link.
// What an arriving packet needs is in the first of two cache lines: see the test below.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Lane {
    pub(crate) id: u32,
    /// The device and port that it leads to.
    pub(crate) to: (NodeId, u16),
    /// Packets of an older epoch were on it when it was cut.
    pub(crate) epoch: u32,
    pub(crate) up: bool,
    /// Changed with the stages, so that their events can be told from their successors'.
    generation: u16,
    passed: Passed,
    stages: Vec<Stage>,
    cold: Box<ColdState>,
}

/// What every packet moves of a lane's counters.
#[derive(Debug, Default)]
struct Passed {
    arrived: u64,
    arrived_bytes: u64,
    entered: u64,
    entered_bytes: u64,
}

/// What few packets need of a lane.
#[derive(Debug)]
struct ColdState {
    /// The device and port that it comes from.
    from: (NodeId, u16),
    /// What becomes of packets of an older epoch: lost, or so much late.
    stale: Option<Duration>,
    key: Key,
    duplicated: u64,
    dropped: u64,
    marked: u64,
    fragmented: u64,
}

impl ColdState {
    const fn new(from: (NodeId, u16), key: Key) -> Self {
        Self { from, stale: None, key, duplicated: 0, dropped: 0, marked: 0, fragmented: 0 }
    }
}

#[expect(clippy::indexing_slicing, reason = "stage numbers are checked against the length where they come from events")]
impl Lane {
    pub(crate) fn new(id: u32, key: Key, from: (NodeId, u16), to: (NodeId, u16), specs: &[StageSpec]) -> Self {
        Self {
            id,
            to,
            up: true,
            epoch: 0,
            generation: 0,
            passed: Passed::default(),
            stages: Stage::build(specs, key),
            cold: Box::new(ColdState::new(from, key)),
        }
    }

    /// Loads both of its cache lines into the cache.
    pub(crate) fn prefetch(&self) -> u64 {
        u64::from(self.id) ^ self.stages.len() as u64
    }

    /// The same for its stages …
    pub(crate) fn prefetch_stages(&self) -> u64 {
        self.stages.iter().map(|stage| u64::from(stage.is_live())).sum()
    }

    /// … and their queues.
    pub(crate) fn prefetch_queues(&self) -> u64 {
        self.stages.iter().map(Stage::prefetch).sum()
    }

    /// What it has counted.
    pub(crate) fn counters(&self) -> LaneCounters {
        let Passed { arrived, arrived_bytes, entered, entered_bytes } = self.passed;
        let ColdState { duplicated, dropped, marked, fragmented, .. } = *self.cold;
        LaneCounters { entered, entered_bytes, arrived, arrived_bytes, duplicated, dropped, marked, fragmented }
    }

    /// Takes the link down. Packets that are on it are lost, or so much late.
    pub(crate) fn cut(&mut self, in_flight: Option<Duration>) {
        self.up = false;
        self.epoch = self.epoch.wrapping_add(1);
        self.cold.stale = in_flight;
    }

    /// Replaces the stages. What waits in a queue that decides late starts over; what is already timed keeps its time.
    pub(crate) fn set_stages(&mut self, core: &mut Core, specs: &[StageSpec]) {
        let mut waiting = Vec::new();
        for stage in &mut self.stages {
            stage.drain(&mut waiting);
        }
        self.stages = Stage::build(specs, self.cold.key);
        self.generation = self.generation.wrapping_add(1);
        for packet in waiting {
            self.run(core, packet, 0, core.now);
        }
    }

    /// Packets and bytes that wait in queues, not counting those being sent.
    pub(crate) fn backlog(&mut self, now: Time) -> (usize, u64) {
        self.stages.iter_mut().fold((0, 0), |(packets, bytes), stage| {
            let (more_packets, more_bytes) = stage.backlog(now);
            (packets + more_packets, bytes + more_bytes)
        })
    }

    /// A packet enters.
    pub(crate) fn enter(&mut self, core: &mut Core, id: PacketId) {
        let packet = core.arena.get_mut(id);
        packet.ordinal = self.passed.entered;
        packet.copy = 0;
        packet.epoch = self.epoch;
        packet.entered = core.now;
        self.passed.entered += 1;
        self.passed.entered_bytes += u64::from(packet.wire_len);
        core.record_passing(RecordKind::Entered, (self.id, true), id);
        if !self.up {
            self.lose(core, id, DropCause::LinkDown);
            return;
        }
        if core.faults.any_given() {
            let ordinal = core.arena.get(id).decision_ordinal();
            let decision = core.faults.at_entry(self.id, ordinal);
            self.apply(core, id, decision, 0, core.now);
        } else {
            self.run(core, id, 0, core.now);
        }
    }

    fn lose(&mut self, core: &mut Core, id: PacketId, cause: DropCause) {
        self.cold.dropped += 1;
        core.lose(id, cause, (self.id, true));
    }

    fn mark(&mut self, core: &mut Core, id: PacketId) {
        let packet = core.arena.get_mut(id);
        if packet.ecn.is_capable() && packet.ecn != Ecn::Ce {
            packet.ecn = Ecn::Ce;
            self.cold.marked += 1;
            core.record(RecordKind::Fault(Decision::Mark), (self.id, true), Some(id));
        }
    }

    /// Carries out a decision on a packet, which then goes on with stage `next` at `t`.
    fn apply(&mut self, core: &mut Core, id: PacketId, decision: Decision, next: usize, mut t: Time) {
        match decision {
            Decision::Pass => {}
            Decision::Mark => self.mark(core, id),
            Decision::Drop(cause) => return self.lose(core, id, cause),
            Decision::Bleach => {
                if core.arena.get(id).ecn != Ecn::NotEct {
                    core.arena.get_mut(id).ecn = Ecn::NotEct;
                    core.record(RecordKind::Fault(decision), (self.id, true), Some(id));
                }
            }
            Decision::Corrupt(edit) => {
                core.corrupt(id, edit);
                core.record(RecordKind::Fault(decision), (self.id, true), Some(id));
            }
            Decision::Delay(span) => {
                core.record(RecordKind::Fault(decision), (self.id, true), Some(id));
                t += span;
                return self.go_on_later(core, id, next, t);
            }
            Decision::Duplicate(copies, late) => {
                core.record(RecordKind::Fault(decision), (self.id, true), Some(id));
                // The packet itself goes first.
                let duplicates: Vec<PacketId> = (0..copies).map(|_| core.arena.duplicate(id)).collect();
                self.run(core, id, next, t);
                for (duplicate, number) in duplicates.into_iter().zip(1_u8..) {
                    // Copies of copies on one link share a number with others: they also share a fate.
                    let own = core.arena.get(duplicate).copy;
                    core.arena.get_mut(duplicate).copy = own.wrapping_mul(16).wrapping_add(number);
                    core.counters.duplicated += 1;
                    self.cold.duplicated += 1;
                    if late == Duration::ZERO {
                        self.run(core, duplicate, next, t);
                    } else {
                        self.go_on_later(core, duplicate, next, t + late);
                    }
                }
                return;
            }
        }
        self.run(core, id, next, t);
    }

    /// Goes on at a time that may be out of order: by an event, if a later stage minds.
    fn go_on_later(&mut self, core: &mut Core, id: PacketId, next: usize, t: Time) {
        if t > core.now && self.stages.iter().skip(next).any(Stage::minds_order) {
            core.wheel.push(t, self.stage_event(id, next));
        } else {
            self.run(core, id, next, t);
        }
    }

    fn stage_event(&self, packet: PacketId, stage: usize) -> Event {
        let stage = u8::try_from(stage).unwrap_or(u8::MAX);
        Event::Stage { lane: self.id, packet, stage, generation: self.generation }
    }

    /// A stage event came.
    pub(crate) fn on_stage(&mut self, core: &mut Core, id: PacketId, stage: u8, generation: u16) {
        if self.is_cut_off(core, id, |lane, _| lane.stage_event(id, stage.into())) {
            return;
        }
        // With other stages than it started with, it has passed them all.
        let stage = if generation == self.generation { usize::from(stage) } else { self.stages.len() };
        self.run(core, id, stage, core.now);
    }

    /// Deals with packets that were on the link when it was cut: true if this is one.
    fn is_cut_off(&mut self, core: &mut Core, id: PacketId, again: impl Fn(&Self, &Core) -> Event) -> bool {
        if core.arena.get(id).epoch == self.epoch {
            return false;
        }
        match self.cold.stale {
            None => self.lose(core, id, DropCause::LinkDown),
            Some(late) => {
                core.arena.get_mut(id).epoch = self.epoch;
                let event = again(self, core);
                core.wheel.push(core.now + late, event);
            }
        }
        true
    }

    /// A packet has come to the end: true if it arrives.
    pub(crate) fn on_arrive(&mut self, core: &mut Core, id: PacketId) -> bool {
        let lane = self.id;
        if self.is_cut_off(core, id, |_, _| Event::Arrive { lane, packet: id }) {
            return false;
        }
        self.passed.arrived += 1;
        self.passed.arrived_bytes += u64::from(core.arena.get(id).wire_len);
        core.record_passing(RecordKind::Arrived, (self.id, true), id);
        true
    }

    /// Runs a packet through the stages from `next` on, beginning at `t`, which may lie ahead.
    fn run(&mut self, core: &mut Core, id: PacketId, mut next: usize, mut t: Time) {
        while next < self.stages.len() {
            if t > core.now && self.stages[next].is_live() {
                core.wheel.push(t, self.stage_event(id, next));
                return;
            }
            let number = u8::try_from(next).unwrap_or(u8::MAX);
            let step = self.stages[next].step(t, core.arena.get(id));
            next += 1;
            match step {
                Step::On => {}
                Step::At(at) => t = at,
                Step::SetEcn(ecn) => core.arena.get_mut(id).ecn = ecn,
                Step::Lose(cause) => return self.lose(core, id, cause),
                Step::Fragmented(extra) => {
                    self.cold.fragmented += 1;
                    core.arena.get_mut(id).wire_len += extra;
                }
                Step::TooBig { mtu, signal } => {
                    if signal {
                        core.signals.push((self.cold.from, *core.arena.get(id), mtu));
                    }
                    return self.lose(core, id, DropCause::TooBig);
                }
                Step::Decide(drawn) => {
                    let ordinal = core.arena.get(id).decision_ordinal();
                    let decision = core.faults.filter(self.id, ordinal, number, drawn);
                    if decision != Decision::Pass {
                        return self.apply(core, id, decision, next, t);
                    }
                }
                Step::Admit(drawn) => {
                    // An early drop or mark by a queue that otherwise knows when the packet leaves.
                    let ordinal = core.arena.get(id).decision_ordinal();
                    match core.faults.filter(self.id, ordinal, number, drawn) {
                        Decision::Drop(cause) => return self.lose(core, id, cause),
                        Decision::Mark => self.mark(core, id),
                        Decision::Pass
                        | Decision::Delay(_)
                        | Decision::Duplicate(..)
                        | Decision::Corrupt(_)
                        | Decision::Bleach => {}
                    }
                    match self.stages[next - 1].take(t, core.arena.get(id).wire_len) {
                        Time::NEVER => return self.lose(core, id, DropCause::Stalled),
                        at => t = at,
                    }
                }
                Step::Queue => return self.queue(core, id, next - 1),
            }
        }
        core.wheel.push(t, Event::Arrive { lane: self.id, packet: id });
    }

    fn item(core: &Core, id: PacketId) -> Item {
        let packet = core.arena.get(id);
        let flow =
            fold(address_word(&packet.src) ^ 0x9e37_79b9_7f4a_7c15, address_word(&packet.dst) ^ 0xd1b5_4a32_d192_ed03);
        let class = (packet.src.port() & 0xff) as u8;
        Item { packet: id, len: packet.wire_len, ecn: packet.ecn, flow, class, at: core.now }
    }

    /// Puts a packet into a queue that decides late.
    fn queue(&mut self, core: &mut Core, id: PacketId, stage: usize) {
        let Some(live) = self.stages[stage].live_mut() else { return };
        let item = Self::item(core, id);
        live.discipline.enqueue(item, &mut core.effects);
        let idle = live.sending.is_none();
        self.settle(core);
        if idle {
            self.send_next(core, stage);
        }
    }

    /// The packet being sent has left: it goes on, and the next one's turn comes.
    pub(crate) fn on_dequeue(&mut self, core: &mut Core, stage: u8, generation: u16) {
        let stage = usize::from(stage);
        if generation != self.generation {
            return;
        }
        let Some(Live { sending, .. }) = self.stages.get_mut(stage).and_then(Stage::live_mut) else { return };
        if let Some(id) = sending.take() {
            self.run(core, id, stage + 1, core.now);
        }
        self.send_next(core, stage);
    }

    fn send_next(&mut self, core: &mut Core, stage: usize) {
        let Some(live) = self.stages[stage].live_mut() else { return };
        if let Some(item) = live.discipline.dequeue(core.now, &mut core.effects) {
            let (_, at) = live.pacer.accept(core.now, item.len);
            live.sending = Some(item.packet);
            if at < Time::NEVER {
                let stage = u8::try_from(stage).unwrap_or(u8::MAX);
                core.wheel.push(at, Event::Dequeue { lane: self.id, stage, generation: self.generation });
            }
        }
        self.settle(core);
    }

    /// Carries out what a queue did.
    fn settle(&mut self, core: &mut Core) {
        while let Some(id) = core.effects.marked.pop() {
            self.mark(core, id);
        }
        let mut dropped = core::mem::take(&mut core.effects.dropped);
        for (id, cause) in dropped.drain(..) {
            self.lose(core, id, cause);
        }
        core.effects.dropped = dropped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arriving_packet_needs_one_cache_line() {
        assert_eq!(size_of::<Lane>(), 128);
        assert!(core::mem::offset_of!(Lane, passed) + 16 <= 64);
    }
}
