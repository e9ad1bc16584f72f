//! Key agreements as jobs. One costs a millisecond and more, which is long for whoever moves packets: so an endpoint
//! can hand out the arithmetic and take back what came of it, and meanwhile serve its sessions.

use alloc::boxed::Box;
use alloc::collections::btree_map::Entry;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use chacha20::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

use super::Endpoint;
use super::handshake::Handshake;
use super::limits::network_of;
use super::prepared::PreparedKeys;
use super::shared::{Env, Shared};
use crate::error::DropReason;
use crate::handle::SessionHandle;
use crate::profile::{CryptoProfile, Initiation, KeyingError, PendingKeying, PreparedKey, Response, SessionKeys};
use crate::time::Instant;
use crate::trace::{KeyAgreementOutcome, KeyAgreementStep, TraceEvent};
use crate::transmit::Path;
use crate::wire::{InitiatorKeying, ResponderHello};

/// After so long a job that was handed out is taken for lost, with whoever had it.
pub(super) const LOST_AFTER: Duration = Duration::from_secs(60);
/// Lost jobs are looked for no more often, however many IIKeyings are refused meanwhile.
const LOOK_FOR_LOST_EVERY: Duration = Duration::from_secs(1);

/// Networks of IPv6 that one peer may have many addresses of, by the length of their prefixes in bits: what a subscriber
/// has, and what a site has. An IPv4 address is one of each.
const NETWORKS: [u32; 2] = [64, 48];

fn networks(path: Path) -> impl Iterator<Item = (u32, IpAddr)> {
    NETWORKS.into_iter().map(move |bits| (bits, network_of(path.remote.ip(), bits)))
}

/// The arithmetic of a key agreement (RFC 7016 §3.5.1.1), to be [run](Self::run) wherever and whenever there is time:
/// it needs nothing but itself. From [`Endpoint::poll_key_agreement`]; the result is for
/// [`Endpoint::handle_key_agreed`] of the same endpoint.
pub struct KeyAgreement {
    id: u64,
    work: Work,
    /// For what makes a key of its own.
    prepared: Option<PreparedKey>,
    profile: Arc<dyn CryptoProfile>,
    rng: ChaCha20Rng,
}

/// What came of a [`KeyAgreement`]. If it never comes back, a session that the far end begins is as if its packet had been
/// lost, and the far end repeats that; one that this end opens fails when its time is over.
pub struct KeyAgreed {
    id: u64,
    outcome: Outcome,
}

/// What is to be computed.
pub(super) enum Work {
    Initiate { far_certificate: Vec<u8> },
    Finish { pending: Box<dyn PendingKeying>, component: Vec<u8> },
    Respond { far_certificate: Vec<u8>, component: Vec<u8> },
    Prepare,
}

enum Outcome {
    Initiated(Result<Initiation, KeyingError>),
    /// With what the next attempt needs, unless it was lost.
    Finished(Option<Box<dyn PendingKeying>>, Result<Box<dyn SessionKeys>, KeyingError>),
    Responded(Result<Response, KeyingError>),
    Prepared(Option<PreparedKey>),
}

impl KeyAgreement {
    pub(super) fn new(shared: &mut Shared, work: Work) -> Self {
        let id = shared.private_rng.next_u64();
        let rng = ChaCha20Rng::from_rng(&mut shared.private_rng);
        Self { id, work, prepared: None, profile: Arc::clone(&shared.profile), rng }
    }

    pub(super) const fn id(&self) -> u64 {
        self.id
    }

    /// Computes it: milliseconds, and for group 16 of the Flash profile ten of them.
    #[must_use]
    pub fn run(mut self) -> KeyAgreed {
        let outcome = match self.work {
            Work::Initiate { far_certificate } => {
                Outcome::Initiated(self.profile.initiate(&far_certificate, self.prepared, &mut self.rng))
            }
            Work::Finish { pending, component } => {
                let keys = pending.finish(&component);
                Outcome::Finished(Some(pending), keys)
            }
            Work::Respond { far_certificate, component } => {
                Outcome::Responded(self.profile.respond(&far_certificate, &component, self.prepared, &mut self.rng))
            }
            Work::Prepare => Outcome::Prepared(self.profile.prepare(&mut self.rng)),
        };
        KeyAgreed { id: self.id, outcome }
    }

    /// What to hand back if [`run`](Self::run) does not return, because the profile panicked: to be asked for before. Then
    /// an opening fails in seconds, with [`KeyAgreement`](crate::event::OpenFailure::KeyAgreement), instead of when its
    /// time is over; what a peer began is dropped and counted; and no more keys are made ahead.
    #[must_use]
    pub const fn if_lost(&self) -> KeyAgreed {
        let outcome = match self.work {
            Work::Initiate { .. } => Outcome::Initiated(Err(KeyingError::Lost)),
            Work::Finish { .. } => Outcome::Finished(None, Err(KeyingError::Lost)),
            Work::Respond { .. } => Outcome::Responded(Err(KeyingError::Lost)),
            Work::Prepare => Outcome::Prepared(None),
        };
        KeyAgreed { id: self.id, outcome }
    }
}

impl fmt::Debug for KeyAgreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyAgreement").finish_non_exhaustive()
    }
}

impl fmt::Debug for KeyAgreed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyAgreed").finish_non_exhaustive()
    }
}

/// What the result of a job is for. Everything is looked at once more when it comes: much may have happened.
#[derive(Debug)]
enum Waiting {
    /// An RHello: its answer needs the initiator's half.
    Hello { session: SessionHandle, path: Path, tag: Vec<u8>, cookie: Vec<u8>, certificate: Vec<u8> },
    /// An RIKeying: the session opens with the keys.
    Finish { session: SessionHandle, tx_id: u32 },
    /// An IIKeying: the session begins with the keys.
    Keying { path: Path, digest: [u8; 32], keying: Box<OwnedKeying> },
}

impl Waiting {
    /// How a trace names it.
    const fn traced(&self) -> (Option<SessionHandle>, KeyAgreementStep, Option<SocketAddr>) {
        match self {
            Self::Hello { session, path, .. } => (Some(*session), KeyAgreementStep::Initiate, Some(path.remote)),
            Self::Finish { session, .. } => (Some(*session), KeyAgreementStep::Finish, None),
            Self::Keying { path, .. } => (None, KeyAgreementStep::Respond, Some(path.remote)),
        }
    }
}

/// An IIKeying that waits.
#[derive(Debug)]
struct OwnedKeying {
    session_id: u32,
    cookie: Vec<u8>,
    certificate: Vec<u8>,
    component: Vec<u8>,
    signature: Vec<u8>,
    signed: Vec<u8>,
}

/// Jobs, handed out or about to be.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    /// Of sessions that are opened from here, not handed out yet. This end bounds them itself, and does not have them
    /// wait for what peers cause.
    own: VecDeque<KeyAgreement>,
    /// That peers caused, not handed out yet.
    of_peers: VecDeque<KeyAgreement>,
    /// All of which the result is not back.
    waiting: BTreeMap<u64, (Instant, Waiting)>,
    /// The one that a session has.
    by_session: BTreeMap<SessionHandle, u64>,
    /// The one that a peer's address has.
    by_address: BTreeMap<SocketAddr, u64>,
    /// How many of those each network has, of each of the [`NETWORKS`].
    of_network: BTreeMap<(u32, IpAddr), usize>,
    /// IIKeyings that are in work.
    keyings: BTreeSet<[u8; 32]>,
    looked_for_lost: Option<Instant>,
}

impl Jobs {
    fn insert(&mut self, now: Instant, job: KeyAgreement, waiting: Waiting) {
        let id = job.id;
        match &waiting {
            Waiting::Hello { session, .. } | Waiting::Finish { session, .. } => {
                self.by_session.insert(*session, id);
                self.own.push_back(job);
            }
            Waiting::Keying { path, digest, .. } => {
                self.by_address.insert(path.remote, id);
                for network in networks(*path) {
                    *self.of_network.entry(network).or_default() += 1;
                }
                self.keyings.insert(*digest);
                self.of_peers.push_back(job);
            }
        }
        self.waiting.insert(id, (now, waiting));
    }

    fn take(&mut self, id: u64) -> Option<Waiting> {
        let (_, waiting) = self.waiting.remove(&id)?;
        match &waiting {
            Waiting::Hello { session, .. } | Waiting::Finish { session, .. } => {
                self.by_session.remove(session);
            }
            Waiting::Keying { path, digest, .. } => {
                self.by_address.remove(&path.remote);
                self.keyings.remove(digest);
                for network in networks(*path) {
                    if let Entry::Occupied(mut of_network) = self.of_network.entry(network) {
                        *of_network.get_mut() -= 1;
                        if *of_network.get() == 0 {
                            of_network.remove();
                        }
                    }
                }
            }
        }
        Some(waiting)
    }

    /// Whether one more from there may wait: each network it is in has fewer than there is room for. So one alone leaves
    /// half of the room to others, two leave a third; only many together take it all.
    fn has_room_for(&self, path: Path, most: usize) -> bool {
        let room = most.saturating_sub(self.by_address.len());
        networks(path).all(|network| self.of_network.get(&network).copied().unwrap_or(0) < room)
    }

    /// These sessions are not being opened any more: nobody waits for their jobs.
    fn forget_sessions(&mut self, sessions: &[SessionHandle]) {
        for session in sessions {
            if let Some(id) = self.by_session.get(session).copied() {
                self.take(id);
                self.own.retain(|job| job.id != id);
            }
        }
    }

    /// Forgets those of peers whose result will not come any more.
    fn forget_lost(&mut self, now: Instant) {
        let lately = |looked: Instant| now.saturating_duration_since(looked) < LOOK_FOR_LOST_EVERY;
        if self.looked_for_lost.is_some_and(lately) {
            return;
        }
        self.looked_for_lost = Some(now);
        let queued: BTreeSet<u64> = self.of_peers.iter().map(|job| job.id).collect();
        let is_lost = |id: &u64| {
            let since = self.waiting.get(id).map(|(since, _)| *since);
            !queued.contains(id) && since.is_some_and(|since| now.saturating_duration_since(since) > LOST_AFTER)
        };
        let lost: Vec<u64> = self.by_address.values().copied().filter(is_lost).collect();
        for id in lost {
            self.take(id);
        }
    }
}

/// Key agreements on their way, and keys made ahead for them.
#[derive(Debug, Default)]
pub(super) struct Agreements {
    jobs: Jobs,
    pub(super) prepared: PreparedKeys,
}

impl Agreements {
    /// The next one to compute.
    pub(super) fn poll(&mut self, env: &mut Env<'_>) -> Option<KeyAgreement> {
        self.jobs.forget_sessions(&env.table.take_ended());
        let Some(mut job) = self.jobs.own.pop_front().or_else(|| self.jobs.of_peers.pop_front()) else {
            return self.prepared.prepare(env.shared);
        };
        // Not before it is computed: many a job is forgotten while it waits.
        if !matches!(job.work, Work::Finish { .. }) {
            job.prepared = self.prepared.take();
        }
        Some(job)
    }

    /// What a result is for, if anybody still waits for it.
    fn take(&mut self, env: &mut Env<'_>, id: u64) -> Option<Waiting> {
        self.jobs.forget_sessions(&env.table.take_ended());
        self.jobs.take(id)
    }

    fn offload(&mut self, shared: &mut Shared, work: Work, waiting: Waiting) {
        let (session, step, remote) = waiting.traced();
        let outcome = KeyAgreementOutcome::Offloaded;
        shared.trace(session, || TraceEvent::KeyAgreement { step, outcome, remote });
        let job = KeyAgreement::new(shared, work);
        self.jobs.insert(shared.now, job, waiting);
    }

    /// An RHello that is to be answered.
    pub(super) fn offload_initiation(
        &mut self,
        env: &mut Env<'_>,
        session: SessionHandle,
        path: Path,
        hello: &ResponderHello<'_>,
    ) -> Result<(), DropReason> {
        self.jobs.forget_sessions(&env.table.take_ended());
        if self.jobs.by_session.contains_key(&session) {
            return Err(DropReason::Unexpected);
        }
        let (tag, cookie) = (hello.tag_echo.to_vec(), hello.cookie.to_vec());
        let certificate = hello.certificate.to_vec();
        let work = Work::Initiate { far_certificate: certificate.clone() };
        self.offload(env.shared, work, Waiting::Hello { session, path, tag, cookie, certificate });
        Ok(())
    }

    /// An RIKeying that is to be combined.
    pub(super) fn offload_finish(
        &mut self,
        env: &mut Env<'_>,
        session: SessionHandle,
        tx_id: u32,
        pending: Box<dyn PendingKeying>,
        component: &[u8],
    ) {
        let work = Work::Finish { pending, component: component.to_vec() };
        self.offload(env.shared, work, Waiting::Finish { session, tx_id });
    }

    /// Whether an IIKeying may become a job: it is not one already, nor is another from its address, which could have any
    /// number of them for one cookie, and there is room for it and for those of other sources.
    pub(super) fn admit(&mut self, env: &Env<'_>, path: Path, digest: &[u8; 32]) -> Result<(), DropReason> {
        let most = env.shared.config.max_waiting_key_agreements;
        let refused = |jobs: &Jobs| {
            let known = jobs.by_address.contains_key(&path.remote) || jobs.keyings.contains(digest);
            let full = (!jobs.has_room_for(path, most)).then_some(DropReason::OverLimit);
            if known { Some(DropReason::Unexpected) } else { full }
        };
        if refused(&self.jobs).is_some() {
            self.jobs.forget_lost(env.shared.now);
        }
        refused(&self.jobs).map_or(Ok(()), Err)
    }

    /// An IIKeying that is to be answered, after [`admit`](Self::admit).
    pub(super) fn offload_response(
        &mut self,
        env: &mut Env<'_>,
        path: Path,
        digest: [u8; 32],
        keying: &InitiatorKeying<'_>,
    ) {
        let work = Work::Respond { far_certificate: keying.certificate.to_vec(), component: keying.component.to_vec() };
        let keying = Box::new(OwnedKeying {
            session_id: keying.session_id,
            cookie: keying.cookie_echo.to_vec(),
            certificate: keying.certificate.to_vec(),
            component: keying.component.to_vec(),
            signature: keying.signature.to_vec(),
            signed: keying.signed.to_vec(),
        });
        self.offload(env.shared, work, Waiting::Keying { path, digest, keying });
    }
}

impl Handshake {
    /// Goes on with what waited for a job.
    fn on_key_agreed(&mut self, env: &mut Env<'_>, agreed: KeyAgreed) -> Result<(), DropReason> {
        match (self.agreements.take(env, agreed.id), agreed.outcome) {
            (Some(Waiting::Hello { session, path, tag, cookie, certificate }), Outcome::Initiated(initiation)) => {
                let hello = ResponderHello { tag_echo: &tag, cookie: &cookie, certificate: &certificate };
                let slot = env.table.resolve(session).filter(|slot| env.awaits_hello(*slot));
                self.hello_agreed(env, slot.ok_or(DropReason::Unexpected)?, path, &hello, initiation)
            }
            (Some(Waiting::Finish { session, tx_id }), Outcome::Finished(pending, keys)) => {
                let slot = env.table.resolve(session).ok_or(DropReason::Unexpected)?;
                self.keying_agreed(env, slot, tx_id, pending, keys)
            }
            (Some(Waiting::Keying { path, digest: _, keying }), Outcome::Responded(response)) => {
                let keying = InitiatorKeying {
                    session_id: keying.session_id,
                    cookie_echo: &keying.cookie,
                    certificate: &keying.certificate,
                    component: &keying.component,
                    signature: &keying.signature,
                    signed: &keying.signed,
                };
                self.response_agreed(env, path, &keying, response)
            }
            (None, Outcome::Prepared(key)) => self.agreements.prepared.made(agreed.id, key),
            _ => Err(DropReason::Unexpected),
        }
    }
}

impl Endpoint {
    /// Has the caller compute key agreements from now on, with [`poll_key_agreement`](Self::poll_key_agreement) and
    /// [`handle_key_agreed`](Self::handle_key_agreed), so that the calls that need them return at once. Without effect
    /// if [`max_waiting_key_agreements`](crate::EndpointConfig::max_waiting_key_agreements) is 0.
    pub const fn offload_key_agreements(&mut self) {
        self.shared.offload = true;
    }

    /// The next key agreement to compute, if the endpoint [offloads](Self::offload_key_agreements) them. If none waits, it
    /// is the making of one of the keys that
    /// [`max_prepared_keys`](crate::EndpointConfig::max_prepared_keys) says are made ahead, of which few are out at once.
    /// To be asked like [`poll_transmit`](Self::poll_transmit) after every call, until it gives `None`; the endpoint works
    /// on meanwhile.
    pub fn poll_key_agreement(&mut self) -> Option<KeyAgreement> {
        let (handshake, mut env) = self.split();
        handshake.agreements.poll(&mut env)
    }

    /// Whether key agreements are handed out, rather than computed when they are needed.
    #[must_use]
    pub const fn hands_out_key_agreements(&self) -> bool {
        self.shared.offloads()
    }

    /// Takes back what came of a job: a session opens, or its opening goes on. Results may come in any order, late, or
    /// never; one that nobody waits for any more is counted as unexpected.
    pub fn handle_key_agreed(&mut self, now: Instant, agreed: KeyAgreed) {
        self.shared.advance(now);
        let (handshake, mut env) = self.split();
        let result = handshake.on_key_agreed(&mut env, agreed);
        self.answer_forwarded();
        if let Err(reason) = result {
            self.shared.count(reason);
        }
    }
}
