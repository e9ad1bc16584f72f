//! Signatures that show a lasting identity within a session: README.md, "Channel signatures".

use alloc::vec::Vec;
use core::fmt;

use super::certificate::Certificate;
use super::identity::Identity;
use super::schedule::{PREFIX, certificates_of, length};
use super::signature;
use crate::profile::Role;
use crate::wire::Malformed;

/// One session of the modern profile, for signatures that show within it who is at an end.
///
/// A nonce of a session tells it from all others. But a bare signature over one says nothing of the signer's role, nor of
/// what it is for. So applications sign through this.
#[derive(Clone, Copy)]
pub struct Channel<'a> {
    near_role: Role,
    near_nonce: &'a [u8; 32],
    far_nonce: &'a [u8; 32],
    /// The hash of both certificates.
    certificates: [u8; 32],
}

impl<'a> Channel<'a> {
    /// The session in which this end has this role, with the nonces and certificates of both ends. They are those of
    /// the session itself, whatever is to be shown in it.
    ///
    /// # Errors
    /// A nonce does not have 32 bytes: the session is not open, or it is of another profile.
    pub fn new(
        near_role: Role,
        [near_nonce, far_nonce]: [&'a [u8]; 2],
        [near_certificate, far_certificate]: [&[u8]; 2],
    ) -> Result<Self, Malformed> {
        Ok(Self {
            near_role,
            near_nonce: near_nonce.try_into().map_err(|_| Malformed)?,
            far_nonce: far_nonce.try_into().map_err(|_| Malformed)?,
            certificates: certificates_of(near_role, near_certificate, far_certificate),
        })
    }

    /// What the end with this role signs.
    fn signed(&self, signer: Role, context: &[u8]) -> Vec<u8> {
        let (initiator, responder) = match self.near_role {
            Role::Initiator => (self.near_nonce, self.far_nonce),
            Role::Responder => (self.far_nonce, self.near_nonce),
        };
        let role = match signer {
            Role::Initiator => 0,
            Role::Responder => 1,
        };
        let fixed: [&[u8]; 6] =
            [PREFIX.as_bytes(), b"channel identity", &[role], initiator, responder, &self.certificates];
        [fixed.concat().as_slice(), &length(context), context].concat()
    }

    /// Signs at this end, as an identity that need not be the session's: the far end then knows that whoever has the
    /// identity is at this end of this very session. `context` is what the signature is for, in the application's words;
    /// the far end has to know it.
    #[must_use]
    pub fn sign(&self, identity: &Identity, context: &[u8]) -> [u8; 64] {
        identity.sign(&self.signed(self.near_role, context))
    }

    /// Whether `signature` was made at the far end of this session, for the same `context`, by the owner of
    /// `certificate`. It need not be the session's certificate.
    #[must_use]
    pub fn verify(&self, certificate: &Certificate<'_>, context: &[u8], signature: &[u8]) -> bool {
        let signer = match self.near_role {
            Role::Initiator => Role::Responder,
            Role::Responder => Role::Initiator,
        };
        signature::is_valid(certificate.public_key(), &self.signed(signer, context), signature)
    }
}

/// The nonces are secrets of the two ends.
impl fmt::Debug for Channel<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("near_role", &self.near_role).finish_non_exhaustive()
    }
}
