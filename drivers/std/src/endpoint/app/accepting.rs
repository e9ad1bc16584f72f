//! Sessions that far ends opened, until somebody accepts them.

use core::net::Ipv4Addr;
use std::sync::Arc;

use rtmfp_core::{CloseMode, Endpoint, Instant, SessionHandle};

use super::EndpointApp;
use crate::endpoint::shared::lock;
use crate::places::Admission;

impl EndpointApp {
    /// Sessions that far ends opened, and open from now on, are for nobody.
    pub(super) fn stop_accepting(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.unattended = true;
        let endpoint_shared = Arc::clone(&self.shared);
        let waiting = core::iter::from_fn(|| lock(&endpoint_shared.queue).accept());
        for (handle, shared) in waiting {
            let mut state = lock(&shared.0);
            state.unaccepted = false;
            let held = state.owner.strong_count() > 0;
            if self.keeps_sessions {
                drop(state);
                self.release_if_free(now, endpoint, &shared);
                continue;
            }
            state.closing |= !held;
            drop(state);
            if let Some(mut session) = endpoint.session_mut(now, handle).filter(|_| !held) {
                session.close(CloseMode::Orderly);
            }
        }
    }

    /// Finds a place among the sessions that wait to be accepted, for one that a far end has opened. Whoever finds none is
    /// closed.
    pub(super) fn make_room(&self, now: Instant, endpoint: &mut Endpoint, handle: SessionHandle) -> bool {
        let path = endpoint.session(handle).and_then(|session| session.path());
        let address = path.map_or(Ipv4Addr::UNSPECIFIED.into(), |path| path.remote.ip());
        let mut queue = lock(&self.shared.queue);
        let admission = queue.places.admit(now, handle, address);
        let closed = match admission {
            Admission::Admitted => None,
            Admission::Replaced(holder) if self.keeps_sessions => {
                queue.remove(holder);
                drop(queue);
                self.leave_waiting(now, endpoint, holder);
                return true;
            }
            Admission::Full if self.keeps_sessions => return false,
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

    /// Nobody is to accept this session any more, which goes on.
    fn leave_waiting(&self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle) {
        let Some(entry) = self.sessions.get(&session) else { return };
        let mut state = lock(&entry.shared.0);
        state.unaccepted = false;
        let attended = state.is_attended();
        drop(state);
        if !attended {
            self.reject_unattended(now, endpoint, session);
        }
    }

    /// Whether nobody holds this session, which may wait to be accepted all the same: `connect` may have returned it. If so
    /// nobody is to get it any more.
    pub(super) fn give_up(&self, session: SessionHandle) -> bool {
        let Some(entry) = self.sessions.get(&session) else { return true };
        let mut state = lock(&entry.shared.0);
        state.closing |= state.owner.strong_count() == 0;
        state.closing
    }
}
