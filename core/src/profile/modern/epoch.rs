//! The keys of one direction, epoch by epoch: README.md, "Key schedule" and "Packets".

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;

use zeroize::Zeroizing;

use super::provider::{Cipher, NONCE_LEN, PacketCipher, Provider};
use super::schedule::{Secret, expand};

/// Bits of a counter that count within an epoch.
pub(super) const EPOCH_BITS: u32 = 22;

/// The epoch of a counter.
pub(super) const fn epoch_of(counter: u64) -> u64 {
    counter >> EPOCH_BITS
}

/// The cipher of one epoch.
pub(super) struct EpochKeys {
    pub(super) cipher: Box<dyn PacketCipher>,
    iv: Zeroizing<[u8; NONCE_LEN]>,
}

impl EpochKeys {
    /// The nonce of a packet.
    pub(super) fn nonce(&self, counter: u64) -> [u8; NONCE_LEN] {
        let mut nonce = *self.iv;
        nonce.iter_mut().rev().zip(counter.to_le_bytes()).for_each(|(byte, digit)| *byte ^= digit);
        nonce
    }
}

impl fmt::Debug for EpochKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EpochKeys").field("cipher", &self.cipher).finish_non_exhaustive()
    }
}

/// Makes the keys of one epoch after the other. It holds the secret of the next one only, so that nobody can go back.
pub(super) struct Ratchet {
    provider: Arc<dyn Provider>,
    cipher: Cipher,
    secret: Secret,
}

impl Ratchet {
    /// Begins with epoch 0.
    pub(super) fn new(provider: &Arc<dyn Provider>, cipher: Cipher, secret: &Secret) -> Self {
        Self { provider: Arc::clone(provider), cipher, secret: secret.clone() }
    }

    /// The keys of the next epoch.
    pub(super) fn turn(&mut self) -> EpochKeys {
        let mut iv = Zeroizing::new([0; NONCE_LEN]);
        iv.iter_mut().zip(*expand(&self.secret, "iv")).for_each(|(to, from)| *to = from);
        let keys = EpochKeys { cipher: self.provider.cipher(self.cipher, &expand(&self.secret, "key")), iv };
        self.secret = expand(&self.secret, "next");
        keys
    }
}

impl fmt::Debug for Ratchet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ratchet").field("cipher", &self.cipher).finish_non_exhaustive()
    }
}
