//! The SEND_QUEUE of a flow (RFC 7016 §3.6.2): messages not cut yet, and fragments not acknowledged yet.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;

use bytes::{Buf, Bytes};

use crate::config::SendOptions;
use crate::event::{Event, EventQueue, MessageOutcome, Undelivered};
use crate::flow::dense::Dense;
use crate::flow::in_flight::Finding;
use crate::flow::range_set::RangeSet;
use crate::handle::{MessageId, SendFlowHandle};
use crate::time::Instant;
use crate::trace::{AbandonCause, TraceEvent};
use crate::wire::FragmentControl;

/// Bytes that each waiting message, and each fragment not acknowledged yet, counts beside its data, so that a flood
/// of empty messages fills the send buffer like any other.
pub(super) const ENTRY_OVERHEAD: usize = 64;
/// What an entry of an ordered set takes at most: its nodes may be less than half full.
const NODE: usize = 64;
/// What a message takes beside its data, at most, if it is sent in one fragment.
pub(super) const MESSAGE_OVERHEAD: usize = Dense::<Message>::ENTRY + Dense::<Fragment>::ENTRY + 2 * size_of::<u64>();
/// Runs of abandoned messages remembered for messages still to be written "after" one of them. The oldest run is
/// forgotten first; a message that depends on a forgotten one is sent.
const ABANDONED_RUNS: usize = 256;
/// Sequence numbers from the lowest that is not acknowledged to the highest given. A receiver that never acknowledges
/// the one makes the sender wait here with the others.
const MAX_SPAN: usize = 65_536;

/// A fragment with a sequence number, not acknowledged yet.
#[derive(Debug)]
pub(super) struct Fragment {
    /// None: a sequence number without data.
    message: Option<u64>,
    pub(super) data: Bytes,
    pub(super) control: FragmentControl,
    /// ABANDONED.
    pub(super) abandoned: bool,
    /// SENT_ABANDONED.
    sent_abandoned: bool,
    /// EVER_SENT.
    pub(super) ever_sent: bool,
    /// TSN of the last transmission if IN_FLIGHT, else 0.
    tsn: u64,
    /// TRANSMIT_SIZE.
    size: u32,
    /// How it was last found lost.
    found_lost: Finding,
}

impl Fragment {
    fn new(message: Option<u64>, data: Bytes, control: FragmentControl) -> Self {
        let abandoned = message.is_none();
        let found_lost = Finding::NONE;
        Self { message, data, control, abandoned, sent_abandoned: false, ever_sent: false, tsn: 0, size: 0, found_lost }
    }

    const fn in_flight(&self) -> bool {
        self.tsn != 0
    }

    /// Will be sent again only to move the Forward Sequence Number, or as the end of the flow.
    const fn idle_abandoned(&self) -> bool {
        self.abandoned && !self.in_flight()
    }
}

/// A message neither delivered nor abandoned.
#[derive(Debug)]
struct Message {
    /// Bytes of all of it: the memory is let go as a whole, when its last fragment is acknowledged.
    len: usize,
    /// What is not cut into fragments yet.
    rest: Bytes,
    /// First and last sequence number given so far.
    sequences: Option<(u64, u64)>,
    /// Fragments cut and not acknowledged.
    pending: u64,
    /// All of it is cut.
    cut: bool,
    start_by: Option<Instant>,
    finish_by: Option<Instant>,
    retransmit: bool,
    after: Option<u64>,
    receipt: bool,
}

/// What is to be sent next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// A fragment that has its number: a lost one, the end of the flow, or an update of the FSN (§3.6.2.7.1).
    Numbered(u64),
    /// The next of the first waiting message.
    New,
}

/// A fragment about to be cut.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) data: Bytes,
    pub(super) control: FragmentControl,
    pub(super) last: bool,
}

/// What was taken out by an acknowledgement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acked {
    /// TSN and TRANSMIT_SIZE, if it was in flight.
    pub(super) in_flight: Option<(u64, u32)>,
    /// It waited to be sent again.
    pub(super) was_lost: bool,
    /// TRANSMIT_SIZE when it was last sent.
    pub(super) size: u32,
    /// How it was last found lost.
    pub(super) found_lost: Finding,
}

/// See the module.
///
/// Everything is found by number, and the data of what is acknowledged or abandoned is let go at once.
#[derive(Debug)]
pub(super) struct SendQueue {
    handle: SendFlowHandle,
    /// Fragments by sequence number.
    window: Dense<Fragment>,
    /// Those in the window that are to be sent: lost and not abandoned, or the unsent end of the flow.
    lost: BTreeSet<u64>,
    messages: Dense<Message>,
    /// Messages not wholly cut, in order. One that is not in `messages` was abandoned before any of it was sent: it
    /// still takes a sequence number in its turn (§3.6.1.2).
    unsent: VecDeque<u64>,
    /// (parent, child) for each message that is to be abandoned with another one, while both live.
    dependents: BTreeSet<(u64, u64)>,
    deadlines: BTreeSet<(Instant, u64)>,
    abandoned: RangeSet,
    next_message: u64,
    /// NEXT_SN.
    next_sn: u64,
    highest_sent: u64,
    /// F_FINAL_SN.
    final_sn: Option<u64>,
    closing: bool,
    payload: usize,
    /// Bytes of all messages in `messages`.
    messages_len: usize,
    /// F_OUTSTANDING_BYTES.
    outstanding: u64,
    abandoned_count: u64,
}

impl SendQueue {
    pub(super) const fn new(handle: SendFlowHandle) -> Self {
        Self {
            handle,
            window: Dense::new(),
            lost: BTreeSet::new(),
            messages: Dense::new(),
            unsent: VecDeque::new(),
            dependents: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            abandoned: RangeSet::new(),
            next_message: 0,
            next_sn: 1,
            highest_sent: 0,
            final_sn: None,
            closing: false,
            payload: 0,
            messages_len: 0,
            outstanding: 0,
            abandoned_count: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.window.is_empty() && self.unsent.is_empty()
    }

    /// What is accounted against the send buffer: data not acknowledged, and an overhead for each entry.
    pub(super) fn buffered(&self) -> usize {
        let entries = self.unsent.len().saturating_add(self.window.len());
        self.payload.saturating_add(entries.saturating_mul(ENTRY_OVERHEAD))
    }

    /// Bytes of memory that are taken, at most: other than [`buffered`](Self::buffered) with all of a message until
    /// the last of it is acknowledged, and with what it takes to keep track.
    pub(super) fn memory(&self) -> usize {
        let nodes = self.deadlines.len() + self.dependents.len() + self.lost.len();
        let tracking = self.window.memory() + self.messages.memory() + self.unsent.capacity() * size_of::<u64>();
        self.messages_len.saturating_add(tracking).saturating_add(nodes * NODE)
    }

    /// Messages that are neither delivered nor abandoned. O(n) in those that wait.
    pub(super) fn undelivered(&self) -> Undelivered {
        let waiting = self.unsent.iter().filter_map(|id| self.messages.get(*id));
        let unsent = waiting.filter(|message| message.sequences.is_none()).count();
        Undelivered { messages: self.messages.len() as u64, unsent: unsent as u64, bytes: self.payload as u64 }
    }

    pub(super) const fn outstanding(&self) -> u64 {
        self.outstanding
    }

    pub(super) const fn highest_sent(&self) -> u64 {
        self.highest_sent
    }

    pub(super) const fn next_sn(&self) -> u64 {
        self.next_sn
    }

    pub(super) const fn abandoned_count(&self) -> u64 {
        self.abandoned_count
    }

    pub(super) fn is_final(&self, sequence: u64) -> bool {
        self.final_sn == Some(sequence)
    }

    pub(super) fn fragment(&self, sequence: u64) -> Option<&Fragment> {
        self.window.get(sequence)
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    // ------------------------------------------------------------------------------------------------- messages

    /// Appends a message.
    pub(super) fn push(&mut self, data: Bytes, options: SendOptions, events: &mut EventQueue) -> MessageId {
        let id = self.next_message;
        self.next_message += 1;
        self.payload = self.payload.saturating_add(data.len());
        self.messages_len = self.messages_len.saturating_add(data.len());
        let message = Message {
            len: data.len(),
            rest: data,
            sequences: None,
            pending: 0,
            cut: false,
            start_by: options.start_by,
            finish_by: options.finish_by,
            retransmit: options.retransmit,
            after: options.after.map(|parent| parent.0).filter(|parent| self.messages.contains(*parent)),
            receipt: options.receipt,
        };
        self.deadlines.extend([message.start_by, message.finish_by].into_iter().flatten().map(|at| (at, id)));
        self.dependents.extend(message.after.map(|parent| (parent, id)));
        self.messages.append(id, message);
        self.unsent.push_back(id);
        if options.after.is_some_and(|parent| self.abandoned.contains(parent.0)) {
            self.abandon(id, AbandonCause::Dependency, events);
        }
        self.settle();
        MessageId(id)
    }

    /// Abandons a message and those that depend on it (§3.6.2.7). False if it is unknown or done.
    pub(super) fn abandon(&mut self, id: u64, mut cause: AbandonCause, events: &mut EventQueue) -> bool {
        let known = self.messages.contains(id);
        let mut doomed = Vec::new();
        doomed.extend(known.then_some(id));
        while let Some(id) = doomed.pop() {
            if let Some(message) = self.messages.remove(id) {
                doomed.extend(self.children(id));
                self.bury(id, message, cause, events);
                cause = AbandonCause::Dependency;
            }
        }
        if known {
            self.settle();
        }
        known
    }

    pub(super) fn abandon_all(&mut self, cause: AbandonCause, events: &mut EventQueue) {
        while let Some((id, message)) = self.messages.pop_first() {
            self.bury(id, message, cause, events);
        }
        self.settle();
    }

    /// Abandons what should have been started, or delivered, by now.
    pub(super) fn expire(&mut self, now: Instant, events: &mut EventQueue) {
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
    fn bury(&mut self, id: u64, message: Message, cause: AbandonCause, events: &mut EventQueue) {
        let (flow, size) = (self.handle, message.len);
        events.trace(|| TraceEvent::MessageAbandoned { flow, message: MessageId(id), size, cause });
        self.abandoned_count += 1;
        self.abandoned.insert(id, id);
        if self.abandoned.gaps() >= ABANDONED_RUNS {
            self.abandoned.remove_lowest_range();
        }
        self.payload -= message.rest.len();
        if let Some((first, last)) = message.sequences {
            let mut from = first;
            while let Some(sequence) = self.window.next_from(from).filter(|sequence| *sequence <= last)
                && let Some(fragment) = self.window.get_mut(sequence)
            {
                from = sequence + 1;
                fragment.abandoned = true;
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
        self.done(id, &message, MessageOutcome::Abandoned, events);
    }

    /// What is to be done once for a message that is done.
    fn done(&mut self, id: u64, message: &Message, outcome: MessageOutcome, events: &mut EventQueue) {
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
        if message.receipt {
            events.push(Event::MessageDone { flow: self.handle, message: MessageId(id), outcome });
        }
    }

    // ---------------------------------------------------------------------------------------------------- sending

    /// The first entry eligible to send (§3.6.2.3), whatever the windows say.
    pub(super) fn next(&self) -> Option<Next> {
        if let Some(&sequence) = self.lost.first() {
            return Some(Next::Numbered(sequence));
        }
        if !self.unsent.is_empty() && self.window.span() < MAX_SPAN {
            return Some(Next::New);
        }
        let (sequence, fragment) = self.window.first()?;
        fragment.idle_abandoned().then_some(Next::Numbered(sequence))
    }

    /// The Forward Sequence Number to send with the entry `sequence` (§3.6.2.3, steps 1 to 4).
    ///
    /// An abandoned first entry that is not in flight is passed over if another entry is sent, which is what step 1
    /// trims; [`sent`](Self::sent) then trims it. If nothing else is sent it is not trimmed but sent itself: to the
    /// letter it would be trimmed whenever something is in flight behind it, and the receiver might never be told.
    pub(super) fn forward_sequence_number(&mut self, sequence: u64) -> u64 {
        let passed = if self.passes_front(sequence) { self.window.first_key().map_or(0, |first| first + 1) } else { 0 };
        let first = self.window.next_from(passed);
        match first.and_then(|first| Some((first, self.window.get(first)?))) {
            None => self.next_sn - 1,
            Some((first, fragment)) => {
                if !fragment.abandoned || (fragment.in_flight() && !fragment.sent_abandoned) {
                    first - 1
                } else {
                    first
                }
            }
        }
    }

    fn passes_front(&self, sequence: u64) -> bool {
        self.window.first().is_some_and(|(first, front)| first != sequence && front.idle_abandoned())
    }

    /// How many bytes of the first waiting message are not cut yet.
    pub(super) fn rest(&self) -> Option<usize> {
        Some(self.messages.get(*self.unsent.front()?)?.rest.len())
    }

    /// The next `len` bytes of the first waiting message as a fragment. Nothing is changed yet.
    pub(super) fn preview(&self, len: usize) -> Option<Cut> {
        let message = self.messages.get(*self.unsent.front()?)?;
        let (begins, ends) = (message.sequences.is_none(), len >= message.rest.len());
        let control = match (begins, ends) {
            (true, true) => FragmentControl::Whole,
            (true, false) => FragmentControl::Begin,
            (false, true) => FragmentControl::End,
            (false, false) => FragmentControl::Middle,
        };
        let data = message.rest.slice(..len.min(message.rest.len()));
        Some(Cut { data, control, last: ends && self.closing && self.unsent.len() == 1 })
    }

    /// Gives the previewed fragment its sequence number and takes it off the waiting message.
    pub(super) fn commit(&mut self, cut: Cut) -> Option<u64> {
        let id = *self.unsent.front()?;
        let message = self.messages.get_mut(id)?;
        let sequence = self.next_sn;
        self.next_sn += 1;
        if let Some(start_by) = message.start_by.take()
            && message.finish_by != Some(start_by)
        {
            self.deadlines.remove(&(start_by, id));
        }
        let first = message.sequences.map_or(sequence, |(first, _)| first);
        message.sequences = Some((first, sequence));
        message.pending += 1;
        message.rest.advance(cut.data.len());
        if matches!(cut.control, FragmentControl::Whole | FragmentControl::End) {
            message.cut = true;
            self.unsent.pop_front();
        }
        if cut.last {
            self.final_sn = Some(sequence);
        }
        self.window.append(sequence, Fragment::new(Some(id), cut.data, cut.control));
        Some(sequence)
    }

    /// The entry was assembled into a packet as `tsn` (§3.6.2.3, steps 12 to 16). True if it was sent before.
    pub(super) fn sent(&mut self, sequence: u64, tsn: u64, size: u32) -> bool {
        if self.passes_front(sequence) {
            self.window.pop_first();
        }
        self.lost.remove(&sequence);
        self.highest_sent = self.highest_sent.max(sequence);
        let Some(fragment) = self.window.get_mut(sequence) else { return false };
        fragment.tsn = tsn;
        fragment.size = size;
        fragment.sent_abandoned = fragment.abandoned;
        self.outstanding += u64::from(size);
        let repeated = core::mem::replace(&mut fragment.ever_sent, true);
        self.settle();
        repeated
    }

    // ------------------------------------------------------------------------------------------------------ fates

    /// Takes out the lowest entry from `from` to `to` that was ever sent, because it was acknowledged (§3.6.2.4).
    ///
    /// The RFC's step 4 leaves an entry that is no longer in flight; but one that was held lost and arrived after
    /// all need not be sent again.
    pub(super) fn acked(&mut self, from: u64, to: u64, events: &mut EventQueue) -> Option<(u64, Acked)> {
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
        let was_lost = self.lost.remove(&sequence);
        self.payload -= fragment.data.len();
        self.outstanding -= if fragment.in_flight() { u64::from(fragment.size) } else { 0 };
        if let Some(id) = fragment.message
            && let Some(message) = self.messages.get_mut(id)
        {
            message.pending -= 1;
            if message.cut
                && message.pending == 0
                && let Some(message) = self.messages.remove(id)
            {
                self.done(id, &message, MessageOutcome::Delivered, events);
            }
        }
        let in_flight = fragment.in_flight().then_some((fragment.tsn, fragment.size));
        Some((sequence, Acked { in_flight, was_lost, size: fragment.size, found_lost: fragment.found_lost }))
    }

    /// The entry is no longer in flight: lost (§3.6.2.5, §3.6.2.6).
    pub(super) fn lost(&mut self, sequence: u64, finding: Finding, events: &mut EventQueue) {
        let Some(fragment) = self.window.get_mut(sequence) else { return };
        if fragment.in_flight() {
            self.outstanding -= u64::from(fragment.size);
        }
        fragment.tsn = 0;
        fragment.found_lost = finding;
        if !fragment.abandoned || self.final_sn == Some(sequence) {
            self.lost.insert(sequence);
        }
        if let Some(id) = fragment.message
            && self.messages.get(id).is_some_and(|message| !message.retransmit)
        {
            self.abandon(id, AbandonCause::NotRetransmitted, events);
        }
        self.settle();
    }

    /// No more messages come (§3.6.2.11).
    pub(super) fn close(&mut self) {
        self.closing = true;
        self.settle();
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        let abandoned_count = self.abandoned_count;
        *self = Self { abandoned_count, next_message: self.next_message, ..Self::new(self.handle) };
    }

    /// Gives numbers to abandoned messages whose turn has come and to the end of the flow, and joins abandoned
    /// entries at the front. Every change of the queue ends with this; it is O(1) amortised per entry.
    pub(super) fn settle(&mut self) {
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
