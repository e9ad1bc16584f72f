//! Ping Reply (RFC 7016 §2.3.10).

use alloc::vec::Vec;
use core::fmt;

use super::{EncodeChunk, Hex};
use crate::wire::Malformed;

/// Answers a Ping (RFC 7016 §2.3.10). For packets of established sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PingReply<'a> {
    /// The message of the Ping.
    pub message: &'a [u8],
}

impl<'a> PingReply<'a> {
    /// Reads the payload of the chunk.
    ///
    /// # Errors
    /// None: any payload will do.
    pub const fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        Ok(Self { message: payload })
    }
}

impl EncodeChunk for PingReply<'_> {
    const TYPE: u8 = 0x41;

    fn payload_len(&self) -> usize {
        self.message.len()
    }

    fn encode_payload(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.message);
    }
}

impl fmt::Display for PingReply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PingReply {}", Hex(self.message))
    }
}
