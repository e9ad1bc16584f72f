//! Acknowledgements of a receiving flow (RFC 7016 §3.6.3.4, §3.6.3.5, §3.6.3.6).

use super::{RecvBudget, RecvFlow};
use crate::params;
use crate::wire::{AckBitmap, AckRanges, FlowException, PacketWriter};

impl RecvFlow {
    /// SHOULD_ACK.
    pub(crate) const fn ack_due(&self) -> bool {
        self.should_ack
    }

    /// A Buffer Probe asks for an acknowledgement at once (RFC 7016 §3.6.3.6).
    pub(crate) fn on_buffer_probe(&mut self, budget: &RecvBudget) {
        self.room = budget.room();
        self.should_ack |= self.state != super::RecvFlowState::Closed;
    }

    /// The last acknowledgement may not have arrived.
    pub(crate) fn acknowledge_again(&mut self) {
        self.should_ack |= self.state != super::RecvFlowState::Closed;
    }

    /// Writes the exception report if rejected, and the more compact acknowledgement (RFC 7016 §3.6.3.4.3; Range
    /// acks where equal, and always while `ranges_only`). With `truncate` the ranges are cut to fit (§3.6.3.4.2);
    /// without it, nothing is written and false returned if all does not fit. Clears SHOULD_ACK.
    pub(crate) fn write_ack(&mut self, packet: &mut PacketWriter<'_>, truncate: bool, ranges_only: bool) -> bool {
        let mark = packet.mark();
        let blocks = self.blocks_available();
        // §2.3.16: before every acknowledgement of a rejected flow. In the linger, too: else the sender of a flow
        // that was complete when rejected would never know.
        let reported = self.exception.is_none_or(|code| packet.push(&FlowException { flow_id: self.flow_id, code }));
        let written = reported && self.write_sequence_set(packet, blocks, truncate, ranges_only);
        if written {
            self.should_ack = false;
            self.advertised = Some(blocks);
        } else {
            packet.rollback(mark);
        }
        written
    }

    fn write_sequence_set(
        &self,
        packet: &mut PacketWriter<'_>,
        blocks: u64,
        truncate: bool,
        ranges_only: bool,
    ) -> bool {
        let (id, csn) = (self.flow_id, self.csn());
        let ranges = || self.seen.iter().skip(1);
        if !ranges_only && self.has_gaps() {
            let highest = self.seen.last().map(|(_, to)| to);
            let bitmap = AckBitmap::encoded_len(id, blocks, csn, highest);
            if bitmap <= packet.remaining() && bitmap < AckRanges::encoded_len(id, blocks, csn, ranges()) {
                return AckBitmap::write(packet, id, blocks, csn, ranges(), false);
            }
        }
        AckRanges::write(packet, id, blocks, csn, ranges(), truncate)
    }

    /// The window to advertise, in blocks (RFC 7016 §3.6.3.5).
    ///
    /// One block at least, unless the flow is suspended: or a gap could never be repaired. A flow counts as suspended
    /// while its buffer is full and a message waits to be read: it needs no repair to go on, but a reader.
    pub(super) fn blocks_available(&self) -> u64 {
        let blocks = (self.window_bytes() as u64).div_ceil(params::WINDOW_BLOCK);
        let suspended = self.suspended || self.buffer.is_readable();
        let least = self.never_zero || (self.capacity > 0 && !suspended);
        blocks.max(u64::from(least))
    }

    /// What is free of the buffer, and of the memory that the session may take.
    pub(super) fn window_bytes(&self) -> usize {
        self.capacity.saturating_sub(self.buffer.buffered()).min(self.room)
    }
}
