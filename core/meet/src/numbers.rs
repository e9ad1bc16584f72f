//! Numbers under which sessions can be met.

use alloc::collections::btree_map::Entry;
use alloc::collections::{BTreeMap, VecDeque};
use core::time::Duration;

use rtmfp_core::rand_core::CryptoRng;
use rtmfp_core::{Bytes, Instant, SessionHandle};

/// The fewest digits of a number.
const FEWEST: u32 = 4;
/// How many lengths there are: to nine digits.
const LENGTHS: usize = 6;
/// Of the numbers of one length, one in ten is given at most. Then longer ones are given. So nine of ten guesses meet
/// nobody, and few tries find a free number.
const SPARSE: u64 = 10;
/// Tries to find a free number of one length. Nine of ten succeed, so all of them fail once in 10^16 times.
const TRIES: usize = 16;

/// How long a number that its holder has left rests. Nobody else gets it meanwhile, so that who knows it does not meet
/// somebody else. Its holder gets it back: most sessions are lost by an accident.
const REST: Duration = Duration::from_secs(600);
/// Numbers that rest at once; each takes up to 600 bytes. With one beyond them the first ends its rest.
const MAX_RESTING: usize = 4_096;

/// A number that its holder has left.
#[derive(Debug)]
struct Resting {
    number: u64,
    until: Instant,
    /// The holder's Canonical Endpoint Discriminator.
    owner: Bytes,
}

/// Who can be met under which number.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    holders: BTreeMap<u64, SessionHandle>,
    /// How many are taken of each length.
    taken: [u64; LENGTHS],
    /// In the order in which their rest ends.
    resting: VecDeque<Resting>,
}

impl Numbers {
    /// The number that this owner had before, or else one that nobody has: random, and of four digits at least. It has
    /// more when a tenth of these are taken.
    pub(crate) fn give(
        &mut self,
        now: Instant,
        session: SessionHandle,
        owner: &Bytes,
        rng: &mut dyn CryptoRng,
    ) -> Option<u64> {
        while self.resting.front().is_some_and(|first| first.until <= now) {
            self.resting.pop_front();
        }
        if let Some(place) = self.resting.iter().position(|resting| resting.owner == *owner)
            && let Some(Resting { number, .. }) = self.resting.remove(place)
        {
            self.holders.insert(number, session);
            self.count(number, 1);
            return Some(number);
        }
        for (digits, taken) in (FEWEST..).zip(&mut self.taken) {
            let (first, end) = (10_u64.pow(digits - 1), 10_u64.pow(digits));
            if *taken >= (end - first) / SPARSE {
                continue;
            }
            for _ in 0..TRIES {
                // Beyond what matters, 64 random bits are spread evenly over 10^9 numbers.
                let mut random = [0; 8];
                rng.fill_bytes(&mut random);
                let number = first + u64::from_le_bytes(random) % (end - first);
                if self.resting.iter().any(|resting| resting.number == number) {
                    continue;
                }
                if let Entry::Vacant(free) = self.holders.entry(number) {
                    free.insert(session);
                    *taken += 1;
                    return Some(number);
                }
            }
        }
        None
    }

    pub(crate) fn holder(&self, number: u64) -> Option<SessionHandle> {
        self.holders.get(&number).copied()
    }

    /// Takes a number back, which rests from now on. False if it is somebody else's, or nobody's.
    pub(crate) fn release(&mut self, now: Instant, number: u64, session: SessionHandle, owner: &Bytes) -> bool {
        let is_holder = self.holder(number) == Some(session);
        if is_holder {
            self.holders.remove(&number);
            self.count(number, -1);
            if self.resting.len() >= MAX_RESTING {
                self.resting.pop_front();
            }
            self.resting.push_back(Resting { number, until: now + REST, owner: owner.clone() });
        }
        is_holder
    }

    fn count(&mut self, number: u64, change: i64) {
        let length = number.ilog10().saturating_sub(FEWEST - 1) as usize;
        if let Some(taken) = self.taken.get_mut(length) {
            *taken = taken.saturating_add_signed(change);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.holders.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    use crate::testing::{a_session, another_session, generator};

    const ADA: Bytes = Bytes::from_static(b"ada");
    const BEN: Bytes = Bytes::from_static(b"ben");
    const NOW: Instant = Instant::ORIGIN;

    #[test]
    fn numbers_have_four_digits_until_a_tenth_of_these_is_taken() {
        let (mut numbers, mut rng, session) = (Numbers::default(), generator(1), a_session());
        let given: Vec<_> = (0..1_000).filter_map(|_| numbers.give(NOW, session, &ADA, &mut rng)).collect();
        assert_eq!(given.iter().filter(|number| (1_000..10_000).contains(*number)).count(), 900);
        assert_eq!(given.iter().filter(|number| (10_000..100_000).contains(*number)).count(), 100);
        let first = given.first().copied().unwrap_or_default();
        assert!(numbers.release(NOW, first, session, &ADA));
        let next = numbers.give(NOW, session, &BEN, &mut rng).unwrap_or_default();
        assert!((1_000..10_000).contains(&next), "there is room for one of four digits again: {next}");
    }

    #[test]
    fn only_the_holder_gives_a_number_back() {
        let (mut numbers, mut rng) = (Numbers::default(), generator(1));
        let number = numbers.give(NOW, a_session(), &ADA, &mut rng).unwrap_or_default();
        assert!(!numbers.release(NOW, number, another_session(), &ADA));
        assert_eq!(numbers.holder(number), Some(a_session()));
        assert!(numbers.release(NOW, number, a_session(), &ADA));
        assert_eq!((numbers.holder(number), numbers.len()), (None, 0));
        assert!(!numbers.release(NOW, number, a_session(), &ADA) && !numbers.release(NOW, 0, a_session(), &ADA));
    }

    #[test]
    fn a_number_rests_for_its_holder_and_for_a_while() {
        let (mut numbers, mut rng) = (Numbers::default(), generator(1));
        let mut give = |numbers: &mut Numbers, now, owner: Bytes| numbers.give(now, a_session(), &owner, &mut rng);
        let number = give(&mut numbers, NOW, ADA).unwrap_or_default();
        assert!(numbers.release(NOW, number, a_session(), &ADA));
        let others: Vec<_> = (0..5_000).filter_map(|_| give(&mut numbers, NOW, BEN)).collect();
        assert!(!others.contains(&number) && others.len() == 5_000, "nobody else gets it");
        assert_eq!(give(&mut numbers, NOW + REST - Duration::from_secs(1), ADA), Some(number));
        assert!(numbers.release(NOW, number, a_session(), &ADA));
        assert!(give(&mut numbers, NOW + REST, BEN).is_some() && numbers.resting.is_empty(), "its rest is over");
    }

    #[test]
    fn the_numbers_that_rest_are_limited() {
        let (mut numbers, mut rng) = (Numbers::default(), generator(1));
        let given: Vec<_> = (0..5_000).filter_map(|_| numbers.give(NOW, a_session(), &ADA, &mut rng)).collect();
        for number in &given {
            assert!(numbers.release(NOW, *number, a_session(), &ADA));
        }
        assert_eq!((numbers.resting.len(), numbers.len()), (MAX_RESTING, 0));
    }
}
