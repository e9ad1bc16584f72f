//! CUBIC (RFC 9438), with HyStart++ in slow start (RFC 9406).

mod hystart;

use core::time::Duration;

use super::cuts::{Cuts, Verdict};
use super::{Controller, PacketFacts, Reaction, TimeCritical, gentle_growth, initial_window, is_used, rate_of, scale};
use crate::time::{Instant, micros};
use hystart::{Growth, HyStart};

/// Of the window, what a loss leaves (RFC 9438 §4.6, beta_cubic).
const BETA: (u64, u64) = (7, 10);
/// The same of what the window was before, if it was below its last maximum (§4.7): (1 + beta_cubic) / 2.
const FAST_CONVERGENCE: (u64, u64) = (17, 20);
/// How fast Reno's window would grow that cuts as CUBIC does, in segments a round trip (§4.3, alpha_cubic): 9/17.
const RENO_GROWTH: (u64, u64) = (9, 17);
/// The most that the window may be before the next round trip, of what it is (§4.4).
const MOST_GROWTH: (u64, u64) = (3, 2);
/// A round trip is shorter only where nobody cares: the timestamps of the protocol have ticks of 4 ms.
const LEAST_RTT: Duration = Duration::from_millis(1);

/// See the module. Windows are bytes, and times whole milliseconds.
#[derive(Debug)]
pub(super) struct Cubic {
    smss: u64,
    cwnd: u64,
    ssthresh: u64,
    /// W_max.
    last_max: u64,
    epoch: Option<Epoch>,
    cuts: Cuts,
    hystart: HyStart,
    /// What the last cut can be taken back to.
    before: Before,
    /// What a timeout can be taken back to, until acknowledgements tell whether it was spurious.
    timed_out: Option<Before>,
    srtt: Option<Duration>,
}

/// The state before a cut.
#[derive(Clone, Copy, Debug, Default)]
struct Before {
    cwnd: u64,
    ssthresh: u64,
    last_max: u64,
}

/// A time of growth since a cut, or since the window was last not used.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    began: Instant,
    /// K, in milliseconds.
    plateau: u64,
    /// W_est.
    reno: u64,
    /// Growth is `origin` with the cube; W_max, or the window if that is larger.
    origin: u64,
}

impl Cubic {
    pub(super) const fn new(smss: u64) -> Self {
        let smss = if smss == 0 { 1 } else { smss };
        Self {
            smss,
            cwnd: initial_window(smss),
            ssthresh: u64::MAX,
            last_max: 0,
            epoch: None,
            cuts: Cuts::new(),
            hystart: HyStart::new(),
            before: Before { cwnd: 0, ssthresh: 0, last_max: 0 },
            timed_out: None,
            srtt: None,
        }
    }

    const fn state(&self) -> Before {
        Before { cwnd: self.cwnd, ssthresh: self.ssthresh, last_max: self.last_max }
    }

    /// What made the window smaller was spurious. It goes back to no more than `most`.
    fn take_back(&mut self, before: Before, most: u64, time_critical: TimeCritical) {
        // RFC 7016 §3.5.2.1: a window that yields does not grow in one step.
        if !time_critical.yields() {
            self.cwnd = self.cwnd.max(before.cwnd.min(most));
        }
        self.ssthresh = self.ssthresh.max(before.ssthresh);
        (self.last_max, self.epoch) = (before.last_max, None);
    }

    /// The first acknowledgements after a timeout tell whether anything was lost. Where only acknowledgements were, they are
    /// for fragments that were not sent again (RFC 9438 §4.9.1, RFC 5682), and for all of them.
    fn judge_timeout(&mut self, facts: &PacketFacts, time_critical: TimeCritical) {
        if facts.acked_bytes == 0 && facts.spurious_bytes == 0 {
            return;
        }
        // One late acknowledgement says nothing of the others.
        if facts.spurious_bytes > 0 && facts.timed_out_bytes > 0 && !facts.any_mark {
            return;
        }
        if let Some(before) = self.timed_out.take()
            && facts.spurious_bytes > 0
            && !facts.any_mark
        {
            let most = facts.outstanding.saturating_add(initial_window(self.smss));
            self.take_back(before, most, time_critical);
        }
    }

    fn segment(&self, facts: &PacketFacts) -> u64 {
        // What loopback carries in a datagram is no measure for the growth of a window.
        if facts.segment == 0 { self.smss } else { facts.segment.min(1_460) }
    }

    /// RFC 9438 §4.6 and §4.7. A session with time critical data of its own gives way less (RFC 7016 §3.5.2.1).
    fn cut(&mut self, facts: &PacketFacts, time_critical: TimeCritical) {
        self.before = self.state();
        let was_growing_back = self.cwnd < self.last_max;
        let (part, whole) = FAST_CONVERGENCE;
        self.last_max = if was_growing_back { scale(self.cwnd, part, whole) } else { self.cwnd };
        let (part, whole) = match (time_critical.sent_here, time_critical.yields()) {
            (true, _) => (7, 8),
            (false, true) => (1, 2),
            (false, false) => BETA,
        };
        // What was not used has proved nothing.
        let used = self.cwnd.min(facts.pre_ack_outstanding.max(self.cwnd / 2));
        self.ssthresh = scale(used, part, whole).max(2 * self.smss);
        self.cwnd = self.ssthresh.min(self.cwnd);
        self.epoch = None;
    }

    fn grow(&mut self, now: Instant, facts: &PacketFacts, time_critical: TimeCritical) {
        let (acked, segment) = (facts.acked_bytes, self.segment(facts));
        if acked == 0 {
            return;
        }
        if time_critical.yields() {
            // RFC 7016 §3.5.2.1: no slow start, and half a per cent or 384 bytes a round trip. Nor is the time made up for
            // afterwards.
            self.cwnd = self.cwnd.saturating_add(gentle_growth(self.cwnd, acked));
            self.epoch = None;
            return;
        }
        if self.cwnd < self.ssthresh {
            let growth = match self.hystart.growth() {
                _ if !time_critical.fast_grow => acked / 4,
                Growth::Doubling => acked,
                Growth::Conservative => acked / 4,
                Growth::Over => {
                    self.ssthresh = self.cwnd;
                    return;
                }
            };
            // RFC 5681 §3.1: at most a segment for each acknowledgement.
            self.cwnd = self.cwnd.saturating_add(growth.min(segment));
            return;
        }
        let round_trip = self.srtt.unwrap_or(LEAST_RTT).max(LEAST_RTT);
        let (cwnd, last_max, smss) = (self.cwnd, self.last_max, self.smss);
        let epoch = self.epoch.get_or_insert_with(|| Epoch::new(now, cwnd, last_max, smss));
        epoch.grow_reno(acked, cwnd, last_max, smss);
        let next = epoch.window(now + round_trip, smss);
        let (part, whole) = MOST_GROWTH;
        let target = next.clamp(cwnd, scale(cwnd, part, whole));
        let step = scale(target - cwnd, acked, cwnd);
        // §4.3: nowhere slower than Reno would be.
        let wanted = cwnd.saturating_add(step).max(epoch.reno);
        self.cwnd = wanted.min(cwnd.saturating_add(segment.min(acked)));
    }
}

impl Epoch {
    /// `cwnd`: the window as it begins. K (RFC 9438 §4.2) is the cube root of the way to W_max, divided by C.
    fn new(began: Instant, cwnd: u64, last_max: u64, smss: u64) -> Self {
        let way = last_max.saturating_sub(cwnd);
        // C is 0.4 segments a cubed second: 2.5e9 cubed milliseconds for each segment.
        let plateau = cube_root(scale(way, 2_500_000_000, smss));
        Self { began, plateau, reno: cwnd, origin: cwnd.max(last_max) }
    }

    /// W_cubic (§4.2).
    fn window(&self, at: Instant, smss: u64) -> u64 {
        let millis = micros(at.saturating_duration_since(self.began)) / 1_000;
        // 17 minutes from the plateau the window is past every path.
        let away = millis.abs_diff(self.plateau).min(1 << 20);
        let by = scale(away * away * away, smss, 2_500_000_000);
        if millis < self.plateau { self.origin.saturating_sub(by) } else { self.origin.saturating_add(by) }
    }

    /// W_est (§4.3).
    fn grow_reno(&mut self, acked: u64, cwnd: u64, last_max: u64, smss: u64) {
        let (part, whole) = if self.reno >= last_max { (1, 1) } else { RENO_GROWTH };
        self.reno = self.reno.saturating_add(scale(scale(smss, part, whole), acked, cwnd));
    }
}

/// The largest number whose cube is no more than `value`.
fn cube_root(value: u64) -> u64 {
    let (mut low, mut high) = (0_u64, 2_642_245);
    while low < high {
        let middle = (low + high).div_ceil(2);
        if middle * middle * middle <= value {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

impl Controller for Cubic {
    fn on_packet(&mut self, now: Instant, facts: &PacketFacts, time_critical: TimeCritical) -> Reaction {
        self.srtt = facts.srtt;
        if self.cwnd < self.ssthresh
            && let Some(sample) = &facts.sample
        {
            self.hystart.on_sample(sample);
        }
        self.judge_timeout(facts, time_critical);
        let grow = match self.cuts.on_packet(facts) {
            Verdict::Cut => {
                self.cut(facts, time_critical);
                return Reaction::Cut;
            }
            Verdict::TakeBack { grow } => {
                self.take_back(self.before, u64::MAX, time_critical);
                grow
            }
            Verdict::Hold => false,
            Verdict::Grow => true,
        };
        // A departure from §5.8, by which no window grows that is not full. Here half is enough (RFC 7661 §4.3), as an
        // encoder never fills its window. §4.2: an epoch goes on only while the window may grow.
        let used = is_used(self.cwnd, facts.pre_ack_outstanding, 2 * self.smss);
        if facts.any_acks && !used {
            self.epoch = None;
        } else if grow && facts.any_acks && !facts.any_naks {
            self.grow(now, facts, time_critical);
        }
        Reaction::Other
    }

    /// RFC 9438 §4.8. Without loss there was nothing to send for a while (RFC 5681 §4.1).
    fn on_timeout(&mut self, _: Instant, was_loss: bool) {
        if was_loss {
            // RFC 5681 §3.1: what is lost once more says nothing new of the path.
            if self.cwnd > self.smss {
                self.timed_out = Some(self.state());
                let (part, whole) = BETA;
                self.ssthresh = scale(self.cwnd, part, whole).max(2 * self.smss);
                self.last_max = self.cwnd;
            }
            self.cwnd = self.smss;
        } else {
            self.ssthresh = self.ssthresh.max(scale(self.cwnd, 3, 4));
            self.cwnd = initial_window(self.smss).min(self.cwnd);
        }
        self.epoch = None;
        self.hystart = HyStart::new();
        self.cuts.forget();
    }

    fn on_path_change(&mut self) {
        *self = Self::new(self.smss);
    }

    fn window(&self) -> u64 {
        self.cwnd
    }

    fn ssthresh(&self) -> u64 {
        self.ssthresh
    }

    /// A window in less than a round trip, so that it is the window that limits: in half of one while that doubles, and in
    /// four fifths later (RFC 9002 §7.7).
    fn pacing_rate(&self) -> Option<u64> {
        let rate = rate_of(self.cwnd, self.srtt.filter(|srtt| *srtt >= 4 * LEAST_RTT)?);
        Some(if self.cwnd < self.ssthresh { rate.saturating_mul(2) } else { rate / 4 * 5 })
    }

    fn wants_samples(&self) -> bool {
        true
    }

    fn phase(&self) -> &'static str {
        if self.cwnd < self.ssthresh { "slow start" } else { "congestion avoidance" }
    }
}

#[cfg(test)]
mod tests;
