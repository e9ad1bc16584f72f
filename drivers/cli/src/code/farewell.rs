//! The end of a session whose work is done.

use core::time::Duration;

use rtmfp_core::{Endpoint, Instant, SessionHandle};

/// How long a last word may take to arrive.
const LIMIT: Duration = Duration::from_secs(2);
/// How often it is looked at meanwhile: no event tells of the end of a session that this end closes.
const LOOK: Duration = Duration::from_millis(20);

/// Lets the last word arrive, and no longer.
#[derive(Debug, Default)]
pub(super) struct Farewell {
    until: Option<Instant>,
    look: Option<Instant>,
    over: bool,
}

impl Farewell {
    /// To be called after everything that happens. The first time that the work is done, the session is drained.
    pub(super) fn look(&mut self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle, is_done: bool) {
        if !is_done {
            return;
        }
        let until = *self.until.get_or_insert_with(|| {
            if let Some(mut session) = endpoint.session_mut(now, session) {
                session.drain(now + LIMIT);
            }
            now + LIMIT
        });
        self.over |= now >= until || !endpoint.session(session).is_some_and(|session| session.awaits_far_end());
        self.look = Some(until.min(now + LOOK)).filter(|_| !self.over);
    }

    pub(super) const fn next_timeout(&self) -> Option<Instant> {
        self.look
    }

    pub(super) const fn is_over(&self) -> bool {
        self.over
    }
}
