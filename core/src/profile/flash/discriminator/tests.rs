use alloc::vec::Vec;

use quickcheck::quickcheck;

use super::{Certificate, Discriminator, Fingerprint};
use crate::profile::CryptoProfile;
use crate::profile::flash::FlashProfile;
use crate::profile::flash::tests::{hex, rng};
use crate::wire::Malformed;

/// RFC 7425 §4.4.3, figure 1, for every discriminator with every certificate.
#[test]
fn selection() {
    let plain = hex("02150e");
    let named = hex("0500686f737402150e");
    let accepting = hex("010a02150e");
    let both = hex("0500686f7374010a02150e");
    let certificates = [&plain, &named, &accepting, &both].map(|bytes| Certificate::parse(bytes).unwrap());
    let new = Discriminator::new;
    let other = Fingerprint([9; 32]);
    let cases = [
        (new(), [false; 4]),
        (new().hostname(b"host"), [false, true, false, true]),
        (new().hostname(b"hos"), [false; 4]),
        (new().hostname(b""), [false; 4]),
        (new().ancillary_data(b"rtmfp:"), [false, false, true, true]),
        (new().ancillary_data(b""), [false, false, true, true]),
        (new().hostname(b"host").ancillary_data(b"rtmfp:"), [false, false, false, true]),
        (new().hostname(b"other").ancillary_data(b"rtmfp:"), [false; 4]),
        (new().fingerprint(certificates[0].fingerprint()), [true, false, false, false]),
        // A fingerprint decides alone.
        (
            new().fingerprint(certificates[0].fingerprint()).hostname(b"host").ancillary_data(b"x"),
            [true, false, false, false],
        ),
        (new().fingerprint(other).hostname(b"host").ancillary_data(b"x"), [false; 4]),
    ];
    for (discriminator, expected) in cases {
        let bytes = discriminator.to_bytes();
        assert_eq!(Discriminator::parse(&bytes), Ok(discriminator));
        assert_eq!(
            certificates.each_ref().map(|certificate| discriminator.selects(certificate)),
            expected,
            "{discriminator:?}"
        );
    }
}

#[test]
fn the_near_certificate_is_selected_alike() {
    let profile = FlashProfile::builder().hostname(b"host").accept_ancillary(true).build(&mut rng(1)).unwrap();
    let discriminators = [
        Discriminator::new().fingerprint(profile.fingerprint()),
        Discriminator::new().hostname(b"host"),
        Discriminator::new().ancillary_data(b"rtmfp:"),
        Discriminator::new().fingerprint(Fingerprint([0; 32])),
        Discriminator::new().hostname(b"other"),
        Discriminator::new(),
    ];
    for (index, discriminator) in discriminators.iter().enumerate() {
        let bytes = discriminator.to_bytes();
        assert_eq!(profile.selects_near(&bytes), index < 3);
        assert_eq!(profile.selects(&bytes, profile.certificate()), index < 3);
    }
    assert!(!profile.selects_near(&[0x05]) && !profile.selects(&[], &[0x05]));
}

/// RFC 7425 §4.4.4.
#[test]
fn the_canonical_form_has_34_bytes() {
    let profile = FlashProfile::builder().build(&mut rng(2)).unwrap();
    let certificate = hex("02150e");
    let canonical = profile.canonical_discriminator(&certificate);
    assert_eq!(canonical.len(), 34);
    assert_eq!(canonical[..2], [0x21, 0x0f]);
    assert_eq!(canonical[2..], Fingerprint::of(&certificate).0);
    assert!(profile.selects(&canonical, &certificate) && !profile.selects_near(&canonical));
    assert_eq!(profile.canonical_discriminator(&[5]), []);
}

#[test]
fn malformed_discriminators() {
    let fingerprint = [&[0x21, 0x0f][..], &[1; 32]].concat();
    assert!(Discriminator::parse(&fingerprint).is_ok());
    for (bytes, why) in [
        (hex("05"), "cut"),
        (hex("0200aa0200bb"), "two hostnames"),
        (hex("010a010a"), "ancillary data twice"),
        ([&fingerprint[..], &fingerprint].concat(), "two fingerprints"),
        ([&[0x20, 0x0f][..], &[1; 31]].concat(), "a short fingerprint"),
        ([&[0x22, 0x0f][..], &[1; 33]].concat(), "a long fingerprint"),
    ] {
        assert_eq!(Discriminator::parse(&bytes), Err(Malformed), "{why}");
    }
}

#[test]
fn unknown_options_are_ignored() {
    let bytes = hex("027faa0500686f7374018101");
    assert_eq!(Discriminator::parse(&bytes), Err(Malformed), "the type is not within its option");
    let bytes = hex("027faa0500686f7374028101");
    assert_eq!(Discriminator::parse(&bytes), Ok(Discriminator::new().hostname(b"host")));
}

quickcheck! {
    fn what_is_read_is_written_alike(bytes: Vec<u8>, hostname: Option<Vec<u8>>, data: Option<Vec<u8>>) -> bool {
        let _ = Discriminator::parse(&bytes);
        let made = Discriminator { hostname: hostname.as_deref(), ancillary_data: data.as_deref(), fingerprint: None };
        Discriminator::parse(&made.to_bytes()) == Ok(made)
    }
}
