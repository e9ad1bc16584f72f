//! Sessions (RFC 7016 §3.5) once keys exist, and the flows that wait for one to open.
//!
//! [`Session`] holds the parts, one file per subject; what happens to them on a packet, a timeout, a command or a
//! poll is told in `receive`, here, `commands` and `packetizer`. Every entry ends in [`Session::settle`], which
//! brings the derived state (deadlines, idleness, ACK_NOW) in line, so that `wants_transmit` and `next_timeout` are
//! exact at any moment between calls.

mod acks;
mod allowance;
mod black_hole;
mod close;
mod commands;
mod control;
mod ecn;
mod flows;
mod gaps;
mod keepalive;
mod mobility;
mod mtu;
mod packetizer;
mod receive;
mod recovery;
mod rtt;
mod slab;
mod stall;
mod state;
#[cfg(test)]
mod tests;
mod time_critical;
mod timers;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

use bytes::Bytes;
use rand_core::CryptoRng;

use crate::config::SessionConfig;
use crate::event::{CloseReason, EventQueue};
use crate::flow::{RecvFlow, SendFlow};
use crate::handle::{RecvFlowHandle, SendFlowHandle, SessionHandle};
use crate::profile::SessionKeys;
use crate::stats::{EndpointStats, SessionStats};
use crate::time::Instant;
use crate::transmit::Path;
use crate::wire::{PacketHeader, session_id};

use acks::Acks;
use allowance::Allowance;
use control::Control;
use ecn::EcnState;
use flows::{FlowKey, Flows};
use gaps::GapWatch;
use mobility::Mobility;
use mtu::Mtu;
use recovery::Recovery;
use rtt::Rtt;
use stall::Stall;
use state::StateMachine;
use timers::{Timer, Timers};

pub use state::SessionState;
pub(crate) use time_critical::TimeCriticalClock;

/// Forwarded hellos that may wait for the endpoint; more are dropped.
const MAX_FORWARDED: usize = 32;

/// Which end began the session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// This end sent the IIKeying.
    Initiator,
    /// This end answered it.
    Responder,
}

/// How to close a session (RFC 7016 §3.5.5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CloseMode {
    /// With a Session Close Request, repeated until acknowledged.
    Orderly,
    /// With a single Session Close Acknowledgement, without waiting.
    Abrupt,
}

/// What an endpoint grants to one of its sessions, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grant {
    /// The most that may be received and kept.
    pub(crate) recv: usize,
    /// The most that may be queued to be sent.
    pub(crate) send: usize,
    /// While `send` is this much, a message of any size may be queued.
    pub(crate) ample: usize,
}

/// What a session takes of the memory of its endpoint, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) recv: usize,
    pub(crate) send: usize,
}

/// What a session is given for the time of one call.
pub(crate) struct Context<'a> {
    pub(crate) now: Instant,
    pub(crate) events: &'a mut EventQueue,
    /// For the session's own secrets (mobility) as needed.
    pub(crate) rng: &'a mut dyn CryptoRng,
    /// Time critical traffic over all sessions of the endpoint.
    pub(crate) time_critical: &'a mut TimeCriticalClock,
    /// Hellos forwarded to this end (§3.5.1.5), for the endpoint to answer after the call.
    pub(crate) forwarded: &'a mut VecDeque<ReceivedForward>,
    /// Counters that belong to the endpoint.
    pub(crate) stats: &'a mut EndpointStats,
}

/// An FIHello that arrived over a session.
#[derive(Debug)]
pub(crate) struct ReceivedForward {
    pub(crate) discriminator: Vec<u8>,
    pub(crate) reply_address: SocketAddr,
    pub(crate) tag: Vec<u8>,
    /// The forwarder, and the interface that it was heard on.
    pub(crate) via: Path,
}

/// All that a session needs to be in S_OPEN.
#[derive(Debug)]
pub(crate) struct Established {
    pub(crate) keys: Box<dyn SessionKeys>,
    /// The session ID to put on packets to the far end.
    pub(crate) tx_id: u32,
    pub(crate) path: Path,
    pub(crate) far_certificate: Bytes,
}

/// What exists from S_OPEN on.
struct Link {
    keys: Box<dyn SessionKeys>,
    tx_id: u32,
    /// DESTADDR, and our interface to it.
    path: Path,
    far_certificate: Bytes,
}

/// One session: opening (flows may be opened and written), open, or closing.
pub(crate) struct Session {
    handle: SessionHandle,
    role: Role,
    config: SessionConfig,
    state: StateMachine,
    link: Option<Link>,
    timers: Timers,
    rtt: Rtt,
    recovery: Recovery,
    acks: Acks,
    gaps: GapWatch,
    ecn: EcnState,
    control: Control,
    mobility: Option<Box<Mobility>>,
    /// See [`keys_are_proved`](Self::keys_are_proved).
    keys_proved: bool,
    /// Where the far end was before it claimed to be elsewhere.
    first_path: Option<Path>,
    mtu: Mtu,
    /// The code of the last error of the system when sending, if nothing was answered since.
    send_error: Option<i32>,
    flows: Flows,
    send_stall: Stall,
    recv_stall: Stall,
    last_heard: Option<Instant>,
    last_ping: Option<Instant>,
    /// The far end has sent a Bitmap acknowledgement, so it understands them. Some only pretend to.
    peer_sends_bitmaps: bool,
    packets_received: u64,
    packets_sent: u64,
    bytes_received: u64,
    bytes_sent: u64,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Session");
        out.field("handle", &self.handle).field("role", &self.role).field("state", &self.state.get());
        out.finish_non_exhaustive()
    }
}

impl Session {
    /// In S_IHELLO_SENT (the endpoint drives startup; it calls `keying_sent` on the way, then `establish` or `fail`).
    pub(crate) fn new(handle: SessionHandle, role: Role, config: SessionConfig, _now: Instant) -> Self {
        // What a datagram has beside chunks of user data, as far as it is the session's.
        let smss = config.base_datagram.saturating_sub(session_id::LEN + PacketHeader::MAX_LEN);
        Self {
            handle,
            role,
            state: StateMachine::new(),
            link: None,
            timers: Timers::default(),
            rtt: if config.mona { Rtt::stamping_every_packet() } else { Rtt::new() },
            recovery: Recovery::new(crate::congestion::new_controller(smss as u64)),
            acks: Acks::new(Allowance::new(config.max_ack_expansion)),
            gaps: GapWatch::default(),
            ecn: EcnState::new(config.ecn && !config.mona),
            control: Control::default(),
            mobility: None,
            keys_proved: false,
            first_path: None,
            mtu: Mtu::new(config.base_datagram, config.max_datagram),
            send_error: None,
            flows: Flows::new(config.max_recv_bytes, config.max_send_bytes),
            send_stall: Stall::default(),
            recv_stall: Stall::default(),
            last_heard: None,
            last_ping: None,
            peer_sends_bitmaps: false,
            packets_received: 0,
            packets_sent: 0,
            bytes_received: 0,
            bytes_sent: 0,
            config,
        }
    }

    pub(crate) fn handle(&self) -> SessionHandle {
        self.handle
    }

    pub(crate) fn state(&self) -> SessionState {
        self.state.get()
    }

    /// The far end, and nobody else, has shown that it has the keys: with a packet, if those authenticate what they open,
    /// else with the answer to a question that takes the keys to read.
    pub(crate) const fn keys_are_proved(&self) -> bool {
        self.keys_proved
    }

    /// They are proved now.
    fn prove_keys(&mut self) {
        self.keys_proved = true;
        self.timers.clear(Timer::Proof);
    }

    pub(crate) fn role(&self) -> Role {
        self.role
    }

    /// Where packets go, from S_OPEN on.
    pub(crate) fn path(&self) -> Option<Path> {
        self.link.as_ref().map(|link| link.path)
    }

    pub(crate) fn tx_id(&self) -> Option<u32> {
        self.link.as_ref().map(|link| link.tx_id)
    }

    /// Empty before S_OPEN, as are the nonces.
    pub(crate) fn far_certificate(&self) -> &[u8] {
        self.link.as_ref().map_or(&[], |link| &link.far_certificate)
    }

    pub(crate) fn near_nonce(&self) -> &[u8] {
        self.link.as_ref().map_or(&[], |link| link.keys.near_nonce())
    }

    pub(crate) fn far_nonce(&self) -> &[u8] {
        self.link.as_ref().map_or(&[], |link| link.keys.far_nonce())
    }

    pub(crate) fn send_flow(&self, flow: SendFlowHandle) -> Option<&SendFlow> {
        self.flows.send_flow(flow)
    }

    pub(crate) fn recv_flow(&self, flow: RecvFlowHandle) -> Option<&RecvFlow> {
        self.flows.recv_flow(flow)
    }

    pub(crate) fn stats(&self) -> SessionStats {
        SessionStats {
            packets_received: self.packets_received,
            packets_sent: self.packets_sent,
            bytes_received: self.bytes_received,
            bytes_sent: self.bytes_sent,
            fragments_lost: self.recovery.fragments_lost,
            timeouts: self.recovery.timeouts,
            srtt: self.rtt.srtt(),
            rttvar: self.rtt.rttvar(),
            erto: self.rtt.erto(),
            cwnd: self.recovery.controller.window(),
            ssthresh: self.recovery.controller.ssthresh(),
            outstanding: self.recovery.in_flight.outstanding(),
            ecn_ce_received: self.ecn.ce_received(),
            datagram: self.mtu.datagram(),
        }
    }

    /// What the endpoint grants to the session.
    pub(crate) const fn grant(&mut self, grant: &Grant) {
        self.flows.budget.grant(grant.recv);
        self.flows.send_budget.grant(grant.send, grant.ample);
    }

    /// What the session takes of the endpoint's memory.
    pub(crate) fn memory(&self) -> Memory {
        let send = self.flows.send_memory() + self.recovery.in_flight.memory() + self.control.memory();
        Memory { recv: self.flows.budget.memory(), send }
    }

    /// How much of the endpoint's memory a refused writer waits for, if any does and it depends on that.
    pub(crate) fn awaited_memory(&self) -> Option<usize> {
        self.flows.send_budget.awaited()
    }

    /// Since when the far end has acknowledged next to nothing of what is sent to it; None if nothing waits for it.
    pub(crate) fn send_stalled_since(&self) -> Option<Instant> {
        self.send_stall.since().filter(|_| self.state.is_open())
    }

    /// Since when next to nothing has come of messages that the far end has begun; None if there are none, or if others
    /// wait to be read, which is not the far end's fault.
    pub(crate) fn recv_stalled_since(&self) -> Option<Instant> {
        self.recv_stall.since().filter(|_| self.state.is_open())
    }

    /// Whether the session may be somebody's who cannot prove to have its keys.
    pub(crate) fn is_unproved(&self) -> bool {
        self.role == Role::Responder && !self.keys_proved
    }

    /// The earliest deadline, and what it is for.
    pub(crate) fn next_timeout(&self) -> Option<(Instant, &'static str)> {
        self.timers.next()
    }

    /// Does everything that is due. Afterwards no deadline is in the past.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        let now = cx.now;
        if self.timers.take_due(Timer::RetransmitLimit, now) {
            self.on_retransmit_limit(cx);
        }
        if self.timers.take_due(Timer::Timeout, now) {
            self.on_timeout_alarm(cx);
        }
        if self.timers.take_due(Timer::DelayedAck, now) {
            self.acks.set_now();
        }
        if self.timers.take_due(Timer::PingRetry, now) {
            self.on_ping_retry(now);
        }
        if self.timers.take_due(Timer::Keepalive, now) {
            self.on_keepalive(now);
        }
        if self.timers.take_due(Timer::Flow, now) {
            self.on_flow_deadlines(cx);
        }
        if self.timers.take_due(Timer::Idle, now) {
            self.close_orderly(cx, CloseReason::Idle);
        }
        if self.timers.take_due(Timer::CloseRetry, now) {
            self.on_close_retry(cx);
        }
        if self.timers.take_due(Timer::CloseEnd, now) {
            self.close_now(cx, CloseReason::Near);
        }
        if self.timers.take_due(Timer::Stall, now) {
            self.end_abruptly(cx, CloseReason::Stalled);
        }
        if self.timers.take_due(Timer::PathMtu, now) {
            self.on_path_mtu(cx);
        }
        if self.timers.take_due(Timer::Proof, now) {
            self.end_abruptly(cx, CloseReason::Unproved);
        }
        self.settle(now);
    }

    fn on_flow_deadlines(&mut self, cx: &mut Context<'_>) {
        while let Some(key) = self.flows.take_due(cx.now) {
            match key {
                FlowKey::Send(slot) => {
                    if let Some(flow) = self.flows.send.get_mut(slot) {
                        flow.handle_timeout(cx.now, self.rtt.erto(), cx.events);
                        if self.config.mona && flow.probe_due() {
                            flow.probe_sent(cx.now, self.rtt.erto());
                        }
                    }
                    self.flows.touch_send(slot);
                }
                FlowKey::Recv(slot) => {
                    if let Some(flow) = self.flows.recv.get_mut(slot) {
                        flow.handle_timeout(cx.now);
                    }
                    self.flows.touch_recv(slot);
                }
            }
        }
    }

    /// Brings what is derived in line with what has changed. O(1).
    fn settle(&mut self, now: Instant) {
        self.timers.set(Timer::Flow, self.flows.next_deadline());
        self.timers.set(Timer::PathMtu, self.mtu.next_timeout().filter(|_| self.state.is_open()));
        if !self.state.is_open() {
            return;
        }
        self.recv_stall.update(now, self.flows.budget.incomplete());
        self.send_stall.update(now, self.flows.send_budget.held().unacknowledged);
        let limit = self.config.stall_limit;
        self.timers.set(Timer::Stall, limit.and_then(|limit| Some(self.send_stall.since()? + limit)));
        if self.flows.scheduler.is_empty() {
            self.recovery.end_burst();
        }
        if !self.flows.acks_due() {
            self.acks.all_sent();
            self.timers.clear(Timer::DelayedAck);
        } else if self.acks.is_now() && !self.acks.is_allowed(self.ack_overhead()) {
            self.wait_for_allowance(now);
        }
        if self.flows.is_empty() {
            self.timers.arm_if_unset(Timer::Idle, now + self.config.idle_limit);
        } else {
            self.timers.clear(Timer::Idle);
        }
    }

    /// What is received does not pay for the acknowledgements that are due: a round trip does.
    fn wait_for_allowance(&mut self, now: Instant) {
        let round_trip = self.rtt.srtt().unwrap_or(self.rtt.mrto());
        self.acks.allowance.pass(now, round_trip, self.mtu.datagram());
        if !self.acks.is_allowed(self.ack_overhead()) {
            let due = self.acks.allowance.next_pay(round_trip);
            if self.timers.get(Timer::DelayedAck).is_none_or(|at| at > due) {
                self.timers.arm(Timer::DelayedAck, due);
            }
        }
    }
}
