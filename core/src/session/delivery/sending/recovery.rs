//! Loss: what is in flight, how it is declared lost, and what the congestion controller is told
//! (RFC 7016 §3.5.2, §3.6.2.5, §3.6.2.6).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use super::Sending;
use super::burst::Burst;
use super::pacer::Pacer;
use super::probe::Probe;
use super::timer::{Due, Early, RetransmitTimer};
use crate::congestion::{Controller, PacketFacts, Reaction, TimeCritical};
use crate::flow::{InFlight, LossEpoch, Lost};
use crate::params::{BURST_PACKETS, LEAST_RATE, TARGET_MARGIN};
use crate::session::context::Context;
use crate::session::time_critical::lately;
use crate::session::transport::Transport;
use crate::time::Instant;
use crate::trace::{LossCause, TraceEvent};

/// What is measured is whole ticks of 4 ms.
const LEAST_ROUND_TRIP: Duration = Duration::from_millis(4);

/// The transmission budget of a session and what it depends on.
pub(in crate::session) struct Recovery {
    pub(in crate::session) in_flight: InFlight,
    pub(in crate::session) controller: Box<dyn Controller>,
    /// TIMEOUT_ALARM (RFC 7016 §3.6.2.6), and what comes before it.
    pub(in crate::session) timer: RetransmitTimer,
    pub(in crate::session) probe: Probe,
    pub(in crate::session) burst: Burst,
    /// None: neither the controller nor the user has asked for a rate.
    pacer: Option<Box<Pacer>>,
    /// Data leaves no faster, in bytes a second.
    max_rate: Option<u64>,
    /// When user data was last sent.
    last_sent: Option<Instant>,
    /// The alarm found loss, and nothing was acknowledged since.
    backed_off: bool,
    pub(super) time_critical_sent: Option<Instant>,
    reverse_received: Option<Instant>,
    pub(super) lost: Vec<Lost>,
    pub(in crate::session) fragments_lost: u64,
    pub(in crate::session) timeouts: u64,
    /// Times that the window was made smaller for losses or marks.
    pub(in crate::session) congestion_events: u64,
}

impl Recovery {
    pub(super) fn new(controller: Box<dyn Controller>, max_rate: Option<u64>) -> Self {
        Self {
            in_flight: InFlight::new(controller.wants_samples()),
            controller,
            timer: RetransmitTimer::default(),
            probe: Probe::default(),
            burst: Burst::new(),
            pacer: None,
            max_rate,
            last_sent: None,
            backed_off: false,
            time_critical_sent: None,
            reverse_received: None,
            lost: Vec::new(),
            fragments_lost: 0,
            timeouts: 0,
            congestion_events: 0,
        }
    }

    /// Bytes of user data that may be sent now; the last fragment may exceed them.
    pub(in crate::session) fn budget(&self) -> u64 {
        // RFC 7016 §3.5.2.3: not more than six data packets between acknowledgements or timeouts.
        if self.burst.is_over() || self.held_until().is_some() {
            return 0;
        }
        self.controller.window().saturating_sub(self.in_flight.outstanding())
    }

    /// Data is held back until then, so that it leaves at the controller's rate.
    pub(in crate::session) fn held_until(&self) -> Option<Instant> {
        self.pacer.as_ref()?.held.get()
    }

    /// What was held back may be sent, if it is time.
    pub(in crate::session) fn release(&mut self, now: Instant) {
        if let Some(pacer) = &mut self.pacer {
            pacer.held.take_due(now);
        }
    }

    /// Bytes a second at which data leaves, if it is not the window alone that limits it.
    pub(in crate::session) fn pacing_rate(&self) -> Option<u64> {
        let rates = [self.controller.pacing_rate(), self.max_rate];
        rates.into_iter().flatten().min()
    }

    /// The user allows less than the controller: what is delivered then says nothing of the path.
    fn is_held_by_user(&self) -> bool {
        self.max_rate.is_some_and(|most| self.controller.pacing_rate().is_none_or(|rate| most < rate))
    }

    /// From now on data leaves no faster, also what is held back.
    pub(super) fn set_max_rate(&mut self, now: Instant, rate: Option<u64>) {
        self.max_rate = rate.map(|rate| rate.max(LEAST_RATE));
        self.repace(now);
    }

    /// The controller was told of something: what is held back leaves at the rate of now.
    fn repace(&mut self, now: Instant) {
        match (self.pacing_rate(), &mut self.pacer) {
            (Some(rate), Some(pacer)) => pacer.set_rate(now, rate),
            (None, Some(_)) => self.pacer = None,
            (_, None) => {}
        }
    }

    /// There was more to send, and room in the window: data that waited for this acknowledgement alone leaves faster
    /// (RFC 7016 §3.5.2.3), as it would have if the window alone counted.
    fn make_up(&mut self, now: Instant, transport: &Transport) {
        if self.burst.is_over()
            && self.controller.makes_up_for_waits()
            && !self.is_held_by_user()
            && let (Some(pacer), Some(srtt)) = (&mut self.pacer, transport.rtt.srtt())
        {
            pacer.make_up(now, srtt / 2);
        }
    }

    /// User data goes in a packet now. Returns what is in flight before it.
    pub(super) fn begin_packet(&mut self, now: Instant) -> u64 {
        self.in_flight.begin_packet(now);
        self.in_flight.outstanding()
    }

    /// A packet with user data was sent. Unless it is acknowledged before, the alarm fires at `timeout`. `before`: what was
    /// in flight; `more`: there is more to send.
    pub(super) fn on_data_sent(
        &mut self,
        now: Instant,
        before: u64,
        more: bool,
        time_critical: bool,
        timeout: Instant,
    ) {
        self.burst.on_data_sent();
        let outstanding = self.in_flight.outstanding();
        if let Some(rate) = self.pacing_rate() {
            self.pacer.get_or_insert_default().on_sent(now, outstanding - before, rate);
        }
        if (!more || self.is_held_by_user()) && outstanding < self.controller.window() {
            self.in_flight.app_limited();
        }
        self.last_sent = Some(now);
        if time_critical {
            self.time_critical_sent = Some(now);
        }
        // RFC 7016 §3.6.2.6.
        if !self.probe.take_next() || !self.timer.is_set() {
            self.timer.postpone(timeout);
        }
        self.set_probe(now);
    }

    /// Packets that count for the burst if what is in flight is lost now: before a whole timeout is over, what was sent
    /// counts still (RFC 7016 §3.5.2.3).
    fn counted(&self, now: Instant, transport: &Transport) -> u16 {
        let over = self.last_sent.is_none_or(|sent| now >= sent + transport.rtt.erto());
        if over { 0 } else { self.burst.packets() }
    }

    /// What was sent last was lost, as far as is known, and nothing was acknowledged since.
    pub(in crate::session) const fn is_backed_off(&self) -> bool {
        self.backed_off
    }

    /// A packet with the Time Critical Reverse flag came.
    pub(super) fn on_reverse_notification(&mut self, now: Instant) {
        self.reverse_received = Some(now);
    }

    /// The time critical state for the controller (RFC 7016 appendix A.2, TC_SENT and FASTGROW_ALLOWED).
    fn time_critical(&self, cx: &Context<'_>) -> TimeCritical {
        let reverse = lately(self.reverse_received, cx.now);
        TimeCritical {
            sent_here: lately(self.time_critical_sent, cx.now),
            fast_grow: !reverse && !cx.time_critical.sent_lately(cx.now),
        }
    }

    /// The flows are gone, and with them what was in flight.
    pub(super) fn forget(&mut self) {
        self.in_flight = InFlight::new(false);
        self.pacer = None;
        self.burst.set_packets(0);
        self.backed_off = false;
        self.timer.clear();
        self.probe.stop();
    }

    /// See [`SessionStats::target_rate`](crate::SessionStats::target_rate).
    pub(in crate::session) fn target_rate(&self, transport: &Transport) -> Option<u64> {
        // What is measured is whole ticks of 4 ms.
        let rate = self.controller.target_rate(transport.rtt.srtt()?.max(LEAST_ROUND_TRIP));
        let rate = self.max_rate.map_or(rate, |most| most.min(rate));
        Some(rate - rate / TARGET_MARGIN)
    }

    /// The controller was told of something.
    fn trace_congestion(&self, cx: &mut Context<'_>, transport: &Transport) {
        cx.events.trace(|| {
            let Self { controller, in_flight, .. } = self;
            TraceEvent::Congestion {
                window: controller.window(),
                threshold: Some(controller.ssthresh()).filter(|threshold| *threshold != u64::MAX),
                outstanding: in_flight.outstanding(),
                srtt: transport.rtt.srtt(),
                erto: transport.rtt.erto(),
                target_rate: self.target_rate(transport),
            }
        });
    }
}

/// What is lost is told to the flows, and to the search for the largest datagram.
impl Sending {
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
            let Recovery { in_flight, lost, .. } = &mut self.recovery;
            facts.any_naks = in_flight.end_of_acks(cx.now, !self.flows.scheduler.is_empty(), lost);
            facts.lost_bytes = in_flight.take_probed_bytes();
            facts.lost_bytes += self.report_lost(cx, transport, LossCause::NegativeAcknowledgements);
            facts.any_loss = facts.lost_bytes > 0;
            facts.spurious_bytes = self.recovery.in_flight.take_spurious_bytes();
            facts.timed_out_bytes = self.recovery.in_flight.timed_out_bytes();
            let (backlog, window) = (!self.flows.scheduler.is_empty(), self.window());
            if backlog && facts.pre_ack_outstanding < window {
                self.recovery.make_up(cx.now, transport);
            }
            self.recovery.burst.on_ack_packet(cx.now, backlog, window, facts);
            // RFC 7016 §3.6.2.6.
            if self.recovery.timer.is_set() {
                self.recovery.timer.set(cx.now + transport.rtt.erto());
            }
            if facts.acked_bytes > 0 || facts.spurious_bytes > 0 {
                self.recovery.backed_off = false;
            }
            if facts.acked_bytes > 0 {
                self.stall.moved(facts.acked_bytes);
                transport.ecn.on_acks(report.is_some());
                self.recovery.probe.restart(transport, transport.segment(self.window()));
            }
            self.recovery.set_early(cx.now);
        }
        if let Some(count) = report {
            facts.any_mark = transport.ecn.on_report(count, cx.now, transport.rtt.srtt());
            facts.any_loss |= facts.any_mark;
        }
        if facts.any_acks || facts.any_loss {
            self.update_controller(cx, transport, facts);
        }
    }

    /// Tells the controller what was acknowledged and lost.
    pub(super) fn update_controller(&mut self, cx: &mut Context<'_>, transport: &Transport, facts: &mut PacketFacts) {
        facts.outstanding = self.recovery.in_flight.outstanding();
        facts.segment = transport.segment(self.window());
        facts.srtt = transport.rtt.srtt();
        facts.sample = self.recovery.in_flight.take_rate_sample();
        let time_critical = self.recovery.time_critical(cx);
        if self.recovery.controller.on_packet(cx.now, facts, time_critical) == Reaction::Cut {
            self.recovery.congestion_events += 1;
            self.recovery.in_flight.begin_undo_epoch();
        }
        self.recovery.repace(cx.now);
        self.recovery.trace_congestion(cx, transport);
    }

    /// The same for what was declared lost one by one, which counts for the statistics.
    pub(super) fn report_lost(&mut self, cx: &mut Context<'_>, transport: &mut Transport, cause: LossCause) -> u64 {
        self.recovery.fragments_lost += self.recovery.lost.len() as u64;
        let loss_epoch = self.recovery.in_flight.loss_epoch();
        self.report_lost_in(cx, transport, loss_epoch, cause)
    }

    /// Tells the flows, and the search for the largest datagram, of what was declared lost; returns the bytes of it.
    fn report_lost_in(
        &mut self,
        cx: &mut Context<'_>,
        transport: &mut Transport,
        loss_epoch: LossEpoch,
        cause: LossCause,
    ) -> u64 {
        let acknowledged = self.recovery.in_flight.take_acked_packet();
        if self.recovery.lost.is_empty() {
            transport.on_sizes(cx.now, acknowledged, None);
            return 0;
        }
        let mut lost = core::mem::take(&mut self.recovery.lost);
        let mut bytes = 0;
        let largest = lost.iter().map(|lost| usize::from(lost.packet)).max();
        transport.on_sizes(cx.now, acknowledged, largest);
        for lost in lost.drain(..) {
            bytes += u64::from(lost.size);
            self.flows.on_lost(lost, loss_epoch, cause, cx.events);
        }
        // The allocation is kept for the next time.
        self.recovery.lost = lost;
        bytes
    }

    /// Takes everything in flight for lost; tells whether there was anything.
    fn lose_all(&mut self, cx: &mut Context<'_>, transport: &mut Transport, cause: LossCause) -> bool {
        let bytes = self.recovery.in_flight.outstanding();
        self.recovery.in_flight.time_out(&mut self.recovery.lost);
        let any = !self.recovery.lost.is_empty();
        // What was to be the probe may have been abandoned before it was sent.
        self.recovery.probe.take_next();
        let loss_epoch = if any && cause == LossCause::Timeout {
            self.recovery.in_flight.begin_timeout_epoch(self.recovery.backed_off, bytes)
        } else {
            LossEpoch::NONE
        };
        self.report_lost_in(cx, transport, loss_epoch, cause);
        self.recovery.burst.restart();
        if any {
            self.recovery.probe.stop();
        }
        any
    }

    /// The path changed. A far end that is found on another has answered a check there, which is as good as an
    /// acknowledgement for a new burst; not so one that comes elsewhere before it has the keys of the session: then it
    /// takes a timeout (RFC 7016 §3.5.2.3).
    pub(in crate::session) fn on_path_change(&mut self, cx: &mut Context<'_>, transport: &mut Transport) {
        self.recovery.controller.on_path_change();
        self.recovery.pacer = None;
        self.recovery.probe.stop();
        let counted = self.recovery.burst.packets();
        self.lose_all(cx, transport, LossCause::PathChange);
        let recovery = &mut self.recovery;
        recovery.trace_congestion(cx, transport);
        recovery.backed_off = false;
        recovery.timer.clear();
        if recovery.burst.is_first() && counted > 0 {
            recovery.burst.set_packets(counted);
            recovery.timer.set(cx.now + transport.rtt.erto());
        }
    }

    /// Does what the timer says, if it is due. Whether anything may have been declared lost.
    pub(in crate::session) fn on_timer(&mut self, cx: &mut Context<'_>, transport: &mut Transport) -> bool {
        let due = self.recovery.timer.take_due(cx.now);
        match due {
            None => {}
            Some(Due::Timeout) => self.on_timeout_alarm(cx, transport),
            Some(Due::Answer) => self.give_up_answer(cx, transport),
            Some(Due::Late) => self.on_late(cx, transport),
            Some(Due::Probe) => self.on_probe(cx, transport),
        }
        due.is_some()
    }

    /// TIMEOUT_ALARM fired (RFC 7016 §3.6.2.6).
    fn on_timeout_alarm(&mut self, cx: &mut Context<'_>, transport: &mut Transport) {
        let was_loss = self.lose_all(cx, transport, LossCause::Timeout);
        let recovery = &mut self.recovery;
        if was_loss {
            transport.rtt.back_off();
            recovery.timeouts += 1;
            recovery.congestion_events += 1;
            recovery.backed_off = true;
        }
        recovery.controller.on_timeout(cx.now, was_loss);
        recovery.repace(cx.now);
        recovery.trace_congestion(cx, transport);
    }

    /// The far end is heard again, and what was sent last was not answered though it had the time.
    fn give_up_answer(&mut self, cx: &mut Context<'_>, transport: &mut Transport) {
        // One more may always go: nothing but an answer to it would let others out.
        let counted = self.recovery.counted(cx.now, transport).min(BURST_PACKETS - 1);
        self.recovery.timer.clear();
        self.lose_all(cx, transport, LossCause::Revived);
        self.recovery.burst.set_packets(counted);
    }

    /// What was sent last is sent again once an answer would have come. The far end does not delay it, since what is
    /// sent again fills a gap, and after a silence nothing waits in queues on the way.
    fn await_answer(&mut self, cx: &mut Context<'_>, transport: &mut Transport) {
        let (Some(alarm), Some(sent)) = (self.recovery.timer.timeout(), self.recovery.last_sent) else {
            return;
        };
        let due = alarm.min(sent + transport.rtt.idle_answer());
        if cx.now < due {
            self.recovery.timer.set_early(due, Early::Answer);
        } else {
            self.give_up_answer(cx, transport);
        }
    }

    /// The far end is heard again after a silence, or an interface came up: what a backed-off timer would send
    /// again only later is sent again at once, unless it was sent so lately that an answer may be on its way.
    pub(in crate::session) fn revive(&mut self, cx: &mut Context<'_>, transport: &mut Transport) {
        if !self.recovery.backed_off {
            return;
        }
        transport.rtt.end_back_off();
        if self.recovery.counted(cx.now, transport) < BURST_PACKETS {
            self.await_answer(cx, transport);
        } else if let Some(sent) = self.recovery.last_sent {
            let timeout = sent + transport.rtt.erto();
            let alarm = self.recovery.timer.timeout();
            self.recovery.timer.set(alarm.map_or(timeout, |alarm| alarm.min(timeout)));
        }
    }

    /// The first sign of life after a change of this end's network: the same, also if the timer is not backed off. What
    /// was sent before may not have left this machine. So it does not count for the burst: a far end that is heard
    /// allows a new one, as an acknowledgement would.
    pub(in crate::session) fn restart(&mut self, cx: &mut Context<'_>, transport: &mut Transport) {
        self.recovery.burst.set_packets(0);
        transport.rtt.end_back_off();
        self.await_answer(cx, transport);
    }

    /// The probe that followed a change of this end's network, sent at `probed`, is answered. The answer to anything that
    /// was sent before would have come first.
    pub(in crate::session) fn on_probe_answered(
        &mut self,
        cx: &mut Context<'_>,
        transport: &mut Transport,
        probed: Instant,
    ) {
        if self.recovery.timer.is_set() && self.recovery.last_sent.is_some_and(|sent| sent <= probed) {
            self.recovery.burst.set_packets(0);
            self.give_up_answer(cx, transport);
        }
    }
}
