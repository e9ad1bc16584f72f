//! What nodes do.

use datagram_sim::Duration;
use rtmfp_core::Priority;
use serde::{Deserialize, Serialize};

use super::text::{Dur, Size};

/// What kind of work.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkKind {
    /// Only opens a session.
    Open,
    /// Sends `bytes` in messages of `size` as fast as they go.
    #[default]
    Bulk,
    /// Sends `count` messages of `size`, one every `interval`.
    Messages,
    /// As messages, by default 50 a second of 160 bytes that live 150 ms and are time critical.
    Media,
    /// Sends a message of `size`, waits for it to come back, and so on, `count` times.
    PingPong,
}

/// A sending priority by its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are rtmfp_core::Priority's")]
pub enum PriorityName {
    Background,
    Bulk,
    Low,
    Routine,
    Elevated,
    High,
    Immediate,
    Urgent,
}

impl From<PriorityName> for Priority {
    fn from(name: PriorityName) -> Self {
        match name {
            PriorityName::Background => Self::Background,
            PriorityName::Bulk => Self::Bulk,
            PriorityName::Low => Self::Low,
            PriorityName::Routine => Self::Routine,
            PriorityName::Elevated => Self::Elevated,
            PriorityName::High => Self::High,
            PriorityName::Immediate => Self::Immediate,
            PriorityName::Urgent => Self::Urgent,
        }
    }
}

/// A session from one node to another, and a flow with messages over it. Works between the same nodes share a session
/// unless `own-session` is set.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Work {
    /// Its name in expectations; `from->to` if none is given.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// What is done.
    pub kind: WorkKind,
    /// Who begins the session and sends.
    pub from: String,
    /// Who receives.
    pub to: String,
    /// When it begins.
    #[serde(skip_serializing_if = "super::is_default")]
    pub start: Dur,
    /// How many bytes; of a bulk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Size>,
    /// How many messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Bytes of each message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// Sizes of the messages in turn, instead of one `size`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sizes: Vec<Size>,
    /// Time between messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Dur>,
    /// Messages are abandoned when so old.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<Dur>,
    /// Whether lost fragments are not sent again.
    #[serde(skip_serializing_if = "super::is_false")]
    pub no_retransmit: bool,
    /// Whether messages are delivered as they come.
    #[serde(skip_serializing_if = "super::is_false")]
    pub unordered: bool,
    /// Sending priority of the flow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<PriorityName>,
    /// Whether its packets are marked time critical.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_critical: Option<bool>,
    /// How many flows the messages go over in turn. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flows: Option<u32>,
    /// Further addresses to try: nodes, each answered or not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<String>,
    /// Introducers to ask instead of the receiver's address, which is not known then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub via: Vec<String>,
    /// Whether the flows are closed when all is written.
    #[serde(skip_serializing_if = "super::is_false")]
    pub close: bool,
    /// Of an open: how long after the end of the session, or a failure, it is opened again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reopen: Option<Dur>,
}

impl Work {
    /// Work of a kind between two nodes.
    #[must_use]
    pub fn new(kind: WorkKind, from: &str, to: &str) -> Self {
        Self { kind, from: from.to_owned(), to: to.to_owned(), ..Self::default() }
    }

    /// Its name in expectations.
    #[must_use]
    pub fn label(&self) -> String {
        if self.name.is_empty() { format!("{}->{}", self.from, self.to) } else { self.name.clone() }
    }

    /// The size of message `index`.
    #[must_use]
    pub fn size_of(&self, index: u64) -> u64 {
        let turn = usize::try_from(index % (self.sizes.len().max(1) as u64)).unwrap_or(0);
        if let Some(size) = self.sizes.get(turn) {
            return size.0;
        }
        let standard = match self.kind {
            WorkKind::Bulk => 16_384,
            WorkKind::Media => 160,
            WorkKind::Open | WorkKind::Messages | WorkKind::PingPong => 100,
        };
        let size = self.size.map_or(standard, |size| size.0);
        match (self.kind, self.bytes) {
            (WorkKind::Bulk, Some(bytes)) => size.min(bytes.0.saturating_sub(index.saturating_mul(size))),
            _ => size,
        }
    }

    /// How many messages there are.
    #[must_use]
    pub fn total(&self) -> u64 {
        match self.kind {
            WorkKind::Open => 0,
            WorkKind::Bulk => {
                let size = self.size.map_or(16_384, |size| size.0).max(1);
                self.count.unwrap_or_else(|| self.bytes.map_or(1_000_000, |bytes| bytes.0).div_ceil(size))
            }
            WorkKind::Messages | WorkKind::Media | WorkKind::PingPong => {
                self.count.unwrap_or(if self.sizes.is_empty() { 100 } else { self.sizes.len() as u64 })
            }
        }
    }

    /// The time between messages, if they are not sent as fast as they go.
    #[must_use]
    pub fn pace(&self) -> Option<Duration> {
        match self.kind {
            WorkKind::Open | WorkKind::Bulk | WorkKind::PingPong => None,
            WorkKind::Messages => Some(self.interval.map_or(Duration::millis(100), |interval| interval.0)),
            WorkKind::Media => Some(self.interval.map_or(Duration::millis(20), |interval| interval.0)),
        }
    }

    /// How long a message lives, if not for ever.
    #[must_use]
    pub fn life(&self) -> Option<Duration> {
        let standard = (self.kind == WorkKind::Media).then_some(Duration::millis(150));
        self.lifetime.map(|lifetime| lifetime.0).or(standard)
    }

    /// Whether everything must arrive.
    #[must_use]
    pub fn is_reliable(&self) -> bool {
        self.life().is_none() && !self.no_retransmit
    }

    /// Whether its packets are marked time critical.
    #[must_use]
    pub fn is_time_critical(&self) -> bool {
        self.time_critical.unwrap_or(self.kind == WorkKind::Media)
    }
}
