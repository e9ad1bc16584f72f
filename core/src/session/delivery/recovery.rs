//! Loss: what is in flight, how it is declared lost, and what the congestion controller is told
//! (RFC 7016 §3.5.2, §3.6.2.5, §3.6.2.6).

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::Delivery;
use crate::congestion::{Controller, PacketFacts, Reaction, TimeCritical};
use crate::flow::{InFlight, LossEpoch, Lost};
use crate::invariant::cannot_happen;
use crate::params::BURST_PACKETS;
use crate::session::context::Context;
use crate::session::time_critical::lately;
use crate::session::transport::Transport;
use crate::time::Instant;
use crate::trace::{LossCause, TraceEvent};

/// Acknowledgements handled together that count for the burst limit.
const MAX_ACKS_TOGETHER: u32 = 32;

/// The transmission budget of a session and what it depends on.
pub(in crate::session) struct Recovery {
    pub(in crate::session) in_flight: InFlight,
    pub(in crate::session) controller: Box<dyn Controller>,
    /// DATA_PACKET_COUNT (RFC 7016 §3.5.2.3).
    data_packets: u32,
    /// What it may reach: six, or as many more as would have been sent between acknowledgements handled together.
    burst: u32,
    last_ack: Option<Instant>,
    /// Before the last acknowledgement the window was full.
    was_full: bool,
    /// When user data was last sent.
    last_sent: Option<Instant>,
    /// The alarm found loss, and nothing was acknowledged since.
    backed_off: bool,
    time_critical_sent: Option<Instant>,
    reverse_received: Option<Instant>,
    lost: Vec<Lost>,
    pub(in crate::session) fragments_lost: u64,
    pub(in crate::session) timeouts: u64,
}

impl Recovery {
    pub(in crate::session) fn new(controller: Box<dyn Controller>) -> Self {
        Self {
            in_flight: InFlight::new(),
            controller,
            data_packets: 0,
            burst: BURST_PACKETS,
            last_ack: None,
            was_full: false,
            last_sent: None,
            backed_off: false,
            time_critical_sent: None,
            reverse_received: None,
            lost: Vec::new(),
            fragments_lost: 0,
            timeouts: 0,
        }
    }

    /// Bytes of user data that may be sent now; the last fragment may exceed them.
    pub(in crate::session) fn budget(&self) -> u64 {
        // RFC 7016 §3.5.2.3: not more than six data packets between acknowledgements or timeouts.
        if self.data_packets >= self.burst {
            return 0;
        }
        self.controller.window().saturating_sub(self.in_flight.outstanding())
    }

    /// A packet with user data was sent.
    pub(in crate::session) fn on_data_sent(&mut self, now: Instant, time_critical: bool) {
        self.data_packets += 1;
        self.last_sent = Some(now);
        if time_critical {
            self.time_critical_sent = Some(now);
        }
    }

    /// A packet of acknowledgements came: six more data packets may be sent (RFC 7016 §3.5.2.3).
    ///
    /// Drivers hand over packets in batches. Had they come one by one, with a backlog, six data packets could have
    /// followed each, and have filled the window again: so those of one instant with nothing sent in between add up,
    /// to some extent, and a window that was full before the first counts as full before the others. Those that
    /// acknowledge nothing new let no more out than one does.
    fn on_ack_packet(&mut self, now: Instant, backlog: bool, facts: &mut PacketFacts) {
        let pre_ack_outstanding = &mut facts.pre_ack_outstanding;
        let together = facts.acked_bytes > 0 && backlog && self.last_ack == Some(now) && self.data_packets == 0;
        let window = self.controller.window();
        if together {
            self.burst = (self.burst + BURST_PACKETS).min(BURST_PACKETS * MAX_ACKS_TOGETHER);
            if self.was_full {
                *pre_ack_outstanding = window.max(*pre_ack_outstanding);
            }
        } else {
            self.burst = BURST_PACKETS;
        }
        self.was_full = *pre_ack_outstanding >= window;
        self.last_ack = Some(now);
        self.data_packets = 0;
    }

    /// There is nothing to send: what comes later is not for the acknowledgements of now to let out.
    pub(in crate::session) fn end_burst(&mut self) {
        self.burst = BURST_PACKETS;
    }

    /// What was sent last was lost, as far as is known, and nothing was acknowledged since.
    pub(in crate::session) const fn is_backed_off(&self) -> bool {
        self.backed_off
    }

    /// A packet with the Time Critical Reverse flag came.
    pub(in crate::session) fn on_reverse_notification(&mut self, now: Instant) {
        self.reverse_received = Some(now);
    }

    /// The flows are gone, and with them what was in flight.
    pub(in crate::session) fn forget(&mut self) {
        self.in_flight = InFlight::new();
        self.data_packets = 0;
        self.backed_off = false;
    }
}

impl Delivery {
    /// The time critical state for the controller (RFC 7016 appendix A.2, TC_SENT and FASTGROW_ALLOWED).
    fn time_critical(&self, cx: &Context<'_>) -> TimeCritical {
        let reverse = lately(self.recovery.reverse_received, cx.now);
        TimeCritical {
            sent_here: lately(self.recovery.time_critical_sent, cx.now),
            fast_grow: !reverse && !cx.time_critical.sent_lately(cx.now),
        }
    }

    /// After all chunks of a packet: acknowledgements, losses and marks become facts for the controller. `report`: the
    /// ECN report that it held.
    pub(in crate::session) fn finish_acks(
        &mut self,
        cx: &mut Context<'_>,
        transport: &mut Transport,
        facts: &mut PacketFacts,
        report: Option<u8>,
    ) {
        if facts.any_acks {
            let more = !self.flows.scheduler.is_empty();
            facts.any_naks = self.recovery.in_flight.end_of_acks(cx.now, more, &mut self.recovery.lost);
            self.recovery.fragments_lost += self.recovery.lost.len() as u64;
            let loss_epoch = self.recovery.in_flight.loss_epoch();
            facts.lost_bytes = self.report_lost(cx, transport, loss_epoch, LossCause::NegativeAcknowledgements);
            facts.any_loss = facts.lost_bytes > 0;
            facts.spurious_bytes = self.recovery.in_flight.take_spurious_bytes();
            let backlog = !self.flows.scheduler.is_empty();
            self.recovery.on_ack_packet(cx.now, backlog, facts);
            // RFC 7016 §3.6.2.6.
            if self.timeout.is_set() {
                self.timeout.set(cx.now + transport.rtt.erto());
            }
            if facts.acked_bytes > 0 {
                self.send_stall.moved(facts.acked_bytes);
                self.recovery.backed_off = false;
                transport.ecn.on_acks(report.is_some());
            }
        }
        if let Some(count) = report {
            facts.any_mark = transport.ecn.on_report(count, cx.now, transport.rtt.srtt());
            facts.any_loss |= facts.any_mark;
        }
        if facts.any_acks || facts.any_loss {
            facts.outstanding = self.recovery.in_flight.outstanding();
            facts.segment = transport.segment(self.window());
            let time_critical = self.time_critical(cx);
            if self.recovery.controller.on_packet(facts, time_critical) == Reaction::Cut {
                self.recovery.in_flight.begin_undo_epoch();
            }
            self.trace_congestion(cx, transport);
        }
    }

    /// Tells the flows, and the search for the largest datagram, of what was declared lost; returns the bytes of it.
    fn report_lost(
        &mut self,
        cx: &mut Context<'_>,
        transport: &mut Transport,
        loss_epoch: LossEpoch,
        cause: LossCause,
    ) -> u64 {
        let mut lost = core::mem::take(&mut self.recovery.lost);
        let mut bytes = 0;
        let acknowledged = self.recovery.in_flight.take_acked_packet();
        let largest = lost.iter().map(|lost| usize::from(lost.packet)).max();
        transport.on_sizes(cx.now, acknowledged, largest);
        for Lost { flow_slot, sequence, size, .. } in lost.drain(..) {
            bytes += u64::from(size);
            let Some(flow) = self.flows.send.get_mut(flow_slot) else {
                cannot_happen!((), "a flow lives until nothing of it is in flight");
                continue;
            };
            cx.events.trace(|| TraceEvent::FragmentLost { flow: flow.handle(), sequence, size, cause });
            flow.on_lost(sequence, loss_epoch, cx.events);
            self.flows.reindex_send(flow_slot);
        }
        // The allocation is kept for the next time.
        self.recovery.lost = lost;
        bytes
    }

    /// Takes everything in flight for lost; tells whether there was anything.
    fn lose_all(&mut self, cx: &mut Context<'_>, transport: &mut Transport, cause: LossCause) -> bool {
        self.recovery.in_flight.time_out(&mut self.recovery.lost);
        let any = !self.recovery.lost.is_empty();
        self.report_lost(cx, transport, LossEpoch::NONE, cause);
        self.recovery.data_packets = 0;
        self.recovery.burst = BURST_PACKETS;
        any
    }

    /// The path changed. A far end that is found on another has answered a check there, which is as good as an
    /// acknowledgement for a new burst; not so one that comes elsewhere before it has the keys of the session: then it
    /// takes a timeout (RFC 7016 §3.5.2.3).
    pub(in crate::session) fn on_path_change(&mut self, cx: &mut Context<'_>, transport: &mut Transport) {
        self.recovery.controller.on_path_change();
        let counted = self.recovery.data_packets;
        self.lose_all(cx, transport, LossCause::PathChange);
        self.trace_congestion(cx, transport);
        self.recovery.backed_off = false;
        self.timeout.clear();
        if self.recovery.last_ack.is_none() && counted > 0 {
            self.recovery.data_packets = counted;
            self.timeout.set(cx.now + transport.rtt.erto());
        }
    }

    /// TIMEOUT_ALARM fired (RFC 7016 §3.6.2.6).
    pub(in crate::session) fn on_timeout_alarm(&mut self, cx: &mut Context<'_>, transport: &mut Transport) {
        let was_loss = self.lose_all(cx, transport, LossCause::Timeout);
        if was_loss {
            transport.rtt.back_off();
            self.recovery.timeouts += 1;
            self.recovery.backed_off = true;
        }
        self.recovery.controller.on_timeout(was_loss);
        self.trace_congestion(cx, transport);
    }

    /// The controller was told of something.
    fn trace_congestion(&self, cx: &mut Context<'_>, transport: &Transport) {
        cx.events.trace(|| {
            let Recovery { controller, in_flight, .. } = &self.recovery;
            let (window, srtt) = (controller.window(), transport.rtt.srtt());
            let round_trip = srtt.and_then(|srtt| u64::try_from(srtt.as_micros()).ok());
            TraceEvent::Congestion {
                window,
                threshold: Some(controller.ssthresh()).filter(|threshold| *threshold != u64::MAX),
                outstanding: in_flight.outstanding(),
                srtt,
                erto: transport.rtt.erto(),
                rate: round_trip.and_then(|micros| window.saturating_mul(1_000_000).checked_div(micros)),
            }
        });
    }

    /// The far end is heard again after a silence, or an interface came up: what a backed-off timer would send
    /// again only later is sent again at once, unless it was sent so lately that an answer may be on its way: one that
    /// the far end does not delay, since what a timer sends again fills a gap.
    pub(in crate::session) fn revive(&mut self, cx: &mut Context<'_>, transport: &mut Transport) {
        if !self.recovery.backed_off {
            return;
        }
        transport.rtt.end_back_off();
        let (Some(alarm), Some(sent)) = (self.timeout.get(), self.recovery.last_sent) else {
            return;
        };
        // RFC 7016 §3.5.2.3: before a whole timeout is over, what was sent counts for the burst still.
        let timeout = sent + transport.rtt.erto();
        let counted = if cx.now < timeout { self.recovery.data_packets } else { 0 };
        if cx.now < alarm.min(sent + transport.rtt.prompt_answer()) || counted >= BURST_PACKETS {
            self.timeout.set(alarm.min(timeout));
            return;
        }
        self.timeout.clear();
        self.lose_all(cx, transport, LossCause::Revived);
        self.recovery.data_packets = counted;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::congestion::new_controller;

    #[test]
    fn acknowledgements_handled_together_let_out_six_packets_each() {
        let now = Instant::from_millis(5_000);
        let mut recovery = Recovery::new(new_controller(1_000));
        for _ in 0..3 {
            recovery.on_ack_packet(now, true, &mut PacketFacts { acked_bytes: 100, ..PacketFacts::default() });
        }
        (0..3 * BURST_PACKETS).for_each(|sent| {
            assert!(recovery.budget() > 0, "after {sent}");
            recovery.on_data_sent(now, false);
        });
        assert_eq!(recovery.budget(), 0);
    }
}
