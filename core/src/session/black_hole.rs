//! Datagrams of one size that never arrive while smaller ones do (RFC 8899 §4.3): a black hole.
//!
//! Lost data says which size is suspected, and any acknowledged datagram at least as large clears it. Answers to smaller
//! ones, pings above all, prove that the path lives, and say nothing about the size that is needed.

use core::time::Duration;

use crate::time::Instant;

/// Losses of suspected datagrams, with none acknowledged in between, that make a black hole.
pub(super) const LOSSES: u8 = 4;
/// Answers to smaller datagrams meanwhile that tell a black hole from an outage.
pub(super) const ANSWERS: u8 = 2;

/// What speaks for a black hole on a session's path.
#[derive(Debug, Default)]
pub(super) struct BlackHole {
    /// The plain length of the largest packet whose data was lost, 0 if none is suspected.
    suspect: usize,
    losses: u8,
    last_loss: Option<Instant>,
    /// Answers to smaller datagrams since the first loss.
    answers: u8,
    /// When the session's patience ends.
    until: Option<Instant>,
}

impl BlackHole {
    /// The data of packets up to this plain length was found lost. True if it is a black hole. `limit`: how long the
    /// session may live without a datagram of that size.
    pub(super) fn on_lost(&mut self, now: Instant, size: usize, limit: Duration) -> bool {
        self.until.get_or_insert(now + limit);
        self.last_loss = Some(now);
        self.suspect = self.suspect.max(size);
        self.losses = self.losses.saturating_add(1);
        self.losses >= LOSSES
    }

    /// Smaller datagrams are used from now on, which may pass.
    pub(super) const fn on_reduced(&mut self) {
        (self.suspect, self.losses) = (0, 0);
    }

    /// Data in packets up to this plain length was acknowledged.
    pub(super) fn on_acknowledged(&mut self, size: usize) {
        if size >= self.suspect {
            *self = Self::default();
        } else {
            self.on_answer();
        }
    }

    /// A Ping Reply came.
    pub(super) const fn on_answer(&mut self) {
        if self.until.is_some() {
            self.answers = self.answers.saturating_add(1);
        }
    }

    pub(super) const fn next_timeout(&self) -> Option<Instant> {
        self.until
    }

    /// Whether the session's patience is at its end: data was lost time and again, the last time lately, while smaller
    /// datagrams were answered. If there are no such answers yet it is asked again soon: in an outage, the retransmit
    /// limit decides.
    pub(super) fn handle_timeout(&mut self, now: Instant, limit: Duration) -> bool {
        if self.until.is_none_or(|until| until > now) {
            return false;
        }
        let lately = self.last_loss.is_some_and(|last| now.saturating_duration_since(last) <= limit / 2);
        if self.losses < LOSSES || !lately {
            *self = Self::default();
            return false;
        }
        self.until = Some(now + limit / 4);
        self.answers >= ANSWERS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Instant = Instant::from_millis(1_000);
    const LIMIT: Duration = Duration::from_secs(15);

    fn after(seconds: u64) -> Instant {
        START + Duration::from_secs(seconds)
    }

    /// With `losses` of 1,000 bytes, one a second.
    fn suspecting(losses: u8) -> BlackHole {
        let mut hole = BlackHole::default();
        (0..losses).for_each(|n| assert_eq!(hole.on_lost(after(n.into()), 1_000, LIMIT), n + 1 >= LOSSES));
        hole
    }

    #[test]
    fn smaller_datagrams_that_arrive_do_not_clear_the_larger() {
        let mut hole = suspecting(LOSSES - 1);
        hole.on_acknowledged(999);
        assert!(hole.on_lost(after(4), 1_000, LIMIT));
        hole.on_acknowledged(1_000);
        assert!(!hole.on_lost(after(5), 1_000, LIMIT));
    }

    #[test]
    fn patience_ends_when_small_is_answered_and_large_is_lost_until_late() {
        let mut hole = suspecting(LOSSES);
        (0..ANSWERS).for_each(|_| hole.on_answer());
        assert_eq!(hole.next_timeout(), Some(after(15)));
        assert!(!hole.handle_timeout(after(14), LIMIT));
        hole.on_lost(after(14), 1_000, LIMIT);
        assert!(hole.handle_timeout(after(15), LIMIT));
    }

    #[test]
    fn an_outage_is_not_held_to_be_a_black_hole() {
        let mut hole = suspecting(14);
        (1..ANSWERS).for_each(|_| hole.on_answer());
        assert!(!hole.handle_timeout(after(15), LIMIT));
        assert_eq!(hole.next_timeout(), Some(after(15) + LIMIT / 4));
        hole.on_answer();
        assert!(hole.handle_timeout(after(15) + LIMIT / 4, LIMIT));
    }

    #[test]
    fn what_was_lost_long_ago_and_not_sent_again_ends_nothing() {
        let mut hole = suspecting(LOSSES);
        (0..ANSWERS).for_each(|_| hole.on_answer());
        assert!(!hole.handle_timeout(after(15), LIMIT));
        assert_eq!(hole.next_timeout(), None);
    }
}
