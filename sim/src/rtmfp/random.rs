//! Randomness for endpoints under simulation: a function of the seed.

use core::convert::Infallible;

use datagram_sim::{Key, Stream};
use rtmfp_core::rand_core::{TryCryptoRng, TryRng};

/// A generator for an endpoint in a world. It calls itself cryptographic so that the core takes it; it is not, and is
/// for simulation alone.
#[derive(Clone, Debug)]
pub struct SimRandom(Stream);

impl SimRandom {
    /// The generator of this key.
    #[must_use]
    pub const fn new(key: Key) -> Self {
        Self(key.stream())
    }
}

impl TryRng for SimRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let [a, b, c, d, ..] = self.0.next().to_le_bytes();
        Ok(u32::from_le_bytes([a, b, c, d]))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.next())
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(out);
        Ok(())
    }
}

impl TryCryptoRng for SimRandom {}
