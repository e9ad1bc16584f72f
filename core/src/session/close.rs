//! The end of S_OPEN, and what is left of a session after it (RFC 7016 §3.5.5).

use super::context::Context;
use super::control::Control;
use super::lifecycle::{Cause, Change, Ending};
use super::{Session, SessionState};
use crate::event::{CloseReason, Event};
use crate::time::Instant;

impl Session {
    /// Closes the session in order once all that was written is acknowledged, or at the deadline. Nothing more is
    /// written. Of several deadlines the last given counts. If it is held, all but the deadline waits for
    /// [`drain_now`](Self::drain_now).
    pub(crate) fn drain(&mut self, cx: &mut Context<'_>, deadline: Instant, held: bool) {
        if self.lifecycle.drain(deadline, held) {
            self.begin_draining(cx);
        }
    }

    /// A session that drains is held no longer.
    pub(crate) fn drain_now(&mut self, cx: &mut Context<'_>) {
        if self.lifecycle.drain_now() {
            self.begin_draining(cx);
        }
    }

    fn begin_draining(&mut self, cx: &mut Context<'_>) {
        if self.lifecycle.is_draining() {
            self.delivery.sending.flows.close_all(cx);
        }
        self.update_timers(cx);
    }

    /// Ends the session, as `ending` does in its state. The user is told at once when S_OPEN is left, though the session
    /// may linger to repeat its request.
    pub(crate) fn end(&mut self, cx: &mut Context<'_>, ending: Ending) {
        if matches!(ending, Ending::Orderly(_)) && self.lifecycle.is_open() {
            self.packetizer().encode_farewell();
        }
        let Change { ended, drained, closed } = self.lifecycle.end(cx.now, ending);
        if let Some(cause) = ended {
            self.end_parts(cx, cause, drained);
        }
        if closed {
            self.delivery.receiving.restart_unread();
            self.update_unread(cx.now);
        }
    }

    /// S_OPEN is left or never reached: flows end, no deadline is left but those of the closing states, and nothing but
    /// closes is said from now on. The user hears of the flows first, and of the session last.
    fn end_parts(&mut self, cx: &mut Context<'_>, cause: Cause, drained: bool) {
        let session = self.handle;
        let last = match cause {
            Cause::Failed(reason) => Event::SessionFailed { session, reason },
            Cause::Closed(reason) => Event::SessionClosed { session, reason },
        };
        let undelivered = drained.then(|| self.delivery.sending.flows.undelivered());
        cx.events.tracer.emit_end(&last);
        self.delivery.end(cx.events, &self.config);
        self.liveness.end();
        self.transport.proof.clear();
        self.control = Control::default();
        if let Some(undelivered) = undelivered {
            cx.events.push(Event::SessionDrained { session, undelivered });
        }
        cx.events.push(last);
    }

    /// Whether the far end does not know yet that the session is over: it is open, opening, or in S_NEARCLOSE with neither
    /// an acknowledgement nor a close of the far end's own.
    pub(crate) fn awaits_far_end(&self) -> bool {
        self.lifecycle.awaits_far_end()
    }

    /// S_CLOSED or S_OPEN_FAILED with nothing left to send or to read: the slot can be freed.
    pub(crate) fn is_gone(&self) -> bool {
        self.has_said_all() && self.delivery.receiving.flows.is_empty()
    }

    /// Nothing is left of the session but complete flows to read: since when next to nothing of them was.
    pub(crate) fn unread_since(&self) -> Option<Instant> {
        self.delivery.receiving.stalled_since().filter(|_| self.has_said_all())
    }

    pub(super) fn has_said_all(&self) -> bool {
        self.state().is_closed() && !self.demand().any()
    }

    /// Complete flows may be read for a while yet.
    pub(super) fn update_unread(&mut self, now: Instant) {
        let closed = self.state() == SessionState::Closed;
        self.delivery.update_unread(now, closed.then_some(self.config.unread_limit));
    }

    /// Ends what was left to be read after the session.
    pub(crate) fn discard_unread(&mut self, cx: &mut Context<'_>) {
        if self.state().has_ended() {
            self.delivery.receiving.flows.discard_unread(cx.events);
            self.update_timers(cx);
        }
    }

    /// Nothing has moved for too long, of what is sent or of what is left to be read, or the session yields to others for
    /// what it holds.
    pub(crate) fn on_stall(&mut self, cx: &mut Context<'_>) {
        self.discard_unread(cx);
        self.end(cx, Ending::Abrupt(CloseReason::Stalled));
    }
}
