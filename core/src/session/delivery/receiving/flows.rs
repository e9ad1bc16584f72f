//! The receiving flows of a session, by slot, by handle and by the far end's flow ID, and what they hold.

use alloc::collections::BTreeMap;

use super::super::flow_table::{ENTRY, FlowTable, Standing};
use crate::event::EventQueue;
use crate::flow::{RecvBudget, RecvFlow, RecvFlowState};
use crate::handle::RecvFlowHandle;
use crate::invariant::cannot_happen;
use crate::time::Instant;

/// What a receiving flow takes beside its metadata, at most: its place in a table that may be half empty, and its
/// entries.
pub(super) const RECV_FLOW: usize = 2 * size_of::<RecvFlow>() + 3 * ENTRY;

/// The receiving flows of one session. After each change to one its queues are brought in line with it
/// ([`reindex`](Self::reindex)).
pub(in crate::session) struct RecvFlows {
    /// Due are those with SHOULD_ACK.
    pub(in crate::session) table: FlowTable<RecvFlow>,
    /// From the far end's flow IDs to slots.
    by_id: BTreeMap<u64, u32>,
    pub(in crate::session) budget: RecvBudget,
}

impl RecvFlows {
    pub(super) fn new(max_recv_bytes: usize) -> Self {
        Self { table: FlowTable::new(), by_id: BTreeMap::new(), budget: RecvBudget::new(max_recv_bytes) }
    }

    /// No flows, not even lingering ones.
    pub(in crate::session) const fn is_empty(&self) -> bool {
        self.table.len() == 0
    }

    pub(in crate::session) fn get(&self, flow: RecvFlowHandle) -> Option<&RecvFlow> {
        self.table.get_exact(flow.slot, flow.generation)
    }

    /// The flow of a live handle with what all flows hold, to change it.
    pub(super) fn get_mut(&mut self, flow: RecvFlowHandle) -> Option<(&mut RecvFlow, &mut RecvBudget)> {
        Some((self.table.get_exact_mut(flow.slot, flow.generation)?, &mut self.budget))
    }

    /// The slot of the flow with the far end's flow ID.
    pub(super) fn slot_by_id(&self, flow_id: u64) -> Option<u32> {
        self.by_id.get(&flow_id).copied()
    }

    /// Puts in what `make` makes of a slot and a generation; returns the slot. To be reindexed.
    pub(super) fn insert(&mut self, flow_id: u64, make: impl FnOnce(u32, u32) -> RecvFlow) -> u32 {
        let slot = self.table.insert(make);
        self.by_id.insert(flow_id, slot);
        match self.table.get(slot) {
            Some(flow) => self.budget.charge_flow(0, RECV_FLOW + flow.metadata().len()),
            None => cannot_happen!((), "the flow was just put in"),
        }
        slot
    }

    /// To be called after anything was done to a flow: brings the queues in line with it, and frees its slot when it is
    /// over.
    pub(super) fn reindex(&mut self, slot: u32) {
        let standing = self.table.reindex(slot, |flow| {
            let (over, ended) = (flow.is_gone(), flow.state() == RecvFlowState::Closed);
            let due = !ended && (flow.ack_due() || flow.ack_now_after_read());
            let freed = if over { RECV_FLOW + flow.metadata().len() } else { 0 };
            (Standing { over, deadline: flow.next_timeout(), due }, (ended.then(|| flow.flow_id()), freed))
        });
        let Some((ended, freed)) = standing else { return };
        // The far end may use the number again for another flow (§3.6.2.11), though this one is not read to its end.
        if let Some(flow_id) = ended
            && self.slot_by_id(flow_id) == Some(slot)
        {
            self.by_id.remove(&flow_id);
        }
        if freed > 0 {
            self.budget.charge_flow(freed, 0);
        }
    }

    /// The earliest deadline of any flow.
    pub(in crate::session) const fn next_deadline(&self) -> Option<Instant> {
        self.table.next_deadline()
    }

    /// Does what is due.
    pub(in crate::session) fn handle_timeout(&mut self, now: Instant) {
        while let Some(slot) = self.table.take_expired(now) {
            let Some(flow) = self.table.get_mut(slot) else {
                return cannot_happen!((), "a receiving flow with a deadline is in its slot");
            };
            flow.handle_timeout(now, &mut self.budget);
            self.reindex(slot);
        }
    }

    /// An acknowledgement is to be sent, be it now or later.
    pub(in crate::session) fn is_ack_due(&self) -> bool {
        self.table.is_any_due()
    }

    /// Acknowledges all flows, whether anything new came or not.
    pub(super) fn acknowledge_again(&mut self) {
        self.each(RecvFlow::acknowledge_again);
    }

    /// Acknowledges what is read, or stays readable, when the session ends.
    pub(super) fn acknowledge_kept(&mut self) {
        self.each(RecvFlow::acknowledge_kept);
    }

    fn each(&mut self, act: impl Fn(&mut RecvFlow)) {
        for slot in self.table.slots() {
            if let Some(flow) = self.table.get_mut(slot) {
                act(flow);
                self.reindex(slot);
            }
        }
    }

    /// The session ended: "Flows only exist in S_OPEN sessions" (RFC 7016 §3.5.5). Complete flows stay until they are
    /// read to their end.
    pub(super) fn end(&mut self, events: &mut EventQueue) {
        for slot in self.table.slots() {
            if let Some(flow) = self.table.get_mut(slot) {
                flow.session_ended(&mut self.budget, events);
                self.reindex(slot);
            }
        }
        if self.is_empty() {
            *self = Self::new(self.budget.limit());
        }
    }

    /// Frees what is kept for flows to come, of which there are none.
    pub(super) fn trim(&mut self) {
        if self.budget.memory() > 0 {
            self.budget = RecvBudget::new(self.budget.limit());
        }
    }

    /// Ends what was left to be read after the session.
    pub(in crate::session) fn discard_unread(&mut self, events: &mut EventQueue) {
        for slot in self.table.slots() {
            if let Some(flow) = self.table.get_mut(slot) {
                flow.discard_unread(&mut self.budget, events);
                self.reindex(slot);
            }
        }
    }
}
