//! What the world counts of packets, and the law that it must obey.

use crate::fault::DropCause;

/// Packets since the world began.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Counters {
    /// Sent by nodes and attackers.
    pub sent: u64,
    /// Payload bytes sent.
    pub sent_bytes: u64,
    /// Made by links as copies.
    pub duplicated: u64,
    /// "Packet too big" signals made by links.
    pub signals: u64,
    /// Handed to nodes.
    pub delivered: u64,
    /// Payload bytes handed to nodes.
    pub delivered_bytes: u64,
    /// Events handled.
    pub events: u64,
    dropped: [u64; DropCause::COUNT],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            sent: 0,
            sent_bytes: 0,
            duplicated: 0,
            signals: 0,
            delivered: 0,
            delivered_bytes: 0,
            events: 0,
            dropped: [0; DropCause::COUNT],
        }
    }
}

impl Counters {
    /// Packets lost for a reason.
    #[must_use]
    pub fn dropped(&self, cause: DropCause) -> u64 {
        self.dropped.get(cause as usize).copied().unwrap_or(0)
    }

    /// Packets lost for any reason.
    #[must_use]
    pub fn dropped_in_all(&self) -> u64 {
        self.dropped.iter().sum()
    }

    pub(crate) fn drop_one(&mut self, cause: DropCause) {
        if let Some(count) = self.dropped.get_mut(cause as usize) {
            *count += 1;
        }
    }

    /// Whether all packets are accounted for, with `alive` of them still on the way.
    #[must_use]
    pub fn is_conserved(&self, alive: u64) -> bool {
        self.sent + self.duplicated + self.signals == self.delivered + self.dropped_in_all() + alive
    }
}
