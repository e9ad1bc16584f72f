//! Sessions by what is known of their far ends.
//!
//! Anybody can name another's certificate, and have any number of sessions with it. So those that only
//! claim to be somebody are apart, and a lookup for the others never walks past them.

use alloc::collections::BTreeSet;
use core::net::SocketAddr;
use core::ops::RangeInclusive;

use sha2::{Digest as _, Sha256};

use crate::profile::CryptoProfile;

/// The hash of a far end's Canonical Endpoint Discriminator (RFC 7016 §3.2).
pub(super) type Identity = [u8; 32];

/// What is known of the far end of a session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Standing {
    /// A peer began the session, and has shown its keys.
    Proved,
    /// The session was begun from here.
    Initiated,
    /// A peer began the session, and has shown only a certificate, which is no secret.
    Claimed,
}

/// Where a session is in the index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) identity: Identity,
    /// None while the session opens.
    pub(super) address: Option<SocketAddr>,
    pub(super) standing: Standing,
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

    /// Moves a session.
    pub(super) fn replace(&mut self, slot: u32, old: Option<Place>, new: Option<Place>) {
        if let Some(Place { identity, address, standing }) = old {
            self.by_identity.remove(&(identity, standing, slot));
            if let Some(address) = address {
                self.by_address.remove(&(address, standing, slot));
            }
        }
        if let Some(Place { identity, address, standing }) = new {
            self.by_identity.insert((identity, standing, slot));
            if let Some(address) = address {
                self.by_address.insert((address, standing, slot));
            }
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

/// What sessions are indexed by to find duplicates.
pub(super) fn identity_of(profile: &dyn CryptoProfile, certificate: &[u8]) -> Identity {
    Sha256::digest(profile.canonical_discriminator(certificate)).into()
}
