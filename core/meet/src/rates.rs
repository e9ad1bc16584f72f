//! How often something may be done, by each source and by all.

use alloc::collections::BTreeMap;
use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

use rtmfp_core::Instant;

/// The networks of IPv6 that are sources, by the bits of their prefixes, and how many times a source's rate each has: a
/// subscriber's, and a site's.
const NETWORKS: [(u32, u32); 2] = [(64, 1), (48, 2)];

/// How often something may be done: `burst` times at once, and once more after each `every`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// How many times at once. 0 for never.
    pub burst: u32,
    /// The time after which it may be done once more.
    pub every: Duration,
}

impl Rate {
    /// So many times as often.
    fn times(self, times: u32) -> Self {
        Self { burst: self.burst.saturating_mul(times), every: self.every / times.max(1) }
    }

    /// The time in which a whole burst comes back.
    fn span(self) -> Duration {
        self.every.saturating_mul(self.burst)
    }
}

/// Counts by source. It remembers those only that have less than a whole burst left, and no more than `max` of them.
#[derive(Debug)]
pub(crate) struct Rates {
    each: Rate,
    all: Rate,
    max: usize,
    /// When each source will have its whole burst again, by the bits of its prefix and its address.
    whole_at: BTreeMap<(u32, IpAddr), Instant>,
    all_whole_at: Instant,
}

impl Rates {
    pub(crate) const fn new(each: Rate, all: Rate, max: usize) -> Self {
        Self { each, all, max, whole_at: BTreeMap::new(), all_whole_at: Instant::ORIGIN }
    }

    /// Counts one more by somebody at this address.
    ///
    /// # Errors
    /// It has to wait for so long.
    pub(crate) fn take(&mut self, now: Instant, address: IpAddr) -> Result<(), Duration> {
        // Who has its whole burst again is as good as unknown.
        let new = sources_of(address).filter(|(source, _)| !self.whole_at.contains_key(source)).count();
        if new > 0 && self.whole_at.len() + new > self.max {
            self.whole_at.retain(|_, whole_at| *whole_at > now);
            if self.whole_at.len() + new > self.max {
                return Err(self.each.every);
            }
        }
        let whole_at = |source| self.whole_at.get(&source).copied().unwrap_or(now);
        for (source, times) in sources_of(address) {
            after_one_more(self.each.times(times), now, whole_at(source))?;
        }
        self.all_whole_at = after_one_more(self.all, now, self.all_whole_at)?;
        for (source, times) in sources_of(address) {
            let known = self.whole_at.get(&source).copied().unwrap_or(now);
            if let Ok(whole_at) = after_one_more(self.each.times(times), now, known) {
                self.whole_at.insert(source, whole_at);
            }
        }
        Ok(())
    }

    #[cfg(test)]
    fn remembered(&self) -> usize {
        self.whole_at.len()
    }
}

/// When the whole burst is back after one more is taken; or how long to wait until one can be.
pub(crate) fn after_one_more(rate: Rate, now: Instant, whole_at: Instant) -> Result<Instant, Duration> {
    let next = whole_at.max(now) + rate.every;
    let latest = now + rate.span();
    if next > latest { Err(next.saturating_duration_since(latest).max(Duration::from_micros(1))) } else { Ok(next) }
}

/// Whom an address belongs to, and how many times a source's rate that has: an IPv4 address, or two networks of IPv6.
fn sources_of(address: IpAddr) -> impl Iterator<Item = ((u32, IpAddr), u32)> {
    let address = address.to_canonical();
    let tiers = if address.is_ipv4() { 1 } else { NETWORKS.len() };
    NETWORKS.into_iter().take(tiers).map(move |(bits, times)| ((bits, network_of(address, bits)), times))
}

/// The network of so many bits that an IPv6 address is in; an IPv4 address itself.
pub(crate) fn network_of(address: IpAddr, bits: u32) -> IpAddr {
    match address {
        IpAddr::V6(ip) => {
            let rest = u128::BITS - bits;
            IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> rest << rest))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 3, every: Duration::from_secs(20) };
    const PLENTY: Rate = Rate { burst: 1_000, every: Duration::from_millis(1) };

    fn v4(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1_000)
    }

    fn taken(rates: &mut Rates, now: Instant, address: IpAddr) -> usize {
        (0..100).filter(|_| rates.take(now, address).is_ok()).count()
    }

    #[test]
    fn a_source_has_a_burst_and_then_one_at_a_time() {
        let mut rates = Rates::new(RATE, PLENTY, 10);
        assert_eq!(taken(&mut rates, at(0), v4(1)), 3);
        assert_eq!(rates.take(at(1), v4(1)), Err(Duration::from_secs(19)));
        assert_eq!(taken(&mut rates, at(20), v4(1)), 1);
        assert_eq!(taken(&mut rates, at(60), v4(1)), 2);
        assert_eq!(taken(&mut rates, at(1_000), v4(1)), 3);
        assert_eq!(taken(&mut rates, at(1_000), v4(2)), 3, "another source has its own");
    }

    #[test]
    fn a_network_of_ipv6_is_one_source_and_a_mapped_address_is_the_ipv4_one() {
        let mut rates = Rates::new(RATE, PLENTY, 10);
        let host = |net, host| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, net, 0, 0, 0, host));
        assert_eq!((1..=50).map(|last| taken(&mut rates, at(0), host(1, last))).sum::<usize>(), 3);
        assert_eq!(taken(&mut rates, at(0), host(2, 1)), 3);
        assert_eq!(taken(&mut rates, at(0), v4(1)), 3);
        let mapped = core::net::Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped();
        assert_eq!(taken(&mut rates, at(0), mapped.into()), 0);
    }

    #[test]
    fn a_site_has_twice_the_rate_of_a_source_however_many_networks_it_has() {
        let mut rates = Rates::new(RATE, PLENTY, 1_000);
        let net = |site, net| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, site, net, 0, 0, 0, 1));
        assert_eq!((0..100).map(|number| taken(&mut rates, at(0), net(1, number))).sum::<usize>(), 6);
        assert_eq!((0..100).map(|number| taken(&mut rates, at(20), net(1, number))).sum::<usize>(), 2);
        assert_eq!(taken(&mut rates, at(20), net(2, 1)), 3);
    }

    #[test]
    fn all_together_have_a_rate_too_and_what_it_refuses_costs_the_source_nothing() {
        let all = Rate { burst: 4, every: Duration::from_secs(100) };
        let mut rates = Rates::new(RATE, all, 10);
        assert_eq!((taken(&mut rates, at(0), v4(1)), taken(&mut rates, at(0), v4(2))), (3, 1));
        assert_eq!(rates.take(at(0), v4(2)), Err(Duration::from_secs(100)));
        assert_eq!(taken(&mut rates, at(100), v4(2)), 1);
    }

    #[test]
    fn no_more_sources_are_remembered_than_there_is_room_for_and_those_with_a_whole_burst_not_at_all() {
        let mut rates = Rates::new(RATE, PLENTY, 10);
        assert_eq!((0..=255).filter(|last| rates.take(at(0), v4(*last)).is_ok()).count(), 10);
        assert_eq!(rates.remembered(), 10);
        assert!(rates.take(at(0), v4(5)).is_ok(), "who is remembered may go on");
        assert!(rates.take(at(21), v4(200)).is_ok());
        assert_eq!(rates.remembered(), 2, "the one that has taken two, and the new one");
    }

    #[test]
    fn a_burst_of_none_is_never() {
        let never = Rate { burst: 0, every: Duration::from_secs(1) };
        assert_eq!(taken(&mut Rates::new(never, PLENTY, 10), at(5), v4(1)), 0);
        assert_eq!(taken(&mut Rates::new(PLENTY, never, 10), at(5), v4(1)), 0);
    }
}
