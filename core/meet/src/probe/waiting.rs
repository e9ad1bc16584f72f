//! Probes that a server is to send later.

use alloc::collections::BTreeMap;
use core::net::IpAddr;

use rtmfp_core::{Instant, Path};

use super::name::ProbeName;
use crate::rates::network_of;

/// A probe, and where it goes: an address that was proved when it was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Later {
    pub(super) path: Path,
    pub(super) name: ProbeName,
}

/// Probes by when they are due.
#[derive(Debug)]
pub(super) struct Waiting {
    max: usize,
    max_per_source: usize,
    due: BTreeMap<(Instant, u64), Later>,
    /// How many each source has: an IPv4 address, or a /64 network of IPv6.
    of: BTreeMap<IpAddr, usize>,
    next: u64,
}

fn source_of(path: &Path) -> IpAddr {
    network_of(path.remote.ip().to_canonical(), 64)
}

impl Waiting {
    pub(super) const fn new(max: usize, max_per_source: usize) -> Self {
        Self { max, max_per_source, due: BTreeMap::new(), of: BTreeMap::new(), next: 0 }
    }

    /// False if there is no room.
    pub(super) fn add(&mut self, at: Instant, later: Later) -> bool {
        let source = source_of(&later.path);
        let has = self.of.get(&source).copied().unwrap_or_default();
        if self.due.len() >= self.max || has >= self.max_per_source {
            return false;
        }
        self.of.insert(source, has + 1);
        self.due.insert((at, self.next), later);
        self.next = self.next.wrapping_add(1);
        true
    }

    /// The next that is due, if one is.
    pub(super) fn take(&mut self, now: Instant) -> Option<Later> {
        let first = self.due.first_entry().filter(|first| first.key().0 <= now)?;
        let later = first.remove();
        let source = source_of(&later.path);
        if let Some(has) = self.of.get_mut(&source) {
            *has -= 1;
            if *has == 0 {
                self.of.remove(&source);
            }
        }
        Some(later)
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }
}
