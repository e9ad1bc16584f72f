//! Receiving flows (RFC 7016 §3.6.3).

mod ack;
mod keep;
#[cfg(test)]
mod tests;
mod window;

use bytes::Bytes;

use self::ack::Reporting;
use self::window::RecvWindow;
use super::budget::RecvBudget;
use super::options::is_unacceptable;
use super::range_set::{Fit, RangeSet};
use super::reassembly::Reassembly;
use super::{Counters, Message};
use crate::config::ReceiveOrder;
use crate::error::DropReason;
use crate::event::{Event, EventQueue, FlowEnd};
use crate::handle::{RecvFlowHandle, SendFlowHandle};
use crate::invariant::cannot_happen;
use crate::params;
use crate::stats::FlowStats;
use crate::time::Instant;
use crate::wire::FragmentControl;

/// The state of a receiving flow (RFC 7016 §3.6.3, figure 22).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RecvFlowState {
    /// RF_OPEN.
    Open,
    /// RF_REJECTED.
    Rejected,
    /// RF_COMPLETE_LINGER.
    CompleteLinger,
    /// RF_CLOSED.
    Closed,
}

/// A fragment as it came: User Data, or Next User Data with flow, sequence number and FSN filled in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fragment<'a> {
    pub(crate) sequence: u64,
    /// The Forward Sequence Number.
    pub(crate) fsn: u64,
    pub(crate) control: FragmentControl,
    pub(crate) abandon: bool,
    pub(crate) last: bool,
    /// The raw option list, if present.
    pub(crate) options: Option<&'a [u8]>,
    pub(crate) data: &'a [u8],
}

/// A receiving flow (RFC 7016 §3.6.3).
#[derive(Debug)]
pub(crate) struct RecvFlow {
    handle: RecvFlowHandle,
    flow_id: u64,
    metadata: Bytes,
    association: Option<SendFlowHandle>,
    state: RecvFlowState,
    /// SEQUENCE_SET. Zero is in it from the start: it is no sequence number (§2.3.11).
    seen: RangeSet,
    /// RF_FINAL_SN.
    final_sn: Option<u64>,
    buffer: Reassembly,
    /// What of the session's budget is taken for the buffer and for SEQUENCE_SET.
    charged: usize,
    /// The budget knows that there is a message to read.
    charged_readable: bool,
    /// What the budget had left when this flow last changed.
    room: usize,
    /// The gaps that the session's budget counts for this flow.
    charged_gaps: usize,
    reporting: Reporting,
    window: RecvWindow,
    /// The window has this many bytes more than what is buffered, whatever its limit is; 0 if that holds.
    lifted: u32,
    /// By how many blocks the session's budget lets all windows grow, when this flow last changed.
    share: u32,
    /// By how many blocks the budget knows that this window has grown.
    charged_window: u32,
    /// PREV_RWND in blocks.
    advertised: Option<u64>,
    /// For peers that take an advertised zero for the end: at least one block is advertised always.
    never_zero: bool,
    /// SHOULD_ACK.
    should_ack: bool,
    /// EXCEPTION_CODE, once rejected.
    exception: Option<u64>,
    /// The CSN when the flow was rejected, until the sender knows of it: what it covers was received, and what comes later
    /// is thrown away.
    kept: Option<u64>,
    suspended: bool,
    /// FlowReadable was reported, and no read has returned None since.
    readable_reported: bool,
    /// FlowFinished was reported, or nobody is to hear of the flow.
    finished_reported: bool,
    /// No fragment was processed yet.
    fresh: bool,
    linger_until: Option<Instant>,
    counters: Counters,
    /// Gaps told to the reader.
    abandoned: u64,
}

impl RecvFlow {
    /// In RF_OPEN (RFC 7016 §3.6.3.1). `recv_buffer`: the most that BUFFER_CAPACITY may be, in bytes.
    pub(crate) fn new(
        handle: RecvFlowHandle,
        flow_id: u64,
        metadata: Bytes,
        association: Option<SendFlowHandle>,
        recv_buffer: usize,
    ) -> Self {
        let mut seen = RangeSet::new();
        seen.insert(0, 0);
        Self {
            handle,
            flow_id,
            metadata,
            association,
            state: RecvFlowState::Open,
            seen,
            final_sn: None,
            buffer: Reassembly::new(),
            charged: 0,
            charged_readable: false,
            room: usize::MAX,
            charged_gaps: 0,
            reporting: Reporting::default(),
            window: RecvWindow::new(recv_buffer),
            lifted: 0,
            share: u32::MAX,
            charged_window: 0,
            advertised: None,
            never_zero: false,
            should_ack: false,
            exception: None,
            kept: None,
            suspended: false,
            readable_reported: false,
            finished_reported: false,
            fresh: true,
            linger_until: None,
            counters: Counters::default(),
            abandoned: 0,
        }
    }

    /// A flow that is rejected from its first chunk (RFC 7016 §3.6.3.1, steps 5 to 8): no user hears of it. The
    /// exception code is 0 (§2.3.16).
    pub(crate) fn new_rejected(handle: RecvFlowHandle, flow_id: u64) -> Self {
        Self {
            state: RecvFlowState::Rejected,
            exception: Some(0),
            finished_reported: true,
            ..Self::new(handle, flow_id, Bytes::new(), None, 0)
        }
    }

    #[cfg(test)]
    pub(crate) const fn handle(&self) -> RecvFlowHandle {
        self.handle
    }

    pub(crate) const fn flow_id(&self) -> u64 {
        self.flow_id
    }

    pub(crate) const fn state(&self) -> RecvFlowState {
        self.state
    }

    pub(crate) const fn metadata(&self) -> &Bytes {
        &self.metadata
    }

    pub(crate) const fn association(&self) -> Option<SendFlowHandle> {
        self.association
    }

    /// Bytes of the next message to read.
    pub(crate) fn next_len(&self) -> Option<usize> {
        self.buffer.next_len().filter(|_| !self.suspended)
    }

    /// Counters: messages and bytes read, fragments received again, gaps told to the reader, bytes buffered with the
    /// overhead that is accounted for each entry, BUFFER_CAPACITY.
    pub(crate) fn stats(&self) -> FlowStats {
        FlowStats {
            abandoned: self.abandoned,
            buffered: self.buffer.buffered(),
            window: self.capacity() as u64,
            ..self.counters.stats()
        }
    }

    /// BUFFER_CAPACITY in bytes.
    fn capacity(&self) -> usize {
        let window = self.window.capacity(self.share);
        if self.lifted == 0 { window } else { window.max(self.buffer.buffered().saturating_add(self.lifted as usize)) }
    }

    /// Processes a fragment (RFC 7016 §3.6.3.2, steps 3 to 16). Returns whether an acknowledgement is due at once
    /// (ACK_NOW), or the reason why the fragment was not taken (and not acknowledged). FlowReadable and FlowFinished
    /// are pushed as edges.
    ///
    /// A fragment is refused if it would bring the session over its budget. If the flow alone holds that much and
    /// has nothing to read, its message can never be completed: then the flow is rejected with code 0. No message of
    /// RFC 7016 tells a sender how long a message may be. So a receiver takes as much as its memory holds, and says no
    /// to more as soon as it knows. Of a flow that
    /// is not RF_OPEN only what comes in order is remembered and acknowledged, as nobody is to read it.
    pub(crate) fn on_fragment(
        &mut self,
        now: Instant,
        fragment: &Fragment<'_>,
        budget: &mut RecvBudget,
        events: &mut EventQueue,
    ) -> Result<bool, DropReason> {
        if self.state == RecvFlowState::Closed || self.final_sn.is_some_and(|last| fragment.sequence > last) {
            return Err(DropReason::Unexpected);
        }
        self.window.on_arrival(now, fragment.data.len(), budget.round_trip().is_some());
        // Step 3.
        self.should_ack = true;
        // Step 4.
        if self.state == RecvFlowState::Open && is_unacceptable(fragment.options) {
            self.reject(now, 0, budget, events);
        }
        // Steps 5 to 9, and §3.6.3.1 step 11.
        let fit = self.seen.fit(fragment.sequence);
        let repeated = fit == Fit::Inside;
        let mut ack_now = core::mem::take(&mut self.fresh)
            || self.state != RecvFlowState::Open
            || self.advertised.is_some_and(|blocks| blocks < 2)
            || fragment.abandon
            || self.has_gaps()
            || repeated;
        self.counters.repeated += u64::from(repeated);
        let taken = repeated || self.take(now, fragment, fit, budget, events)?;
        ack_now |= !taken || self.state != RecvFlowState::Open;
        // Step 10.
        if !repeated && fragment.last && self.final_sn.is_none() {
            self.final_sn = Some(fragment.sequence);
            ack_now = true;
        }
        // Steps 12 to 14.
        self.see(0, fragment.fsn);
        self.kept = self.kept.filter(|kept| *kept > fragment.fsn);
        if !repeated && fragment.abandon {
            self.buffer.mark_abandoned();
        }
        if !repeated && (self.state == RecvFlowState::Open || self.seen.fit(fragment.sequence) != Fit::Apart) {
            self.seen.insert(fragment.sequence, fragment.sequence);
        }
        self.reporting.note(fragment.sequence);
        ack_now |= self.has_gaps();
        // Step 16.
        self.buffer.advance(self.csn(), &mut budget.pool);
        ack_now |= self.complete(now);
        if self.is_cramped() {
            self.window.make_room(now, budget.window_room());
        }
        self.charge_budget(budget);
        self.flush(events);
        // §3.6.3.4.1: less than a block is left.
        Ok(ack_now || self.window_bytes() < params::WINDOW_BLOCK as usize)
    }

    /// The next message, if delivery is possible and not suspended. May open the window: see `ack_now_after_read`.
    pub(crate) fn read(&mut self, now: Instant, budget: &mut RecvBudget, events: &mut EventQueue) -> Option<Message> {
        if self.suspended {
            self.readable_reported = false;
            return None;
        }
        let message = self.buffer.read(&mut budget.pool);
        if let Some(message) = &message {
            self.window.on_read(now, message.data.len(), budget.round_trip(), budget.window_room());
        }
        self.charge_budget(budget);
        match &message {
            None => self.readable_reported = false,
            Some(message) => {
                budget.trim_if_empty();
                self.counters.messages += 1;
                self.counters.bytes += message.data.len() as u64;
                self.abandoned += u64::from(message.gap);
                self.flush(events);
                self.ask_to_ack();
            }
        }
        message
    }

    /// Reading, or the user, has opened a window that was advertised as (nearly) closed: an acknowledgement should
    /// tell the sender.
    pub(crate) fn ack_now_after_read(&self) -> bool {
        let Some(advertised) = self.advertised.filter(|&blocks| blocks < 2) else { return false };
        let blocks = self.blocks_available();
        let half = (self.capacity() as u64 / 2).div_ceil(params::WINDOW_BLOCK);
        // A sender that may send one block makes progress, and learns more with each acknowledgement; so it is told
        // only of what is worth a packet.
        blocks > advertised && (advertised == 0 || blocks >= half)
    }

    /// Rejects an RF_OPEN flow (RFC 7016 §3.6.3.7). An acknowledgement is due at once then. Of a complete flow it
    /// discards what is not read; the sender has its acknowledgement already.
    pub(crate) fn reject(&mut self, _now: Instant, code: u64, budget: &mut RecvBudget, events: &mut EventQueue) {
        if self.state == RecvFlowState::Open {
            self.state = RecvFlowState::Rejected;
            self.exception = Some(code);
            // An acknowledgement that was sent already may be lost.
            self.kept = Some(self.csn()).filter(|csn| *csn > 0);
            self.should_ack = true;
        }
        self.discard(budget);
        self.finished(FlowEnd::Rejected, events);
    }

    /// Suspends delivery (RFC 7016 §3.6.3.3).
    pub(crate) fn suspend(&mut self, budget: &mut RecvBudget) {
        self.suspended = true;
        self.charge_budget(budget);
    }

    /// Resumes delivery.
    pub(crate) fn resume(&mut self, budget: &mut RecvBudget, events: &mut EventQueue) {
        self.suspended = false;
        self.charge_budget(budget);
        self.flush(events);
        self.ask_to_ack();
    }

    /// Changes the order of delivery. Messages that are ready already keep theirs.
    pub(crate) fn set_order(&mut self, order: ReceiveOrder, budget: &mut RecvBudget, events: &mut EventQueue) {
        self.buffer.set_order(order, &mut budget.pool);
        self.charge_budget(budget);
        self.flush(events);
    }

    /// The most that BUFFER_CAPACITY may be, in bytes.
    pub(crate) fn set_window(&mut self, bytes: usize, budget: &mut RecvBudget) {
        self.window.set_limit(bytes);
        self.charge_budget(budget);
        self.ask_to_ack();
    }

    /// For peers of the Mona family: never advertise a window of zero.
    pub(crate) const fn never_advertise_zero(&mut self) {
        self.never_zero = true;
    }

    /// The session ended, and the flow with it. What a complete flow holds stays readable.
    pub(crate) fn session_ended(&mut self, budget: &mut RecvBudget, events: &mut EventQueue) {
        let complete = matches!(self.state, RecvFlowState::CompleteLinger | RecvFlowState::Closed);
        self.state = RecvFlowState::Closed;
        self.linger_until = None;
        self.should_ack = false;
        // The far end is told of the window no more.
        self.advertised = None;
        if !complete {
            self.discard_unread(budget, events);
        }
    }

    /// The end of the linger, or the next look at the window.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        Instant::earliest([self.linger_until, self.window.next_timeout()])
    }

    /// Ends the linger if it is over (RFC 7016 §3.6.3.8), and halves a window that is not used.
    pub(crate) fn handle_timeout(&mut self, now: Instant, budget: &mut RecvBudget) {
        self.window.handle_timeout(now);
        self.charge_budget(budget);
        if self.linger_until.is_some_and(|end| end <= now) {
            self.linger_until = None;
            self.state = RecvFlowState::Closed;
        }
    }

    /// Closed and read out: the slot can be freed.
    pub(crate) fn is_gone(&self) -> bool {
        self.state == RecvFlowState::Closed && !self.buffer.is_readable()
    }

    /// CSN (RFC 7016 §3.6.3.3).
    fn csn(&self) -> u64 {
        match self.seen.first() {
            Some((_, to)) => to,
            None => cannot_happen!(0, "zero is in the set from the start"),
        }
    }

    fn has_gaps(&self) -> bool {
        self.seen.gaps() > 0
    }

    /// §3.6.3.8. True if the flow has just become complete.
    fn complete(&mut self, now: Instant) -> bool {
        let all_seen = self.final_sn.is_some_and(|last| last <= self.csn());
        let completes = all_seen && matches!(self.state, RecvFlowState::Open | RecvFlowState::Rejected);
        if completes {
            self.state = RecvFlowState::CompleteLinger;
            self.linger_until = Some(now + params::RECV_FLOW_LINGER);
            self.buffer.finish();
        }
        completes
    }

    /// SHOULD_ACK, if the window has opened.
    fn ask_to_ack(&mut self) {
        self.should_ack |= self.ack_now_after_read();
    }

    /// Pushes the edges that are due.
    fn flush(&mut self, events: &mut EventQueue) {
        if self.buffer.is_readable() {
            if !self.suspended && !self.readable_reported {
                self.readable_reported = true;
                events.push(Event::FlowReadable { flow: self.handle });
            }
        } else if self.state == RecvFlowState::CompleteLinger || self.state == RecvFlowState::Closed {
            // §3.6.3.3: RF_FINAL_SN equals the CSN, and RECV_BUFFER is empty.
            self.finished(FlowEnd::Complete, events);
        }
    }

    fn finished(&mut self, end: FlowEnd, events: &mut EventQueue) {
        if !self.finished_reported {
            self.finished_reported = true;
            events.push(Event::FlowFinished { flow: self.handle, end });
        }
    }
}
