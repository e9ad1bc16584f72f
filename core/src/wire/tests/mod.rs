//! Tests of the syntax, against the figures of RFC 7016 §2 and with arbitrary input.

extern crate std;

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

/// Checks a property with 2,500 inputs, the same ones every time, and with 10,000 if `RTMFP_LONG` is set.
fn check<A: Testable>(property: A) {
    let inputs = if std::env::var_os("RTMFP_LONG").is_some() { 10_000 } else { 2_500 };
    QuickCheck::new().rng(Gen::from_size_and_seed(64, 0x7016)).tests(inputs).quickcheck(property);
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
