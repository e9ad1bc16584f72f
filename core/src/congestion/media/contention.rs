//! Whether somebody else keeps the queue full, whatever this sender does.

use core::time::Duration;

use crate::time::Instant;

/// So many cuts in a row, over so long a time, should have emptied a queue of one's own.
const CUTS: u32 = 3;
const TIME: Duration = Duration::from_millis(800);
/// The part of the longest queue that may be left by then.
const LEFT: u32 = 2;
/// After so long it is tried again whether the other sender is still there.
const COMPETE: Duration = Duration::from_secs(20);
/// A queue that is short for so long shows that it is not.
const GONE: Duration = Duration::from_secs(4);

/// A sender that yields to queues gets nothing of a line whose queue another one fills until packets are lost. This tells
/// such a line from one where the queue is the sender's own. Of that at least half is gone a second after the sender has begun
/// to send less than the line takes. Copa has such a mode too (NSDI 2018, §2.2), and enters it when the queue does not empty.
#[derive(Debug)]
pub(super) struct Contention {
    /// Since the queue was last short.
    episode: Option<Episode>,
    /// The other sender is competed with until then.
    until: Option<Instant>,
    /// While it is: since when the queue is short.
    short_since: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Episode {
    began: Instant,
    cuts: u32,
    longest: Duration,
    /// The rate when it began.
    rate: u64,
}

/// What is sent, in bytes a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sending {
    pub(super) rate: u64,
    /// The largest rate of delivery lately; 0 if it tells nothing of the line.
    pub(super) delivered: u64,
    /// What is sent at first after a cut that is about to be made.
    pub(super) cut_to: Option<u64>,
}

impl Contention {
    pub(super) const fn new() -> Self {
        Self { episode: None, until: None, short_since: None }
    }

    /// The queue is too long.
    ///
    /// Returns the rate before all cuts of this queue once those are known to have been in vain.
    pub(super) fn on_long_queue(
        &mut self,
        now: Instant,
        queue: Duration,
        base: Duration,
        sending: Sending,
    ) -> Option<u64> {
        self.short_since = None;
        if self.is_competing() {
            return None;
        }
        let Sending { rate, delivered, cut_to } = sending;
        let episode = self.episode.get_or_insert(Episode { began: now, cuts: 0, longest: queue, rate });
        if delivered > 0 && cut_to.is_some_and(|sent| sent > delivered) {
            // Not even now does it send less than the line takes: the queue is its own.
            *episode = Episode { began: now, cuts: 0, longest: queue, rate: delivered };
            return None;
        }
        if queue < episode.longest / LEFT {
            // It does what this sender does.
            *episode = Episode { began: now, cuts: 0, longest: queue, rate };
        }
        episode.longest = episode.longest.max(queue);
        let long = now.saturating_duration_since(episode.began) > TIME + 2 * base;
        if episode.cuts >= CUTS && long && queue > episode.longest / LEFT {
            let before = episode.rate;
            (self.episode, self.until) = (None, Some(now + COMPETE));
            return Some(before);
        }
        episode.cuts += u32::from(cut_to.is_some());
        None
    }

    /// The queue is as good as empty.
    pub(super) fn on_short_queue(&mut self, now: Instant) {
        self.episode = None;
        let since = *self.short_since.get_or_insert(now);
        if now.saturating_duration_since(since) > GONE {
            self.until = None;
        }
    }

    /// The queue is neither.
    pub(super) const fn on_other_queue(&mut self) {
        self.short_since = None;
    }

    pub(super) fn on_time(&mut self, now: Instant) {
        self.until = self.until.filter(|until| *until > now);
    }

    pub(super) const fn is_competing(&self) -> bool {
        self.until.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: Duration = Duration::from_millis(200);
    const BASE: Duration = Duration::from_millis(50);

    /// The cut of a line that had become much slower left more than that took. The queue was the sender's own, and it competed
    /// with itself.
    #[test]
    fn cuts_that_leave_more_than_the_line_takes_are_not_in_vain() {
        let mut contention = Contention::new();
        let mut judge = |millis, delivered, cut_to| {
            let sending = Sending { rate: 400_000, delivered, cut_to: Some(cut_to) };
            contention.on_long_queue(Instant::from_millis(millis), QUEUE, BASE, sending)
        };
        for millis in (1_000..5_000).step_by(300) {
            assert_eq!(judge(millis, 100_000, 250_000), None);
        }
        for millis in [5_200, 5_500, 5_800] {
            assert_eq!(judge(millis, 100_000, 90_000), None);
        }
        // What a queue of others is competed with is the rate that the line took.
        assert_eq!(judge(6_100, 100_000, 90_000), Some(100_000));
    }

    #[test]
    fn three_cuts_that_leave_the_queue_as_it_is_are_in_vain() {
        let mut contention = Contention::new();
        let told: alloc::vec::Vec<_> = (1_000..=2_200)
            .step_by(300)
            .filter_map(|millis| {
                let sending = Sending { rate: 400_000, delivered: 0, cut_to: Some(350_000) };
                contention.on_long_queue(Instant::from_millis(millis), QUEUE, BASE, sending)
            })
            .collect();
        assert_eq!((told, contention.is_competing()), (alloc::vec![400_000], true));
    }

    /// After packets of the sender's own queue had been lost, another that it made was taken for what was left of that.
    #[test]
    fn a_queue_that_shrinks_to_less_than_half_is_another_one() {
        let mut contention = Contention::new();
        let mut judge = |millis, queue, rate| {
            let sending = Sending { rate, delivered: 0, cut_to: Some(rate / 2) };
            contention.on_long_queue(Instant::from_millis(millis), Duration::from_millis(queue), BASE, sending)
        };
        assert_eq!((judge(1_000, 300, 400_000), judge(1_300, 300, 350_000)), (None, None));
        assert_eq!((judge(1_600, 140, 300_000), judge(1_900, 200, 250_000)), (None, None));
        assert_eq!((judge(2_200, 200, 200_000), judge(2_500, 200, 200_000)), (None, None));
        assert_eq!(judge(2_800, 200, 200_000), Some(300_000), "the rate when it began");
    }
}
