//! Finds whoever made a code: through a server, and in this host's networks.

use core::net::SocketAddr;
use core::time::Duration;

use rtmfp_core::profile::Fingerprint;
use rtmfp_core::{App, CloseMode, Endpoint, Event, Instant, InterfaceId, Path, Service as _, SessionHandle, Target};
use rtmfp_files::Code as Words;
use rtmfp_meet::{Failure as Step, Guest, GuestEvent, PathKind, PathPolicy, Progress, Ticket};
use rtmfp_std::{Driver, ProfileKind, Waker};

use super::nearby::Nearby;
use super::{Answers, session_of, topic};
use crate::failure::{Code, Failure};
use crate::net;
use crate::via::{Meeting, not_met};
use crate::whom::Whom;

/// How much longer somebody in this network may take to answer than a server that knows nobody.
const LAN_WAIT: Duration = Duration::from_secs(1);
/// Addresses of this network at which somebody is tried.
const MAX_ADDRESSES: usize = 16;

/// After which time the server is asked again for somebody who is known.
const AGAIN: Duration = Duration::from_millis(500);

/// Who is wanted.
#[derive(Debug)]
pub enum Wanted {
    /// Whoever made the code that the user gives.
    Code(Answers),
    /// The far end of an earlier transfer.
    Peer(Fingerprint),
}

/// Waits for the code to be known, and reaches whoever made it. A server is reached meanwhile.
#[derive(Debug)]
pub struct Finder {
    guest: Option<Guest>,
    policy: PathPolicy,
    kind: ProfileKind,
    wanted: Wanted,
    code: Option<Words>,
    /// The search has begun.
    begun: bool,
    /// When the server is asked again.
    again: Option<Instant>,
    /// Sockets, and whether they are of IPv4.
    sockets: Vec<(InterfaceId, bool)>,
    waker: Waker,
    timeout: Duration,
    nearby: Option<Nearby>,
    addresses: Vec<SocketAddr>,
    /// Why nobody is found through the server.
    not_found: Option<Step>,
    asked: Option<Ticket>,
    /// The session that opens through the server.
    opening: Option<SessionHandle>,
    /// Sessions that open in this network.
    local: Vec<SessionHandle>,
    until: Option<Instant>,
    /// When it is over, whatever is still tried.
    deadline: Option<Instant>,
    paths: Vec<(SessionHandle, PathKind)>,
    outcome: Option<Result<SessionHandle, Failure>>,
}

impl Finder {
    /// Looks through the server that `guest` is of, if there is one, and in this host's networks.
    #[must_use]
    pub fn new(guest: Option<Guest>, policy: PathPolicy, wanted: Wanted, timeout: Duration, driver: &Driver) -> Self {
        let sockets = driver.pump().sockets().map(|(id, socket)| (id, socket.local_addr().is_ipv4())).collect();
        Self {
            guest,
            policy,
            kind: ProfileKind::Modern,
            wanted,
            code: None,
            begun: false,
            again: None,
            sockets,
            waker: driver.waker(),
            timeout,
            nearby: None,
            addresses: Vec::new(),
            not_found: None,
            asked: None,
            opening: None,
            local: Vec::new(),
            until: None,
            deadline: None,
            paths: Vec::new(),
            outcome: None,
        }
    }

    /// Runs until somebody is reached.
    ///
    /// # Errors
    /// If nobody is.
    pub fn run(&mut self, driver: &mut Driver) -> Result<(), Failure> {
        net::run(driver, self, |_| {})?;
        match &self.outcome {
            Some(Err(failure)) => Err(failure.clone()),
            Some(Ok(_)) | None => Ok(()),
        }
    }

    /// The session, the code, and what is needed from then on.
    ///
    /// # Errors
    /// If nobody was reached.
    pub fn found(self, driver: &mut Driver) -> Result<Found, Failure> {
        let session = self.outcome.unwrap_or_else(|| Err(Failure::interrupted()))?;
        let is_local = self.local.contains(&session);
        // The application that follows has not begun.
        driver.pump_mut().wake();
        Ok(Found { session, code: self.code, wanted: self.wanted, guest: self.guest, paths: self.paths, is_local })
    }

    fn begin(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if self.begun {
            return;
        }
        let topic = match &mut self.wanted {
            Wanted::Code(answers) => match answers.code() {
                Ok(Some(code)) => topic(self.code.insert(code).number),
                Ok(None) => return,
                Err(failure) => return self.outcome = Some(Err(failure)),
            },
            Wanted::Peer(peer) => peer.as_bytes().to_vec(),
        };
        self.begun = true;
        let wait = if self.guest.is_some() && self.code.is_some() { LAN_WAIT } else { self.timeout };
        self.until = Some(now + wait);
        self.deadline = Some(now + self.timeout.max(wait) + LAN_WAIT);
        self.ask(now, endpoint);
        if self.policy.is_direct() {
            match Nearby::search(&topic, self.waker.clone()) {
                Ok(search) => self.nearby = Some(search),
                Err(failure) if self.guest.is_none() => self.outcome = Some(Err(failure)),
                // The server finds them too.
                Err(_) => {}
            }
        }
    }

    /// Asks the server.
    fn ask(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let Some(guest) = &mut self.guest else { return };
        self.asked = Some(match (&self.wanted, &self.code) {
            (Wanted::Peer(peer), _) => {
                let discriminator = self.kind.discriminator(None, Some(*peer));
                guest.connect(now, endpoint, discriminator, self.policy)
            }
            (Wanted::Code(_), Some(code)) => guest.find(now, endpoint, code.number),
            (Wanted::Code(_), None) => return,
        });
    }

    fn take_nearby(&mut self, now: Instant, endpoint: &mut Endpoint) {
        while let Some(found) = self.nearby.as_ref().and_then(Nearby::take) {
            let fresh: Vec<_> = found.into_iter().filter(|address| !self.addresses.contains(address)).collect();
            let room = MAX_ADDRESSES.saturating_sub(self.addresses.len());
            let fresh: Vec<_> = fresh.into_iter().take(room).collect();
            self.addresses.extend(&fresh);
            if let Some(opening) = self.opening {
                self.add_to(now, endpoint, opening, &fresh);
            } else if self.guest.is_none() || self.not_found.is_some() {
                self.open_local(now, endpoint, &fresh);
            }
        }
    }

    /// Tries these addresses for the session that opens through the server: the same end, by a shorter way.
    fn add_to(&self, now: Instant, endpoint: &mut Endpoint, opening: SessionHandle, addresses: &[SocketAddr]) {
        let Some(mut session) = endpoint.session_mut(now, opening) else { return };
        for path in self.paths_to(addresses) {
            session.add_candidate(path, Duration::ZERO);
        }
    }

    /// Opens a session with whoever is there: only the code proves who it is.
    fn open_local(&mut self, now: Instant, endpoint: &mut Endpoint, addresses: &[SocketAddr]) {
        let candidates: Vec<_> = self.paths_to(addresses).map(|path| (path, Duration::ZERO)).collect();
        if candidates.is_empty() {
            return;
        }
        let discriminator = match &self.wanted {
            Wanted::Code(_) => self.kind.discriminator(Some("rtmfp:"), None),
            Wanted::Peer(peer) => self.kind.discriminator(None, Some(*peer)),
        };
        if let Ok(session) = endpoint.open(now, Target { discriminator, candidates }) {
            self.local.push(session);
        }
    }

    fn paths_to(&self, addresses: &[SocketAddr]) -> impl Iterator<Item = Path> {
        let reached = |remote: &SocketAddr| {
            let fits = self.sockets.iter().find(|(_, is_ipv4)| *is_ipv4 == remote.is_ipv4());
            fits.map(|(id, _)| Path::new(*id, *remote))
        };
        addresses.iter().filter_map(reached).collect::<Vec<_>>().into_iter()
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the others are not about this")]
    fn take_events(&mut self, now: Instant, endpoint: &mut Endpoint) {
        while let Some(event) = self.guest.as_mut().and_then(Guest::poll_event) {
            match event {
                GuestEvent::ServerLost { failure, .. } | GuestEvent::TokenRefused(failure) => {
                    self.fail(now, endpoint, failure);
                }
                GuestEvent::Registered if !self.begun => self.not_found = None,
                GuestEvent::Found { discriminator, .. } => {
                    let policy = self.policy;
                    let guest = self.guest.as_mut();
                    self.asked = guest.map(|guest| guest.connect(now, endpoint, discriminator, policy));
                }
                GuestEvent::Progress { progress: Progress::Opening(session), .. } => {
                    self.opening = Some(session);
                    if self.policy != PathPolicy::RelayOnly {
                        self.add_to(now, endpoint, session, &self.addresses.clone());
                    }
                }
                GuestEvent::Connected { session, .. } => self.reached(now, endpoint, session),
                GuestEvent::Failed { ticket, failure } if self.asked == Some(ticket) => {
                    (self.asked, self.opening) = (None, None);
                    self.fail(now, endpoint, failure);
                }
                GuestEvent::Path { session, kind } => self.paths.push((session, kind)),
                _ => {}
            }
        }
    }

    /// Nobody is found through the server: whoever is in this network may be the one.
    fn fail(&mut self, now: Instant, endpoint: &mut Endpoint, failure: Step) {
        // Who is known may come back in a moment.
        if matches!(self.wanted, Wanted::Peer(_)) && self.begun {
            self.again = Some(now + AGAIN);
        }
        if self.not_found.is_none() {
            self.not_found = Some(failure);
            self.open_local(now, endpoint, &self.addresses.clone());
        }
    }

    fn reached(&mut self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle) {
        if self.outcome.is_some() {
            return;
        }
        self.nearby = None;
        for other in self.local.iter().filter(|other| **other != session) {
            if let Some(mut other) = endpoint.session_mut(now, *other) {
                other.close(CloseMode::Abrupt);
            }
        }
        self.outcome = Some(Ok(session));
    }

    /// It is over when neither the server nor this network has anybody.
    fn check_time(&mut self, now: Instant, endpoint: &Endpoint) {
        if self.until.is_none_or(|until| now < until) {
            return;
        }
        let opening = self.opening.is_some() || self.local.iter().any(|it| endpoint.session(*it).is_some());
        let hopeless = self.guest.is_none() || self.not_found.is_some();
        let late = self.deadline.is_some_and(|deadline| now >= deadline);
        if self.outcome.is_none() && (hopeless && !opening || late) {
            let Some(number) = self.code.as_ref().map(|code| code.number) else {
                let message = "the far end of the earlier transfer is not there: run the same command there too, then \
                               here again; or give --new, to begin anew with another code";
                return self.outcome = Some(Err(Failure::new(Code::NotOpened, message)));
            };
            self.outcome = Some(Err(match self.not_found {
                Some(Step::NobodyThere) => Failure::new(
                    Code::NotOpened,
                    format!(
                        "nobody is there under {number}: check the number, whether the sender still waits (a code \
                             expires, and is gone after a wrong guess), and that both ends name the same server"
                    ),
                ),
                Some(step) => not_met(step, &Whom::Number(number)),
                None if self.guest.is_some() => {
                    Failure::new(Code::NotOpened, format!("nobody has answered under {number} in time: try again"))
                }
                None => Failure::new(
                    Code::NotOpened,
                    format!(
                        "nobody in this network announces {number}: check the number, and whether the sender still \
                             waits in this network; elsewhere, name a server at both ends with --via"
                    ),
                ),
            }));
        } else if self.outcome.is_none() {
            self.until = Some(now + LAN_WAIT);
        }
    }
}

impl App for Finder {
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        if let Some(guest) = &mut self.guest {
            guest.offer(now, endpoint, &event);
        }
        let local = session_of(&event).filter(|session| self.local.contains(session));
        match (event, local) {
            (Event::SessionOpened { .. }, Some(session)) => self.reached(now, endpoint, session),
            (Event::SessionFailed { .. }, Some(session)) => self.local.retain(|other| *other != session),
            _ => {}
        }
        self.take_events(now, endpoint);
    }

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if let Some(guest) = &mut self.guest {
            guest.on_wake(now, endpoint);
        }
        self.begin(now, endpoint);
        self.take_events(now, endpoint);
        self.take_nearby(now, endpoint);
        if self.again.is_some_and(|again| now >= again) && self.outcome.is_none() {
            self.again = None;
            self.ask(now, endpoint);
        }
        self.check_time(now, endpoint);
    }

    fn carries(&self, interface: InterfaceId) -> bool {
        self.guest.as_ref().is_some_and(|guest| guest.carries(interface))
    }

    fn carry(&mut self, now: Instant, endpoint: &mut Endpoint, path: Path, datagram: &[u8]) {
        if let Some(guest) = &mut self.guest {
            guest.carry(now, endpoint, path, datagram);
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        [self.until, self.again, self.guest.as_ref().and_then(|guest| guest.next_timeout())].into_iter().flatten().min()
    }

    fn is_done(&self) -> bool {
        self.outcome.is_some()
    }
}

/// Whoever made the code, or says so.
#[derive(Debug)]
pub struct Found {
    /// The session with them.
    pub session: SessionHandle,
    /// The code, if one was asked for.
    pub code: Option<Words>,
    wanted: Wanted,
    guest: Option<Guest>,
    paths: Vec<(SessionHandle, PathKind)>,
    /// Whether they were found in this network.
    pub is_local: bool,
}

impl Found {
    /// The guest that has found them, if one has, with what it has told of paths.
    pub fn take_guest(&mut self) -> Option<(Guest, Vec<(SessionHandle, PathKind)>)> {
        Some((self.guest.take()?, core::mem::take(&mut self.paths)))
    }

    /// Who can be asked, if a code was.
    pub fn take_answers(&mut self) -> Option<Answers> {
        match core::mem::replace(&mut self.wanted, Wanted::Peer(Fingerprint([0; 32]))) {
            Wanted::Code(answers) => Some(answers),
            Wanted::Peer(_) => None,
        }
    }

    /// An application beside the guest.
    pub fn meeting<A: App>(guest: (Guest, Vec<(SessionHandle, PathKind)>), app: A) -> Meeting<A> {
        Meeting::new(guest.0, app).with_paths(guest.1)
    }
}
