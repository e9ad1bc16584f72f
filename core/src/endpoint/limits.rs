//! How much outsiders may cause a second: work at this end, and bytes to addresses that may not be theirs.

use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::time::Duration;

use sha2::{Digest as _, Sha256};

use super::sources::{NETWORKS, network_of};
use crate::config::EndpointConfig;
use crate::time::Instant;

/// Buckets of each table of sources. Two sources in one bucket share its rate.
const SOURCES: usize = 1_024;
/// How many bytes may answer each byte that came from an unproved address, as in QUIC (RFC 9000 §8.1).
const FREE_FACTOR: usize = 3;

/// One part in so many of a shared rate is for sources that have had nothing for as long as [`REST`].
const KEPT_FOR_OTHERS: u64 = 4;
/// See [`KEPT_FOR_OTHERS`].
const REST: Duration = Duration::from_secs(1);

/// A key that is not printed: whoever knows it could choose whom to share a bucket with.
#[derive(Clone, Copy, Default)]
pub(super) struct HiddenKey(pub(super) [u8; 16]);

impl fmt::Debug for HiddenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HiddenKey")
    }
}

/// A token bucket that holds one second's worth.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    per_second: u32,
    /// Tokens, in millionths.
    level: u64,
    filled: Instant,
}

impl Bucket {
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        Self { per_second, level: u64::from(per_second) * 1_000_000, filled: now }
    }

    /// Takes one token; false if there is none.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        self.take_many(now, 1)
    }

    /// Takes so many tokens; false, and none taken, if there are not so many.
    pub(super) fn take_many(&mut self, now: Instant, tokens: u32) -> bool {
        self.refill(now);
        let Some(level) = self.level.checked_sub(u64::from(tokens) * 1_000_000) else { return false };
        self.level = level;
        true
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled).as_micros().min(1_000_000) as u64;
        let full = u64::from(self.per_second) * 1_000_000;
        self.level = full.min(self.level + elapsed * u64::from(self.per_second));
        self.filled = self.filled.max(now);
    }
}

/// What one source may have.
#[derive(Clone, Debug)]
struct Share {
    bucket: Bucket,
    /// When it had something last.
    served: Option<Instant>,
}

/// A rate that sources share. None has more than its part, and a quarter of the whole is kept for those that have had
/// nothing for a second, so that a few greedy ones keep nobody out.
#[derive(Debug)]
pub(super) struct SharedRate {
    all: Bucket,
    per_source: u32,
    /// A table for each of [`NETWORKS`], empty until the first is asked for.
    tables: [Vec<Share>; NETWORKS.len()],
    /// Places in the tables depend on it.
    key: HiddenKey,
}

impl SharedRate {
    pub(super) fn new(per_second: u32, per_source: u32, now: Instant, key: HiddenKey) -> Self {
        Self { all: Bucket::new(per_second, now), per_source, tables: Default::default(), key }
    }

    /// Takes one for this source; false if it has had its part, or all have.
    pub(super) fn take(&mut self, now: Instant, source: IpAddr) -> bool {
        self.take_many(now, source, 1)
    }

    /// Takes so many for this source; false, and none taken, if it or all have had too many already.
    pub(super) fn take_many(&mut self, now: Instant, source: IpAddr, tokens: u32) -> bool {
        self.take_as(now, source, tokens, false)
    }

    /// The same for something that this source has had a part of just now. What is kept for others may be used for it.
    pub(super) fn take_rest(&mut self, now: Instant, source: IpAddr, tokens: u32) -> bool {
        self.take_as(now, source, tokens, true)
    }

    /// So many, or the most that one source can ever have, if that is less: else what costs more would be refused for ever.
    /// At least one.
    pub(super) fn affordable(&self, tokens: u32) -> u32 {
        tokens.min(self.per_source).min(self.all.per_second).max(1)
    }

    fn take_as(&mut self, now: Instant, source: IpAddr, tokens: u32, is_rest: bool) -> bool {
        self.all.refill(now);
        let cost = u64::from(tokens) * 1_000_000;
        let Some(left) = self.all.level.checked_sub(cost) else { return false };
        let is_scarce = left < u64::from(self.all.per_second) * 1_000_000 / KEPT_FOR_OTHERS;
        let mut places = [None; NETWORKS.len()];
        for (tier, (place, (bits, halves))) in places.iter_mut().zip(NETWORKS).enumerate() {
            let network = network_of(source, bits);
            if network.is_ipv4() && tier > 0 {
                continue;
            }
            let at = place_of(self.key, network, bits);
            let Some(table) = self.tables.get_mut(tier) else { return false };
            if table.is_empty() {
                let rate = u64::from(self.per_source) * u64::from(halves) / 2;
                let bucket = Bucket::new(u32::try_from(rate).unwrap_or(u32::MAX), now);
                table.resize(SOURCES, Share { bucket, served: None });
            }
            let Some(share) = table.get_mut(at) else { return false };
            share.bucket.refill(now);
            let lately = share.served.is_some_and(|at| now.saturating_duration_since(at) < REST);
            if share.bucket.level < cost || (is_scarce && lately && !is_rest) {
                return false;
            }
            *place = Some(at);
        }
        for (table, place) in self.tables.iter_mut().zip(places) {
            if let Some(share) = place.and_then(|at| table.get_mut(at)) {
                share.bucket.level -= cost;
                share.served = Some(now);
            }
        }
        self.all.level = left;
        true
    }
}

fn place_of(key: HiddenKey, network: IpAddr, bits: u32) -> usize {
    let mut hash = Sha256::new();
    hash.update(key.0);
    hash.update([bits as u8]);
    match network {
        IpAddr::V4(ip) => hash.update(ip.octets()),
        IpAddr::V6(ip) => hash.update(ip.octets()),
    }
    let digest: [u8; 32] = hash.finalize().into();
    let [first, second, ..] = digest;
    usize::from(u16::from_be_bytes([first, second])) % SOURCES
}

/// What asks for a startup reply to an address that has proved nothing.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asker {
    /// The datagram that is being handled, which may have one reply.
    Datagram,
    /// A datagram of so many bytes that was handled before.
    Earlier(usize),
    /// So many bytes of a session whose far end is at this address, which is proved, and pays for it.
    Session(IpAddr, usize),
}

/// The datagram that is being handled.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asking {
    /// Its bytes, or those of the packet that its fragments complete.
    pub(super) len: usize,
    /// It has its one reply.
    pub(super) answered: bool,
}

/// Limits of startup replies to addresses that have proved nothing: whoever sends hellos from a victim's address must
/// not be able to make this end flood the victim (RFC 7016 §5).
#[derive(Debug)]
pub(super) struct ReplyLimits {
    replies: SharedRate,
    /// Bytes beyond [`FREE_FACTOR`] times what came.
    excess: SharedRate,
}

impl ReplyLimits {
    pub(super) fn new(config: &EndpointConfig, now: Instant, key: HiddenKey) -> Self {
        let (per_second, per_source) = (config.max_hello_replies_per_second, config.max_hello_replies_per_source);
        let (excess, excess_per_source) = (config.max_excess_reply_bytes, config.max_excess_reply_bytes_per_source);
        Self {
            replies: SharedRate::new(per_second, per_source, now, key),
            excess: SharedRate::new(excess, excess_per_source, now, key),
        }
    }

    /// Whether one more reply may go to this source.
    pub(super) fn allow(&mut self, now: Instant, source: IpAddr) -> bool {
        self.replies.take(now, source)
    }

    /// Whether a reply may be as large as this, in bytes, to what came from this source in so many bytes.
    pub(super) fn allow_size(&mut self, now: Instant, source: IpAddr, asked: usize, reply: usize) -> bool {
        let excess = reply.saturating_sub(asked.saturating_mul(FREE_FACTOR));
        excess == 0 || self.excess.take_many(now, source, u32::try_from(excess).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv6Addr;

    use super::*;

    #[test]
    fn a_bucket_gives_its_rate_and_no_more() {
        let start = Instant::from_millis(1_000);
        let mut bucket = Bucket::new(10, start);
        assert_eq!((0..100).filter(|_| bucket.take(start)).count(), 10);
        let later = |millis: u64| Instant::from_millis(1_000 + millis);
        assert!(!bucket.take(later(99)));
        assert!(bucket.take(later(100)));
        assert!(!bucket.take(later(100)));
        // A long rest fills it once, not more.
        assert_eq!((0..100).filter(|_| bucket.take(later(1_000_000))).count(), 10);
    }

    fn rate(total: u32, per_source: u32) -> SharedRate {
        SharedRate::new(total, per_source, Instant::ORIGIN, HiddenKey([3; 16]))
    }

    fn taken(rate: &mut SharedRate, sources: impl Iterator<Item = IpAddr>) -> usize {
        sources.filter(|source| rate.take(Instant::ORIGIN, *source)).count()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_source_gets_its_share_and_leaves_the_rest_to_others() {
        let mut rate = rate(1_000, 10);
        let mut admitted = |text: &str| taken(&mut rate, core::iter::repeat_n(ip(text), 100));
        assert_eq!(admitted("192.0.2.1"), 10);
        assert_eq!(admitted("::ffff:192.0.2.1"), 0, "the same in other words");
        assert_eq!(admitted("192.0.2.2"), 10);
        assert_eq!(admitted("2001:db8::1"), 10);
        assert_eq!(admitted("2001:db8::ffff:1"), 0, "the same network");
        assert_eq!(admitted("2001:db8:0:1::1"), 5, "the same /56, which has half as much again");
        assert_eq!(admitted("2001:db8:0:100::1"), 5, "the same /48, which has twice as much");
        assert_eq!(admitted("2001:db8:1::1"), 10);
    }

    /// One site had 65,536 shares.
    #[test]
    fn a_site_has_two_shares_whatever_addresses_it_uses() {
        let mut rate = rate(10_000, 10);
        let site = (0..65_536_u32).map(|net| Ipv6Addr::new(0x2001, 0xdb8, 7, net as u16, 0, 0, 0, 1).into());
        assert_eq!(taken(&mut rate, site), 20);
        let mut rate = self::rate(10_000, 10);
        let subscriber = (0..256_u32).map(|net| Ipv6Addr::new(0x2001, 0xdb8, 7, net as u16, 0, 0, 0, 1).into());
        assert_eq!(taken(&mut rate, subscriber), 15);
    }

    #[test]
    fn what_costs_more_than_a_source_can_have_costs_all_that_it_can_have() {
        for (total, per_source, wanted, affordable) in
            [(400, 100, 2, 2), (400, 1, 2, 1), (1, 100, 5, 1), (400, 100, 500, 100), (0, 0, 2, 1), (9, 9, 0, 1)]
        {
            assert_eq!(rate(total, per_source).affordable(wanted), affordable);
        }
    }

    /// Once it had the first part, a newcomer was no newcomer any more.
    #[test]
    fn the_rest_may_be_of_what_is_kept_for_others() {
        let mut rate = rate(8, 8);
        assert!(rate.take_many(Instant::ORIGIN, ip("192.0.2.1"), 6));
        let newcomer = ip("192.0.2.2");
        assert!(rate.take(Instant::ORIGIN, newcomer) && !rate.take(Instant::ORIGIN, newcomer));
        assert!(rate.take_rest(Instant::ORIGIN, newcomer, 1));
        assert!(!rate.take_rest(Instant::ORIGIN, newcomer, 1), "no more than there is");
    }

    #[test]
    fn many_sources_get_the_total_and_no_more() {
        let mut rate = rate(50, 10);
        let sources = (0..1_000u32).map(|n| IpAddr::from((0x0a00_0000 + n).to_be_bytes()));
        assert_eq!(taken(&mut rate, sources), 50);
    }

    /// Four sources at full rate took all that there is.
    #[test]
    fn sources_that_take_all_they_can_get_leave_something_to_others() {
        let mut rate = rate(400, 100);
        let (mut now, mut served) = (Instant::ORIGIN, 0);
        for round in 0..1_000_u32 {
            now += Duration::from_millis(10);
            for greedy in 0..20_u8 {
                while rate.take(now, [192, 0, 2, greedy].into()) {}
            }
            let newcomer = IpAddr::from((0x0a00_0000 + round).to_be_bytes());
            served += u32::from(rate.take(now, newcomer));
        }
        // All but those who share a bucket with somebody that was served within the second.
        assert!(served > 850, "{served} of 1,000");
    }

    #[test]
    fn replies_of_three_times_the_question_are_free_and_larger_ones_are_rationed() {
        let mut config = EndpointConfig::default();
        (config.max_excess_reply_bytes, config.max_excess_reply_bytes_per_source) = (2_000, 1_000);
        let mut limits = ReplyLimits::new(&config, Instant::ORIGIN, HiddenKey([3; 16]));
        let mut allow =
            |millis, source, asked, reply| limits.allow_size(Instant::from_millis(millis), ip(source), asked, reply);
        for _ in 0..10_000 {
            assert!(allow(0, "192.0.2.1", 50, 150));
        }
        // A certificate of 1 kB: 910 bytes more than is free.
        assert!(allow(0, "192.0.2.1", 30, 1_000));
        assert!(!allow(0, "192.0.2.1", 30, 1_000), "its share is used up");
        assert!(allow(0, "192.0.2.2", 30, 1_000), "another's is not");
        assert!(!allow(0, "192.0.2.3", 30, 1_000), "all is used up");
        assert!(allow(1_000, "192.0.2.1", 30, 1_000));
    }
}
