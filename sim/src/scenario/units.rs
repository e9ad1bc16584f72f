//! Quantities as people write them: `25ms`, `10Mbit`, `64kB`, `0.2%`, `2rtt + 4ms`. Exact: whole billionths, no floats.

use core::fmt;
use core::str::FromStr;

use datagram_sim::{Duration, Ppb, Rate, Time};

/// One, in the fixed point of [`Quantity`].
pub const ONE: i128 = 1_000_000_000;

/// What a quantity measures.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Dimension {
    /// Seconds.
    Time,
    /// Bytes.
    Bytes,
    /// Bits a second.
    Rate,
    /// A share of one.
    Ratio,
    /// A number of things.
    Count,
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Time => "a time",
            Self::Bytes => "a number of bytes",
            Self::Rate => "a rate",
            Self::Ratio => "a percentage",
            Self::Count => "a plain number",
        })
    }
}

/// Units: name, dimension, and how many base units (seconds, bytes, bit/s, one) it is, in billionths.
const UNITS: [(&str, Dimension, i128); 24] = [
    ("ns", Dimension::Time, 1),
    ("us", Dimension::Time, 1_000),
    ("ms", Dimension::Time, 1_000_000),
    ("s", Dimension::Time, ONE),
    ("min", Dimension::Time, 60 * ONE),
    ("h", Dimension::Time, 3_600 * ONE),
    ("B", Dimension::Bytes, ONE),
    ("kB", Dimension::Bytes, 1_000 * ONE),
    ("KiB", Dimension::Bytes, 1_024 * ONE),
    ("MB", Dimension::Bytes, 1_000_000 * ONE),
    ("MiB", Dimension::Bytes, 1_048_576 * ONE),
    ("GB", Dimension::Bytes, 1_000_000_000 * ONE),
    ("GiB", Dimension::Bytes, 1_073_741_824 * ONE),
    ("bit", Dimension::Rate, ONE),
    ("bit/s", Dimension::Rate, ONE),
    ("kbit", Dimension::Rate, 1_000 * ONE),
    ("kbit/s", Dimension::Rate, 1_000 * ONE),
    ("Mbit", Dimension::Rate, 1_000_000 * ONE),
    ("Mbit/s", Dimension::Rate, 1_000_000 * ONE),
    ("Gbit", Dimension::Rate, 1_000_000_000 * ONE),
    ("Gbit/s", Dimension::Rate, 1_000_000_000 * ONE),
    ("%", Dimension::Ratio, ONE / 100),
    ("ppm", Dimension::Ratio, ONE / 1_000_000),
    ("", Dimension::Count, ONE),
];

/// A sum of round-trip times (of the path in question) and a fixed part, in billionths of the base unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quantity {
    /// What it measures.
    pub dimension: Dimension,
    /// The fixed part, in billionths of a second, byte, bit a second, or one.
    pub fixed: i128,
    /// How many round-trip times are added, in billionths. Only for times.
    pub rtt: i128,
}

impl Quantity {
    /// A fixed quantity.
    #[must_use]
    pub const fn new(dimension: Dimension, fixed: i128) -> Self {
        Self { dimension, fixed, rtt: 0 }
    }

    /// The value for a round-trip time of `rtt`, in billionths of the base unit.
    #[must_use]
    pub fn value(&self, rtt: Duration) -> i128 {
        self.fixed.saturating_add(self.rtt.saturating_mul(i128::from(rtt.0)) / ONE)
    }
}

/// A decimal number with at most nine places, in billionths.
fn decimal(text: &str) -> Option<i128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 9 || whole.len() > 20 {
        return None;
    }
    if text.ends_with('.') {
        return None;
    }
    let whole: i128 = whole.parse().ok()?;
    let fraction: i128 = format!("{fraction:0<9}").parse().ok()?;
    Some(whole * ONE + fraction)
}

fn term(text: &str) -> Result<Quantity, String> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end).unwrap_or((text, ""));
    let unit = unit.trim();
    let number = decimal(number).ok_or_else(|| format!("`{text}` does not begin with a number"))?;
    if unit == "rtt" {
        return Ok(Quantity { dimension: Dimension::Time, fixed: 0, rtt: number });
    }
    let Some(&(_, dimension, scale)) = UNITS.iter().find(|(name, ..)| *name == unit) else {
        return Err(format!("`{unit}` is no unit known here"));
    };
    let product = number.checked_mul(scale).ok_or_else(|| format!("`{text}` is too large"))?;
    if product % ONE != 0 {
        return Err(format!("`{text}` is finer than a billionth of the base unit"));
    }
    Ok(Quantity::new(dimension, product / ONE))
}

impl FromStr for Quantity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut sum: Option<Self> = None;
        for part in text.split('+') {
            let next = term(part)?;
            sum = Some(match sum {
                None => next,
                Some(before) if before.dimension == next.dimension => Self {
                    dimension: next.dimension,
                    fixed: before.fixed.saturating_add(next.fixed),
                    rtt: before.rtt.saturating_add(next.rtt),
                },
                Some(before) => {
                    return Err(format!("`{text}` adds {} to {}", next.dimension, before.dimension));
                }
            });
        }
        sum.ok_or_else(|| "nothing is written".to_owned())
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rtt != 0 {
            write!(f, "{}rtt", Decimal(self.rtt))?;
            if self.fixed == 0 {
                return Ok(());
            }
            f.write_str(" + ")?;
        }
        let candidates = UNITS.iter().rev().filter(|(name, dimension, scale)| {
            *dimension == self.dimension && !name.ends_with("/s") && !name.ends_with("iB") && self.fixed % scale == 0
        });
        let fallback = UNITS.iter().filter(|(_, dimension, _)| *dimension == self.dimension);
        let base = fallback.clone().find(|(.., scale)| *scale == ONE || self.dimension == Dimension::Ratio);
        let exact = candidates
            .max_by_key(|(.., scale)| *scale)
            .filter(|_| self.fixed != 0 && self.dimension != Dimension::Ratio);
        match exact.or(base) {
            Some((name, _, scale)) => {
                let number = self.fixed.saturating_mul(ONE) / scale;
                write!(f, "{}{name}", Decimal(number))
            }
            None => write!(f, "{}", Decimal(self.fixed)),
        }
    }
}

/// Shows billionths as a decimal number.
#[derive(Clone, Copy, Debug)]
pub struct Decimal(pub i128);

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let value = self.0.unsigned_abs();
        let one = ONE.unsigned_abs();
        write!(f, "{}", value / one)?;
        if !value.is_multiple_of(one) {
            let fraction = format!("{:09}", value % one);
            write!(f, ".{}", fraction.trim_end_matches('0'))?;
        }
        Ok(())
    }
}

/// A measured value for people: a time in the fitting unit to three places, a percentage to one, and so on.
#[must_use]
pub fn show(dimension: Dimension, value: i128) -> String {
    let rounded = |unit: i128, name: &str, places: usize| {
        let step = 10_i128.pow(u32::try_from(9_usize.saturating_sub(places)).unwrap_or(0));
        let number = value.saturating_mul(ONE) / unit;
        format!("{}{name}", Decimal((number + step / 2) / step * step))
    };
    match dimension {
        Dimension::Time => match value.unsigned_abs() {
            0..1_000 => rounded(1, "ns", 0),
            1_000..1_000_000 => rounded(1_000, "us", 3),
            1_000_000..1_000_000_000 => rounded(1_000_000, "ms", 3),
            _ => rounded(ONE, "s", 4),
        },
        Dimension::Bytes => rounded(ONE, "B", 0),
        Dimension::Rate => match (value / ONE).unsigned_abs() {
            0..10_000 => rounded(ONE, "bit", 0),
            10_000..1_000_000 => rounded(1_000 * ONE, "kbit", 1),
            _ => rounded(1_000_000 * ONE, "Mbit", 3),
        },
        Dimension::Ratio => rounded(ONE / 100, "%", 2),
        Dimension::Count => rounded(ONE, "", 3),
    }
}

fn fixed(text: &str, dimension: Dimension) -> Result<i128, String> {
    let quantity: Quantity = text.parse()?;
    if quantity.dimension != dimension || quantity.rtt != 0 {
        return Err(format!("`{text}` should be {dimension}"));
    }
    Ok(quantity.fixed)
}

/// Reads a length of time.
///
/// # Errors
/// What is wrong with it.
pub fn span(text: &str) -> Result<Duration, String> {
    let nanos = fixed(text, Dimension::Time)?;
    u64::try_from(nanos).map(Duration).map_err(|_| format!("`{text}` is too long"))
}

/// Reads a point of world time.
///
/// # Errors
/// What is wrong with it.
pub fn time(text: &str) -> Result<Time, String> {
    span(text).map(|span| Time(span.0))
}

/// Reads a rate in whole bits a second.
///
/// # Errors
/// What is wrong with it.
pub fn rate(text: &str) -> Result<Rate, String> {
    whole(fixed(text, Dimension::Rate)?, text).map(Rate)
}

/// Reads a whole number of bytes.
///
/// # Errors
/// What is wrong with it.
pub fn bytes(text: &str) -> Result<u64, String> {
    whole(fixed(text, Dimension::Bytes)?, text)
}

/// Reads a size of a packet or of a part of one: a whole number of bytes, whose unit may be left out.
///
/// # Errors
/// What is wrong with it, or that it does not fit.
pub fn packet_size(text: &str) -> Result<u32, String> {
    let quantity: Quantity = text.parse()?;
    if !matches!(quantity.dimension, Dimension::Bytes | Dimension::Count) {
        return Err(format!("`{text}` should be {}", Dimension::Bytes));
    }
    u32::try_from(whole(quantity.fixed, text)?).map_err(|_| format!("`{text}` is too large"))
}

/// Reads a probability: a percentage of at most 100.
///
/// # Errors
/// What is wrong with it.
pub fn ppb(text: &str) -> Result<Ppb, String> {
    let value = fixed(text, Dimension::Ratio)?;
    u32::try_from(value).ok().filter(|&v| v <= Ppb::ALWAYS.0).map(Ppb).ok_or_else(|| format!("`{text}` is above 100 %"))
}

/// Reads a whole number.
///
/// # Errors
/// What is wrong with it.
pub fn count(text: &str) -> Result<u64, String> {
    whole(fixed(text, Dimension::Count)?, text)
}

fn whole(value: i128, text: &str) -> Result<u64, String> {
    if value % ONE != 0 {
        return Err(format!("`{text}` is no whole number"));
    }
    u64::try_from(value / ONE).map_err(|_| format!("`{text}` is too large"))
}

/// Writes a span so that [`span`] reads it again.
#[must_use]
pub fn show_span(span: Duration) -> String {
    Quantity::new(Dimension::Time, span.0.into()).to_string()
}

/// Writes a rate so that [`rate`] reads it again.
#[must_use]
pub fn show_rate(rate: Rate) -> String {
    Quantity::new(Dimension::Rate, i128::from(rate.0) * ONE).to_string()
}

/// Writes a number of bytes so that [`bytes`] reads it again.
#[must_use]
pub fn show_bytes(bytes: u64) -> String {
    Quantity::new(Dimension::Bytes, i128::from(bytes) * ONE).to_string()
}

/// Writes a probability so that [`ppb`] reads it again.
#[must_use]
pub fn show_ppb(ppb: Ppb) -> String {
    Quantity::new(Dimension::Ratio, ppb.0.into()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    #[test]
    fn reads_what_people_write() {
        assert_eq!(span("1.5s"), Ok(Duration::millis(1_500)));
        assert_eq!(span("25 ms"), Ok(Duration::millis(25)));
        assert_eq!(rate("10Mbit"), Ok(Rate::mbit(10)));
        assert_eq!(bytes("64KiB"), Ok(65_536));
        assert_eq!(ppb("0.2%"), Ok(Ppb(2_000_000)));
        let sum: Quantity = "2rtt + 4ms".parse().unwrap();
        assert_eq!(sum.value(Duration::millis(50)), 104_000_000);
    }

    #[test]
    fn refuses_what_is_wrong() {
        for text in ["", "ms", "1.", "1..2s", "1 parsec", "1s + 1B", "-1s", "101%x", "1.0000000001s"] {
            assert!(text.parse::<Quantity>().is_err(), "{text}");
        }
        assert!(span("1MB").is_err() && span("1rtt").is_err() && ppb("101%").is_err() && bytes("1.5B").is_err());
    }

    #[test]
    fn shows_for_people() {
        assert_eq!(show(Dimension::Time, 1_234_567_890), "1.2346s");
        assert_eq!(show(Dimension::Ratio, 123_456_789), "12.35%");
        assert_eq!(show(Dimension::Rate, 9_876_543 * ONE), "9.877Mbit");
    }

    quickcheck! {
        fn spans_round_trip(n: u64) -> bool { span(&show_span(Duration(n))) == Ok(Duration(n)) }
        fn rates_round_trip(n: u64) -> bool { rate(&show_rate(Rate(n))) == Ok(Rate(n)) }
        fn bytes_round_trip(n: u64) -> bool { bytes(&show_bytes(n)) == Ok(n) }
        fn shares_round_trip(n: u32) -> bool {
            let p = Ppb(n % 1_000_000_001);
            ppb(&show_ppb(p)) == Ok(p)
        }
    }
}
