//! What becomes of a message.

use core::task::{Context, Poll};
use std::sync::{Arc, Mutex};

use rtmfp_core::MessageOutcome;

use super::{SendFlow, SendOptions};
use crate::endpoint::block_on;
use crate::endpoint::shared::{Command, EndpointShared, ReceiptShared, ReceiptState, SendCommand, SendShared, lock};
use crate::endpoint::wakers::Waiter;

/// Tells what becomes of a message, as [`SendFlow::send_with`] gives it. Clones are of the same message. It may be dropped
/// and changes nothing by that; it does not keep the session open.
///
/// The outcome is certain. [`Delivered`](MessageOutcome::Delivered): the far end has it.
/// [`Abandoned`](MessageOutcome::Abandoned): the far end cannot have got it, because not all of it was ever sent.
/// [`Unknown`](MessageOutcome::Unknown): it was abandoned, or its session ended, when all of it was sent and not all
/// acknowledged. If a message is abandoned on its way, that is told when it is acknowledged or lost.
#[derive(Clone, Debug)]
pub struct Receipt {
    shared: Arc<ReceiptShared>,
    flow: Arc<SendShared>,
    pub(super) endpoint: Arc<EndpointShared>,
}

impl Receipt {
    pub(super) fn new(flow: &SendFlow, options: &SendOptions) -> Self {
        let [start_by, finish_by] = options.limits();
        let state = ReceiptState { start_by, finish_by, ..ReceiptState::default() };
        Self {
            shared: Arc::new(ReceiptShared(Mutex::new(state))),
            flow: Arc::clone(flow.shared()),
            endpoint: Arc::clone(flow.session().0.endpoint()),
        }
    }

    pub(super) const fn shared(&self) -> &Arc<ReceiptShared> {
        &self.shared
    }

    pub(super) fn is_of(&self, flow: &Arc<SendShared>) -> bool {
        Arc::ptr_eq(&self.flow, flow)
    }

    /// The message waits for room. Whether the endpoint is to be told, so that its time limits count.
    pub(super) fn begin_wait(&self) -> bool {
        let mut state = lock(&self.shared.0);
        let begins = !state.waits && (state.start_by.is_some() || state.finish_by.is_some());
        state.waits |= begins;
        begins
    }

    /// What became of the message, if that is known.
    #[must_use]
    pub fn outcome(&self) -> Option<MessageOutcome> {
        lock(&self.shared.0).outcome
    }

    /// Waits until it is known what became of the message.
    #[must_use]
    pub fn wait(&self) -> MessageOutcome {
        block_on(|context, waiter| self.poll(context, waiter))
    }

    /// [`wait`](Self::wait), polled.
    pub fn poll(&self, context: &mut Context<'_>, waiter: &mut Waiter) -> Poll<MessageOutcome> {
        let mut state = lock(&self.shared.0);
        match state.outcome {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                state.wakers.add(context, waiter);
                Poll::Pending
            }
        }
    }

    /// Abandons the message (RFC 7016 §3.6.2.7): what of it was not sent yet, or was lost, is not sent any more. What
    /// depends on it is abandoned too. Nothing happens if its outcome is known.
    pub fn abandon(&self) {
        let command = SendCommand::Abandon(Arc::clone(&self.shared));
        self.endpoint.send(Command::SendFlow(Arc::clone(&self.flow), command));
    }
}

impl AsRef<Self> for Receipt {
    fn as_ref(&self) -> &Self {
        self
    }
}
