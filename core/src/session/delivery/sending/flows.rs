//! The sending flows of a session: which are ready, what they hold, and the Buffer Probes that they have to send.

use alloc::boxed::Box;
use core::time::Duration;

use super::super::flow_table::{ENTRY, FlowTable, Standing};
use crate::event::{EventQueue, Undelivered};
use crate::flow::{LossEpoch, Lost, Scheduler, SendBudget, SendFlow, SendFlowState};
use crate::handle::{FIRST_FLOW_ID, SendFlowHandle, SessionHandle};
use crate::invariant::cannot_happen;
use crate::session::context::Context;
use crate::time::Instant;
use crate::trace::{LossCause, TraceEvent};
use crate::wire::{BufferProbe, FlowException, PacketWriter};

/// What a sending flow takes without messages, at most: its place in a table that may be half empty, and its entries.
const SEND_FLOW: usize = 2 * size_of::<SendFlow>() + 3 * ENTRY;

/// The sending flows of one session. After each change to one its queues are brought in line with it
/// ([`reindex`](Self::reindex)).
pub(crate) struct SendFlows {
    pub(super) session: SessionHandle,
    /// Due are those with a Buffer Probe to send.
    pub(in crate::session) table: FlowTable<SendFlow>,
    pub(in crate::session) scheduler: Scheduler,
    pub(super) budget: SendBudget,
    /// While the session drains, or is to: what was written to flows that the far end has rejected since.
    pub(super) rejected: Option<Box<Undelivered>>,
}

/// The slot of one of our own flow IDs.
fn slot_of(flow_id: u64) -> Option<u32> {
    u32::try_from(flow_id.checked_sub(FIRST_FLOW_ID)?).ok()
}

impl SendFlows {
    pub(in super::super) fn new(session: SessionHandle, max_send_bytes: usize) -> Self {
        Self {
            session,
            table: FlowTable::new(),
            scheduler: Scheduler::new(),
            budget: SendBudget::new(max_send_bytes),
            rejected: None,
        }
    }

    /// No flows, not even lingering ones.
    pub(in crate::session) const fn is_empty(&self) -> bool {
        self.table.len() == 0
    }

    /// Bytes of memory that they take, at most.
    pub(super) fn memory(&self) -> usize {
        self.budget.held().memory.saturating_add(self.table.len() * SEND_FLOW)
    }

    /// What the endpoint grants: see [`Grant`](crate::session::Grant).
    pub(in crate::session) const fn grant(&mut self, bytes: usize, ample: usize) {
        self.budget.grant(bytes, ample);
    }

    /// How much of the endpoint's memory a refused writer waits for, if any does and it depends on that.
    pub(crate) fn awaited_memory(&self) -> Option<usize> {
        self.budget.awaited()
    }

    /// Bytes that the far end has not acknowledged, the ends of closed flows included.
    pub(in crate::session) const fn unacknowledged(&self) -> usize {
        self.budget.held().unacknowledged
    }

    pub(crate) fn get(&self, flow: SendFlowHandle) -> Option<&SendFlow> {
        self.table.get_exact(flow.slot, flow.generation)
    }

    /// The flow with one of this end's flow IDs.
    pub(in super::super) fn by_id(&self, flow_id: u64) -> Option<&SendFlow> {
        self.table.get(slot_of(flow_id)?)
    }

    /// The same with its slot, to change it.
    pub(super) fn by_id_mut(&mut self, flow_id: u64) -> Option<(u32, &mut SendFlow)> {
        let slot = slot_of(flow_id)?;
        Some((slot, self.table.get_mut(slot)?))
    }

    /// To be called after anything was done to a flow: brings the queues in line with it, and frees its slot when it is
    /// over.
    pub(super) fn reindex(&mut self, slot: u32) {
        let Self { table, budget, .. } = self;
        let standing = table.reindex(slot, |flow| {
            let over = flow.state() == SendFlowState::Closed;
            flow.update_budget(over, budget);
            let ready = (flow.is_ready() && !over).then(|| flow.priority());
            (Standing { over, deadline: flow.next_timeout(), due: flow.probe_due() }, ready)
        });
        match standing {
            Some(Some(priority)) => self.scheduler.insert(slot, priority),
            Some(None) => self.scheduler.remove(slot),
            None => {}
        }
    }

    /// The earliest deadline of any flow.
    pub(in crate::session) const fn next_deadline(&self) -> Option<Instant> {
        self.table.next_deadline()
    }

    /// Does what is due. `mona`: Buffer Probes are not sent, but count as sent.
    pub(in crate::session) fn handle_timeout(&mut self, cx: &mut Context<'_>, mona: bool, erto: Duration) {
        while let Some(slot) = self.table.take_expired(cx.now) {
            let Some(flow) = self.table.get_mut(slot) else {
                return cannot_happen!((), "a sending flow with a deadline is in its slot");
            };
            flow.handle_timeout(cx.now, erto, cx.events);
            if mona && flow.probe_due() {
                flow.probe_sent(cx.now, erto);
            }
            self.reindex(slot);
        }
    }

    /// A Buffer Probe is to be sent.
    pub(in crate::session) fn is_probe_due(&self) -> bool {
        self.table.is_any_due()
    }

    /// RFC 7016 §3.6.2.9.1.
    pub(in crate::session) fn write_probes(&mut self, now: Instant, packet: &mut PacketWriter<'_>, erto: Duration) {
        while let Some(slot) = self.table.first_due() {
            let Some(flow) = self.table.get_mut(slot) else {
                return cannot_happen!((), "a flow with a Buffer Probe to send is in its slot");
            };
            if !packet.push(&BufferProbe { flow_id: flow.flow_id() }) {
                return;
            }
            flow.probe_sent(now, erto);
            self.reindex(slot);
        }
    }

    /// A fragment was declared lost.
    pub(super) fn on_lost(&mut self, lost: Lost, epoch: LossEpoch, cause: LossCause, events: &mut EventQueue) {
        let Lost { flow_slot, sequence, size, by_time, .. } = lost;
        let cause = if by_time { LossCause::TimeThreshold } else { cause };
        let Some(flow) = self.table.get_mut(flow_slot) else {
            return cannot_happen!((), "a flow lives until nothing of it is in flight");
        };
        events.trace(|| TraceEvent::FragmentLost { flow: flow.handle(), sequence, size, cause });
        flow.on_lost(sequence, epoch, events);
        self.reindex(flow_slot);
    }

    /// A fragment is sent again, though nothing shows that it is lost. False if it is not to be sent twice.
    pub(super) fn probe(&mut self, tail: Lost, epoch: LossEpoch) -> bool {
        let Some(flow) = self.table.get_mut(tail.flow_slot) else {
            return cannot_happen!(false, "a flow lives until nothing of it is in flight");
        };
        let probed = flow.probe(tail.sequence, epoch);
        self.reindex(tail.flow_slot);
        probed
    }

    /// RFC 7016 §3.6.2.10.
    pub(in crate::session) fn on_exception(&mut self, cx: &mut Context<'_>, exception: FlowException) {
        let drains = self.rejected.is_some();
        let Some((slot, flow)) = self.by_id_mut(exception.flow_id) else { return };
        let lost = if drains { flow.undelivered() } else { Undelivered::default() };
        flow.on_exception(cx.now, exception.code, cx.events);
        self.reindex(slot);
        if let Some(rejected) = &mut self.rejected {
            **rejected = rejected.and(lost);
        }
    }

    /// What was written and is neither delivered nor abandoned, and what was rejected while the session drains.
    pub(in crate::session) fn undelivered(&self) -> Undelivered {
        let rejected = self.rejected.as_deref().copied().unwrap_or_default();
        self.table.values().fold(rejected, |sum, flow| sum.and(flow.undelivered()))
    }

    /// The session ended: "Flows only exist in S_OPEN sessions" (RFC 7016 §3.5.5).
    pub(super) fn end(&mut self, events: &mut EventQueue) {
        for flow in self.table.values_mut() {
            flow.session_ended(events);
        }
        *self = Self::new(self.session, self.budget.limit());
    }
}
