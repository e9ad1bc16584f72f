//! Responder Hello (RFC 7016 §2.3.4).

use alloc::vec::Vec;
use core::fmt;

use super::{EncodeChunk, Hex};
use crate::wire::{Cursor, Malformed, vlu};

/// Answers an Initiator Hello (RFC 7016 §2.3.4). For startup packets of session 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResponderHello<'a> {
    /// The tag of the hello.
    pub tag_echo: &'a [u8],
    /// To be returned in the Initiator Initial Keying.
    pub cookie: &'a [u8],
    /// The responder's certificate.
    pub certificate: &'a [u8],
}

impl<'a> ResponderHello<'a> {
    /// Reads the payload of the chunk.
    ///
    /// # Errors
    /// It is truncated.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        Ok(Self { tag_echo: cursor.sized_bytes()?, cookie: cursor.sized_bytes()?, certificate: cursor.rest() })
    }
}

impl EncodeChunk for ResponderHello<'_> {
    const TYPE: u8 = 0x70;

    fn payload_len(&self) -> usize {
        vlu::sized_len(self.tag_echo.len()) + vlu::sized_len(self.cookie.len()) + self.certificate.len()
    }

    fn encode_payload(&self, out: &mut Vec<u8>) {
        vlu::encode_sized(self.tag_echo, out);
        vlu::encode_sized(self.cookie, out);
        out.extend_from_slice(self.certificate);
    }
}

impl fmt::Display for ResponderHello<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tag, cookie) = (Hex(self.tag_echo), Hex(self.cookie));
        write!(f, "ResponderHello tag={tag} cookie={cookie} certificate={}", Hex(self.certificate))
    }
}
