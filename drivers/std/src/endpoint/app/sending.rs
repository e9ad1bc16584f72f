//! Flows to far ends: fills the endpoint from the queues of their handles.

use std::sync::Arc;

use rtmfp_core::error::WriteRefusal;
use rtmfp_core::{
    Endpoint, FlowOptions, Instant, MessageId, MessageOutcome, SendFlowHandle, SendFlowMut, SendOptions, Undelivered,
};

use super::EndpointApp;
use super::sessions::Entry;
use crate::endpoint::Error;
use crate::endpoint::shared::{Outgoing, QUEUE_BYTES, ReceiptShared, SendCommand, SendShared, Special, Within, lock};

/// Messages that are handed to the endpoint at a time.
const BATCH: usize = 64;

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
            SendCommand::WaitForRoom(receipt) => {
                lock(&shared.0).wait_for_room(now, receipt);
                self.hand_over(now, endpoint, shared);
            }
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
            state.discard(message);
            drop(state);
            self.hand_over(now, endpoint, shared);
        }
    }

    /// Has the endpoint take what is in a flow's queue.
    pub(super) fn hand_over(&mut self, now: Instant, endpoint: &mut Endpoint, shared: &SendShared) {
        let refused = send(now, endpoint, shared);
        let state = lock(&shared.0);
        let Some(handle) = state.handle else { return };
        self.expiries.set(handle, state.next_expiry());
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
        let refused = state.queued();
        state.completed = rejected == 0 && state.messages.is_empty();
        match code {
            Some(code) => state.fail(Error::Rejected(code)),
            None if !state.completed => state.fail(Error::Abandoned),
            None => state.wakers.wake(),
        }
        drop(state);
        self.on_refused(Some(flow.session()), refused);
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
    let mut state = lock(&shared.0);
    state.expire(now);
    let handle = state.handle;
    drop(state);
    let mut refused = Undelivered::default();
    let Some(mut flow) = handle.and_then(|handle| endpoint.send_flow_mut(now, handle)) else { return refused };
    loop {
        // Nothing is locked while the endpoint has a message: it may free payloads, whose owners may do anything.
        let mut batch = lock(&shared.0).messages.take(BATCH).into_iter();
        let (mut receipts, mut refusal) = (Vec::new(), None);
        for message in batch.by_ref() {
            match write(now, &mut flow, message) {
                Ok(receipt) => receipts.extend(receipt),
                Err(refused) => {
                    refusal = Some(refused);
                    break;
                }
            }
        }
        let (message, reason) = refusal.unzip();
        let mut state = lock(&shared.0);
        state.receipts.extend(receipts);
        state.messages.put_back(message.into_iter().chain(batch));
        if reason.is_some_and(|reason| reason != WriteRefusal::Full) {
            refused = state.queued();
            state.fail(Error::Closed);
        }
        // If it is full, FlowWritable tells when to go on.
        if reason.is_none() && !state.messages.is_empty() {
            continue;
        }
        let closes = state.messages.is_empty() && state.closing;
        if state.messages.bytes() < QUEUE_BYTES {
            state.wakers.wake();
        }
        drop(state);
        if closes {
            flow.close();
        }
        return refused;
    }
}

/// What the endpoint has taken with a receipt, or the message that it has not taken, and why.
type Written = Result<Option<(MessageId, Arc<ReceiptShared>)>, (Outgoing, WriteRefusal)>;

/// Hands a message to the endpoint. One that depends on another which was abandoned is abandoned too.
fn write(now: Instant, flow: &mut SendFlowMut<'_>, Outgoing { data, special }: Outgoing) -> Written {
    let options = match special.as_deref().map(|special| options(now, special)) {
        None => SendOptions::default(),
        Some(Some(options)) => options,
        Some(None) => {
            special.map(|special| special.receipt.resolve(MessageOutcome::Abandoned));
            return Ok(None);
        }
    };
    match flow.write_with(data, options) {
        Ok(message) => Ok(special.map(|special| {
            let mut receipt = lock(&special.receipt.0);
            receipt.message = Some(message);
            receipt.queued = None;
            drop(receipt);
            (message, special.receipt)
        })),
        Err(refusal) => Err((Outgoing { data: refusal.data, special }, refusal.reason)),
    }
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
