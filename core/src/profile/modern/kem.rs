//! ML-KEM-768 (FIPS 203): README.md, "Hybrid key agreement".

use alloc::vec::Vec;
use core::fmt;

use ml_kem::array::Array;
use ml_kem::kem::{Decapsulate as _, KeyExport as _, KeyInit as _};
use ml_kem::ml_kem_768::{DecapsulationKey, EncapsulationKey};
use rand_core::CryptoRng;
use zeroize::{Zeroize as _, Zeroizing};

use crate::profile::KeyingError;

/// Whether this build has ML-KEM.
pub(super) const AVAILABLE: bool = true;

/// A shared secret.
type Secret = Zeroizing<[u8; 32]>;

/// A fresh decapsulation key, as the 64 bytes `d || z` that it is made of (FIPS 203 §7.1). The key itself has several
/// kilobytes. It is made anew when the ciphertext comes, so that an opening session does not hold them.
pub(super) struct KemKey {
    seed: Zeroizing<[u8; 64]>,
}

impl KemKey {
    /// Draws a key. Also returns the encapsulation key, 1,184 bytes.
    pub(super) fn generate(rng: &mut dyn CryptoRng) -> Result<(Self, Vec<u8>), KeyingError> {
        let mut seed = Zeroizing::new([0; 64]);
        rng.fill_bytes(&mut *seed);
        let key = Self { seed };
        let public = key.expand().encapsulation_key().to_bytes().to_vec();
        Ok((key, public))
    }

    fn expand(&self) -> DecapsulationKey {
        DecapsulationKey::new((&*self.seed).into())
    }

    /// The shared secret in a ciphertext. An altered ciphertext gives another secret, not an error (FIPS 203 §6.3).
    ///
    /// # Errors
    /// Returns [`KeyingError::Malformed`] if the ciphertext does not have 1,088 bytes.
    pub(super) fn decapsulate(&self, ciphertext: &[u8]) -> Result<Secret, KeyingError> {
        let ciphertext = Array::try_from(ciphertext).map_err(|_| KeyingError::Malformed)?;
        Ok(take(self.expand().decapsulate(&ciphertext)))
    }
}

impl fmt::Debug for KemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KemKey").finish_non_exhaustive()
    }
}

/// Draws a shared secret for the owner of an encapsulation key. Also returns its ciphertext, 1,088 bytes.
///
/// # Errors
/// Returns [`KeyingError::Malformed`] if the key does not have 1,184 bytes, and [`KeyingError::BadPublicKey`] if a
/// coefficient is not reduced (the checks of FIPS 203 §7.2).
pub(super) fn encapsulate(key: &[u8], rng: &mut dyn CryptoRng) -> Result<(Vec<u8>, Secret), KeyingError> {
    let key = Array::try_from(key).map_err(|_| KeyingError::Malformed)?;
    let key = EncapsulationKey::new(&key).map_err(|_| KeyingError::BadPublicKey)?;
    let mut message = Zeroizing::new([0; 32]);
    rng.fill_bytes(&mut *message);
    let (ciphertext, secret) = key.encapsulate_deterministic((&*message).into());
    Ok((ciphertext.to_vec(), take(secret)))
}

/// Moves a secret to where it is wiped.
fn take(mut secret: ml_kem::SharedKey) -> Secret {
    let taken = Zeroizing::new(secret.into());
    secret.zeroize();
    taken
}
