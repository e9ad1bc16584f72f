//! What nodes, NATs and queues show over time, for pictures.

use std::collections::BTreeMap;

use datagram_sim::{Direction, Sink, Time};

use super::{Run, SeriesKey};

/// Of so many nodes, NATs and links what they show is kept: more is no use to anybody, and takes memory.
const SHOWN: usize = 64;
/// And of so many sessions of each node.
const SESSIONS: u64 = 8;
/// How many states of a NAT's table are kept.
const TABLES: usize = 200;

struct Gauges<'a> {
    name: &'a str,
    now: Time,
    series: &'a mut BTreeMap<SeriesKey, Vec<(Time, i64)>>,
}

impl Sink for Gauges<'_> {
    fn gauge(&mut self, name: &'static str, index: u64, value: i64) {
        if index < SESSIONS {
            self.series.entry((self.name.to_owned(), name, index)).or_default().push((self.now, value));
        }
    }
}

impl Run<'_> {
    /// Looks at gauges and NAT tables; changes nothing.
    pub(super) fn sample(&mut self) {
        let now = self.world.now();
        for (name, &id) in self.map.nodes.iter().take(SHOWN) {
            let mut gauges = Gauges { name, now, series: &mut self.series };
            self.world.observe_node(id, &mut gauges);
        }
        for (name, &id) in self.map.nats.iter().take(SHOWN) {
            let views = self.world.nat_mappings(id);
            let views: Vec<String> = views.iter().map(|view| format!("{} = {}", view.inside, view.outside)).collect();
            let list = self.mappings.entry(name.clone()).or_default();
            if list.last().is_none_or(|(_, last)| *last != views) && list.len() < TABLES {
                list.push((now, views));
            }
        }
        for (name, &hop) in self.map.links.iter().take(SHOWN) {
            for (way, direction) in [("queue.up", Direction::Forward), ("queue.down", Direction::Backward)] {
                let (_, bytes) = self.world.queue_depth(hop, direction);
                let value = i64::try_from(bytes).unwrap_or(i64::MAX);
                self.series.entry((name.clone(), way, 0)).or_default().push((now, value));
            }
        }
    }
}
