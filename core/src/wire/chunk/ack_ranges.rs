//! Data Acknowledgement Ranges (RFC 7016 §2.3.14).

use alloc::vec::Vec;
use core::fmt;
use core::iter::FusedIterator;

use super::EncodeChunk;
use super::ack::{Head, Run, runs};
use crate::wire::{Cursor, Malformed, PacketWriter, vlu};

/// Acknowledges fragments of a flow by runs of missing and received ones (RFC 7016 §2.3.14). For packets of
/// established sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AckRanges<'a> {
    /// The flow.
    pub flow_id: u64,
    /// How many blocks of 1024 bytes the receiver can take.
    pub blocks_available: u64,
    /// All sequence numbers up to this one are acknowledged.
    pub cumulative_ack: u64,
    /// The runs as they travel, the last one maybe truncated: see [`ranges`](Self::ranges).
    pub encoded: &'a [u8],
}

impl<'a> AckRanges<'a> {
    /// Reads the payload of the chunk.
    ///
    /// # Errors
    /// It is truncated before the runs; within them is no error (RFC 7016 §2.3.14).
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        let Head { flow_id, blocks_available, cumulative_ack } = Head::parse(&mut cursor)?;
        Ok(Self { flow_id, blocks_available, cumulative_ack, encoded: cursor.rest() })
    }

    /// The acknowledged ranges above the cumulative acknowledgement: inclusive, ascending, never touching. They end
    /// before the first that is truncated or goes above 2^64 - 1.
    pub const fn ranges(&self) -> RunRanges<'a> {
        RunRanges { cursor: Cursor::new(self.encoded), received_to: self.cumulative_ack }
    }

    /// The length of the payload with all of `ranges`, in bytes.
    pub fn encoded_len(
        flow_id: u64,
        blocks_available: u64,
        cumulative_ack: u64,
        ranges: impl IntoIterator<Item = (u64, u64)>,
    ) -> usize {
        let head = Head { flow_id, blocks_available, cumulative_ack };
        head.encoded_len() + runs(cumulative_ack, ranges).map(|run| run_len(&run)).sum::<usize>()
    }

    /// The first number of the first of `ranges` that does not fit into a payload of `room` bytes with those before it.
    /// None: all fit. Takes time for what fits, however many ranges there are.
    pub fn first_beyond(
        room: usize,
        flow_id: u64,
        blocks_available: u64,
        cumulative_ack: u64,
        ranges: impl IntoIterator<Item = (u64, u64)>,
    ) -> Option<u64> {
        let head = Head { flow_id, blocks_available, cumulative_ack };
        let mut length = head.encoded_len();
        let beyond = |run: &Run| {
            length += run_len(run);
            length > room
        };
        runs(cumulative_ack, ranges).find(beyond).map(|run| run.from)
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
        let mut room = packet.remaining();
        packet.try_push_with(Self::TYPE, |out| {
            let head = Head { flow_id, blocks_available, cumulative_ack };
            head.encode(out);
            room = room.saturating_sub(head.encoded_len());
            for run in runs(cumulative_ack, ranges) {
                match room.checked_sub(run_len(&run)) {
                    Some(left) => room = left,
                    None => return truncate,
                }
                vlu::encode(run.holes_minus_one, out);
                vlu::encode(run.received_minus_one, out);
            }
            true
        })
    }
}

const fn run_len(run: &Run) -> usize {
    vlu::encoded_len(run.holes_minus_one) + vlu::encoded_len(run.received_minus_one)
}

impl EncodeChunk for AckRanges<'_> {
    const TYPE: u8 = 0x51;

    fn payload_len(&self) -> usize {
        let Self { flow_id, blocks_available, cumulative_ack, encoded } = *self;
        Head { flow_id, blocks_available, cumulative_ack }.encoded_len() + encoded.len()
    }

    fn encode_payload(&self, out: &mut Vec<u8>) {
        let Self { flow_id, blocks_available, cumulative_ack, encoded } = *self;
        Head { flow_id, blocks_available, cumulative_ack }.encode(out);
        out.extend_from_slice(encoded);
    }
}

impl fmt::Display for AckRanges<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { flow_id, blocks_available, cumulative_ack, .. } = *self;
        Head { flow_id, blocks_available, cumulative_ack }.display("AckRanges", self.ranges(), f)
    }
}

/// Iterates the ranges of [`AckRanges`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunRanges<'a> {
    cursor: Cursor<'a>,
    received_to: u64,
}

impl RunRanges<'_> {
    fn parse_run(&mut self) -> Option<(u64, u64)> {
        let (holes_minus_one, received_minus_one) = (self.cursor.vlu().ok()?, self.cursor.vlu().ok()?);
        let from = self.received_to.checked_add(holes_minus_one)?.checked_add(2)?;
        let to = from.checked_add(received_minus_one)?;
        Some((from, to))
    }
}

impl Iterator for RunRanges<'_> {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        let range = self.parse_run();
        match range {
            Some((_, to)) => self.received_to = to,
            // RFC 7016 §2.3.14: processed as though properly formed up to the last completely encoded range.
            None => self.cursor = Cursor::new(&[]),
        }
        range
    }
}

impl FusedIterator for RunRanges<'_> {}
