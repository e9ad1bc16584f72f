//! Project Wycheproof's vectors, against the modern profile's providers and the libraries of its signatures and of ML-KEM.
//!
//! The data are Wycheproof's, under the Apache License 2.0 (`LICENSE` in this directory), in another form: a vector a line.
//! Each file says what was left out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, as it should"
)]

use ed25519_dalek::{Signature, VerifyingKey};
use ml_kem::array::{Array, ArraySize};
use ml_kem::kem::{Decapsulate, KeyExport, KeyInit};
use ml_kem::ml_kem_768::{DecapsulationKey, EncapsulationKey};
use rtmfp_core::profile::modern::{Cipher, PacketText, Provider, PureRust};
use rtmfp_std::Accelerated;
use sha2::{Digest, Sha256};

const PROVIDERS: [&dyn Provider; 2] = [&PureRust, &Accelerated];

/// The fields of each vector: number, result, and what the file's head says.
fn vectors<const N: usize>(text: &str) -> Vec<[&str; N]> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split(' ').collect::<Vec<_>>().try_into().expect(line)).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let hex = hex.strip_prefix('-').unwrap_or(hex);
    let digits = hex.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn array<const N: usize>(hex: &str) -> [u8; N] {
    bytes(hex).try_into().unwrap()
}

/// Both providers seal and open as each vector says. Returns how many are valid, and how many invalid.
fn check_cipher(text: &str, cipher_of: impl Fn(usize) -> Cipher) -> (usize, usize) {
    let mut count = (0, 0);
    for [number, result, key, nonce, plain, sealed, tag] in vectors(text) {
        let (key, nonce, plain) = (bytes(key), array(nonce), bytes(plain));
        let expected = [bytes(sealed), bytes(tag)].concat();
        let mut padded = [0; 32];
        padded[..key.len()].copy_from_slice(&key);
        let valid = result == "valid";
        for provider in PROVIDERS {
            let cipher = provider.cipher(cipher_of(key.len()), &padded);
            let mut packet = [&plain[..], &[0; 16]].concat();
            cipher.seal(&mut [PacketText { nonce, text: &mut packet }]);
            assert_eq!(packet == expected, valid, "{provider:?}, {number}: sealed");
            let mut packet = expected.clone();
            assert_eq!(cipher.open(PacketText { nonce, text: &mut packet }), valid, "{provider:?}, {number}: opened");
            assert!(!valid || packet.starts_with(&plain), "{provider:?}, {number}: another text");
        }
        if valid { count.0 += 1 } else { count.1 += 1 }
    }
    count
}

#[test]
fn aes_gcm() {
    let cipher = |key_len| if key_len == 16 { Cipher::Aes128Gcm } else { Cipher::Aes256Gcm };
    assert_eq!(check_cipher(include_str!("aes-gcm.txt"), cipher), (43, 54));
}

#[test]
fn chacha20_poly1305() {
    assert_eq!(check_cipher(include_str!("chacha20-poly1305.txt"), |_| Cipher::ChaCha20Poly1305), (45, 0));
}

#[test]
fn x25519() {
    let vectors = vectors(include_str!("x25519.txt"));
    let mut zeros = 0;
    for [number, result, private, public, shared] in &vectors {
        let (private, public) = (array(private), array(public));
        for provider in PROVIDERS {
            let secret = provider.x25519_agree(&private, &public);
            assert_eq!(*secret, array(shared), "{provider:?}, {number}");
            assert_eq!(*secret == [0; 32], *result == "zero", "{provider:?}, {number}");
        }
        zeros += usize::from(*result == "zero");
    }
    assert_eq!((vectors.len(), zeros), (518, 31));
}

/// As the profile verifies: in dalek's strict manner.
#[test]
fn ed25519() {
    let vectors = vectors(include_str!("ed25519.txt"));
    let mut valid = 0;
    for [number, result, public, text, signature] in &vectors {
        let key = VerifyingKey::from_bytes(&array(public)).unwrap();
        let signature = Signature::from_slice(&bytes(signature));
        let verified = signature.is_ok_and(|signature| key.verify_strict(&bytes(text), &signature).is_ok());
        assert_eq!(verified, *result == "valid", "{number}");
        valid += usize::from(verified);
    }
    assert_eq!((vectors.len(), valid), (151, 88));
}

fn kem_array<N: ArraySize>(hex: &str) -> Array<u8, N> {
    Array::try_from(bytes(hex).as_slice()).unwrap()
}

/// FIPS 203, with the seeds, messages and checks of the hybrid.
#[test]
fn ml_kem_768() {
    let is_hash_of = |hash: &str, data: &[u8]| Sha256::digest(data).as_slice() == bytes(hash);
    let mut counts = [0; 4];
    for line in include_str!("ml-kem-768.txt").lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split(' ').collect();
        let kind = match fields[..] {
            ["whole", number, _, seed, message, key_hash, hash, secret] => {
                let key = DecapsulationKey::new(&kem_array(seed));
                assert!(is_hash_of(key_hash, &key.encapsulation_key().to_bytes()), "{number}: key");
                let (ciphertext, made) = key.encapsulation_key().encapsulate_deterministic(&kem_array(message));
                assert!(is_hash_of(hash, &ciphertext), "{number}: ciphertext");
                assert_eq!(
                    [made, key.decapsulate(&ciphertext)].map(|made| made.to_vec()),
                    [bytes(secret), bytes(secret)]
                );
                0
            }
            ["encapsulate", number, key, message, hash, secret] => {
                let key = EncapsulationKey::new(&kem_array(key)).unwrap();
                let (ciphertext, made) = key.encapsulate_deterministic(&kem_array(message));
                assert!(is_hash_of(hash, &ciphertext) && made.to_vec() == bytes(secret), "{number}");
                1
            }
            ["refused", number, key] => {
                assert!(EncapsulationKey::new(&kem_array(key)).is_err(), "{number}");
                2
            }
            ["decapsulate", number, seed, ciphertext, secret] => {
                let made = DecapsulationKey::new(&kem_array(seed)).decapsulate(&kem_array(ciphertext));
                assert_eq!(made.to_vec(), bytes(secret), "{number}");
                3
            }
            _ => panic!("{line}"),
        };
        counts[kind] += 1;
    }
    assert_eq!(counts, [100, 6, 16, 9]);
}
