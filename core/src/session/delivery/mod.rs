//! Delivery: the flows of a session, in two halves that share nothing but the session (RFC 7016 §3.6.2, §3.6.3).
//!
//! [`Sending`] owns the sending flows, and what paces and repairs them. [`Receiving`] owns the receiving flows, and what
//! acknowledges them. Where a flow of one half answers one of the other, the other is only looked at.

mod flow_table;
pub(super) mod receiving;
mod sending;
mod stall;

use core::time::Duration;

use super::alarm::Alarm;
use super::context::{Context, Grant, Memory};
use super::transport::{Rtt, Transport};
use crate::config::{FlowOptions, SessionConfig};
use crate::congestion::PacketFacts;
use crate::error::{DropReason, OpenFlowError};
use crate::event::EventQueue;
use crate::flow::{Acknowledgement, Fragment, RecvFlow, SendFlow};
use crate::handle::{RecvFlowHandle, SendFlowHandle, SessionHandle};
use crate::time::Instant;
use crate::wire::PacketHeader;

pub(crate) use receiving::Receiving;
pub(crate) use sending::{SendFlows, Sending};

/// See the module.
pub(crate) struct Delivery {
    pub(crate) sending: Sending,
    pub(crate) receiving: Receiving,
    /// While the session is open: the far end has taken nothing of what waits for it until then. Once it has ended: nobody
    /// has read anything of what is left.
    pub(super) stall: Alarm,
}

impl Delivery {
    pub(super) fn new(session: SessionHandle, config: &SessionConfig) -> Self {
        Self {
            sending: Sending::new(session, config),
            receiving: Receiving::new(session, config),
            stall: Alarm::default(),
        }
    }

    /// "Immediately abort and terminate all open or closing flows" (RFC 7016 §3.5.5). Those that are complete stay
    /// until they are read.
    pub(super) fn end(&mut self, events: &mut EventQueue, config: &SessionConfig) {
        self.sending.end(events);
        self.receiving.end(events, config);
        self.stall.clear();
    }

    /// The session has ended: notes whether what is left is read. `limit`: how long it is kept, if no more is sent.
    pub(super) fn update_unread(&mut self, now: Instant, limit: Option<Duration>) {
        self.receiving.update_unread(now);
        self.stall = Alarm::at(limit.and_then(|limit| Some(self.receiving.stalled_since()? + limit)));
    }

    /// No flows, not even lingering ones.
    pub(super) const fn is_empty(&self) -> bool {
        self.sending.flows.is_empty() && self.receiving.flows.is_empty()
    }

    /// Whether every fragment of every flow is acknowledged, the ends of closed flows included, and all that came too.
    pub(super) fn is_all_acknowledged(&self) -> bool {
        self.sending.flows.unacknowledged() == 0 && !self.receiving.flows.is_ack_due()
    }

    /// What the endpoint grants to the session.
    pub(super) const fn grant(&mut self, grant: &Grant) {
        self.receiving.flows.budget.grant(grant.recv, grant.windows);
        self.sending.flows.grant(grant.send, grant.ample);
    }

    /// What the flows take of the endpoint's memory.
    pub(super) fn memory(&self) -> Memory {
        Memory { recv: self.receiving.flows.budget.memory(), send: self.sending.memory() }
    }

    pub(crate) fn send_flow(&self, flow: SendFlowHandle) -> Option<&SendFlow> {
        self.sending.flows.get(flow)
    }

    pub(crate) fn recv_flow(&self, flow: RecvFlowHandle) -> Option<&RecvFlow> {
        self.receiving.flows.get(flow)
    }

    /// Opens a sending flow (RFC 7016 §3.6.2.1), also while the session is opening.
    pub(super) fn open_flow(
        &mut self,
        config: &SessionConfig,
        options: &FlowOptions,
    ) -> Result<SendFlowHandle, OpenFlowError> {
        let Self { sending, receiving, .. } = self;
        // RFC 7016 §3.6.2.1: not in response to a flow that is not RF_OPEN.
        sending.flows.open(config, options, |handle| receiving.open_flow_id(handle))
    }

    /// What the header of a packet of the far end tells, and the round trips of the path.
    pub(super) fn on_header(&mut self, cx: &mut Context<'_>, header: &PacketHeader, rtt: &Rtt) {
        self.receiving.on_header(cx, header, rtt.srtt());
        self.sending.on_header(cx.now, header, rtt);
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
        self.receiving.on_fragment(cx, config, &self.sending.flows, flow_id, fragment)
    }

    /// RFC 7016 §3.6.2.4. False: it acknowledges what was never sent.
    pub(super) fn on_ack(
        &mut self,
        cx: &mut Context<'_>,
        facts: &mut PacketFacts,
        flow_id: u64,
        ack: Acknowledgement<'_>,
    ) -> bool {
        self.receiving.acks.peer_sends_bitmaps |= matches!(ack, Acknowledgement::Bitmap(_));
        self.sending.on_ack(cx, facts, flow_id, ack)
    }

    /// Acknowledgements, or Buffer Probes, are to be sent now.
    pub(super) fn has_control(&self) -> bool {
        self.receiving.acks.is_due() || self.sending.flows.is_probe_due()
    }

    /// Does what the alarms of the session say, if they are due. Whether anything may have been declared lost.
    pub(super) fn on_alarms(&mut self, cx: &mut Context<'_>, transport: &mut Transport) -> bool {
        self.sending.recovery.release(cx.now);
        let lost = self.sending.on_timer(cx, transport);
        if self.receiving.acks.delayed.take_due(cx.now) {
            self.receiving.acks.set_now();
        }
        lost
    }

    /// Deadlines of flows that have come.
    pub(super) fn on_flow_deadlines(&mut self, cx: &mut Context<'_>, config: &SessionConfig, erto: Duration) {
        self.sending.flows.handle_timeout(cx, config.mona, erto);
        self.receiving.flows.handle_timeout(cx.now);
    }

    /// The earliest deadline of any flow.
    pub(super) fn next_flow_deadline(&self) -> Option<Instant> {
        Instant::earliest([self.sending.flows.next_deadline(), self.receiving.flows.next_deadline()])
    }

    /// In S_OPEN: brings what is derived in line with what has changed. O(1).
    pub(super) fn update_timers(&mut self, now: Instant, transport: &Transport, config: &SessionConfig) {
        self.sending.update(now);
        self.stall = Alarm::at(config.stall_limit.and_then(|limit| Some(self.sending.stalled_since()? + limit)));
        if self.receiving.update(now) {
            let overhead = transport.overhead(self.sending.window());
            self.receiving.acks.pay(now, transport.rtt.round_trip(), overhead, transport.mtu.datagram());
        }
    }
}
