//! The event queue: a hierarchical timer wheel that gives events back in the exact order of (time, sequence).
//!
//! The tick only says how events are bucketed; it never shows in the order. Nothing is cancelled here: whoever wants
//! to forget an event carries a generation in it and ignores it when it comes.

use core::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::time::Time;

const LEVELS: usize = 7;
const SLOTS: usize = 64;
const GROUP: u32 = 6;

#[derive(Clone, Copy, Debug)]
struct Entry<T> {
    time: u64,
    seq: u64,
    item: T,
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.time, self.seq).cmp(&(other.time, other.seq))
    }
}

/// A queue of timed events. Events of equal time come in the order in which they were pushed.
#[derive(Debug)]
pub struct Wheel<T> {
    shift: u32,
    /// Everything at or before this tick is in `ready` or `late`, everything after it elsewhere.
    tick: u64,
    seq: u64,
    len: usize,
    /// The events of the current tick, the next one last.
    ready: Vec<Entry<T>>,
    /// Those that were added after its tick had come.
    late: BinaryHeap<Reverse<Entry<T>>>,
    slots: Vec<Vec<Entry<T>>>,
    occupied: [u64; LEVELS],
    /// Beyond the top level.
    far: BinaryHeap<Reverse<Entry<T>>>,
    /// Reused when a slot is emptied.
    scratch: Vec<Entry<T>>,
}

#[expect(clippy::indexing_slicing, reason = "levels and slots are masked to the sizes of the arrays")]
impl<T: Copy> Wheel<T> {
    /// A wheel with a tick of 2^`shift` nanoseconds (at most 2^20, about a millisecond).
    #[must_use]
    pub fn new(shift: u32) -> Self {
        Self {
            shift: shift.min(20),
            tick: 0,
            seq: 0,
            len: 0,
            ready: Vec::new(),
            late: BinaryHeap::new(),
            slots: (0..LEVELS * SLOTS).map(|_| Vec::new()).collect(),
            occupied: [0; LEVELS],
            far: BinaryHeap::new(),
            scratch: Vec::new(),
        }
    }

    /// How many events wait.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether none waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds an event. Pushing into the past is allowed: it comes next.
    pub fn push(&mut self, time: Time, item: T) {
        let entry = Entry { time: time.0, seq: self.seq, item };
        self.seq += 1;
        self.len += 1;
        self.place(entry);
    }

    fn place(&mut self, entry: Entry<T>) {
        let tick = entry.time >> self.shift;
        if tick <= self.tick {
            self.late.push(Reverse(entry));
            return;
        }
        let level = ((63 - (tick ^ self.tick).leading_zeros()) / GROUP) as usize;
        if level >= LEVELS {
            self.far.push(Reverse(entry));
            return;
        }
        let slot = (tick >> (GROUP * level as u32)) as usize % SLOTS;
        self.occupied[level] |= 1 << slot;
        self.slots[level * SLOTS + slot].push(entry);
    }

    /// When the next event is due.
    pub fn peek(&mut self) -> Option<Time> {
        self.advance();
        match (self.ready.last(), self.late.peek()) {
            (Some(ready), Some(Reverse(late))) => Some(Time(ready.time.min(late.time))),
            (Some(entry), None) | (None, Some(Reverse(entry))) => Some(Time(entry.time)),
            (None, None) => None,
        }
    }

    /// The next event.
    pub fn pop(&mut self) -> Option<(Time, T)> {
        self.pop_until(Time::NEVER)
    }

    /// The next event, if it is not after `limit`.
    pub fn pop_until(&mut self, limit: Time) -> Option<(Time, T)> {
        self.advance();
        let is_late = match (self.ready.last(), self.late.peek()) {
            (Some(ready), Some(Reverse(late))) => late < ready,
            (ready, _) => ready.is_none(),
        };
        let entry = if is_late {
            if self.late.peek()?.0.time > limit.0 {
                return None;
            }
            self.late.pop()?.0
        } else {
            self.ready.pop_if(|entry| entry.time <= limit.0)?
        };
        self.len -= 1;
        Some((Time(entry.time), entry.item))
    }

    /// Moves on to the next tick with events, unless events of this one are left.
    fn advance(&mut self) {
        while self.ready.is_empty() && self.late.is_empty() {
            let Some(level) = self.occupied.iter().position(|&bits| bits != 0) else {
                if !self.draw_in_far() {
                    return;
                }
                continue;
            };
            // On the lowest level in use, the lowest slot holds the earliest ticks: all ticks in the wheel are after
            // the current one and share its bits above their level.
            let slot = self.occupied[level].trailing_zeros();
            self.occupied[level] &= self.occupied[level] - 1;
            let below = GROUP * level as u32;
            let above = below + GROUP;
            self.tick = (self.tick >> above << above) | (u64::from(slot) << below);
            let index = level * SLOTS + slot as usize;
            if level == 0 {
                // The emptied list takes the slot's place, with the room that it has.
                core::mem::swap(&mut self.ready, &mut self.slots[index]);
                if self.ready.len() > 1 {
                    self.ready.sort_unstable_by(|a, b| b.cmp(a));
                }
            } else {
                let empty = core::mem::take(&mut self.scratch);
                let mut entries = core::mem::replace(&mut self.slots[index], empty);
                for entry in entries.drain(..) {
                    self.place(entry);
                }
                self.scratch = entries;
            }
        }
    }

    /// With the wheel empty, jumps to the first far event and takes in what is now within reach.
    fn draw_in_far(&mut self) -> bool {
        let Some(Reverse(first)) = self.far.pop() else { return false };
        self.tick = first.time >> self.shift;
        self.place(first);
        let reach = GROUP * LEVELS as u32;
        while let Some(Reverse(next)) = self.far.peek() {
            if (next.time >> self.shift >> reach) != (self.tick >> reach) {
                break;
            }
            if let Some(Reverse(next)) = self.far.pop() {
                self.place(next);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::{Arbitrary, Gen, quickcheck};

    #[derive(Clone, Debug)]
    enum Op {
        Push(u64),
        Pop,
        PopUntil(u64),
    }

    impl Arbitrary for Op {
        fn arbitrary(g: &mut Gen) -> Self {
            // Spans of every size, from within a tick to beyond the top level.
            let bits = u64::arbitrary(g) % 63;
            let span = u64::arbitrary(g) >> (63 - bits) >> 1;
            match u8::arbitrary(g) % 5 {
                0..3 => Self::Push(span),
                3 => Self::Pop,
                _ => Self::PopUntil(span),
            }
        }
    }

    /// The model: a heap of (time, sequence).
    fn agrees(ops: &[Op], shift: u32) -> bool {
        let mut wheel = Wheel::new(shift);
        let mut model = BinaryHeap::new();
        let mut now = 0_u64;
        let mut seq = 0_u64;
        for op in ops {
            match *op {
                Op::Push(span) => {
                    let at = now.saturating_add(span);
                    wheel.push(Time(at), seq);
                    model.push(Reverse((at, seq)));
                    seq += 1;
                }
                Op::Pop => {
                    let got = wheel.pop().map(|(time, item)| (time.0, item));
                    if got != model.pop().map(|Reverse(pair)| pair) {
                        return false;
                    }
                    now = got.map_or(now, |(time, _)| time);
                }
                Op::PopUntil(span) => {
                    let limit = now.saturating_add(span);
                    let got = wheel.pop_until(Time(limit)).map(|(time, item)| (time.0, item));
                    let due = model.peek().is_some_and(|Reverse(pair)| pair.0 <= limit);
                    if got != if due { model.pop().map(|Reverse(pair)| pair) } else { None } {
                        return false;
                    }
                    now = got.map_or(limit, |(time, _)| time);
                }
            }
            if wheel.len() != model.len() {
                return false;
            }
        }
        while let Some(Reverse(pair)) = model.pop() {
            if wheel.pop().map(|(time, item)| (time.0, item)) != Some(pair) {
                return false;
            }
        }
        wheel.pop().is_none() && wheel.is_empty()
    }

    quickcheck! {
        fn same_order_as_a_heap(ops: Vec<Op>, shift: u32) -> bool {
            agrees(&ops, shift % 24)
        }
    }

    #[test]
    fn many_in_order() {
        let mut stream = crate::rng::Key::mix(9, "wheel", "test").stream();
        let ops: Vec<Op> = (0..50_000)
            .map(|_| match stream.below(5) {
                0..3 => Op::Push(stream.next() >> (1 + stream.below(63))),
                3 => Op::Pop,
                _ => Op::PopUntil(stream.below(1 << 30)),
            })
            .collect();
        for shift in [0, 10, 14, 20] {
            assert!(agrees(&ops, shift), "tick 2^{shift}");
        }
    }
}
