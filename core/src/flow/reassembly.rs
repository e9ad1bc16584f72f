//! The RECV_BUFFER of a flow (RFC 7016 §3.6.3.3): fragments become messages, in one order or the other.

use alloc::collections::{BTreeMap, VecDeque};
use core::ops::Bound;

use bytes::{Bytes, BytesMut};

use super::Message;
use crate::config::ReceiveOrder;
use crate::wire::FragmentControl;

/// Bytes that each fragment, and each whole message, counts beside its data, so that a flood of empty fragments
/// fills the receive buffer like any other.
pub(crate) const ENTRY_OVERHEAD: usize = 64;

/// A contiguous run of fragments of one message that is not whole yet, or whose turn has not come.
#[derive(Debug)]
struct Segment {
    last: u64,
    /// It has the first fragment of its message.
    begins: bool,
    /// It has the last fragment of its message.
    ends: bool,
    /// The data in order. Fragments that come in order are appended to the last piece, so that a message received
    /// in order is copied once.
    pieces: VecDeque<BytesMut>,
    fragments: usize,
    len: usize,
}

impl Segment {
    fn new(sequence: u64, control: FragmentControl, data: &[u8]) -> Self {
        Self {
            last: sequence,
            begins: matches!(control, FragmentControl::Whole | FragmentControl::Begin),
            ends: matches!(control, FragmentControl::Whole | FragmentControl::End),
            pieces: VecDeque::from([BytesMut::from(data)]),
            fragments: 1,
            len: data.len(),
        }
    }

    const fn is_whole(&self) -> bool {
        self.begins && self.ends
    }

    const fn cost(&self) -> usize {
        self.len + self.fragments * ENTRY_OVERHEAD
    }

    /// Joins the segment right behind this one. The shorter list of pieces moves.
    fn join(&mut self, mut behind: Self) {
        self.last = behind.last;
        self.ends = behind.ends;
        self.fragments += behind.fragments;
        self.len += behind.len;
        if behind.fragments == 1
            && let (Some(tail), Some(piece)) = (self.pieces.back_mut(), behind.pieces.front())
        {
            tail.extend_from_slice(piece);
        } else if self.pieces.len() < behind.pieces.len() {
            while let Some(piece) = self.pieces.pop_back() {
                behind.pieces.push_front(piece);
            }
            self.pieces = behind.pieces;
        } else {
            self.pieces.append(&mut behind.pieces);
        }
    }

    fn into_data(mut self) -> Bytes {
        match self.pieces.pop_front() {
            Some(first) if self.pieces.is_empty() => first.freeze(),
            first => {
                let mut whole = BytesMut::with_capacity(self.len);
                first.iter().chain(&self.pieces).for_each(|piece| whole.extend_from_slice(piece));
                whole.freeze()
            }
        }
    }
}

/// See the module. Every step is O(log n) in the number of segments, amortised.
#[derive(Debug)]
pub(crate) struct Reassembly {
    order: ReceiveOrder,
    /// By the sequence number of the first fragment.
    segments: BTreeMap<u64, Segment>,
    /// Messages to be read, oldest delivery first.
    ready: VecDeque<Message>,
    /// BUFFERED_SIZE.
    buffered: usize,
    /// The sequence number that follows on the last delivered message.
    expected: u64,
    /// In network order: something was abandoned that no message has told of yet.
    abandoned: bool,
}

impl Reassembly {
    pub(crate) const fn new() -> Self {
        Self {
            order: ReceiveOrder::Queuing,
            segments: BTreeMap::new(),
            ready: VecDeque::new(),
            buffered: 0,
            expected: 1,
            abandoned: false,
        }
    }

    /// BUFFERED_SIZE: bytes held, with an overhead for each fragment or whole message.
    pub(crate) const fn buffered(&self) -> usize {
        self.buffered
    }

    /// What a fragment of `len` bytes costs.
    pub(crate) const fn cost(len: usize) -> usize {
        len.saturating_add(ENTRY_OVERHEAD)
    }

    /// Whether there is a message to read.
    pub(crate) fn is_readable(&self) -> bool {
        !self.ready.is_empty()
    }

    /// In network order: sequence numbers that were never received are known to be abandoned.
    pub(crate) const fn note_abandoned(&mut self) {
        self.abandoned = true;
    }

    /// Takes a fragment that was not seen before. `advance` is to follow.
    pub(crate) fn insert(&mut self, sequence: u64, control: FragmentControl, data: &[u8]) {
        self.buffered += Self::cost(data.len());
        let mut first = sequence;
        let mut segment = Segment::new(sequence, control, data);
        if !segment.ends
            && let Some(behind) = sequence.checked_add(1)
            && self.segments.get(&behind).is_some_and(|behind| !behind.begins)
            && let Some(behind) = self.segments.remove(&behind)
        {
            segment.join(behind);
        }
        if !segment.begins
            && let Some((&before, earlier)) = self.segments.range_mut(..sequence).next_back()
            && earlier.last.checked_add(1) == Some(sequence)
            && !earlier.ends
        {
            first = before;
            earlier.join(segment);
            if earlier.is_whole() && self.order == ReceiveOrder::Network {
                self.deliver(first);
            }
            return;
        }
        let whole = segment.is_whole();
        self.segments.insert(first, segment);
        if whole && self.order == ReceiveOrder::Network {
            self.deliver(first);
        }
    }

    /// Delivers what is whole and discards what never will be, now that everything up to `csn` was seen or
    /// abandoned (RFC 7016 §3.6.3.3).
    pub(crate) fn advance(&mut self, csn: u64) {
        while let Some((&first, segment)) = self.segments.first_key_value()
            && first <= csn
        {
            if segment.is_whole() {
                self.deliver(first);
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
        while let Some((&first, _)) = self.segments.first_key_value() {
            self.discard(first);
        }
    }

    /// Discards everything.
    pub(crate) fn clear(&mut self) {
        self.segments.clear();
        self.ready.clear();
        self.buffered = 0;
    }

    /// The next message.
    pub(crate) fn read(&mut self) -> Option<Message> {
        let message = self.ready.pop_front()?;
        self.buffered -= Self::cost(message.data.len());
        Some(message)
    }

    /// Changes the order. Messages that are ready already keep theirs.
    pub(crate) fn set_order(&mut self, order: ReceiveOrder) {
        self.order = order;
        if order == ReceiveOrder::Network {
            let mut from = Bound::Unbounded;
            while let Some((&first, segment)) = self.segments.range((from, Bound::Unbounded)).next() {
                from = Bound::Excluded(first);
                if segment.is_whole() {
                    self.deliver(first);
                }
            }
        }
    }

    fn deliver(&mut self, first: u64) {
        let Some(segment) = self.segments.remove(&first) else { return };
        let gap = match self.order {
            ReceiveOrder::Queuing => first > self.expected,
            ReceiveOrder::Network => self.abandoned,
        };
        self.abandoned = false;
        self.expected = self.expected.max(segment.last.saturating_add(1));
        self.buffered -= segment.cost();
        let data = segment.into_data();
        self.buffered += Self::cost(data.len());
        self.ready.push_back(Message { data, sequence: first, gap });
    }

    fn discard(&mut self, first: u64) {
        if let Some(segment) = self.segments.remove(&first) {
            self.buffered -= segment.cost();
            self.abandoned = true;
        }
    }
}
