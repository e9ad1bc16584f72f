//! What handles and the endpoint's thread share: a queue of commands, and one small state for each session and flow.

use core::fmt;
use core::net::SocketAddr;
use core::ops::{Deref, DerefMut};
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rtmfp_core::{
    Bytes, CloseMode, EndpointStats, FlowEnd, FlowOptions, Message, RecvFlowHandle, SendFlowHandle, SessionHandle,
    Target, Undelivered,
};

use super::EndpointError;
use super::handles::Owner;
use super::wakers::{Due, WakerSet};
use crate::places::Places;

/// Bytes of messages that wait between a handle and the endpoint, in either direction, for each flow. One message of
/// any size is always taken.
pub(super) const QUEUE_BYTES: usize = 262_144;
/// Sessions that far ends opened and nobody has accepted yet. With one beyond them the oldest without a flow is closed,
/// or else the new one.
pub(super) const WAITING_SESSIONS: usize = 1_024;
/// Of these, from one IPv4 address or one /64 network of IPv6.
pub(super) const WAITING_SESSIONS_PER_SOURCE: usize = 512;
/// Flows of a session that nobody has accepted yet, ended ones included. One beyond them is rejected. Together they hold
/// no more than [`QUEUE_BYTES`] and one message: the rest stays in the endpoint, within its own limits.
pub(super) const WAITING_FLOWS: usize = 1_024;

/// How long what was sent has to be delivered when nobody waits for that: after the last handle of a session, or of the
/// endpoint, is dropped.
pub(super) const LINGER: Duration = Duration::from_secs(10);

/// What tasks wait for, behind a mutex.
pub(super) trait Awaited {
    fn wakers(&mut self) -> &mut WakerSet;
}

/// Locks what cannot be left in disorder: every change is complete before anything that can panic.
pub(super) fn lock<T: Awaited>(mutex: &Mutex<T>) -> Locked<'_, T> {
    Locked { guard: mutex.lock().unwrap_or_else(PoisonError::into_inner), due: Due::default() }
}

/// A locked mutex. Tasks are woken once it is unlocked: a waker may run anything, and drop handles that lock the same.
pub(super) struct Locked<'a, T: Awaited> {
    // The order matters: this is dropped first.
    guard: MutexGuard<'a, T>,
    due: Due,
}

impl<T: Awaited> Deref for Locked<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T: Awaited> DerefMut for Locked<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

impl<T: Awaited> Drop for Locked<'_, T> {
    fn drop(&mut self) {
        self.due = self.guard.wakers().take_due();
    }
}

impl Awaited for Queue {
    fn wakers(&mut self) -> &mut WakerSet {
        &mut self.wakers
    }
}

impl Awaited for StatsState {
    fn wakers(&mut self) -> &mut WakerSet {
        &mut self.waiting
    }
}

impl Awaited for SessionState {
    fn wakers(&mut self) -> &mut WakerSet {
        &mut self.wakers
    }
}

impl Awaited for SendState {
    fn wakers(&mut self) -> &mut WakerSet {
        &mut self.wakers
    }
}

impl Awaited for RecvState {
    fn wakers(&mut self) -> &mut WakerSet {
        &mut self.wakers
    }
}

/// Asked of the endpoint's thread by a handle.
#[derive(Debug)]
pub(super) enum Command {
    Open(Arc<SessionShared>, Target),
    /// To end now.
    Close(Arc<SessionShared>, CloseMode),
    /// To end once all that was sent is delivered, or after this time.
    Drain(Arc<SessionShared>, Duration),
    /// The last handle of a session is gone.
    Release(Arc<SessionShared>),
    OpenFlow(Arc<SendShared>, Within, FlowOptions),
    /// There are messages to send, or the flow is to be closed.
    Send(Arc<SendShared>),
    /// There is room for received messages again.
    Receive(Arc<RecvShared>),
    Reject(Arc<RecvShared>, u64),
    /// The counters are asked for.
    Stats(Arc<StatsShared>),
    /// Nobody can accept a session any more.
    StopAccepting,
    /// To drain all sessions, and stop then or after this time.
    Shutdown(Duration),
    /// The last handle of anything is gone: the same, unless it stops already.
    ReleaseAll,
}

/// Where a flow is opened.
#[derive(Debug)]
pub(super) enum Within {
    Session(Arc<SessionShared>),
    ReturnTo(Arc<RecvShared>),
}

pub(super) struct EndpointShared {
    pub(super) queue: Mutex<Queue>,
    pub(super) locals: Vec<SocketAddr>,
    wake: Box<dyn Fn() + Send + Sync>,
}

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) commands: VecDeque<Command>,
    /// Sessions that far ends opened and nobody has accepted yet, at most [`WAITING_SESSIONS`].
    pub(super) accepted: VecDeque<(SessionHandle, Arc<SessionShared>)>,
    /// The places in it.
    pub(super) places: Places<SessionHandle>,
    pub(super) wakers: WakerSet,
    /// All sessions were closed in order before it stopped.
    pub(super) shut_down: bool,
    /// What was not delivered then.
    pub(super) undelivered: Undelivered,
    pub(super) stopped: bool,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            commands: VecDeque::new(),
            accepted: VecDeque::new(),
            places: Places::new(WAITING_SESSIONS, WAITING_SESSIONS_PER_SOURCE),
            wakers: WakerSet::default(),
            shut_down: false,
            undelivered: Undelivered::default(),
            stopped: false,
        }
    }
}

impl Queue {
    /// The next session for the application.
    pub(super) fn accept(&mut self) -> Option<(SessionHandle, Arc<SessionShared>)> {
        let (handle, shared) = self.accepted.pop_front()?;
        self.places.leave(handle);
        Some((handle, shared))
    }

    /// A session is not to be accepted any more.
    pub(super) fn remove(&mut self, handle: SessionHandle) {
        self.places.leave(handle);
        self.accepted.retain(|(waiting, _)| *waiting != handle);
    }
}

impl fmt::Debug for EndpointShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointShared").field("locals", &self.locals).finish_non_exhaustive()
    }
}

impl EndpointShared {
    pub(super) fn new(locals: Vec<SocketAddr>, wake: Box<dyn Fn() + Send + Sync>) -> Self {
        Self { queue: Mutex::default(), locals, wake }
    }

    /// False if nobody will carry it out.
    pub(super) fn send(&self, command: Command) -> bool {
        let mut queue = lock(&self.queue);
        if queue.stopped {
            return false;
        }
        queue.commands.push_back(command);
        let first = queue.commands.len() == 1;
        drop(queue);
        if first {
            (self.wake)();
        }
        true
    }
}

/// The counters of the endpoint, once they are there.
#[derive(Debug, Default)]
pub(super) struct StatsShared(pub(super) Mutex<StatsState>);

#[derive(Debug, Default)]
pub(super) struct StatsState {
    /// `Some(None)` if the endpoint has stopped.
    pub(super) answer: Option<Option<EndpointStats>>,
    pub(super) waiting: WakerSet,
}

impl StatsShared {
    pub(super) fn answer(&self, stats: Option<EndpointStats>) {
        let mut state = lock(&self.0);
        state.answer.get_or_insert(stats);
        state.waiting.wake();
    }
}

#[derive(Debug, Default)]
pub(super) struct SessionShared(pub(super) Mutex<SessionState>);

#[derive(Debug, Default)]
pub(super) struct SessionState {
    pub(super) handle: Option<SessionHandle>,
    pub(super) open: bool,
    pub(super) end: Option<EndpointError>,
    /// What was not delivered, if it was drained.
    pub(super) undelivered: Option<Undelivered>,
    /// The session that there was already to the same far end, in place of which this one did not open.
    pub(super) existing: Option<Arc<SessionShared>>,
    /// It is to end, so nobody else gets it any more.
    pub(super) closing: bool,
    /// What closes it when nobody holds it any more.
    pub(super) owner: Weak<Owner>,
    pub(super) remote: Option<SocketAddr>,
    pub(super) far_discriminator: Vec<u8>,
    /// It is in [`Queue::accepted`].
    pub(super) unaccepted: bool,
    /// Flows that the far end opened and nobody has accepted yet, at most [`WAITING_FLOWS`].
    pub(super) flows: VecDeque<Arc<RecvShared>>,
    /// What those hold in their queues.
    pub(super) flows_bytes: usize,
    pub(super) wakers: WakerSet,
}

impl SessionState {
    /// The next flow for the application, which from now on has a queue of its own.
    pub(super) fn accept_flow(&mut self) -> Option<Arc<RecvShared>> {
        let shared = self.flows.pop_front()?;
        let mut flow = lock(&shared.state);
        flow.accepted = true;
        self.flows_bytes = self.flows_bytes.saturating_sub(flow.bytes);
        drop(flow);
        Some(shared)
    }

    /// Drops the flows that have nothing for the application any more: neither content nor a good end.
    pub(super) fn drop_empty_flows(&mut self) {
        self.flows.retain(|shared| {
            let flow = lock(&shared.state);
            !flow.messages.is_empty() || matches!(flow.end, None | Some(FlowEnd::Complete))
        });
    }
}

#[derive(Debug, Default)]
pub(super) struct SendShared(pub(super) Mutex<SendState>);

#[derive(Debug, Default)]
pub(super) struct SendState {
    pub(super) handle: Option<SendFlowHandle>,
    pub(super) messages: VecDeque<Bytes>,
    pub(super) bytes: usize,
    /// A [`Command::Send`] is under way.
    pub(super) scheduled: bool,
    /// To be closed after the last message.
    pub(super) closing: bool,
    /// Everything that was sent is delivered, and nothing more can be.
    pub(super) completed: bool,
    pub(super) error: Option<EndpointError>,
    pub(super) wakers: WakerSet,
}

impl SendState {
    /// What waits in the queue.
    pub(super) fn queued(&self) -> Undelivered {
        let messages = self.messages.len() as u64;
        let bytes = self.messages.iter().map(|message| message.len() as u64).sum();
        Undelivered { messages, unsent: messages, bytes }
    }

    pub(super) fn fail(&mut self, error: EndpointError) {
        self.error.get_or_insert(error);
        self.messages.clear();
        self.bytes = 0;
        self.wakers.wake();
    }
}

#[derive(Debug)]
pub(super) struct RecvShared {
    pub(super) handle: RecvFlowHandle,
    pub(super) metadata: Bytes,
    pub(super) association: Option<SendFlowHandle>,
    pub(super) state: Mutex<RecvState>,
}

#[derive(Debug, Default)]
pub(super) struct RecvState {
    /// Not in [`SessionState::flows`] any more. Whoever locks both locks the session first.
    pub(super) accepted: bool,
    pub(super) messages: VecDeque<Message>,
    pub(super) bytes: usize,
    /// More may be there than there was room for.
    pub(super) paused: bool,
    pub(super) end: Option<FlowEnd>,
    pub(super) error: Option<EndpointError>,
    pub(super) wakers: WakerSet,
}
