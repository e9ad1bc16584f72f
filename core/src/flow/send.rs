//! Sending flows (RFC 7016 §3.6.2).

mod ack;
mod assemble;
mod queue;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use self::queue::{ENTRY_OVERHEAD, MESSAGE_OVERHEAD, SendQueue};
use super::Counters;
use super::budget::{SendBudget, SendHeld};
use crate::config::{FlowOptions, Priority, SendOptions};
use crate::error::{WriteError, WriteRefusal};
use crate::event::{Event, EventQueue, Undelivered};
use crate::handle::{MessageId, SendFlowHandle};
use crate::params;
use crate::stats::FlowStats;
use crate::time::Instant;
use crate::trace::AbandonCause;
use crate::wire::{AckBitmap, AckRanges, option, vlu};

/// The state of a sending flow (RFC 7016 §3.6.2, figure 19).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SendFlowState {
    /// F_OPEN.
    Open,
    /// F_CLOSING.
    Closing,
    /// F_COMPLETE_LINGER.
    CompleteLinger,
    /// F_CLOSED.
    Closed,
}

/// Either acknowledgement chunk, as received.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Acknowledgement<'a> {
    Bitmap(&'a AckBitmap<'a>),
    Ranges(&'a AckRanges<'a>),
}

/// What an acknowledgement did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct AckOutcome {
    /// TRANSMIT_SIZE of all fragments newly acknowledged, for congestion control.
    pub(crate) acked_bytes: u64,
    /// It acknowledged a sequence number never sent: the peer is at fault (RFC 7016 §3.6.1.3).
    pub(crate) impossible: bool,
    /// The highest number that it acknowledged.
    highest: u64,
}

/// What `assemble` put into a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Assembled {
    /// Chunks added.
    pub(crate) fragments: u32,
    /// Any of them belongs to a time critical flow.
    pub(crate) time_critical: bool,
    /// A fragment was kept back.
    pub(crate) withheld: bool,
    /// The next fragment was cut for a larger path and does not fit into any packet of this size: the length of the
    /// plain packet, header included, that it needs.
    pub(crate) oversize: Option<usize>,
}

/// How much a sending flow may hold, in bytes with an overhead for each entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SendLimits {
    /// Of messages that are not acknowledged.
    pub(crate) buffer: usize,
    /// Writes are refused while this much was never sent.
    pub(crate) unsent: usize,
}

/// A sending flow (RFC 7016 §3.6.2).
#[derive(Debug)]
pub(crate) struct SendFlow {
    handle: SendFlowHandle,
    flow_id: u64,
    metadata: Bytes,
    priority: Priority,
    time_critical: bool,
    state: SendFlowState,
    /// STARTUP_OPTIONS: the option list without its marker, until the flow is acknowledged.
    startup: Option<Vec<u8>>,
    queue: SendQueue,
    send_buffer: usize,
    /// See [`SendLimits::unsent`]; 4 GiB is no limit.
    unsent_limit: u32,
    /// What of the session's budget is taken.
    charged: SendHeld,
    /// The least that a refused write takes, if FlowWritable is owed; else 0.
    refused: u32,
    /// A write was refused because the session's budget is used up, and FlowWritable is owed when it is not.
    lacks_memory: bool,
    /// RX_BUFFER_SIZE in bytes.
    rx_buffer: u64,
    /// EXCEPTION.
    exception: bool,
    /// FlowRejected was reported.
    rejected: bool,
    linger_until: Option<Instant>,
    probe: Probe,
    counters: Counters,
}

/// The timer of buffer probes (RFC 7016 §3.6.2.9.1).
#[derive(Clone, Copy, Debug, Default)]
struct Probe {
    /// The next is due then.
    at: Option<Instant>,
    /// The one at `at` is the first of this suspension, which began then.
    since: Option<Instant>,
    interval: Duration,
    due: bool,
}

impl SendFlow {
    /// In F_OPEN (RFC 7016 §3.6.2.1). `association`: the far flow ID that this flow answers. `limits`: those that
    /// hold unless the options say otherwise.
    pub(crate) fn new(
        handle: SendFlowHandle,
        flow_id: u64,
        options: &FlowOptions,
        association: Option<u64>,
        limits: SendLimits,
    ) -> Self {
        let limits = SendLimits {
            buffer: options.send_buffer.unwrap_or(limits.buffer),
            unsent: options.unsent_limit.unwrap_or(limits.unsent),
        };
        let mut startup = Vec::new();
        option::encode_option(option::USER_METADATA, &options.metadata, &mut startup);
        if let Some(association) = association {
            let mut value = Vec::new();
            vlu::encode(association, &mut value);
            option::encode_option(option::RETURN_FLOW_ASSOCIATION, &value, &mut startup);
        }
        Self {
            handle,
            flow_id,
            metadata: options.metadata.clone(),
            priority: options.priority,
            time_critical: options.time_critical,
            state: SendFlowState::Open,
            startup: Some(startup),
            queue: SendQueue::for_buffer(handle, limits.buffer),
            send_buffer: limits.buffer,
            unsent_limit: u32::try_from(limits.unsent).unwrap_or(u32::MAX),
            charged: SendHeld::default(),
            refused: 0,
            lacks_memory: false,
            rx_buffer: params::RX_BUFFER_INIT,
            exception: false,
            rejected: false,
            linger_until: None,
            probe: Probe::default(),
            counters: Counters::default(),
        }
    }

    pub(crate) const fn handle(&self) -> SendFlowHandle {
        self.handle
    }

    pub(crate) const fn flow_id(&self) -> u64 {
        self.flow_id
    }

    pub(crate) const fn state(&self) -> SendFlowState {
        self.state
    }

    pub(crate) const fn priority(&self) -> Priority {
        self.priority
    }

    pub(crate) const fn set_priority(&mut self, priority: Priority) {
        self.priority = priority;
    }

    pub(crate) const fn metadata(&self) -> &Bytes {
        &self.metadata
    }

    /// Counters: messages and bytes written, fragments sent again, messages abandoned, bytes buffered and never sent with
    /// the overhead that is accounted for each entry, the far end's window.
    pub(crate) fn stats(&self) -> FlowStats {
        FlowStats {
            abandoned: self.queue.abandoned_count(),
            buffered: self.queue.buffered(),
            unsent: self.queue.unsent(),
            window: self.rx_buffer,
            ..self.counters.stats()
        }
    }

    /// Queues a message (RFC 7016 §3.6.2.2). Refused with the bytes if the buffer is full or enough of it was never sent
    /// (then FlowWritable comes later), or the flow closed. A message is always taken while the buffer is empty.
    /// Fragments are cut when first sent.
    pub(crate) fn write(
        &mut self,
        now: Instant,
        data: Bytes,
        options: SendOptions,
        events: &mut EventQueue,
    ) -> Result<MessageId, WriteError> {
        if self.state != SendFlowState::Open {
            return Err(WriteError { data, reason: WriteRefusal::Closed });
        }
        if self.is_full_for(data.len()) {
            self.refuse(data.len());
            return Err(WriteError { data, reason: WriteRefusal::Full });
        }
        self.counters.messages += 1;
        self.counters.bytes += data.len() as u64;
        let message = self.queue.push(data, options, events);
        self.queue.expire(now, events);
        if self.is_suspended() && self.probe.at.is_none() && !self.probe.due {
            self.suspended(now);
        }
        self.changed(now, events);
        Ok(message)
    }

    /// Whether a message of this length is to wait until the buffer has room.
    fn is_full_for(&self, len: usize) -> bool {
        let after = self.queue.buffered().saturating_add(len).saturating_add(ENTRY_OVERHEAD);
        let unsent = self.queue.unsent();
        !self.queue.is_empty() && (after > self.send_buffer || (unsent > 0 && unsent >= self.unsent_limit as usize))
    }

    /// FlowWritable is owed once there is room for this.
    fn refuse(&mut self, len: usize) {
        let cost = u32::try_from(len.saturating_add(ENTRY_OVERHEAD)).unwrap_or(u32::MAX);
        self.refused = if self.refused == 0 { cost } else { self.refused.min(cost) };
    }

    /// Whether a message of this length may be written now; if not, FlowWritable comes when there is room. A closed
    /// flow has room: it is for [`write`](Self::write) to refuse.
    pub(crate) fn has_room(&mut self, len: usize, budget: &mut SendBudget) -> bool {
        if self.state != SendFlowState::Open {
            return true;
        }
        if self.is_full_for(len) {
            self.refuse(len);
            return false;
        }
        let cost = len.saturating_add(MESSAGE_OVERHEAD);
        let admitted = budget.admits(cost);
        if !admitted {
            budget.refuse(self.handle.slot, cost, core::mem::replace(&mut self.lacks_memory, true));
        }
        admitted
    }

    /// There is room in the budget again.
    pub(crate) fn memory_is_back(&mut self, events: &mut EventQueue) {
        if core::mem::take(&mut self.lacks_memory) && self.state == SendFlowState::Open && self.refused == 0 {
            events.push(Event::FlowWritable { flow: self.handle });
        }
    }

    /// Brings the session's budget up to date with what the queue takes: nothing if the flow is over.
    pub(crate) fn update_budget(&mut self, over: bool, budget: &mut SendBudget) {
        let held = SendHeld { memory: self.queue.memory(), unacknowledged: self.queue.buffered() };
        let held = if over { SendHeld::default() } else { held };
        budget.charge(self.charged, held);
        self.charged = held;
    }

    /// Abandons a message (RFC 7016 §3.6.2.7). False if the message is unknown or done.
    pub(crate) fn abandon(&mut self, message: MessageId, events: &mut EventQueue) -> bool {
        let known = self.queue.abandon(message.0, AbandonCause::User, events);
        self.flush(events);
        known
    }

    /// What was written and is neither delivered nor abandoned.
    pub(crate) fn undelivered(&self) -> Undelivered {
        self.queue.undelivered()
    }

    /// Closes an F_OPEN flow (RFC 7016 §3.6.2.11): what is queued is still sent.
    pub(crate) fn close(&mut self, now: Instant, events: &mut EventQueue) {
        if self.state == SendFlowState::Open {
            self.state = SendFlowState::Closing;
            self.refused = 0;
            self.queue.close();
            self.changed(now, events);
        }
    }

    /// The session ended: each receipt is given, nothing more is sent.
    pub(crate) fn session_ended(&mut self, events: &mut EventQueue) {
        self.state = SendFlowState::Closed;
        self.refused = 0;
        self.linger_until = None;
        self.probe = Probe::default();
        self.queue.abandon_all(AbandonCause::SessionEnded, events);
        self.queue.clear();
    }

    /// Ready to transmit (RFC 7016 §3.6.2.3), the session's budget apart.
    pub(crate) fn is_ready(&self) -> bool {
        (self.exception || self.rx_buffer > self.queue.outstanding()) && self.queue.next().is_some()
    }

    /// The next of: message deadlines, buffer probe, linger.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        Instant::earliest([self.queue.next_deadline(), self.probe.at, self.linger_until])
    }

    /// Does what is due: abandons by deadline, marks a probe due, ends the linger.
    pub(crate) fn handle_timeout(&mut self, now: Instant, erto: Duration, events: &mut EventQueue) {
        self.queue.expire(now, events);
        if self.linger_until.is_some_and(|end| end <= now) {
            self.linger_until = None;
            self.state = SendFlowState::Closed;
        }
        if self.probe.at.is_some_and(|at| at <= now) {
            self.probe_timeout(now, erto);
        }
        self.changed(now, events);
    }

    /// A buffer probe is to be sent now (RFC 7016 §3.6.2.9.1); `probe_sent` clears it and arms the next.
    pub(crate) const fn probe_due(&self) -> bool {
        self.probe.due
    }

    /// A probe was sent: the next comes after max(1 s, ERTO) at first, and after 1.41 times the interval before
    /// from then on, up to max(60 s, ERTO).
    pub(crate) fn probe_sent(&mut self, now: Instant, erto: Duration) {
        let longest = params::BUFFER_PROBE_MAX.max(erto);
        let shortest = params::BUFFER_PROBE_INIT.max(erto);
        let grown = self.probe.interval.saturating_mul(181) / 128;
        let interval = grown.max(shortest).min(longest);
        self.probe = Probe { at: Some(now + interval), since: None, interval, due: false };
    }

    /// RFC 7016 §3.6.2.9.1: the window is closed, and the flow is not rejected.
    const fn is_suspended(&self) -> bool {
        self.rx_buffer == 0 && !self.exception
    }

    /// The window closed, or there is data for a closed one: a probe is to come.
    fn suspended(&mut self, now: Instant) {
        self.probe =
            Probe { at: Some(now + params::BUFFER_PROBE_INIT), since: Some(now), interval: Duration::ZERO, due: false };
    }

    fn probe_timeout(&mut self, now: Instant, erto: Duration) {
        self.probe.at = None;
        if !self.is_suspended() || self.queue.is_empty() {
            return;
        }
        // The first probe, too, waits for at least ERTO.
        match self.probe.since.map(|since| since + erto).filter(|&at| at > now) {
            Some(later) => self.probe.at = Some(later),
            None => self.probe.due = true,
        }
    }

    /// What any change of the queue may bring: completion, and room for a refused writer.
    fn changed(&mut self, now: Instant, events: &mut EventQueue) {
        if self.state == SendFlowState::Closing && self.queue.is_empty() {
            self.state = SendFlowState::CompleteLinger;
            self.linger_until = Some(now + params::SEND_FLOW_LINGER);
            self.probe = Probe::default();
            if !self.rejected {
                let (abandoned, rejected) = (self.queue.abandoned_count(), self.queue.rejected_count());
                events.push(Event::FlowCompleted { flow: self.handle, abandoned, rejected });
            }
        }
        self.flush(events);
    }

    /// Tells a refused writer of room. To be called after the queue has changed in any way.
    pub(crate) fn flush(&mut self, events: &mut EventQueue) {
        if self.refused > 0 && self.has_room_again() {
            self.refused = 0;
            events.push(Event::FlowWritable { flow: self.handle });
        }
    }

    /// Whether there is room for a refused message that takes so much, and for some more: a writer is not told of each
    /// packet that leaves. What is in flight does not hold it up unless the buffer is full.
    fn has_room_again(&self) -> bool {
        let half = self.send_buffer.min(self.unsent_limit as usize) / 2;
        let after = self.queue.buffered().saturating_add(half.max(self.refused as usize));
        self.queue.is_empty() || (self.queue.unsent() <= half && after <= self.send_buffer)
    }
}
