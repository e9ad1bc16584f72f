//! What changes about a session is told to its handles: at once, but not more often than every 100 ms.
//!
//! Core tells once that something has changed, and again when it was looked at. So sessions that are idle cost nothing,
//! and those that are busy one look in 100 ms.

use core::time::Duration;
use std::sync::Arc;

use rtmfp_core::profile::Fingerprint;
use rtmfp_core::{Endpoint, Instant, Path, SessionHandle, SessionRef};

use super::EndpointApp;
use crate::endpoint::handles::Moved;
use crate::endpoint::shared::lock;
use crate::kind::peer_id_of;

/// Between two looks at a session.
const PACE: Duration = Duration::from_millis(100);
/// Congestion has ended after so long without any.
const CALM: Duration = Duration::from_secs(1);

/// What was told of a session, and when to look at it.
#[derive(Debug)]
pub(super) struct Pace {
    looked: Option<Instant>,
    due: Option<Instant>,
    congestion_events: u64,
    /// When congestion was seen last, until it has ended.
    congested: Option<Instant>,
}

impl Pace {
    pub(super) const fn new() -> Self {
        Self { looked: None, due: None, congestion_events: 0, congested: None }
    }
}

impl EndpointApp {
    /// The session is open, or something that is watched has changed.
    pub(super) fn updated(&mut self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle) {
        let Some(entry) = self.sessions.get(&session) else { return };
        match entry.pace.looked.map(|looked| looked + PACE) {
            Some(at) if at > now => self.look_no_later_than(session, at),
            _ => self.look(now, endpoint, session),
        }
    }

    /// Tells the handles what has changed, and has core tell of the next change.
    fn look(&mut self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle) {
        self.look_no_more(session);
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        let Some(view) = endpoint.session(session) else { return };
        let stats = view.stats();
        let pace = &mut entry.pace;
        pace.looked = Some(now);
        if stats.congestion_events != pace.congestion_events {
            pace.congestion_events = stats.congestion_events;
            pace.congested = Some(now);
        }
        pace.congested = pace.congested.filter(|last| *last + CALM > now);
        let calm_at = pace.congested.map(|last| last + CALM);
        let mut state = lock(&entry.shared.0);
        if view.far_keys_proved() && !state.far_keys_proved {
            state.far_keys_proved = true;
            state.peer_id = peer_id(view);
            state.wakers.wake();
        }
        let updates = Arc::clone(&state.updates);
        drop(state);
        let mut updates = lock(&updates.0);
        updates.set_congested(calm_at.is_some());
        updates.set_target_rate(stats.target_rate);
        drop(updates);
        if let Some(mut session) = endpoint.session_mut(now, session) {
            session.watch();
        }
        if let Some(calm_at) = calm_at {
            self.look_no_later_than(session, calm_at);
        }
    }

    fn look_no_later_than(&mut self, session: SessionHandle, at: Instant) {
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        if entry.pace.due.is_none_or(|due| at < due)
            && let Some(before) = entry.pace.due.replace(at)
        {
            self.looks.remove(&(before, session));
        }
        self.looks.extend(entry.pace.due.map(|due| (due, session)));
    }

    /// Until it is to be looked at again.
    pub(super) fn look_no_more(&mut self, session: SessionHandle) {
        let due = self.sessions.get_mut(&session).and_then(|entry| entry.pace.due.take());
        if let Some(due) = due {
            self.looks.remove(&(due, session));
        }
    }

    /// Looks at those sessions for which it is time.
    pub(super) fn on_look_timeout(&mut self, now: Instant, endpoint: &mut Endpoint) {
        while let Some((_, session)) = self.looks.first().copied().filter(|(due, _)| *due <= now) {
            self.looks.pop_first();
            self.look(now, endpoint, session);
        }
    }

    pub(super) fn next_look(&self) -> Option<Instant> {
        self.looks.first().map(|(due, _)| *due)
    }

    pub(super) fn path_changed(&self, session: SessionHandle, path: Path) {
        let Some(entry) = self.sessions.get(&session) else { return };
        let mut state = lock(&entry.shared.0);
        let before = state.path.replace(path);
        let updates = Arc::clone(&state.updates);
        drop(state);
        let same_far_end = before.is_some_and(|before| before.remote == path.remote);
        lock(&updates.0).set_path(path, if same_far_end { Moved::ThisEnd } else { Moved::FarEnd });
    }

    /// A flow is held up by its reader.
    pub(super) fn held_up(&self, session: SessionHandle) {
        let Some(entry) = self.sessions.get(&session) else { return };
        let updates = Arc::clone(&lock(&entry.shared.0).updates);
        lock(&updates.0).set_unread();
    }
}

/// The peer ID of a far end that has proved it.
fn peer_id(view: SessionRef<'_>) -> Option<Fingerprint> {
    let peer_id = peer_id_of(view.far_certificate(), &view.far_canonical_discriminator());
    peer_id.filter(|_| view.far_owner_proved())
}
