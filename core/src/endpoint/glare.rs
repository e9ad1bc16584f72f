//! Glare (RFC 7016 §3.5.1.3): two endpoints open sessions to each other at once, and only one may be.

use core::time::Duration;

use super::Endpoint;
use super::index::{Identity, Standing};
use crate::transmit::Path;

/// How long this end insists on its own opening. Some peers decide glare in another way and would wait for ours
/// for ever, as we for theirs.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// What an IIKeying meets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Glare {
    /// No session is being opened to its sender.
    None,
    /// One is, and it goes on; the IIKeying is ignored.
    NearPrevails,
    /// One is, in this slot, and it gives way.
    FarPrevails(u32),
}

impl Endpoint {
    /// Whether an IIKeying from this address with this certificate is glare, and who prevails.
    ///
    /// The address alone does not tell: an introducer's address may be a candidate for many endpoints. So the
    /// certificate, too, must be one that the opening session would take. From elsewhere, it may be a far end that was
    /// chosen and has moved meanwhile, or anybody who has its certificate, which is no secret. So such an IIKeying may
    /// be made to wait, but never takes an opening session over.
    pub(super) fn resolve_glare(&mut self, path: Path, certificate: &[u8], identity: Identity) -> Glare {
        let takes = |slot: &u32| {
            self.is_opening(*slot) && self.is_destination(*slot, path) && self.would_take(*slot, certificate)
        };
        let opening = self.index.opening_to(path.remote).find(takes);
        let Some(slot) = opening else { return self.glare_from_elsewhere(certificate, identity) };
        let opening = self.slots.get_mut(slot).and_then(|occupant| occupant.opening.as_mut());
        let Some(opening) = opening else { return Glare::None };
        let since = *opening.glare_since.get_or_insert(self.now);
        // Both would open, each with other keys, if the far end gave way now to an IIKeying that is under way.
        let patient = self.now.saturating_duration_since(since) < PATIENCE || opening.keyed_lately(self.now);
        if self.profile.prevails(certificate) && patient { Glare::NearPrevails } else { Glare::FarPrevails(slot) }
    }

    fn glare_from_elsewhere(&self, certificate: &[u8], identity: Identity) -> Glare {
        let insists = |slot: u32| {
            let opening = self.slots.get(slot).and_then(|occupant| occupant.opening.as_ref());
            opening.is_some_and(|opening| opening.insists(self.now)) && self.would_take(slot, certificate)
        };
        let chosen = self.index.with(identity, Standing::Begun).any(insists);
        if chosen && self.profile.prevails(certificate) { Glare::NearPrevails } else { Glare::None }
    }

    /// Until a far end is chosen, an opening goes to all its candidates; then to where that one is (RFC 7016 §3.5.1.1.1).
    fn is_destination(&self, slot: u32, path: Path) -> bool {
        let opening = self.slots.get(slot).and_then(|occupant| occupant.opening.as_ref());
        // Of an address, whichever interface of this end it reaches.
        let there = |remote| remote == path.remote;
        opening.is_some_and(|opening| opening.keying.as_ref().is_none_or(|keying| there(keying.path.remote)))
    }

    fn would_take(&self, slot: u32, certificate: &[u8]) -> bool {
        let Some(opening) = self.slots.get(slot).and_then(|occupant| occupant.opening.as_ref()) else { return false };
        match opening.chosen_certificate() {
            Some(chosen) => self.profile.overrides(certificate, chosen),
            None => {
                self.profile.selects(opening.discriminator(), certificate)
                    && self.profile.accepts(opening.discriminator(), certificate)
            }
        }
    }
}
