//! Flows to far ends: fills the endpoint from the queues of their handles.

use std::sync::Arc;

use rtmfp_core::error::WriteRefusal;
use rtmfp_core::{Endpoint, FlowOptions, Instant, SendFlowHandle, Undelivered};

use super::EndpointApp;
use super::sessions::Entry;
use crate::endpoint::Error;
use crate::endpoint::shared::{QUEUE_BYTES, SendShared, Within, lock};

impl EndpointApp {
    pub(super) fn open_flow(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        shared: Arc<SendShared>,
        within: &Within,
        options: FlowOptions,
    ) {
        let (session, end) = match within {
            Within::Session(session) => {
                let state = lock(&session.0);
                (state.handle, state.end)
            }
            Within::ReturnTo(flow) => (Some(flow.handle.session()), None),
        };
        let is_closing = session.and_then(|session| self.sessions.get(&session)).is_some_and(Entry::is_closing);
        let opened = match within {
            _ if is_closing => Err(end.unwrap_or(Error::Closed)),
            Within::Session(_) => match session.and_then(|session| endpoint.session_mut(now, session)) {
                Some(mut session) => session.open_flow(options).map_err(Error::NoFlow),
                None => Err(end.unwrap_or(Error::Closed)),
            },
            Within::ReturnTo(flow) => match endpoint.recv_flow_mut(now, flow.handle) {
                Some(mut flow) => flow.open_return_flow(options).map_err(Error::NoFlow),
                None => Err(Error::Closed),
            },
        };
        match opened {
            Ok(handle) => {
                lock(&shared.0).handle = Some(handle);
                if let Some(entry) = self.sessions.get_mut(&handle.session()) {
                    entry.sending.insert(handle, shared);
                }
            }
            Err(error) => {
                let mut state = lock(&shared.0);
                let refused = state.queued();
                state.fail(error);
                drop(state);
                self.on_refused(session, refused);
            }
        }
    }

    /// Has the endpoint take what is in a flow's queue.
    pub(super) fn hand_over(&mut self, now: Instant, endpoint: &mut Endpoint, shared: &SendShared) {
        let refused = send(now, endpoint, shared);
        let Some(handle) = lock(&shared.0).handle else { return };
        self.on_refused(Some(handle.session()), refused);
        self.on_handed_over(now, endpoint, handle);
    }

    pub(super) fn sending(&self, flow: SendFlowHandle) -> Option<&Arc<SendShared>> {
        self.sessions.get(&flow.session())?.sending.get(&flow)
    }

    /// A flow is complete, or was rejected with a code.
    pub(super) fn sending_ended(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        flow: SendFlowHandle,
        code: Option<u64>,
        abandoned: u64,
    ) {
        let Some(entry) = self.sessions.get_mut(&flow.session()) else { return };
        let Some(shared) = entry.sending.remove(&flow) else { return };
        let mut state = lock(&shared.0);
        // Nothing is ever abandoned from here.
        state.completed = abandoned == 0 && state.messages.is_empty();
        match code {
            Some(code) => state.fail(Error::Rejected(code)),
            None if !state.completed => state.fail(Error::Abandoned),
            None => state.wakers.wake(),
        }
        drop(state);
        self.on_handed_over(now, endpoint, flow);
    }
}

/// Hands a flow's messages to the endpoint as long as it takes them. Those that it will not take are returned.
pub(super) fn send(now: Instant, endpoint: &mut Endpoint, shared: &SendShared) -> Undelivered {
    let mut refused = Undelivered::default();
    let mut state = lock(&shared.0);
    let Some(handle) = state.handle else { return refused };
    let Some(mut flow) = endpoint.send_flow_mut(now, handle) else { return refused };
    while let Some(message) = state.messages.pop_front() {
        let bytes = message.len() + 1;
        match flow.write(message) {
            Ok(_) => state.bytes -= bytes,
            Err(refusal) => {
                state.messages.push_front(refusal.data);
                if refusal.reason != WriteRefusal::Full {
                    refused = state.queued();
                    state.fail(Error::Closed);
                }
                // FlowWritable tells when to go on.
                break;
            }
        }
    }
    if state.messages.is_empty() && state.closing {
        flow.close();
    }
    if state.bytes < QUEUE_BYTES {
        state.wakers.wake();
    }
    refused
}
