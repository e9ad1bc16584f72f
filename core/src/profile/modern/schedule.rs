//! Hashes, transcript and key schedule: README.md, "Notation", "Signatures" and "Key schedule".

use core::fmt;

use hmac::{Hmac, KeyInit, Mac as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::profile::Role;

/// What every label begins with: name and version of the profile.
pub(super) const PREFIX: &str = "RTMFP modern 1 ";

/// A secret of the schedule.
pub(super) type Secret = Zeroizing<[u8; 32]>;

/// SHA-256 of a label and the concatenation of `parts`.
pub(super) fn hash(label: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(PREFIX);
    hash.update(label);
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}

/// The length of a field in four bytes. Fields are shorter than 2^32.
pub(super) const fn length(field: &[u8]) -> [u8; 4] {
    (field.len() as u32).to_be_bytes()
}

/// The hash `C` of both certificates.
pub(super) fn certificates(initiator: &[u8], responder: &[u8]) -> [u8; 32] {
    hash("certificates", &[&length(initiator), initiator, &length(responder), responder])
}

/// `C`, with the certificates of the near end, which has this role, and of the far end.
pub(super) fn certificates_of(near_role: Role, near: &[u8], far: &[u8]) -> [u8; 32] {
    match near_role {
        Role::Initiator => certificates(near, far),
        Role::Responder => certificates(far, near),
    }
}

/// The transcript hash `T`.
pub(super) fn transcript(certificates: &[u8; 32], skic: &[u8], skrc: &[u8]) -> [u8; 32] {
    hash("transcript", &[certificates, &length(skic), skic, &length(skrc), skrc])
}

/// HMAC-SHA-256 of the concatenation of `parts`.
pub(super) fn hmac(key: &[u8], parts: &[&[u8]]) -> Secret {
    #[expect(clippy::expect_used, reason = "an HMAC key may have any length")]
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("any length will do");
    parts.iter().for_each(|part| mac.update(part));
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// HKDF-Extract (RFC 5869 §2.2).
pub(super) fn extract(salt: &[u8], parts: &[&[u8]]) -> Secret {
    hmac(salt, parts)
}

/// The first 32 bytes of HKDF-Expand (RFC 5869 §2.3), which is one block, with a label of this profile as info. Shorter
/// outputs are its beginning.
pub(super) fn expand(secret: &[u8; 32], label: &str) -> Secret {
    hmac(secret, &[PREFIX.as_bytes(), label.as_bytes(), &[1]])
}

/// What the two ends of a session derive from their shared secrets and the transcript. Wiped when dropped.
pub(super) struct Schedule {
    /// The first traffic secret of the initiator.
    pub(super) initiator: Secret,
    /// The first traffic secret of the responder.
    pub(super) responder: Secret,
    /// The initiator's near nonce.
    pub(super) initiator_nonce: Secret,
    /// The responder's near nonce.
    pub(super) responder_nonce: Secret,
    /// The header key.
    pub(super) header: Secret,
    /// One of the shared secrets is of ML-KEM.
    pub(super) is_hybrid: bool,
}

impl Schedule {
    /// From the transcript and the shared secrets, of ML-KEM in a hybrid and of X25519. The transcript tells a hybrid from
    /// a classical session, since only a hybrid has a ciphertext in the responder's component.
    pub(super) fn new(transcript: &[u8; 32], ml_kem: Option<&Secret>, x25519: &[u8; 32]) -> Self {
        let prk = extract(transcript, &[ml_kem.map_or(&[], |secret| &secret[..]), x25519]);
        Self {
            is_hybrid: ml_kem.is_some(),
            initiator: expand(&prk, "initiator traffic"),
            responder: expand(&prk, "responder traffic"),
            initiator_nonce: expand(&prk, "initiator nonce"),
            responder_nonce: expand(&prk, "responder nonce"),
            header: expand(&prk, "header"),
        }
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schedule").finish_non_exhaustive()
    }
}
