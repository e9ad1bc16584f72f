//! Where the ticks of an axis stand, and what is written at them.

/// An axis from one value to another.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Axis {
    pub(super) from: f64,
    pub(super) to: f64,
    /// Equal distances are equal factors. Both ends are above zero then.
    pub(super) logarithmic: bool,
}

/// The least of 1, 2 and 5 times a power of ten that is not below `value`.
fn round_up(value: f64) -> f64 {
    let base = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|step| step * base).find(|step| *step >= value * 0.999_999).unwrap_or(10.0 * base)
}

impl Axis {
    /// From zero to `most`, or a little further, so that it ends at a tick of about `ticks`.
    pub(super) fn to_a_tick(most: f64, ticks: f64) -> Self {
        let step = round_up((most / ticks).max(1e-9));
        Self { from: 0.0, to: (most / step - 1e-9).ceil().max(1.0) * step, logarithmic: false }
    }

    /// A logarithmic one that holds these, both ends at a round number.
    pub(super) fn logarithmic(least: f64, most: f64) -> Self {
        let to = round_up(most.max(1e-6));
        // The greatest round number that is not above is one over the least that is not below one over it.
        let from = 1.0 / round_up(1.0 / least.max(1e-6));
        Self { from: if from < to { from } else { to / 10.0 }, to, logarithmic: true }
    }

    /// How far along the axis a value is, from 0 to 1.
    pub(super) fn place(&self, value: f64) -> f64 {
        let place = if self.logarithmic {
            (value.max(self.from) / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        place.clamp(0.0, 1.0)
    }

    /// Values for grid lines with what is written there, about `count` of them.
    pub(super) fn ticks(&self, count: f64) -> Vec<(f64, String)> {
        if self.logarithmic {
            return self.log_ticks(count).into_iter().map(|value| (value, number(value, value))).collect();
        }
        let step = round_up(((self.to - self.from) / count).max(1e-9));
        let last = ((self.to - self.from) / step + 1e-6).floor();
        let mut ticks = Vec::new();
        let mut index = 0.0;
        while index <= last {
            let value = self.from + index * step;
            ticks.push((value, number(value, step)));
            index += 1.0;
        }
        ticks
    }

    fn log_ticks(&self, count: f64) -> Vec<f64> {
        let decades = (self.to / self.from).log10();
        let steps: &[f64] = if decades * 18.0 <= count {
            &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]
        } else if decades * 3.0 <= count {
            &[1.0, 2.0, 5.0]
        } else {
            &[1.0]
        };
        let mut ticks = Vec::new();
        let mut base = 10_f64.powf(self.from.log10().floor());
        while base <= self.to * 1.000_001 {
            let inside = |value: &f64| *value >= self.from * 0.999_999 && *value <= self.to * 1.000_001;
            ticks.extend(steps.iter().map(|step| step * base).filter(inside));
            base *= 10.0;
        }
        ticks
    }
}

/// A number with as many places as ticks that are `step` apart need.
fn number(value: f64, step: f64) -> String {
    let places = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
    format!("{value:.places$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(axis: Axis, count: f64) -> Vec<String> {
        axis.ticks(count).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn linear_ticks_are_round_and_reach_the_end() {
        let axis = Axis::to_a_tick(63.4, 5.0);
        assert_eq!(written(axis, 5.0), ["0", "20", "40", "60", "80"]);
        assert_eq!(written(Axis::to_a_tick(0.24, 5.0), 5.0), ["0.00", "0.05", "0.10", "0.15", "0.20", "0.25"]);
        let time = Axis { from: 0.0, to: 19.8, logarithmic: false };
        assert_eq!(time.ticks(12.0).len(), 10);
        assert_eq!((time.place(0.0), time.place(9.9), time.place(99.0)), (0.0, 0.5, 1.0));
    }

    #[test]
    fn logarithmic_ticks_are_one_two_five_or_powers_of_ten() {
        let axis = Axis::logarithmic(13.0, 1_720.0);
        assert_eq!((axis.from, axis.to), (10.0, 2_000.0));
        assert_eq!(written(axis, 10.0), ["10", "20", "50", "100", "200", "500", "1000", "2000"]);
        assert_eq!(written(Axis::logarithmic(0.3, 30_000.0), 6.0), ["1", "10", "100", "1000", "10000"]);
        assert_eq!(
            written(Axis::logarithmic(0.02, 0.09), 14.0),
            ["0.02", "0.03", "0.04", "0.05", "0.06", "0.07", "0.08", "0.09", "0.1"]
        );
        // The same latency for all is one place, and no division by nothing.
        let one = Axis::logarithmic(20.0, 20.0);
        assert!(one.from < one.to && (one.place(20.0) - 1.0).abs() < 1e-9);
    }
}
