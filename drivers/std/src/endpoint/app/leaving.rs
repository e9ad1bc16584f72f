//! Meetings that nobody holds any more: the server is left once sessions over its relay that are being closed have ended.

use rtmfp_core::{Endpoint, Instant, Service as _, SessionRef, SessionState};
use rtmfp_meet::Guest;

use super::EndpointApp;
use super::closing::LOOK;
use super::sessions::Entry;
use crate::endpoint::shared::LINGER;

/// When a server is left.
#[derive(Debug)]
pub(super) struct Leaving {
    since: Instant,
    /// Sessions over the relay may be looked at again then.
    look: Instant,
    /// Since when no far end is waited for.
    quiet: Option<Instant>,
}

impl Leaving {
    pub(super) const fn new(now: Instant) -> Self {
        Self { since: now, look: now, quiet: None }
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
                Some(Leaving { since, look, quiet }) if now < *since + LINGER => {
                    *look = now + LOOK;
                    // What was closed by the far end has its acknowledgement on the way after one turn.
                    let stage = self.stage_of_relayed(endpoint, &meeting.guest);
                    let ends = match stage {
                        Stage::Awaits => {
                            *quiet = None;
                            true
                        }
                        Stage::Ended => now < *quiet.get_or_insert(now) + LOOK,
                        Stage::Nothing => false,
                    };
                    if ends { self.meetings.push(meeting) } else { self.leave(now, endpoint, meeting) }
                }
                Some(_) => self.leave(now, endpoint, meeting),
                None => self.meetings.push(meeting),
            }
        }
    }

    /// How far sessions over a meeting's relay are that are being closed: the one that is behind the others counts.
    fn stage_of_relayed(&self, endpoint: &Endpoint, guest: &Guest) -> Stage {
        let stage = |session| {
            let view = endpoint.session(session);
            let view = view.filter(|view| view.path().is_some_and(|path| guest.carries(path.interface)));
            match view.as_ref().map_or(SessionState::Closed, SessionRef::state) {
                SessionState::NearClose if view.is_some_and(|view| view.awaits_far_end()) => Stage::Awaits,
                // Both ends have closed it: an acknowledgement is owed as in the other state.
                SessionState::NearClose | SessionState::FarCloseLinger => Stage::Ended,
                SessionState::Open if self.sessions.get(&session).is_some_and(Entry::is_closing) => Stage::Awaits,
                SessionState::Open
                | SessionState::HelloSent
                | SessionState::KeyingSent
                | SessionState::Closed
                | SessionState::OpenFailed => Stage::Nothing,
            }
        };
        endpoint.sessions().map(stage).max().unwrap_or(Stage::Nothing)
    }

    /// Whether an acknowledgement of a far end's close may be on its way to a relay yet. Without it that far end would wait
    /// for one that nobody can send any more.
    pub(super) fn is_acknowledging(&self, endpoint: &Endpoint) -> bool {
        self.meetings.iter().any(|meeting| self.stage_of_relayed(endpoint, &meeting.guest) == Stage::Ended)
    }
}

/// How far the close of a session over a relay is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Stage {
    /// None is being closed.
    Nothing,
    /// The far end knows. What this end owes it may be on its way.
    Ended,
    /// The far end does not know yet.
    Awaits,
}
