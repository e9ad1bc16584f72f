//! Finds a far end through a server.

use core::cell::RefCell;
use std::rc::Rc;

use rtmfp_core::{App, Endpoint, Event, Instant, InterfaceId, Path, Service as _, SessionHandle};
use rtmfp_meet::{Failure as Step, Guest, GuestEvent, PathKind, PathPolicy, Progress, Ticket};
use rtmfp_std::ProfileKind;

use super::Meeting;
use crate::whom::Whom;

/// Finds a far end, and connects to it: the first part of a command that reaches out through a server.
#[derive(Debug)]
pub struct Finding {
    guest: Guest,
    whom: Whom,
    kind: ProfileKind,
    policy: PathPolicy,
    begun: bool,
    /// Nothing is begun before the server knows this end.
    waits: bool,
    outcome: Option<Result<SessionHandle, Step>>,
    /// Paths that were told meanwhile.
    paths: Vec<(SessionHandle, PathKind)>,
    asked: Option<Ticket>,
    steps: Rc<RefCell<Vec<(Instant, Passed)>>>,
}

/// A step on the way to a far end that was passed, or not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Passed {
    /// There is a session with the server.
    Server,
    /// The server knows this end.
    Registered,
    /// The server does not accept the token.
    TokenRefused,
    /// The number leads to somebody.
    Found,
    /// How far the connection has come.
    Connecting(Progress),
    /// There is a session over this kind of path.
    Connected(SessionHandle, PathKind),
}

/// Steps that wait to be shown. There are fewer, unless the server is lost again and again.
const MAX_STEPS: usize = 256;

impl Finding {
    /// Looks for somebody who is not reached by a URI.
    #[must_use]
    pub fn new(guest: Guest, whom: Whom, kind: ProfileKind, policy: PathPolicy) -> Self {
        let (paths, steps) = (Vec::new(), Rc::default());
        Self { guest, whom, kind, policy, begun: false, waits: false, outcome: None, paths, asked: None, steps }
    }

    /// The same, but only once this end is registered: so that each step has a time of its own.
    #[must_use]
    pub const fn once_registered(mut self) -> Self {
        self.waits = true;
        self
    }

    /// The steps that were passed, and when. Whoever shows them takes them out.
    #[must_use]
    pub fn steps(&self) -> Rc<RefCell<Vec<(Instant, Passed)>>> {
        Rc::clone(&self.steps)
    }

    fn passed(&self, now: Instant, step: Passed) {
        let mut steps = self.steps.borrow_mut();
        if steps.len() < MAX_STEPS {
            steps.push((now, step));
        }
    }

    /// What came of it.
    ///
    /// # Errors
    /// The step that failed.
    pub fn outcome(&self) -> Result<SessionHandle, Step> {
        self.outcome.unwrap_or(Err(Step::Left))
    }

    /// The other part of the command: an application over the session that was found.
    #[must_use]
    pub fn then<A: App>(self, session: SessionHandle, app: A) -> Meeting<A> {
        Meeting { opened: Some(session), paths: self.paths, ..Meeting::new(self.guest, app) }
    }

    fn begin(&mut self, now: Instant, endpoint: &mut Endpoint) {
        match self.whom {
            Whom::Number(number) => self.asked = Some(self.guest.find(now, endpoint, number)),
            Whom::Peer(peer_id) => {
                let whom = self.kind.discriminator(None, Some(peer_id));
                self.asked = Some(self.guest.connect(now, endpoint, whom, self.policy));
            }
            Whom::Uri(_) => self.outcome = Some(Err(Step::NobodyThere)),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the others are not about this")]
    fn take_events(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if !self.begun && (!self.waits || self.guest.is_registered()) {
            self.begun = true;
            self.begin(now, endpoint);
        }
        while let Some(event) = self.guest.poll_event() {
            match event {
                GuestEvent::ServerLost { failure, .. } if !self.begun => self.outcome = Some(Err(failure)),
                GuestEvent::Registered => self.passed(now, Passed::Registered),
                GuestEvent::Progress { progress, .. } => self.passed(now, Passed::Connecting(progress)),
                GuestEvent::Found { discriminator, .. } => {
                    self.passed(now, Passed::Found);
                    self.asked = Some(self.guest.connect(now, endpoint, discriminator, self.policy));
                }
                GuestEvent::Connected { session, .. } => {
                    let kind = self.guest.path_kind(session).unwrap_or(PathKind::Searching);
                    self.passed(now, Passed::Connected(session, kind));
                    self.outcome = Some(Ok(session));
                }
                GuestEvent::TokenRefused(failure) => {
                    self.passed(now, Passed::TokenRefused);
                    self.outcome = self.outcome.or(Some(Err(failure)));
                }
                GuestEvent::Failed { failure, .. } => {
                    self.outcome = self.outcome.or(Some(Err(failure)));
                }
                GuestEvent::Path { session, kind } => self.paths.push((session, kind)),
                _ => {}
            }
        }
    }
}

impl App for Finding {
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        if let Event::SessionOpened { session } = event
            && self.guest.server() == Some(session)
        {
            self.passed(now, Passed::Server);
        }
        self.guest.offer(now, endpoint, &event);
        self.take_events(now, endpoint);
    }

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.guest.on_wake(now, endpoint);
        self.take_events(now, endpoint);
    }

    fn carries(&self, interface: InterfaceId) -> bool {
        self.guest.carries(interface)
    }

    fn carry(&mut self, now: Instant, endpoint: &mut Endpoint, path: Path, datagram: &[u8]) {
        self.guest.carry(now, endpoint, path, datagram);
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.guest.next_timeout()
    }

    fn is_done(&self) -> bool {
        self.outcome.is_some()
    }
}
