//! Sessions (RFC 7016 §3.5) once keys exist, and the flows that wait for one to open.
//!
//! A [`Session`] has three owners of state, each with the deadlines of its subject: [`Transport`] (path and keys),
//! [`Delivery`] (flows, acknowledgements, recovery, congestion control), and `Control` with `Liveness` (other chunks,
//! pings and limits of silence). A part may use those before it, and none knows the session. The session itself
//! dispatches: packets in `receive`, timeouts and commands here, the way to S_OPEN in `opening` and its end in `close`;
//! `packetizer` borrows the parts to build packets. Every entry ends in `update_timers`, which brings what is derived in
//! line, so that `wants_transmit` and `next_timeout` are exact between calls.

mod alarm;
mod close;
mod context;
mod control;
mod delivery;
mod opening;
mod packetizer;
mod receive;
mod state;
#[cfg(test)]
mod tests;
mod time_critical;
mod transport;

use core::fmt;
use core::net::SocketAddr;

use crate::config::{FlowOptions, Priority, SessionConfig};
use crate::error::OpenFlowError;
use crate::event::CloseReason;
use crate::handle::{SendFlowHandle, SessionHandle};
use crate::params::{CLOSE_RETRY_INTERVAL, PROOF_TIMEOUT};
use crate::stats::SessionStats;
use crate::time::Instant;
use crate::transmit::{Path, Transmit, TransmitBuf};
use crate::wire::{Address, AddressOrigin, EncodeChunk, ForwardedHello};

use alarm::{Deadline, earliest};
use close::Closing;
use control::liveness::Liveness;
use control::{Control, OffPathProbe};
use packetizer::{Demand, Packetizer};
use state::StateMachine;

pub use crate::session_state::SessionState;
pub use context::Role;
pub(crate) use context::{Context, Established, Grant, Memory, ReceivedForward};
pub(crate) use delivery::Delivery;
pub(crate) use time_critical::TimeCriticalClock;
pub(crate) use transport::Transport;

/// Deadlines that a session can have.
pub(crate) const TIMERS: usize = 12;

/// Forwarded hellos that may wait for the endpoint; more are dropped.
const MAX_FORWARDED: usize = 32;

/// How to close a session (RFC 7016 §3.5.5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CloseMode {
    /// With a Session Close Request, repeated until acknowledged.
    Orderly,
    /// With a single Session Close Acknowledgement, without waiting.
    Abrupt,
}

/// One session: opening (flows may be opened and written), open, or closing. What one part needs of another is handed to
/// it for the time of a call.
pub(crate) struct Session {
    handle: SessionHandle,
    config: SessionConfig,
    state: StateMachine,
    /// Path and keys.
    transport: Transport,
    /// Flows, acknowledgements, recovery, congestion control.
    delivery: Delivery,
    /// Chunks of other kinds that are to be sent.
    control: Control,
    liveness: Liveness,
    closing: Closing,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Session");
        out.field("handle", &self.handle).field("role", &self.transport.role).field("state", &self.state.get());
        out.finish_non_exhaustive()
    }
}

impl Session {
    /// In S_IHELLO_SENT (the endpoint drives startup; it calls `keying_sent` on the way, then `establish` or `fail`).
    pub(crate) fn new(handle: SessionHandle, role: Role, config: SessionConfig, _now: Instant) -> Self {
        Self {
            handle,
            state: StateMachine::new(),
            transport: Transport::new(role, &config),
            delivery: Delivery::new(handle, &config),
            control: Control::default(),
            liveness: Liveness::new(&config),
            closing: Closing::default(),
            config,
        }
    }

    pub(crate) fn handle(&self) -> SessionHandle {
        self.handle
    }

    pub(crate) fn state(&self) -> SessionState {
        self.state.get()
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
        let recovery = &self.delivery.recovery;
        SessionStats {
            fragments_lost: recovery.fragments_lost,
            timeouts: recovery.timeouts,
            cwnd: recovery.controller.window(),
            ssthresh: recovery.controller.ssthresh(),
            outstanding: recovery.in_flight.outstanding(),
            ..self.transport.stats()
        }
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

    /// The earliest deadline. Asked after every call, so it does without what [`next_timeout`](Self::next_timeout) tells.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        Instant::earliest(self.deadlines().map(|(at, _)| at))
    }

    /// The earliest deadline, and what it is for.
    pub(crate) fn next_timeout(&self) -> Option<Deadline> {
        earliest(self.deadlines())
    }

    /// Every deadline that there can be, and what it is for.
    #[inline]
    pub(crate) fn deadlines(&self) -> [(Option<Instant>, &'static str); TIMERS] {
        let Self { transport, delivery, liveness, closing, .. } = self;
        let path_mtu = transport.mtu.next_timeout().filter(|_| self.state.is_open());
        [
            (liveness.retransmit_limit.get(), "retransmit limit"),
            (delivery.timeout.get(), "retransmission timeout"),
            (delivery.delayed_ack.get(), "delayed acknowledgement"),
            (liveness.keepalive.get(), "keepalive"),
            (liveness.ping_retry.get(), "ping retry"),
            (delivery.flows.next_deadline(), "flow deadline"),
            (closing.idle.get(), "idle limit"),
            (closing.retry.get(), "close retry"),
            (closing.end.get(), "close linger"),
            (path_mtu, "path MTU discovery"),
            (transport.proof.get(), "proof of keys"),
            (delivery.stall.get(), "stall limit"),
        ]
    }

    /// Does everything that is due. Afterwards no deadline is in the past.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        let now = cx.now;
        let unanswered = self.liveness.ping_unanswered() || self.delivery.awaits_answer();
        if self.liveness.retransmit_limit.take_due(now) && unanswered {
            let reason = match self.liveness.send_error {
                Some(os_error) => CloseReason::NotSent { os_error },
                None if self.transport.authenticates() => CloseReason::TimedOut,
                None => CloseReason::TimedOutAtFixedAddress,
            };
            self.end_abruptly(cx, reason);
        }
        if self.delivery.timeout.take_due(now) {
            self.delivery.on_timeout_alarm(cx, &mut self.transport);
            // What was lost may all be abandoned: then nothing waits for an answer any more.
            if self.delivery.flows.scheduler.is_empty() && !self.liveness.ping_unanswered() {
                self.liveness.retransmit_limit.clear();
            }
        }
        if self.delivery.delayed_ack.take_due(now) {
            self.delivery.acks.set_now();
        }
        if self.liveness.ping_retry.take_due(now) {
            self.liveness.on_ping_retry(now, &mut self.transport, &mut self.control);
        }
        if self.liveness.keepalive.take_due(now) {
            self.liveness.on_keepalive(now, &self.transport, &mut self.control);
        }
        self.delivery.on_flow_deadlines(cx, &self.config, self.transport.rtt.erto());
        if self.closing.idle.take_due(now) {
            self.close_orderly(cx, CloseReason::Idle);
        }
        if self.closing.retry.take_due(now) && self.state.get() == SessionState::NearClose {
            self.control.close = true;
            self.closing.retry.set(now + CLOSE_RETRY_INTERVAL);
        }
        if self.closing.end.take_due(now) {
            self.on_closing_end(cx);
        }
        if self.delivery.stall.take_due(now) {
            self.end_abruptly(cx, CloseReason::Stalled);
        }
        // A path that carries small packets only, while data waits for larger ones, is as good as none.
        if self.state.is_open() && self.transport.on_path_mtu(now) && self.delivery.awaits_answer() {
            self.end_abruptly(cx, CloseReason::PacketSize);
        }
        if self.transport.proof.take_due(now) {
            self.end_abruptly(cx, CloseReason::Unproved);
        }
        self.update_timers(cx);
    }

    /// Brings what is derived in line with what has changed. O(1).
    fn update_timers(&mut self, cx: &mut Context<'_>) {
        self.close_if_drained(cx);
        let now = cx.now;
        match self.state.get() {
            SessionState::HelloSent | SessionState::KeyingSent => {}
            SessionState::Open => {
                self.delivery.update_timers(now, &self.transport, &self.config);
                if self.delivery.flows.is_empty() {
                    self.closing.idle.set_if_unset(now + self.config.idle_limit);
                } else {
                    self.closing.idle.clear();
                }
            }
            SessionState::NearClose
            | SessionState::FarCloseLinger
            | SessionState::Closed
            | SessionState::OpenFailed => self.update_unread(now),
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

    /// Opens a sending flow (RFC 7016 §3.6.2.1), also while the session is opening.
    pub(crate) fn open_flow(
        &mut self,
        cx: &mut Context<'_>,
        options: FlowOptions,
    ) -> Result<SendFlowHandle, OpenFlowError> {
        let exists = self.state.get().is_opening() || self.state.is_open();
        if !exists || self.closing.draining {
            return Err(OpenFlowError::SessionClosed);
        }
        let opened = self.delivery.open_flow(&self.config, options);
        self.update_timers(cx);
        opened
    }

    /// Queues an FIHello to the far end (RFC 7016 §3.5.1.5). False if too many wait, if it is too long for a packet,
    /// or if the session is not open.
    pub(crate) fn forward_hello(&mut self, discriminator: &[u8], reply_address: SocketAddr, tag: &[u8]) -> bool {
        let address = Address { origin: AddressOrigin::Observed, socket: reply_address };
        let length = ForwardedHello { discriminator, reply_address: address, tag }.payload_len();
        self.state.is_open()
            && length <= self.transport.single_chunk_room(self.delivery.window())
            && self.control.forward(discriminator, reply_address, tag)
    }

    /// Sends a Ping now, for the user. Never more than one per ERTO (RFC 7016 §3.5.4.1).
    pub(crate) fn ping(&mut self, now: Instant) {
        if self.state.is_open() && !self.liveness.ping_unanswered() {
            self.liveness.send_ping(now, &self.transport, &mut self.control);
        }
    }

    /// Asks the far end to show that it has the keys. If it does not, the session ends after a while.
    pub(crate) fn demand_proof(&mut self, now: Instant) {
        if self.state.is_open() && !self.transport.keys_proved() {
            self.ping(now);
            self.transport.proof.set_if_unset(now + PROOF_TIMEOUT);
        }
    }

    /// What was sent is not answered, time and again: the path may be closed.
    pub(crate) fn is_struggling(&self) -> bool {
        self.state.is_open() && self.transport.rtt.is_far_backed_off()
    }

    /// The far end may be reached over this path: asks for proof, and opens the way for what comes back.
    pub(crate) fn probe_path(&mut self, cx: &mut Context<'_>, path: Path) {
        let Some(own) = self.transport.path().filter(|_| self.state.is_open()) else { return };
        if own.matches(&path) {
            self.liveness.send_ping(cx.now, &self.transport, &mut self.control);
        } else if let Some(message) = self.transport.probe(cx.now, cx.rng, path) {
            self.control.queue_off_path(OffPathProbe { path, message, reply: false });
        }
    }

    /// The system refused to send over this path.
    pub(crate) fn on_send_error(&mut self, path: Path, os_error: i32) {
        if self.transport.path().is_some_and(|own| own.matches(&path)) {
            self.liveness.send_error = Some(os_error);
        }
    }

    /// An interface came up or changed: probe at once (RFC 7016 §3.5.4.1), and send again what a timer holds back.
    pub(crate) fn on_interface_change(&mut self, cx: &mut Context<'_>) {
        if self.state.is_open() {
            self.liveness.send_ping(cx.now, &self.transport, &mut self.control);
            self.delivery.revive(cx, &mut self.transport);
            self.update_timers(cx);
        }
    }

    /// What builds packets of the parts.
    fn packetizer(&mut self) -> Packetizer<'_> {
        Packetizer {
            session: self.handle,
            open: self.state.is_open(),
            transport: &mut self.transport,
            delivery: &mut self.delivery,
            control: &mut self.control,
            liveness: &mut self.liveness,
        }
    }

    /// Whether `poll_transmit` has something to send now.
    pub(crate) fn wants_transmit(&self) -> bool {
        let Self { transport, delivery, control, .. } = self;
        Demand { open: self.state.is_open(), transport, delivery, control }.any()
    }

    /// The most urgent thing to send: None for control only. The endpoint serves sessions in this order.
    pub(crate) fn transmit_priority(&self) -> Option<Priority> {
        self.delivery.flows.scheduler.highest().filter(|_| self.state.is_open() && self.delivery.may_send_data())
    }

    /// Over which path the next flight goes.
    pub(crate) fn next_path(&self) -> Option<Path> {
        self.control.next_off_path().or_else(|| self.transport.path())
    }

    /// Fills a flight: scrambled session IDs, plain packets, sealed. None: nothing to send.
    pub(crate) fn poll_transmit(&mut self, cx: &mut Context<'_>, buf: &mut TransmitBuf) -> Option<Transmit> {
        let transmit = self.packetizer().poll(cx, buf);
        self.update_timers(cx);
        transmit
    }
}
