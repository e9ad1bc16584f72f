//! Chunks to be ignored (RFC 7016 §2.3): types 0x00 and 0xff.

use alloc::vec::Vec;

use super::EncodeChunk;

/// A chunk of zeros that the receiver ignores, for packets of a wanted size, as for path MTU discovery
/// (RFC 7016 §3.5.4.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Padding {
    /// The length of the payload in bytes; the chunk is 3 bytes longer.
    pub length: usize,
}

impl EncodeChunk for Padding {
    const TYPE: u8 = 0x00;

    fn payload_len(&self) -> usize {
        self.length
    }

    fn encode_payload(&self, out: &mut Vec<u8>) {
        out.resize(out.len().saturating_add(self.length), 0);
    }
}
