//! Buffer Probe (RFC 7016 §2.3.15).

use alloc::vec::Vec;
use core::fmt;

use super::EncodeChunk;
use crate::wire::{Cursor, Malformed, vlu};

/// Asks for an acknowledgement of a flow, to learn the receive window (RFC 7016 §2.3.15). For packets of established
/// sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BufferProbe {
    /// The flow.
    pub flow_id: u64,
}

impl BufferProbe {
    /// Reads the payload of the chunk; what follows the fields is ignored.
    ///
    /// # Errors
    /// It is truncated.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        Ok(Self { flow_id: Cursor::new(payload).vlu()? })
    }
}

impl EncodeChunk for BufferProbe {
    const TYPE: u8 = 0x18;

    fn payload_len(&self) -> usize {
        vlu::encoded_len(self.flow_id)
    }

    fn encode_payload(&self, out: &mut Vec<u8>) {
        vlu::encode(self.flow_id, out);
    }
}

impl fmt::Display for BufferProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BufferProbe flow={}", self.flow_id)
    }
}
