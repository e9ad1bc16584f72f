//! When hellos and keyings are sent again (RFC 7016 §3.5.1.1.1).

use core::time::Duration;

use super::table::Tag;
use crate::params::{HELLO_BACKOFF_DRIFT, HELLO_BACKOFF_STEP, HELLO_FIRST_INTERVAL};
use crate::time::Instant;

/// A schedule of attempts: the interval grows by 1.5 s each time (§3.5.1.1.1), and by a little more that is different for
/// each opening. So many ends that lose one server in one instant do not all call it again in one instant, which serves the
/// same few of them each time.
#[derive(Clone, Copy, Debug)]
pub(super) struct HelloBackoff {
    pub(super) next: Instant,
    interval: Duration,
    step: Duration,
}

impl HelloBackoff {
    /// The first is at `next`. The tag of the opening decides how far it drifts from those of others.
    pub(super) fn starting(next: Instant, tag: &Tag) -> Self {
        let [drift, ..] = *tag;
        let step = HELLO_BACKOFF_STEP + HELLO_BACKOFF_DRIFT * u32::from(drift) / u32::from(u8::MAX);
        Self { next, interval: HELLO_FIRST_INTERVAL, step }
    }

    /// Whether an attempt is due; arms the next one if so.
    pub(super) fn due(&mut self, now: Instant) -> bool {
        let due = self.next <= now;
        if due {
            self.next = now + self.interval;
            self.interval += self.step;
        }
        due
    }

    /// Whether the latest attempt was less than `age` ago.
    pub(super) fn sent_within(&self, now: Instant, age: Duration) -> bool {
        // Armed by the latest attempt, with the interval as it was before it grew.
        let waited = self.interval.saturating_sub(self.step);
        self.next > now && self.next.saturating_duration_since(now) + age > waited
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_recent_from_when_it_is_made_until_it_has_that_age() {
        let start = Instant::from_millis(10_000);
        let age = HELLO_FIRST_INTERVAL / 2;
        let mut attempts = HelloBackoff::starting(start, &[9; 16]);
        assert!(!attempts.sent_within(start, age), "none was made yet");
        let mut now = start;
        for _ in 0..4 {
            assert!(attempts.due(now));
            assert!(attempts.sent_within(now, age));
            assert!(attempts.sent_within(now + age - Duration::from_micros(1), age));
            assert!(!attempts.sent_within(now + age, age));
            now = attempts.next;
            assert!(!attempts.sent_within(now, age), "the next is due");
        }
    }
}
