//! Ping (RFC 7016 §2.3.9).

use alloc::vec::Vec;
use core::fmt;

use super::{EncodeChunk, Hex};
use crate::wire::Malformed;

/// Asks for a Ping Reply (RFC 7016 §2.3.9). For packets of established sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ping<'a> {
    /// To be returned; maybe empty.
    pub message: &'a [u8],
}

impl<'a> Ping<'a> {
    /// Reads the payload of the chunk.
    ///
    /// # Errors
    /// None: any payload will do.
    pub const fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        Ok(Self { message: payload })
    }
}

impl EncodeChunk for Ping<'_> {
    const TYPE: u8 = 0x01;

    fn payload_len(&self) -> usize {
        self.message.len()
    }

    fn encode_payload(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.message);
    }
}

impl fmt::Display for Ping<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ping {}", Hex(self.message))
    }
}
