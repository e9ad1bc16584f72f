//! Queues by flow: FQ-CoDel (RFC 8290) and deficit round robin (Shreedhar and Varghese 1995).

use std::collections::VecDeque;

use crate::arena::PacketId;
use crate::fault::DropCause;
use crate::queue::codel::Codel;
use crate::queue::{Discipline, Effects, FqCodelSpec, Item};
use crate::rng::below;
use crate::time::Time;

#[derive(Clone, Debug, Default)]
struct Flow {
    items: VecDeque<Item>,
    bytes: u64,
    deficit: i64,
    codel: Codel,
    active: bool,
}

/// Flow queues and their bytes.
#[derive(Debug)]
struct Flows {
    flows: Vec<Flow>,
    bytes: u64,
    packets: usize,
}

#[expect(clippy::indexing_slicing, reason = "flow numbers are below the number of flows by construction")]
impl Flows {
    fn new(queues: u16) -> Self {
        Self { flows: vec![Flow::default(); usize::from(queues.max(1))], bytes: 0, packets: 0 }
    }

    fn index(&self, item: &Item) -> usize {
        below(item.flow, self.flows.len() as u64) as usize
    }

    /// Queues an item. Returns its flow if that becomes active by it, with `quantum` as its deficit.
    fn push(&mut self, item: Item, quantum: u32) -> Option<usize> {
        let index = self.index(&item);
        self.bytes += u64::from(item.len);
        self.packets += 1;
        let flow = &mut self.flows[index];
        flow.bytes += u64::from(item.len);
        flow.items.push_back(item);
        if flow.active {
            return None;
        }
        flow.active = true;
        flow.deficit = quantum.into();
        Some(index)
    }

    /// Drops items of the fattest flow, chosen by `victim`, until no more than `limit` bytes are left.
    fn shed(&mut self, limit: u64, effects: &mut Effects, victim: impl Fn(&mut Self, usize) -> Option<Item>) {
        while self.bytes > limit {
            let fattest = self.fattest();
            let Some(item) = victim(self, fattest) else { return };
            effects.dropped.push((item.packet, DropCause::QueueFull));
        }
    }

    fn count_out(&mut self, index: usize, item: &Item) {
        self.flows[index].bytes -= u64::from(item.len);
        self.bytes -= u64::from(item.len);
        self.packets -= 1;
    }

    fn pop_front(&mut self, index: usize) -> Option<Item> {
        let item = self.flows[index].items.pop_front()?;
        self.count_out(index, &item);
        Some(item)
    }

    fn pop_back(&mut self, index: usize) -> Option<Item> {
        let item = self.flows[index].items.pop_back()?;
        self.count_out(index, &item);
        Some(item)
    }

    /// The flow with the most bytes; the first of several.
    fn fattest(&self) -> usize {
        (0..self.flows.len()).rev().max_by_key(|&index| self.flows[index].bytes).unwrap_or(0)
    }

    fn drain(&mut self, out: &mut Vec<PacketId>) {
        for flow in &mut self.flows {
            out.extend(flow.items.drain(..).map(|item| item.packet));
            flow.bytes = 0;
        }
        self.bytes = 0;
        self.packets = 0;
    }
}

/// FQ-CoDel: flows that have just begun go first, each flow has its own CoDel.
#[derive(Debug)]
pub(crate) struct FqCodel {
    spec: FqCodelSpec,
    flows: Flows,
    new: VecDeque<usize>,
    old: VecDeque<usize>,
}

impl FqCodel {
    pub(crate) fn new(spec: FqCodelSpec) -> Self {
        let spec = FqCodelSpec { quantum: spec.quantum.max(1), ..spec };
        Self { spec, flows: Flows::new(spec.queues), new: VecDeque::new(), old: VecDeque::new() }
    }
}

#[expect(clippy::indexing_slicing, reason = "flow numbers are below the number of flows by construction")]
impl Discipline for FqCodel {
    fn enqueue(&mut self, item: Item, effects: &mut Effects) {
        self.new.extend(self.flows.push(item, self.spec.quantum));
        // RFC 8290 §4.1: at the limit the head of the fattest flow goes.
        self.flows.shed(self.spec.codel.limit_bytes, effects, Flows::pop_front);
    }

    // RFC 8290 §4.2.
    fn dequeue(&mut self, now: Time, effects: &mut Effects) -> Option<Item> {
        loop {
            let from_new = !self.new.is_empty();
            let index = *if from_new { &self.new } else { &self.old }.front()?;
            let turn = |fq: &mut Self| if from_new { fq.new.pop_front() } else { fq.old.pop_front() };
            if self.flows.flows[index].deficit <= 0 {
                self.flows.flows[index].deficit += i64::from(self.spec.quantum);
                turn(self);
                self.old.push_back(index);
                continue;
            }
            let mut codel = core::mem::take(&mut self.flows.flows[index].codel);
            let flows = &mut self.flows;
            let item = codel.dequeue(now, &self.spec.codel, effects, || {
                let item = flows.pop_front(index)?;
                Some((item, flows.flows[index].bytes))
            });
            self.flows.flows[index].codel = codel;
            if let Some(item) = item {
                self.flows.flows[index].deficit -= i64::from(item.len);
                return Some(item);
            }
            turn(self);
            if from_new {
                // An empty new flow goes round once more, so that it cannot starve the old ones.
                self.old.push_back(index);
            } else {
                self.flows.flows[index].active = false;
            }
        }
    }

    fn backlog(&self) -> (usize, u64) {
        (self.flows.packets, self.flows.bytes)
    }

    fn drain(&mut self, out: &mut Vec<PacketId>) {
        self.flows.drain(out);
    }
}

/// Deficit round robin.
#[derive(Debug)]
pub(crate) struct Drr {
    flows: Flows,
    quantum: u32,
    limit: u64,
    round: VecDeque<usize>,
}

impl Drr {
    pub(crate) fn new(queues: u16, quantum: u32, limit: u64) -> Self {
        Self { flows: Flows::new(queues), quantum: quantum.max(1), limit, round: VecDeque::new() }
    }
}

#[expect(clippy::indexing_slicing, reason = "flow numbers are below the number of flows by construction")]
impl Discipline for Drr {
    fn enqueue(&mut self, item: Item, effects: &mut Effects) {
        self.round.extend(self.flows.push(item, self.quantum));
        self.flows.shed(self.limit, effects, Flows::pop_back);
    }

    fn dequeue(&mut self, _now: Time, _effects: &mut Effects) -> Option<Item> {
        loop {
            let index = *self.round.front()?;
            let flow = &mut self.flows.flows[index];
            match flow.items.front() {
                None => {
                    flow.active = false;
                    self.round.pop_front();
                }
                Some(item) if i64::from(item.len) > flow.deficit => {
                    flow.deficit += i64::from(self.quantum);
                    self.round.rotate_left(1);
                }
                Some(item) => {
                    flow.deficit -= i64::from(item.len);
                    return self.flows.pop_front(index);
                }
            }
        }
    }

    fn backlog(&self) -> (usize, u64) {
        (self.flows.packets, self.flows.bytes)
    }

    fn drain(&mut self, out: &mut Vec<PacketId>) {
        self.flows.drain(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::testing::item;

    /// An item of a flow that hashes to its own queue of many.
    fn of(flow: u64, packet: u32, len: u32) -> Item {
        Item { flow: flow << 60, ..item(packet, len) }
    }

    fn order(queue: &mut dyn Discipline, count: usize) -> Vec<u32> {
        let mut effects = Effects::default();
        (0..count).filter_map(|_| queue.dequeue(Time(0), &mut effects)).map(|item| item.packet.0).collect()
    }

    #[test]
    fn drr_shares_bytes_and_not_packets() {
        let mut queue = Drr::new(16, 500, 1 << 20);
        let mut effects = Effects::default();
        for n in 0..20 {
            queue.enqueue(of(1, n, 1_000), &mut effects);
            queue.enqueue(of(2, 100 + n, 500), &mut effects);
        }
        let sent = order(&mut queue, 15);
        let big = sent.iter().filter(|&&n| n < 100).count();
        assert_eq!(big, 5, "{sent:?}");
    }

    #[test]
    fn drr_full_takes_from_the_longest() {
        let mut queue = Drr::new(16, 500, 2_000);
        let mut effects = Effects::default();
        for n in 0..3 {
            queue.enqueue(of(1, n, 600), &mut effects);
        }
        queue.enqueue(of(2, 9, 600), &mut effects);
        assert_eq!(effects.dropped, [(PacketId(2), DropCause::QueueFull)]);
        assert_eq!(queue.backlog(), (3, 1_800));
    }

    #[test]
    fn sparse_flows_go_first() {
        let mut queue = FqCodel::new(FqCodelSpec { queues: 16, ..FqCodelSpec::default() });
        let mut effects = Effects::default();
        for n in 0..10 {
            queue.enqueue(of(1, n, 1_500), &mut effects);
        }
        assert_eq!(order(&mut queue, 2), [0, 1]);
        queue.enqueue(of(2, 100, 100), &mut effects);
        // Flow 1 has used up its quantum and is old: the new flow overtakes its backlog.
        assert_eq!(order(&mut queue, 3), [100, 2, 3]);
        assert!(effects.dropped.is_empty());
    }

    #[test]
    fn fq_codel_full_takes_the_head_of_the_fattest() {
        let mut spec = FqCodelSpec { queues: 16, ..FqCodelSpec::default() };
        spec.codel.limit_bytes = 3_000;
        let mut queue = FqCodel::new(spec);
        let mut effects = Effects::default();
        for n in 0..2 {
            queue.enqueue(of(1, n, 1_500), &mut effects);
        }
        queue.enqueue(of(2, 7, 1_000), &mut effects);
        assert_eq!(effects.dropped, [(PacketId(0), DropCause::QueueFull)]);
    }

    #[test]
    fn two_flows_take_turns() {
        let mut queue = FqCodel::new(FqCodelSpec { queues: 16, ..FqCodelSpec::default() });
        let mut effects = Effects::default();
        for n in 0..6 {
            queue.enqueue(of(1, n, 1_514), &mut effects);
            queue.enqueue(of(2, 100 + n, 1_514), &mut effects);
        }
        assert_eq!(order(&mut queue, 6), [0, 100, 1, 101, 2, 102]);
    }
}
