//! The user's commands to receiving flows. A handle of another session, or a stale one, finds nothing: commands then do
//! nothing.

use super::Receiving;
use crate::config::ReceiveOrder;
use crate::flow::{Message, RecvFlowState};
use crate::handle::RecvFlowHandle;
use crate::session::context::Context;

impl Receiving {
    pub(crate) fn read(&mut self, cx: &mut Context<'_>, flow: RecvFlowHandle) -> Option<Message> {
        let before = self.flows.budget.buffered();
        let (found, budget) = self.flows.get_mut(flow)?;
        let message = found.read(cx.now, budget, cx.events);
        // In the same measure as what is held: an empty message takes memory too.
        self.stall.moved(self.flows.budget.buffered().abs_diff(before) as u64);
        self.reindex(flow.slot);
        message
    }

    /// RFC 7016 §3.6.3.7. The far end is told at once, unless the flow is complete.
    pub(crate) fn reject(&mut self, cx: &mut Context<'_>, flow: RecvFlowHandle, code: u64) {
        if let Some((found, budget)) = self.flows.get_mut(flow) {
            let was_open = found.state() == RecvFlowState::Open;
            found.reject(cx.now, code, budget, cx.events);
            if was_open {
                self.acks.set_now();
            }
            self.reindex(flow.slot);
        }
    }

    pub(crate) fn suspend(&mut self, flow: RecvFlowHandle) {
        if let Some((found, budget)) = self.flows.get_mut(flow) {
            found.suspend(budget);
            self.flows.reindex(flow.slot);
        }
    }

    pub(crate) fn resume(&mut self, cx: &mut Context<'_>, flow: RecvFlowHandle) {
        if let Some((found, budget)) = self.flows.get_mut(flow) {
            found.resume(budget, cx.events);
            self.reindex(flow.slot);
        }
    }

    pub(crate) fn set_order(&mut self, cx: &mut Context<'_>, flow: RecvFlowHandle, order: ReceiveOrder) {
        if let Some((found, budget)) = self.flows.get_mut(flow) {
            found.set_order(order, budget, cx.events);
            self.reindex(flow.slot);
        }
    }

    pub(crate) fn set_window(&mut self, flow: RecvFlowHandle, bytes: usize) {
        if let Some((found, budget)) = self.flows.get_mut(flow) {
            found.set_window(bytes, budget);
            self.reindex(flow.slot);
        }
    }

    /// Brings the queues in line with a flow; what should be told of its window is due at once.
    fn reindex(&mut self, slot: u32) {
        if self.flows.table.get(slot).is_some_and(|flow| flow.ack_now_after_read()) {
            self.acks.set_now();
        }
        self.flows.reindex(slot);
    }
}
