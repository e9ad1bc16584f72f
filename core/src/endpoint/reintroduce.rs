//! Being introduced again: two peers lost sight of each other, because one moved and the other's NAT lets nothing in
//! from there, or because both moved; or they go over a path of last resort, and a better one may open. Whoever introduced
//! them is asked to do it once more (RFC 7016 §3.5.1.6), while the session stays as it is.
//!
//! The far end's RHello goes to where this end is now, and so opens the far end's NAT; this end answers with pings
//! of the session, which open its own, and which prove to each end where the other is (§3.5.4.2). Nothing that a
//! hello or a redirect says is believed: it only tells where to ping.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use super::Endpoint;
use super::backoff::HelloBackoff;
use super::entry::SessionEntry;
use super::env::Env;
use super::introduce::is_reachable;
use super::limits::Bucket;
use super::shared::Shared;
use super::startup::StartupPacket;
use super::table::Tag;
use crate::error::DropReason;
use crate::time::Instant;
use crate::transmit::Path;
use crate::wire::{InitiatorHello, Redirect, ResponderHello};

/// Introducers remembered for a session.
pub(super) const MAX_INTRODUCERS: usize = 4;
/// Addresses of one redirect that are pinged.
const MAX_PINGED: usize = 4;
/// Forwarded hellos remembered, to know who introduced the sessions that come of them.
const MAX_REMEMBERED: usize = 32;

/// A session whose far end is asked for.
#[derive(Debug)]
pub(super) struct Reintroduction {
    tag: Tag,
    /// The far end's canonical discriminator.
    discriminator: Vec<u8>,
    attempts: HelloBackoff,
    /// Pings to where others say that the far end is.
    probes: Bucket,
}

impl Reintroduction {
    pub(super) const fn tag(&self) -> Tag {
        self.tag
    }

    pub(super) const fn next_timeout(&self) -> Instant {
        self.attempts.next
    }
}

/// Who handed on which initiator's hello lately.
#[derive(Debug, Default)]
pub(super) struct Forwards {
    recent: VecDeque<(SocketAddr, Path)>,
}

impl Forwards {
    pub(super) fn remember(&mut self, initiator: SocketAddr, via: Path) {
        if self.recent.len() >= MAX_REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back((initiator, via));
    }

    /// Who handed on the hello of the initiator at this address.
    pub(super) fn introducer_of(&self, initiator: SocketAddr) -> Option<Path> {
        self.recent.iter().rev().find(|(known, _)| *known == initiator).map(|(_, via)| *via)
    }
}

impl Endpoint {
    /// Ways to those who have lately handed on the hello of an initiator at this address (RFC 7016 §3.5.1.5). A session that
    /// it opens then came of that, as a rule. The last 32 hellos are remembered.
    pub fn forwarders_of(&self, initiator: IpAddr) -> impl Iterator<Item = Path> + '_ {
        let recent = self.handshake.forwards.recent.iter();
        recent.filter(move |(known, _)| known.ip() == initiator).map(|(_, via)| *via)
    }
}

impl SessionEntry {
    pub(super) fn learn_introducer(&mut self, path: Path) {
        let path = path.with_local(None);
        if self.introducers.len() < MAX_INTRODUCERS && !self.introducers.contains(&path) {
            self.introducers.push(path);
        }
    }

    /// Whether it is to begin: the session struggles or is on a path of last resort, and there is something to try. Or
    /// whether it is to end, as that is no longer so. `None`: neither.
    #[inline]
    pub(super) fn wants_reintroduction(&self) -> Option<bool> {
        let (can_ask, struggles) = (!self.introducers.is_empty(), self.session.is_struggling());
        let wanted =
            struggles && (can_ask || self.session.fallback().is_some()) || can_ask && self.session.is_on_last_resort();
        (wanted != self.known.reintroduction.is_some()).then_some(wanted)
    }

    /// Begins it, if a tag for its hellos is given, or ends it.
    pub(super) fn change_reintroduction(&mut self, tag: Option<Tag>, shared: &mut Shared) {
        self.known.reintroduction = tag.map(|tag| {
            let discriminator = shared.profile.canonical_discriminator(self.session.transport().far_certificate());
            let probes = Bucket::new(shared.config.max_probes_per_session, shared.now);
            Box::new(Reintroduction { tag, discriminator, attempts: HelloBackoff::starting(shared.now, &tag), probes })
        });
        self.drive_reintroduction(shared);
    }

    /// Asks every introducer, if it is time to.
    pub(super) fn drive_reintroduction(&mut self, shared: &mut Shared) {
        let now = shared.now;
        if self.known.reintroduction.as_ref().is_none_or(|again| again.attempts.next > now) {
            return;
        }
        let Some(again) = &mut self.known.reintroduction else { return };
        again.attempts.due(now);
        let hello = InitiatorHello { discriminator: &again.discriminator, tag: &again.tag };
        for path in &self.introducers {
            shared.startup.push_own(now, StartupPacket::hello(*path, &hello));
        }
        if let Some(fallback) = self.session.fallback().filter(|_| self.session.is_struggling()) {
            self.session.probe_path(&mut shared.context(), fallback);
        }
    }
}

impl Env<'_> {
    /// The far end answered from `path`: its NAT lets us in now.
    pub(super) fn on_reintroduction_hello(
        &mut self,
        slot: u32,
        path: Path,
        hello: &ResponderHello<'_>,
    ) -> Result<(), DropReason> {
        let entry = self.table.get(slot).filter(|entry| entry.known.reintroduction.is_some());
        let entry = entry.ok_or(DropReason::Unexpected)?;
        if !self.shared.profile.overrides(hello.certificate, entry.session.transport().far_certificate()) {
            return Err(DropReason::NotAuthentic);
        }
        self.probe(slot, path)
    }

    /// Pings the far end where somebody says that it is.
    fn probe(&mut self, slot: u32, path: Path) -> Result<(), DropReason> {
        let probed = self.with(slot, |entry, shared| {
            let now = shared.now;
            let again = entry.known.reintroduction.as_mut().ok_or(DropReason::Unexpected)?;
            if !again.probes.take(now) || !shared.probe_limits.take(now, path.remote.ip()) {
                return Err(DropReason::OverLimit);
            }
            entry.session.probe_path(&mut shared.context(), path);
            Ok(())
        });
        probed.unwrap_or(Err(DropReason::Unexpected))
    }

    /// The introducer tells where it sees the far end: pings there open our own NAT for what comes from there.
    pub(super) fn on_reintroduction_redirect(
        &mut self,
        slot: u32,
        path: Path,
        redirect: &Redirect<'_>,
    ) -> Result<(), DropReason> {
        let asked = self.table.get(slot).is_some_and(|entry| entry.known.reintroduction.is_some());
        if !asked {
            return Err(DropReason::Unexpected);
        }
        let addresses = redirect.destinations.iter().map(|address| address.socket);
        let mut reachable = addresses.filter(|socket| is_reachable(*socket)).take(MAX_PINGED);
        reachable.try_for_each(|remote| self.probe(slot, path.with_remote(remote)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transmit::InterfaceId;

    fn path(port: u16) -> Path {
        Path::new(InterfaceId(0), SocketAddr::from(([192, 0, 2, 1], port)))
    }

    #[test]
    fn who_handed_on_a_hello_is_remembered_for_the_latest_ones() {
        let mut forwards = Forwards::default();
        for port in 1..=100 {
            forwards.remember(path(port).remote, path(1_000 + port));
        }
        let known = |forwards: &Forwards, port| forwards.introducer_of(path(port).remote);
        assert_eq!([68, 69, 100].map(|port| known(&forwards, port)), [None, Some(path(1_069)), Some(path(1_100))]);
        forwards.remember(path(80).remote, path(7));
        assert_eq!(known(&forwards, 80), Some(path(7)), "the latest counts");
        assert_eq!(forwards.recent.len(), MAX_REMEMBERED);
    }
}
