//! Responder Initial Keying (RFC 7016 §2.3.8).

use alloc::vec::Vec;
use core::fmt;

use super::{EncodeChunk, Hex};
use crate::wire::{Cursor, Malformed, vlu};

/// The responder's part of the session key (RFC 7016 §2.3.8). For startup packets with the initiator's session ID.
///
/// To send one, build the portion of the signed parameters with [`signed_parameters`](Self::signed_parameters), sign
/// it together with the initiator's component, and join it with [`from_signed`](Self::from_signed).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResponderKeying<'a> {
    /// The session ID of packets to the responder.
    pub session_id: u32,
    /// The responder's component of the session key (SKRC).
    pub component: &'a [u8],
    /// The responder's signature of `signed` and, right behind it, the initiator's component.
    pub signature: &'a [u8],
    /// The payload up to the signature: what it signs the first half of, and, with the signature, what is encoded.
    pub signed: &'a [u8],
}

impl<'a> ResponderKeying<'a> {
    /// Reads the payload of the chunk.
    ///
    /// # Errors
    /// It is truncated.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        let (session_id, component) = (cursor.u32()?, cursor.sized_bytes()?);
        let signed = Cursor::new(payload).bytes(payload.len() - cursor.remaining())?;
        Ok(Self { session_id, component, signature: cursor.rest(), signed })
    }

    /// The first of what is to be signed, responderSignedParametersPortion; the initiator's component follows it.
    pub fn signed_parameters(session_id: u32, component: &[u8]) -> Vec<u8> {
        let mut signed = Vec::with_capacity(4 + vlu::sized_len(component.len()));
        signed.extend_from_slice(&session_id.to_be_bytes());
        vlu::encode_sized(component, &mut signed);
        signed
    }

    /// Joins the portion of the signed parameters with their signature.
    ///
    /// # Errors
    /// `signed` is not exactly what [`signed_parameters`](Self::signed_parameters) returns.
    pub fn from_signed(signed: &'a [u8], signature: &'a [u8]) -> Result<Self, Malformed> {
        let keying = Self::parse(signed)?;
        if keying.signature.is_empty() { Ok(Self { signature, ..keying }) } else { Err(Malformed) }
    }
}

impl EncodeChunk for ResponderKeying<'_> {
    const TYPE: u8 = 0x78;

    fn payload_len(&self) -> usize {
        self.signed.len() + self.signature.len()
    }

    fn encode_payload(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.signed);
        out.extend_from_slice(self.signature);
    }
}

impl fmt::Display for ResponderKeying<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (component, signature) = (Hex(self.component), Hex(self.signature));
        write!(f, "ResponderKeying sid={:08x} component={component} signature={signature}", self.session_id)
    }
}
