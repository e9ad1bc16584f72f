//! Links in a scenario: the devices along them, and what happens to packets in each direction.

use std::collections::BTreeMap;

use datagram_sim::{Duration, LinkSpec, StageSpec};
use serde::{Deserialize, Serialize};

use super::ScenarioError;
use super::preset;
use super::stage::{StageKind, StageText, compile};

/// A link through a path of devices.
///
/// The path begins and ends with a node or the router `net` (which is always there); what is between are NATs. NATs
/// on the way to `net` have their inside on the side of the node; between two nodes, the first half of them (rounded
/// up) have their inside on the first node's side. The stages stand on the hop that leaves the first side; all other
/// hops take no time.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Link {
    /// The devices, from one end to the other: "up" is in this order.
    pub path: Vec<String>,
    /// A named link to start from; see [`LINK_PRESETS`](super::LINK_PRESETS).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// What holds for both directions.
    #[serde(skip_serializing_if = "Lane::is_empty")]
    pub both: Lane,
    /// What holds in the order of the path.
    #[serde(skip_serializing_if = "Lane::is_empty")]
    pub up: Lane,
    /// What holds against it.
    #[serde(skip_serializing_if = "Lane::is_empty")]
    pub down: Lane,
}

/// One direction: a table of stages, passed in the order of [`KINDS`](super::KINDS), or `stages = ["delay 5ms", …]` in any
/// order.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, Words>", into = "BTreeMap<String, Words>")]
pub struct Lane {
    /// At most one stage of a kind.
    pub table: BTreeMap<StageKind, StageText>,
    /// Stages in the order in which they are passed, after those of the table.
    pub stages: Vec<StageText>,
}

/// A value in a lane's table.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Words {
    One(String),
    Many(Vec<String>),
}

impl TryFrom<BTreeMap<String, Words>> for Lane {
    type Error = String;

    fn try_from(map: BTreeMap<String, Words>) -> Result<Self, String> {
        let mut lane = Self::default();
        for (key, value) in map {
            match value {
                Words::Many(list) if key == "stages" => {
                    lane.stages = list.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
                }
                Words::One(text) => {
                    let kind: StageKind = key.parse()?;
                    let stage = StageText::new(kind, &text).map_err(|error| format!("{key}: {error}"))?;
                    lane.table.insert(kind, stage);
                }
                Words::Many(_) => return Err(format!("`{key}` is no list; `stages` is one")),
            }
        }
        if lane.table.contains_key(&StageKind::Queue) && !lane.table.contains_key(&StageKind::Rate) {
            return Err("a queue needs a rate".to_owned());
        }
        Ok(lane)
    }
}

impl From<Lane> for BTreeMap<String, Words> {
    fn from(lane: Lane) -> Self {
        let table = lane.table.into_values().map(|stage| (stage.kind.name().to_owned(), Words::One(stage.text)));
        let mut map: Self = table.collect();
        if !lane.stages.is_empty() {
            map.insert("stages".to_owned(), Words::Many(lane.stages.iter().map(ToString::to_string).collect()));
        }
        map
    }
}

impl Lane {
    /// No stage at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty() && self.stages.is_empty()
    }

    /// The same with a stage, such as `.with("delay 25ms")`.
    ///
    /// # Errors
    /// If the words are wrong.
    pub fn with(mut self, text: &str) -> Result<Self, ScenarioError> {
        let stage: StageText = text.parse().map_err(ScenarioError)?;
        self.table.insert(stage.kind, stage);
        Ok(self)
    }

    fn over(&self, below: &Self) -> Self {
        let mut out = below.clone();
        out.table.extend(self.table.iter().map(|(kind, stage)| (*kind, stage.clone())));
        if !self.stages.is_empty() {
            out.stages.clone_from(&self.stages);
        }
        out
    }

    fn list(&self) -> Vec<StageText> {
        self.table.values().chain(&self.stages).cloned().collect()
    }
}

/// The constant delays of compiled stages, added up.
pub(crate) fn constant_delay(stages: &[StageSpec]) -> Duration {
    stages.iter().fold(Duration::ZERO, |sum, stage| if let StageSpec::Delay(span) = stage { sum + *span } else { sum })
}

impl Link {
    /// A link between two devices, the same both ways.
    #[must_use]
    pub fn between(a: &str, b: &str, both: Lane) -> Self {
        Self { path: vec![a.to_owned(), b.to_owned()], both, ..Self::default() }
    }

    /// What holds in each direction, up first.
    pub(super) fn lanes(&self) -> Result<(Lane, Lane), String> {
        let (up, down) = match &self.preset {
            Some(name) => preset::lanes(name)?,
            None => (Lane::default(), Lane::default()),
        };
        let (up, down) = (self.both.over(&up), self.both.over(&down));
        Ok((self.up.over(&up), self.down.over(&down)))
    }

    /// The engine's stages for both directions. "bdp" means the rate times the link's own round-trip time (100 ms if
    /// the link has no delay).
    ///
    /// # Errors
    /// What does not fit together.
    pub fn spec(&self) -> Result<LinkSpec, String> {
        let (up, down) = self.lanes()?;
        let (up, down) = (up.list(), down.list());
        let delay = |list: &[StageText]| {
            let delays: Vec<StageText> = list.iter().filter(|stage| stage.kind == StageKind::Delay).cloned().collect();
            compile(&delays, Duration::ZERO).map(|stages| constant_delay(&stages))
        };
        let rtt = delay(&up)? + delay(&down)?;
        let rtt = if rtt == Duration::ZERO { Duration::millis(100) } else { rtt };
        Ok(LinkSpec { forward: compile(&up, rtt)?, backward: compile(&down, rtt)? })
    }
}
