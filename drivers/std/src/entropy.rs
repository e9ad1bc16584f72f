//! Randomness for endpoints.

use std::io;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use rtmfp_core::rand_core::CryptoRng;

/// A cryptographic generator seeded by the operating system, to give to
/// [`Endpoint::new`](rtmfp_core::Endpoint::new).
///
/// # Errors
/// If the operating system has no randomness to give.
pub fn system_rng() -> io::Result<Box<dyn CryptoRng + Send>> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| io::Error::other(format!("the system gave no randomness: {e}")))?;
    Ok(Box::new(ChaCha20Rng::from_seed(seed)))
}
