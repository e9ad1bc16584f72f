//! Packet Fragment (RFC 7016 §2.3.1).

use alloc::vec::Vec;
use core::fmt;

use super::EncodeChunk;
use crate::wire::{Cursor, Malformed, vlu};

const MORE_FRAGMENTS: u8 = 0x80;

/// A segment of a plain packet larger than the path MTU (RFC 7016 §2.3.1, §3.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PacketFragment<'a> {
    /// The packet has more fragments behind this one.
    pub more_fragments: bool,
    /// The packet that this is a segment of.
    pub packet_id: u64,
    /// The index of the segment, from 0.
    pub fragment_number: u64,
    /// The bytes, never empty.
    pub fragment: &'a [u8],
}

impl<'a> PacketFragment<'a> {
    /// Reads the payload of the chunk.
    ///
    /// # Errors
    /// It is truncated, or the fragment is empty.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        let more_fragments = cursor.u8()? & MORE_FRAGMENTS != 0;
        let (packet_id, fragment_number) = (cursor.vlu()?, cursor.vlu()?);
        // RFC 7016 §2.3.1: a packetFragment MUST NOT be empty.
        if cursor.is_empty() {
            return Err(Malformed);
        }
        Ok(Self { more_fragments, packet_id, fragment_number, fragment: cursor.rest() })
    }
}

impl EncodeChunk for PacketFragment<'_> {
    const TYPE: u8 = 0x7f;

    fn payload_len(&self) -> usize {
        1 + vlu::encoded_len(self.packet_id) + vlu::encoded_len(self.fragment_number) + self.fragment.len()
    }

    fn encode_payload(&self, out: &mut Vec<u8>) {
        out.push(if self.more_fragments { MORE_FRAGMENTS } else { 0 });
        vlu::encode(self.packet_id, out);
        vlu::encode(self.fragment_number, out);
        out.extend_from_slice(self.fragment);
    }
}

impl fmt::Display for PacketFragment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.more_fragments { " more" } else { "" };
        write!(
            f,
            "PacketFragment packet={} fragment={}{more} {}B",
            self.packet_id,
            self.fragment_number,
            self.fragment.len()
        )
    }
}
