//! What the handle of a flow to the far end and the endpoint share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rtmfp_core::{FlowStats, Instant, MessageId, MessageOutcome, Priority, SendFlowHandle, Undelivered};

use super::{Awaited, Outgoing, OutgoingQueue, Place, Question, ReceiptShared, RecvShared, SessionShared, lock};
use crate::endpoint::Error;
use crate::endpoint::wakers::WakerSet;

/// Where a flow is opened.
#[derive(Debug)]
pub(crate) enum Within {
    Session(Arc<SessionShared>),
    ReturnTo(Arc<RecvShared>),
}

/// Asked of a flow to the far end.
#[derive(Debug)]
pub(crate) enum SendCommand {
    /// There are messages to send, or the flow is to be closed.
    HandOver,
    /// This message waits for room in the queue: its time limits count from now.
    WaitForRoom(Arc<ReceiptShared>),
    /// The message is not to be sent any more.
    Abandon(Arc<ReceiptShared>),
    SetPriority(Priority),
    Stats(Question<FlowStats>),
}

#[derive(Debug, Default)]
pub(crate) struct SendShared(pub(crate) Mutex<SendState>);

#[derive(Debug, Default)]
pub(crate) struct SendState {
    pub(crate) handle: Option<SendFlowHandle>,
    pub(crate) messages: OutgoingQueue,
    /// What the endpoint has taken and not yet told the outcome of.
    pub(crate) receipts: BTreeMap<MessageId, Arc<ReceiptShared>>,
    /// Messages with time limits that wait for room in the queue, in the order in which they expire.
    pub(crate) waiting: BTreeMap<Place, Arc<ReceiptShared>>,
    /// How many have waited.
    waited: u64,
    /// A [`SendCommand::HandOver`] is under way.
    pub(crate) scheduled: bool,
    /// To be closed after the last message.
    pub(crate) closing: bool,
    /// Everything that was sent is delivered, and nothing more can be.
    pub(crate) completed: bool,
    pub(crate) error: Option<Error>,
    pub(crate) wakers: WakerSet,
}

impl SendState {
    /// Why nothing more can be sent, if so.
    pub(crate) fn closed(&self) -> Option<Error> {
        self.error.or(self.closing.then_some(Error::Closed))
    }

    /// What waits in the queue.
    pub(crate) fn queued(&self) -> Undelivered {
        self.messages.undelivered()
    }

    /// Tells whoever has the receipt what became of a message. It is woken when this state is unlocked.
    pub(crate) fn resolve(&mut self, receipt: &ReceiptShared, outcome: MessageOutcome) {
        self.wakers.defer(receipt.resolve(outcome));
    }

    /// A message waits for room: its time limits count from now, unless it waits no more.
    pub(crate) fn wait_for_room(&mut self, now: Instant, receipt: Arc<ReceiptShared>) {
        let mut state = lock(&receipt.0);
        let limits = state.fix(now);
        let Some(expires) = limits.into_iter().flatten().min().filter(|_| state.waits) else { return };
        let place = (expires, self.waited);
        state.place = Some(place);
        drop(state);
        self.waited += 1;
        self.waiting.insert(place, receipt);
    }

    /// A message has room, or is not to be sent.
    pub(crate) fn wait_no_more(&mut self, receipt: &ReceiptShared) {
        let mut state = lock(&receipt.0);
        state.waits = false;
        if let Some(place) = state.place.take() {
            self.waiting.remove(&place);
        }
    }

    /// When the next message expires. Only those count whose time limits are fixed.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        let waiting = self.waiting.first_key_value().map(|((at, _), _)| *at);
        self.messages.next_expiry().into_iter().chain(waiting).min()
    }

    /// Fixes the time limits of what was queued, and abandons what is over.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.messages.fix_limits(now);
        while let Some(expired) = self.messages.pop_expired(now) {
            self.discard(expired);
        }
        while let Some(entry) = self.waiting.first_entry().filter(|entry| entry.key().0 <= now) {
            let receipt = entry.remove();
            self.resolve(&receipt, MessageOutcome::Abandoned);
            // Whoever waits for room with it is among these.
            self.wakers.wake();
        }
    }

    /// A message that was taken out of the queue is not sent. It is freed when this state is unlocked.
    pub(crate) fn discard(&mut self, message: Outgoing) {
        if let Some(special) = &message.special {
            self.resolve(&special.receipt, MessageOutcome::Abandoned);
        }
        self.wakers.free(message.data);
    }

    pub(crate) fn fail(&mut self, error: Error) {
        self.error.get_or_insert(error);
        while let Some(message) = self.messages.pop() {
            self.discard(message);
        }
        self.waiting.clear();
        // The endpoint is gone, or it would have told.
        for receipt in core::mem::take(&mut self.receipts).into_values() {
            self.resolve(&receipt, MessageOutcome::Unknown);
        }
        self.wakers.wake();
    }
}

impl Awaited for SendState {
    fn wakers(&mut self) -> &mut WakerSet {
        &mut self.wakers
    }
}
