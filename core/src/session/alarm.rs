//! Deadlines. Each part of a session has those of its own subject.

use crate::time::Instant;

/// A deadline that may be set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Alarm(Option<Instant>);

impl Alarm {
    pub(super) const fn at(at: Option<Instant>) -> Self {
        Self(at)
    }

    pub(super) const fn get(self) -> Option<Instant> {
        self.0
    }

    pub(super) const fn is_set(self) -> bool {
        self.0.is_some()
    }

    pub(super) const fn set(&mut self, at: Instant) {
        self.0 = Some(at);
    }

    pub(super) fn set_if_unset(&mut self, at: Instant) {
        self.0.get_or_insert(at);
    }

    pub(super) fn set_no_later_than(&mut self, at: Instant) {
        self.0 = Some(self.0.map_or(at, |set| set.min(at)));
    }

    pub(super) const fn clear(&mut self) {
        self.0 = None;
    }

    /// Whether it is due; clears it if so.
    pub(super) fn take_due(&mut self, now: Instant) -> bool {
        let due = self.0.is_some_and(|at| at <= now);
        if due {
            self.0 = None;
        }
        due
    }
}

/// Deadlines that a session can have.
pub(crate) const TIMERS: usize = 14;

/// Every deadline that a session can have, if it is set, and what it is for.
pub(crate) struct Deadlines(pub(crate) [(Option<Instant>, &'static str); TIMERS]);

impl Deadlines {
    /// The earliest. It is asked for after every call, so it does without what [`next`](Self::next) tells.
    #[inline]
    pub(crate) fn first(self) -> Option<Instant> {
        Instant::earliest(self.0.map(|(at, _)| at))
    }

    /// The earliest, and what it is for; of two at one time, the first.
    pub(crate) fn next(self) -> Option<(Instant, &'static str)> {
        self.0.into_iter().filter_map(|(at, name)| Some((at?, name))).min_by_key(|&(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_due_once() {
        let at = Instant::from_millis;
        let mut alarm = Alarm::default();
        assert!(!alarm.take_due(at(1)));
        alarm.set_if_unset(at(100));
        alarm.set_if_unset(at(50));
        assert_eq!(alarm.get(), Some(at(100)));
        alarm.set_no_later_than(at(99));
        alarm.set_no_later_than(at(100));
        assert!(!alarm.take_due(at(98)));
        assert!(alarm.take_due(at(99)) && !alarm.is_set());
        assert!(!alarm.take_due(at(99)), "it was cleared");
    }

    #[test]
    fn the_earliest_is_next_and_of_two_at_once_the_first() {
        let at = |millis| Some(Instant::from_millis(millis));
        assert_eq!(Deadlines([(None, "a"); TIMERS]).next(), None);
        let mut deadlines = [(None, "a"); TIMERS];
        deadlines[4..7].copy_from_slice(&[(at(7), "b"), (at(5), "c"), (at(5), "d")]);
        assert_eq!(Deadlines(deadlines).first(), at(5));
        assert_eq!(Deadlines(deadlines).next(), Some((Instant::from_millis(5), "c")));
    }
}
