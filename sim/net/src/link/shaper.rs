//! Shapers: those that know on arrival when a packet will leave, and those that decide only when one goes.

use std::collections::VecDeque;

use crate::arena::{Packet, PacketId};
use crate::fault::{Decision, DropCause};
use crate::link::pacer::Pacer;
use crate::link::spec::RateSpec;
use crate::link::stage::Step;
use crate::queue::{CodelQueue, Discipline, DropHead, Drr, FqCodel, Pie, Priority, QueueSpec, Red};
use crate::time::{Duration, Time};

#[derive(Debug)]
enum Policy {
    Unlimited,
    Bytes(u64),
    Packets(usize),
    Time(Duration),
    Red(Box<Red>),
    Pie(Box<Pie>),
}

/// When the sending of each waiting packet begins, and its length.
type Waiting = VecDeque<(Time, u32)>;

/// A queue that only ever drops or marks on arrival.
// One cache line and no more: see the test below.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Fast {
    pacer: Pacer,
    policy: Policy,
    /// None until a packet has to wait.
    waiting: Option<Box<Waiting>>,
    /// Of those that wait.
    bytes: u64,
}

impl Fast {
    /// None if the queue decides late.
    pub(crate) fn new(rate: &RateSpec, queue: &QueueSpec) -> Option<Self> {
        let policy = match queue {
            QueueSpec::Unlimited => Policy::Unlimited,
            QueueSpec::TailBytes(bytes) => Policy::Bytes(*bytes),
            QueueSpec::TailPackets(packets) => Policy::Packets(*packets as usize),
            QueueSpec::TailTime(span) => Policy::Time(*span),
            QueueSpec::Red(spec) => Policy::Red(Box::new(Red::new(*spec))),
            QueueSpec::Pie(spec) => Policy::Pie(Box::new(Pie::new(*spec))),
            QueueSpec::HeadBytes(_)
            | QueueSpec::Codel(_)
            | QueueSpec::FqCodel(_)
            | QueueSpec::Priority { .. }
            | QueueSpec::Drr { .. } => return None,
        };
        Some(Self { pacer: Pacer::new(rate), policy, waiting: None, bytes: 0 })
    }

    /// Loads it into the cache.
    pub(crate) const fn prefetch(&self) -> u64 {
        self.bytes
    }

    fn purge(&mut self, t: Time) {
        if self.bytes == 0 {
            return;
        }
        let Some(waiting) = &mut self.waiting else { return };
        while let Some(&(start, len)) = waiting.front() {
            if start > t {
                return;
            }
            self.bytes -= u64::from(len);
            waiting.pop_front();
        }
    }

    /// Packets and bytes whose sending has not begun at `t`.
    pub(crate) fn backlog(&mut self, now: Time) -> (usize, u64) {
        let Some(waiting) = &self.waiting else { return (0, 0) };
        // Packets may have been taken for times after now, so nothing is discarded here.
        let begun = waiting.iter().take_while(|&&(start, _)| start <= now);
        let (packets, bytes) = begun.fold((0, 0), |(n, bytes), &(_, len)| (n + 1, bytes + u64::from(len)));
        (waiting.len() - packets, self.bytes - bytes)
    }

    fn waiting_packets(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.len())
    }

    /// Whether a packet may come in at `t`, by rule and by chance.
    pub(crate) fn admit(&mut self, t: Time, packet: &Packet, word: impl Fn() -> u64) -> Step {
        self.purge(t);
        let len = packet.wire_len;
        let start = self.pacer.would_start(t);
        let waits = start > t;
        let wait = start.since(t);
        let full = waits
            && match &self.policy {
                Policy::Unlimited => false,
                Policy::Bytes(limit) => self.bytes + u64::from(len) > *limit,
                Policy::Packets(limit) => self.waiting_packets() >= *limit,
                Policy::Time(limit) => wait > *limit,
                Policy::Red(red) => self.bytes + u64::from(len) > red.limit(),
                Policy::Pie(pie) => self.bytes + u64::from(len) > pie.limit(),
            };
        let capable = packet.ecn.is_capable();
        let decision = match &mut self.policy {
            Policy::Red(red) => red.on_arrival(t, self.bytes, full, capable, word()),
            Policy::Pie(pie) => pie.on_arrival(t, start, self.bytes, capable, word()),
            Policy::Unlimited | Policy::Bytes(_) | Policy::Packets(_) | Policy::Time(_) if full => Decision::Pass,
            Policy::Unlimited | Policy::Bytes(_) | Policy::Packets(_) | Policy::Time(_) => {
                let at = self.take(t, len);
                return if at == Time::NEVER { Step::Lose(DropCause::Stalled) } else { Step::At(at) };
            }
        };
        if full { Step::Lose(DropCause::QueueFull) } else { Step::Admit(decision) }
    }

    /// Takes a packet: when it will have left.
    pub(crate) fn take(&mut self, t: Time, len: u32) -> Time {
        let (start, at) = self.pacer.accept(t, len);
        if start > t && at < Time::NEVER {
            self.waiting.get_or_insert_default().push_back((start, len));
            self.bytes += u64::from(len);
        }
        at
    }
}

/// A queue that decides when a packet goes.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) pacer: Pacer,
    pub(crate) discipline: Box<dyn Discipline>,
    pub(crate) sending: Option<PacketId>,
}

impl Live {
    pub(crate) fn new(rate: &RateSpec, queue: &QueueSpec) -> Self {
        let discipline: Box<dyn Discipline> = match *queue {
            QueueSpec::HeadBytes(bytes) => Box::new(DropHead::new(bytes)),
            QueueSpec::Codel(spec) => Box::new(CodelQueue::new(spec)),
            QueueSpec::FqCodel(spec) => Box::new(FqCodel::new(spec)),
            QueueSpec::Priority { classes, bytes } => Box::new(Priority::new(classes, bytes)),
            QueueSpec::Drr { queues, quantum, bytes } => Box::new(Drr::new(queues, quantum, bytes)),
            // The others are never live; without a limit they would be this.
            QueueSpec::Unlimited
            | QueueSpec::TailBytes(_)
            | QueueSpec::TailPackets(_)
            | QueueSpec::TailTime(_)
            | QueueSpec::Red(_)
            | QueueSpec::Pie(_) => Box::new(DropHead::new(u64::MAX)),
        };
        Self { pacer: Pacer::new(rate), discipline, sending: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_one_cache_line() {
        assert_eq!(size_of::<Fast>(), 64);
    }
}
