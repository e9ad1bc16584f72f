//! Open sessions with peers: what kind of path each has, and a circuit for those whose path has failed.

use core::time::Duration;

use rtmfp_core::{Bytes, Endpoint, Instant, Role, SessionHandle};

use super::attempts::rule;
use super::wishes::Asked;
use super::{Guest, GuestEvent};
use crate::path::{PathKind, PathPolicy};

/// Sessions that are followed. Others go on as well as they can by themselves.
const MAX_SESSIONS: usize = 4_096;
/// How long a session gets no answers before its path is taken for failed.
const SILENCE: Duration = Duration::from_secs(1);
/// Between two attempts to reach the far end over the relay: at first, and at last.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(8);

/// An open session with a peer.
#[derive(Debug)]
pub(super) struct Tracked {
    discriminator: Bytes,
    policy: PathPolicy,
    kind: PathKind,
    /// It came of this guest's server. Of others only the kind of path is told: the server hears nothing of them.
    is_own: bool,
    /// The last circuit to the peer.
    circuit: Option<u64>,
    /// It gets no answers: when to do something about it.
    due: Option<Instant>,
    wait: Duration,
}

impl Tracked {
    pub(super) fn forget_circuit(&mut self) {
        self.circuit = None;
    }
}

impl Guest {
    /// The kind of a session's path, as it was told last. `None` if it is not followed.
    #[must_use]
    pub fn path_kind(&self, session: SessionHandle) -> Option<PathKind> {
        Some(self.sessions.get(&session)?.kind)
    }

    /// A session with a peer is open.
    pub(super) fn track(&mut self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle) {
        let Some(view) = endpoint.session(session) else { return };
        let discriminator: Bytes = view.far_canonical_discriminator().into();
        let Some(path) = view.path() else { return };
        let kind = PathKind::of(&path, &self.own);
        let policy = self.policy_for(&discriminator);
        let is_own = self.is_own_session(endpoint, session, &discriminator);
        if is_own {
            rule(now, endpoint, session, policy);
        }
        let is_of_other = path.interface.is_last_resort() && !self.relay.is_relayed(&path);
        let is_followed = !is_of_other && !endpoint.session(session).is_some_and(|view| view.carries());
        if is_followed && self.sessions.len() < MAX_SESSIONS {
            let discriminator = discriminator.clone();
            let tracked = Tracked { discriminator, policy, kind, is_own, circuit: None, due: None, wait: FIRST_WAIT };
            self.sessions.insert(session, tracked);
            self.events.push(GuestEvent::Path { session, kind });
            self.name_server(now, endpoint, session);
            endpoint.session_mut(now, session).into_iter().for_each(|mut session| session.watch());
        }
        self.attempt_opened(now, endpoint, session, &discriminator, kind);
    }

    /// Whether a session came of this guest: it was asked for, or it goes over the server's relay, or the far end began it
    /// after the server had handed on its hello. Others are those of the application, or of another guest.
    fn is_own_session(&self, endpoint: &Endpoint, session: SessionHandle, discriminator: &[u8]) -> bool {
        let Some(view) = endpoint.session(session) else { return false };
        let Some(path) = view.path().filter(|_| !view.carries()) else { return false };
        let is_called = view.role() == Role::Responder;
        let is_asked_for = self.has_attempt(session) || is_called && self.wants_to_reach(discriminator);
        let server = self.server.path(endpoint).filter(|_| is_called);
        let mut forwarders = endpoint.forwarders_of(path.remote.ip());
        is_asked_for
            || self.relay.is_relayed(&path)
            || server.is_some_and(|server| forwarders.any(|via| via.with_local(None) == server))
    }

    /// The server can introduce the two again.
    fn name_server(&self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle) {
        let is_direct = self.sessions.get(&session).is_some_and(|tracked| tracked.is_own && tracked.policy.is_direct());
        let Some(path) = self.server.path(endpoint).filter(|_| is_direct) else { return };
        endpoint.session_mut(now, session).into_iter().for_each(|mut session| session.add_introducer(path));
    }

    /// A session is over.
    pub(super) fn untrack(&mut self, session: SessionHandle) {
        if let Some(due) = self.sessions.remove(&session).and_then(|tracked| tracked.due) {
            self.due.remove(&(due, session));
        }
    }

    /// Something about a session has changed, perhaps its path.
    pub(super) fn review(&mut self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle) {
        let Some(tracked) = self.sessions.get(&session) else { return };
        let Some(view) = endpoint.session(session) else { return };
        let Some(path) = view.path() else { return };
        let (struggles, before) = (view.is_struggling(), tracked.due);
        if struggles {
            self.set_due(session, before.or(Some(now + SILENCE)));
        } else {
            self.set_due(session, None);
            let kind = PathKind::of(&path, &self.own);
            if let Some(tracked) = self.sessions.get_mut(&session) {
                tracked.wait = FIRST_WAIT;
            }
            self.set_kind(session, kind);
        }
        endpoint.session_mut(now, session).into_iter().for_each(|mut session| session.watch());
    }

    fn set_kind(&mut self, session: SessionHandle, kind: PathKind) {
        let Some(tracked) = self.sessions.get_mut(&session) else { return };
        if core::mem::replace(&mut tracked.kind, kind) != kind {
            self.events.push(GuestEvent::Path { session, kind });
        }
    }

    fn set_due(&mut self, session: SessionHandle, due: Option<Instant>) {
        let Some(tracked) = self.sessions.get_mut(&session) else { return };
        if let Some(before) = core::mem::replace(&mut tracked.due, due) {
            self.due.remove(&(before, session));
        }
        self.due.extend(due.map(|due| (due, session)));
    }

    /// Looks for another path for sessions that get no answers.
    pub(super) fn search(&mut self, now: Instant, endpoint: &mut Endpoint) {
        while let Some((_, session)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            self.set_kind(session, PathKind::Searching);
            let Some(tracked) = self.sessions.get_mut(&session) else { return };
            let (wait, circuit) = (tracked.wait, tracked.circuit);
            tracked.wait = (wait * 2).min(LONGEST_WAIT);
            self.set_due(session, Some(now + wait));
            self.renew(now, session);
            if let Some(circuit) = circuit {
                self.try_circuit(now, endpoint, session, circuit);
            }
            // If the server does not answer either, it is time to notice.
            let server = self.server.session().and_then(|server| endpoint.session_mut(now, server));
            server.into_iter().for_each(|mut server| server.ping());
        }
    }

    pub(super) fn next_search(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Asks for a circuit to a session's far end.
    fn renew(&mut self, now: Instant, session: SessionHandle) {
        if self.sessions.get(&session).is_some_and(|tracked| tracked.is_own && tracked.policy.relays()) {
            self.wishes.want(Asked::Renewal(session), now);
        }
    }

    /// To whom a session needs a circuit, if it still does.
    pub(super) fn needs_renewal(&self, endpoint: &Endpoint, session: SessionHandle) -> Option<Bytes> {
        let view = endpoint.session(session)?;
        let is_relayed = view.path().is_some_and(|path| self.relay.is_relayed(&path));
        let tracked = self.sessions.get(&session).filter(|_| is_relayed || view.is_struggling())?;
        Some(tracked.discriminator.clone())
    }

    /// Whether a session that looks for a path may go over this circuit.
    pub(super) fn is_searching_over(&self, endpoint: &Endpoint, circuit: u64) -> bool {
        let mut with_it = self.sessions.iter().filter(|(_, tracked)| tracked.circuit == Some(circuit));
        with_it.any(|(session, _)| endpoint.session(*session).is_some_and(|view| view.is_struggling()))
    }

    /// A circuit is not there any more.
    pub(super) fn forget_circuit(&mut self, circuit: u64) {
        let with_it = self.sessions.values_mut().filter(|tracked| tracked.circuit == Some(circuit));
        with_it.for_each(Tracked::forget_circuit);
    }

    /// A circuit leads to the far end of a session. It is tried if the session needs one.
    pub(super) fn has_circuit(&mut self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle, circuit: u64) {
        let Some(tracked) = self.sessions.get_mut(&session) else { return };
        tracked.circuit = Some(circuit);
        self.try_circuit(now, endpoint, session, circuit);
    }

    /// A peer has opened a circuit to this end.
    pub(super) fn has_circuit_from(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        discriminator: &[u8],
        circuit: u64,
    ) {
        let session = self.sessions.iter().find(|(_, tracked)| tracked.discriminator == discriminator);
        if let Some(session) = session.map(|(session, _)| *session) {
            // The server knows of the two already.
            self.sessions.get_mut(&session).into_iter().for_each(|tracked| tracked.is_own = true);
            self.has_circuit(now, endpoint, session, circuit);
        }
    }

    fn try_circuit(&self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle, circuit: u64) {
        let Some(view) = endpoint.session(session) else { return };
        let path = self.relay.path(circuit);
        let on_another = view.path().is_some_and(|own| self.relay.is_relayed(&own) && !own.matches(&path));
        let needs_it = view.is_struggling() || on_another;
        if let Some(mut view) = endpoint.session_mut(now, session).filter(|_| needs_it) {
            view.probe(path);
            // Whether the old path still answers.
            view.ping();
        }
    }

    /// The server does not pass datagrams on over this circuit any more.
    pub(super) fn circuit_closed(&mut self, now: Instant, endpoint: &mut Endpoint, circuit: u64) {
        let path = self.relay.path(circuit);
        let is_on = |session: &SessionHandle| {
            let view = endpoint.session(*session);
            view.and_then(|view| view.path()).is_some_and(|own| own.matches(&path))
        };
        let left: alloc::vec::Vec<SessionHandle> = self.sessions.keys().copied().filter(is_on).collect();
        self.forget_circuit(circuit);
        left.into_iter().for_each(|session| self.renew(now, session));
    }

    /// The server is there, perhaps another than before: it can introduce, and sessions over its relay need new circuits.
    pub(super) fn rely_on_server(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let sessions: alloc::vec::Vec<SessionHandle> = self.sessions.keys().copied().collect();
        for session in sessions {
            self.name_server(now, endpoint, session);
            let Some(view) = endpoint.session(session) else { continue };
            let is_relayed = view.path().is_some_and(|path| self.relay.is_relayed(&path));
            if is_relayed || view.is_struggling() {
                self.renew(now, session);
            }
        }
        self.ask_due(now, endpoint);
    }
}
