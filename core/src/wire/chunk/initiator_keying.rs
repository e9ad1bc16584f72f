//! Initiator Initial Keying (RFC 7016 §2.3.7).

use alloc::vec::Vec;
use core::fmt;

use super::{EncodeChunk, Hex};
use crate::wire::{Cursor, Malformed, vlu};

/// The initiator's part of the session key (RFC 7016 §2.3.7). For startup packets of session 0.
///
/// To send one, build the signed parameters with [`signed_parameters`](Self::signed_parameters), sign them, and
/// join both with [`from_signed`](Self::from_signed).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InitiatorKeying<'a> {
    /// The session ID of packets to the initiator.
    pub session_id: u32,
    /// The cookie of the Responder Hello.
    pub cookie_echo: &'a [u8],
    /// The initiator's certificate.
    pub certificate: &'a [u8],
    /// The initiator's component of the session key (SKIC).
    pub component: &'a [u8],
    /// The initiator's signature of `signed`.
    pub signature: &'a [u8],
    /// The payload up to the signature: what it signs, and, with the signature, what is encoded.
    pub signed: &'a [u8],
}

impl<'a> InitiatorKeying<'a> {
    /// Reads the payload of the chunk.
    ///
    /// # Errors
    /// It is truncated.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        let session_id = cursor.u32()?;
        let (cookie_echo, certificate) = (cursor.sized_bytes()?, cursor.sized_bytes()?);
        let component = cursor.sized_bytes()?;
        let signed = Cursor::new(payload).bytes(payload.len() - cursor.remaining())?;
        Ok(Self { session_id, cookie_echo, certificate, component, signature: cursor.rest(), signed })
    }

    /// The bytes to sign: initiatorSignedParameters.
    pub fn signed_parameters(session_id: u32, cookie_echo: &[u8], certificate: &[u8], component: &[u8]) -> Vec<u8> {
        let length =
            4 + [cookie_echo, certificate, component].map(|field| vlu::sized_len(field.len())).iter().sum::<usize>();
        let mut signed = Vec::with_capacity(length);
        signed.extend_from_slice(&session_id.to_be_bytes());
        for field in [cookie_echo, certificate, component] {
            vlu::encode_sized(field, &mut signed);
        }
        signed
    }

    /// Joins the signed parameters with their signature.
    ///
    /// # Errors
    /// `signed` is not exactly what [`signed_parameters`](Self::signed_parameters) returns.
    pub fn from_signed(signed: &'a [u8], signature: &'a [u8]) -> Result<Self, Malformed> {
        let keying = Self::parse(signed)?;
        if keying.signature.is_empty() { Ok(Self { signature, ..keying }) } else { Err(Malformed) }
    }
}

impl EncodeChunk for InitiatorKeying<'_> {
    const TYPE: u8 = 0x38;

    fn payload_len(&self) -> usize {
        self.signed.len() + self.signature.len()
    }

    fn encode_payload(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.signed);
        out.extend_from_slice(self.signature);
    }
}

impl fmt::Display for InitiatorKeying<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (cookie, certificate) = (Hex(self.cookie_echo), Hex(self.certificate));
        let (component, signature) = (Hex(self.component), Hex(self.signature));
        write!(
            f,
            "InitiatorKeying sid={:08x} cookie={cookie} certificate={certificate} component={component} \
             signature={signature}",
            self.session_id
        )
    }
}
