//! A limit of bytes a second.

use core::time::Duration;

use rtmfp_core::Instant;

/// What may be sent at once after a pause, as a time at the full rate.
const BURST: Duration = Duration::from_millis(50);

/// A bucket of tokens, one for each byte. It may be overdrawn by one message, which is paid back before the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    /// Bytes a second; `None` is no limit.
    rate: Option<u64>,
    /// When all that was sent so far is paid for.
    paid: Instant,
    /// What is owed beyond that, in parts of a microsecond: one for each of `rate`.
    rest: u64,
}

impl Limit {
    pub(super) const fn new(rate: Option<u64>) -> Self {
        Self { rate, paid: Instant::ORIGIN, rest: 0 }
    }

    pub(super) const fn set(&mut self, rate: Option<u64>) {
        (self.rate, self.rest) = (rate, 0);
    }

    /// When the next message may be sent, if that is not now.
    pub(super) fn wait(&self, now: Instant) -> Option<Instant> {
        self.rate.and(Some(self.paid)).filter(|paid| *paid > now)
    }

    pub(super) fn spend(&mut self, now: Instant, bytes: usize) {
        let Some(rate) = self.rate else { return };
        let rate = rate.max(1);
        let owed = (bytes as u64).saturating_mul(1_000_000).saturating_add(self.rest);
        self.rest = owed % rate;
        self.paid = self.paid.max(now - BURST) + Duration::from_micros(owed / rate);
    }

    /// The most bytes that go out at once: a message for each burst, as far as there are such messages.
    pub(super) fn piece(&self, least: usize, most: usize) -> usize {
        let burst = self.rate.map(|rate| rate / 20);
        burst.map_or(most, |burst| usize::try_from(burst).unwrap_or(most).clamp(least, most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_holds_in_the_long_run_and_saves_up_for_a_moment_only() {
        let mut limit = Limit::new(Some(100_000));
        let (mut now, mut sent) = (Instant::from_millis(60_000), 0);
        let end = now + Duration::from_secs(10);
        while now < end {
            match limit.wait(now) {
                Some(until) => now = until,
                None => {
                    limit.spend(now, 65_536);
                    sent += 65_536;
                }
            }
        }
        assert!((1_000_000..=1_000_000 + 2 * 65_536).contains(&sent), "{sent}");
    }

    #[test]
    fn messages_that_are_shorter_than_a_microsecond_are_limited_too() {
        let mut limit = Limit::new(Some(100_000_000));
        let (mut now, mut sent) = (Instant::from_millis(60_000), 0_u64);
        let end = now + Duration::from_millis(100);
        while now < end && sent < 50_000_000 {
            match limit.wait(now) {
                Some(until) => now = until,
                None => {
                    limit.spend(now, 30);
                    sent += 30;
                }
            }
        }
        assert!((10_000_000..=16_000_000).contains(&sent), "{sent}");
    }

    #[test]
    fn a_low_rate_makes_short_messages() {
        let piece = |rate| Limit::new(rate).piece(16_384, 65_536);
        assert_eq!([piece(None), piece(Some(1_000)), piece(Some(800_000))], [65_536, 16_384, 40_000]);
        assert_eq!(piece(Some(u64::MAX)), 65_536);
    }

    #[test]
    fn without_a_rate_nothing_waits() {
        let mut limit = Limit::new(None);
        limit.spend(Instant::ORIGIN, usize::MAX);
        assert_eq!(limit.wait(Instant::ORIGIN), None);
        limit.set(Some(1));
        limit.spend(Instant::ORIGIN, 1_000_000);
        assert!(limit.wait(Instant::ORIGIN).is_some());
    }
}
