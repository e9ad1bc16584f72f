//! Sessions (RFC 7016 §3.5) once keys exist, and the flows that wait for one to open.
//!
//! SKELETON: the signatures are the contract with `endpoint`; the owner of this module fills them in, one file per
//! subject (state, timers, rtt, recovery, path, packetizer, ...).
#![allow(dead_code, unused_variables, missing_docs, clippy::todo, missing_debug_implementations)]

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::Bytes;
use core::net::SocketAddr;

use rand_core::CryptoRng;

use crate::config::{FlowOptions, Priority, ReceiveOrder, SendOptions, SessionConfig};
use crate::error::{DropReason, OpenFlowError, WriteError};
use crate::event::{CloseReason, EventQueue, OpenFailure};
use crate::flow::{Message, RecvFlow, SendFlow};
use crate::handle::{MessageId, RecvFlowHandle, SendFlowHandle, SessionHandle};
use crate::profile::SessionKeys;
use crate::stats::SessionStats;
use crate::time::Instant;
use crate::transmit::{Path, RecvMeta, Transmit, TransmitBuf};

/// The state of a session (RFC 7016 §3.5, figure 8).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SessionState {
    /// S_IHELLO_SENT.
    HelloSent,
    /// S_KEYING_SENT.
    KeyingSent,
    /// S_OPEN.
    Open,
    /// S_NEARCLOSE.
    NearClose,
    /// S_FARCLOSE_LINGER.
    FarCloseLinger,
    /// S_CLOSED.
    Closed,
    /// S_OPEN_FAILED.
    OpenFailed,
}

/// Which end began the session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// This end sent the IIKeying.
    Initiator,
    /// This end answered it.
    Responder,
}

/// How to close a session (RFC 7016 §3.5.5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CloseMode {
    /// With a Session Close Request, repeated until acknowledged.
    Orderly,
    /// With a single Session Close Acknowledgement, without waiting.
    Abrupt,
}

/// What a session is given for the time of one call.
pub(crate) struct Context<'a> {
    pub(crate) now: Instant,
    pub(crate) events: &'a mut EventQueue,
    /// The stream for values that others see, and for the session's own secrets (mobility) as needed.
    pub(crate) rng: &'a mut dyn CryptoRng,
    /// Time critical traffic over all sessions of the endpoint.
    pub(crate) time_critical: &'a mut TimeCriticalClock,
    /// Hellos forwarded to this end (§3.5.1.5), for the endpoint to answer after the call.
    pub(crate) forwarded: &'a mut VecDeque<ReceivedForward>,
    /// Counters that belong to the endpoint.
    pub(crate) stats: &'a mut crate::stats::EndpointStats,
}

/// An FIHello that arrived over a session.
#[derive(Debug)]
pub(crate) struct ReceivedForward {
    pub(crate) session: SessionHandle,
    pub(crate) discriminator: Vec<u8>,
    pub(crate) reply_address: SocketAddr,
    pub(crate) tag: Vec<u8>,
    pub(crate) interface: crate::transmit::InterfaceId,
}

/// Endpoint-wide memory of time critical packets (§2.2.4, §3.5.2.1): when one was last sent in any session, and the
/// last received in each of the two most recent sessions, so that "received on another session" is answered in O(1).
#[derive(Debug, Default)]
pub(crate) struct TimeCriticalClock {}

impl TimeCriticalClock {
    pub(crate) fn sent(&mut self, now: Instant) {
        todo!()
    }
    pub(crate) fn received(&mut self, session: SessionHandle, now: Instant) {
        todo!()
    }
    pub(crate) fn sent_lately(&self, now: Instant) -> bool {
        todo!()
    }
    pub(crate) fn received_lately_by_another(&self, session: SessionHandle, now: Instant) -> bool {
        todo!()
    }
}

/// All that a session needs to be in S_OPEN.
#[derive(Debug)]
pub(crate) struct Established {
    pub(crate) keys: Box<dyn SessionKeys>,
    /// The session ID that the far end puts on packets to this end.
    pub(crate) rx_id: u32,
    /// The session ID to put on packets to the far end.
    pub(crate) tx_id: u32,
    pub(crate) path: Path,
    pub(crate) far_certificate: Bytes,
}

/// One session: opening (flows may be opened and written), open, or closing.
#[derive(Debug)]
pub(crate) struct Session {}

impl Session {
    /// In S_IHELLO_SENT (the endpoint drives startup; it calls `keying_sent` on the way, then `establish` or `fail`).
    pub(crate) fn new(handle: SessionHandle, role: Role, config: SessionConfig, now: Instant) -> Self {
        todo!()
    }
    pub(crate) fn keying_sent(&mut self) {
        todo!()
    }
    pub(crate) fn become_responder(&mut self) {
        todo!()
    }
    /// To S_OPEN; pushes SessionOpened.
    pub(crate) fn establish(&mut self, cx: &mut Context<'_>, established: Established) {
        todo!()
    }
    /// To S_OPEN_FAILED; pushes SessionFailed, settles the flows.
    pub(crate) fn fail(&mut self, cx: &mut Context<'_>, reason: OpenFailure) {
        todo!()
    }
    /// The user's close. While opening: as `fail(Cancelled)`. Pushes SessionClosed{Near} at once when leaving S_OPEN
    /// (flows end then, §3.5.5), though the session may linger to repeat its request; nothing is pushed after it.
    pub(crate) fn close(&mut self, cx: &mut Context<'_>, mode: CloseMode) {
        todo!()
    }
    /// Straight to S_CLOSED without a word to the far end (override, limits, peer at fault).
    pub(crate) fn abort(&mut self, cx: &mut Context<'_>, reason: CloseReason) {
        todo!()
    }
    /// S_CLOSED or S_OPEN_FAILED with nothing left to send: the slot can be freed.
    pub(crate) fn is_gone(&self) -> bool {
        todo!()
    }

    pub(crate) fn handle(&self) -> SessionHandle {
        todo!()
    }
    pub(crate) fn state(&self) -> SessionState {
        todo!()
    }
    pub(crate) fn role(&self) -> Role {
        todo!()
    }
    pub(crate) fn path(&self) -> Option<Path> {
        todo!()
    }
    pub(crate) fn rx_id(&self) -> Option<u32> {
        todo!()
    }
    pub(crate) fn tx_id(&self) -> Option<u32> {
        todo!()
    }
    pub(crate) fn far_certificate(&self) -> &[u8] {
        todo!()
    }
    pub(crate) fn near_nonce(&self) -> &[u8] {
        todo!()
    }
    pub(crate) fn far_nonce(&self) -> &[u8] {
        todo!()
    }
    pub(crate) fn stats(&self) -> SessionStats {
        todo!()
    }

    /// An encrypted packet (behind the scrambled session ID) for this session, in any state from S_OPEN on.
    pub(crate) fn handle_packet(
        &mut self,
        cx: &mut Context<'_>,
        path: Path,
        meta: RecvMeta,
        encrypted: &mut [u8],
    ) -> Result<(), DropReason> {
        todo!()
    }
    pub(crate) fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        todo!()
    }
    /// The earliest deadline, and what it is for.
    pub(crate) fn next_timeout(&self) -> Option<(Instant, &'static str)> {
        todo!()
    }
    /// Whether `poll_transmit` has something to send now.
    pub(crate) fn wants_transmit(&self) -> bool {
        todo!()
    }
    /// The most urgent thing to send: None for control only. The endpoint serves sessions in this order.
    pub(crate) fn transmit_priority(&self) -> Option<Priority> {
        todo!()
    }
    /// Fills a flight: scrambled session IDs, plain packets, sealed. None: nothing to send.
    pub(crate) fn poll_transmit(&mut self, cx: &mut Context<'_>, buf: &mut TransmitBuf) -> Option<Transmit> {
        todo!()
    }

    // Commands of the user. A handle of another session, or a stale one, never gets here alive: lookups give None.
    pub(crate) fn open_flow(
        &mut self,
        cx: &mut Context<'_>,
        options: FlowOptions,
    ) -> Result<SendFlowHandle, OpenFlowError> {
        todo!()
    }
    pub(crate) fn send_flow(&self, flow: SendFlowHandle) -> Option<&SendFlow> {
        todo!()
    }
    pub(crate) fn recv_flow(&self, flow: RecvFlowHandle) -> Option<&RecvFlow> {
        todo!()
    }
    pub(crate) fn write(
        &mut self,
        cx: &mut Context<'_>,
        flow: SendFlowHandle,
        data: Bytes,
        options: SendOptions,
    ) -> Result<MessageId, WriteError> {
        todo!()
    }
    pub(crate) fn abandon(&mut self, cx: &mut Context<'_>, flow: SendFlowHandle, message: MessageId) -> bool {
        todo!()
    }
    pub(crate) fn set_priority(&mut self, flow: SendFlowHandle, priority: Priority) {
        todo!()
    }
    pub(crate) fn close_flow(&mut self, cx: &mut Context<'_>, flow: SendFlowHandle) {
        todo!()
    }
    pub(crate) fn read(&mut self, cx: &mut Context<'_>, flow: RecvFlowHandle) -> Option<Message> {
        todo!()
    }
    pub(crate) fn reject(&mut self, cx: &mut Context<'_>, flow: RecvFlowHandle, code: u64) {
        todo!()
    }
    pub(crate) fn suspend(&mut self, flow: RecvFlowHandle) {
        todo!()
    }
    pub(crate) fn resume(&mut self, cx: &mut Context<'_>, flow: RecvFlowHandle) {
        todo!()
    }
    pub(crate) fn set_order(&mut self, flow: RecvFlowHandle, order: ReceiveOrder) {
        todo!()
    }
    pub(crate) fn set_window(&mut self, cx: &mut Context<'_>, flow: RecvFlowHandle, bytes: usize) {
        todo!()
    }
    /// Sends a Ping now (keepalive; its reply is told in stats and resets the limits).
    pub(crate) fn ping(&mut self, now: Instant) {
        todo!()
    }
    /// Queues an FIHello to the far end (§3.5.1.5). False if too many wait.
    pub(crate) fn forward_hello(&mut self, discriminator: &[u8], reply_address: SocketAddr, tag: &[u8]) -> bool {
        todo!()
    }
    /// An interface came up or changed: probe at once (§3.5.4.1).
    pub(crate) fn on_interface_change(&mut self, cx: &mut Context<'_>) {
        todo!()
    }
}
