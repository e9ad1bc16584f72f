//! The endpoint: owns sessions, knows who a datagram is for, and starts sessions (RFC 7016 §3.5.1).

mod attempts;
mod cookie;
mod demux;
mod fragments;
mod glare;
mod ids;
mod index;
mod initiator;
mod interfaces;
mod introduce;
mod jobs;
mod keying;
mod limits;
mod memory;
mod prepared;
mod reintroduce;
mod responder;
mod schedule;
mod slots;
mod startup;
#[cfg(test)]
mod tests;
mod views;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use chacha20::ChaCha20Rng;
use rand_core::{CryptoRng, Rng as _, SeedableRng as _};
use zeroize::Zeroizing;

pub use jobs::{KeyAgreed, KeyAgreement};
pub use views::{RecvFlowMut, RecvFlowRef, SendFlowMut, SendFlowRef, SessionMut, SessionRef};

use crate::config::EndpointConfig;
use crate::error::{ConfigError, DropReason, OpenError};
use crate::event::{Event, EventQueue};
use crate::handle::{RecvFlowHandle, SendFlowHandle, SessionHandle};
use crate::params::TAG_LEN;
use crate::profile::{CryptoProfile, SessionKeys};
use crate::session::{CloseMode, Context, ReceivedForward, Session, TimeCriticalClock};
use crate::stats::EndpointStats;
use crate::time::Instant;
use crate::transmit::{Path, Transmit, TransmitBuf};
use cookie::Cookies;
use fragments::Reassembly;
use ids::SessionIds;
use index::SessionIndex;
use initiator::Opening;
use interfaces::Blocked;
use jobs::Jobs;
use limits::{Asking, HiddenKey, ReplyLimits, SharedRate};
use memory::MemoryPools;
use prepared::PreparedKeys;
use reintroduce::Forwards;
use schedule::{Deadlines, ReadyRing};
use slots::{Occupant, Slots};
use startup::StartupQueue;

/// Whom to open a session to: an Endpoint Discriminator and where to try (RFC 7016 §3.5.1.1.1).
#[derive(Clone, Debug)]
pub struct Target {
    /// Names the endpoint (RFC 7016 §3.2), in the profile's syntax. 1 to 1,024 bytes.
    pub discriminator: Bytes,
    /// Addresses to send hellos to, each with a wait before its first hello. The first
    /// [`max_candidates`](EndpointConfig::max_candidates) distinct ones are used.
    pub candidates: Vec<(Path, Duration)>,
}

impl Target {
    /// One address, tried at once.
    #[must_use]
    pub fn new(discriminator: impl Into<Bytes>, path: Path) -> Self {
        Self { discriminator: discriminator.into(), candidates: alloc::vec![(path, Duration::ZERO)] }
    }
}

/// An RTMFP endpoint: one identity, all its sessions and all their flows.
///
/// # Driving it
/// Hand in what happens ([`handle_datagram`](Self::handle_datagram), [`handle_timeout`](Self::handle_timeout) once
/// [`poll_timeout`](Self::poll_timeout) has come), give commands, and empty what comes out:
/// [`poll_transmit`](Self::poll_transmit) until it gives `None`, [`poll_event`](Self::poll_event) until it gives
/// `None`. Any order and any number of calls is right; a call with nothing to do changes nothing. Time never runs
/// backward: an earlier `now` counts as the latest one seen.
#[derive(Debug)]
pub struct Endpoint {
    config: EndpointConfig,
    profile: Arc<dyn CryptoProfile>,
    /// The Default Session Key (§2.2.3).
    default_keys: Box<dyn SessionKeys>,
    /// Values that others see: tags, session IDs.
    public_rng: ChaCha20Rng,
    /// Secrets: cookies' keys, key agreement.
    private_rng: ChaCha20Rng,
    now: Instant,
    slots: Slots,
    ids: SessionIds,
    index: SessionIndex,
    /// Tags of hellos: of sessions in S_IHELLO_SENT, and of those that ask to be introduced again.
    by_tag: BTreeMap<[u8; TAG_LEN], u32>,
    /// Digests of the IIKeyings that sessions began with.
    by_keying: BTreeMap<[u8; 32], u32>,
    opening: usize,
    deadlines: Deadlines,
    ready: ReadyRing,
    blocked: Blocked,
    events: EventQueue,
    startup: StartupQueue,
    reassembly: Reassembly,
    cookies: Cookies,
    reply_limits: ReplyLimits,
    asking: Asking,
    keying_limits: SharedRate,
    /// Hellos and pings to addresses that others named.
    probe_limits: SharedRate,
    /// The caller computes key agreements.
    offloads: bool,
    jobs: Jobs,
    prepared: PreparedKeys,
    time_critical: TimeCriticalClock,
    forwarded: VecDeque<ReceivedForward>,
    forwards: Forwards,
    memory: MemoryPools,
    /// UnmatchedHello events that the user has not taken yet.
    unmatched: usize,
    stats: EndpointStats,
}

impl Endpoint {
    /// An endpoint with this identity. `rng` is drawn from here and never again: 64 bytes seed two streams, one for
    /// what others see and one for secrets, so that the one tells nothing of the other.
    ///
    /// # Errors
    /// The first configuration value that is out of its range.
    pub fn new(
        config: EndpointConfig,
        profile: Arc<dyn CryptoProfile>,
        mut rng: Box<dyn CryptoRng + Send>,
        now: Instant,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let mut stream = || {
            let mut seed = Zeroizing::new([0; 32]);
            rng.fill_bytes(seed.as_mut());
            ChaCha20Rng::from_seed(*seed)
        };
        let (public_rng, mut private_rng) = (stream(), stream());
        let cookies = Cookies::new(now, &mut private_rng);
        let mut key = HiddenKey::default();
        private_rng.fill_bytes(&mut key.0);
        let (units, units_per_source) = (config.max_keying_units_per_second, config.max_keying_units_per_source);
        Ok(Self {
            default_keys: profile.default_keys(),
            cookies,
            reply_limits: ReplyLimits::new(&config, now, key),
            asking: Asking::default(),
            probe_limits: SharedRate::new(config.max_probes_per_second, config.max_probes_per_host, now, key),
            keying_limits: SharedRate::new(units, units_per_source, now, key),
            memory: MemoryPools::new(&config),
            config,
            profile,
            public_rng,
            private_rng,
            now,
            slots: Slots::default(),
            ids: SessionIds::new(),
            index: SessionIndex::default(),
            by_tag: BTreeMap::new(),
            by_keying: BTreeMap::new(),
            opening: 0,
            deadlines: Deadlines::default(),
            ready: ReadyRing::default(),
            blocked: Blocked::default(),
            events: EventQueue::default(),
            startup: StartupQueue::new(key),
            reassembly: Reassembly::default(),
            offloads: false,
            jobs: Jobs::default(),
            prepared: PreparedKeys::default(),
            time_critical: TimeCriticalClock::default(),
            forwarded: VecDeque::new(),
            forwards: Forwards::default(),
            unmatched: 0,
            stats: EndpointStats::default(),
        })
    }

    /// Begins a session (RFC 7016 §3.5.1.1.1). Flows can be opened and written at once; they are sent when the
    /// session opens. Ends in [`SessionOpened`](Event::SessionOpened) or [`SessionFailed`](Event::SessionFailed).
    ///
    /// # Errors
    /// [`OpenError`]: too many sessions, no candidates, or a discriminator that does not fit a hello.
    pub fn open(&mut self, now: Instant, target: Target) -> Result<SessionHandle, OpenError> {
        let now = self.advance(now);
        if self.slots.len() >= self.config.max_sessions || self.opening >= self.config.max_opening {
            return Err(OpenError::TooManySessions);
        }
        if target.discriminator.is_empty() || target.discriminator.len() > initiator::MAX_DISCRIMINATOR {
            return Err(OpenError::BadDiscriminator);
        }
        if target.candidates.is_empty() {
            return Err(OpenError::NoCandidates);
        }
        let tag = self.unused_tag();
        let opening = Opening::new(target, tag, now, &self.config);
        let handle = self.slots.next_handle();
        let session = Session::new(handle, crate::session::Role::Initiator, self.config.session.clone(), now);
        let slot = self.slots.insert(Occupant::new(session, Some(Box::new(opening))));
        self.by_tag.insert(tag, slot);
        self.opening += 1;
        self.index_candidates(slot);
        self.drive_opening(slot);
        self.settle(slot);
        Ok(handle)
    }

    pub(super) fn unused_tag(&mut self) -> [u8; TAG_LEN] {
        loop {
            let mut tag = [0; TAG_LEN];
            self.public_rng.fill_bytes(&mut tag);
            if !self.by_tag.contains_key(&tag) {
                return tag;
            }
        }
    }

    /// Lets everything happen that is due. Afterwards [`poll_timeout`](Self::poll_timeout) is `None` or later than
    /// `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.advance(now);
        self.startup.handle_timeout(now);
        while let Some((_, slot)) = self.deadlines.first().filter(|(at, _)| *at <= now) {
            self.drive_opening(slot);
            self.drive_reintroduction(slot);
            self.with_session(slot, |session, cx| session.handle_timeout(cx));
            self.settle(slot);
            // A deadline that is still due would make this loop, and then the driver's, spin.
            if let Some(due) = self.deadlines.first().filter(|due| due.1 == slot && due.0 <= now) {
                debug_assert!(false, "deadline {due:?} is not after {now:?}");
                self.deadlines.set(slot, Some(now + Duration::from_millis(1)));
            }
        }
        self.answer_forwarded();
        self.close_stalled();
    }

    /// Closes sessions that hold what others need.
    fn close_stalled(&mut self) {
        while let Some(slot) = self.memory.victim(self.now) {
            self.with_session(slot, |session, cx| session.close_stalled(cx));
            self.settle(slot);
        }
    }

    /// Fills `buf` with datagrams for one path, sealed and ready to send, or gives `None` when there is nothing to
    /// send now. Startup goes first, then control, then data by priority across all sessions.
    pub fn poll_transmit(&mut self, now: Instant, buf: &mut TransmitBuf) -> Option<Transmit> {
        let now = self.advance(now);
        buf.clear();
        let mut transmit = self.startup.poll(&self.blocked, now, buf, self.default_keys.as_mut());
        while transmit.is_none() {
            let slot = self.ready.pop()?;
            if self.holds_back(slot) {
                continue;
            }
            transmit = self.with_session(slot, |session, cx| session.poll_transmit(cx, buf)).flatten();
            self.settle(slot);
            if transmit.is_none() {
                // It was mistaken: whatever the reason, it must not keep the others waiting, nor the caller.
                self.ready.set(slot, None);
            }
        }
        if let Some(transmit) = &transmit {
            let segment = transmit.segment_size.unwrap_or(transmit.len).max(1);
            self.stats.datagrams_sent += transmit.len.div_ceil(segment) as u64;
            self.stats.bytes_sent += transmit.len as u64;
        }
        transmit
    }

    /// The next thing to know, in the order in which things happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop().or_else(|| self.wake_writers());
        if matches!(event, Some(Event::UnmatchedHello { .. })) {
            self.unmatched -= 1;
        }
        event
    }

    /// Tells writers that were refused because memory was short, and for whom there is some now.
    fn wake_writers(&mut self) -> Option<Event> {
        while self.events.is_empty()
            && let Some(slot) = self.memory.next_writable()
        {
            self.with_session(slot, |session, cx| session.memory_is_back(cx));
        }
        self.events.pop()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next, if nothing else happens first.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let session = self.deadlines.first().map(|(at, _)| at);
        session.into_iter().chain(self.startup.next_timeout()).chain(self.memory.next_timeout()).min()
    }

    /// What the next timeout is for, in the RFC's terms: for those who wonder why they are awake.
    #[must_use]
    pub fn timeout_reason(&self) -> Option<&'static str> {
        if self.memory.next_timeout().is_some_and(|at| self.poll_timeout() == Some(at)) {
            return Some("scarce memory");
        }
        let (at, slot) = match (self.deadlines.first(), self.startup.next_timeout()) {
            (Some(first), Some(startup)) if startup < first.0 => return Some("startup fragments"),
            (None, Some(_)) => return Some("startup fragments"),
            (first, _) => first?,
        };
        let occupant = self.slots.get(slot)?;
        debug_assert!(occupant.session.next_timeout().is_none_or(|(next, _)| next >= at));
        let opening = occupant.opening.as_ref().map(|opening| (opening.next_timeout(), "startup"));
        let again = occupant.reintroduction.as_ref().map(|again| (again.next_timeout(), "reintroduction"));
        opening.into_iter().chain(again).chain(occupant.session.next_timeout()).min().map(|(_, reason)| reason)
    }

    /// A look at a session, or `None` if the handle is stale.
    #[must_use]
    pub fn session(&self, session: SessionHandle) -> Option<SessionRef<'_>> {
        let occupant = self.slots.get(self.slots.resolve(session)?)?;
        Some(SessionRef::new(&occupant.session, self.profile.as_ref()))
    }

    /// Commands for a session, or `None` if the handle is stale.
    pub fn session_mut(&mut self, now: Instant, session: SessionHandle) -> Option<SessionMut<'_>> {
        self.advance(now);
        let slot = self.slots.resolve(session)?;
        Some(SessionMut::new(self, slot))
    }

    /// A look at a sending flow, or `None` if the handle is stale.
    #[must_use]
    pub fn send_flow(&self, flow: SendFlowHandle) -> Option<SendFlowRef<'_>> {
        let occupant = self.slots.get(self.slots.resolve(flow.session)?)?;
        occupant.session.send_flow(flow).map(SendFlowRef::new)
    }

    /// Commands for a sending flow, or `None` if the handle is stale.
    pub fn send_flow_mut(&mut self, now: Instant, flow: SendFlowHandle) -> Option<SendFlowMut<'_>> {
        self.send_flow(flow)?;
        self.advance(now);
        Some(SendFlowMut::new(self, flow))
    }

    /// A look at a receiving flow, or `None` if the handle is stale.
    #[must_use]
    pub fn recv_flow(&self, flow: RecvFlowHandle) -> Option<RecvFlowRef<'_>> {
        let occupant = self.slots.get(self.slots.resolve(flow.session)?)?;
        occupant.session.recv_flow(flow).map(RecvFlowRef::new)
    }

    /// Commands for a receiving flow, or `None` if the handle is stale.
    pub fn recv_flow_mut(&mut self, now: Instant, flow: RecvFlowHandle) -> Option<RecvFlowMut<'_>> {
        self.recv_flow(flow)?;
        self.advance(now);
        Some(RecvFlowMut::new(self, flow))
    }

    /// Every session, opening and lingering ones included.
    pub fn sessions(&self) -> impl Iterator<Item = SessionHandle> + '_ {
        self.slots.iter().map(|(_, occupant)| occupant.session.handle())
    }

    /// Counters of the endpoint.
    #[must_use]
    pub const fn stats(&self) -> EndpointStats {
        self.stats
    }

    /// The near identity.
    #[must_use]
    pub fn profile(&self) -> &dyn CryptoProfile {
        self.profile.as_ref()
    }

    /// Closes every session (RFC 7016 §3.5.5).
    pub fn close_all(&mut self, now: Instant, mode: CloseMode) {
        self.advance(now);
        let slots: Vec<u32> = self.slots.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.close_session(slot, mode);
        }
    }

    fn close_session(&mut self, slot: u32, mode: CloseMode) {
        self.with_session(slot, |session, cx| session.close(cx, mode));
        self.settle(slot);
    }

    /// The clock of this call: never earlier than any before.
    fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    /// Lends a session what it needs for one call.
    fn with_session<R>(&mut self, slot: u32, call: impl FnOnce(&mut Session, &mut Context<'_>) -> R) -> Option<R> {
        let occupant = self.slots.get_mut(slot)?;
        occupant.session.grant(&self.memory.grant(&occupant.session));
        let mut context = Context {
            now: self.now,
            events: &mut self.events,
            rng: &mut self.private_rng,
            time_critical: &mut self.time_critical,
            forwarded: &mut self.forwarded,
            stats: &mut self.stats,
        };
        let result = call(&mut occupant.session, &mut context);
        self.memory.update(self.now, slot, &mut occupant.charge, &occupant.session);
        Some(result)
    }

    /// Counts a packet or chunk that was not used.
    fn count(&mut self, reason: DropReason) {
        self.stats.count(reason);
    }
}
