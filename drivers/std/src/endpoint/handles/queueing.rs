//! Messages on their way into the queue of a flow.

use core::fmt;
use core::task::{Context, Poll};
use std::sync::Arc;

use rtmfp_core::Bytes;

use super::send::poll_room;
use super::{Receipt, SendFlow};
use crate::endpoint::Error;
use crate::endpoint::shared::{Outgoing, SendCommand, Special, lock};
use crate::endpoint::wakers::Waiter;

/// A message that waits for room in the queue of a flow, as [`SendFlow::begin_send`] gives it. If it is dropped before it
/// is ready, the message was not queued.
#[derive(Debug)]
pub struct PendingSend<'a> {
    pub(super) flow: &'a SendFlow,
    pub(super) message: Option<(Bytes, Special)>,
    pub(super) receipt: Receipt,
}

impl PendingSend<'_> {
    /// Ready when the message is queued, or its time is over.
    ///
    /// # Errors
    /// Why no more can be sent.
    pub fn poll(&mut self, context: &mut Context<'_>, waiter: &mut Waiter) -> Poll<Result<Receipt, Error>> {
        let receipt = self.receipt.shared();
        // It expires while the flow is locked, so that nothing is missed here.
        let state = lock(&self.flow.shared.0);
        if self.receipt.outcome().is_some() {
            drop(state);
            self.message = None;
            return Poll::Ready(Ok(self.receipt.clone()));
        }
        let Poll::Ready(state) = poll_room(state, context, waiter) else {
            if self.receipt.begin_wait() {
                self.flow.command(SendCommand::WaitForRoom(Arc::clone(receipt)));
            }
            return Poll::Pending;
        };
        let mut state = state?;
        state.wait_no_more(receipt);
        if let Some((data, special)) = self.message.take() {
            self.flow.queue(state, Outgoing { data, special: Some(Box::new(special)) });
        }
        Poll::Ready(Ok(self.receipt.clone()))
    }
}

impl Drop for PendingSend<'_> {
    fn drop(&mut self) {
        if self.message.is_some() {
            lock(&self.flow.shared.0).wait_no_more(self.receipt.shared());
        }
    }
}

/// Why [`SendFlow::try_send`] did not queue a message, and the message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TrySendError {
    /// The queue is full.
    Full(Bytes),
    /// No more can be sent.
    Ended(Bytes, Error),
}

impl TrySendError {
    /// The message.
    #[must_use]
    pub fn into_message(self) -> Bytes {
        match self {
            Self::Full(message) | Self::Ended(message, _) => message,
        }
    }
}

impl fmt::Display for TrySendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str("the queue of the flow is full"),
            Self::Ended(..) => f.write_str("no more can be sent"),
        }
    }
}

impl core::error::Error for TrySendError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Full(_) => None,
            Self::Ended(_, why) => Some(why),
        }
    }
}
