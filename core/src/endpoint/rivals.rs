//! Sessions with the same far end, or with one that claims to be the same: which of them is to live (RFC 7016
//! §3.5.1.1.1, step 1, and §3.5.1.1.2, steps 2.2 and 2.3).
//!
//! Anybody can show another's certificate. So a session ends in favour of another only if that one has proved its keys,
//! or was begun from here.
//! - An opening ends if another session with its far end is ahead: when an RHello comes, in `end_if_duplicate`; when a
//!   peer's session proves its keys, in `end_duplicates_of`.
//! - When a session proves its keys, earlier ones with the same far end end: `end_sessions_before`.
//! - Sessions that only claim to be of a far end are asked to prove it: `question_claimant` before an opening chooses that
//!   far end, `question_claims_to_be` once it is open.

use alloc::vec::Vec;
use core::net::SocketAddr;

use super::entry::{Phase, SessionEntry};
use super::env::Env;
use super::index::{Identity, Standing};
use crate::event::{CloseReason, OpenFailure};
use crate::session::{Ending, SessionState};
use crate::time::Instant;
use crate::transmit::Path;

impl Env<'_> {
    /// §3.5.1.1.1, step 1: ends an opening session in favour of another with the same identity, in S_KEYING_SENT or S_OPEN.
    /// Whether it did. One that only claims the identity does not count: anybody could keep this end from opening a session
    /// so. If keys do not prove who owns the certificate, anybody can copy it. Then a session that a peer began does not
    /// count either. One that was begun from here counts only if it goes to the same address.
    pub(super) fn end_if_duplicate(&mut self, slot: u32, path: Path, identity: Identity) -> bool {
        let is_chosen = |other: &u32| {
            let state = self.table.get(*other).map(|entry| entry.session.state());
            *other != slot && state.is_some_and(|state| state != SessionState::HelloSent)
        };
        let first = |standing| self.table.index.with(identity, standing).find(is_chosen);
        let owned = first(Standing::Proved).filter(|other| self.owner_is_proved(*other));
        let is_same = |other: &u32| self.owner_is_proved(*other) || self.is_chosen_at(*other, path.remote);
        let begun = || self.table.index.with(identity, Standing::Initiated).filter(is_chosen).find(is_same);
        let other = owned.or_else(begun);
        let Some(other) = other.and_then(|other| self.table.get(other)) else { return false };
        let existing = other.session.handle();
        self.session(slot, |session, cx| session.end(cx, Ending::Failed(OpenFailure::Duplicate { existing })));
        true
    }

    /// Whether a session that was begun from here has its far end at this address, or keys with it there.
    fn is_chosen_at(&self, slot: u32, address: SocketAddr) -> bool {
        let Some(entry) = self.table.get(slot) else { return false };
        let keying = entry.opening().and_then(|opening| opening.keying.as_ref()).map(|keying| keying.path);
        entry.session.transport().path().or(keying).is_some_and(|path| path.remote == address)
    }

    /// Asks a session at `path` that claims this identity to prove its keys. Whether there is one: then the RHello is left
    /// alone for now, because its sender has perhaps just opened a session itself. If that one proves its keys, what is
    /// being opened from here ends (§3.5.1.1.1, step 1); else the next RHello is taken. Once for each opening: claims must
    /// not keep this end from opening a session.
    pub(super) fn question_claimant(&mut self, slot: u32, path: Path, identity: Identity) -> bool {
        let claims = self.table.index.at(path.remote, Standing::Claimed);
        let claims_it =
            |other: &u32| self.table.get(*other).is_some_and(|claim| claim.known.identity == Some(identity));
        let Some(claim) = claims.take(self.shared.config.max_sessions_per_address).find(claims_it) else {
            return false;
        };
        let waits = self.with(slot, |entry, _| {
            let Some(opening) = entry.opening_mut().filter(|opening| !opening.claim_asked) else { return false };
            opening.claim_asked = true;
            entry.known.identity = Some(identity);
            true
        });
        if waits == Some(true) {
            self.session(claim, |session, cx| session.ping(cx.now));
        }
        waits == Some(true)
    }

    /// A session that a peer began has shown its keys: what is being opened to the same far end is one too many
    /// (§3.5.1.1.1, step 1). If the keys do not prove who owns the certificate, that is so only if the peer is where this
    /// end looks for it.
    fn end_duplicates_of(&mut self, slot: u32) {
        let Some(entry) = self.table.get(slot) else { return };
        let (existing, Some(identity)) = (entry.session.handle(), entry.known.identity) else { return };
        let begun = self.table.index.with(identity, Standing::Initiated);
        let (owned, address) = (self.owner_is_proved(slot), entry.session.transport().path().map(|path| path.remote));
        let is_one_too_many = |other: &u32| {
            let opening = self.table.get(*other).and_then(SessionEntry::opening);
            opening.is_some_and(|opening| owned || opening.addresses().any(|known| Some(known) == address))
        };
        let others: Vec<u32> = begun.filter(is_one_too_many).collect();
        for other in others {
            self.session(other, |session, cx| session.end(cx, Ending::Failed(OpenFailure::Duplicate { existing })));
        }
    }

    /// Whether the keys of a session prove that its far end owns its certificate.
    fn owner_is_proved(&self, slot: u32) -> bool {
        let Some(entry) = self.table.get(slot) else { return false };
        let chosen = entry.opening().and_then(|opening| opening.chosen_certificate());
        let certificate = chosen.unwrap_or_else(|| entry.session.transport().far_certificate());
        self.shared.profile.keys_prove_owner(certificate)
    }

    /// A session that was opened from here is open. Those that only claim to be of the same far end are attempts that came
    /// to nothing, or somebody else's. All of them are asked to prove their keys.
    pub(super) fn question_claims_to_be(&mut self, slot: u32) {
        let claims = self.claims_to_be(slot);
        for claim in &claims {
            self.session(*claim, |session, cx| session.demand_proof(cx.now));
        }
        if !claims.is_empty() {
            self.session(slot, |session, cx| session.ping(cx.now));
        }
    }

    /// Sessions that claim to be of the same far end as this one: as many of them as may live without proof.
    fn claims_to_be(&self, slot: u32) -> Vec<u32> {
        let Some(identity) = self.table.get(slot).and_then(|entry| entry.known.identity) else { return Vec::new() };
        let claims = self.table.index.with(identity, Standing::Claimed);
        claims.take(self.shared.config.max_unproved_per_identity).collect()
    }

    /// Open sessions at an address, of each standing as many as may be there.
    pub(super) fn sessions_at(&self, address: SocketAddr) -> Vec<u32> {
        let most = self.shared.config.max_sessions_per_address;
        let standings = [Standing::Proved, Standing::Initiated, Standing::Claimed].into_iter();
        standings.flat_map(|standing| self.table.index.at(address, standing).take(most)).collect()
    }

    /// The keys of a session are proved: the far end is who it claims to be, as far as its certificate can prove that. As
    /// an initiator, it will not ask for the RIKeying again.
    pub(super) fn on_keys_proved(&mut self, slot: u32, initiated_here: bool) {
        self.with(slot, |entry, shared| match &mut entry.known.phase {
            Phase::Opening(_) => {}
            Phase::Initiated { proved, .. } => *proved = true,
            Phase::Responded(responded) => {
                responded.reply = None;
                shared.used_keyings.insert(shared.now, &responded.digest);
            }
        });
        if !initiated_here {
            self.end_duplicates_of(slot);
        }
        self.end_sessions_before(slot, initiated_here);
    }

    /// Ends earlier sessions in favour of one that the same far end has proved the keys of (§3.5.1.1.2, step 2.3): at its
    /// address if it began that, else those that only claim to be the same far end.
    fn end_sessions_before(&mut self, slot: u32, initiated_here: bool) {
        let Some(entry) = self.table.get(slot) else { return };
        let (certificate, opened) = (entry.session.transport().far_certificate(), entry.opened());
        if !self.shared.profile.keys_prove_owner(certificate) {
            return;
        }
        let others = match (initiated_here, entry.session.transport().path()) {
            (false, Some(path)) => self.sessions_at(path.remote),
            (true, _) | (_, None) => self.claims_to_be(slot),
        };
        let is_stale = |other: &u32| {
            *other != slot
                && self.table.get(*other).is_some_and(|other| {
                    other.opened() < opened
                        && self.shared.profile.overrides(certificate, other.session.transport().far_certificate())
                })
        };
        let stale: Vec<u32> = others.into_iter().filter(is_stale).collect();
        for other in stale {
            self.session(other, |session, cx| session.end(cx, Ending::Silent(CloseReason::Overridden)));
        }
    }

    /// Whether the initiator's session is open already as one that was begun from here: it gave way in glare, and the
    /// IIKeying is late. It may come from an address that the session is not known to be at yet.
    pub(super) fn has_become_another(&self, session_id: u32, identity: Identity) -> bool {
        // One that was answered here proves nothing: anybody may have named this certificate and this ID.
        let begun = self.table.index.with(identity, Standing::Initiated).filter_map(|slot| self.table.get(slot));
        begun.into_iter().any(|entry| entry.is_open() && entry.session.transport().tx_id() == Some(session_id))
    }

    /// Whether an IIKeying with such a cookie is a late duplicate of one that led to an earlier session than this one, or a
    /// recording of it. An endpoint that has lost its session says hello anew, so its cookie is younger.
    pub(super) fn is_older_keying_of(&self, slot: u32, certificate: &[u8], cookie_made: Instant) -> bool {
        let profile = &self.shared.profile;
        // Of a certificate that anybody can use, the session may be somebody else's.
        profile.keys_prove_owner(certificate)
            && self.table.get(slot).is_some_and(|entry| {
                entry.opened().is_some_and(|opened| cookie_made < opened)
                    && profile.overrides(certificate, entry.session.transport().far_certificate())
            })
    }
}
