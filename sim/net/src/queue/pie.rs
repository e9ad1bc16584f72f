//! PIE (RFC 8033), by integers. The probability is brought up to date when a packet comes; the delay at each missed
//! tick is known exactly, since nothing came in between.

use crate::fault::{Decision, DropCause};
use crate::queue::PieSpec;
use crate::rng::below;
use crate::time::{Duration, Time};

/// Probability one.
const ONE: i128 = 1_000_000_000_000;
const MEAN_PACKET: u64 = 1_500;

#[derive(Debug)]
pub(crate) struct Pie {
    spec: PieSpec,
    probability: i128,
    /// Sum of probabilities since the last drop.
    accumulated: i128,
    old_delay: Duration,
    burst_left: Duration,
    next_update: Time,
    /// When the queue known at the last arrival will be empty.
    empty_at: Time,
}

impl Pie {
    pub(crate) const fn new(spec: PieSpec) -> Self {
        let update = if spec.update.0 == 0 { Duration(1) } else { spec.update };
        Self {
            spec: PieSpec { update, ..spec },
            probability: 0,
            accumulated: 0,
            old_delay: Duration::ZERO,
            burst_left: spec.max_burst,
            next_update: Time(update.0),
            empty_at: Time::ZERO,
        }
    }

    pub(crate) const fn limit(&self) -> u64 {
        self.spec.limit_bytes
    }

    /// RFC 8033 §4.2: alpha 1/8 and beta 1 1/4 per second of delay.
    fn update(&mut self, at: Time) {
        let delay = self.empty_at.since(at);
        let (now, old, target) = (i128::from(delay.0), i128::from(self.old_delay.0), i128::from(self.spec.target.0));
        let mut change = 125 * (now - target) + 1_250 * (now - old);
        change /= match self.probability {
            ..1_000_000 => 2_048,
            1_000_000..10_000_000 => 512,
            10_000_000..100_000_000 => 128,
            100_000_000..1_000_000_000 => 32,
            1_000_000_000..10_000_000_000 => 8,
            10_000_000_000..100_000_000_000 => 2,
            100_000_000_000.. => 1,
        };
        if self.probability >= ONE / 10 && change > ONE / 50 {
            change = ONE / 50;
        }
        if delay > Duration::millis(250) {
            change = change.max(ONE / 50);
        }
        self.probability += change;
        if delay == Duration::ZERO && self.old_delay == Duration::ZERO {
            self.probability = self.probability * 98 / 100;
        }
        self.probability = self.probability.clamp(0, ONE);
        self.burst_left = self.burst_left.saturating_sub(self.spec.update);
        let half = Duration(self.spec.target.0 / 2);
        if self.probability == 0 && delay < half && self.old_delay < half {
            self.burst_left = self.spec.max_burst;
        }
        self.old_delay = delay;
    }

    /// A packet comes at `t` to a queue of `bytes` that would begin to send it at `start`.
    pub(crate) fn on_arrival(&mut self, t: Time, start: Time, bytes: u64, capable: bool, word: u64) -> Decision {
        while self.next_update <= t {
            self.update(self.next_update);
            self.next_update += self.spec.update;
            let calm =
                self.probability == 0 && self.old_delay == Duration::ZERO && self.burst_left == self.spec.max_burst;
            if calm && self.next_update <= t {
                // Nothing changes any more until something comes.
                let missed = t.since(self.next_update).0 / self.spec.update.0;
                self.next_update += Duration(missed * self.spec.update.0);
            }
        }
        self.empty_at = start;
        if self.burst_left > Duration::ZERO {
            return Decision::Pass;
        }
        // RFC 8033 §4.1: safeguards against dropping from a short queue.
        let short = self.old_delay.0 < self.spec.target.0 / 2 && self.probability < ONE / 5;
        if short || bytes <= 2 * MEAN_PACKET {
            return Decision::Pass;
        }
        // §5.4: derandomisation.
        if self.probability == 0 {
            self.accumulated = 0;
        }
        self.accumulated += self.probability;
        let hit = if self.accumulated < ONE * 85 / 100 {
            false
        } else {
            self.accumulated >= ONE * 17 / 2 || i128::from(below(word, ONE as u64)) < self.probability
        };
        if !hit {
            return Decision::Pass;
        }
        self.accumulated = 0;
        // §5.1: marks only while the probability is at most a tenth.
        if self.spec.ecn && capable && self.probability <= ONE / 10 {
            Decision::Mark
        } else {
            Decision::Drop(DropCause::Aqm)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Key;

    /// Ten seconds of a packet a millisecond with the delay held; (drops, final probability).
    fn held(delay: Duration) -> (usize, i128) {
        let mut pie = Pie::new(PieSpec::default());
        let key = Key::mix(1, "pie", "");
        let drops = (0..10_000)
            .filter(|&n| {
                let t = Time(n * 1_000_000);
                pie.on_arrival(t, t + delay, 50_000, false, key.decide(n)) == Decision::Drop(DropCause::Aqm)
            })
            .count();
        (drops, pie.probability)
    }

    #[test]
    fn below_target_nothing_is_lost() {
        assert_eq!(held(Duration::millis(5)).0, 0);
    }

    #[test]
    fn above_target_the_probability_grows() {
        let (few, p_few) = held(Duration::millis(20));
        let (many, p_many) = held(Duration::millis(100));
        assert!(p_few > 0 && p_many > p_few && many > few, "{few} {many}");
    }

    #[test]
    fn first_update_by_hand() {
        let mut pie = Pie::new(PieSpec { max_burst: Duration::ZERO, ..PieSpec::default() });
        pie.empty_at = Time(45_000_000);
        // 30 ms of delay at the tick at 15 ms: 125 x 15e6 + 1250 x 30e6 = 39.375e9, over 2,048.
        pie.on_arrival(Time(15_000_000), Time(45_000_000), 0, false, 0);
        assert_eq!(pie.probability, 39_375_000_000 / 2_048);
    }
}
