//! Who is due, and who has something to send: both asked in constant time, whatever the number of sessions.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::config::Priority;
use crate::time::Instant;

/// A slot that has no entry.
const NOWHERE: u32 = u32::MAX;

/// A binary heap of deadlines with one entry a slot, which can be moved.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    heap: Vec<(Instant, u32)>,
    /// Where each slot's entry is in the heap.
    position: Vec<u32>,
}

impl Deadlines {
    pub(super) fn first(&self) -> Option<(Instant, u32)> {
        self.heap.first().copied()
    }

    /// Sets, moves or removes the deadline of a slot.
    #[inline]
    pub(super) fn set(&mut self, slot: u32, deadline: Option<Instant>) {
        // Most calls change nothing.
        let entry = self.position.get(slot as usize).and_then(|at| self.heap.get(*at as usize));
        if entry.map(|entry| entry.0) != deadline {
            self.replace(slot, deadline);
        }
    }

    fn replace(&mut self, slot: u32, deadline: Option<Instant>) {
        let index = slot as usize;
        if self.position.len() <= index {
            if deadline.is_none() {
                return;
            }
            self.position.resize(index + 1, NOWHERE);
        }
        let at = self.position.get(index).copied().unwrap_or(NOWHERE);
        match (deadline, at) {
            (None, NOWHERE) => {}
            (None, at) => self.remove_at(at as usize),
            (Some(deadline), NOWHERE) => {
                self.heap.push((deadline, slot));
                self.up(self.heap.len() - 1);
            }
            (Some(deadline), at) => {
                if let Some(entry) = self.heap.get_mut(at as usize) {
                    entry.0 = deadline;
                }
                let at = self.up(at as usize);
                self.down(at);
            }
        }
    }

    fn remove_at(&mut self, at: usize) {
        let last = self.heap.len() - 1;
        self.swap(at, last);
        if let Some((_, slot)) = self.heap.pop() {
            self.note(slot, NOWHERE);
        }
        if at < self.heap.len() {
            let at = self.up(at);
            self.down(at);
        }
    }

    fn key(&self, at: usize) -> Option<(Instant, u32)> {
        self.heap.get(at).copied()
    }

    fn note(&mut self, slot: u32, at: u32) {
        if let Some(position) = self.position.get_mut(slot as usize) {
            *position = at;
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        for at in [a, b] {
            if let Some((_, slot)) = self.key(at) {
                self.note(slot, at as u32);
            }
        }
    }

    fn up(&mut self, mut at: usize) -> usize {
        if let Some((_, slot)) = self.key(at) {
            self.note(slot, at as u32);
        }
        while at > 0 {
            let parent = (at - 1) / 2;
            if self.key(parent) <= self.key(at) {
                break;
            }
            self.swap(parent, at);
            at = parent;
        }
        at
    }

    fn down(&mut self, mut at: usize) {
        loop {
            let (left, right) = (2 * at + 1, 2 * at + 2);
            let child = match (self.key(left), self.key(right)) {
                (Some(l), Some(r)) if r < l => right,
                (Some(_), _) => left,
                (None, _) => return,
            };
            if self.key(at) <= self.key(child) {
                return;
            }
            self.swap(at, child);
            at = child;
        }
    }
}

/// Levels of urgency: one for control, and one for each priority of user data.
const LEVELS: usize = Priority::LEVELS + 1;

/// Slots with something to send: control first, then by priority; round robin within a level (RFC 7016 §3.6.2.3
/// leaves the manner to the implementation).
///
/// A slot that changes its level, or no longer wants to send, leaves its old entry behind to be skipped when its
/// turn comes; it has at most one entry a level, so the ring is bounded.
#[derive(Debug, Default)]
pub(super) struct ReadyRing {
    levels: [VecDeque<u32>; LEVELS],
    /// A bit for each level that is not empty.
    occupied: u16,
    /// Per slot: the level wanted (`u8::MAX`: none), and a bit for each level that holds an entry.
    slots: Vec<(u8, u16)>,
}

impl ReadyRing {
    /// Notes what a slot wants: `None` nothing, `Some(None)` to send control, `Some(Some(priority))` data.
    pub(super) fn set(&mut self, slot: u32, want: Option<Option<Priority>>) {
        let index = slot as usize;
        if self.slots.len() <= index {
            self.grow(index);
        }
        let level = match want {
            None => u8::MAX,
            Some(None) => 0,
            Some(Some(priority)) => (Priority::LEVELS - priority.level()) as u8,
        };
        let Some((wanted, queued)) = self.slots.get_mut(index) else { return };
        *wanted = level;
        if let Some(ring) = self.levels.get_mut(usize::from(level))
            && *queued & (1 << level) == 0
        {
            *queued |= 1 << level;
            ring.push_back(slot);
            self.occupied |= 1 << level;
        }
    }

    #[cold]
    fn grow(&mut self, index: usize) {
        self.slots.resize(index + 1, (u8::MAX, 0));
    }

    /// Whether no level has an entry.
    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.occupied == 0
    }

    /// Takes the next slot to serve. It must be [`set`](Self::set) again afterwards.
    pub(super) fn pop(&mut self) -> Option<u32> {
        while self.occupied != 0 {
            let level = self.occupied.trailing_zeros() as usize;
            let ring = self.levels.get_mut(level)?;
            let slot = ring.pop_front();
            if ring.is_empty() {
                self.occupied &= !(1 << level);
            }
            let slot = slot?;
            let Some((wanted, queued)) = self.slots.get_mut(slot as usize) else { continue };
            *queued &= !(1 << level);
            if usize::from(*wanted) == level {
                *wanted = u8::MAX;
                return Some(slot);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use quickcheck::quickcheck;

    quickcheck! {
        fn deadlines_come_in_order(ops: Vec<(u8, Option<u16>)>) -> bool {
            let (mut deadlines, mut model) = (Deadlines::default(), [None; 256]);
            for (slot, deadline) in ops {
                let deadline = deadline.map(|d| Instant::from_micros(u64::from(d)));
                deadlines.set(u32::from(slot), deadline);
                model[usize::from(slot)] = deadline;
                let expected = model.iter().flatten().min().copied();
                assert_eq!(deadlines.first().map(|(at, _)| at), expected);
            }
            let mut left: BTreeSet<_> = (0u32..).zip(model).filter_map(|(slot, at)| Some((at?, slot))).collect();
            while let Some(first) = deadlines.first() {
                assert_eq!(left.pop_first(), Some(first));
                deadlines.set(first.1, None);
            }
            left.is_empty()
        }
    }

    #[test]
    fn control_goes_before_data_and_high_priority_before_low() {
        let mut ring = ReadyRing::default();
        ring.set(1, Some(Some(Priority::Background)));
        ring.set(2, Some(Some(Priority::Urgent)));
        ring.set(3, Some(None));
        assert_eq!([ring.pop(), ring.pop(), ring.pop(), ring.pop()], [Some(3), Some(2), Some(1), None]);
    }

    #[test]
    fn slots_of_one_level_take_turns() {
        let mut ring = ReadyRing::default();
        ring.set(1, Some(Some(Priority::Routine)));
        ring.set(2, Some(Some(Priority::Routine)));
        assert_eq!(ring.pop(), Some(1));
        ring.set(1, Some(Some(Priority::Routine)));
        assert_eq!([ring.pop(), ring.pop(), ring.pop()], [Some(2), Some(1), None]);
    }

    #[test]
    fn a_slot_that_changes_its_mind_is_served_once_and_leaves_at_most_one_entry_a_level() {
        let mut ring = ReadyRing::default();
        for _ in 0..1_000 {
            ring.set(1, Some(Some(Priority::Low)));
            ring.set(1, Some(None));
            ring.set(1, None);
        }
        assert!(ring.levels.iter().map(VecDeque::len).sum::<usize>() <= LEVELS);
        assert_eq!(ring.pop(), None);
        ring.set(1, Some(Some(Priority::Low)));
        assert_eq!([ring.pop(), ring.pop()], [Some(1), None]);
    }
}
