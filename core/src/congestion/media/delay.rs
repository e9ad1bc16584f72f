//! How long packets wait in queues, by their round trips.

use core::time::Duration;

use crate::time::Instant;

/// The shortest round trip is that of the last one to two times this: long enough to meet an empty queue, short enough to
/// follow a path that has become longer.
const BASE_AGE: Duration = Duration::from_secs(30);

/// The queueing delay: what a round trip is longer than the shortest one lately. RFC 6817 §4.2 has the same of one-way
/// delays, which RTMFP does not tell.
///
/// Of several samples the shortest counts: one that is long may show a delayed acknowledgement (RFC 7016 §3.6.3.4.4) or a
/// radio that was busy. A queue makes all of them long.
#[derive(Debug)]
pub(super) struct QueueDelay {
    /// The shortest round trip since `since`, and of the time before.
    current: Option<Duration>,
    previous: Option<Duration>,
    since: Instant,
}

impl QueueDelay {
    pub(super) const fn new() -> Self {
        Self { current: None, previous: None, since: Instant::ORIGIN }
    }

    pub(super) fn on_sample(&mut self, now: Instant, rtt: Duration) {
        if self.current.is_none() || now.saturating_duration_since(self.since) > BASE_AGE {
            (self.previous, self.current, self.since) = (self.current, Some(rtt), now);
            return;
        }
        self.current = self.current.map(|least| least.min(rtt));
    }

    /// The round trip of an empty path, as far as is known.
    pub(super) fn base(&self) -> Option<Duration> {
        [self.current, self.previous].into_iter().flatten().min()
    }

    /// The part of this round trip that was spent in queues.
    pub(super) fn of(&self, rtt: Duration) -> Duration {
        self.base().map_or(Duration::ZERO, |base| rtt.saturating_sub(base))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_shortest_round_trip_lately_is_the_base() {
        let mut delay = QueueDelay::new();
        assert_eq!((delay.base(), delay.of(ms(50))), (None, Duration::ZERO));
        for second in 0..=30 {
            delay.on_sample(Instant::from_millis(1_000 * second), ms(if second == 3 { 40 } else { 60 }));
        }
        assert_eq!((delay.base(), delay.of(ms(55))), (Some(ms(40)), ms(15)));
        // The path is longer now: that is known after a minute at the latest.
        for second in 31..=62 {
            delay.on_sample(Instant::from_millis(1_000 * second), ms(60));
        }
        assert_eq!(delay.base(), Some(ms(60)));
    }
}
