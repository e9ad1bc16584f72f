//! The end of S_OPEN (RFC 7016 §3.5.5).

use super::alarm::Alarm;
use super::context::Context;
use super::{CloseMode, Session, SessionState};
use crate::event::{CloseReason, Event, OpenFailure};
use crate::params::{CLOSE_RETRY_INTERVAL, FARCLOSE_LINGER, NEARCLOSE_TIMEOUT};
use crate::time::Instant;

/// When a session that is idle, or closing, ends.
#[derive(Debug, Default)]
pub(super) struct Closing {
    /// Without flows until then: close.
    pub(super) idle: Alarm,
    /// Repeat the Session Close Request (RFC 7016 §3.5.5).
    pub(super) retry: Alarm,
    /// The end of S_NEARCLOSE or S_FARCLOSE_LINGER (RFC 7016 §3.5.5). Before these: of the time to drain. In S_CLOSED: of
    /// the time to read complete flows.
    pub(super) end: Alarm,
    /// Nothing more is written, and when all is acknowledged the session closes.
    pub(super) draining: bool,
    /// In S_NEARCLOSE: the far end has asked to close the session too.
    far_closes: bool,
}

impl Session {
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

    /// Closes the session in order once all that was written is acknowledged, or at the deadline. Nothing more is
    /// written. Of several deadlines the last given counts.
    pub(crate) fn drain(&mut self, cx: &mut Context<'_>, deadline: Instant) {
        if self.state.get().is_opening() || self.state.is_open() {
            self.closing.draining = true;
            self.closing.end.set(deadline);
            self.delivery.close_flows(cx);
            self.update_timers(cx);
        }
    }

    /// Closes a session that drains, if all is acknowledged. That holds for what came from the far end too, so that it
    /// knows what has arrived here.
    pub(super) fn close_if_drained(&mut self, cx: &mut Context<'_>) {
        if self.closing.draining && self.delivery.is_all_acknowledged() && !self.delivery.flows.acks_due() {
            self.close(cx, CloseMode::Orderly);
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

    /// Whether the far end does not know yet that the session is over: it is open, opening, or in S_NEARCLOSE with neither
    /// an acknowledgement nor a close of the far end's own.
    pub(crate) fn awaits_far_end(&self) -> bool {
        match self.state.get() {
            SessionState::HelloSent | SessionState::KeyingSent | SessionState::Open => true,
            SessionState::NearClose => !self.closing.far_closes,
            SessionState::FarCloseLinger | SessionState::Closed | SessionState::OpenFailed => false,
        }
    }

    /// S_CLOSED or S_OPEN_FAILED with nothing left to send or to read: the slot can be freed.
    pub(crate) fn is_gone(&self) -> bool {
        self.has_said_all() && !self.delivery.flows.has_unread()
    }

    /// Nothing is left of the session but complete flows to read: since when next to nothing of them was.
    pub(crate) fn unread_since(&self) -> Option<Instant> {
        self.delivery.recv_stalled_since().filter(|_| self.has_said_all())
    }

    fn has_said_all(&self) -> bool {
        self.state.get().is_closed() && !self.wants_transmit()
    }

    /// Ends what was left to be read after the session.
    pub(crate) fn discard_unread(&mut self, cx: &mut Context<'_>) {
        if self.state.get().has_ended() {
            self.delivery.flows.discard_unread(cx.events);
            self.update_timers(cx);
        }
    }

    /// The session yields to others, for what it holds.
    pub(crate) fn end_stalled(&mut self, cx: &mut Context<'_>) {
        self.discard_unread(cx);
        self.end_abruptly(cx, CloseReason::Stalled);
    }

    /// S_OPEN is left: complete flows may be read for a while yet.
    pub(super) fn update_unread(&mut self, now: Instant) {
        let since = self.delivery.update_unread(now);
        if self.state.get() == SessionState::Closed {
            self.closing.end = Alarm::at(since.map(|since| since + self.config.unread_limit));
        }
    }

    /// What there was time for is over.
    pub(super) fn on_closing_end(&mut self, cx: &mut Context<'_>) {
        match self.state.get() {
            SessionState::HelloSent | SessionState::KeyingSent | SessionState::Open => {
                self.close(cx, CloseMode::Orderly)
            }
            SessionState::NearClose | SessionState::FarCloseLinger => self.close_now(cx, CloseReason::Near),
            SessionState::Closed | SessionState::OpenFailed => self.delivery.flows.discard_unread(cx.events),
        }
    }

    /// To S_NEARCLOSE.
    pub(super) fn close_orderly(&mut self, cx: &mut Context<'_>, reason: CloseReason) {
        if self.state.near_close() {
            self.end_parts(cx, Event::SessionClosed { session: self.handle, reason });
            self.control.close = true;
            self.closing.retry.set(cx.now + CLOSE_RETRY_INTERVAL);
            self.closing.end.set(cx.now + NEARCLOSE_TIMEOUT);
        }
    }

    /// To S_CLOSED with a single Session Close Acknowledgement, the abrupt close of RFC 7016 §3.5.5.
    pub(crate) fn end_abruptly(&mut self, cx: &mut Context<'_>, reason: CloseReason) {
        let state = self.state.get();
        if !state.is_opening() && !state.is_closed() {
            self.close_now(cx, reason);
            self.control.close_ack = true;
        }
    }

    /// To S_CLOSED.
    pub(super) fn close_now(&mut self, cx: &mut Context<'_>, reason: CloseReason) {
        let was_open = self.state.is_open();
        if self.state.closed() {
            if was_open {
                self.end_parts(cx, Event::SessionClosed { session: self.handle, reason });
            }
            self.closing = Closing::default();
            self.control.close = false;
            self.delivery.restart_unread();
            self.update_unread(cx.now);
        }
    }

    /// A Session Close Request came.
    pub(super) fn on_close_request(&mut self, cx: &mut Context<'_>) {
        if self.state.get().is_closed() {
            return;
        }
        if self.state.far_close() {
            self.end_parts(cx, Event::SessionClosed { session: self.handle, reason: CloseReason::Far });
            self.closing.end.set(cx.now + FARCLOSE_LINGER);
        }
        self.closing.far_closes = true;
        // In all of S_OPEN, S_NEARCLOSE and S_FARCLOSE_LINGER.
        self.control.close_ack = true;
    }

    /// A Session Close Acknowledgement came.
    pub(super) fn on_close_ack(&mut self, cx: &mut Context<'_>) {
        self.close_now(cx, CloseReason::Far);
        // To acknowledge an acknowledgement would let two ends do so for ever.
        self.control.close_ack = false;
    }

    /// S_OPEN is left or never reached: flows end, no deadline is left, and nothing but closes is said from now on. The
    /// user hears of the flows first, and of the session last.
    pub(super) fn end_parts(&mut self, cx: &mut Context<'_>, last: Event) {
        let drained = self.closing.draining.then(|| self.delivery.flows.undelivered());
        cx.events.tracer.emit_end(&last);
        self.delivery.end(cx.events, &self.config);
        self.liveness.end();
        self.transport.proof.clear();
        self.closing = Closing::default();
        self.control.keep_closes_only();
        if let Some(undelivered) = drained {
            cx.events.push(Event::SessionDrained { session: self.handle, undelivered });
        }
        cx.events.push(last);
    }
}
