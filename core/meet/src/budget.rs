//! Bytes that may be sent: in a second, and in all.

use core::time::Duration;

use rtmfp_core::Instant;

/// The least burst: some of the longest datagrams.
const LEAST_BURST: u64 = 32 << 10;

/// Bytes are counted in millionths, of which each microsecond earns as many as there are bytes in a second.
const BYTE: u64 = 1_000_000;
/// No rate is higher, so that nothing overflows.
const MOST: u64 = 1 << 40;
/// A pause this long earns the whole burst.
const SECOND: Duration = Duration::from_secs(1);

/// A token bucket of bytes, with a total.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Bytes a second.
    rate: u64,
    /// What may be sent now, in millionths of a byte, as of `updated`.
    tokens: u64,
    updated: Instant,
    /// Bytes that may be sent at all.
    left: u64,
}

impl Budget {
    pub(crate) fn new(rate: u64, total: u64) -> Self {
        let rate = rate.min(MOST);
        Self { rate, tokens: Self::burst(rate), updated: Instant::ORIGIN, left: total }
    }

    /// What may be sent at once: a quarter of a second's bytes, or a few datagrams if that is more. It is never more than
    /// in a second.
    fn burst(rate: u64) -> u64 {
        (rate / 4).max(LEAST_BURST.min(rate)) * BYTE
    }

    /// Whether so many bytes may be sent now. If more than are left in all, that was the end.
    pub(crate) fn has(&mut self, now: Instant, bytes: usize) -> bool {
        let pause = now.saturating_duration_since(self.updated).min(SECOND);
        let micros = u64::try_from(pause.as_micros()).unwrap_or(BYTE);
        self.tokens = (self.tokens + micros * self.rate).min(Self::burst(self.rate));
        self.updated = now;
        if bytes as u64 > self.left {
            self.left = 0;
        }
        self.left > 0 && bytes as u64 * BYTE <= self.tokens
    }

    /// Takes them, if they may be sent.
    pub(crate) fn take(&mut self, now: Instant, bytes: usize) -> bool {
        let has = self.has(now, bytes);
        if has {
            self.tokens -= bytes as u64 * BYTE;
            self.left -= bytes as u64;
        }
        has
    }

    /// Nothing may be sent any more.
    pub(crate) const fn is_spent(&self) -> bool {
        self.left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn a_rate_is_kept_with_a_burst() {
        let mut budget = Budget::new(1_000_000, u64::MAX);
        let taken = |budget: &mut Budget, now| (0..10_000).take_while(|_| budget.take(now, 1_000)).count();
        assert_eq!(taken(&mut budget, at(0)), 250);
        assert_eq!(taken(&mut budget, at(10)), 10);
        assert_eq!(taken(&mut budget, at(60_000)), 250, "a pause earns a burst, and no more");
        // One microsecond earns one byte; asked that often, nothing of it is lost.
        let earned = (1..=1_000).filter(|micros| budget.take(at(60_000) + Duration::from_micros(*micros), 1));
        assert_eq!(earned.count(), 1_000);
    }

    #[test]
    fn a_slow_rate_is_kept_when_asked_often() {
        let mut budget = Budget::new(1_000, u64::MAX);
        assert!(budget.take(at(0), 1_000) && !budget.take(at(0), 1));
        let taken = (1..=1_000_u64).filter(|micros| budget.take(at(0) + Duration::from_micros(micros * 100), 1));
        assert_eq!(taken.count(), 100);
    }

    #[test]
    fn odd_rates_lose_nothing_of_note() {
        let mut budget = Budget::new(1_234_567, u64::MAX);
        while budget.take(at(0), 1_000) {}
        let asked = (1..=1_000_000_u64).map(|micros| at(0) + Duration::from_micros(micros));
        let taken: u64 = asked.map(|now| if budget.take(now, 100) { 100 } else { 0 }).sum();
        assert!((1_234_000..1_235_567).contains(&taken), "{taken} bytes in a second");
    }

    #[test]
    fn what_is_spent_is_spent() {
        let mut budget = Budget::new(1_000_000, 2_500);
        assert!(budget.take(at(0), 1_000) && budget.take(at(0), 1_000) && !budget.is_spent());
        assert!(!budget.take(at(0), 1_000) && budget.is_spent());
        assert!(!budget.take(at(10_000), 1));
    }
}
