//! How much work strangers may cause a second.

use crate::time::Instant;

/// A token bucket that holds one second's worth.
#[derive(Debug)]
pub(super) struct Bucket {
    per_second: u32,
    /// Tokens, in millionths.
    level: u64,
    filled: Instant,
}

impl Bucket {
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        Self { per_second, level: u64::from(per_second) * 1_000_000, filled: now }
    }

    /// Takes one token; false if there is none.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.filled).as_micros().min(1_000_000) as u64;
        let full = u64::from(self.per_second) * 1_000_000;
        self.level = full.min(self.level + elapsed * u64::from(self.per_second));
        self.filled = self.filled.max(now);
        let Some(level) = self.level.checked_sub(1_000_000) else { return false };
        self.level = level;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_rate_and_no_more() {
        let start = Instant::from_millis(1_000);
        let mut bucket = Bucket::new(10, start);
        assert_eq!((0..100).filter(|_| bucket.take(start)).count(), 10);
        let later = |millis: u64| Instant::from_millis(1_000 + millis);
        assert!(!bucket.take(later(99)));
        assert!(bucket.take(later(100)));
        assert!(!bucket.take(later(100)));
        // A long rest fills it once, not more.
        assert_eq!((0..100).filter(|_| bucket.take(later(1_000_000))).count(), 10);
    }
}
