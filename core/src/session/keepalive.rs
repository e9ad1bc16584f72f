//! Signs of life: pings when nothing is heard, and the limits of patience (RFC 7016 §3.5.4, §3.5.4.1).
//!
//! Any valid packet puts off the next keepalive Ping. Only what proves that packets pass in both directions, a Ping
//! Reply or an acknowledgement, counts as an answer: without one for the retransmit limit, while data or a Ping
//! waits for it, the session ends. It ends, too, if only small packets are answered and data never arrives.

use super::control::Aside;
use super::mobility::Mobility;
use super::timers::Timer;
use super::{Context, Role, Session};
use crate::event::CloseReason;
use crate::params::PROOF_TIMEOUT;
use crate::time::Instant;
use crate::transmit::Path;

impl Session {
    /// A valid packet came.
    pub(super) fn heard(&mut self, cx: &mut Context<'_>) {
        let silence = self.last_heard.map(|last| cx.now.saturating_duration_since(last));
        self.last_heard = Some(cx.now);
        self.arm_keepalive(cx.now);
        if silence.is_some_and(|silence| silence >= self.rtt.mrto()) {
            self.revive(cx);
            self.revive_ping(cx.now);
        }
    }

    /// The far end is heard again after a silence: a Ping that waits for its backed-off repetition is sent at once,
    /// unless it was sent too lately for an answer.
    fn revive_ping(&mut self, now: Instant) {
        if let (Some(retry), Some(sent)) = (self.timers.get(Timer::PingRetry), self.last_ping) {
            self.rtt.end_back_off();
            let due = retry.min(sent + self.rtt.erto());
            self.timers.arm(Timer::PingRetry, due);
            if due <= now {
                self.send_ping(now);
            }
        }
    }

    pub(super) fn arm_keepalive(&mut self, now: Instant) {
        // The responder waits a little longer, so that the two ends do not both ping.
        let longer = match self.role {
            Role::Initiator => core::time::Duration::ZERO,
            Role::Responder => self.rtt.mrto(),
        };
        self.timers.arm(Timer::Keepalive, now + self.config.keepalive + longer);
    }

    pub(super) fn ping_unanswered(&self) -> bool {
        self.timers.get(Timer::PingRetry).is_some()
    }

    /// Queues a keepalive Ping, to be repeated until something answers.
    pub(super) fn send_ping(&mut self, now: Instant) {
        self.control.ping = true;
        self.last_ping = Some(now);
        self.timers.arm(Timer::PingRetry, now + self.rtt.erto());
        self.await_answer(now);
    }

    /// Something was sent that asks for an answer.
    pub(super) fn await_answer(&mut self, now: Instant) {
        self.timers.arm_if_unset(Timer::RetransmitLimit, now + self.config.retransmit_limit);
    }

    /// A Ping Reply or an acknowledgement came.
    pub(super) fn answered(&mut self, now: Instant) {
        self.send_error = None;
        self.control.ping = false;
        self.timers.clear(Timer::PingRetry);
        self.timers.clear(Timer::RetransmitLimit);
        if !self.recovery.in_flight.is_empty() {
            self.await_answer(now);
        }
    }

    /// The system refused to send over this path.
    pub(crate) fn on_send_error(&mut self, path: Path, os_error: i32) {
        if self.path().is_some_and(|own| own.matches(&path)) {
            self.send_error = Some(os_error);
        }
    }

    /// Nothing answered for the retransmit limit.
    pub(super) fn on_retransmit_limit(&mut self, cx: &mut Context<'_>) {
        // What was lost and waits to be sent again is unanswered, too.
        let waiting = !self.recovery.in_flight.is_empty() || !self.flows.scheduler.is_empty();
        if self.ping_unanswered() || waiting {
            let follows = self.link.as_ref().is_none_or(|link| link.keys.authenticates());
            let reason = match self.send_error {
                Some(os_error) => CloseReason::NotSent { os_error },
                None if follows => CloseReason::TimedOut,
                None => CloseReason::TimedOutAtFixedAddress,
            };
            self.end_abruptly(cx, reason);
        }
    }

    /// A deadline of path MTU discovery. If the path carries small packets only, and data waits for larger ones, that
    /// is not life: the session ends.
    pub(super) fn on_path_mtu(&mut self, cx: &mut Context<'_>) {
        let stuck = self.mtu.handle_timeout(cx.now, self.config.retransmit_limit);
        let waiting = !self.recovery.in_flight.is_empty() || !self.flows.scheduler.is_empty();
        if stuck && waiting {
            self.end_abruptly(cx, CloseReason::PacketSize);
        }
    }

    /// Nothing was heard for the keepalive period.
    pub(super) fn on_keepalive(&mut self, now: Instant) {
        self.arm_keepalive(now);
        // A Ping that is waiting already has its own repetition.
        if !self.ping_unanswered() {
            self.send_ping(now);
        }
    }

    /// A Ping was not answered within ERTO (RFC 7016 §3.5.4.1).
    pub(super) fn on_ping_retry(&mut self, now: Instant) {
        self.rtt.back_off();
        self.send_ping(now);
    }

    /// Sends a Ping now, for the user. Never more than one per ERTO (RFC 7016 §3.5.4.1).
    pub(crate) fn ping(&mut self, now: Instant) {
        if self.state.is_open() && !self.ping_unanswered() {
            self.send_ping(now);
        }
    }

    /// Asks the far end to show that it has the keys. If it does not, the session ends after a while.
    pub(crate) fn demand_proof(&mut self, now: Instant) {
        if self.state.is_open() && !self.keys_proved {
            self.ping(now);
            self.timers.arm_if_unset(Timer::Proof, now + PROOF_TIMEOUT);
        }
    }

    /// What was sent is not answered, time and again: the path may be closed.
    pub(crate) fn is_struggling(&self) -> bool {
        self.state.is_open() && self.rtt.is_far_backed_off()
    }

    /// The far end may be reached over this path: asks for proof, and opens the way for what comes back.
    pub(crate) fn probe_path(&mut self, cx: &mut Context<'_>, path: Path) {
        let Some(link) = self.link.as_ref().filter(|_| self.state.is_open()) else { return };
        if link.path.matches(&path) {
            self.send_ping(cx.now);
        } else if link.keys.authenticates() {
            let mobility = self.mobility.get_or_insert_with(|| alloc::boxed::Box::new(Mobility::new(cx.rng)));
            if let Some(message) = mobility.message(cx.now, path) {
                self.control.aside(Aside { path, message, reply: false });
            }
        }
    }

    /// An interface came up or changed: probe at once (RFC 7016 §3.5.4.1), and send again what a timer holds back.
    pub(crate) fn on_interface_change(&mut self, cx: &mut Context<'_>) {
        if self.state.is_open() {
            self.send_ping(cx.now);
            self.revive(cx);
            self.settle(cx.now);
        }
    }
}
