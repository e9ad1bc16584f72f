//! CoDel (RFC 8289), by integers.

use std::collections::VecDeque;

use crate::arena::PacketId;
use crate::fault::DropCause;
use crate::queue::{CodelSpec, Discipline, Effects, Item};
use crate::time::{Duration, Time, isqrt};

/// A backlog of this much is never thinned (RFC 8289 §4.4: one MTU).
const MTU: u64 = 1_514;

/// The state of the control law, apart from the packets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Codel {
    /// When the sojourn will have been above target for an interval.
    first_above: Option<Time>,
    drop_next: Time,
    count: u64,
    last_count: u64,
    dropping: bool,
}

/// RFC 8289 §5.5 `control_law`: the interval over the square root of the count.
fn control_law(t: Time, interval: Duration, count: u64) -> Time {
    let interval = interval.0.min(u64::from(u32::MAX));
    t + Duration(isqrt(interval * interval / count.max(1)))
}

impl Codel {
    /// RFC 8289 §5.6 `dodequeue`: the packet that has just come off a queue of `bytes` left, whether it may be dropped.
    fn may_drop(&mut self, now: Time, item: Option<&Item>, bytes: u64, spec: &CodelSpec) -> bool {
        let Some(item) = item else {
            self.first_above = None;
            return false;
        };
        if now.since(item.at) < spec.target || bytes <= MTU {
            self.first_above = None;
            return false;
        }
        match self.first_above {
            None => {
                self.first_above = Some(now + spec.interval);
                false
            }
            Some(since) => now >= since,
        }
    }

    /// RFC 8289 §5.5 `dequeue`. `pop` takes the next packet off the queue and says how many bytes are left.
    pub(crate) fn dequeue(
        &mut self,
        now: Time,
        spec: &CodelSpec,
        effects: &mut Effects,
        mut pop: impl FnMut() -> Option<(Item, u64)>,
    ) -> Option<Item> {
        let mut next = |codel: &mut Self| {
            let (item, bytes) = pop().map_or((None, 0), |(item, bytes)| (Some(item), bytes));
            let may_drop = codel.may_drop(now, item.as_ref(), bytes, spec);
            (item, may_drop)
        };
        let (mut item, mut may_drop) = next(self);
        if self.dropping {
            if !may_drop {
                self.dropping = false;
            }
            while self.dropping && now >= self.drop_next {
                self.count += 1;
                if drop_or_mark(item.take()?, spec, effects, &mut item) {
                    self.drop_next = control_law(self.drop_next, spec.interval, self.count);
                    return item;
                }
                (item, may_drop) = next(self);
                if may_drop {
                    self.drop_next = control_law(self.drop_next, spec.interval, self.count);
                } else {
                    self.dropping = false;
                }
            }
        } else if may_drop {
            let marked = drop_or_mark(item.take()?, spec, effects, &mut item);
            if !marked {
                (item, _) = next(self);
            }
            self.dropping = true;
            // Taking up where it left off, if it was dropping not long ago.
            let delta = self.count.saturating_sub(self.last_count);
            let recent = now.since(self.drop_next).0 < spec.interval.0.saturating_mul(16);
            self.count = if delta > 1 && recent { delta } else { 1 };
            self.drop_next = control_law(now, spec.interval, self.count);
            self.last_count = self.count;
        }
        item
    }
}

/// Drops a packet, or marks it if that is possible: true if it was marked, and is back in `item`.
fn drop_or_mark(mut victim: Item, spec: &CodelSpec, effects: &mut Effects, item: &mut Option<Item>) -> bool {
    if spec.ecn && victim.ecn.is_capable() {
        effects.marked.push(victim.packet);
        victim.ecn = crate::ecn::Ecn::Ce;
        *item = Some(victim);
        return true;
    }
    effects.dropped.push((victim.packet, DropCause::Aqm));
    false
}

/// A single queue with CoDel.
#[derive(Debug)]
pub(crate) struct CodelQueue {
    spec: CodelSpec,
    codel: Codel,
    items: VecDeque<Item>,
    bytes: u64,
}

impl CodelQueue {
    pub(crate) fn new(spec: CodelSpec) -> Self {
        Self { spec, codel: Codel::default(), items: VecDeque::new(), bytes: 0 }
    }
}

impl Discipline for CodelQueue {
    fn enqueue(&mut self, item: Item, effects: &mut Effects) {
        if self.bytes + u64::from(item.len) > self.spec.limit_bytes {
            effects.dropped.push((item.packet, DropCause::QueueFull));
            return;
        }
        self.bytes += u64::from(item.len);
        self.items.push_back(item);
    }

    fn dequeue(&mut self, now: Time, effects: &mut Effects) -> Option<Item> {
        let Self { spec, codel, items, bytes } = self;
        codel.dequeue(now, spec, effects, || {
            let item = items.pop_front()?;
            *bytes -= u64::from(item.len);
            Some((item, *bytes))
        })
    }

    fn backlog(&self) -> (usize, u64) {
        (self.items.len(), self.bytes)
    }

    fn drain(&mut self, out: &mut Vec<PacketId>) {
        out.extend(self.items.drain(..).map(|item| item.packet));
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ecn::Ecn;
    use crate::queue::testing::item;

    /// A queue that is fed two packets a millisecond and sends one: the times of its first drops in ms.
    fn drops(spec: CodelSpec, ecn: Ecn) -> (Vec<u64>, usize) {
        let mut queue = CodelQueue::new(spec);
        let (mut times, mut marks) = (Vec::new(), 0);
        for ms in 0..1_000 {
            let now = Time(ms * 1_000_000);
            let mut effects = Effects::default();
            for _ in 0..2 {
                queue.enqueue(Item { at: now, ecn, ..item(0, 1_500) }, &mut effects);
            }
            queue.dequeue(now, &mut effects);
            times.extend(effects.dropped.iter().map(|_| ms));
            marks += effects.marked.len();
        }
        (times, marks)
    }

    #[test]
    fn drops_come_by_the_control_law() {
        let (times, _) = drops(CodelSpec::default(), Ecn::NotEct);
        // The sojourn at ms t is t/2, rounded up (packet t came at ms t/2): 5 ms at t = 9, so the first drop
        // is an interval later, at 109; then 100 ms, 100/sqrt(2), 100/sqrt(3) … after one another. A dropped packet
        // brings the next one forward, which moves nothing here.
        assert_eq!(times.get(..5), Some(&[109, 209, 280, 338, 388][..]), "{times:?}");
    }

    #[test]
    fn marks_instead() {
        let (times, marks) = drops(CodelSpec { ecn: true, limit_bytes: u64::MAX, ..CodelSpec::default() }, Ecn::Ect0);
        assert!(times.is_empty() && marks > 5);
    }

    /// RFC 8289 §4.4: a queue of no more than one MTU is the least that keeps a link busy, however long it stands.
    #[test]
    fn a_backlog_of_one_mtu_is_never_thinned() {
        for (len, backlog, drops) in [(1_514, 1, false), (1_515, 1, true), (700, 2, false), (700, 3, true)] {
            let mut queue = CodelQueue::new(CodelSpec::default());
            let mut effects = Effects::default();
            for ms in 0..1_000 {
                let now = Time(ms * 1_000_000);
                queue.enqueue(Item { at: now, ..item(0, len) }, &mut effects);
                if queue.backlog().0 > backlog {
                    queue.dequeue(now + Duration::millis(10), &mut effects);
                }
            }
            assert_eq!(!effects.dropped.is_empty(), drops, "{backlog} packets of {len} bytes");
        }
    }

    #[test]
    fn limit() {
        let mut queue = CodelQueue::new(CodelSpec { limit_bytes: 3_000, ..CodelSpec::default() });
        let mut effects = Effects::default();
        for n in 0..3 {
            queue.enqueue(item(n, 1_500), &mut effects);
        }
        assert_eq!(effects.dropped, [(PacketId(2), DropCause::QueueFull)]);
        assert_eq!(queue.backlog(), (2, 3_000));
    }
}
