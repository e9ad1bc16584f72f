//! The flows of one direction, each in its slot.
//!
//! The table keeps the order of their deadlines, and a queue of those that have something to be sent with the next
//! packet: acknowledgements, or Buffer Probes. Nothing ever walks over all flows to find what is due.

use alloc::collections::{BTreeSet, VecDeque};
use core::mem::replace;
use core::ops::Range;

use crate::invariant::cannot_happen;
use crate::slab::Slab;
use crate::time::Instant;

/// What an entry of the trees that name flows takes at most: their nodes may be less than half full.
pub(super) const ENTRY: usize = 64;

/// A flow in its slot, and where the table has it.
#[derive(Debug)]
struct Entry<T> {
    flow: T,
    /// The deadline that stands for this slot in the order of deadlines.
    deadline: Option<Instant>,
    /// Whether the slot is in the queue.
    queued: bool,
}

/// Where a flow belongs now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    /// It is over: its slot is freed.
    pub(super) over: bool,
    pub(super) deadline: Option<Instant>,
    /// It has something to be sent with the next packet.
    pub(super) due: bool,
}

/// See the module. The memory of the slots is given back when the table becomes empty.
#[derive(Debug)]
pub(in crate::session) struct FlowTable<T> {
    flows: Slab<Entry<T>>,
    deadlines: BTreeSet<(Instant, u32)>,
    /// The first of them, which is asked for after every call.
    next_deadline: Option<Instant>,
    /// Slots of the flows that are due, in the order in which they came to be.
    due: VecDeque<u32>,
}

impl<T> FlowTable<T> {
    pub(super) const fn new() -> Self {
        Self { flows: Slab::new(), deadlines: BTreeSet::new(), next_deadline: None, due: VecDeque::new() }
    }

    pub(in crate::session) const fn len(&self) -> usize {
        self.flows.len()
    }

    /// Puts in what `make` makes of a slot and a generation; returns the slot. To be reindexed.
    pub(super) fn insert(&mut self, make: impl FnOnce(u32, u32) -> T) -> u32 {
        self.flows.insert(|slot, generation| Entry { flow: make(slot, generation), deadline: None, queued: false })
    }

    pub(in crate::session) fn get(&self, slot: u32) -> Option<&T> {
        Some(&self.flows.get(slot)?.flow)
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        Some(&mut self.flows.get_mut(slot)?.flow)
    }

    /// The flow in this slot, if it is of this generation.
    pub(super) fn get_exact(&self, slot: u32, generation: u32) -> Option<&T> {
        Some(&self.flows.get_exact(slot, generation)?.flow)
    }

    /// The same, to change it.
    pub(super) fn get_exact_mut(&mut self, slot: u32, generation: u32) -> Option<&mut T> {
        Some(&mut self.flows.get_exact_mut(slot, generation)?.flow)
    }

    /// All slots that may hold a flow.
    pub(in crate::session) const fn slots(&self) -> Range<u32> {
        self.flows.slots()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.flows.values().map(|entry| &entry.flow)
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.flows.values_mut().map(|entry| &mut entry.flow)
    }

    /// To be called after anything was done to a flow: brings the order and the queue in line with where it stands, and
    /// frees its slot if it is over. Returns what else `stand` tells of it.
    #[inline]
    pub(super) fn reindex<R>(&mut self, slot: u32, stand: impl FnOnce(&mut T) -> (Standing, R)) -> Option<R> {
        let Some(entry) = self.flows.get_mut(slot) else {
            return cannot_happen!(None, "a flow that changed is in its slot");
        };
        let (Standing { over, deadline, due }, rest) = stand(&mut entry.flow);
        let (deadline, due) = (deadline.filter(|_| !over), due && !over);
        let before = replace(&mut entry.deadline, deadline);
        let was_queued = replace(&mut entry.queued, due);
        if before != deadline {
            self.move_deadline(slot, before, deadline);
        }
        if was_queued != due {
            self.set_queued(slot, due);
        }
        if over {
            self.flows.remove(slot);
            self.flows.trim_if_empty();
        }
        Some(rest)
    }

    fn move_deadline(&mut self, slot: u32, before: Option<Instant>, after: Option<Instant>) {
        if let Some(before) = before {
            self.deadlines.remove(&(before, slot));
        }
        if let Some(after) = after {
            self.deadlines.insert((after, slot));
        }
        self.next_deadline = self.deadlines.first().map(|&(at, _)| at);
    }

    fn set_queued(&mut self, slot: u32, queued: bool) {
        if queued {
            self.due.push_back(slot);
        } else if self.due.front() == Some(&slot) {
            // It mostly is: then the others, of which there may be many, are not looked at.
            self.due.pop_front();
        } else {
            self.due.retain(|&other| other != slot);
        }
    }

    /// The earliest deadline of any flow.
    pub(super) const fn next_deadline(&self) -> Option<Instant> {
        self.next_deadline
    }

    /// A flow with a deadline that has come. Its deadline is forgotten until the flow is reindexed.
    pub(super) fn take_expired(&mut self, now: Instant) -> Option<u32> {
        let &(at, slot) = self.deadlines.first().filter(|&&(at, _)| at <= now)?;
        self.move_deadline(slot, Some(at), None);
        match self.flows.get_mut(slot) {
            Some(entry) => entry.deadline = None,
            None => cannot_happen!((), "a flow with a deadline is in its slot"),
        }
        Some(slot)
    }

    /// The flow that has been due longest.
    pub(super) fn first_due(&self) -> Option<u32> {
        self.due.front().copied()
    }

    pub(super) fn is_any_due(&self) -> bool {
        !self.due.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn stand(table: &mut FlowTable<u32>, slot: u32, over: bool, deadline: Option<u64>, due: bool) {
        let deadline = deadline.map(at);
        assert_eq!(table.reindex(slot, |flow| (Standing { over, deadline, due }, *flow)), Some(slot));
    }

    #[test]
    fn flows_expire_in_the_order_of_their_deadlines_and_each_once() {
        let mut table = FlowTable::new();
        for deadline in [Some(30), Some(10), None, Some(20)] {
            let slot = table.insert(|slot, _| slot);
            stand(&mut table, slot, false, deadline, false);
        }
        stand(&mut table, 3, false, Some(40), false);
        assert_eq!(table.next_deadline(), Some(at(10)));
        assert_eq!(table.take_expired(at(9)), None);
        let expired: Vec<u32> = core::iter::from_fn(|| table.take_expired(at(30))).collect();
        assert_eq!(expired, [1, 0]);
        stand(&mut table, 1, false, Some(10), false);
        assert_eq!(table.next_deadline(), Some(at(10)), "it has the deadline again");
        stand(&mut table, 1, true, Some(10), false);
        assert_eq!(table.next_deadline(), Some(at(40)), "what is over has none");
    }

    #[test]
    fn flows_are_due_in_the_order_in_which_they_came_to_be() {
        let mut table = FlowTable::new();
        for _ in 0..4 {
            let slot = table.insert(|slot, _| slot);
            stand(&mut table, slot, false, None, true);
        }
        stand(&mut table, 0, false, None, true);
        stand(&mut table, 2, false, None, false);
        assert_eq!(table.first_due(), Some(0), "it is due still");
        stand(&mut table, 0, false, None, false);
        stand(&mut table, 0, false, None, true);
        stand(&mut table, 1, true, None, true);
        assert_eq!((table.first_due(), table.len()), (Some(3), 3));
        stand(&mut table, 3, true, None, true);
        stand(&mut table, 0, true, None, true);
        assert!(!table.is_any_due());
    }
}
