//! When packets sent back to back leave, at a fixed rate, at one with steps, or by a recorded trace.

use crate::link::spec::{RateSpec, TraceRate};
use crate::time::{Rate, Serialiser, Time};

const OPPORTUNITY: u32 = 1_500;

#[derive(Debug)]
pub(crate) enum Pacer {
    /// The rate is the serialiser's own.
    Fixed(Serialiser),
    Steps(Box<Steps>),
    Trace(Box<Played>),
}

#[derive(Debug)]
pub(crate) struct Steps {
    steps: Vec<(Time, Rate)>,
    busy_until: Time,
    credit: u128,
}

#[derive(Debug)]
pub(crate) struct Played {
    trace: TraceRate,
    next: u64,
    left: u32,
}

impl Pacer {
    pub(crate) fn new(spec: &RateSpec) -> Self {
        match spec {
            RateSpec::Fixed(rate) => Self::Fixed(Serialiser::at(*rate)),
            RateSpec::Steps(steps) => {
                Self::Steps(Box::new(Steps { steps: steps.clone(), busy_until: Time::ZERO, credit: 0 }))
            }
            RateSpec::Trace(trace) => Self::Trace(Box::new(Played { trace: trace.clone(), next: 0, left: 0 })),
        }
    }

    /// When the sending of a packet that comes at `t` would begin.
    pub(crate) fn would_start(&self, t: Time) -> Time {
        match self {
            Self::Fixed(serialiser) => serialiser.busy_until().max(t),
            Self::Steps(steps) => t.max(steps.busy_until),
            Self::Trace(played) => {
                trace_accept(&played.trace, &mut played.next.clone(), &mut played.left.clone(), t, 1).0
            }
        }
    }

    /// A packet of `len` bytes comes at `t`, not earlier than the one before. Returns when its sending begins and
    /// when it has left ([`Time::NEVER`] if it never does).
    pub(crate) fn accept(&mut self, t: Time, len: u32) -> (Time, Time) {
        match self {
            Self::Fixed(serialiser) => {
                let start = serialiser.busy_until().max(t);
                (start, serialiser.accept(t, len.into(), serialiser.rate()))
            }
            Self::Steps(steps) => {
                let Steps { steps, busy_until, credit } = &mut **steps;
                if t > *busy_until {
                    *credit = 0;
                }
                let start = t.max(*busy_until);
                let at = walk(steps, start, len, credit);
                if at < Time::NEVER {
                    *busy_until = at;
                }
                (start, at)
            }
            Self::Trace(played) => {
                let Played { trace, next, left } = &mut **played;
                trace_accept(trace, next, left, t, len)
            }
        }
    }
}

/// Sends `len` bytes from `start` through the steps. `credit` is what the last whole nanosecond had to spare, in bits
/// per second times nanoseconds.
fn walk(steps: &[(Time, Rate)], start: Time, len: u32, credit: &mut u128) -> Time {
    let mut rest = (u128::from(len) * 8_000_000_000).saturating_sub(*credit);
    *credit = 0;
    let mut at = start;
    let mut index = steps.partition_point(|&(from, _)| from <= at);
    loop {
        let rate = index.checked_sub(1).and_then(|index| steps.get(index)).map_or(0, |&(_, rate)| u128::from(rate.0));
        let end = steps.get(index).map_or(Time::NEVER, |&(from, _)| from);
        let room = rate * u128::from(end.since(at).0);
        if rate > 0 && (rest <= room || end == Time::NEVER) {
            let spent = rest.div_ceil(rate);
            *credit = spent * rate - rest;
            return Time(at.0.saturating_add(u64::try_from(spent).unwrap_or(u64::MAX)));
        }
        if end == Time::NEVER {
            return Time::NEVER;
        }
        rest -= room;
        at = end;
        index += 1;
    }
}

/// Uses up opportunities: small packets share one, big ones take several; one that finds nothing waiting is lost.
fn trace_accept(trace: &TraceRate, next: &mut u64, left: &mut u32, t: Time, len: u32) -> (Time, Time) {
    let count = trace.opportunities.len() as u64;
    let period = trace.opportunities.last().copied().unwrap_or(1).max(1);
    let when = |n: u64| {
        let within = trace.opportunities.get((n % count) as usize).copied().unwrap_or(0);
        Time((n / count).saturating_mul(period).saturating_add(within).saturating_mul(1_000_000))
    };
    let mut rest = len;
    // `next` is the opportunity after the one that `left` is left of.
    let mut current = next.saturating_sub(1);
    if *next == 0 || when(current) < t {
        *left = 0;
        if when(*next) < t {
            // Whole rounds first, then within the round.
            let round = t.0 / (period * 1_000_000);
            *next = (*next).max(round.saturating_sub(1) * count);
            while when(*next) < t {
                *next += 1;
            }
        }
    }
    loop {
        if *left == 0 {
            current = *next;
            *next += 1;
            *left = OPPORTUNITY;
        }
        let used = rest.min(*left);
        *left -= used;
        rest -= used;
        if rest == 0 {
            let at = when(current);
            return (at, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_crossed_exactly() {
        // 1 Mbit/s for a millisecond, nothing for another, then 2 Mbit/s.
        let steps = vec![(Time(0), Rate::mbit(1)), (Time(1_000_000), Rate(0)), (Time(2_000_000), Rate::mbit(2))];
        let mut pacer = Pacer::new(&RateSpec::Steps(steps));
        // 250 bytes: 125 in the first millisecond, 125 from 2 ms on in half a millisecond.
        assert_eq!(pacer.accept(Time(0), 250), (Time(0), Time(2_500_000)));
        assert_eq!(pacer.accept(Time(0), 250), (Time(2_500_000), Time(3_500_000)));
    }

    #[test]
    fn steps_carry_fractions() {
        let mut pacer = Pacer::new(&RateSpec::Steps(vec![(Time(0), Rate::mbit(7))]));
        let last = (0..7_000).map(|_| pacer.accept(Time(0), 1_500).1).last();
        assert_eq!(last, Some(Time(12_000_000_000)));
    }

    #[test]
    fn a_rate_that_never_comes_back() {
        let mut pacer = Pacer::new(&RateSpec::Steps(vec![(Time(0), Rate::mbit(1)), (Time(1), Rate(0))]));
        assert_eq!(pacer.accept(Time(0), 250).1, Time::NEVER);
    }

    #[test]
    fn trace_opportunities() {
        let ms = |n: u64| Time(n * 1_000_000);
        let Ok(trace) = TraceRate::parse("5\n5\n10\n20\n") else { panic!() };
        let mut pacer = Pacer::new(&RateSpec::Trace(trace));
        let mut at = |t, len| pacer.accept(t, len).1;
        // Two at 5 ms; small ones share the second; a big one takes 10 and 20.
        assert_eq!(at(ms(0), 1_500), ms(5));
        assert_eq!(at(ms(0), 700), ms(5));
        assert_eq!(at(ms(0), 800), ms(5));
        assert_eq!(at(ms(0), 3_000), ms(20));
        // It wraps after 20 ms; what is not used is lost.
        assert_eq!(at(ms(26), 1_500), ms(30));
        assert_eq!(at(ms(1_000_003), 100), ms(1_000_005));
        assert_eq!(at(ms(1_000_003), 1_500), ms(1_000_005));
        assert_eq!(at(ms(1_000_003), 1_500), ms(1_000_010));
    }

    #[test]
    fn trace_errors() {
        use crate::link::spec::TraceRateError::{Empty, Falling, NotANumber};
        assert_eq!(TraceRate::parse("1\nx"), Err(NotANumber(2)));
        assert_eq!(TraceRate::parse("2\n1"), Err(Falling(2)));
        assert_eq!(TraceRate::parse("0\n0"), Err(Empty));
        assert_eq!(TraceRate::parse(""), Err(Empty));
    }
}
