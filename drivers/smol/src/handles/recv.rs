//! The handle to a flow from the far end.

use rtmfp_core::{Bytes, FlowOptions, FlowStats, Message, ReceiveOrder, SendFlowHandle};
use rtmfp_std::{Error, TryRecvError};

use super::{Messages, SendFlow, Session, wait};

/// Messages from the far end. They can be read to the end if the flow was complete when its session ended: the sender's
/// [`finish`](SendFlow::finish) has promised that. When it is dropped before its end the flow is rejected.
#[derive(Debug)]
pub struct RecvFlow {
    session: Session,
    pub(super) inner: rtmfp_std::RecvFlow,
}

impl RecvFlow {
    pub(super) fn new(inner: rtmfp_std::RecvFlow) -> Self {
        Self { session: Session(inner.session().clone()), inner }
    }

    /// The flow's session.
    #[must_use]
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// The name that the far end gave it.
    #[must_use]
    pub fn metadata(&self) -> &Bytes {
        self.inner.metadata()
    }

    /// Which flow of this end it answers (RFC 7016 §2.3.11.1.2): the one with this [`id`](SendFlow::id). `None` if it
    /// answers none.
    #[must_use]
    pub fn association(&self) -> Option<SendFlowHandle> {
        self.inner.association()
    }

    /// Whether it answers this flow (RFC 7016 §2.3.11.1.2).
    #[must_use]
    pub fn is_return_to(&self, flow: &SendFlow) -> bool {
        self.inner.is_return_to(&flow.0)
    }

    /// Opens a flow in answer to this one. The far end hears of it with its first message. If by then it
    /// has closed the flow that this answers, it rejects this one with code 0 (RFC 7016 §2.3.11.1.2).
    #[must_use]
    pub fn open_return_flow(&self, options: FlowOptions) -> SendFlow {
        SendFlow(self.inner.open_return_flow(options))
    }

    /// Waits for the next message. `None` when the far end has closed the flow and everything was read. Cancel-safe: if
    /// the future is dropped before it is ready, the message is the next one's.
    ///
    /// # Errors
    /// Why the flow ended otherwise.
    pub async fn recv(&self) -> Result<Option<Message>, Error> {
        wait(&self.inner, |context, waiter| self.inner.poll_recv(context, waiter)).await
    }

    /// The next message, if there is one now.
    ///
    /// # Errors
    /// [`Empty`](TryRecvError::Empty) if there is none yet, or why there will be none.
    pub fn try_recv(&self) -> Result<Message, TryRecvError> {
        self.inner.try_recv()
    }

    /// The messages as a stream. It ends when the far end has closed the flow and everything was read, or with the error
    /// that tells why the flow ended otherwise. A message whose [`gap`](Message::gap) is set comes after others that the
    /// sender has abandoned. A stream that is dropped loses nothing: what it has not given is there for the next.
    pub fn messages(&self) -> Messages<'_> {
        Messages::new(self)
    }

    /// Takes no more messages of the flow until [`resume`](Self::resume). Those that have reached this handle can still
    /// be read. What comes later fills the flow's receive buffer, and then holds the sender up (RFC 7016 §3.6.3.5).
    pub fn suspend(&self) {
        self.inner.suspend();
    }

    /// Takes messages again after [`suspend`](Self::suspend).
    pub fn resume(&self) {
        self.inner.resume();
    }

    /// Chooses the order in which messages come from now on (RFC 7016 §3.6.3.3): as written, or as they arrive. Those
    /// that are ready to be read keep theirs.
    pub fn set_order(&self, order: ReceiveOrder) {
        self.inner.set_order(order);
    }

    /// Sets the flow's receive buffer in bytes (RFC 7016 §3.6.3.5), in place of the configured
    /// [`recv_buffer`](rtmfp_core::SessionConfig::recv_buffer). The sender may have about as much on its way. The handle
    /// itself holds up to 256 KiB and one message more. With 0 the sender is stopped once it has filled what it was
    /// granted before.
    pub fn set_window(&self, bytes: usize) {
        self.inner.set_window(bytes);
    }

    /// The counters of the flow, as they are in the endpoint: messages count as read once they have reached this handle.
    /// `None` once the flow has ended and its endpoint has forgotten it. Cancel-safe.
    pub async fn stats(&self) -> Option<FlowStats> {
        let asked = self.inner.ask_stats();
        wait(&asked, |context, waiter| asked.poll(context, waiter)).await
    }

    /// Refuses the flow with an exception code for the far end (RFC 7016 §3.6.3.7).
    pub fn reject(self, code: u64) {
        self.inner.reject(code);
    }
}
