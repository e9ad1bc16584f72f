//! The handle to an endpoint.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::sync::Arc;

use rtmfp_core::profile::CryptoProfile;
use rtmfp_core::{Bytes, EndpointConfig, EndpointStats, Undelivered};
use rtmfp_std::{Clock, EndpointApp, EndpointHandle, Error, Pump, Socket, system_rng};

use super::{Session, wait};
use crate::driver::{Driver, Signal};

/// A handle to an endpoint. Clones are the same endpoint.
///
/// When the last of them is dropped, no session can be accepted any more, and far ends that open one are turned away.
/// When the last handle of its sessions and flows is dropped too, the [`Driver`] ends, and its sockets with it. It ends
/// once what was sent is delivered, or after 10 s. An earlier close or shutdown may have given it another time. A program
/// must not exit before that: [`shutdown`](Self::shutdown) waits for it.
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
        let sockets = addresses.iter().map(|address| Socket::bind(*address)).collect::<io::Result<Vec<_>>>()?;
        let locals = sockets.iter().map(Socket::local_addr).collect();
        let clock = Clock::new();
        let endpoint = rtmfp_core::Endpoint::new(config, profile, system_rng()?, clock.now())
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        let signal = Arc::new(Signal::default());
        let (app, handle) = EndpointApp::new(locals, {
            let signal = Arc::clone(&signal);
            move || signal.set()
        });
        Ok((Self(handle), Driver::new(Pump::new(endpoint, clock, sockets), app, signal)))
    }

    /// The local addresses, with the ports that the system chose.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
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
        let mut session = self.begin(discriminator, remotes);
        wait(|context, waiter| session.0.poll_connected(context, waiter)).await?;
        Ok(session)
    }

    /// Waits for the next session that a far end opens. `None` when the endpoint has stopped.
    pub async fn accept(&self) -> Option<Session> {
        wait(|context, waiter| self.0.poll_accept(context, waiter)).await.map(Session)
    }

    /// The counters of the endpoint, with what was [dropped](EndpointStats::drops) and why. `None` when the endpoint has
    /// stopped.
    pub async fn stats(&self) -> Option<EndpointStats> {
        let asked = self.0.ask_stats();
        wait(|context, waiter| asked.poll(context, waiter)).await
    }

    /// Closes all sessions, and ends the [`Driver`] when all that was sent is delivered and the far ends know that their
    /// sessions are closed, or after `within`. Nothing more can be sent, also if the future is dropped. Returns what was
    /// not delivered. If it is called more than once, the last call's time counts.
    ///
    /// # Errors
    /// [`Stopped`](Error::Stopped) if the endpoint had stopped otherwise.
    pub async fn shutdown(&self, within: Duration) -> Result<Undelivered, Error> {
        self.0.begin_shutdown(within);
        wait(|context, waiter| self.0.poll_stopped(context, waiter)).await
    }

    /// Waits on the endpoint's own clock: in a simulation that is the simulated one, so that what is written with this
    /// runs there unchanged.
    ///
    /// # Errors
    /// [`Stopped`](Error::Stopped) if the endpoint stops before.
    pub async fn sleep(&self, duration: Duration) -> Result<(), Error> {
        let sleep = self.0.begin_sleep(duration);
        wait(|context, waiter| sleep.poll(context, waiter)).await
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
