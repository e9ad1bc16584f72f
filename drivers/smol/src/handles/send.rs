//! The handle to a flow to the far end.

use rtmfp_core::{Bytes, SendFlowHandle};
use rtmfp_std::{Error, SendOptions};

use super::{Receipt, wait};

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
        wait(|context, waiter| self.0.poll_send(context, waiter, &mut message)).await
    }

    /// Queues a message as the options say; waits while the queue is full. If dropped before it is ready the message was
    /// not queued. Durations in the options count from the first poll. The receipt tells what becomes of the message.
    ///
    /// # Errors
    /// Why no more can be sent.
    pub async fn send_with(&self, message: impl Into<Bytes>, options: SendOptions) -> Result<Receipt, Error> {
        let mut pending = self.0.begin_send(message, options);
        wait(|context, waiter| pending.poll(context, waiter)).await.map(Receipt::new)
    }

    /// Closes the flow after what was sent, and waits until the far end has received all of it.
    ///
    /// # Errors
    /// Why not everything may have been received.
    pub async fn finish(self) -> Result<(), Error> {
        wait(|context, waiter| self.0.poll_finish(context, waiter)).await
    }

    /// Closes the flow after what was sent.
    pub fn close(&self) {
        self.0.close();
    }
}
