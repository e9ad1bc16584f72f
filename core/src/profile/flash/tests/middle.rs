//! What a certificate and a signature prove, against somebody who puts himself between the two ends.

use alloc::vec::Vec;

use super::{open, profile, rng, seal_one};
use crate::profile::flash::component::Component;
use crate::profile::flash::derive::Derived;
use crate::profile::flash::dh::PublicKey;
use crate::profile::flash::negotiation::Negotiated;
use crate::profile::flash::seal::FlashKeys;
use crate::profile::flash::{Builder, Certificate, Discriminator, FlashProfile, Group, KeyKind, StaticKeys};
use crate::profile::{CryptoProfile, KeyingError, Role};

const GROUP: Group = Group::Modp2048;

fn with_password(builder: Builder) -> Builder {
    builder.sign_with(b"id", b"secret").accept_password(b"id", b"secret").require_signature()
}

fn groups_of(profile: &FlashProfile) -> Vec<u64> {
    Certificate::parse(profile.certificate()).unwrap().groups().collect()
}

/// He forwards both keyings unchanged, with the signatures of the two ends, and shows a certificate of his own. The true
/// responder has static keys, too, so that its component has no key that would give him away.
#[test]
fn a_signature_does_not_cover_the_responder_s_certificate_so_a_static_one_is_refused() {
    let near = profile(KeyKind::Ephemeral, GROUP, 1, with_password);
    let far = profile(KeyKind::Static, GROUP, 2, with_password);
    let mallorys_keys = StaticKeys::generate(&[GROUP], &mut rng(3));
    let mallory =
        FlashProfile::builder().static_keys(mallorys_keys.clone()).accept_ancillary(true).build(&mut rng(3)).unwrap();
    let initiation = near.initiate(mallory.certificate(), None, &mut rng(4)).unwrap();
    let response = far.respond(near.certificate(), &initiation.component, None, &mut rng(5)).unwrap();
    let signed: &[&[u8]] = &[b"the responder's ID", &response.component, &initiation.component];
    assert!(
        near.verify(
            Role::Responder,
            mallory.certificate(),
            signed,
            &far.sign(Role::Responder, near.certificate(), signed)
        ),
        "RFC 7425 §4.3.5"
    );
    let mut keys = initiation.pending.finish(&response.component).unwrap();

    let sent = Component::parse(&initiation.component).unwrap();
    let offers = (Component::parse(&response.component).unwrap().offers, sent.offers);
    let key = PublicKey::accept(GROUP, sent.ephemeral_key.unwrap().1).unwrap();
    let secret = mallorys_keys.private(GROUP).unwrap().agree(&key).unwrap();
    let derived = Derived::new(&secret, &response.component, &initiation.component);
    let mut mallorys = FlashKeys::new(&derived, Negotiated::new(&offers.0, &offers.1));
    let read = open(&mut mallorys, &seal_one(&mut *keys, b"for the other end only")).unwrap();
    assert!(read.starts_with(b"for the other end only"), "this is what is at stake");

    let by_uri = Discriminator::new().ancillary_data(b"rtmfp://host/").to_bytes();
    let pinned = Discriminator::new().fingerprint(mallory.fingerprint()).to_bytes();
    let open_to_all = profile(KeyKind::Ephemeral, GROUP, 6, |builder| builder);
    assert!(near.selects(&by_uri, mallory.certificate()), "selection is as in RFC 7425 §4.4.3");
    assert!(!near.accepts(&by_uri, mallory.certificate()));
    assert!(near.accepts(&by_uri, open_to_all.certificate()), "it has to put its key into the component");
    assert!(near.accepts(&pinned, mallory.certificate()), "the fingerprint covers the certificate");
    assert!(open_to_all.accepts(&by_uri, mallory.certificate()), "without passwords nobody is anybody in particular");
}

#[test]
fn the_fingerprint_of_a_certificate_without_static_keys_is_refused_unless_allowed() {
    let far = profile(KeyKind::Ephemeral, GROUP, 1, |builder| builder.accept_ancillary(true));
    let pinned = Discriminator::new().fingerprint(far.fingerprint()).to_bytes();
    let by_uri = Discriminator::new().ancillary_data(b"rtmfp://host/").to_bytes();
    let near = |allow| {
        profile(KeyKind::Ephemeral, GROUP, 2, |builder| builder.compatible().allow_ephemeral_fingerprints(allow))
    };
    assert!(!near(false).accepts(&pinned, far.certificate()));
    assert!(near(true).accepts(&pinned, far.certificate()));
    assert!(near(false).accepts(&by_uri, far.certificate()));
    for profile in [near(false), near(true)] {
        assert!(profile.selects(&pinned, far.certificate()));
    }
    // What introducers and forwarders ask is not touched.
    assert!(far.selects_near(&pinned) && !far.has_static_keys());
    let lasting = profile(KeyKind::Static, GROUP, 3, |builder| builder);
    assert!(lasting.has_static_keys());
    let pinned = Discriminator::new().fingerprint(lasting.fingerprint()).to_bytes();
    assert!(near(false).accepts(&pinned, lasting.certificate()));
}

/// He could leave the better groups out of a certificate.
#[test]
fn with_signatures_small_groups_are_neither_offered_nor_accepted_unless_named() {
    let build = |builder: Builder| builder.build(&mut rng(1)).unwrap();
    let strict = build(with_password(FlashProfile::builder()).compatible());
    assert_eq!(groups_of(&strict), [14, 16]);
    assert_eq!(groups_of(&build(FlashProfile::builder().compatible())), [14, 16, 5, 2]);
    let named = build(with_password(FlashProfile::builder()).groups(&[GROUP, Group::Modp1024]));
    assert_eq!(groups_of(&named), [14, 2]);
    let old = profile(KeyKind::Ephemeral, Group::Modp1024, 2, with_password);
    assert_eq!(groups_of(&old), [2], "named");
    let refused = Err(KeyingError::NothingInCommon);
    assert_eq!(strict.initiate(old.certificate(), None, &mut rng(3)).map(|_| ()), refused);
    let component = old.initiate(named.certificate(), None, &mut rng(3)).unwrap().component;
    assert_eq!(strict.respond(old.certificate(), &component, None, &mut rng(4)).map(|_| ()), refused);
    assert!(named.respond(old.certificate(), &component, None, &mut rng(4)).is_ok());
}

/// Both ends have one password, so an end's own signature, sent back to it, is made with the right one.
#[test]
fn a_signature_under_the_near_certificate_is_not_another_s() {
    let near = profile(KeyKind::Ephemeral, GROUP, 1, with_password);
    let far = profile(KeyKind::Ephemeral, GROUP, 2, with_password);
    let message: &[&[u8]] = &[b"signed"];
    assert!(near.verify(
        Role::Initiator,
        far.certificate(),
        message,
        &far.sign(Role::Initiator, near.certificate(), message)
    ));
    assert!(!near.verify(
        Role::Initiator,
        near.certificate(),
        message,
        &near.sign(Role::Initiator, far.certificate(), message)
    ));
}
