//! The handle to a flow to the far end.

use rtmfp_core::{Bytes, FlowStats, Priority, SendFlowHandle};
use rtmfp_std::{Error, SendOptions, TrySendError};

use super::{MessageSink, Receipt, wait};

/// Messages to the far end. When it is dropped the flow is closed: what was sent is still delivered.
#[derive(Debug)]
pub struct SendFlow(pub(super) rtmfp_std::SendFlow);

impl SendFlow {
    /// What tells it from the endpoint's other flows, once the endpoint has opened it: no later than any answer comes to
    /// it.
    #[must_use]
    pub fn id(&self) -> Option<SendFlowHandle> {
        self.0.id()
    }

    /// Queues a message; waits while the queue is full. If dropped before it is ready the message was not queued. That
    /// it was delivered is only told by [`finish`](Self::finish), or by the receipt of [`send_with`](Self::send_with).
    ///
    /// # Errors
    /// Why no more can be sent.
    pub async fn send(&self, message: impl Into<Bytes>) -> Result<(), Error> {
        let mut message = Some(message.into());
        wait(&self.0, |context, waiter| self.0.poll_send(context, waiter, &mut message)).await
    }

    /// Queues a message as the options say; waits while the queue is full. If dropped before it is ready the message was
    /// not queued. Durations in the options count from the first poll. The receipt tells what becomes of the message: that
    /// it is abandoned, if its time is over before there was room.
    ///
    /// # Errors
    /// Why no more can be sent.
    pub async fn send_with(&self, message: impl Into<Bytes>, options: SendOptions) -> Result<Receipt, Error> {
        let mut pending = self.0.begin_send(message, options);
        wait(&self.0, |context, waiter| pending.poll(context, waiter)).await.map(Receipt::new)
    }

    /// Queues a message if there is room now.
    ///
    /// # Errors
    /// The message, and that the queue is full or why no more can be sent.
    pub fn try_send(&self, message: impl Into<Bytes>) -> Result<(), TrySendError> {
        self.0.try_send(message)
    }

    /// [`send_with`](Self::send_with), if there is room now.
    ///
    /// # Errors
    /// The message, and that the queue is full or why no more can be sent.
    pub fn try_send_with(&self, message: impl Into<Bytes>, options: SendOptions) -> Result<Receipt, TrySendError> {
        self.0.try_send_with(message, options).map(Receipt::new)
    }

    /// The flow as a sink of messages: `stream.forward(flow.sink())`. To flush it is [`flush`](Self::flush), and to close
    /// it is [`finish`](Self::finish).
    pub fn sink(&self) -> MessageSink<'_> {
        MessageSink::new(&self.0)
    }

    /// Waits until the queue has room: for a message of any length, if nobody else takes it before. Cancel-safe.
    ///
    /// # Errors
    /// Why no more can be sent.
    pub async fn ready(&self) -> Result<(), Error> {
        wait(&self.0, |context, waiter| self.0.poll_ready(context, waiter)).await
    }

    /// Waits until the endpoint has taken all that was queued, which is not to say that it was sent. Cancel-safe.
    ///
    /// # Errors
    /// Why it takes no more.
    pub async fn flush(&self) -> Result<(), Error> {
        wait(&self.0, |context, waiter| self.0.poll_flush(context, waiter)).await
    }

    /// Waits until nothing more can be sent, and tells why: the receiver has rejected the flow, its session has ended, or
    /// this end has closed it and all of it was delivered. A receiver can only reject a flow that something was sent on.
    /// Cancel-safe.
    pub async fn closed(&self) -> Error {
        wait(&self.0, |context, waiter| self.0.poll_closed(context, waiter)).await
    }

    /// Bytes of messages that wait in the queue of this handle, with one more for each message. What the endpoint has
    /// taken is told by [`stats`](Self::stats).
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.0.buffered()
    }

    /// Bytes of messages that have room in the queue of this handle, which holds up to 256 KiB. While there is any room,
    /// a message of any length is taken.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Changes the priority, from the next packet on: what is queued goes at the new one.
    pub fn set_priority(&self, priority: Priority) {
        self.0.set_priority(priority);
    }

    /// The counters of the flow, as they are in the endpoint: messages count as written once the endpoint has taken them.
    /// `None` once the flow has ended and its endpoint has forgotten it. Cancel-safe.
    pub async fn stats(&self) -> Option<FlowStats> {
        let asked = self.0.ask_stats();
        wait(&asked, |context, waiter| asked.poll(context, waiter)).await
    }

    /// Closes the flow after what was sent, and waits until the far end has received all of it.
    ///
    /// # Errors
    /// Why not everything may have been received.
    pub async fn finish(self) -> Result<(), Error> {
        wait(&self.0, |context, waiter| self.0.poll_finish(context, waiter)).await
    }

    /// Closes the flow after what was sent.
    pub fn close(&self) {
        self.0.close();
    }
}
