//! The deadlines of a session, one for each purpose.

use crate::time::Instant;

/// What a deadline is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Timer {
    /// With something unanswered for this long the session ends. Looked at before the others.
    RetransmitLimit,
    /// TIMEOUT_ALARM (RFC 7016 §3.6.2.6).
    Timeout,
    /// DELACK_ALARM (RFC 7016 §3.6.3.4.4).
    DelayedAck,
    /// Nothing was heard for a while: ping (RFC 7016 §3.5.4.1).
    Keepalive,
    /// A ping was not answered in time: ping again.
    PingRetry,
    /// The earliest deadline of any flow.
    Flow,
    /// No flows for a while: close.
    Idle,
    /// Repeat the Session Close Request (RFC 7016 §3.5.5).
    CloseRetry,
    /// The end of S_NEARCLOSE or S_FARCLOSE_LINGER (RFC 7016 §3.5.5).
    CloseEnd,
    /// A path MTU probe was not answered, or it is time to look for a larger one again (RFC 7016 §3.5.4.3).
    PathMtu,
    /// The far end has not shown that it has the keys.
    Proof,
    /// The far end has taken nothing of what waits for it for the configured limit.
    Stall,
}

impl Timer {
    pub(super) const ALL: [Self; 12] = [
        Self::RetransmitLimit,
        Self::Timeout,
        Self::DelayedAck,
        Self::Keepalive,
        Self::PingRetry,
        Self::Flow,
        Self::Idle,
        Self::CloseRetry,
        Self::CloseEnd,
        Self::PathMtu,
        Self::Proof,
        Self::Stall,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::RetransmitLimit => "retransmit limit",
            Self::Timeout => "retransmission timeout",
            Self::DelayedAck => "delayed acknowledgement",
            Self::Keepalive => "keepalive",
            Self::PingRetry => "ping retry",
            Self::Flow => "flow deadline",
            Self::Idle => "idle limit",
            Self::CloseRetry => "close retry",
            Self::CloseEnd => "close linger",
            Self::PathMtu => "path MTU discovery",
            Self::Proof => "proof of keys",
            Self::Stall => "stall limit",
        }
    }
}

/// The table of deadlines.
#[derive(Debug, Default)]
pub(super) struct Timers {
    at: [Option<Instant>; Timer::ALL.len()],
}

impl Timers {
    fn slot(&mut self, timer: Timer) -> Option<&mut Option<Instant>> {
        self.at.get_mut(timer as usize)
    }

    pub(super) fn get(&self, timer: Timer) -> Option<Instant> {
        self.at.get(timer as usize).copied().flatten()
    }

    pub(super) fn set(&mut self, timer: Timer, at: Option<Instant>) {
        if let Some(slot) = self.slot(timer) {
            *slot = at;
        }
    }

    pub(super) fn arm(&mut self, timer: Timer, at: Instant) {
        self.set(timer, Some(at));
    }

    pub(super) fn arm_if_unset(&mut self, timer: Timer, at: Instant) {
        if self.get(timer).is_none() {
            self.arm(timer, at);
        }
    }

    pub(super) fn clear(&mut self, timer: Timer) {
        self.set(timer, None);
    }

    pub(super) fn clear_all(&mut self) {
        *self = Self::default();
    }

    /// Whether the timer is due; clears it if so.
    pub(super) fn take_due(&mut self, timer: Timer, now: Instant) -> bool {
        let due = self.get(timer).is_some_and(|at| at <= now);
        if due {
            self.clear(timer);
        }
        due
    }

    /// The earliest deadline and its name.
    pub(super) fn next(&self) -> Option<(Instant, &'static str)> {
        let armed = Timer::ALL.into_iter().filter_map(|timer| Some((self.get(timer)?, timer.name())));
        armed.min_by_key(|&(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_timer_has_its_own_place_and_the_earliest_is_next() {
        let mut timers = Timers::default();
        assert_eq!(timers.next(), None);
        for (place, timer) in Timer::ALL.into_iter().enumerate() {
            assert_eq!(timer as usize, place);
            timers.arm(timer, Instant::from_millis(100 - place as u64));
            assert_eq!(timers.next(), Some((Instant::from_millis(100 - place as u64), timer.name())));
        }
        assert!(!timers.take_due(Timer::Timeout, Instant::from_millis(98)));
        assert!(timers.take_due(Timer::Timeout, Instant::from_millis(99)));
        assert!(!timers.take_due(Timer::Timeout, Instant::from_millis(99)), "it was cleared");
    }
}
