//! The beginning and the end of S_OPEN (RFC 7016 §3.5.5).

use super::acks::Acks;
use super::allowance::Allowance;
use super::timers::Timer;
use super::{CloseMode, Context, Established, Link, Role, Session, SessionState};
use crate::event::{CloseReason, Event, OpenFailure};
use crate::params::{CLOSE_RETRY_INTERVAL, FARCLOSE_LINGER, NEARCLOSE_TIMEOUT};

impl Session {
    /// To S_KEYING_SENT.
    pub(crate) fn keying_sent(&mut self) {
        self.state.keying_sent();
    }

    /// The far end prevailed in glare, and this session opens as its responder (RFC 7016 §3.5.1.3).
    pub(crate) fn become_responder(&mut self) {
        if self.state.get().is_opening() {
            self.role = Role::Responder;
        }
    }

    /// To S_OPEN; pushes SessionOpened. Flows opened before begin to send.
    pub(crate) fn establish(&mut self, cx: &mut Context<'_>, established: Established) {
        if self.state.opened() {
            let Established { keys, tx_id, path, far_certificate } = established;
            self.link = Some(Link { keys, tx_id, path, far_certificate });
            self.last_heard = Some(cx.now);
            self.arm_keepalive(cx.now);
            cx.events.push(Event::SessionOpened { session: self.handle });
            self.settle(cx.now);
        }
    }

    /// To S_OPEN_FAILED; settles the flows, then pushes SessionFailed.
    pub(crate) fn fail(&mut self, cx: &mut Context<'_>, reason: OpenFailure) {
        if self.state.open_failed() {
            self.flows.end(cx.events);
            self.timers.clear_all();
            cx.events.push(Event::SessionFailed { session: self.handle, reason });
        }
    }

    /// The user's close. While opening: as `fail(Cancelled)`. SessionClosed is pushed at once when S_OPEN is left,
    /// though the session may linger to repeat its request.
    pub(crate) fn close(&mut self, cx: &mut Context<'_>, mode: CloseMode) {
        if self.state.get().is_opening() {
            return self.fail(cx, OpenFailure::Cancelled);
        }
        match mode {
            CloseMode::Orderly => self.close_orderly(cx, CloseReason::Near),
            CloseMode::Abrupt => self.end_abruptly(cx, CloseReason::Near),
        }
    }

    /// Straight to S_CLOSED without a word to the far end.
    pub(crate) fn abort(&mut self, cx: &mut Context<'_>, reason: CloseReason) {
        if self.state.get().is_opening() {
            return self.fail(cx, OpenFailure::Cancelled);
        }
        self.close_now(cx, reason);
        self.control.close_ack = false;
    }

    /// It held most for longest without progress, and the memory is needed.
    pub(crate) fn close_stalled(&mut self, cx: &mut Context<'_>) {
        if self.state.is_open() {
            self.end_abruptly(cx, CloseReason::Stalled);
        }
    }

    /// S_CLOSED or S_OPEN_FAILED with nothing left to send: the slot can be freed.
    pub(crate) fn is_gone(&self) -> bool {
        self.state.get().is_closed() && !self.wants_transmit()
    }

    /// To S_NEARCLOSE.
    pub(super) fn close_orderly(&mut self, cx: &mut Context<'_>, reason: CloseReason) {
        if self.state.near_close() {
            self.leave_open(cx, reason);
            self.control.close = true;
            self.timers.arm(Timer::CloseRetry, cx.now + CLOSE_RETRY_INTERVAL);
            self.timers.arm(Timer::CloseEnd, cx.now + NEARCLOSE_TIMEOUT);
        }
    }

    /// To S_CLOSED with a single Session Close Acknowledgement, the abrupt close of RFC 7016 §3.5.5.
    pub(super) fn end_abruptly(&mut self, cx: &mut Context<'_>, reason: CloseReason) {
        if !self.state.get().is_closed() {
            self.close_now(cx, reason);
            self.control.close_ack = true;
        }
    }

    /// To S_CLOSED.
    pub(super) fn close_now(&mut self, cx: &mut Context<'_>, reason: CloseReason) {
        let was_open = self.state.is_open();
        if self.state.closed() {
            if was_open {
                self.leave_open(cx, reason);
            }
            self.timers.clear_all();
            self.control.close = false;
        }
    }

    /// A Session Close Request came.
    pub(super) fn on_close_request(&mut self, cx: &mut Context<'_>) {
        if self.state.get().is_closed() {
            return;
        }
        if self.state.far_close() {
            self.leave_open(cx, CloseReason::Far);
            self.timers.arm(Timer::CloseEnd, cx.now + FARCLOSE_LINGER);
        }
        // In all of S_OPEN, S_NEARCLOSE and S_FARCLOSE_LINGER.
        self.control.close_ack = true;
    }

    /// A Session Close Acknowledgement came.
    pub(super) fn on_close_ack(&mut self, cx: &mut Context<'_>) {
        self.close_now(cx, CloseReason::Far);
        // To acknowledge an acknowledgement would let two ends do so for ever.
        self.control.close_ack = false;
    }

    /// Five more seconds in S_NEARCLOSE.
    pub(super) fn on_close_retry(&mut self, cx: &mut Context<'_>) {
        if self.state.get() == SessionState::NearClose {
            self.control.close = true;
            self.timers.arm(Timer::CloseRetry, cx.now + CLOSE_RETRY_INTERVAL);
        }
    }

    /// "Immediately abort and terminate all open or closing flows" (RFC 7016 §3.5.5). The user hears of the flows
    /// first, and of the session last.
    fn leave_open(&mut self, cx: &mut Context<'_>, reason: CloseReason) {
        self.flows.end(cx.events);
        self.recovery.forget();
        self.acks = Acks::new(Allowance::new(self.config.max_ack_expansion));
        self.control.keep_closes_only();
        self.timers.clear_all();
        cx.events.push(Event::SessionClosed { session: self.handle, reason });
    }
}
