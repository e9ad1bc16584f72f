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
/// The part of a key in [`Wheel::order`] that is a place.
const PLACE: u64 = 0xffff_ffff;

/// An event in a slot. Those of a slot stand in the order in which they were pushed.
#[derive(Clone, Copy, Debug)]
struct Entry<T> {
    time: u64,
    item: T,
}

/// An event in a heap, where its place says nothing.
#[derive(Clone, Copy, Debug)]
struct Numbered<T> {
    time: u64,
    seq: u64,
    item: T,
}

impl<T> PartialEq for Numbered<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Numbered<T> {}

impl<T> PartialOrd for Numbered<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Numbered<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.time, self.seq).cmp(&(other.time, other.seq))
    }
}

/// A queue of timed events. Events of equal time come in the order in which they were pushed.
///
/// Slots need no sequence numbers. What is pushed for a tick goes to the end of the one slot that has this tick at that
/// time. A slot that comes nearer is emptied in order before anything can be pushed after it.
#[derive(Debug)]
pub struct Wheel<T> {
    shift: u32,
    /// Everything at or before this tick is in `ready` or `late`, everything after it elsewhere.
    tick: u64,
    seq: u64,
    len: usize,
    /// The events of the current tick, as they were pushed.
    ready: Vec<Entry<T>>,
    /// Those of them that are left, the next one last: the time within the tick, and below it the place in `ready`.
    /// Sorting these is faster than sorting events.
    order: Vec<u64>,
    /// Whether nobody has asked for the events of this tick yet.
    fresh: bool,
    /// Those that were added after its tick had come.
    late: BinaryHeap<Reverse<Numbered<T>>>,
    slots: Vec<Vec<Entry<T>>>,
    occupied: [u64; LEVELS],
    /// Beyond the top level.
    far: BinaryHeap<Reverse<Numbered<T>>>,
    /// Reused when a slot is emptied.
    scratch: Vec<Entry<T>>,
}

#[expect(
    clippy::indexing_slicing,
    reason = "levels and slots are masked to the sizes of the arrays, places are counted"
)]
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
            order: Vec::new(),
            fresh: false,
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
    // Inlined, as the whole way to the slot is: the event is written where it stays. Written to the stack in parts and
    // then copied as one, it would have to wait for all stores before it.
    #[inline(always)]
    pub fn push(&mut self, time: Time, item: T) {
        self.len += 1;
        self.place(time.0, item);
    }

    #[inline(always)]
    fn place(&mut self, time: u64, item: T) {
        let tick = time >> self.shift;
        if tick <= self.tick {
            return Self::number(&mut self.late, &mut self.seq, time, item);
        }
        let level = ((63 - (tick ^ self.tick).leading_zeros()) / GROUP) as usize;
        if level >= LEVELS {
            return Self::number(&mut self.far, &mut self.seq, time, item);
        }
        let slot = (tick >> (GROUP * level as u32)) as usize % SLOTS;
        self.occupied[level] |= 1 << slot;
        self.slots[level * SLOTS + slot].push(Entry { time, item });
    }

    #[inline(never)]
    fn number(heap: &mut BinaryHeap<Reverse<Numbered<T>>>, seq: &mut u64, time: u64, item: T) {
        *seq += 1;
        heap.push(Reverse(Numbered { time, seq: *seq, item }));
    }

    /// The next event of `ready`.
    fn first(&self) -> Option<Entry<T>> {
        self.order.last().map(|&key| self.ready[(key & PLACE) as usize])
    }

    /// When the next event is due.
    pub fn peek(&mut self) -> Option<Time> {
        self.advance();
        match (self.first(), self.late.peek()) {
            (Some(ready), Some(Reverse(late))) => Some(Time(ready.time.min(late.time))),
            (Some(entry), None) => Some(Time(entry.time)),
            (None, Some(Reverse(entry))) => Some(Time(entry.time)),
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
        // What is late was pushed later: of two at the same time it is the second.
        let ready = self.first().filter(|ready| self.late.peek().is_none_or(|Reverse(late)| ready.time <= late.time));
        let (time, item) = match ready {
            Some(entry) => (entry.time, entry.item),
            None => self.late.peek().map(|Reverse(entry)| (entry.time, entry.item))?,
        };
        if time > limit.0 {
            return None;
        }
        if ready.is_some() {
            self.order.pop();
        } else {
            self.late.pop();
        }
        self.len -= 1;
        Some((Time(time), item))
    }

    /// Whether a tick has just begun with at least so many events.
    pub(crate) const fn is_fresh(&self, least: usize) -> bool {
        self.fresh && self.ready.len() >= least
    }

    /// The events of a tick that has just begun, in no particular order. After that it has not just begun any more.
    pub(crate) fn take_fresh(&mut self) -> impl Iterator<Item = T> + Clone {
        self.fresh = false;
        self.ready.iter().map(|entry| entry.item)
    }

    /// Moves on to the next tick with events, unless events of this one are left.
    fn advance(&mut self) {
        while self.order.is_empty() && self.late.is_empty() {
            let Some(level) = self.occupied.iter().position(|&bits| bits != 0) else {
                if !self.draw_in_far() {
                    return;
                }
                continue;
            };
            // On the lowest level in use, the lowest slot holds the earliest ticks. The reason: all ticks in the wheel
            // are after the current one, and share its bits above their level.
            let slot = self.occupied[level].trailing_zeros();
            self.occupied[level] &= self.occupied[level] - 1;
            let below = GROUP * level as u32;
            let above = below + GROUP;
            self.tick = (self.tick >> above << above) | (u64::from(slot) << below);
            let index = level * SLOTS + slot as usize;
            if level == 0 {
                // The emptied list takes the slot's place, with the room that it has.
                self.ready.clear();
                core::mem::swap(&mut self.ready, &mut self.slots[index]);
                self.put_in_order();
            } else {
                let empty = core::mem::take(&mut self.scratch);
                let mut entries = core::mem::replace(&mut self.slots[index], empty);
                for entry in entries.drain(..) {
                    self.place(entry.time, entry.item);
                }
                self.scratch = entries;
            }
        }
    }

    fn put_in_order(&mut self) {
        let begin = self.tick << self.shift;
        self.order.extend((0..).zip(&self.ready).map(|(place, entry)| (entry.time - begin) << 32 | place));
        if self.order.len() > 1 {
            self.order.sort_unstable_by(|a, b| b.cmp(a));
        }
        self.fresh = true;
    }

    /// With the wheel empty, jumps to the first far event and takes in what is now within reach.
    fn draw_in_far(&mut self) -> bool {
        let Some(Reverse(first)) = self.far.pop() else { return false };
        self.tick = first.time >> self.shift;
        self.place(first.time, first.item);
        let reach = GROUP * LEVELS as u32;
        while let Some(Reverse(next)) = self.far.peek() {
            if (next.time >> self.shift >> reach) != (self.tick >> reach) {
                break;
            }
            if let Some(Reverse(next)) = self.far.pop() {
                self.place(next.time, next.item);
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
