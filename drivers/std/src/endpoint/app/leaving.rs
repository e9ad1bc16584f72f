//! Meetings that nobody holds any more: the server is left once sessions over its relay that are being closed have ended.

use rtmfp_core::{Endpoint, Instant, Service as _, SessionHandle, SessionState};

use super::EndpointApp;
use super::closing::LOOK;
use super::meeting::Meeting;
use super::sessions::Entry;
use crate::endpoint::shared::LINGER;

/// When a server is left.
#[derive(Debug)]
pub(super) struct Leaving {
    since: Instant,
    /// Sessions over the relay may be looked at again then.
    look: Instant,
}

impl Leaving {
    pub(super) const fn new(now: Instant) -> Self {
        Self { since: now, look: now }
    }

    pub(super) const fn look(&self) -> Instant {
        self.look
    }
}

impl EndpointApp {
    /// Leaves the servers of meetings that nobody holds, unless a session over the relay ends in order just now. It could
    /// not do so any more, and the endpoint would wait for its far end.
    pub(super) fn leave_unused(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if self.meetings.iter().all(|meeting| meeting.leaving.is_none()) {
            return;
        }
        for mut meeting in core::mem::take(&mut self.meetings) {
            match &mut meeting.leaving {
                Some(Leaving { since, look }) if now < *since + LINGER => {
                    // What was closed by the far end has its acknowledgement on the way after one turn.
                    let first = now < *since + LOOK;
                    *look = now + LOOK;
                    let ends = endpoint.sessions().any(|session| self.ends_over(endpoint, &meeting, session, first));
                    if ends { self.meetings.push(meeting) } else { self.leave(now, endpoint, meeting) }
                }
                Some(_) => self.leave(now, endpoint, meeting),
                None => self.meetings.push(meeting),
            }
        }
    }

    /// Whether a session is being closed over a meeting's relay.
    fn ends_over(&self, endpoint: &Endpoint, meeting: &Meeting, session: SessionHandle, first: bool) -> bool {
        let Some(view) = endpoint.session(session) else { return false };
        let is_relayed = view.path().is_some_and(|path| meeting.guest.carries(path.interface));
        let is_closing = self.sessions.get(&session).is_some_and(Entry::is_closing);
        is_relayed
            && match view.state() {
                SessionState::NearClose => view.awaits_far_end(),
                SessionState::FarCloseLinger => first,
                SessionState::Open => is_closing,
                SessionState::HelloSent
                | SessionState::KeyingSent
                | SessionState::Closed
                | SessionState::OpenFailed => false,
            }
    }
}
