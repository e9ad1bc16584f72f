//! Keys made ahead of the sessions that are to have them, when there is nothing else to compute: what they cost is paid
//! before a storm of openings, and not in it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::jobs::ABANDONED_AFTER;
use super::key_agreement::{KeyAgreement, Op};
use super::shared::Shared;
use crate::error::DropReason;
use crate::profile::PreparedKey;
use crate::time::Instant;

/// Keys that are being made at once, at most: what a session waits for may come to stand behind them.
const AT_ONCE: usize = 4;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct PreparedKeys {
    ready: Vec<PreparedKey>,
    /// Jobs whose result is not back, and since when: [`AT_ONCE`] at most.
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

    /// A job is done; it is unexpected if it counted as abandoned.
    pub(super) fn made(&mut self, job: u64, key: Option<PreparedKey>) -> Result<(), DropReason> {
        self.making.remove(&job).ok_or(DropReason::Unexpected)?;
        self.useless |= key.is_none();
        self.ready.extend(key);
        Ok(())
    }

    /// Has a key made, unless there are as many as there may be.
    pub(super) fn prepare(&mut self, shared: &mut Shared) -> Option<KeyAgreement> {
        if !shared.offloads() || !self.wants(shared.now, shared.config.max_prepared_keys) {
            return None;
        }
        let job = KeyAgreement::new(shared, Op::Prepare);
        self.making.insert(job.id(), shared.now);
        Some(job)
    }

    /// Whether one more is to be made; if none comes back, others take the place of those.
    fn wants(&mut self, now: Instant, most: usize) -> bool {
        let wanted = most.saturating_sub(self.ready.len()).min(AT_ONCE);
        if self.useless || wanted == 0 {
            return false;
        }
        self.making.retain(|_, since| now.saturating_duration_since(*since) <= ABANDONED_AFTER);
        self.making.len() < wanted
    }
}
