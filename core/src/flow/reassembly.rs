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
        let (begins, ends) = ends_of(control);
        Self {
            last: sequence,
            begins,
            ends,
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

    /// Adds the fragment right behind this segment.
    fn append(&mut self, sequence: u64, ends: bool, data: &[u8]) {
        self.last = sequence;
        self.ends = ends;
        self.fragments += 1;
        self.len += data.len();
        match self.pieces.back_mut() {
            Some(tail) => tail.extend_from_slice(data),
            None => self.pieces.push_back(BytesMut::from(data)),
        }
    }

    /// Joins the segment right behind this one. The shorter list of pieces moves.
    fn join(&mut self, mut behind: Self) {
        self.last = behind.last;
        self.ends = behind.ends;
        self.fragments += behind.fragments;
        self.len += behind.len;
        if self.pieces.len() < behind.pieces.len() {
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

/// Whether a fragment begins, and whether it ends, its message.
const fn ends_of(control: FragmentControl) -> (bool, bool) {
    match control {
        FragmentControl::Whole => (true, true),
        FragmentControl::Begin => (true, false),
        FragmentControl::Middle => (false, false),
        FragmentControl::End => (false, true),
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

    /// Takes a fragment that was not seen before. `in_order`: everything below it was seen or abandoned. `advance`
    /// is to follow.
    pub(crate) fn insert(&mut self, sequence: u64, control: FragmentControl, data: &[u8], in_order: bool) {
        self.buffered += Self::cost(data.len());
        let its_turn = self.order == ReceiveOrder::Network || (in_order && self.segments.is_empty());
        if control == FragmentControl::Whole && its_turn {
            self.push_ready(sequence, sequence, Bytes::copy_from_slice(data));
            return;
        }
        let (begins, ends) = ends_of(control);
        let behind = sequence.checked_add(1).filter(|_| !ends);
        let behind = behind.filter(|behind| self.segments.get(behind).is_some_and(|segment| !segment.begins));
        let behind = behind.and_then(|behind| self.segments.remove(&behind));
        let before = self
            .segments
            .range_mut(..sequence)
            .next_back()
            .filter(|(_, segment)| !begins && !segment.ends && segment.last.checked_add(1) == Some(sequence));
        let (first, segment) = match before {
            Some((&first, segment)) => {
                segment.append(sequence, ends, data);
                (first, segment)
            }
            None => (sequence, self.segments.entry(sequence).or_insert(Segment::new(sequence, control, data))),
        };
        if let Some(behind) = behind {
            segment.join(behind);
        }
        if segment.is_whole() && self.order == ReceiveOrder::Network {
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
        self.buffered -= segment.cost();
        self.buffered += Self::cost(segment.len);
        let last = segment.last;
        self.push_ready(first, last, segment.into_data());
    }

    /// Makes a message readable whose fragments were `first..=last`.
    fn push_ready(&mut self, first: u64, last: u64, data: Bytes) {
        let gap = match self.order {
            ReceiveOrder::Queuing => first > self.expected,
            ReceiveOrder::Network => self.abandoned,
        };
        self.abandoned = false;
        self.expected = self.expected.max(last.saturating_add(1));
        self.ready.push_back(Message { data, sequence: first, gap });
    }

    fn discard(&mut self, first: u64) {
        if let Some(segment) = self.segments.remove(&first) {
            self.buffered -= segment.cost();
            self.abandoned = true;
        }
    }
}
