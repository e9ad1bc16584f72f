//! The IIKeyings that have had an answer lately, so that a recording of one opens nothing.

use alloc::collections::{BTreeSet, VecDeque};

use crate::params::COOKIE_LIFETIME;
use crate::time::Instant;

/// The most that are remembered. With the default limit of 400 key agreements a second there are 38,000 at most.
const MOST: usize = 1 << 16;
/// Bytes of a digest that are kept: two that are alike in these are not met by chance.
const KEPT: usize = 16;

/// Digests of answered IIKeyings, each for as long as a cookie lives: after that, the cookie that it echoes is refused.
#[derive(Debug, Default)]
pub(super) struct Answered {
    /// In the order of their answers.
    order: VecDeque<(Instant, [u8; KEPT])>,
    digests: BTreeSet<[u8; KEPT]>,
}

impl Answered {
    /// An IIKeying has its answer.
    pub(super) fn insert(&mut self, now: Instant, digest: &[u8; 32]) {
        self.expire(now);
        let digest = kept(digest);
        if !self.digests.insert(digest) {
            return;
        }
        if self.order.len() >= MOST
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.digests.remove(&oldest);
        }
        self.order.push_back((now + COOKIE_LIFETIME, digest));
    }

    /// Whether one with this digest was answered while its cookie could be good.
    pub(super) fn contains(&mut self, now: Instant, digest: &[u8; 32]) -> bool {
        self.expire(now);
        self.digests.contains(&kept(digest))
    }

    fn expire(&mut self, now: Instant) {
        // A cookie is good at the last moment of its life too.
        while let Some((_, digest)) = self.order.front().copied().filter(|(until, _)| *until < now) {
            self.order.pop_front();
            self.digests.remove(&digest);
        }
    }
}

fn kept(digest: &[u8; 32]) -> [u8; KEPT] {
    let mut kept = [0; KEPT];
    kept.copy_from_slice(digest.first_chunk::<KEPT>().unwrap_or(&[0; KEPT]));
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    fn digest(number: u32) -> [u8; 32] {
        let mut digest = [0; 32];
        digest[..4].copy_from_slice(&number.to_be_bytes());
        digest
    }

    #[test]
    fn an_answer_is_remembered_as_long_as_a_cookie_lives() {
        let mut answered = Answered::default();
        answered.insert(Instant::ORIGIN, &digest(1));
        let end = Instant::ORIGIN + COOKIE_LIFETIME;
        assert!(answered.contains(end, &digest(1)) && !answered.contains(end, &digest(2)));
        assert!(!answered.contains(end + Duration::from_micros(1), &digest(1)));
        assert!(answered.order.is_empty() && answered.digests.is_empty());
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for_and_the_oldest_goes() {
        let mut answered = Answered::default();
        for number in 0..=MOST as u32 {
            answered.insert(Instant::ORIGIN, &digest(number));
            answered.insert(Instant::ORIGIN, &digest(number));
        }
        assert_eq!((answered.order.len(), answered.digests.len()), (MOST, MOST));
        assert!(!answered.contains(Instant::ORIGIN, &digest(0)));
        assert!(
            answered.contains(Instant::ORIGIN, &digest(1)) && answered.contains(Instant::ORIGIN, &digest(MOST as u32))
        );
    }
}
