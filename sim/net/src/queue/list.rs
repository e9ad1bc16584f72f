//! Plain lists: drop-head, and strict priorities.

use std::collections::VecDeque;

use crate::arena::PacketId;
use crate::fault::DropCause;
use crate::queue::{Discipline, Effects, Item};
use crate::time::Time;

/// First in, first out; when full, the oldest go.
#[derive(Debug)]
pub(crate) struct DropHead {
    items: VecDeque<Item>,
    bytes: u64,
    limit: u64,
}

impl DropHead {
    pub(crate) const fn new(limit: u64) -> Self {
        Self { items: VecDeque::new(), bytes: 0, limit }
    }

    fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.bytes -= u64::from(item.len);
        Some(item)
    }
}

impl Discipline for DropHead {
    fn enqueue(&mut self, item: Item, effects: &mut Effects) {
        self.bytes += u64::from(item.len);
        self.items.push_back(item);
        while self.bytes > self.limit {
            let Some(victim) = self.pop() else { return };
            effects.dropped.push((victim.packet, DropCause::QueueFull));
        }
    }

    fn dequeue(&mut self, _now: Time, _effects: &mut Effects) -> Option<Item> {
        self.pop()
    }

    fn backlog(&self) -> (usize, u64) {
        (self.items.len(), self.bytes)
    }

    fn drain(&mut self, out: &mut Vec<PacketId>) {
        out.extend(self.items.drain(..).map(|item| item.packet));
        self.bytes = 0;
    }
}

/// Strict priorities: class 0 before class 1 and so on; in each, drop-tail.
#[derive(Debug)]
pub(crate) struct Priority {
    classes: Vec<DropHead>,
}

impl Priority {
    pub(crate) fn new(classes: u8, limit: u64) -> Self {
        Self { classes: (0..classes.max(1)).map(|_| DropHead::new(limit)).collect() }
    }
}

impl Discipline for Priority {
    fn enqueue(&mut self, item: Item, effects: &mut Effects) {
        let class = usize::from(item.class) % self.classes.len();
        let Some(queue) = self.classes.get_mut(class) else { return };
        if queue.bytes + u64::from(item.len) > queue.limit {
            effects.dropped.push((item.packet, DropCause::QueueFull));
        } else {
            queue.enqueue(item, effects);
        }
    }

    fn dequeue(&mut self, _now: Time, _effects: &mut Effects) -> Option<Item> {
        self.classes.iter_mut().find_map(DropHead::pop)
    }

    fn backlog(&self) -> (usize, u64) {
        self.classes.iter().fold((0, 0), |(n, bytes), queue| (n + queue.items.len(), bytes + queue.bytes))
    }

    fn drain(&mut self, out: &mut Vec<PacketId>) {
        for queue in &mut self.classes {
            queue.drain(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::testing::item;

    #[test]
    fn drop_head_keeps_the_newest() {
        let mut queue = DropHead::new(2_500);
        let mut effects = Effects::default();
        for n in 0..4 {
            queue.enqueue(item(n, 1_000), &mut effects);
        }
        assert_eq!(effects.dropped, [(PacketId(0), DropCause::QueueFull), (PacketId(1), DropCause::QueueFull)]);
        assert_eq!(queue.backlog(), (2, 2_000));
        assert_eq!(queue.pop().map(|item| item.packet), Some(PacketId(2)));
    }

    #[test]
    fn priorities_are_strict() {
        let mut queue = Priority::new(3, 2_000);
        let mut effects = Effects::default();
        for (n, class) in [(0, 2), (1, 0), (2, 1), (3, 0), (4, 0)] {
            queue.enqueue(Item { class, ..item(n, 1_000) }, &mut effects);
        }
        assert_eq!(effects.dropped, [(PacketId(4), DropCause::QueueFull)]);
        let sent: Vec<u32> =
            core::iter::from_fn(|| queue.dequeue(Time(0), &mut effects)).map(|item| item.packet.0).collect();
        assert_eq!(sent, [1, 3, 2, 0]);
    }
}
