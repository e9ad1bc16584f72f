//! Makes an endpoint.

use core::net::SocketAddr;
use std::io;
use std::sync::Arc;

use rtmfp_core::profile::CryptoProfile;
use rtmfp_core::profile::flash::{self, StaticKeys};
use rtmfp_core::profile::modern;
use rtmfp_core::rand_core::CryptoRng;
use rtmfp_core::{EndpointConfig, Instant, Service};

use rtmfp_std::IntroducePolicy;

use super::Endpoint;
use crate::driver::Driver;
use crate::reactor::{Reactor, Signal};
use crate::thread::LateWaker;

/// Makes an endpoint: presets and settings are those of [`rtmfp_std::Builder`]. Unless told otherwise, it has the modern
/// profile and a new identity.
///
/// ```no_run
/// use rtmfp_smol::Endpoint;
///
/// # fn main() -> std::io::Result<()> {
/// let (endpoint, driver) = Endpoint::builder().peer().game().build()?;
/// smol::spawn(driver).detach();
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
#[must_use]
pub struct Builder(rtmfp_std::Builder);

impl From<rtmfp_std::Builder> for Builder {
    fn from(builder: rtmfp_std::Builder) -> Self {
        Self(builder)
    }
}

impl Builder {
    /// [`client`](rtmfp_std::Builder::client): only calls others.
    pub fn client(self) -> Self {
        Self(self.0.client())
    }

    /// [`peer`](rtmfp_std::Builder::peer): calls, and is called by its peer ID.
    pub fn peer(self) -> Self {
        Self(self.0.peer())
    }

    /// [`server`](rtmfp_std::Builder::server): is called by its URI, at its profile's port.
    pub fn server(self) -> Self {
        Self(self.0.server())
    }

    /// [`game`](rtmfp_std::Builder::game): for state that is soon out of date.
    pub fn game(self) -> Self {
        Self(self.0.game())
    }

    /// [`media`](rtmfp_std::Builder::media): for audio and video.
    pub fn media(self) -> Self {
        Self(self.0.media())
    }

    /// Binds to this local address too; port 0 lets the system choose. Without any, the endpoint is bound to all
    /// addresses of the machine.
    pub fn bind(self, address: SocketAddr) -> Self {
        Self(self.0.bind(address))
    }

    /// Replaces all limits and timers, those of presets too.
    pub fn config(self, config: EndpointConfig) -> Self {
        Self(self.0.config(config))
    }

    /// Changes limits and timers.
    pub fn configure(self, change: impl FnOnce(&mut EndpointConfig)) -> Self {
        Self(self.0.configure(change))
    }

    /// [`introduce`](rtmfp_std::Builder::introduce): introduces those who are connected to those who ask for them.
    pub fn introduce(self, policy: IntroducePolicy) -> Self {
        Self(self.0.introduce(policy))
    }

    /// [`service`](rtmfp_std::Builder::service): runs a ready-made service on the endpoint too. With [`build`](Self::build)
    /// it runs on the driver's thread, where there is no executor: what spawns a task needs a handle to one. With
    /// [`build_in_task`](Self::build_in_task) it runs in the driver's task.
    pub fn service(self, service: Box<dyn Service + Send>) -> Self {
        Self(self.0.service(service))
    }

    /// Whether changes of the machine's network are noticed, so that sessions follow at once. On unless switched off.
    pub fn watch_network(self, on: bool) -> Self {
        Self(self.0.watch_network(on))
    }

    /// Uses this profile, in place of all other settings of who the endpoint is.
    pub fn profile(self, profile: Arc<dyn CryptoProfile>) -> Self {
        Self(self.0.profile(profile))
    }

    /// Uses a Flash profile (RFC 7425), which existing software speaks, with these settings. It is made with the system's
    /// generator.
    pub fn flash(self, profile: flash::Builder) -> Self {
        Self(self.0.flash(profile))
    }

    /// Uses a modern profile with these settings, made with the system's generator. Without an
    /// [identity](modern::Builder::identity) it has a new one. With the feature `accelerated` it has a faster provider.
    pub fn modern(self, profile: modern::Builder) -> Self {
        Self(self.0.modern(profile))
    }

    /// Uses a modern profile with this identity: the same identity is the same peer ID.
    pub fn identity(self, identity: modern::Identity) -> Self {
        Self(self.0.identity(identity))
    }

    /// Gives a Flash profile these static keys: the same keys are the same peer ID.
    pub fn static_keys(self, keys: StaticKeys) -> Self {
        Self(self.0.static_keys(keys))
    }

    /// Gives a Flash profile static keys that are made when the endpoint is.
    pub fn new_static_keys(self) -> Self {
        Self(self.0.new_static_keys())
    }

    /// Makes the endpoint, and the [`Driver`] to spawn for it. Making keys takes some milliseconds. The driver has a thread
    /// of its own: a wait for sockets is one system call there (Linux).
    ///
    /// # Errors
    /// As the system tells, if an address cannot be bound; `InvalidInput` if a setting is out of its range.
    pub fn build(self) -> io::Result<(Endpoint, Driver)> {
        let waker = Arc::new(LateWaker::default());
        let wake = Arc::clone(&waker);
        let (pump, app, handle) = self.0.parts(move || wake.wake())?;
        Ok((Endpoint::from(handle), Driver::on_thread(pump, app, waker)))
    }

    /// [`build`](Self::build) with a [`Driver`] that has no thread for its sockets. All is done in the task that polls it,
    /// and nothing while nobody polls it. For programs whose threads are counted, and for services and wakers that need
    /// the executor's thread.
    ///
    /// It waits with async-io, which takes up to eleven system calls a wait, and often a thread more to wake. Over loopback
    /// that is a quarter more of the processor in a bulk transfer, and two fifths more for a round trip. An answer takes
    /// half as long again, if the executor has a thread beside the application's (`tests/benches/README.md`).
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_in_task(self) -> io::Result<(Endpoint, Driver)> {
        let signal = Arc::new(Signal::default());
        let wake = Arc::clone(&signal);
        let (pump, app, handle) = self.0.parts(move || wake.set())?;
        Ok((Endpoint::from(handle), Driver::in_task(pump, app, signal)))
    }

    /// Makes an endpoint that is not run over sockets, but by a reactor of the program's own, which is given the core's
    /// endpoint: over another datagram service, or in a simulation. `locals`: its addresses, in the order of their
    /// interfaces. `now`: the time of the clock that the reactor runs it by. What the builder says of addresses and of
    /// watching the network has no effect.
    ///
    /// # Errors
    /// `InvalidInput` if a setting is out of its range.
    pub fn build_over<R: Reactor + 'static>(
        self,
        locals: Vec<SocketAddr>,
        rng: Box<dyn CryptoRng + Send>,
        now: Instant,
        reactor: impl FnOnce(rtmfp_core::Endpoint) -> R,
    ) -> io::Result<(Endpoint, Driver)> {
        let signal = Arc::new(Signal::default());
        let wake = Arc::clone(&signal);
        let (endpoint, app, handle) = self.0.parts_over(locals, rng, now, move || wake.set())?;
        // In a simulation nothing may depend on how long that takes.
        handle.assume_driven();
        Ok((Endpoint::from(handle), Driver::over(Box::new(reactor(endpoint)), app, signal)))
    }

    /// Runs the endpoint without a [`Driver`] to spawn, on a thread of its own as that of [`build`](Self::build). The
    /// handles are the same, and any executor runs what uses them. The thread ends with the last handle, or if no socket
    /// works and none can be bound again: handles are not told why.
    ///
    /// # Errors
    /// As the system tells, if an address cannot be bound or a thread not started; `InvalidInput` if a setting is out of
    /// its range.
    pub fn spawn(self) -> io::Result<Endpoint> {
        Ok(Endpoint::from(self.0.spawn()?.into_handle()))
    }
}
