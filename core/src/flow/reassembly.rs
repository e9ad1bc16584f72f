//! The RECV_BUFFER of a flow (RFC 7016 §3.6.3.3): fragments become messages, in one order or the other.

mod pool;
mod segments;

use alloc::collections::VecDeque;
use core::ops::Bound;

use bytes::Bytes;

pub(crate) use self::pool::SmallMessagePool;
use self::segments::Segments;
use super::Message;
use crate::config::ReceiveOrder;
use crate::invariant::cannot_happen;
use crate::wire::FragmentControl;

/// Bytes that each fragment, and each whole message, counts beside its data in BUFFERED_SIZE, so that a flood of
/// empty fragments closes the window like any other.
pub(crate) const ENTRY_OVERHEAD: usize = 64;

/// What a message to be read takes beside its data at most: its place in a queue that may be half empty (a long one
/// may be emptier while it is read).
pub(crate) const MESSAGE_OVERHEAD: usize = 2 * size_of::<Message>();

/// A queue of no more places is not made shorter until it is empty.
const LONG_QUEUE: usize = 256;

/// The most that is allocated at once for a message of which only the first fragment came.
const MOST_EXPECTED: usize = 65_536;

/// See the module. Every step is O(log n) in the number of segments, amortised.
#[derive(Debug)]
pub(crate) struct Reassembly {
    order: ReceiveOrder,
    segments: Segments,
    /// Messages to be read, oldest delivery first.
    ready: VecDeque<Message>,
    /// BUFFERED_SIZE.
    buffered: usize,
    /// Bytes of memory that the messages take, at most.
    ready_memory: usize,
    /// Length of the last message of several fragments: the next is likely to be like it.
    expected_len: usize,
    /// The sequence number after the last delivered message.
    next_sequence: u64,
    /// In network order: something was abandoned that no message has told of yet.
    abandoned: bool,
}

impl Reassembly {
    pub(crate) const fn new() -> Self {
        Self {
            order: ReceiveOrder::Queuing,
            segments: Segments::new(),
            ready: VecDeque::new(),
            buffered: 0,
            ready_memory: 0,
            expected_len: 0,
            next_sequence: 1,
            abandoned: false,
        }
    }

    /// BUFFERED_SIZE: bytes held, with an overhead for each fragment or whole message.
    pub(crate) const fn buffered(&self) -> usize {
        self.buffered
    }

    /// Bytes of memory that are taken, at most: other than BUFFERED_SIZE with what is allocated for fragments to
    /// come, and with what it takes to keep track. Of the chunks of small messages only what is used counts.
    pub(crate) const fn memory(&self) -> usize {
        self.segments.memory() + self.ready_memory
    }

    /// By how much `memory` grows at least if this fragment is inserted.
    pub(crate) fn cost(&self, sequence: u64, control: FragmentControl, len: usize, in_order: bool) -> usize {
        if self.is_message(control, in_order) {
            len.saturating_add(MESSAGE_OVERHEAD)
        } else {
            self.segments.cost(sequence, control, len)
        }
    }

    /// Whether there is a message to read.
    pub(crate) fn is_readable(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Bytes of the next message to read.
    pub(crate) fn next_len(&self) -> Option<usize> {
        self.ready.front().map(|message| message.data.len())
    }

    /// In network order: sequence numbers that were never received are known to be abandoned.
    pub(crate) const fn mark_abandoned(&mut self) {
        self.abandoned = true;
    }

    /// Takes a fragment that was not seen before. `in_order`: everything below it was seen or abandoned. `memory`
    /// grows by `cost` and at most `spare` more. `advance` is to follow.
    pub(crate) fn insert(
        &mut self,
        sequence: u64,
        control: FragmentControl,
        data: &[u8],
        in_order: bool,
        spare: usize,
        pool: &mut SmallMessagePool,
    ) {
        self.buffered += entry(data.len());
        if self.is_message(control, in_order) {
            let data = pool.copy(data);
            self.push_ready(sequence, sequence, data, pool);
            return;
        }
        let expected = if in_order { self.expected_len.min(MOST_EXPECTED).saturating_sub(data.len()) } else { 0 };
        let whole = self.segments.insert(sequence, control, data, expected, spare);
        if let Some(first) = whole.filter(|_| self.order == ReceiveOrder::Network) {
            self.deliver(first, pool);
        }
    }

    /// Whether a fragment is a message that can be read at once.
    fn is_message(&self, control: FragmentControl, in_order: bool) -> bool {
        let its_turn = self.order == ReceiveOrder::Network || (in_order && self.segments.is_empty());
        control == FragmentControl::Whole && its_turn
    }

    /// Delivers what is whole and discards what never will be, now that everything up to `csn` was seen or
    /// abandoned (RFC 7016 §3.6.3.3).
    pub(crate) fn advance(&mut self, csn: u64, pool: &mut SmallMessagePool) {
        while let Some((first, segment)) = self.segments.first()
            && first <= csn
        {
            if segment.is_whole() {
                self.deliver(first, pool);
            } else if segment.begins && segment.last >= csn {
                // In progress.
                return;
            } else {
                self.discard(first);
            }
        }
    }

    /// Discards what is not whole: the flow has no more sequence numbers.
    pub(crate) fn finish(&mut self) {
        while let Some((first, _)) = self.segments.first() {
            self.discard(first);
        }
    }

    /// Discards everything.
    pub(crate) fn clear(&mut self) {
        self.segments = Segments::new();
        self.ready = VecDeque::new();
        self.buffered = 0;
        self.ready_memory = 0;
    }

    /// The next message.
    pub(crate) fn read(&mut self, pool: &mut SmallMessagePool) -> Option<Message> {
        let message = self.ready.pop_front()?;
        self.buffered -= entry(message.data.len());
        self.ready_memory -= message.data.len() + MESSAGE_OVERHEAD;
        if self.ready.is_empty() {
            pool.recycle_queue(core::mem::take(&mut self.ready));
        } else if self.ready.capacity() > LONG_QUEUE && self.ready.len() < self.ready.capacity() / 4 {
            self.ready.shrink_to(grown(self.ready.len()).max(LONG_QUEUE));
        }
        Some(message)
    }

    /// Changes the order. Messages that are ready already keep theirs.
    pub(crate) fn set_order(&mut self, order: ReceiveOrder, pool: &mut SmallMessagePool) {
        self.order = order;
        if order == ReceiveOrder::Network {
            let mut from = Bound::Unbounded;
            while let Some((first, segment)) = self.segments.first_from(from) {
                from = Bound::Excluded(first);
                if segment.is_whole() {
                    self.deliver(first, pool);
                }
            }
        }
    }

    fn deliver(&mut self, first: u64, pool: &mut SmallMessagePool) {
        let Some(segment) = self.segments.take(first) else {
            return cannot_happen!((), "a segment that is delivered is there");
        };
        self.buffered -= entries(first, segment.last, segment.len());
        self.buffered += entry(segment.len());
        let last = segment.last;
        if last > first {
            self.expected_len = segment.len();
        }
        self.push_ready(first, last, segment.into_data(), pool);
    }

    /// Makes a message readable whose fragments were `first..=last`.
    fn push_ready(&mut self, first: u64, last: u64, data: Bytes, pool: &mut SmallMessagePool) {
        let gap = match self.order {
            ReceiveOrder::Queuing => first > self.next_sequence,
            ReceiveOrder::Network => self.abandoned,
        };
        self.abandoned = false;
        self.next_sequence = self.next_sequence.max(last.saturating_add(1));
        self.ready_memory += data.len() + MESSAGE_OVERHEAD;
        if self.ready.capacity() == 0 {
            self.ready = pool.queue();
        }
        if self.ready.len() == self.ready.capacity() {
            self.ready.reserve_exact(grown(self.ready.len()) - self.ready.len());
        }
        self.ready.push_back(Message { data, sequence: first, gap });
    }

    fn discard(&mut self, first: u64) {
        let Some(segment) = self.segments.take(first) else {
            return cannot_happen!((), "a segment that is discarded is there");
        };
        self.buffered -= entries(first, segment.last, segment.len());
        self.abandoned = true;
    }
}

/// What a fragment or message of `len` bytes adds to BUFFERED_SIZE.
const fn entry(len: usize) -> usize {
    len + ENTRY_OVERHEAD
}

/// What fragments `first..=last` with `len` bytes added to BUFFERED_SIZE.
const fn entries(first: u64, last: u64, len: usize) -> usize {
    // As many were counted one by one.
    len + ((last - first) as usize + 1) * ENTRY_OVERHEAD
}

/// Places for `len` messages and some more.
const fn grown(len: usize) -> usize {
    len + len / 4 + 16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue that changes its length with each read moves all messages each time.
    #[test]
    fn a_long_queue_is_made_shorter_when_three_quarters_of_it_are_empty() {
        let (mut buffer, mut pool) = (Reassembly::new(), SmallMessagePool::default());
        for sequence in 1..=2_000 {
            buffer.insert(sequence, FragmentControl::Whole, b"a", true, 0, &mut pool);
        }
        let places = buffer.ready.capacity();
        while buffer.ready.len() > places / 4 {
            assert!(buffer.read(&mut pool).is_some());
            assert_eq!(buffer.ready.capacity(), places, "{} messages", buffer.ready.len());
        }
        buffer.read(&mut pool);
        assert!(buffer.ready.capacity() < places / 2);
    }

    #[test]
    fn a_message_is_expected_to_be_as_long_as_the_last_of_several_fragments() {
        use FragmentControl::{Begin, End, Middle, Whole};
        let (mut buffer, mut pool) = (Reassembly::new(), SmallMessagePool::default());
        for (sequence, control) in (1..).zip([Begin, Middle, Middle, Middle, End, Whole, Begin]) {
            buffer.insert(sequence, control, &[0; 1_000], true, 1 << 20, &mut pool);
            buffer.advance(sequence, &mut pool);
            while buffer.read(&mut pool).is_some() {}
        }
        assert!((5_000..6_000).contains(&buffer.memory()), "{} bytes", buffer.memory());
    }
}
