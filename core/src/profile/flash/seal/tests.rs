use alloc::vec;
use alloc::vec::Vec;

use quickcheck::{TestResult, quickcheck};

use super::{FlashKeys, NextNumber, put_vlu};
use crate::profile::flash::derive::Derived;
use crate::profile::flash::negotiation::Negotiated;
use crate::profile::flash::tests::{is_padded, open, seal_all, seal_one};
use crate::profile::{PacketError, SessionKeys};
use crate::transmit::Span;
use crate::wire::vlu;

/// Both ends of a session with these protections in both directions.
fn ends(hmac: Option<usize>, sequence: bool) -> (FlashKeys, FlashKeys) {
    let negotiated = Negotiated { send_hmac: hmac, recv_hmac: hmac, send_sequence: sequence, recv_sequence: sequence };
    let end = |near: &[u8], far: &[u8]| FlashKeys::new(&Derived::new(b"secret", near, far), negotiated);
    (end(b"one", b"two"), end(b"two", b"one"))
}

const MODES: [(Option<usize>, bool); 8] = [
    (None, false),
    (None, true),
    (Some(4), false),
    (Some(10), false),
    (Some(16), true),
    (Some(17), true),
    (Some(32), false),
    (Some(32), true),
];

#[test]
fn the_default_session_key() {
    let mut keys = FlashKeys::default_session_key();
    assert_eq!((keys.near_nonce(), keys.far_nonce(), keys.authenticates()), (&[][..], &[][..], false));
    assert_eq!(keys.front_len(5), 2, "a checksum and nothing else");
    let sealed = seal_one(&mut keys, b"hello");
    assert_eq!(sealed.len(), 16);
    for _ in 0..2 {
        assert!(is_padded(&open(&mut keys, &sealed).unwrap(), b"hello"));
    }
}

#[test]
fn lengths_agree_with_each_other() {
    for (hmac, sequence) in MODES {
        let (mut near, mut far) = ends(hmac, sequence);
        for room in 0..200 {
            let front = near.front_len(0);
            let plain = near.plain_capacity(front, room);
            if plain > 0 {
                assert!(near.sealed_len(front, plain) <= room);
                let sealed = seal_one(&mut near, &vec![1; plain]);
                assert_eq!(sealed.len(), near.sealed_len(front, plain));
                assert_eq!(open(&mut far, &sealed).unwrap().len(), plain, "no padding in a full packet");
            }
            assert!(near.sealed_len(near.front_len(0), plain + 1) > room, "one more would not fit");
        }
    }
}

/// The front grows with the sequence number.
#[test]
fn the_front_is_as_long_as_its_number() {
    for hmac in [None, Some(16)] {
        let (mut near, mut far) = ends(hmac, true);
        let checksum = if hmac.is_none() { 2 } else { 0 };
        assert_eq!((near.front_len(127), near.front_len(128)), (1 + checksum, 2 + checksum));
        let plains: Vec<Vec<u8>> = (0..300_u32).map(|number| number.to_be_bytes().to_vec()).collect();
        let sealed = seal_all(&mut near, &plains.iter().map(Vec::as_slice).collect::<Vec<_>>());
        for (plain, sealed) in plains.iter().zip(sealed) {
            assert!(is_padded(&open(&mut far, &sealed).unwrap(), plain));
        }
        assert_eq!(near.front_len(0), 2 + checksum);
        assert_eq!(near.front_len(16_383 - 300), 2 + checksum);
        assert_eq!(near.front_len(16_384 - 300), 3 + checksum);
    }
}

#[test]
fn written_numbers_read_back() {
    for shift in 0..64 {
        for value in [(1_u64 << shift) - 1, 1 << shift, u64::MAX >> shift] {
            let mut field = vec![0; vlu::encoded_len(value)];
            put_vlu(value, &mut field);
            let mut expected = Vec::new();
            vlu::encode(value, &mut expected);
            assert_eq!(field, expected);
        }
    }
}

/// RFC 7425 §4.7.3.1: with session sequence numbers and without HMAC the checksum may cover an odd number of bytes,
/// the last of which counts as a low byte. Computed by hand.
#[test]
fn a_checksum_over_an_odd_number_of_bytes() {
    let (mut near, _) = ends(None, true);
    let plain: Vec<u8> = (1..=13).collect();
    let sealed = seal_one(&mut near, &plain);
    assert_eq!(sealed.len(), 16, "one byte of number, two of checksum, thirteen of packet");
    let mut block = sealed;
    let (_, far) = ends(None, true);
    super::cipher::decrypt(&far.decrypt, &mut block);
    let sum = 0x0102 + 0x0304 + 0x0506 + 0x0708 + 0x090a + 0x0b0c + 0x000d;
    assert_eq!(block[..3], [&[0][..], &(!(sum as u16)).to_be_bytes()].concat());
    assert_eq!(block[3..], plain);
}

/// Encrypt-then-MAC leaves no byte that may change.
#[test]
fn a_flipped_bit_is_found_anywhere() {
    for (hmac, sequence) in MODES.into_iter().filter(|(hmac, _)| hmac.is_some()) {
        let (mut near, mut far) = ends(hmac, sequence);
        let sealed = seal_one(&mut near, &[5; 40]);
        for bit in 0..sealed.len() * 8 {
            let mut altered = sealed.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&mut far, &altered), Err(PacketError::NotAuthentic), "bit {bit}");
        }
        assert!(open(&mut far, &sealed).is_ok(), "none of which has moved the window");
    }
}

/// A packet that fails its test must change nothing, whatever number it claims.
#[test]
fn forgeries_do_not_move_the_window() {
    for hmac in [None, Some(4)] {
        let (mut near, mut far) = ends(hmac, true);
        let honest = seal_all(&mut near, &[b"one", b"two", b"three"]);
        let mut forger = ends(hmac, true).0;
        forger.send_sequence = Some(NextNumber(Some(1 << 50)));
        let mut forged = seal_one(&mut forger, b"forged");
        let last = forged.len() - 1;
        forged[last] ^= 1;
        assert_eq!(open(&mut far, &forged), Err(PacketError::NotAuthentic));
        for packet in &honest {
            assert!(open(&mut far, packet).is_ok());
            assert_eq!(open(&mut far, packet), Err(PacketError::Replayed));
        }
    }
}

/// RFC 7425 §4.7.3.3: reordering by at least 32.
#[test]
fn late_packets_are_taken_within_the_window() {
    let (mut near, mut far) = ends(Some(16), true);
    let packets: Vec<_> = (0..2000).map(|_| seal_one(&mut near, b"x")).collect();
    assert!(open(&mut far, &packets[999]).is_ok());
    for number in (40..999).rev() {
        assert!(open(&mut far, &packets[number]).is_ok(), "{number}");
    }
    assert_eq!(open(&mut far, &packets[39]), Err(PacketError::Replayed), "behind the window");
    assert!(open(&mut far, &packets[1999]).is_ok());
    assert_eq!(open(&mut far, &packets[999]), Err(PacketError::Replayed));
}

/// RFC 7425 §4.6.6, §4.7.3.3: numbers have 64 bits and never repeat.
#[test]
fn the_last_number_is_used_once() {
    for hmac in [None, Some(16)] {
        let (mut near, mut far) = ends(hmac, true);
        near.send_sequence = Some(NextNumber(Some(u64::MAX - 1)));
        let sealed = seal_all(&mut near, &[b"last but one", b"last", b"none is left"]);
        assert!(is_padded(&open(&mut far, &sealed[0]).unwrap(), b"last but one"));
        assert!(is_padded(&open(&mut far, &sealed[1]).unwrap(), b"last"));
        assert!(sealed[2].iter().all(|byte| *byte == 0), "no packet, and no plain text");
        assert!(open(&mut far, &sealed[2]).is_err());
        assert!(seal_one(&mut near, b"never").iter().all(|byte| *byte == 0));
    }
}

#[test]
fn packets_of_impossible_lengths() {
    for (hmac, sequence) in MODES {
        let (_, mut far) = ends(hmac, sequence);
        for len in 0..80 {
            assert!(open(&mut far, &vec![0; len]).is_err(), "{len} zeros");
        }
        let (mut near, _) = ends(hmac, sequence);
        let mut longer = seal_one(&mut near, b"packet");
        longer.push(0);
        assert_eq!(open(&mut far, &longer), Err(PacketError::NotAuthentic));
        assert_eq!(open(&mut far, &[]), Err(PacketError::TooShort));
    }
    // An authentic HMAC over nothing: whoever has the key may do so, and still it is no packet.
    let (near, mut far) = ends(Some(16), true);
    let mut field = vec![0; 16];
    near.finish(&mut [&mut field]);
    assert_eq!(open(&mut far, &field), Err(PacketError::TooShort));
}

/// A number that does not end within the packet.
#[test]
fn an_endless_number_is_refused() {
    let (mut near, mut far) = ends(Some(16), false);
    near.send_sequence = None;
    far.recv_window = Some(alloc::boxed::Box::default());
    let sealed = seal_one(&mut near, &[0xff; 16]);
    assert_eq!(open(&mut far, &sealed), Err(PacketError::NotAuthentic));
}

/// Spans that do not fit the keys or the buffer: nothing panics, and nothing plain is left.
#[test]
fn misuse_leaks_nothing() {
    let good = Span { start: 4, front: 1, plain: 10, sealed: 32 };
    let wrong = [
        Span { front: 2, ..good },
        Span { plain: 11, sealed: 16, ..good },
        Span { sealed: 48, ..good },
        Span { start: usize::MAX, ..good },
        Span { start: 40, ..good },
        Span { sealed: usize::MAX, ..good },
        Span { plain: usize::MAX, ..good },
        Span { front: usize::MAX, ..good },
    ];
    for span in wrong {
        let (mut near, _) = ends(Some(16), true);
        let mut bytes = vec![7; 60];
        near.seal(&mut bytes, &[span]);
        // What does not lie in the buffer cannot be wiped by itself.
        let its = bytes.get(span.start..span.start.saturating_add(span.sealed)).unwrap_or(&bytes);
        assert!(its.iter().all(|byte| *byte == 0), "{span:?}");
    }
    let (mut near, _) = ends(Some(16), true);
    let mut bytes = vec![7; 80];
    near.seal(&mut bytes, &[Span { start: 40, ..good }, good]);
    assert!(bytes.iter().all(|byte| *byte == 0), "not in order");
}

#[test]
fn debug_output_hides_the_keys() {
    let (near, _) = ends(Some(16), true);
    let shown = alloc::format!("{near:?}");
    assert_eq!(
        shown,
        "FlashKeys { send_hmac: Some(16), recv_hmac: Some(16), send_sequence: true, recv_sequence: true, .. }"
    );
}

quickcheck! {
    fn packets_sealed_together_equal_packets_sealed_alone(mode: u8, lens: Vec<u16>) -> TestResult {
        if lens.len() > 30 {
            return TestResult::discard();
        }
        let (hmac, sequence) = MODES[usize::from(mode) % MODES.len()];
        let plains: Vec<Vec<u8>> =
            lens.iter().enumerate().map(|(index, len)| vec![index as u8; 1 + usize::from(len % 1500)]).collect();
        let (mut together, mut far) = ends(hmac, sequence);
        let (mut alone, _) = ends(hmac, sequence);
        let sealed = seal_all(&mut together, &plains.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let one_by_one: Vec<_> = plains.iter().map(|plain| seal_one(&mut alone, plain)).collect();
        TestResult::from_bool(
            sealed == one_by_one
                && plains.iter().zip(&sealed).all(|(plain, sealed)| is_padded(&open(&mut far, sealed).unwrap(), plain)),
        )
    }

    fn no_packet_makes_it_panic(mode: u8, bytes: Vec<u8>) -> bool {
        let (hmac, sequence) = MODES[usize::from(mode) % MODES.len()];
        let (_, mut far) = ends(hmac, sequence);
        open(&mut far, &bytes).map_or(true, |plain| hmac.is_none() && plain.len() <= bytes.len())
    }
}
