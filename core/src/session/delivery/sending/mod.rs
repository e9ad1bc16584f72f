//! The sending half of delivery (RFC 7016 §3.6.2): the sending flows, and what paces and repairs them.

mod burst;
mod commands;
mod flows;
mod pacer;
mod probe;
mod recovery;
mod timer;
mod trust;

use core::time::Duration;

use super::stall::Stall;
use crate::config::SessionConfig;
use crate::congestion::PacketFacts;
use crate::event::EventQueue;
use crate::flow::Acknowledgement;
use crate::handle::SessionHandle;
use crate::invariant::cannot_happen;
use crate::session::context::Context;
use crate::session::transport::Rtt;
use crate::time::Instant;
use crate::wire::{PacketHeader, PacketWriter, session_id};

pub(crate) use flows::SendFlows;
use recovery::Recovery;
use trust::Trust;

/// See the module.
pub(crate) struct Sending {
    pub(crate) flows: SendFlows,
    pub(in crate::session) recovery: Recovery,
    /// Of what the far end is to acknowledge.
    stall: Stall,
    trust: Trust,
}

impl Sending {
    pub(super) fn new(session: SessionHandle, config: &SessionConfig) -> Self {
        // What a datagram has besides chunks of user data, as far as it is the session's.
        let smss = config.base_datagram.saturating_sub(session_id::LEN + PacketHeader::MAX_LEN);
        Self {
            flows: SendFlows::new(session, config.max_send_bytes),
            recovery: Recovery::new(config.congestion.controller(smss as u64), config.max_rate),
            stall: Stall::default(),
            trust: Trust::new(config.mona),
        }
    }

    /// The session ended, and all flows with it.
    pub(super) fn end(&mut self, events: &mut EventQueue) {
        self.flows.end(events);
        self.recovery.forget();
        self.stall = Stall::default();
    }

    /// Bytes of memory that are taken, at most.
    pub(super) fn memory(&self) -> usize {
        self.flows.memory() + self.recovery.in_flight.memory()
    }

    /// Since when the far end has acknowledged next to nothing of what is sent to it; None if nothing waits for it.
    pub(crate) const fn stalled_since(&self) -> Option<Instant> {
        self.stall.since()
    }

    /// From now on data leaves no faster, in bytes a second.
    pub(in crate::session) fn set_max_rate(&mut self, now: Instant, rate: Option<u64>) {
        self.recovery.set_max_rate(now, rate);
    }

    /// The congestion window, in bytes.
    pub(in crate::session) fn window(&self) -> u64 {
        self.recovery.controller.window()
    }

    /// User data waits, and the budget allows it (RFC 7016 §3.6.2.3). In S_OPEN only; before, it waits for that.
    pub(in crate::session) fn may_send(&self) -> bool {
        !self.flows.scheduler.is_empty() && self.recovery.budget() > 0
    }

    /// Something was sent that is neither acknowledged nor declared lost.
    pub(in crate::session) fn has_in_flight(&self) -> bool {
        !self.recovery.in_flight.is_empty()
    }

    /// Something is not acknowledged: it is in flight, or was lost and waits to be sent again.
    pub(in crate::session) fn awaits_answer(&self) -> bool {
        self.has_in_flight() || !self.flows.scheduler.is_empty()
    }

    /// Brings what is derived in line with what has changed. O(1).
    pub(super) fn update(&mut self, now: Instant) {
        self.stall.update(now, self.flows.unacknowledged());
        if self.flows.scheduler.is_empty() {
            self.recovery.burst.end();
        }
    }

    /// What the header of a packet of the far end tells, and the round trips of the path.
    pub(super) fn on_header(&mut self, now: Instant, header: &PacketHeader, rtt: &Rtt) {
        self.recovery.in_flight.set_min_rtt(rtt.min_rtt());
        self.recovery.in_flight.set_round_trips(rtt.srtt(), rtt.prompt_answer());
        if header.time_critical_reverse {
            self.recovery.on_reverse_notification(now);
        }
    }

    /// RFC 7016 §3.6.2.4. False: it acknowledges what was never sent.
    pub(super) fn on_ack(
        &mut self,
        cx: &mut Context<'_>,
        facts: &mut PacketFacts,
        flow_id: u64,
        ack: Acknowledgement<'_>,
    ) -> bool {
        let Some((slot, flow)) = self.flows.by_id_mut(flow_id) else {
            return true;
        };
        let outcome = flow.on_ack(cx.now, ack, &mut self.recovery.in_flight, cx.events);
        facts.any_acks = true;
        facts.acked_bytes += outcome.acked_bytes;
        self.flows.reindex(slot);
        !outcome.impossible
    }

    /// Fragments of the ready flows, the most urgent first, cut for plain packets of `base` bytes. Whether there are
    /// any.
    pub(in crate::session) fn write_data(
        &mut self,
        cx: &mut Context<'_>,
        packet: &mut PacketWriter<'_>,
        base: usize,
        erto: Duration,
    ) -> bool {
        let (mut any, mut time_critical) = (false, false);
        let before = self.recovery.begin_packet(cx.now);
        while self.may_send()
            && let Some((slot, _)) = self.flows.scheduler.peek()
        {
            let Some(flow) = self.flows.table.get_mut(slot) else {
                return cannot_happen!(any, "a flow that is ready is in its slot");
            };
            let budget = self.recovery.budget();
            let window = self.recovery.controller.window();
            let doubts = self.trust.doubts(window, before, cx.rng);
            let assembled = flow.assemble(cx.now, packet, &mut self.recovery.in_flight, budget, base, doubts);
            if assembled.withheld {
                self.trust.tested(window, cx.rng);
            }
            flow.flush(cx.events);
            any |= assembled.fragments > 0;
            time_critical |= assembled.time_critical;
            let still_ready = flow.is_ready();
            self.flows.reindex(slot);
            if still_ready {
                // The packet is full, or the budget spent.
                if assembled.fragments > 0 {
                    self.flows.scheduler.rotate(slot);
                }
                break;
            }
        }
        if any {
            if time_critical {
                packet.set_time_critical();
                cx.time_critical.sent(cx.now);
            }
            self.trust.sent(self.recovery.in_flight.outstanding() - before);
            let more = !self.flows.scheduler.is_empty();
            self.recovery.on_data_sent(cx.now, before, more, time_critical, cx.now + erto);
        }
        any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::FlowOptions;
    use crate::flow::SendFlow;
    use crate::handle::SendFlowHandle;

    fn one_flow() -> (Sending, SendFlowHandle) {
        let config = SessionConfig::default();
        let mut sending = Sending::new(SessionHandle { slot: 0, generation: 0 }, &config);
        let flow = sending.flows.open(&config, &FlowOptions::new("f"), |_| None).unwrap();
        (sending, flow)
    }

    #[test]
    fn its_memory_is_that_of_its_flows_and_of_what_is_in_flight() {
        let (mut sending, _) = one_flow();
        let flows = sending.memory();
        assert!(flows >= size_of::<SendFlow>(), "{flows}");
        let nothing = sending.recovery.in_flight.memory();
        for sequence in 1..=100 {
            sending.recovery.in_flight.sent(0, sequence, 100);
        }
        let in_flight = sending.recovery.in_flight.memory();
        assert!(in_flight > nothing);
        assert_eq!(sending.memory(), flows - nothing + in_flight);
    }

    #[test]
    fn no_more_is_written_than_the_endpoint_grants() {
        let (mut sending, flow) = one_flow();
        sending.flows.grant(999, 1_000);
        assert!(!sending.flows.has_room(flow, 5_000));
        sending.flows.grant(1_000, 1_000);
        assert!(sending.flows.has_room(flow, 5_000));
    }
}
