//! Sessions (RFC 7016 §3.5) once keys exist, and the flows that wait for one to open.
//!
//! A [`Session`] has owners of its state, each with the deadlines of its subject: [`Transport`] (path and keys),
//! [`Delivery`] (flows, acknowledgements, recovery, congestion control), `Control` with `Liveness` (other chunks, pings
//! and limits of silence), and `Lifecycle` (states and closes). A part may use those before it, and none knows the
//! session. The session itself dispatches: timeouts and commands here, the way to S_OPEN in `opening`, and what its end
//! means for the parts in `close`. To build packets (`packetizer`), and to take them apart (`receive`), all parts are
//! borrowed for one call. Every entry ends in `update_timers`, which brings what is derived in line, so that
//! `demand` and `deadlines` are exact between calls.

mod alarm;
mod close;
mod context;
mod control;
mod delivery;
mod lifecycle;
mod opening;
mod packetizer;
mod path_change;
mod receive;
mod state;
#[cfg(test)]
mod tests;
mod time_critical;
mod transport;
mod watch;

use core::fmt;
use core::net::SocketAddr;
use core::num::NonZeroI32;
use core::time::Duration;

use crate::config::{FlowOptions, SessionConfig};
use crate::error::OpenFlowError;
use crate::event::{CloseReason, Event};
use crate::handle::{SendFlowHandle, SessionHandle};
use crate::params::PROOF_TIMEOUT;
use crate::stats::SessionStats;
use crate::time::Instant;
use crate::transmit::{Path, Transmit, TransmitBuf};
use crate::wire::{Address, AddressOrigin, EncodeChunk, ForwardedHello};

use alarm::Deadlines;
use control::liveness::Liveness;
use control::{Control, OffPathProbe};
use lifecycle::{ClosingDeadlines, Lifecycle};
use packetizer::{Demand, Packetizer};
use watch::{Measured, Watch};

pub use crate::profile::Role;
pub use crate::session_state::SessionState;
pub(crate) use alarm::TIMERS;
pub(crate) use context::{Context, Established, Grant, Memory, ReceivedForward};
pub(crate) use delivery::{Delivery, Receiving, SendFlows};
pub use lifecycle::CloseMode;
pub(crate) use lifecycle::Ending;
pub(crate) use path_change::{MoveBasis, NetworkChange};
pub(crate) use time_critical::TimeCriticalClock;
pub(crate) use transport::{PathRule, Transport};

/// One session: opening (flows may be opened and written), open, or closing. What one part needs of another is handed to
/// it for the time of a call.
pub(crate) struct Session {
    handle: SessionHandle,
    config: SessionConfig,
    /// State, and closes.
    lifecycle: Lifecycle,
    /// Path and keys.
    transport: Transport,
    /// Flows, acknowledgements, recovery, congestion control.
    delivery: Delivery,
    /// Chunks of other kinds that are to be sent.
    control: Control,
    liveness: Liveness,
    watch: Watch,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Session");
        out.field("handle", &self.handle).field("role", &self.transport.role).field("state", &self.state());
        out.finish_non_exhaustive()
    }
}

impl Session {
    /// In S_IHELLO_SENT (the endpoint drives startup; it calls `keying_sent` on the way, then `establish` or `end`).
    pub(crate) fn new(handle: SessionHandle, role: Role, config: SessionConfig, _now: Instant) -> Self {
        Self {
            handle,
            lifecycle: Lifecycle::new(),
            transport: Transport::new(role, &config),
            delivery: Delivery::new(handle, &config),
            control: Control::default(),
            liveness: Liveness::new(&config),
            watch: Watch::default(),
            config,
        }
    }

    pub(crate) fn handle(&self) -> SessionHandle {
        self.handle
    }

    pub(crate) fn state(&self) -> SessionState {
        self.lifecycle.state()
    }

    /// Path and keys.
    pub(crate) const fn transport(&self) -> &Transport {
        &self.transport
    }

    /// The flows.
    pub(crate) const fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    pub(crate) fn stats(&self) -> SessionStats {
        let recovery = &self.delivery.sending.recovery;
        SessionStats {
            fragments_lost: recovery.fragments_lost,
            timeouts: recovery.timeouts,
            congestion_events: recovery.congestion_events,
            target_rate: self.watch.steady(recovery.target_rate(&self.transport)),
            cwnd: recovery.controller.window(),
            ssthresh: recovery.controller.ssthresh(),
            pacing_rate: recovery.pacing_rate(),
            congestion_phase: recovery.controller.phase(),
            outstanding: recovery.in_flight.outstanding(),
            ..self.transport.stats()
        }
    }

    /// The user has seen what is measured, and is to be told of the next change.
    pub(crate) fn watch(&mut self, now: Instant) {
        self.watch.arm(now, Measured::now(&self.transport, &self.delivery));
    }

    /// What the endpoint grants to the session.
    pub(crate) const fn grant(&mut self, grant: &Grant) {
        self.delivery.grant(grant);
    }

    /// What the session takes of the endpoint's memory.
    pub(crate) fn memory(&self) -> Memory {
        let Memory { recv, send } = self.delivery.memory();
        Memory { recv, send: send + self.control.memory() }
    }

    /// Every deadline that there can be, and what it is for.
    #[inline]
    pub(crate) fn deadlines(&self) -> Deadlines {
        let Self { lifecycle, transport, delivery, liveness, watch, .. } = self;
        let ClosingDeadlines { idle, retry, end } = lifecycle.deadlines();
        let path_mtu = transport.mtu.next_timeout().filter(|_| lifecycle.is_open());
        Deadlines([
            (liveness.retransmit_limit.get(), "retransmit limit"),
            (delivery.sending.recovery.timer.get(), "retransmission timeout"),
            (delivery.sending.recovery.held_until(), "pacing"),
            (delivery.receiving.acks.delayed.get(), "delayed acknowledgement"),
            (liveness.keepalive.get(), "keepalive"),
            (liveness.ping_retry.get(), "ping retry"),
            (delivery.next_flow_deadline(), "flow deadline"),
            (idle.get(), "idle limit"),
            (retry.get(), "close retry"),
            (end.get(), "close linger"),
            (path_mtu, "path MTU discovery"),
            (transport.proof.get(), "proof of keys"),
            (delivery.stall.get(), "stall limit"),
            (watch.due().filter(|_| lifecycle.is_open()), "news for the user"),
        ])
    }

    /// Does everything that is due. Afterwards no deadline is in the past.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        let now = cx.now;
        let unanswered = self.liveness.ping_unanswered() || self.delivery.sending.awaits_answer();
        if self.liveness.retransmit_limit.take_due(now) && unanswered {
            let reason = match self.liveness.send_error {
                Some(os_error) => CloseReason::NotSent { os_error: os_error.get() },
                None if self.transport.authenticates() => CloseReason::TimedOut,
                None => CloseReason::TimedOutAtFixedAddress,
            };
            self.end(cx, Ending::Abrupt(reason));
        }
        let lost = self.delivery.on_alarms(cx, &mut self.transport);
        // What was lost may all be abandoned: then nothing waits for an answer any more.
        if lost && !self.delivery.sending.awaits_answer() && !self.liveness.ping_unanswered() {
            self.liveness.retransmit_limit.clear();
        }
        self.liveness.handle_timeout(now, &mut self.transport);
        self.delivery.on_flow_deadlines(cx, &self.config, self.transport.rtt.erto());
        if let Some(ending) = self.lifecycle.handle_timeout(now) {
            self.end(cx, ending);
        }
        if self.delivery.stall.take_due(now) {
            self.on_stall(cx);
        }
        // A path that carries small packets only, while data waits for larger ones, is as good as none.
        if self.lifecycle.is_open() && self.transport.on_path_mtu(now) && self.delivery.sending.awaits_answer() {
            self.end(cx, Ending::Abrupt(CloseReason::PacketSize));
        }
        if self.transport.proof.take_due(now) {
            self.end(cx, Ending::Abrupt(CloseReason::Unproved));
        }
        self.update_timers(cx);
    }

    /// Brings what is derived in line with what has changed. O(1).
    fn update_timers(&mut self, cx: &mut Context<'_>) {
        // All that came from the far end is acknowledged too, so that it knows what has arrived here.
        if self.lifecycle.is_draining() && self.delivery.is_all_acknowledged() {
            self.end(cx, CloseMode::Orderly.into());
        }
        let now = cx.now;
        match self.state() {
            SessionState::HelloSent | SessionState::KeyingSent => {}
            SessionState::Open => {
                self.delivery.update_timers(now, &self.transport, &self.config);
                let limit = self.transport.idle_limit(self.config.idle_limit);
                self.lifecycle.update_idle(now, !self.delivery.is_empty(), limit);
                if self.watch.take_news(now, || Measured::now(&self.transport, &self.delivery)) {
                    cx.events.push(Event::SessionUpdated { session: self.handle });
                }
            }
            SessionState::NearClose
            | SessionState::FarCloseLinger
            | SessionState::Closed
            | SessionState::OpenFailed => {
                self.update_unread(now);
                if self.has_said_all() {
                    self.transport.forget_secrets();
                }
            }
        }
    }

    /// A command to the flows.
    pub(crate) fn command<R>(
        &mut self,
        cx: &mut Context<'_>,
        command: impl FnOnce(&mut Delivery, &mut Context<'_>) -> R,
    ) -> R {
        let result = command(&mut self.delivery, cx);
        self.update_timers(cx);
        result
    }

    /// As configured, or as it was set.
    pub(crate) const fn idle_limit(&self) -> Duration {
        self.config.idle_limit
    }

    pub(crate) fn set_idle_limit(&mut self, cx: &mut Context<'_>, limit: Duration) {
        self.config.idle_limit = limit;
        self.lifecycle.restart_idle();
        self.update_timers(cx);
    }

    pub(crate) fn set_max_rate(&mut self, cx: &mut Context<'_>, rate: Option<u64>) {
        self.delivery.sending.set_max_rate(cx.now, rate);
        self.update_timers(cx);
    }

    /// Opens a sending flow (RFC 7016 §3.6.2.1), also while the session is opening.
    pub(crate) fn open_flow(
        &mut self,
        cx: &mut Context<'_>,
        options: FlowOptions,
    ) -> Result<SendFlowHandle, OpenFlowError> {
        if !self.lifecycle.takes_flows() {
            return Err(OpenFlowError::SessionClosed);
        }
        let opened = self.delivery.open_flow(&self.config, &options);
        self.update_timers(cx);
        opened
    }

    /// Queues an FIHello to the far end (RFC 7016 §3.5.1.5). False if too many wait, if it is too long for a packet,
    /// or if the session is not open.
    pub(crate) fn forward_hello(&mut self, discriminator: &[u8], reply_address: SocketAddr, tag: &[u8]) -> bool {
        let address = Address { origin: AddressOrigin::Observed, socket: reply_address };
        let length = ForwardedHello { discriminator, reply_address: address, tag }.payload_len();
        self.lifecycle.is_open()
            && length <= self.transport.single_chunk_room(self.delivery.sending.window())
            && self.control.forward(discriminator, reply_address, tag)
    }

    /// Sends a Ping now, for the user. Never more than one per ERTO (RFC 7016 §3.5.4.1).
    pub(crate) fn ping(&mut self, now: Instant) {
        if self.lifecycle.is_open() && !self.liveness.ping_unanswered() {
            self.liveness.send_ping(now, &self.transport.rtt);
        }
    }

    /// Asks the far end to show that it has the keys. If it does not, the session ends after a while.
    pub(crate) fn demand_proof(&mut self, now: Instant) {
        if self.lifecycle.is_open() && !self.transport.keys_proved() {
            self.ping(now);
            self.transport.proof.set_if_unset(now + PROOF_TIMEOUT);
        }
    }

    /// What was sent is not answered, time and again: the path may be closed.
    pub(crate) fn is_struggling(&self) -> bool {
        self.lifecycle.is_open() && self.transport.is_struggling()
    }

    /// It goes over an interface of last resort, as nothing better was proved.
    #[inline]
    pub(crate) fn is_on_last_resort(&self) -> bool {
        self.lifecycle.is_open() && self.transport.path().is_some_and(|path| path.interface.is_last_resort())
    }

    /// Whether an interface of last resort leads over this session.
    pub(crate) const fn carries(&self) -> bool {
        self.transport.carries()
    }

    /// An interface of last resort leads over this session.
    pub(crate) const fn carry(&mut self) {
        self.transport.carry();
    }

    /// Hellos that the far end forwards are not answered from now on.
    pub(crate) const fn ignore_forwarded(&mut self) {
        self.control.ignores_forwarded = true;
    }

    pub(crate) const fn set_path_rule(&mut self, rule: PathRule) {
        self.transport.set_path_rule(rule);
    }

    /// The path of last resort that it can go back to.
    #[inline]
    pub(crate) fn fallback(&self) -> Option<Path> {
        self.transport.fallback()
    }

    /// The far end may be reached over this path: asks for proof, and opens the way for what comes back.
    pub(crate) fn probe_path(&mut self, cx: &mut Context<'_>, path: Path) {
        let Some(own) = self.transport.path().filter(|_| self.lifecycle.is_open()) else { return };
        if own.matches(&path) {
            self.liveness.send_ping(cx.now, &self.transport.rtt);
        } else if let Some(message) = self.transport.probe(cx.now, cx.rng, path) {
            self.control.queue_off_path(OffPathProbe { path, message, reply: false });
        }
    }

    /// The system refused to send over this path.
    pub(crate) fn on_send_error(&mut self, path: Path, os_error: i32) {
        if self.transport.path().is_some_and(|own| own.matches(&path)) {
            self.liveness.send_error = NonZeroI32::new(os_error);
        }
    }

    /// What builds packets of the parts.
    fn packetizer(&mut self) -> Packetizer<'_> {
        Packetizer {
            session: self.handle,
            lifecycle: &mut self.lifecycle,
            transport: &mut self.transport,
            delivery: &mut self.delivery,
            control: &mut self.control,
            liveness: &mut self.liveness,
        }
    }

    /// What `poll_transmit` has to send now.
    #[inline]
    pub(crate) const fn demand(&self) -> Demand<'_> {
        let Self { lifecycle, transport, delivery, control, liveness, .. } = self;
        Demand { lifecycle, transport, delivery, control, liveness }
    }

    /// Fills a flight: scrambled session IDs, plain packets, sealed. None: nothing to send.
    pub(crate) fn poll_transmit(&mut self, cx: &mut Context<'_>, buf: &mut TransmitBuf) -> Option<Transmit> {
        let transmit = self.packetizer().poll(cx, buf);
        self.update_timers(cx);
        transmit
    }
}
