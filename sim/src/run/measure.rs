//! Measures what expectations ask for.
#![expect(clippy::wildcard_enum_match_arm, reason = "stages without a rate do not matter here")]

use std::collections::BTreeMap;

use datagram_sim::cross::{PACKET, Receiver};
use datagram_sim::time::mul_div;
use datagram_sim::{Direction, Duration, RateSpec, StageSpec, Time};

use super::log::{DeliveryLog, RunLog, SessionLog};
use super::verdict::Verdict;
use super::watch::{LaneLog, Watched};
use super::worker::Worker;
use super::{Names, Run};
use crate::rtmfp::EndpointNode;
use crate::scenario::units::ONE;
use crate::scenario::{Expect, Link, Scenario, Subject, Work};

fn count(n: u64) -> i128 {
    i128::from(n) * ONE
}

fn span(span: Duration) -> i128 {
    i128::from(span.0)
}

fn share(part: u64, whole: u64) -> i128 {
    if whole == 0 { 0 } else { i128::from(part) * ONE / i128::from(whole) }
}

/// The value that `percent` of a sorted list are not above.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

fn mean(list: &[Duration]) -> Option<Duration> {
    let sum: u128 = list.iter().map(|span| u128::from(span.0)).sum();
    let mean = sum.checked_div(list.len() as u128)?;
    Some(Duration(u64::try_from(mean).unwrap_or(u64::MAX)))
}

/// Jain's index of rates, in billionths.
pub(crate) fn jain(rates: &[u64]) -> i128 {
    let sum: i128 = rates.iter().map(|&rate| i128::from(rate)).sum();
    let squares: i128 = rates.iter().map(|&rate| i128::from(rate) * i128::from(rate)).sum();
    if squares == 0 { 0 } else { sum * sum * 1_000 / (squares * rates.len() as i128) * (ONE / 1_000) }
}

/// What expectations name, to be found again for each of thousands.
struct Index<'a> {
    /// By name, and by the nodes at their ends; the first has it.
    works: BTreeMap<String, &'a DeliveryLog>,
    /// The first link on which a node is.
    links: BTreeMap<&'a str, &'a Link>,
}

impl<'a> Index<'a> {
    fn new(scenario: &'a Scenario, log: &'a RunLog) -> Self {
        let mut works = BTreeMap::new();
        for delivery_log in &log.works {
            let Work { from, to, .. } = &delivery_log.work;
            for name in [delivery_log.work.label(), format!("{from}->{to}")] {
                works.entry(name).or_insert(delivery_log);
            }
        }
        let mut links = BTreeMap::new();
        for link in scenario.link.values() {
            for end in &link.path {
                links.entry(end.as_str()).or_insert(link);
            }
        }
        Self { works, links }
    }
}

impl Run<'_> {
    pub(super) fn names(&self) -> Names {
        let mut names = Names::default();
        for (name, id) in self.map.nodes.iter().chain(&self.map.nats).chain(&self.map.taps) {
            names.devices.insert(id.number(), name.clone());
        }
        if let Some(net) = self.world.find("net") {
            names.devices.insert(net.number(), "net".to_owned());
        }
        for (name, hops) in &self.map.hops {
            for hop in hops {
                names.links.entry(hop.number()).or_insert_with(|| self.world.link_name(*hop).to_owned());
            }
            if let Some(main) = self.map.links.get(name) {
                names.stages.insert(name.clone(), main.number());
            }
        }
        names
    }

    /// The round-trip time between two nodes without queues.
    fn rtt(&self, index: &Index<'_>, from: &str, to: &str) -> Duration {
        let ends = |name: &str| index.links.get(name).copied();
        let both = |link: &crate::scenario::Link| {
            link.spec().map_or(Duration::ZERO, |spec| {
                crate::scenario::lane::constant_delay(&spec.forward)
                    + crate::scenario::lane::constant_delay(&spec.backward)
            })
        };
        match (ends(from), ends(to)) {
            (Some(a), Some(b)) if core::ptr::eq(a, b) => both(a),
            (a, b) => a.map_or(Duration::ZERO, both) + b.map_or(Duration::ZERO, both),
        }
    }

    /// Every expectation, what it is, and whether it holds.
    pub(super) fn judge(&self, log: &RunLog, watched: &Watched) -> Vec<Verdict> {
        let index = Index::new(self.scenario, log);
        let judge = |expect: &Expect| {
            let delivery_log = index.works.get(&expect.subject);
            let rtt = delivery_log.map_or(Duration::ZERO, |a| self.rtt(&index, &a.work.from, &a.work.to));
            let value = self.measure(expect, &index, log, watched);
            let holds = value.is_some_and(|value| expect.comparison.holds(value, expect.quantity.value(rtt)));
            Verdict::new(expect, value, holds)
        };
        self.scenario.expect.iter().map(judge).collect()
    }

    fn measure(&self, expect: &Expect, index: &Index<'_>, log: &RunLog, watched: &Watched) -> Option<i128> {
        match expect.takes() {
            Subject::Pair => {
                let delivery_log = index.works.get(&expect.subject)?;
                if expect.metric() == "agrees" {
                    let ids =
                        (self.map.nodes.get(&delivery_log.work.from)?, self.map.nodes.get(&delivery_log.work.to)?);
                    let possible = self.world.direct_path_possible(*ids.0, *ids.1, false);
                    let opened = pair("opens", delivery_log, log)? > 0;
                    return Some(count(u64::from(possible == opened)));
                }
                pair(expect.metric(), delivery_log, log)
            }
            Subject::Work => {
                let delivery_log = index.works.get(&expect.subject)?;
                let rtt = self.rtt(index, &delivery_log.work.from, &delivery_log.work.to);
                work(expect.metric(), delivery_log, (self.last_event, self.world.now()), rtt)
            }
            Subject::Node => self.node(expect.metric(), &expect.subject, log),
            Subject::Lane => self.lane(expect.metric(), &expect.subject, watched),
            Subject::All => {
                let bulks: Vec<u64> = log.works.iter().filter(|a| a.is_bulk()).map(DeliveryLog::goodput).collect();
                Some(jain(&bulks))
            }
        }
    }

    fn node(&self, metric: &str, name: &str, log: &RunLog) -> Option<i128> {
        match metric {
            "path-changes" => return Some(count(log.path_changes.get(name).copied().unwrap_or(0))),
            "sessions-opened" => return Some(count(log.sessions_opened.get(name).copied().unwrap_or(0))),
            "received" => {
                let sink = self.world.node::<Receiver>(*self.map.nodes.get(name)?)?;
                return Some(count(sink.packets().saturating_mul(PACKET.into())));
            }
            _ => {}
        }
        let node = self.world.node::<EndpointNode<Worker>>(*self.map.nodes.get(name)?)?;
        let (open, all) = Worker::count(node.endpoint());
        let stats = || node.endpoint().sessions().filter_map(|s| node.endpoint().session(s).map(|view| view.stats()));
        Some(count(match metric {
            "sessions" => open,
            "state" => all,
            "timeouts" => stats().map(|stats| stats.timeouts).sum(),
            "repeated" => stats().map(|stats| stats.fragments_lost).sum(),
            _ => return None,
        }))
    }

    fn lane(&self, metric: &str, subject: &str, watched: &Watched) -> Option<i128> {
        let (link, way) = subject.rsplit_once('.')?;
        let id = self.map.links.get(link)?;
        let spec = self.scenario.link.get(link)?.spec().ok()?;
        let (direction, stages) = match way {
            "up" => (Direction::Forward, spec.forward),
            _ => (Direction::Backward, spec.backward),
        };
        let empty = LaneLog::default();
        let book = watched.lanes.get(&(id.lane(direction))).unwrap_or(&empty);
        let delay = crate::scenario::lane::constant_delay(&stages);
        let mut waits: Vec<Duration> = book.transit.iter().map(|(_, transit)| transit.saturating_sub(delay)).collect();
        waits.sort_unstable();
        Some(match metric {
            "packets" => count(book.entered),
            "dropped" => count(book.dropped),
            "largest" => count(book.largest.into()),
            "queue-p95" => span(percentile(&waits, 95)?),
            "queue-mean" => span(mean(&waits)?),
            "utilisation" => {
                let rate = stages.iter().find_map(|stage| match stage {
                    StageSpec::Shaper { rate: RateSpec::Fixed(rate), .. } => Some(rate.0),
                    _ => None,
                })?;
                let time = book.span.1.since(book.span.0);
                share(book.arrived_bytes.saturating_mul(8), mul_div(rate, time.0, 1_000_000_000))
            }
            _ => return None,
        })
    }
}

fn pair(metric: &str, delivery_log: &DeliveryLog, log: &RunLog) -> Option<i128> {
    let empty = SessionLog::default();
    let (from, to) = (delivery_log.work.from.clone(), delivery_log.work.to.clone());
    let near = log.sessions.get(&(from.clone(), to.clone())).unwrap_or(&empty);
    let far = log.sessions.get(&(to, from)).unwrap_or(&empty);
    let start = Time(delivery_log.work.start.0.0);
    let first = |list: &[Time]| list.first().map(|at| span(at.since(start)));
    match metric {
        "opened" => first(&near.opened),
        "accepted" => first(&far.opened),
        "failed" => first(&near.failed),
        "opens" => Some(count(near.opened.len() as u64)),
        "failures" => Some(count(near.failed.len() as u64)),
        "closed" => Some(count(near.closed.len() as u64)),
        _ => None,
    }
}

fn work(
    metric: &str,
    delivery_log: &DeliveryLog,
    (last_event, end): (Option<Time>, Time),
    rtt: Duration,
) -> Option<i128> {
    let start = Time(delivery_log.work.start.0.0);
    let deliveries = &delivery_log.deliveries;
    let written = delivery_log.written.len() as u64;
    let life = delivery_log.work.life().unwrap_or(Duration(u64::MAX));
    let latency = |delivery: &super::log::Delivery| delivery.read.since(delivery.written);
    let sorted = || delivery_log.latencies();
    Some(match metric {
        "first-byte" => span(deliveries.first()?.read.since(start)),
        "finished" => span(deliveries.last().filter(|_| delivery_log.is_complete())?.read.since(start)),
        "delivered" => count(deliveries.iter().map(|delivery| delivery.len).sum()),
        "messages" => count(deliveries.len() as u64),
        "written" => count(written),
        "lost" => count(written.saturating_sub(deliveries.len() as u64)),
        // The sender abandons by its own clock; what was on its way then still arrives.
        "late" => {
            count(deliveries.iter().filter(|delivery| latency(delivery).saturating_sub(rtt) > life).count() as u64)
        }
        "on-time" => share(deliveries.iter().filter(|delivery| latency(delivery) <= life).count() as u64, written),
        "stall" => span(delivery_log.longest_stall(end)?),
        "stall-after" => {
            let from = last_event?;
            span(deliveries.iter().find(|delivery| delivery.read > from)?.read.since(from))
        }
        "goodput" => count(delivery_log.goodput()),
        "latency-mean" => span(mean(&sorted())?),
        "latency-p50" => span(percentile(&sorted(), 50)?),
        "latency-p95" => span(percentile(&sorted(), 95)?),
        "latency-p99" => span(percentile(&sorted(), 99)?),
        "latency-max" => span(*sorted().last()?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::units::{Dimension, show};

    #[test]
    fn percentiles_and_fairness() {
        let list: Vec<Duration> = (1..=100).map(Duration).collect();
        assert_eq!(percentile(&list, 95), Some(Duration(95)));
        assert_eq!(percentile(&list[..1], 50), Some(Duration(1)));
        assert_eq!(percentile(&[], 50), None);
        assert_eq!(jain(&[5, 5, 5, 5]), ONE);
        assert_eq!(jain(&[9, 0, 0]), ONE / 3 / 1_000_000 * 1_000_000);
        assert_eq!(mean(&[Duration(1), Duration(3)]), Some(Duration(2)));
        assert_eq!(show(Dimension::Count, count(3)), "3");
    }
}
