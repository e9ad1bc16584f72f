//! Sockets, and running an application on them.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};

use rtmfp_core::{App, CloseMode, Endpoint, EndpointConfig, InterfaceId, Path, SessionHandle, Target};
use rtmfp_std::{Clock, Driver, ProfileKind, Pump, Socket, Uri, Waker, system_rng};

use crate::failure::{Code, Failure};
use crate::identity::{Destination, Identity};
use crate::trace::TraceFile;

/// How often the loop comes by when nothing happens: to draw progress and to look how far an opening session got.
const TICK: Duration = Duration::from_millis(200);
/// How long sessions may take to end in order.
pub(crate) const DRAIN: Duration = Duration::from_secs(5);
/// Between the first hellos to the addresses of a host, in the order that the resolver prefers.
const CANDIDATE_DELAY: Duration = Duration::from_millis(250);
/// The most addresses of a host that are tried.
const CANDIDATES: usize = 8;
/// The most that the window of a file flow grows to; all flows together share a half of [`RECEIVE_BYTES`].
const RECEIVE_WINDOW: usize = 16 << 20;
/// All that a session holds of what was received and not read.
const RECEIVE_BYTES: usize = 16 << 20;
/// All that sessions together hold of what was received and not read.
const RECEIVE_MEMORY: usize = 128 << 20;
/// All that a session holds of what is not acknowledged.
const SEND_BYTES: usize = 16 << 20;
/// All that sessions together hold of what is not acknowledged.
const SEND_MEMORY: usize = 128 << 20;
/// Send buffer of each flow: what is in flight, for the most part.
const SEND_BUFFER: usize = 16 << 20;
/// All sessions of an endpoint, those included that have ended and linger. Those that are open are limited to 320 by the
/// applications, which know who brings something. The rest is room for lingering ones; each session beyond what is needed
/// would make the memory smaller that every session is sure of.
const SESSIONS: usize = 2_048;
/// Sessions that open from here at once.
const OPENING: usize = 256;

/// Settings for this program's endpoints: a far end that is silent for `timeout` is given up.
#[must_use]
pub fn config(identity: &Identity, timeout: Duration, server: bool) -> EndpointConfig {
    let mut config = EndpointConfig::default();
    config.accept = server;
    config.max_sessions = SESSIONS;
    config.max_opening = OPENING;
    config.open_timeout = timeout;
    config.session.retransmit_limit = timeout;
    config.session.keepalive = (timeout / 3).max(Duration::from_secs(1));
    config.session.recv_buffer = RECEIVE_WINDOW;
    config.session.max_recv_bytes = RECEIVE_BYTES;
    config.max_recv_memory = RECEIVE_MEMORY;
    config.session.send_buffer = SEND_BUFFER;
    config.session.max_send_bytes = SEND_BYTES;
    config.max_send_memory = SEND_MEMORY;
    config.session.mona = identity.mona;
    config
}

/// A driver on these local addresses; without any, on the profile's port of all addresses.
///
/// # Errors
/// If one cannot be bound.
pub fn listen(
    addresses: &[SocketAddr],
    identity: &Identity,
    timeout: Duration,
    trace: Option<&mut TraceFile>,
) -> Result<Driver, Failure> {
    listen_with(addresses, &[], identity, config(identity, timeout, true), trace)
}

/// The same, with settings of one's own, and with further sockets, which are the last.
///
/// # Errors
/// If an address cannot be bound, or the settings are not acceptable.
pub fn listen_with(
    addresses: &[SocketAddr],
    further: &[SocketAddr],
    identity: &Identity,
    config: EndpointConfig,
    trace: Option<&mut TraceFile>,
) -> Result<Driver, Failure> {
    let bind = |address| bind(address, "--listen");
    let mut sockets: Vec<Socket> = if addresses.is_empty() {
        let port = identity.kind().default_port();
        let mut sockets = vec![bind((Ipv4Addr::UNSPECIFIED, port).into())?];
        // Not every machine has IPv6.
        sockets.extend(Socket::bind((Ipv6Addr::UNSPECIFIED, port).into()).ok());
        sockets
    } else {
        addresses.iter().map(|address| bind(*address)).collect::<Result<_, _>>()?
    };
    for address in further {
        sockets.push(self::bind(*address, "--probe-listen")?);
    }
    driver(sockets, identity, config, trace)
}

/// A socket at an address that was given with this option.
pub(crate) fn bind(address: SocketAddr, option: &str) -> Result<Socket, Failure> {
    Socket::bind(address).map_err(|e| {
        Failure::local(format_args!("cannot listen on {address}"), format_args!("{e}; {option} chooses another"))
    })
}

/// A driver with so many fresh sockets of the remote address's family, from which nothing is opened yet.
///
/// # Errors
/// If a socket cannot be bound.
pub fn fresh(
    remote: SocketAddr,
    sockets: usize,
    identity: &Identity,
    config: EndpointConfig,
    trace: Option<&mut TraceFile>,
) -> Result<Driver, Failure> {
    let any: IpAddr = if remote.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let bind = |_| Socket::bind((any, 0).into()).map_err(|e| Failure::local("no socket", e));
    let sockets = (0..sockets).map(bind).collect::<Result<_, _>>()?;
    driver(sockets, identity, config, trace)
}

pub(crate) fn driver(
    sockets: Vec<Socket>,
    identity: &Identity,
    config: EndpointConfig,
    trace: Option<&mut TraceFile>,
) -> Result<Driver, Failure> {
    let clock = Clock::new();
    let sink = trace.map_or(Ok(None), TraceFile::start)?;
    let mut endpoint = Endpoint::new(config, Arc::clone(&identity.profile), system_rng()?, clock.now())
        .map_err(|e| Failure::local("settings", e))?;
    endpoint.set_trace(sink);
    Ok(Driver::new(Pump::new(endpoint, clock, sockets))?)
}

/// The addresses that a driver listens on.
#[must_use]
pub fn local_addresses(driver: &Driver) -> Vec<SocketAddr> {
    driver.pump().sockets().map(|(_, socket)| socket.local_addr()).collect()
}

/// The first eight addresses of a host. One of IPv4 that is written as one of IPv6 is reached by an IPv4 socket.
///
/// # Errors
/// If there is none.
pub(crate) fn resolve(uri: &Uri, kind: ProfileKind) -> Result<Vec<SocketAddr>, Failure> {
    let addresses = uri.resolve(kind.default_port()).map_err(|e| {
        Failure::local(
            format_args!("no address of {} could be found", uri.host),
            format_args!("{e}; check the name, or give an address"),
        )
    })?;
    let reached = |remote: SocketAddr| {
        let mapped = remote.ip().to_canonical().is_ipv4() && remote.is_ipv6();
        if mapped { SocketAddr::new(remote.ip().to_canonical(), remote.port()) } else { remote }
    };
    Ok(addresses.into_iter().take(CANDIDATES).map(reached).collect())
}

/// A driver, and in it a session that is opening.
///
/// # Errors
/// If the host has no address that can be reached from here.
pub fn connect(
    uri: &Uri,
    to: &Destination,
    identity: &Identity,
    timeout: Duration,
    trace: Option<&mut TraceFile>,
) -> Result<(Driver, SessionHandle), Failure> {
    let addresses = resolve(uri, identity.kind())?;
    let (sockets, candidates) = bind_for(&addresses)?;
    let mut driver = driver(sockets, identity, config(identity, timeout, false), trace)?;
    let session = open(&mut driver, &uri.text, Target { discriminator: to.discriminator.clone(), candidates })?;
    Ok((driver, session))
}

/// Begins to open a session. `name` is what the user calls the far end.
///
/// # Errors
/// If the endpoint does not take the target.
pub(crate) fn open(driver: &mut Driver, name: &str, target: Target) -> Result<SessionHandle, Failure> {
    let now = driver.pump().clock().now();
    driver.pump_mut().endpoint_mut().open(now, target).map_err(|e| Failure::local(name, e))
}

/// Paths that are tried, and after which time each.
type Candidates = Vec<(Path, Duration)>;

/// A socket for each family of the addresses, and how they are reached from there.
fn bind_for(addresses: &[SocketAddr]) -> Result<(Vec<Socket>, Candidates), Failure> {
    let mut sockets: Vec<Socket> = Vec::new();
    let mut candidates = Vec::new();
    let mut delay = Duration::ZERO;
    let mut unbound = None;
    for &remote in addresses {
        let local: IpAddr = if remote.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        let index = match sockets.iter().position(|socket| socket.local_addr().is_ipv6() == remote.is_ipv6()) {
            Some(index) => index,
            None => {
                match Socket::bind((local, 0).into()) {
                    Ok(socket) => sockets.push(socket),
                    Err(error) => {
                        unbound = Some((remote, error));
                        continue;
                    }
                }
                sockets.len() - 1
            }
        };
        let interface = InterfaceId(u16::try_from(index).unwrap_or_default());
        candidates.push((Path::new(interface, remote), delay));
        delay += CANDIDATE_DELAY;
    }
    if let Some((remote, error)) = unbound.filter(|_| candidates.is_empty()) {
        let family = if remote.is_ipv6() { "IPv6" } else { "IPv4" };
        return Err(Failure::local(format_args!("{remote} cannot be reached: no {family} on this machine"), error));
    }
    Ok((sockets, candidates))
}

/// Runs an application to its end, or until the user interrupts. `each` is called in between, several times a second.
///
/// # Errors
/// If a socket fails, or the user interrupts; then all sessions are closed abruptly.
pub fn run(driver: &mut Driver, app: &mut dyn App, mut each: impl FnMut(&Driver)) -> Result<(), Failure> {
    let interrupted = Interrupt::watch(driver.waker())?;
    loop {
        let done = driver.step(app, Some(TICK))?;
        each(driver);
        if done {
            return Ok(());
        }
        if interrupted.is_set() {
            let now = driver.pump().clock().now();
            driver.pump_mut().endpoint_mut().close_all(now, CloseMode::Abrupt);
            driver.pump_mut().turn(app)?;
            return Err(Failure::interrupted());
        }
    }
}

/// Runs an application until the user interrupts. Then sessions are drained, for five seconds at most, and this is no
/// failure.
///
/// # Errors
/// If a socket fails.
pub fn serve(driver: &mut Driver, app: &mut dyn App, mut each: impl FnMut(&Driver)) -> Result<(), Failure> {
    let interrupted = Interrupt::watch(driver.waker())?;
    let mut until = None;
    loop {
        driver.step(app, Some(TICK))?;
        each(driver);
        let now = driver.pump().clock().now();
        if interrupted.is_set() && until.is_none() {
            until = Some(now + DRAIN);
            driver.pump_mut().endpoint_mut().drain_all(now, now + DRAIN);
            driver.pump_mut().turn(app)?;
        }
        let endpoint = driver.pump().endpoint();
        let awaits = |session| endpoint.session(session).is_some_and(|session| session.awaits_far_end());
        if until.is_some_and(|until| now >= until || !endpoint.sessions().any(awaits)) {
            return Ok(());
        }
    }
}

/// What Ctrl-C and SIGTERM do.
pub(crate) struct Interrupt;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static WAKERS: Mutex<Option<Vec<Waker>>> = Mutex::new(None);

impl Interrupt {
    /// Has an interrupt wake this driver, beside all earlier ones.
    pub(crate) fn watch(waker: Waker) -> Result<Self, Failure> {
        let mut wakers = WAKERS.lock().unwrap_or_else(PoisonError::into_inner);
        if wakers.is_none() {
            ctrlc::set_handler(|| {
                // The first is seen by who runs; what holds up the end, as a file that nobody reads may, sees none.
                if INTERRUPTED.swap(true, Ordering::SeqCst) {
                    std::process::exit(Code::Interrupted as i32);
                }
                let wakers = WAKERS.lock().unwrap_or_else(PoisonError::into_inner);
                wakers.iter().flatten().for_each(Waker::wake);
            })
            .map_err(|e| Failure::local("cannot watch for interrupts", e))?;
        }
        wakers.get_or_insert_default().push(waker);
        Ok(Self)
    }

    #[expect(clippy::unused_self, reason = "holding one shows that the handler is in place")]
    pub(crate) fn is_set(&self) -> bool {
        INTERRUPTED.load(Ordering::SeqCst)
    }
}
