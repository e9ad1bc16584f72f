//! Packet fragmentation (RFC 7016 §3.4): startup packets too large for the path, taken apart and put together.
//!
//! One packet in reassembly is a [`Partial`]; here is what all of them may hold, and which gives way.

mod partial;
#[cfg(test)]
mod tests;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use super::sources::network_of;
use crate::error::DropReason;
use crate::params::FRAGMENT_PROGRESS_TIMEOUT;
use crate::time::Instant;
use crate::wire::PacketFragment;

use partial::{OVERHEAD, PACKET_OVERHEAD, Partial, Standing};

/// Packets that may be in reassembly at once.
const MAX_PACKETS: usize = 256;
/// Bytes that all of them may hold together, with what it takes to keep them.
const MAX_BYTES: usize = 1 << 20;
/// Of either, one part in so many may be one source's: an IPv4 address, or a /48 network of IPv6.
const SHARES: usize = 8;
/// Fragments of one packet: what 64 KiB are in fragments as small as is sensible.
const MAX_FRAGMENTS: u64 = 256;

/// Which packet a fragment belongs to: the sender's address, the session ID, and the packet's own ID.
pub(super) type PacketKey = (SocketAddr, u32, u64);

/// Packets being put together.
#[derive(Debug, Default)]
pub(super) struct Reassembly {
    packets: BTreeMap<PacketKey, Partial>,
    held: usize,
    /// Packets that gave way to others since [`take_evicted`](Self::take_evicted).
    evicted: usize,
    /// See [`fresh`](Self::fresh).
    fresh: usize,
    /// When stale packets were looked for last.
    swept: Option<Instant>,
}

impl Reassembly {
    /// Takes a fragment. Gives the plain packets that it completes: one, or several if somebody else sent fragments of
    /// the same packet (all but one of them are forged then, and will be of no use).
    pub(super) fn add(
        &mut self,
        now: Instant,
        key: PacketKey,
        chunk: &PacketFragment<'_>,
    ) -> Result<Vec<Vec<u8>>, DropReason> {
        if chunk.fragment_number >= MAX_FRAGMENTS {
            return Err(DropReason::OverLimit);
        }
        self.sweep(now);
        if self.packets.get(&key).is_some_and(|partial| partial.is_stale(now)) {
            self.forget(&key);
        }
        let source = network_of(key.0.ip(), 48);
        self.make_room(now, &key, source, chunk.fragment.len() + PACKET_OVERHEAD + OVERHEAD)?;
        let before = self.packets.get(&key).map_or(0, Partial::cost);
        let partial = self.packets.entry(key).or_insert(Partial::new(source, now));
        let taken = partial.insert(now, chunk);
        self.held += partial.cost() - before;
        taken?;
        let whole = partial.assemble(chunk.fragment_number);
        partial.complete |= !whole.is_empty();
        self.fresh = if whole.is_empty() { 0 } else { core::mem::take(&mut partial.fresh) };
        Ok(whole)
    }

    /// Bytes of fragments that the packets given last were made of, and none before them: what an answer to one of them may
    /// be measured by.
    pub(super) const fn fresh(&self) -> usize {
        self.fresh
    }

    /// Packets that gave way to others since this was asked last.
    pub(super) const fn take_evicted(&mut self) -> usize {
        core::mem::replace(&mut self.evicted, 0)
    }

    /// Room for a fragment of this source: other packets give way, its own first if it has more than its share.
    fn make_room(&mut self, now: Instant, key: &PacketKey, source: IpAddr, cost: usize) -> Result<(), DropReason> {
        let is_new = usize::from(!self.packets.contains_key(key));
        loop {
            let own = self.packets.values().filter(|partial| partial.source == source);
            let (count, bytes) = own.fold((0, 0), |(count, bytes), partial| (count + 1, bytes + partial.cost()));
            let over_share = count + is_new > MAX_PACKETS / SHARES || bytes + cost > MAX_BYTES / SHARES;
            let over_all = self.packets.len() + is_new > MAX_PACKETS || self.held + cost > MAX_BYTES;
            if !over_share && !over_all {
                return Ok(());
            }
            let first = self.first_to_go(now, key, over_share.then_some(source));
            self.forget(&first.ok_or(DropReason::OverLimit)?);
            self.evicted += 1;
        }
    }

    /// The packet that gives way, of one source or of all, but not this one. What is of no use goes first, then single
    /// fragments, as most forgeries are, then the rest. Of each it is the one that has waited longest.
    ///
    /// Packets with several fragments may take half of the room. Beyond that they give way first: else many of them, forged
    /// as well, would have each packet give way before its second fragment comes.
    fn first_to_go(&self, now: Instant, key: &PacketKey, source: Option<IpAddr>) -> Option<PacketKey> {
        let share = if source.is_some() { SHARES } else { 1 };
        let others = || {
            let in_question = move |partial: &Partial| source.is_none_or(|source| partial.source == source);
            self.packets.iter().filter(move |(other, partial)| *other != key && in_question(partial))
        };
        let several = others().filter(|(_, partial)| partial.standing(now) == Standing::Several);
        let (count, bytes) = several.fold((0, 0), |(count, bytes), (_, partial)| (count + 1, bytes + partial.cost()));
        let crowded = 2 * count > MAX_PACKETS / share || 2 * bytes > MAX_BYTES / share;
        let rank = |partial: &Partial| {
            let class = match partial.standing(now) {
                Standing::Useless => 0,
                Standing::Single => 1 + u8::from(crowded),
                Standing::Several => 2 - u8::from(crowded),
            };
            (class, partial.progressed)
        };
        others().min_by_key(|(_, partial)| rank(partial)).map(|(other, _)| *other)
    }

    /// Drops what is stale, once in a while.
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|at| now.saturating_duration_since(at) < FRAGMENT_PROGRESS_TIMEOUT) {
            return;
        }
        self.swept = Some(now);
        self.packets.retain(|_, partial| !partial.is_stale(now));
        self.held = self.packets.values().map(Partial::cost).sum();
    }

    fn forget(&mut self, key: &PacketKey) {
        if let Some(partial) = self.packets.remove(key) {
            self.held -= partial.cost();
        }
    }
}

/// Cuts a plain packet into fragments of at most `size` bytes each.
pub(super) fn split(plain: &[u8], packet_id: u64, size: usize) -> impl Iterator<Item = PacketFragment<'_>> {
    let count = plain.len().div_ceil(size.max(1));
    plain.chunks(size.max(1)).enumerate().map(move |(index, fragment)| PacketFragment {
        more_fragments: index + 1 < count,
        packet_id,
        fragment_number: index as u64,
        fragment,
    })
}
