//! Borrowed views: what can be asked of, and done with, a session or a flow.

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::env::Env;
use crate::config::{FlowOptions, Priority, ReceiveOrder, SendOptions};
use crate::error::{OpenFlowError, WriteError};
use crate::flow::{Message, RecvFlow, SendFlow, SendFlowState};
use crate::handle::{MessageId, RecvFlowHandle, SendFlowHandle};
use crate::params::REDIRECT_THRESHOLD;
use crate::profile::CryptoProfile;
use crate::session::{CloseMode, Context, PathRule, Receiving, Role, SendFlows, Session, SessionState};
use crate::stats::{FlowStats, SessionStats};
use crate::time::Instant;
use crate::transmit::Path;
use crate::wire::Address;

/// A look at a session.
#[derive(Clone, Copy, Debug)]
pub struct SessionRef<'a> {
    session: &'a Session,
    profile: &'a dyn CryptoProfile,
}

impl<'a> SessionRef<'a> {
    pub(super) fn new(session: &'a Session, profile: &'a dyn CryptoProfile) -> Self {
        Self { session, profile }
    }

    /// The session's state (RFC 7016 §3.5).
    #[must_use]
    pub fn state(&self) -> SessionState {
        self.session.state()
    }

    /// Whether the far end does not know yet that the session is over: it is open, opening, or in S_NEARCLOSE with neither
    /// an acknowledgement nor a close of the far end's own (RFC 7016 §3.5.5).
    #[must_use]
    pub fn awaits_far_end(&self) -> bool {
        self.session.awaits_far_end()
    }

    /// The path [of last resort](crate::InterfaceId::last_resort) that it has left for a better one, and goes back to if
    /// that fails.
    #[must_use]
    pub fn fallback(&self) -> Option<Path> {
        self.session.fallback()
    }

    /// Whether what was sent is not answered, time and again: the path may be closed. [`watch`](SessionMut::watch) tells
    /// of changes.
    #[must_use]
    pub fn is_struggling(&self) -> bool {
        self.session.is_struggling()
    }

    /// Whether an interface [of last resort](crate::InterfaceId::last_resort) leads over it:
    /// [`carries_last_resort`](SessionMut::carries_last_resort) was said of it.
    #[must_use]
    pub fn carries(&self) -> bool {
        self.session.carries()
    }

    /// Which end began it (RFC 7016 §3.5). May change from initiator to responder while it opens, in glare.
    #[must_use]
    pub fn role(&self) -> Role {
        self.session.transport().role()
    }

    /// Where its packets go (RFC 7016 §3.5, DESTADDR); `None` while it opens.
    #[must_use]
    pub fn path(&self) -> Option<Path> {
        self.session.transport().path()
    }

    /// Whether the far end has shown that it has the keys of the session: with a packet that they authenticate, or else
    /// with the answer to a question that takes the keys to read. Until then its certificate is a claim, which anybody
    /// can make.
    #[must_use]
    pub const fn far_keys_proved(&self) -> bool {
        self.session.transport().keys_proved()
    }

    /// After how long without flows it closes: as configured, or as
    /// [`set_idle_limit`](SessionMut::set_idle_limit) has replaced it. It is 300 s at most until a far end that began the
    /// session has shown its keys.
    #[must_use]
    pub const fn idle_limit(&self) -> Duration {
        self.session.idle_limit()
    }

    /// Whether [`far_keys_proved`](Self::far_keys_proved) can ever become true. It cannot in a session whose keys
    /// authenticate no packets (in the Flash profile: without HMAC), at the end that began it: this end asks for a proof
    /// of the initiator's keys only.
    #[must_use]
    pub fn far_keys_can_be_proved(&self) -> bool {
        self.session.transport().can_prove_keys()
    }

    /// Whether the far end has proved to own its certificate: the keys [are proved](Self::far_keys_proved), and the
    /// profile says that they prove the owner. In the Flash profile they do if the certificate has static keys
    /// (RFC 7425 §4.3.4).
    #[must_use]
    pub fn far_owner_proved(&self) -> bool {
        self.far_keys_proved() && self.profile.keys_prove_owner(self.far_certificate())
    }

    /// The far end's certificate, in the profile's syntax; empty while it opens. Whether it proves who the far end is,
    /// the profile says (in the Flash profile: if it has static keys), once
    /// [the keys are proved](Self::far_keys_proved).
    #[must_use]
    pub fn far_certificate(&self) -> &'a [u8] {
        self.session.transport().far_certificate()
    }

    /// The far end's Canonical Endpoint Discriminator (RFC 7016 §3.2; in the Flash profile it holds the fingerprint,
    /// RFC 7425 §4.4.4).
    #[must_use]
    pub fn far_canonical_discriminator(&self) -> Vec<u8> {
        self.profile.canonical_discriminator(self.far_certificate())
    }

    /// A secret of the two ends, which the far end knows as its far nonce (RFC 7016 §3.5). Empty while it opens,
    /// and once it is over.
    #[must_use]
    pub fn near_nonce(&self) -> &'a [u8] {
        self.session.transport().near_nonce()
    }

    /// The far end's near nonce. Empty while it opens, and once it is over.
    #[must_use]
    pub fn far_nonce(&self) -> &'a [u8] {
        self.session.transport().far_nonce()
    }

    /// Whether the keys also depend on a key agreement that no quantum computer is known to break. Those of the modern
    /// profile's [hybrid](crate::profile::modern::Hybrid) do. False while it opens.
    #[must_use]
    pub fn is_post_quantum(&self) -> bool {
        self.session.transport().is_post_quantum()
    }

    /// Counters and measurements.
    #[must_use]
    pub fn stats(&self) -> SessionStats {
        self.session.stats()
    }
}

/// Commands for a session.
#[derive(Debug)]
pub struct SessionMut<'a> {
    env: Env<'a>,
    slot: u32,
}

impl<'a> SessionMut<'a> {
    pub(super) const fn new(env: Env<'a>, slot: u32) -> Self {
        Self { env, slot }
    }

    /// Opens a sending flow (RFC 7016 §3.6.2.1). The far end hears of it with the first message.
    ///
    /// # Errors
    /// [`OpenFlowError`]: the session is closing, a limit is reached, or the options are not acceptable.
    pub fn open_flow(&mut self, options: FlowOptions) -> Result<SendFlowHandle, OpenFlowError> {
        let opened = self.env.session(self.slot, |session, cx| session.open_flow(cx, options));
        opened.unwrap_or(Err(OpenFlowError::SessionClosed))
    }

    /// Closes the session with all its flows (RFC 7016 §3.5.5); what is not delivered is lost. Closing a session
    /// that is closed already does nothing.
    pub fn close(&mut self, mode: CloseMode) {
        self.env.session(self.slot, |session, cx| session.end(cx, mode.into()));
    }

    /// Closes the session in order (RFC 7016 §3.5.5) once all that was written is acknowledged, or at the deadline. All
    /// sending flows are closed, and no other can be opened. [`SessionDrained`](crate::Event::SessionDrained) tells what
    /// was not delivered, right before the session's end. If it is called again, the last deadline counts.
    ///
    /// What the far end is sending does not hold this up, and is lost with the session. While the session is opening and
    /// something waits to be sent, it goes on opening until the deadline.
    ///
    /// A session that [carries](Self::carries_last_resort) an interface of last resort waits for those that go over such an
    /// interface, and they have seven eighths of the time: their far ends hear of the close through it.
    pub fn drain(&mut self, deadline: Instant) {
        self.env.drain(self.slot, deadline);
    }

    /// Says that [`drain`](Self::drain) is to come, once something was written that has to wait for room: what the far end
    /// rejects from now on counts as undelivered then.
    pub fn announce_drain(&mut self) {
        self.env.session(self.slot, |session, cx| {
            session.command(cx, |delivery, _| delivery.sending.flows.count_rejected());
        });
    }

    /// Has a session that is opening give up at this time, in place of
    /// [`open_timeout`](crate::EndpointConfig::open_timeout). Without effect once it is open.
    pub fn give_up_at(&mut self, at: Instant) {
        self.env.with(self.slot, |entry, _| {
            if let Some(opening) = entry.opening_mut() {
                opening.give_up_at(at);
            }
        });
    }

    /// Replaces the [`idle_limit`](crate::SessionConfig::idle_limit) of this session, which is counted anew: for sessions
    /// that are kept though they have no flows, as that with an introducer. Until the far end has shown the session's
    /// keys, five minutes are the most in a session that it began. The far end has a limit of its own.
    pub fn set_idle_limit(&mut self, limit: Duration) {
        self.env.session(self.slot, |session, cx| session.set_idle_limit(cx, limit));
    }

    /// Replaces the [`max_rate`](crate::SessionConfig::max_rate) of this session, at once, also for what waits to be sent. A
    /// rate below 1,200 bytes a second counts as that.
    pub fn set_max_rate(&mut self, rate: Option<u64>) {
        self.env.session(self.slot, |session, cx| session.set_max_rate(cx, rate));
    }

    /// Sets further addresses at which the far end can be reached, as it told them, for introductions
    /// (RFC 7016 §3.5.1.6). The address that its packets come from is always told. At most 23 are kept.
    pub fn introduce_at(&mut self, addresses: &[Address]) {
        self.env.with(self.slot, |entry, _| {
            entry.introduce_at = addresses.iter().take(REDIRECT_THRESHOLD - 1).copied().collect();
        });
    }

    /// Says that an interface [of last resort](crate::InterfaceId::last_resort) leads over this session. It never goes over
    /// such an interface itself then, whatever comes from there: its packets would be carried by itself.
    pub fn carries_last_resort(&mut self) {
        self.env.session(self.slot, |session, _| session.carry());
    }

    /// From now on, hellos that the far end forwards (RFC 7016 §3.5.1.5) are ignored, whatever
    /// [`forwarded_hello`](crate::EndpointConfig::forwarded_hello) says: this end would answer them from its address.
    pub fn ignore_forwarded_hellos(&mut self) {
        self.env.session(self.slot, |session, _| session.ignore_forwarded());
    }

    /// Keeps the session off interfaces [of last resort](crate::InterfaceId::last_resort).
    pub fn avoid_last_resort(&mut self) {
        self.env.session(self.slot, |session, _| session.set_path_rule(PathRule::NoLastResort));
    }

    /// Keeps the session on interfaces [of last resort](crate::InterfaceId::last_resort): it does not move to any other,
    /// whatever proves that the far end is there. Those that it opens over are the caller's choice.
    pub fn stay_on_last_resort(&mut self) {
        self.env.session(self.slot, |session, _| session.set_path_rule(PathRule::OnlyLastResort));
    }

    /// Asks the far end of an open session to show that it is reached over this path, too (RFC 7016 §3.5.4.2). The session
    /// moves there if the far end answers, and hears nothing over its own path any more or goes over one
    /// [of last resort](crate::InterfaceId::last_resort). It costs one datagram, and a session whose packets are not
    /// authenticated sends none. The caller limits how often it is called.
    pub fn probe(&mut self, path: Path) {
        self.env.session(self.slot, |session, cx| session.probe_path(cx, path));
    }

    /// Tries one more path to the far end of a session that is opening, after a delay. That is for a circuit of a relay,
    /// or an address that was learned late. Without effect if it is open, or has
    /// [`max_candidates`](crate::EndpointConfig::max_candidates) already.
    pub fn add_candidate(&mut self, path: Path, delay: Duration) {
        self.env.with(self.slot, |entry, shared| {
            if let Some(opening) = entry.opening_mut() {
                opening.add_candidate(path, shared.now + delay, false);
                entry.drive_opening(shared);
            }
        });
    }

    /// Names somebody who can introduce this end to the far end again (RFC 7016 §3.5.1.6), should both lose sight of
    /// each other. Those who did so when the session was opened are known already; four are kept.
    pub fn add_introducer(&mut self, path: Path) {
        self.env.with(self.slot, |entry, _| entry.learn_introducer(path));
    }

    /// Has [`SessionUpdated`](crate::Event::SessionUpdated) tell once when the session's target rate, congestion, proof of
    /// keys, or whether it [struggles](SessionRef::is_struggling), differ from what they are now. Call it again after the event to hear of the next change. Nothing is told
    /// once the session has ended.
    pub fn watch(&mut self) {
        self.env.session(self.slot, |session, cx| session.watch(cx.now));
    }

    /// Pings the far end now (RFC 7016 §3.5.4.1).
    pub fn ping(&mut self) {
        self.env.session(self.slot, |session, cx| session.ping(cx.now));
    }
}

/// A look at a sending flow.
#[derive(Clone, Copy, Debug)]
pub struct SendFlowRef<'a> {
    flow: &'a SendFlow,
}

impl<'a> SendFlowRef<'a> {
    pub(super) const fn new(flow: &'a SendFlow) -> Self {
        Self { flow }
    }

    /// The flow's name.
    #[must_use]
    pub fn metadata(&self) -> &'a Bytes {
        self.flow.metadata()
    }

    /// Whether messages can be written: neither closed nor rejected.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.flow.state() == SendFlowState::Open
    }

    /// Sending priority.
    #[must_use]
    pub fn priority(&self) -> Priority {
        self.flow.priority()
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> FlowStats {
        self.flow.stats()
    }
}

/// Commands for a sending flow.
#[derive(Debug)]
pub struct SendFlowMut<'a> {
    env: Env<'a>,
    flow: SendFlowHandle,
}

impl<'a> SendFlowMut<'a> {
    pub(super) const fn new(env: Env<'a>, flow: SendFlowHandle) -> Self {
        Self { env, flow }
    }

    fn with<R>(&mut self, call: impl FnOnce(&mut SendFlows, &mut Context<'_>, SendFlowHandle) -> R) -> Option<R> {
        self.env.by_handle(self.flow.session, |session, cx| {
            session.command(cx, |delivery, cx| call(&mut delivery.sending.flows, cx, self.flow))
        })
    }

    /// Queues a message, of any size from zero up, for full reliability (RFC 7016 §3.6.2.2).
    ///
    /// # Errors
    /// [`WriteError`] with the bytes given back: the buffer or the memory of the session or endpoint is full, or the
    /// flow is closed. A message of any size is taken while the session has no other and memory is not short.
    pub fn write(&mut self, message: impl Into<Bytes>) -> Result<MessageId, WriteError> {
        self.write_with(message, SendOptions::default())
    }

    /// Queues a message with deadlines, dependencies or a receipt (RFC 7016 §3.6.1.2).
    ///
    /// # Errors
    /// As for [`write`](Self::write).
    pub fn write_with(&mut self, message: impl Into<Bytes>, options: SendOptions) -> Result<MessageId, WriteError> {
        let data = message.into();
        let kept = data.clone();
        self.with(|flows, cx, flow| flows.write(cx, flow, data, options))
            .unwrap_or(Err(WriteError { data: kept, reason: crate::error::WriteRefusal::Closed }))
    }

    /// Whether a message of `len` bytes would be taken now, or refused because the flow is closed. If not,
    /// [`FlowWritable`](crate::Event::FlowWritable) tells when to ask again, as after a refused write.
    pub fn has_room(&mut self, len: usize) -> bool {
        self.with(|flows, _, flow| flows.has_room(flow, len)).unwrap_or(true)
    }

    /// Abandons a message (RFC 7016 §3.6.2.7). False if it is done already.
    pub fn abandon(&mut self, message: MessageId) -> bool {
        self.with(|flows, cx, flow| flows.abandon(cx, flow, message)).unwrap_or(false)
    }

    /// Changes the priority, from the next packet on.
    pub fn set_priority(&mut self, priority: Priority) {
        self.with(|flows, _, flow| flows.set_priority(flow, priority));
    }

    /// Closes the flow when all that was written has been delivered or abandoned (RFC 7016 §3.6.2.11).
    pub fn close(&mut self) {
        self.with(|flows, cx, flow| flows.close(cx, flow));
    }
}

/// A look at a receiving flow.
#[derive(Clone, Copy, Debug)]
pub struct RecvFlowRef<'a> {
    flow: &'a RecvFlow,
}

impl<'a> RecvFlowRef<'a> {
    pub(super) const fn new(flow: &'a RecvFlow) -> Self {
        Self { flow }
    }

    /// The flow's name, as its sender gave it (RFC 7016 §2.3.11.1.1).
    #[must_use]
    pub fn metadata(&self) -> &'a Bytes {
        self.flow.metadata()
    }

    /// Bytes of the message that [`read`](RecvFlowMut::read) would give next; `None` if there is none.
    #[must_use]
    pub fn next_len(&self) -> Option<usize> {
        self.flow.next_len()
    }

    /// The sending flow of this end that it answers (RFC 7016 §2.3.11.1.2).
    #[must_use]
    pub fn association(&self) -> Option<SendFlowHandle> {
        self.flow.association()
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> FlowStats {
        self.flow.stats()
    }
}

/// Commands for a receiving flow.
#[derive(Debug)]
pub struct RecvFlowMut<'a> {
    env: Env<'a>,
    flow: RecvFlowHandle,
}

impl<'a> RecvFlowMut<'a> {
    pub(super) const fn new(env: Env<'a>, flow: RecvFlowHandle) -> Self {
        Self { env, flow }
    }

    fn with<R>(&mut self, call: impl FnOnce(&mut Receiving, &mut Context<'_>, RecvFlowHandle) -> R) -> Option<R> {
        self.env.by_handle(self.flow.session, |session, cx| {
            session.command(cx, |delivery, cx| call(&mut delivery.receiving, cx, self.flow))
        })
    }

    /// The next message (RFC 7016 §3.6.3.3). `None` when there is none now: after that,
    /// [`FlowReadable`](crate::Event::FlowReadable) tells of the next.
    pub fn read(&mut self) -> Option<Message> {
        self.with(|flows, cx, flow| flows.read(cx, flow)).flatten()
    }

    /// Rejects the flow (RFC 7016 §3.6.3.7) with an exception code of the application's own; 0 is the protocol's. What
    /// is not read is discarded. The sender of a flow that is complete has its acknowledgement already, and is not told.
    pub fn reject(&mut self, code: u64) {
        self.with(|flows, cx, flow| flows.reject(cx, flow, code));
    }

    /// Holds messages back until [`resume`](Self::resume); the receive window may close (RFC 7016 §3.6.3.3).
    pub fn suspend(&mut self) {
        self.with(|flows, _, flow| flows.suspend(flow));
    }

    /// Delivers again.
    pub fn resume(&mut self) {
        self.with(|flows, cx, flow| flows.resume(cx, flow));
    }

    /// Chooses the order of delivery (RFC 7016 §3.6.3.3).
    pub fn set_order(&mut self, order: ReceiveOrder) {
        self.with(|flows, cx, flow| flows.set_order(cx, flow, order));
    }

    /// Sets the most that the receive window may be, in bytes, in place of
    /// [`recv_buffer`](crate::SessionConfig::recv_buffer) (RFC 7016 §3.6.3, BUFFER_CAPACITY); 0 stops the sender.
    pub fn set_window(&mut self, bytes: usize) {
        self.with(|flows, _, flow| flows.set_window(flow, bytes));
    }

    /// Opens a sending flow in return to this one (RFC 7016 §2.3.11.1.2, §3.6.2.1).
    ///
    /// # Errors
    /// As for [`SessionMut::open_flow`].
    pub fn open_return_flow(&mut self, options: FlowOptions) -> Result<SendFlowHandle, OpenFlowError> {
        let options = options.in_return_to(self.flow);
        self.env
            .by_handle(self.flow.session, |session, cx| session.open_flow(cx, options))
            .unwrap_or(Err(OpenFlowError::SessionClosed))
    }
}
