//! The application's side: handles whose calls block the calling thread, or can be polled.

use core::net::SocketAddr;
use core::task::{Context, Poll};
use core::time::Duration;
use std::sync::Arc;

use rtmfp_core::{
    Bytes, CloseMode, EndpointStats, FlowEnd, FlowOptions, InterfaceId, Message, Path, Target, Undelivered,
};

use super::shared::{
    Command, EndpointShared, LINGER, Locked, QUEUE_BYTES, RecvShared, SendShared, SendState, SessionShared,
    SessionState, StatsShared, Within, lock,
};
use super::wakers::Waiter;
use super::{EndpointError, block_on};

/// Between the first hellos to several addresses of one far end.
const CANDIDATE_DELAY: Duration = Duration::from_millis(250);

/// A handle to a running endpoint. Clones are the same endpoint.
///
/// When the last of them is dropped, no session can be accepted any more, and far ends that open one are turned away.
/// When the last handle of its sessions and flows is dropped too, the endpoint stops. It does so once what was sent is
/// delivered, or after 10 s. An earlier close or [shutdown](Self::begin_shutdown) may have given it another time.
#[derive(Clone, Debug)]
pub struct EndpointHandle(Arc<Attendant>);

/// Turns far ends away when nobody can accept them.
#[derive(Debug)]
struct Attendant(Arc<Keeper>);

/// Stops the endpoint when nobody holds anything of it.
#[derive(Debug)]
struct Keeper(Arc<EndpointShared>);

pub(super) fn handle(shared: Arc<EndpointShared>) -> EndpointHandle {
    EndpointHandle(Arc::new(Attendant(Arc::new(Keeper(shared)))))
}

impl Drop for Attendant {
    fn drop(&mut self) {
        self.endpoint().send(Command::StopAccepting);
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.send(Command::ReleaseAll);
    }
}

impl Attendant {
    fn endpoint(&self) -> &Arc<EndpointShared> {
        &self.0.0
    }
}

impl EndpointHandle {
    /// The local addresses, with the ports that the system chose.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.0.endpoint().locals
    }

    /// Begins a session with the endpoint that `discriminator` selects (for the Flash profile, see
    /// [`Discriminator`](rtmfp_core::profile::flash::Discriminator)), at one or several addresses. Flows can be opened
    /// and written at once; [`Session::opened`] tells how it went.
    #[must_use]
    pub fn begin(&self, discriminator: impl Into<Bytes>, remotes: &[SocketAddr]) -> Session {
        let mut candidates = Vec::new();
        let mut delay = Duration::ZERO;
        for remote in remotes {
            // An IPv4 address that is written as one of IPv6 is reached by IPv4 sockets.
            let remote = if remote.is_ipv6() {
                let canonical = remote.ip().to_canonical();
                if canonical.is_ipv4() { SocketAddr::new(canonical, remote.port()) } else { *remote }
            } else {
                *remote
            };
            // The first socket of the address's family reaches it.
            let mut locals = (0..=u16::MAX).zip(&self.0.endpoint().locals);
            let Some((index, _)) = locals.find(|(_, local)| local.is_ipv4() == remote.is_ipv4()) else { continue };
            candidates.push((Path::new(InterfaceId(index), remote), delay));
            delay += CANDIDATE_DELAY;
        }
        let shared = Arc::new(SessionShared::default());
        if candidates.is_empty() && !remotes.is_empty() {
            lock(&shared.0).end = Some(EndpointError::AddressFamily);
            return Session::new(&self.0.0, &shared);
        }
        let target = Target { discriminator: discriminator.into(), candidates };
        if !self.0.endpoint().send(Command::Open(Arc::clone(&shared), target)) {
            lock(&shared.0).end = Some(EndpointError::Stopped);
        }
        Session::new(&self.0.0, &shared)
    }

    /// Opens a session and waits until it is open. If there is one with the same far end already, whichever end began
    /// it, that one is returned: it is the same session as its other handles.
    ///
    /// # Errors
    /// Why it did not open: [`Duplicate`](rtmfp_core::OpenFailure::Duplicate) if there is one, and it is being closed.
    /// Once it has ended, another can be opened.
    pub fn connect(&self, discriminator: impl Into<Bytes>, remotes: &[SocketAddr]) -> Result<Session, EndpointError> {
        let mut session = self.begin(discriminator, remotes);
        block_on(|context, waiter| session.poll_connected(context, waiter))?;
        Ok(session)
    }

    /// Waits for the next session that a far end opens. `None` when the endpoint has stopped.
    ///
    /// At most 1,024 sessions wait to be accepted, half of them from one IPv4 address or one /64 network of IPv6. When
    /// there is no room, the oldest without any flow is closed abruptly, or else the new one. An endpoint that is to have no such
    /// sessions at all says so in its configuration ([`accept`](rtmfp_core::EndpointConfig::accept)).
    #[must_use]
    pub fn accept(&self) -> Option<Session> {
        block_on(|context, waiter| self.poll_accept(context, waiter))
    }

    /// [`accept`](Self::accept), polled.
    pub fn poll_accept(&self, context: &mut Context<'_>, waiter: &mut Waiter) -> Poll<Option<Session>> {
        let mut queue = lock(&self.0.endpoint().queue);
        if let Some((_, shared)) = queue.accept() {
            drop(queue);
            // Held before it counts as accepted, so that nobody closes it meanwhile.
            let session = Session::new(&self.0.0, &shared);
            lock(&shared.0).unaccepted = false;
            return Poll::Ready(Some(session));
        }
        if queue.stopped {
            return Poll::Ready(None);
        }
        queue.wakers.add(context, waiter);
        Poll::Pending
    }

    /// The counters of the endpoint, with what was [dropped](EndpointStats::drops) and why. `None` when the endpoint has
    /// stopped.
    #[must_use]
    pub fn stats(&self) -> Option<EndpointStats> {
        let asked = self.ask_stats();
        block_on(|context, waiter| asked.poll(context, waiter))
    }

    /// [`stats`](Self::stats), polled: asks once.
    #[must_use]
    pub fn ask_stats(&self) -> AskedStats {
        let shared = Arc::<StatsShared>::default();
        if !self.0.endpoint().send(Command::Stats(Arc::clone(&shared))) {
            shared.answer(None);
        }
        AskedStats(shared)
    }

    /// Closes all sessions, and stops the endpoint when all that was sent is delivered and the far ends know that their
    /// sessions are closed, or after `within`. Nothing more can be sent. Returns what was not delivered. If it is called
    /// more than once, the last call's time counts.
    ///
    /// # Errors
    /// [`Stopped`](EndpointError::Stopped) if the endpoint had stopped otherwise.
    pub fn shutdown(&self, within: Duration) -> Result<Undelivered, EndpointError> {
        self.begin_shutdown(within);
        block_on(|context, waiter| self.poll_stopped(context, waiter))
    }

    /// [`shutdown`](Self::shutdown), without waiting.
    pub fn begin_shutdown(&self, within: Duration) {
        self.0.endpoint().send(Command::Shutdown(within));
    }

    /// Waits, polled, until the endpoint has stopped.
    pub fn poll_stopped(
        &self,
        context: &mut Context<'_>,
        waiter: &mut Waiter,
    ) -> Poll<Result<Undelivered, EndpointError>> {
        let mut queue = lock(&self.0.endpoint().queue);
        if queue.stopped {
            return Poll::Ready(if queue.shut_down { Ok(queue.undelivered) } else { Err(EndpointError::Stopped) });
        }
        queue.wakers.add(context, waiter);
        Poll::Pending
    }

    /// [`shutdown`](Self::shutdown) within 10 s, without waiting.
    pub fn stop(&self) {
        self.begin_shutdown(LINGER);
    }

    /// Stops it as the last handle does, though there are others.
    pub(super) fn release(&self) {
        self.0.endpoint().send(Command::ReleaseAll);
    }
}

/// Counters on their way from the endpoint, as [`EndpointHandle::ask_stats`] gives it.
#[derive(Debug)]
pub struct AskedStats(Arc<StatsShared>);

impl AskedStats {
    /// The counters, once they are there; `None` if the endpoint has stopped.
    pub fn poll(&self, context: &mut Context<'_>, waiter: &mut Waiter) -> Poll<Option<EndpointStats>> {
        let mut state = lock(&self.0.0);
        match state.answer {
            Some(answer) => Poll::Ready(answer),
            None => {
                state.waiting.add(context, waiter);
                Poll::Pending
            }
        }
    }
}

/// A session. Clones are the same session.
///
/// When the last of them, and of its flows' handles, is dropped, it is closed: what was sent has 10 s to be delivered.
/// [`close`](Self::close) gives it another time, which the drop does not change, and tells what was not.
#[derive(Clone, Debug)]
pub struct Session(Arc<Owner>);

/// Closes the session when nobody holds it.
#[derive(Debug)]
pub(super) struct Owner {
    keeper: Arc<Keeper>,
    shared: Arc<SessionShared>,
}

impl Owner {
    fn endpoint(&self) -> &EndpointShared {
        &self.keeper.0
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.endpoint().send(Command::Release(Arc::clone(&self.shared)));
    }
}

impl Session {
    fn new(keeper: &Arc<Keeper>, shared: &Arc<SessionShared>) -> Self {
        Self::locked(keeper, shared, &mut lock(&shared.0))
    }

    /// A handle of a session that there is already, unless it is to end.
    fn join(keeper: &Arc<Keeper>, shared: &Arc<SessionShared>) -> Option<Self> {
        let mut state = lock(&shared.0);
        (!state.closing).then(|| Self::locked(keeper, shared, &mut state))
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
    pub fn poll_connected(
        &mut self,
        context: &mut Context<'_>,
        waiter: &mut Waiter,
    ) -> Poll<Result<(), EndpointError>> {
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
    pub fn opened(&self) -> Result<(), EndpointError> {
        block_on(|context, waiter| self.poll_opened(context, waiter))
    }

    /// [`opened`](Self::opened), polled.
    pub fn poll_opened(&self, context: &mut Context<'_>, waiter: &mut Waiter) -> Poll<Result<(), EndpointError>> {
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
    pub fn closed(&self) -> EndpointError {
        block_on(|context, waiter| self.poll_closed(context, waiter))
    }

    /// [`closed`](Self::closed), polled.
    pub fn poll_closed(&self, context: &mut Context<'_>, waiter: &mut Waiter) -> Poll<EndpointError> {
        let mut state = lock(&self.0.shared.0);
        match state.end {
            Some(end) => Poll::Ready(end),
            None => {
                state.wakers.add(context, waiter);
                Poll::Pending
            }
        }
    }

    /// The far end's address, once it is open.
    #[must_use]
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        lock(&self.0.shared.0).remote
    }

    /// Who the far end is, once it is open: its canonical endpoint discriminator, which for the Flash profile holds its
    /// fingerprint (RFC 7425 §4.4.4).
    #[must_use]
    pub fn far_discriminator(&self) -> Vec<u8> {
        lock(&self.0.shared.0).far_discriminator.clone()
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
    pub fn accept_flow(&self) -> Result<RecvFlow, EndpointError> {
        block_on(|context, waiter| self.poll_accept_flow(context, waiter))
    }

    /// [`accept_flow`](Self::accept_flow), polled.
    pub fn poll_accept_flow(
        &self,
        context: &mut Context<'_>,
        waiter: &mut Waiter,
    ) -> Poll<Result<RecvFlow, EndpointError>> {
        let mut state = lock(&self.0.shared.0);
        if let Some(shared) = state.accept_flow() {
            drop(state);
            let paused = core::mem::take(&mut lock(&shared.state).paused);
            if paused {
                self.0.endpoint().send(Command::Receive(Arc::clone(&shared)));
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

    /// Bytes in the queues of flows that nobody has accepted, added up anew.
    #[cfg(test)]
    pub(super) fn held_unaccepted(&self) -> usize {
        let state = lock(&self.0.shared.0);
        let held = state.flows.iter().map(|flow| lock(&flow.state).bytes).sum();
        assert_eq!(held, state.flows_bytes, "the total is right");
        held
    }

    /// Closes it: all its flows are closed, and once all that was sent is delivered, or after `within`, the far end is
    /// told, again and again until it has acknowledged that. Returns what was not delivered, when the session has ended.
    /// Flows that the far end has closed before, and that have arrived, can still be read to their end.
    ///
    /// # Errors
    /// Why it had ended before, if it had.
    pub fn close(&self, within: Duration) -> Result<Undelivered, EndpointError> {
        self.begin_close(within);
        block_on(|context, waiter| self.poll_drained(context, waiter))
    }

    /// [`close`](Self::close), without waiting.
    pub fn begin_close(&self, within: Duration) {
        self.0.endpoint().send(Command::Drain(Arc::clone(&self.0.shared), within));
    }

    /// Waits, polled, until it has ended, as [`close`](Self::close) does.
    pub fn poll_drained(
        &self,
        context: &mut Context<'_>,
        waiter: &mut Waiter,
    ) -> Poll<Result<Undelivered, EndpointError>> {
        let end = core::task::ready!(self.poll_closed(context, waiter));
        Poll::Ready(lock(&self.0.shared.0).undelivered.ok_or(end))
    }

    /// Ends it now, with all its flows. What is not yet delivered is lost.
    pub fn abort(&self, mode: CloseMode) {
        self.0.endpoint().send(Command::Close(Arc::clone(&self.0.shared), mode));
    }
}

/// Messages to the far end. When it is dropped the flow is closed: what was sent is still delivered.
#[derive(Debug)]
pub struct SendFlow {
    session: Session,
    shared: Arc<SendShared>,
}

impl SendFlow {
    fn open(session: Session, within: Within, options: FlowOptions) -> Self {
        let shared = Arc::new(SendShared::default());
        if !session.0.endpoint().send(Command::OpenFlow(Arc::clone(&shared), within, options)) {
            lock(&shared.0).fail(EndpointError::Stopped);
        }
        Self { session, shared }
    }

    /// The flow's session.
    #[must_use]
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// Queues a message; waits while the queue is full. That it was delivered is only told by
    /// [`finish`](Self::finish).
    ///
    /// # Errors
    /// Why no more can be sent.
    pub fn send(&self, message: impl Into<Bytes>) -> Result<(), EndpointError> {
        let mut message = Some(message.into());
        block_on(|context, waiter| self.poll_send(context, waiter, &mut message))
    }

    /// [`send`](Self::send), polled: `message` is taken when it is ready.
    pub fn poll_send(
        &self,
        context: &mut Context<'_>,
        waiter: &mut Waiter,
        message: &mut Option<Bytes>,
    ) -> Poll<Result<(), EndpointError>> {
        let mut state = lock(&self.shared.0);
        if let Some(error) = state.error.or(state.closing.then_some(EndpointError::Closed)) {
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
    pub fn finish(self) -> Result<(), EndpointError> {
        block_on(|context, waiter| self.poll_finish(context, waiter))
    }

    /// [`finish`](Self::finish), polled.
    pub fn poll_finish(&self, context: &mut Context<'_>, waiter: &mut Waiter) -> Poll<Result<(), EndpointError>> {
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
        if !scheduled && !self.session.0.endpoint().send(Command::Send(Arc::clone(&self.shared))) {
            lock(&self.shared.0).fail(EndpointError::Stopped);
        }
    }
}

impl Drop for SendFlow {
    fn drop(&mut self) {
        self.close();
    }
}

/// Messages from the far end. They can be read to the end if the flow was complete when its session ended: the sender's
/// [`finish`](SendFlow::finish) has promised that. When it is dropped before its end the flow is rejected.
#[derive(Debug)]
pub struct RecvFlow {
    session: Session,
    shared: Arc<RecvShared>,
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
    pub fn recv(&self) -> Result<Option<Message>, EndpointError> {
        block_on(|context, waiter| self.poll_recv(context, waiter))
    }

    /// [`recv`](Self::recv), polled.
    pub fn poll_recv(
        &self,
        context: &mut Context<'_>,
        waiter: &mut Waiter,
    ) -> Poll<Result<Option<Message>, EndpointError>> {
        let mut state = lock(&self.shared.state);
        if let Some(message) = state.messages.pop_front() {
            state.bytes -= message.data.len() + 1;
            let go_on = state.paused && state.bytes <= QUEUE_BYTES / 2;
            state.paused &= !go_on;
            drop(state);
            if go_on {
                self.session.0.endpoint().send(Command::Receive(Arc::clone(&self.shared)));
            }
            return Poll::Ready(Ok(Some(message)));
        }
        match (state.end, state.error) {
            (_, Some(error)) => Poll::Ready(Err(error)),
            (Some(FlowEnd::Complete), None) => Poll::Ready(Ok(None)),
            (Some(FlowEnd::Rejected), None) => Poll::Ready(Err(EndpointError::Closed)),
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
        self.session.0.endpoint().send(Command::Reject(Arc::clone(&self.shared), code));
    }
}

impl Drop for RecvFlow {
    fn drop(&mut self) {
        if lock(&self.shared.state).end.is_none() {
            self.session.0.endpoint().send(Command::Reject(Arc::clone(&self.shared), 0));
        }
    }
}
