//! The near end's lasting key.

use alloc::vec::Vec;
use core::fmt;

use ed25519_dalek::{Signer as _, SigningKey};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::certificate::peer_id;
use crate::profile::Fingerprint;
use crate::wire::Malformed;

/// An Ed25519 key pair (RFC 8032): whoever has it is this endpoint. Wiped when dropped.
#[derive(Clone)]
pub struct Identity {
    key: SigningKey,
}

impl Identity {
    /// Length of the [secret bytes](Self::to_bytes).
    pub const LEN: usize = 32;

    /// A new identity.
    #[must_use]
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        let mut seed = Zeroizing::new([0; Self::LEN]);
        rng.fill_bytes(&mut *seed);
        Self { key: SigningKey::from_bytes(&seed) }
    }

    /// The secret bytes to save, for [`from_bytes`](Self::from_bytes): the private key of RFC 8032 §5.1.5. They are
    /// wiped when dropped.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.key.as_bytes().to_vec())
    }

    /// An identity that was saved by [`to_bytes`](Self::to_bytes).
    ///
    /// # Errors
    /// There are not [`LEN`](Self::LEN) bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let seed = bytes.try_into().map_err(|_| Malformed)?;
        Ok(Self { key: SigningKey::from_bytes(seed) })
    }

    /// The Ed25519 public key.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    /// The peer ID, by which others pin this identity.
    #[must_use]
    pub fn peer_id(&self) -> Fingerprint {
        peer_id(&self.public_key())
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("peer_id", &self.peer_id()).finish_non_exhaustive()
    }
}
