//! A far end that comes back: its new session takes the place of the one that it has lost.

use rtmfp_core::{CloseMode, Endpoint, Instant, Role, SessionHandle};

use super::Rendezvous;
use crate::admit::Admit;
use crate::event::ServerEvent;
use crate::message::MAX_DISCRIMINATOR;

impl<A: Admit, O: FnMut(ServerEvent)> Rendezvous<A, O> {
    /// Ends the session of before, at whatever address, of a far end that has begun this one and has proved who it is. An
    /// endpoint has one session with another (RFC 7016 §3.5.1.1.1, step 1), so the one before is lost, though this end may
    /// not know that for minutes. What its owner had rests, and is given to it again.
    ///
    /// A session that joins late is not the latest, and takes no place: whoever holds packets back cannot end one so.
    pub(super) fn succeed(&mut self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle) {
        let Some(view) = endpoint.session(session) else { return };
        if !view.far_owner_proved() || view.role() != Role::Responder {
            return;
        }
        let owner = rtmfp_core::Bytes::from(view.far_canonical_discriminator());
        if owner.len() > MAX_DISCRIMINATOR || endpoint.session_named(&owner) != Some(session) {
            return;
        }
        if let Some(registration) = self.registrations.get_mut(&session) {
            registration.owner = owner.clone();
        }
        let Some(before) = self.owners.insert(owner, session).filter(|before| *before != session) else { return };
        self.leave(now, endpoint, before);
        endpoint.session_mut(now, before).into_iter().for_each(|mut session| session.close(CloseMode::Abrupt));
    }
}
