//! The SEND_QUEUE of a flow (RFC 7016 §3.6.2): messages not cut yet, and fragments not acknowledged yet.

mod abandon;
mod fates;
mod withhold;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{Buf, Bytes};

use crate::config::SendOptions;
use crate::event::{EventQueue, Undelivered};
use crate::flow::in_flight::LossEpoch;
use crate::flow::range_set::RangeSet;
use crate::flow::seq_map::SeqMap;
use crate::handle::{MessageId, SendFlowHandle};
use crate::invariant::cannot_happen;
use crate::time::Instant;
use crate::trace::AbandonCause;
use crate::wire::FragmentControl;

/// Bytes that each waiting message, and each fragment not acknowledged yet, counts beside its data, so that a flood
/// of empty messages fills the send buffer like any other.
pub(super) const ENTRY_OVERHEAD: usize = 64;
/// What an entry of an ordered set takes at most: its nodes may be less than half full.
const NODE: usize = 64;
/// What a message takes beside its data, at most, if it is sent in one fragment.
pub(super) const MESSAGE_OVERHEAD: usize = SeqMap::<Message>::ENTRY + SeqMap::<Fragment>::ENTRY + 2 * size_of::<u64>();
/// Runs of abandoned messages remembered for messages still to be written "after" one of them. The oldest run is
/// forgotten first; a message that depends on a forgotten one is sent.
const ABANDONED_RUNS: usize = 256;
/// Sequence numbers from the lowest that is not acknowledged to the highest given. A receiver that never acknowledges
/// the one makes the sender wait here with the others. Large send buffers have more: one for this many bytes.
const MAX_SPAN: u32 = 65_536;
const SPAN_BYTES: usize = 256;
const LARGEST_SPAN: u32 = 1 << 20;

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
    /// How it was last declared lost.
    loss_epoch: LossEpoch,
}

impl Fragment {
    fn new(message: Option<u64>, data: Bytes, control: FragmentControl) -> Self {
        let abandoned = message.is_none();
        let loss_epoch = LossEpoch::NONE;
        Self { message, data, control, abandoned, sent_abandoned: false, ever_sent: false, tsn: 0, size: 0, loss_epoch }
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
    pub(super) declared_lost: bool,
    /// TRANSMIT_SIZE when it was last sent.
    pub(super) size: u32,
    /// How it was last declared lost.
    pub(super) loss_epoch: LossEpoch,
}

/// See the module.
///
/// Everything is found by number, and the data of what is acknowledged or abandoned is let go at once.
#[derive(Debug)]
pub(super) struct SendQueue {
    handle: SendFlowHandle,
    /// Fragments by sequence number.
    window: SeqMap<Fragment>,
    /// Those in the window that are to be sent: lost and not abandoned, or the unsent end of the flow.
    lost: BTreeSet<u64>,
    messages: SeqMap<Message>,
    /// Messages not wholly cut, in order. One that is not in `messages` was abandoned before any of it was sent: it
    /// still takes a sequence number in its turn (§3.6.1.2).
    unsent: VecDeque<u64>,
    /// (parent, child) for each message that is to be abandoned with another one, while both live.
    dependents: BTreeSet<(u64, u64)>,
    deadlines: BTreeSet<(Instant, u64)>,
    abandoned: RangeSet,
    /// Abandoned messages of which all is acknowledged or still in flight, if a receipt was asked for. Each with the
    /// number of its fragments that are in flight: no Forward Sequence Number passes these, so an acknowledgement of one
    /// still means that it was received. There are no more than fragments in the window.
    in_doubt: BTreeMap<u64, u64>,
    next_message: u64,
    /// NEXT_SN.
    next_sn: u64,
    highest_sent: u64,
    /// A fragment that has its number, and is not sent yet: see [`withhold`].
    withheld: Option<u64>,
    /// F_FINAL_SN.
    final_sn: Option<u64>,
    closing: bool,
    payload: usize,
    /// What of `payload` is not cut into fragments yet.
    uncut: usize,
    /// The most sequence numbers from the lowest that is not acknowledged to the highest given.
    max_span: u32,
    /// Bytes of all messages in `messages`.
    messages_len: usize,
    /// F_OUTSTANDING_BYTES.
    outstanding: u64,
    abandoned_count: u64,
    /// Those of them that the receiver's rejection abandoned.
    rejected_count: u64,
}

impl SendQueue {
    pub(super) const fn new(handle: SendFlowHandle) -> Self {
        Self {
            handle,
            window: SeqMap::new(),
            lost: BTreeSet::new(),
            messages: SeqMap::new(),
            unsent: VecDeque::new(),
            dependents: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            abandoned: RangeSet::new(),
            in_doubt: BTreeMap::new(),
            next_message: 0,
            next_sn: 1,
            highest_sent: 0,
            withheld: None,
            final_sn: None,
            closing: false,
            payload: 0,
            uncut: 0,
            max_span: MAX_SPAN,
            messages_len: 0,
            outstanding: 0,
            abandoned_count: 0,
            rejected_count: 0,
        }
    }

    /// The same for a send buffer of so many bytes.
    pub(super) fn for_buffer(handle: SendFlowHandle, bytes: usize) -> Self {
        let span = u32::try_from(bytes / SPAN_BYTES).unwrap_or(LARGEST_SPAN);
        Self { max_span: span.clamp(MAX_SPAN, LARGEST_SPAN), ..Self::new(handle) }
    }

    #[cfg(test)]
    pub(super) const fn max_span(&self) -> u32 {
        self.max_span
    }

    pub(super) fn is_empty(&self) -> bool {
        self.window.is_empty() && self.unsent.is_empty()
    }

    /// What is accounted against the send buffer: data not acknowledged, and an overhead for each entry.
    pub(super) fn buffered(&self) -> usize {
        let entries = self.unsent.len().saturating_add(self.window.len());
        self.payload.saturating_add(entries.saturating_mul(ENTRY_OVERHEAD))
    }

    /// What of that was never sent.
    pub(super) fn unsent(&self) -> usize {
        self.uncut.saturating_add(self.unsent.len().saturating_mul(ENTRY_OVERHEAD))
    }

    /// Bytes of memory that are taken, at most: other than [`buffered`](Self::buffered) with all of a message until
    /// the last of it is acknowledged, and with what it takes to keep track.
    pub(super) fn memory(&self) -> usize {
        let nodes = self.deadlines.len() + self.dependents.len() + self.lost.len() + self.in_doubt.len();
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

    pub(super) const fn rejected_count(&self) -> u64 {
        self.rejected_count
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

    /// Appends a message.
    pub(super) fn push(&mut self, data: Bytes, options: SendOptions, events: &mut EventQueue) -> MessageId {
        let id = self.next_message;
        self.next_message += 1;
        self.payload = self.payload.saturating_add(data.len());
        self.uncut = self.uncut.saturating_add(data.len());
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
        self.normalize();
        MessageId(id)
    }
    /// The first entry eligible to send (§3.6.2.3), whatever the windows say.
    pub(super) fn next(&self) -> Option<Next> {
        if let Some(&sequence) = self.lost.first() {
            return Some(Next::Numbered(sequence));
        }
        if let Some(last) = self.withheld_last() {
            return Some(Next::Numbered(last));
        }
        if !self.unsent.is_empty() && self.window.span() < self.max_span as usize {
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
        let passed = self.passed_front(sequence).map_or(0, |front| front + 1);
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

    /// The number of the first entry, if it is passed over when `sequence` is sent.
    fn passed_front(&self, sequence: u64) -> Option<u64> {
        let (first, front) = self.window.first()?;
        (first != sequence && front.idle_abandoned()).then_some(first)
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
        self.uncut -= cut.data.len();
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
        if self.passed_front(sequence).is_some() {
            self.window.pop_first();
        }
        self.lost.remove(&sequence);
        self.highest_sent = self.highest_sent.max(sequence);
        let Some(fragment) = self.window.get_mut(sequence) else {
            return cannot_happen!(false, "what is sent is in the window");
        };
        fragment.tsn = tsn;
        fragment.size = size;
        fragment.sent_abandoned = fragment.abandoned;
        self.outstanding += u64::from(size);
        let repeated = core::mem::replace(&mut fragment.ever_sent, true);
        self.normalize();
        repeated
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::tests::link::SEND;

    #[test]
    fn the_memory_is_that_of_the_messages_and_of_what_keeps_track_of_them() {
        let (mut queue, mut events) = (SendQueue::new(SEND), EventQueue::default());
        let options = SendOptions { finish_by: Some(Instant::from_millis(1)), ..SendOptions::default() };
        for _ in 0..1_000 {
            queue.push(Bytes::from_static(&[0; 100]), options, &mut events);
        }
        let least = 1_000 * (100 + size_of::<Message>() + size_of::<u64>() + NODE);
        assert!((least..2 * least).contains(&queue.memory()), "{} bytes, {least} at least", queue.memory());
        // The fragments of one keep the memory of all of them.
        let before = queue.memory();
        let cut = queue.preview(100).unwrap();
        queue.commit(cut).unwrap();
        assert!(queue.memory() >= before + size_of::<Fragment>());
    }

    #[test]
    fn a_message_that_waits_for_another_counts_what_finds_it() {
        let memory = |after: bool| {
            let (mut queue, mut events) = (SendQueue::new(SEND), EventQueue::default());
            let first = queue.push(Bytes::from_static(b"a"), SendOptions::default(), &mut events);
            let options = SendOptions { after: after.then_some(first), ..SendOptions::default() };
            queue.push(Bytes::from_static(b"b"), options, &mut events);
            queue.memory()
        };
        assert_eq!(memory(true), memory(false) + NODE);
    }
}
