//! The handle to a session.

use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::sync::Arc;

use rtmfp_core::{CloseMode, FlowOptions, Undelivered};

use super::endpoint::Keeper;
use super::{IncomingFlows, RecvFlow, SendFlow};
use crate::endpoint::shared::{
    Command, EndpointShared, RecvCommand, SessionCommand, SessionShared, SessionState, Within, lock,
};
use crate::endpoint::wakers::Waiter;
use crate::endpoint::{Error, block_on};

/// A session. Clones are the same session.
///
/// When the last of them, and of its flows' handles, is dropped, it is closed: what was sent has 10 s to be delivered.
/// [`close`](Self::close) gives it another time, which the drop does not change, and tells what was not.
#[derive(Clone, Debug)]
pub struct Session(pub(super) Arc<Owner>);

/// Closes the session when nobody holds it.
#[derive(Debug)]
pub(crate) struct Owner {
    keeper: Arc<Keeper>,
    shared: Arc<SessionShared>,
}

impl Owner {
    pub(super) fn endpoint(&self) -> &Arc<EndpointShared> {
        &self.keeper.0
    }

    pub(super) const fn shared(&self) -> &Arc<SessionShared> {
        &self.shared
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.endpoint().send(Command::Session(Arc::clone(&self.shared), SessionCommand::Release));
    }
}

impl Session {
    pub(super) fn new(keeper: &Arc<Keeper>, shared: &Arc<SessionShared>) -> Self {
        Self::locked(keeper, shared, &mut lock(&shared.0))
    }

    /// A handle of a session that there is already, unless it is to end.
    pub(super) fn join(keeper: &Arc<Keeper>, shared: &Arc<SessionShared>) -> Option<Self> {
        let mut state = lock(&shared.0);
        (!state.closing).then(|| Self::locked(keeper, shared, &mut state))
    }

    pub(super) fn shared(&self) -> &Arc<SessionShared> {
        &self.0.shared
    }

    fn locked(keeper: &Arc<Keeper>, shared: &Arc<SessionShared>, state: &mut SessionState) -> Self {
        Self(state.owner.upgrade().unwrap_or_else(|| {
            let owner = Arc::new(Owner { keeper: Arc::clone(keeper), shared: Arc::clone(shared) });
            state.owner = Arc::downgrade(&owner);
            owner
        }))
    }

    /// Waits, polled, until it is open, or until the session is that there was already to the same far end: this becomes
    /// a handle of that one then, unless it is being closed.
    pub fn poll_connected(&mut self, context: &mut Context<'_>, waiter: &mut Waiter) -> Poll<Result<(), Error>> {
        loop {
            let result = self.poll_opened(context, waiter);
            let existing = lock(&self.0.shared.0).existing.clone();
            match existing.and_then(|existing| Self::join(&self.0.keeper, &existing)) {
                Some(existing) => *self = existing,
                None => return result,
            }
        }
    }

    /// Waits until it is open; returns at once if it is.
    ///
    /// # Errors
    /// Why it did not open, or was closed.
    pub fn opened(&self) -> Result<(), Error> {
        block_on(|context, waiter| self.poll_opened(context, waiter))
    }

    /// [`opened`](Self::opened), polled.
    pub fn poll_opened(&self, context: &mut Context<'_>, waiter: &mut Waiter) -> Poll<Result<(), Error>> {
        let mut state = lock(&self.0.shared.0);
        match state.end {
            Some(end) => Poll::Ready(Err(end)),
            None if state.open => Poll::Ready(Ok(())),
            None => {
                state.wakers.add(context, waiter);
                Poll::Pending
            }
        }
    }

    /// Waits until it has ended, and tells why.
    #[must_use]
    pub fn closed(&self) -> Error {
        block_on(|context, waiter| self.poll_closed(context, waiter))
    }

    /// [`closed`](Self::closed), polled.
    pub fn poll_closed(&self, context: &mut Context<'_>, waiter: &mut Waiter) -> Poll<Error> {
        let mut state = lock(&self.0.shared.0);
        match state.end {
            Some(end) => Poll::Ready(end),
            None => {
                state.wakers.add(context, waiter);
                Poll::Pending
            }
        }
    }

    /// Opens a flow to the far end. If that is not possible the flow's calls tell why.
    #[must_use]
    pub fn open_flow(&self, options: FlowOptions) -> SendFlow {
        SendFlow::open(self.clone(), Within::Session(Arc::clone(&self.0.shared)), options)
    }

    /// Waits for the next flow that the far end opens, return flows included.
    ///
    /// At most 1,024 flows of a session wait to be accepted; any more are rejected. Before it is accepted little is
    /// read of a flow: its sender is held up by the receive window. After that its handle holds up to 256 KiB and one
    /// message beyond the configured [`max_recv_bytes`](rtmfp_core::SessionConfig::max_recv_bytes).
    ///
    /// # Errors
    /// That the session has ended.
    pub fn accept_flow(&self) -> Result<RecvFlow, Error> {
        block_on(|context, waiter| self.poll_accept_flow(context, waiter))
    }

    /// [`accept_flow`](Self::accept_flow), polled.
    pub fn poll_accept_flow(&self, context: &mut Context<'_>, waiter: &mut Waiter) -> Poll<Result<RecvFlow, Error>> {
        let mut state = lock(&self.0.shared.0);
        if let Some(shared) = state.accept_flow() {
            drop(state);
            let paused = core::mem::take(&mut lock(&shared.state).paused);
            if paused {
                self.0.endpoint().send(Command::RecvFlow(Arc::clone(&shared), RecvCommand::Receive));
            }
            return Poll::Ready(Ok(RecvFlow { session: self.clone(), shared }));
        }
        match state.end {
            Some(end) => Poll::Ready(Err(end)),
            None => {
                state.wakers.add(context, waiter);
                Poll::Pending
            }
        }
    }

    /// A flow that the far end has opened, if one waits to be accepted.
    ///
    /// # Errors
    /// That the session has ended.
    pub fn try_accept_flow(&self) -> Result<Option<RecvFlow>, Error> {
        match self.poll_accept_flow(&mut Context::from_waker(Waker::noop()), &mut Waiter::default()) {
            Poll::Ready(flow) => flow.map(Some),
            Poll::Pending => Ok(None),
        }
    }

    /// The flows that the far end opens, one after another, as an iterator that waits for the next. It ends with the
    /// session; [`closed`](Self::closed) tells why.
    #[must_use]
    pub fn incoming_flows(&self) -> IncomingFlows {
        IncomingFlows::new(self.clone())
    }

    /// Bytes in the queues of flows that nobody has accepted, added up anew.
    #[cfg(test)]
    pub(crate) fn held_unaccepted(&self) -> usize {
        let state = lock(&self.0.shared.0);
        let held = state.flows.iter().map(|flow| lock(&flow.state).bytes).sum();
        assert_eq!(held, state.flows_bytes, "the total is right");
        held
    }

    /// Closes it: all its flows are closed, and once all that was sent is delivered, or after `within`, the far end is
    /// told, again and again until it has acknowledged that. Returns what was not delivered, when the session has ended.
    /// Flows that the far end has closed before, and that have arrived, can still be read to their end.
    ///
    /// The protocol has no room for a code or a text in a close: Session Close Request is empty (RFC 7016 §2.3.17). To say
    /// why, send a last message on a flow before; for a single flow, [`RecvFlow::reject`] has a code.
    ///
    /// # Errors
    /// Why it had ended before, if it had.
    pub fn close(&self, within: Duration) -> Result<Undelivered, Error> {
        self.begin_close(within);
        block_on(|context, waiter| self.poll_drained(context, waiter))
    }

    /// [`close`](Self::close), without waiting.
    pub fn begin_close(&self, within: Duration) {
        self.0.endpoint().send(Command::Session(Arc::clone(&self.0.shared), SessionCommand::Drain(within)));
    }

    /// Waits, polled, until it has ended, as [`close`](Self::close) does.
    pub fn poll_drained(&self, context: &mut Context<'_>, waiter: &mut Waiter) -> Poll<Result<Undelivered, Error>> {
        let end = core::task::ready!(self.poll_closed(context, waiter));
        Poll::Ready(lock(&self.0.shared.0).undelivered.ok_or(end))
    }

    /// Ends it now, with all its flows. What is not yet delivered is lost.
    pub fn abort(&self, mode: CloseMode) {
        self.0.endpoint().send(Command::Session(Arc::clone(&self.0.shared), SessionCommand::Close(mode)));
    }
}
