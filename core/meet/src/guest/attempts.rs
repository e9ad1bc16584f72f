//! Connecting to peers: the server introduces, and the relay begins a little later.

use core::time::Duration;

use rtmfp_core::{Bytes, CloseMode, Endpoint, Instant, OpenFailure, SessionHandle, Target};

use super::wishes::Asked;
use super::{Guest, GuestEvent, Progress, Ticket};
use crate::failure::{Failure, RelayOutcome};
use crate::message::Refusal;
use crate::path::{PathKind, PathPolicy};

/// Connections that are being made at once.
pub(super) const MAX_ATTEMPTS: usize = 64;
/// After the far end has prevailed in glare (RFC 7016 §3.5.1.3), how long its session may take to open.
const GLARE: Duration = Duration::from_secs(5);
/// How long a peer that has registered may take to join the relay.
const JOINS: Duration = Duration::from_secs(2);

/// A connection that is being made.
#[derive(Debug)]
pub(super) struct Attempt {
    discriminator: Bytes,
    policy: PathPolicy,
    session: Option<SessionHandle>,
    /// The circuit to the peer.
    circuit: Option<u64>,
    /// The server has said that the peer is there.
    is_known: bool,
    relay: RelayOutcome,
    /// A circuit was asked for once more, as the peer had not joined the relay.
    asked_twice: bool,
    /// Why the server does not say whether the peer is there.
    refusal: Option<Failure>,
    deadline: Instant,
}

impl Attempt {
    pub(super) fn discriminator(&self) -> &[u8] {
        &self.discriminator
    }
}

impl Guest {
    /// Connects to a peer, whose Canonical Endpoint Discriminator this is: through the server, over the best path that
    /// the policy allows. [`Connected`](GuestEvent::Connected) or [`Failed`](GuestEvent::Failed) follows. At most 64 are
    /// tried at once.
    pub fn connect(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        discriminator: impl Into<Bytes>,
        policy: PathPolicy,
    ) -> Ticket {
        let (ticket, discriminator) = (self.ticket(), discriminator.into());
        if let Some(failure) = self.cannot_begin(self.attempts.len() >= MAX_ATTEMPTS) {
            self.events.push(GuestEvent::Failed { ticket, failure });
            return ticket;
        }
        if let Some(session) = endpoint.session_named(&discriminator) {
            self.met_before(endpoint, ticket, session, policy);
            return ticket;
        }
        let relay = if policy.relays() { RelayOutcome::Unknown } else { RelayOutcome::NotAllowed };
        let deadline = now + self.options.connect_timeout;
        let (is_known, asked_twice, session, circuit, refusal) = (false, false, None, None, None);
        let attempt =
            Attempt { discriminator, policy, session, circuit, is_known, relay, asked_twice, refusal, deadline };
        self.attempts.insert(ticket, attempt);
        self.server.hurry(now);
        self.ask_for_peer(now, ticket);
        self.ask_due(now, endpoint);
        if policy.is_direct() {
            self.open_attempt(now, endpoint, ticket, None);
        }
        ticket
    }

    fn met_before(&mut self, endpoint: &Endpoint, ticket: Ticket, session: SessionHandle, policy: PathPolicy) {
        let kind = endpoint.session(session).and_then(|session| session.path());
        let allowed = kind.is_some_and(|path| policy.allows(PathKind::of(&path, &self.own)));
        self.events.push(if allowed {
            GuestEvent::Connected { ticket, session }
        } else {
            GuestEvent::Failed { ticket, failure: Failure::OtherPath }
        });
    }

    /// Asks for all peers in a new session with the server, whose circuits are others.
    pub(super) fn ask_for_peers(&mut self, now: Instant) {
        for attempt in self.attempts.values_mut().filter(|attempt| attempt.policy.relays()) {
            (attempt.relay, attempt.asked_twice, attempt.circuit) = (RelayOutcome::Unknown, false, None);
        }
        let tickets: alloc::vec::Vec<Ticket> = self.attempts.keys().copied().collect();
        tickets.into_iter().for_each(|ticket| self.ask_for_peer(now, ticket));
    }

    /// Asks the server for a circuit, or else whether the peer is there.
    fn ask_for_peer(&mut self, now: Instant, ticket: Ticket) {
        let Some(attempt) = self.attempts.get(&ticket) else { return };
        let relays = attempt.relay == RelayOutcome::Unknown;
        self.wishes.want(if relays { Asked::Circuit(ticket) } else { Asked::Peer(ticket) }, now);
    }

    /// Begins a session over the circuit, or else through the server as an introducer.
    fn open_attempt(&mut self, now: Instant, endpoint: &mut Endpoint, ticket: Ticket, circuit: Option<u64>) {
        let Some(attempt) = self.attempts.get_mut(&ticket) else { return };
        let candidates = match circuit {
            Some(circuit) => alloc::vec![(self.relay.path(circuit), Duration::ZERO)],
            None => self.server.paths(endpoint),
        };
        let target = Target { discriminator: attempt.discriminator.clone(), candidates };
        match endpoint.open(now, target) {
            Ok(handle) => {
                attempt.session = Some(handle);
                self.events.push(GuestEvent::Progress { ticket, progress: Progress::Opening(handle) });
                if let Some(mut session) = endpoint.session_mut(now, handle) {
                    session.give_up_at(attempt.deadline);
                }
                rule(now, endpoint, handle, attempt.policy);
            }
            Err(error) => self.attempt_failed(now, endpoint, ticket, Failure::NotBegun(error)),
        }
    }

    /// The server has opened a circuit to the peer.
    pub(super) fn attempt_has_circuit(&mut self, now: Instant, endpoint: &mut Endpoint, ticket: Ticket, circuit: u64) {
        self.attempt_is_known(now, ticket);
        let Some(attempt) = self.attempts.get_mut(&ticket) else { return };
        (attempt.relay, attempt.circuit) = (RelayOutcome::Silent, Some(circuit));
        self.events.push(GuestEvent::Progress { ticket, progress: Progress::Circuit });
        let path = self.relay.path(circuit);
        match attempt.session.and_then(|session| endpoint.session_mut(now, session)) {
            Some(mut session) => session.add_candidate(path, self.options.head_start),
            None if !attempt.policy.is_direct() => self.open_attempt(now, endpoint, ticket, Some(circuit)),
            None => {}
        }
    }

    /// The server has found the peer.
    pub(super) fn attempt_is_known(&mut self, now: Instant, ticket: Ticket) {
        let Some(attempt) = self.attempts.get_mut(&ticket) else { return };
        if !core::mem::replace(&mut attempt.is_known, true) {
            self.events.push(GuestEvent::Progress { ticket, progress: Progress::Known });
        }
        // A peer that has just registered may not have joined the relay yet: flows are not ordered.
        if attempt.relay == RelayOutcome::NotJoined && !core::mem::replace(&mut attempt.asked_twice, true) {
            self.wishes.want(Asked::Circuit(ticket), now + JOINS);
        }
    }

    /// The server does not say whether the peer is there, or says that it is not.
    pub(super) fn attempt_refused(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        ticket: Ticket,
        failure: Failure,
        again: Option<Instant>,
    ) {
        let Some(attempt) = self.attempts.get_mut(&ticket) else { return };
        match again {
            Some(at) => {
                attempt.refusal = Some(failure);
                self.wishes.want(Asked::Peer(ticket), at);
            }
            None => self.attempt_failed(now, endpoint, ticket, failure),
        }
    }

    /// The server opens no circuit, or not yet. Whether the peer is there is another question: it may be reached directly.
    pub(super) fn attempt_not_relayed(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        ticket: Ticket,
        failure: Failure,
        again: Option<Instant>,
    ) {
        let Some(attempt) = self.attempts.get_mut(&ticket) else { return };
        let reason = if let Failure::Refused { reason, .. } = failure { Some(reason) } else { None };
        attempt.relay = reason.map_or(RelayOutcome::NotJoined, RelayOutcome::Refused);
        let progress = reason.map_or(Progress::NotJoined, Progress::NoCircuit);
        self.events.push(GuestEvent::Progress { ticket, progress });
        let again = again.filter(|at| *at < attempt.deadline);
        let (is_direct, is_known) = (attempt.policy.is_direct(), attempt.is_known);
        if let Some(at) = again {
            attempt.refusal = Some(failure);
            self.wishes.want(Asked::Circuit(ticket), at);
        } else if !is_direct {
            // What is missing is a token, and no relay.
            let reason = reason.filter(|reason| *reason != Refusal::NoToken);
            let failure = reason.map_or(failure, |reason| Failure::RelayRefused { reason });
            return self.attempt_failed(now, endpoint, ticket, failure);
        }
        if is_direct && !is_known {
            self.wishes.want(Asked::Peer(ticket), now);
        }
    }

    /// Whether somebody who is asked for has this circuit, or may have it.
    pub(super) fn attempts_over(&self, circuit: u64) -> bool {
        self.attempts.values().any(|attempt| attempt.circuit == Some(circuit))
    }

    /// Ends an attempt.
    pub(super) fn attempt_failed(&mut self, now: Instant, endpoint: &mut Endpoint, ticket: Ticket, failure: Failure) {
        if self.end_attempt(now, endpoint, ticket) {
            self.events.push(GuestEvent::Failed { ticket, failure });
        }
    }

    /// What a session with this peer may go over.
    pub(super) fn policy_for(&self, discriminator: &[u8]) -> PathPolicy {
        let wanted = self.attempts.values().find(|attempt| attempt.discriminator == discriminator);
        wanted.map_or(self.options.policy, |attempt| attempt.policy)
    }

    /// Whether a session was begun for somebody who is asked for.
    pub(super) fn has_attempt(&self, session: SessionHandle) -> bool {
        self.attempts.values().any(|attempt| attempt.session == Some(session))
    }

    /// Whether this peer is asked for.
    pub(super) fn wants_to_reach(&self, discriminator: &[u8]) -> bool {
        self.attempts.values().any(|attempt| attempt.discriminator == discriminator)
    }

    /// Nobody waits for it any more. Whether there was one.
    pub(super) fn end_attempt(&mut self, now: Instant, endpoint: &mut Endpoint, ticket: Ticket) -> bool {
        let Some(attempt) = self.attempts.remove(&ticket) else { return false };
        self.forget(Asked::Peer(ticket));
        // A circuit that was asked for and comes yet is closed then.
        self.wishes.withdraw(Asked::Circuit(ticket));
        if let Some(mut session) = attempt.session.and_then(|session| endpoint.session_mut(now, session)) {
            session.close(CloseMode::Abrupt);
        }
        true
    }

    /// A session is open: perhaps one that was wanted, whichever end began it.
    pub(super) fn attempt_opened(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        session: SessionHandle,
        discriminator: &[u8],
        kind: PathKind,
    ) {
        let wanted = self.attempts.iter().filter(|(_, one)| one.discriminator == discriminator);
        let wanted: alloc::vec::Vec<Ticket> = wanted.map(|(ticket, _)| *ticket).collect();
        for ticket in wanted {
            let Some(mut attempt) = self.attempts.remove(&ticket) else { continue };
            if attempt.policy.allows(kind) {
                self.events.push(GuestEvent::Connected { ticket, session });
                continue;
            }
            let failure = if attempt.policy == PathPolicy::LanOnly { Failure::NotOnLan } else { Failure::OtherPath };
            // A session that the far end has begun may be of use to others.
            attempt.session = attempt.session.filter(|own| *own == session);
            self.attempts.insert(ticket, attempt);
            self.attempt_failed(now, endpoint, ticket, failure);
        }
    }

    /// A session that was to open did not.
    pub(super) fn attempt_not_opened(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        session: SessionHandle,
        reason: OpenFailure,
    ) {
        let Some((&ticket, attempt)) = self.attempts.iter_mut().find(|(_, one)| one.session == Some(session)) else {
            return;
        };
        attempt.session = None;
        match reason {
            OpenFailure::Duplicate { existing } => {
                let policy = attempt.policy;
                self.attempts.remove(&ticket);
                self.met_before(endpoint, ticket, existing, policy);
            }
            OpenFailure::Glare => attempt.deadline = attempt.deadline.min(now + GLARE),
            OpenFailure::TimedOut | OpenFailure::NotSent { .. } | OpenFailure::Cancelled => {
                let failure = self.silence(ticket);
                self.attempt_failed(now, endpoint, ticket, failure);
            }
            OpenFailure::KeyAgreement | OpenFailure::CertificateRefused | _ => {
                self.attempt_failed(now, endpoint, ticket, Failure::NotOpened(reason));
            }
        }
    }

    /// Why nobody has answered: the first step that did not succeed.
    fn silence(&self, ticket: Ticket) -> Failure {
        let refusal = self.attempts.get(&ticket).and_then(|attempt| attempt.refusal);
        match self.attempts.get(&ticket) {
            Some(attempt) if attempt.is_known => Failure::NoAnswer { relay: attempt.relay },
            _ => match self.server.failure {
                Some(failure) => failure,
                None if !self.server.is_registered() => Failure::ServerNotReached(OpenFailure::TimedOut),
                None => refusal.unwrap_or(Failure::NoAnswer { relay: RelayOutcome::Unknown }),
            },
        }
    }

    pub(super) fn expire_attempts(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let due = self.attempts.iter().filter(|(_, attempt)| attempt.deadline <= now);
        let due: alloc::vec::Vec<Ticket> = due.map(|(ticket, _)| *ticket).collect();
        for ticket in due {
            let failure = self.silence(ticket);
            self.attempt_failed(now, endpoint, ticket, failure);
        }
    }

    pub(super) fn next_attempt_timeout(&self) -> Option<Instant> {
        self.attempts.values().map(|attempt| attempt.deadline).min()
    }
}

/// Keeps a session to what a policy allows.
pub(super) fn rule(now: Instant, endpoint: &mut Endpoint, session: SessionHandle, policy: PathPolicy) {
    let Some(mut session) = endpoint.session_mut(now, session) else { return };
    match policy {
        PathPolicy::Any => {}
        PathPolicy::DirectOnly | PathPolicy::LanOnly => session.avoid_last_resort(),
        PathPolicy::RelayOnly => session.stay_on_last_resort(),
    }
}
