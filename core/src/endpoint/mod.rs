//! The endpoint: owns sessions, knows who a datagram is for, and starts sessions (RFC 7016 §3.5.1).
//!
//! SKELETON: the public signatures are the contract with drivers and applications.
#![allow(dead_code, unused_variables, missing_docs, clippy::todo)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use core::time::Duration;

use bytes::Bytes;
use rand_core::CryptoRng;

use crate::config::{EndpointConfig, FlowOptions, Priority, ReceiveOrder, SendOptions, SessionConfig};
use crate::error::{ConfigError, OpenError, OpenFlowError, WriteError};
use crate::event::Event;
use crate::flow::Message;
use crate::handle::{MessageId, RecvFlowHandle, SendFlowHandle, SessionHandle};
use crate::profile::CryptoProfile;
use crate::session::{CloseMode, Role, SessionState};
use crate::stats::{EndpointStats, FlowStats, SessionStats};
use crate::time::Instant;
use crate::transmit::{Disposition, Path, RecvMeta, Transmit, TransmitBuf};

/// Whom to open a session to: an Endpoint Discriminator and where to try (RFC 7016 §3.5.1.1.1).
#[derive(Clone, Debug)]
pub struct Target {
    /// Names the endpoint (§3.2), in the profile's syntax.
    pub discriminator: Bytes,
    /// Addresses to send hellos to, each with a wait before its first hello.
    pub candidates: Vec<(Path, Duration)>,
}

/// An RTMFP endpoint: all its sessions and flows.
#[derive(Debug)]
pub struct Endpoint {}

impl Endpoint {
    /// # Errors
    /// The first configuration value that is out of range.
    pub fn new(
        config: EndpointConfig,
        profile: Arc<dyn CryptoProfile>,
        rng: Box<dyn CryptoRng + Send>,
        now: Instant,
    ) -> Result<Self, ConfigError> {
        todo!()
    }

    pub fn handle_datagram(&mut self, now: Instant, path: Path, meta: RecvMeta, datagram: &mut [u8]) -> Disposition {
        todo!()
    }
    pub fn handle_timeout(&mut self, now: Instant) {
        todo!()
    }
    pub fn poll_transmit(&mut self, now: Instant, buf: &mut TransmitBuf) -> Option<Transmit> {
        todo!()
    }
    pub fn poll_event(&mut self) -> Option<Event> {
        todo!()
    }
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }
    pub fn timeout_reason(&self) -> Option<&'static str> {
        todo!()
    }

    pub fn open(&mut self, now: Instant, target: Target) -> Result<SessionHandle, OpenError> {
        todo!()
    }
    pub fn session(&self, session: SessionHandle) -> Option<SessionRef<'_>> {
        todo!()
    }
    /// The views that change things take the time once, here.
    pub fn session_mut(&mut self, now: Instant, session: SessionHandle) -> Option<SessionMut<'_>> {
        todo!()
    }
    pub fn send_flow(&self, flow: SendFlowHandle) -> Option<SendFlowRef<'_>> {
        todo!()
    }
    pub fn send_flow_mut(&mut self, now: Instant, flow: SendFlowHandle) -> Option<SendFlowMut<'_>> {
        todo!()
    }
    pub fn recv_flow(&self, flow: RecvFlowHandle) -> Option<RecvFlowRef<'_>> {
        todo!()
    }
    pub fn recv_flow_mut(&mut self, now: Instant, flow: RecvFlowHandle) -> Option<RecvFlowMut<'_>> {
        todo!()
    }
    pub fn sessions(&self) -> impl Iterator<Item = SessionHandle> {
        core::iter::empty()
    }
    pub fn stats(&self) -> EndpointStats {
        todo!()
    }
    pub fn profile(&self) -> &dyn CryptoProfile {
        todo!()
    }
    /// Closes every session.
    pub fn close_all(&mut self, now: Instant, mode: CloseMode) {
        todo!()
    }
}

/// A look at a session.
#[derive(Debug)]
pub struct SessionRef<'a>(core::marker::PhantomData<&'a ()>);
impl<'a> SessionRef<'a> {
    pub fn state(&self) -> SessionState {
        todo!()
    }
    pub fn role(&self) -> Role {
        todo!()
    }
    pub fn path(&self) -> Option<Path> {
        todo!()
    }
    pub fn far_certificate(&self) -> &'a [u8] {
        todo!()
    }
    /// In the profile's canonical form (RFC 7425 §4.4.4: the fingerprint).
    pub fn far_canonical_discriminator(&self) -> Vec<u8> {
        todo!()
    }
    pub fn near_nonce(&self) -> &'a [u8] {
        todo!()
    }
    pub fn far_nonce(&self) -> &'a [u8] {
        todo!()
    }
    pub fn stats(&self) -> SessionStats {
        todo!()
    }
}

/// Commands for a session.
#[derive(Debug)]
pub struct SessionMut<'a>(core::marker::PhantomData<&'a mut ()>);
impl SessionMut<'_> {
    pub fn open_flow(&mut self, options: FlowOptions) -> Result<SendFlowHandle, OpenFlowError> {
        todo!()
    }
    pub fn close(&mut self, mode: CloseMode) {
        todo!()
    }
    pub fn ping(&mut self) {
        todo!()
    }
}

/// A look at a sending flow.
#[derive(Debug)]
pub struct SendFlowRef<'a>(core::marker::PhantomData<&'a ()>);
impl<'a> SendFlowRef<'a> {
    pub fn metadata(&self) -> &'a Bytes {
        todo!()
    }
    pub fn stats(&self) -> FlowStats {
        todo!()
    }
    pub fn priority(&self) -> Priority {
        todo!()
    }
    /// Open: messages can be written.
    pub fn is_open(&self) -> bool {
        todo!()
    }
}

/// Commands for a sending flow.
#[derive(Debug)]
pub struct SendFlowMut<'a>(core::marker::PhantomData<&'a mut ()>);
impl SendFlowMut<'_> {
    pub fn write(&mut self, message: impl Into<Bytes>) -> Result<MessageId, WriteError> {
        todo!()
    }
    pub fn write_with(&mut self, message: impl Into<Bytes>, options: SendOptions) -> Result<MessageId, WriteError> {
        todo!()
    }
    pub fn abandon(&mut self, message: MessageId) -> bool {
        todo!()
    }
    pub fn set_priority(&mut self, priority: Priority) {
        todo!()
    }
    pub fn close(&mut self) {
        todo!()
    }
}

/// A look at a receiving flow.
#[derive(Debug)]
pub struct RecvFlowRef<'a>(core::marker::PhantomData<&'a ()>);
impl<'a> RecvFlowRef<'a> {
    pub fn metadata(&self) -> &'a Bytes {
        todo!()
    }
    /// The sending flow of this end that the flow answers.
    pub fn association(&self) -> Option<SendFlowHandle> {
        todo!()
    }
    pub fn stats(&self) -> FlowStats {
        todo!()
    }
}

/// Commands for a receiving flow.
#[derive(Debug)]
pub struct RecvFlowMut<'a>(core::marker::PhantomData<&'a mut ()>);
impl RecvFlowMut<'_> {
    /// The next message; `None` when there is none now (FlowReadable will tell of the next).
    pub fn read(&mut self) -> Option<Message> {
        todo!()
    }
    pub fn reject(&mut self, code: u64) {
        todo!()
    }
    pub fn suspend(&mut self) {
        todo!()
    }
    pub fn resume(&mut self) {
        todo!()
    }
    pub fn set_order(&mut self, order: ReceiveOrder) {
        todo!()
    }
    pub fn set_window(&mut self, bytes: usize) {
        todo!()
    }
    /// Opens a sending flow in return to this one (RFC 7016 §2.3.11.1.2).
    pub fn open_return_flow(&mut self, options: FlowOptions) -> Result<SendFlowHandle, OpenFlowError> {
        todo!()
    }
}
