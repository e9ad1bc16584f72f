//! Whether a sender yields for time critical data (RFC 7016 §3.5.2.1).

use datagram_sim::{Duration, Time};

/// How long a notification has effect.
pub(super) const LATELY: Duration = Duration::millis(800);
/// The most that a window may grow in a round trip: this, or a two hundredth.
const GROWTH: u64 = 384;

/// Follows the congestion window of one session.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Yielding {
    /// Since when it has been asked to yield, by time and window, if it has.
    base: Option<(Time, u64)>,
}

impl Yielding {
    /// Judges the window. `asked` is when a packet asked last to yield, `critical` when such data was sent here.
    pub(super) fn judge(
        &mut self,
        now: Time,
        (asked, critical): (Option<Time>, Option<Time>),
        (window, round_trip): (u64, Duration),
    ) -> Option<String> {
        let lately = |at: Option<Time>| at.is_some_and(|at| now.since(at) < LATELY);
        if !lately(asked) || lately(critical) {
            self.base = None;
            return None;
        }
        let (since, base) = *self.base.get_or_insert((now, window));
        // A round trip as this counts them may touch two as the sender does. Nothing may be judged for more than one.
        let round_trips = now.since(since).as_nanos() / round_trip.as_nanos().max(1);
        let allowed = base + (2 + round_trips) * GROWTH.max(base / 200);
        if window > allowed {
            self.base = Some((now, window));
            return Some(format!(
                "I15 (RFC 7016 §3.5.2.1): the window grew from {base} to {window} in a round trip, asked to yield"
            ));
        }
        if window < base || now.since(since) >= round_trip {
            self.base = Some((now, window));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::ZERO + Duration::millis(millis)
    }

    #[test]
    fn growth_is_slow_while_asked_to_make_way() {
        let round_trip = Duration::millis(100);
        let asked = (Some(at(1_000)), None);
        let mut yielding = Yielding::default();
        assert_eq!(yielding.judge(at(1_000), asked, (100_000, round_trip)), None);
        assert_eq!(yielding.judge(at(1_050), asked, (100_500, round_trip)), None);
        assert_eq!(yielding.judge(at(1_100), asked, (101_000, round_trip)), None);
        // Nobody looked for two round trips.
        assert_eq!(yielding.judge(at(1_300), asked, (102_500, round_trip)), None);
        let said = yielding.judge(at(1_350), asked, (104_500, round_trip));
        assert!(said.is_some_and(|said| said.starts_with("I15 ")));
        // Those that send such data themselves need not, nor those that were asked long ago.
        let mut free = Yielding::default();
        for (now, notices) in [(1_100, (Some(at(1_000)), Some(at(900)))), (1_900, (Some(at(1_000)), None))] {
            for window in [10_000, 50_000] {
                assert_eq!(free.judge(at(now), notices, (window, round_trip)), None);
            }
        }
    }
}
