//! Datagrams of one size that never arrive while smaller ones do (RFC 8899 §4.3): a black hole.
//!
//! Lost data says which sizes are suspected. An acknowledged datagram clears its own size and all smaller ones: they
//! were lost for another reason. Losses of larger ones before it then say nothing about the size of smaller ones that
//! are lost after it. Random losses of large datagrams, which a small congestion window soon stops sending, and a few of
//! smaller ones make no black hole. Answers to smaller ones, pings above all, prove that the path lives, and say nothing
//! about the size that is needed.

use core::time::Duration;

use crate::invariant::cannot_happen;
use crate::time::Instant;

/// Losses of suspected datagrams, with none acknowledged in between, that make a black hole.
pub(super) const LOSSES: usize = 4;
/// Answers to smaller datagrams meanwhile that tell a black hole from an outage.
pub(super) const ANSWERS: u8 = 2;

/// What speaks for a black hole on a session's path.
#[derive(Debug, Default)]
pub(super) struct BlackHole {
    /// The last losses, the latest first.
    losses: [Loss; LOSSES],
    last_loss: Option<Instant>,
    /// Answers to smaller datagrams since all of these are suspected.
    answers: u8,
    /// The session ends then, if nothing large arrives.
    until: Option<Instant>,
}

/// Plain lengths, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Loss {
    /// The largest packet that was lost. 0: there was none, or one as large was acknowledged since.
    size: u16,
    /// The largest packet that was acknowledged since.
    acknowledged: u16,
}

const NO_LOSSES: [Loss; LOSSES] = [Loss { size: 0, acknowledged: 0 }; LOSSES];

impl BlackHole {
    /// The data of packets up to this plain length was declared lost. True if it is a black hole. `limit`: how long the
    /// session may live without a datagram of that size.
    pub(super) fn on_lost(&mut self, now: Instant, size: usize, limit: Duration) -> bool {
        self.until.get_or_insert(now + limit);
        self.last_loss = Some(now);
        self.losses.rotate_right(1);
        let [latest, ..] = &mut self.losses;
        *latest = Loss { size: length(size), acknowledged: 0 };
        self.is_suspected()
    }

    /// Whether there is a size that was lost each time, while nothing as large arrived.
    fn is_suspected(&self) -> bool {
        let lost = self.losses.iter().map(|loss| loss.size).min();
        lost > self.losses.iter().map(|loss| loss.acknowledged).max()
    }

    /// Smaller datagrams are used from now on, which may pass.
    pub(super) const fn on_reduced(&mut self) {
        self.losses = NO_LOSSES;
    }

    /// Data in packets up to this plain length was acknowledged.
    pub(super) fn on_acknowledged(&mut self, size: usize) {
        let size = length(size);
        for loss in &mut self.losses {
            loss.acknowledged = loss.acknowledged.max(size);
            if loss.size <= size {
                *loss = Loss::default();
            }
        }
        if self.losses == NO_LOSSES {
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

    /// Whether the session is to end: data was lost time and again, the last time lately, while smaller
    /// datagrams were answered. If there are no such answers yet it is asked again soon: in an outage, the retransmit
    /// limit decides.
    pub(super) fn handle_timeout(&mut self, now: Instant, limit: Duration) -> bool {
        if self.until.is_none_or(|until| until > now) {
            return false;
        }
        let lately = self.last_loss.is_some_and(|last| now.saturating_duration_since(last) <= limit / 2);
        if self.losses == NO_LOSSES || !lately {
            *self = Self::default();
            return false;
        }
        self.until = Some(now + limit / 4);
        self.is_suspected() && self.answers >= ANSWERS
    }
}

/// The length of a packet.
fn length(size: usize) -> u16 {
    u16::try_from(size).unwrap_or_else(|_| cannot_happen!(u16::MAX, "a packet is shorter"))
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

    /// With a tenth of all lost, this is a matter of seconds.
    #[test]
    fn larger_losses_say_nothing_of_a_size_that_arrived_since() {
        let mut hole = BlackHole::default();
        assert!(!hole.on_lost(after(0), 1_216, LIMIT));
        assert!(!hole.on_lost(after(1), 1_440, LIMIT));
        hole.on_acknowledged(1_200);
        assert!(!hole.on_lost(after(2), 1_200, LIMIT));
        assert!(!hole.on_lost(after(3), 1_200, LIMIT));
        assert!(!hole.on_lost(after(4), 1_200, LIMIT));
        assert!(hole.on_lost(after(5), 1_200, LIMIT), "four times");
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
    fn a_session_ends_when_small_is_answered_and_large_is_lost_until_late() {
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
