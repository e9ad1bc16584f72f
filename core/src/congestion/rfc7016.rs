//! The congestion control of RFC 7016 appendix A.2, at the pace of RFC 5681.

use super::cuts::{Cuts, Verdict};
use super::{Controller, PacketFacts, Reaction, TimeCritical, initial_window, is_used};
use crate::time::Instant;

/// Bytes in flight above which a loss cuts by less than a half (appendix A.1).
const SCALABLE_ABOVE: u64 = 67_200;
/// Increase per segment of the round trip (appendix A.2).
const SEGMENT_INCREASE: u64 = 48;
/// A segment is taken to be no larger, whatever a datagram carries: what Ethernet does (appendix A.2 has it for an
/// example). Loopback's datagrams of 64 KiB are no measure for the growth of a window.
const LARGEST_SEGMENT: u64 = 1_460;
/// Increase per segment of the round trip while yielding or probing gently (appendix A.2).
const GENTLE_SEGMENT_INCREASE: u64 = 24;

/// The window based controller of RFC 7016 appendix A.2, an example by its own words, with six changes.
///
/// One cut per window of data. The appendix cuts the window for every packet that reports a loss, so that several losses
/// out of one window of data cut it several times over. RFC 5681 §4.3 and RFC 6582 ask for one reduction per window of
/// data, and so does this: after a cut, the bytes then in flight must be acknowledged or declared lost before the next cut
/// or any growth. That is never more aggressive than slow start (§3.5.2): nothing grows meanwhile.
///
/// Growth by a whole segment a round trip, as in RFC 5681 §3.1. The appendix adds 768 bytes, half a segment, since TCP
/// did no better when it was written; TCP does now (RFC 3465, RFC 9438 §4.3), and took two thirds of a shared line.
///
/// Cuts that never get smaller with a larger window. The appendix cuts a half up to 67,200 bytes and an eighth above: of
/// two that share a line, one below and one above, the larger one stays the larger. Here the cut is half of 67,200 bytes
/// until an eighth is more, at 268,800.
///
/// No way back to the initial window but by growth. In the appendix a loss, an acknowledgement, or a time with nothing to
/// send brings a window that a timeout left below CWND_INIT up to it at once. For a session that yields that is more
/// than §3.5.2.1 lets it grow, and after a time with nothing to send RFC 5681 §4.1 forbids it.
///
/// Growth of a window that is at least half used (RFC 7661 §4.3). In the appendix it has to be full. An encoder that stays
/// below the rate that it is told never fills it.
///
/// Cuts that are taken back where nothing was lost after all (as in RFC 4015).
#[derive(Debug)]
pub(crate) struct Rfc7016 {
    smss: u64,
    cwnd: u64,
    ssthresh: u64,
    acked_bytes_accumulator: u64,
    cuts: Cuts,
    /// The window and its threshold before the last cut.
    before: (u64, u64),
}

impl Rfc7016 {
    /// `smss`: about how many bytes of chunks a packet carries on any path (RFC 5681 §1).
    pub(crate) const fn new(smss: u64) -> Self {
        let smss = if smss == 0 { 1 } else { smss };
        Self {
            smss,
            cwnd: initial_window(smss),
            ssthresh: u64::MAX,
            acked_bytes_accumulator: 0,
            cuts: Cuts::new(),
            before: (0, 0),
        }
    }

    /// CWND_INIT.
    const fn initial(&self) -> u64 {
        initial_window(self.smss)
    }

    /// The first half of figure 25.
    fn cut(&mut self, facts: &PacketFacts, time_critical: TimeCritical) {
        let flight = facts.pre_ack_outstanding;
        self.before = (self.cwnd, self.ssthresh);
        let gentle = flight.div_ceil(8);
        let cut = match (time_critical.sent_here, time_critical.fast_grow) {
            (true, _) => gentle,
            (false, true) if flight > SCALABLE_ABOVE => gentle.max(SCALABLE_ABOVE / 2),
            (false, _) => flight.div_ceil(2),
        };
        self.ssthresh = (flight - cut).max(self.initial());
        // A window that a timeout left below the initial one is not made larger by a loss while it yields (§3.5.2.1).
        self.cwnd = if time_critical.yields() { self.ssthresh.min(self.cwnd) } else { self.ssthresh };
        self.acked_bytes_accumulator = 0;
    }

    /// The second half of figure 25.
    fn grow(&mut self, facts: &PacketFacts, time_critical: TimeCritical) {
        let acked = facts.acked_bytes;
        // An acknowledgement of nothing new must not end what a timeout began: CWND_INIT is below.
        if acked == 0 {
            return;
        }
        let slow_start = self.cwnd < self.ssthresh;
        let segment = if facts.segment == 0 { self.smss } else { facts.segment.min(LARGEST_SEGMENT) };
        let sixteenth = self.cwnd / 16;
        let increase = match (time_critical.fast_grow, time_critical.sent_here) {
            (true, _) if slow_start => acked,
            // As many steps a round trip as make a segment, or 1 %.
            (true, _) => {
                let part = self.cwnd.saturating_mul(SEGMENT_INCREASE) / segment;
                self.additive(acked, part.min(4_800), SEGMENT_INCREASE)
            }
            (false, true) if slow_start => acked.div_ceil(4),
            (false, true) => self.additive(acked, sixteenth.min(2_400), GENTLE_SEGMENT_INCREASE),
            (false, false) => self.additive(acked, sixteenth.min(4_800), GENTLE_SEGMENT_INCREASE),
        };
        // §3.5.2: what is left over of a larger threshold must not make more of this packet than it acknowledges.
        let grown = self.cwnd.saturating_add(increase.min(segment).min(acked));
        // §3.5.2.1: who yields does not even go back to the initial window, after a timeout, in one step.
        self.cwnd = if time_critical.yields() { grown } else { grown.max(self.initial()) };
    }

    /// What the accumulator yields: `step` bytes for each AITHRESH acknowledged, which is `threshold`, but for 64 at the
    /// least.
    fn additive(&mut self, acked: u64, threshold: u64, step: u64) -> u64 {
        let threshold = threshold.max(64);
        let accumulated = self.acked_bytes_accumulator.saturating_add(acked);
        self.acked_bytes_accumulator = accumulated % threshold;
        (accumulated / threshold).saturating_mul(step)
    }
}

impl Controller for Rfc7016 {
    fn on_packet(&mut self, _: Instant, facts: &PacketFacts, time_critical: TimeCritical) -> Reaction {
        let grow = match self.cuts.on_packet(facts) {
            Verdict::Cut => {
                self.cut(facts, time_critical);
                return Reaction::Cut;
            }
            Verdict::TakeBack { grow } => {
                let (cwnd, ssthresh) = self.before;
                if !time_critical.yields() {
                    self.cwnd = self.cwnd.max(cwnd);
                }
                self.ssthresh = self.ssthresh.max(ssthresh);
                grow
            }
            Verdict::Hold => false,
            Verdict::Grow => true,
        };
        let used = is_used(self.cwnd, facts.pre_ack_outstanding, 0);
        if grow && facts.any_acks && !facts.any_naks && used {
            self.grow(facts, time_critical);
        }
        Reaction::Other
    }

    /// Figure 24.
    fn on_timeout(&mut self, _: Instant, was_loss: bool) {
        self.ssthresh = self.ssthresh.max(three_quarters(self.cwnd));
        self.acked_bytes_accumulator = 0;
        // After a time without anything to send it is RFC 5681 §4.1 that has no window grow.
        self.cwnd = if was_loss { self.smss } else { self.initial().min(self.cwnd) };
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
}

const fn three_quarters(value: u64) -> u64 {
    value - value.div_ceil(4)
}

#[cfg(test)]
mod tests;
