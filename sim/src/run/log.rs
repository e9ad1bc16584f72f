//! Logs what all nodes of a world write and deliver, and checks I1.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use datagram_sim::{Duration, Time};

use crate::scenario::{Work, WorkKind};

/// A message that arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// Which of the work's messages.
    pub index: u64,
    /// When it was written.
    pub written: Time,
    /// When it was read.
    pub read: Time,
    /// Its bytes.
    pub len: u64,
}

/// The messages of one work.
#[derive(Clone, Debug)]
pub struct DeliveryLog {
    /// The work.
    pub work: Work,
    /// When each message was written.
    pub written: Vec<Time>,
    /// Those that were delivered.
    pub deliveries: Vec<Delivery>,
    arrived: Vec<bool>,
    last_in_order: BTreeMap<u32, u64>,
}

/// The sessions between two nodes, seen by one of them.
#[derive(Clone, Debug, Default)]
pub struct SessionLog {
    /// When each session was open.
    pub opened: Vec<Time>,
    /// When openings failed.
    pub failed: Vec<Time>,
    /// When sessions that were open closed.
    pub closed: Vec<Time>,
}

/// The log of a run.
#[derive(Clone, Debug, Default)]
pub struct RunLog {
    /// World time, kept by the observer of the trace.
    pub now: Time,
    /// By work.
    pub works: Vec<DeliveryLog>,
    /// By observing node and far node.
    pub sessions: BTreeMap<(String, String), SessionLog>,
    /// Verified changes of a far address, by node.
    pub path_changes: BTreeMap<String, u64>,
    /// Sessions opened, by node.
    pub sessions_opened: BTreeMap<String, u64>,
    /// Violated invariants, the first few.
    pub violations: Vec<String>,
}

/// The log of a run, shared by all nodes of its world, which has one thread.
#[derive(Clone, Debug, Default)]
pub struct SharedRunLog(Rc<RefCell<RunLog>>);

/// 256 bytes of every message's pattern, before it is mixed with what tells messages and places apart. A table, because
/// bytes that are computed one by one took a quarter of a transfer.
static PATTERN: [u8; 256] = {
    let (mut pattern, mut next) = ([0; 256], 0_u8);
    let mut rest: &mut [u8] = &mut pattern;
    while let Some((byte, more)) = rest.split_first_mut() {
        *byte = next;
        next = next.wrapping_add(7);
        rest = more;
    }
    pattern
};

/// What block `block` of 256 bytes of a message is mixed with.
fn mask(work: usize, index: u64, block: usize) -> u8 {
    (index.wrapping_mul(31) ^ (work as u64).wrapping_mul(131)) as u8 ^ block as u8
}

/// A message's content: its number in the first eight bytes if there is room, then a pattern of its own.
pub(super) fn content(work: usize, index: u64, len: u64) -> Vec<u8> {
    let len = usize::try_from(len).unwrap_or(0);
    let mut bytes = Vec::with_capacity(len);
    for (block, start) in (0..len).step_by(256).enumerate() {
        let mask = mask(work, index, block);
        bytes.extend(PATTERN.iter().take(len - start).map(|byte| byte ^ mask));
    }
    if let Some(head) = bytes.first_chunk_mut::<8>() {
        *head = index.to_be_bytes();
    }
    bytes
}

/// Whether this is what `content` makes, without making it.
fn is_content(bytes: &[u8], work: usize, index: u64) -> bool {
    let (skipped, head) = bytes.first_chunk::<8>().map_or((0, true), |head| (8, *head == index.to_be_bytes()));
    head && bytes.chunks(256).enumerate().all(|(block, bytes)| {
        let from = if block == 0 { skipped } else { 0 };
        is_pattern(
            bytes.get(from..).unwrap_or_default(),
            PATTERN.get(from..).unwrap_or_default(),
            mask(work, index, block),
        )
    })
}

/// Without a branch for each byte, and over slices, so that many are compared at once.
fn is_pattern(bytes: &[u8], pattern: &[u8], mask: u8) -> bool {
    bytes.iter().zip(pattern).fold(0, |different, (byte, pattern)| different | (byte ^ pattern ^ mask)) == 0
}

impl SharedRunLog {
    /// An empty log for these works.
    #[must_use]
    pub fn new(works: &[Work]) -> Self {
        let delivery_log = |work: &Work| DeliveryLog {
            work: work.clone(),
            written: Vec::new(),
            deliveries: Vec::new(),
            arrived: Vec::new(),
            last_in_order: BTreeMap::new(),
        };
        let log = RunLog { works: works.iter().map(delivery_log).collect(), ..RunLog::default() };
        Self(Rc::new(RefCell::new(log)))
    }

    /// Reads or changes the log.
    pub fn with<R>(&self, act: impl FnOnce(&mut RunLog) -> R) -> R {
        act(&mut self.0.borrow_mut())
    }

    pub(super) fn wrote(&self, work: usize) {
        self.with(|log| {
            let now = log.now;
            if let Some(delivery_log) = log.works.get_mut(work) {
                delivery_log.written.push(now);
                delivery_log.arrived.push(false);
            }
        });
    }

    pub(super) fn delivered(&self, work: usize, flow: u32, bytes: &[u8]) {
        self.with(|log| {
            let now = log.now;
            let Some(delivery_log) = log.works.get_mut(work) else {
                log.report_violation("I1 (RFC 7016 §3.6.3.3): a message of a flow that no work has".to_owned());
                return;
            };
            if let Err(what) = delivery_log.deliver(work, flow, bytes, now) {
                let label = delivery_log.work.label();
                log.report_violation(format!("I1 (RFC 7016 §3.6.3.3): {label}: {what}"));
            }
        });
    }
}

impl RunLog {
    /// Notes a violation of an invariant.
    pub fn report_violation(&mut self, what: String) {
        if self.violations.len() < 20 {
            self.violations.push(format!("{} at {}", what, self.now));
        }
    }
}

impl DeliveryLog {
    fn deliver(&mut self, work: usize, flow: u32, bytes: &[u8], now: Time) -> Result<(), String> {
        let flows = u64::from(self.work.flows.unwrap_or(1).max(1));
        let index = match bytes.first_chunk::<8>() {
            Some(head) => u64::from_be_bytes(*head),
            // Too short to say; in order it is the next of its flow.
            None => self.last_in_order.get(&flow).map_or(u64::from(flow), |last| last + flows),
        };
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        let Some(&written) = self.written.get(at) else {
            return Err(format!("message {index} was delivered but never written"));
        };
        let len = self.work.size_of(index);
        if bytes.len() as u64 != len || !is_content(bytes, work, index) {
            return Err(format!("message {index}: {} bytes differ from the {len} written", bytes.len()));
        }
        if self.arrived.get(at).copied().unwrap_or(false) {
            return Err(format!("message {index} was delivered twice"));
        }
        if let Some(slot) = self.arrived.get_mut(at) {
            *slot = true;
        }
        let last = self.last_in_order.insert(flow, index);
        if !self.work.unordered && last.is_some_and(|last| last >= index) {
            return Err(format!("message {index} came after {}", last.unwrap_or(0)));
        }
        self.deliveries.push(Delivery { index, written, read: now, len: bytes.len() as u64 });
        Ok(())
    }

    /// Whether everything that was to be sent has been delivered.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.deliveries.len() as u64 >= self.work.total()
    }

    /// The longest time without a delivery: between two of them, or from the last to `end` if reliable work is not
    /// complete. None while there was no delivery, or if one was all.
    #[must_use]
    pub fn longest_stall(&self, end: Time) -> Option<Duration> {
        let unfinished = self.work.is_reliable() && !self.is_complete();
        let next = self.deliveries.iter().skip(1).map(|delivery| delivery.read).chain(unfinished.then_some(end));
        self.deliveries.iter().zip(next).map(|(last, next)| next.since(last.read)).max()
    }

    /// The time of each delivery after its write, sorted.
    #[must_use]
    pub fn latencies(&self) -> Vec<Duration> {
        let mut all: Vec<Duration> =
            self.deliveries.iter().map(|delivery| delivery.read.since(delivery.written)).collect();
        all.sort_unstable();
        all
    }

    /// Bits delivered a second, from the start of the work to its last delivery.
    #[must_use]
    pub fn goodput(&self) -> u64 {
        let bytes: u64 = self.deliveries.iter().map(|delivery| delivery.len).sum();
        let end = self.deliveries.last().map_or(Time::ZERO, |delivery| delivery.read);
        let span = end.since(Time(self.work.start.0.0));
        if span == Duration::ZERO {
            0
        } else {
            datagram_sim::time::mul_div(bytes.saturating_mul(8), 1_000_000_000, span.0)
        }
    }

    /// Whether it is a transfer whose rate counts.
    #[must_use]
    pub fn is_bulk(&self) -> bool {
        self.work.kind == WorkKind::Bulk
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn byte(work: usize, index: u64, at: usize) -> u8 {
        (index.wrapping_mul(31) ^ (at as u64).wrapping_mul(7) ^ (at as u64 >> 8) ^ (work as u64).wrapping_mul(131))
            as u8
    }

    /// What is wrong with the deliveries to a flow, after five messages were written in its work.
    fn faults(unordered: bool, deliveries: &[Vec<u8>]) -> Vec<String> {
        let log = SharedRunLog::new(&[Work { kind: WorkKind::Messages, unordered, ..Work::default() }]);
        (0..5).for_each(|_| log.wrote(0));
        deliveries.iter().for_each(|bytes| log.delivered(0, 0, bytes));
        log.with(|log| log.violations.clone())
    }

    #[test]
    fn what_was_not_written_or_came_twice_or_late_is_seen() {
        let message = |index| content(0, index, 100);
        let broken = |unordered, deliveries: &[Vec<u8>]| {
            let faults = faults(unordered, deliveries);
            assert!(faults.iter().all(|fault| fault.starts_with("I1 ")), "{faults:?}");
            faults.len()
        };
        assert_eq!(broken(false, &[message(0), message(1), message(4)]), 0);
        assert_eq!(broken(false, &[message(5)]), 1, "never written");
        assert_eq!(broken(false, &[message(1), message(1)]), 1, "twice");
        assert_eq!(broken(false, &[message(1), message(0)]), 1, "late");
        assert_eq!(broken(true, &[message(1), message(0)]), 0, "in any order");
        assert_eq!(broken(false, &[content(0, 1, 99)]), 1, "cut short");
        let mut damaged = message(1);
        damaged[50] ^= 1;
        assert_eq!(broken(false, &[damaged]), 1, "damaged");
        let log = SharedRunLog::new(&[]);
        log.delivered(0, 0, &message(0));
        assert_eq!(log.with(|log| log.violations.len()), 1, "of no work");
    }

    #[test]
    fn content_is_a_pattern_of_work_message_and_place() {
        for len in [0, 1, 7, 8, 9, 255, 256, 257, 70_000] {
            let bytes = content(3, 1_000, len);
            assert_eq!(bytes.len() as u64, len);
            let from = if len < 8 { 0 } else { 8 };
            assert!((from..bytes.len()).all(|at| bytes[at] == byte(3, 1_000, at)));
            assert!(is_content(&bytes, 3, 1_000));
            assert!(len == 0 || !is_content(&bytes, 3, 1_001));
            for at in [0, 5, 8, 254, 255, 256, bytes.len().saturating_sub(1)] {
                let mut wrong = bytes.clone();
                if let Some(byte) = wrong.get_mut(at) {
                    *byte ^= 4;
                    assert!(!is_content(&wrong, 3, 1_000));
                }
            }
        }
    }
}
