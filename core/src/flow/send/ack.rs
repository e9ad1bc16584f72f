//! What the receiver tells a sending flow (RFC 7016 §3.6.2.4, §3.6.2.5, §3.6.2.10).

use super::{AckOutcome, Acknowledgement, Probe, SendFlow, SendFlowState};
use crate::event::{Event, EventQueue};
use crate::flow::in_flight::{InFlight, LossEpoch};
use crate::params;
use crate::time::Instant;
use crate::trace::{AbandonCause, TraceEvent};

impl SendFlow {
    /// Processes an acknowledgement (RFC 7016 §3.6.2.4). Nothing never sent counts as delivered, whatever it says.
    pub(crate) fn on_ack(
        &mut self,
        now: Instant,
        ack: Acknowledgement<'_>,
        in_flight: &mut InFlight,
        events: &mut EventQueue,
    ) -> AckOutcome {
        let mut outcome = AckOutcome::default();
        let (blocks, cumulative) = match ack {
            Acknowledgement::Bitmap(ack) => (ack.blocks_available, ack.cumulative_ack),
            Acknowledgement::Ranges(ack) => (ack.blocks_available, ack.cumulative_ack),
        };
        if self.queue.highest_sent() > 0 {
            self.startup = None;
            self.set_rx_buffer(now, blocks.saturating_mul(params::WINDOW_BLOCK));
        }
        self.acked(now, (0, cumulative), in_flight, &mut outcome, events);
        match ack {
            Acknowledgement::Bitmap(ack) => {
                ack.ranges().for_each(|(from, to)| self.acked(now, (from, to), in_flight, &mut outcome, events));
            }
            Acknowledgement::Ranges(ack) => {
                ack.ranges().for_each(|(from, to)| self.acked(now, (from, to), in_flight, &mut outcome, events));
            }
        }
        self.queue.release_before(outcome.highest);
        self.queue.normalize();
        self.changed(now, events);
        outcome
    }

    /// A fragment of this flow is lost, and no longer in flight.
    pub(crate) fn on_lost(&mut self, sequence: u64, loss_epoch: LossEpoch, events: &mut EventQueue) {
        self.queue.lost(sequence, loss_epoch, events);
        self.flush(events);
    }

    /// A fragment of this flow is sent again, though nothing shows that it is lost. False if it is not to be sent twice.
    pub(crate) fn probe(&mut self, sequence: u64, loss_epoch: LossEpoch) -> bool {
        self.queue.probe(sequence, loss_epoch)
    }

    /// Processes a Flow Exception Report (RFC 7016 §3.6.2.10).
    pub(crate) fn on_exception(&mut self, now: Instant, code: u64, events: &mut EventQueue) {
        let was_open = self.state == SendFlowState::Open;
        if was_open {
            self.rejected = true;
            self.close(now, events);
        }
        let is_closing = self.state == SendFlowState::Closing;
        if is_closing {
            self.exception = true;
            self.probe = Probe::default();
            self.queue.abandon_all(AbandonCause::FlowRejected, events);
        }
        if was_open {
            let (abandoned, rejected) = (self.queue.abandoned_count(), self.queue.rejected_count());
            events.push(Event::FlowRejected { flow: self.handle, code, abandoned, rejected });
        }
        if is_closing {
            self.changed(now, events);
        }
    }

    fn acked(
        &mut self,
        now: Instant,
        (from, to): (u64, u64),
        in_flight: &mut InFlight,
        outcome: &mut AckOutcome,
        events: &mut EventQueue,
    ) {
        let highest = self.queue.highest_sent();
        // RFC 7016 §3.6.1.3: receivers MUST NOT acknowledge what was not received.
        outcome.impossible |= to > highest || self.queue.is_withheld_in(from, to);
        outcome.highest = outcome.highest.max(to);
        let to = to.min(highest);
        let mut from = from;
        while from <= to
            && let Some((sequence, acked)) = self.queue.acked(from, to, events)
        {
            from = sequence + 1;
            let (flow, size, was_lost) = (self.handle, acked.size, acked.declared_lost);
            events.trace(|| TraceEvent::FragmentAcknowledged { flow, sequence, size, was_lost });
            if let Some((tsn, size)) = acked.in_flight {
                in_flight.acked(now, tsn, acked.loss_epoch);
                outcome.acked_bytes += u64::from(size);
            } else if acked.declared_lost {
                in_flight.spurious_loss(acked.size, acked.loss_epoch);
            }
        }
    }

    fn set_rx_buffer(&mut self, now: Instant, bytes: u64) {
        let was_open = self.rx_buffer > 0;
        self.rx_buffer = bytes;
        if !self.is_suspended() {
            self.probe = Probe::default();
        } else if was_open {
            self.suspended(now);
        }
    }
}
