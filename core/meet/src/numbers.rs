//! Numbers under which sessions can be met.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;

use rtmfp_core::SessionHandle;
use rtmfp_core::rand_core::CryptoRng;

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
}

impl Numbers {
    /// A number that nobody has: random, and of four digits at least. It has more when a tenth of these are taken.
    pub(crate) fn give(&mut self, session: SessionHandle, rng: &mut dyn CryptoRng) -> Option<u64> {
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

    /// Takes a number back. False if it is somebody else's, or nobody's.
    pub(crate) fn release(&mut self, number: u64, session: SessionHandle) -> bool {
        let is_holder = self.holder(number) == Some(session);
        if is_holder {
            self.holders.remove(&number);
            let length = number.ilog10().saturating_sub(FEWEST - 1) as usize;
            if let Some(taken) = self.taken.get_mut(length) {
                *taken = taken.saturating_sub(1);
            }
        }
        is_holder
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

    #[test]
    fn numbers_have_four_digits_until_a_tenth_of_these_is_taken() {
        let (mut numbers, mut rng, session) = (Numbers::default(), generator(1), a_session());
        let given: Vec<_> = (0..1_000).filter_map(|_| numbers.give(session, &mut rng)).collect();
        assert_eq!(given.iter().filter(|number| (1_000..10_000).contains(*number)).count(), 900);
        assert_eq!(given.iter().filter(|number| (10_000..100_000).contains(*number)).count(), 100);
        let first = given.first().copied().unwrap_or_default();
        assert!(numbers.release(first, session));
        let next = numbers.give(session, &mut rng).unwrap_or_default();
        assert!((1_000..10_000).contains(&next), "one of four digits is free again: {next}");
    }

    #[test]
    fn only_the_holder_gives_a_number_back() {
        let (mut numbers, mut rng) = (Numbers::default(), generator(1));
        let number = numbers.give(a_session(), &mut rng).unwrap_or_default();
        assert!(!numbers.release(number, another_session()));
        assert_eq!(numbers.holder(number), Some(a_session()));
        assert!(numbers.release(number, a_session()));
        assert_eq!((numbers.holder(number), numbers.len()), (None, 0));
        assert!(!numbers.release(number, a_session()) && !numbers.release(0, a_session()));
    }
}
