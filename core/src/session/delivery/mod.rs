//! Delivery: the flows of a session, what acknowledges them, and what paces and repairs them.

pub(super) mod acks;
pub(super) mod allowance;
mod commands;
mod flow_slots;
mod flows;
mod gaps;
mod incoming;
mod outgoing;
mod recovery;
mod stall;

use core::time::Duration;

use super::alarm::Alarm;
use super::context::{Context, Grant, Memory};
use super::transport::Transport;
use crate::config::SessionConfig;
use crate::event::EventQueue;
use crate::flow::{RecvFlow, SendFlow};
use crate::handle::{RecvFlowHandle, SendFlowHandle, SessionHandle};
use crate::invariant::cannot_happen;
use crate::time::Instant;
use crate::wire::{PacketHeader, session_id};

use acks::Acks;
use allowance::Allowance;
use flows::{FlowKey, Flows};
use gaps::GapWatch;
use recovery::Recovery;
use stall::Stall;

/// See the module. After each change to a flow its queues are brought in line with it
/// ([`Flows::reindex_send`](Flows::reindex_send), [`reindex_recv`](Flows::reindex_recv)).
pub(crate) struct Delivery {
    pub(super) session: SessionHandle,
    pub(super) flows: Flows,
    pub(super) recovery: Recovery,
    pub(super) acks: Acks,
    gaps: GapWatch,
    send_stall: Stall,
    recv_stall: Stall,
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

    /// The time to read what is left begins anew.
    pub(super) fn restart_unread(&mut self) {
        self.recv_stall = Stall::default();
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

    /// While the session is open: since when next to nothing has come of messages that the far end has begun. None if
    /// there are none, or if others wait to be read, which is not the far end's fault.
    ///
    /// Once it has ended: since when next to nothing of what is left was read.
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
                    let Some(flow) = self.flows.send.get_mut(slot) else {
                        return cannot_happen!((), "a sending flow with a deadline is in its slot");
                    };
                    flow.handle_timeout(cx.now, erto, cx.events);
                    if config.mona && flow.probe_due() {
                        flow.probe_sent(cx.now, erto);
                    }
                    self.flows.reindex_send(slot);
                }
                FlowKey::Recv(slot) => {
                    let Some(flow) = self.flows.recv.get_mut(slot) else {
                        return cannot_happen!((), "a receiving flow with a deadline is in its slot");
                    };
                    flow.handle_timeout(cx.now);
                    self.flows.reindex_recv(slot);
                }
            }
        }
    }
}
