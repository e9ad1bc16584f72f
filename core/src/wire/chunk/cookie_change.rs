//! RHello Cookie Change (RFC 7016 §2.3.6).

use alloc::vec::Vec;
use core::fmt;

use super::{EncodeChunk, Hex};
use crate::wire::{Cursor, Malformed, vlu};

/// Asks for a new Initiator Initial Keying with another cookie (RFC 7016 §2.3.6). For startup packets with the
/// initiator's session ID.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CookieChange<'a> {
    /// The cookie that was sent.
    pub old_cookie: &'a [u8],
    /// The cookie to send and sign instead.
    pub new_cookie: &'a [u8],
}

impl<'a> CookieChange<'a> {
    /// Reads the payload of the chunk.
    ///
    /// # Errors
    /// It is truncated.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        Ok(Self { old_cookie: cursor.sized_bytes()?, new_cookie: cursor.rest() })
    }
}

impl EncodeChunk for CookieChange<'_> {
    const TYPE: u8 = 0x79;

    fn payload_len(&self) -> usize {
        vlu::sized_len(self.old_cookie.len()) + self.new_cookie.len()
    }

    fn encode_payload(&self, out: &mut Vec<u8>) {
        vlu::encode_sized(self.old_cookie, out);
        out.extend_from_slice(self.new_cookie);
    }
}

impl fmt::Display for CookieChange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CookieChange old={} new={}", Hex(self.old_cookie), Hex(self.new_cookie))
    }
}
