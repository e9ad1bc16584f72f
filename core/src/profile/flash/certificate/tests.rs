use alloc::vec;
use alloc::vec::Vec;

use quickcheck::quickcheck;

use super::{Certificate, Contents, Group, KeyKind};
use crate::profile::CryptoProfile;
use crate::profile::flash::tests::{hex, rng};
use crate::profile::flash::{Fingerprint, FlashProfile, StaticKeys};
use crate::wire::Malformed;

#[test]
fn what_a_certificate_says() {
    let bytes = hex("0500686f7374 010a 021505 02150e 021510 0b0e00112233445566778899".replace(' ', "").as_str());
    let certificate = Certificate::parse(&bytes[..bytes.len() - 1]);
    assert_eq!(certificate, Err(Malformed), "the last option is cut");
    let certificate = Certificate::parse(&bytes).unwrap();
    assert_eq!(certificate.hostname(), Some(&b"host"[..]));
    assert!(certificate.accepts_ancillary_data());
    assert_eq!(certificate.key_kind(), Some(KeyKind::Ephemeral));
    assert_eq!(certificate.groups().collect::<Vec<_>>(), [5, 14, 16]);
    assert_eq!(certificate.static_key(5), None);
    assert_eq!(certificate.canonical_section(), bytes);

    let bytes = hex("041d02aabb041d0ecccc041d02dddd");
    let certificate = Certificate::parse(&bytes).unwrap();
    assert_eq!((certificate.hostname(), certificate.accepts_ancillary_data()), (None, false));
    assert_eq!(certificate.key_kind(), Some(KeyKind::Static));
    assert_eq!(certificate.static_key(2), Some(&[0xaa, 0xbb][..]), "the first of a group");
    assert_eq!(certificate.static_key(14), Some(&[0xcc, 0xcc][..]));
    assert_eq!(certificate.static_key(16), None);
}

#[test]
fn an_empty_certificate_is_one() {
    let certificate = Certificate::parse(&[]).unwrap();
    assert_eq!((certificate.key_kind(), certificate.hostname()), (None, None));
    assert_eq!(certificate.groups().count(), 0);
}

/// RFC 7425 §4.3.1, §4.3.3.1 to §4.3.3.5.
#[test]
fn what_stands_behind_a_marker_is_ignored_and_not_hashed() {
    for behind in ["", "0500686f7374", "010a", "021502", "031d0299", "0200aa0200bb00", "02150200031d0299"] {
        let bytes = hex(&["0215 0e", "00", behind].concat().replace(' ', ""));
        let certificate = Certificate::parse(&bytes).unwrap();
        assert_eq!(certificate.canonical_section(), [0x02, 0x15, 0x0e], "{behind}");
        assert_eq!(certificate.fingerprint(), Fingerprint::of(&[0x02, 0x15, 0x0e]));
        assert_eq!((certificate.hostname(), certificate.accepts_ancillary_data()), (None, false));
        assert_eq!(certificate.key_kind(), Some(KeyKind::Ephemeral));
        assert_eq!(certificate.groups().collect::<Vec<_>>(), [14]);
    }
    let marker_only = Certificate::parse(&[0]).unwrap();
    assert_eq!(marker_only.canonical_section(), []);
}

#[test]
fn malformed_certificates() {
    for (text, why) in [
        ("05", "a length without its bytes"),
        ("0281", "a type that does not end"),
        ("021502031d0299", "both kinds of keys"),
        ("031d0299021502", "both kinds of keys"),
        ("0200aa0200aa", "two hostnames"),
        ("0115", "no group"),
        ("021582", "a group that does not end"),
        ("021d82", "a group that does not end"),
        ("00 05", "a cut option behind the marker"),
    ] {
        assert_eq!(Certificate::parse(&hex(&text.replace(' ', ""))), Err(Malformed), "{text}: {why}");
    }
}

#[test]
fn unknown_options_are_ignored_but_hashed() {
    let bytes = hex("0280010215020381017f");
    let certificate = Certificate::parse(&bytes).unwrap();
    assert_eq!(certificate.groups().collect::<Vec<_>>(), [2]);
    assert_eq!(certificate.canonical_section(), bytes);
}

#[test]
fn encoded_certificates_read_back() {
    let randomness = [7; 64];
    let ephemeral = Contents {
        hostname: Some(b"host"),
        accepts_ancillary_data: true,
        ephemeral_groups: &[Group::Modp2048, Group::Modp1024],
        randomness: &randomness,
        ..Contents::default()
    };
    let bytes = ephemeral.encode();
    assert_eq!(bytes[..14], hex("0500686f7374010a02150e021502")[..]);
    assert_eq!(bytes[14..16], [0x41, 0x0e]);
    assert_eq!(Certificate::parse(&bytes).unwrap().canonical_section(), bytes, "no marker");
    let fixed = Contents { static_keys: vec![(Group::Modp1536, vec![1, 2, 3])], ..Contents::default() };
    assert_eq!(fixed.encode(), hex("051d05010203"));
}

#[test]
fn ephemeral_certificates_differ_and_static_ones_stay() {
    let mut rng = rng(1);
    let one = FlashProfile::builder().hostname(b"host").build(&mut rng).unwrap();
    let two = FlashProfile::builder().hostname(b"host").build(&mut rng).unwrap();
    assert_ne!(one.fingerprint(), two.fingerprint());
    let keys = StaticKeys::generate(&[Group::Modp1536, Group::Modp1024, Group::Modp1536], &mut rng);
    assert_eq!(keys.groups(), [Group::Modp1536, Group::Modp1024]);
    let saved = keys.to_bytes();
    let one = FlashProfile::builder().static_keys(keys).build(&mut rng).unwrap();
    let keys = StaticKeys::from_bytes(&saved).unwrap();
    let two = FlashProfile::builder().static_keys(keys).build(&mut rng).unwrap();
    assert_eq!(one.certificate(), two.certificate());
    assert_eq!(one.fingerprint(), Certificate::parse(two.certificate()).unwrap().fingerprint());
    for cut in 1..saved.len() {
        // 29 bytes are lost with the second key alone.
        let whole = cut == 32;
        assert_eq!(StaticKeys::from_bytes(&saved[..cut]).is_ok(), whole, "{cut} of {} bytes", saved.len());
    }
    assert!(StaticKeys::from_bytes(&[&saved[..], &saved[..]].concat()).is_err(), "groups twice");
    assert!(StaticKeys::from_bytes(&[0]).is_err() && StaticKeys::from_bytes(&[2, 3, 1]).is_err());
}

quickcheck! {
    fn no_bytes_make_it_panic(bytes: Vec<u8>) -> bool {
        match Certificate::parse(&bytes) {
            Ok(certificate) => {
                let ours = certificate.groups().all(|group| certificate.static_key(group).is_none_or(|key| key.len() < bytes.len()));
                ours && bytes.starts_with(certificate.canonical_section())
            }
            Err(Malformed) => true,
        }
    }

    /// Options with the right numbers and any values.
    fn no_options_make_it_panic(options: Vec<(u8, Vec<u8>)>) -> bool {
        let kinds = [0x00, 0x0a, 0x0e, 0x15, 0x1d, 0x33];
        let mut bytes = Vec::new();
        for (kind, value) in options {
            match kinds.get(usize::from(kind) % 7) {
                Some(kind) => crate::wire::encode_option(*kind, &value, &mut bytes),
                None => bytes.push(0),
            }
        }
        match Certificate::parse(&bytes) {
            Ok(certificate) => certificate.fingerprint() == Fingerprint::of(certificate.canonical_section()),
            Err(Malformed) => !bytes.is_empty(),
        }
    }
}
