//! Runs of fragments of messages that are not whole yet, or whose turn has not come.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::ops::Bound;

use bytes::Bytes;

use crate::wire::FragmentControl;

/// What a segment, and each further piece of its data, takes beside the data at most: a slot of a tree whose nodes
/// may be less than half full.
pub(super) const PIECE_OVERHEAD: usize = 192;

/// Data that has become so long is not moved into a larger piece: another is begun. So a long message takes little more
/// memory than its bytes, and none of them is copied more than once again.
const LONG_PIECE: usize = 65_536;

/// A contiguous run of fragments of one message.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) last: u64,
    /// It has the first fragment of its message.
    pub(super) begins: bool,
    /// It has the last fragment of its message.
    ends: bool,
    /// What comes before `data`, if segments were joined or the message is long.
    earlier: Option<Box<Earlier>>,
    /// Fragments that come in order are appended, so that a message received in order is copied once.
    data: Vec<u8>,
}

/// Pieces of data in order.
#[derive(Default, Debug)]
struct Earlier {
    pieces: VecDeque<Vec<u8>>,
    len: usize,
    capacity: usize,
}

impl Earlier {
    fn push(&mut self, data: Vec<u8>) {
        self.len += data.len();
        self.capacity += data.capacity();
        self.pieces.push_back(data);
    }
}

impl Segment {
    /// `spare` bytes may be allocated beyond what is needed, and `expected` is how many more may come.
    fn new(sequence: u64, control: FragmentControl, data: &[u8], expected: usize, spare: usize) -> Self {
        let (begins, ends) = ends_of(control);
        let expected = if begins && !ends { expected.max(data.len()) } else { 0 };
        let mut first = Vec::with_capacity(data.len().saturating_add(expected.min(spare)));
        first.extend_from_slice(data);
        Self { last: sequence, begins, ends, earlier: None, data: first }
    }

    pub(super) const fn is_whole(&self) -> bool {
        self.begins && self.ends
    }

    /// Bytes of data.
    pub(super) fn len(&self) -> usize {
        self.data.len() + self.earlier.as_ref().map_or(0, |earlier| earlier.len)
    }

    /// Bytes of memory, at most.
    fn memory(&self) -> usize {
        let (pieces, capacity) =
            self.earlier.as_ref().map_or((0, 0), |earlier| (earlier.pieces.len(), earlier.capacity));
        self.data.capacity() + capacity + (pieces + 1) * PIECE_OVERHEAD
    }

    /// Whether the fragment right behind this segment is of the same message.
    fn is_continued_by(&self, sequence: u64, begins: bool) -> bool {
        !begins && !self.ends && self.last.checked_add(1) == Some(sequence)
    }

    /// Bytes that can be appended without more memory.
    const fn room(&self) -> usize {
        self.data.capacity() - self.data.len()
    }

    /// Memory that is needed for a fragment right behind this segment.
    const fn cost(&self, len: usize) -> usize {
        match len.checked_sub(self.room()) {
            None | Some(0) => 0,
            Some(_) if self.data.len() >= LONG_PIECE => len.saturating_add(PIECE_OVERHEAD),
            Some(more) => more,
        }
    }

    /// Adds the fragment right behind this segment. The memory is doubled if it is too small and `spare` allows.
    fn append(&mut self, sequence: u64, ends: bool, data: &[u8], spare: usize) {
        self.last = sequence;
        self.ends = ends;
        if self.room() < data.len() {
            if self.data.len() >= LONG_PIECE {
                self.begin_piece();
            }
            let more = self.data.len().saturating_add(data.len());
            let more = if self.earlier.is_some() { more.max(LONG_PIECE / 4) } else { more };
            let more = if ends { 0 } else { more.min(spare) };
            self.data.reserve_exact(data.len().saturating_add(more));
        }
        self.data.extend_from_slice(data);
    }

    /// What is appended next goes to memory of its own.
    fn begin_piece(&mut self) {
        let data = core::mem::take(&mut self.data);
        self.earlier.get_or_insert_default().push(data);
    }

    /// Joins the segment right behind this one. The shorter list of pieces moves.
    fn join(&mut self, behind: Self) {
        self.last = behind.last;
        self.ends = behind.ends;
        let data = core::mem::replace(&mut self.data, behind.data);
        let mut before = self.earlier.take().unwrap_or_default();
        before.push(data);
        self.earlier = Some(match behind.earlier {
            Some(mut after) => {
                let (len, capacity) = (before.len + after.len, before.capacity + after.capacity);
                if before.pieces.len() < after.pieces.len() {
                    while let Some(piece) = before.pieces.pop_back() {
                        after.pieces.push_front(piece);
                    }
                    before.pieces = after.pieces;
                } else {
                    before.pieces.append(&mut after.pieces);
                }
                (before.len, before.capacity) = (len, capacity);
                before
            }
            None => before,
        });
    }

    /// The data in one piece, in memory of just that size.
    pub(super) fn into_data(self) -> Bytes {
        let mut whole = self.data;
        if let Some(earlier) = self.earlier {
            let joined = Vec::with_capacity(earlier.len + whole.len());
            let last = core::mem::replace(&mut whole, joined);
            // Each piece is let go as soon as it is copied.
            earlier.pieces.into_iter().chain([last]).for_each(|piece| whole.extend_from_slice(&piece));
        }
        Bytes::from(whole.into_boxed_slice())
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

/// All segments of a flow, by the sequence number of their first fragment.
#[derive(Debug)]
pub(super) struct Segments {
    /// The one that a fragment was added to last. It is not in the tree, so that a message received in order never
    /// is.
    current: Option<(u64, Segment)>,
    others: BTreeMap<u64, Segment>,
    memory: usize,
}

impl Segments {
    pub(super) const fn new() -> Self {
        Self { current: None, others: BTreeMap::new(), memory: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.current.is_none() && self.others.is_empty()
    }

    /// Bytes of memory that all segments take, at most.
    pub(super) const fn memory(&self) -> usize {
        self.memory
    }

    /// By how much `memory` grows at least with this fragment.
    pub(super) fn cost(&self, sequence: u64, control: FragmentControl, len: usize) -> usize {
        match &self.current {
            Some((_, segment)) if segment.is_continued_by(sequence, ends_of(control).0) => segment.cost(len),
            _ => len.saturating_add(PIECE_OVERHEAD),
        }
    }

    /// The lowest segment.
    pub(super) fn first(&self) -> Option<(u64, &Segment)> {
        self.first_from(Bound::Unbounded)
    }

    /// The lowest segment that begins within the bound.
    pub(super) fn first_from(&self, from: Bound<u64>) -> Option<(u64, &Segment)> {
        let within = |first: u64| match from {
            Bound::Unbounded => true,
            Bound::Included(from) => from <= first,
            Bound::Excluded(from) => from < first,
        };
        let current = self.current.as_ref().map(|(first, segment)| (*first, segment));
        let current = current.filter(|&(first, _)| within(first));
        let other = self.others.range((from, Bound::Unbounded)).next().map(|(&first, segment)| (first, segment));
        match (current, other) {
            (Some(current), Some(other)) if other.0 < current.0 => Some(other),
            (None, other) => other,
            (current, _) => current,
        }
    }

    /// Takes out the segment that begins there.
    pub(super) fn take(&mut self, first: u64) -> Option<Segment> {
        let segment = match self.current.take() {
            Some((begin, segment)) if begin == first => Some(segment),
            current => {
                self.current = current;
                self.others.remove(&first)
            }
        }?;
        self.memory -= segment.memory();
        Some(segment)
    }

    /// Adds a fragment that was not seen before. Gives the first number of its segment, if that is whole.
    ///
    /// `memory` grows by `cost` and at most `spare` more, to have room for what is to follow: `expected` bytes, if
    /// the fragment is the first of its message.
    pub(super) fn insert(
        &mut self,
        sequence: u64,
        control: FragmentControl,
        data: &[u8],
        expected: usize,
        spare: usize,
    ) -> Option<u64> {
        let (begins, ends) = ends_of(control);
        if let Some((first, segment)) = &mut self.current
            && self.others.is_empty()
            && segment.is_continued_by(sequence, begins)
        {
            // In order: nothing is moved.
            let before = segment.memory();
            segment.append(sequence, ends, data, spare);
            self.memory += segment.memory() - before;
            return segment.is_whole().then_some(*first);
        }
        let behind = sequence.checked_add(1).filter(|&behind| {
            let current = self.current.as_ref().filter(|(first, _)| *first == behind).map(|(_, segment)| segment);
            !ends && current.or_else(|| self.others.get(&behind)).is_some_and(|segment| !segment.begins)
        });
        let behind = behind.and_then(|behind| self.take(behind));
        let (first, mut segment) = match self.take_before(sequence, begins) {
            Some((first, mut segment)) => {
                segment.append(sequence, ends, data, spare);
                (first, segment)
            }
            None => (sequence, Segment::new(sequence, control, data, expected, spare)),
        };
        if let Some(behind) = behind {
            segment.join(behind);
        }
        self.memory += segment.memory();
        let whole = segment.is_whole();
        self.current = Some((first, segment));
        whole.then_some(first)
    }

    /// Takes out the segment that the fragment continues. If there is none, `current` has gone to the others.
    fn take_before(&mut self, sequence: u64, begins: bool) -> Option<(u64, Segment)> {
        match self.current.take() {
            Some((first, segment)) if segment.is_continued_by(sequence, begins) => {
                self.memory -= segment.memory();
                return Some((first, segment));
            }
            Some((first, segment)) => drop(self.others.insert(first, segment)),
            None => {}
        }
        let (&first, segment) = self.others.range(..sequence).next_back()?;
        if !segment.is_continued_by(sequence, begins) {
            return None;
        }
        self.take(first).map(|segment| (first, segment))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A segment of so many pieces of one byte, with memory for so many.
    fn segment(first: u8, pieces: u8, room: usize) -> Segment {
        let mut earlier = Earlier { pieces: VecDeque::with_capacity(room), len: 0, capacity: 0 };
        let last = first + pieces - 1;
        earlier.pieces.extend((first..last).map(|byte| Vec::from([byte])));
        (earlier.len, earlier.capacity) = (earlier.pieces.len(), earlier.pieces.len());
        let data = Vec::from([last]);
        Segment { last: last.into(), begins: false, ends: false, earlier: Some(Box::new(earlier)), data }
    }

    /// If the longer list moved, fragments that fill gaps from the end to the beginning would cost the square of their number.
    #[test]
    fn the_shorter_list_of_pieces_moves() {
        for (before, behind) in [((2, 0), (50, 1_000)), ((50, 1_000), (2, 0))] {
            let mut joined = segment(1, before.0, before.1);
            joined.join(segment(1 + before.0, behind.0, behind.1));
            let earlier = joined.earlier.as_ref().unwrap();
            assert!(earlier.pieces.capacity() >= 1_000, "the long list stays where it is");
            assert_eq!((earlier.len, earlier.capacity), (51, 51));
            assert_eq!(joined.into_data(), (1..=52).collect::<Vec<u8>>());
        }
    }

    /// Doubled, it would take twice the memory, and be copied as often as it is doubled.
    #[test]
    fn a_long_message_takes_little_more_memory_than_its_bytes() {
        let (mut segments, fragment) = (Segments::new(), [7; 1_100]);
        for sequence in 1..=2_000_u64 {
            let control = if sequence == 1 { FragmentControl::Begin } else { FragmentControl::Middle };
            let cost = segments.cost(sequence, control, fragment.len());
            let before = segments.memory();
            segments.insert(sequence, control, &fragment, 0, 1 << 20);
            assert!(segments.memory() >= before + cost);
            let len = sequence as usize * fragment.len();
            assert!(
                segments.memory() < len + len / 100 + 2 * LONG_PIECE + PIECE_OVERHEAD,
                "{len}: {}",
                segments.memory()
            );
        }
        let segment = segments.take(1).unwrap();
        assert_eq!((segment.len(), segments.memory()), (2_200_000, 0));
        assert!(segment.earlier.as_ref().unwrap().pieces.len() < 40, "no piece for each fragment");
        assert!(segment.into_data().iter().all(|&byte| byte == 7));
    }
}
