//! Key agreements as jobs. One costs a millisecond and more, which is long for whoever moves packets.
//!
//! Every key agreement is a job, and what waits for it goes on in one place, [`Handshake::on_outcome`]. An endpoint that
//! offloads has the caller run its jobs, and meanwhile serves its sessions. Any other runs each job at once itself.

use alloc::boxed::Box;
use alloc::collections::btree_map::Entry;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use super::Endpoint;
use super::env::Env;
use super::handshake::Handshake;
use super::key_agreement::{KeyAgreement, KeyAgreementResult, Op, Outcome};
use super::limits::Asking;
use super::prepared::PreparedKeys;
use super::shared::Shared;
use super::sources::network_of;
use crate::error::DropReason;
use crate::handle::SessionHandle;
use crate::profile::PendingKeying;
use crate::time::Instant;
use crate::trace::{KeyAgreementOutcome, KeyAgreementStep, TraceEvent};
use crate::transmit::Path;
use crate::wire::{InitiatorKeying, ResponderHello};

/// A job that was offloaded counts as abandoned after so long.
pub(super) const ABANDONED_AFTER: Duration = Duration::from_secs(60);
/// Abandoned jobs are looked for no more often, however many IIKeyings are refused meanwhile.
const LOOK_FOR_ABANDONED_EVERY: Duration = Duration::from_secs(1);

/// Networks of IPv6 that one peer may have many addresses of, by the length of their prefixes in bits: what a subscriber
/// has, and what a site has. An IPv4 address is one of each.
const NETWORKS: [u32; 2] = [64, 48];

fn networks(path: Path) -> impl Iterator<Item = (u32, IpAddr)> {
    NETWORKS.into_iter().map(move |bits| (bits, network_of(path.remote.ip(), bits)))
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

    /// An IIKeying, as it was received.
    fn keying(path: Path, digest: [u8; 32], keying: &InitiatorKeying<'_>) -> Self {
        let keying = Box::new(OwnedKeying {
            session_id: keying.session_id,
            cookie: keying.cookie_echo.to_vec(),
            certificate: keying.certificate.to_vec(),
            component: keying.component.to_vec(),
            signature: keying.signature.to_vec(),
            signed: keying.signed.to_vec(),
        });
        Self::Keying { path, digest, keying }
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

/// Jobs, offloaded or about to be.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    /// Of sessions that are opened from here, not offloaded yet. This end bounds them itself, and does not have them
    /// wait for what peers cause.
    own: VecDeque<KeyAgreement>,
    /// That peers caused, not offloaded yet.
    from_peers: VecDeque<KeyAgreement>,
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
    looked_for_abandoned: Option<Instant>,
}

impl Jobs {
    fn insert(&mut self, now: Instant, job: KeyAgreement, waiting: Waiting) {
        let id = job.id();
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
                self.from_peers.push_back(job);
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
                self.own.retain(|job| job.id() != id);
            }
        }
    }

    /// Forgets those of peers whose result will not come any more.
    fn forget_abandoned(&mut self, now: Instant) {
        let lately = |looked: Instant| now.saturating_duration_since(looked) < LOOK_FOR_ABANDONED_EVERY;
        if self.looked_for_abandoned.is_some_and(lately) {
            return;
        }
        self.looked_for_abandoned = Some(now);
        let queued: BTreeSet<u64> = self.from_peers.iter().map(KeyAgreement::id).collect();
        let is_abandoned = |id: &u64| {
            let since = self.waiting.get(id).map(|(since, _)| *since);
            !queued.contains(id) && since.is_some_and(|since| now.saturating_duration_since(since) > ABANDONED_AFTER)
        };
        let abandoned: Vec<u64> = self.by_address.values().copied().filter(is_abandoned).collect();
        for id in abandoned {
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
        let Some(mut job) = self.jobs.own.pop_front().or_else(|| self.jobs.from_peers.pop_front()) else {
            return self.prepared.prepare(env.shared);
        };
        // Not before it is computed: many a job is forgotten while it waits.
        job.take_prepared(|| self.prepared.take());
        Some(job)
    }

    /// What a result is for, if anybody still waits for it.
    fn take(&mut self, env: &mut Env<'_>, id: u64) -> Option<Waiting> {
        self.jobs.forget_sessions(&env.table.take_ended());
        self.jobs.take(id)
    }

    /// Whether the session may have a job for an RHello: one at a time.
    pub(super) fn allow_initiation(&mut self, env: &mut Env<'_>, session: SessionHandle) -> Result<(), DropReason> {
        self.jobs.forget_sessions(&env.table.take_ended());
        if self.jobs.by_session.contains_key(&session) { Err(DropReason::Unexpected) } else { Ok(()) }
    }

    /// Whether an IIKeying may become a job. It must not be one already, and there must be room for it and for those of
    /// other sources. An address has one at a time, since one cookie serves any number of IIKeyings.
    pub(super) fn allow_response(&mut self, env: &Env<'_>, path: Path, digest: &[u8; 32]) -> Result<(), DropReason> {
        let most = env.shared.config.max_waiting_key_agreements;
        let refused = |jobs: &Jobs| {
            let known = jobs.by_address.contains_key(&path.remote) || jobs.keyings.contains(digest);
            let full = (!jobs.has_room_for(path, most)).then_some(DropReason::OverLimit);
            if known { Some(DropReason::Unexpected) } else { full }
        };
        if refused(&self.jobs).is_some() {
            self.jobs.forget_abandoned(env.shared.now);
        }
        refused(&self.jobs).map_or(Ok(()), Err)
    }
}

/// Where each key agreement begins.
impl Handshake {
    /// For an RHello: the initiator's half, and then to [`on_initiated`](Self::on_initiated).
    pub(super) fn initiate(
        &mut self,
        env: &mut Env<'_>,
        session: SessionHandle,
        path: Path,
        hello: &ResponderHello<'_>,
    ) -> Result<(), DropReason> {
        let (tag, cookie) = (hello.tag_echo.to_vec(), hello.cookie.to_vec());
        let certificate = hello.certificate.to_vec();
        let op = Op::Initiate { far_certificate: certificate.clone() };
        self.agree(env, op, Waiting::Hello { session, path, tag, cookie, certificate })
    }

    /// For an RIKeying: the initiator's keys, and then to [`on_finished`](Self::on_finished).
    pub(super) fn finish(
        &mut self,
        env: &mut Env<'_>,
        session: SessionHandle,
        tx_id: u32,
        pending: Box<dyn PendingKeying>,
        component: &[u8],
    ) -> Result<(), DropReason> {
        let op = Op::Finish { pending, component: component.to_vec() };
        self.agree(env, op, Waiting::Finish { session, tx_id })
    }

    /// For an IIKeying: the responder's half and its keys, and then to [`on_responded`](Self::on_responded).
    pub(super) fn respond(
        &mut self,
        env: &mut Env<'_>,
        path: Path,
        digest: [u8; 32],
        keying: &InitiatorKeying<'_>,
    ) -> Result<(), DropReason> {
        let op = Op::Respond { far_certificate: keying.certificate.to_vec(), component: keying.component.to_vec() };
        self.agree(env, op, Waiting::keying(path, digest, keying))
    }

    /// Offloads a job, or runs it and goes on at once.
    fn agree(&mut self, env: &mut Env<'_>, op: Op, waiting: Waiting) -> Result<(), DropReason> {
        if env.shared.offloads() {
            let (session, step, remote) = waiting.traced();
            let outcome = KeyAgreementOutcome::Offloaded;
            env.shared.trace(session, || TraceEvent::KeyAgreement { step, outcome, remote });
            let job = KeyAgreement::new(env.shared, op);
            self.agreements.jobs.insert(env.shared.now, job, waiting);
            return Ok(());
        }
        let Shared { profile, private_rng, .. } = &mut *env.shared;
        let outcome = op.run(profile.as_ref(), None, private_rng);
        env.shared.forget_draws();
        self.on_outcome(env, waiting, outcome)
    }

    /// Takes a result back.
    fn on_result(&mut self, env: &mut Env<'_>, result: KeyAgreementResult) -> Result<(), DropReason> {
        match (self.agreements.take(env, result.id), result.outcome) {
            (Some(Waiting::Keying { path, digest, keying }), outcome) => {
                // Its datagram was handled long ago, and still has its answer.
                env.shared.asking = Asking { len: keying.signed.len() + keying.signature.len(), answered: false };
                self.on_outcome(env, Waiting::Keying { path, digest, keying }, outcome)
            }
            (Some(waiting), outcome) => self.on_outcome(env, waiting, outcome),
            (None, Outcome::Prepared(key)) => self.agreements.prepared.made(result.id, key),
            (None, _) => Err(DropReason::Unexpected),
        }
    }

    /// Goes on with what waited for a job. Much may have happened meanwhile, so everything is looked at once more.
    fn on_outcome(&mut self, env: &mut Env<'_>, waiting: Waiting, outcome: Outcome) -> Result<(), DropReason> {
        match (waiting, outcome) {
            (Waiting::Hello { session, path, tag, cookie, certificate }, Outcome::Initiated(initiation)) => {
                let hello = ResponderHello { tag_echo: &tag, cookie: &cookie, certificate: &certificate };
                let slot = env.table.resolve(session).filter(|slot| env.awaits_hello(*slot));
                self.on_initiated(env, slot.ok_or(DropReason::Unexpected)?, path, &hello, initiation)
            }
            (Waiting::Finish { session, tx_id }, Outcome::Finished(pending, keys)) => {
                let slot = env.table.resolve(session).ok_or(DropReason::Unexpected)?;
                self.on_finished(env, slot, tx_id, pending, keys)
            }
            (Waiting::Keying { path, digest: _, keying }, Outcome::Responded(response)) => {
                let keying = InitiatorKeying {
                    session_id: keying.session_id,
                    cookie_echo: &keying.cookie,
                    certificate: &keying.certificate,
                    component: &keying.component,
                    signature: &keying.signature,
                    signed: &keying.signed,
                };
                self.on_responded(env, path, &keying, response)
            }
            (Waiting::Hello { .. } | Waiting::Finish { .. } | Waiting::Keying { .. }, _) => Err(DropReason::Unexpected),
        }
    }
}

impl Endpoint {
    /// Offloads key agreements to the caller from now on, with [`poll_key_agreement`](Self::poll_key_agreement) and
    /// [`handle_key_agreement`](Self::handle_key_agreement), so that the calls that need them return at once. Without
    /// effect if [`max_waiting_key_agreements`](crate::EndpointConfig::max_waiting_key_agreements) is 0.
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

    /// Whether key agreements are offloaded, rather than computed when they are needed.
    #[must_use]
    pub const fn offloads_key_agreements(&self) -> bool {
        self.shared.offloads()
    }

    /// Takes back what came of a job: a session opens, or its opening goes on. Results may come in any order, late, or
    /// never; one that nobody waits for any more is counted as unexpected.
    pub fn handle_key_agreement(&mut self, now: Instant, result: KeyAgreementResult) {
        self.shared.advance(now);
        let (handshake, mut env) = self.split();
        let taken = handshake.on_result(&mut env, result);
        handshake.answer_forwarded(env.shared);
        if let Err(reason) = taken {
            env.shared.count(reason);
        }
    }
}
