//! The congestion control of RFC 7016 appendix A.2, with one cut per window of data.

use super::{Controller, PacketFacts, Reaction, TimeCritical};

/// Bytes in flight above which a loss cuts by one eighth instead of a half (appendix A.1).
const SCALABLE_ABOVE: u64 = 67_200;
/// Increase per segment of the round trip (appendix A.2).
const SEGMENT_INCREASE: u64 = 48;
/// Increase per segment of the round trip while yielding or probing gently (appendix A.2).
const GENTLE_SEGMENT_INCREASE: u64 = 24;

/// The window based controller of RFC 7016 appendix A.2, but for two things: one cut per window of data, and cuts that
/// are taken back.
///
/// The appendix cuts the window for every packet that reports a loss, so that several losses out of one window of
/// data cut it several times over. RFC 5681 §4.3 and RFC 6582 ask for one reduction per window of data, and so does
/// this: after a cut, the bytes then in flight must be acknowledged or found lost before the next cut or any growth.
/// That is never more aggressive than slow start (§3.5.2): nothing grows meanwhile.
///
/// Where packets come out of order, what was found lost may come after all. If all of it does, nothing was lost, and the
/// cut is taken back (as in RFC 4015).
#[derive(Debug)]
pub(crate) struct Rfc7016 {
    smss: u64,
    cwnd: u64,
    ssthresh: u64,
    acked_bytes_accumulator: u64,
    /// Bytes in flight at the last cut that are neither acknowledged nor lost yet.
    recovery: u64,
    /// What the last cut can be taken back to.
    undo: Option<Undo>,
}

/// The window before a cut that may have been for nothing.
#[derive(Clone, Copy, Debug)]
struct Undo {
    cwnd: u64,
    ssthresh: u64,
    /// Bytes found lost since, but for those that proved to be late.
    lost: u64,
}

impl Rfc7016 {
    /// `smss`: the most user data that one packet can carry, in bytes (RFC 5681 §1).
    pub(crate) const fn new(smss: u64) -> Self {
        let smss = if smss == 0 { 1 } else { smss };
        Self {
            smss,
            cwnd: initial_window(smss),
            ssthresh: u64::MAX,
            acked_bytes_accumulator: 0,
            recovery: 0,
            undo: None,
        }
    }

    /// CWND_INIT.
    const fn initial(&self) -> u64 {
        initial_window(self.smss)
    }

    /// The first half of figure 25.
    fn cut(&mut self, facts: &PacketFacts, time_critical: TimeCritical) {
        let flight = facts.pre_ack_outstanding;
        // With a mark there is congestion, whatever comes late.
        self.undo =
            (!facts.any_mark).then_some(Undo { cwnd: self.cwnd, ssthresh: self.ssthresh, lost: facts.lost_bytes });
        let gently = time_critical.sent_here || (flight > SCALABLE_ABOVE && time_critical.fast_grow);
        let kept = if gently { flight - flight.div_ceil(8) } else { flight / 2 };
        self.ssthresh = kept.max(self.initial());
        self.cwnd = self.ssthresh;
        self.acked_bytes_accumulator = 0;
        self.recovery = facts.outstanding;
    }

    /// Takes the last cut back once all that was lost since has come.
    fn take_back(&mut self, facts: &PacketFacts) {
        let Some(undo) = self.undo.as_mut().filter(|_| !facts.any_mark) else {
            self.undo = None;
            return;
        };
        undo.lost = undo.lost.saturating_add(facts.lost_bytes).saturating_sub(facts.late_bytes);
        if facts.late_bytes > 0 && undo.lost == 0 {
            self.cwnd = self.cwnd.max(undo.cwnd);
            self.ssthresh = self.ssthresh.max(undo.ssthresh);
            self.recovery = 0;
            self.undo = None;
        }
    }

    /// The second half of figure 25.
    fn grow(&mut self, acked: u64, time_critical: TimeCritical) {
        // An acknowledgement of nothing new must not end what a timeout began: CWND_INIT is below.
        if acked == 0 {
            return;
        }
        let slow_start = self.cwnd < self.ssthresh;
        let increase = match (time_critical.fast_grow, time_critical.sent_here) {
            (true, _) if slow_start => acked,
            (true, _) => self.additive(acked, 4_800, SEGMENT_INCREASE),
            (false, true) if slow_start => acked.div_ceil(4),
            (false, true) => self.additive(acked, 2_400, GENTLE_SEGMENT_INCREASE),
            (false, false) => self.additive(acked, 4_800, GENTLE_SEGMENT_INCREASE),
        };
        // §3.5.2: what is left over of a larger threshold must not make more of this packet than it acknowledges.
        self.cwnd = self.cwnd.saturating_add(increase.min(self.smss).min(acked)).max(self.initial());
    }

    /// What the accumulator yields: `step` bytes for each AITHRESH acknowledged, `cap` being the most of AITHRESH.
    fn additive(&mut self, acked: u64, cap: u64, step: u64) -> u64 {
        let threshold = (self.cwnd / 16).max(64).min(cap);
        let accumulated = self.acked_bytes_accumulator.saturating_add(acked);
        self.acked_bytes_accumulator = accumulated % threshold;
        (accumulated / threshold).saturating_mul(step)
    }
}

/// IW of RFC 5681 §3.1.
const fn initial_window(smss: u64) -> u64 {
    match smss {
        2_191.. => smss.saturating_mul(2),
        1_096..=2_190 => smss * 3,
        _ => smss * 4,
    }
}

impl Controller for Rfc7016 {
    fn on_packet(&mut self, facts: &PacketFacts, time_critical: TimeCritical) -> Reaction {
        let in_recovery = self.recovery > 0;
        self.recovery = self.recovery.saturating_sub(facts.acked_bytes.saturating_add(facts.lost_bytes));
        if facts.any_loss && !in_recovery {
            self.cut(facts, time_critical);
            return Reaction::Cut;
        }
        self.take_back(facts);
        if !facts.any_loss
            && !in_recovery
            && facts.any_acks
            && !facts.any_naks
            && facts.pre_ack_outstanding >= self.cwnd
        {
            self.grow(facts.acked_bytes, time_critical);
        }
        Reaction::Other
    }

    /// Figure 24.
    fn on_timeout(&mut self, was_loss: bool) {
        self.ssthresh = self.ssthresh.max(three_quarters(self.cwnd));
        self.acked_bytes_accumulator = 0;
        self.cwnd = if was_loss { self.smss } else { self.initial() };
        self.recovery = 0;
        self.undo = None;
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
