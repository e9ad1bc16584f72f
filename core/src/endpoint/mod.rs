//! The endpoint: owns sessions, knows who a datagram is for, and starts sessions (RFC 7016 §3.5.1).
//!
//! [`SessionTable`] owns the sessions and everything that they are found by; nothing else can change one. [`Shared`]
//! is what every part uses. [`Handshake`] and [`Introduction`] are state machines that work on both, lent to them
//! together as an [`Env`].
//!
//! # The handshake
//!
//! `demux` hands each chunk to its handler. In the order of the packets (RFC 7016 §3.5.1, figure 9):
//!
//! | packet | at the initiator | at the responder |
//! |---|---|---|
//! | IHello | `Endpoint::open`, then `drive_opening` (`initiator`) until the session is open or has failed | `on_initiator_hello` (`responder`): a cookie, and nothing is remembered |
//! | RHello | `on_responder_hello` (`initiator`), `initiate` (`jobs`), `on_initiated`, `begin_keying` (`keying`) | |
//! | IIKeying | `drive_opening` | `on_initiator_keying` (`responder`): `check_keying`, `place_keying`; `respond` (`jobs`), `on_responded`, `open_as_responder` |
//! | RIKeying | `on_responder_keying` (`keying`), `finish` (`jobs`), `on_finished` | |
//! | the first of the session | `handle_packet` (`demux`), `on_keys_proved` (`rivals`) | the same |
//!
//! `glare` decides between two ends that open sessions to each other at once, and `rivals` which of several sessions with
//! one far end lives. `introduce` and `reintroduce` are about third parties.
//!
//! Functions of [`Handshake`] need cookies, rates, reassembly or jobs. Those of [`Env`] need sessions alone, and those of
//! [`SessionEntry`] need one session. Names begin alike for one purpose: `on_` takes a chunk or a result, `check_`
//! judges it by itself, `allow_` asks a limit, `send_` queues a packet.
//!
//! Three types say how far a session is. [`SessionState`](crate::SessionState) is the RFC's state. [`Phase`] says who
//! began it, with what that end still needs. `Standing` says what the far end has shown, for the index.

mod backoff;
mod carriers;
mod cookie;
mod demux;
mod entry;
mod env;
mod fragments;
mod glare;
mod handshake;
mod ids;
mod index;
mod initiator;
mod interfaces;
mod introduce;
mod jobs;
mod key_agreement;
mod keying;
mod limits;
mod memory;
mod prepared;
mod reintroduce;
mod responder;
mod rivals;
mod schedule;
mod shared;
mod sources;
mod startup;
mod table;
#[cfg(test)]
mod tests;
mod traced;
mod tracked;
mod used_keyings;
mod views;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use chacha20::ChaCha20Rng;
use rand_core::{CryptoRng, Rng as _, SeedableRng as _};
use zeroize::Zeroizing;

pub use key_agreement::{KeyAgreement, KeyAgreementResult};
pub use views::{RecvFlowMut, RecvFlowRef, SendFlowMut, SendFlowRef, SessionMut, SessionRef};

use crate::config::EndpointConfig;
use crate::error::{ConfigError, OpenError};
use crate::event::{Event, EventQueue};
use crate::handle::{RecvFlowHandle, SendFlowHandle, SessionHandle};
use crate::profile::CryptoProfile;
use crate::session::{CloseMode, Role, Session, TimeCriticalClock};
use crate::stats::EndpointStats;
use crate::time::Instant;
use crate::trace::Trace;
use crate::transmit::{Path, Transmit, TransmitBuf};
use carriers::Carriers;
use cookie::Cookies;
use entry::{Phase, SessionEntry};
use env::Env;
use fragments::Reassembly;
use handshake::Handshake;
use initiator::Opening;
use interfaces::Blocked;
use introduce::Introduction;
use jobs::Agreements;
use limits::{Asking, HiddenKey, ReplyLimits, SharedRate};
use reintroduce::Forwards;
use shared::Shared;
use startup::StartupQueue;
use table::SessionTable;
use used_keyings::UsedKeyings;

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
    table: SessionTable,
    shared: Shared,
    handshake: Handshake,
    introduction: Introduction,
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
        let handshake = Handshake {
            cookies,
            keying_limits: SharedRate::new(units, units_per_source, now, key),
            reassembly: Reassembly::default(),
            agreements: Agreements::default(),
            forwards: Forwards::default(),
        };
        let shared = Shared {
            default_keys: profile.default_keys(),
            reply_limits: ReplyLimits::new(&config, now, key),
            asking: Asking::default(),
            probe_limits: SharedRate::new(config.max_probes_per_second, config.max_probes_per_host, now, key),
            offload: false,
            blocked: Blocked::default(),
            carriers: Carriers::default(),
            config,
            profile,
            now,
            public_rng,
            private_rng,
            startup: StartupQueue::new(key),
            events: EventQueue::default(),
            time_critical: TimeCriticalClock::default(),
            forwarded: VecDeque::new(),
            used_keyings: UsedKeyings::new(units),
            stats: EndpointStats::default(),
        };
        let table = SessionTable::new(&shared.config);
        Ok(Self { table, shared, handshake, introduction: Introduction::default() })
    }

    /// Begins a session (RFC 7016 §3.5.1.1.1). Flows can be opened and written at once; they are sent when the
    /// session opens. Ends in [`SessionOpened`](Event::SessionOpened) or [`SessionFailed`](Event::SessionFailed).
    ///
    /// # Errors
    /// [`OpenError`]: too many sessions, no candidates, or a discriminator that does not fit a hello.
    pub fn open(&mut self, now: Instant, target: Target) -> Result<SessionHandle, OpenError> {
        let now = self.shared.advance(now);
        if target.discriminator.is_empty() || target.discriminator.len() > initiator::MAX_DISCRIMINATOR {
            return Err(OpenError::BadDiscriminator);
        }
        if !self.shared.profile.is_discriminator(&target.discriminator) {
            return Err(OpenError::BadDiscriminator);
        }
        if target.candidates.is_empty() {
            return Err(OpenError::NoCandidates);
        }
        if self.table.opening() >= self.shared.config.max_opening || !self.table.make_room(&mut self.shared) {
            return Err(OpenError::TooManySessions);
        }
        let config = self.shared.config.session.clone();
        let tag = self.table.unused_tag(&mut self.shared);
        let opening = Opening::new(target, tag, now, &self.shared.config);
        let make = |handle| {
            let session = Session::new(handle, Role::Initiator, config, now);
            SessionEntry::new(session, Phase::Opening(Box::new(opening)))
        };
        let slot = self.table.insert(&mut self.shared, make, SessionEntry::drive_opening);
        let entry = self.table.get(slot).ok_or(OpenError::TooManySessions)?;
        Ok(entry.session.handle())
    }

    /// Lets everything happen that is due. Afterwards [`poll_timeout`](Self::poll_timeout) is `None` or later than
    /// `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.shared.advance(now);
        if self.poll_timeout().is_some_and(|at| at <= now) {
            self.on_due(now);
        }
    }

    /// Something is due.
    #[inline(never)]
    fn on_due(&mut self, now: Instant) {
        self.shared.startup.handle_timeout(now);
        self.env().handle_due();
        self.handshake.answer_forwarded(&mut self.shared);
        self.env().close_stalled();
        self.env().release_carriers();
    }

    /// Fills `buf` with datagrams for one path, sealed and ready to send, or gives `None` when there is nothing to
    /// send now. Startup goes first, then control, then data by priority across all sessions.
    pub fn poll_transmit(&mut self, now: Instant, buf: &mut TransmitBuf) -> Option<Transmit> {
        self.shared.advance(now);
        buf.clear();
        if self.shared.startup.is_empty() && !self.table.has_ready() { None } else { self.env().transmit(buf) }
    }

    /// The next thing to know, in the order in which things happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        if self.shared.events.is_empty() && self.table.writable().is_some() {
            self.env().wake_writers();
        }
        let event = self.shared.events.pop()?;
        self.introduction.on_taken(&event);
        Some(event)
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next, if nothing else happens first.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let session = self.table.first_deadline().map(|(at, _)| at);
        let Shared { startup, carriers, .. } = &self.shared;
        Instant::earliest([session, startup.next_timeout(), carriers.next_timeout(), self.table.scarcity_timeout()])
    }

    /// What the next timeout is for, in the RFC's terms: for those who wonder why they are awake.
    #[must_use]
    pub fn timeout_reason(&self) -> Option<&'static str> {
        if self.table.scarcity_timeout().is_some_and(|at| self.poll_timeout() == Some(at)) {
            return Some("scarce memory");
        }
        if self.shared.carriers.next_timeout().is_some_and(|at| self.poll_timeout() == Some(at)) {
            return Some("carriers");
        }
        let (at, slot) = match (self.table.first_deadline(), self.shared.startup.next_timeout()) {
            (Some(first), Some(startup)) if startup < first.0 => return Some("startup fragments"),
            (None, Some(_)) => return Some("startup fragments"),
            (first, _) => first?,
        };
        let entry = self.table.get(slot)?;
        debug_assert!(entry.session.deadlines().next().is_none_or(|(next, _)| next >= at));
        entry.timeout_reason()
    }

    /// A look at a session, or `None` if the handle is stale.
    #[must_use]
    pub fn session(&self, session: SessionHandle) -> Option<SessionRef<'_>> {
        let entry = self.table.get(self.table.resolve(session)?)?;
        Some(SessionRef::new(&entry.session, self.shared.profile.as_ref()))
    }

    /// Commands for a session, or `None` if the handle is stale.
    pub fn session_mut(&mut self, now: Instant, session: SessionHandle) -> Option<SessionMut<'_>> {
        self.shared.advance(now);
        let slot = self.table.resolve(session)?;
        Some(SessionMut::new(self.env(), slot))
    }

    /// A look at a sending flow, or `None` if the handle is stale.
    #[must_use]
    pub fn send_flow(&self, flow: SendFlowHandle) -> Option<SendFlowRef<'_>> {
        let entry = self.table.get(self.table.resolve(flow.session)?)?;
        entry.session.delivery().send_flow(flow).map(SendFlowRef::new)
    }

    /// Commands for a sending flow, or `None` if the handle is stale.
    pub fn send_flow_mut(&mut self, now: Instant, flow: SendFlowHandle) -> Option<SendFlowMut<'_>> {
        self.send_flow(flow)?;
        self.shared.advance(now);
        Some(SendFlowMut::new(self.env(), flow))
    }

    /// A look at a receiving flow, or `None` if the handle is stale.
    #[must_use]
    pub fn recv_flow(&self, flow: RecvFlowHandle) -> Option<RecvFlowRef<'_>> {
        let entry = self.table.get(self.table.resolve(flow.session)?)?;
        entry.session.delivery().recv_flow(flow).map(RecvFlowRef::new)
    }

    /// Commands for a receiving flow, or `None` if the handle is stale.
    pub fn recv_flow_mut(&mut self, now: Instant, flow: RecvFlowHandle) -> Option<RecvFlowMut<'_>> {
        self.recv_flow(flow)?;
        self.shared.advance(now);
        Some(RecvFlowMut::new(self.env(), flow))
    }

    /// Every session, opening and lingering ones included.
    pub fn sessions(&self) -> impl Iterator<Item = SessionHandle> + '_ {
        self.table.iter().map(|(_, entry)| entry.session.handle())
    }

    /// Counters of the endpoint.
    #[must_use]
    pub const fn stats(&self) -> EndpointStats {
        self.shared.stats
    }

    /// Has a sink told of everything that happens from now on, or nobody with `None`. Returns the sink that was told
    /// before.
    pub fn set_trace(&mut self, sink: Option<Box<dyn Trace>>) -> Option<Box<dyn Trace>> {
        self.shared.events.tracer.set(sink)
    }

    /// The near identity.
    #[must_use]
    pub fn profile(&self) -> &dyn CryptoProfile {
        self.shared.profile.as_ref()
    }

    /// Closes every session (RFC 7016 §3.5.5) at once. Far ends of sessions that go over an interface
    /// [of last resort](crate::InterfaceId::last_resort) do not hear of it: [`drain_all`](Self::drain_all) sees to that.
    pub fn close_all(&mut self, now: Instant, mode: CloseMode) {
        self.shared.advance(now);
        self.env().each(|_| true, |entry, shared| entry.session.end(&mut shared.context(), mode.into()));
    }

    /// [Drains](SessionMut::drain) every session. From then on no other is accepted, as if
    /// [`EndpointConfig::accept`] were false: who was told to go would come back at once.
    pub fn drain_all(&mut self, now: Instant, deadline: Instant) {
        self.shared.advance(now);
        self.shared.config.accept = false;
        let slots: Vec<u32> = self.table.iter().map(|(slot, _)| slot).collect();
        slots.into_iter().for_each(|slot| self.env().drain(slot, deadline));
    }

    /// The state of the handshake, and what it works on.
    const fn split(&mut self) -> (&mut Handshake, Env<'_>) {
        (&mut self.handshake, Env { table: &mut self.table, shared: &mut self.shared })
    }

    /// The sessions, and what all parts use.
    const fn env(&mut self) -> Env<'_> {
        Env { table: &mut self.table, shared: &mut self.shared }
    }
}
