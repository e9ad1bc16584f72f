//! Numbers that their holders have left.

use alloc::collections::BTreeMap;
use core::net::IpAddr;
use core::time::Duration;

use rtmfp_core::{Bytes, Instant};

use crate::rates::network_of;

/// How long a number that its holder has left rests. Nobody else gets it meanwhile, so that who knows it does not meet
/// somebody else. Its holder gets it back, unless it has given it back: most sessions are lost by an accident.
pub(super) const REST: Duration = Duration::from_secs(600);
/// Numbers that rest at once; each takes up to 800 bytes. With one beyond them the first ends its rest.
pub(super) const MAX_RESTING: usize = 4_096;
/// The same of those whose holders were at one source: an IPv4 address, or a /64 network of IPv6.
pub(super) const MAX_OF_SOURCE: usize = 256;
/// The same of one owner.
pub(super) const MAX_OF_OWNER: usize = 8;

#[derive(Debug)]
struct Rest {
    number: u64,
    until: Instant,
    /// The holder's Canonical Endpoint Discriminator; none if it has given the number back.
    owner: Option<Bytes>,
    source: IpAddr,
}

/// All that rest. Each has a place in the order in which their rests begin, and so end.
#[derive(Debug, Default)]
pub(super) struct Resting {
    by_place: BTreeMap<u64, Rest>,
    by_number: BTreeMap<u64, u64>,
    by_owner: BTreeMap<(Bytes, u64), ()>,
    by_source: BTreeMap<(IpAddr, u64), ()>,
    next: u64,
}

impl Resting {
    pub(super) fn add(&mut self, now: Instant, number: u64, owner: Option<&Bytes>, source: IpAddr) {
        let source = network_of(source.to_canonical(), 64);
        let of_source = self.by_source.range((source, 0)..=(source, u64::MAX));
        let first_of_source = first_if_full(of_source.map(|((_, place), ())| *place), MAX_OF_SOURCE);
        self.end(first_of_source);
        if let Some(owner) = owner {
            let of_owner = self.by_owner.range((owner.clone(), 0)..=(owner.clone(), u64::MAX));
            let first_of_owner = first_if_full(of_owner.map(|((_, place), ())| *place), MAX_OF_OWNER);
            self.end(first_of_owner);
        }
        let first = first_if_full(self.by_place.keys().copied(), MAX_RESTING);
        self.end(first);
        let place = self.next;
        self.next += 1;
        self.by_number.insert(number, place);
        self.by_source.insert((source, place), ());
        self.by_owner.extend(owner.map(|owner| ((owner.clone(), place), ())));
        self.by_place.insert(place, Rest { number, until: now + REST, owner: owner.cloned(), source });
    }

    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((place, _)) = self.by_place.first_key_value().filter(|(_, rest)| rest.until <= now) {
            self.end(Some(*place));
        }
    }

    /// The number that this owner had last. It rests no more.
    pub(super) fn take(&mut self, owner: &Bytes) -> Option<u64> {
        let of_owner = self.by_owner.range((owner.clone(), 0)..=(owner.clone(), u64::MAX));
        let last = of_owner.map(|((_, place), ())| *place).next_back()?;
        self.end(Some(last))
    }

    pub(super) fn has(&self, number: u64) -> bool {
        self.by_number.contains_key(&number)
    }

    fn end(&mut self, place: Option<u64>) -> Option<u64> {
        let (place, rest) = self.by_place.remove_entry(&place?)?;
        self.by_number.remove(&rest.number);
        self.by_source.remove(&(rest.source, place));
        rest.owner.into_iter().for_each(|owner| _ = self.by_owner.remove(&(owner, place)));
        Some(rest.number)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let lens = [self.by_number.len(), self.by_source.len()];
        assert_eq!(lens, [self.by_place.len(); 2]);
        self.by_place.len()
    }
}

/// The first of some that have no room for one more.
fn first_if_full(places: impl Iterator<Item = u64> + Clone, most: usize) -> Option<u64> {
    let is_full = places.clone().nth(most - 1).is_some();
    places.take(1).find(|_| is_full)
}
