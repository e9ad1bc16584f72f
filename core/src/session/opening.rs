//! The way to S_OPEN (RFC 7016 §3.5.1), as the endpoint goes it: to S_KEYING_SENT, then open. What fails is ended.

use super::Session;
use super::context::{Context, Established};
use crate::event::Event;
use crate::profile::Role;

impl Session {
    /// To S_KEYING_SENT.
    pub(crate) fn keying_sent(&mut self) {
        self.lifecycle.keying_sent();
    }

    /// The far end prevailed in glare, and this session opens as its responder (RFC 7016 §3.5.1.3).
    pub(crate) fn become_responder(&mut self) {
        if self.state().is_opening() {
            self.transport.role = Role::Responder;
        }
    }

    /// To S_OPEN; pushes SessionOpened. Flows opened before begin to send.
    pub(crate) fn establish(&mut self, cx: &mut Context<'_>, established: Established) {
        if self.lifecycle.opened() {
            self.transport.establish(established);
            self.liveness.heard(cx.now, &self.transport);
            cx.events.push(Event::SessionOpened { session: self.handle });
            self.update_timers(cx);
        }
    }
}
