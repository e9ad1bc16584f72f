//! The session with the server: it is kept, and opened again when it is lost.

use core::time::Duration;

use rtmfp_core::rand_core::Rng as _;
use rtmfp_core::{
    CloseMode, Endpoint, FlowOptions, Instant, OpenFailure, Path, RecvFlowHandle, SendFlowHandle, SessionHandle, Target,
};

use super::{Guest, GuestEvent};
use crate::failure::Failure;
use crate::message::METADATA;

/// The wait before the first new attempt, which doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A session that lasted as long is opened again as soon as a first one.
const LASTED: Duration = Duration::from_secs(30);
/// How long the server may leave everything unanswered. Then another session is tried: a server that was started again
/// knows nothing of the old one.
const SILENCE: Duration = Duration::from_secs(4);

/// The session with the server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) target: Target,
    phase: Phase,
    wait: Duration,
    /// Why the last attempt failed, until one succeeds.
    pub(super) failure: Option<Failure>,
}

#[derive(Debug)]
enum Phase {
    Waiting(Instant),
    /// Open, or opening.
    Talking(Talk),
    Left,
}

/// Flows with the server.
#[derive(Debug)]
struct Talk {
    session: SessionHandle,
    outbox: SendFlowHandle,
    inbox: Option<RecvFlowHandle>,
    /// This end opened the session, and closes it.
    is_own: bool,
    /// Since when the server has said something.
    registered: Option<Instant>,
    /// When the server is given up, unless it says something before.
    deadline: Option<Instant>,
}

impl Server {
    pub(super) const fn new(target: Target) -> Self {
        Self { target, phase: Phase::Waiting(Instant::ORIGIN), wait: FIRST_WAIT, failure: None }
    }

    const fn talk(&self) -> Option<&Talk> {
        if let Phase::Talking(talk) = &self.phase { Some(talk) } else { None }
    }

    pub(super) fn session(&self) -> Option<SessionHandle> {
        Some(self.talk()?.session)
    }

    pub(super) fn outbox(&self) -> Option<SendFlowHandle> {
        Some(self.talk()?.outbox)
    }

    pub(super) fn inbox(&self) -> Option<RecvFlowHandle> {
        self.talk()?.inbox
    }

    pub(super) fn is_registered(&self) -> bool {
        self.talk().is_some_and(|talk| talk.registered.is_some())
    }

    pub(super) const fn has_left(&self) -> bool {
        matches!(self.phase, Phase::Left)
    }

    pub(super) const fn next_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Waiting(at) => Some(*at),
            Phase::Talking(talk) => talk.deadline,
            Phase::Left => None,
        }
    }

    /// Ways to the server, for hellos to those that it knows.
    pub(super) fn paths(&self, endpoint: &Endpoint) -> alloc::vec::Vec<(Path, Duration)> {
        match self.path(endpoint) {
            Some(path) => alloc::vec![(path, Duration::ZERO)],
            None => self.target.candidates.clone(),
        }
    }

    /// The way to the server, while there is a session.
    pub(super) fn path(&self, endpoint: &Endpoint) -> Option<Path> {
        let path = endpoint.session(self.session()?)?.path()?;
        Some(path.with_local(None))
    }

    /// The server has answered the flow with one of its own.
    pub(super) fn answered(&mut self, flow: RecvFlowHandle) {
        if let Phase::Talking(talk) = &mut self.phase {
            talk.inbox = Some(flow);
        }
    }

    /// The server has said something. True if that is the first time in this session.
    pub(super) fn heard(&mut self, now: Instant) -> bool {
        let Phase::Talking(talk) = &mut self.phase else { return false };
        talk.deadline = None;
        self.failure = None;
        let first = talk.registered.is_none();
        talk.registered.get_or_insert(now);
        first
    }

    /// Something is wanted: a server that waits for its next attempt is tried a second after the last one.
    pub(super) fn hurry(&mut self, now: Instant) {
        if let Phase::Waiting(at) = &mut self.phase {
            *at = (*at).min(now + FIRST_WAIT);
        }
    }
}

impl Guest {
    /// Does what is due.
    pub(super) fn drive_server(&mut self, now: Instant, endpoint: &mut Endpoint) {
        match &self.server.phase {
            Phase::Waiting(at) if *at <= now => self.open_server(now, endpoint),
            Phase::Talking(talk) if talk.deadline.is_some_and(|at| at <= now) => {
                let failure = match talk.registered {
                    Some(_) => Failure::ServerNotReached(OpenFailure::TimedOut),
                    None => Failure::NoRendezvous,
                };
                // The next attempt is made at once: what is lost is the server's memory of the session, as a rule.
                let at_once = talk.registered.is_some();
                self.lose_server(now, endpoint, failure, at_once);
                if at_once {
                    self.drive_server(now, endpoint);
                }
            }
            Phase::Waiting(_) | Phase::Talking(_) | Phase::Left => {}
        }
    }

    fn open_server(&mut self, now: Instant, endpoint: &mut Endpoint) {
        match endpoint.open(now, self.server.target.clone()) {
            Ok(session) => {
                if let Some(mut session) = endpoint.session_mut(now, session) {
                    session.give_up_at(now + self.options.server_timeout);
                }
                self.talk_over(now, endpoint, session, true);
            }
            Err(error) => self.server_lost(now, endpoint, Failure::NotBegun(error)),
        }
    }

    /// Opens flows in a session with the server, and asks for all that is wanted.
    fn talk_over(&mut self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle, is_own: bool) {
        let opened =
            endpoint.session_mut(now, session).map(|mut session| session.open_flow(FlowOptions::new(METADATA)));
        let Some(Ok(outbox)) = opened else { return self.server_lost(now, endpoint, Failure::TooMany) };
        let talk = Talk { session, outbox, inbox: None, is_own, registered: None, deadline: None };
        self.server.phase = Phase::Talking(talk);
        if !self.options.policy.is_direct() {
            // First of all: peers are to learn no address, from the server or from this end.
            let message = self.client.introduction(false);
            self.write(now, endpoint, message);
            endpoint.session_mut(now, session).into_iter().for_each(|mut session| session.ignore_forwarded_hellos());
        }
        if self.options.policy.relays() {
            // Without it the server refuses circuits, and says so.
            let _ = self.relay.join(now, endpoint, session);
        }
        let is_open = !is_own;
        if is_open {
            self.server_opened(now, endpoint);
        }
        self.ask_again(now, endpoint);
    }

    /// The session with the server is open.
    pub(super) fn server_opened(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if let Phase::Talking(talk) = &mut self.server.phase {
            talk.deadline = talk.registered.is_none().then(|| now + self.options.server_timeout);
            if let Some(mut session) = endpoint.session_mut(now, talk.session) {
                session.watch();
            }
        }
    }

    /// Whether the server answers has changed.
    pub(super) fn server_updated(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let Phase::Talking(talk) = &mut self.server.phase else { return };
        let struggles = endpoint.session(talk.session).is_some_and(|session| session.is_struggling());
        if talk.registered.is_some() {
            talk.deadline = struggles.then(|| talk.deadline.unwrap_or(now + SILENCE));
        }
        if let Some(mut session) = endpoint.session_mut(now, talk.session) {
            session.watch();
        }
    }

    /// A session that was to open with the server did not.
    pub(super) fn server_not_opened(&mut self, now: Instant, endpoint: &mut Endpoint, reason: OpenFailure) {
        if let OpenFailure::Duplicate { existing } = reason {
            self.talk_over(now, endpoint, existing, false);
        } else {
            self.server_lost(now, endpoint, Failure::ServerNotReached(reason));
        }
    }

    /// There is no talk with the server any more. It is begun again after a while.
    pub(super) fn server_lost(&mut self, now: Instant, endpoint: &mut Endpoint, failure: Failure) {
        self.lose_server(now, endpoint, failure, false);
    }

    fn lose_server(&mut self, now: Instant, endpoint: &mut Endpoint, failure: Failure, at_once: bool) {
        let was = core::mem::replace(&mut self.server.phase, Phase::Left);
        let since = if let Phase::Talking(talk) = &was { talk.registered } else { None };
        self.end_talk(now, endpoint, was, CloseMode::Abrupt);
        if since.is_some_and(|since| now.saturating_duration_since(since) >= LASTED) {
            self.server.wait = FIRST_WAIT;
        }
        let retry = if at_once { Duration::ZERO } else { self.next_wait() };
        self.server.phase = Phase::Waiting(now + retry);
        self.server.failure = Some(failure);
        self.events.push(GuestEvent::ServerLost { failure, retry });
        self.forget_talk();
        if since.is_none() {
            // What is wanted waits for one attempt, and no longer.
            self.fail_all(now, endpoint, failure);
        }
    }

    /// The wait before the next attempt. The one after that is twice as long.
    fn next_wait(&mut self) -> Duration {
        // Between half of it and all: those who lose a server at one moment are not to come back at one moment.
        let part = self.rng.next_u32() % 1_024;
        let half = self.server.wait / 2;
        self.server.wait = (self.server.wait * 2).min(LONGEST_WAIT);
        half + half * part / 1_024
    }

    /// Leaves the server. Sessions with peers stay, but for those over the relay: nothing gets through any more.
    pub fn leave(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let was = core::mem::replace(&mut self.server.phase, Phase::Left);
        self.end_talk(now, endpoint, was, CloseMode::Orderly);
        self.forget_talk();
        self.fail_all(now, endpoint, Failure::Left);
        self.numbers.clear();
    }

    /// Ends all that is of the guest's in the session with the server, and the session if that is its own.
    fn end_talk(&mut self, now: Instant, endpoint: &mut Endpoint, phase: Phase, mode: CloseMode) {
        let Phase::Talking(talk) = phase else { return };
        if let Some(mut flow) = endpoint.send_flow_mut(now, talk.outbox) {
            flow.close();
        }
        self.relay.part(now, endpoint);
        if let Some(mut session) = endpoint.session_mut(now, talk.session).filter(|_| talk.is_own) {
            session.close(mode);
        }
    }
}
