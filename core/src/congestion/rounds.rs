//! Round trips, counted by what is acknowledged.

use super::RateSample;

/// A round ends when something is acknowledged that was sent after it began.
#[derive(Debug)]
pub(super) struct Rounds {
    count: u64,
    /// All bytes acknowledged when this round began.
    began: u64,
}

impl Rounds {
    pub(super) const fn new() -> Self {
        Self { count: 0, began: 0 }
    }

    /// Whether a round begins with this sample.
    pub(super) fn on_sample(&mut self, sample: &RateSample) -> bool {
        let begins = sample.prior_delivered >= self.began;
        if begins {
            self.count += 1;
            self.began = sample.total_delivered;
        }
        begins
    }

    /// Rounds that have begun.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }
}
