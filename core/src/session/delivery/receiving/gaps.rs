//! How long a far end may leave gaps in what it sends.
//!
//! Each gap is a packet that was lost, and a sender that means to deliver its data closes it with a retransmission. More
//! gaps than half of the packets of a whole window cannot all be losses, as each takes a packet that arrived as well.
//! They cost memory, and every acknowledgement has to report some of them. So a session that has so many must close as
//! many within a time, or it ends.

use core::time::Duration;

use crate::time::Instant;

/// Silence between two packets counts no longer than this, as nobody can close a gap while the network is down.
const MAX_SILENCE: Duration = Duration::from_secs(1);

/// Watches the gaps of all flows of a session.
#[derive(Debug, Default)]
pub(super) struct GapWatch {
    excess: Option<Excess>,
}

/// There are more gaps than losses explain.
#[derive(Debug)]
struct Excess {
    /// How long packets have come without progress.
    lasted: Duration,
    last: Instant,
    /// It is progress if so many gaps were closed, ever.
    progress: u64,
}

impl GapWatch {
    /// A packet came, and now there are `gaps`; `closed` were closed, ever. Returns whether there have been more than
    /// `most` for `limit`, without as many being closed.
    pub(super) fn check(&mut self, now: Instant, gaps: usize, closed: u64, most: usize, limit: Duration) -> bool {
        if gaps <= most {
            self.excess = None;
            return false;
        }
        match &mut self.excess {
            Some(excess) if closed < excess.progress => {
                excess.lasted += now.saturating_duration_since(excess.last).min(MAX_SILENCE);
                excess.last = now;
                excess.lasted >= limit
            }
            excess => {
                let progress = closed.saturating_add(gaps as u64);
                *excess = Some(Excess { lasted: Duration::ZERO, last: now, progress });
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// Packets 100 ms apart, with so many gaps and so many closed in each; returns after how many it is over.
    fn run(packets: u64, gaps: usize, closed_each: u64) -> Option<u64> {
        let mut watch = GapWatch::default();
        (0..packets).find(|&number| {
            let now = Instant::from_millis(1_000 + number * 100);
            watch.check(now, gaps, number * closed_each, 50, LIMIT)
        })
    }

    #[test]
    fn too_many_gaps_that_are_not_closed_end_a_session_after_the_limit() {
        assert_eq!(run(1_000, 50, 0), None, "as many as are allowed");
        assert_eq!(run(1_000, 51, 0), Some(100));
        assert_eq!(run(1_000, 10_000, 50), Some(100), "closed too slowly");
    }

    #[test]
    fn gaps_that_are_closed_while_others_come_are_no_fault() {
        assert_eq!(run(1_000, 10_000, 110), None);
    }

    #[test]
    fn an_outage_is_no_fault() {
        let mut watch = GapWatch::default();
        assert!(!watch.check(Instant::from_millis(1_000), 51, 0, 50, LIMIT));
        assert!(!watch.check(Instant::from_millis(100_000), 51, 0, 50, LIMIT));
        assert!(!watch.check(Instant::from_millis(100_001), 50, 1, 50, LIMIT));
        assert!(!watch.check(Instant::from_millis(200_000), 51, 1, 50, LIMIT), "it begins anew");
    }
}
