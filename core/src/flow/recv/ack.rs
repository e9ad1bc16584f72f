//! Acknowledgements of a receiving flow (RFC 7016 §3.6.3.4, §3.6.3.5, §3.6.3.6).
//!
//! An acknowledgement that has no room for all ranges is truncated (§3.6.3.4.2). So is one that would be long though there
//! is room: with 64 MiB in flight and 1 % loss there are 600 gaps. Reported with each packet, they would bring back as
//! many bytes as came, and be read again and again by the sender. The RFC leaves open which ranges stay. The highest are
//! what the sender has heard of last, so to leave them out each time would hide from it what arrives. A truncated
//! acknowledgement therefore reports the lowest ranges, those with the numbers that came last, and the others in turn:
//! each range is reported again and again until the gap below it closes.

use core::ops::Range;
use core::time::Duration;

use super::{RecvBudget, RecvFlow, RecvFlowState};
use crate::params;
use crate::time::Instant;
use crate::wire::{AckBitmap, AckRanges, FlowException, PacketWriter};

/// How many of the numbers that came last are remembered, each for a range of its own.
const RECENT: usize = 4;

/// Room that is kept for a range with a number that came last: more than all but the longest gaps and ranges take.
const RECENT_ROOM: usize = 6;

/// The most bytes of ranges, or of a bitmap, in one acknowledgement: those of about fifty ranges.
pub(super) const MOST_RANGES: usize = 128;

/// An acknowledgement without ranges takes no more, chunk header included.
const LEAST_ACK: usize = 33;

/// What is reported of a set with more ranges than acknowledgements have room for.
#[derive(Debug, Default)]
pub(super) struct Reporting {
    /// Numbers that came since the last acknowledgement, one for each range, the latest first.
    recent: [Option<u64>; RECENT],
    /// The ranges from here on have waited longest for their turn.
    turn: u64,
    /// When a Buffer Probe was last answered.
    probed: Option<Instant>,
}

impl Reporting {
    /// A fragment came, for the first time or again.
    pub(super) fn note(&mut self, sequence: u64) {
        let [latest, ..] = self.recent;
        if latest.is_none_or(|latest| latest.checked_add(1) != Some(sequence)) {
            self.recent.rotate_right(1);
        }
        let [latest, ..] = &mut self.recent;
        *latest = Some(sequence);
    }
}

impl RecvFlow {
    /// SHOULD_ACK.
    pub(crate) const fn ack_due(&self) -> bool {
        self.should_ack
    }

    /// A Buffer Probe asks for an acknowledgement at once (RFC 7016 §3.6.3.6). Returns whether it gets one: not within
    /// `round_trip` after the last, as the sender knows no more of that one yet than of this.
    pub(crate) fn on_buffer_probe(&mut self, now: Instant, round_trip: Duration, budget: &RecvBudget) -> bool {
        let early = self.reporting.probed.is_some_and(|last| now.saturating_duration_since(last) < round_trip);
        let answered = !early && self.state != RecvFlowState::Closed;
        if answered {
            self.reporting.probed = Some(now);
            self.look_at(budget);
            self.should_ack = true;
        }
        answered
    }

    /// The last acknowledgement may not have arrived.
    pub(crate) fn acknowledge_again(&mut self) {
        self.should_ack |= self.state != RecvFlowState::Closed;
    }

    /// The session is to end. What nobody will read any more is not acknowledged: the far end would take it for
    /// delivered. What was read, or stays readable as the flow is complete, is.
    pub(crate) fn acknowledge_kept(&mut self) {
        let complete = self.state == RecvFlowState::CompleteLinger;
        let all_read = self.state != RecvFlowState::Closed && self.buffer.next_len().is_none();
        self.should_ack = complete || all_read;
    }

    /// Writes the exception report if rejected, and the more compact acknowledgement (RFC 7016 §3.6.3.4.3; Range
    /// acks where equal, and always while `ranges_only`). With `truncate` ranges are left out to fit (§3.6.3.4.2);
    /// without it, nothing is written and false returned if all does not fit. Clears SHOULD_ACK.
    pub(crate) fn write_ack(&mut self, packet: &mut PacketWriter<'_>, truncate: bool, ranges_only: bool) -> bool {
        let mark = packet.mark();
        let blocks = self.blocks_available();
        let reported = self.write_exception(packet, blocks, truncate);
        let written = reported && self.write_sequence_set(packet, blocks, truncate, ranges_only);
        if written {
            self.should_ack = false;
            self.advertised = Some(blocks);
            self.reporting.recent = [None; RECENT];
        } else {
            packet.rollback(mark);
        }
        written
    }

    /// §2.3.16: before every acknowledgement of a rejected flow. In the linger, too: else the sender of a flow that was
    /// complete when rejected would never know.
    ///
    /// What was received before the rejection is acknowledged before the exception: a sender takes what is acknowledged
    /// after it for abandoned, as a rejected flow keeps nothing. That is repeated until the sender's FSN shows that it
    /// knows. Only with `truncate` it is left out if there is no room.
    fn write_exception(&self, packet: &mut PacketWriter<'_>, blocks: u64, truncate: bool) -> bool {
        let (flow_id, Some(code)) = (self.flow_id, self.exception) else { return true };
        let exception = FlowException { flow_id, code };
        if let Some(csn) = self.kept {
            let mark = packet.mark();
            let written = AckRanges::write(packet, flow_id, blocks, csn, [], false) && packet.push(&exception);
            if written && packet.remaining() >= LEAST_ACK {
                return true;
            }
            packet.rollback(mark);
            if !truncate {
                return false;
            }
        }
        packet.push(&exception)
    }

    /// Takes time for what is written, however many ranges there are.
    fn write_sequence_set(
        &mut self,
        packet: &mut PacketWriter<'_>,
        blocks: u64,
        truncate: bool,
        ranges_only: bool,
    ) -> bool {
        let (id, csn) = (self.flow_id, self.csn());
        let most = AckRanges::encoded_len(id, blocks, csn, []) + MOST_RANGES;
        let room = most.min(packet.remaining());
        let truncate = truncate || room == most;
        let all = || self.seen.above_from(0);
        let bitmap = AckBitmap::encoded_len(id, blocks, csn, self.seen.last().map(|(_, to)| to));
        let bitmap_fits = !ranges_only && self.has_gaps() && bitmap <= room;
        let most = if bitmap_fits { bitmap } else { room };
        if AckRanges::first_beyond(most, id, blocks, csn, all()).is_none() {
            AckRanges::write(packet, id, blocks, csn, all(), false)
        } else if bitmap_fits {
            AckBitmap::write(packet, id, blocks, csn, all(), false)
        } else {
            truncate && self.write_truncated(packet, room, blocks)
        }
    }

    /// Half of the room is for the lowest ranges. The others get the rest in turn, but for some room for those with the
    /// numbers that came last.
    fn write_truncated(&mut self, packet: &mut PacketWriter<'_>, room: usize, blocks: u64) -> bool {
        let (id, csn) = (self.flow_id, self.csn());
        let head = AckRanges::encoded_len(id, blocks, csn, []);
        let room = room.saturating_sub(head);
        let mut recent = self.reporting.recent.map(|number| self.seen.above_with(number?));
        recent.sort_unstable();
        let kept = (recent.iter().flatten().count() * RECENT_ROOM).min(room / 4);
        let from = |from| self.seen.above_from(from);
        let first_beyond =
            |room, begin| AckRanges::first_beyond(head + room, id, blocks, csn, from(begin)).unwrap_or(u64::MAX);
        // The first range that is not among the lowest.
        let low = first_beyond(room / 2, 0);
        let mut turn = low.max(self.reporting.turn);
        if from(turn).next().is_none() {
            turn = low;
        }
        let end = first_beyond(room - room / 2 - kept, turn);
        let recent = |within: Range<u64>| recent.into_iter().flatten().filter(move |range| within.contains(&range.0));
        let ranges = (from(0).take_while(|range| range.0 < low))
            .chain(recent(low..turn))
            .chain(from(turn).take_while(|range| range.0 < end))
            .chain(recent(end..u64::MAX));
        let written = AckRanges::write(packet, id, blocks, csn, ranges, true);
        if written {
            self.reporting.turn = end;
        }
        written
    }

    /// The window to advertise, in blocks (RFC 7016 §3.6.3.5).
    ///
    /// One block at least, unless the flow is suspended: or a gap could never be repaired. A flow counts as suspended
    /// while its buffer is full and a message waits to be read: it needs no repair to go on, but a reader.
    pub(super) fn blocks_available(&self) -> u64 {
        let blocks = (self.window_bytes() as u64).div_ceil(params::WINDOW_BLOCK);
        let suspended = self.suspended || self.buffer.is_readable();
        let least = self.never_zero || (self.capacity() > 0 && !suspended);
        blocks.max(u64::from(least))
    }

    /// What is free of the buffer, and of the memory that the session may take.
    pub(super) fn window_bytes(&self) -> usize {
        self.capacity().saturating_sub(self.buffer.buffered()).min(self.room)
    }
}
