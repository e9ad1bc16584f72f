//! How often it is told how far a transfer has come.

/// Lines that a transfer has, about.
const LINES: u64 = 64;
/// The least bytes between two lines, and the most.
const STEP: (u64, u64) = (65_536, 1 << 20);

/// Adds up what is moved.
#[derive(Debug, Default)]
pub(super) struct Steps {
    /// Bytes from one line to the next.
    step: u64,
    moved: u64,
    told: u64,
}

impl Steps {
    /// For a transfer of so many bytes.
    pub(super) fn of(bytes: u64) -> Self {
        Self { step: (bytes / LINES).clamp(STEP.0, STEP.1), moved: 0, told: 0 }
    }

    /// So many more bytes were moved. How many in all, if it is time to tell.
    pub(super) fn add(&mut self, bytes: u64) -> Option<u64> {
        self.moved = self.moved.saturating_add(bytes);
        if self.moved - self.told < self.step { None } else { self.rest() }
    }

    /// How many in all, told or not.
    pub(super) const fn moved(&self) -> u64 {
        self.moved
    }

    /// How many in all, unless that was told.
    pub(super) fn rest(&mut self) -> Option<u64> {
        if self.moved == self.told {
            return None;
        }
        self.told = self.moved;
        Some(self.moved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_transfer_has_a_line_a_mebibyte_and_a_short_one_few() {
        let mut steps = Steps::of(1 << 40);
        assert_eq!((0..64).filter_map(|_| steps.add(65_536)).collect::<Vec<_>>(), [1 << 20, 2 << 20, 3 << 20, 4 << 20]);
        let mut steps = Steps::of(0);
        assert_eq!((steps.add(1), steps.rest(), steps.rest()), (None, Some(1), None));
        assert_eq!(steps.add(65_536), Some(65_537));
    }
}
