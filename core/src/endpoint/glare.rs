//! Glare (RFC 7016 §3.5.1.3): two endpoints open sessions to each other at once, and only one may be.

use core::time::Duration;

use super::entry::SessionEntry;
use super::env::Env;
use super::index::{Identity, Standing};
use super::initiator::Opening;
use super::shared::Shared;
use crate::time::Instant;
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

impl Env<'_> {
    /// Whether an IIKeying from this address with this certificate is glare, and who prevails.
    ///
    /// The address alone does not tell: an introducer's address may be a candidate for many endpoints. So the
    /// certificate, too, must be one that the opening session would take. From elsewhere, it may be a far end that was
    /// chosen and has moved meanwhile, or anybody who has its certificate, which is no secret. So such an IIKeying may
    /// be made to wait, but never takes an opening session over.
    pub(super) fn resolve_glare(&mut self, path: Path, certificate: &[u8], identity: Identity) -> Glare {
        let Self { table, shared } = self;
        let takes = |slot: &u32| {
            let opening = table.get(*slot).and_then(SessionEntry::opening);
            opening.is_some_and(|opening| opening.is_sent_to(path) && opening.would_take(shared, certificate))
        };
        let Some(slot) = table.index.opening_to(path.remote).find(takes) else {
            return self.glare_from_elsewhere(certificate, identity);
        };
        let prevails = shared.profile.prevails(certificate);
        let insists =
            self.with(slot, |entry, shared| entry.opening_mut().is_some_and(|opening| opening.insist(shared.now)));
        if prevails && insists == Some(true) { Glare::NearPrevails } else { Glare::FarPrevails(slot) }
    }

    fn glare_from_elsewhere(&self, certificate: &[u8], identity: Identity) -> Glare {
        let insists = |slot: u32| {
            let opening = self.table.get(slot).and_then(SessionEntry::opening);
            opening.is_some_and(|opening| {
                opening.is_keyed_lately(self.shared.now) && opening.would_take(self.shared, certificate)
            })
        };
        let chosen = self.table.index.with(identity, Standing::Initiated).any(insists);
        if chosen && self.shared.profile.prevails(certificate) { Glare::NearPrevails } else { Glare::None }
    }
}

impl Opening {
    /// Insists on this end's own opening, from the first IIKeying that it meets, for as long as [`PATIENCE`]. Whether it
    /// still does.
    fn insist(&mut self, now: Instant) -> bool {
        let since = *self.glare_since.get_or_insert(now);
        // Both would open, each with other keys, if the far end gave way now to an IIKeying that is under way.
        now.saturating_duration_since(since) < PATIENCE || self.is_keying_under_way(now)
    }

    /// Until a far end is chosen, an opening goes to all its candidates; then to where that one is (RFC 7016 §3.5.1.1.1).
    fn is_sent_to(&self, path: Path) -> bool {
        // Of an address, whichever interface of this end it reaches.
        self.keying.as_ref().is_none_or(|keying| keying.path.remote == path.remote)
    }

    fn would_take(&self, shared: &Shared, certificate: &[u8]) -> bool {
        match self.chosen_certificate() {
            Some(chosen) => shared.profile.overrides(certificate, chosen),
            None => {
                shared.profile.selects(self.discriminator(), certificate)
                    && shared.profile.accepts(self.discriminator(), certificate)
            }
        }
    }
}
