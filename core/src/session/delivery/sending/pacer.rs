//! Spreads what the window allows over the round trip, in bursts that are worth a system call.

use core::time::Duration;

use crate::params::LEAST_RATE;
use crate::session::alarm::Alarm;
use crate::time::{Instant, micros};

/// A burst takes the path about this long.
const BURST_TIME: Duration = Duration::from_millis(1);
/// The least and the most bytes of a burst: two packets as they are on every path, and what one segmented system call
/// takes.
const LEAST_BURST: u64 = 2_400;
const MOST_BURST: u64 = 64_000;
/// To make up for a wait, data leaves faster: it takes less time by this part.
const CATCH_UP: u32 = 3;

/// Holds data back so that it leaves at a rate. What a timer is late is made up for, up to one burst.
#[derive(Debug, Default)]
pub(in crate::session) struct Pacer {
    /// When what was sent is paid for at the rate. None: nothing was.
    paid: Option<Instant>,
    /// What is not paid for by that: less than a microsecond's worth, in millionths of a byte.
    rest: u64,
    /// The rate of that.
    rate: u64,
    /// How long something other than the rate held data back, as far as that is not made up for.
    behind: Duration,
    /// Data is held back until then.
    pub(in crate::session) held: Alarm,
}

impl Pacer {
    /// So many bytes were sent, at so many bytes a second.
    pub(super) fn on_sent(&mut self, now: Instant, bytes: u64, rate: u64) {
        self.set_rate(now, rate);
        let rate = self.rate;
        let burst = (rate / 1_000).saturating_mul(BURST_TIME.as_millis() as u64).clamp(LEAST_BURST, MOST_BURST);
        let burst_time = Duration::from_micros(burst.saturating_mul(1_000_000) / rate);
        let from = self.paid.map_or(now, |paid| paid.max(now - burst_time));
        let owed = bytes.saturating_mul(1_000_000).saturating_add(self.rest);
        let mut takes = Duration::from_micros(owed / rate);
        if self.behind > Duration::ZERO {
            let made_up = (takes / CATCH_UP).min(self.behind);
            self.behind -= made_up;
            takes -= made_up;
        }
        let paid = from + takes;
        (self.paid, self.rest) = (Some(paid), owed % rate);
        if paid >= now + burst_time {
            self.held.set(paid);
        }
    }

    /// Data waited until now, and not for the rate. That is made up for, as far as it took no longer than `most`. Without,
    /// each wait would make the rate that the path is seen to deliver smaller.
    pub(super) fn make_up(&mut self, now: Instant, most: Duration) {
        if let Some(paid) = &mut self.paid
            && *paid < now
        {
            self.behind = (self.behind + now.saturating_duration_since(*paid)).min(most);
            *paid = now;
        }
    }
}

/// What was sent is paid for at the rate of now: a deadline of a slower one would outlive it.
impl Pacer {
    pub(super) fn set_rate(&mut self, now: Instant, rate: u64) {
        let rate = rate.max(LEAST_RATE);
        if rate == self.rate {
            return;
        }
        if let Some(paid) = self.paid {
            let ahead = micros(paid.saturating_duration_since(now));
            let owed = u128::from(ahead) * u128::from(self.rate) / u128::from(rate);
            let paid = now + Duration::from_micros(u64::try_from(owed).unwrap_or(u64::MAX));
            (self.paid, self.rest) = (Some(paid), 0);
            if self.held.is_set() {
                self.held.set(paid);
            }
        }
        self.rate = rate;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends packets of `size` as soon as the pacer lets it, for a second, with alarms that are `late`.
    fn sent_in_a_second(rate: u64, size: u64, late: Duration) -> (u64, u64) {
        let (mut pacer, mut now, begun) = (Pacer::default(), Instant::from_millis(5_000), Instant::from_millis(5_000));
        let (mut sent, mut bursts) = (0, 0);
        while now < begun + Duration::from_secs(1) {
            while !pacer.held.is_set() {
                pacer.on_sent(now, size, rate);
                sent += size;
            }
            bursts += 1;
            now = pacer.held.get().unwrap() + late;
            assert!(pacer.held.take_due(now));
        }
        (sent, bursts)
    }

    #[test]
    fn data_leaves_at_the_rate_in_bursts() {
        for rate in [10_000, 125_000, 1_250_000, 12_500_000, 125_000_000] {
            let (sent, bursts) = sent_in_a_second(rate, 1_200, Duration::ZERO);
            // A burst is ahead of its time, and the last one may end after the second.
            assert!((rate..=rate + 2 * MOST_BURST).contains(&(sent + 1_200)), "{sent} at {rate}");
            assert!(bursts <= 2_000, "{bursts} at {rate}");
        }
    }

    #[test]
    fn a_late_alarm_is_made_up_for_but_not_for_more_than_a_burst() {
        let (sent, _) = sent_in_a_second(12_500_000, 1_200, Duration::from_micros(300));
        assert!(sent > 12_000_000, "{sent}");
        let mut pacer = Pacer::default();
        pacer.on_sent(Instant::from_millis(1), 1_200, 1_250_000);
        let later = Instant::from_millis(60_000);
        let mut burst = 0;
        while !pacer.held.is_set() {
            pacer.on_sent(later, 1_200, 1_250_000);
            burst += 1_200;
        }
        assert!(burst <= 3 * LEAST_BURST, "{burst} bytes at once after a minute of silence");
    }

    #[test]
    fn a_wait_for_something_else_is_made_up_for_at_one_and_a_half_of_the_rate() {
        let (mut pacer, start) = (Pacer::default(), Instant::from_millis(1_000));
        pacer.on_sent(start, 1_200, 1_250_000);
        let most = Duration::from_millis(50);
        let mut now = start + Duration::from_millis(30);
        pacer.make_up(now, most);
        // 29 ms too late; so many are made up for in 58 ms.
        let mut sent = 1_200;
        while now < start + Duration::from_millis(100) {
            pacer.on_sent(now, 1_200, 1_250_000);
            sent += 1_200;
            if now < start + Duration::from_millis(59) {
                let even = 1_250_000 * (now.saturating_duration_since(start).as_micros() as u64) / 1_000_000;
                assert!(sent <= even.max(LEAST_BURST) + 2 * LEAST_BURST, "{sent} at once at {now:?}");
            }
            now = pacer.held.get().unwrap_or(now);
            pacer.held.take_due(now);
        }
        assert!(sent >= 125_000, "{sent} in 100 ms");
        pacer.make_up(now + Duration::from_secs(60), most);
        assert_eq!(pacer.behind, most);
    }

    /// A deadline at the rate of a small first message held back what came after it for seconds.
    #[test]
    fn a_faster_rate_lets_out_sooner_what_a_slower_one_holds() {
        let (mut pacer, now) = (Pacer::default(), Instant::from_millis(1_000));
        while !pacer.held.is_set() {
            pacer.on_sent(now, 1_200, 1_370);
        }
        assert!(pacer.held.get().unwrap() > now + Duration::from_secs(1));
        pacer.set_rate(now, 1_370_000);
        assert!(pacer.held.get().unwrap() < now + Duration::from_millis(10));
        pacer.set_rate(now, 0);
        assert!(pacer.held.get().unwrap() < now + Duration::from_secs(10), "no rate is that slow");
    }
}
