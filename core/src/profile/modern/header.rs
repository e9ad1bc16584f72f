//! The mask over a packet's counter: README.md, "Packets".

use aes::Aes128Enc;
use aes::cipher::{Array, BlockCipherEncrypt as _, KeyInit as _, KeyIvInit as _, StreamCipher as _};
use chacha20::ChaCha20;
use core::fmt;
use zeroize::Zeroizing;

use super::provider::Cipher;

/// Length of the counter field.
pub(super) const FIELD: usize = 4;
/// Length of a sample.
pub(super) const SAMPLE: usize = 16;

/// The header key of a session, for both directions.
pub(super) enum HeaderKey {
    Aes(Aes128Enc),
    ChaCha20(Zeroizing<[u8; 32]>),
}

impl HeaderKey {
    pub(super) fn new(cipher: Cipher, key: &[u8; 32]) -> Self {
        match cipher {
            Cipher::Aes128Gcm | Cipher::Aes256Gcm => {
                let [short @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = key;
                Self::Aes(Aes128Enc::new(short.into()))
            }
            Cipher::ChaCha20Poly1305 => Self::ChaCha20(Zeroizing::new(*key)),
        }
    }

    /// Turns samples into masks, which are their first four bytes then. Several at a time are cheaper.
    pub(super) fn mask(&self, samples: &mut [[u8; SAMPLE]]) {
        match self {
            Self::Aes(key) => key.encrypt_blocks(Array::cast_slice_from_core_mut(samples)),
            Self::ChaCha20(key) => samples.iter_mut().for_each(|sample| {
                let [nonce @ .., _, _, _, _] = *sample;
                let mut stream = ChaCha20::new((&**key).into(), (&nonce).into());
                *sample = [0; SAMPLE];
                stream.apply_keystream(sample);
            }),
        }
    }
}

impl fmt::Debug for HeaderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeaderKey")
    }
}

/// Puts a mask over a counter field, or takes it off.
pub(super) fn apply(field: &mut [u8; FIELD], mask: &[u8; SAMPLE]) {
    field.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
}
