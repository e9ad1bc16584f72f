//! Data Acknowledgement Bitmap (RFC 7016 §2.3.13).

use alloc::vec::Vec;
use core::fmt;
use core::iter::FusedIterator;

use super::EncodeChunk;
use super::ack::{Head, runs};
use crate::wire::{Cursor, Malformed, PacketWriter};

/// Acknowledges fragments of a flow by a bit for each (RFC 7016 §2.3.13). For packets of established sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AckBitmap<'a> {
    /// The flow.
    pub flow_id: u64,
    /// How many blocks of 1024 bytes the receiver can take.
    pub blocks_available: u64,
    /// All sequence numbers up to this one are acknowledged.
    pub cumulative_ack: u64,
    /// A bit for each sequence number from the second above the cumulative acknowledgement on, the least significant
    /// bit first. The first above it is missing, or it would be part of it.
    pub bits: &'a [u8],
}

impl<'a> AckBitmap<'a> {
    /// Reads the payload of the chunk.
    ///
    /// # Errors
    /// It is truncated.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        let Head { flow_id, blocks_available, cumulative_ack } = Head::parse(&mut cursor)?;
        Ok(Self { flow_id, blocks_available, cumulative_ack, bits: cursor.rest() })
    }

    /// The acknowledged ranges above the cumulative acknowledgement: inclusive, ascending, never touching. Bits for
    /// numbers above 2^64 - 1 are ignored.
    pub const fn ranges(&self) -> BitmapRanges<'a> {
        BitmapRanges { bits: self.bits, first: self.cumulative_ack.checked_add(2), next_bit: 0 }
    }

    /// The length of the payload that acknowledges up to `highest` (none: no more than `cumulative_ack`), in bytes.
    pub fn encoded_len(flow_id: u64, blocks_available: u64, cumulative_ack: u64, highest: Option<u64>) -> usize {
        let bits = highest.and_then(|highest| bit_index(cumulative_ack, highest)).map_or(0, |index| index / 8 + 1);
        let head = Head { flow_id, blocks_available, cumulative_ack };
        head.encoded_len().saturating_add(usize::try_from(bits).unwrap_or(usize::MAX))
    }

    /// Appends the chunk with `ranges`, which are inclusive, ascending, not touching, and above `cumulative_ack` by
    /// at least one missing number; a range that is not so is left out.
    ///
    /// What does not fit is cut off at a whole range if `truncate` (RFC 7016 §3.6.3.4.2), else the chunk is not
    /// appended. False: nothing was appended.
    pub fn write(
        packet: &mut PacketWriter<'_>,
        flow_id: u64,
        blocks_available: u64,
        cumulative_ack: u64,
        ranges: impl IntoIterator<Item = (u64, u64)>,
        truncate: bool,
    ) -> bool {
        let room = packet.remaining();
        packet.try_push_with(Self::TYPE, |out| {
            let head = Head { flow_id, blocks_available, cumulative_ack };
            head.encode(out);
            let begin = out.len();
            let room = room.saturating_sub(head.encoded_len());
            for run in runs(cumulative_ack, ranges) {
                let bits = bit_index(cumulative_ack, run.from).zip(bit_index(cumulative_ack, run.to));
                let bits = bits.and_then(|(from, to)| Some((usize::try_from(from).ok()?, usize::try_from(to).ok()?)));
                match bits.filter(|(_, to)| to / 8 < room) {
                    Some((from, to)) => set_bits(out, begin, from, to),
                    None => return truncate,
                }
            }
            true
        })
    }
}

/// The bit of a sequence number; None for those that have none, up to the first above the cumulative ack.
fn bit_index(cumulative_ack: u64, sequence_number: u64) -> Option<u64> {
    sequence_number.checked_sub(cumulative_ack)?.checked_sub(2)
}

/// Sets the bits `from..=to` of the bitmap that begins at `begin`, which grows as needed.
fn set_bits(out: &mut Vec<u8>, begin: usize, from: usize, to: usize) {
    let (first, last) = (begin + from / 8, begin + to / 8);
    if out.len() <= first {
        out.resize(first + 1, 0);
    }
    let (head, tail) = (0xff << (from % 8), 0xff >> (7 - to % 8));
    if let Some(byte) = out.get_mut(first) {
        *byte |= if first == last { head & tail } else { head };
    }
    if first < last {
        out.resize(last, 0xff);
        out.push(tail);
    }
}

impl EncodeChunk for AckBitmap<'_> {
    const TYPE: u8 = 0x50;

    fn payload_len(&self) -> usize {
        let Self { flow_id, blocks_available, cumulative_ack, bits } = *self;
        Head { flow_id, blocks_available, cumulative_ack }.encoded_len() + bits.len()
    }

    fn encode_payload(&self, out: &mut Vec<u8>) {
        let Self { flow_id, blocks_available, cumulative_ack, bits } = *self;
        Head { flow_id, blocks_available, cumulative_ack }.encode(out);
        out.extend_from_slice(bits);
    }
}

impl fmt::Display for AckBitmap<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { flow_id, blocks_available, cumulative_ack, .. } = *self;
        Head { flow_id, blocks_available, cumulative_ack }.display("AckBitmap", self.ranges(), f)
    }
}

/// Iterates the ranges of an [`AckBitmap`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BitmapRanges<'a> {
    bits: &'a [u8],
    /// The sequence number of the first bit; None if it is too large to exist.
    first: Option<u64>,
    next_bit: usize,
}

impl BitmapRanges<'_> {
    /// The first bit that is `set`, or is not, at `from` or behind it.
    fn find_bit(&self, set: bool, from: usize) -> Option<usize> {
        let mut index = from;
        loop {
            let byte = *self.bits.get(index / 8)?;
            let wanted = if set { byte } else { !byte } >> (index % 8);
            if wanted != 0 {
                return Some(index + wanted.trailing_zeros() as usize);
            }
            index = (index / 8 + 1) * 8;
        }
    }
}

impl Iterator for BitmapRanges<'_> {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        let first = self.first?;
        let from = self.find_bit(true, self.next_bit)?;
        let end = self.find_bit(false, from).unwrap_or(self.bits.len() * 8);
        self.next_bit = end;
        let range = first.checked_add(from as u64).map(|from| (from, first.saturating_add(end as u64 - 1)));
        if range.is_none() {
            self.first = None;
        }
        range
    }
}

impl FusedIterator for BitmapRanges<'_> {}
