//! Sessions that carry others drain last.
//!
//! What goes over an interface of last resort are datagrams to its carrier, a session with a relay. If the carrier ended
//! first, nothing of the others' end would reach their far ends. So a carrier that is to drain is held while a session
//! goes over such an interface.

use alloc::vec::Vec;

use super::entry::SessionEntry;
use super::env::Env;
use crate::handle::SessionHandle;
use crate::session::Session;
use crate::time::Instant;

/// One part in so many of the time to drain is left for the far end to hear of the close.
const FAREWELL_PART: u32 = 8;

/// Carriers that are held.
#[derive(Debug, Default)]
pub(super) struct Carriers {
    held: Vec<SessionHandle>,
    /// When to look whether they are needed still. The last datagram of a session is with the driver when that ends, so
    /// this waits for the next call of `handle_timeout`.
    look_at: Option<Instant>,
}

impl Carriers {
    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub(super) const fn next_timeout(&self) -> Option<Instant> {
        self.look_at
    }

    /// Something was done with a session.
    #[cold]
    pub(super) fn on_changed(&mut self, now: Instant, entry: &SessionEntry) {
        if !entry.relies_on_carrier() && !entry.session.carries() {
            self.look_at.get_or_insert(now);
        }
    }
}

impl SessionEntry {
    /// Whether what is left to be said goes over an interface of last resort, or may.
    fn relies_on_carrier(&self) -> bool {
        let has_more = self.session.awaits_far_end() || self.session.demand().any();
        let (opened, opening) = (self.session.transport().path(), self.opening());
        let candidates = opening.iter().flat_map(|opening| opening.candidates.iter().map(|candidate| candidate.path));
        has_more
            && !self.session.carries()
            && opened.into_iter().chain(candidates).any(|path| path.interface.is_last_resort())
    }
}

impl Env<'_> {
    /// [`SessionMut::drain`](super::SessionMut::drain).
    pub(super) fn drain(&mut self, slot: u32, deadline: Instant) {
        let now = self.shared.now;
        let Some(entry) = self.table.get(slot) else { return };
        if entry.session.carries() {
            let handle = entry.handle();
            let is_needed = self.is_any_carried();
            self.shared.carriers.held.retain(|held| *held != handle);
            if is_needed {
                self.shared.carriers.held.push(handle);
            }
            self.session(slot, |session, cx| session.drain(cx, deadline, is_needed));
        } else {
            let farewell = deadline.saturating_duration_since(now) / FAREWELL_PART;
            let until = if entry.relies_on_carrier() { deadline.max(now) - farewell } else { deadline };
            self.session(slot, |session, cx| session.drain(cx, until, false));
        }
    }

    /// Lets go of the carriers that are held, if nobody needs them any more.
    pub(super) fn release_carriers(&mut self) {
        let Some(_) = self.shared.carriers.look_at.take().filter(|_| !self.is_any_carried()) else { return };
        for carrier in core::mem::take(&mut self.shared.carriers.held) {
            self.by_handle(carrier, Session::drain_now);
        }
    }

    fn is_any_carried(&self) -> bool {
        self.table.iter().any(|(_, entry)| entry.relies_on_carrier())
    }
}
