//! Keying components: README.md, "Keying components".

use alloc::vec::Vec;

use super::options::{once, read};
use super::provider::Cipher;
use crate::profile::KeyingError;
use crate::wire::Malformed;
use crate::wire::option::encode_option;

pub(super) const X25519: u64 = 0x51;
const CIPHERS: u64 = 0x53;
/// The encapsulation key or the ciphertext. Not critical: an end that does not do ML-KEM ignores it.
const ML_KEM: u64 = 0x56;

const ENCAPSULATION_KEY_LEN: usize = 1_184;

/// The most ciphers that a component may list.
const MOST_CIPHERS: usize = 16;

/// A keying component of either end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Component<'a> {
    pub(super) public_key: &'a [u8; 32],
    /// The numbers of the ciphers, at least one.
    ciphers: &'a [u8],
    /// An encapsulation key, or a ciphertext. The length is not checked yet.
    pub(super) ml_kem: Option<&'a [u8]>,
}

impl<'a> Component<'a> {
    /// Reads a component.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, KeyingError> {
        Self::read(bytes).map_err(|Malformed| KeyingError::Malformed)
    }

    fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (mut public_key, mut ciphers, mut ml_kem) = (None, None, None);
        read(bytes, |kind, value| match kind {
            X25519 => once(&mut public_key, value.try_into().map_err(|_| Malformed)?),
            CIPHERS if (1..=MOST_CIPHERS).contains(&value.len()) => once(&mut ciphers, value),
            CIPHERS => Err(Malformed),
            ML_KEM => once(&mut ml_kem, value),
            _ => Ok(false),
        })?;
        Ok(Self { public_key: public_key.ok_or(Malformed)?, ciphers: ciphers.ok_or(Malformed)?, ml_kem })
    }

    /// Whether bytes that are a component offer the hybrid. Other bytes do not, nor does a key of a wrong length.
    pub(super) fn offers_hybrid(bytes: &[u8]) -> bool {
        let offered = Component::parse(bytes).ok().and_then(|component| component.ml_kem);
        offered.is_some_and(|key| key.len() == ENCAPSULATION_KEY_LEN)
    }

    /// The ciphers that are known here, in the order of the list.
    pub(super) fn ciphers(&self) -> impl Iterator<Item = Cipher> + use<'a> {
        self.ciphers.iter().filter_map(|id| Cipher::from_id(*id))
    }

    /// The one cipher of a responder's component, which must be one of those that were offered.
    pub(super) fn chosen(&self, offered: &[Cipher]) -> Result<Cipher, KeyingError> {
        let [id] = self.ciphers else { return Err(KeyingError::Malformed) };
        Cipher::from_id(*id).filter(|cipher| offered.contains(cipher)).ok_or(KeyingError::NothingInCommon)
    }
}

/// Chooses from what the initiator offers: in its order if that begins with ChaCha20-Poly1305, since an end without
/// hardware for AES suffers most, and else in the near end's.
pub(super) fn choose(near: &[Cipher], far: &Component<'_>) -> Result<Cipher, KeyingError> {
    let chosen = match far.ciphers().next() {
        Some(Cipher::ChaCha20Poly1305) => far.ciphers().find(|cipher| near.contains(cipher)),
        _ => near.iter().copied().find(|cipher| far.ciphers().any(|offered| offered == *cipher)),
    };
    chosen.ok_or(KeyingError::NothingInCommon)
}

/// Encodes a component with these ciphers, and with an encapsulation key or a ciphertext if it is of a hybrid.
pub(super) fn encode(public_key: &[u8; 32], ciphers: &[Cipher], ml_kem: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    encode_option(X25519, public_key, &mut out);
    let ids: Vec<u8> = ciphers.iter().map(|cipher| cipher.id()).collect();
    encode_option(CIPHERS, &ids, &mut out);
    if let Some(value) = ml_kem {
        encode_option(ML_KEM, value, &mut out);
    }
    out
}
