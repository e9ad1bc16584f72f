//! A session's path changes, or what it leads over.
//!
//! This end's network changes: the session probes at once, so that an outage ends with the change and the far end learns
//! of a new address (RFC 7016 §3.5.4.1). The far end then follows by its own check (§3.5.4.2).

use super::Session;
use super::context::Context;
use crate::event::Event;
use crate::trace::TraceEvent;
use crate::transmit::Path;

/// What has changed in this end's network.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NetworkChange {
    /// The interface of the session came up, or has another address or network.
    Interface,
    /// The local address that the session's packets came to is gone. From where else this end is reached shows with the
    /// first packet that comes there.
    AddressRemoved,
    /// An address, a link or a route, of any interface. `waiting_only`: this is for sessions that wait for an answer.
    Any { waiting_only: bool },
}

/// What a move to another path rests on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MoveBasis {
    /// The far end has proved to be there (RFC 7016 §3.5.4.2).
    Proved,
    /// The far end says so, with its IIKeying again, before it has used the session.
    Claimed,
    /// This end has chosen another interface. Nothing proves that packets arrive.
    Chosen,
}

impl Session {
    /// Probes at once (RFC 7016 §3.5.4.1) if the change concerns the session, and sends again what a timer holds back.
    ///
    /// After a change that may not be of the session's own path, both are for sessions that have heard nothing for longer
    /// than an answer takes. What was not answered is sent again with the first sign of life. They are also for sessions
    /// that hear the far end, if nothing shows that it hears them. A link brings packets before there is a route back, and
    /// the notice of that comes last.
    pub(crate) fn on_network_change(&mut self, cx: &mut Context<'_>, change: NetworkChange) {
        let concerned = match change {
            NetworkChange::Interface => true,
            NetworkChange::AddressRemoved => self.transport.local_address_removed(),
            NetworkChange::Any { waiting_only } => {
                let waits = self.liveness.ping_unanswered() || self.delivery.sending.awaits_answer();
                let silence = self.liveness.silence(cx.now);
                let silent = silence.is_none_or(|silence| silence >= self.transport.rtt.prompt_answer());
                let doubtful = silent || self.liveness.is_probing() || self.liveness.send_error.is_some();
                doubtful && (waits || !waiting_only)
            }
        };
        if !concerned || !self.lifecycle.is_open() {
            return;
        }
        match change {
            NetworkChange::Interface | NetworkChange::AddressRemoved => {
                self.liveness.send_ping(cx.now, &self.transport.rtt);
                self.delivery.sending.revive(cx, &mut self.transport);
            }
            NetworkChange::Any { .. } => self.liveness.probe_change(cx.now, &self.transport.rtt),
        }
        self.update_timers(cx);
    }

    /// Packets go over `path` from now on. What was learned of the old path says nothing of the new. What was in
    /// flight on it does not arrive, nor do acknowledgements sent there lately: they are sent again. False: they do
    /// already, or the session is not open.
    pub(crate) fn move_to(&mut self, cx: &mut Context<'_>, path: Path, basis: MoveBasis) -> bool {
        let Some(from) = self.transport.path().filter(|_| self.lifecycle.is_open()) else { return false };
        if !self.transport.move_to(path, basis == MoveBasis::Claimed) {
            return false;
        }
        cx.events.trace(|| TraceEvent::Moved { from, to: path, proved: basis == MoveBasis::Proved });
        self.delivery.sending.on_path_change(cx, &mut self.transport);
        // After the losses, which are none of the new path's.
        self.transport.mtu.on_path_change();
        self.delivery.receiving.acknowledge_again();
        match basis {
            MoveBasis::Proved | MoveBasis::Claimed => {
                self.liveness.answered(cx.now, self.delivery.sending.has_in_flight());
            }
            MoveBasis::Chosen => self.liveness.send_ping(cx.now, &self.transport.rtt),
        }
        cx.events.push(Event::PathChanged { session: self.handle, path });
        self.update_timers(cx);
        true
    }
}
