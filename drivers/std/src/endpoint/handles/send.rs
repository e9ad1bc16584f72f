//! The handle to a flow to the far end.

use core::task::{Context, Poll, ready};
use std::sync::Arc;

use rtmfp_core::{Bytes, FlowOptions, SendFlowHandle};

use super::{Receipt, SendOptions, Session};
use crate::endpoint::shared::{
    Command, Locked, Outgoing, QUEUE_BYTES, SendCommand, SendShared, SendState, Special, Within, lock,
};
use crate::endpoint::wakers::Waiter;
use crate::endpoint::{Error, block_on};

/// Messages to the far end. When it is dropped the flow is closed: what was sent is still delivered.
#[derive(Debug)]
pub struct SendFlow {
    session: Session,
    pub(super) shared: Arc<SendShared>,
}

impl SendFlow {
    pub(super) fn open(session: Session, within: Within, options: FlowOptions) -> Self {
        let shared = Arc::new(SendShared::default());
        if !session.0.endpoint().send(Command::OpenFlow(Arc::clone(&shared), within, options)) {
            lock(&shared.0).fail(Error::Stopped);
        }
        Self { session, shared }
    }

    /// The flow's session.
    #[must_use]
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// What tells it from the endpoint's other flows, once the endpoint has opened it: no later than any answer comes to
    /// it.
    #[must_use]
    pub fn id(&self) -> Option<SendFlowHandle> {
        lock(&self.shared.0).handle
    }

    /// Queues a message; waits while the queue is full. That it was delivered is only told by
    /// [`finish`](Self::finish), or by the receipt of [`send_with`](Self::send_with).
    ///
    /// # Errors
    /// Why no more can be sent.
    pub fn send(&self, message: impl Into<Bytes>) -> Result<(), Error> {
        let mut message = Some(message.into());
        block_on(|context, waiter| self.poll_send(context, waiter, &mut message))
    }

    /// [`send`](Self::send), polled: `message` is taken when it is ready.
    pub fn poll_send(
        &self,
        context: &mut Context<'_>,
        waiter: &mut Waiter,
        message: &mut Option<Bytes>,
    ) -> Poll<Result<(), Error>> {
        let state = ready!(self.poll_room(context, waiter))?;
        if let Some(data) = message.take() {
            self.queue(state, Outgoing { data, special: None });
        }
        Poll::Ready(Ok(()))
    }

    /// Queues a message as the options say; waits while the queue is full. The receipt tells what becomes of it.
    ///
    /// # Errors
    /// Why no more can be sent.
    pub fn send_with(&self, message: impl Into<Bytes>, options: SendOptions) -> Result<Receipt, Error> {
        let mut pending = self.begin_send(message, options);
        block_on(|context, waiter| pending.poll(context, waiter))
    }

    /// [`send_with`](Self::send_with), polled. Nothing is queued before it is polled.
    #[must_use]
    pub fn begin_send(&self, message: impl Into<Bytes>, options: SendOptions) -> PendingSend<'_> {
        let receipt = Receipt::new(self, &options);
        let special = Special::new(Arc::clone(receipt.shared()), options.retransmit, options.parent_in(&self.shared));
        PendingSend { flow: self, message: Some((message.into(), special)), receipt, waits: false }
    }

    /// The queue, once it has room.
    fn poll_room(&self, context: &mut Context<'_>, waiter: &mut Waiter) -> Poll<Result<Locked<'_, SendState>, Error>> {
        let mut state = lock(&self.shared.0);
        if let Some(error) = state.closed() {
            return Poll::Ready(Err(error));
        }
        if state.messages.bytes() >= QUEUE_BYTES {
            state.wakers.add(context, waiter);
            return Poll::Pending;
        }
        Poll::Ready(Ok(state))
    }

    fn queue(&self, mut state: Locked<'_, SendState>, message: Outgoing) {
        state.messages.push(message);
        self.schedule(state);
    }

    /// Closes the flow after what was sent, and waits until the far end has received all of it.
    ///
    /// # Errors
    /// Why not everything may have been received.
    pub fn finish(self) -> Result<(), Error> {
        block_on(|context, waiter| self.poll_finish(context, waiter))
    }

    /// [`finish`](Self::finish), polled.
    pub fn poll_finish(&self, context: &mut Context<'_>, waiter: &mut Waiter) -> Poll<Result<(), Error>> {
        self.close();
        let mut state = lock(&self.shared.0);
        if state.completed {
            return Poll::Ready(Ok(()));
        }
        if let Some(error) = state.error {
            return Poll::Ready(Err(error));
        }
        state.wakers.add(context, waiter);
        Poll::Pending
    }

    /// Closes the flow after what was sent.
    pub fn close(&self) {
        let mut state = lock(&self.shared.0);
        if !state.closing {
            state.closing = true;
            self.schedule(state);
        }
    }

    /// Has the endpoint look at the queue, unless it will anyway.
    fn schedule(&self, mut state: Locked<'_, SendState>) {
        let scheduled = core::mem::replace(&mut state.scheduled, true);
        drop(state);
        if !scheduled {
            self.command(SendCommand::HandOver);
        }
    }

    fn command(&self, command: SendCommand) {
        if !self.session.0.endpoint().send(Command::SendFlow(Arc::clone(&self.shared), command)) {
            lock(&self.shared.0).fail(Error::Stopped);
        }
    }

    /// Messages that wait in the queue, and what they take there.
    #[cfg(test)]
    pub(crate) fn queued(&self) -> (u64, usize) {
        let state = lock(&self.shared.0);
        (state.queued().messages, state.messages.bytes())
    }

    pub(super) const fn shared(&self) -> &Arc<SendShared> {
        &self.shared
    }
}

/// A message that waits for room in the queue of a flow, as [`SendFlow::begin_send`] gives it. If it is dropped before it
/// is ready, the message was not queued.
#[derive(Debug)]
pub struct PendingSend<'a> {
    flow: &'a SendFlow,
    message: Option<(Bytes, Special)>,
    receipt: Receipt,
    /// The endpoint was told that the time limits count already.
    waits: bool,
}

impl PendingSend<'_> {
    /// Ready when the message is queued.
    ///
    /// # Errors
    /// Why no more can be sent.
    pub fn poll(&mut self, context: &mut Context<'_>, waiter: &mut Waiter) -> Poll<Result<Receipt, Error>> {
        let Poll::Ready(state) = self.flow.poll_room(context, waiter) else {
            if !core::mem::replace(&mut self.waits, true) && self.receipt.has_limits() {
                self.flow.command(SendCommand::FixLimits(Arc::clone(self.receipt.shared())));
            }
            return Poll::Pending;
        };
        let state = state?;
        if let Some((data, special)) = self.message.take() {
            self.flow.queue(state, Outgoing { data, special: Some(Box::new(special)) });
        }
        Poll::Ready(Ok(self.receipt.clone()))
    }
}

impl Drop for SendFlow {
    fn drop(&mut self) {
        self.close();
    }
}
