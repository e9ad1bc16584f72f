//! Signatures of keying messages: README.md, "Signatures".

use alloc::vec::Vec;

use ed25519_dalek::{Signature, VerifyingKey};

use super::identity::Identity;
use super::schedule::{PREFIX, certificates_of};
use crate::profile::Role;

/// What is signed: label, hash of both certificates, and the signed parameters of RFC 7016.
fn signed(signer: Role, its_certificate: &[u8], other: &[u8], message: &[&[u8]]) -> Vec<u8> {
    let label = match signer {
        Role::Initiator => "initiator signature",
        Role::Responder => "responder signature",
    };
    let certificates = certificates_of(signer, its_certificate, other);
    let mut signed = [PREFIX.as_bytes(), label.as_bytes(), &certificates].concat();
    message.iter().for_each(|part| signed.extend_from_slice(part));
    signed
}

/// Signs as the near identity, which has this role.
pub(super) fn sign(
    identity: &Identity,
    signer: Role,
    near_certificate: &[u8],
    far_certificate: &[u8],
    message: &[&[u8]],
) -> Vec<u8> {
    identity.sign(&signed(signer, near_certificate, far_certificate, message)).to_vec()
}

/// Whether a far end, which has this role and this key, has signed.
pub(super) fn verify(
    public_key: &[u8; 32],
    signer: Role,
    far_certificate: &[u8],
    near_certificate: &[u8],
    message: &[&[u8]],
    signature: &[u8],
) -> bool {
    is_valid(public_key, &signed(signer, far_certificate, near_certificate, message), signature)
}

/// Whether this key has signed a message.
pub(super) fn is_valid(public_key: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    let (Ok(key), Ok(signature)) = (VerifyingKey::from_bytes(public_key), Signature::from_slice(signature)) else {
        return false;
    };
    // Without keys of small order, under which a signature would be valid for any message. That the key is canonical was
    // seen when the certificate was read.
    key.verify_strict(message, &signature).is_ok()
}
