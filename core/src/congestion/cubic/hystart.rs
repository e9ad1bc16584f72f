//! HyStart++ (RFC 9406): leaves slow start when the round trip grows, before the queue is full.

use core::time::Duration;

use super::super::RateSample;
use super::super::rounds::Rounds;

/// Samples that make a round's shortest round trip (RFC 9406 §4.3, N_RTT_SAMPLE).
const SAMPLES: u32 = 8;
/// The least and most that a round trip must have grown (MIN_RTT_THRESH, MAX_RTT_THRESH).
const LEAST_GROWTH: Duration = Duration::from_millis(4);
const MOST_GROWTH: Duration = Duration::from_millis(16);
/// It must have grown by this part (MIN_RTT_DIVISOR).
const GROWTH_DIVISOR: u32 = 8;
/// Rounds of conservative slow start before it is over (CSS_ROUNDS).
const CONSERVATIVE_ROUNDS: u32 = 5;

/// How slow start goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Growth {
    Doubling,
    /// A quarter of that (CSS_GROWTH_DIVISOR).
    Conservative,
    Over,
}

/// See the module.
#[derive(Debug)]
pub(super) struct HyStart {
    rounds: Rounds,
    samples: u32,
    /// The shortest round trip of this round, and of the last.
    current: Option<Duration>,
    last: Option<Duration>,
    /// In conservative slow start: the round trip that it began at, and the rounds since.
    conservative: Option<(Duration, u32)>,
}

impl HyStart {
    pub(super) const fn new() -> Self {
        Self { rounds: Rounds::new(), samples: 0, current: None, last: None, conservative: None }
    }

    pub(super) fn growth(&self) -> Growth {
        match self.conservative {
            None => Growth::Doubling,
            Some((_, rounds)) if rounds < CONSERVATIVE_ROUNDS => Growth::Conservative,
            Some(_) => Growth::Over,
        }
    }

    pub(super) fn on_sample(&mut self, sample: &RateSample) {
        if self.rounds.on_sample(sample) {
            (self.last, self.current, self.samples) = (self.current, None, 0);
            if let Some((_, rounds)) = &mut self.conservative {
                *rounds += 1;
            }
        }
        let Some(rtt) = sample.rtt else { return };
        let current = self.current.map_or(rtt, |current| current.min(rtt));
        self.current = Some(current);
        self.samples += 1;
        if self.samples < SAMPLES {
            return;
        }
        match (self.conservative, self.last) {
            // The round trip is short again: it was not the queue.
            (Some((baseline, _)), _) if current < baseline => self.conservative = None,
            (None, Some(last)) if current >= last + (last / GROWTH_DIVISOR).clamp(LEAST_GROWTH, MOST_GROWTH) => {
                self.conservative = Some((current, 0));
            }
            _ => {}
        }
    }
}
