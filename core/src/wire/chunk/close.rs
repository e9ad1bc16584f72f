//! Session Close Request (RFC 7016 §2.3.17).

use alloc::vec::Vec;
use core::fmt;

use super::EncodeChunk;
use crate::wire::Malformed;

/// Asks to end the session (RFC 7016 §2.3.17). For packets of established and closing sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Close;

impl Close {
    /// Reads the payload of the chunk, which is empty; if not, it is ignored.
    ///
    /// # Errors
    /// None: any payload will do.
    pub const fn parse(_payload: &[u8]) -> Result<Self, Malformed> {
        Ok(Self)
    }
}

impl EncodeChunk for Close {
    const TYPE: u8 = 0x0c;

    fn payload_len(&self) -> usize {
        0
    }

    fn encode_payload(&self, _out: &mut Vec<u8>) {}
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Close")
    }
}
