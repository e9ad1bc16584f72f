//! Identities, certificates, discriminators, and what is decided by them.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use quickcheck::quickcheck;

use super::{Identity, profile};
use crate::profile::flash::tests::rng;
use crate::profile::modern::{Certificate, Cipher, Discriminator, ModernProfile, Provider as _};
use crate::profile::{CryptoProfile, Fingerprint, PreparedKey, Role};
use crate::wire::option::encode_option;

fn options(list: &[(u64, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    list.iter().for_each(|(kind, value)| encode_option(*kind, value, &mut out));
    out
}

#[test]
fn an_identity_is_saved_and_restored() {
    let identity = Identity::generate(&mut rng(1));
    let saved = identity.to_bytes();
    assert_eq!(Identity::from_bytes(&saved).unwrap().peer_id(), identity.peer_id());
    assert_ne!(Identity::generate(&mut rng(2)).peer_id(), identity.peer_id());
    for length in [0, 31, 33, 64] {
        assert!(Identity::from_bytes(&vec![1; length]).is_err());
    }
    let ours = profile(1, |builder| builder);
    assert_eq!(ours.peer_id(), identity.peer_id());
    let named = profile(1, |builder| builder.hostname(b"example.com").accept_ancillary(true));
    assert_eq!(named.peer_id(), ours.peer_id(), "the peer ID is of the key alone");
    assert_ne!(named.certificate(), ours.certificate());
    assert!(named.overrides(named.certificate(), ours.certificate()));
}

/// Four bytes in a row of a secret that a text shows, in the decimal form of lists, or in hexadecimal.
fn shown<'a>(secret: &'a [u8], text: &str) -> Option<&'a [u8]> {
    // Also lists in hexadecimal, and over several lines.
    let text = text.to_lowercase().replace("0x", "");
    let bare: String = text.chars().filter(|character| !character.is_whitespace()).collect();
    secret.windows(4).find(|window| {
        let joined = |separator: &str, hex: bool| {
            let form = |byte: &u8| if hex { format!("{byte:02x}") } else { format!("{byte}") };
            window.iter().map(form).collect::<Vec<_>>().join(separator)
        };
        [joined(",", false), joined(",", true), joined("", true), joined(":", true)]
            .iter()
            .any(|form| bare.contains(form))
    })
}

#[test]
fn a_secret_that_is_shown_is_found() {
    let secret: Vec<u8> = (150..160).collect();
    for text in [
        format!("{secret:?}"),
        format!("{secret:x?}"),
        format!("{secret:#X?}"),
        String::from("key: 98999A9B9C"),
        String::from("99:9a:9b:9c"),
    ] {
        assert!(shown(&secret, &text).is_some(), "{text}");
    }
    assert_eq!(shown(&secret, "[150, 151, 152]"), None);
}

#[test]
fn debug_shows_no_secret() {
    let (ours, theirs) = (profile(1, |builder| builder), profile(2, |builder| builder));
    let identity = Identity::generate(&mut rng(1));
    let prepared: PreparedKey = ours.prepare(&mut rng(2)).unwrap();
    let (near, far) = super::agree(&ours, &theirs, 3).unwrap();
    let (saved, private) = (identity.to_bytes(), prepared.private.to_vec());
    let secrets = [&saved[..], &private, near.near_nonce(), near.far_nonce(), &[0xa5; 4]];
    let mut texts = vec![format!("{identity:?} {ours:?} {prepared:?} {near:?} {far:?} {:?}", ours.default_keys())];
    texts.push(format!("{:?}", ours.initiate(theirs.certificate(), Some(prepared), &mut rng(4)).unwrap()));
    texts.push(format!("{:?}", crate::profile::modern::PureRust.cipher(Cipher::Aes128Gcm, &[0xa5; 32])));
    for text in texts {
        for secret in secrets {
            assert_eq!(shown(secret, &text), None, "{text}");
        }
        assert!(!text.contains("Zeroizing"), "{text}");
    }
}

#[test]
fn what_a_discriminator_selects() {
    let plain = profile(1, |builder| builder);
    let server = profile(2, |builder| builder.hostname(b"a.example").accept_ancillary(true));
    let new = Discriminator::new;
    let by_id = |profile: &ModernProfile| new().peer_id(profile.peer_id()).to_bytes();
    for (discriminator, selects_plain, selects_server) in [
        (by_id(&plain), true, false),
        (by_id(&server), false, true),
        (new().hostname(b"a.example").to_bytes(), false, true),
        (new().hostname(b"b.example").to_bytes(), false, false),
        (new().ancillary_data(b"rtmfp://x").to_bytes(), false, true),
        (new().ancillary_data(b"rtmfp://x").hostname(b"b.example").to_bytes(), false, false),
        (new().peer_id(plain.peer_id()).hostname(b"b.example").to_bytes(), true, false),
        (options(&[(0x4e, b"x"), (0x42, b"a.example")]), false, true),
    ] {
        assert!(plain.is_discriminator(&discriminator));
        for (profile, selects) in [(&plain, selects_plain), (&server, selects_server)] {
            assert_eq!(plain.selects(&discriminator, profile.certificate()), selects, "{discriminator:x?}");
            assert_eq!(profile.selects_near(&discriminator), selects);
        }
    }
    for malformed in [
        options(&[(0x4f, &[1; 31])]),
        options(&[(0x4f, &[1; 32]), (0x4f, &[1; 32])]),
        options(&[(0x42, b"a.example"), (0x42, b"a.example")]),
        options(&[(0x42, b"a.example"), (0x4d, b"critical")]),
        [options(&[(0x42, b"a.example")]), vec![0]].concat(),
        vec![5],
        vec![],
        crate::profile::flash::Discriminator::new().fingerprint(server.peer_id()).to_bytes(),
    ] {
        assert!(!plain.is_discriminator(&malformed), "{malformed:x?}");
        assert!(!plain.selects(&malformed, server.certificate()) && !server.selects_near(&malformed));
    }
    assert_eq!(plain.canonical_discriminator(server.certificate()), by_id(&server));
    assert_eq!(plain.canonical_discriminator(b"none"), b"");
    assert!(Discriminator::parse(&by_id(&server)).unwrap().required_peer_id() == Some(server.peer_id()));
}

#[test]
fn certificates_follow_the_syntax() {
    let ours = profile(1, |builder| builder);
    let key = (0x41, &[9_u8; 32][..]);
    let long = [b'a'; 256];
    for (certificate, authentic) in [
        (options(&[key]), true),
        (options(&[key, (0x42, b"host"), (0x44, b""), (0x7e, b"ignored")]), true),
        (options(&[(0x42, &long[1..]), key]), true),
        (options(&[]), false),
        (options(&[(0x42, b"host")]), false),
        (options(&[key, key]), false),
        (options(&[(0x41, &[9; 31])]), false),
        (options(&[key, (0x42, b"")]), false),
        (options(&[key, (0x42, &long)]), false),
        (options(&[key, (0x42, b"\xff")]), false),
        (options(&[key, (0x42, b"a"), (0x42, b"a")]), false),
        (options(&[key, (0x44, b"1")]), false),
        (options(&[key, (0x44, b""), (0x44, b"")]), false),
        (options(&[key, (0x7f, b"critical")]), false),
        ([options(&[key]), vec![0]].concat(), false),
        ([options(&[key]), vec![7]].concat(), false),
    ] {
        assert_eq!(ours.is_authentic(&certificate), authentic, "{certificate:x?}");
        assert_eq!(ours.initiate(&certificate, None, &mut rng(1)).is_ok(), authentic);
        assert_eq!(ours.keys_prove_owner(&certificate), authentic);
        assert_eq!(ours.accepts(b"any", &certificate), authentic);
        assert!(authentic || !ours.prevails(&certificate));
    }
    let flash = crate::profile::flash::FlashProfile::builder().build(&mut rng(1)).unwrap();
    assert!(!ours.is_authentic(flash.certificate()), "another profile's");
    let parsed = Certificate::parse(ours.certificate()).unwrap();
    assert_eq!((parsed.peer_id(), parsed.hostname()), (ours.peer_id(), None));
}

/// 19 numbers can be written in a second way. Some of those are keys, which would have a second peer ID.
#[test]
fn public_keys_that_are_not_canonical_are_refused() {
    let ours = profile(1, |builder| builder);
    let mut keys = 0;
    for (least, sign) in (0xed..=0xff).flat_map(|least| [(least, 0), (least, 0x80)]) {
        let mut key = [0xff; 32];
        key[0] = least;
        key[31] = 0x7f | sign;
        keys += u32::from(ed25519_dalek::VerifyingKey::from_bytes(&key).is_ok());
        let certificate = options(&[(0x41, &key)]);
        assert!(!ours.is_authentic(&certificate), "{least:x} {sign:x}");
        assert!(!ours.accepts(b"any", &certificate) && !ours.keys_prove_owner(&certificate));
        assert!(ours.initiate(&certificate, None, &mut rng(1)).is_err());
        assert!(!ours.verify(Role::Initiator, &certificate, &[b"message"], &[1; 64]));
    }
    assert!(keys > 10, "{keys} would be taken for keys");
    let mut highest = [0xff; 32];
    (highest[0], highest[31]) = (0xec, 0x7f);
    assert!(ours.is_authentic(&options(&[(0x41, &highest)])), "the highest that is canonical");
    highest = [0xff; 32];
    (highest[0], highest[1], highest[31]) = (0xff, 0xfe, 0xff);
    assert!(ours.is_authentic(&options(&[(0x41, &highest)])));
}

#[test]
fn the_lower_peer_id_prevails() {
    let (one, two) = (profile(1, |builder| builder), profile(2, |builder| builder));
    assert_ne!(one.prevails(two.certificate()), two.prevails(one.certificate()));
    assert_eq!(one.prevails(two.certificate()), one.peer_id() < two.peer_id());
    assert!(!one.overrides(one.certificate(), two.certificate()));
    assert!(!one.overrides(b"", b"") && !one.prevails(b""));
    assert!(!one.prevails(one.certificate()));
}

/// Its own hello may come back to it.
#[test]
fn no_end_accepts_itself() {
    let one = profile(1, |builder| builder.accept_ancillary(true));
    let renamed = profile(1, |builder| builder.hostname(b"other"));
    let by_uri = Discriminator::new().ancillary_data(b"rtmfp://x").to_bytes();
    assert!(one.selects(&by_uri, one.certificate()) && !one.accepts(&by_uri, one.certificate()));
    assert!(!one.accepts(&by_uri, renamed.certificate()));
    assert!(one.accepts(&by_uri, profile(2, |builder| builder).certificate()));
}

#[test]
fn configurations_out_of_range() {
    let build = |set: fn(super::Builder) -> super::Builder| {
        set(ModernProfile::builder()).build(&mut rng(1)).map(|_| ()).map_err(|error| error.field)
    };
    assert_eq!(build(|builder| builder), Ok(()));
    assert_eq!(build(|builder| builder.ciphers(&[])), Err("ciphers"));
    assert_eq!(build(|builder| builder.ciphers(&[Cipher::Aes128Gcm; 2])), Err("ciphers"));
    assert_eq!(build(|builder| builder.hostname(b"")), Err("hostname"));
    assert_eq!(build(|builder| builder.hostname(b"\xff")), Err("hostname"));
    assert_eq!(build(|builder| builder.hostname(&[b'a'; 256])), Err("hostname"));
    assert_eq!(build(|builder| builder.hostname(&[b'a'; 255])), Ok(()));
}

quickcheck! {
    fn no_bytes_make_it_panic(bytes: Vec<u8>, other: Vec<u8>) -> bool {
        let ours = profile(1, |builder| builder);
        let theirs = profile(2, |builder| builder.hostname(b"host").accept_ancillary(true));
        // What is nearly a certificate or a component gets further than bytes by chance.
        let component = ours.initiate(theirs.certificate(), None, &mut rng(2)).unwrap().component;
        for real in [theirs.certificate(), &component, &ours.canonical_discriminator(theirs.certificate())] {
            let mut altered = real.to_vec();
            for (at, byte) in bytes.iter().zip(&other) {
                altered[usize::from(*at) % real.len()] ^= byte;
            }
            let _ = (ours.selects(&altered, &altered), ours.selects_near(&altered), ours.is_authentic(&altered));
            let _ = (ours.prevails(&altered), ours.canonical_discriminator(&altered), Certificate::parse(&altered));
            let same = altered == real;
            let pending = ours.initiate(theirs.certificate(), None, &mut rng(2)).unwrap().pending;
            let _ = (ours.respond(theirs.certificate(), &altered, None, &mut rng(1)), pending.finish(&altered));
            // A certificate that is another has other keys, if it is one at all.
            let keys = |certificate: &[u8]| {
                let response = ours.respond(certificate, &component, None, &mut rng(1)).ok()?;
                Some(response.keys.near_nonce().to_vec())
            };
            if !same && keys(&altered).is_some_and(|nonce| Some(nonce) == keys(theirs.certificate())) {
                return false;
            }
        }
        let _ = (ours.selects(&bytes, &other), ours.selects_near(&bytes), ours.is_authentic(&other));
        let _ = (ours.prevails(&bytes), ours.overrides(&bytes, &other), ours.canonical_discriminator(&bytes));
        ours.respond(&bytes, &other, None, &mut rng(1)).is_err()
            && ours.respond(ours.certificate(), &other, None, &mut rng(1)).is_err()
            && Fingerprint::LEN == 32
    }
}
