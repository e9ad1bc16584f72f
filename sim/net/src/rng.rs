//! Random decisions that do not depend on one another.
//!
//! Every decision of the world is a function of (seed, name, purpose, ordinal). These are the seed of the run, the
//! name of what decides, what it decides, and the number of the packet. One decision more or less, or another link,
//! changes none of the others. Workloads that want a sequence use a [`Stream`].

/// A probability in parts per billion; 1,000,000,000 is always.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Ppb(pub u32);

impl Ppb {
    /// Never.
    pub const NEVER: Self = Self(0);
    /// Always.
    pub const ALWAYS: Self = Self(1_000_000_000);

    /// `n` per cent, at most 100.
    #[must_use]
    pub const fn percent(n: u32) -> Self {
        Self(if n >= 100 { 1_000_000_000 } else { n * 10_000_000 })
    }

    /// `n` per mille, at most 1,000.
    #[must_use]
    pub const fn permille(n: u32) -> Self {
        Self(if n >= 1_000 { 1_000_000_000 } else { n * 1_000_000 })
    }

    /// Whether a random word says yes.
    #[must_use]
    pub const fn hit(self, word: u64) -> bool {
        below(word, 1_000_000_000) < self.0 as u64
    }

    /// What is left to certainty.
    #[must_use]
    pub const fn not(self) -> Self {
        Self(1_000_000_000 - if self.0 > 1_000_000_000 { 1_000_000_000 } else { self.0 })
    }
}

/// Multiplies into 128 bits and folds the halves: the mixing step of everything here.
#[must_use]
pub const fn fold(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    (product as u64) ^ (product >> 64) as u64
}

/// The finaliser of SplitMix64: a bijection in which every bit of the input moves every bit of the output.
const fn finish(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Maps a random word to `0..n` evenly (to within 2^-32 for `n` below 2^32); 0 for an `n` of 0.
#[must_use]
pub const fn below(word: u64, n: u64) -> u64 {
    ((word as u128 * n as u128) >> 64) as u64
}

/// What a series of decisions is keyed by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key(u64);

impl Key {
    /// The key of purpose `purpose` of the thing called `name` in the run of `seed`.
    #[must_use]
    pub fn mix(seed: u64, name: &str, purpose: &str) -> Self {
        let mut state = finish(seed.wrapping_add(GOLDEN));
        for text in [name, purpose] {
            for byte in text.bytes() {
                state = finish(state ^ u64::from(byte)).wrapping_add(GOLDEN);
            }
            // The length keeps ("ab", "c") and ("a", "bc") apart.
            state = finish(state ^ (text.len() as u64) << 8);
        }
        Self(state)
    }

    /// A key for something within this, such as the `n`-th stage of its kind.
    #[must_use]
    pub const fn sub(self, n: u64) -> Self {
        Self(finish(self.0 ^ finish(n.wrapping_add(GOLDEN))))
    }

    /// The decision for `ordinal`: 64 random bits.
    #[must_use]
    pub const fn decide(self, ordinal: u64) -> u64 {
        finish(self.0.wrapping_add(finish(ordinal.wrapping_mul(GOLDEN) ^ self.0.rotate_left(32))))
    }

    /// A sequence of its own.
    #[must_use]
    pub const fn stream(self) -> Stream {
        let mut state = [0; 4];
        let mut i = 0;
        while i < 4 {
            #[expect(clippy::indexing_slicing, reason = "four of four")]
            {
                state[i] = self.decide(u64::MAX - i as u64);
            }
            i += 1;
        }
        // All zero is the one state that xoshiro cannot leave.
        state[0] |= 1;
        Stream { state }
    }

    /// The key as a number, as a seed for other generators.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }
}

/// A sequence of random words for workloads: xoshiro256++. Not for anything that must be secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stream {
    state: [u64; 4],
}

impl Stream {
    /// The next 64 bits.
    pub const fn next(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c2, d2) = (c ^ a, d ^ b);
        self.state = [a ^ d2, b ^ c2, c2 ^ (b << 17), d2.rotate_left(45)];
        result
    }

    /// A number in `0..n`; 0 for an `n` of 0.
    pub const fn below(&mut self, n: u64) -> u64 {
        below(self.next(), n)
    }

    /// Yes, with this probability.
    pub const fn chance(&mut self, p: Ppb) -> bool {
        p.hit(self.next())
    }

    /// Fills a buffer.
    pub fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            for (to, from) in chunk.iter_mut().zip(self.next().to_le_bytes()) {
                *to = from;
            }
        }
    }

    /// Roughly exponential with mean `mean`, by integers alone. The logarithm of a random word has its fraction
    /// linear between powers of two. The error is below 0.09 of the mean at any point; the mean itself is within 1 %.
    pub fn exponential(&mut self, mean: u64) -> u64 {
        let word = self.next() | 1;
        let zeros = u64::from(word.leading_zeros());
        // -log2(word / 2^64) = zeros + 1 - log2(1.mantissa); log2(1 + x) is near x + 0.3431 x (1 - x).
        let x = (word << zeros << 1) >> 32;
        let curve = (((x * ((1 << 32) - x)) >> 32) * 1_473_537_377) >> 32;
        let log = ((zeros + 1) << 32).saturating_sub(x + curve);
        // ln 2 in 32 bits of fraction.
        let scaled = (u128::from(log) * 2_977_044_472) >> 32;
        u64::try_from((scaled * u128::from(mean)) >> 32).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ() {
        let key = Key::mix(1, "ab", "c");
        for other in [Key::mix(2, "ab", "c"), Key::mix(1, "a", "bc"), Key::mix(1, "ab", "d"), key.sub(0), key.sub(1)] {
            assert_ne!(key, other);
        }
    }

    /// The same on every machine, or old seeds would not replay.
    #[test]
    fn fixed_values() {
        let key = Key::mix(42, "wan", "loss");
        assert_eq!(key.decide(0), key.decide(0));
        assert_ne!(key.decide(0), key.decide(1));
        let mut zero = Stream { state: [1, 2, 3, 4] };
        // The first outputs of the reference code of xoshiro256++ for this state.
        assert_eq!([zero.next(), zero.next(), zero.next()], [41_943_041, 58_720_359, 3_588_806_011_781_223]);
    }

    #[test]
    fn probabilities_hold() {
        let key = Key::mix(7, "x", "loss");
        for (p, low, high) in [(1, 900, 1_100), (10, 9_700, 10_300), (50, 49_500, 50_500)] {
            let hits = (0..100_000).filter(|&n| Ppb::percent(p).hit(key.decide(n))).count();
            assert!((low..high).contains(&hits), "{p} %: {hits}");
        }
        assert!((0..1_000).all(|n| Ppb::ALWAYS.hit(key.decide(n)) && !Ppb::NEVER.hit(key.decide(n))));
    }

    #[test]
    fn neighbours_are_independent() {
        let key = Key::mix(7, "x", "loss");
        let p = Ppb::percent(10);
        let pairs = (0..200_000).filter(|&n| p.hit(key.decide(n)) && p.hit(key.decide(n + 1))).count();
        assert!((1_800..2_200).contains(&pairs), "{pairs}");
    }

    #[test]
    fn exponential_mean_and_tail() {
        let mut stream = Key::mix(3, "w", "gap").stream();
        let draws: Vec<u64> = (0..100_000).map(|_| stream.exponential(1_000_000)).collect();
        let mean = draws.iter().sum::<u64>() / 100_000;
        assert!((985_000..1_015_000).contains(&mean), "{mean}");
        // e^-3 = 4.98 %.
        let tail = draws.iter().filter(|&&d| d > 3_000_000).count();
        assert!((4_600..5_400).contains(&tail), "{tail}");
    }
}
