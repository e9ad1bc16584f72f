//! Whether there is progress: in what the far end is to acknowledge, or in the messages that it has begun.

use crate::time::Instant;

/// This part of what is held is progress. Less would let a far end hold memory for a byte now and then.
const PROGRESS: u64 = 64;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Stall {
    since: Option<Instant>,
    /// Bytes of progress since then.
    moved: u64,
}

impl Stall {
    /// Bytes were acknowledged, received or read.
    pub(super) const fn moved(&mut self, bytes: u64) {
        self.moved = self.moved.saturating_add(bytes);
    }

    /// `held`: bytes that wait for the far end now.
    pub(super) fn update(&mut self, now: Instant, held: usize) {
        if held == 0 {
            *self = Self::default();
        } else if self.since.is_none() || self.moved > held as u64 / PROGRESS {
            *self = Self { since: Some(now), moved: 0 };
        }
    }

    /// Since when there is no progress. None: nothing is held.
    pub(super) const fn since(&self) -> Option<Instant> {
        self.since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_a_part_of_what_is_held() {
        let at = Instant::from_millis;
        let mut stall = Stall::default();
        stall.update(at(1), 0);
        assert_eq!(stall.since(), None);
        stall.update(at(2), 6_400);
        stall.moved(60);
        stall.update(at(3), 6_400);
        assert_eq!(stall.since(), Some(at(2)), "next to nothing");
        stall.moved(60);
        stall.update(at(4), 6_400);
        assert_eq!(stall.since(), Some(at(4)));
        stall.update(at(5), 0);
        assert_eq!(stall.since(), None);
        stall.update(at(6), 10);
        assert_eq!(stall.since(), Some(at(6)), "it waits anew");
    }
}
