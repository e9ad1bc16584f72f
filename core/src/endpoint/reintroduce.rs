//! Being introduced again: two peers lost sight of each other, because one moved and the other's NAT lets nothing in
//! from there, or because both moved. Whoever introduced them is asked to do it once more (RFC 7016 §3.5.1.6), while
//! the session stays as it is.
//!
//! The far end's RHello goes to where this end is now, and so opens the far end's NAT; this end answers with pings
//! of the session, which open its own, and which prove to each end where the other is (§3.5.4.2). Nothing that a
//! hello or a redirect says is believed: it only tells where to ping.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;

use super::Endpoint;
use super::attempts::Attempts;
use super::introduce::is_reachable;
use super::limits::Bucket;
use super::startup::StartupPacket;
use crate::error::DropReason;
use crate::params::TAG_LEN;
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
    tag: [u8; TAG_LEN],
    /// The far end's canonical discriminator.
    discriminator: Vec<u8>,
    attempts: Attempts,
    /// Pings to where others say that the far end is.
    probes: Bucket,
}

impl Reintroduction {
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
    pub(super) fn learn_introducer(&mut self, slot: u32, path: Path) {
        let Some(occupant) = self.slots.get_mut(slot) else { return };
        let path = path.with_local(None);
        if occupant.introducers.len() < MAX_INTRODUCERS && !occupant.introducers.contains(&path) {
            occupant.introducers.push(path);
            self.settle(slot);
        }
    }

    /// Begins to ask when a session struggles and somebody can be asked; ends when either is no longer so.
    pub(super) fn watch_reintroduction(&mut self, slot: u32) {
        let Some(occupant) = self.slots.get(slot) else { return };
        let wanted = !occupant.introducers.is_empty() && occupant.session.is_struggling();
        match (wanted, occupant.reintroduction.is_some()) {
            (true, false) => {
                let discriminator = self.profile.canonical_discriminator(occupant.session.far_certificate());
                let tag = self.unused_tag();
                let attempts = Attempts::starting(self.now);
                let probes = Bucket::new(self.config.max_probes_per_session, self.now);
                self.by_tag.insert(tag, slot);
                if let Some(occupant) = self.slots.get_mut(slot) {
                    occupant.reintroduction = Some(Box::new(Reintroduction { tag, discriminator, attempts, probes }));
                }
                self.drive_reintroduction(slot);
            }
            (false, true) => {
                let again = self.slots.get_mut(slot).and_then(|occupant| occupant.reintroduction.take());
                if let Some(again) = again {
                    self.by_tag.remove(&again.tag);
                }
            }
            (true, true) | (false, false) => {}
        }
    }

    /// Asks every introducer, if it is time to.
    pub(super) fn drive_reintroduction(&mut self, slot: u32) {
        let now = self.now;
        let Some(occupant) = self.slots.get_mut(slot) else { return };
        let Some(again) = occupant.reintroduction.as_mut().filter(|again| again.attempts.next <= now) else { return };
        again.attempts.due(now);
        let hello = InitiatorHello { discriminator: &again.discriminator, tag: &again.tag };
        for path in &occupant.introducers {
            self.startup.push_own(now, StartupPacket::hello(*path, &hello));
        }
    }

    /// The far end answered from `path`: its NAT lets us in now.
    pub(super) fn on_reintroduction_hello(
        &mut self,
        slot: u32,
        path: Path,
        hello: &ResponderHello<'_>,
    ) -> Result<(), DropReason> {
        let occupant = self.slots.get(slot).filter(|occupant| occupant.reintroduction.is_some());
        let occupant = occupant.ok_or(DropReason::Unexpected)?;
        if !self.profile.overrides(hello.certificate, occupant.session.far_certificate()) {
            return Err(DropReason::NotAuthentic);
        }
        self.probe(slot, path)
    }

    /// Pings the far end where somebody says that it is.
    fn probe(&mut self, slot: u32, path: Path) -> Result<(), DropReason> {
        let now = self.now;
        let again = self.slots.get_mut(slot).and_then(|occupant| occupant.reintroduction.as_mut());
        let again = again.ok_or(DropReason::Unexpected)?;
        if !again.probes.take(now) || !self.probe_limits.take(now, path.remote.ip()) {
            return Err(DropReason::OverLimit);
        }
        self.with_session(slot, |session, cx| session.probe_path(cx, path));
        self.settle(slot);
        Ok(())
    }

    /// The introducer tells where it sees the far end: pings there open our own NAT for what comes from there.
    pub(super) fn on_reintroduction_redirect(
        &mut self,
        slot: u32,
        path: Path,
        redirect: &Redirect<'_>,
    ) -> Result<(), DropReason> {
        let asked = self.slots.get(slot).is_some_and(|occupant| occupant.reintroduction.is_some());
        if !asked {
            return Err(DropReason::Unexpected);
        }
        let addresses = redirect.destinations.iter().map(|address| address.socket);
        let reachable: Vec<SocketAddr> = addresses.filter(|socket| is_reachable(*socket)).take(MAX_PINGED).collect();
        reachable.into_iter().try_for_each(|remote| self.probe(slot, path.with_remote(remote)))
    }
}
