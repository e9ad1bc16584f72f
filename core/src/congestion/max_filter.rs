//! The largest of what was measured lately.

/// The maximum over a window of rounds. Exact for what it keeps: the largest, and after it the largest of those that came
/// later, three in all.
#[derive(Clone, Copy, Debug)]
pub(super) struct MaxFilter {
    /// Round and value, the largest first.
    best: [(u64, u64); 3],
}

impl MaxFilter {
    pub(super) const fn new() -> Self {
        Self { best: [(0, 0); 3] }
    }

    pub(super) const fn get(&self) -> u64 {
        self.best[0].1
    }

    /// Takes a value of `round`; what is older than `window` rounds is forgotten.
    pub(super) fn update(&mut self, round: u64, value: u64, window: u64) {
        let [first, second, third] = &mut self.best;
        if value >= first.1 {
            self.best = [(round, value); 3];
            return;
        }
        if value >= second.1 {
            (*second, *third) = ((round, value), (round, value));
        } else if value >= third.1 {
            *third = (round, value);
        }
        if round.saturating_sub(self.best[0].0) > window {
            self.best = [self.best[1], self.best[2], (round, value)];
            if round.saturating_sub(self.best[0].0) > window {
                self.best = [self.best[1], (round, value), (round, value)];
            }
            return;
        }
        // One of the later ones, from the later part of the window, is ready when the largest is too old.
        let [first, second, third] = &mut self.best;
        if *second == *first && round.saturating_sub(second.0) > window / 4 {
            (*second, *third) = ((round, value), (round, value));
        } else if *third == *second && round.saturating_sub(third.0) > window / 2 {
            *third = (round, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_of_the_window_counts() {
        let mut filter = MaxFilter::new();
        let values = [5, 9, 3, 4, 8, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1];
        let seen = (0..).zip(values).map(|(round, value)| {
            filter.update(round, value, 10);
            filter.get()
        });
        let seen: alloc::vec::Vec<_> = seen.collect();
        assert_eq!(seen[..12], [5, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9]);
        assert_eq!(seen[12], 8, "9 is eleven rounds old");
        assert_eq!(*seen.last().unwrap(), 1);
    }

    #[test]
    fn nothing_is_kept_that_is_older_than_the_window() {
        let mut filter = MaxFilter::new();
        filter.update(0, 1_000, 10);
        for round in 1..100 {
            filter.update(round, 1_000 - round * 10, 10);
            let oldest = round.saturating_sub(10);
            assert!(filter.get() <= 1_000 - oldest * 10, "round {round}: {}", filter.get());
        }
    }
}
