//! Acknowledgements: when they are due, by ACK_NOW, RX_DATA_PACKETS and DELACK_ALARM (RFC 7016 §3.6.3.2, §3.6.3.4), how
//! much of them may be sent, and their way into packets.
//!
//! Drivers hand over packets in batches, and only then ask for what is to be sent. One acknowledgement for a whole
//! batch would starve the far end: its window grows with each acknowledgement, and it may send six packets for each
//! (§3.5.2.3). So when a further data packet comes before the acknowledgement of two others was sent, that one is
//! encoded at once, as it would have gone out between them, and goes out in a packet of its own.

use alloc::vec::Vec;
use core::time::Duration;

use super::allowance::Allowance;
use super::flows::RecvFlows;
use crate::invariant::cannot_happen;
use crate::params::{ACK_EVERY_PACKETS, DELAYED_ACK};
use crate::session::alarm::Alarm;
use crate::session::transport::EcnState;
use crate::time::Instant;
use crate::wire::{EcnReport, PacketWriter};

/// Packets of encoded acknowledgements that may wait. With more in one batch, some cover more than two packets.
pub(in crate::session) const MAX_ENCODED: u8 = 32;

/// What every acknowledgement has room for, in bytes of chunks: an ECN report, an exception report and the
/// acknowledgement itself, without ranges.
pub(in crate::session) const LEAST: usize = 64;

/// The session's acknowledgement state.
#[derive(Debug)]
pub(in crate::session) struct Acks {
    /// ACK_NOW.
    now: bool,
    /// RX_DATA_PACKETS.
    data_packets: u32,
    /// DELACK_ALARM (RFC 7016 §3.6.3.4.4).
    pub(in crate::session) delayed: Alarm,
    /// The far end has sent a Bitmap acknowledgement, so it understands them. Some only pretend to.
    pub(in super::super) peer_sends_bitmaps: bool,
    /// What may be sent at all.
    pub(in crate::session) allowance: Allowance,
    /// It is enough for a datagram.
    allowed: bool,
    /// Chunks of packets to be sent, each packet after its length in two bytes.
    encoded: Vec<u8>,
    /// Where in `encoded` the first that was not sent begins.
    first: usize,
    /// How many were not sent.
    waiting: u8,
    /// Where a packet is put together, kept so that not each needs memory of its own.
    scratch: Vec<u8>,
}

impl Acks {
    pub(in crate::session) const fn new(allowance: Allowance) -> Self {
        Self {
            now: false,
            data_packets: 0,
            delayed: Alarm::at(None),
            peer_sends_bitmaps: false,
            allowance,
            allowed: false,
            encoded: Vec::new(),
            first: 0,
            waiting: 0,
            scratch: Vec::new(),
        }
    }

    /// Whether a datagram with acknowledgements, and `overhead` bytes besides, may be sent.
    fn update_allowed(&mut self, overhead: usize) -> bool {
        self.allowed = self.allowance.bytes() >= LEAST + overhead;
        self.allowed
    }

    /// Something is to be sent now, and may be.
    pub(in crate::session) const fn is_due(&self) -> bool {
        self.waiting > 0 || (self.now && self.allowed)
    }

    pub(in crate::session) const fn is_now(&self) -> bool {
        self.now
    }

    pub(in crate::session) fn set_now(&mut self) {
        self.now = true;
    }

    /// They are due after the usual delay at the latest.
    pub(super) fn set_delayed(&mut self, now: Instant) {
        self.delayed.set_if_unset(now + DELAYED_ACK);
    }

    /// They are due. If what is received does not pay for them, a round trip does. `overhead`: bytes of a datagram besides
    /// chunks; `full`: the length of the longest datagram that is sent.
    pub(in super::super) fn pay(&mut self, now: Instant, round_trip: Duration, overhead: usize, full: usize) {
        if self.update_allowed(overhead) {
            return;
        }
        self.allowance.pass(now, round_trip, full);
        if !self.update_allowed(overhead) {
            self.delayed.set_no_later_than(self.allowance.next_pay(round_trip));
        }
    }

    /// A packet with at least one User Data chunk was processed (RFC 7016 §3.6.3.2).
    pub(in crate::session) fn on_data_packet(&mut self) {
        self.data_packets = self.data_packets.saturating_add(1);
        self.now |= self.data_packets >= ACK_EVERY_PACKETS;
    }

    /// Two packets wait to be acknowledged, so the next one must not be acknowledged with them.
    pub(in crate::session) const fn is_full(&self) -> bool {
        self.data_packets >= ACK_EVERY_PACKETS && self.waiting < MAX_ENCODED
    }

    /// An empty buffer to put a packet together in. To be given back.
    pub(in crate::session) fn take_scratch(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.scratch)
    }

    pub(in crate::session) fn give_scratch_back(&mut self, mut scratch: Vec<u8>) {
        scratch.clear();
        self.scratch = scratch;
    }

    /// Queues the chunks of a packet.
    pub(in crate::session) fn queue_encoded(&mut self, chunks: &[u8]) {
        if let Ok(length) = u16::try_from(chunks.len()) {
            self.encoded.extend_from_slice(&length.to_be_bytes());
            self.encoded.extend_from_slice(chunks);
            self.waiting += 1;
        }
    }

    /// The chunks of the first packet that was queued.
    pub(in crate::session) fn first_encoded(&self) -> Option<&[u8]> {
        let (length, rest) = self.encoded.get(self.first..)?.split_first_chunk::<2>()?;
        rest.get(..usize::from(u16::from_be_bytes(*length)))
    }

    /// The first packet that was queued is sent.
    pub(in crate::session) fn encoded_sent(&mut self) {
        if let Some(length) = self.first_encoded().map(<[u8]>::len) {
            self.first += length + 2;
            self.waiting = self.waiting.saturating_sub(1);
        }
        if self.waiting == 0 {
            self.encoded.clear();
            self.first = 0;
        }
    }

    /// No receiving flow has anything to acknowledge (RFC 7016 §3.6.3.4.5, step 2; §3.6.3.4.6, step 6).
    pub(in crate::session) fn all_sent(&mut self) {
        self.now = false;
        self.data_packets = 0;
        self.delayed.clear();
    }

    /// What is due of these flows into a packet, as far as it is allowed. `overhead`: bytes of the datagram besides chunks.
    pub(in crate::session) fn write(
        &mut self,
        flows: &mut RecvFlows,
        packet: &mut PacketWriter<'_>,
        ecn: &mut EcnState,
        overhead: usize,
    ) {
        if self.update_allowed(overhead) {
            let before = packet.len();
            let limit = packet.limit_to(self.allowance.bytes() - overhead);
            self.write_due(flows, packet, ecn);
            packet.set_limit(limit);
            if packet.len() > before {
                self.allowance.spend(packet.len() - before + overhead);
                self.update_allowed(overhead);
            }
        }
    }

    /// RFC 7016 §3.6.3.4.5 and §3.6.3.4.6: with ACK_NOW the first is cut to fit; others come along if they fit whole.
    fn write_due(&mut self, flows: &mut RecvFlows, packet: &mut PacketWriter<'_>, ecn: &mut EcnState) {
        let mut truncate = self.now;
        let mut report = ecn.report();
        while let Some(slot) = flows.table.first_due() {
            let mark = packet.mark();
            // Immediately before the first acknowledgement.
            let reported = report.is_none_or(|ce_count| packet.push(&EcnReport { ce_count }));
            let Some(flow) = flows.table.get_mut(slot) else {
                return cannot_happen!((), "a flow that is over is in no queue");
            };
            if !reported || !flow.write_ack(packet, truncate, !self.peer_sends_bitmaps) {
                packet.rollback(mark);
                return;
            }
            if report.take().is_some() {
                ecn.report_sent();
            }
            truncate = false;
            flows.reindex(slot);
        }
        self.all_sent();
    }
}
