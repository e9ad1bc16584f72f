//! Abandoning messages (RFC 7016 §3.6.2.7).

use alloc::vec::Vec;

use bytes::Bytes;

use super::{ABANDONED_RUNS, Message, SendQueue};
use crate::event::{Event, EventQueue, MessageOutcome};
use crate::handle::MessageId;
use crate::time::Instant;
use crate::trace::{AbandonCause, TraceEvent};

impl SendQueue {
    /// Abandons a message and those that depend on it (§3.6.2.7). False if it is unknown or done.
    pub(in crate::flow::send) fn abandon(&mut self, id: u64, mut cause: AbandonCause, events: &mut EventQueue) -> bool {
        let known = self.messages.contains(id);
        let mut to_abandon = Vec::new();
        to_abandon.extend(known.then_some(id));
        while let Some(id) = to_abandon.pop() {
            if let Some(message) = self.messages.remove(id) {
                to_abandon.extend(self.children(id));
                self.discard_abandoned(id, message, cause, events);
                cause = AbandonCause::Dependency;
            }
        }
        if known {
            self.normalize();
        }
        known
    }

    pub(in crate::flow::send) fn abandon_all(&mut self, cause: AbandonCause, events: &mut EventQueue) {
        while let Some((id, message)) = self.messages.pop_first() {
            self.discard_abandoned(id, message, cause, events);
        }
        // From now on acknowledgements do not tell whether anything was received: a receiver acknowledges what it has
        // rejected, too (§3.6.3.3).
        while let Some((id, _)) = self.in_doubt.pop_first() {
            self.report(id, MessageOutcome::Unknown, events);
        }
        self.normalize();
    }

    /// Abandons what should have been started, or delivered, by now.
    pub(in crate::flow::send) fn expire(&mut self, now: Instant, events: &mut EventQueue) {
        while let Some(&(deadline, id)) = self.deadlines.first()
            && deadline <= now
        {
            self.deadlines.pop_first();
            self.abandon(id, AbandonCause::Deadline, events);
        }
    }

    fn children(&self, id: u64) -> impl Iterator<Item = u64> + '_ {
        self.dependents.range((id, 0)..=(id, u64::MAX)).map(|&(_, child)| child)
    }

    /// Forgets a message that has been taken out of `messages` because it was abandoned.
    fn discard_abandoned(&mut self, id: u64, message: Message, cause: AbandonCause, events: &mut EventQueue) {
        let (flow, size) = (self.handle, message.len);
        events.trace(|| TraceEvent::MessageAbandoned { flow, message: MessageId(id), size, cause });
        self.abandoned_count += 1;
        self.rejected_count += u64::from(cause == AbandonCause::FlowRejected);
        self.abandoned.insert(id, id);
        if self.abandoned.gaps() >= ABANDONED_RUNS {
            self.abandoned.remove_lowest_range();
        }
        self.payload -= message.rest.len();
        self.uncut -= message.rest.len();
        let mut all_in_flight = true;
        if let Some((first, last)) = message.sequences {
            let mut from = first;
            while let Some(sequence) = self.window.next_from(from).filter(|sequence| *sequence <= last)
                && let Some(fragment) = self.window.get_mut(sequence)
            {
                from = sequence + 1;
                fragment.abandoned = true;
                all_in_flight &= fragment.in_flight();
                self.payload -= fragment.data.len();
                fragment.data = Bytes::new();
                if self.final_sn != Some(sequence) {
                    self.lost.remove(&sequence);
                }
            }
            // Only the first of those waiting can have been cut in part. What is left of it takes no number: the
            // receiver sees that the segment is incomplete when a higher number is seen or forwarded to (§3.6.3.3).
            if !message.cut {
                self.unsent.pop_front();
            }
        }
        self.forget(id, &message);
        if message.receipt {
            match (message.cut, all_in_flight) {
                (false, _) => self.report(id, MessageOutcome::Abandoned, events),
                (true, false) => self.report(id, MessageOutcome::Unknown, events),
                (true, true) => drop(self.in_doubt.insert(id, message.pending)),
            }
        }
    }

    /// A fragment of a message that may be in doubt was acknowledged.
    pub(super) fn acked_in_doubt(&mut self, id: u64, events: &mut EventQueue) {
        let Some(pending) = self.in_doubt.get_mut(&id) else { return };
        *pending -= 1;
        if *pending == 0 {
            self.in_doubt.remove(&id);
            self.report(id, MessageOutcome::Delivered, events);
        }
    }

    /// A fragment of a message that may be in doubt was lost. From now on its sequence number may be forwarded over, and
    /// an acknowledgement of it says nothing.
    pub(super) fn lost_in_doubt(&mut self, id: u64, events: &mut EventQueue) {
        if self.in_doubt.remove(&id).is_some() {
            self.report(id, MessageOutcome::Unknown, events);
        }
    }

    /// What became of a message whose receipt was asked for.
    pub(super) fn report(&self, id: u64, outcome: MessageOutcome, events: &mut EventQueue) {
        events.push(Event::MessageDone { flow: self.handle, message: MessageId(id), outcome });
    }

    /// Takes out what refers to a message that is done.
    pub(super) fn forget(&mut self, id: u64, message: &Message) {
        self.messages_len -= message.len;
        for deadline in [message.start_by, message.finish_by].into_iter().flatten() {
            self.deadlines.remove(&(deadline, id));
        }
        if let Some(parent) = message.after {
            self.dependents.remove(&(parent, id));
        }
        loop {
            let Some(child) = self.children(id).next() else { break };
            self.dependents.remove(&(id, child));
        }
    }
}
