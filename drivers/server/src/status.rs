//! What the server shows of itself.

use core::fmt;
use core::time::Duration;
use std::sync::{Mutex, PoisonError};

use rtmfp_core::{EndpointStats, Instant};
use rtmfp_meet::ServerEvent;
use rtmfp_meet::probe::ProbeEvent;
use rtmfp_std::{Clock, ProfileKind};

/// A server that has published nothing for so long does nothing else either.
const SILENCE: Duration = Duration::from_secs(10);

/// What a rendezvous server has done so far.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Totals {
    /// Sessions that have used the service.
    pub joined: u64,
    /// Those that do not any more.
    pub left: u64,
    /// Numbers that were given.
    pub numbers_given: u64,
    /// Numbers that are free again.
    pub numbers_released: u64,
    /// Requests for a peer, by number or name, that found one.
    pub found: u64,
    /// Those that found nobody.
    pub not_found: u64,
    /// Tokens that hold.
    pub tokens_accepted: u64,
    /// Tokens that do not.
    pub tokens_rejected: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Hellos for a peer that were passed on to it.
    pub introduced: u64,
    /// Circuits that were opened.
    pub circuits_opened: u64,
    /// Those that have ended.
    pub circuits_closed: u64,
    /// Bytes that were relayed over circuits that have ended.
    pub relayed_bytes: u64,
    /// Datagrams that were not relayed, of circuits that have ended.
    pub relay_dropped: u64,
    /// Hellos for somebody who is not here, or by somebody who may not ask.
    pub not_introduced: u64,
    /// Probes that were sent.
    pub probes_sent: u64,
    /// Probes that came and were told of.
    pub probes_arrived: u64,
    /// Clients without room, requests for probes that were refused, and probes that were not told of.
    pub probes_refused: u64,
}

impl Totals {
    /// Counts what happened.
    #[expect(clippy::wildcard_enum_match_arm, reason = "what a later version adds is not counted")]
    pub(crate) const fn count(&mut self, event: &ServerEvent) {
        if let ServerEvent::CircuitClosed { bytes, dropped, .. } = event {
            self.relayed_bytes = self.relayed_bytes.saturating_add(*bytes);
            self.relay_dropped = self.relay_dropped.saturating_add(*dropped);
        }
        let counter = match event {
            ServerEvent::Joined { .. } => &mut self.joined,
            ServerEvent::Left { .. } => &mut self.left,
            ServerEvent::NumberGiven { .. } => &mut self.numbers_given,
            ServerEvent::NumberReleased { .. } => &mut self.numbers_released,
            ServerEvent::Sought { found: true, .. } => &mut self.found,
            ServerEvent::Sought { found: false, .. } => &mut self.not_found,
            ServerEvent::TokenShown { accepted: true, .. } => &mut self.tokens_accepted,
            ServerEvent::TokenShown { accepted: false, .. } => &mut self.tokens_rejected,
            ServerEvent::Refused { .. } => &mut self.refused,
            ServerEvent::CircuitOpened { .. } => &mut self.circuits_opened,
            ServerEvent::CircuitClosed { .. } => &mut self.circuits_closed,
            ServerEvent::Hello { introduced: true, .. } => &mut self.introduced,
            ServerEvent::Hello { introduced: false, .. } => &mut self.not_introduced,
            _ => return,
        };
        *counter = counter.saturating_add(1);
    }

    /// Counts what became of a probe.
    #[expect(clippy::wildcard_enum_match_arm, reason = "what a later version adds is not counted")]
    pub(crate) const fn count_probe(&mut self, event: &ProbeEvent) {
        let counter = match event {
            ProbeEvent::Sent { .. } => &mut self.probes_sent,
            ProbeEvent::Arrived { .. } => &mut self.probes_arrived,
            ProbeEvent::Refused { .. } => &mut self.probes_refused,
            _ => return,
        };
        *counter = counter.saturating_add(1);
    }
}

/// A server at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// What the endpoint has counted.
    pub endpoint: EndpointStats,
    /// Sessions of the endpoint, those that open or end included.
    pub sessions: usize,
    /// Datagrams that the system dropped as they arrived, mostly because a socket buffer was full.
    pub overflows: u64,
    /// What the rendezvous service has done.
    pub totals: Totals,
    /// The server ends, and takes nobody in.
    pub draining: bool,
}

/// Whether a server is of use: the worse, the greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Health {
    /// It serves.
    Well,
    /// It ends.
    Draining,
    /// It has published nothing for ten seconds: its loop stands still, or has not begun.
    Stuck,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Well => "well",
            Self::Draining => "draining",
            Self::Stuck => "stuck",
        })
    }
}

/// The last snapshot, shared between a server and those who look at it.
#[derive(Debug)]
pub struct Status {
    profile: ProfileKind,
    clock: Clock,
    last: Mutex<Option<(Instant, Snapshot)>>,
}

impl Status {
    /// Of a server with this kind of profile, which has published nothing.
    #[must_use]
    pub fn new(profile: ProfileKind) -> Self {
        Self { profile, clock: Clock::new(), last: Mutex::default() }
    }

    /// The kind of the server's profile.
    #[must_use]
    pub const fn profile(&self) -> ProfileKind {
        self.profile
    }

    /// Replaces the snapshot.
    pub fn publish(&self, snapshot: Snapshot) {
        self.publish_at(self.clock.now(), snapshot);
    }

    fn publish_at(&self, now: Instant, snapshot: Snapshot) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, snapshot));
    }

    /// The last snapshot. `None` before the first.
    #[must_use]
    pub fn snapshot(&self) -> Option<Snapshot> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).map(|(_, snapshot)| snapshot)
    }

    /// Whether the server is of use now.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health_at(self.clock.now())
    }

    fn health_at(&self, now: Instant) -> Health {
        match *self.last.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((at, _)) if now.saturating_duration_since(at) > SILENCE => Health::Stuck,
            Some((_, snapshot)) if snapshot.draining => Health::Draining,
            Some(_) => Health::Well,
            None => Health::Stuck,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_publishes_nothing_is_stuck() {
        let (status, now) = (Status::new(ProfileKind::Modern), Instant::ORIGIN);
        assert_eq!((status.health_at(now), status.snapshot()), (Health::Stuck, None));
        status.publish_at(now, Snapshot::default());
        assert_eq!(status.health_at(now + SILENCE), Health::Well);
        assert_eq!(status.health_at(now + SILENCE + Duration::from_micros(1)), Health::Stuck);
        status.publish_at(now, Snapshot { draining: true, ..Snapshot::default() });
        assert_eq!(status.health_at(now), Health::Draining);
    }
}
