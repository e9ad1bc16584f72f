//! Signs of life: pings when nothing is heard, and the limits of silence (RFC 7016 §3.5.4, §3.5.4.1).
//!
//! Any valid packet puts off the next keepalive Ping. Only what proves that packets pass in both directions, a Ping
//! Reply or an acknowledgement, counts as an answer: without one for the retransmit limit, while data or a Ping
//! waits for it, the session ends.

use core::num::NonZeroI32;
use core::time::Duration;

use crate::config::SessionConfig;
use crate::profile::Role;
use crate::session::alarm::Alarm;
use crate::session::transport::{Rtt, Transport};
use crate::time::Instant;
use crate::wire::{PacketWriter, Ping};

/// See the module.
#[derive(Debug)]
pub(in crate::session) struct Liveness {
    interval: Duration,
    limit: Duration,
    last_heard: Option<Instant>,
    last_ping: Option<Instant>,
    /// A keepalive Ping is due.
    ping: bool,
    /// The code of the last error of the system when sending, if nothing was answered since.
    pub(in crate::session) send_error: Option<NonZeroI32>,
    /// This end's network changed, and nothing was heard since: the next packet ends an outage.
    pub(in crate::session) network_changed: bool,
    /// The last Ping was sent because this end's network changed, and no Ping Reply came since.
    probing: bool,
    /// With something unanswered until then the session ends.
    pub(in crate::session) retransmit_limit: Alarm,
    /// If nothing is heard until then: ping (RFC 7016 §3.5.4.1).
    pub(in crate::session) keepalive: Alarm,
    /// If a ping is not answered by then: ping again.
    pub(in crate::session) ping_retry: Alarm,
}

impl Liveness {
    pub(in crate::session) fn new(config: &SessionConfig) -> Self {
        Self {
            interval: config.keepalive,
            limit: config.retransmit_limit,
            last_heard: None,
            last_ping: None,
            ping: false,
            send_error: None,
            network_changed: false,
            probing: false,
            retransmit_limit: Alarm::default(),
            keepalive: Alarm::default(),
            ping_retry: Alarm::default(),
        }
    }

    /// S_OPEN is left: nothing is waited for any more.
    pub(in crate::session) fn end(&mut self) {
        self.ping = false;
        self.retransmit_limit.clear();
        self.keepalive.clear();
        self.ping_retry.clear();
    }

    /// A valid packet came, or the session opens. Whether it ends a silence of a round trip or more.
    pub(in crate::session) fn heard(&mut self, now: Instant, transport: &Transport) -> bool {
        let silence = self.last_heard.map(|last| now.saturating_duration_since(last));
        self.last_heard = Some(now);
        self.arm_keepalive(now, transport);
        silence.is_some_and(|silence| silence >= transport.rtt.mrto())
    }

    /// For how long nothing was heard. None: nothing was heard yet.
    pub(in crate::session) fn silence(&self, now: Instant) -> Option<Duration> {
        self.last_heard.map(|last| now.saturating_duration_since(last))
    }

    /// The far end is heard again after a silence: a Ping that waits for its backed-off repetition is sent at once,
    /// unless it was sent too lately for an answer.
    pub(in crate::session) fn revive_ping(&mut self, now: Instant, rtt: &mut Rtt) {
        if let (Some(retry), Some(sent)) = (self.ping_retry.get(), self.last_ping) {
            rtt.end_back_off();
            let due = retry.min(sent + rtt.erto());
            self.ping_retry.set(due);
            if due <= now {
                self.send_ping(now, rtt);
            }
        }
    }

    fn arm_keepalive(&mut self, now: Instant, transport: &Transport) {
        // The responder waits a little longer, so that the two ends do not both ping.
        let longer = match transport.role {
            Role::Initiator => Duration::ZERO,
            Role::Responder => transport.rtt.mrto(),
        };
        self.keepalive.set(now + self.interval + longer);
    }

    /// A Ping was sent, and nothing has answered since.
    pub(in crate::session) const fn ping_unanswered(&self) -> bool {
        self.ping_retry.is_set()
    }

    /// Sends a keepalive Ping, to be repeated until something answers.
    pub(in crate::session) fn send_ping(&mut self, now: Instant, rtt: &Rtt) {
        self.ping = true;
        self.last_ping = Some(now);
        self.ping_retry.set(now + rtt.erto());
        self.await_answer(now);
    }

    /// This end's network changed: probes it.
    pub(in crate::session) fn probe_change(&mut self, now: Instant, rtt: &Rtt) {
        (self.network_changed, self.probing) = (true, true);
        self.send_ping(now, rtt);
    }

    /// No Ping Reply came since a change was probed. An acknowledgement may have been on its way before.
    pub(in crate::session) const fn is_probing(&self) -> bool {
        self.probing
    }

    /// A Ping Reply came. When the probe was sent that it answers: an answer sooner than in the shortest round trip is to
    /// an earlier Ping.
    pub(in crate::session) fn take_probe(&mut self, now: Instant, rtt: &Rtt) -> Option<Instant> {
        let shortest = rtt.min_rtt().unwrap_or_default();
        let probed = self.last_ping.filter(|ping| self.probing && now.saturating_duration_since(*ping) >= shortest)?;
        self.probing = false;
        Some(probed)
    }

    /// A Ping is to be sent now.
    pub(in crate::session) const fn is_ping_due(&self) -> bool {
        self.ping
    }

    /// The Ping that is due, into a packet.
    pub(in crate::session) fn write_ping(&mut self, packet: &mut PacketWriter<'_>) {
        // RFC 7016 §3.5.4.1: a keepalive Ping has an empty message.
        self.ping = self.ping && !packet.push(&Ping { message: &[] });
    }

    /// Something was sent that asks for an answer.
    pub(in crate::session) fn await_answer(&mut self, now: Instant) {
        self.retransmit_limit.set_if_unset(now + self.limit);
    }

    /// A Ping Reply or an acknowledgement came. `data_in_flight`: other data is not acknowledged yet.
    pub(in crate::session) fn answered(&mut self, now: Instant, data_in_flight: bool) {
        self.ping = false;
        self.send_error = None;
        self.ping_retry.clear();
        self.retransmit_limit.clear();
        if data_in_flight {
            self.await_answer(now);
        }
    }

    /// Pings, if that is due.
    pub(in crate::session) fn handle_timeout(&mut self, now: Instant, transport: &mut Transport) {
        if self.ping_retry.take_due(now) {
            self.on_ping_retry(now, &mut transport.rtt);
        }
        if self.keepalive.take_due(now) {
            self.on_keepalive(now, transport);
        }
    }

    /// Nothing was heard for the keepalive period.
    fn on_keepalive(&mut self, now: Instant, transport: &Transport) {
        self.arm_keepalive(now, transport);
        // A Ping that is waiting already has its own repetition.
        if !self.ping_unanswered() {
            self.send_ping(now, &transport.rtt);
        }
    }

    /// A Ping was not answered within ERTO (RFC 7016 §3.5.4.1).
    fn on_ping_retry(&mut self, now: Instant, rtt: &mut Rtt) {
        rtt.back_off();
        self.send_ping(now, rtt);
    }
}
