//! What happens to the world at a time.

use core::fmt;

use datagram_sim::Direction;
use serde::{Deserialize, Serialize};

use super::lane::{Lane, Link};
use super::text::Dur;

/// Something that happens at a time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct At {
    /// When, in world time.
    pub t: Dur,
    /// What.
    #[serde(flatten)]
    pub action: Action,
}

/// What becomes of packets on their way to an address that is given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InFlight {
    /// They are lost.
    #[default]
    Lost,
    /// They arrive all the same: the host still has the old address for a second.
    Late,
}

/// What happens.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// A node gets another address. `silent`: its driver does not notice.
    Rebind {
        /// Which node.
        node: String,
        /// Which; the next free one if none is said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<core::net::IpAddr>,
        /// What becomes of packets to the old address.
        #[serde(default, skip_serializing_if = "super::is_default")]
        in_flight: InFlight,
        /// The node is told of nothing.
        #[serde(default, skip_serializing_if = "super::is_false")]
        silent: bool,
    },
    /// A link goes down: packets on it are lost.
    LinkDown {
        /// Which link.
        link: String,
    },
    /// A link comes up.
    LinkUp {
        /// Which link.
        link: String,
        /// Whether the drivers of the nodes at its ends notice and say so.
        #[serde(default, skip_serializing_if = "super::is_false")]
        hint: bool,
    },
    /// The stages of a link become others, in the directions that are given: each is written as in a link, and replaces
    /// all that held there.
    LinkChange {
        /// Which link.
        link: String,
        /// A named link that both directions start from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        preset: Option<String>,
        /// What now holds for both directions.
        #[serde(default, skip_serializing_if = "Lane::is_empty")]
        both: Lane,
        /// What now holds in the order of the link's path.
        #[serde(default, skip_serializing_if = "Lane::is_empty")]
        up: Lane,
        /// What now holds against it.
        #[serde(default, skip_serializing_if = "Lane::is_empty")]
        down: Lane,
    },
    /// A NAT forgets all mappings (a reboot; a port change for everybody behind it).
    NatFlush {
        /// Which NAT.
        nat: String,
    },
    /// A node stops: its clock stands still.
    Freeze {
        /// Which node.
        node: String,
    },
    /// A stopped node goes on. Its clock jumps by so much.
    Thaw {
        /// Which node.
        node: String,
        /// How far its clock jumps.
        #[serde(default, skip_serializing_if = "super::is_default")]
        jump: Dur,
    },
    /// A node's clock is set forwards (or back).
    ClockStep {
        /// Which node.
        node: String,
        /// By how many milliseconds.
        by_ms: i64,
    },
    /// A node is switched off and on: a new endpoint of the same identity at the same address.
    Restart {
        /// Which node.
        node: String,
    },
    /// A node closes all its sessions.
    Close {
        /// Which node.
        node: String,
        /// Without waiting for an answer.
        #[serde(default, skip_serializing_if = "super::is_false")]
        abrupt: bool,
    },
    /// A node stops reading from its flows.
    Suspend {
        /// Which node.
        node: String,
    },
    /// It reads again.
    Resume {
        /// Which node.
        node: String,
    },
    /// Every link is up and every random fault ceases from here on: what is reliable must arrive.
    Heal,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rebind { node, silent: true, .. } => write!(f, "rebind {node} silently"),
            Self::Rebind { node, .. } => write!(f, "rebind {node}"),
            Self::LinkDown { link } => write!(f, "link-down {link}"),
            Self::LinkUp { link, .. } => write!(f, "link-up {link}"),
            Self::LinkChange { link, .. } => write!(f, "link-change {link}"),
            Self::NatFlush { nat } => write!(f, "nat-flush {nat}"),
            Self::Freeze { node } => write!(f, "freeze {node}"),
            Self::Thaw { node, .. } => write!(f, "thaw {node}"),
            Self::ClockStep { node, by_ms } => write!(f, "clock-step {node} {by_ms} ms"),
            Self::Restart { node } => write!(f, "restart {node}"),
            Self::Close { node, .. } => write!(f, "close {node}"),
            Self::Suspend { node } => write!(f, "suspend {node}"),
            Self::Resume { node } => write!(f, "resume {node}"),
            Self::Heal => f.write_str("heal"),
        }
    }
}

impl Action {
    /// What `link` becomes, if this changes links, and in which directions it does. Where nothing is said it stays as it
    /// is.
    #[must_use]
    pub fn changed(&self, link: &Link) -> Option<(Link, Vec<Direction>)> {
        let Self::LinkChange { preset, both, up, down, .. } = self else { return None };
        let path = link.path.clone();
        if preset.is_some() || !both.is_empty() {
            let new = Link { path, preset: preset.clone(), both: both.clone(), up: up.clone(), down: down.clone() };
            return Some((new, vec![Direction::Forward, Direction::Backward]));
        }
        let (old_up, old_down) = link.lanes().ok()?;
        let mut directions = Vec::new();
        let mut new = |lane: &Lane, old: Lane, direction| {
            if lane.is_empty() {
                return old;
            }
            directions.push(direction);
            lane.clone()
        };
        let (up, down) = (new(up, old_up, Direction::Forward), new(down, old_down, Direction::Backward));
        Some((Link { path, up, down, ..Link::default() }, directions))
    }
}
