//! Messages to the far end as a sink.

use core::pin::Pin;
use core::task::{Context, Poll};

use futures_sink::Sink;
use rtmfp_core::Bytes;
use rtmfp_std::{Driven, Error, SendFlow, TrySendError};

use super::Wait;

/// A flow as a sink of messages: see [`SendFlow::sink`](super::SendFlow::sink). It is ready while the flow's queue has
/// room. Flushed, the endpoint has taken all that was queued. Closed, the far end has received all of it.
///
/// When it is dropped, what it has taken is still sent, and the flow stays open.
#[derive(Debug)]
#[must_use = "sinks do nothing unless polled"]
pub struct MessageSink<'a> {
    flow: &'a SendFlow,
    wait: Wait,
    /// Found no room after all: others may send on the same flow.
    waiting: Option<Bytes>,
}

impl<'a> MessageSink<'a> {
    pub(super) fn new(flow: &'a SendFlow) -> Self {
        Self { flow, wait: Wait::default(), waiting: None }
    }

    /// Queues the message that found no room.
    fn poll_waiting(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.waiting.is_some() {
            let Self { flow, wait, waiting } = self;
            return wait.poll(flow.is_driven(), context, |context, waiter| flow.poll_send(context, waiter, waiting));
        }
        Poll::Ready(Ok(()))
    }
}

impl<M: Into<Bytes>> Sink<M> for MessageSink<'_> {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let this = self.get_mut();
        core::task::ready!(this.poll_waiting(context))?;
        this.wait.poll(this.flow.is_driven(), context, |context, waiter| this.flow.poll_ready(context, waiter))
    }

    /// Takes one message though there is no room after all. A second one, against the contract of sinks, is refused as
    /// [`Closed`](Error::Closed).
    fn start_send(self: Pin<&mut Self>, message: M) -> Result<(), Error> {
        let this = self.get_mut();
        if this.waiting.is_some() {
            return Err(Error::Closed);
        }
        match this.flow.try_send(message) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(message)) => {
                this.waiting = Some(message);
                Ok(())
            }
            Err(TrySendError::Ended(_, why)) => Err(why),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let this = self.get_mut();
        core::task::ready!(this.poll_waiting(context))?;
        this.wait.poll(this.flow.is_driven(), context, |context, waiter| this.flow.poll_flush(context, waiter))
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let this = self.get_mut();
        core::task::ready!(this.poll_waiting(context))?;
        this.wait.poll(this.flow.is_driven(), context, |context, waiter| this.flow.poll_finish(context, waiter))
    }
}
