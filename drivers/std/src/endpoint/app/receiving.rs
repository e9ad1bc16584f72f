//! Flows from far ends: empties the endpoint into the queues of their handles.

use std::sync::{Arc, Mutex};

use rtmfp_core::{Endpoint, FlowEnd, Instant, RecvFlowHandle, SessionHandle};

use super::EndpointApp;
use crate::endpoint::shared::{QUEUE_BYTES, RecvCommand, RecvShared, RecvState, WAITING_FLOWS, lock};

impl EndpointApp {
    pub(super) fn carry_out_of_recv(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        shared: &RecvShared,
        command: RecvCommand,
    ) {
        if let RecvCommand::Stats(asked) = command {
            return asked.answer(endpoint.recv_flow(shared.handle).map(|flow| flow.stats()));
        }
        let go_on = matches!(command, RecvCommand::Receive | RecvCommand::Resume);
        if let Some(mut flow) = endpoint.recv_flow_mut(now, shared.handle) {
            match command {
                RecvCommand::Reject(code) => flow.reject(code),
                RecvCommand::Suspend => flow.suspend(),
                RecvCommand::Resume => flow.resume(),
                RecvCommand::Order(order) => flow.set_order(order),
                RecvCommand::Window(bytes) => flow.set_window(bytes),
                RecvCommand::Receive | RecvCommand::Stats(_) => {}
            }
        }
        if go_on {
            self.receive(now, endpoint, shared.handle);
        }
    }

    pub(super) fn flow_opened(&mut self, now: Instant, endpoint: &mut Endpoint, handle: RecvFlowHandle) {
        let Some(entry) = self.sessions.get_mut(&handle.session()) else { return };
        let session = lock(&entry.shared.0);
        // A session that goes on without handles: an introducer's, or of a registration.
        let kept = self.keeps_sessions && session.is_incoming || session.registrations > 0;
        let nobody = kept && !session.is_attended();
        let refused = nobody || session.flows.len() >= WAITING_FLOWS;
        drop(session);
        if refused {
            if let Some(mut flow) = endpoint.recv_flow_mut(now, handle) {
                flow.reject(0);
            }
            return;
        }
        let Some(flow) = endpoint.recv_flow(handle) else { return };
        let shared = Arc::new(RecvShared {
            handle,
            metadata: flow.metadata().clone(),
            association: flow.association(),
            state: Mutex::new(RecvState::default()),
        });
        entry.receiving.insert(handle, Arc::clone(&shared));
        let mut session = lock(&entry.shared.0);
        session.flows.push_back(shared);
        session.wakers.wake();
        let unaccepted = session.unaccepted;
        drop(session);
        if unaccepted {
            lock(&self.shared.queue).places.brought(now, handle.session());
        }
    }

    /// Nobody can accept the flows that wait in this session, which goes on without handles.
    pub(super) fn reject_unattended(&self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle) {
        let Some(entry) = self.sessions.get(&session) else { return };
        let mut state = lock(&entry.shared.0);
        let waiting = core::mem::take(&mut state.flows);
        state.flows_bytes = 0;
        drop(state);
        for shared in waiting {
            if let Some(mut flow) = endpoint.recv_flow_mut(now, shared.handle) {
                flow.reject(0);
            }
        }
    }

    pub(super) fn receive(&self, now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle) {
        let Some(entry) = self.sessions.get(&flow.session()) else { return };
        let Some(shared) = entry.receiving.get(&flow) else { return };
        let mut state = lock(&shared.state);
        if state.accepted {
            let held_up = read(now, endpoint, flow, &mut state, QUEUE_BYTES);
            drop(state);
            if held_up {
                self.held_up(flow.session());
            }
            return;
        }
        drop(state);
        // All that wait have one queue's worth together.
        let mut session = lock(&entry.shared.0);
        let mut state = lock(&shared.state);
        let others = if state.accepted { 0 } else { session.flows_bytes.saturating_sub(state.bytes) };
        let held_up = read(now, endpoint, flow, &mut state, QUEUE_BYTES.saturating_sub(others));
        if !state.accepted {
            session.flows_bytes = others + state.bytes;
        }
        // What is unlocked last may wake tasks: nothing else is locked then.
        drop(session);
        drop(state);
        if held_up {
            self.held_up(flow.session());
        }
    }

    pub(super) fn flow_finished(&mut self, flow: RecvFlowHandle, end: FlowEnd) {
        let Some(entry) = self.sessions.get_mut(&flow.session()) else { return };
        let Some(shared) = entry.receiving.remove(&flow) else { return };
        let mut state = lock(&shared.state);
        state.end = Some(end);
        state.wakers.wake();
        let empty = !state.accepted && state.messages.is_empty() && end != FlowEnd::Complete;
        drop(state);
        if empty {
            lock(&entry.shared.0).drop_empty_flows();
        }
        self.forget_if_read(flow.session());
    }
}

/// Reads a flow's messages as long as they are less than `room` bytes, unless it is suspended. Whether there was no room
/// for more.
fn read(now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle, state: &mut RecvState, room: usize) -> bool {
    if state.suspended {
        return false;
    }
    let Some(mut flow) = endpoint.recv_flow_mut(now, flow) else { return false };
    state.paused = false;
    loop {
        if state.bytes >= room {
            // Unread, they fill the receive window, which slows the sender down.
            state.paused = true;
            break;
        }
        let Some(message) = flow.read() else { break };
        // An empty message takes room too.
        state.bytes += message.data.len() + 1;
        state.messages.push_back(message);
    }
    if !state.messages.is_empty() {
        state.wakers.wake();
    }
    state.paused
}
