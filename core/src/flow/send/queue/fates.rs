//! What becomes of entries: acknowledged, lost, abandoned, or the last of the flow.

use bytes::Bytes;

use super::{Acked, Fragment, SendQueue};
use crate::event::{EventQueue, MessageOutcome};
use crate::flow::in_flight::LossEpoch;
use crate::invariant::cannot_happen;
use crate::trace::AbandonCause;
use crate::wire::FragmentControl;

impl SendQueue {
    /// Takes out the lowest entry from `from` to `to` that was ever sent, because it was acknowledged (§3.6.2.4).
    ///
    /// The RFC's step 4 leaves an entry that is no longer in flight; but one that was held lost and arrived after
    /// all need not be sent again.
    pub(in crate::flow::send) fn acked(&mut self, from: u64, to: u64, events: &mut EventQueue) -> Option<(u64, Acked)> {
        if from > to {
            return None;
        }
        let mut sequence = self.window.next_from(from)?;
        while sequence <= to && self.window.get(sequence).is_some_and(|fragment| !fragment.ever_sent) {
            sequence = self.window.next_from(sequence + 1)?;
        }
        if sequence > to {
            return None;
        }
        let fragment = self.window.remove(sequence)?;
        let declared_lost = self.lost.remove(&sequence);
        self.payload -= fragment.data.len();
        self.outstanding -= if fragment.in_flight() { u64::from(fragment.size) } else { 0 };
        if let Some(id) = fragment.message {
            self.fragment_acked(id, events);
        }
        let in_flight = fragment.in_flight().then_some((fragment.tsn, fragment.size));
        Some((sequence, Acked { in_flight, declared_lost, size: fragment.size, loss_epoch: fragment.loss_epoch }))
    }

    fn fragment_acked(&mut self, id: u64, events: &mut EventQueue) {
        let Some(message) = self.messages.get_mut(id) else {
            self.acked_in_doubt(id, events);
            return;
        };
        message.pending -= 1;
        if message.cut
            && message.pending == 0
            && let Some(message) = self.messages.remove(id)
        {
            self.forget(id, &message);
            if message.receipt {
                self.report(id, MessageOutcome::Delivered, events);
            }
        }
    }

    /// The entry is no longer in flight: lost (§3.6.2.5, §3.6.2.6).
    pub(in crate::flow::send) fn lost(&mut self, sequence: u64, loss_epoch: LossEpoch, events: &mut EventQueue) {
        let Some(fragment) = self.window.get_mut(sequence) else {
            return cannot_happen!((), "what was in flight is in the window");
        };
        if fragment.in_flight() {
            self.outstanding -= u64::from(fragment.size);
        }
        fragment.tsn = 0;
        fragment.loss_epoch = loss_epoch;
        if !fragment.abandoned || self.final_sn == Some(sequence) {
            self.lost.insert(sequence);
        }
        if let Some(id) = fragment.message {
            if self.messages.get(id).is_some_and(|message| !message.retransmit) {
                self.abandon(id, AbandonCause::NotRetransmitted, events);
            }
            self.lost_in_doubt(id, events);
        }
        self.release_before(sequence);
        self.normalize();
    }

    /// An entry in flight is sent again, though nothing shows yet that it is lost. False if its data is not to be sent
    /// twice. It is not abandoned, whatever its message says of losses.
    pub(in crate::flow::send) fn probe(&mut self, sequence: u64, loss_epoch: LossEpoch) -> bool {
        let Some(fragment) = self.window.get_mut(sequence).filter(|fragment| fragment.in_flight()) else {
            return cannot_happen!(false, "what is in flight is in the window");
        };
        let message = fragment.message.filter(|_| !fragment.abandoned);
        if !message.is_some_and(|id| self.messages.get(id).is_some_and(|message| message.retransmit)) {
            return false;
        }
        self.outstanding -= u64::from(fragment.size);
        fragment.tsn = 0;
        fragment.loss_epoch = loss_epoch;
        self.lost.insert(sequence);
        true
    }

    /// No more messages come (§3.6.2.11).
    pub(in crate::flow::send) fn close(&mut self) {
        self.closing = true;
        self.normalize();
    }

    /// Forgets everything.
    pub(in crate::flow::send) fn clear(&mut self) {
        let Self { handle, abandoned_count, rejected_count, next_message, .. } = *self;
        *self = Self { abandoned_count, rejected_count, next_message, ..Self::new(handle) };
    }

    /// Gives numbers to abandoned messages whose turn has come and to the end of the flow, and joins abandoned
    /// entries at the front. Every change of the queue ends with this; it is O(1) amortised per entry.
    pub(in crate::flow::send) fn normalize(&mut self) {
        while let Some(id) = self.unsent.front()
            && !self.messages.contains(*id)
        {
            self.unsent.pop_front();
            self.append_abandoned();
            self.join_front();
        }
        if self.closing && self.final_sn.is_none() && self.unsent.is_empty() {
            // §3.6.2.11 steps 2 and 3: an entry that was never sent will do, else one is added.
            let tail = self.window.last();
            let unsent_tail = tail.filter(|&(tail, entry)| tail == self.next_sn - 1 && !entry.ever_sent);
            let sequence = unsent_tail.map(|(tail, _)| tail);
            let sequence = sequence.unwrap_or_else(|| self.append_abandoned());
            self.final_sn = Some(sequence);
            self.lost.insert(sequence);
        }
        while self.join_front() {}
    }

    fn append_abandoned(&mut self) -> u64 {
        let sequence = self.next_sn;
        self.next_sn += 1;
        self.window.append(sequence, Fragment::new(None, Bytes::new(), FragmentControl::Whole));
        sequence
    }

    /// Trims the first entry if it and the second are abandoned and not in flight: the second speaks for both.
    fn join_front(&mut self) -> bool {
        let Some((first, _)) = self.window.first().filter(|(_, front)| front.idle_abandoned()) else { return false };
        let second = self.window.next_from(first + 1).and_then(|second| self.window.get(second));
        let both = second.is_some_and(Fragment::idle_abandoned);
        if both {
            self.window.pop_first();
        }
        both
    }
}
