//! Flows to far ends: fills the endpoint from the queues of their handles.

use std::sync::Arc;

use rtmfp_core::error::WriteRefusal;
use rtmfp_core::{Endpoint, FlowOptions, Instant, MessageId, MessageOutcome, SendFlowHandle, SendOptions, Undelivered};

use super::EndpointApp;
use super::sessions::Entry;
use crate::endpoint::Error;
use crate::endpoint::shared::{
    Outgoing, QUEUE_BYTES, ReceiptShared, SendCommand, SendShared, SendState, Special, Within, lock,
};

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
            Within::ReturnTo(flow) => {
                let session = flow.handle.session();
                (Some(session), self.sessions.get(&session).and_then(|entry| lock(&entry.shared.0).end))
            }
        };
        let is_closing = session.and_then(|session| self.sessions.get(&session)).is_some_and(Entry::is_closing);
        let opened = match within {
            // The endpoint may have the session for a while yet.
            _ if is_closing || end.is_some() => Err(end.unwrap_or(Error::Closed)),
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

    pub(super) fn carry_out_of_send(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        shared: &SendShared,
        command: SendCommand,
    ) {
        match command {
            SendCommand::HandOver => {
                lock(&shared.0).scheduled = false;
                self.hand_over(now, endpoint, shared);
            }
            SendCommand::FixLimits(receipt) => drop(lock(&receipt.0).fix(now)),
            SendCommand::Abandon(receipt) => self.abandon(now, endpoint, shared, &receipt),
            SendCommand::SetPriority(priority) => {
                let handle = lock(&shared.0).handle;
                if let Some(mut flow) = handle.and_then(|handle| endpoint.send_flow_mut(now, handle)) {
                    flow.set_priority(priority);
                }
            }
            SendCommand::Stats(asked) => {
                let handle = lock(&shared.0).handle;
                asked.answer(handle.and_then(|handle| endpoint.send_flow(handle)).map(|flow| flow.stats()));
            }
        }
    }

    /// Abandons a message, wherever it is.
    fn abandon(&mut self, now: Instant, endpoint: &mut Endpoint, shared: &SendShared, receipt: &ReceiptShared) {
        let mut state = lock(&shared.0);
        let (queued, message) = {
            let receipt = lock(&receipt.0);
            (receipt.queued, receipt.message)
        };
        if let (Some(message), Some(handle)) = (message, state.handle) {
            drop(state);
            if let Some(mut flow) = endpoint.send_flow_mut(now, handle) {
                flow.abandon(message);
            }
        } else if let Some(message) = queued.and_then(|number| state.messages.remove(number)) {
            state.discard(&message);
            drop(state);
            self.hand_over(now, endpoint, shared);
        }
    }

    /// Has the endpoint take what is in a flow's queue.
    pub(super) fn hand_over(&mut self, now: Instant, endpoint: &mut Endpoint, shared: &SendShared) {
        let refused = send(now, endpoint, shared);
        let state = lock(&shared.0);
        let Some(handle) = state.handle else { return };
        self.expiries.set(handle, state.messages.next_expiry());
        drop(state);
        self.on_refused(Some(handle.session()), refused);
        self.on_handed_over(now, endpoint, handle);
    }

    pub(super) fn sending(&self, flow: SendFlowHandle) -> Option<&Arc<SendShared>> {
        self.sessions.get(&flow.session())?.sending.get(&flow)
    }

    /// A flow is complete, or was rejected with a code. `rejected`: messages that the receiver has not taken.
    pub(super) fn sending_ended(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        flow: SendFlowHandle,
        code: Option<u64>,
        rejected: u64,
    ) {
        let Some(entry) = self.sessions.get_mut(&flow.session()) else { return };
        let Some(shared) = entry.sending.remove(&flow) else { return };
        self.expiries.set(flow, None);
        let mut state = lock(&shared.0);
        state.completed = rejected == 0 && state.messages.is_empty();
        match code {
            Some(code) => state.fail(Error::Rejected(code)),
            None if !state.completed => state.fail(Error::Abandoned),
            None => state.wakers.wake(),
        }
        drop(state);
        self.on_handed_over(now, endpoint, flow);
    }

    pub(super) fn message_done(&self, flow: SendFlowHandle, message: MessageId, outcome: MessageOutcome) {
        let Some(shared) = self.sending(flow) else { return };
        let mut state = lock(&shared.0);
        if let Some(receipt) = state.receipts.remove(&message) {
            state.resolve(&receipt, outcome);
        }
    }
}

/// Hands a flow's messages to the endpoint as long as it takes them. Those that it will not take are returned.
pub(super) fn send(now: Instant, endpoint: &mut Endpoint, shared: &SendShared) -> Undelivered {
    let mut refused = Undelivered::default();
    let mut state = lock(&shared.0);
    state.messages.fix_limits(now);
    while let Some(expired) = state.messages.pop_expired(now) {
        state.discard(&expired);
    }
    let Some(handle) = state.handle else { return refused };
    let Some(mut flow) = endpoint.send_flow_mut(now, handle) else { return refused };
    while let Some(Outgoing { data, special }) = state.messages.pop() {
        let options = special.as_deref().map_or_else(|| Some(SendOptions::default()), |special| options(now, special));
        let Some(options) = options else {
            state.discard(&Outgoing { data, special });
            continue;
        };
        match flow.write_with(data, options) {
            Ok(message) => taken(&mut state, message, special),
            Err(refusal) => {
                state.messages.put_back(Outgoing { data: refusal.data, special });
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
    if state.messages.bytes() < QUEUE_BYTES {
        state.wakers.wake();
    }
    refused
}

/// How the endpoint is to send a message. None if the one that it depends on was abandoned before it was sent.
fn options(now: Instant, special: &Special) -> Option<SendOptions> {
    let mut options = SendOptions::default();
    [options.start_by, options.finish_by] = lock(&special.receipt.0).fix(now);
    options.retransmit = special.retransmit;
    options.receipt = true;
    if let Some(parent) = &special.after {
        let parent = lock(&parent.0);
        match (parent.message, parent.outcome) {
            (_, Some(MessageOutcome::Delivered)) => {}
            (Some(message), _) => options.after = Some(message),
            (None, Some(_)) => return None,
            (None, None) => {}
        }
    }
    Some(options)
}

/// The endpoint has taken a message.
fn taken(state: &mut SendState, message: MessageId, special: Option<Box<Special>>) {
    if let Some(special) = special {
        let mut receipt = lock(&special.receipt.0);
        receipt.message = Some(message);
        receipt.queued = None;
        drop(receipt);
        state.receipts.insert(message, special.receipt);
    }
}
