//! What the handle of a flow to the far end and the endpoint share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rtmfp_core::{FlowStats, MessageId, MessageOutcome, Priority, SendFlowHandle, Undelivered};

use super::{Awaited, Outgoing, OutgoingQueue, Question, ReceiptShared, RecvShared, SessionShared};
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
    FixLimits(Arc<ReceiptShared>),
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

    /// A message that was taken out of the queue is not sent.
    pub(crate) fn discard(&mut self, message: &Outgoing) {
        if let Some(special) = &message.special {
            self.resolve(&special.receipt, MessageOutcome::Abandoned);
        }
    }

    pub(crate) fn fail(&mut self, error: Error) {
        self.error.get_or_insert(error);
        while let Some(message) = self.messages.pop() {
            self.discard(&message);
        }
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
