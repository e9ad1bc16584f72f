//! How much strangers may cause a second: work at this end, and bytes to addresses that may not be theirs.

use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv6Addr};

use sha2::{Digest as _, Sha256};

use crate::config::EndpointConfig;
use crate::time::Instant;

/// Buckets of the table of sources. Two sources in one bucket share its rate.
const SOURCES: usize = 1_024;
/// So many bytes may answer each byte that came from an unproved address.
const FREE_FACTOR: usize = 3;

/// Whom an address belongs to: an IPv4 address is a source, and so is a network of IPv6 that one subscriber has.
fn source_of(address: IpAddr) -> IpAddr {
    network_of(address, 64)
}

/// The network of so many bits that an IPv6 address is in; an IPv4 address as it is.
pub(super) fn network_of(address: IpAddr, bits: u32) -> IpAddr {
    let rest = 128 - bits.clamp(1, 128);
    match address.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> rest << rest)),
        v4 @ IpAddr::V4(_) => v4,
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
        let elapsed = now.saturating_duration_since(self.filled).as_micros().min(1_000_000) as u64;
        let full = u64::from(self.per_second) * 1_000_000;
        self.level = full.min(self.level + elapsed * u64::from(self.per_second));
        self.filled = self.filled.max(now);
        let Some(level) = self.level.checked_sub(u64::from(tokens) * 1_000_000) else { return false };
        self.level = level;
        true
    }
}

/// A rate that sources share, so that none of them has more than its part.
pub(super) struct SharedRate {
    all: Bucket,
    per_source: u32,
    /// Empty until the first is asked for.
    sources: Vec<Bucket>,
    /// Places in the table depend on it, so that nobody can choose whom to share a bucket with.
    key: [u8; 16],
}

impl fmt::Debug for SharedRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedRate")
            .field("all", &self.all)
            .field("per_source", &self.per_source)
            .finish_non_exhaustive()
    }
}

impl SharedRate {
    pub(super) fn new(per_second: u32, per_source: u32, now: Instant, key: [u8; 16]) -> Self {
        Self { all: Bucket::new(per_second, now), per_source, sources: Vec::new(), key }
    }

    /// Takes one for this source; false if it has had its part, or all have.
    pub(super) fn take(&mut self, now: Instant, source: IpAddr) -> bool {
        if self.sources.is_empty() {
            self.sources.resize(SOURCES, Bucket::new(self.per_source, now));
        }
        let place = self.place(source);
        let source_has = self.sources.get_mut(place).is_some_and(|bucket| bucket.take(now));
        source_has && self.all.take(now)
    }

    fn place(&self, source: IpAddr) -> usize {
        let mut hash = Sha256::new();
        hash.update(self.key);
        match source_of(source) {
            IpAddr::V4(ip) => hash.update(ip.octets()),
            IpAddr::V6(ip) => hash.update(ip.octets()),
        }
        let digest: [u8; 32] = hash.finalize().into();
        let [first, second, ..] = digest;
        usize::from(u16::from_be_bytes([first, second])) % SOURCES
    }
}

/// Limits of startup replies to addresses that have proved nothing: whoever sends hellos from a victim's address must
/// not be able to make this end flood the victim (RFC 7016 §5).
#[derive(Debug)]
pub(super) struct ReplyLimits {
    replies: SharedRate,
    /// Bytes beyond [`FREE_FACTOR`] times what came.
    excess: Bucket,
}

impl ReplyLimits {
    pub(super) fn new(config: &EndpointConfig, now: Instant, key: [u8; 16]) -> Self {
        let (per_second, per_source) = (config.max_hello_replies_per_second, config.max_hello_replies_per_source);
        Self {
            replies: SharedRate::new(per_second, per_source, now, key),
            excess: Bucket::new(config.max_excess_reply_bytes, now),
        }
    }

    /// Whether one more reply may go to this source.
    pub(super) fn admit(&mut self, now: Instant, source: IpAddr) -> bool {
        self.replies.take(now, source)
    }

    /// Whether a reply may be as large as this, in bytes, with so many bytes of chunks asking for it.
    pub(super) fn admit_size(&mut self, now: Instant, asked: usize, reply: usize) -> bool {
        let excess = reply.saturating_sub(asked.saturating_mul(FREE_FACTOR));
        excess == 0 || self.excess.take_many(now, u32::try_from(excess).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
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

    fn limits(total: u32, per_source: u32, excess: u32) -> ReplyLimits {
        let config = EndpointConfig {
            max_hello_replies_per_second: total,
            max_hello_replies_per_source: per_source,
            max_excess_reply_bytes: excess,
            ..EndpointConfig::default()
        };
        ReplyLimits::new(&config, Instant::ORIGIN, [3; 16])
    }

    #[test]
    fn one_source_gets_its_share_and_leaves_the_rest_to_others() {
        let mut limits = limits(1_000, 10, 0);
        let mut admitted = |ip: &str| (0..100).filter(|_| limits.admit(Instant::ORIGIN, ip.parse().unwrap())).count();
        assert_eq!(admitted("192.0.2.1"), 10);
        assert_eq!(admitted("::ffff:192.0.2.1"), 0, "the same in other words");
        assert_eq!(admitted("192.0.2.2"), 10);
        assert_eq!(admitted("2001:db8::1"), 10);
        assert_eq!(admitted("2001:db8::ffff:1"), 0, "the same network");
        assert_eq!(admitted("2001:db8:0:1::1"), 10);
    }

    #[test]
    fn many_sources_get_the_total_and_no_more() {
        let mut limits = limits(50, 10, 0);
        let sources = (0..1_000u32).map(|n| IpAddr::from((0x0a00_0000 + n).to_be_bytes()));
        assert_eq!(sources.filter(|source| limits.admit(Instant::ORIGIN, *source)).count(), 50);
    }

    #[test]
    fn replies_of_three_times_the_question_are_free_and_larger_ones_are_rationed() {
        let mut limits = limits(1, 1, 1_000);
        for _ in 0..100_000 {
            assert!(limits.admit_size(Instant::ORIGIN, 50, 150));
        }
        // A certificate of 1 kB: 910 bytes more than is free.
        assert!(limits.admit_size(Instant::ORIGIN, 30, 1_000));
        assert!(!limits.admit_size(Instant::ORIGIN, 30, 1_000));
        assert!(limits.admit_size(Instant::from_millis(1_000), 30, 1_000));
    }
}
