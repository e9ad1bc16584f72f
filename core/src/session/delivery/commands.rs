//! The user's commands. A handle of another session, or a stale one, finds nothing: commands then do nothing.

use bytes::Bytes;

use super::Delivery;
use crate::config::{FlowOptions, Priority, ReceiveOrder, SendOptions, SessionConfig};
use crate::error::{OpenFlowError, WriteError, WriteRefusal};
use crate::flow::{Message, RecvFlowState, SendFlow};
use crate::handle::{MessageId, RecvFlowHandle, SendFlowHandle};
use crate::params::METADATA_MAX;
use crate::session::context::Context;

/// What a datagram must hold besides a flow's metadata: the profile's front and back, headers, and some data.
const BESIDE_METADATA: usize = 128;

impl Delivery {
    /// Opens a sending flow (RFC 7016 §3.6.2.1), also while the session is opening.
    pub(in crate::session) fn open_flow(
        &mut self,
        config: &SessionConfig,
        options: FlowOptions,
    ) -> Result<SendFlowHandle, OpenFlowError> {
        // Until it is acknowledged, the metadata stands in every packet of the flow, beside headers and some data.
        let room = config.base_datagram.saturating_sub(BESIDE_METADATA);
        if options.metadata.len() > METADATA_MAX.min(room) {
            return Err(OpenFlowError::MetadataTooLong);
        }
        if self.flows.send.len() >= config.max_send_flows {
            return Err(OpenFlowError::TooManyFlows);
        }
        // RFC 7016 §3.6.2.1: not in response to a flow that is not RF_OPEN.
        let association = match options.association {
            Some(handle) if handle.session != self.session => return Err(OpenFlowError::AssociationNotOpen),
            Some(handle) => match self.flows.recv_flow(handle) {
                Some(flow) if flow.state() == RecvFlowState::Open => Some(flow.flow_id()),
                _ => return Err(OpenFlowError::AssociationNotOpen),
            },
            None => None,
        };
        let session = self.session;
        let send_buffer = options.send_buffer.unwrap_or(config.send_buffer);
        let mut handle = SendFlowHandle { session, slot: 0, generation: 0 };
        let slot = self.flows.send.insert(|slot, generation| {
            handle = SendFlowHandle { session, slot, generation };
            SendFlow::new(handle, handle.flow_id(), &options, association, send_buffer)
        });
        self.flows.reindex_send(slot);
        Ok(handle)
    }

    pub(crate) fn write(
        &mut self,
        cx: &mut Context<'_>,
        flow: SendFlowHandle,
        data: Bytes,
        options: SendOptions,
    ) -> Result<MessageId, WriteError> {
        let found = self.flows.send_slot(flow).and_then(|slot| self.flows.send.get_mut(slot));
        let Some(found) = found else {
            return Err(WriteError { data, reason: WriteRefusal::Closed });
        };
        if !found.has_room(data.len(), &mut self.flows.send_budget) {
            return Err(WriteError { data, reason: WriteRefusal::Full });
        }
        let result = found.write(cx.now, data, options, cx.events);
        self.flows.reindex_send(flow.slot);
        result
    }

    /// Whether a message of this length would be taken now.
    pub(crate) fn has_room(&mut self, flow: SendFlowHandle, len: usize) -> bool {
        let found = self.flows.send_slot(flow).and_then(|slot| self.flows.send.get_mut(slot));
        found.is_none_or(|found| found.has_room(len, &mut self.flows.send_budget))
    }

    pub(crate) fn abandon(&mut self, cx: &mut Context<'_>, flow: SendFlowHandle, message: MessageId) -> bool {
        let found = self.flows.send_slot(flow).and_then(|slot| self.flows.send.get_mut(slot));
        let done = found.is_some_and(|found| found.abandon(message, cx.events));
        if done {
            self.flows.reindex_send(flow.slot);
        }
        done
    }

    pub(crate) fn set_priority(&mut self, flow: SendFlowHandle, priority: Priority) {
        let Some(slot) = self.flows.send_slot(flow) else {
            return;
        };
        if let Some(found) = self.flows.send.get_mut(slot)
            && found.priority() != priority
        {
            found.set_priority(priority);
            // Out of its level's queue, and into the other.
            self.flows.scheduler.remove(slot);
            self.flows.reindex_send(slot);
        }
    }

    pub(crate) fn close_flow(&mut self, cx: &mut Context<'_>, flow: SendFlowHandle) {
        if let Some(slot) = self.flows.send_slot(flow)
            && let Some(found) = self.flows.send.get_mut(slot)
        {
            found.close(cx.now, cx.events);
            self.flows.reindex_send(slot);
        }
    }

    /// Closes all flows: nothing more is written, and what was is still sent.
    pub(in crate::session) fn close_flows(&mut self, cx: &mut Context<'_>) {
        for slot in self.flows.send.slots() {
            if let Some(flow) = self.flows.send.get_mut(slot) {
                flow.close(cx.now, cx.events);
                self.flows.reindex_send(slot);
            }
        }
    }

    pub(crate) fn read(&mut self, cx: &mut Context<'_>, flow: RecvFlowHandle) -> Option<Message> {
        let slot = self.flows.recv_slot(flow)?;
        let before = self.flows.budget.buffered();
        let message = self.flows.recv.get_mut(slot)?.read(cx.now, &mut self.flows.budget, cx.events);
        // In the same measure as what is held: an empty message takes memory too.
        self.recv_stall.moved(self.flows.budget.buffered().abs_diff(before) as u64);
        self.reindex_recv(slot);
        message
    }

    /// RFC 7016 §3.6.3.7. The far end is told at once, unless the flow is complete.
    pub(crate) fn reject(&mut self, cx: &mut Context<'_>, flow: RecvFlowHandle, code: u64) {
        if let Some(slot) = self.flows.recv_slot(flow)
            && let Some(found) = self.flows.recv.get_mut(slot)
        {
            if found.state() == RecvFlowState::Open {
                self.acks.set_now();
            }
            found.reject(cx.now, code, &mut self.flows.budget, cx.events);
            self.reindex_recv(slot);
        }
    }

    pub(crate) fn suspend(&mut self, flow: RecvFlowHandle) {
        if let Some(slot) = self.flows.recv_slot(flow)
            && let Some(found) = self.flows.recv.get_mut(slot)
        {
            found.suspend();
            self.flows.reindex_recv(slot);
        }
    }

    pub(crate) fn resume(&mut self, cx: &mut Context<'_>, flow: RecvFlowHandle) {
        if let Some(slot) = self.flows.recv_slot(flow)
            && let Some(found) = self.flows.recv.get_mut(slot)
        {
            found.resume(cx.events);
            self.reindex_recv(slot);
        }
    }

    pub(crate) fn set_order(&mut self, cx: &mut Context<'_>, flow: RecvFlowHandle, order: ReceiveOrder) {
        if let Some(slot) = self.flows.recv_slot(flow)
            && let Some(found) = self.flows.recv.get_mut(slot)
        {
            found.set_order(order, &mut self.flows.budget, cx.events);
            self.reindex_recv(slot);
        }
    }

    pub(crate) fn set_window(&mut self, flow: RecvFlowHandle, bytes: usize) {
        if let Some(slot) = self.flows.recv_slot(flow)
            && let Some(found) = self.flows.recv.get_mut(slot)
        {
            found.set_window(bytes);
            self.reindex_recv(slot);
        }
    }

    /// There is memory again for what was refused for want of it.
    pub(crate) fn memory_is_back(&mut self, cx: &mut Context<'_>) {
        for slot in self.flows.send_budget.take_refused() {
            if let Some(flow) = self.flows.send.get_mut(slot) {
                flow.memory_is_back(cx.events);
            }
        }
    }

    /// Brings the queues in line with a flow; what should be told of its window is due at once.
    fn reindex_recv(&mut self, slot: u32) {
        if self.flows.recv.get(slot).is_some_and(|flow| flow.ack_now_after_read()) {
            self.acks.set_now();
        }
        self.flows.reindex_recv(slot);
    }
}
