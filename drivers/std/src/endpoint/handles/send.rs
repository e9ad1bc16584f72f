//! The handle to a flow to the far end.

use core::task::{Context, Poll, ready};
use std::sync::Arc;

use rtmfp_core::{Bytes, FlowOptions, FlowStats, Priority, SendFlowHandle};

use super::{Asked, PendingSend, Receipt, SendOptions, Session, TrySendError};
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

    /// Queues a message as the options say; waits while the queue is full. The receipt tells what becomes of it: that it
    /// is abandoned, if its time is over before there was room.
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
        PendingSend { flow: self, message: Some((message.into(), special)), receipt }
    }

    /// Queues a message if there is room now.
    ///
    /// # Errors
    /// The message, and that the queue is full or why no more can be sent.
    pub fn try_send(&self, message: impl Into<Bytes>) -> Result<(), TrySendError> {
        let (data, state) = self.try_room(message.into())?;
        self.queue(state, Outgoing { data, special: None });
        Ok(())
    }

    /// [`send_with`](Self::send_with), if there is room now.
    ///
    /// # Errors
    /// The message, and that the queue is full or why no more can be sent.
    pub fn try_send_with(&self, message: impl Into<Bytes>, options: SendOptions) -> Result<Receipt, TrySendError> {
        let receipt = Receipt::new(self, &options);
        let special = Special::new(Arc::clone(receipt.shared()), options.retransmit, options.parent_in(&self.shared));
        let (data, state) = self.try_room(message.into())?;
        self.queue(state, Outgoing { data, special: Some(Box::new(special)) });
        Ok(receipt)
    }

    /// Waits until the queue has room: for a message of any length, if nobody else takes it before.
    ///
    /// # Errors
    /// Why no more can be sent.
    pub fn ready(&self) -> Result<(), Error> {
        block_on(|context, waiter| self.poll_ready(context, waiter))
    }

    /// [`ready`](Self::ready), polled.
    pub fn poll_ready(&self, context: &mut Context<'_>, waiter: &mut Waiter) -> Poll<Result<(), Error>> {
        self.poll_room(context, waiter).map(|room| room.map(drop))
    }

    /// Waits until the endpoint has taken all that was queued, which is not to say that it was sent.
    ///
    /// # Errors
    /// Why it takes no more.
    pub fn flush(&self) -> Result<(), Error> {
        block_on(|context, waiter| self.poll_flush(context, waiter))
    }

    /// [`flush`](Self::flush), polled.
    pub fn poll_flush(&self, context: &mut Context<'_>, waiter: &mut Waiter) -> Poll<Result<(), Error>> {
        let mut state = lock(&self.shared.0);
        if let Some(error) = state.error {
            return Poll::Ready(Err(error));
        }
        if state.messages.is_empty() {
            return Poll::Ready(Ok(()));
        }
        state.wakers.add(context, waiter);
        Poll::Pending
    }

    /// Waits until nothing more can be sent, and tells why: the receiver has rejected the flow, its session has ended, or
    /// this end has closed it and all of it was delivered. A receiver can only reject a flow that something was sent on.
    #[must_use]
    pub fn closed(&self) -> Error {
        block_on(|context, waiter| self.poll_closed(context, waiter))
    }

    /// [`closed`](Self::closed), polled.
    pub fn poll_closed(&self, context: &mut Context<'_>, waiter: &mut Waiter) -> Poll<Error> {
        let mut state = lock(&self.shared.0);
        if let Some(error) = state.error.or(state.completed.then_some(Error::Closed)) {
            return Poll::Ready(error);
        }
        state.wakers.add(context, waiter);
        Poll::Pending
    }

    /// Bytes of messages that wait in the queue of this handle, with one more for each message. What the endpoint has taken is told by
    /// [`stats`](Self::stats).
    #[must_use]
    pub fn buffered(&self) -> usize {
        lock(&self.shared.0).messages.bytes()
    }

    /// Bytes of messages that have room in the queue of this handle, which holds up to 256 KiB. While there is any room,
    /// a message of any length is taken.
    #[must_use]
    pub fn capacity(&self) -> usize {
        QUEUE_BYTES.saturating_sub(self.buffered())
    }

    /// Changes the priority, from the next packet on: what is queued goes at the new one.
    pub fn set_priority(&self, priority: Priority) {
        self.command(SendCommand::SetPriority(priority));
    }

    /// The counters of the flow, as they are in the endpoint: messages count as written once the endpoint has taken them.
    /// `None` once the flow has ended and its endpoint has forgotten it.
    #[must_use]
    pub fn stats(&self) -> Option<FlowStats> {
        let asked = self.ask_stats();
        block_on(|context, waiter| asked.poll(context, waiter))
    }

    /// [`stats`](Self::stats), polled: asks once.
    #[must_use]
    pub fn ask_stats(&self) -> Asked<FlowStats> {
        let flow = Arc::clone(&self.shared);
        Asked::new(self.session.0.endpoint(), |question| Command::SendFlow(flow, SendCommand::Stats(question)))
    }

    fn try_room(&self, data: Bytes) -> Result<(Bytes, Locked<'_, SendState>), TrySendError> {
        let state = lock(&self.shared.0);
        if let Some(error) = state.closed() {
            return Err(TrySendError::Ended(data, error));
        }
        if state.messages.bytes() >= QUEUE_BYTES {
            return Err(TrySendError::Full(data));
        }
        Ok((data, state))
    }

    /// The queue, once it has room.
    fn poll_room(&self, context: &mut Context<'_>, waiter: &mut Waiter) -> Poll<Result<Locked<'_, SendState>, Error>> {
        poll_room(lock(&self.shared.0), context, waiter)
    }

    pub(super) fn queue(&self, mut state: Locked<'_, SendState>, message: Outgoing) {
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

    pub(super) fn command(&self, command: SendCommand) {
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

    /// Messages with time limits that wait for room.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        lock(&self.shared.0).waiting.len()
    }

    pub(super) const fn shared(&self) -> &Arc<SendShared> {
        &self.shared
    }
}

/// The queue, once it has room.
pub(super) fn poll_room<'a>(
    mut state: Locked<'a, SendState>,
    context: &mut Context<'_>,
    waiter: &mut Waiter,
) -> Poll<Result<Locked<'a, SendState>, Error>> {
    if let Some(error) = state.closed() {
        return Poll::Ready(Err(error));
    }
    if state.messages.bytes() >= QUEUE_BYTES {
        state.wakers.add(context, waiter);
        return Poll::Pending;
    }
    Poll::Ready(Ok(state))
}

impl Drop for SendFlow {
    fn drop(&mut self) {
        self.close();
    }
}
