//! What a sender waits for: the timeout, and what may come before it. One deadline for all of them.

use crate::session::alarm::Alarm;
use crate::time::Instant;

/// What comes before the timeout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Early {
    /// The far end is heard again, and has had the time to answer what was sent last.
    Answer,
    /// What has a negative acknowledgement was sent so long ago that it is lost (RFC 9002 §6.1.2).
    Late,
    /// Nothing was heard for so long that what was sent last is sent again (RFC 8985 §7).
    Probe,
}

/// What is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::session) enum Due {
    Timeout,
    Answer,
    Late,
    Probe,
}

/// See the module.
#[derive(Debug, Default)]
pub(in crate::session) struct RetransmitTimer {
    /// The next of them.
    alarm: Alarm,
    /// TIMEOUT_ALARM (RFC 7016 §3.6.2.6).
    timeout: Option<Instant>,
    /// The alarm is not for the timeout.
    early: Option<Early>,
}

impl RetransmitTimer {
    /// The next deadline.
    pub(in crate::session) const fn get(&self) -> Option<Instant> {
        self.alarm.get()
    }

    /// When the timeout is.
    pub(super) const fn timeout(&self) -> Option<Instant> {
        self.timeout
    }

    pub(in crate::session) const fn is_set(&self) -> bool {
        self.timeout.is_some()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Sets the timeout, and nothing before it.
    pub(super) const fn set(&mut self, timeout: Instant) {
        self.timeout = Some(timeout);
        self.alarm.set(timeout);
        self.early = None;
    }

    /// More was sent: the timeout is later, but not the loss of what was sent before.
    pub(super) fn postpone(&mut self, timeout: Instant) {
        if self.early == Some(Early::Late) && self.alarm.get().is_some_and(|at| at < timeout) {
            self.timeout = Some(timeout);
        } else {
            self.set(timeout);
        }
    }

    /// This comes first, if it comes before the timeout.
    pub(super) fn set_early(&mut self, at: Instant, early: Early) {
        if self.timeout.is_some_and(|timeout| at < timeout) {
            self.alarm.set(at);
            self.early = Some(early);
        }
    }

    /// A probe comes first, if it comes before anything else.
    pub(super) fn set_probe(&mut self, at: Instant) {
        if self.early.is_none() {
            self.set_early(at, Early::Probe);
        }
    }

    /// What is due, if anything is. What comes later stays set.
    pub(in crate::session) fn take_due(&mut self, now: Instant) -> Option<Due> {
        if !self.alarm.take_due(now) {
            return None;
        }
        let early = self.early.take();
        if self.timeout.is_some_and(|timeout| timeout <= now) && early != Some(Early::Answer) {
            self.timeout = None;
            return Some(Due::Timeout);
        }
        self.alarm = Alarm::at(self.timeout);
        Some(match early {
            None => Due::Timeout,
            Some(Early::Answer) => Due::Answer,
            Some(Early::Late) => Due::Late,
            Some(Early::Probe) => Due::Probe,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn what_comes_first_is_due_first_and_the_timeout_stays() {
        let mut timer = RetransmitTimer::default();
        timer.set_early(at(5), Early::Late);
        assert_eq!(timer.get(), None, "nothing is waited for");
        timer.set(at(100));
        timer.set_early(at(100), Early::Late);
        timer.set_early(at(50), Early::Late);
        timer.set_probe(at(40));
        assert_eq!(timer.get(), Some(at(50)), "a probe says nothing more of what is late");
        assert_eq!(timer.take_due(at(49)), None);
        assert_eq!(timer.take_due(at(50)), Some(Due::Late));
        timer.set_probe(at(60));
        assert_eq!((timer.get(), timer.timeout()), (Some(at(60)), Some(at(100))));
        assert_eq!(timer.take_due(at(60)), Some(Due::Probe));
        assert_eq!(timer.take_due(at(100)), Some(Due::Timeout));
        assert!(!timer.is_set() && timer.get().is_none());
    }

    /// A timer that comes late left the timeout in the past.
    #[test]
    fn the_timeout_is_due_with_what_came_before_it() {
        let mut timer = RetransmitTimer::default();
        timer.set(at(100));
        timer.set_early(at(50), Early::Probe);
        assert_eq!(timer.take_due(at(100)), Some(Due::Timeout));
        assert_eq!(timer.get(), None);
    }

    #[test]
    fn more_that_is_sent_postpones_all_but_losses() {
        let mut timer = RetransmitTimer::default();
        timer.set(at(100));
        timer.set_early(at(50), Early::Late);
        timer.postpone(at(120));
        assert_eq!((timer.get(), timer.timeout()), (Some(at(50)), Some(at(120))));
        timer.set(at(130));
        timer.set_probe(at(60));
        timer.postpone(at(140));
        assert_eq!(timer.get(), Some(at(140)));
    }
}
