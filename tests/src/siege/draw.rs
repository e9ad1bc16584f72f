//! Where a test takes its decisions from: a generator, or bytes that somebody else chooses.

use rtmfp_core::rand_core::Rng as _;

use crate::duo::TestRng;

/// Draws values, small and large. Equal sources give equal values.
#[derive(Clone, Debug)]
pub struct Draw(Source);

#[derive(Clone, Debug)]
enum Source {
    Generator(TestRng),
    Bytes { bytes: Vec<u8>, at: usize },
}

impl Draw {
    /// Draws from a generator, without end.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(Source::Generator(TestRng(seed)))
    }

    /// Draws from these bytes, one of them for a small value and up to eight for a large one: whoever changes a byte
    /// changes one decision. Behind the last byte everything is 0.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(Source::Bytes { bytes: bytes.to_vec(), at: 0 })
    }

    /// Whether all bytes have been used. A generator never ends.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match &self.0 {
            Source::Generator(_) => false,
            Source::Bytes { bytes, at } => *at >= bytes.len(),
        }
    }

    fn value(&mut self, len: usize) -> u64 {
        match &mut self.0 {
            Source::Generator(generator) => generator.next_u64(),
            Source::Bytes { bytes, at } => {
                let mut value = [0; 8];
                let taken = bytes.get(*at..).unwrap_or_default();
                let taken = &taken[..len.min(taken.len())];
                value[..taken.len()].copy_from_slice(taken);
                *at += len;
                u64::from_le_bytes(value)
            }
        }
    }

    /// A number below this one; 0 if that is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        let len = match limit {
            0..=0x100 => 1,
            0x101..=0x1_0000 => 2,
            0x1_0001..=0x1_0000_0000 => 4,
            _ => 8,
        };
        self.value(len) % limit.max(1)
    }

    /// True once in so many.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// So many bytes. Of a source of bytes only the first eight are drawn, the others follow from them: what is in
    /// them matters less than what else the source could decide.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        match &mut self.0 {
            Source::Generator(generator) => generator.fill_bytes(&mut bytes),
            Source::Bytes { .. } => {
                let seed = self.value(len.min(8));
                let (head, tail) = bytes.split_at_mut(len.min(8));
                head.copy_from_slice(&seed.to_le_bytes()[..head.len()]);
                TestRng(seed).fill_bytes(tail);
            }
        }
        bytes
    }

    /// A number of any length: the edges are as likely as all that is between them.
    pub fn number(&mut self) -> u64 {
        let value = self.value(8);
        match self.below(6) {
            0 => value % 4,
            1 => value % 300,
            2 => value >> (value % 64),
            3 => u64::MAX - value % 4,
            4 => (1 << (value % 64)) - (value >> 32) % 2,
            _ => value % 70_000,
        }
    }
}
