//! The end of sessions and of the endpoint: what was sent is delivered first, up to a deadline.

use core::time::Duration;
use std::collections::BTreeSet;

use rtmfp_core::{CloseMode, Endpoint, Instant, SendFlowHandle, SessionHandle, Undelivered};

use super::EndpointApp;
use super::sending::send;
use super::sessions::Entry;
use crate::endpoint::shared::{LINGER, lock};

/// Between two looks at whether all far ends have acknowledged that their sessions are closed.
pub(super) const LOOK: Duration = Duration::from_millis(20);

/// A session that closes once what was sent is delivered.
#[derive(Debug)]
pub(super) struct Drain {
    deadline: Instant,
    /// Flows of which not even the endpoint has everything yet.
    queued: BTreeSet<SendFlowHandle>,
}

/// The endpoint is to stop.
#[derive(Debug)]
pub(super) struct Shutdown {
    deadline: Instant,
    look: Instant,
    /// Since when no far end is waited for but servers.
    quiet: Option<Instant>,
}

impl Entry {
    /// Somebody has said when it is to end, or it is over.
    pub(super) const fn is_closing(&self) -> bool {
        self.drain.is_some() || self.ended
    }

    /// What waits in the queues of the handles.
    fn queued(&self) -> Undelivered {
        self.sending.values().fold(Undelivered::default(), |sum, flow| sum.and(lock(&flow.0).queued()))
    }
}

impl EndpointApp {
    /// Closes a session once all that was sent is delivered, or at the deadline.
    pub(super) fn drain(&mut self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle, deadline: Instant) {
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        if let Some(before) = entry.drain.take() {
            self.drains.remove(&(before.deadline, session));
        }
        lock(&entry.shared.0).closing = true;
        if let Some(mut view) = endpoint.session_mut(now, session) {
            view.announce_drain();
        }
        let mut queued = BTreeSet::new();
        for (handle, flow) in &entry.sending {
            let mut state = lock(&flow.0);
            state.closing = true;
            // Who waits for room is not to get it any more.
            state.wakers.wake();
            drop(state);
            entry.refused = entry.refused.and(send(now, endpoint, flow));
            if !lock(&flow.0).messages.is_empty() {
                queued.insert(*handle);
            }
        }
        entry.drain = Some(Drain { deadline, queued });
        self.drains.insert((deadline, session));
        self.drain_if_handed_over(now, endpoint, session);
    }

    /// Closes a session that nobody holds any more. Whoever has asked for a close before keeps the time that was given.
    pub(super) fn release(&mut self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle) {
        if self.shutdown.is_none() && self.sessions.get(&session).is_some_and(|entry| !entry.is_closing()) {
            self.drain(now, endpoint, session, now + LINGER);
        }
    }

    /// A flow has handed something over to the endpoint, or has ended.
    pub(super) fn on_handed_over(&mut self, now: Instant, endpoint: &mut Endpoint, flow: SendFlowHandle) {
        let Some(entry) = self.sessions.get_mut(&flow.session()) else { return };
        let Some(drain) = &mut entry.drain else { return };
        if entry.sending.get(&flow).is_none_or(|flow| lock(&flow.0).messages.is_empty()) && drain.queued.remove(&flow) {
            self.drain_if_handed_over(now, endpoint, flow.session());
        }
    }

    fn drain_if_handed_over(&mut self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle) {
        let Some(drain) = self.sessions.get(&session).and_then(|entry| entry.drain.as_ref()) else { return };
        if drain.queued.is_empty()
            && let Some(mut view) = endpoint.session_mut(now, session)
        {
            // From now on the endpoint knows of the deadline.
            self.drains.remove(&(drain.deadline, session));
            view.drain(drain.deadline);
        }
    }

    /// The endpoint tells what it has not delivered of a session.
    pub(super) fn drained(&mut self, session: SessionHandle, undelivered: Undelivered) {
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        let undelivered = undelivered.and(entry.queued()).and(entry.refused);
        if let Some(drain) = entry.drain.take() {
            self.drains.remove(&(drain.deadline, session));
        }
        lock(&entry.shared.0).undelivered = Some(undelivered);
        if self.shutdown.is_some() {
            let mut queue = lock(&self.shared.queue);
            queue.undelivered = queue.undelivered.and(undelivered);
        }
    }

    /// Messages that a session takes no more. If it, or the endpoint, is being closed, whoever closes it is told.
    pub(super) fn on_refused(&mut self, session: Option<SessionHandle>, refused: Undelivered) {
        let entry = session.and_then(|session| self.sessions.get_mut(&session));
        if let Some(entry) = entry.filter(|entry| entry.drain.is_some()) {
            entry.refused = entry.refused.and(refused);
        } else if self.shutdown.is_some() {
            let mut queue = lock(&self.shared.queue);
            queue.undelivered = queue.undelivered.and(refused);
        }
    }

    /// Drains all sessions, and stops when all far ends know that they are closed, or at the deadline. Of several
    /// deadlines the last counts.
    pub(super) fn shut_down(&mut self, now: Instant, endpoint: &mut Endpoint, deadline: Instant) {
        self.shutdown = Some(Shutdown { deadline, look: now, quiet: None });
        let sessions: Vec<_> = self.sessions.keys().copied().collect();
        for session in sessions {
            self.drain(now, endpoint, session, deadline);
        }
        self.look_whether_done(now, endpoint);
    }

    /// Stops when nobody holds anything any more. Whoever has asked for a close or a shutdown before keeps the time that
    /// was given.
    pub(super) fn release_all(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if self.shutdown.is_some() {
            return;
        }
        let sessions: Vec<_> = self.sessions.keys().copied().collect();
        for session in sessions {
            self.release(now, endpoint, session);
        }
        let deadlines = self.sessions.values().filter_map(|entry| Some(entry.drain.as_ref()?.deadline));
        self.shutdown = Some(Shutdown { deadline: deadlines.fold(now + LINGER, Instant::max), look: now, quiet: None });
        self.look_whether_done(now, endpoint);
    }

    /// Does what is due.
    pub(super) fn on_closing_timeout(&mut self, now: Instant, endpoint: &mut Endpoint) {
        while let Some(&(deadline, session)) = self.drains.first()
            && deadline <= now
        {
            self.drains.pop_first();
            if let Some(mut view) = endpoint.session_mut(now, session) {
                view.drain(deadline);
                view.close(CloseMode::Orderly);
            }
        }
        self.look_whether_done(now, endpoint);
    }

    pub(super) fn next_closing_timeout(&self) -> Option<Instant> {
        let look = self.shutdown.as_ref().filter(|_| !self.done).map(|shutdown| shutdown.look);
        self.drains.first().map(|(deadline, _)| *deadline).into_iter().chain(look).min()
    }

    fn look_whether_done(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let Some(shutdown) = &mut self.shutdown else { return };
        shutdown.look = now + LOOK;
        let (deadline, quiet) = (shutdown.deadline, shutdown.quiet);
        let awaits = |endpoint: &Endpoint, session| endpoint.session(session).is_some_and(|s| s.awaits_far_end());
        // Sessions over a relay end in order only while there is that with the server.
        let waits = endpoint.sessions().any(|session| !self.is_with_server(session) && awaits(endpoint, session));
        let acknowledges = !waits && self.is_acknowledging(endpoint);
        let quiet = quiet.filter(|_| !waits).or((!waits).then_some(now));
        let leaves = quiet.is_some_and(|quiet| !acknowledges || quiet + LOOK <= now);
        self.shutdown.iter_mut().for_each(|shutdown| shutdown.quiet = quiet);
        if leaves {
            self.leave_meetings(now, endpoint);
        }
        let waits = endpoint.sessions().any(|session| awaits(endpoint, session));
        if !waits || deadline <= now {
            endpoint.close_all(now, CloseMode::Orderly);
            lock(&self.shared.queue).shut_down = true;
            self.done = true;
        }
    }
}
