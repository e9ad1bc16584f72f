//! The handle to a flow to the far end.

use core::task::{Context, Poll};
use std::sync::Arc;

use rtmfp_core::{Bytes, FlowOptions, SendFlowHandle};

use super::Session;
use crate::endpoint::shared::{Command, Locked, QUEUE_BYTES, SendCommand, SendShared, SendState, Within, lock};
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
    /// [`finish`](Self::finish).
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
        let mut state = lock(&self.shared.0);
        if let Some(error) = state.error.or(state.closing.then_some(Error::Closed)) {
            return Poll::Ready(Err(error));
        }
        if state.bytes >= QUEUE_BYTES {
            state.wakers.add(context, waiter);
            return Poll::Pending;
        }
        if let Some(message) = message.take() {
            // An empty message takes room too.
            state.bytes += message.len() + 1;
            state.messages.push_back(message);
            self.schedule(state);
        }
        Poll::Ready(Ok(()))
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
        if !scheduled
            && !self.session.0.endpoint().send(Command::SendFlow(Arc::clone(&self.shared), SendCommand::HandOver))
        {
            lock(&self.shared.0).fail(Error::Stopped);
        }
    }
}

impl Drop for SendFlow {
    fn drop(&mut self) {
        self.close();
    }
}
