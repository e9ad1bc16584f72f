//! Tests of the syntax, against the figures of RFC 7016 §2 and with arbitrary input.

mod acks;
mod arbitrary;
mod chunks;
mod elements;
mod figures;
mod packets;
mod writer;

use alloc::vec::Vec;

use quickcheck::{Gen, QuickCheck, Testable};

use super::{EncodeChunk, Mode, PacketHeader, PacketWriter};

/// Checks a property with 10 000 inputs, the same ones every time.
fn check<A: Testable>(property: A) {
    QuickCheck::new().rng(Gen::from_size_and_seed(64, 0x7016)).tests(10_000).quickcheck(property);
}

/// The payload of a chunk.
fn payload(chunk: &impl EncodeChunk) -> Vec<u8> {
    let mut out = Vec::new();
    chunk.encode_payload(&mut out);
    out
}

/// A packet with the shortest header, and what `write` puts behind it; at most `limit` bytes in all.
fn packet(limit: usize, write: impl FnOnce(&mut PacketWriter<'_>)) -> Vec<u8> {
    let mut buf = Vec::new();
    let mut writer = PacketWriter::new(&mut buf, limit);
    assert!(writer.header(&PacketHeader::new(Mode::Initiator)));
    write(&mut writer);
    assert!(writer.len() <= limit);
    buf
}
