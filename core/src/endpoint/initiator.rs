//! Startup as initiator (RFC 7016 §3.5.1.1.1): hellos to every candidate, then keying with the first who answers.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;

use super::attempts::Attempts;
use super::glare::PATIENCE;
use super::index::{Identity, Standing, identity_of};
use super::introduce::is_reachable;
use super::keying::Keying;
use super::limits::network_of;
use super::reintroduce::MAX_INTRODUCERS;
use super::startup::StartupPacket;
use super::{Endpoint, Target};
use crate::config::EndpointConfig;
use crate::error::DropReason;
use crate::event::OpenFailure;
use crate::params::{CERTIFICATE_MAX, HELLO_FIRST_INTERVAL, REDIRECT_THRESHOLD, TAG_LEN};
use crate::profile::{Initiation, KeyingError};
use crate::session::SessionState;
use crate::time::Instant;
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
    attempts: Attempts,
    /// A redirect named it: it may be anybody's.
    is_named: bool,
}

/// A session that is being opened from this end.
#[derive(Debug)]
pub(super) struct Opening {
    discriminator: Bytes,
    pub(super) tag: [u8; TAG_LEN],
    /// The ultimate open timeout.
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
    claim_asked: bool,
}

impl Opening {
    pub(super) fn new(target: Target, tag: [u8; TAG_LEN], now: Instant, config: &EndpointConfig) -> Self {
        let mut opening = Self {
            discriminator: target.discriminator,
            tag,
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
    fn add_candidate(&mut self, path: Path, first: Instant, is_named: bool) {
        let path = path.with_local(None);
        let host = |path: Path| network_of(path.remote.ip(), 64);
        let at_host = self.candidates.iter().filter(|known| known.is_named && host(known.path) == host(path));
        let has_room = self.candidates.len() < self.max_candidates && (!is_named || at_host.count() < MAX_PER_HOST);
        if has_room && self.candidates.iter().all(|known| known.path != path) {
            self.candidates.push(Candidate { path, attempts: Attempts::starting(first), is_named });
        }
    }

    /// An answer was of no use for a key agreement.
    pub(super) fn no_agreement(&mut self, now: Instant) {
        self.refused(now, OpenFailure::KeyAgreement);
    }

    /// An answer was refused: a better one is waited for, but not long.
    fn refused(&mut self, now: Instant, reason: OpenFailure) {
        self.failure = reason;
        self.deadline = self.deadline.min(now + FAILED_KEYING_PATIENCE);
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
    pub(super) fn keyed_lately(&self, now: Instant) -> bool {
        self.keying.as_ref().is_some_and(|keying| keying.attempts.sent_within(now, HELLO_FIRST_INTERVAL / 2))
    }

    /// Whether the far end was chosen so lately, or keyed so lately, that it is given time to answer.
    pub(super) fn insists(&self, now: Instant) -> bool {
        let since = self.keying.as_ref().map(|keying| keying.since);
        since.is_some_and(|since| now.saturating_duration_since(since) < PATIENCE) || self.keyed_lately(now)
    }

    /// Every address that the opening is indexed under.
    fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        let chosen = self.keying.as_ref().map(|keying| keying.path.remote);
        self.candidates.iter().map(|candidate| candidate.path.remote).chain(chosen)
    }
}

impl Endpoint {
    pub(super) fn index_candidates(&mut self, slot: u32) {
        if let Some(opening) = self.slots.get(slot).and_then(|occupant| occupant.opening.as_ref()) {
            for address in opening.addresses() {
                self.index.add_candidate(address, slot);
            }
        }
    }

    /// The session has opened or failed: startup is over.
    pub(super) fn end_opening(&mut self, slot: u32) {
        let Some(occupant) = self.slots.get_mut(slot) else { return };
        let Some(opening) = occupant.opening.take() else { return };
        self.opening -= 1;
        self.by_tag.remove(&opening.tag);
        self.jobs.forget_session(occupant.session.handle());
        occupant.introducers.extend(opening.introducers.iter().take(MAX_INTRODUCERS));
        for address in opening.addresses() {
            self.index.remove_candidate(address, slot);
        }
    }

    /// Sends what startup has due, or gives up.
    pub(super) fn drive_opening(&mut self, slot: u32) {
        let now = self.now;
        let Some(opening) = self.slots.get_mut(slot).and_then(|occupant| occupant.opening.as_mut()) else { return };
        if opening.deadline <= now {
            let reason = match (opening.failure, opening.not_sent) {
                (OpenFailure::TimedOut, Some((remote, os_error))) => OpenFailure::NotSent { remote, os_error },
                (failure, _) => failure,
            };
            self.with_session(slot, |session, cx| session.fail(cx, reason));
            return;
        }
        let mut again = None;
        if let Some(keying) = &mut opening.keying {
            if !keying.attempts.due(now) {
                return;
            }
            if keying.take_credit() {
                self.startup.push_own(now, keying.packet.clone());
                return;
            }
            // Whoever answered may not be there: it is asked once more before it gets more keyings.
            again = Some(keying.path);
        }
        // The one that was chosen; or all, if it is none of them but was told by one.
        let chosen = again.filter(|path| opening.candidates.iter().any(|candidate| candidate.path.matches(path)));
        let hello = InitiatorHello { discriminator: &opening.discriminator, tag: &opening.tag };
        for candidate in &mut opening.candidates {
            let Candidate { path, attempts, is_named } = candidate;
            let due =
                if again.is_some() { chosen.is_none_or(|chosen| chosen.matches(path)) } else { attempts.due(now) };
            if due && (!*is_named || self.probe_limits.take(now, path.remote.ip())) {
                self.startup.push_own(now, StartupPacket::hello(*path, &hello));
            }
        }
    }

    /// §3.5.1.1.1: adds the addresses of a Redirect to the candidates of the opening session that it echoes.
    pub(super) fn on_redirect(&mut self, path: Path, redirect: &Redirect<'_>) -> Result<(), DropReason> {
        let slot = self.slot_of_tag(redirect.tag_echo)?;
        let now = self.now;
        let Some(opening) = self.slots.get_mut(slot).and_then(|occupant| occupant.opening.as_mut()) else {
            return self.on_reintroduction_redirect(slot, path, redirect);
        };
        if opening.keying.is_some() {
            return Err(DropReason::Unexpected);
        }
        let mut implied = true;
        for destination in redirect.destinations.iter() {
            implied = false;
            if is_reachable(destination.socket) {
                opening.add_candidate(path.with_remote(destination.socket), now, true);
            }
        }
        if implied {
            opening.add_candidate(path, now, true); // §2.3.5: an Implied Redirect names its own source
        } else if opening.introducers.len() < MAX_INTRODUCERS
            && opening.introducers.iter().all(|one| !one.matches(&path))
        {
            opening.introducers.push(path.with_local(None));
        }
        self.index_candidates(slot);
        self.drive_opening(slot);
        self.settle(slot);
        Ok(())
    }

    /// Whether an opening session is still in S_IHELLO_SENT.
    pub(super) fn awaits_hello(&self, slot: u32) -> bool {
        let opening = self.slots.get(slot).and_then(|occupant| occupant.opening.as_ref());
        opening.is_some_and(|opening| opening.keying.is_none())
    }

    pub(super) fn slot_of_tag(&self, tag: &[u8]) -> Result<u32, DropReason> {
        let tag: [u8; TAG_LEN] = tag.try_into().map_err(|_| DropReason::Unexpected)?;
        self.by_tag.get(&tag).copied().ok_or(DropReason::Unexpected)
    }

    /// §3.5.1.1.1: the first acceptable RHello chooses the far end.
    pub(super) fn on_responder_hello(&mut self, path: Path, hello: &ResponderHello<'_>) -> Result<(), DropReason> {
        let slot = self.slot_of_tag(hello.tag_echo)?;
        let Some(opening) = self.slots.get(slot).and_then(|occupant| occupant.opening.as_ref()) else {
            return self.on_reintroduction_hello(slot, path, hello);
        };
        if opening.keying.is_some() {
            return self.on_repeated_hello(slot, path, hello);
        }
        if !self.profile.is_authentic(hello.certificate)
            || !self.profile.selects(&opening.discriminator, hello.certificate)
        {
            return Err(DropReason::NotAuthentic);
        }
        if hello.cookie.len() > MAX_COOKIE || hello.certificate.len() > CERTIFICATE_MAX {
            return Err(DropReason::OverLimit);
        }
        if !self.profile.accepts(&opening.discriminator, hello.certificate) {
            return self.refuse_certificate(slot);
        }
        let identity = identity_of(self.profile.as_ref(), hello.certificate);
        if self.ends_as_duplicate(slot, identity) || self.waits_for_claim(slot, path, identity) {
            return Ok(());
        }
        if self.hands_out_key_agreements() {
            let session = self.slots.get(slot).map(|occupant| occupant.session.handle());
            return self.hand_out_initiation(session.ok_or(DropReason::Unexpected)?, path, hello);
        }
        let initiation = self.profile.initiate(hello.certificate, None, &mut self.private_rng);
        self.hello_agreed(slot, path, hello, initiation)
    }

    /// The owner of the certificate could not be told from somebody who has copied or replaced it.
    fn refuse_certificate(&mut self, slot: u32) -> Result<(), DropReason> {
        if let Some(opening) = self.slots.get_mut(slot).and_then(|occupant| occupant.opening.as_mut()) {
            opening.refused(self.now, OpenFailure::CertificateRefused);
        }
        self.settle(slot);
        Err(DropReason::NotAuthentic)
    }

    /// The initiator's half is there, for a session that is still in S_IHELLO_SENT.
    pub(super) fn hello_agreed(
        &mut self,
        slot: u32,
        path: Path,
        hello: &ResponderHello<'_>,
        initiation: Result<Initiation, KeyingError>,
    ) -> Result<(), DropReason> {
        let Ok(initiation) = initiation else {
            // Not an acceptable RHello: another of the candidates may give one.
            if let Some(opening) = self.slots.get_mut(slot).and_then(|occupant| occupant.opening.as_mut()) {
                opening.no_agreement(self.now);
            }
            self.settle(slot);
            return Err(DropReason::NotAuthentic);
        };
        let identity = identity_of(self.profile.as_ref(), hello.certificate);
        // While it was computed elsewhere, another session may have got ahead.
        if self.ends_as_duplicate(slot, identity) {
            return Ok(());
        }
        self.begin_keying(slot, path, hello, initiation, identity);
        self.settle(slot);
        Ok(())
    }

    /// §3.5.1.1.1, step 1: whether the session has ended in favour of another with the same identity, in S_KEYING_SENT
    /// or S_OPEN. One that only claims the identity does not count: anybody could keep this end from opening a session
    /// so. Nor does one that a peer began with a certificate that its keys do not prove, and that anybody can copy.
    fn ends_as_duplicate(&mut self, slot: u32, identity: Identity) -> bool {
        let is_chosen = |other: &u32| {
            *other != slot
                && self.slots.get(*other).is_some_and(|occupant| occupant.session.state() != SessionState::HelloSent)
        };
        let first = |standing| self.index.with(identity, standing).find(is_chosen);
        let owned = first(Standing::Proved).filter(|other| self.owner_is_proved(*other));
        let other = owned.or_else(|| first(Standing::Begun));
        let Some(other) = other.and_then(|other| self.slots.get(other)) else { return false };
        let existing = other.session.handle();
        self.with_session(slot, |session, cx| session.fail(cx, OpenFailure::Duplicate { existing }));
        self.settle(slot);
        true
    }

    /// Whether an RHello is left alone for now, because the one who sent it has perhaps just opened a session itself. That
    /// is asked to prove its keys, and ends what is being opened from here if it does (§3.5.1.1.1, step 1); else the next
    /// RHello is taken. Once for each opening: claims must not keep this end from opening a session.
    fn waits_for_claim(&mut self, slot: u32, path: Path, identity: Identity) -> bool {
        let most = self.config.max_sessions_per_address;
        let claims_it = |other: &u32| self.slots.get(*other).is_some_and(|claim| claim.identity == Some(identity));
        let claim = self.index.at(path.remote, Standing::Claimed).take(most).find(claims_it);
        let opening = self.slots.get_mut(slot).and_then(|occupant| occupant.opening.as_mut());
        let (Some(claim), Some(opening)) = (claim, opening.filter(|opening| !opening.claim_asked)) else {
            return false;
        };
        opening.claim_asked = true;
        self.identify(slot, identity);
        self.with_session(claim, |session, cx| session.ping(cx.now));
        self.settle(claim);
        true
    }

    /// A session that a peer began has shown its keys: what is being opened to the same far end is one too many
    /// (§3.5.1.1.1, step 1).
    pub(super) fn end_duplicates_of(&mut self, slot: u32) {
        let Some(occupant) = self.slots.get(slot) else { return };
        let (existing, Some(identity)) = (occupant.session.handle(), occupant.identity) else { return };
        let begun = self.index.with(identity, Standing::Begun);
        let others: Vec<u32> = begun.filter(|other| self.is_opening(*other)).collect();
        for other in others {
            self.with_session(other, |session, cx| session.fail(cx, OpenFailure::Duplicate { existing }));
            self.settle(other);
        }
    }

    /// Whether the keys of a session prove that its far end owns its certificate.
    fn owner_is_proved(&self, slot: u32) -> bool {
        let certificate = self.slots.get(slot).map(|occupant| occupant.session.far_certificate());
        certificate.is_some_and(|certificate| self.profile.keys_prove_owner(certificate))
    }

    /// A session that was opened from here is open. Those that only claim to be of the same far end are attempts that came
    /// to nothing, or somebody else's. All of them are asked to prove their keys.
    pub(super) fn question_claims_to_be(&mut self, slot: u32) {
        let claims = self.claims_to_be(slot);
        for claim in &claims {
            self.with_session(*claim, |session, cx| session.demand_proof(cx.now));
            self.settle(*claim);
        }
        if !claims.is_empty() {
            self.with_session(slot, |session, cx| session.ping(cx.now));
            self.settle(slot);
        }
    }

    /// Sessions that claim to be of the same far end as this one: as many of them as may live without proof.
    pub(super) fn claims_to_be(&self, slot: u32) -> Vec<u32> {
        let Some(identity) = self.slots.get(slot).and_then(|occupant| occupant.identity) else { return Vec::new() };
        self.index.with(identity, Standing::Claimed).take(self.config.max_unproved_per_identity).collect()
    }

    /// Whether a session is still being opened from this end, in whichever state.
    pub(super) fn is_opening(&self, slot: u32) -> bool {
        self.slots.get(slot).is_some_and(|occupant| {
            occupant.opening.is_some()
                && matches!(occupant.session.state(), SessionState::HelloSent | SessionState::KeyingSent)
        })
    }
}
