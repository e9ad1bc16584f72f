//! What handles and the endpoint's thread share: a queue of commands, and one small state for each session and flow.

mod answer;
mod commands;
mod introduction;
mod meeting;
mod outgoing;
mod receipt;
mod recv;
mod send;
mod session;
mod sleep;
mod updates;

use core::fmt;
use core::net::SocketAddr;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::AtomicBool;
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rtmfp_core::profile::flash::Fingerprint;
use rtmfp_core::{EndpointStats, FlowOptions, Path, SessionHandle, Target, Undelivered, UnmatchedHello};

use crate::kind::ProfileKind;
use crate::locals::Locals;

pub(crate) use answer::{Answer, Question};
use commands::Commands;
#[cfg(test)]
pub(crate) use introduction::WAITING_EVENTS;
pub(crate) use introduction::{
    Introduce, IntroductionState, RegistrationShared, WAITING_INTRODUCTIONS, WAITING_INTRODUCTIONS_PER_SOURCE,
};
pub(crate) use meeting::{MeetingCommand, MeetingShared, MeetingState};
pub(crate) use outgoing::{Outgoing, OutgoingQueue, Special};
pub(crate) use receipt::{Limit, ReceiptShared, ReceiptState};
pub(crate) use recv::{RecvCommand, RecvShared, RecvState};
pub(crate) use send::{SendCommand, SendShared, SendState, Within};
pub(crate) use session::{CoreCommand, SessionCommand, SessionShared, SessionState};
pub(crate) use sleep::{Place, SleepShared};

pub(crate) use updates::UpdatesShared;

use super::wakers::{Due, WakerSet};
use crate::places::Places;

/// Bytes of messages that wait between a handle and the endpoint, in either direction, for each flow. One message of
/// any size is always taken.
pub(crate) const QUEUE_BYTES: usize = 262_144;
/// Sessions that far ends opened and nobody has accepted yet. With one beyond them the oldest without a flow is closed,
/// or else the new one.
pub(crate) const WAITING_SESSIONS: usize = 1_024;
/// Of these, from one IPv4 address or one /64 network of IPv6.
pub(crate) const WAITING_SESSIONS_PER_SOURCE: usize = 512;
/// Flows of a session that nobody has accepted yet, ended ones included. One beyond them is rejected. Together they hold
/// no more than [`QUEUE_BYTES`] and one message: the rest stays in the endpoint, within its own limits.
pub(crate) const WAITING_FLOWS: usize = 1_024;

/// How long what was sent has to be delivered when nobody waits for that: after the last handle of a session, or of the
/// endpoint, is dropped.
pub(crate) const LINGER: Duration = Duration::from_secs(10);

/// What tasks wait for, behind a mutex.
pub(crate) trait Awaited {
    fn wakers(&mut self) -> &mut WakerSet;
}

/// Locks what cannot be left in disorder: every change is complete before anything that can panic.
pub(crate) fn lock<T: Awaited>(mutex: &Mutex<T>) -> Locked<'_, T> {
    Locked { guard: mutex.lock().unwrap_or_else(PoisonError::into_inner), due: Due::default() }
}

/// A locked mutex. Tasks are woken once it is unlocked: a waker may run anything, and drop handles that lock the same.
pub(crate) struct Locked<'a, T: Awaited> {
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

/// Asked of the endpoint's thread by a handle.
#[derive(Debug)]
pub(crate) enum Command {
    /// To try for this long, or as long as is configured.
    Open(Arc<SessionShared>, Target, Option<Duration>),
    Session(Arc<SessionShared>, SessionCommand),
    OpenFlow(Arc<SendShared>, Within, FlowOptions),
    SendFlow(Arc<SendShared>, SendCommand),
    RecvFlow(Arc<RecvShared>, RecvCommand),
    /// To be woken after this time.
    Sleep(Arc<SleepShared>, Duration),
    /// Nobody waits for that any more.
    ForgetSleep(Arc<SleepShared>),
    /// The counters are asked for.
    Stats(Question<EndpointStats>),
    /// What to do about a hello for somebody else, and whether that was possible.
    Introduce(UnmatchedHello, Introduce, Question<bool>),
    /// To register with an introducer. An attempt lasts as long as this, or as is configured.
    Register(Arc<RegistrationShared>, Target, Option<Duration>),
    Unregister(Arc<RegistrationShared>),
    Meeting(Arc<MeetingShared>, MeetingCommand),
    /// Nobody can accept a session any more.
    StopAccepting,
    /// To drain all sessions, and stop then or after this time.
    Shutdown(Duration),
    /// The last handle of anything is gone: the same, unless it stops already.
    ReleaseAll,
}

pub(crate) struct EndpointShared {
    pub(crate) queue: Mutex<Queue>,
    pub(crate) introductions: Mutex<IntroductionState>,
    pub(crate) locals: Arc<Locals>,
    /// Of the endpoint's profile.
    pub(crate) kind: ProfileKind,
    /// Of this end, if it has static keys.
    pub(crate) peer_id: Option<Fingerprint>,
    /// Whoever is handed on to this end by an introducer gets no answer from its address.
    pub(crate) ignores_forwarded: AtomicBool,
    /// A driver has run the application.
    pub(crate) driven: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) commands: Commands,
    /// Sessions that far ends opened and nobody has accepted yet, at most [`WAITING_SESSIONS`].
    pub(crate) accepted: VecDeque<(SessionHandle, Arc<SessionShared>)>,
    /// The places in it.
    pub(crate) places: Places<SessionHandle>,
    pub(crate) wakers: WakerSet,
    /// All sessions were closed in order before it stopped.
    pub(crate) shut_down: bool,
    /// What was not delivered then.
    pub(crate) undelivered: Undelivered,
    pub(crate) stopped: bool,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            commands: Commands::default(),
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
    pub(crate) fn accept(&mut self) -> Option<(SessionHandle, Arc<SessionShared>)> {
        let (handle, shared) = self.accepted.pop_front()?;
        self.places.leave(handle);
        Some((handle, shared))
    }

    /// A session is not to be accepted any more.
    pub(crate) fn remove(&mut self, handle: SessionHandle) {
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
    pub(crate) fn new(
        locals: Vec<SocketAddr>,
        kind: ProfileKind,
        peer_id: Option<Fingerprint>,
        wake: Box<dyn Fn() + Send + Sync>,
    ) -> Self {
        let (introductions, locals) = (Mutex::default(), Arc::new(Locals::new(locals)));
        let (ignores_forwarded, driven) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { queue: Mutex::default(), introductions, locals, kind, peer_id, ignores_forwarded, driven, wake }
    }

    /// The way to an address: the first socket of its family reaches it.
    pub(crate) fn path_to(&self, remote: SocketAddr) -> Option<Path> {
        let locals = self.locals.list();
        let (interface, _) = locals.into_iter().find(|(_, local)| local.is_ipv4() == remote.is_ipv4())?;
        Some(Path::new(interface, remote))
    }

    /// False if nobody will carry it out.
    pub(crate) fn send(&self, command: Command) -> bool {
        let mut queue = lock(&self.queue);
        if queue.stopped {
            return false;
        }
        let void = queue.commands.push(command);
        let first = queue.commands.len() == 1;
        drop(queue);
        for command in void {
            command.void();
        }
        if first {
            (self.wake)();
        }
        true
    }
}
