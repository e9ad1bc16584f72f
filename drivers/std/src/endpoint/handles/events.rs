//! What happens to a session, for those who follow it.

use core::task::{Context, Poll};
use std::sync::Arc;

use rtmfp_core::Path;
use rtmfp_meet::PathKind;

use crate::endpoint::shared::{EndpointShared, SessionShared, UpdatesShared, lock};
use crate::endpoint::wakers::Waiter;
use crate::endpoint::{Error, block_on};

/// A change of a session: see [`Session::events`](super::Session::events).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SessionEvent {
    /// Its packets take another path (RFC 7016 §3.5.3).
    PathChanged {
        /// Where they go now.
        path: Path,
        /// Which end is elsewhere.
        moved: Moved,
    },
    /// Its path is of another kind than before, or is known to be of this kind: for endpoints that have
    /// [joined](crate::EndpointHandle::join) a server.
    PathKind(PathKind),
    /// The bytes of user data a second that an encoder is to be set to now, all flows of the session together.
    ///
    /// It is what congestion control allows, not what was delivered lately, so that a program that sends less learns when it
    /// may send more: see [`SessionStats::target_rate`](rtmfp_core::SessionStats::target_rate). Told when it is more than an
    /// eighth larger or a sixteenth smaller than before, and not more often than every 100 ms.
    TargetRate(u64),
    /// The network loses packets of this end, or marks them for congestion, so less is sent.
    CongestionBegan,
    /// For a second the window was not made smaller.
    CongestionEnded,
    /// A flow from the far end is held up: its reader does not keep up, or nobody has accepted it.
    UnreadFlow,
    /// The session has ended, and this is why. Nothing comes after.
    Closed(Error),
}

/// Which end of a session is at another address than before.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Moved {
    /// The far end, or a NAT in front of it.
    FarEnd,
    /// This end: packets leave by another interface or local address.
    ThisEnd,
}

/// The changes of a session: see [`Session::events`](super::Session::events).
#[derive(Clone, Debug)]
pub struct SessionEvents {
    session: Arc<SessionShared>,
    updates: Arc<UpdatesShared>,
    pub(super) endpoint: Arc<EndpointShared>,
    seen: u64,
    ended: bool,
}

impl SessionEvents {
    pub(super) fn new(session: &Arc<SessionShared>, endpoint: &Arc<EndpointShared>) -> Self {
        let updates = Arc::clone(&lock(&session.0).updates);
        let seen = lock(&updates.0).changes();
        Self { session: Arc::clone(session), updates, endpoint: Arc::clone(endpoint), seen, ended: false }
    }

    /// Waits for the next event. `None` after [`Closed`](SessionEvent::Closed).
    pub fn next_event(&mut self) -> Option<SessionEvent> {
        block_on(|context, waiter| self.poll_next(context, waiter))
    }

    /// [`next_event`](Self::next_event), polled.
    pub fn poll_next(&mut self, context: &mut Context<'_>, waiter: &mut Waiter) -> Poll<Option<SessionEvent>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let mut updates = lock(&self.updates.0);
        if let Some((place, event)) = updates.after(self.seen) {
            self.seen = place;
            return Poll::Ready(Some(event));
        }
        // Whoever ends the session wakes these after it has ended, so none is missed.
        if let Some(end) = lock(&self.session.0).end {
            self.ended = true;
            return Poll::Ready(Some(SessionEvent::Closed(end)));
        }
        updates.wakers.add(context, waiter);
        Poll::Pending
    }
}

impl Iterator for SessionEvents {
    type Item = SessionEvent;

    fn next(&mut self) -> Option<SessionEvent> {
        self.next_event()
    }
}
