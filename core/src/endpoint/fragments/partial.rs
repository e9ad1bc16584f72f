//! One packet of which some fragments have come (RFC 7016 §3.4), some of them perhaps forged.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::error::DropReason;
use crate::params::{FRAGMENT_PACKET_MAX, FRAGMENT_PROGRESS_TIMEOUT, FRAGMENT_REASSEMBLY_TIMEOUT};
use crate::time::Instant;
use crate::wire::PacketFragment;

/// Places in one packet that two fragments claim, one of them forged. Everything that they can make together is tried.
pub(super) const MAX_DISPUTED: usize = 4;
/// What a fragment costs beside its bytes: its place among the others, and two allocations. Measured: 190 bytes each where
/// a packet has many of one byte.
pub(super) const OVERHEAD: usize = 240;
/// What a packet costs beside that: its place among the others, and room for more fragments. Measured: 750 bytes for a
/// packet with one fragment of one byte.
pub(super) const PACKET_OVERHEAD: usize = 720;

/// One of at most two fragments that claim one place. Only what they make together shows which is right.
#[derive(Debug)]
pub(super) struct Version {
    more_fragments: bool,
    bytes: Vec<u8>,
}

/// What a packet is worth when there is too little room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// Complete, or stale.
    Useless,
    /// It has one fragment.
    Single,
    /// It has more of them.
    Several,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Partial {
    /// Who sends it.
    pub(super) source: IpAddr,
    begun: Instant,
    pub(super) progressed: Instant,
    pub(super) fragments: BTreeMap<u64, Vec<Version>>,
    len: usize,
    /// Of these bytes, those that came since it was put together last.
    pub(super) fresh: usize,
    /// Places with two versions.
    disputed: usize,
    /// It was put together at least once, and is kept in case something in it was forged.
    pub(super) complete: bool,
    /// Bytes that putting it together has copied.
    #[cfg(test)]
    pub(super) copied: core::cell::Cell<usize>,
}

impl Partial {
    pub(super) const fn new(source: IpAddr, now: Instant) -> Self {
        let fragments = BTreeMap::new();
        Self {
            source,
            begun: now,
            progressed: now,
            fragments,
            len: 0,
            fresh: 0,
            disputed: 0,
            complete: false,
            #[cfg(test)]
            copied: core::cell::Cell::new(0),
        }
    }

    #[cfg_attr(not(test), expect(clippy::unused_self, unused_variables, reason = "tests count"))]
    fn count_copied(&self, bytes: usize) {
        #[cfg(test)]
        self.copied.set(self.copied.get() + bytes);
    }

    pub(super) fn cost(&self) -> usize {
        self.len + PACKET_OVERHEAD + OVERHEAD * (self.fragments.len() + self.disputed)
    }

    pub(super) fn is_stale(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.progressed) > FRAGMENT_PROGRESS_TIMEOUT
            || now.saturating_duration_since(self.begun) > FRAGMENT_REASSEMBLY_TIMEOUT
    }

    pub(super) fn standing(&self, now: Instant) -> Standing {
        match self.fragments.len() {
            _ if self.complete || self.is_stale(now) => Standing::Useless,
            0 | 1 => Standing::Single,
            _ => Standing::Several,
        }
    }

    pub(super) fn insert(&mut self, now: Instant, chunk: &PacketFragment<'_>) -> Result<(), DropReason> {
        if self.len + chunk.fragment.len() > FRAGMENT_PACKET_MAX {
            return Err(DropReason::OverLimit);
        }
        let versions = self.fragments.entry(chunk.fragment_number).or_default();
        let same = |known: &Version| known.more_fragments == chunk.more_fragments && known.bytes == chunk.fragment;
        if versions.iter().any(same) {
            return Err(DropReason::Unexpected);
        }
        match versions.len() {
            0 => {}
            1 if self.disputed < MAX_DISPUTED => self.disputed += 1,
            _ => return Err(DropReason::OverLimit),
        }
        versions.push(Version { more_fragments: chunk.more_fragments, bytes: chunk.fragment.to_vec() });
        let added = chunk.fragment.len();
        (self.progressed, self.len, self.fresh) = (now, self.len + added, self.fresh + added);
        Ok(())
    }

    /// Fragments from the first on without a gap, each with its number.
    fn contiguous(&self) -> impl Iterator<Item = (u64, &[Version])> {
        let numbered = (0..).zip(&self.fragments).take_while(|(expected, (number, _))| expected == *number);
        numbered.map(|(number, (_, versions))| (number, versions.as_slice()))
    }

    /// Every packet that the fragment with this number, which came last, completes.
    pub(super) fn assemble(&self, newest: u64) -> Vec<Vec<u8>> {
        let mut whole = Vec::new();
        let is_end = |(number, versions): (u64, &[Version])| {
            let ends = versions.iter().any(|version| !version.more_fragments);
            (ends && number >= newest).then_some(number)
        };
        let Some(end) = self.contiguous().filter_map(is_end).last() else { return whole };
        let mut begun: Vec<Vec<u8>> = alloc::vec![Vec::new()];
        for (number, versions) in self.contiguous().take_while(|(number, _)| *number <= end) {
            // The newest is in all that is made now: the rest was made before.
            let first = if number == newest { versions.len().saturating_sub(1) } else { 0 };
            let versions = versions.get(first..).unwrap_or_default();
            let mut longer = Vec::new();
            for mut prefix in begun {
                for (index, version) in versions.iter().enumerate() {
                    // The last version needs no copy, so that what is copied is no more than what is made.
                    let is_last = index + 1 == versions.len();
                    let mut extended = if is_last { core::mem::take(&mut prefix) } else { prefix.clone() };
                    self.count_copied(version.bytes.len() + if is_last { 0 } else { extended.len() });
                    extended.extend_from_slice(&version.bytes);
                    if version.more_fragments {
                        longer.push(extended);
                    } else if number >= newest {
                        whole.push(extended);
                    }
                }
            }
            begun = longer;
        }
        whole
    }
}
