//! The documents' own examples.

use alloc::vec;
use alloc::vec::Vec;

use crate::profile::flash::tests::hex;
use crate::profile::modern::schedule::{extract, hmac};
use crate::profile::modern::{Cipher, Identity, PacketText, Provider, PureRust};

fn array<const N: usize>(text: &str) -> [u8; N] {
    hex(text).try_into().unwrap()
}

/// RFC 7748 §6.1.
#[test]
fn x25519_key_agreement() {
    let alice = array("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
    let bob = array("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
    let publics = [alice, bob].map(|private| PureRust.x25519_public(&private));
    let expected = [
        array("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"),
        array("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"),
    ];
    assert_eq!(publics, expected);
    let shared = array("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
    assert_eq!(*PureRust.x25519_agree(&alice, &publics[1]), shared);
    assert_eq!(*PureRust.x25519_agree(&bob, &publics[0]), shared);
}

/// RFC 7748 §5.2, the first example.
#[test]
fn x25519_scalar_multiplication() {
    let scalar = array("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4");
    let point = array("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c");
    let result = array("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
    assert_eq!(*PureRust.x25519_agree(&scalar, &point), result);
}

/// RFC 8032 §7.1, tests 1 and 2.
#[test]
fn ed25519() {
    for (private, public, message, signature) in [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
    ] {
        let identity = Identity::from_bytes(&hex(private)).unwrap();
        assert_eq!(identity.public_key(), array(public));
        assert_eq!(identity.sign(&hex(message)), array(signature));
    }
}

/// RFC 5869 §A.1.
#[test]
fn hkdf() {
    let prk = extract(&hex("000102030405060708090a0b0c"), &[&[0x0b; 22]]);
    assert_eq!(*prk, array("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"));
    let first = hmac(&*prk, &[&hex("f0f1f2f3f4f5f6f7f8f9"), &[1]]);
    assert_eq!(*first, array("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"));
}

fn seal(cipher: Cipher, key: &str, nonce: &str, plain: &[u8]) -> Vec<u8> {
    let mut key = hex(key);
    key.resize(32, 0xee); // what is too long is not used
    let cipher = PureRust.cipher(cipher, key.as_slice().try_into().unwrap());
    let nonce = array(nonce);
    let mut sealed = [plain, &[0xcc; 16]].concat();
    cipher.seal(&mut [PacketText { nonce, text: &mut sealed }]);
    let mut opened = sealed.clone();
    assert!(cipher.open(PacketText { nonce, text: &mut opened }) && opened.starts_with(plain));
    for at in 0..sealed.len() {
        let mut damaged = sealed.clone();
        damaged[at] ^= 0x40;
        assert!(!cipher.open(PacketText { nonce, text: &mut damaged }), "byte {at}");
    }
    let mut other = sealed.clone();
    assert!(!cipher.open(PacketText { nonce: [7; 12], text: &mut other }));
    sealed
}

/// Cases 3 and 15 of the paper that defines GCM (McGrew and Viega): those without associated data.
#[test]
fn aes_gcm() {
    let plain = hex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255",
    );
    let (key, nonce) = ("feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888");
    let expected = "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f59854d5c2af327cd64a62cf35abd2ba6fab4";
    assert_eq!(seal(Cipher::Aes128Gcm, key, nonce, &plain), hex(expected));
    let expected = "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015adb094dac5d93471bdec1a502270e3cc6c";
    assert_eq!(seal(Cipher::Aes256Gcm, &[key, key].concat(), nonce, &plain), hex(expected));
}

/// RFC 8439 §2.8.2. Its tag is over associated data too, which there are none of here.
#[test]
fn chacha20_poly1305() {
    let key = "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f";
    let plain = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";
    let sealed = seal(Cipher::ChaCha20Poly1305, key, "070000004041424344454647", plain);
    let expected = "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b6116";
    assert_eq!(sealed[..plain.len()], hex(expected));
}

#[test]
fn a_text_without_room_for_a_tag_is_neither_sealed_nor_opened() {
    for cipher in Cipher::ALL {
        assert_eq!(Cipher::from_id(cipher.id()), Some(cipher));
        let cipher = PureRust.cipher(cipher, &[1; 32]);
        let mut short = vec![5; 15];
        assert!(!cipher.open(PacketText { nonce: [0; 12], text: &mut short }));
        cipher.seal(&mut [PacketText { nonce: [0; 12], text: &mut short }]);
        assert_eq!(short, vec![0; 15], "nothing that was not sealed may leave");
    }
    assert_eq!(Cipher::from_id(0), None);
    let mut preference = PureRust.preference();
    preference.sort_unstable();
    assert_eq!(preference, Cipher::ALL);
}
