//! Random early detection (Floyd and Jacobson 1993), gentle, in bytes, by integers.

use crate::fault::{Decision, DropCause};
use crate::queue::RedSpec;
use crate::rng::below;
use crate::time::{Duration, Time, mul_div};

const ONE: u64 = 1_000_000_000;
/// What an idle queue is taken to have sent, one after the other, while it was idle.
const IDLE_STEP: Duration = Duration::millis(1);

#[derive(Debug)]
pub(crate) struct Red {
    spec: RedSpec,
    /// The average, times 2^`weight_log`.
    scaled: u64,
    /// Packets since the last drop or mark; none since the average was low.
    count: Option<u64>,
    idle_since: Option<Time>,
}

impl Red {
    pub(crate) fn new(spec: RedSpec) -> Self {
        let weight_log = spec.weight_log.min(20);
        Self { spec: RedSpec { weight_log, ..spec }, scaled: 0, count: None, idle_since: None }
    }

    pub(crate) const fn limit(&self) -> u64 {
        self.spec.limit_bytes
    }

    const fn average(&self) -> u64 {
        self.scaled >> self.spec.weight_log
    }

    fn update(&mut self, t: Time, bytes: u64) {
        if let Some(since) = self.idle_since.take() {
            for _ in 0..(t.since(since).0 / IDLE_STEP.0).min(1 << 14) {
                self.scaled -= self.scaled >> self.spec.weight_log;
            }
        }
        // avg += (q - avg) / 2^w
        self.scaled = self.scaled - self.average() + bytes;
        if bytes == 0 {
            self.idle_since = Some(t);
        }
    }

    /// A packet comes at `t` to a queue of `bytes`. A `full` queue will lose it in any case.
    pub(crate) fn on_arrival(&mut self, t: Time, bytes: u64, full: bool, capable: bool, word: u64) -> Decision {
        self.update(t, bytes);
        let (average, spec) = (self.average(), self.spec);
        if average < spec.min_bytes {
            self.count = None;
            return Decision::Pass;
        }
        let max_p = u64::from(spec.max_p.0).min(ONE);
        let base = if average < spec.max_bytes {
            mul_div(max_p, average - spec.min_bytes, spec.max_bytes - spec.min_bytes)
        } else {
            max_p + mul_div(ONE - max_p, (average - spec.max_bytes).min(spec.max_bytes), spec.max_bytes)
        };
        let count = self.count.map_or(0, |count| count + 1);
        self.count = Some(count);
        // Spaces the drops evenly: p / (1 - count p).
        let left = ONE.saturating_sub(count.saturating_mul(base));
        let p = if left == 0 { ONE } else { mul_div(base, ONE, left).min(ONE) };
        let hit = below(word, ONE) < p;
        if hit || full {
            self.count = Some(0);
        }
        match hit {
            false => Decision::Pass,
            true if spec.ecn && capable && base < ONE => Decision::Mark,
            true => Decision::Drop(DropCause::Aqm),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Key, Ppb};

    fn spec() -> RedSpec {
        RedSpec {
            min_bytes: 10_000,
            max_bytes: 30_000,
            limit_bytes: 100_000,
            max_p: Ppb::percent(10),
            weight_log: 2,
            ecn: false,
        }
    }

    /// How many of 10,000 are dropped with the queue held at `bytes`.
    fn dropped(bytes: u64) -> usize {
        let mut red = Red::new(spec());
        let key = Key::mix(1, "red", "");
        (0..10_000)
            .filter(|&n| red.on_arrival(Time(n), bytes, false, false, key.decide(n)) == Decision::Drop(DropCause::Aqm))
            .count()
    }

    #[test]
    fn slope() {
        assert_eq!(dropped(9_000), 0);
        // Half way: p is 5 %, evenly spaced drops come every 1/p / 2 on average: 10 %, less the integers' loss.
        let half = dropped(20_000);
        assert!((850..1_050).contains(&half), "{half}");
        assert!(dropped(60_000) > 9_980);
    }

    #[test]
    fn average_follows_slowly() {
        let mut red = Red::new(spec());
        red.on_arrival(Time(0), 40_000, false, false, 0);
        assert_eq!(red.average(), 10_000);
        red.on_arrival(Time(1), 40_000, false, false, u64::MAX);
        assert_eq!(red.average(), 17_500);
        red.on_arrival(Time(2), 0, false, false, u64::MAX);
        // Idle for a long time: it forgets.
        red.on_arrival(Time(1_000_000_000), 0, false, false, u64::MAX);
        assert_eq!(red.average(), 0);
    }

    #[test]
    fn marks_instead() {
        let mut red = Red::new(RedSpec { ecn: true, ..spec() });
        let decisions: Vec<_> = (0..100).map(|n| red.on_arrival(Time(n), 29_000, false, true, 0)).collect();
        assert!(decisions.contains(&Decision::Mark) && !decisions.contains(&Decision::Drop(DropCause::Aqm)));
    }
}
