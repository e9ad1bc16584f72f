//! The handle to a flow from the far end.

use core::task::{Context, Poll};
use std::sync::Arc;

use rtmfp_core::{Bytes, FlowEnd, FlowOptions, Message};

use super::{SendFlow, Session};
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

    /// Whether it answers this flow (RFC 7016 §2.3.11.1.2).
    #[must_use]
    pub fn is_return_to(&self, flow: &SendFlow) -> bool {
        self.shared.association.is_some() && self.shared.association == lock(&flow.shared.0).handle
    }

    /// Opens a flow in answer to this one.
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

    /// Refuses the flow with an exception code for the far end (RFC 7016 §3.6.3.7).
    pub fn reject(self, code: u64) {
        self.session.0.endpoint().send(Command::RecvFlow(Arc::clone(&self.shared), RecvCommand::Reject(code)));
    }
}

impl Drop for RecvFlow {
    fn drop(&mut self) {
        if lock(&self.shared.state).end.is_none() {
            self.session.0.endpoint().send(Command::RecvFlow(Arc::clone(&self.shared), RecvCommand::Reject(0)));
        }
    }
}
