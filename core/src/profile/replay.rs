//! The anti-replay window over the numbers of packets (RFC 7016 §2.2.3), by the method of RFC 6479.

const BITS: u64 = 64;

/// Which numbers were received: a ring of bits of which whole words are cleared as the window moves on, so that nothing
/// is ever shifted.
#[derive(Clone, Debug)]
pub(super) struct ReplayWindow<const WORDS: usize> {
    highest: Option<u64>,
    ring: [u64; WORDS],
}

impl<const WORDS: usize> Default for ReplayWindow<WORDS> {
    fn default() -> Self {
        Self { highest: None, ring: [0; WORDS] }
    }
}

impl<const WORDS: usize> ReplayWindow<WORDS> {
    /// How far behind the highest number one may be and still be told from a replay. One word of the ring is always the
    /// one being filled, and does not count (RFC 6479 §2).
    pub(super) const SIZE: u64 = (WORDS as u64 - 1) * BITS;

    /// The highest number received.
    pub(super) const fn highest(&self) -> Option<u64> {
        self.highest
    }

    /// Whether a number is new. Changes nothing: the packet is not known to be authentic yet, or is being looked at.
    pub(super) fn is_new(&self, number: u64) -> bool {
        match self.highest {
            Some(highest) if number <= highest => {
                highest - number < Self::SIZE && self.word(number).is_some_and(|word| word & bit(number) == 0)
            }
            _ => true,
        }
    }

    /// Notes a number whose packet is authentic; `false` if it is not new.
    pub(super) fn insert(&mut self, number: u64) -> bool {
        if !self.is_new(number) {
            return false;
        }
        match self.highest {
            Some(highest) if number <= highest => {}
            Some(highest) => {
                let (from, to) = (highest / BITS, number / BITS);
                for index in (from + 1..=to).rev().take(WORDS) {
                    self.set_word(index, 0);
                }
                self.highest = Some(number);
            }
            None => self.highest = Some(number),
        }
        if let Some(word) = self.word(number) {
            self.set_word(number / BITS, word | bit(number));
        }
        true
    }

    fn word(&self, number: u64) -> Option<u64> {
        self.ring.get((number / BITS % WORDS as u64) as usize).copied()
    }

    fn set_word(&mut self, index: u64, value: u64) {
        if let Some(word) = self.ring.get_mut((index % WORDS as u64) as usize) {
            *word = value;
        }
    }
}

const fn bit(number: u64) -> u64 {
    1 << (number % BITS)
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;

    use quickcheck::quickcheck;

    /// The size of the Flash profile.
    type ReplayWindow = super::ReplayWindow<16>;
    const WINDOW: u64 = ReplayWindow::SIZE;

    /// Remembers everything.
    #[derive(Default)]
    struct Model {
        seen: BTreeSet<u64>,
    }

    impl Model {
        fn insert(&mut self, number: u64) -> bool {
            let too_old = self.seen.last().is_some_and(|highest| number + WINDOW <= *highest);
            !too_old && self.seen.insert(number)
        }
    }

    fn agrees(numbers: impl IntoIterator<Item = u64>) -> bool {
        let (mut window, mut model) = (ReplayWindow::default(), Model::default());
        numbers.into_iter().all(|number| {
            let expected = model.insert(number);
            window.is_new(number) == expected && window.insert(number) == expected && !window.is_new(number)
        })
    }

    quickcheck! {
        /// Steps of all sizes in both directions.
        fn agrees_with_a_full_memory(steps: Vec<i16>) -> bool {
            let mut at = 40_000_i64;
            agrees(steps.into_iter().map(move |step| {
                at = (at + i64::from(step) / 16).max(0);
                at as u64
            }))
        }

        fn agrees_when_mostly_in_order(steps: Vec<u8>) -> bool {
            agrees(steps.into_iter().enumerate().map(|(index, step)| (index as u64 * 3 + 100).saturating_sub(step.into())))
        }
    }

    #[test]
    fn everything_within_the_window_is_taken_once() {
        let mut window = ReplayWindow::default();
        assert!(window.insert(5000));
        for number in (5001 - WINDOW..5000).rev() {
            assert!(window.insert(number), "{number} is new");
            assert!(!window.insert(number), "{number} is a replay");
        }
        assert!(!window.insert(5000 - WINDOW), "too old to tell");
    }

    /// A word of the ring must not remember what it held a turn before, wherever the window enters it.
    #[test]
    fn the_ring_is_clean_after_every_turn() {
        for late in [1, 5, 63, 64, 65, 200, WINDOW - 1] {
            let pairs = (late..5000).flat_map(|number| [number * 2, (number - late) * 2 + 1]);
            let distance = late * 2 - 1;
            let mut window = ReplayWindow::default();
            for number in pairs {
                let late = number % 2 == 1;
                assert_eq!(window.insert(number), !late || distance < WINDOW, "{number}");
                assert!(!window.insert(number), "{number} again");
            }
        }
    }

    #[test]
    fn a_leap_over_the_whole_ring_clears_it() {
        let mut window = ReplayWindow::default();
        (0..2000).for_each(|number| assert!(window.insert(number)));
        assert!(window.insert(1 << 40));
        for number in (1 << 40) - WINDOW + 1..1 << 40 {
            assert!(window.insert(number), "{number} was never seen");
        }
        assert!(window.insert(u64::MAX) && !window.insert(u64::MAX));
        assert!(window.insert(u64::MAX - 1) && !window.insert(1 << 40));
    }

    #[test]
    fn zero_is_a_number_like_others() {
        let mut window = ReplayWindow::default();
        assert!(window.is_new(0) && window.insert(0) && !window.insert(0));
        assert!(window.insert(1) && !window.insert(0));
    }
}
