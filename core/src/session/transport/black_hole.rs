//! Datagrams of one size that never arrive while smaller ones do (RFC 8899 §4.3): a black hole.
//!
//! Lost data says which sizes are suspected. An acknowledged datagram clears its own size and all smaller ones: they
//! were lost for another reason. Answers to smaller ones, pings above all, prove that the path lives, and say nothing
//! about the size that is needed.

use core::time::Duration;

use crate::time::Instant;

/// Losses of suspected datagrams, with none acknowledged in between, that make a black hole.
pub(super) const LOSSES: usize = 4;
/// Answers to smaller datagrams meanwhile that tell a black hole from an outage.
pub(super) const ANSWERS: u8 = 2;

/// What speaks for a black hole on a session's path.
#[derive(Debug, Default)]
pub(super) struct BlackHole {
    /// The plain length of the largest packet of each of the last losses, the latest first. 0: there was none, or a
    /// packet as large was acknowledged after it.
    suspects: [usize; LOSSES],
    last_loss: Option<Instant>,
    /// Answers to smaller datagrams since all of these are suspected.
    answers: u8,
    /// When the session's patience ends.
    until: Option<Instant>,
}

impl BlackHole {
    /// The data of packets up to this plain length was declared lost. True if it is a black hole. `limit`: how long the
    /// session may live without a datagram of that size.
    pub(super) fn on_lost(&mut self, now: Instant, size: usize, limit: Duration) -> bool {
        self.until.get_or_insert(now + limit);
        self.last_loss = Some(now);
        self.suspects.rotate_right(1);
        let [latest, ..] = &mut self.suspects;
        *latest = size;
        self.is_suspected()
    }

    fn is_suspected(&self) -> bool {
        self.suspects.iter().all(|size| *size > 0)
    }

    /// Smaller datagrams are used from now on, which may pass.
    pub(super) const fn on_reduced(&mut self) {
        self.suspects = [0; LOSSES];
    }

    /// Data in packets up to this plain length was acknowledged.
    pub(super) fn on_acknowledged(&mut self, size: usize) {
        for suspect in self.suspects.iter_mut().filter(|suspect| **suspect <= size) {
            *suspect = 0;
        }
        if self.suspects == [0; LOSSES] {
            *self = Self::default();
        } else {
            self.on_answer();
        }
    }

    /// A Ping Reply came.
    pub(super) fn on_answer(&mut self) {
        self.answers = if self.is_suspected() { self.answers.saturating_add(1) } else { 0 };
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
        if self.suspects == [0; LOSSES] || !lately {
            *self = Self::default();
            return false;
        }
        self.until = Some(now + limit / 4);
        self.is_suspected() && self.answers >= ANSWERS
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
    fn suspecting(losses: usize) -> BlackHole {
        let mut hole = BlackHole::default();
        (0..losses).for_each(|n| assert_eq!(hole.on_lost(after(n as u64), 1_000, LIMIT), n + 1 >= LOSSES));
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

    /// One large loss, and then ordinary losses of small packets that get through when they are sent again.
    #[test]
    fn losses_of_small_datagrams_that_arrive_later_say_nothing_of_a_larger_one() {
        let mut hole = suspecting(1);
        for second in 1..60 {
            assert!(!hole.on_lost(after(second), 100, LIMIT));
            hole.on_acknowledged(100);
            assert!(!hole.handle_timeout(after(second), LIMIT), "{second}");
        }
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
