//! The endpoint-wide memory of time critical packets (RFC 7016 §2.2.4, §3.5.2.1).

use crate::handle::SessionHandle;
use crate::params::TIME_CRITICAL_MEMORY;
use crate::time::Instant;

/// Whether something that happened at `at` still has effect (RFC 7016 §3.5.2.1: "within the last 800 ms").
pub(super) fn lately(at: Option<Instant>, now: Instant) -> bool {
    at.is_some_and(|at| now.saturating_duration_since(at) <= TIME_CRITICAL_MEMORY)
}

/// When a time critical packet was last sent in any session, and the last received in each of the two most recent
/// sessions, so that "received on another session" is answered in O(1).
#[derive(Debug, Default)]
pub(crate) struct TimeCriticalClock {
    sent: Option<Instant>,
    /// The latest first, of two different sessions.
    received: [Option<(SessionHandle, Instant)>; 2],
}

impl TimeCriticalClock {
    pub(crate) fn sent(&mut self, now: Instant) {
        self.sent = Some(now);
    }

    pub(crate) fn received(&mut self, session: SessionHandle, now: Instant) {
        let [first, second] = self.received;
        let older = if first.is_some_and(|(latest, _)| latest == session) { second } else { first };
        self.received = [Some((session, now)), older];
    }

    pub(crate) fn sent_lately(&self, now: Instant) -> bool {
        lately(self.sent, now)
    }

    pub(crate) fn received_lately_by_another(&self, session: SessionHandle, now: Instant) -> bool {
        let another = self.received.iter().flatten().find(|&&(other, _)| other != session);
        lately(another.map(|&(_, at)| at), now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_told_of_the_others_for_800_ms() {
        let [a, b, c] = [0, 1, 2].map(|slot| SessionHandle { slot, generation: 0 });
        let at = Instant::from_millis;
        let mut clock = TimeCriticalClock::default();
        assert!(!clock.received_lately_by_another(a, at(0)));
        clock.received(a, at(1_000));
        clock.received(a, at(1_100));
        assert!(!clock.received_lately_by_another(a, at(1_100)), "its own packets do not count");
        assert!(clock.received_lately_by_another(b, at(1_900)));
        assert!(!clock.received_lately_by_another(b, at(1_901)));
        clock.received(b, at(2_000));
        clock.received(c, at(2_100));
        clock.received(b, at(2_200));
        assert!(clock.received_lately_by_another(b, at(2_900)), "c was heard at 2.1 s");
        assert!(!clock.received_lately_by_another(b, at(2_901)));
        assert!(clock.received_lately_by_another(c, at(3_000)));
        assert!(!clock.sent_lately(at(0)));
        clock.sent(at(5_000));
        assert!(clock.sent_lately(at(5_800)) && !clock.sent_lately(at(5_801)));
    }
}
