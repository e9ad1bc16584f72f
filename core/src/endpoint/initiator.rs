//! Startup as initiator (RFC 7016 §3.5.1.1.1): hellos to every candidate, then keying with the first who answers.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;

use super::Target;
use super::backoff::HelloBackoff;
use super::entry::SessionEntry;
use super::env::Env;
use super::glare::PATIENCE;
use super::handshake::Handshake;
use super::index::identity_of;
use super::introduce::is_reachable;
use super::keying::Keying;
use super::reintroduce::MAX_INTRODUCERS;
use super::shared::Shared;
use super::sources::network_of;
use super::startup::StartupPacket;
use super::table::Tag;
use crate::config::EndpointConfig;
use crate::error::DropReason;
use crate::event::OpenFailure;
use crate::params::{CERTIFICATE_MAX, HELLO_FIRST_INTERVAL, REDIRECT_THRESHOLD};
use crate::profile::{Initiation, KeyingError};
use crate::session::Ending;
use crate::time::Instant;
use crate::trace::{KeyAgreementStep, TraceEvent};
use crate::transmit::Path;
use crate::wire::{InitiatorHello, Redirect, ResponderHello};

/// The longest Endpoint Discriminator that fits a hello in any path's datagram.
pub(super) const MAX_DISCRIMINATOR: usize = 1_024;
/// After an answer that cannot be combined, how long a better one is waited for: a forged one must not end the
/// opening, and a peer that does not fit should not be waited for until the ultimate timeout.
const FAILED_KEYING_PATIENCE: Duration = Duration::from_secs(3);
/// The longest cookie that is echoed, so that a responder cannot have large packets sent, again and again, to an
/// address that is not its own.
pub(super) const MAX_COOKIE: usize = 1_024;

/// Candidates at one IPv4 address, or in one /64 network of IPv6, that redirects may add: whoever redirects may name
/// somebody who has nothing to do with it.
const MAX_PER_HOST: usize = 3;

/// An address that hellos go to.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) path: Path,
    attempts: HelloBackoff,
    /// A redirect named it: it may be anybody's.
    is_named: bool,
    /// The system refused to send the last hello.
    unsent: bool,
}

/// A session that is being opened from this end.
#[derive(Debug)]
pub(super) struct Opening {
    discriminator: Bytes,
    pub(super) tag: Tag,
    /// The ultimate open timeout.
    ultimate: Instant,
    /// When to give up: then, or earlier after an answer that was refused.
    deadline: Instant,
    pub(super) candidates: Vec<Candidate>,
    /// The last hello that the system refused to send: where to, and its error code.
    pub(super) not_sent: Option<(SocketAddr, i32)>,
    max_candidates: usize,
    /// The far end that was chosen: S_KEYING_SENT.
    pub(super) keying: Option<Box<Keying>>,
    /// Who answered with a Redirect, or had the hello answered by somebody else.
    pub(super) introducers: Vec<Path>,
    /// Why to say it failed, if it does.
    failure: OpenFailure,
    /// When this end first insisted on its own opening in glare (§3.5.1.3).
    pub(super) glare_since: Option<Instant>,
    /// A session that claims to be of the far end was asked for its keys.
    pub(super) claim_asked: bool,
}

impl Opening {
    pub(super) fn new(target: Target, tag: Tag, now: Instant, config: &EndpointConfig) -> Self {
        let mut opening = Self {
            discriminator: target.discriminator,
            tag,
            ultimate: now + config.open_timeout,
            deadline: now + config.open_timeout,
            candidates: Vec::new(),
            not_sent: None,
            max_candidates: config.max_candidates.min(REDIRECT_THRESHOLD),
            keying: None,
            introducers: Vec::new(),
            failure: OpenFailure::TimedOut,
            glare_since: None,
            claim_asked: false,
        };
        for (path, delay) in target.candidates {
            opening.add_candidate(path, now + delay, false);
        }
        opening
    }

    /// Unless there are enough already, or it is one of them. The system chooses the local address, which may change
    /// with the routes while hellos are sent.
    pub(super) fn add_candidate(&mut self, path: Path, first: Instant, is_named: bool) {
        let path = path.with_local(None);
        let host = |path: Path| network_of(path.remote.ip(), 64);
        let at_host = self.candidates.iter().filter(|known| known.is_named && host(known.path) == host(path));
        let has_room = self.candidates.len() < self.max_candidates && (!is_named || at_host.count() < MAX_PER_HOST);
        if has_room && self.candidates.iter().all(|known| known.path != path) {
            let attempts = HelloBackoff::starting(first, &self.tag);
            self.candidates.push(Candidate { path, attempts, is_named, unsent: false });
        }
    }

    /// Replaces the ultimate open timeout.
    pub(super) fn give_up_at(&mut self, at: Instant) {
        let is_refused = self.deadline < self.ultimate;
        self.ultimate = at;
        self.deadline = if is_refused { self.deadline.min(at) } else { at };
    }

    /// An answer was refused: a better one is waited for, but not long.
    pub(super) fn refused(&mut self, now: Instant, reason: OpenFailure) {
        self.failure = reason;
        self.deadline = self.deadline.min(now + FAILED_KEYING_PATIENCE);
    }

    /// A far end was chosen: what others answered before does not count against it.
    pub(super) fn forget_refusals(&mut self) {
        (self.failure, self.deadline) = (OpenFailure::TimedOut, self.ultimate);
    }

    /// The system refused to send a packet over this path.
    pub(super) fn on_send_error(&mut self, path: Path, os_error: i32) {
        self.not_sent = Some((path.remote, os_error));
        for (candidate, _, unsent) in self.attempts() {
            *unsent |= candidate.matches(&path);
        }
    }

    /// The network changed: what the system refused to send is due. It was never sent, so the intervals of RFC 7016
    /// §3.5.1.1.1 do not hold it up. They do for all else.
    pub(super) fn on_network_change(&mut self, now: Instant) {
        for (_, attempts, unsent) in self.attempts() {
            if core::mem::take(unsent) {
                attempts.next = attempts.next.min(now);
            }
        }
    }

    /// Where to hellos and keyings go, when the next are due, and whether the system refused to send the last.
    fn attempts(&mut self) -> impl Iterator<Item = (Path, &mut HelloBackoff, &mut bool)> {
        let hellos = self.candidates.iter_mut();
        let hellos = hellos.map(|candidate| (candidate.path, &mut candidate.attempts, &mut candidate.unsent));
        let keying = self.keying.iter_mut();
        hellos.chain(keying.map(|keying| (keying.path, &mut keying.attempts, &mut keying.unsent)))
    }

    pub(super) fn next_timeout(&self) -> Instant {
        let next = match &self.keying {
            Some(keying) => Some(keying.attempts.next),
            None => self.candidates.iter().map(|candidate| candidate.attempts.next).min(),
        };
        next.map_or(self.deadline, |next| next.min(self.deadline))
    }

    pub(super) fn discriminator(&self) -> &[u8] {
        &self.discriminator
    }

    /// The certificate of the far end that was chosen.
    pub(super) fn chosen_certificate(&self) -> Option<&[u8]> {
        self.keying.as_ref().map(|keying| &keying.far_certificate[..])
    }

    /// Whether an IIKeying went out so lately that it may still be under way.
    pub(super) fn is_keying_under_way(&self, now: Instant) -> bool {
        self.keying.as_ref().is_some_and(|keying| keying.attempts.sent_within(now, HELLO_FIRST_INTERVAL / 2))
    }

    /// Whether a far end was chosen so lately, or keyed so lately, that it is given time to answer.
    pub(super) fn is_keyed_lately(&self, now: Instant) -> bool {
        let since = self.keying.as_ref().map(|keying| keying.since);
        since.is_some_and(|since| now.saturating_duration_since(since) < PATIENCE) || self.is_keying_under_way(now)
    }

    /// Takes the addresses of a Redirect for candidates.
    fn take_redirect(&mut self, now: Instant, path: Path, redirect: &Redirect<'_>) {
        let mut implied = true;
        for destination in redirect.destinations.iter() {
            implied = false;
            if is_reachable(destination.socket) {
                self.add_candidate(path.with_remote(destination.socket), now, true);
            }
        }
        if implied {
            self.add_candidate(path, now, true); // §2.3.5: an Implied Redirect names its own source
        } else if self.introducers.len() < MAX_INTRODUCERS && self.introducers.iter().all(|one| !one.matches(&path)) {
            self.introducers.push(path.with_local(None));
        }
    }

    /// Every address that the opening is indexed under.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        let chosen = self.keying.as_ref().map(|keying| keying.path.remote);
        self.candidates.iter().map(|candidate| candidate.path.remote).chain(chosen)
    }
}

/// Sending.
impl Opening {
    /// IIKeyings go to the far end that was chosen; before, hellos go to all candidates.
    fn send_due(&mut self, shared: &mut Shared) {
        let now = shared.now;
        let Some(keying) = &mut self.keying else {
            return self.send_hellos(shared, |candidate| candidate.attempts.due(now));
        };
        if !keying.attempts.due(now) {
            return;
        }
        keying.unsent = false;
        if keying.take_credit() {
            shared.startup.push_own(now, keying.packet.clone());
        } else {
            let chosen = keying.path;
            self.ask_again(shared, chosen);
        }
    }

    /// Whoever answered may not be there, so it is sent a hello before it gets more IIKeyings. If it is none of the
    /// candidates, one of them handed the hello on, and all are asked.
    fn ask_again(&mut self, shared: &mut Shared, chosen: Path) {
        let is_candidate = self.candidates.iter().any(|candidate| candidate.path.matches(&chosen));
        self.send_hellos(shared, |candidate| !is_candidate || candidate.path.matches(&chosen));
    }

    fn send_hellos(&mut self, shared: &mut Shared, mut is_asked: impl FnMut(&mut Candidate) -> bool) {
        let hello = InitiatorHello { discriminator: &self.discriminator, tag: &self.tag };
        for candidate in &mut self.candidates {
            let asked = is_asked(candidate);
            let Candidate { path, is_named, .. } = *candidate;
            if asked && (!is_named || shared.probe_limits.take(shared.now, path.remote.ip())) {
                candidate.unsent = false;
                shared.startup.push_own(shared.now, StartupPacket::hello(path, &hello));
            }
        }
    }

    /// Why an opening ends whose time is over.
    const fn reason_to_fail(&self) -> OpenFailure {
        match (self.failure, self.not_sent) {
            (OpenFailure::TimedOut, Some((remote, os_error))) => OpenFailure::NotSent { remote, os_error },
            (failure, _) => failure,
        }
    }
}

impl SessionEntry {
    /// Sends what startup has due, or gives up.
    pub(super) fn drive_opening(&mut self, shared: &mut Shared) {
        let Some(opening) = self.opening_mut() else { return };
        if opening.deadline <= shared.now {
            let reason = opening.reason_to_fail();
            self.session.end(&mut shared.context(), Ending::Failed(reason));
        } else {
            opening.send_due(shared);
        }
    }

    /// An answer could not be used.
    pub(super) fn refuse_answer(&mut self, now: Instant, reason: OpenFailure) {
        if let Some(opening) = self.opening_mut() {
            opening.refused(now, reason);
        }
    }
}

impl Env<'_> {
    /// Whether an opening session is still in S_IHELLO_SENT.
    pub(super) fn awaits_hello(&self, slot: u32) -> bool {
        let opening = self.table.get(slot).and_then(SessionEntry::opening);
        opening.is_some_and(|opening| opening.keying.is_none())
    }
}

impl Handshake {
    /// §3.5.1.1.1: adds the addresses of a Redirect to the candidates of the opening session that it echoes.
    pub(super) fn on_redirect(
        &mut self,
        env: &mut Env<'_>,
        path: Path,
        redirect: &Redirect<'_>,
    ) -> Result<(), DropReason> {
        let slot = env.table.by_tag(redirect.tag_echo)?;
        let Some(opening) = env.table.get(slot).and_then(SessionEntry::opening) else {
            return env.on_reintroduction_redirect(slot, path, redirect);
        };
        if opening.keying.is_some() {
            return Err(DropReason::Unexpected);
        }
        env.with(slot, |entry, shared| {
            if let Some(opening) = entry.opening_mut() {
                opening.take_redirect(shared.now, path, redirect);
            }
            entry.drive_opening(shared);
        });
        Ok(())
    }

    /// §3.5.1.1.1: the first acceptable RHello chooses the far end.
    pub(super) fn on_responder_hello(
        &mut self,
        env: &mut Env<'_>,
        path: Path,
        hello: &ResponderHello<'_>,
    ) -> Result<(), DropReason> {
        let slot = env.table.by_tag(hello.tag_echo)?;
        let profile = &env.shared.profile;
        let entry = env.table.get(slot).ok_or(DropReason::Unexpected)?;
        let Some(opening) = entry.opening() else { return env.on_reintroduction_hello(slot, path, hello) };
        if opening.keying.is_some() {
            return env.on_repeated_hello(slot, path, hello);
        }
        if !profile.is_authentic(hello.certificate) || !profile.selects(&opening.discriminator, hello.certificate) {
            return Err(DropReason::NotAuthentic);
        }
        if hello.cookie.len() < profile.min_cookie() {
            return Err(DropReason::Malformed);
        }
        if hello.cookie.len() > MAX_COOKIE || hello.certificate.len() > CERTIFICATE_MAX {
            return Err(DropReason::OverLimit);
        }
        if !profile.accepts(&opening.discriminator, hello.certificate) {
            // The owner of the certificate could not be told from somebody who has copied or replaced it.
            env.with(slot, |entry, shared| entry.refuse_answer(shared.now, OpenFailure::CertificateRefused));
            return Err(DropReason::NotAuthentic);
        }
        let (session, identity) = (entry.session.handle(), identity_of(profile.as_ref(), hello.certificate));
        if env.end_if_duplicate(slot, path, identity) || env.question_claimant(slot, path, identity) {
            return Ok(());
        }
        self.agreements.allow_initiation(env, session)?;
        self.initiate(env, session, path, hello)
    }

    /// The initiator's half is there, for a session that is still in S_IHELLO_SENT.
    pub(super) fn on_initiated(
        &mut self,
        env: &mut Env<'_>,
        slot: u32,
        path: Path,
        hello: &ResponderHello<'_>,
        initiation: Result<Initiation, KeyingError>,
    ) -> Result<(), DropReason> {
        let (session, remote) = (env.table.get(slot).map(SessionEntry::handle), Some(path.remote));
        env.shared.trace(session, || TraceEvent::key_agreement(KeyAgreementStep::Initiate, remote, &initiation));
        let initiation = match initiation {
            Ok(initiation) => initiation,
            Err(error) => {
                // Not an acceptable RHello: another of the candidates may give one.
                env.with(slot, |entry, shared| entry.refuse_answer(shared.now, OpenFailure::KeyAgreement));
                return Err(DropReason::from(error));
            }
        };
        let identity = identity_of(env.shared.profile.as_ref(), hello.certificate);
        // While it was computed elsewhere, another session may have got ahead.
        if !env.end_if_duplicate(slot, path, identity) {
            env.begin_keying(slot, path, hello, initiation, identity);
        }
        Ok(())
    }
}
