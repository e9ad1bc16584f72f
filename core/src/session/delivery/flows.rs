//! The flows of a session, found by slot, by handle and by wire flow ID.
//!
//! They share one order of deadlines, one of readiness, and queues of what is due: nothing ever walks over all flows.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::mem::replace;

use super::flow_slots::FlowSlots;
use crate::event::{EventQueue, Undelivered};
use crate::flow::{RecvBudget, RecvFlow, RecvFlowState, Scheduler, SendBudget, SendFlow, SendFlowState};
use crate::handle::{FIRST_FLOW_ID, RecvFlowHandle, SendFlowHandle};
use crate::invariant::cannot_happen;
use crate::time::Instant;

/// Names a flow in the order of deadlines.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in crate::session) enum FlowKey {
    Send(u32),
    Recv(u32),
}

/// All flows of one session.
pub(in crate::session) struct Flows {
    pub(in crate::session) send: FlowSlots<SendFlow>,
    pub(in crate::session) recv: FlowSlots<RecvFlow>,
    /// From the far end's flow IDs to slots.
    recv_by_id: BTreeMap<u64, u32>,
    pub(in crate::session) scheduler: Scheduler,
    deadlines: BTreeSet<(Instant, FlowKey)>,
    /// Sending flows with a buffer probe to send.
    probes: VecDeque<u32>,
    /// Receiving flows with SHOULD_ACK, in the order they came to have it.
    acks: VecDeque<u32>,
    pub(in crate::session) budget: RecvBudget,
    pub(in crate::session) send_budget: SendBudget,
}

/// What an entry of the trees that name flows takes at most: their nodes may be less than half full.
const ENTRY: usize = 64;
/// What a sending flow takes without messages, at most: its place in a table that may be half empty, and its entries.
const SEND_FLOW: usize = 2 * size_of::<SendFlow>() + 3 * ENTRY;
/// The same of a receiving flow, beside its metadata.
pub(in crate::session) const RECV_FLOW: usize = 2 * size_of::<RecvFlow>() + 3 * ENTRY;

/// Takes a slot out of a queue. It is mostly the first: then the others, of which there may be many, are not looked at.
fn take_out(queue: &mut VecDeque<u32>, slot: u32) {
    if queue.front() == Some(&slot) {
        queue.pop_front();
    } else {
        queue.retain(|&queued| queued != slot);
    }
}

/// The slot of one of our own flow IDs.
pub(in crate::session) fn slot_of(flow_id: u64) -> Option<u32> {
    u32::try_from(flow_id.checked_sub(FIRST_FLOW_ID)?).ok()
}

impl Flows {
    pub(in crate::session) fn new(max_recv_bytes: usize, max_send_bytes: usize) -> Self {
        Self {
            send: FlowSlots::new(),
            recv: FlowSlots::new(),
            recv_by_id: BTreeMap::new(),
            scheduler: Scheduler::new(),
            deadlines: BTreeSet::new(),
            probes: VecDeque::new(),
            acks: VecDeque::new(),
            budget: RecvBudget::new(max_recv_bytes),
            send_budget: SendBudget::new(max_send_bytes),
        }
    }

    /// No flows, not even lingering ones.
    pub(in crate::session) fn is_empty(&self) -> bool {
        self.send.len() == 0 && self.recv.len() == 0
    }

    /// Bytes of memory that the sending flows take, at most.
    pub(in crate::session) fn send_memory(&self) -> usize {
        self.send_budget.held().memory.saturating_add(self.send.len() * SEND_FLOW)
    }

    pub(in crate::session) fn send_flow(&self, flow: SendFlowHandle) -> Option<&SendFlow> {
        self.send.get_exact(flow.slot, flow.generation)
    }

    /// The slot of a live handle.
    pub(in crate::session) fn send_slot(&self, flow: SendFlowHandle) -> Option<u32> {
        self.send_flow(flow).map(|_| flow.slot)
    }

    pub(in crate::session) fn recv_flow(&self, flow: RecvFlowHandle) -> Option<&RecvFlow> {
        self.recv.get_exact(flow.slot, flow.generation)
    }

    /// The slot of a live handle.
    pub(in crate::session) fn recv_slot(&self, flow: RecvFlowHandle) -> Option<u32> {
        self.recv_flow(flow).map(|_| flow.slot)
    }

    /// The receiving flow with the far end's flow ID.
    pub(in crate::session) fn recv_slot_by_id(&self, flow_id: u64) -> Option<u32> {
        self.recv_by_id.get(&flow_id).copied()
    }

    pub(in crate::session) fn insert_recv(&mut self, flow_id: u64, make: impl FnOnce(u32, u32) -> RecvFlow) -> u32 {
        let slot = self.recv.insert(make);
        self.recv_by_id.insert(flow_id, slot);
        match self.recv.get(slot) {
            Some(flow) => self.budget.charge_flow(0, RECV_FLOW + flow.metadata().len()),
            None => cannot_happen!((), "the flow was just put in"),
        }
        slot
    }

    /// To be called after anything was done to a sending flow: brings the queues in line with it, and frees its
    /// slot when it is over.
    pub(in crate::session) fn reindex_send(&mut self, slot: u32) {
        let Some(entry) = self.send.entry_mut(slot) else {
            return cannot_happen!((), "a sending flow that changed is in its slot");
        };
        let flow = &mut entry.value;
        let over = flow.state() == SendFlowState::Closed;
        flow.update_budget(over, &mut self.send_budget);
        let (ready, probe, priority) = (flow.is_ready() && !over, flow.probe_due() && !over, flow.priority());
        let deadline = flow.next_timeout().filter(|_| !over);
        let before = replace(&mut entry.deadline, deadline);
        let was_queued = replace(&mut entry.queued, probe);
        if before != deadline {
            self.move_deadline(FlowKey::Send(slot), before, deadline);
        }
        if ready {
            self.scheduler.insert(slot, priority);
        } else {
            self.scheduler.remove(slot);
        }
        if was_queued != probe {
            if probe {
                self.probes.push_back(slot);
            } else {
                take_out(&mut self.probes, slot);
            }
        }
        if over {
            self.send.remove(slot);
        }
    }

    /// To be called after anything was done to a receiving flow.
    pub(in crate::session) fn reindex_recv(&mut self, slot: u32) {
        let Some(entry) = self.recv.entry_mut(slot) else {
            return cannot_happen!((), "a receiving flow that changed is in its slot");
        };
        let flow = &entry.value;
        let (over, ended) = (flow.is_gone(), flow.state() == RecvFlowState::Closed);
        let due = !over && !ended && (flow.ack_due() || flow.ack_now_after_read());
        let deadline = flow.next_timeout().filter(|_| !over);
        let (flow_id, memory) = (flow.flow_id(), RECV_FLOW + flow.metadata().len());
        let before = replace(&mut entry.deadline, deadline);
        let was_queued = replace(&mut entry.queued, due);
        if before != deadline {
            self.move_deadline(FlowKey::Recv(slot), before, deadline);
        }
        if was_queued != due {
            if due {
                self.acks.push_back(slot);
            } else {
                take_out(&mut self.acks, slot);
            }
        }
        // The far end may use the number again for another flow (§3.6.2.11), though this one is not read to its end.
        if ended && self.recv_by_id.get(&flow_id) == Some(&slot) {
            self.recv_by_id.remove(&flow_id);
        }
        if over {
            self.recv.remove(slot);
            self.budget.charge_flow(memory, 0);
        }
    }

    fn move_deadline(&mut self, key: FlowKey, before: Option<Instant>, after: Option<Instant>) {
        if let Some(before) = before {
            self.deadlines.remove(&(before, key));
        }
        if let Some(after) = after {
            self.deadlines.insert((after, key));
        }
    }

    /// The earliest deadline of any flow.
    pub(in crate::session) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(at, _)| at)
    }

    /// A flow with a deadline that has come. Its deadline is forgotten until the flow is reindexed.
    pub(in crate::session) fn take_due(&mut self, now: Instant) -> Option<FlowKey> {
        let &(at, key) = self.deadlines.first().filter(|&&(at, _)| at <= now)?;
        self.deadlines.remove(&(at, key));
        let deadline = match key {
            FlowKey::Send(slot) => self.send.entry_mut(slot).map(|entry| &mut entry.deadline),
            FlowKey::Recv(slot) => self.recv.entry_mut(slot).map(|entry| &mut entry.deadline),
        };
        match deadline {
            Some(deadline) => *deadline = None,
            None => cannot_happen!((), "a flow with a deadline is in its slot"),
        }
        Some(key)
    }

    /// The receiving flow whose acknowledgement has been due longest.
    pub(in crate::session) fn first_ack(&self) -> Option<u32> {
        self.acks.front().copied()
    }

    /// The sending flow whose buffer probe has been due longest.
    pub(in crate::session) fn first_probe(&self) -> Option<u32> {
        self.probes.front().copied()
    }

    pub(in crate::session) fn acks_due(&self) -> bool {
        !self.acks.is_empty()
    }

    pub(in crate::session) fn probes_due(&self) -> bool {
        !self.probes.is_empty()
    }

    /// The session ended: "Flows only exist in S_OPEN sessions" (RFC 7016 §3.5.5). Complete receiving flows stay until
    /// they are read to their end.
    pub(in crate::session) fn end(&mut self, events: &mut EventQueue) {
        for flow in self.send.values_mut() {
            flow.session_ended(events);
        }
        for slot in self.recv.slots() {
            if let Some(flow) = self.recv.get_mut(slot) {
                flow.session_ended(&mut self.budget, events);
                self.reindex_recv(slot);
            }
        }
        let ended = Self::new(self.budget.limit(), self.send_budget.limit());
        let Self { recv, recv_by_id, budget, .. } = replace(self, ended);
        if recv.len() > 0 {
            (self.recv, self.recv_by_id, self.budget) = (recv, recv_by_id, budget);
        }
    }

    /// What was written and is neither delivered nor abandoned.
    pub(in crate::session) fn undelivered(&self) -> Undelivered {
        self.send.values().fold(Undelivered::default(), |sum, flow| sum.and(flow.undelivered()))
    }

    /// Whether an ended session has flows that are not read to their end.
    pub(in crate::session) fn has_unread(&self) -> bool {
        self.recv.len() > 0
    }

    /// Frees what is kept for receiving flows to come, of which there are none.
    pub(in crate::session) fn forget_recv(&mut self) {
        if self.budget.memory() > 0 {
            self.budget = RecvBudget::new(self.budget.limit());
        }
    }

    /// Ends what was left to be read after the session.
    pub(in crate::session) fn discard_unread(&mut self, events: &mut EventQueue) {
        for slot in self.recv.slots() {
            if let Some(flow) = self.recv.get_mut(slot) {
                flow.discard_unread(&mut self.budget, events);
                self.reindex_recv(slot);
            }
        }
    }
}
