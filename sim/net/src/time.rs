//! Simulated time in whole nanoseconds, spans of it, and rates in bits per second. No floats.

use core::fmt;
use core::ops::{Add, AddAssign, Sub};

const NANOS: u64 = 1_000_000_000;

/// A point of simulated time: nanoseconds since the world began.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time(pub u64);

/// A length of simulated time in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Duration(pub u64);

/// A rate in bits per second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Rate(pub u64);

impl Time {
    /// The beginning.
    pub const ZERO: Self = Self(0);
    /// Later than anything that happens.
    pub const NEVER: Self = Self(u64::MAX);

    /// The time from `earlier` to this, or none if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration(self.0.saturating_sub(earlier.0))
    }

    /// Nanoseconds since the beginning.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }
}

impl Duration {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// `n` nanoseconds.
    #[must_use]
    pub const fn nanos(n: u64) -> Self {
        Self(n)
    }

    /// `n` microseconds.
    #[must_use]
    pub const fn micros(n: u64) -> Self {
        Self(n.saturating_mul(1_000))
    }

    /// `n` milliseconds.
    #[must_use]
    pub const fn millis(n: u64) -> Self {
        Self(n.saturating_mul(1_000_000))
    }

    /// `n` seconds.
    #[must_use]
    pub const fn secs(n: u64) -> Self {
        Self(n.saturating_mul(NANOS))
    }

    /// The span in nanoseconds.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// This times `mul` over `div`, rounded down and capped; `div` of zero counts as one.
    #[must_use]
    pub const fn scale(self, mul: u64, div: u64) -> Self {
        Self(mul_div(self.0, mul, if div == 0 { 1 } else { div }))
    }

    /// The difference, or none if `other` is longer.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Rate {
    /// `n` kilobits (1,000 bits) a second.
    #[must_use]
    pub const fn kbit(n: u64) -> Self {
        Self(n.saturating_mul(1_000))
    }

    /// `n` megabits (1,000,000 bits) a second.
    #[must_use]
    pub const fn mbit(n: u64) -> Self {
        Self(n.saturating_mul(1_000_000))
    }

    /// How many bytes pass in `span`, rounded down.
    #[must_use]
    pub const fn bytes_in(self, span: Duration) -> u64 {
        mul_div(self.0, span.0, 8 * NANOS)
    }

    /// How long `bytes` take, rounded up to the nanosecond. For one packet after another use [`Serialiser`], which
    /// does not round each.
    #[must_use]
    pub const fn time_for(self, bytes: u64) -> Duration {
        if self.0 == 0 {
            return Duration(u64::MAX);
        }
        let bits = bytes as u128 * 8 * NANOS as u128;
        clamp(bits.div_ceil(self.0 as u128))
    }
}

const fn clamp(nanos: u128) -> Duration {
    Duration(if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 })
}

/// `a * b / c` without overflow in between, rounded down and capped at `u64::MAX`; a `c` of zero counts as one.
#[must_use]
pub const fn mul_div(a: u64, b: u64, c: u64) -> u64 {
    let c = if c == 0 { 1 } else { c };
    match a.checked_mul(b) {
        Some(product) => product / c,
        None => clamp(a as u128 * b as u128 / c as u128).0,
    }
}

/// Serialises packets back to back at a rate without losing the fraction of a nanosecond between them.
///
/// A packet of 1,500 bytes at 7 Mbit/s takes 1,714,285 and 5/7 ns; a hundred million of them take exactly as long as
/// they should.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Serialiser {
    /// When the last bit of what was accepted leaves, rounded down.
    busy_until: u64,
    /// What was rounded off, in units of 1/`rate` ns.
    remainder: u64,
    /// The rate of what was accepted last.
    rate: u64,
}

impl Serialiser {
    /// One that has accepted nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { busy_until: 0, remainder: 0, rate: 0 }
    }

    /// The same, as if something had been accepted at this rate: it is what [`rate`](Self::rate) says.
    #[must_use]
    pub const fn at(rate: Rate) -> Self {
        Self { busy_until: 0, remainder: 0, rate: rate.0 }
    }

    /// The rate of what was accepted last.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        Rate(self.rate)
    }

    /// When everything accepted so far has left.
    #[must_use]
    pub const fn busy_until(&self) -> Time {
        Time(self.busy_until)
    }

    /// Accepts `bytes` at `now` and returns when their last bit leaves: the packet has left at the first nanosecond
    /// that is not before that. A rate of zero never lets it go ([`Time::NEVER`]).
    pub const fn accept(&mut self, now: Time, bytes: u64, rate: Rate) -> Time {
        if rate.0 == 0 {
            return Time::NEVER;
        }
        // A caller that waits for the last packet to leave sees the rounded-up time: the line is not idle until then.
        if now.0 > self.busy_until.saturating_add((self.remainder != 0) as u64) {
            self.busy_until = now.0;
            self.remainder = 0;
        }
        if self.rate != rate.0 {
            // Less than a nanosecond; carried as exactly as the new unit allows.
            if self.rate != 0 {
                self.remainder = mul_div(self.remainder, rate.0, self.rate);
            }
            self.rate = rate.0;
        }
        let total = match bytes.checked_mul(8 * NANOS) {
            Some(bits) if bits <= u64::MAX - self.remainder => {
                let total = bits + self.remainder;
                self.remainder = total % rate.0;
                total / rate.0
            }
            _ => {
                let total = bytes as u128 * 8 * NANOS as u128 + self.remainder as u128;
                self.remainder = (total % rate.0 as u128) as u64;
                clamp(total / rate.0 as u128).0
            }
        };
        self.busy_until = self.busy_until.saturating_add(total);
        Time(self.busy_until.saturating_add((self.remainder != 0) as u64))
    }
}

/// The integer square root, rounded down.
#[must_use]
pub const fn isqrt(n: u64) -> u64 {
    n.isqrt()
}

/// The integer cube root, rounded down, by the digit-by-digit method.
#[must_use]
pub const fn icbrt(n: u64) -> u64 {
    let mut rest = n;
    let mut root: u64 = 0;
    let mut shift = 63;
    loop {
        root *= 2;
        // (root + 1)^3 - root^3, without the cubes.
        let bit = 3 * root * (root + 1) + 1;
        if (rest >> shift) >= bit {
            rest -= bit << shift;
            root += 1;
        }
        if shift == 0 {
            return root;
        }
        shift -= 3;
    }
}

impl Add<Duration> for Time {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, span: Duration) {
        *self = *self + span;
    }
}

impl Sub<Duration> for Time {
    type Output = Self;
    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

impl Add for Duration {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Duration {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl From<core::time::Duration> for Duration {
    fn from(duration: core::time::Duration) -> Self {
        clamp(duration.as_nanos())
    }
}

impl From<Duration> for core::time::Duration {
    fn from(span: Duration) -> Self {
        Self::from_nanos(span.0)
    }
}

fn write_decimal(f: &mut fmt::Formatter<'_>, nanos: u64) -> fmt::Result {
    let (unit, name, digits) = match nanos {
        0..1_000 => return write!(f, "{nanos}ns"),
        1_000..1_000_000 => (1_000, "us", 3),
        1_000_000..NANOS => (1_000_000, "ms", 6),
        _ => (NANOS, "s", 9),
    };
    write!(f, "{}", nanos / unit)?;
    if !nanos.is_multiple_of(unit) {
        let fraction = format!("{:0digits$}", nanos % unit);
        write!(f, ".{}", fraction.trim_end_matches('0'))?;
    }
    f.write_str(name)
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_decimal(f, self.0)
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_decimal(f, self.0)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, name) in [(1_000_000_000, "Gbit"), (1_000_000, "Mbit"), (1_000, "kbit")] {
            if self.0 >= unit && self.0.is_multiple_of(unit) {
                return write!(f, "{}{name}", self.0 / unit);
            }
        }
        write!(f, "{}bit", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    #[test]
    fn remainder_is_carried() {
        let mut serialiser = Serialiser::default();
        let mut last = Time::ZERO;
        for _ in 0..7_000 {
            last = serialiser.accept(Time::ZERO, 1_500, Rate::mbit(7));
        }
        // 7,000 x 12,000 bits at 7 Mbit/s are 12 s to the nanosecond.
        assert_eq!(last, Time(12_000_000_000));
        // The first of them would have been rounded up.
        assert_eq!(Serialiser::default().accept(Time::ZERO, 1_500, Rate::mbit(7)), Time(1_714_286));
    }

    #[test]
    fn idle_time_is_not_saved_up() {
        let mut serialiser = Serialiser::default();
        assert_eq!(serialiser.accept(Time(5), 125, Rate::mbit(1)), Time(1_000_005));
        assert_eq!(serialiser.accept(Time(2_000_000), 125, Rate::mbit(1)), Time(3_000_000));
        assert_eq!(serialiser.accept(Time(2_000_000), 1, Rate(0)), Time::NEVER);
    }

    #[test]
    fn huge_packets_do_not_overflow() {
        let mut serialiser = Serialiser::default();
        assert_eq!(serialiser.accept(Time::ZERO, 1 << 40, Rate(8)), Time::NEVER);
    }

    #[test]
    fn display() {
        assert_eq!(Duration::millis(1_500).to_string(), "1.5s");
        assert_eq!(Duration(12_345_678).to_string(), "12.345678ms");
        assert_eq!(Duration(7).to_string(), "7ns");
        assert_eq!(Rate::mbit(10).to_string(), "10Mbit");
        assert_eq!(Rate(1_234).to_string(), "1234bit");
    }

    quickcheck! {
        fn cube_root(n: u64) -> bool {
            let r = u128::from(icbrt(n));
            r.pow(3) <= u128::from(n) && (r + 1).pow(3) > u128::from(n)
        }
        fn scaled(a: u64, b: u64, c: u64) -> bool {
            let c = c.max(1);
            let exact = u128::from(a) * u128::from(b) / u128::from(c);
            u128::from(mul_div(a, b, c)) == exact.min(u128::from(u64::MAX))
        }
    }

    #[test]
    fn cube_root_of_the_largest() {
        assert_eq!(icbrt(u64::MAX), 2_642_245);
        assert_eq!(icbrt(26), 2);
        assert_eq!(icbrt(27), 3);
    }
}
