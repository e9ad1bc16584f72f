//! The endpoint's side: carries out commands and fills and empties the flows' queues.

use core::net::Ipv4Addr;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use rtmfp_core::error::WriteRefusal;
use rtmfp_core::{
    App, CloseMode, Endpoint, Event, FlowEnd, FlowOptions, Instant, OpenFailure, RecvFlowHandle, SendFlowHandle,
    SessionHandle, Target, Undelivered,
};

use super::closing::{Drain, Shutdown};
use super::handles::EndpointHandle;
use super::shared::{
    Command, EndpointShared, QUEUE_BYTES, RecvShared, RecvState, SendShared, SessionShared, WAITING_FLOWS, Within, lock,
};
use super::{EndpointError, handles};
use crate::places::Admission;

/// The application that [`EndpointHandle`]s talk to. Any driver can run it; [`Endpoint`](super::Endpoint) runs it on a
/// thread.
#[derive(Debug)]
pub struct EndpointApp {
    pub(super) shared: Arc<EndpointShared>,
    pub(super) sessions: BTreeMap<SessionHandle, Entry>,
    /// Sessions that drain, and of which the endpoint has not everything yet, by deadline.
    pub(super) drains: BTreeSet<(Instant, SessionHandle)>,
    pub(super) shutdown: Option<Shutdown>,
    /// There is nobody who could accept a session.
    unattended: bool,
    pub(super) done: bool,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) shared: Arc<SessionShared>,
    pub(super) sending: BTreeMap<SendFlowHandle, Arc<SendShared>>,
    /// Once the session has ended: flows that are complete and not read to their end.
    receiving: BTreeMap<RecvFlowHandle, Arc<RecvShared>>,
    pub(super) drain: Option<Drain>,
    /// What the flows did not take any more while it drains.
    pub(super) refused: Undelivered,
    pub(super) ended: bool,
}

impl Entry {
    const fn new(shared: Arc<SessionShared>) -> Self {
        Self {
            shared,
            sending: BTreeMap::new(),
            receiving: BTreeMap::new(),
            drain: None,
            refused: Undelivered { messages: 0, unsent: 0, bytes: 0 },
            ended: false,
        }
    }

    /// Tells the handles that the session is over, and nothing more can be sent.
    fn end_sending(&mut self, error: EndpointError) {
        self.ended = true;
        let mut session = lock(&self.shared.0);
        session.end.get_or_insert(error);
        session.wakers.wake();
        drop(session);
        for flow in core::mem::take(&mut self.sending).into_values() {
            lock(&flow.0).fail(error);
        }
    }

    /// Tells all handles of the session that it is over.
    fn end(mut self, error: EndpointError) {
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
    /// An application for an endpoint with these local addresses, in the order of their interfaces, and a first handle
    /// to it. `wake` must make the driver call [`on_wake`](App::on_wake) soon; it is called from any thread.
    pub fn new(locals: Vec<core::net::SocketAddr>, wake: impl Fn() + Send + Sync + 'static) -> (Self, EndpointHandle) {
        let shared = Arc::new(EndpointShared::new(locals, Box::new(wake)));
        let app = Self {
            shared: Arc::clone(&shared),
            sessions: BTreeMap::new(),
            drains: BTreeSet::new(),
            shutdown: None,
            unattended: false,
            done: false,
        };
        (app, handles::handle(shared))
    }

    #[cfg(test)]
    pub(super) fn shared(&self) -> &EndpointShared {
        &self.shared
    }

    /// How many it knows of.
    #[cfg(test)]
    pub(super) fn sessions(&self) -> usize {
        self.sessions.len()
    }

    fn carry_out(&mut self, now: Instant, endpoint: &mut Endpoint, command: Command) {
        match command {
            Command::Open(shared, target) => self.open(now, endpoint, shared, target),
            Command::Close(shared, mode) => {
                let mut state = lock(&shared.0);
                state.closing = true;
                let handle = state.handle;
                drop(state);
                if let Some(mut session) = handle.and_then(|handle| endpoint.session_mut(now, handle)) {
                    session.close(mode);
                }
            }
            Command::Drain(shared, within) => {
                let handle = lock(&shared.0).handle;
                if let Some(handle) = handle {
                    self.drain(now, endpoint, handle, now + within);
                }
            }
            Command::Release(shared) => {
                let mut state = lock(&shared.0);
                // It may have been handed out again, or be for somebody to accept yet.
                let held = state.owner.strong_count() > 0 || state.unaccepted;
                state.closing |= !held;
                let handle = state.handle.filter(|_| !held);
                drop(state);
                if let Some(handle) = handle {
                    self.release(now, endpoint, handle);
                }
            }
            Command::OpenFlow(shared, within, options) => self.open_flow(now, endpoint, shared, &within, options),
            Command::Send(shared) => {
                lock(&shared.0).scheduled = false;
                self.hand_over(now, endpoint, &shared);
            }
            Command::Receive(shared) => self.receive(now, endpoint, shared.handle),
            Command::Reject(shared, code) => {
                if let Some(mut flow) = endpoint.recv_flow_mut(now, shared.handle) {
                    flow.reject(code);
                }
            }
            Command::Stats(shared) => shared.answer(Some(endpoint.stats())),
            Command::StopAccepting => self.stop_accepting(now, endpoint),
            Command::Shutdown(within) => self.shut_down(now, endpoint, now + within),
            Command::ReleaseAll => self.release_all(now, endpoint),
        }
    }

    /// Sessions that far ends opened, and open from now on, are for nobody.
    fn stop_accepting(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.unattended = true;
        let waiting = core::iter::from_fn(|| lock(&self.shared.queue).accept());
        for (handle, shared) in waiting {
            let mut state = lock(&shared.0);
            state.unaccepted = false;
            let held = state.owner.strong_count() > 0;
            state.closing |= !held;
            drop(state);
            if let Some(mut session) = endpoint.session_mut(now, handle).filter(|_| !held) {
                session.close(CloseMode::Orderly);
            }
        }
    }

    fn open(&mut self, now: Instant, endpoint: &mut Endpoint, shared: Arc<SessionShared>, target: Target) {
        if self.shutdown.is_some() {
            Entry::new(shared).end(EndpointError::Closed);
            return;
        }
        match endpoint.open(now, target) {
            Ok(handle) => {
                lock(&shared.0).handle = Some(handle);
                self.sessions.insert(handle, Entry::new(shared));
            }
            Err(e) => Entry::new(shared).end(EndpointError::NotBegun(e)),
        }
    }

    fn open_flow(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        shared: Arc<SendShared>,
        within: &Within,
        options: FlowOptions,
    ) {
        let (session, end) = match within {
            Within::Session(session) => {
                let state = lock(&session.0);
                (state.handle, state.end)
            }
            Within::ReturnTo(flow) => (Some(flow.handle.session()), None),
        };
        let is_closing = session.and_then(|session| self.sessions.get(&session)).is_some_and(Entry::is_closing);
        let opened = match within {
            _ if is_closing => Err(end.unwrap_or(EndpointError::Closed)),
            Within::Session(_) => match session.and_then(|session| endpoint.session_mut(now, session)) {
                Some(mut session) => session.open_flow(options).map_err(EndpointError::NoFlow),
                None => Err(end.unwrap_or(EndpointError::Closed)),
            },
            Within::ReturnTo(flow) => match endpoint.recv_flow_mut(now, flow.handle) {
                Some(mut flow) => flow.open_return_flow(options).map_err(EndpointError::NoFlow),
                None => Err(EndpointError::Closed),
            },
        };
        match opened {
            Ok(handle) => {
                lock(&shared.0).handle = Some(handle);
                if let Some(entry) = self.sessions.get_mut(&handle.session()) {
                    entry.sending.insert(handle, shared);
                }
            }
            Err(error) => {
                let mut state = lock(&shared.0);
                let refused = state.queued();
                state.fail(error);
                drop(state);
                self.on_refused(session, refused);
            }
        }
    }

    /// Has the endpoint take what is in a flow's queue.
    fn hand_over(&mut self, now: Instant, endpoint: &mut Endpoint, shared: &SendShared) {
        let refused = send(now, endpoint, shared);
        let Some(handle) = lock(&shared.0).handle else { return };
        self.on_refused(Some(handle.session()), refused);
        self.on_handed_over(now, endpoint, handle);
    }

    fn opened(&mut self, now: Instant, endpoint: &mut Endpoint, handle: SessionHandle) {
        let accepted = !self.sessions.contains_key(&handle);
        if accepted && (self.unattended || self.shutdown.is_some()) {
            if let Some(mut session) = endpoint.session_mut(now, handle) {
                session.close(CloseMode::Abrupt);
            }
            return;
        }
        if accepted && !self.make_room(now, endpoint, handle) {
            return;
        }
        let entry = self.sessions.entry(handle).or_insert_with(|| Entry::new(Arc::default()));
        let mut state = lock(&entry.shared.0);
        state.handle = Some(handle);
        state.open = true;
        state.unaccepted = accepted;
        if let Some(session) = endpoint.session(handle) {
            state.remote = session.path().map(|path| path.remote);
            state.far_discriminator = session.far_canonical_discriminator();
        }
        state.wakers.wake();
        drop(state);
        if accepted {
            let mut queue = lock(&self.shared.queue);
            queue.accepted.push_back((handle, Arc::clone(&entry.shared)));
            queue.wakers.wake();
        }
    }

    /// Finds a place among the sessions that wait to be accepted, for one that a far end has opened. Whoever finds none is
    /// closed.
    fn make_room(&self, now: Instant, endpoint: &mut Endpoint, handle: SessionHandle) -> bool {
        let path = endpoint.session(handle).and_then(|session| session.path());
        let address = path.map_or(Ipv4Addr::UNSPECIFIED.into(), |path| path.remote.ip());
        let mut queue = lock(&self.shared.queue);
        let admission = queue.places.admit(now, handle, address);
        let closed = match admission {
            Admission::Admitted => None,
            // It waits on without a place.
            Admission::Replaced(holder) if !self.give_up(holder) => None,
            Admission::Replaced(holder) => {
                queue.remove(holder);
                Some(holder)
            }
            Admission::Full => Some(handle),
        };
        drop(queue);
        if let Some(mut session) = closed.and_then(|closed| endpoint.session_mut(now, closed)) {
            session.close(CloseMode::Abrupt);
        }
        admission != Admission::Full
    }

    /// Whether nobody holds this session, which may wait to be accepted all the same: `connect` may have returned it. If so
    /// nobody is to get it any more.
    fn give_up(&self, session: SessionHandle) -> bool {
        let Some(entry) = self.sessions.get(&session) else { return true };
        let mut state = lock(&entry.shared.0);
        state.closing |= state.owner.strong_count() == 0;
        state.closing
    }

    fn flow_opened(&mut self, now: Instant, endpoint: &mut Endpoint, handle: RecvFlowHandle) {
        let Some(entry) = self.sessions.get_mut(&handle.session()) else { return };
        if lock(&entry.shared.0).flows.len() >= WAITING_FLOWS {
            if let Some(mut flow) = endpoint.recv_flow_mut(now, handle) {
                flow.reject(0);
            }
            return;
        }
        let Some(flow) = endpoint.recv_flow(handle) else { return };
        let shared = Arc::new(RecvShared {
            handle,
            metadata: flow.metadata().clone(),
            association: flow.association(),
            state: Mutex::new(RecvState::default()),
        });
        entry.receiving.insert(handle, Arc::clone(&shared));
        let mut session = lock(&entry.shared.0);
        session.flows.push_back(shared);
        session.wakers.wake();
        let unaccepted = session.unaccepted;
        drop(session);
        if unaccepted {
            lock(&self.shared.queue).places.brought(now, handle.session());
        }
    }

    fn session_ended(&mut self, session: SessionHandle, error: EndpointError) {
        let existing = if let EndpointError::NotOpened(OpenFailure::Duplicate { existing }) = error {
            self.sessions.get(&existing).map(|entry| Arc::clone(&entry.shared))
        } else {
            None
        };
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        lock(&entry.shared.0).existing = existing;
        entry.end_sending(error);
        let mut state = lock(&entry.shared.0);
        state.drop_empty_flows();
        drop(state);
        self.forget_if_read(session);
    }

    /// Forgets a session that has ended, unless complete flows are still to be read. What a far end sent before it went is
    /// still for whoever accepts; a session without that is for nobody.
    fn forget_if_read(&mut self, session: SessionHandle) {
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

    fn receive(&self, now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle) {
        let Some(entry) = self.sessions.get(&flow.session()) else { return };
        let Some(shared) = entry.receiving.get(&flow) else { return };
        let mut state = lock(&shared.state);
        if state.accepted {
            read(now, endpoint, flow, &mut state, QUEUE_BYTES);
            return;
        }
        drop(state);
        // All that wait have one queue's worth together.
        let mut session = lock(&entry.shared.0);
        let mut state = lock(&shared.state);
        let others = if state.accepted { 0 } else { session.flows_bytes.saturating_sub(state.bytes) };
        read(now, endpoint, flow, &mut state, QUEUE_BYTES.saturating_sub(others));
        if !state.accepted {
            session.flows_bytes = others + state.bytes;
        }
        // What is unlocked last may wake tasks: nothing else is locked then.
        drop(session);
    }

    fn flow_finished(&mut self, flow: RecvFlowHandle, end: FlowEnd) {
        let Some(entry) = self.sessions.get_mut(&flow.session()) else { return };
        let Some(shared) = entry.receiving.remove(&flow) else { return };
        let mut state = lock(&shared.state);
        state.end = Some(end);
        state.wakers.wake();
        let empty = !state.accepted && state.messages.is_empty() && end != FlowEnd::Complete;
        drop(state);
        if empty {
            lock(&entry.shared.0).drop_empty_flows();
        }
        self.forget_if_read(flow.session());
    }

    fn sending(&self, flow: SendFlowHandle) -> Option<&Arc<SendShared>> {
        self.sessions.get(&flow.session())?.sending.get(&flow)
    }

    /// A flow is complete, or was rejected with a code.
    fn sending_ended(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        flow: SendFlowHandle,
        code: Option<u64>,
        abandoned: u64,
    ) {
        let Some(entry) = self.sessions.get_mut(&flow.session()) else { return };
        let Some(shared) = entry.sending.remove(&flow) else { return };
        let mut state = lock(&shared.0);
        // Nothing is ever abandoned from here.
        state.completed = abandoned == 0 && state.messages.is_empty();
        match code {
            Some(code) => state.fail(EndpointError::Rejected(code)),
            None if !state.completed => state.fail(EndpointError::Abandoned),
            None => state.wakers.wake(),
        }
        drop(state);
        self.on_handed_over(now, endpoint, flow);
    }
}

/// Hands a flow's messages to the endpoint as long as it takes them. Those that it will not take are returned.
pub(super) fn send(now: Instant, endpoint: &mut Endpoint, shared: &SendShared) -> Undelivered {
    let mut refused = Undelivered::default();
    let mut state = lock(&shared.0);
    let Some(handle) = state.handle else { return refused };
    let Some(mut flow) = endpoint.send_flow_mut(now, handle) else { return refused };
    while let Some(message) = state.messages.pop_front() {
        let bytes = message.len() + 1;
        match flow.write(message) {
            Ok(_) => state.bytes -= bytes,
            Err(refusal) => {
                state.messages.push_front(refusal.data);
                if refusal.reason != WriteRefusal::Full {
                    refused = state.queued();
                    state.fail(EndpointError::Closed);
                }
                // FlowWritable tells when to go on.
                break;
            }
        }
    }
    if state.messages.is_empty() && state.closing {
        flow.close();
    }
    if state.bytes < QUEUE_BYTES {
        state.wakers.wake();
    }
    refused
}

/// Reads a flow's messages as long as they are less than `room` bytes.
fn read(now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle, state: &mut RecvState, room: usize) {
    let Some(mut flow) = endpoint.recv_flow_mut(now, flow) else { return };
    state.paused = false;
    loop {
        if state.bytes >= room {
            // Unread, they fill the receive window, which slows the sender down.
            state.paused = true;
            break;
        }
        let Some(message) = flow.read() else { break };
        // An empty message takes room too.
        state.bytes += message.data.len() + 1;
        state.messages.push_back(message);
    }
    if !state.messages.is_empty() {
        state.wakers.wake();
    }
}

impl App for EndpointApp {
    #[expect(clippy::wildcard_enum_match_arm, reason = "an application acts on the events that it knows of")]
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        match event {
            Event::SessionOpened { session } => self.opened(now, endpoint, session),
            Event::SessionFailed { session, reason } => self.session_ended(session, EndpointError::NotOpened(reason)),
            Event::SessionClosed { session, reason } => {
                self.session_ended(session, EndpointError::SessionClosed(reason))
            }
            Event::PathChanged { session, path } => {
                if let Some(entry) = self.sessions.get(&session) {
                    lock(&entry.shared.0).remote = Some(path.remote);
                }
            }
            Event::FlowOpened { flow } => self.flow_opened(now, endpoint, flow),
            Event::FlowReadable { flow } => self.receive(now, endpoint, flow),
            Event::FlowFinished { flow, end } => self.flow_finished(flow, end),
            Event::FlowWritable { flow } => {
                if let Some(shared) = self.sending(flow).cloned() {
                    self.hand_over(now, endpoint, &shared);
                }
            }
            Event::FlowRejected { flow, code, abandoned } => {
                self.sending_ended(now, endpoint, flow, Some(code), abandoned);
            }
            Event::FlowCompleted { flow, abandoned } => self.sending_ended(now, endpoint, flow, None, abandoned),
            Event::SessionDrained { session, undelivered } => self.drained(session, undelivered),
            _ => {}
        }
    }

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        // The first command after this wakes again.
        let commands = core::mem::take(&mut lock(&self.shared.queue).commands);
        for command in commands {
            self.carry_out(now, endpoint, command);
        }
        self.on_closing_timeout(now, endpoint);
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.next_closing_timeout()
    }

    fn is_done(&self) -> bool {
        self.done
    }
}

impl Drop for EndpointApp {
    /// Nobody is to wait for what will not come.
    fn drop(&mut self) {
        let mut queue = lock(&self.shared.queue);
        queue.stopped = true;
        queue.wakers.wake();
        let commands = core::mem::take(&mut queue.commands);
        drop(queue);
        for command in commands {
            match command {
                Command::Open(session, _) => Entry::new(session).end(EndpointError::Stopped),
                Command::OpenFlow(flow, ..) | Command::Send(flow) => lock(&flow.0).fail(EndpointError::Stopped),
                Command::Stats(shared) => shared.answer(None),
                Command::Close(..)
                | Command::Drain(..)
                | Command::Release(_)
                | Command::Receive(_)
                | Command::Reject(..)
                | Command::StopAccepting
                | Command::Shutdown(_)
                | Command::ReleaseAll => {}
            }
        }
        for entry in core::mem::take(&mut self.sessions).into_values() {
            entry.end(EndpointError::Stopped);
        }
    }
}
