//! Losses that no count of acknowledgements shows: by time (RFC 9002 §6.1.2), and by a probe (RFC 8985 §7).

use core::time::Duration;

use super::Sending;
use super::recovery::Recovery;
use super::timer::Early;
use crate::congestion::PacketFacts;
use crate::flow::LossEpoch;
use crate::session::context::Context;
use crate::session::time_critical::lately;
use crate::session::transport::Transport;
use crate::time::{Instant, micros32};
use crate::trace::LossCause;

/// A probe comes no sooner. What answers may be busy for so long, which no measured round trip shows: the time that an
/// answer waits is not counted in it. And the answer to a probe that came too soon looks like a loss.
const SOONEST: Duration = Duration::from_millis(50);

/// When what was sent last is sent again, if nothing is heard.
#[derive(Debug, Default)]
pub(in crate::session) struct Probe {
    /// So many microseconds after it was sent, or anything was heard. None: there was one since anything new was
    /// acknowledged, or no round trip is measured.
    after: Option<u32>,
    /// The most bytes of a packet: with more in flight there are two packets at least, and the far end does not delay its
    /// acknowledgement (RFC 7016 §3.6.3.2).
    packet: u32,
    /// The next packet is one, and the timeout is set for it.
    pub(in crate::session) is_next: bool,
}

impl Probe {
    /// Something new was acknowledged.
    pub(super) fn restart(&mut self, transport: &Transport, packet: u64) {
        let prompt = transport.rtt.prompt_answer();
        let after = transport.rtt.srtt().map(|srtt| micros32((2 * srtt).max(prompt).max(SOONEST)));
        *self = Self { after, packet: u32::try_from(packet).unwrap_or(u32::MAX), is_next: false };
    }

    /// There is none before anything new is acknowledged.
    pub(super) const fn stop(&mut self) {
        (self.after, self.is_next) = (None, false);
    }

    /// A packet is sent: whether the timeout is set for it.
    pub(super) const fn take_next(&mut self) -> bool {
        core::mem::replace(&mut self.is_next, false)
    }
}

impl Recovery {
    /// More was sent, or something was heard: a probe would come after this.
    pub(super) fn set_probe(&mut self, now: Instant) {
        if let Some(after) = self.probe.after
            && !self.in_flight.is_empty()
            && (self.has_packets_in_flight() || self.is_time_critical(now))
        {
            self.timer.set_probe(now + Duration::from_micros(after.into()));
        }
    }

    /// More than one packet is in flight.
    fn has_packets_in_flight(&self) -> bool {
        self.in_flight.outstanding() > u64::from(self.probe.packet).max(self.in_flight.last_packet())
    }

    fn is_time_critical(&self, now: Instant) -> bool {
        lately(self.time_critical_sent, now)
    }

    /// Something was heard: what may show a loss before the timeout does.
    pub(super) fn set_early(&mut self, now: Instant) {
        match self.in_flight.late_at(now) {
            Some(at) => self.timer.set_early(at, Early::Late),
            None => self.set_probe(now),
        }
    }
}

impl Sending {
    /// What has a negative acknowledgement was sent long enough ago.
    pub(super) fn on_late(&mut self, cx: &mut Context<'_>, transport: &mut Transport) {
        let Recovery { in_flight, lost, .. } = &mut self.recovery;
        let pre_ack_outstanding = in_flight.outstanding();
        in_flight.lose_late(cx.now, lost);
        let lost_bytes = self.report_lost(cx, transport, LossCause::TimeThreshold);
        let any_loss = lost_bytes > 0;
        let mut facts =
            PacketFacts { pre_ack_outstanding, any_naks: true, any_loss, lost_bytes, ..PacketFacts::default() };
        self.update_controller(cx, transport, &mut facts);
        self.recovery.set_early(cx.now);
    }

    /// Nothing is heard: sends again what was sent last. An acknowledgement of it shows what else is lost, if anything
    /// is. Until then nothing is, and the window stays what it was.
    ///
    /// It is sent within the window and the limit of six packets (RFC 7016 §3.6.2.3, §3.5.2.3), and once. With one packet
    /// in flight the far end may only delay its acknowledgement, so that one says nothing of a loss. Time critical data
    /// does not wait for that, and the probe is as good as a second copy.
    ///
    /// The timeout stays what it was, unless an answer takes longer. For one packet alone it is set anew: the answer may be
    /// delayed.
    pub(super) fn on_probe(&mut self, cx: &Context<'_>, transport: &Transport) {
        let recovery = &mut self.recovery;
        recovery.probe.stop();
        let Some(tail) = recovery.in_flight.tail() else { return };
        let others = recovery.in_flight.outstanding() - u64::from(tail.size);
        if recovery.burst.is_over() || others >= recovery.controller.window() {
            return;
        }
        let several = recovery.has_packets_in_flight();
        let epoch = if several { LossEpoch::PROBED } else { LossEpoch::NONE };
        if self.flows.probe(tail, epoch) {
            let Recovery { in_flight, timer, probe, .. } = &mut self.recovery;
            in_flight.take_tail();
            if !several {
                return;
            }
            let answer = cx.now + transport.rtt.prompt_answer();
            timer.set(timer.timeout().map_or(answer, |timeout| timeout.max(answer)));
            probe.is_next = true;
        }
    }
}
