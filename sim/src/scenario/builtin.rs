//! The scenarios that come with the program.

use super::{Scenario, ScenarioError};

/// A scenario of the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Builtin {
    /// Its number in the list, from 1.
    pub number: usize,
    /// Its name.
    pub name: &'static str,
    /// Its file.
    pub text: &'static str,
}

macro_rules! list {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../scenarios/", $name, ".toml")))),*]
    };
}

/// Name and file of every built-in scenario.
const LIST: &[(&str, &str)] = list![
    "hs-clean",
    "hs-loss-sweep",
    "hs-interop-30",
    "hs-dup-reorder",
    "hs-long-rtt",
    "hs-droplist",
    "hs-cookie-change",
    "hs-cookie-expiry",
    "hs-glare",
    "hs-glare-3",
    "hs-stale-session",
    "hs-parallel-open",
    "hs-load-distribution",
    "hs-redirector",
    "hs-redirect-loop",
    "hs-forwarder",
    "hs-mtu",
    "nat-matrix",
    "nat-race",
    "nat-sym-predictable",
    "nat-hairpin",
    "nat-double",
    "nat-timeout",
    "nat-reboot",
    "nat-port-exhaustion",
    "nat-pool-arbitrary",
    "nat64-nptv6",
    "udp-blocked",
    "mob-sender",
    "mob-receiver",
    "mob-both",
    "mob-handoff",
    "mob-rebind-storm",
    "mob-inflight",
    "mob-addr-reuse",
    "outage-sweep",
    "suspend-resume",
    "restore-rapid",
    "frag-large",
    "many-flows",
    "expiry-audio",
    "abandon-mid-message",
    "priorities",
    "tc-backoff",
    "tc-latency",
    "rwnd-zero-probe",
    "rwnd-deadlock",
    "ack-loss",
    "flow-reject-close",
    "util-loss-grid",
    "util-loss-heavy",
    "util-loss-light",
    "fair-intra",
    "fair-rtt",
    "fair-vs-tcp",
    "bloat",
    "controllers",
    "audio-beside-bulk",
    "fill-line",
    "media-delay",
    "ecn",
    "rmcat-5.1",
    "rmcat-5.2",
    "rmcat-5.3",
    "rmcat-5.4",
    "rmcat-5.5",
    "rmcat-5.6",
    "rmcat-5.7",
    "rmcat-5.8",
    "policer-vs-shaper",
    "pmtu",
    "small-mtu",
    "tiny-mtu",
    "thin-flows",
    "reorder-deep",
    "atk-ihello-flood",
    "atk-offpath",
    "atk-malformed",
    "atk-memory",
    "close-races",
    "p2p-mesh",
    "profile-transfer",
    "profile-mobility",
    "profile-introduction",
    "profile-redirect",
    "profile-glare",
    "profile-both",
    "hybrid-startup",
    "hybrid-loss",
];

/// All of them, in order.
pub fn builtins() -> impl Iterator<Item = Builtin> {
    LIST.iter().enumerate().map(|(index, &(name, text))| Builtin { number: index + 1, name, text })
}

/// The one of this name.
#[must_use]
pub fn builtin(name: &str) -> Option<Builtin> {
    builtins().find(|builtin| builtin.name == name)
}

impl Builtin {
    /// Reads it.
    ///
    /// # Errors
    /// Never, for those that come with the program.
    pub fn scenario(&self) -> Result<Scenario, ScenarioError> {
        Scenario::parse(self.text)
    }
}

#[cfg(test)]
mod tests;
