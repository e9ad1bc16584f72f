//! What a receiving flow keeps, within the session's budget.

use super::{Fragment, RecvBudget, RecvFlow, RecvFlowState};
use crate::error::DropReason;
use crate::event::{EventQueue, FlowEnd};
use crate::flow::range_set::Fit;
use crate::time::Instant;

impl RecvFlow {
    /// Bytes of memory that the buffer and SEQUENCE_SET take, at most.
    pub(crate) fn memory(&self) -> usize {
        self.buffer.memory().saturating_add(self.seen.memory())
    }

    /// Step 11, with the limits. False: the flow was rejected instead.
    pub(super) fn take(
        &mut self,
        now: Instant,
        fragment: &Fragment<'_>,
        fit: Fit,
        budget: &mut RecvBudget,
        events: &mut EventQueue,
    ) -> Result<bool, DropReason> {
        if self.state != RecvFlowState::Open {
            return Ok(true);
        }
        let mut in_order = self.is_in_order(fragment);
        let mut cost = self.cost_of(fragment, fit, in_order);
        if cost > budget.room() {
            // What the FSN closes makes room.
            self.see(0, fragment.fsn);
            self.charge_budget(budget);
            in_order = self.is_in_order(fragment);
            cost = self.cost_of(fragment, self.seen.fit(fragment.sequence), in_order);
        }
        let Some(room) = budget.room().checked_sub(cost) else {
            if self.buffer.is_readable() || self.memory().saturating_add(cost) <= budget.most_buffered() {
                return Err(DropReason::OverLimit);
            }
            self.reject(now, 0, budget, events);
            return Ok(false);
        };
        if fragment.abandon {
            return Ok(true);
        }
        // What is allocated ahead leaves most of the room to other flows.
        let (sequence, control, spare) = (fragment.sequence, fragment.control, room / 4);
        self.buffer.insert(sequence, control, fragment.data, in_order, spare, &mut budget.pool);
        Ok(true)
    }

    /// Whether everything below a fragment was received or abandoned.
    fn is_in_order(&self, fragment: &Fragment<'_>) -> bool {
        fragment.sequence == self.csn().max(fragment.fsn).saturating_add(1)
    }

    /// Bytes of memory that it takes at least to keep a fragment, and to remember its number.
    fn cost_of(&self, fragment: &Fragment<'_>, fit: Fit, in_order: bool) -> usize {
        let Fragment { sequence, control, data, .. } = *fragment;
        let data = if fragment.abandon { 0 } else { self.buffer.cost(sequence, control, data.len(), in_order) };
        data.saturating_add(self.seen.cost(fit))
    }

    /// Adds to SEQUENCE_SET what was received or abandoned.
    pub(super) fn see(&mut self, from: u64, to: u64) {
        if !self.seen.contains_all(from, to) {
            self.buffer.mark_abandoned();
            self.seen.insert(from, to);
        }
    }

    /// Brings the session's budget up to date with what is buffered and remembered.
    pub(super) fn charge_budget(&mut self, budget: &mut RecvBudget) {
        let memory = self.memory();
        budget.charge(self.charged, memory);
        self.charged = memory;
        let gaps = self.seen.gaps();
        budget.count_gaps(self.charged_gaps, gaps);
        self.charged_gaps = gaps;
        let readable = self.buffer.is_readable();
        budget.count_readable(self.charged_readable, readable);
        self.charged_readable = readable;
        if self.state != RecvFlowState::Open {
            self.window.close();
        }
        budget.lift_limit(self.handle.slot, self.is_cramped());
        let grown = self.window.grown();
        budget.charge_window(self.charged_window, grown);
        self.charged_window = grown;
        self.look_at(budget);
    }

    /// What fills half of the window cannot be read yet: a part of a long message, or what came after a loss. The reader
    /// can make no room, and a sender that waits for it might wait for ever.
    pub(super) fn is_cramped(&self) -> bool {
        let window = self.window.capacity(self.share);
        let waits = self.state == RecvFlowState::Open && !self.suspended && !self.buffer.is_readable();
        waits && window > 0 && self.buffer.buffered() > window / 2
    }

    /// Notes what the window depends on.
    pub(super) fn look_at(&mut self, budget: &RecvBudget) {
        self.room = budget.room();
        self.share = budget.window_share_blocks();
        self.lifted = budget.lifted_room(self.handle.slot);
    }

    /// Nobody is to read what was received: it is forgotten, with all numbers above the CSN.
    pub(super) fn discard(&mut self, budget: &mut RecvBudget) {
        self.buffer.clear();
        self.seen.keep_lowest_range();
        self.charge_budget(budget);
    }

    /// Nobody reads it in time.
    pub(crate) fn discard_unread(&mut self, budget: &mut RecvBudget, events: &mut EventQueue) {
        self.discard(budget);
        self.finished(FlowEnd::SessionEnded, events);
    }
}
