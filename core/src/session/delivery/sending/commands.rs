//! The user's commands to sending flows. A handle of another session, or a stale one, finds nothing: commands then do
//! nothing.

use bytes::Bytes;

use super::flows::SendFlows;
use crate::config::{FlowOptions, Priority, SendOptions, SessionConfig};
use crate::error::{OpenFlowError, WriteError, WriteRefusal};
use crate::flow::{SendFlow, SendLimits};
use crate::handle::{MessageId, RecvFlowHandle, SendFlowHandle};
use crate::params::METADATA_MAX;
use crate::session::context::Context;

/// What a datagram must hold besides a flow's metadata: the profile's front and back, headers, and some data.
const BESIDE_METADATA: usize = 128;

impl SendFlows {
    /// Opens a sending flow (RFC 7016 §3.6.2.1), also while the session is opening. `open_flow_id`: the flow ID of the
    /// receiving flow that it answers, if that is RF_OPEN.
    pub(in crate::session) fn open(
        &mut self,
        config: &SessionConfig,
        options: &FlowOptions,
        open_flow_id: impl FnOnce(RecvFlowHandle) -> Option<u64>,
    ) -> Result<SendFlowHandle, OpenFlowError> {
        // Until it is acknowledged, the metadata stands in every packet of the flow, beside headers and some data.
        let room = config.base_datagram.saturating_sub(BESIDE_METADATA);
        if options.metadata.len() > METADATA_MAX.min(room) {
            return Err(OpenFlowError::MetadataTooLong);
        }
        if self.table.len() >= config.max_send_flows {
            return Err(OpenFlowError::TooManyFlows);
        }
        let association = match options.association {
            Some(flow) => Some(open_flow_id(flow).ok_or(OpenFlowError::AssociationNotOpen)?),
            None => None,
        };
        let session = self.session;
        let limits = SendLimits { buffer: config.send_buffer, unsent: config.unsent_limit };
        let mut handle = SendFlowHandle { session, slot: 0, generation: 0 };
        let slot = self.table.insert(|slot, generation| {
            handle = SendFlowHandle { session, slot, generation };
            SendFlow::new(handle, handle.flow_id(), options, association, limits)
        });
        self.reindex(slot);
        Ok(handle)
    }

    fn get_mut(&mut self, flow: SendFlowHandle) -> Option<&mut SendFlow> {
        self.table.get_exact_mut(flow.slot, flow.generation)
    }

    pub(crate) fn write(
        &mut self,
        cx: &mut Context<'_>,
        flow: SendFlowHandle,
        data: Bytes,
        options: SendOptions,
    ) -> Result<MessageId, WriteError> {
        let Some(found) = self.table.get_exact_mut(flow.slot, flow.generation) else {
            return Err(WriteError { data, reason: WriteRefusal::Closed });
        };
        if !found.has_room(data.len(), &mut self.budget) {
            return Err(WriteError { data, reason: WriteRefusal::Full });
        }
        let result = found.write(cx.now, data, options, cx.events);
        self.reindex(flow.slot);
        result
    }

    /// Whether a message of this length would be taken now.
    pub(crate) fn has_room(&mut self, flow: SendFlowHandle, len: usize) -> bool {
        let found = self.table.get_exact_mut(flow.slot, flow.generation);
        found.is_none_or(|found| found.has_room(len, &mut self.budget))
    }

    pub(crate) fn abandon(&mut self, cx: &mut Context<'_>, flow: SendFlowHandle, message: MessageId) -> bool {
        let done = self.get_mut(flow).is_some_and(|found| found.abandon(message, cx.events));
        if done {
            self.reindex(flow.slot);
        }
        done
    }

    pub(crate) fn set_priority(&mut self, flow: SendFlowHandle, priority: Priority) {
        if let Some(found) = self.get_mut(flow)
            && found.priority() != priority
        {
            found.set_priority(priority);
            // Out of its level's queue, and into the other.
            self.scheduler.remove(flow.slot);
            self.reindex(flow.slot);
        }
    }

    pub(crate) fn close(&mut self, cx: &mut Context<'_>, flow: SendFlowHandle) {
        if let Some(found) = self.get_mut(flow) {
            found.close(cx.now, cx.events);
            self.reindex(flow.slot);
        }
    }

    /// The session drains, or is to: from now on, what is rejected counts as undelivered.
    pub(crate) fn count_rejected(&mut self) {
        self.rejected.get_or_insert_default();
    }

    /// Closes all flows: nothing more is written, and what was is still sent.
    pub(in crate::session) fn close_all(&mut self, cx: &mut Context<'_>) {
        self.count_rejected();
        for slot in self.table.slots() {
            if let Some(flow) = self.table.get_mut(slot) {
                flow.close(cx.now, cx.events);
                self.reindex(slot);
            }
        }
    }

    /// There is memory again for what was refused for want of it.
    pub(crate) fn memory_is_back(&mut self, cx: &mut Context<'_>) {
        for slot in self.budget.take_refused() {
            if let Some(flow) = self.table.get_mut(slot) {
                flow.memory_is_back(cx.events);
            }
        }
    }
}
