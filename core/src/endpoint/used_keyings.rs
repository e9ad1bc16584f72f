//! The IIKeyings whose sessions were used lately, so that a recording of one opens nothing.

use alloc::collections::{BTreeSet, VecDeque};

use crate::params::COOKIE_LIFETIME;
use crate::time::Instant;

/// Bytes of a digest that are kept: two that are alike in these are not met by chance.
const DIGEST_BYTES: usize = 16;

/// Digests of IIKeyings with which a far end has opened a session and proved its keys. Each is kept for as long as a cookie
/// lives: after that, the cookie that it echoes is refused. Those of unproved sessions are not: an initiator that did not
/// get its answer goes on asking after its session is given up here.
#[derive(Debug)]
pub(super) struct UsedKeyings {
    /// In the order of their proofs.
    order: VecDeque<(Instant, [u8; DIGEST_BYTES])>,
    digests: BTreeSet<[u8; DIGEST_BYTES]>,
    capacity: usize,
}

impl UsedKeyings {
    /// With room for all that can come in the life of a cookie at this limit of key agreements. Each takes some 60 bytes.
    pub(super) fn new(agreements_per_second: u32) -> Self {
        let capacity = u64::from(agreements_per_second).saturating_mul(COOKIE_LIFETIME.as_secs() + 1).max(1);
        let capacity = usize::try_from(capacity).unwrap_or(usize::MAX);
        Self { order: VecDeque::new(), digests: BTreeSet::new(), capacity }
    }

    /// The session of an IIKeying has proved its keys. With no room the oldest is forgotten.
    pub(super) fn insert(&mut self, now: Instant, digest: &[u8; 32]) {
        self.expire(now);
        let digest = kept_part(digest);
        if !self.digests.insert(digest) {
            return;
        }
        if self.order.len() >= self.capacity
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.digests.remove(&oldest);
        }
        self.order.push_back((now + COOKIE_LIFETIME, digest));
    }

    /// Whether one with this digest was used while its cookie could be good.
    pub(super) fn contains(&mut self, now: Instant, digest: &[u8; 32]) -> bool {
        self.expire(now);
        self.digests.contains(&kept_part(digest))
    }

    fn expire(&mut self, now: Instant) {
        // A cookie is good at the last moment of its life too.
        while let Some((_, digest)) = self.order.front().copied().filter(|(until, _)| *until < now) {
            self.order.pop_front();
            self.digests.remove(&digest);
        }
    }
}

fn kept_part(digest: &[u8; 32]) -> [u8; DIGEST_BYTES] {
    digest.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    /// What ten agreements a second come to.
    const MOST: u32 = 960;

    fn digest(number: u32) -> [u8; 32] {
        let mut digest = [0; 32];
        digest[..4].copy_from_slice(&number.to_be_bytes());
        digest
    }

    #[test]
    fn a_keying_is_remembered_as_long_as_a_cookie_lives() {
        let mut used = UsedKeyings::new(10);
        used.insert(Instant::ORIGIN, &digest(1));
        let end = Instant::ORIGIN + COOKIE_LIFETIME;
        assert!(used.contains(end, &digest(1)) && !used.contains(end, &digest(2)));
        assert!(!used.contains(end + Duration::from_micros(1), &digest(1)));
        assert!(used.order.is_empty() && used.digests.is_empty());
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for_and_the_oldest_goes() {
        let mut used = UsedKeyings::new(10);
        for number in 0..=MOST {
            used.insert(Instant::ORIGIN, &digest(number));
            used.insert(Instant::ORIGIN, &digest(number));
        }
        assert_eq!((used.order.len(), used.digests.len()), (MOST as usize, MOST as usize));
        assert!(!used.contains(Instant::ORIGIN, &digest(0)));
        assert!(used.contains(Instant::ORIGIN, &digest(1)) && used.contains(Instant::ORIGIN, &digest(MOST)));
    }
}
