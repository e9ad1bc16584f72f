//! Numbers under which sessions can be met.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use core::net::IpAddr;

use rtmfp_core::rand_core::CryptoRng;
use rtmfp_core::{Bytes, Instant, SessionHandle};

use self::resting::Resting;

/// The fewest digits of a number.
const FEWEST: u32 = 4;
/// How many lengths there are: to nine digits.
const LENGTHS: usize = 6;
/// Of the numbers of one length, one in ten is given at most. Then longer ones are given. So nine of ten guesses meet
/// nobody, and few tries find a free number.
const SPARSE: u64 = 10;
/// Tries to find a free number of one length. Nine of ten succeed, so all of them fail once in 10^16 times.
const TRIES: usize = 16;

/// Who can be met under which number.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    holders: BTreeMap<u64, SessionHandle>,
    /// How many are taken of each length.
    taken: [u64; LENGTHS],
    resting: Resting,
}

impl Numbers {
    /// The number that this owner had last before, or else one that nobody has: random, and of four digits at least. It has
    /// more when a tenth of these are taken.
    pub(crate) fn give(
        &mut self,
        now: Instant,
        session: SessionHandle,
        owner: &Bytes,
        rng: &mut dyn CryptoRng,
    ) -> Option<u64> {
        self.resting.expire(now);
        if let Some(number) = self.resting.take(owner) {
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
                if self.resting.has(number) {
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

    /// Takes a number back, which rests from now on: for this owner, or for nobody. False if it is somebody else's, or
    /// nobody's. `source`: where its holder was.
    pub(crate) fn release(
        &mut self,
        now: Instant,
        number: u64,
        session: SessionHandle,
        owner: Option<&Bytes>,
        source: IpAddr,
    ) -> bool {
        let is_holder = self.holder(number) == Some(session);
        if is_holder {
            self.holders.remove(&number);
            self.count(number, -1);
            self.resting.add(now, number, owner, source);
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

mod resting;

#[cfg(test)]
mod tests {
    use super::resting::{MAX_OF_OWNER, MAX_OF_SOURCE, MAX_RESTING, REST};
    use super::*;
    use alloc::vec::Vec;
    use core::time::Duration;

    use crate::testing::{a_session, another_session, generator};

    const ADA: Bytes = Bytes::from_static(b"ada");
    const BEN: Bytes = Bytes::from_static(b"ben");
    const NOW: Instant = Instant::ORIGIN;
    const HERE: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn numbers_have_four_digits_until_a_tenth_of_these_is_taken() {
        let (mut numbers, mut rng, session) = (Numbers::default(), generator(1), a_session());
        let given: Vec<_> = (0..1_000).filter_map(|_| numbers.give(NOW, session, &ADA, &mut rng)).collect();
        assert_eq!(given.iter().filter(|number| (1_000..10_000).contains(*number)).count(), 900);
        assert_eq!(given.iter().filter(|number| (10_000..100_000).contains(*number)).count(), 100);
        let first = given.first().copied().unwrap_or_default();
        assert!(numbers.release(NOW, first, session, Some(&ADA), HERE));
        let next = numbers.give(NOW, session, &BEN, &mut rng).unwrap_or_default();
        assert!((1_000..10_000).contains(&next), "there is room for one of four digits again: {next}");
    }

    #[test]
    fn only_the_holder_gives_a_number_back() {
        let (mut numbers, mut rng) = (Numbers::default(), generator(1));
        let number = numbers.give(NOW, a_session(), &ADA, &mut rng).unwrap_or_default();
        assert!(!numbers.release(NOW, number, another_session(), Some(&ADA), HERE));
        assert_eq!(numbers.holder(number), Some(a_session()));
        assert!(numbers.release(NOW, number, a_session(), Some(&ADA), HERE));
        assert_eq!((numbers.holder(number), numbers.len()), (None, 0));
        let mut again = |number| numbers.release(NOW, number, a_session(), Some(&ADA), HERE);
        assert!(!again(number) && !again(0));
    }

    fn give(numbers: &mut Numbers, now: Instant, owner: &Bytes) -> u64 {
        numbers.give(now, a_session(), owner, &mut generator(1)).unwrap_or_default()
    }

    #[test]
    fn a_number_rests_for_its_holder_and_for_a_while() {
        let (mut numbers, mut rng) = (Numbers::default(), generator(1));
        let mut give = |numbers: &mut Numbers, now, owner: Bytes| numbers.give(now, a_session(), &owner, &mut rng);
        let number = give(&mut numbers, NOW, ADA).unwrap_or_default();
        assert!(numbers.release(NOW, number, a_session(), Some(&ADA), HERE));
        let others: Vec<_> = (0..5_000).filter_map(|_| give(&mut numbers, NOW, BEN)).collect();
        assert!(!others.contains(&number) && others.len() == 5_000, "nobody else gets it");
        assert_eq!(give(&mut numbers, NOW + REST - Duration::from_secs(1), ADA), Some(number));
        assert!(numbers.release(NOW, number, a_session(), Some(&ADA), HERE));
        assert!(give(&mut numbers, NOW + REST, BEN).is_some() && numbers.resting.len() == 0, "its rest is over");
    }

    /// The number that was given back on purpose went to its owner again, and the one that others knew rested.
    #[test]
    fn its_holder_gets_the_last_number_back_and_none_that_it_has_given_back() {
        let mut numbers = Numbers::default();
        let [first, second, third] = [(); 3].map(|()| give(&mut numbers, NOW, &ADA));
        assert!(numbers.release(NOW, first, a_session(), Some(&ADA), HERE));
        assert!(numbers.release(NOW, second, a_session(), Some(&ADA), HERE));
        assert!(numbers.release(NOW, third, a_session(), None, HERE));
        assert_eq!([(); 2].map(|()| give(&mut numbers, NOW, &ADA)), [second, first]);
        let other = give(&mut numbers, NOW, &ADA);
        assert!(other != third && numbers.resting.has(third), "it rests for nobody");
    }

    #[test]
    fn the_numbers_that_rest_are_limited_of_an_owner_of_a_source_and_in_all() {
        let (mut numbers, mut rng) = (Numbers::default(), generator(1));
        let mut rest = |numbers: &mut Numbers, owner: Bytes, source: u32| {
            let number = numbers.give(NOW, a_session(), &BEN, &mut rng).unwrap_or_default();
            let source = IpAddr::V4(core::net::Ipv4Addr::from_bits(source));
            assert!(numbers.release(NOW, number, a_session(), Some(&owner), source));
            number
        };
        let of_ada = rest(&mut numbers, ADA, 1);
        // One who comes and goes loses his own.
        let own = Bytes::from_static(b"cleo");
        let first = rest(&mut numbers, own.clone(), 2);
        (0..MAX_OF_OWNER).for_each(|_| _ = rest(&mut numbers, own.clone(), 3));
        assert_eq!((numbers.resting.len(), numbers.resting.has(first)), (1 + MAX_OF_OWNER, false));
        // So does a source with many names.
        let named = |number: usize| Bytes::from(alloc::format!("name {number}"));
        (0..2 * MAX_OF_SOURCE).for_each(|number| _ = rest(&mut numbers, named(number), 2));
        assert_eq!(numbers.resting.len(), 1 + MAX_OF_OWNER + MAX_OF_SOURCE);
        assert!(numbers.resting.has(of_ada));
        for source in 4..100 {
            let names = 1_000 * source as usize..;
            names.take(MAX_OF_SOURCE).for_each(|number| _ = rest(&mut numbers, named(number), source));
        }
        assert_eq!((numbers.resting.len(), numbers.len()), (MAX_RESTING, 0));
        assert_eq!(numbers.resting.take(&ADA), None, "the first ends first");
    }
}
