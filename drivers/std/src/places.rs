//! A limited number of places, shared fairly among far ends that nobody knows.

use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;
use std::collections::BTreeMap;

use rtmfp_core::Instant;

/// The networks that have shares, by the length of their prefixes in bits, and their shares in halves of a source's.
const NETWORKS: [(u32, usize); 3] = [(64, 2), (56, 3), (48, 4)];

/// Who holds which of a limited number of places: for sessions, files, or whatever else far ends can fill.
///
/// No source (an IPv4 address, or a /64 network of IPv6) has more than its share. A /56 network has one and a half times
/// as many places, and a /48 network twice. When there is no room, a holder that
/// has brought nothing gives way to a newcomer: of the source that holds most, the one that came first. Next come
/// holders that have [stalled](Self::stalled_after). All others keep their places, and the newcomer gets none.
#[derive(Clone, Debug)]
pub struct Places<K> {
    max: usize,
    per_source: usize,
    stalled_after: Option<Duration>,
    held: BTreeMap<K, Place>,
    /// How many were ever admitted.
    admitted: u64,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    address: IpAddr,
    /// Its number in the order of admission.
    order: u64,
    /// When it last brought something.
    brought: Option<Instant>,
}

/// What came of asking for a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission<K> {
    /// There was room.
    Admitted,
    /// There was none; this holder has lost its place to the newcomer.
    Replaced(K),
    /// There is no room, and nobody has to give way.
    Full,
}

impl<K: Ord + Copy> Places<K> {
    /// So many places, of which no source has more than `per_source`.
    #[must_use]
    pub const fn new(max: usize, per_source: usize) -> Self {
        Self { max, per_source, stalled_after: None, held: BTreeMap::new(), admitted: 0 }
    }

    /// The same, but a holder that has brought something, and nothing more for this long, can lose its place too.
    #[must_use]
    pub const fn stalled_after(mut self, limit: Duration) -> Self {
        self.stalled_after = Some(limit);
        self
    }

    /// Asks for a place for somebody at this address.
    pub fn admit(&mut self, now: Instant, key: K, address: IpAddr) -> Admission<K> {
        if self.max == 0 || self.per_source == 0 {
            return Admission::Full;
        }
        let is_full = |(bits, halves): &(u32, usize)| {
            let network = network_of(address, *bits);
            let held = self.held.values().filter(|place| network_of(place.address, *bits) == network);
            held.count() >= self.per_source.saturating_mul(*halves).div_ceil(2)
        };
        let replaced = if let Some((bits, _)) = NETWORKS.iter().find(|tier| is_full(tier)) {
            Some(self.weakest(now, Some((network_of(address, *bits), *bits))))
        } else if self.held.len() >= self.max {
            Some(self.weakest(now, None))
        } else {
            None
        };
        let admission = match replaced {
            Some(None) => return Admission::Full,
            Some(Some(holder)) => {
                self.held.remove(&holder);
                Admission::Replaced(holder)
            }
            None => Admission::Admitted,
        };
        self.held.insert(key, Place { address, order: self.admitted, brought: None });
        self.admitted += 1;
        admission
    }

    /// A holder has brought what it is there for.
    pub fn brought(&mut self, now: Instant, key: K) {
        if let Some(place) = self.held.get_mut(&key) {
            place.brought = Some(now);
        }
    }

    /// Frees a place.
    pub fn leave(&mut self, key: K) {
        self.held.remove(&key);
    }

    /// How many places are taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether no place is taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The holder that gives way first, of one source or of all.
    fn weakest(&self, now: Instant, network: Option<(IpAddr, u32)>) -> Option<K> {
        // Of a large network, or of all, the one that holds most.
        let mut counts: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for place in self.held.values() {
            *counts.entry(source_of(place.address)).or_default() += 1;
        }
        let stalled = |at: Instant| self.stalled_after.is_some_and(|limit| now >= at + limit);
        let most_first = |place: &Place| core::cmp::Reverse(counts.get(&source_of(place.address)).copied());
        self.held
            .iter()
            .filter(|(_, place)| network.is_none_or(|(network, bits)| network_of(place.address, bits) == network))
            .filter(|(_, place)| place.brought.is_none_or(stalled))
            .min_by_key(|(_, place)| (place.brought.is_some(), most_first(place), place.brought, place.order))
            .map(|(key, _)| *key)
    }
}

/// Whom an address belongs to: an IPv4 address is a source, and so is a network of IPv6 that one subscriber has.
fn source_of(address: IpAddr) -> IpAddr {
    network_of(address, 64)
}

/// The network of so many bits that an IPv6 address is in; an IPv4 address as it is.
fn network_of(address: IpAddr, bits: u32) -> IpAddr {
    let rest = 128 - bits.clamp(1, 128);
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> rest << rest).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::ORIGIN;

    fn v4(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn one_source_has_its_share_and_displaces_only_itself() {
        let mut places = Places::new(4, 2);
        assert_eq!(places.admit(NOW, 1, v4(1)), Admission::Admitted);
        assert_eq!(places.admit(NOW, 2, v4(1)), Admission::Admitted);
        assert_eq!(places.admit(NOW, 3, v4(1)), Admission::Replaced(1));
        assert_eq!(places.admit(NOW, 4, v4(2)), Admission::Admitted);
        places.brought(NOW, 2);
        places.brought(NOW, 3);
        assert_eq!(places.admit(NOW, 5, v4(1)), Admission::Full);
        assert_eq!(places.len(), 3);
    }

    #[test]
    fn when_full_the_oldest_that_brought_nothing_gives_way() {
        let mut places = Places::new(3, 3);
        for key in 1..=3 {
            assert_eq!(places.admit(NOW, key, v4(key)), Admission::Admitted);
        }
        places.brought(NOW, 1);
        assert_eq!(places.admit(NOW, 4, v4(4)), Admission::Replaced(2));
        places.brought(NOW, 3);
        places.brought(NOW, 4);
        assert_eq!(places.admit(NOW, 5, v4(5)), Admission::Full);
        places.leave(3);
        assert_eq!(places.admit(NOW, 5, v4(5)), Admission::Admitted);
    }

    #[test]
    fn the_source_that_holds_most_gives_way_first() {
        let mut places = Places::new(4, 3);
        assert_eq!(places.admit(NOW, 1, v4(1)), Admission::Admitted);
        for key in 2..=4 {
            assert_eq!(places.admit(NOW, key, v4(2)), Admission::Admitted);
        }
        assert_eq!(places.admit(NOW, 5, v4(3)), Admission::Replaced(2));
    }

    #[test]
    fn whoever_stops_bringing_gives_way_after_the_limit() {
        let limit = Duration::from_secs(10);
        let mut places = Places::new(2, 2).stalled_after(limit);
        for key in 1..=2 {
            places.admit(NOW, key, v4(key));
            places.brought(NOW, key);
        }
        let later = NOW + limit;
        places.brought(later, 1);
        assert_eq!(places.admit(later - Duration::from_millis(1), 3, v4(3)), Admission::Full);
        assert_eq!(places.admit(later, 3, v4(3)), Admission::Replaced(2));
    }

    /// One site had as many shares as it has networks.
    #[test]
    fn a_site_has_two_shares_whatever_addresses_it_uses() {
        let mut places = Places::new(1_000, 10);
        let address = |site, net| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, site, net, 0, 0, 0, 1));
        let admissions: Vec<_> = (0..50).map(|net| places.admit(NOW, net, address(1, net << 8))).collect();
        assert_eq!(places.len(), 20);
        assert_eq!(admissions.last(), Some(&Admission::Replaced(29)), "the one that came first");
        for net in 100..150 {
            places.admit(NOW, net, address(2, net - 100));
        }
        assert_eq!(places.len(), 20 + 15, "a subscriber with a /56");
        assert_eq!(places.admit(NOW, 200, address(3, 0)), Admission::Admitted);
    }

    #[test]
    fn a_network_of_ipv6_is_one_source_and_so_is_a_mapped_address() {
        let mut places = Places::new(4, 1);
        let address = |text: &str| text.parse::<IpAddr>().unwrap_or(v4(0));
        places.admit(NOW, 1, address("2001:db8::1"));
        assert_eq!(places.admit(NOW, 2, address("2001:db8::ffff:1")), Admission::Replaced(1));
        assert_eq!(places.admit(NOW, 3, address("2001:db8:0:1::1")), Admission::Admitted);
        places.admit(NOW, 4, address("::ffff:192.0.2.1"));
        assert_eq!(places.admit(NOW, 5, v4(1)), Admission::Replaced(4));
    }
}
