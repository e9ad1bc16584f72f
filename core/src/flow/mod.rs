//! Flows (RFC 7016 §3.6): what one direction of messages needs at either end, and nothing of sessions.
//!
//! SKELETON: the signatures are the contract with `session`; the owner of this module fills them in, one file per
//! subject (range_set, in_flight, send_queue, send, reassembly, recv, ack, scheduler).
#![allow(dead_code, unused_variables, missing_docs, clippy::todo, missing_debug_implementations)]

use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

use crate::config::{FlowOptions, Priority, ReceiveOrder, SendOptions};
use crate::error::{DropReason, WriteError};
use crate::event::EventQueue;
use crate::handle::{MessageId, RecvFlowHandle, SendFlowHandle};
use crate::stats::FlowStats;
use crate::time::Instant;
use crate::wire::{AckBitmap, AckRanges, FragmentControl, PacketWriter};

/// One whole message, from [`read`](crate::RecvFlowMut::read).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// The bytes, as written.
    pub data: Bytes,
    /// Sequence number of its first fragment (RFC 7016 §3.6.1.2): grows from message to message as written.
    pub sequence: u64,
    /// Whether one or more messages written before it were abandoned and will not come (RFC 7016 §3.6.1.2).
    pub gap: bool,
}

// ------------------------------------------------------------------------------------------------ in_flight.rs

/// A fragment that was found lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Lost {
    pub(crate) flow_slot: u32,
    pub(crate) sequence: u64,
    pub(crate) size: u32,
}

/// All fragments of one session that are in the network, in the order of transmission (RFC 7016 §3.6.2.5, TSN).
///
/// A deque indexed by `tsn - first_tsn`; work is O(1) amortised per fragment. A fragment gets one NAK with every
/// packet of acknowledgements in which MAX_TSN_ACK is above its TSN; so it has three when its TSN is below what
/// MAX_TSN_ACK was two ack packets ago: no counter per fragment, no scan.
pub(crate) struct InFlight {}

impl InFlight {
    pub(crate) fn new() -> Self {
        todo!()
    }
    /// Records a transmission; returns its TSN, first 1.
    pub(crate) fn sent(&mut self, flow_slot: u32, sequence: u64, size: u32) -> u64 {
        todo!()
    }
    /// The fragment sent as `tsn` was acknowledged: returns its size, or None if it is not in flight (any more).
    pub(crate) fn acked(&mut self, tsn: u64) -> Option<u32> {
        todo!()
    }
    /// S_OUTSTANDING_BYTES.
    pub(crate) fn outstanding(&self) -> u64 {
        todo!()
    }
    pub(crate) fn is_empty(&self) -> bool {
        todo!()
    }
    /// After all chunks of a packet with at least one acknowledgement: appends what is lost now, and tells whether
    /// any fragment in flight got a negative acknowledgement.
    pub(crate) fn end_of_acks(&mut self, lost: &mut Vec<Lost>) -> bool {
        todo!()
    }
    /// TIMEOUT_ALARM: everything in flight is lost (§3.6.2.6).
    pub(crate) fn time_out(&mut self, lost: &mut Vec<Lost>) {
        todo!()
    }
}

// ------------------------------------------------------------------------------------------------------ send.rs

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SendFlowState {
    Open,
    Closing,
    CompleteLinger,
    Closed,
}

/// Either acknowledgement chunk, as received.
#[derive(Clone, Copy)]
pub(crate) enum Acknowledgement<'a> {
    Bitmap(&'a AckBitmap<'a>),
    Ranges(&'a AckRanges<'a>),
}

/// What an acknowledgement did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct AckOutcome {
    /// TRANSMIT_SIZE of all fragments newly acknowledged, for congestion control.
    pub(crate) acked_bytes: u64,
    /// It acknowledged a sequence number never sent: the peer is at fault (§3.6.1.3).
    pub(crate) impossible: bool,
}

/// What `assemble` put into a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Assembled {
    /// Chunks added.
    pub(crate) fragments: u32,
    /// Any of them belongs to a time critical flow.
    pub(crate) time_critical: bool,
}

/// A sending flow (§3.6.2).
#[derive(Debug)]
pub(crate) struct SendFlow {}

impl SendFlow {
    /// `association`: the far flow ID that this flow answers.
    pub(crate) fn new(
        handle: SendFlowHandle,
        flow_id: u64,
        options: &FlowOptions,
        association: Option<u64>,
        send_buffer: usize,
    ) -> Self {
        todo!()
    }
    pub(crate) fn handle(&self) -> SendFlowHandle {
        todo!()
    }
    pub(crate) fn flow_id(&self) -> u64 {
        todo!()
    }
    pub(crate) fn state(&self) -> SendFlowState {
        todo!()
    }
    pub(crate) fn priority(&self) -> Priority {
        todo!()
    }
    pub(crate) fn set_priority(&mut self, priority: Priority) {
        todo!()
    }
    pub(crate) fn metadata(&self) -> &Bytes {
        todo!()
    }
    pub(crate) fn stats(&self) -> FlowStats {
        todo!()
    }

    /// Queues a message. Refused with the bytes if the buffer is full (then FlowWritable comes later) or the flow
    /// closed. A message is always taken while the buffer is empty. Fragments are cut when first sent.
    pub(crate) fn write(
        &mut self,
        now: Instant,
        data: Bytes,
        options: SendOptions,
        events: &mut EventQueue,
    ) -> Result<MessageId, WriteError> {
        todo!()
    }
    /// §3.6.2.7. False if the message is unknown or done.
    pub(crate) fn abandon(&mut self, message: MessageId, events: &mut EventQueue) -> bool {
        todo!()
    }
    /// §3.6.2.11.
    pub(crate) fn close(&mut self, now: Instant, events: &mut EventQueue) {
        todo!()
    }
    /// The session ended: receipts are settled, nothing more is sent.
    pub(crate) fn session_ended(&mut self, events: &mut EventQueue) {
        todo!()
    }

    /// Ready to transmit (§3.6.2.3), the session's budget apart.
    pub(crate) fn is_ready(&self) -> bool {
        todo!()
    }
    /// Puts as many fragments as fit into the packet, lowest sequence number first: lost ones, then new ones, User
    /// Data first and Next User Data where §3.6.2.3.2 allows, startup options on the first chunk until acknowledged,
    /// FSN updates as §3.6.2.7.1 asks. Stops when the packet is full, the receive window is, or `budget` bytes of
    /// chunks have been added (the last one may exceed it).
    pub(crate) fn assemble(
        &mut self,
        now: Instant,
        packet: &mut PacketWriter<'_>,
        in_flight: &mut InFlight,
        budget: u64,
    ) -> Assembled {
        todo!()
    }
    /// §3.6.2.4.
    pub(crate) fn on_ack(
        &mut self,
        now: Instant,
        ack: Acknowledgement<'_>,
        in_flight: &mut InFlight,
        events: &mut EventQueue,
    ) -> AckOutcome {
        todo!()
    }
    /// A fragment of this flow is lost, and no longer in flight.
    pub(crate) fn on_lost(&mut self, sequence: u64, events: &mut EventQueue) {
        todo!()
    }
    /// §3.6.2.10.
    pub(crate) fn on_exception(&mut self, now: Instant, code: u64, events: &mut EventQueue) {
        todo!()
    }

    /// The next of: message deadlines, buffer probe, linger.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        todo!()
    }
    /// Does what is due: abandons by deadline, marks a probe due, ends the linger.
    pub(crate) fn handle_timeout(&mut self, now: Instant, erto: Duration, events: &mut EventQueue) {
        todo!()
    }
    /// A buffer probe is to be sent now (§3.6.2.9.1); `probe_sent` clears it and arms the next.
    pub(crate) fn probe_due(&self) -> bool {
        todo!()
    }
    pub(crate) fn probe_sent(&mut self, now: Instant, erto: Duration) {
        todo!()
    }
}

// ------------------------------------------------------------------------------------------------------ recv.rs

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RecvFlowState {
    Open,
    Rejected,
    CompleteLinger,
    Closed,
}

/// A fragment as it came: User Data, or Next User Data with flow, sequence number and FSN filled in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fragment<'a> {
    pub(crate) sequence: u64,
    /// The Forward Sequence Number.
    pub(crate) fsn: u64,
    pub(crate) control: FragmentControl,
    pub(crate) abandon: bool,
    pub(crate) last: bool,
    /// The raw option list, if present.
    pub(crate) options: Option<&'a [u8]>,
    pub(crate) data: &'a [u8],
}

/// What the receive side of a whole session may still hold (SessionConfig::max_recv_bytes).
#[derive(Debug)]
pub(crate) struct RecvBudget {
    pub(crate) held: usize,
    pub(crate) limit: usize,
}

/// What opening a receiving flow needs to know (§3.6.3.1), read from the first chunk's options.
#[derive(Clone, Debug, Default)]
pub(crate) struct StartupOptions {
    pub(crate) metadata: Option<Bytes>,
    pub(crate) association: Option<u64>,
    /// A critical option that is not understood, a repeated association, or broken syntax.
    pub(crate) unacceptable: bool,
}
pub(crate) fn parse_startup_options(options: Option<&[u8]>) -> StartupOptions {
    todo!()
}

/// A receiving flow (§3.6.3).
#[derive(Debug)]
pub(crate) struct RecvFlow {}

impl RecvFlow {
    pub(crate) fn new(
        handle: RecvFlowHandle,
        flow_id: u64,
        metadata: Bytes,
        association: Option<SendFlowHandle>,
        recv_buffer: usize,
    ) -> Self {
        todo!()
    }
    /// A flow that is rejected from its first chunk (§3.6.3.1, steps 5 to 8): no user hears of it.
    pub(crate) fn new_rejected(handle: RecvFlowHandle, flow_id: u64) -> Self {
        todo!()
    }
    pub(crate) fn handle(&self) -> RecvFlowHandle {
        todo!()
    }
    pub(crate) fn flow_id(&self) -> u64 {
        todo!()
    }
    pub(crate) fn state(&self) -> RecvFlowState {
        todo!()
    }
    pub(crate) fn metadata(&self) -> &Bytes {
        todo!()
    }
    pub(crate) fn association(&self) -> Option<SendFlowHandle> {
        todo!()
    }
    pub(crate) fn stats(&self) -> FlowStats {
        todo!()
    }

    /// §3.6.3.2 steps 3 to 16. Returns whether an acknowledgement is due at once (ACK_NOW), or the reason why the
    /// fragment was not taken (and not acknowledged). FlowReadable and FlowFinished are pushed as edges.
    pub(crate) fn on_fragment(
        &mut self,
        now: Instant,
        fragment: &Fragment<'_>,
        budget: &mut RecvBudget,
        events: &mut EventQueue,
    ) -> Result<bool, DropReason> {
        todo!()
    }
    /// The next message, if delivery is possible and not suspended. May open the window: see `ack_now_after_read`.
    pub(crate) fn read(&mut self, now: Instant, budget: &mut RecvBudget, events: &mut EventQueue) -> Option<Message> {
        todo!()
    }
    /// Reading has opened a window that was advertised as (nearly) closed: an acknowledgement should tell the sender.
    pub(crate) fn ack_now_after_read(&self) -> bool {
        todo!()
    }
    pub(crate) fn reject(&mut self, now: Instant, code: u64, budget: &mut RecvBudget, events: &mut EventQueue) {
        todo!()
    }
    pub(crate) fn suspend(&mut self) {
        todo!()
    }
    pub(crate) fn resume(&mut self, events: &mut EventQueue) {
        todo!()
    }
    pub(crate) fn set_order(&mut self, order: ReceiveOrder) {
        todo!()
    }
    /// BUFFER_CAPACITY in bytes.
    pub(crate) fn set_window(&mut self, bytes: usize) {
        todo!()
    }
    pub(crate) fn session_ended(&mut self, budget: &mut RecvBudget, events: &mut EventQueue) {
        todo!()
    }

    /// SHOULD_ACK.
    pub(crate) fn ack_due(&self) -> bool {
        todo!()
    }
    /// §3.6.3.6.
    pub(crate) fn on_buffer_probe(&mut self) {
        todo!()
    }
    /// Writes the exception report if rejected, and the more compact acknowledgement (§3.6.3.4.3; Range acks where
    /// equal, and always while `ranges_only`). With `truncate` the ranges are cut to fit; without it, nothing is
    /// written and false returned if all does not fit. Clears SHOULD_ACK.
    pub(crate) fn write_ack(&mut self, packet: &mut PacketWriter<'_>, truncate: bool, ranges_only: bool) -> bool {
        todo!()
    }

    /// End of the linger, if lingering.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        todo!()
    }
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        todo!()
    }
    /// Closed and read out: the slot can be freed.
    pub(crate) fn is_gone(&self) -> bool {
        todo!()
    }
}

// ------------------------------------------------------------------------------------------------- scheduler.rs

/// The ready flows of a session by priority: strict between levels, round robin within one. O(1) for everything
/// (slots know whether and where they are queued).
pub(crate) struct Scheduler {}

impl Scheduler {
    pub(crate) fn new() -> Self {
        todo!()
    }
    /// Queues a flow at the end of its level unless it is queued already.
    pub(crate) fn insert(&mut self, slot: u32, priority: Priority) {
        todo!()
    }
    pub(crate) fn remove(&mut self, slot: u32) {
        todo!()
    }
    /// The flow that is to send next, left at the head.
    pub(crate) fn peek(&self) -> Option<(u32, Priority)> {
        todo!()
    }
    /// Moves the head of its level to the end, after it has had its turn.
    pub(crate) fn rotate(&mut self, slot: u32) {
        todo!()
    }
    pub(crate) fn highest(&self) -> Option<Priority> {
        todo!()
    }
    pub(crate) fn is_empty(&self) -> bool {
        todo!()
    }
}
