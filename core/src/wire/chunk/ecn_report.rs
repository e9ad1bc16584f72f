//! ECN report, an experimental chunk outside RFC 7016.

use alloc::vec::Vec;
use core::fmt;

use super::EncodeChunk;
use crate::wire::{Cursor, Malformed};

/// Tells how many packets of the session arrived marked Congestion Experienced. Stands before the acknowledgements
/// of a packet; a peer that does not know it ignores it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EcnReport {
    /// The count, modulo 256.
    pub ce_count: u8,
}

impl EcnReport {
    /// Reads the payload of the chunk; what follows the count is ignored.
    ///
    /// # Errors
    /// It is empty.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        Ok(Self { ce_count: Cursor::new(payload).u8()? })
    }
}

impl EncodeChunk for EcnReport {
    const TYPE: u8 = 0xec;

    fn payload_len(&self) -> usize {
        1
    }

    fn encode_payload(&self, out: &mut Vec<u8>) {
        out.push(self.ce_count);
    }
}

impl fmt::Display for EcnReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EcnReport ce={}", self.ce_count)
    }
}
