//! Keys made ahead of the sessions that are to have them, when there is nothing else to compute: what they cost is paid
//! before a storm of openings, and not in it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::Endpoint;
use super::jobs::{KeyAgreement, LOST_AFTER};
use crate::error::DropReason;
use crate::profile::PreparedKey;
use crate::time::Instant;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct PreparedKeys {
    ready: Vec<PreparedKey>,
    /// Jobs whose result is not back, and since when.
    making: BTreeMap<u64, Instant>,
    /// The profile makes none.
    useless: bool,
}

impl PreparedKeys {
    /// The key for one session.
    pub(super) fn take(&mut self) -> Option<PreparedKey> {
        self.ready.pop()
    }

    #[cfg(test)]
    pub(super) fn keys(&self) -> impl Iterator<Item = &PreparedKey> {
        self.ready.iter()
    }

    /// A job is done; it is unexpected if it was taken for lost.
    pub(super) fn made(&mut self, job: u64, key: Option<PreparedKey>) -> Result<(), DropReason> {
        self.making.remove(&job).ok_or(DropReason::Unexpected)?;
        self.useless = key.is_none();
        self.ready.extend(key);
        Ok(())
    }

    /// Whether one more is to be made; if none comes back, others take the place of those.
    fn wants(&mut self, now: Instant, most: usize) -> bool {
        if self.useless || self.ready.len() >= most {
            return false;
        }
        if self.ready.len() + self.making.len() >= most {
            self.making.retain(|_, since| now.saturating_duration_since(*since) <= LOST_AFTER);
        }
        self.ready.len() + self.making.len() < most
    }
}

impl Endpoint {
    /// Has a key made, unless there are as many as there may be.
    pub(super) fn prepare_key(&mut self) -> Option<KeyAgreement> {
        if !self.prepared.wants(self.now, self.config.max_prepared_keys) {
            return None;
        }
        let job = self.preparation();
        self.prepared.making.insert(job.id(), self.now);
        Some(job)
    }
}
