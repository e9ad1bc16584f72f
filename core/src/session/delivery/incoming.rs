//! What comes in: fragments, acknowledgements, Buffer Probes, exceptions.

use core::time::Duration;

use super::{Delivery, flows};
use crate::config::SessionConfig;
use crate::congestion::PacketFacts;
use crate::error::DropReason;
use crate::event::{Event, EventQueue};
use crate::flow::{Acknowledgement, Fragment, RecvFlow, SendFlowState, parse_startup_options};
use crate::handle::RecvFlowHandle;
use crate::invariant::cannot_happen;
use crate::params::DELAYED_ACK;
use crate::session::context::Context;
use crate::session::transport::Transport;
use crate::time::Instant;
use crate::wire::{FlowException, PacketHeader};

/// Buffer Probes of a flow are answered at most this often: their senders wait for a timeout of at least 250 ms (RFC 7016
/// §3.6.2.9.1).
const PROBE_INTERVAL: Duration = Duration::from_millis(100);

/// How long messages that fill all the memory of a session may be without progress before a flow is rejected.
const DEADLOCK: Duration = Duration::from_secs(1);
/// The same if the endpoint grants less than the session may take by itself. By default it closes the session that needs
/// most after 10 s, which may help the others.
const DEADLOCK_WHEN_SCARCE: Duration = Duration::from_secs(20);

impl Delivery {
    /// What the header of a packet of the far end tells.
    pub(in crate::session) fn on_header(&mut self, cx: &mut Context<'_>, header: &PacketHeader, transport: &Transport) {
        self.recovery.in_flight.set_min_rtt(transport.rtt.min_rtt());
        if header.time_critical {
            cx.time_critical.received(self.session, cx.now);
        }
        if header.time_critical_reverse {
            self.recovery.on_reverse_notification(cx.now);
        }
    }

    /// RFC 7016 §3.6.3.2.
    ///
    /// # Errors
    /// Why the fragment was not taken, and is not acknowledged.
    pub(in crate::session) fn on_fragment(
        &mut self,
        cx: &mut Context<'_>,
        config: &SessionConfig,
        flow_id: u64,
        fragment: &Fragment<'_>,
    ) -> Result<(), DropReason> {
        let known = self.flows.recv_slot_by_id(flow_id);
        let slot = known.or_else(|| self.start_recv_flow(cx.events, config, flow_id, fragment.options));
        let slot = slot.ok_or(DropReason::OverLimit)?;
        let Some(flow) = self.flows.recv.get_mut(slot) else {
            return cannot_happen!(Ok(()), "a receiving flow stands in the slot of its ID");
        };
        let before = self.flows.budget.buffered();
        let taken = flow.on_fragment(cx.now, fragment, &mut self.flows.budget, cx.events);
        self.recv_stall.moved(self.flows.budget.buffered().abs_diff(before) as u64);
        match taken {
            Ok(true) => self.acks.set_now(),
            Ok(false) => self.delayed_ack.set_if_unset(cx.now + DELAYED_ACK),
            Err(DropReason::OverLimit) if self.is_deadlocked(cx.now) => self.reject_for_memory(cx, slot),
            Err(_) => {}
        }
        self.flows.reindex_recv(slot);
        taken.map(|_| ())
    }

    /// Messages that are not complete fill the memory, and none of them makes progress: each waits for what another
    /// holds.
    fn is_deadlocked(&self, now: Instant) -> bool {
        let limit = if self.flows.budget.is_granted_less() { DEADLOCK_WHEN_SCARCE } else { DEADLOCK };
        self.recv_stall.since().is_some_and(|since| since + limit <= now)
    }

    /// One flow yields to the others.
    fn reject_for_memory(&mut self, cx: &mut Context<'_>, slot: u32) {
        let Some(flow) = self.flows.recv.get_mut(slot) else {
            return cannot_happen!((), "a flow that refused a fragment is in its slot");
        };
        flow.reject(cx.now, 0, &mut self.flows.budget, cx.events);
        self.acks.set_now();
    }

    /// RFC 7016 §3.6.3.1. None: there are as many receiving flows as the configuration allows, or no memory for another.
    fn start_recv_flow(
        &mut self,
        events: &mut EventQueue,
        config: &SessionConfig,
        flow_id: u64,
        options: Option<&[u8]>,
    ) -> Option<u32> {
        if self.flows.recv.len() >= config.max_recv_flows {
            return None;
        }
        let startup = parse_startup_options(options);
        let cost = flows::RECV_FLOW + startup.metadata.as_ref().map_or(0, |metadata| metadata.len());
        if self.flows.budget.room() < cost {
            return None;
        }
        // Steps 6 and 7: the flow that it answers must exist and be F_OPEN.
        let association = startup.association.map(|id| {
            let flow = flows::slot_of(id).and_then(|slot| self.flows.send.get(slot));
            flow.filter(|flow| flow.state() == SendFlowState::Open).map(|flow| flow.handle())
        });
        let session = self.session;
        // Step 5: a flow without metadata is rejected.
        let accepted = startup.metadata.filter(|_| !startup.unacceptable && association != Some(None));
        let slot = self.flows.insert_recv(flow_id, |slot, generation| {
            let handle = RecvFlowHandle { session, slot, generation };
            let mut flow = match accepted {
                Some(metadata) => {
                    events.push(Event::FlowOpened { flow: handle });
                    RecvFlow::new(handle, flow_id, metadata, association.flatten(), config.recv_buffer)
                }
                None => RecvFlow::new_rejected(handle, flow_id),
            };
            if config.mona {
                flow.never_advertise_zero();
            }
            flow
        });
        self.acks.set_now();
        Some(slot)
    }

    /// RFC 7016 §3.6.2.4. False: it acknowledges what was never sent.
    pub(in crate::session) fn on_ack(
        &mut self,
        cx: &mut Context<'_>,
        facts: &mut PacketFacts,
        flow_id: u64,
        ack: Acknowledgement<'_>,
    ) -> bool {
        self.peer_sends_bitmaps |= matches!(ack, Acknowledgement::Bitmap(_));
        let Some(slot) = flows::slot_of(flow_id) else {
            return true;
        };
        let Some(flow) = self.flows.send.get_mut(slot) else {
            return true;
        };
        let outcome = flow.on_ack(cx.now, ack, &mut self.recovery.in_flight, cx.events);
        facts.any_acks = true;
        facts.acked_bytes += outcome.acked_bytes;
        self.flows.reindex_send(slot);
        !outcome.impossible
    }

    /// RFC 7016 §3.6.3.6.
    pub(in crate::session) fn on_buffer_probe(&mut self, now: Instant, transport: &Transport, flow_id: u64) {
        let round_trip = transport.rtt.srtt().unwrap_or(transport.rtt.mrto()).max(PROBE_INTERVAL);
        if let Some(slot) = self.flows.recv_slot_by_id(flow_id)
            && let Some(flow) = self.flows.recv.get_mut(slot)
            && flow.on_buffer_probe(now, round_trip, &self.flows.budget)
        {
            self.flows.reindex_recv(slot);
            self.acks.set_now();
        }
    }

    /// RFC 7016 §3.6.2.10.
    pub(in crate::session) fn on_exception(&mut self, cx: &mut Context<'_>, exception: FlowException) {
        if let Some(slot) = flows::slot_of(exception.flow_id)
            && let Some(flow) = self.flows.send.get_mut(slot)
        {
            flow.on_exception(cx.now, exception.code, cx.events);
            self.flows.reindex_send(slot);
        }
    }

    /// Acknowledges all flows, whether anything new came or not: a far end that moves has its window in flight, and
    /// would wait for its timeout if what it sent last is never acknowledged where it is now.
    pub(in crate::session) fn acknowledge_again(&mut self) {
        for slot in self.flows.recv.slots() {
            if let Some(flow) = self.flows.recv.get_mut(slot) {
                flow.acknowledge_again();
                self.flows.reindex_recv(slot);
            }
        }
        if self.flows.acks_due() {
            self.acks.set_now();
        }
    }

    /// A far end that leaves more gaps than losses make does not mean to close them.
    pub(in crate::session) fn has_unrepaired_gaps(&mut self, now: Instant, config: &SessionConfig) -> bool {
        let (gaps, gaps_closed) = self.flows.budget.gaps();
        let most = config.max_recv_bytes / (2 * config.base_datagram);
        self.gaps.check(now, gaps, gaps_closed, most, config.gap_limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handle::SessionHandle;

    const SESSION: SessionHandle = SessionHandle { slot: 0, generation: 0 };

    /// Else messages that are only slow would be rejected.
    #[test]
    fn messages_are_deadlocked_after_a_second_without_progress() {
        let start = Instant::from_millis(5_000);
        let mut delivery = Delivery::new(SESSION, &SessionConfig::default());
        assert!(!delivery.is_deadlocked(start), "nothing is held");
        delivery.recv_stall.update(start, 10_000);
        assert!(!delivery.is_deadlocked(start + Duration::from_millis(999)));
        assert!(delivery.is_deadlocked(start + DEADLOCK));
    }

    #[test]
    fn a_flow_is_opened_only_if_there_is_memory_for_its_metadata() {
        // The option list "metadata: four bytes".
        let options = Some(&[5, 0, b'f', b'o', b'u', b'r'][..]);
        let opens = |max_recv_bytes| {
            let config = SessionConfig { max_recv_bytes, ..SessionConfig::default() };
            Delivery::new(SESSION, &config).start_recv_flow(&mut EventQueue::default(), &config, 7, options).is_some()
        };
        assert!(opens(flows::RECV_FLOW + 4));
        assert!(!opens(flows::RECV_FLOW + 3));
    }
}
