//! Which flow of a session sends next.

use alloc::vec::Vec;

use crate::config::Priority;
use crate::invariant::cannot_happen;

/// The ready flows of a session by priority: strict between levels, round robin within one. O(1) for everything:
/// each level is a doubly linked list through a table of slots, and a slot knows where it is queued.
#[derive(Debug, Default)]
pub(crate) struct Scheduler {
    nodes: Vec<Node>,
    levels: [Level; Priority::LEVELS],
    /// A bit for each level with flows, the lowest level first.
    occupied: u8,
}

#[derive(Clone, Copy, Debug, Default)]
struct Node {
    queued: Option<Priority>,
    before: Option<u32>,
    behind: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Level {
    head: Option<u32>,
    tail: Option<u32>,
}

/// The priorities by level.
const PRIORITIES: [Priority; Priority::LEVELS] = [
    Priority::Background,
    Priority::Bulk,
    Priority::Low,
    Priority::Routine,
    Priority::Elevated,
    Priority::High,
    Priority::Immediate,
    Priority::Urgent,
];

impl Scheduler {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Queues a flow at the end of its level unless it is there already. A flow queued at another level moves.
    pub(crate) fn insert(&mut self, slot: u32, priority: Priority) {
        match self.node(slot).queued {
            Some(queued) if queued == priority => return,
            Some(_) => self.remove(slot),
            None => {}
        }
        let Some(level) = self.levels.get_mut(priority.level()) else {
            return cannot_happen!((), "each priority has a level");
        };
        let before = level.tail.replace(slot);
        if before.is_none() {
            level.head = Some(slot);
            self.occupied |= 1 << priority.level();
        }
        if let Some(index) = before {
            self.update(index, |node| node.behind = Some(slot));
        }
        self.update(slot, |node| *node = Node { queued: Some(priority), before, behind: None });
    }

    /// Takes a flow out, wherever it is queued.
    pub(crate) fn remove(&mut self, slot: u32) {
        let Node { queued: Some(priority), before, behind } = self.node(slot) else { return };
        if let Some(level) = self.levels.get_mut(priority.level()) {
            if before.is_none() {
                level.head = behind;
            }
            if behind.is_none() {
                level.tail = before;
            }
            if level.head.is_none() {
                self.occupied &= !(1 << priority.level());
            }
        }
        if let Some(before) = before {
            self.update(before, |node| node.behind = behind);
        }
        if let Some(behind) = behind {
            self.update(behind, |node| node.before = before);
        }
        self.update(slot, |node| *node = Node::default());
    }

    /// The flow that is to send next, left at the head.
    pub(crate) fn peek(&self) -> Option<(u32, Priority)> {
        let level = self.occupied.checked_ilog2()? as usize;
        Some((self.levels.get(level)?.head?, *PRIORITIES.get(level)?))
    }

    /// Moves a flow to the end of its level, after it has had its turn. Nothing happens if it is not queued.
    pub(crate) fn rotate(&mut self, slot: u32) {
        if let Some(priority) = self.node(slot).queued {
            self.remove(slot);
            self.insert(slot, priority);
        }
    }

    /// The level of the flow that is to send next.
    pub(crate) fn highest(&self) -> Option<Priority> {
        self.peek().map(|(_, priority)| priority)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.occupied == 0
    }

    fn node(&self, slot: u32) -> Node {
        self.nodes.get(slot as usize).copied().unwrap_or_default()
    }

    fn update(&mut self, slot: u32, change: impl FnOnce(&mut Node)) {
        let index = slot as usize;
        if index >= self.nodes.len() {
            self.nodes.resize(index + 1, Node::default());
        }
        if let Some(node) = self.nodes.get_mut(index) {
            change(node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::VecDeque;
    use quickcheck::quickcheck;

    quickcheck! {
        fn it_is_a_queue_per_level(ops: Vec<(u8, u8, u8)>) -> bool {
            let mut scheduler = Scheduler::new();
            let mut model: [VecDeque<u32>; Priority::LEVELS] = Default::default();
            for (op, slot, priority) in ops {
                let slot = u32::from(slot % 12);
                let priority = PRIORITIES[usize::from(priority) % Priority::LEVELS];
                let queued = model.iter().position(|level| level.contains(&slot));
                match op % 4 {
                    0 | 1 => {
                        scheduler.insert(slot, priority);
                        if queued != Some(priority.level()) {
                            model.iter_mut().for_each(|level| level.retain(|&other| other != slot));
                            model[priority.level()].push_back(slot);
                        }
                    }
                    2 => {
                        scheduler.remove(slot);
                        model.iter_mut().for_each(|level| level.retain(|&other| other != slot));
                    }
                    _ => {
                        scheduler.rotate(slot);
                        if let Some(level) = queued {
                            model[level].retain(|&other| other != slot);
                            model[level].push_back(slot);
                        }
                    }
                }
                let expected = (0..Priority::LEVELS).rev().find_map(|level| Some((*model[level].front()?, level)));
                assert_eq!(scheduler.peek().map(|(slot, priority)| (slot, priority.level())), expected);
                assert_eq!(scheduler.is_empty(), expected.is_none());
            }
            true
        }
    }

    #[test]
    fn levels_are_strict_and_flows_of_one_level_take_turns() {
        let mut scheduler = Scheduler::new();
        scheduler.insert(1, Priority::Bulk);
        scheduler.insert(2, Priority::High);
        scheduler.insert(3, Priority::High);
        let mut turns = Vec::new();
        for _ in 0..4 {
            let (slot, _) = scheduler.peek().unwrap();
            turns.push(slot);
            scheduler.rotate(slot);
        }
        assert_eq!(turns, [2, 3, 2, 3]);
        assert_eq!(scheduler.highest(), Some(Priority::High));
        scheduler.remove(2);
        scheduler.remove(3);
        assert_eq!(scheduler.peek(), Some((1, Priority::Bulk)));
    }
}
