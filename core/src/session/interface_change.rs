//! This end's network changes: the session probes at once, so that an outage ends with the change and the far end learns
//! of a new address (RFC 7016 §3.5.4.1). The far end then follows by its own check (§3.5.4.2).

use super::Session;
use super::context::Context;
use crate::event::Event;
use crate::trace::TraceEvent;
use crate::transmit::{InterfaceId, Path};

impl Session {
    /// An interface came up or changed: probe at once (RFC 7016 §3.5.4.1), and send again what a timer holds back.
    pub(crate) fn on_interface_change(&mut self, cx: &mut Context<'_>) {
        if self.lifecycle.is_open() {
            self.liveness.send_ping(cx.now, &self.transport.rtt);
            self.delivery.sending.revive(cx, &mut self.transport);
            self.update_timers(cx);
        }
    }

    /// The local address that packets came to is gone. From where else this end is reached shows with the first packet
    /// that comes there.
    pub(crate) fn on_local_address_removed(&mut self, cx: &mut Context<'_>) {
        if self.transport.local_address_removed() {
            self.on_interface_change(cx);
        }
    }

    /// Something changed in this end's network. If nothing was heard for longer than an answer takes, the session probes
    /// at once, and with the first sign of life sends again what was not answered. `waiting`: only if it waits for an
    /// answer.
    pub(crate) fn on_network_change(&mut self, cx: &mut Context<'_>, waiting: bool) {
        let waits = self.liveness.ping_unanswered() || self.delivery.sending.awaits_answer();
        let silence = self.liveness.silence(cx.now);
        let silent = silence.is_none_or(|silence| silence >= self.transport.rtt.prompt_answer());
        if self.lifecycle.is_open() && silent && (waits || !waiting) {
            self.liveness.network_changed = true;
            self.liveness.send_ping(cx.now, &self.transport.rtt);
            self.update_timers(cx);
        }
    }

    /// Packets go over another interface of this end from now on. Nothing proves that they arrive, and what was measured
    /// on the old path says nothing of the new. False: they do already, or the session is not open.
    pub(crate) fn switch_interface(&mut self, cx: &mut Context<'_>, interface: InterfaceId) -> bool {
        let Some(from) = self.transport.path().filter(|_| self.lifecycle.is_open()) else { return false };
        let path = Path::new(interface, from.remote);
        if !self.transport.move_to(path, false) {
            return false;
        }
        cx.events.trace(|| TraceEvent::Moved { from, to: path, proved: false });
        self.delivery.sending.on_path_change(cx, &mut self.transport);
        // After the losses, which are none of the new path's.
        self.transport.mtu.on_path_change();
        self.delivery.receiving.acknowledge_again();
        self.liveness.send_ping(cx.now, &self.transport.rtt);
        cx.events.push(Event::PathChanged { session: self.handle, path });
        self.update_timers(cx);
        true
    }
}
