//! Makes an endpoint: where it is bound, who it is, and what it may hold.

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::io;
use std::sync::{Arc, OnceLock};
use std::thread;

use rtmfp_core::profile::CryptoProfile;
use rtmfp_core::profile::flash::{self, FlashProfile, Group, StaticKeys};
use rtmfp_core::profile::modern::{self, ModernProfile};
use rtmfp_core::rand_core::CryptoRng;
use rtmfp_core::{App, EndpointConfig, ForwardedHelloPolicy, Instant, Router, Service};

use super::introduction::IntroducePolicy;
use super::shared::{WAITING_INTRODUCTIONS, WAITING_INTRODUCTIONS_PER_SOURCE};
use super::{Endpoint, EndpointApp, EndpointHandle};
use crate::clock::Clock;
use crate::driver::Driver;
use crate::entropy::system_rng;
use crate::kind::ProfileKind;
use crate::pump::Pump;
use crate::socket::Socket;
use crate::wake::Waker;

const MIB: usize = 1 << 20;
/// How long a peer can be registered without any flow.
const REGISTERED_IDLE: Duration = Duration::from_secs(30 * 86_400);

/// Makes an endpoint. Without further settings it is bound to all addresses of the machine, at a port that the system
/// chooses. It has the modern profile and a new identity: its peer ID lasts as long as the endpoint. Both ends of a session
/// need the same profile. To talk to existing software, choose [`flash`](Self::flash).
///
/// Presets set what suits a kind of program. [`client`](Self::client), [`peer`](Self::peer) and
/// [`server`](Self::server) say who may call and how many; [`game`](Self::game) and [`media`](Self::media) say what
/// is sent. One of each can be combined. Other settings come after presets, so that they have the last word.
///
/// ```no_run
/// use rtmfp_std::Endpoint;
///
/// # fn main() -> std::io::Result<()> {
/// let player = Endpoint::builder().peer().game().spawn()?;
/// println!("others connect to {:?}", player.peer_id());
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct Builder {
    config: EndpointConfig,
    addresses: Vec<SocketAddr>,
    /// Whether clients call it by its URI: it has the profile's port, unless an address is given.
    server: bool,
    identity: Identity,
    introduce: Option<IntroducePolicy>,
    services: Vec<Box<dyn Service + Send>>,
    watching: bool,
}

/// Who the endpoint is.
enum Identity {
    /// A Flash profile with static keys that are made for it.
    NewKeys(flash::Builder),
    /// A Flash profile as it is.
    Flash(flash::Builder),
    Modern(modern::Builder),
    Profile(Arc<dyn CryptoProfile>),
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { config, addresses, server, identity: _, introduce, services, watching } = self;
        let mut text = f.debug_struct("Builder");
        text.field("config", config)
            .field("addresses", addresses)
            .field("server", server)
            .field("introduce", introduce)
            .field("services", &services.len())
            .field("watching", watching)
            .finish_non_exhaustive()
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            config: EndpointConfig::default(),
            addresses: Vec::new(),
            server: false,
            identity: Identity::Modern(ModernProfile::builder()),
            introduce: None,
            services: Vec::new(),
            watching: true,
        }
    }
}

/// Presets.
impl Builder {
    /// For a program that only calls others. It answers no hello, so that strangers cannot make it work. It can neither be
    /// called nor be introduced to others.
    ///
    /// At most 256 sessions, of which 64 may be opening, in 128 MiB of memory for each direction: a session is sure of
    /// more memory than with room for 65,536.
    pub fn client(mut self) -> Self {
        self.config.accept = false;
        self.config.max_opening = 64;
        self.limit(256, 128 * MIB);
        self
    }

    /// For a program that calls and is called by its peer ID. Keep its [`identity`](Self::identity) to be found under the
    /// same peer ID again.
    ///
    /// At most 4,096 sessions, in 256 MiB of memory for each direction. Four keys are made ahead, which answers a call
    /// a quarter sooner with the Flash profile.
    pub fn peer(mut self) -> Self {
        self.config.accept = true;
        self.config.max_prepared_keys = 4;
        self.limit(4_096, 256 * MIB);
        self
    }

    /// For a program that is called by its URI. It is bound to [its profile's
    /// port](crate::ProfileKind::default_port) unless [`bind`](Self::bind) names addresses. Discriminators with a URI
    /// select it, whatever profile was chosen. Keep its [`identity`](Self::identity) for clients that pin it.
    ///
    /// With a [Flash profile](Self::flash) it has fresh keys for each session, as RFC 7425 §7 advises. Its peer ID proves
    /// nothing then: give it [`static_keys`](Self::static_keys) if clients are to pin it.
    ///
    /// 64 keys are made ahead for a rush of clients. A client that takes nothing of what waits for it for five minutes is
    /// closed, so that it does not hold memory for ever. At most 64 sessions may be opening from here.
    pub fn server(mut self) -> Self {
        self.config.accept = true;
        self.config.max_prepared_keys = 64;
        self.config.max_opening = 64;
        self.config.session.stall_limit = Some(Duration::from_secs(300));
        self.server = true;
        self
    }

    /// For state that is soon out of date. Buffers of 64 KiB keep old messages from piling up before new ones. A far
    /// end that is gone is noticed after 15 s: it is pinged after 5 s of silence, and given up when it does not answer
    /// for 10 s. By default that takes 75 s.
    pub const fn game(mut self) -> Self {
        let session = &mut self.config.session;
        session.keepalive = Duration::from_secs(5);
        session.retransmit_limit = Duration::from_secs(10);
        session.recv_buffer = 64 << 10;
        session.send_buffer = 64 << 10;
        self
    }

    /// For audio and video. Buffers of 1 MiB for each flow carry 40 Mbit/s over a round trip of 200 ms, and hold a key
    /// frame. A session holds up to 32 MiB of what it receives. A far end that does not answer is given up after 20 s
    /// rather than 60 s, so that a publisher is not missed for long.
    pub const fn media(mut self) -> Self {
        let session = &mut self.config.session;
        session.recv_buffer = MIB;
        session.send_buffer = MIB;
        session.max_recv_bytes = 32 * MIB;
        session.retransmit_limit = Duration::from_secs(20);
        self
    }

    const fn limit(&mut self, sessions: usize, memory: usize) {
        self.config.max_sessions = sessions;
        self.config.max_recv_memory = memory;
        self.config.max_send_memory = memory;
    }
}

/// Settings.
impl Builder {
    /// Binds to this local address too; port 0 lets the system choose. The first is
    /// [`InterfaceId`](rtmfp_core::InterfaceId) 0, the next 1, and so on. Without any, the endpoint is bound to all
    /// IPv4 addresses and all IPv6 addresses of the machine, as far as it has them.
    pub fn bind(mut self, address: SocketAddr) -> Self {
        self.addresses.push(address);
        self
    }

    /// Replaces all limits and timers, those of presets too.
    pub fn config(mut self, config: EndpointConfig) -> Self {
        self.config = config;
        self
    }

    /// Changes limits and timers.
    pub fn configure(mut self, change: impl FnOnce(&mut EndpointConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// Introduces those who are connected to those who ask for them (RFC 7016 §3.5.1.6), by this policy.
    ///
    /// Sessions that far ends open are kept then, though nobody accepts or holds them: that is how peers stay
    /// registered. They may be without flows for a month, and flows in them that nobody can accept are rejected.
    /// Requests that the endpoint does not answer by itself are told up to 256 at once.
    pub fn introduce(mut self, policy: IntroducePolicy) -> Self {
        self.introduce = Some(policy);
        self
    }

    /// Runs a ready-made service on the endpoint too: it gets the flows whose metadata it claims. Of several, the first
    /// that claims a flow gets it, and handles get what no service claims ([`Router`]).
    ///
    /// Sessions are for all. Those that far ends or services open are kept, though no handle holds them, until they have
    /// no flows for the [idle limit](rtmfp_core::SessionConfig::idle_limit). Flows in them that nobody can accept are
    /// rejected. Those that a handle opens are closed with the last handle. When the last handle of anything is dropped,
    /// the endpoint stops, services or not.
    pub fn service(mut self, service: Box<dyn Service + Send>) -> Self {
        self.services.push(service);
        self
    }

    /// Whether changes of the machine's network are noticed, so that sessions follow at once. On unless switched off. See
    /// [`Pump::watch_interfaces`].
    pub const fn watch_network(mut self, on: bool) -> Self {
        self.watching = on;
        self
    }

    /// Uses this profile, of whatever kind. It takes the place of all other settings of who the endpoint is.
    pub fn profile(mut self, profile: Arc<dyn CryptoProfile>) -> Self {
        self.identity = Identity::Profile(profile);
        self
    }

    /// Uses a Flash profile (RFC 7425), which existing software speaks, with these settings. It is made with the system's
    /// generator, and takes the place of all other settings of who the endpoint is.
    pub fn flash(mut self, profile: flash::Builder) -> Self {
        self.identity = Identity::Flash(profile);
        self
    }

    /// Uses a modern profile with these settings, made with the system's generator. It takes the place of all other
    /// settings of who the endpoint is. Without an [identity](modern::Builder::identity) it has a new one, whose peer ID
    /// lasts as long as the endpoint. With the feature `accelerated` it has a faster provider, unless one is set.
    pub fn modern(mut self, profile: modern::Builder) -> Self {
        self.identity = Identity::Modern(profile);
        self
    }

    /// Uses a modern profile with this identity: the same identity is the same peer ID. Another
    /// [profile](Self::profile) that was given before is replaced.
    pub fn identity(mut self, identity: modern::Identity) -> Self {
        let profile = match &mut self.identity {
            Identity::Modern(builder) => core::mem::take(builder),
            Identity::NewKeys(_) | Identity::Flash(_) | Identity::Profile(_) => ModernProfile::builder(),
        };
        self.modern(profile.identity(identity))
    }

    /// Gives a Flash profile these static keys: the same keys are the same peer ID. A [profile](Self::profile) that was
    /// given before is replaced.
    pub fn static_keys(mut self, keys: StaticKeys) -> Self {
        self.identity = Identity::Flash(self.take_flash().static_keys(keys));
        self
    }

    /// Gives a Flash profile static keys that are made when the endpoint is: a peer ID that lasts as long. A
    /// [profile](Self::profile) that was given before is replaced.
    pub fn new_static_keys(mut self) -> Self {
        self.identity = Identity::NewKeys(self.take_flash());
        self
    }

    fn take_flash(&mut self) -> flash::Builder {
        match &mut self.identity {
            Identity::NewKeys(builder) | Identity::Flash(builder) => core::mem::take(builder),
            Identity::Modern(_) | Identity::Profile(_) => FlashProfile::builder(),
        }
    }
}

/// Making it.
impl Builder {
    /// Starts the endpoint on a thread of its own.
    ///
    /// # Errors
    /// As the system tells, if an address cannot be bound or a thread not started; `InvalidInput` if a setting is out
    /// of its range.
    pub fn spawn(self) -> io::Result<Endpoint> {
        let waker = Arc::new(OnceLock::<Waker>::new());
        let wake = Arc::clone(&waker);
        let (pump, mut app, handle) = self.parts(move || {
            if let Some(waker) = wake.get() {
                waker.wake();
            }
        })?;
        let mut driver = Driver::new(pump)?;
        let _ = waker.set(driver.waker());
        let thread = thread::Builder::new().name("rtmfp".to_owned()).spawn(move || driver.run(&mut *app))?;
        Ok(Endpoint::new(handle, thread))
    }

    /// What an endpoint is made of, for a driver of another kind: the pump, the application that the handles talk to,
    /// and a first handle. `wake` must make the driver call [`on_wake`](App::on_wake) soon; it is called from any
    /// thread.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    pub fn parts(
        self,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<(Pump, Box<dyn App + Send>, EndpointHandle)> {
        let sockets: Vec<_> = match &*self.addresses {
            [] if self.server => wildcards(self.identity.kind().default_port())?,
            [] => wildcards(0)?,
            addresses => addresses.iter().map(|address| Socket::bind(*address)).collect::<io::Result<_>>()?,
        };
        let locals = sockets.iter().map(Socket::local_addr).collect();
        let (clock, watching) = (Clock::new(), self.watching);
        let (endpoint, app, handle) = self.parts_over(locals, system_rng()?, clock.now(), wake)?;
        let mut pump = Pump::new(endpoint, clock, sockets);
        pump.set_watching(watching);
        pump.publish_locals(Arc::clone(handle.locals()));
        Ok((pump, app, handle))
    }

    /// The same without sockets: the core's endpoint, for another datagram service or a simulation. `locals`: its addresses,
    /// in the order of their interfaces. `now`: the time of the clock that it is run by. What the builder says of addresses
    /// and of watching the network has no effect.
    ///
    /// # Errors
    /// `InvalidInput` if a setting is out of its range.
    pub fn parts_over(
        self,
        locals: Vec<SocketAddr>,
        mut rng: Box<dyn CryptoRng + Send>,
        now: Instant,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<(rtmfp_core::Endpoint, Box<dyn App + Send>, EndpointHandle)> {
        let config = self.introducer_config();
        let profile = self.identity.profile(self.server, &mut *rng)?;
        let (mut app, handle) = EndpointApp::with_profile(locals, &*profile, wake);
        if let Some(policy) = self.introduce {
            app = app.introduce(policy);
        }
        if !config.accept || config.forwarded_hello == ForwardedHelloPolicy::Ignore {
            app = app.ignore_forwarded_hellos();
        }
        let endpoint = rtmfp_core::Endpoint::new(config, profile, rng, now).map_err(invalid)?;
        Ok((endpoint, routed(app, self.services), handle))
    }
}

/// Services first, and the handles for the rest.
fn routed(app: EndpointApp, services: Vec<Box<dyn Service + Send>>) -> Box<dyn App + Send> {
    if services.is_empty() {
        return Box::new(app);
    }
    let router = Router::new().with_fallback(Box::new(app.share_sessions()));
    Box::new(services.into_iter().fold(router, Router::with))
}

impl Builder {
    /// The configuration, with what introducing needs.
    pub(super) fn introducer_config(&self) -> EndpointConfig {
        let mut config = self.config.clone();
        if let Some(policy) = &self.introduce {
            config.introduce = matches!(policy, IntroducePolicy::Connected);
            config.max_unmatched_hellos = if config.introduce { 0 } else { WAITING_INTRODUCTIONS };
            config.max_unmatched_hellos_per_source = WAITING_INTRODUCTIONS_PER_SOURCE;
            config.session.idle_limit = config.session.idle_limit.max(REGISTERED_IDLE);
        }
        config
    }
}

impl Identity {
    fn kind(&self) -> ProfileKind {
        match self {
            Self::NewKeys(_) | Self::Flash(_) => ProfileKind::Flash,
            Self::Modern(_) => ProfileKind::Modern,
            Self::Profile(profile) => ProfileKind::of(&**profile),
        }
    }

    fn profile(self, server: bool, rng: &mut dyn CryptoRng) -> io::Result<Arc<dyn CryptoProfile>> {
        let builder = match self {
            Self::Profile(profile) => return Ok(profile),
            Self::Modern(builder) => {
                let builder = if server { builder.accept_ancillary(true) } else { builder };
                return Ok(Arc::new(with_provider(builder).build(rng).map_err(invalid)?));
            }
            Self::Flash(builder) => builder,
            Self::NewKeys(builder) => builder.static_keys(StaticKeys::generate(&[Group::Modp2048], rng)),
        };
        let builder = if server { builder.accept_ancillary(true) } else { builder };
        Ok(Arc::new(builder.build(rng).map_err(invalid)?))
    }
}

/// With the fastest provider that this package was built with, unless one is set.
#[cfg(feature = "accelerated")]
fn with_provider(builder: modern::Builder) -> modern::Builder {
    builder.default_provider(|| Arc::new(crate::Accelerated))
}

/// With core's own provider, unless one is set.
#[cfg(not(feature = "accelerated"))]
const fn with_provider(builder: modern::Builder) -> modern::Builder {
    builder
}

fn invalid(error: impl core::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

/// All addresses of both families, or of the one that the machine has.
fn wildcards(port: u16) -> io::Result<Vec<Socket>> {
    let mut sockets = Vec::new();
    let mut missing = None;
    for address in [(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()] {
        match Socket::bind(address) {
            Ok(socket) => sockets.push(socket),
            Err(error) if is_family_missing(&error) => missing = Some(error),
            Err(error) => return Err(error),
        }
    }
    match missing {
        Some(error) if sockets.is_empty() => Err(error),
        _ => Ok(sockets),
    }
}

/// Whether the machine does not have the address family at all.
fn is_family_missing(error: &io::Error) -> bool {
    #[cfg(unix)]
    let missing = error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error());
    #[cfg(not(unix))]
    let missing = false;
    missing || matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What of a preset differs from the default, and from no preset at all.
    fn differences(preset: fn(Builder) -> Builder) -> Vec<String> {
        let lines = |config: &EndpointConfig| format!("{config:#?}").lines().map(str::to_owned).collect::<Vec<_>>();
        let (with, without) = (lines(&preset(Builder::default()).config), lines(&EndpointConfig::default()));
        with.into_iter().filter(|line| !without.contains(line)).collect()
    }

    #[test]
    fn each_preset_differs_from_the_default_and_is_valid() {
        let presets: [fn(Builder) -> Builder; 5] =
            [Builder::client, Builder::peer, Builder::server, Builder::game, Builder::media];
        let differences: Vec<_> = presets.iter().map(|preset| differences(*preset)).collect();
        assert_eq!(differences.iter().map(Vec::len).collect::<Vec<_>>(), [5, 4, 5, 4, 4], "{differences:#?}");
        for preset in presets {
            assert!(preset(Builder::default()).config.validate().is_ok());
        }
        let both = Builder::default().client().game().config;
        assert_eq!((both.accept, both.session.keepalive), (false, Duration::from_secs(5)));
    }
}
