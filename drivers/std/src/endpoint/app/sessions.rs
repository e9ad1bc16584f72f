//! Sessions begin, open and end.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use rtmfp_core::{
    Bytes, CloseMode, Endpoint, FlowEnd, Instant, OpenFailure, RecvFlowHandle, Role, SendFlowHandle, SessionHandle,
    SessionMut, SessionState, Target, Undelivered,
};

use super::EndpointApp;
use super::closing::Drain;
use super::updates::Pace;
use crate::endpoint::Error;
use crate::endpoint::handles::Nonces;
use crate::endpoint::shared::{CoreCommand, RecvShared, SendShared, SessionCommand, SessionShared, lock};

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) shared: Arc<SessionShared>,
    pub(super) sending: BTreeMap<SendFlowHandle, Arc<SendShared>>,
    /// Once the session has ended: flows that are complete and not read to their end.
    pub(super) receiving: BTreeMap<RecvFlowHandle, Arc<RecvShared>>,
    pub(super) drain: Option<Drain>,
    /// What the flows did not take any more while it drains.
    pub(super) refused: Undelivered,
    pub(super) pace: Pace,
    pub(super) ended: bool,
}

impl Entry {
    pub(super) const fn new(shared: Arc<SessionShared>) -> Self {
        Self {
            shared,
            sending: BTreeMap::new(),
            receiving: BTreeMap::new(),
            drain: None,
            refused: Undelivered { messages: 0, unsent: 0, bytes: 0 },
            pace: Pace::new(),
            ended: false,
        }
    }

    /// Tells the handles that the session is over, and nothing more can be sent.
    fn end_sending(&mut self, error: Error) {
        self.ended = true;
        self.shared.end(error);
        for flow in core::mem::take(&mut self.sending).into_values() {
            lock(&flow.0).fail(error);
        }
    }

    /// Tells all handles of the session that it is over.
    pub(super) fn end(mut self, error: Error) {
        self.end_sending(error);
        for flow in self.receiving.values() {
            let mut state = lock(&flow.state);
            if state.end.is_none() {
                state.end = Some(FlowEnd::SessionEnded);
                state.error = Some(error);
            }
            state.wakers.wake();
        }
    }
}

impl EndpointApp {
    pub(super) fn carry_out_of_session(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        shared: &SessionShared,
        command: SessionCommand,
    ) {
        match command {
            SessionCommand::Close(mode) => {
                let mut state = lock(&shared.0);
                state.closing = true;
                let handle = state.handle;
                drop(state);
                if let Some(mut session) = handle.and_then(|handle| endpoint.session_mut(now, handle)) {
                    session.close(mode);
                }
            }
            SessionCommand::Drain(within) => {
                let handle = lock(&shared.0).handle;
                if let Some(handle) = handle {
                    self.drain(now, endpoint, handle, now + within);
                }
            }
            SessionCommand::Core(command) => {
                let handle = lock(&shared.0).handle;
                if let Some(handle) = handle {
                    carry_out_of_core(now, endpoint, handle, command);
                }
            }
            SessionCommand::Release => self.release_if_free(now, endpoint, shared),
        }
    }

    /// Closes a session that nobody needs any more.
    pub(super) fn release_if_free(&mut self, now: Instant, endpoint: &mut Endpoint, shared: &SessionShared) {
        let mut state = lock(&shared.0);
        // It may have been handed out again, or be for somebody to accept yet.
        let attended = state.is_attended();
        let held = attended || state.registrations > 0;
        let kept = self.keeps_sessions && state.is_incoming;
        let free = !held && !kept;
        state.closing |= free;
        let handle = state.handle;
        drop(state);
        match handle {
            Some(handle) if free => self.release(now, endpoint, handle),
            Some(handle) if !attended => self.reject_unattended(now, endpoint, handle),
            None if free => self.cancel_connecting(now, endpoint, shared),
            _ => {}
        }
    }

    pub(super) fn open(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        shared: Arc<SessionShared>,
        target: Target,
        limit: Option<Duration>,
    ) {
        if self.shutdown.is_some() {
            Entry::new(shared).end(Error::Closed);
            return;
        }
        match endpoint.open(now, target) {
            Ok(handle) => {
                if let (Some(limit), Some(mut session)) = (limit, endpoint.session_mut(now, handle)) {
                    session.give_up_at(now + limit);
                }
                lock(&shared.0).handle = Some(handle);
                self.sessions.insert(handle, Entry::new(shared));
            }
            Err(e) => Entry::new(shared).end(Error::NotBegun(e)),
        }
    }

    pub(super) fn opened(&mut self, now: Instant, endpoint: &mut Endpoint, handle: SessionHandle) {
        let accepted = !self.sessions.contains_key(&handle);
        if accepted && self.is_with_server(handle) {
            return;
        }
        if accepted && (self.shutdown.is_some() || self.unattended && !self.keeps_sessions) {
            if let Some(mut session) = endpoint.session_mut(now, handle) {
                session.close(CloseMode::Abrupt);
            }
            return;
        }
        // What a service has begun is for that: nobody else is waiting for it.
        let is_begun_here = endpoint.session(handle).is_some_and(|session| session.role() == Role::Initiator);
        let waits = accepted && !is_begun_here && !self.unattended && self.make_room(now, endpoint, handle);
        if accepted && !waits && !self.keeps_sessions {
            return;
        }
        self.sessions.entry(handle).or_insert_with(|| Entry::new(Arc::default()));
        // Before anybody is told of the session.
        self.look_up_kind(handle);
        let Some(entry) = self.sessions.get(&handle) else { return };
        let mut state = lock(&entry.shared.0);
        state.handle = Some(handle);
        state.open = true;
        state.is_incoming = accepted;
        state.unaccepted = waits;
        if let Some(session) = endpoint.session(handle) {
            state.path = session.path();
            state.far_certificate = Bytes::copy_from_slice(session.far_certificate());
            state.is_post_quantum = session.is_post_quantum();
            state.far_discriminator = session.far_canonical_discriminator();
        }
        state.wakers.wake();
        drop(state);
        if waits {
            let mut queue = lock(&self.shared.queue);
            queue.accepted.push_back((handle, Arc::clone(&entry.shared)));
            queue.wakers.wake();
        }
        self.updated(now, endpoint, handle);
    }

    pub(super) fn session_ended(&mut self, session: SessionHandle, error: Error) {
        let existing = if let Error::NotOpened(OpenFailure::Duplicate { existing }) = error {
            self.sessions.get(&existing).map(|entry| Arc::clone(&entry.shared))
        } else {
            None
        };
        self.expiries.forget(session);
        self.look_no_more(session);
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        let mut state = lock(&entry.shared.0);
        state.existing = existing;
        let unknown = state.asks_introducer && error == Error::NotOpened(OpenFailure::TimedOut);
        drop(state);
        entry.end_sending(if unknown { Error::NotIntroduced } else { error });
        let mut state = lock(&entry.shared.0);
        state.drop_empty_flows();
        drop(state);
        self.forget_if_read(session);
    }

    /// Forgets a session that has ended, unless complete flows are still to be read. What a far end sent before it went is
    /// still for whoever accepts; a session without that is for nobody.
    pub(super) fn forget_if_read(&mut self, session: SessionHandle) {
        let Some(entry) = self.sessions.get(&session).filter(|entry| entry.ended) else { return };
        let state = lock(&entry.shared.0);
        let empty = state.unaccepted && state.flows.is_empty();
        drop(state);
        if empty {
            lock(&self.shared.queue).remove(session);
        }
        if entry.receiving.is_empty() {
            self.sessions.remove(&session);
        }
    }
}

/// What core does without more. A question about a session that core has forgotten is dropped, and so answered.
fn carry_out_of_core(now: Instant, endpoint: &mut Endpoint, handle: SessionHandle, command: CoreCommand) {
    let Some(view) = endpoint.session(handle) else { return };
    let proved = view.far_keys_proved();
    match command {
        CoreCommand::Stats(asked) => asked.answer(Some(view.stats())),
        // They are gone, as those of sessions that core has forgotten.
        CoreCommand::Nonces(_) if view.state() == SessionState::Closed => {}
        CoreCommand::Nonces(asked) => {
            let copy = Bytes::copy_from_slice;
            asked.answer(Some(Nonces { near: copy(view.near_nonce()), far: copy(view.far_nonce()) }));
        }
        CoreCommand::Prove if proved => {}
        CoreCommand::Ping | CoreCommand::Prove => {
            with_session(now, endpoint, handle, |mut session| session.ping());
        }
        CoreCommand::IntroduceAt(addresses) => {
            with_session(now, endpoint, handle, |mut session| session.introduce_at(&addresses));
        }
        CoreCommand::MaxRate(rate) => {
            with_session(now, endpoint, handle, |mut session| session.set_max_rate(rate));
        }
        CoreCommand::AddIntroducer(path) => {
            with_session(now, endpoint, handle, |mut session| session.add_introducer(path));
        }
    }
}

fn with_session(now: Instant, endpoint: &mut Endpoint, handle: SessionHandle, call: impl FnOnce(SessionMut<'_>)) {
    if let Some(session) = endpoint.session_mut(now, handle) {
        call(session);
    }
}
