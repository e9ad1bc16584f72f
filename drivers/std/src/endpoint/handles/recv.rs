//! The handle to a flow from the far end.

use core::fmt;
use core::task::{Context, Poll, Waker};
use std::sync::Arc;

use rtmfp_core::{Bytes, FlowEnd, FlowOptions, FlowStats, Message, ReceiveOrder, SendFlowHandle};

use super::{Asked, Messages, SendFlow, Session};
use crate::endpoint::shared::{Command, QUEUE_BYTES, RecvCommand, RecvShared, Within, lock};
use crate::endpoint::wakers::Waiter;
use crate::endpoint::{Error, block_on};

/// Messages from the far end. They can be read to the end if the flow was complete when its session ended: the sender's
/// [`finish`](SendFlow::finish) has promised that. When it is dropped before its end the flow is rejected.
#[derive(Debug)]
pub struct RecvFlow {
    pub(super) session: Session,
    pub(super) shared: Arc<RecvShared>,
}

impl RecvFlow {
    /// The flow's session.
    #[must_use]
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// The name that the far end gave it.
    #[must_use]
    pub fn metadata(&self) -> &Bytes {
        &self.shared.metadata
    }

    /// Which flow of this end it answers (RFC 7016 §2.3.11.1.2): the one with this [`id`](SendFlow::id). `None` if it
    /// answers none.
    #[must_use]
    pub fn association(&self) -> Option<SendFlowHandle> {
        self.shared.association
    }

    /// Whether it answers this flow (RFC 7016 §2.3.11.1.2).
    #[must_use]
    pub fn is_return_to(&self, flow: &SendFlow) -> bool {
        self.shared.association.is_some() && self.shared.association == lock(&flow.shared.0).handle
    }

    /// Opens a flow in answer to this one. The far end hears of it with its first message. If by then it
    /// has closed the flow that this answers, it rejects this one with code 0 (RFC 7016 §2.3.11.1.2).
    #[must_use]
    pub fn open_return_flow(&self, options: FlowOptions) -> SendFlow {
        SendFlow::open(self.session.clone(), Within::ReturnTo(Arc::clone(&self.shared)), options)
    }

    /// Waits for the next message. `None` when the far end has closed the flow and everything was read.
    ///
    /// # Errors
    /// Why the flow ended otherwise.
    pub fn recv(&self) -> Result<Option<Message>, Error> {
        block_on(|context, waiter| self.poll_recv(context, waiter))
    }

    /// [`recv`](Self::recv), polled.
    pub fn poll_recv(&self, context: &mut Context<'_>, waiter: &mut Waiter) -> Poll<Result<Option<Message>, Error>> {
        let mut state = lock(&self.shared.state);
        if let Some(message) = state.messages.pop_front() {
            state.bytes -= message.data.len() + 1;
            let go_on = state.paused && state.bytes <= QUEUE_BYTES / 2;
            state.paused &= !go_on;
            drop(state);
            if go_on {
                self.session.0.endpoint().send(Command::RecvFlow(Arc::clone(&self.shared), RecvCommand::Receive));
            }
            return Poll::Ready(Ok(Some(message)));
        }
        match (state.end, state.error) {
            (_, Some(error)) => Poll::Ready(Err(error)),
            (Some(FlowEnd::Complete), None) => Poll::Ready(Ok(None)),
            (Some(FlowEnd::Rejected), None) => Poll::Ready(Err(Error::Closed)),
            (Some(FlowEnd::SessionEnded | _), None) => {
                drop(state);
                // The session's own end follows, and tells why.
                self.session.poll_closed(context, waiter).map(Err)
            }
            (None, None) => {
                state.wakers.add(context, waiter);
                Poll::Pending
            }
        }
    }

    /// The next message, if there is one now.
    ///
    /// # Errors
    /// [`Empty`](TryRecvError::Empty) if there is none yet, or why there will be none.
    pub fn try_recv(&self) -> Result<Message, TryRecvError> {
        match self.poll_recv(&mut Context::from_waker(Waker::noop()), &mut Waiter::default()) {
            Poll::Ready(Ok(Some(message))) => Ok(message),
            Poll::Ready(Ok(None)) => Err(TryRecvError::Finished),
            Poll::Ready(Err(error)) => Err(TryRecvError::Ended(error)),
            Poll::Pending => Err(TryRecvError::Empty),
        }
    }

    /// The messages, one after another, as an iterator that waits for the next. It ends when the far end has closed the
    /// flow and everything was read, or with the error that tells why the flow ended otherwise. A message whose
    /// [`gap`](Message::gap) is set comes after others that the sender has abandoned.
    #[must_use]
    pub const fn messages(&self) -> Messages<'_> {
        Messages::new(self)
    }

    /// Takes no more messages of the flow until [`resume`](Self::resume). Those that have reached this handle can still
    /// be read. What comes later fills the flow's receive buffer, and then holds the sender up (RFC 7016 §3.6.3.5).
    pub fn suspend(&self) {
        lock(&self.shared.state).suspended = true;
        self.command(RecvCommand::Suspend);
    }

    /// Takes messages again after [`suspend`](Self::suspend).
    pub fn resume(&self) {
        lock(&self.shared.state).suspended = false;
        self.command(RecvCommand::Resume);
    }

    /// Chooses the order in which messages come from now on (RFC 7016 §3.6.3.3): as written, or as they arrive. Those
    /// that are ready to be read keep theirs.
    pub fn set_order(&self, order: ReceiveOrder) {
        self.command(RecvCommand::Order(order));
    }

    /// Sets the flow's receive buffer in bytes (RFC 7016 §3.6.3.5), in place of the configured
    /// [`recv_buffer`](rtmfp_core::SessionConfig::recv_buffer). The sender may have about as much on its way. The handle
    /// itself holds up to 256 KiB and one message more. With 0 the sender is stopped once it has filled what it was
    /// granted before.
    pub fn set_window(&self, bytes: usize) {
        self.command(RecvCommand::Window(bytes));
    }

    /// The counters of the flow, as they are in the endpoint: messages count as read once they have reached this handle.
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
        Asked::new(self.session.0.endpoint(), |question| Command::RecvFlow(flow, RecvCommand::Stats(question)))
    }

    fn command(&self, command: RecvCommand) {
        self.session.0.endpoint().send(Command::RecvFlow(Arc::clone(&self.shared), command));
    }

    /// Refuses the flow with an exception code for the far end (RFC 7016 §3.6.3.7).
    pub fn reject(self, code: u64) {
        self.command(RecvCommand::Reject(code));
    }
}

impl Drop for RecvFlow {
    fn drop(&mut self) {
        if lock(&self.shared.state).end.is_none() {
            self.command(RecvCommand::Reject(0));
        }
    }
}

/// Why [`RecvFlow::try_recv`] gives no message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TryRecvError {
    /// There is none yet.
    Empty,
    /// The far end has closed the flow, and everything was read.
    Finished,
    /// The flow ended otherwise.
    Ended(Error),
}

impl core::error::Error for TryRecvError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Ended(why) => Some(why),
            Self::Empty | Self::Finished => None,
        }
    }
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("there is no message yet"),
            Self::Finished => f.write_str("the far end has closed the flow"),
            Self::Ended(_) => f.write_str("the flow has ended"),
        }
    }
}
