//! The receiving end of window-controlled cross traffic, for any number of flows.

use core::net::SocketAddr;
use std::collections::{BTreeMap, VecDeque};

use crate::node::{Node, RxMeta, Sink, Tx};
use crate::time::{Duration, Time};

/// The most ranges in an acknowledgement.
const RANGES: usize = 32;
/// RFC 1122 §4.2.3.2: every second packet, or after a while.
const DELAY: Duration = Duration::millis(40);
/// Flows remembered; beyond it the one heard from least recently by number is forgotten.
const FLOWS: usize = 65_536;

#[derive(Clone, Debug, Default)]
struct From {
    /// First and last of each range of packets, newest first.
    ranges: VecDeque<(u64, u64)>,
    unacknowledged: u32,
    due: Option<Time>,
    echo: Time,
    received: Time,
    port: u16,
}

/// Receives from [`Sender`](super::Sender)s and acknowledges.
#[derive(Clone, Debug, Default)]
pub struct Receiver {
    from: BTreeMap<SocketAddr, From>,
    /// Acknowledgements to be sent now.
    ready: VecDeque<SocketAddr>,
    due: BTreeMap<(Time, SocketAddr), ()>,
    packets: u64,
    by_flow: BTreeMap<SocketAddr, u64>,
}

impl Receiver {
    /// A receiver that has heard nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Packets received that were not received before, from all.
    #[must_use]
    pub const fn packets(&self) -> u64 {
        self.packets
    }

    /// The same from one sender.
    #[must_use]
    pub fn packets_from(&self, sender: SocketAddr) -> u64 {
        self.by_flow.get(&sender).copied().unwrap_or(0)
    }
}

/// Adds a number to the ranges: true if it was not there.
fn add(ranges: &mut VecDeque<(u64, u64)>, number: u64) -> bool {
    let at = ranges.iter().position(|&(low, _)| low <= number).unwrap_or(ranges.len());
    if let Some(range) = ranges.get_mut(at)
        && number <= range.1.saturating_add(1)
    {
        if number <= range.1 {
            return false;
        }
        range.1 = number;
    } else {
        ranges.insert(at, (number, number));
    }
    // It may touch the next newer range.
    if let Some(newer) = at.checked_sub(1)
        && let (Some(&(low, high)), Some(&(older, mine))) = (ranges.get(newer), ranges.get(at))
        && low == mine + 1
    {
        ranges.remove(at);
        if let Some(range) = ranges.get_mut(newer) {
            *range = (older, high);
        }
    }
    ranges.truncate(RANGES);
    true
}

impl Node for Receiver {
    fn on_datagram(&mut self, now: Time, meta: &RxMeta, bytes: &mut [u8]) {
        let Some((number, rest)) = bytes.split_first_chunk::<8>() else { return };
        let Some((sent, _)) = rest.split_first_chunk::<8>() else { return };
        let number = u64::from_le_bytes(*number).min(u64::MAX - 1);
        if self.from.len() >= FLOWS && !self.from.contains_key(&meta.remote) {
            self.from.pop_first();
        }
        let from = self.from.entry(meta.remote).or_default();
        let in_order = from.ranges.front().is_none_or(|&(_, high)| number == high + 1);
        if add(&mut from.ranges, number) {
            self.packets += 1;
            *self.by_flow.entry(meta.remote).or_default() += 1;
        }
        from.echo = Time(u64::from_le_bytes(*sent));
        from.received = now;
        from.port = meta.local.port();
        from.unacknowledged += 1;
        if from.unacknowledged >= 2 || !in_order {
            if let Some(due) = from.due.take() {
                self.due.remove(&(due, meta.remote));
            }
            from.unacknowledged = 0;
            self.ready.push_back(meta.remote);
        } else if from.due.is_none() {
            from.due = Some(now + DELAY);
            self.due.insert((now + DELAY, meta.remote), ());
        }
    }

    fn on_timeout(&mut self, now: Time) {
        while let Some((&(due, remote), ())) = self.due.first_key_value() {
            if due > now {
                break;
            }
            self.due.pop_first();
            if let Some(from) = self.from.get_mut(&remote) {
                from.due = None;
                from.unacknowledged = 0;
                self.ready.push_back(remote);
            }
        }
    }

    fn poll_transmit(&mut self, _now: Time, out: &mut Vec<u8>) -> Option<Tx> {
        let remote = self.ready.pop_front()?;
        let from = self.from.get(&remote)?;
        out.extend_from_slice(&from.echo.0.to_le_bytes());
        out.extend_from_slice(&from.received.0.to_le_bytes());
        for (low, high) in &from.ranges {
            out.extend_from_slice(&low.to_le_bytes());
            out.extend_from_slice(&high.to_le_bytes());
        }
        Some(Tx::new(from.port, remote))
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.due.first_key_value().map(|(&(due, _), ())| due)
    }

    fn observe(&self, sink: &mut dyn Sink) {
        sink.gauge("received", 0, i64::try_from(self.packets).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    quickcheck! {
        fn ranges_are_sets(numbers: Vec<u8>) -> bool {
            let (mut ranges, mut model) = (VecDeque::new(), std::collections::BTreeSet::new());
            for number in numbers.into_iter().map(|number| u64::from(number % 40)) {
                if add(&mut ranges, number) != model.insert(number) {
                    return false;
                }
            }
            let all: Vec<u64> = ranges.iter().rev().flat_map(|&(low, high)| low..=high).collect();
            let apart = ranges.iter().zip(ranges.iter().skip(1)).all(|(newer, older)| older.1 + 1 < newer.0);
            apart && all.into_iter().eq(model)
        }
    }
}
