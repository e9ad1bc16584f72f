//! Hosts without an endpoint: cross traffic, attackers, and taps on the path.

use datagram_sim::cross::Control;
use serde::{Deserialize, Serialize};

use super::text::{Bits, Dur, Size};

/// A congestion control of cross traffic.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are datagram_sim::cross::Control's")]
pub enum ControlName {
    NewReno,
    #[default]
    Cubic,
    Bbr,
    Ledbat,
}

impl From<ControlName> for Control {
    fn from(name: ControlName) -> Self {
        match name {
            ControlName::NewReno => Self::NewReno,
            ControlName::Cubic => Self::Cubic,
            ControlName::Bbr => Self::Bbr,
            ControlName::Ledbat => Self::Ledbat,
        }
    }
}

/// What forged packets are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forgery {
    /// Initiator Hellos to the victim's own name (RFC 7016 §2.3.2), as right as anybody can make them.
    Hello,
    /// Random bytes of a random length.
    Noise,
    /// "Packet too big" signals that claim an MTU of 100 bytes (RFC 1191, RFC 8201). Only of a spoof.
    TooBig,
}

/// What a host does that runs no endpoint.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Role {
    /// Takes cross traffic and acknowledges it.
    Sink,
    /// A transfer under a congestion control, to a sink.
    Transfer {
        /// The sink.
        to: String,
        /// Its congestion control.
        #[serde(default)]
        control: ControlName,
        /// When it begins.
        #[serde(default, skip_serializing_if = "super::is_default")]
        start: Dur,
        /// How much; endless if it is not said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bytes: Option<Size>,
    },
    /// Short transfers to a sink that begin at random, with exponential gaps and sizes.
    Short {
        /// The sink.
        to: String,
        /// Their congestion control.
        #[serde(default)]
        control: ControlName,
        /// When they begin.
        #[serde(default, skip_serializing_if = "super::is_default")]
        start: Dur,
        /// Between two beginnings, on average.
        gap: Dur,
        /// Their size, on average.
        bytes: Size,
    },
    /// A constant rate that heeds nothing; with `on` and `off`, only for spans of exponential length.
    Constant {
        /// Where to.
        to: String,
        /// The rate, headers included.
        rate: Bits,
        /// When it begins.
        #[serde(default, skip_serializing_if = "super::is_default")]
        start: Dur,
        /// When it ends; with the scenario if it is not said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Dur>,
        /// How long it sends at a time, on average.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        on: Option<Dur>,
        /// How long it pauses then, on average.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        off: Option<Dur>,
    },
    /// As many packets a second as said, from forged sources.
    Flood {
        /// Who gets them.
        victim: String,
        /// What they are.
        what: Forgery,
        /// How many.
        per_second: u32,
        /// From how many ports of its own address they claim to be. Default 1,000.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sources: Option<u32>,
        /// When it begins.
        #[serde(default, skip_serializing_if = "super::is_default")]
        start: Dur,
        /// When it ends; with the scenario if it is not said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Dur>,
    },
    /// Packets that claim to be from somebody else, off the path.
    Spoof {
        /// Who gets them.
        victim: String,
        /// Whom they claim to be from.
        claims: String,
        /// What they are.
        what: Forgery,
        /// One every so often.
        every: Dur,
        /// How many. Default 1,000.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u64>,
        /// When it begins.
        #[serde(default, skip_serializing_if = "super::is_default")]
        start: Dur,
    },
}

impl Role {
    /// The nodes that it names.
    #[must_use]
    pub fn names(&self) -> Vec<&String> {
        match self {
            Self::Sink => Vec::new(),
            Self::Transfer { to, .. } | Self::Short { to, .. } | Self::Constant { to, .. } => vec![to],
            Self::Flood { victim, .. } => vec![victim],
            Self::Spoof { victim, claims, .. } => vec![victim, claims],
        }
    }

    /// The sink that it needs, if it needs one.
    #[must_use]
    pub const fn sink(&self) -> Option<&String> {
        match self {
            Self::Transfer { to, .. } | Self::Short { to, .. } => Some(to),
            Self::Sink | Self::Constant { .. } | Self::Flood { .. } | Self::Spoof { .. } => None,
        }
    }

    /// Whether it forges sources.
    #[must_use]
    pub const fn forges(&self) -> bool {
        matches!(self, Self::Flood { .. } | Self::Spoof { .. })
    }
}

/// Somebody in the middle of a link's path who sees every packet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "does", rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum TapText {
    /// Plays every packet again, `times` times, `after` and then every `after`.
    Replay {
        /// How much later.
        after: Dur,
        /// How often.
        times: u32,
    },
    /// Flips a bit in every `every`-th packet, each time the next one.
    Flip {
        /// How many packets from one to the next.
        every: u64,
    },
    /// Swallows every `every`-th packet.
    Swallow {
        /// How many packets from one to the next.
        every: u64,
    },
}
