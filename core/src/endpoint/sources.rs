//! Sources: whom addresses belong to, and how many of something each has.

use alloc::collections::BTreeMap;
use core::net::{IpAddr, Ipv6Addr};

/// What a source is, by the length of its prefix in bits, and its share in halves of a source's: one IPv4 address, or a
/// network of IPv6 that one subscriber has; and those that a larger subscriber and a site have.
pub(super) const NETWORKS: [(u32, u32); 3] = [(64, 2), (56, 3), (48, 4)];

/// The network of so many bits that an IPv6 address is in; an IPv4 address as it is.
pub(super) fn network_of(address: IpAddr, bits: u32) -> IpAddr {
    let rest = 128 - bits.clamp(1, 128);
    match address.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> rest << rest)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// The networks of an address, each with its share in halves of a source's.
fn networks_of(address: IpAddr) -> impl Iterator<Item = ((u32, IpAddr), u32)> {
    let tiers = if address.to_canonical().is_ipv4() { 1 } else { NETWORKS.len() };
    NETWORKS.into_iter().take(tiers).map(move |(bits, halves)| ((bits, network_of(address, bits)), halves))
}

/// How many of something each source has. It takes memory for those only that have any.
#[derive(Debug, Default)]
pub(super) struct SourceCounts {
    counts: BTreeMap<(u32, IpAddr), u32>,
}

impl SourceCounts {
    /// Whether a source may have one more, if each may have so many. A /56 network of IPv6 may have half as many again, a
    /// /48 network twice as many.
    pub(super) fn has_room(&self, source: IpAddr, per_source: usize) -> bool {
        networks_of(source).all(|(network, halves)| {
            let count = self.counts.get(&network).copied().unwrap_or(0);
            (count as usize) < per_source.saturating_mul(halves as usize).div_ceil(2)
        })
    }

    pub(super) fn add(&mut self, source: IpAddr) {
        for (network, _) in networks_of(source) {
            let count = self.counts.entry(network).or_default();
            *count = count.saturating_add(1);
        }
    }

    pub(super) fn remove(&mut self, source: IpAddr) {
        for (network, _) in networks_of(source) {
            if let Some(count) = self.counts.get_mut(&network) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.counts.remove(&network);
                }
            }
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(counts: &mut SourceCounts, sources: impl Iterator<Item = IpAddr>) -> usize {
        let mut admit = |source| {
            let has_room = counts.has_room(source, 10);
            if has_room {
                counts.add(source);
            }
            has_room
        };
        sources.filter(|source| admit(*source)).count()
    }

    fn network(site: u16, net: u16, host: u16) -> IpAddr {
        Ipv6Addr::new(0x2001, 0xdb8, site, net, 0, 0, 0, host).into()
    }

    #[test]
    fn a_source_has_its_share_a_subscriber_half_as_much_again_and_a_site_twice_as_much() {
        let mut counts = SourceCounts::default();
        let v4 = |last| IpAddr::from([192, 0, 2, last]);
        assert_eq!(admitted(&mut counts, core::iter::repeat_n(v4(1), 100)), 10);
        assert_eq!(admitted(&mut counts, core::iter::repeat_n(v4(2), 100)), 10);
        assert_eq!(admitted(&mut counts, (0..100).map(|host| network(1, 0, host))), 10);
        assert_eq!(admitted(&mut counts, (0..256).map(|net| network(2, net, 1))), 15);
        assert_eq!(admitted(&mut counts, (0..u16::MAX).map(|net| network(3, net, 1))), 20);
    }

    #[test]
    fn sources_that_have_nothing_take_no_memory() {
        let mut counts = SourceCounts::default();
        let sources = || (0..5).map(|site| network(site, 0, 1)).chain([[192, 0, 2, 1].into()]);
        for _ in 0..2 {
            assert_eq!(admitted(&mut counts, sources()), 6);
        }
        sources().chain(sources()).for_each(|source| counts.remove(source));
        assert!(counts.is_empty());
    }
}
