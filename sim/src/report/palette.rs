//! Who has which colour: a node has the same one in every picture.

use std::collections::BTreeMap;

use super::plot::LineStyle;
use crate::run::Outcome;
use crate::scenario::Scenario;

/// Colours that people with any kind of sight tell apart, after Okabe and Ito; the style sheet has them.
const COLOURS: usize = 7;
/// Ways to dash a line.
const DASHES: usize = 4;

/// The nodes that have a colour: all, or those that deliver most if there are many. The others are drawn in grey.
#[derive(Debug)]
pub(super) struct Palette {
    nodes: Vec<String>,
    /// Whether there are nodes without a colour.
    pub(super) has_others: bool,
    /// The ends of each link.
    links: BTreeMap<String, (String, String)>,
}

impl Palette {
    pub(super) fn new(scenario: &Scenario, outcome: &Outcome) -> Self {
        let mut sent: BTreeMap<&str, u64> = BTreeMap::new();
        for delivery_log in &outcome.log.works {
            *sent.entry(&delivery_log.work.from).or_default() +=
                delivery_log.deliveries.iter().map(|d| d.len).sum::<u64>();
        }
        let mut nodes: Vec<&String> = scenario.node.keys().collect();
        // Shorter names first: `peer2` comes before `peer10`.
        nodes.sort_by_key(|name| (name.len(), *name));
        if nodes.len() > COLOURS {
            nodes.sort_by_key(|name| core::cmp::Reverse(sent.get(name.as_str()).copied().unwrap_or(0)));
            nodes.truncate(COLOURS);
            nodes.sort_by_key(|name| (name.len(), *name));
        }
        let ends = scenario
            .link
            .iter()
            .filter_map(|(name, link)| Some((name.clone(), (link.path.first()?.clone(), link.path.last()?.clone()))));
        let has_others = scenario.node.len() > nodes.len();
        Self { has_others, nodes: nodes.into_iter().cloned().collect(), links: ends.collect() }
    }

    /// The style of a line of a node; `kind` tells its several lines apart.
    pub(super) fn of_node(&self, node: &str, kind: usize) -> LineStyle {
        LineStyle { colour: self.nodes.iter().position(|known| known == node), dash: kind % DASHES }
    }

    /// The style of a direction of a link: as the node that sends there. Where the network sends, as the node that gets it,
    /// dashed.
    pub(super) fn of_lane(&self, link: &str, up: bool) -> LineStyle {
        let Some((first, last)) = self.links.get(link) else { return LineStyle { colour: None, dash: 0 } };
        let (from, to) = if up { (first, last) } else { (last, first) };
        let sender = self.of_node(from, 0);
        if sender.colour.is_some() { sender } else { self.of_node(to, 1) }
    }
}
