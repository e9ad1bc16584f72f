//! Flow Exception Report (RFC 7016 §2.3.16).

use alloc::vec::Vec;
use core::fmt;

use super::EncodeChunk;
use crate::wire::{Cursor, Malformed, vlu};

/// Asks the sender of a flow to close it (RFC 7016 §2.3.16). For packets of established sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowException {
    /// The flow.
    pub flow_id: u64,
    /// The application's code; 0 also if the receiver rejected the flow by itself.
    pub code: u64,
}

impl FlowException {
    /// Reads the payload of the chunk; what follows the fields is ignored.
    ///
    /// # Errors
    /// It is truncated.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        Ok(Self { flow_id: cursor.vlu()?, code: cursor.vlu()? })
    }
}

impl EncodeChunk for FlowException {
    const TYPE: u8 = 0x5e;

    fn payload_len(&self) -> usize {
        vlu::encoded_len(self.flow_id) + vlu::encoded_len(self.code)
    }

    fn encode_payload(&self, out: &mut Vec<u8>) {
        vlu::encode(self.flow_id, out);
        vlu::encode(self.code, out);
    }
}

impl fmt::Display for FlowException {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FlowException flow={} code={}", self.flow_id, self.code)
    }
}
