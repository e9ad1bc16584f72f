//! RFC 7016 §2.1 and §2.2.2: integers, options, addresses, the scrambled session ID.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use super::arbitrary::{Noise, Number};
use super::check;
use crate::wire::option::{encode_marker, encode_option, encoded_option_len, parse_list};
use crate::wire::{Address, AddressOrigin, Cursor, Malformed, Options, RawOption, session_id, vlu};

#[test]
fn fixed_integers_are_in_network_byte_order() {
    let mut cursor = Cursor::new(&[1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(cursor.u8(), Ok(0x01));
    assert_eq!(cursor.u16(), Ok(0x0203));
    assert_eq!(cursor.u32(), Ok(0x0405_0607));
    assert_eq!(cursor.u16(), Err(Malformed));
    assert_eq!(cursor.u32(), Err(Malformed));
    assert_eq!(cursor.bytes(2), Err(Malformed));
    assert_eq!(cursor.remaining(), 1, "a failure takes nothing");
    assert_eq!(cursor.u8(), Ok(8));
    assert_eq!(cursor.u8(), Err(Malformed));
    assert_eq!(cursor.bytes(0), Ok(&[][..]));
}

#[test]
fn a_sub_cursor_ends_where_told() {
    let mut cursor = Cursor::new(&[1, 2, 3]);
    let mut sub = cursor.sub(2).unwrap();
    assert_eq!((sub.rest(), sub.is_empty()), (&[1, 2][..], true));
    assert_eq!(cursor.as_slice(), [3]);
}

#[test]
fn vlu_examples() {
    let examples: [(u64, &[u8]); 8] = [
        (0, &[0x00]),
        (127, &[0x7f]),
        (128, &[0x81, 0x00]),
        (16_383, &[0xff, 0x7f]),
        (16_384, &[0x81, 0x80, 0x00]),
        (u64::from(u32::MAX), &[0x8f, 0xff, 0xff, 0xff, 0x7f]),
        (u64::MAX >> 1, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
        (u64::MAX, &[0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
    ];
    for (value, bytes) in examples {
        let mut out = Vec::new();
        vlu::encode(value, &mut out);
        assert_eq!(out, bytes);
        assert_eq!(vlu::encoded_len(value), bytes.len());
        assert_eq!(Cursor::new(bytes).vlu(), Ok(value));
    }
    assert_eq!(vlu::encoded_len(u64::MAX), vlu::MAX_LEN);
}

#[test]
fn vlu_with_leading_zero_digits_is_accepted() {
    let mut bytes = vec![0x80; 1000];
    bytes.extend_from_slice(&[0x81, 0x05, 0x99]);
    let mut cursor = Cursor::new(&bytes);
    assert_eq!(cursor.vlu(), Ok(133));
    assert_eq!(cursor.as_slice(), [0x99]);
}

#[test]
fn vlu_that_overflows_or_is_truncated_is_malformed() {
    let too_large: [&[u8]; 3] = [
        // 2^64, and a digit more than 64 bits have.
        &[0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00],
        &[0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        &[0xff; 40],
    ];
    let truncated: [&[u8]; 3] = [&[], &[0x80], &[0xff, 0x81]];
    for bytes in too_large.into_iter().chain(truncated) {
        let mut cursor = Cursor::new(bytes);
        assert_eq!(cursor.vlu(), Err(Malformed), "{bytes:02x?}");
        assert_eq!(cursor.remaining(), bytes.len(), "a failure takes nothing");
    }
}

#[test]
fn vlu_round_trip() {
    fn property(value: Number, behind: Vec<u8>) -> bool {
        let mut bytes = Vec::new();
        vlu::encode(value.0, &mut bytes);
        let length = bytes.len();
        bytes.extend_from_slice(&behind);
        let mut cursor = Cursor::new(&bytes);
        cursor.vlu() == Ok(value.0) && length == vlu::encoded_len(value.0) && cursor.as_slice() == behind
    }
    check(property as fn(Number, Vec<u8>) -> bool);
}

#[test]
fn sized_bytes_that_do_not_fit_take_nothing() {
    let mut cursor = Cursor::new(&[2, 7, 8, 9]);
    assert_eq!(cursor.sized_bytes(), Ok(&[7, 8][..]));
    assert_eq!(cursor.sized_bytes(), Err(Malformed));
    assert_eq!(cursor.as_slice(), [9]);
    // A length near 2^64 must not wrap around.
    let huge = [0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1];
    assert_eq!(Cursor::new(&huge).sized_bytes(), Err(Malformed));
}

#[test]
fn option_list_ends_at_its_marker() {
    let mut bytes = Vec::new();
    encode_option(0x00, b"metadata", &mut bytes);
    encode_option(0x2000, &[], &mut bytes);
    let list = bytes.clone();
    assert_eq!(list, b"\x09\x00metadata\x02\xc0\x00");
    encode_marker(&mut bytes);
    bytes.extend_from_slice(b"data");

    let mut cursor = Cursor::new(&bytes);
    let parsed = parse_list(&mut cursor).unwrap();
    assert_eq!(parsed, list);
    assert_eq!(cursor.as_slice(), b"data");
    let mut options = Options::new(parsed);
    assert_eq!(options.next(), Some(Ok(RawOption::Option { kind: 0x00, value: b"metadata" })));
    assert_eq!(options.as_slice(), [2, 0xc0, 0]);
    assert_eq!(options.next(), Some(Ok(RawOption::Option { kind: 0x2000, value: b"" })));
    assert_eq!(options.next(), None);
}

#[test]
fn empty_option_list_is_a_marker() {
    let mut cursor = Cursor::new(&[0, 5]);
    assert_eq!(parse_list(&mut cursor), Ok(&[][..]));
    assert_eq!(cursor.as_slice(), [5]);
    // A marker with leading zero digits is one.
    assert_eq!(parse_list(&mut Cursor::new(&[0x80, 0x00])), Ok(&[][..]));
}

#[test]
fn malformed_option_lists() {
    // No marker; an option longer than what is left; a type longer than its option.
    let lists: [&[u8]; 5] = [&[], &[2, 1, 1], &[3, 1, 0], &[1, 0x81, 0x00], &[2, 1, 1, 4, 4, 4]];
    for list in lists {
        let mut cursor = Cursor::new(list);
        assert_eq!(parse_list(&mut cursor), Err(Malformed), "{list:02x?}");
        assert_eq!(cursor.remaining(), list.len(), "a failure takes nothing");
    }
}

#[test]
fn options_go_on_behind_a_marker_but_not_behind_an_error() {
    let mut options = Options::new(&[1, 5, 0, 2, 6, 7, 9, 9]);
    assert_eq!(options.next(), Some(Ok(RawOption::Option { kind: 5, value: &[] })));
    assert_eq!(options.next(), Some(Ok(RawOption::Marker)));
    assert_eq!(options.next(), Some(Ok(RawOption::Option { kind: 6, value: &[7] })));
    assert_eq!(options.next(), Some(Err(Malformed)));
    assert_eq!(options.next(), None);
}

#[test]
fn option_round_trip() {
    fn property(kind: Number, value: Vec<u8>) -> bool {
        let mut bytes = Vec::new();
        encode_option(kind.0, &value, &mut bytes);
        bytes.len() == encoded_option_len(kind.0, value.len())
            && Options::new(&bytes).eq([Ok(RawOption::Option { kind: kind.0, value: &value })])
    }
    check(property as fn(Number, Vec<u8>) -> bool);
}

#[test]
fn elements_never_panic_and_never_take_more_than_there_is() {
    fn property(Noise(bytes): Noise) -> bool {
        let mut cursor = Cursor::new(&bytes);
        let list = parse_list(&mut cursor);
        let taken = bytes.len() - cursor.remaining();
        let options = Options::new(&bytes).count();
        let address = Address::parse(&mut Cursor::new(&bytes));
        list.map_or(taken == 0, |list| list.len() < taken)
            && options <= bytes.len()
            && address.map_or(bytes.len() < 19, |address| address.encoded_len() <= bytes.len())
    }
    check(property as fn(Noise) -> bool);
}

#[test]
fn address_forms() {
    let forms: [(&[u8], AddressOrigin, &str); 4] = [
        (&[0x00, 192, 0, 2, 1, 0x07, 0x8f], AddressOrigin::Unknown, "192.0.2.1:1935"),
        (&[0x01, 10, 0, 0, 1, 0, 0], AddressOrigin::Local, "10.0.0.1:0 (local)"),
        (&[0x02, 255, 255, 255, 255, 0xff, 0xff], AddressOrigin::Observed, "255.255.255.255:65535 (observed)"),
        (
            &[0x83, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x01, 0x02],
            AddressOrigin::Relay,
            "[2001:db8::1]:258 (relay)",
        ),
    ];
    for (bytes, origin, text) in forms {
        let mut cursor = Cursor::new(bytes);
        let address = Address::parse(&mut cursor).unwrap();
        assert!(cursor.is_empty());
        assert_eq!((address.origin, address.to_string().as_str()), (origin, text));
        let mut out = Vec::new();
        address.encode(&mut out);
        assert_eq!(out, bytes);
        assert_eq!(address.encoded_len(), bytes.len());
        for length in 0..bytes.len() {
            let mut cursor = Cursor::new(&bytes[..length]);
            assert_eq!(Address::parse(&mut cursor), Err(Malformed));
            assert_eq!(cursor.remaining(), length, "a failure takes nothing");
        }
        // Reserved bits are ignored.
        let mut reserved = bytes.to_vec();
        reserved[0] |= 0x7c;
        assert_eq!(Address::parse(&mut Cursor::new(&reserved)), Ok(address));
    }
}

#[test]
fn address_round_trip() {
    fn property(address: Address) -> bool {
        let mut bytes = Vec::new();
        address.encode(&mut bytes);
        bytes.len() == address.encoded_len() && Address::parse(&mut Cursor::new(&bytes)) == Ok(address)
    }
    check(property as fn(Address) -> bool);
}

#[test]
fn session_id_is_scrambled_with_the_first_two_words() {
    let encrypted = [0x01, 0x02, 0x03, 0x04, 0x10, 0x20, 0x30, 0x40, 0xff];
    assert_eq!(session_id::scramble(0xa000_000b, &encrypted), [0xb1, 0x22, 0x33, 0x4f]);
    let datagram = [&[0xb1, 0x22, 0x33, 0x4f][..], &encrypted].concat();
    assert_eq!(session_id::unscramble(&datagram), Some((0xa000_000b, 4)));
    // Bits that both words have cancel each other out.
    assert_eq!(session_id::scramble(5, &[0xff, 0, 0, 3, 0xff, 0, 0, 1]), [0, 0, 0, 7]);
}

#[test]
fn session_id_of_short_packets() {
    // RFC 7016 §2.2.2: as though end-padded with zeros to eight bytes.
    assert_eq!(session_id::scramble(5, &[]), [0, 0, 0, 5]);
    assert_eq!(session_id::scramble(5, &[1]), [1, 0, 0, 5]);
    assert_eq!(session_id::scramble(5, &[1, 0, 0, 0, 2, 9]), [3, 9, 0, 5]);
    assert_eq!(session_id::unscramble(&[0, 0, 0, 5]), Some((5, 4)));
    for length in 0..4 {
        assert_eq!(session_id::unscramble(&[7; 4][..length]), None);
    }
}

#[test]
fn session_id_round_trip() {
    fn property(id: u32, encrypted: Vec<u8>) -> bool {
        let datagram = [&session_id::scramble(id, &encrypted)[..], &encrypted].concat();
        session_id::unscramble(&datagram) == Some((id, session_id::LEN))
    }
    check(property as fn(u32, Vec<u8>) -> bool);
}
