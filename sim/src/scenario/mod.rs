//! Scenarios as data: one type behind TOML files, the builder, and the built-in list.
//!
//! ```
//! use rtmfp_sim::scenario::Scenario;
//!
//! let scenario = Scenario::parse(r#"
//!     name = "hello"
//!     about = "ten messages over a slow line"
//!     duration = "5s"
//!     work = [{ kind = "messages", from = "a", to = "b", count = 10, interval = "100ms" }]
//!     expect = ["messages(a->b) == 10"]
//!     [node.a]
//!     [node.b]
//!     [link.wan]
//!     path = ["a", "b"]
//!     both = { rate = "1Mbit", delay = "25ms" }
//! "#).unwrap();
//! assert_eq!(Scenario::parse(&scenario.to_toml()).unwrap(), scenario);
//! ```

pub(crate) mod build;
mod builtin;
mod capability;
mod crowd;
mod event;
mod expect;
mod fault;
pub(crate) mod lane;
mod limits;
mod matrix;
mod nat;
mod preset;
mod role;
mod stage;
mod text;
pub mod units;
mod validate;
mod work;
mod write;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use builtin::{Builtin, builtin, builtins};
pub use capability::{CAPABILITIES, Capability, missing};
pub use crowd::Crowd;
pub use event::{Action, At, InFlight};
pub use expect::{Comparison, Expect, METRICS, Subject};
pub use fault::FaultText;
pub use lane::{Lane, Link};
pub use matrix::{Case, seeds};
pub use nat::{FirewallChoice, Nat};
pub use preset::PRESETS as LINK_PRESETS;
pub use role::{ControlName, Forgery, Role, TapText};
pub use stage::{KINDS, StageKind, StageText, compile};
pub use text::{Bits, Dur, Share, Size};
pub use work::{PriorityName, Work, WorkKind};

/// A world in a file: who is there, how they are connected, what they do, what happens, and what must come of it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scenario {
    /// Its name, as in `hs-clean`.
    pub name: String,
    /// What it is about, in a line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// How long it runs, in world time.
    pub duration: Dur,
    /// Its seed, unless one is given. Default 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub seed: u64,
    /// The Cryptography Profile of all nodes that name none. By default it is the run's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileName>,
    /// Whether it belongs to the quick set.
    #[serde(default, skip_serializing_if = "is_false")]
    pub quick: bool,
    /// What of the core it needs; see [`CAPABILITIES`]. A run fails while one is missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// Sessions and flows used between nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub work: Vec<Work>,
    /// What happens to the world, and when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub at: Vec<At>,
    /// What happens to single packets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FaultText>,
    /// Whether the random stages of links pass everything, so that only [`faults`](Self::faults) happen.
    #[serde(default, skip_serializing_if = "is_false")]
    pub explicit: bool,
    /// What must come of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<Expect>,
    /// Hosts that run an endpoint.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node: BTreeMap<String, NodeText>,
    /// Many nodes of one kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub crowd: BTreeMap<String, Crowd>,
    /// NATs and firewalls.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub nat: BTreeMap<String, Nat>,
    /// Taps: somebody in the middle of a link's path who sees every packet.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tap: BTreeMap<String, TapText>,
    /// Links.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub link: BTreeMap<String, Link>,
    /// Keys with the values that they take, each combination a run: `"link.wan.up.loss" = ["none", "random 1%"]`;
    /// `seeds = "1..=20"`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub matrix: BTreeMap<String, toml::Value>,
}

/// A congestion controller.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Congestion {
    /// That of RFC 7016 appendix A.
    Rfc7016,
    /// CUBIC (RFC 9438).
    Cubic,
    /// A model of the path.
    Bbr,
    /// For real-time media: bounds the queueing delay.
    Media,
}

/// A Cryptography Profile, with real keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProfileName {
    /// That of RFC 7425 §4.
    Flash,
    /// That of today's cryptography.
    Modern,
    /// The modern one, which requires ML-KEM beside X25519.
    Hybrid,
    /// The modern one, which offers that.
    HybridOffered,
}

/// A host with an endpoint.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct NodeText {
    /// Its key pair: nodes of one number are the same identity. By default each has its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<u32>,
    /// Its Cryptography Profile. By default the scenario's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileName>,
    /// Its address; given out in order if none is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<core::net::IpAddr>,
    /// What its clock shows at the beginning.
    #[serde(skip_serializing_if = "is_default")]
    pub clock_offset: Dur,
    /// Parts per million that its clock runs fast (or slow).
    #[serde(skip_serializing_if = "is_default")]
    pub clock_drift_ppm: i32,
    /// A ping goes out when nothing was heard for so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keepalive: Option<Dur>,
    /// An unanswered session is closed after so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retransmit_limit: Option<Dur>,
    /// A session without flows is closed after so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_limit: Option<Dur>,
    /// How long an opening session tries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_timeout: Option<Dur>,
    /// The largest datagram.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_datagram: Option<Size>,
    /// Receive buffer of a flow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recv_buffer: Option<Size>,
    /// Send buffer of a flow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_buffer: Option<Size>,
    /// Its congestion controller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub congestion: Option<Congestion>,
    /// The most that its sessions send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rate: Option<Bits>,
    /// Whether it uses ECN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ecn: Option<bool>,
    /// Whether it answers hellos.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accept: Option<bool>,
    /// Whom it names to those who say hello to somebody else (RFC 7016 §3.5.1.4): nodes, or addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub redirects: Vec<String>,
    /// How long its certificate is, with the toy cryptography. Default 132 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Size>,
    /// One in this many packets of its sessions is malformed: changed before it is encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub malforms: Option<u64>,
    /// Whether it runs nothing: a host that hears and says nothing (a dead candidate).
    #[serde(skip_serializing_if = "is_false")]
    pub silent: bool,
    /// What it does instead of running an endpoint: cross traffic, attacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plays: Option<Role>,
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
pub(crate) const fn is_false(value: &bool) -> bool {
    !*value
}
const fn one() -> u64 {
    1
}
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_one(value: &u64) -> bool {
    *value == 1
}

/// Why a scenario cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScenarioError(pub(crate) String);

impl core::fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.0.trim_end())
    }
}

impl core::error::Error for ScenarioError {}

impl Scenario {
    /// An empty scenario.
    #[must_use]
    pub fn new(name: &str, duration: datagram_sim::Duration) -> Self {
        Self { name: name.to_owned(), duration: Dur(duration), seed: 1, ..Self::default() }
    }

    /// The same with a node.
    #[must_use]
    pub fn with_node(mut self, name: &str) -> Self {
        self.node.insert(name.to_owned(), NodeText::default());
        self
    }

    /// The same with a NAT.
    #[must_use]
    pub fn with_nat(mut self, name: &str, nat: Nat) -> Self {
        self.nat.insert(name.to_owned(), nat);
        self
    }

    /// The same with a link.
    #[must_use]
    pub fn with_link(mut self, name: &str, link: Link) -> Self {
        self.link.insert(name.to_owned(), link);
        self
    }

    /// The same with more work.
    #[must_use]
    pub fn with_work(mut self, work: Work) -> Self {
        self.work.push(work);
        self
    }

    /// The same with something that happens at a time.
    #[must_use]
    pub fn with_event(mut self, t: datagram_sim::Duration, action: Action) -> Self {
        self.at.push(At { t: Dur(t), action });
        self
    }

    /// The same with an expectation in its own words.
    ///
    /// # Errors
    /// If the words are wrong.
    pub fn expecting(mut self, text: &str) -> Result<Self, ScenarioError> {
        self.expect.push(text.parse().map_err(ScenarioError)?);
        Ok(self)
    }

    /// Reads a scenario file and checks that everything in it fits together.
    ///
    /// # Errors
    /// What is wrong, with its line where there is one.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = toml::from_str(text).map_err(|error| ScenarioError(error.to_string()))?;
        scenario.check_size().map_err(|problem| validate::locate(text, &problem.into()))?;
        scenario.expanded().validate().map_err(|problem| validate::locate(text, &problem))?;
        Ok(scenario)
    }

    /// Whether a scenario that was not read from a file is of a size that can be run.
    pub(crate) fn check(&self) -> Result<(), ScenarioError> {
        self.check_size().map_err(|problem| ScenarioError(problem.message))
    }

    /// Writes the file that [`parse`](Self::parse) reads: short, and to be read by people.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::Table::try_from(self).map(|table| write::short(&table)).unwrap_or_default()
    }
}
