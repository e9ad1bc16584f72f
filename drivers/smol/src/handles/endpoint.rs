//! The handle to an endpoint.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::sync::Arc;

use rtmfp_core::profile::CryptoProfile;
use rtmfp_core::profile::flash::Fingerprint;
use rtmfp_core::{Bytes, EndpointConfig, EndpointStats, Undelivered};
use rtmfp_std::{EndpointApp, EndpointHandle, Error, GuestOptions, Remote};

use super::{Builder, Incoming, Meeting, Registration, Session, wait};
use crate::driver::Driver;
use crate::reactor::{Reactor, Signal};

/// A handle to an endpoint. Clones are the same endpoint.
///
/// When the last of them is dropped, no session can be accepted any more, and far ends that open one are turned away.
/// When the last handle of its sessions, flows and registrations is dropped too, the [`Driver`] ends, and its sockets
/// with it. It ends once what was sent is delivered, or after 10 s. An earlier close or shutdown may have
/// given it another time. A program must not exit before that: [`shutdown`](Self::shutdown) waits for it.
///
/// Nothing happens before the [`Driver`] is polled. If that is not begun within 5 s, whatever waits for the endpoint, for
/// its sessions and flows, ends with [`NotDriven`](Error::NotDriven), or with `None` where it has no error. A
/// [`Receipt`](super::Receipt) tells [`Unknown`](rtmfp_core::MessageOutcome::Unknown).
#[derive(Clone, Debug)]
pub struct Endpoint(EndpointHandle);

/// For endpoints that something else runs than a [`Driver`]: the blocking driver's thread, or a simulation.
impl From<EndpointHandle> for Endpoint {
    fn from(handle: EndpointHandle) -> Self {
        Self(handle)
    }
}

impl Endpoint {
    /// An endpoint on the given local addresses (port 0 lets the system choose), and the [`Driver`] to spawn for it.
    ///
    /// # Errors
    /// As the system tells, if an address cannot be bound; `InvalidInput` if a configuration value is out of range.
    pub fn bind(
        config: EndpointConfig,
        profile: Arc<dyn CryptoProfile>,
        addresses: &[SocketAddr],
    ) -> io::Result<(Self, Driver)> {
        let builder = addresses.iter().fold(Self::builder(), |builder, address| builder.bind(*address));
        builder.config(config).profile(profile).build()
    }

    /// An endpoint that is not run over sockets, but by a reactor of the program's own: over another datagram service, or
    /// in a simulation. `locals`: its addresses, in the order of their interfaces. The endpoint is the reactor's: this end
    /// knows neither its [`peer_id`](Self::peer_id) nor whom to introduce, which [`Builder::build_over`] does.
    pub fn over(locals: Vec<SocketAddr>, reactor: impl Reactor + 'static) -> (Self, Driver) {
        let signal = Arc::new(Signal::default());
        let wake = Arc::clone(&signal);
        let (app, handle) = EndpointApp::new(locals, move || wake.set());
        // In a simulation nothing may depend on how long that takes.
        handle.assume_driven();
        (Self(handle), Driver::over(Box::new(reactor), Box::new(app), signal))
    }

    /// Makes an endpoint with other settings, or with a preset.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Who this endpoint is, for others to pin. `None` for a Flash profile without static keys, which would prove it
    /// (RFC 7425 §4.3.2), and for profiles that are not known here.
    #[must_use]
    pub fn peer_id(&self) -> Option<Fingerprint> {
        self.0.peer_id()
    }

    /// The local addresses, with the ports that the system chose. A socket that fails can get another port.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.0.local_addrs()
    }

    /// Begins a session with the endpoint that `discriminator` selects, at one or several addresses. Flows can be
    /// opened and written at once; [`Session::opened`] tells how it went.
    #[must_use]
    pub fn begin(&self, discriminator: impl Into<Bytes>, remotes: &[SocketAddr]) -> Session {
        Session(self.0.begin(discriminator, remotes))
    }

    /// Opens a session and waits until it is open. If there is one with the same far end already, whichever end began
    /// it, that one is returned: it is the same session as its other handles.
    ///
    /// # Errors
    /// Why it did not open: [`Duplicate`](rtmfp_core::OpenFailure::Duplicate) if there is one, and it is being closed.
    /// Once it has ended, another can be opened.
    pub async fn connect(&self, discriminator: impl Into<Bytes>, remotes: &[SocketAddr]) -> Result<Session, Error> {
        self.connected(self.begin(discriminator, remotes)).await
    }

    /// [`connect`](Self::connect) to a far end that may be named in other ways. If the future is dropped, nothing more is
    /// tried.
    ///
    /// # Errors
    /// As [`connect`](Self::connect), and [`NotResolved`](Error::NotResolved).
    pub async fn connect_to(&self, remote: Remote) -> Result<Session, Error> {
        self.connected(Session(self.0.begin_to(&resolved(remote).await?))).await
    }

    /// [`connect`](Self::connect) to the server of a URI, at whichever address of its host answers first.
    ///
    /// # Errors
    /// As [`connect_to`](Self::connect_to), and [`Uri`](Error::Uri).
    pub async fn connect_uri(&self, uri: &str) -> Result<Session, Error> {
        self.connect_to(Remote::uri(uri)?).await
    }

    /// [`connect`](Self::connect) to a peer by its ID alone: introducers at these addresses tell where it is, and tell it
    /// who calls (RFC 7016 §3.5.1.6).
    ///
    /// # Errors
    /// As [`connect`](Self::connect), and [`NotIntroduced`](Error::NotIntroduced).
    pub async fn connect_through(&self, peer_id: Fingerprint, introducers: &[SocketAddr]) -> Result<Session, Error> {
        let through = |remote: Remote, introducer: &SocketAddr| remote.through(*introducer);
        self.connect_to(introducers.iter().fold(Remote::peer(peer_id), through)).await
    }

    /// Registers with an introducer, and stays registered. Names of the introducer are looked up once.
    ///
    /// # Errors
    /// [`NotResolved`](Error::NotResolved), [`AddressFamily`](Error::AddressFamily), or [`Stopped`](Error::Stopped).
    /// What comes later is told by [`Registration::next_event`].
    pub async fn register(&self, introducer: Remote) -> Result<Registration, Error> {
        self.0.register_resolved(&resolved(introducer).await?).map(Registration::new)
    }

    /// Joins a rendezvous server, and stays there. Names of the server are looked up once.
    ///
    /// # Errors
    /// [`NotResolved`](Error::NotResolved), [`AddressFamily`](Error::AddressFamily), or [`Stopped`](Error::Stopped).
    /// What comes later is told by [`Meeting::next_event`].
    pub async fn join(&self, server: Remote) -> Result<Meeting, Error> {
        self.join_with(server, GuestOptions::default()).await
    }

    /// [`join`](Self::join), with options.
    ///
    /// With [`RelayOnly`](rtmfp_std::PathPolicy::RelayOnly) this end sends nothing to peers but through the server. The
    /// endpoint must be built with [`forwarded_hello`](rtmfp_core::EndpointConfig::forwarded_hello) set to
    /// [`Ignore`](rtmfp_core::ForwardedHelloPolicy::Ignore): it would answer from its address otherwise.
    ///
    /// # Errors
    /// As [`join`](Self::join), and [`AnswersForwardedHellos`](Error::AnswersForwardedHellos).
    pub async fn join_with(&self, server: Remote, options: GuestOptions) -> Result<Meeting, Error> {
        self.0.join_resolved(&resolved(server).await?, options).map(Meeting::new)
    }

    pub(super) const fn handle(&self) -> &EndpointHandle {
        &self.0
    }

    async fn connected(&self, mut session: Session) -> Result<Session, Error> {
        wait(&self.0, |context, waiter| session.0.poll_connected(context, waiter)).await?;
        Ok(session)
    }

    /// Waits for the next session that a far end opens. `None` when the endpoint has stopped.
    pub async fn accept(&self) -> Option<Session> {
        wait(&self.0, |context, waiter| self.0.poll_accept(context, waiter)).await.map(Session)
    }

    /// The sessions that far ends open, as a stream. It ends when the endpoint has stopped. A stream that is dropped loses
    /// none.
    pub fn incoming(&self) -> Incoming {
        Incoming::new(self.0.clone())
    }

    /// The counters of the endpoint, with what was [dropped](EndpointStats::drops) and why. `None` when the endpoint has
    /// stopped.
    pub async fn stats(&self) -> Option<EndpointStats> {
        let asked = self.0.ask_stats();
        wait(&asked, |context, waiter| asked.poll(context, waiter)).await
    }

    /// Closes all sessions, and ends the [`Driver`] when all that was sent is delivered and the far ends know that their
    /// sessions are closed, or after `within`. Nothing more can be sent, also if the future is dropped. Returns what was
    /// not delivered. If it is called more than once, the last call's time counts.
    ///
    /// # Errors
    /// [`Stopped`](Error::Stopped) if the endpoint had stopped otherwise.
    pub async fn shutdown(&self, within: Duration) -> Result<Undelivered, Error> {
        self.0.begin_shutdown(within);
        wait(&self.0, |context, waiter| self.0.poll_stopped(context, waiter)).await
    }

    /// Waits on the endpoint's own clock: in a simulation that is the simulated one, so that what is written with this
    /// runs there unchanged.
    ///
    /// # Errors
    /// [`Stopped`](Error::Stopped) if the endpoint stops before.
    pub async fn sleep(&self, duration: Duration) -> Result<(), Error> {
        let sleep = self.0.begin_sleep(duration);
        wait(&sleep, |context, waiter| sleep.poll(context, waiter)).await
    }

    /// What `future` gives, or `None` if that takes longer than `duration` on the endpoint's own clock, or the endpoint
    /// stops before. The future is dropped then.
    pub async fn timeout<T>(&self, duration: Duration, future: impl Future<Output = T>) -> Option<T> {
        let over = async {
            let _ = self.sleep(duration).await;
            None
        };
        futures_lite::future::or(async { Some(future.await) }, over).await
    }

    /// [`shutdown`](Self::shutdown) within 10 s, without waiting.
    pub fn stop(&self) {
        self.0.stop();
    }
}

/// Has a thread of a pool wait for the system's resolver, if there are names.
async fn resolved(remote: Remote) -> Result<Remote, Error> {
    if remote.is_resolved() {
        return Ok(remote);
    }
    blocking::unblock(move || remote.resolve()).await.map_err(|_| Error::NotResolved)
}
