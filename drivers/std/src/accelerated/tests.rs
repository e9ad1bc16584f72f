use super::*;
use crate::system_rng;

/// Packets of every length that takes another path through the ciphers' code, and one of a full datagram.
const LENGTHS: [usize; 14] = [0, 1, 15, 16, 17, 31, 63, 64, 65, 127, 128, 255, 500, 1_200];

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    system_rng().unwrap().fill_bytes(&mut bytes);
    bytes
}

fn ciphers(cipher: Cipher) -> [Box<dyn PacketCipher>; 2] {
    let key = random();
    [Accelerated.cipher(cipher, &key), PureRust.cipher(cipher, &key)]
}

/// Seals packets of all lengths together.
fn sealed(cipher: &dyn PacketCipher, plain: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut packets: Vec<Vec<u8>> = plain.iter().map(|text| [&text[..], &[0xee; TAG_LEN]].concat()).collect();
    let mut texts: Vec<_> = packets
        .iter_mut()
        .enumerate()
        .map(|(i, text)| PacketText { nonce: [u8::try_from(i).unwrap(); 12], text })
        .collect();
    cipher.seal(&mut texts);
    packets
}

#[test]
fn it_seals_the_same_bytes_as_pure_rust() {
    let plain: Vec<Vec<u8>> = LENGTHS.iter().map(|len| random::<1_200>()[..*len].to_vec()).collect();
    for cipher in Cipher::ALL {
        let [fast, pure] = ciphers(cipher);
        assert_eq!(sealed(&*fast, &plain), sealed(&*pure, &plain), "{cipher:?}");
    }
}

#[test]
fn each_opens_what_the_other_has_sealed() {
    let plain: Vec<Vec<u8>> = LENGTHS.iter().map(|len| vec![7; *len]).collect();
    for cipher in Cipher::ALL {
        let [fast, pure] = ciphers(cipher);
        for (from, to) in [(&fast, &pure), (&pure, &fast)] {
            for (i, (mut packet, plain)) in sealed(&**from, &plain).into_iter().zip(&plain).enumerate() {
                let nonce = [u8::try_from(i).unwrap(); 12];
                assert!(to.open(PacketText { nonce, text: &mut packet }), "{cipher:?}, {} bytes", plain.len());
                assert_eq!(&packet[..plain.len()], &plain[..], "{cipher:?}");
            }
        }
    }
}

#[test]
fn neither_opens_an_altered_packet() {
    for cipher in Cipher::ALL {
        let [fast, pure] = ciphers(cipher);
        let packet = sealed(&*fast, &[vec![7; 40]]).remove(0);
        for opener in [&fast, &pure] {
            for place in 0..packet.len() {
                let mut altered = packet.clone();
                altered[place] ^= 0x10;
                assert!(!opener.open(PacketText { nonce: [0; 12], text: &mut altered }), "{cipher:?}, byte {place}");
            }
            for nonce in [[1; 12], [0xff; 12]] {
                assert!(!opener.open(PacketText { nonce, text: &mut packet.clone() }), "{cipher:?}, another nonce");
            }
            for len in 0..packet.len() {
                let text = &mut packet.clone()[..len];
                assert!(!opener.open(PacketText { nonce: [0; 12], text }), "{cipher:?}, {len} bytes");
            }
        }
    }
}

#[test]
fn a_text_without_room_for_a_tag_is_filled_with_zeros() {
    for cipher in Cipher::ALL {
        for sealer in ciphers(cipher) {
            let mut short = [9; TAG_LEN - 1];
            sealer.seal(&mut [PacketText { nonce: [0; 12], text: &mut short }]);
            assert_eq!(short, [0; TAG_LEN - 1], "{cipher:?}");
        }
    }
}

#[test]
fn it_agrees_on_the_same_secrets_as_pure_rust() {
    for _ in 0..50 {
        let (private, other) = (random(), random());
        let public = Accelerated.x25519_public(&other);
        assert_eq!(public, PureRust.x25519_public(&other));
        let secret = Accelerated.x25519_agree(&private, &public);
        assert_eq!(secret, PureRust.x25519_agree(&private, &public));
        assert_eq!(secret, PureRust.x25519_agree(&other, &Accelerated.x25519_public(&private)));
    }
}

/// The numbers of small order on the curve and on its twist, up to 2^255: 0, 1, two of order 8, and p - 1, p and p + 1 for
/// the prime p. The last are other encodings of the first two.
const SMALL_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

/// Each also with its highest bit, which counts for nothing (RFC 7748 §5).
#[test]
fn a_public_key_of_small_order_gives_zeros() {
    for digits in SMALL_ORDER {
        let byte = |at: usize| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap();
        for high in [0, 0x80] {
            let mut public: [u8; 32] = core::array::from_fn(byte);
            public[31] |= high;
            for private in [random(), [0; 32], [0xff; 32]] {
                assert_eq!(*Accelerated.x25519_agree(&private, &public), [0; 32], "{digits}");
                assert_eq!(*PureRust.x25519_agree(&private, &public), [0; 32], "{digits}");
            }
            // A provider that gives nothing but zeros fails.
            public[0] ^= 4;
            assert_ne!(*Accelerated.x25519_agree(&random(), &public), [0; 32], "next to {digits}");
        }
    }
}

#[test]
fn the_libraries_are_used_on_this_processor() {
    if cfg!(target_arch = "x86_64") && std::arch::is_x86_feature_detected!("adx") {
        assert!(x25519::public(&random()).is_some(), "graviola has code for this processor");
    }
    for cipher in Cipher::ALL {
        assert!(format!("{:?}", Accelerated.cipher(cipher, &random())).starts_with("Sealer"));
    }
}

#[test]
fn debug_shows_no_key() {
    let key = [0x5a; 32];
    for cipher in Cipher::ALL {
        let text = format!("{:?}", Accelerated.cipher(cipher, &key));
        assert!(!text.contains("90") && !text.to_lowercase().contains("5a"), "{text}");
    }
}
