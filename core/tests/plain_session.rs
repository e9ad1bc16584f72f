//! Every datagram of a session between two other implementations, read and written again.
//!
//! `data/plain-session.jsonl` was recorded from rtmfp-cpp 1.7.0, its `testclient` and `server` talking with a profile
//! that does not encrypt: behind the plain packet are 16 bytes 0xff and a checksum of two bytes. 5 % of the client's
//! datagrams were replaced by empty ones. It has a handshake, two flows of 60 messages, a receive window of zero,
//! losses, keepalives, and an abrupt close.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may fail as the test may")]

use std::collections::BTreeMap;

use rtmfp_core::wire::{Chunk, Mode, PacketHeader, PacketWriter, session_id};

const SESSION: &str = include_str!("data/plain-session.jsonl");
const PADDING: usize = 16;
const CHECKSUM: usize = 2;

struct Datagram {
    from_client: bool,
    bytes: Vec<u8>,
}

/// The text behind `"key":` of a flat JSON object, up to the next comma or brace, without quotes.
fn field<'a>(line: &'a str, key: &str) -> &'a str {
    let (_, value) = line.split_once(&format!("\"{key}\":")).unwrap();
    value.split([',', '}']).next().unwrap().trim_matches('"')
}

fn datagrams() -> impl Iterator<Item = Datagram> {
    SESSION.lines().map(|line| {
        let hex = field(line, "datagram");
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        Datagram { from_client: field(line, "from") == "client", bytes: (0..hex.len()).step_by(2).map(byte).collect() }
    })
}

#[test]
fn every_packet_comes_back_as_it_was() {
    let mut counts = BTreeMap::new();
    let mut empty = 0;
    for Datagram { from_client, bytes } in datagrams() {
        let Some((id, offset)) = session_id::unscramble(&bytes) else {
            empty += 1;
            assert!(bytes.is_empty());
            continue;
        };
        let packet = &bytes[offset..bytes.len() - CHECKSUM];
        let (header, mut chunks) = PacketHeader::parse(packet).unwrap();
        match header.mode {
            // Session 0, but for the Responder Initial Keying, which goes to the initiator's.
            Mode::Startup => assert!(id == 0 || !from_client),
            Mode::Initiator => assert!(from_client && id != 0),
            Mode::Responder => assert!(!from_client && id != 0),
        }

        let mut buf = Vec::new();
        let mut writer = PacketWriter::new(&mut buf, packet.len() - PADDING);
        assert!(writer.header(&header));
        for chunk in chunks.by_ref() {
            let chunk = chunk.unwrap();
            assert!(!matches!(chunk, Chunk::Unknown { .. } | Chunk::Padding), "{chunk}");
            assert!(chunk.write(&mut writer), "{chunk}");
            let name = chunk.to_string().split(' ').next().unwrap().to_owned();
            *counts.entry((from_client, name)).or_insert(0) += 1;
        }
        assert_eq!(chunks.as_slice(), [0xff; PADDING], "the walk ends where padding begins");
        assert_eq!(buf, packet[..packet.len() - PADDING]);
    }
    assert_eq!(empty, 23);
    let counts: Vec<_> = counts.iter().map(|((client, name), count)| (*client, name.as_str(), *count)).collect();
    // Counted by an independent program.
    let expected = [
        (false, "AckRanges", 163),
        (false, "CloseAck", 1),
        (false, "EcnReport", 156),
        (false, "PingReply", 2),
        (false, "ResponderHello", 1),
        (false, "ResponderKeying", 1),
        (true, "BufferProbe", 4),
        (true, "CloseAck", 1),
        (true, "InitiatorHello", 1),
        (true, "InitiatorKeying", 1),
        (true, "NextUserData", 1),
        (true, "Ping", 2),
        (true, "UserData", 480),
    ];
    assert_eq!(counts, expected);
}

#[test]
fn every_packet_can_be_cut_at_every_length() {
    for Datagram { bytes, .. } in datagrams() {
        let packet = bytes.get(session_id::LEN..bytes.len().saturating_sub(CHECKSUM + PADDING)).unwrap_or_default();
        let whole = PacketHeader::parse(packet).map_or(0, |(_, chunks)| chunks.count());
        for length in 0..packet.len() {
            let Ok((header, mut chunks)) = PacketHeader::parse(&packet[..length]) else {
                assert!(length < PacketHeader::MAX_LEN);
                continue;
            };
            let count = chunks.by_ref().filter(Result::is_ok).count();
            assert!(count < whole, "a chunk that is cut is padding");
            assert!(header.encoded_len() + chunks.as_slice().len() <= length);
        }
    }
}
