//! The handle to an endpoint.

use core::net::SocketAddr;
use core::sync::atomic::Ordering;
use core::task::{Context, Poll};
use core::time::Duration;
use std::sync::Arc;

use rtmfp_core::profile::flash::Fingerprint;
use rtmfp_core::{Bytes, EndpointStats, Target, Undelivered};

use super::{Asked, Incoming, Session};
use crate::endpoint::shared::{Command, EndpointShared, LINGER, SessionShared, lock};
use crate::endpoint::wakers::Waiter;
use crate::endpoint::{Error, Remote, block_on};
use crate::locals::Locals;

/// A handle to a running endpoint. Clones are the same endpoint.
///
/// When the last of them is dropped, no session can be accepted any more, and far ends that open one are turned away.
/// When the last handle of its sessions, flows and registrations is dropped too, the endpoint stops. It does so once
/// what was sent is delivered, or after 10 s. An earlier close or [shutdown](Self::begin_shutdown) may have given it another
/// time.
#[derive(Clone, Debug)]
pub struct EndpointHandle(Arc<Attendant>);

/// Turns far ends away when nobody can accept them.
#[derive(Debug)]
struct Attendant(Arc<Keeper>);

/// Stops the endpoint when nobody holds anything of it.
#[derive(Debug)]
pub(super) struct Keeper(pub(super) Arc<EndpointShared>);

pub(crate) fn handle(shared: Arc<EndpointShared>) -> EndpointHandle {
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
    pub(super) fn keeper(&self) -> &Arc<Keeper> {
        &self.0.0
    }

    pub(super) fn shared(&self) -> &Arc<EndpointShared> {
        self.0.endpoint()
    }

    pub(crate) fn locals(&self) -> &Arc<Locals> {
        &self.0.endpoint().locals
    }

    /// Who this endpoint is, for others to pin. `None` for a Flash profile without static keys, which would prove it
    /// (RFC 7425 §4.3.2), and for profiles that are not known here.
    #[must_use]
    pub fn peer_id(&self) -> Option<Fingerprint> {
        self.0.endpoint().peer_id
    }

    /// Says that there is a driver, be it one that [`is_driven`](super::Driven::is_driven) does not hear of before it begins.
    pub fn assume_driven(&self) {
        self.0.endpoint().driven.store(true, Ordering::Relaxed);
    }

    /// The local addresses, with the ports that the system chose. A socket that fails can get another port.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.0.endpoint().locals.list().into_iter().map(|(_, local)| local).collect()
    }

    /// Begins a session with the endpoint that `discriminator` selects (for the Flash profile, see
    /// [`Discriminator`](rtmfp_core::profile::flash::Discriminator)), at one or several addresses. Flows can be opened
    /// and written at once; [`Session::opened`] tells how it went.
    #[must_use]
    pub fn begin(&self, discriminator: impl Into<Bytes>, remotes: &[SocketAddr]) -> Session {
        self.begin_to(&remotes.iter().fold(Remote::new(discriminator), |remote, address| remote.at(*address)))
    }

    /// The same, with a far end that may be named in other ways. Names must be [resolved](Remote::resolve) before: those
    /// that are not are left out.
    #[must_use]
    pub fn begin_to(&self, remote: &Remote) -> Session {
        let candidates = remote.paths(&self.0.endpoint().locals.list(), self.0.endpoint().kind);
        let shared = Arc::new(SessionShared::default());
        lock(&shared.0).asks_introducer = remote.asks_introducer();
        if candidates.is_empty() && remote.has_places() {
            lock(&shared.0).end = Some(Error::AddressFamily);
            return Session::new(&self.0.0, &shared);
        }
        let discriminator = match remote.discriminator(self.0.endpoint().kind) {
            Ok(discriminator) => discriminator,
            Err(error) => {
                lock(&shared.0).end = Some(error);
                return Session::new(&self.0.0, &shared);
            }
        };
        let target = Target { discriminator, candidates };
        if !self.0.endpoint().send(Command::Open(Arc::clone(&shared), target, remote.limit())) {
            lock(&shared.0).end = Some(Error::Stopped);
        }
        Session::new(&self.0.0, &shared)
    }

    /// Opens a session and waits until it is open. If there is one with the same far end already, whichever end began
    /// it, that one is returned: it is the same session as its other handles.
    ///
    /// # Errors
    /// Why it did not open: [`Duplicate`](rtmfp_core::OpenFailure::Duplicate) if there is one, and it is being closed.
    /// Once it has ended, another can be opened.
    pub fn connect(&self, discriminator: impl Into<Bytes>, remotes: &[SocketAddr]) -> Result<Session, Error> {
        connected(self.begin(discriminator, remotes))
    }

    /// [`connect`](Self::connect) to a far end that may be named in other ways. The calling thread waits for the system's
    /// resolver too.
    ///
    /// # Errors
    /// As [`connect`](Self::connect), and [`NotResolved`](Error::NotResolved).
    pub fn connect_to(&self, remote: Remote) -> Result<Session, Error> {
        connected(self.begin_to(&remote.resolve().map_err(|_| Error::NotResolved)?))
    }

    /// [`connect`](Self::connect) to the server of a URI, in the Flash profile, at whichever address of its host answers
    /// first.
    ///
    /// # Errors
    /// As [`connect_to`](Self::connect_to), and [`Uri`](Error::Uri).
    pub fn connect_uri(&self, uri: &str) -> Result<Session, Error> {
        self.connect_to(Remote::uri(uri)?)
    }

    /// [`connect`](Self::connect) to a peer by its ID alone: introducers at these addresses tell where it is, and tell it
    /// who calls (RFC 7016 §3.5.1.6).
    ///
    /// # Errors
    /// As [`connect`](Self::connect), and [`NotIntroduced`](Error::NotIntroduced).
    pub fn connect_through(&self, peer_id: Fingerprint, introducers: &[SocketAddr]) -> Result<Session, Error> {
        connected(self.begin_to(&Remote::peer(peer_id).through_all(introducers)))
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

    /// The sessions that far ends open, one after another, as an iterator that waits for the next. It ends when the
    /// endpoint has stopped.
    #[must_use]
    pub fn incoming(&self) -> Incoming {
        Incoming::new(self.clone())
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
    pub fn ask_stats(&self) -> Asked<EndpointStats> {
        Asked::new(self.shared(), Command::Stats)
    }

    /// Closes all sessions, and stops the endpoint when all that was sent is delivered and the far ends know that their
    /// sessions are closed, or after `within`. Nothing more can be sent. Returns what was not delivered. If it is called
    /// more than once, the last call's time counts.
    ///
    /// # Errors
    /// [`Stopped`](Error::Stopped) if the endpoint had stopped otherwise.
    pub fn shutdown(&self, within: Duration) -> Result<Undelivered, Error> {
        self.begin_shutdown(within);
        block_on(|context, waiter| self.poll_stopped(context, waiter))
    }

    /// [`shutdown`](Self::shutdown), without waiting.
    pub fn begin_shutdown(&self, within: Duration) {
        self.0.endpoint().send(Command::Shutdown(within));
    }

    /// Waits, polled, until the endpoint has stopped.
    pub fn poll_stopped(&self, context: &mut Context<'_>, waiter: &mut Waiter) -> Poll<Result<Undelivered, Error>> {
        let mut queue = lock(&self.0.endpoint().queue);
        if queue.stopped {
            return Poll::Ready(if queue.shut_down { Ok(queue.undelivered) } else { Err(Error::Stopped) });
        }
        queue.wakers.add(context, waiter);
        Poll::Pending
    }

    /// [`shutdown`](Self::shutdown) within 10 s, without waiting.
    pub fn stop(&self) {
        self.begin_shutdown(LINGER);
    }

    /// Stops it as the last handle does, though there are others.
    pub(crate) fn release(&self) {
        self.0.endpoint().send(Command::ReleaseAll);
    }
}

/// Waits until it is open, or until the session is that there was already.
fn connected(mut session: Session) -> Result<Session, Error> {
    block_on(|context, waiter| session.poll_connected(context, waiter))?;
    Ok(session)
}
