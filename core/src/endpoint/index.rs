//! The indices of the endpoint, brought in line with a session after every touch.
//!
//! Anybody can name another's certificate, and have any number of sessions with it. So sessions are indexed by what is
//! known of their far ends, and a lookup never walks past those that only claim to be somebody.

use alloc::collections::BTreeSet;
use core::net::SocketAddr;
use core::ops::RangeInclusive;

use sha2::{Digest as _, Sha256};

use super::Endpoint;
use super::slots::Occupant;
use crate::profile::CryptoProfile;
use crate::session::SessionState;

/// The hash of a far end's Canonical Endpoint Discriminator (RFC 7016 §3.2).
pub(super) type Identity = [u8; 32];

/// What is known of the far end of a session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Standing {
    /// A peer began the session, and has shown its keys.
    Proved,
    /// The session was begun from here.
    Begun,
    /// A peer began the session, and has shown only a certificate, which is no secret.
    Claimed,
}

/// How a session is indexed, besides its identity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Indexed {
    /// None while the session opens.
    address: Option<SocketAddr>,
    standing: Standing,
}

/// Sessions by the address and by the identity of their far ends.
#[derive(Debug, Default)]
pub(super) struct SessionIndex {
    /// Sessions in S_OPEN.
    by_address: BTreeSet<(SocketAddr, Standing, u32)>,
    /// Sessions in S_OPEN, and those that are opening to a known far end.
    by_identity: BTreeSet<(Identity, Standing, u32)>,
    /// Addresses that opening sessions send to.
    candidates: BTreeSet<(SocketAddr, u32)>,
    /// Entries that lookups have come across.
    #[cfg(test)]
    pub(super) visited: core::cell::Cell<usize>,
}

impl SessionIndex {
    pub(super) fn add_candidate(&mut self, address: SocketAddr, slot: u32) {
        self.candidates.insert((address, slot));
    }

    pub(super) fn remove_candidate(&mut self, address: SocketAddr, slot: u32) {
        self.candidates.remove(&(address, slot));
    }

    fn insert(&mut self, slot: u32, identity: Identity, place: Indexed) {
        self.by_identity.insert((identity, place.standing, slot));
        if let Some(address) = place.address {
            self.by_address.insert((address, place.standing, slot));
        }
    }

    fn remove(&mut self, slot: u32, identity: Identity, place: Indexed) {
        self.by_identity.remove(&(identity, place.standing, slot));
        if let Some(address) = place.address {
            self.by_address.remove(&(address, place.standing, slot));
        }
    }

    /// Sessions that are opening to this address.
    pub(super) fn opening_to(&self, address: SocketAddr) -> impl Iterator<Item = u32> + '_ {
        let found = self.candidates.range((address, 0)..=(address, u32::MAX)).map(|(_, slot)| *slot);
        found.inspect(|_| self.visit())
    }

    /// Open sessions at this address.
    pub(super) fn at(&self, address: SocketAddr, standing: Standing) -> impl Iterator<Item = u32> + '_ {
        let found = self.by_address.range(range(address, standing)).map(|(.., slot)| *slot);
        found.inspect(|_| self.visit())
    }

    /// Sessions with this far identity: open, or, if begun from here, opening.
    pub(super) fn with(&self, identity: Identity, standing: Standing) -> impl Iterator<Item = u32> + '_ {
        let found = self.by_identity.range(range(identity, standing)).map(|(.., slot)| *slot);
        found.inspect(|_| self.visit())
    }

    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "tests count"))]
    fn visit(&self) {
        #[cfg(test)]
        self.visited.set(self.visited.get() + 1);
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_address.is_empty() && self.by_identity.is_empty() && self.candidates.is_empty()
    }
}

fn range<K: Copy>(key: K, standing: Standing) -> RangeInclusive<(K, Standing, u32)> {
    (key, standing, 0)..=(key, standing, u32::MAX)
}

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
        self.index(slot);
    }

    /// Moves a session to where it belongs in the index.
    fn index(&mut self, slot: u32) {
        let Some(occupant) = self.slots.get_mut(slot) else { return };
        if occupant.session.state() == SessionState::Open {
            occupant.opened.get_or_insert(self.now);
            if occupant.identity.is_none() {
                let certificate = occupant.session.far_certificate();
                occupant.identity = Some(identity_of(self.profile.as_ref(), certificate));
            }
        }
        let place = occupant.place();
        if occupant.indexed == place {
            return;
        }
        let Some(identity) = occupant.identity else { return };
        if let Some(old) = core::mem::replace(&mut occupant.indexed, place) {
            self.index.remove(slot, identity, old);
        }
        if let Some(new) = place {
            self.index.insert(slot, identity, new);
        }
    }

    /// The far end of a session is known now, or another one was chosen.
    pub(super) fn identify(&mut self, slot: u32, identity: Identity) {
        let Some(occupant) = self.slots.get_mut(slot) else { return };
        if let Some(old) = occupant.identity.replace(identity)
            && let Some(place) = occupant.indexed.take()
        {
            self.index.remove(slot, old, place);
        }
        self.index(slot);
    }

    /// Forgets a session that is over.
    fn free(&mut self, slot: u32) {
        self.deadlines.set(slot, None);
        self.ready.set(slot, None);
        let Some(mut occupant) = self.slots.remove(slot) else { return };
        self.memory.forget(slot, &mut occupant.charge);
        self.ids.remove(occupant.rx_id);
        if let (Some(identity), Some(place)) = (occupant.identity, occupant.indexed) {
            self.index.remove(slot, identity, place);
        }
        if let Some(answered) = occupant.answered
            && self.by_keying.get(answered.digest()) == Some(&slot)
        {
            self.by_keying.remove(answered.digest());
        }
    }
}

impl Occupant {
    /// Where the session belongs in the index, once its far identity is known.
    fn place(&self) -> Option<Indexed> {
        let open = self.session.state() == SessionState::Open;
        let standing = match (&self.answered, self.proved) {
            (None, _) => Standing::Begun,
            (Some(_), true) => Standing::Proved,
            (Some(_), false) => Standing::Claimed,
        };
        let address = self.session.path().map(|path| path.remote).filter(|_| open);
        (open || (self.opening.is_some() && self.identity.is_some())).then_some(Indexed { address, standing })
    }
}

/// What sessions are indexed by to find duplicates.
pub(super) fn identity_of(profile: &dyn CryptoProfile, certificate: &[u8]) -> Identity {
    Sha256::digest(profile.canonical_discriminator(certificate)).into()
}
