//! Forwarded Initiator Hello (RFC 7016 §2.3.3).

use alloc::vec::Vec;
use core::fmt;

use super::{EncodeChunk, Hex};
use crate::wire::{Address, Cursor, Malformed, vlu};

/// An Initiator Hello passed on by a Forwarder (RFC 7016 §2.3.3). For packets of established sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ForwardedHello<'a> {
    /// The Endpoint Discriminator of the original hello.
    pub discriminator: &'a [u8],
    /// Where the original hello came from, and the answer should go.
    pub reply_address: Address,
    /// The tag of the original hello.
    pub tag: &'a [u8],
}

impl<'a> ForwardedHello<'a> {
    /// Reads the payload of the chunk.
    ///
    /// # Errors
    /// It is truncated.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        Ok(Self {
            discriminator: cursor.sized_bytes()?,
            reply_address: Address::parse(&mut cursor)?,
            tag: cursor.rest(),
        })
    }
}

impl EncodeChunk for ForwardedHello<'_> {
    const TYPE: u8 = 0x0f;

    fn payload_len(&self) -> usize {
        vlu::sized_len(self.discriminator.len()) + self.reply_address.encoded_len() + self.tag.len()
    }

    fn encode_payload(&self, out: &mut Vec<u8>) {
        vlu::encode_sized(self.discriminator, out);
        self.reply_address.encode(out);
        out.extend_from_slice(self.tag);
    }
}

impl fmt::Display for ForwardedHello<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (epd, tag) = (Hex(self.discriminator), Hex(self.tag));
        write!(f, "ForwardedHello epd={epd} reply={} tag={tag}", self.reply_address)
    }
}
