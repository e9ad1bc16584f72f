//! The indices of the endpoint, brought in line with a session after every touch.

use sha2::{Digest as _, Sha256};

use super::Endpoint;
use crate::profile::CryptoProfile;
use crate::session::SessionState;

impl Endpoint {
    /// Brings the indices in line with a session that may have changed in any way. Called after every touch, so
    /// that no deadline and no wish to send is ever forgotten.
    pub(super) fn settle(&mut self, slot: u32) {
        let Some(occupant) = self.slots.get_mut(slot) else { return };
        let state = occupant.session.state();
        if occupant.opening.is_some() && !matches!(state, SessionState::HelloSent | SessionState::KeyingSent) {
            self.end_opening(slot);
        }
        self.watch_reintroduction(slot);
        let Some(occupant) = self.slots.get(slot) else { return };
        if occupant.session.is_gone() && !occupant.session.wants_transmit() {
            self.free(slot);
            return;
        }
        let opening = occupant.opening.as_ref().map(|opening| opening.next_timeout());
        let again = occupant.reintroduction.as_ref().map(|again| again.next_timeout());
        let session = occupant.session.next_timeout().map(|(at, _)| at);
        let deadline = [opening, again, session].into_iter().flatten().min();
        let want = occupant.session.wants_transmit().then(|| occupant.session.transmit_priority());
        self.deadlines.set(slot, deadline);
        self.ready.set(slot, want);
        self.index_open(slot);
    }

    /// Indexes an open session by its address and its far identity, and takes a closed one out.
    fn index_open(&mut self, slot: u32) {
        let Some(occupant) = self.slots.get_mut(slot) else { return };
        let state = occupant.session.state();
        if matches!(state, SessionState::HelloSent | SessionState::KeyingSent) {
            return;
        }
        let open = state == SessionState::Open;
        if open {
            occupant.opened.get_or_insert(self.now);
        }
        let address = occupant.session.path().map(|path| path.remote).filter(|_| open);
        if occupant.address != address {
            if let Some(old) = core::mem::replace(&mut occupant.address, address) {
                self.by_address.remove(&(old, slot));
            }
            if let Some(new) = address {
                self.by_address.insert((new, slot));
            }
        }
        if open && occupant.identity.is_none() {
            let identity = identity_of(self.profile.as_ref(), occupant.session.far_certificate());
            occupant.identity = Some(identity);
            self.by_identity.insert((identity, slot));
        } else if !open && let Some(identity) = occupant.identity.take() {
            self.by_identity.remove(&(identity, slot));
        }
    }

    /// Sessions in S_KEYING_SENT or S_OPEN with this far identity, as [`identity_of`] names it.
    pub(super) fn slots_with(&self, identity: [u8; 32]) -> impl Iterator<Item = u32> + '_ {
        self.by_identity.range((identity, 0)..=(identity, u32::MAX)).map(|(_, slot)| *slot)
    }

    /// Forgets a session that is over.
    fn free(&mut self, slot: u32) {
        self.deadlines.set(slot, None);
        self.ready.set(slot, None);
        let Some(occupant) = self.slots.remove(slot) else { return };
        self.ids.remove(occupant.rx_id);
        if let Some(address) = occupant.address {
            self.by_address.remove(&(address, slot));
        }
        if let Some(identity) = occupant.identity {
            self.by_identity.remove(&(identity, slot));
        }
        if let Some(answered) = occupant.answered
            && self.by_keying.get(answered.digest()) == Some(&slot)
        {
            self.by_keying.remove(answered.digest());
        }
    }
}

/// What sessions are indexed by to find duplicates: the hash of the Canonical Endpoint Discriminator (§3.2).
pub(super) fn identity_of(profile: &dyn CryptoProfile, certificate: &[u8]) -> [u8; 32] {
    Sha256::digest(profile.canonical_discriminator(certificate)).into()
}
