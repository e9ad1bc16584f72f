//! Meeting a far end through a rendezvous server, for any command that talks to one.

use core::cell::RefCell;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::fs;
use std::rc::Rc;

use rtmfp_core::{
    App, Endpoint, EndpointConfig, Event, ForwardedHelloPolicy, Instant, InterfaceId, Path, Service as _,
    SessionHandle, Target,
};
use rtmfp_local::PortChange;
use rtmfp_meet::{CandidateKind, Failure as Step, Guest, GuestEvent, GuestOptions, PathKind, PathPolicy};
use rtmfp_std::{Driver, Socket, Uri, peer_id_of, system_rng};

use crate::args::{Common, Connect, Paths, Via};
use crate::failure::{Code, Failure};
use crate::identity::{Identity, destination};
use crate::json::Line;
use crate::nearby::{self, ForwardedPort};
use crate::net;
use crate::report::Report;
use crate::trace::TraceFile;
use crate::whom::Whom;

mod finding;

pub use finding::{Finding, Passed};

/// Between the first hellos to the addresses of the server.
const CANDIDATE_DELAY: Duration = Duration::from_millis(250);

impl Paths {
    /// Which paths the user allows.
    #[must_use]
    pub const fn policy(&self) -> PathPolicy {
        if self.direct_only {
            PathPolicy::DirectOnly
        } else if self.relay_only {
            PathPolicy::RelayOnly
        } else if self.lan_only {
            PathPolicy::LanOnly
        } else {
            PathPolicy::Any
        }
    }

    /// Whether the user has given any of these options.
    #[must_use]
    pub const fn is_given(&self) -> bool {
        self.token_file.is_some() || self.direct_only || self.relay_only || self.lan_only
    }
}

impl Via {
    /// Which paths the user allows.
    #[must_use]
    pub const fn policy(&self) -> PathPolicy {
        self.paths.policy()
    }

    /// Changes an endpoint's settings to those of one that meets others.
    pub fn apply(&self, config: &mut EndpointConfig) {
        config.accept = true;
        if !self.policy().is_direct() {
            // An answer would show this end's address.
            config.forwarded_hello = ForwardedHelloPolicy::Ignore;
        }
    }

    /// A guest of the server that the user names, for the endpoint of a driver.
    ///
    /// # Errors
    /// If the server's address or fingerprint is none, the file with the token cannot be read, or the system has no
    /// randomness.
    pub fn guest(
        &self,
        server: &Uri,
        common: &Common,
        identity: &Identity,
        driver: &mut Driver,
    ) -> Result<Guest, Failure> {
        let connect = Connect { fingerprint: self.via_fingerprint.clone(), pin: false, peer: "rtmfp".to_owned() };
        let to = destination(common, &connect, server, identity)?;
        let candidates = candidates(&net::resolve(server, identity.kind())?, driver);
        if candidates.is_empty() {
            let message = format!("{} cannot be reached from where this end listens: check --listen", server.text);
            return Err(Failure::new(Code::Local, message));
        }
        let target = Target { discriminator: to.discriminator, candidates };
        let mut options = GuestOptions::default();
        options.policy = self.policy();
        options.server_timeout = common.timeout;
        options.connect_timeout = common.timeout;
        let mut guest = Guest::new(0, target, options, system_rng()?);
        let now = driver.pump().clock().now();
        let own = rtmfp_std::own_addresses();
        let local = rtmfp_std::local_candidates(&net::local_addresses(driver), &own);
        guest.set_addresses(now, driver.pump_mut().endpoint_mut(), own);
        guest.set_candidates(now, driver.pump_mut().endpoint_mut(), CandidateKind::Local, local);
        if let Some(file) = &self.paths.token_file {
            let token = fs::read_to_string(file).map_err(|e| Failure::local(file.display(), e))?;
            let token = token.trim_end().as_bytes().to_vec();
            if token.is_empty() || !guest.show_token(now, driver.pump_mut().endpoint_mut(), token) {
                let message = format!("{}: a token has 1 to 4096 bytes", file.display());
                return Err(Failure::new(Code::Local, message));
            }
        }
        Ok(guest)
    }
}

/// A driver for an end that meets others through a server: on these local addresses, or without any on all addresses, at
/// a port that the system chooses.
///
/// # Errors
/// If an address cannot be bound.
pub fn driver(
    addresses: &[SocketAddr],
    via: &Via,
    identity: &Identity,
    timeout: Duration,
    trace: Option<&mut TraceFile>,
) -> Result<Driver, Failure> {
    let mut config = net::config(identity, timeout, true);
    via.apply(&mut config);
    if !addresses.is_empty() {
        return net::listen_with(addresses, &[], identity, config, trace);
    }
    let mut sockets = vec![Socket::bind((Ipv4Addr::UNSPECIFIED, 0).into())?];
    // Not every machine has IPv6.
    sockets.extend(Socket::bind((Ipv6Addr::UNSPECIFIED, 0).into()).ok());
    net::driver(sockets, identity, config, trace)
}

/// From which socket each address is reached, and after which time it is tried. Those of a family without a socket are
/// left out.
pub(crate) fn candidates(addresses: &[SocketAddr], driver: &Driver) -> Vec<(Path, Duration)> {
    let sockets: Vec<_> = driver.pump().sockets().map(|(id, socket)| (id, socket.local_addr())).collect();
    let reached = |remote: &SocketAddr| {
        let fits = sockets.iter().find(|(_, local)| local.is_ipv4() == remote.is_ipv4());
        fits.map(|(id, _)| Path::new(*id, *remote))
    };
    addresses.iter().filter_map(reached).zip((0..).map(|number| CANDIDATE_DELAY * number)).collect()
}

/// Why the two did not meet.
#[must_use]
pub fn not_met(step: Step, to: &Whom) -> Failure {
    let is_local = matches!(step, Step::NotBegun(_) | Step::TooMany);
    let code = if is_local { Code::Local } else { Code::NotOpened };
    Failure::new(code, format!("{to} was not reached: {step}"))
}

/// What a [`Meeting`] has to tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    /// Of the server.
    Guest(GuestEvent),
    /// A session's path.
    Path(SessionHandle, PathKind),
    /// The port that the gateway forwards.
    Port(PortChange),
}

/// An application, and beside it a guest of a server.
#[derive(Debug)]
pub struct Meeting<A> {
    guest: Guest,
    app: A,
    /// A session that was open before the application came.
    opened: Option<SessionHandle>,
    paths: Vec<(SessionHandle, PathKind)>,
    port: Option<ForwardedPort>,
    told: Rc<RefCell<Vec<Told>>>,
    /// The application is done: when the server is left at last.
    until: Option<Instant>,
    /// When it is looked at next whether sessions have ended: no event tells of an end that this end has begun.
    look: Option<Instant>,
    left: bool,
    /// Nothing can come of it before the server knows this end.
    needs_server: bool,
    /// Why the server that is needed does not know it.
    unknown: Option<Step>,
}

/// How long sessions may take to end before the server is left, whose relay they may need for that.
const CLOSING: Duration = Duration::from_secs(2);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(20);
/// Events that wait to be shown.
const MAX_TOLD: usize = 1_024;

impl<A: App> Meeting<A> {
    /// An application whose far ends come through a server.
    #[must_use]
    pub fn new(guest: Guest, app: A) -> Self {
        let (paths, told) = (Vec::new(), Rc::default());
        Self {
            guest,
            app,
            opened: None,
            paths,
            port: None,
            told,
            until: None,
            look: None,
            left: false,
            needs_server: false,
            unknown: None,
        }
    }

    /// The same, ended at once if the server cannot be reached at first. Later it is waited for.
    #[must_use]
    pub fn that_needs_server(mut self) -> Self {
        self.needs_server = true;
        self
    }

    /// Why it has ended at once.
    #[must_use]
    pub const fn server_failure(&self) -> Option<Step> {
        self.unknown
    }

    /// The same, reached from outside at a port that the gateway forwards: the server is told of it, as it changes.
    #[must_use]
    pub fn with_port(mut self, port: Option<ForwardedPort>) -> Self {
        self.port = port;
        self
    }

    /// The same, with what was told of paths before.
    #[must_use]
    pub(crate) fn with_paths(mut self, paths: Vec<(SessionHandle, PathKind)>) -> Self {
        self.paths = paths;
        self
    }

    /// What there is to [show], while the application runs.
    #[must_use]
    pub fn told(&self) -> Rc<RefCell<Vec<Told>>> {
        Rc::clone(&self.told)
    }

    /// The application.
    #[must_use]
    pub fn into_app(self) -> A {
        self.app
    }

    fn tell(&self, told: Told) {
        let mut all = self.told.borrow_mut();
        if all.len() < MAX_TOLD {
            all.push(told);
        }
    }

    fn look_at_port(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let Some(port) = &mut self.port else { return };
        let changes: Vec<PortChange> = core::iter::from_fn(|| port.take_change()).collect();
        self.guest.set_candidates(now, endpoint, CandidateKind::Mapped, port.external());
        changes.into_iter().for_each(|change| self.tell(Told::Port(change)));
    }

    /// Takes what the guest tells, and leaves the server when all is done.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others say nothing of whether the server is there")]
    fn conclude(&mut self, now: Instant, endpoint: &mut Endpoint) {
        while let Some(event) = self.guest.poll_event() {
            match &event {
                GuestEvent::Registered => self.needs_server = false,
                GuestEvent::ServerLost { failure, .. } | GuestEvent::TokenRefused(failure) if self.needs_server => {
                    self.unknown = Some(*failure);
                    self.left = true;
                    return;
                }
                _ => {}
            }
            self.tell(if let GuestEvent::Path { session, kind } = event {
                Told::Path(session, kind)
            } else {
                Told::Guest(event)
            });
        }
        if self.app.is_done() && !self.left {
            let until = *self.until.get_or_insert(now + CLOSING);
            let server = self.guest.server();
            let waits = |session| endpoint.session(session).is_some_and(|session| session.awaits_far_end());
            if now >= until || !endpoint.sessions().any(|session| Some(session) != server && waits(session)) {
                self.guest.leave(now, endpoint);
                self.left = true;
            }
            self.look = Some(until.min(now + LOOK)).filter(|_| !self.left);
        }
    }
}

impl<A: App> App for Meeting<A> {
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        let server = self.guest.server();
        let taken = self.guest.offer(now, endpoint, &event);
        if !taken && (server.is_none() || session_of(&event) != server) {
            self.app.on_event(now, endpoint, event);
        }
        self.conclude(now, endpoint);
    }

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        for (session, kind) in core::mem::take(&mut self.paths) {
            self.tell(Told::Path(session, kind));
        }
        self.look_at_port(now, endpoint);
        self.guest.on_wake(now, endpoint);
        if let Some(session) = self.opened.take() {
            self.app.on_event(now, endpoint, Event::SessionOpened { session });
        }
        self.app.on_wake(now, endpoint);
        self.conclude(now, endpoint);
    }

    fn carries(&self, interface: InterfaceId) -> bool {
        self.guest.carries(interface)
    }

    fn carry(&mut self, now: Instant, endpoint: &mut Endpoint, path: Path, datagram: &[u8]) {
        self.guest.carry(now, endpoint, path, datagram);
    }

    fn next_timeout(&self) -> Option<Instant> {
        [self.guest.next_timeout(), self.app.next_timeout(), self.look].into_iter().flatten().min()
    }

    fn is_done(&self) -> bool {
        self.left
    }
}

/// The session that an event is about, if it is about a whole one.
#[expect(clippy::wildcard_enum_match_arm, reason = "the others are about flows")]
const fn session_of(event: &Event) -> Option<SessionHandle> {
    match event {
        Event::SessionOpened { session }
        | Event::SessionFailed { session, .. }
        | Event::SessionClosed { session, .. }
        | Event::SessionDrained { session, .. }
        | Event::SessionUpdated { session }
        | Event::PathChanged { session, .. } => Some(*session),
        _ => None,
    }
}

/// Shows what has happened since the last time.
pub fn show(told: &RefCell<Vec<Told>>, driver: &Driver, own: Option<&str>, report: &mut Report) {
    for told in told.borrow_mut().drain(..) {
        match told {
            Told::Path(session, kind) => path(driver, session, kind, report),
            Told::Guest(event) => server(&event, own, report),
            Told::Port(change) => nearby::show(&change, report),
        }
    }
}

/// Shows what kind of path a session has.
pub(crate) fn path(driver: &Driver, session: SessionHandle, kind: PathKind, report: &mut Report) {
    let view = driver.pump().endpoint().session(session);
    let at =
        view.and_then(|view| view.path()).filter(|_| kind != PathKind::Relayed).map(|path| path.remote.to_string());
    let who = view.and_then(|view| peer_id_of(view.far_certificate(), &view.far_canonical_discriminator()));
    let who = who.map(|who| who.to_string()).unwrap_or_default();
    report.either_of_far(
        || {
            let line = Line::new("path").text("kind", &kind.to_string()).text("fingerprint", &who);
            at.iter().fold(line, |line, at| line.text("peer", at))
        },
        || match (kind, &at) {
            (PathKind::Searching, _) => "path: lost, others are tried".to_owned(),
            (PathKind::Relayed, _) | (_, None) => format!("path: {kind}"),
            (_, Some(at)) => format!("path: {kind}, to {at}"),
        },
    );
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the others are not worth a line")]
fn server(event: &GuestEvent, own: Option<&str>, report: &mut Report) {
    match event {
        GuestEvent::Registered => {
            report.either(|| Line::new("registered"), || "registered with the server".to_owned());
        }
        GuestEvent::Number { number, before, .. } => report.either(
            || {
                let line = Line::new("reachable").number("number", *number);
                own.iter().fold(line, |line, own| line.text("fingerprint", own))
            },
            || match before {
                Some(before) => format!("reached by number {number} now, no longer by {before}"),
                None => format!("reached by number {number}"),
            },
        ),
        GuestEvent::ServerLost { failure, retry } => {
            let text = failure.to_string();
            report.either(
                || Line::new("unregistered").text("error", &text).seconds("retry", *retry),
                || format!("not registered: {text}; it is tried again, and sessions go on"),
            );
        }
        GuestEvent::Failed { failure, .. } | GuestEvent::TokenRefused(failure) => {
            let text = failure.to_string();
            report.either(|| Line::new("unreachable").text("error", &text), || format!("no number: {text}"));
        }
        _ => {}
    }
}
