//! Meeting others through a server.

use core::net::SocketAddr;
use core::sync::atomic::Ordering;
use core::task::{Context, Poll};
use std::sync::Arc;

use rtmfp_core::profile::Fingerprint;
use rtmfp_core::{Bytes, Target};
use rtmfp_meet::{Failure, GuestOptions, PathPolicy};

use super::endpoint::Keeper;
use super::{Asked, EndpointHandle, Session};
use crate::endpoint::introduction::MeetingEvent;
use crate::endpoint::shared::{Command, MeetingCommand, MeetingShared, SessionShared, lock};
use crate::endpoint::wakers::Waiter;
use crate::endpoint::{Error, Remote, block_on};
use crate::kind::ProfileKind;

/// This end's place at a rendezvous server, such as `rtmfp serve`: others find this end there, and this end others.
///
/// It keeps a session with the server, and opens it again when it is lost: see [`Guest`](rtmfp_meet::Guest), which is
/// what works here, also for who is told what. Sessions with peers that opened through it are like any other. When the path
/// of one fails, another is looked for, without an act of the program. [`SessionEvent::PathKind`] tells.
///
/// When it is dropped, the server is left. Sessions with peers stay, those over the relay only until the server forgets
/// them.
///
/// [`SessionEvent::PathKind`]: super::SessionEvent::PathKind
#[derive(Debug)]
pub struct Meeting {
    pub(super) keeper: Arc<Keeper>,
    shared: Arc<MeetingShared>,
    kind: ProfileKind,
}

impl Drop for Meeting {
    fn drop(&mut self) {
        self.send(MeetingCommand::Leave);
    }
}

impl EndpointHandle {
    /// Joins a rendezvous server, and stays there. Names of the server are looked up once; the calling thread waits for
    /// that.
    ///
    /// # Errors
    /// [`NotResolved`](Error::NotResolved), [`AddressFamily`](Error::AddressFamily), or [`Stopped`](Error::Stopped).
    /// What comes later is told by [`Meeting::next_event`].
    pub fn join(&self, server: Remote) -> Result<Meeting, Error> {
        self.join_resolved(&server.resolve().map_err(|_| Error::NotResolved)?, GuestOptions::default())
    }

    /// [`join`](Self::join), with names that are [resolved](Remote::resolve), and with options.
    ///
    /// With [`RelayOnly`](PathPolicy::RelayOnly) this end sends nothing to peers but through the server. The endpoint must be
    /// built with [`forwarded_hello`](rtmfp_core::EndpointConfig::forwarded_hello) set to
    /// [`Ignore`](rtmfp_core::ForwardedHelloPolicy::Ignore): it would answer from its address otherwise.
    ///
    /// # Errors
    /// [`AddressFamily`](Error::AddressFamily), [`AnswersForwardedHellos`](Error::AnswersForwardedHellos), or
    /// [`Stopped`](Error::Stopped).
    pub fn join_resolved(&self, server: &Remote, options: GuestOptions) -> Result<Meeting, Error> {
        let ignores_forwarded = self.shared().ignores_forwarded.load(Ordering::Relaxed);
        if options.policy == PathPolicy::RelayOnly && !ignores_forwarded {
            return Err(Error::AnswersForwardedHellos);
        }
        let kind = self.shared().kind;
        let candidates = server.paths(&self.shared().locals.list(), kind);
        if candidates.is_empty() {
            return Err(Error::AddressFamily);
        }
        let target = Target { discriminator: server.discriminator(kind)?, candidates };
        let meeting = Meeting { keeper: Arc::clone(self.keeper()), shared: Arc::default(), kind };
        if meeting.send(MeetingCommand::Join(target, options)) { Ok(meeting) } else { Err(Error::Stopped) }
    }
}

impl Meeting {
    fn send(&self, command: MeetingCommand) -> bool {
        self.keeper.0.send(Command::Meeting(Arc::clone(&self.shared), command))
    }

    /// Whether the server knows this end now.
    #[must_use]
    pub fn registered(&self) -> bool {
        lock(&self.shared.0).registered
    }

    /// Why the server is not reached, if the last attempt failed.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        lock(&self.shared.0).failure
    }

    /// The address at which the server sees this end, once it has told.
    #[must_use]
    pub fn seen_at(&self) -> Option<SocketAddr> {
        lock(&self.shared.0).seen
    }

    /// Waits until the server knows this end.
    ///
    /// # Errors
    /// [`NotMet`](Error::NotMet) with the reason if the attempt to reach it that runs fails. Between two attempts it is the
    /// reason of the last one, at once. It goes on trying. [`Stopped`](Error::Stopped) if the endpoint stops.
    pub fn wait_registered(&self) -> Result<(), Error> {
        block_on(|context, waiter| self.poll_registered(context, waiter))
    }

    /// [`wait_registered`](Self::wait_registered), polled.
    pub fn poll_registered(&self, context: &mut Context<'_>, waiter: &mut Waiter) -> Poll<Result<(), Error>> {
        let mut state = lock(&self.shared.0);
        if state.registered {
            return Poll::Ready(Ok(()));
        }
        if state.stopped {
            return Poll::Ready(Err(Error::Stopped));
        }
        if let Some(failure) = state.outcome() {
            return Poll::Ready(Err(Error::NotMet(failure)));
        }
        state.wakers.add(context, waiter);
        Poll::Pending
    }

    /// Shows a token to a server that asks for one, now and whenever this end is registered again. At most
    /// [`MAX_TOKEN`](rtmfp_meet::message::MAX_TOKEN) bytes; a longer one is ignored. Call it before anything else.
    pub fn show_token(&self, token: impl Into<Bytes>) {
        self.send(MeetingCommand::Token(token.into()));
    }

    /// Tells the server addresses that a gateway forwards to this end, in place of those before: it tells them to whoever it
    /// introduces to this end. The first eight count.
    pub fn set_mapped(&self, addresses: impl IntoIterator<Item = SocketAddr>) {
        self.send(MeetingCommand::Mapped(addresses.into_iter().take(8).collect()));
    }

    /// A number under which others find this end, as long as it is registered. Waits until there is one. After the server
    /// was lost the number may be another: [`MeetingEvent::Number`] tells.
    ///
    /// # Errors
    /// [`NotMet`](Error::NotMet) with the reason if the server refuses, or is not reached, as
    /// [`wait_registered`](Self::wait_registered) tells.
    pub fn number(&self) -> Result<u64, Error> {
        self.begin_number();
        block_on(|context, waiter| self.poll_number(context, waiter))
    }

    /// [`number`](Self::number), without waiting.
    pub fn begin_number(&self) {
        let mut state = lock(&self.shared.0);
        let wanted = core::mem::replace(&mut state.number_wanted, true) && state.number_failure.is_none();
        state.number_failure = None;
        let releases = state.releases;
        drop(state);
        if !wanted {
            self.send(MeetingCommand::Number(releases));
        }
    }

    /// [`number`](Self::number), polled, after [`begin_number`](Self::begin_number).
    pub fn poll_number(&self, context: &mut Context<'_>, waiter: &mut Waiter) -> Poll<Result<u64, Error>> {
        let mut state = lock(&self.shared.0);
        if let Some(number) = state.number {
            return Poll::Ready(Ok(number));
        }
        if state.stopped {
            return Poll::Ready(Err(Error::Stopped));
        }
        if let Some(failure) = state.number_failure.or_else(|| state.outcome()) {
            return Poll::Ready(Err(Error::NotMet(failure)));
        }
        state.wakers.add(context, waiter);
        Poll::Pending
    }

    /// Gives the number back. The next one that is [asked for](Self::number) may be another.
    pub fn release_number(&self) {
        lock(&self.shared.0).release_number();
        self.send(MeetingCommand::ReleaseNumber);
    }

    /// Who can be met under a number, by peer ID. The number does not prove that: whoever has it now is told.
    ///
    /// # Errors
    /// [`NotMet`](Error::NotMet) with the reason.
    pub fn find(&self, number: u64) -> Result<Fingerprint, Error> {
        let asked = self.ask_find(number);
        let found = block_on(|context, waiter| asked.poll(context, waiter));
        found.ok_or(Error::Stopped)?.map_err(Error::NotMet)
    }

    /// [`find`](Self::find), polled: asks once. The question is withdrawn when what this returns is dropped.
    #[must_use]
    pub fn ask_find(&self, number: u64) -> Asked<Result<Fingerprint, Failure>> {
        let command = |question| Command::Meeting(Arc::clone(&self.shared), MeetingCommand::Find(number, question));
        let withdraw = Command::Meeting(Arc::clone(&self.shared), MeetingCommand::ForgetWithdrawn);
        Asked::new(&self.keeper.0, command).or_else(withdraw)
    }

    /// Connects to a peer over the best path there is: on the same network, directly, or through the server's relay. The
    /// peer must be registered with this server too. If there is a session with it already, that is returned.
    ///
    /// # Errors
    /// [`NotMet`](Error::NotMet) with the step that failed.
    pub fn connect(&self, peer_id: Fingerprint) -> Result<Session, Error> {
        self.connect_over(peer_id, PathPolicy::Any)
    }

    /// [`connect`](Self::connect), over such paths only.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_over(&self, peer_id: Fingerprint, policy: PathPolicy) -> Result<Session, Error> {
        let mut session = self.begin_connect(peer_id, policy);
        block_on(|context, waiter| session.poll_connected(context, waiter))?;
        Ok(session)
    }

    /// [`connect_over`](Self::connect_over), without waiting: [`Session::poll_connected`] tells how it went. It is given
    /// up when the session is dropped.
    #[must_use]
    pub fn begin_connect(&self, peer_id: Fingerprint, policy: PathPolicy) -> Session {
        let discriminator = self.kind.discriminator(None, Some(peer_id));
        let shared = Arc::<SessionShared>::default();
        let session = Session::new(&self.keeper, &shared);
        if !self.send(MeetingCommand::Connect(Arc::clone(&shared), discriminator, policy)) {
            shared.end(Error::Stopped);
        }
        session
    }

    /// What becomes of it, one event after another; `None` when the endpoint has stopped. At most 64 events wait. With one
    /// beyond them the oldest is dropped.
    #[must_use]
    pub fn next_event(&self) -> Option<MeetingEvent> {
        block_on(|context, waiter| self.poll_event(context, waiter))
    }

    /// [`next_event`](Self::next_event), polled.
    pub fn poll_event(&self, context: &mut Context<'_>, waiter: &mut Waiter) -> Poll<Option<MeetingEvent>> {
        let mut state = lock(&self.shared.0);
        if let Some(event) = state.events.pop_front() {
            return Poll::Ready(Some(event));
        }
        if state.stopped {
            return Poll::Ready(None);
        }
        state.wakers.add(context, waiter);
        Poll::Pending
    }
}
