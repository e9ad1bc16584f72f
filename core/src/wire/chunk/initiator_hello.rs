//! Initiator Hello (RFC 7016 §2.3.2).

use alloc::vec::Vec;
use core::fmt;

use super::{EncodeChunk, Hex};
use crate::wire::{Cursor, Malformed, vlu};

/// Begins the handshake (RFC 7016 §2.3.2). For startup packets of session 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InitiatorHello<'a> {
    /// The Endpoint Discriminator of the identity to talk to.
    pub discriminator: &'a [u8],
    /// To be returned in the Responder Hello.
    pub tag: &'a [u8],
}

impl<'a> InitiatorHello<'a> {
    /// Reads the payload of the chunk.
    ///
    /// # Errors
    /// It is truncated.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        Ok(Self { discriminator: cursor.sized_bytes()?, tag: cursor.rest() })
    }
}

impl EncodeChunk for InitiatorHello<'_> {
    const TYPE: u8 = 0x30;

    fn payload_len(&self) -> usize {
        vlu::sized_len(self.discriminator.len()) + self.tag.len()
    }

    fn encode_payload(&self, out: &mut Vec<u8>) {
        vlu::encode_sized(self.discriminator, out);
        out.extend_from_slice(self.tag);
    }
}

impl fmt::Display for InitiatorHello<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InitiatorHello epd={} tag={}", Hex(self.discriminator), Hex(self.tag))
    }
}
