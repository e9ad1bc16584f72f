//! The core's own clock value, and the 4 ms timestamps of the packet header.

use core::fmt;
use core::num::NonZeroU64;
use core::ops::{Add, AddAssign, Sub};
use core::time::Duration;

/// Microseconds in one tick of the packet header's 250 Hz clock (RFC 7016 §2.2.4).
const TICK_MICROS: u64 = 4_000;

/// A moment on the caller's monotonic clock, in whole microseconds since an origin of the caller's choice.
///
/// All arithmetic saturates: a moment before the origin is the origin, one past the end of the range (more than
/// half a million years) is the end. `Option<Instant>` is as small as `Instant`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(NonZeroU64);

impl Instant {
    /// The origin of the clock.
    pub const ORIGIN: Self = Self(NonZeroU64::MIN);

    /// The moment `micros` microseconds after the origin.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(micros))
    }

    /// The moment `millis` milliseconds after the origin.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self::from_micros(millis.saturating_mul(1_000))
    }

    /// Microseconds since the origin.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0.get() - 1
    }

    /// The earliest of moments of which each may not be set. Without branches, as it is asked after every call.
    #[inline]
    pub(crate) fn earliest<const COUNT: usize>(moments: [Option<Self>; COUNT]) -> Option<Self> {
        // Nothing is later than never: no moment is u64::MAX microseconds after the origin.
        let micros = moments.map(|at| at.map_or(u64::MAX, Self::as_micros)).into_iter().fold(u64::MAX, u64::min);
        (micros != u64::MAX).then(|| Self::from_micros(micros))
    }

    /// Time from `earlier` to `self`, or zero if `earlier` is the later one.
    #[must_use]
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.as_micros().saturating_sub(earlier.as_micros()))
    }

    /// The low 16 bits of the 250 Hz clock at this moment (RFC 7016 §2.2.4).
    #[must_use]
    pub const fn timestamp(self) -> u16 {
        let [.., high, low] = (self.as_micros() / TICK_MICROS).to_be_bytes();
        u16::from_be_bytes([high, low])
    }
}

/// Whole microseconds of a duration, saturating.
pub(crate) const fn micros(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000).saturating_add(duration.subsec_micros() as u64)
}

/// The same in 32 bits: an hour is the most.
pub(crate) fn micros32(duration: Duration) -> u32 {
    u32::try_from(micros(duration)).unwrap_or(u32::MAX)
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(micros(rhs)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, rhs: Duration) {
        *self = *self + rhs;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, rhs: Duration) -> Self {
        Self::from_micros(self.as_micros().saturating_sub(micros(rhs)))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.as_micros();
        write!(f, "{}.{:06}s", micros / 1_000_000, micros % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_moment_is_that_of_those_that_are_set() {
        let at = Instant::from_millis;
        assert_eq!(Instant::earliest([None, Some(at(7)), None, Some(at(3)), Some(at(9))]), Some(at(3)));
        assert_eq!(Instant::earliest([None, Some(Instant::ORIGIN)]), Some(Instant::ORIGIN));
        assert_eq!(Instant::earliest([None; 12]), None);
    }

    #[test]
    fn timestamps_tick_every_four_milliseconds_and_wrap_at_sixteen_bits() {
        assert_eq!(Instant::from_micros(3_999).timestamp(), 0);
        assert_eq!(Instant::from_micros(4_000).timestamp(), 1);
        assert_eq!(Instant::from_micros(65_535 * 4_000).timestamp(), 65_535);
        assert_eq!(Instant::from_micros(65_536 * 4_000).timestamp(), 0);
    }

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Instant::ORIGIN - Duration::from_secs(1), Instant::ORIGIN);
        assert_eq!(Instant::ORIGIN.saturating_duration_since(Instant::from_millis(5)), Duration::ZERO);
        let end = Instant::from_micros(u64::MAX);
        assert_eq!(end + Duration::MAX, end);
        assert_eq!(Instant::from_millis(2) + Duration::from_millis(3), Instant::from_millis(5));
    }

    #[test]
    fn an_optional_instant_is_no_larger() {
        assert_eq!(size_of::<Option<Instant>>(), size_of::<Instant>());
    }
}
