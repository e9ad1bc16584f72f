//! When hellos and keyings are sent again (RFC 7016 §3.5.1.1.1).

use core::time::Duration;

use crate::params::{HELLO_BACKOFF_STEP, HELLO_FIRST_INTERVAL};
use crate::time::Instant;

/// A schedule of attempts: the interval grows by 1.5 s each time (§3.5.1.1.1).
#[derive(Clone, Copy, Debug)]
pub(super) struct HelloBackoff {
    pub(super) next: Instant,
    interval: Duration,
}

impl HelloBackoff {
    pub(super) const fn starting(next: Instant) -> Self {
        Self { next, interval: HELLO_FIRST_INTERVAL }
    }

    /// Whether an attempt is due; arms the next one if so.
    pub(super) fn due(&mut self, now: Instant) -> bool {
        let due = self.next <= now;
        if due {
            self.next = now + self.interval;
            self.interval += HELLO_BACKOFF_STEP;
        }
        due
    }

    /// Whether the latest attempt was less than `age` ago.
    pub(super) fn sent_within(&self, now: Instant, age: Duration) -> bool {
        // Armed by the latest attempt, with the interval as it was before it grew.
        let waited = self.interval.saturating_sub(HELLO_BACKOFF_STEP);
        self.next > now && self.next.saturating_duration_since(now) + age > waited
    }
}
