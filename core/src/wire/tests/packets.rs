//! RFC 7016 §2.2.4: the header of a packet, the walk over its chunks, its padding.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use super::arbitrary::{Noise, Parts};
use super::{check, packet};
use crate::error::DropReason;
use crate::wire::{CHUNK_HEADER_LEN, Chunk, Chunks, Close, HeaderError, Malformed, Mode, PacketHeader, Ping};

#[test]
fn every_header() {
    for flags in 0..=u8::MAX {
        let bytes = [flags, 1, 2, 3, 4, 0x0c];
        let parsed = PacketHeader::parse(&bytes);
        if flags & 0x03 == 0 {
            assert_eq!(parsed, Err(HeaderError::ForbiddenMode));
            continue;
        }
        let (header, chunks) = parsed.unwrap();
        let timestamps = match flags & 0x0c {
            0x00 => (None, None),
            0x04 => (None, Some(0x0102)),
            0x08 => (Some(0x0102), None),
            _ => (Some(0x0102), Some(0x0304)),
        };
        assert_eq!((header.timestamp, header.timestamp_echo), timestamps);
        assert_eq!((header.time_critical, header.time_critical_reverse), (flags & 0x80 != 0, flags & 0x40 != 0));
        assert_eq!(header.mode, [Mode::Initiator, Mode::Responder, Mode::Startup][usize::from(flags & 3) - 1]);

        let mut encoded = Vec::new();
        header.encode(&mut encoded);
        assert_eq!(encoded[0], flags & !0x30, "reserved bits are clear when sent");
        assert_eq!(encoded[1..], bytes[1..encoded.len()]);
        assert_eq!(chunks.as_slice(), &bytes[encoded.len()..]);
        assert!(encoded.len() == header.encoded_len() && encoded.len() <= PacketHeader::MAX_LEN);
        for length in 0..encoded.len() {
            assert_eq!(PacketHeader::parse(&bytes[..length]), Err(HeaderError::Truncated));
        }
    }
}

#[test]
fn header_errors_are_reasons_to_drop() {
    assert_eq!(DropReason::from(HeaderError::ForbiddenMode), DropReason::WrongMode);
    assert_eq!(DropReason::from(HeaderError::Truncated), DropReason::Malformed);
    assert_eq!(DropReason::from(Malformed), DropReason::Malformed);
}

#[test]
fn header_line() {
    let mut header = PacketHeader::new(Mode::Startup);
    assert_eq!(header.to_string(), "startup");
    header = PacketHeader {
        time_critical: true,
        time_critical_reverse: true,
        timestamp: Some(5),
        timestamp_echo: Some(9),
        mode: Mode::Initiator,
    };
    assert_eq!(header.to_string(), "initiator TC TCR ts=5 tse=9");
}

#[test]
fn padding_begins_where_no_chunk_fits() {
    let close = [0x0c, 0, 0];
    // The length 0xffff of the 0xff bytes of a profile's padding does not fit, nor do fewer than three bytes.
    let paddings: [&[u8]; 6] = [&[], &[0xff], &[0xff; 2], &[0xff; 15], &[0x10, 0, 1], &[0, 0]];
    for padding in paddings {
        let bytes = [&close[..], padding].concat();
        let mut chunks = Chunks::new(&bytes);
        assert_eq!(chunks.next(), Some(Ok(Chunk::Close(Close))));
        assert_eq!(chunks.next(), None);
        assert_eq!((chunks.next(), chunks.as_slice()), (None, padding));
    }
    assert_eq!(Chunks::new(&[]).next(), None);
}

#[test]
fn chunks_to_ignore_do_not_end_the_walk() {
    let bytes = [0x00, 0, 2, 7, 7, 0xff, 0, 0, 0x99, 0, 1, 7, 0x18, 0, 0, 0x18, 0, 1, 0x80, 0x01, 0, 1, 5];
    let chunks: Vec<_> = Chunks::new(&bytes).collect();
    let ping = Chunk::Ping(Ping { message: &[5] });
    let expected = [
        Ok(Chunk::Padding),
        Ok(Chunk::Padding),
        Ok(Chunk::Unknown { kind: 0x99 }),
        Err(Malformed),
        Err(Malformed),
        Ok(ping),
    ];
    assert_eq!(chunks, expected);
}

#[test]
fn the_longest_chunk() {
    let mut bytes = vec![0x01, 0xff, 0xff];
    bytes.resize(3 + 65_535, 9);
    assert_eq!(Chunks::new(&bytes[..bytes.len() - 1]).next(), None);
    let mut chunks = Chunks::new(&bytes);
    assert!(matches!(chunks.next(), Some(Ok(Chunk::Ping(ping))) if ping.message.len() == 65_535));
    assert_eq!(chunks.next(), None);
}

#[test]
fn arbitrary_packets() {
    fn property(Noise(bytes): Noise) -> bool {
        let Ok((header, chunks)) = PacketHeader::parse(&bytes) else {
            return bytes.len() < PacketHeader::MAX_LEN || bytes[0] & 3 == 0;
        };
        let mut raw = chunks.clone();
        let mut length = header.encoded_len();
        let mut count = 0;
        while let Some((_, payload)) = raw.next_raw() {
            length += CHUNK_HEADER_LEN + payload.len();
            count += 1;
        }
        length + raw.as_slice().len() == bytes.len() && chunks.count() == count
    }
    check(property as fn(Noise) -> bool);
}

#[test]
fn whole_packets_come_back_and_truncated_ones_are_prefixes() {
    fn property(parts: Parts, cut: usize) -> bool {
        let chunks = parts.chunks();
        let written = packet(70_000, |packet| assert!(chunks.iter().all(|chunk| chunk.write(packet))));
        let (_, parsed) = PacketHeader::parse(&written).unwrap();
        let whole = parsed.eq(chunks.iter().copied().map(Ok));
        // Cut anywhere: the chunks that are whole, and nothing else.
        let length = 1 + cut % (written.len() - 1);
        let (_, parsed) = PacketHeader::parse(&written[..length]).unwrap();
        let count = parsed.clone().count();
        whole && count < chunks.len() && parsed.eq(chunks[..count].iter().copied().map(Ok))
    }
    check(property as fn(Parts, usize) -> bool);
}
