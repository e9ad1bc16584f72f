//! Whether what is measured of a session has changed enough for its user to hear of it.

use alloc::boxed::Box;
use core::time::Duration;

use super::delivery::Delivery;
use super::transport::Transport;
use crate::params::{TARGET_FALL, TARGET_RISE};
use crate::time::Instant;

/// What the user may hear of.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Measured {
    /// See [`SessionStats::target_rate`](crate::SessionStats::target_rate).
    target_rate: Option<u64>,
    congestion_events: u64,
    far_keys_proved: bool,
    struggles: bool,
    round_trip: Duration,
}

/// Off until the user asks, and again once a change was told: a user who does not ask again costs nothing.
///
/// Most sessions have no such user, so it takes no more than a pointer in each.
#[derive(Debug, Default)]
pub(super) struct Watch(Option<Box<Asked>>);

/// There is a user who asks.
#[derive(Debug, Default)]
struct Asked {
    on: bool,
    /// What the user knows of.
    known: Measured,
    /// Since when the user knows of this target rate. None: since the beginning.
    since: Option<Instant>,
    /// When there is another rate to tell, if nothing else comes before.
    due: Option<Instant>,
}

impl Watch {
    /// The user has seen this, and wants to hear of the next change.
    pub(super) fn arm(&mut self, now: Instant, seen: Measured) {
        let Asked { on, known, since, due } = &mut **self.0.get_or_insert_default();
        let target_rate = steady(known.target_rate, seen.target_rate);
        if target_rate != known.target_rate {
            *since = Some(now);
        }
        *known = Measured { target_rate, ..seen };
        (*on, *due) = (true, None);
    }

    /// When it is to be asked for [news](Self::take_news) though nothing has happened.
    #[inline]
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.as_ref().and_then(|asked| asked.due)
    }

    /// The target rate that the user sees. Small changes add up: they are measured from what was worth telling last.
    pub(super) fn steady(&self, target_rate: Option<u64>) -> Option<u64> {
        self.0.as_ref().map_or(target_rate, |asked| steady(asked.known.target_rate, target_rate))
    }

    /// Whether the user is to be told of a change now. That is said once.
    #[inline]
    pub(super) fn take_news(&mut self, now: Instant, measured: impl FnOnce() -> Measured) -> bool {
        let Some(asked) = self.0.as_deref_mut().filter(|asked| asked.on) else { return false };
        let measured = measured();
        let news = asked.is_news(now, &measured);
        (asked.on, asked.due) = (!news, asked.again(&measured).filter(|_| !news));
        news
    }
}

impl Asked {
    /// Whether the user is to hear of this.
    fn is_news(&self, now: Instant, measured: &Measured) -> bool {
        let Self { known, .. } = self;
        measured.congestion_events != known.congestion_events
            || measured.far_keys_proved != known.far_keys_proved
            || measured.struggles != known.struggles
            || (self.again(measured).is_none_or(|again| now >= again) && self.is_other_rate(measured))
    }

    fn is_other_rate(&self, measured: &Measured) -> bool {
        steady(self.known.target_rate, measured.target_rate) != self.known.target_rate
    }

    /// When this rate may be told: not more than once in a round trip. None: at any time, or it is the one that is known.
    fn again(&self, measured: &Measured) -> Option<Instant> {
        let since = self.since.filter(|_| self.is_other_rate(measured))?;
        Some(since + measured.round_trip)
    }
}

impl Measured {
    pub(super) fn now(transport: &Transport, delivery: &Delivery) -> Self {
        let recovery = &delivery.sending.recovery;
        Self {
            target_rate: recovery.target_rate(transport),
            congestion_events: recovery.congestion_events,
            far_keys_proved: transport.keys_proved(),
            struggles: transport.is_struggling(),
            round_trip: transport.rtt.srtt().unwrap_or_default(),
        }
    }
}

/// What is known, unless it has become so different that it is worth telling.
fn steady(known: Option<u64>, now: Option<u64>) -> Option<u64> {
    let (Some(told), Some(rate)) = (known, now) else { return now };
    let differs = rate > told.saturating_add(told / TARGET_RISE) || rate < told - told / TARGET_FALL;
    if differs { now } else { known }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND_TRIP: Duration = Duration::from_millis(50);

    fn measured(target_rate: u64) -> Measured {
        Measured { target_rate: Some(target_rate), round_trip: ROUND_TRIP, ..Measured::default() }
    }

    #[test]
    fn a_rate_stays_until_it_is_an_eighth_larger_or_a_sixteenth_smaller() {
        assert_eq!((steady(None, Some(1)), steady(Some(1), None), steady(None, None)), (Some(1), None, None));
        for (rate, shown) in [(1_600, 1_600), (1_500, 1_600), (1_499, 1_499), (1_800, 1_600), (1_801, 1_801)] {
            assert_eq!(steady(Some(1_600), Some(rate)), Some(shown), "{rate}");
        }
        assert_eq!(steady(Some(u64::MAX), Some(u64::MAX)), Some(u64::MAX));
        assert_eq!(steady(Some(0), Some(1)), Some(1));
    }

    #[test]
    fn a_rate_is_told_once_in_a_round_trip_and_what_is_seen_is_what_was_told() {
        let mut watch = Watch::default();
        let mut now = Instant::from_millis(1_000);
        assert_eq!(watch.steady(Some(7)), Some(7), "nobody watches");
        assert!(!watch.take_news(now, || measured(1_000)));
        watch.arm(now, Measured::default());
        assert!(watch.take_news(now, || measured(1_000)), "the first is told at once");
        watch.arm(now, measured(1_000));
        now += ROUND_TRIP / 2;
        assert!(!watch.take_news(now, || measured(2_000)));
        assert_eq!(watch.due(), Some(now + ROUND_TRIP / 2));
        now += ROUND_TRIP / 2;
        assert!(!watch.take_news(now, || measured(1_100)));
        assert_eq!(watch.due(), None, "it is not worth telling any more");
        assert_eq!(watch.steady(Some(1_100)), Some(1_000));
        assert!(watch.take_news(now, || measured(2_000)));
        assert!(!watch.take_news(now, || measured(2_000)), "once");
        watch.arm(now, measured(2_000));
        // What comes of something else does not begin another round trip.
        now += ROUND_TRIP - Duration::from_millis(1);
        watch.arm(now, measured(2_001));
        assert!(watch.take_news(now, || Measured { congestion_events: 1, ..measured(2_000) }));
        watch.arm(now, Measured { congestion_events: 1, ..measured(2_000) });
        let news = || Measured { congestion_events: 1, ..measured(500) };
        assert!(!watch.take_news(now, news) && watch.due() == Some(now + Duration::from_millis(1)));
        assert!(watch.take_news(now + Duration::from_millis(1), news) && watch.due().is_none());
    }
}
