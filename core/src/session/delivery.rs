//! Delivery: the flows of a session, what acknowledges them, and what paces and repairs them.

use core::time::Duration;

use super::acks::Acks;
use super::alarm::Alarm;
use super::allowance::Allowance;
use super::flows::{self, FlowKey, Flows};
use super::gaps::GapWatch;
use super::recovery::Recovery;
use super::stall::Stall;
use super::transport::Transport;
use super::{Context, Grant, Memory, cannot_happen};
use crate::config::SessionConfig;
use crate::congestion::PacketFacts;
use crate::error::DropReason;
use crate::event::{Event, EventQueue};
use crate::flow::{Acknowledgement, Fragment, RecvFlow, SendFlow, SendFlowState, parse_startup_options};
use crate::handle::{RecvFlowHandle, SendFlowHandle, SessionHandle};
use crate::params::DELAYED_ACK;
use crate::time::Instant;
use crate::wire::{BufferProbe, EcnReport, FlowException, PacketHeader, PacketWriter, session_id};

/// Buffer Probes of a flow are answered at most this often: their senders wait for a timeout of at least 250 ms (RFC 7016
/// §3.6.2.9.1).
const PROBE_INTERVAL: Duration = Duration::from_millis(100);

/// How long messages that fill all the memory of a session may be without progress before a flow is rejected.
const DEADLOCK: Duration = Duration::from_secs(1);
/// The same if the endpoint grants less than the session may take by itself. By default it closes the session that needs
/// most after 10 s, which may help the others.
const DEADLOCK_WHEN_SCARCE: Duration = Duration::from_secs(20);

/// See the module. After each change to a flow its queues are brought in line with it
/// ([`Flows::reindex_send`](super::flows::Flows::reindex_send), [`reindex_recv`](super::flows::Flows::reindex_recv)).
pub(crate) struct Delivery {
    pub(super) session: SessionHandle,
    pub(super) flows: Flows,
    pub(super) recovery: Recovery,
    pub(super) acks: Acks,
    gaps: GapWatch,
    pub(super) send_stall: Stall,
    pub(super) recv_stall: Stall,
    /// The far end has taken nothing of what waits for it until then.
    pub(super) stall: Alarm,
    /// The far end has sent a Bitmap acknowledgement, so it understands them. Some only pretend to.
    pub(super) peer_sends_bitmaps: bool,
    /// TIMEOUT_ALARM (RFC 7016 §3.6.2.6).
    pub(super) timeout: Alarm,
    /// DELACK_ALARM (RFC 7016 §3.6.3.4.4).
    pub(super) delayed_ack: Alarm,
}

impl Delivery {
    pub(super) fn new(session: SessionHandle, config: &SessionConfig) -> Self {
        // What a datagram has besides chunks of user data, as far as it is the session's.
        let smss = config.base_datagram.saturating_sub(session_id::LEN + PacketHeader::MAX_LEN);
        Self {
            session,
            flows: Flows::new(config.max_recv_bytes, config.max_send_bytes),
            recovery: Recovery::new(crate::congestion::new_controller(smss as u64)),
            acks: Acks::new(Allowance::new(config.max_ack_expansion)),
            gaps: GapWatch::default(),
            send_stall: Stall::default(),
            recv_stall: Stall::default(),
            stall: Alarm::default(),
            peer_sends_bitmaps: false,
            timeout: Alarm::default(),
            delayed_ack: Alarm::default(),
        }
    }

    /// "Immediately abort and terminate all open or closing flows" (RFC 7016 §3.5.5). Those that are complete stay
    /// until they are read.
    pub(super) fn end(&mut self, events: &mut EventQueue, config: &SessionConfig) {
        self.flows.end(events);
        self.recovery.forget();
        self.acks = Acks::new(Allowance::new(config.max_ack_expansion));
        (self.send_stall, self.recv_stall) = (Stall::default(), Stall::default());
        self.timeout.clear();
        self.delayed_ack.clear();
        self.stall.clear();
    }

    /// The session has ended: notes whether what is left is read. Returns since when next to nothing of it was; None if
    /// nothing is left.
    pub(super) fn update_unread(&mut self, now: Instant) -> Option<Instant> {
        if !self.flows.has_unread() {
            self.flows.forget_recv();
        }
        self.recv_stall.update(now, self.flows.budget.memory());
        self.recv_stall.since()
    }

    /// Whether every fragment of every flow is acknowledged, the ends of closed flows included.
    pub(super) const fn is_all_acknowledged(&self) -> bool {
        self.flows.send_budget.held().unacknowledged == 0
    }

    /// What the endpoint grants to the session.
    pub(super) const fn grant(&mut self, grant: &Grant) {
        self.flows.budget.grant(grant.recv);
        self.flows.send_budget.grant(grant.send, grant.ample);
    }

    /// What the flows take of the endpoint's memory.
    pub(super) fn memory(&self) -> Memory {
        let send = self.flows.send_memory() + self.recovery.in_flight.memory();
        Memory { recv: self.flows.budget.memory(), send }
    }

    /// How much of the endpoint's memory a refused writer waits for, if any does and it depends on that.
    pub(crate) fn awaited_memory(&self) -> Option<usize> {
        self.flows.send_budget.awaited()
    }

    /// Since when the far end has acknowledged next to nothing of what is sent to it; None if nothing waits for it.
    pub(crate) fn send_stalled_since(&self) -> Option<Instant> {
        self.send_stall.since()
    }

    /// Since when next to nothing has come of messages that the far end has begun; None if there are none, or if others
    /// wait to be read, which is not the far end's fault.
    pub(crate) fn recv_stalled_since(&self) -> Option<Instant> {
        self.recv_stall.since()
    }

    pub(crate) fn send_flow(&self, flow: SendFlowHandle) -> Option<&SendFlow> {
        self.flows.send_flow(flow)
    }

    pub(crate) fn recv_flow(&self, flow: RecvFlowHandle) -> Option<&RecvFlow> {
        self.flows.recv_flow(flow)
    }

    /// The congestion window, in bytes.
    pub(super) fn window(&self) -> u64 {
        self.recovery.controller.window()
    }

    /// User data waits, and the budget allows it (RFC 7016 §3.6.2.3). In S_OPEN only; before, it waits for that.
    pub(super) fn may_send_data(&self) -> bool {
        !self.flows.scheduler.is_empty() && self.recovery.budget() > 0
    }

    /// Something is not acknowledged: it is in flight, or was lost and waits to be sent again.
    pub(super) fn awaits_answer(&self) -> bool {
        !self.recovery.in_flight.is_empty() || !self.flows.scheduler.is_empty()
    }

    /// Acknowledgements, or Buffer Probes, are to be sent now.
    pub(super) fn has_control(&self) -> bool {
        self.acks.is_due() || self.flows.probes_due()
    }

    /// Brings what is derived in line with what has changed. O(1).
    pub(super) fn update_timers(&mut self, now: Instant, transport: &Transport, config: &SessionConfig) {
        self.recv_stall.update(now, self.flows.budget.incomplete());
        self.send_stall.update(now, self.flows.send_budget.held().unacknowledged);
        let limit = config.stall_limit;
        self.stall = Alarm::at(limit.and_then(|limit| Some(self.send_stall.since()? + limit)));
        if self.flows.scheduler.is_empty() {
            self.recovery.end_burst();
        }
        if !self.flows.acks_due() {
            self.acks.all_sent();
            self.delayed_ack.clear();
        } else if self.acks.is_now() {
            self.pay_for_acks(now, transport);
        }
    }

    /// Acknowledgements are due. If what is received does not pay for them, a round trip does.
    fn pay_for_acks(&mut self, now: Instant, transport: &Transport) {
        let overhead = transport.overhead(self.window());
        if self.acks.update_allowed(overhead) {
            return;
        }
        let round_trip = transport.rtt.srtt().unwrap_or(transport.rtt.mrto());
        self.acks.allowance.pass(now, round_trip, transport.mtu.datagram());
        if !self.acks.update_allowed(overhead) {
            self.delayed_ack.set_no_later_than(self.acks.allowance.next_pay(round_trip));
        }
    }

    /// Deadlines of flows that have come.
    pub(super) fn on_flow_deadlines(&mut self, cx: &mut Context<'_>, config: &SessionConfig, erto: Duration) {
        while let Some(key) = self.flows.take_due(cx.now) {
            match key {
                FlowKey::Send(slot) => {
                    if let Some(flow) = self.flows.send.get_mut(slot) {
                        flow.handle_timeout(cx.now, erto, cx.events);
                        if config.mona && flow.probe_due() {
                            flow.probe_sent(cx.now, erto);
                        }
                    }
                    self.flows.reindex_send(slot);
                }
                FlowKey::Recv(slot) => {
                    if let Some(flow) = self.flows.recv.get_mut(slot) {
                        flow.handle_timeout(cx.now);
                    }
                    self.flows.reindex_recv(slot);
                }
            }
        }
    }
}

/// What comes in.
impl Delivery {
    /// What the header of a packet of the far end tells.
    pub(super) fn on_header(&mut self, cx: &mut Context<'_>, header: &PacketHeader, transport: &Transport) {
        self.recovery.in_flight.set_min_rtt(transport.rtt.min_rtt());
        if header.time_critical {
            cx.time_critical.received(self.session, cx.now);
        }
        if header.time_critical_reverse {
            self.recovery.on_reverse_notification(cx.now);
        }
    }

    /// RFC 7016 §3.6.3.2.
    ///
    /// # Errors
    /// Why the fragment was not taken, and is not acknowledged.
    pub(super) fn on_fragment(
        &mut self,
        cx: &mut Context<'_>,
        config: &SessionConfig,
        flow_id: u64,
        fragment: &Fragment<'_>,
    ) -> Result<(), DropReason> {
        let known = self.flows.recv_slot_by_id(flow_id);
        let slot = known.or_else(|| self.start_recv_flow(cx.events, config, flow_id, fragment.options));
        let slot = slot.ok_or(DropReason::OverLimit)?;
        let Some(flow) = self.flows.recv.get_mut(slot) else {
            return cannot_happen!(Ok(()), "a receiving flow stands in the slot of its ID");
        };
        let before = self.flows.budget.buffered();
        let taken = flow.on_fragment(cx.now, fragment, &mut self.flows.budget, cx.events);
        self.recv_stall.moved(self.flows.budget.buffered().abs_diff(before) as u64);
        match taken {
            Ok(true) => self.acks.set_now(),
            Ok(false) => self.delayed_ack.set_if_unset(cx.now + DELAYED_ACK),
            Err(DropReason::OverLimit) if self.is_deadlocked(cx.now) => self.reject_for_memory(cx, slot),
            Err(_) => {}
        }
        self.flows.reindex_recv(slot);
        taken.map(|_| ())
    }

    /// Messages that are not complete fill the memory, and none of them makes progress: each waits for what another
    /// holds.
    fn is_deadlocked(&self, now: Instant) -> bool {
        let patience = if self.flows.budget.is_granted_less() { DEADLOCK_WHEN_SCARCE } else { DEADLOCK };
        self.recv_stall.since().is_some_and(|since| since + patience <= now)
    }

    /// One flow yields to the others.
    fn reject_for_memory(&mut self, cx: &mut Context<'_>, slot: u32) {
        if let Some(flow) = self.flows.recv.get_mut(slot) {
            flow.reject(cx.now, 0, &mut self.flows.budget, cx.events);
            self.acks.set_now();
        }
    }

    /// RFC 7016 §3.6.3.1. None: there are as many receiving flows as the configuration allows, or no memory for another.
    fn start_recv_flow(
        &mut self,
        events: &mut EventQueue,
        config: &SessionConfig,
        flow_id: u64,
        options: Option<&[u8]>,
    ) -> Option<u32> {
        if self.flows.recv.len() >= config.max_recv_flows {
            return None;
        }
        let startup = parse_startup_options(options);
        let cost = flows::RECV_FLOW + startup.metadata.as_ref().map_or(0, |metadata| metadata.len());
        if self.flows.budget.room() < cost {
            return None;
        }
        // Steps 6 and 7: the flow that it answers must exist and be F_OPEN.
        let association = startup.association.map(|id| {
            let flow = flows::slot_of(id).and_then(|slot| self.flows.send.get(slot));
            flow.filter(|flow| flow.state() == SendFlowState::Open).map(|flow| flow.handle())
        });
        let session = self.session;
        // Step 5: a flow without metadata is rejected.
        let accepted = startup.metadata.filter(|_| !startup.unacceptable && association != Some(None));
        let slot = self.flows.insert_recv(flow_id, |slot, generation| {
            let handle = RecvFlowHandle { session, slot, generation };
            let mut flow = match accepted {
                Some(metadata) => {
                    events.push(Event::FlowOpened { flow: handle });
                    RecvFlow::new(handle, flow_id, metadata, association.flatten(), config.recv_buffer)
                }
                None => RecvFlow::new_rejected(handle, flow_id),
            };
            if config.mona {
                flow.never_advertise_zero();
            }
            flow
        });
        self.acks.set_now();
        Some(slot)
    }

    /// RFC 7016 §3.6.2.4. False: it acknowledges what was never sent.
    pub(super) fn on_ack(
        &mut self,
        cx: &mut Context<'_>,
        facts: &mut PacketFacts,
        flow_id: u64,
        ack: Acknowledgement<'_>,
    ) -> bool {
        self.peer_sends_bitmaps |= matches!(ack, Acknowledgement::Bitmap(_));
        let Some(slot) = flows::slot_of(flow_id) else {
            return true;
        };
        let Some(flow) = self.flows.send.get_mut(slot) else {
            return true;
        };
        let outcome = flow.on_ack(cx.now, ack, &mut self.recovery.in_flight, cx.events);
        facts.any_acks = true;
        facts.acked_bytes += outcome.acked_bytes;
        self.flows.reindex_send(slot);
        !outcome.impossible
    }

    /// RFC 7016 §3.6.3.6.
    pub(super) fn on_buffer_probe(&mut self, now: Instant, transport: &Transport, flow_id: u64) {
        let round_trip = transport.rtt.srtt().unwrap_or(transport.rtt.mrto()).max(PROBE_INTERVAL);
        if let Some(slot) = self.flows.recv_slot_by_id(flow_id)
            && let Some(flow) = self.flows.recv.get_mut(slot)
            && flow.on_buffer_probe(now, round_trip, &self.flows.budget)
        {
            self.flows.reindex_recv(slot);
            self.acks.set_now();
        }
    }

    /// RFC 7016 §3.6.2.10.
    pub(super) fn on_exception(&mut self, cx: &mut Context<'_>, exception: FlowException) {
        if let Some(slot) = flows::slot_of(exception.flow_id)
            && let Some(flow) = self.flows.send.get_mut(slot)
        {
            flow.on_exception(cx.now, exception.code, cx.events);
            self.flows.reindex_send(slot);
        }
    }

    /// Acknowledges all flows, whether anything new came or not: a far end that moves has its window in flight, and
    /// would wait for its timeout if what it sent last is never acknowledged where it is now.
    pub(super) fn acknowledge_again(&mut self) {
        for slot in self.flows.recv.slots() {
            if let Some(flow) = self.flows.recv.get_mut(slot) {
                flow.acknowledge_again();
                self.flows.reindex_recv(slot);
            }
        }
        if self.flows.acks_due() {
            self.acks.set_now();
        }
    }

    /// A far end that leaves more gaps than losses make does not mean to close them.
    pub(super) fn has_unrepaired_gaps(&mut self, now: Instant, config: &SessionConfig) -> bool {
        let (gaps, gaps_closed) = self.flows.budget.gaps();
        let most = config.max_recv_bytes / (2 * config.base_datagram);
        self.gaps.check(now, gaps, gaps_closed, most, config.gap_limit)
    }
}

/// What goes out.
impl Delivery {
    /// Acknowledgements, as far as they are allowed.
    pub(super) fn write_acks(&mut self, packet: &mut PacketWriter<'_>, transport: &mut Transport) {
        if !self.flows.acks_due() {
            self.acks.all_sent();
            self.delayed_ack.clear();
            return;
        }
        let overhead = transport.overhead(self.window());
        if self.acks.update_allowed(overhead) {
            let before = packet.len();
            let limit = packet.limit_to(self.acks.allowance.bytes() - overhead);
            self.write_due_acks(packet, transport);
            packet.set_limit(limit);
            if packet.len() > before {
                self.acks.allowance.spend(packet.len() - before + overhead);
                self.acks.update_allowed(overhead);
            }
        }
    }

    /// RFC 7016 §3.6.3.4.5 and §3.6.3.4.6: with ACK_NOW the first is cut to fit; others come along if they fit whole.
    fn write_due_acks(&mut self, packet: &mut PacketWriter<'_>, transport: &mut Transport) {
        let mut truncate = self.acks.is_now();
        let mut report = transport.ecn.report();
        while let Some(slot) = self.flows.first_ack() {
            let mark = packet.mark();
            // Immediately before the first acknowledgement.
            let reported = report.is_none_or(|ce_count| packet.push(&EcnReport { ce_count }));
            let Some(flow) = self.flows.recv.get_mut(slot) else {
                return cannot_happen!((), "a flow that is over is in no queue");
            };
            if !reported || !flow.write_ack(packet, truncate, !self.peer_sends_bitmaps) {
                packet.rollback(mark);
                return;
            }
            if report.take().is_some() {
                transport.ecn.report_sent();
            }
            truncate = false;
            self.flows.reindex_recv(slot);
        }
        self.acks.all_sent();
        self.delayed_ack.clear();
    }

    /// RFC 7016 §3.6.2.9.1.
    pub(super) fn write_probes(&mut self, now: Instant, packet: &mut PacketWriter<'_>, erto: Duration) {
        while let Some(slot) = self.flows.first_probe()
            && let Some(flow) = self.flows.send.get_mut(slot)
            && packet.push(&BufferProbe { flow_id: flow.flow_id() })
        {
            flow.probe_sent(now, erto);
            self.flows.reindex_send(slot);
        }
    }

    /// Fragments of the ready flows, the most urgent first, cut for plain packets of `base` bytes. Whether there are
    /// any.
    pub(super) fn write_data(
        &mut self,
        cx: &mut Context<'_>,
        packet: &mut PacketWriter<'_>,
        base: usize,
        erto: Duration,
    ) -> bool {
        let (mut any, mut time_critical) = (false, false);
        while self.may_send_data()
            && let Some((slot, _)) = self.flows.scheduler.peek()
            && let Some(flow) = self.flows.send.get_mut(slot)
        {
            let budget = self.recovery.budget();
            let assembled = flow.assemble(cx.now, packet, &mut self.recovery.in_flight, budget, base);
            any |= assembled.fragments > 0;
            time_critical |= assembled.time_critical;
            let still_ready = flow.is_ready();
            self.flows.reindex_send(slot);
            if still_ready {
                // The packet is full, or the budget spent.
                if assembled.fragments > 0 {
                    self.flows.scheduler.rotate(slot);
                }
                break;
            }
        }
        if any {
            if time_critical {
                packet.set_time_critical();
                cx.time_critical.sent(cx.now);
            }
            self.recovery.on_data_sent(cx.now, time_critical);
            // RFC 7016 §3.6.2.6.
            self.timeout.set(cx.now + erto);
        }
        any
    }
}
