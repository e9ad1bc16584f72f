//! RFC 7016 §2.3: every chunk.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use super::arbitrary::{Noise, Parts};
use super::{check, packet, payload};
use crate::wire::{
    CHUNK_HEADER_LEN, Chunk, Chunks, Close, CloseAck, EcnReport, EncodeChunk, FragmentControl, FragmentFlags,
    InitiatorKeying, Malformed, NextUserData, PacketFragment, PacketHeader, Padding, PingReply, Redirect,
    ResponderKeying, UserData,
};

/// The type codes of RFC 7016 §2.3, in the order of [`Parts::chunks`]; the last is not of the RFC.
const TYPES: [u8; 19] =
    [0x7f, 0x30, 0x0f, 0x70, 0x71, 0x79, 0x38, 0x78, 0x01, 0x41, 0x10, 0x11, 0x50, 0x51, 0x18, 0x5e, 0x0c, 0x4c, 0xec];

#[test]
fn every_chunk_comes_back() {
    fn property(parts: Parts) -> bool {
        parts.chunks().iter().zip(TYPES).all(|(chunk, kind)| {
            let written = packet(70_000, |packet| assert!(chunk.write(packet)));
            let (_, mut chunks) = PacketHeader::parse(&written).unwrap();
            let mut raw = chunks.clone();
            raw.next_raw().is_some_and(|(raw_kind, _)| raw_kind == kind)
                && raw.as_slice().is_empty()
                && chunks.next() == Some(Ok(*chunk))
                && chunks.next().is_none()
        })
    }
    check(property as fn(Parts) -> bool);
}

#[test]
fn payload_len_is_what_is_encoded() {
    fn property(parts: Parts) -> bool {
        parts.chunks().iter().all(|chunk| {
            let written = packet(70_000, |packet| assert!(chunk.write(packet)));
            // One byte less, and it is refused: the length that `push` goes by is exact.
            let refused = packet(written.len() - 1, |packet| assert!(!chunk.write(packet)));
            refused.len() == 1
        })
    }
    check(property as fn(Parts) -> bool);
}

/// Shorter, and the buffer would grow for chunks that do not fit; longer, and some that fit would be refused.
#[test]
fn payload_len_is_the_length_of_the_payload() {
    fn is_exact(chunk: &impl EncodeChunk) -> bool {
        let mut payload = Vec::new();
        chunk.encode_payload(&mut payload);
        payload.len() == chunk.payload_len()
    }
    fn property(parts: Parts) -> bool {
        parts.chunks().iter().all(|chunk| match chunk {
            Chunk::PacketFragment(chunk) => is_exact(chunk),
            Chunk::InitiatorHello(chunk) => is_exact(chunk),
            Chunk::ForwardedHello(chunk) => is_exact(chunk),
            Chunk::ResponderHello(chunk) => is_exact(chunk),
            Chunk::Redirect(chunk) => is_exact(chunk),
            Chunk::CookieChange(chunk) => is_exact(chunk),
            Chunk::InitiatorKeying(chunk) => is_exact(chunk),
            Chunk::ResponderKeying(chunk) => is_exact(chunk),
            Chunk::Ping(chunk) => is_exact(chunk),
            Chunk::PingReply(chunk) => is_exact(chunk),
            Chunk::UserData(chunk) => is_exact(chunk),
            Chunk::NextUserData(chunk) => is_exact(chunk),
            Chunk::AckBitmap(chunk) => is_exact(chunk),
            Chunk::AckRanges(chunk) => is_exact(chunk),
            Chunk::BufferProbe(chunk) => is_exact(chunk),
            Chunk::FlowException(chunk) => is_exact(chunk),
            Chunk::Close(chunk) => is_exact(chunk),
            Chunk::CloseAck(chunk) => is_exact(chunk),
            Chunk::EcnReport(chunk) => is_exact(chunk),
            Chunk::Padding | Chunk::Unknown { .. } => true,
        })
    }
    check(property as fn(Parts) -> bool);
}

#[test]
fn a_ping_reply_fits_where_its_message_does() {
    assert_eq!(PingReply { message: b"message" }.payload_len(), 7);
    // A header of one byte, and one of the chunk.
    packet(1 + CHUNK_HEADER_LEN, |packet| assert!(packet.push(&PingReply { message: b"" })));
}

#[test]
fn truncated_chunks_are_read_or_refused() {
    fn property(parts: Parts, first: usize) -> bool {
        parts.chunks().iter().all(|chunk| {
            let written = packet(70_000, |packet| assert!(chunk.write(packet)));
            let (kind, payload) = Chunks::new(&written[1..]).next_raw().unwrap();
            // Five lengths of each, other ones every time.
            let mut lengths = (0..5).map(|n| first.wrapping_add(n * payload.len() / 5) % payload.len().max(1));
            payload.is_empty() || lengths.all(|length| Chunk::parse(kind, &payload[..length]) != Ok(*chunk))
        })
    }
    check(property as fn(Parts, usize) -> bool);
}

#[test]
fn arbitrary_payloads_of_all_types() {
    fn property(kind: u8, Noise(payload): Noise) -> bool {
        TYPES.into_iter().chain([kind]).all(|kind| {
            // What is read can be shown and written, and comes back as it was.
            let Ok(chunk) = Chunk::parse(kind, &payload) else {
                return true;
            };
            let shown = !chunk.to_string().is_empty();
            if matches!(chunk, Chunk::Unknown { .. }) {
                return shown;
            }
            let written = packet(70_000, |packet| assert!(chunk.write(packet)));
            shown && Chunks::new(&written[1..]).eq([Ok(chunk)])
        })
    }
    check(property as fn(u8, Noise) -> bool);
}

#[test]
fn unknown_and_padding_types() {
    for kind in 0..=u8::MAX {
        let chunk = Chunk::parse(kind, &[]);
        if kind == 0x00 || kind == 0xff {
            assert_eq!(chunk, Ok(Chunk::Padding));
        } else if !TYPES.contains(&kind) {
            assert_eq!(chunk, Ok(Chunk::Unknown { kind }));
        }
    }
    assert_eq!(payload(&Padding { length: 5 }), [0; 5]);
}

#[test]
fn packet_fragment() {
    let fragment = PacketFragment { more_fragments: true, packet_id: 300, fragment_number: 1, fragment: b"xy" };
    assert_eq!(payload(&fragment), [0x80, 0x82, 0x2c, 0x01, b'x', b'y']);
    assert_eq!(PacketFragment::parse(&[0xff, 0x82, 0x2c, 0x01, b'x', b'y']), Ok(fragment), "reserved bits are ignored");
    assert!(!PacketFragment::parse(&[0x7f, 0, 0, 1]).unwrap().more_fragments);
    assert_eq!(PacketFragment::parse(&[0x80, 1, 0]), Err(Malformed), "a fragment MUST NOT be empty");
}

#[test]
fn redirect() {
    let implied = Redirect::parse(&[1, 9]).unwrap();
    assert_eq!((implied.tag_echo, implied.destinations.is_empty()), (&[9][..], true));
    assert_eq!(implied.destinations.iter().next(), None);
    let mut two = vec![0, 0x00, 192, 0, 2, 1, 0, 1, 0x02, 192, 0, 2, 2, 0, 2];
    let redirect = Redirect::parse(&two).unwrap();
    assert!(redirect.tag_echo.is_empty() && !redirect.destinations.is_empty());
    let addresses: Vec<_> = redirect.destinations.iter().collect();
    assert_eq!(addresses.iter().map(|address| address.socket.port()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(redirect, Redirect::new(&[], &addresses));
    assert_ne!(redirect, Redirect::new(&[], &addresses[..1]));
    assert_eq!(payload(&Redirect::new(&[], &addresses)), two);
    assert!(redirect.destinations.into_iter().eq((&redirect.destinations).into_iter()));
    // RFC 7016 §2.3: an error in one address is an error of the chunk.
    two.pop();
    assert_eq!(Redirect::parse(&two), Err(Malformed));
    assert_eq!(Chunk::parse(0x71, &two), Err(Malformed));
}

#[test]
fn initiator_keying() {
    let signed = InitiatorKeying::signed_parameters(0x0102_0304, b"c", b"id", b"dh1");
    assert_eq!(signed, b"\x01\x02\x03\x04\x01c\x02id\x03dh1");
    let keying = InitiatorKeying::from_signed(&signed, b"signature").unwrap();
    let bytes = payload(&keying);
    assert_eq!(bytes, b"\x01\x02\x03\x04\x01c\x02id\x03dh1signature");
    let parsed = InitiatorKeying::parse(&bytes).unwrap();
    assert_eq!(parsed, keying);
    assert_eq!((parsed.session_id, parsed.signed), (0x0102_0304, &signed[..]));
    assert_eq!((parsed.cookie_echo, parsed.certificate, parsed.component), (&b"c"[..], &b"id"[..], &b"dh1"[..]));
    assert_eq!(parsed.signature, b"signature");
    assert_eq!(InitiatorKeying::from_signed(&bytes, b"signature"), Err(Malformed));
    assert_eq!(InitiatorKeying::from_signed(&signed[1..], b""), Err(Malformed));
}

#[test]
fn responder_keying() {
    let signed = ResponderKeying::signed_parameters(0xfffe_fdfc, b"dh2");
    assert_eq!(signed, b"\xff\xfe\xfd\xfc\x03dh2");
    let keying = ResponderKeying::from_signed(&signed, b"signature").unwrap();
    let bytes = payload(&keying);
    assert_eq!(bytes, b"\xff\xfe\xfd\xfc\x03dh2signature");
    let parsed = ResponderKeying::parse(&bytes).unwrap();
    assert_eq!(parsed, keying);
    assert_eq!((parsed.session_id, parsed.signed), (0xfffe_fdfc, &signed[..]));
    assert_eq!((parsed.component, parsed.signature), (&b"dh2"[..], &b"signature"[..]));
    assert_eq!(ResponderKeying::from_signed(&bytes, b"signature"), Err(Malformed));
}

#[test]
fn keyings_keep_what_was_signed_as_it_was() {
    // A length with a leading zero digit: encoded again from its fields, the signature would not hold.
    let bytes = [0, 0, 0, 1, 0x80, 0x01, 7, 8, 9];
    let keying = ResponderKeying::parse(&bytes).unwrap();
    assert_eq!((keying.component, keying.signed), (&[7][..], &bytes[..7]));
    assert_eq!(payload(&keying), bytes);
}

#[test]
fn fragment_flags() {
    for byte in 0..=u8::MAX {
        let flags = FragmentFlags::from_byte(byte);
        assert_eq!(flags.to_byte(), byte & 0xb3, "reserved bits are ignored, and clear when sent");
    }
    let flags = FragmentFlags::from_byte(0xa1);
    assert_eq!((flags.options_present, flags.control), (true, FragmentControl::End));
    assert_eq!((flags.abandon, flags.last), (false, true));
    assert_eq!(FragmentFlags::from_byte(0x10).control, FragmentControl::Begin);
    assert_eq!(FragmentFlags::from_byte(0x32).control, FragmentControl::Middle);
    assert!(FragmentFlags::from_byte(0x02).abandon);
}

#[test]
fn user_data_numbers() {
    let parse = |flags, sequence, offset| UserData::parse(&[flags, 1, sequence, offset]).map(|_| ());
    assert_eq!(parse(0x00, 1, 1), Ok(()));
    assert_eq!(parse(0x00, 0, 0), Err(Malformed), "sequence numbers are greater than zero");
    assert_eq!(parse(0x02, 0, 0), Err(Malformed), "sequence numbers are greater than zero");
    assert_eq!(parse(0x00, 5, 0), Err(Malformed), "fsnOffset MUST NOT be zero if not abandoned");
    assert_eq!(parse(0x02, 5, 0), Ok(()));
    assert_eq!(parse(0x00, 5, 5), Ok(()));
    assert_eq!(parse(0x00, 5, 6), Err(Malformed), "fsnOffset MUST NOT be above the sequence number");
    assert_eq!(parse(0x02, 5, 6), Err(Malformed), "fsnOffset MUST NOT be above the sequence number");
}

#[test]
fn user_data_options() {
    let bytes = [0x80, 1, 1, 1, 2, 0, 7, 2, 0x0a, 3, 0, 8, 9];
    let chunk = UserData::parse(&bytes).unwrap();
    assert_eq!((chunk.options, chunk.data), (Some(&[2, 0, 7, 2, 0x0a, 3][..]), &[8, 9][..]));
    assert_eq!(payload(&chunk), bytes);
    let empty = UserData::parse(&[0x80, 1, 1, 1, 0, 8]).unwrap();
    assert_eq!((empty.options, empty.data), (Some(&[][..]), &[8][..]));
    assert_eq!(UserData::parse(&[0x80, 1, 1, 1]), Err(Malformed), "the list has no marker");
    assert_eq!(UserData::parse(&[0x80, 1, 1, 1, 5, 0]), Err(Malformed));

    let next = NextUserData::parse(&[0xb3, 2, 0, 7, 0, 8]).unwrap();
    assert_eq!((next.control, next.abandon, next.last), (FragmentControl::Middle, true, true));
    assert_eq!((next.options, next.data), (Some(&[2, 0, 7][..]), &[8][..]));
    assert_eq!(NextUserData::parse(&[0x80, 2, 0, 7]), Err(Malformed));
    assert_eq!(NextUserData::parse(&[]), Err(Malformed));
}

#[test]
fn trailing_bytes_are_ignored_where_no_field_takes_them() {
    assert_eq!(Close::parse(b"?"), Ok(Close));
    assert_eq!(CloseAck::parse(b"?"), Ok(CloseAck));
    assert_eq!(EcnReport::parse(&[250, 1, 2]), Ok(EcnReport { ce_count: 250 }));
    assert_eq!(EcnReport::parse(&[]), Err(Malformed));
    assert_eq!(Chunk::parse(0x18, &[5, 6]).unwrap().to_string(), "BufferProbe flow=5");
    assert_eq!(Chunk::parse(0x5e, &[5, 6, 7]).unwrap().to_string(), "FlowException flow=5 code=6");
}

#[test]
fn one_line_each() {
    let lines: [(u8, &[u8], &str); 14] = [
        (0x7f, &[0x80, 1, 2, 3], "PacketFragment packet=1 fragment=2 more 1B"),
        (0x30, &[2, 0xab, 0xcd], "InitiatorHello epd=2B:abcd tag=0B"),
        (0x0f, &[0, 2, 192, 0, 2, 1, 0, 9], "ForwardedHello epd=0B reply=192.0.2.1:9 (observed) tag=0B"),
        (0x70, &[0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9], "ResponderHello tag=0B cookie=0B certificate=9B:0102030405060708.."),
        (0x71, &[0], "Redirect tag=0B implied"),
        (0x71, &[0, 0, 192, 0, 2, 1, 0, 9], "Redirect tag=0B 192.0.2.1:9"),
        (0x79, &[0, 1], "CookieChange old=0B new=1B:01"),
        (0x78, &[0, 0, 1, 2, 0, 5], "ResponderKeying sid=00000102 component=0B signature=1B:05"),
        (0x10, &[0x00, 3, 5, 3, 0, 0], "UserData flow=3 seq=5 fsn=2 whole 2B"),
        (0x11, &[0xa3, 2, 0, 7, 0], "NextUserData end abandon final option=0x00:1B 0B"),
        (0x51, &[5, 127, 16, 0, 0, 1, 3], "AckRanges flow=5 blocks=127 cum=16 18 21-24"),
        (0x50, &[5, 127, 16, 0x79, 0x06], "AckBitmap flow=5 blocks=127 cum=16 18 21-24 27-28"),
        (0xec, &[7], "EcnReport ce=7"),
        (0x99, &[7], "Unknown type=0x99"),
    ];
    for (kind, payload, line) in lines {
        assert_eq!(Chunk::parse(kind, payload).unwrap().to_string(), line);
    }
}
