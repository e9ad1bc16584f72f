//! The receiving half of delivery (RFC 7016 §3.6.3): the receiving flows, and what acknowledges them.

pub(in crate::session) mod acks;
pub(in crate::session) mod allowance;
mod commands;
mod flows;
mod gaps;

use core::time::Duration;

use super::sending::SendFlows;
use super::stall::Stall;
use crate::config::SessionConfig;
use crate::error::DropReason;
use crate::event::{Event, EventQueue};
use crate::flow::{Fragment, RecvFlow, RecvFlowState, SendFlowState, parse_startup_options};
use crate::handle::{RecvFlowHandle, SessionHandle};
use crate::invariant::cannot_happen;
use crate::session::context::Context;
use crate::time::Instant;
use crate::wire::PacketHeader;

use acks::Acks;
use allowance::Allowance;
use flows::{RECV_FLOW, RecvFlows};
use gaps::GapWatch;

/// Buffer Probes of a flow are answered at most this often: their senders wait for a timeout of at least 250 ms (RFC 7016
/// §3.6.2.9.1).
const PROBE_INTERVAL: Duration = Duration::from_millis(100);

/// How long messages that fill all the memory of a session may be without progress before a flow is rejected.
const DEADLOCK: Duration = Duration::from_secs(1);
/// The same if the endpoint grants less than the session may take by itself. By default it closes the session that needs
/// most after 10 s, which may help the others.
const DEADLOCK_WHEN_SCARCE: Duration = Duration::from_secs(20);

/// See the module.
pub(crate) struct Receiving {
    session: SessionHandle,
    pub(in crate::session) flows: RecvFlows,
    pub(in crate::session) acks: Acks,
    gaps: GapWatch,
    /// Of the messages that the far end has begun. Once the session has ended: of what is left to be read.
    stall: Stall,
}

impl Receiving {
    pub(super) fn new(session: SessionHandle, config: &SessionConfig) -> Self {
        Self {
            session,
            flows: RecvFlows::new(config.max_recv_bytes),
            acks: Acks::new(Allowance::new(config.max_ack_expansion)),
            gaps: GapWatch::default(),
            stall: Stall::default(),
        }
    }

    /// The session ended, and all flows with it, but those that are complete and not read to their end.
    pub(super) fn end(&mut self, events: &mut EventQueue, config: &SessionConfig) {
        self.flows.end(events);
        self.acks = Acks::new(Allowance::new(config.max_ack_expansion));
        self.stall = Stall::default();
    }

    /// While the session is open: since when next to nothing has come of messages that the far end has begun. None if
    /// there are none, or if others wait to be read, which is not the far end's fault.
    ///
    /// Once it has ended: since when next to nothing of what is left was read.
    pub(crate) const fn stalled_since(&self) -> Option<Instant> {
        self.stall.since()
    }

    /// The far end's ID of a flow, if it is RF_OPEN.
    pub(super) fn open_flow_id(&self, flow: RecvFlowHandle) -> Option<u64> {
        let found = self.flows.get(flow).filter(|_| flow.session == self.session)?;
        (found.state() == RecvFlowState::Open).then(|| found.flow_id())
    }

    /// What the header of a packet of the far end tells. `round_trip`: how long the path takes, if that is measured.
    pub(super) fn on_header(&mut self, cx: &mut Context<'_>, header: &PacketHeader, round_trip: Option<Duration>) {
        self.flows.budget.set_round_trip(round_trip);
        if header.time_critical {
            cx.time_critical.received(self.session, cx.now);
        }
    }

    /// In S_OPEN: brings what is derived in line with what has changed. O(1). Whether acknowledgements are due now.
    pub(super) fn update(&mut self, now: Instant) -> bool {
        self.stall.update(now, self.flows.budget.incomplete());
        let due = self.flows.is_ack_due();
        if !due {
            self.acks.all_sent();
        }
        due && self.acks.is_now()
    }

    /// The session has ended: the same for what is left to be read.
    pub(super) fn update_unread(&mut self, now: Instant) {
        if self.flows.is_empty() {
            self.flows.trim();
        }
        self.stall.update(now, self.flows.budget.memory());
    }

    /// The time to read what is left begins anew.
    pub(in crate::session) fn restart_unread(&mut self) {
        self.stall = Stall::default();
    }

    /// RFC 7016 §3.6.3.2. `sending`: this end's flows, which the fragment's flow may answer.
    ///
    /// # Errors
    /// Why the fragment was not taken, and is not acknowledged.
    pub(super) fn on_fragment(
        &mut self,
        cx: &mut Context<'_>,
        config: &SessionConfig,
        sending: &SendFlows,
        flow_id: u64,
        fragment: &Fragment<'_>,
    ) -> Result<(), DropReason> {
        let known = self.flows.slot_by_id(flow_id);
        let slot = known.or_else(|| self.start_flow(cx.events, config, sending, flow_id, fragment.options));
        let slot = slot.ok_or(DropReason::OverLimit)?;
        let Some(flow) = self.flows.table.get_mut(slot) else {
            return cannot_happen!(Ok(()), "a receiving flow stands in the slot of its ID");
        };
        let before = self.flows.budget.buffered();
        let taken = flow.on_fragment(cx.now, fragment, &mut self.flows.budget, cx.events);
        self.stall.moved(self.flows.budget.buffered().abs_diff(before) as u64);
        match taken {
            Ok(true) => self.acks.set_now(),
            Ok(false) => self.acks.set_delayed(cx.now),
            Err(DropReason::OverLimit) if self.is_deadlocked(cx.now) => self.reject_for_memory(cx, slot),
            Err(_) => {}
        }
        self.flows.reindex(slot);
        taken.map(|_| ())
    }

    /// Messages that are not complete fill the memory, and none of them makes progress: each waits for what another
    /// holds.
    fn is_deadlocked(&self, now: Instant) -> bool {
        let limit = if self.flows.budget.is_granted_less() { DEADLOCK_WHEN_SCARCE } else { DEADLOCK };
        self.stall.since().is_some_and(|since| since + limit <= now)
    }

    /// One flow yields to the others: that which may hold most, or that which refused a fragment.
    fn reject_for_memory(&mut self, cx: &mut Context<'_>, refused: u32) {
        let slot = self.flows.budget.unlimited().unwrap_or(refused);
        let Some(flow) = self.flows.table.get_mut(slot) else {
            return cannot_happen!((), "a flow that refused a fragment is in its slot");
        };
        flow.reject(cx.now, 0, &mut self.flows.budget, cx.events);
        self.flows.reindex(slot);
        self.acks.set_now();
    }

    /// RFC 7016 §3.6.3.1. None: there are as many receiving flows as the configuration allows, or no memory for another.
    fn start_flow(
        &mut self,
        events: &mut EventQueue,
        config: &SessionConfig,
        sending: &SendFlows,
        flow_id: u64,
        options: Option<&[u8]>,
    ) -> Option<u32> {
        if self.flows.table.len() >= config.max_recv_flows {
            return None;
        }
        let startup = parse_startup_options(options);
        let cost = RECV_FLOW + startup.metadata.as_ref().map_or(0, |metadata| metadata.len());
        if self.flows.budget.room() < cost {
            return None;
        }
        // Steps 6 and 7: the flow that it answers must exist and be F_OPEN.
        let association = startup.association.map(|id| {
            let flow = sending.by_id(id).filter(|flow| flow.state() == SendFlowState::Open);
            flow.map(|flow| flow.handle())
        });
        let session = self.session;
        // Step 5: a flow without metadata is rejected.
        let accepted = startup.metadata.filter(|_| !startup.unacceptable && association != Some(None));
        let slot = self.flows.insert(flow_id, |slot, generation| {
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

    /// RFC 7016 §3.6.3.6. `round_trip`: how long the path takes, as far as is known.
    pub(in crate::session) fn on_buffer_probe(&mut self, now: Instant, round_trip: Duration, flow_id: u64) {
        if let Some(slot) = self.flows.slot_by_id(flow_id)
            && let Some(flow) = self.flows.table.get_mut(slot)
            && flow.on_buffer_probe(now, round_trip.max(PROBE_INTERVAL), &self.flows.budget)
        {
            self.flows.reindex(slot);
            self.acks.set_now();
        }
    }

    /// Acknowledges all flows, whether anything new came or not: a far end that moves has its window in flight, and
    /// would wait for its timeout if what it sent last is never acknowledged where it is now.
    pub(in crate::session) fn acknowledge_again(&mut self) {
        self.flows.acknowledge_again();
        if self.flows.is_ack_due() {
            self.acks.set_now();
        }
    }

    /// The session is to end: acknowledges what is read, or stays readable.
    pub(in crate::session) fn acknowledge_kept(&mut self) {
        self.flows.acknowledge_kept();
        if self.flows.is_ack_due() {
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

    const SESSION: SessionHandle = SessionHandle { slot: 0, generation: 0 };

    /// Else messages that are only slow would be rejected.
    #[test]
    fn messages_are_deadlocked_after_a_second_without_progress() {
        let start = Instant::from_millis(5_000);
        let mut receiving = Receiving::new(SESSION, &SessionConfig::default());
        assert!(!receiving.is_deadlocked(start), "nothing is held");
        receiving.stall.update(start, 10_000);
        assert!(!receiving.is_deadlocked(start + Duration::from_millis(999)));
        assert!(receiving.is_deadlocked(start + DEADLOCK));
    }

    #[test]
    fn a_flow_is_opened_only_if_there_is_memory_for_its_metadata() {
        // The option list "metadata: four bytes".
        let options = Some(&[5, 0, b'f', b'o', b'u', b'r'][..]);
        let opens = |max_recv_bytes| {
            let config = SessionConfig { max_recv_bytes, ..SessionConfig::default() };
            let (sending, mut events) = (SendFlows::new(SESSION, 0), EventQueue::default());
            Receiving::new(SESSION, &config).start_flow(&mut events, &config, &sending, 7, options).is_some()
        };
        assert!(opens(RECV_FLOW + 4));
        assert!(!opens(RECV_FLOW + 3));
    }
}
