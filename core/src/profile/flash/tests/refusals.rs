//! What a key agreement refuses, and that nothing makes it panic.

use alloc::vec;
use alloc::vec::Vec;

use quickcheck::{TestResult, quickcheck};

use super::{agree, hex, profile, rng};
use crate::profile::flash::component::{put_ephemeral_key, put_group_select, put_offers, put_randomness};
use crate::profile::flash::negotiation::{Offer, Offers};
use crate::profile::flash::{Builder, FlashProfile, Group, KeyKind, Protection, StaticKeys};
use crate::profile::{CryptoProfile, KeyingError, Role};
use crate::wire::{encode_option, vlu};

const GROUP: Group = Group::Modp1024;

fn ours(kind: KeyKind) -> FlashProfile {
    profile(kind, GROUP, 1, Builder::compatible_protections)
}

impl Builder {
    /// Nothing is asked for, so that a component may be short.
    fn compatible_protections(self) -> Self {
        self.hmac(Protection::on_request()).sequence_numbers(Protection::on_request())
    }
}

/// The public key of somebody else.
fn good_key() -> Vec<u8> {
    crate::profile::flash::dh::PrivateKey::generate(GROUP, &mut rng(9)).public_key()
}

fn component(put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    put(&mut bytes);
    bytes
}

fn respond(certificate: &[u8], component: &[u8]) -> Result<(), KeyingError> {
    ours(KeyKind::Ephemeral).respond(certificate, component, None, &mut rng(2)).map(|_| ())
}

/// What the responder's component does to an initiator.
fn finish(responder_certificate: &[u8], component: &[u8]) -> Result<(), KeyingError> {
    let initiation = ours(KeyKind::Ephemeral).initiate(responder_certificate, None, &mut rng(2)).unwrap();
    initiation.pending.finish(component).map(|_| ())
}

fn static_certificate(key: &[u8]) -> Vec<u8> {
    component(|out| {
        let mut value = Vec::new();
        vlu::encode(GROUP.id(), &mut value);
        value.extend_from_slice(key);
        encode_option(0x1d, &value, out);
    })
}

/// Keys that RFC 7425 §4.6.2 forbids.
fn bad_keys() -> Vec<Vec<u8>> {
    let p = hex(GROUP.prime_hex());
    let mut below = p.clone();
    *below.last_mut().unwrap() -= 1;
    let mut few_ones = vec![0; 128];
    few_ones[..15].fill(0x01);
    vec![vec![], vec![0; 128], vec![1], vec![0xff; 3], vec![0xff; 100], few_ones, below, p, vec![0x55; 200]]
}

#[test]
fn unacceptable_public_keys_everywhere() {
    let ephemeral = hex("021502");
    assert_eq!(respond(&ephemeral, &component(|out| put_ephemeral_key(2, &good_key(), out))), Ok(()));
    assert_eq!(finish(&ephemeral, &component(|out| put_ephemeral_key(2, &good_key(), out))), Ok(()));
    let select = component(|out| put_group_select(2, out));
    assert_eq!(respond(&static_certificate(&good_key()), &select), Ok(()));
    for key in bad_keys() {
        let refusal = Err(KeyingError::BadPublicKey);
        assert_eq!(respond(&ephemeral, &component(|out| put_ephemeral_key(2, &key, out))), refusal);
        assert_eq!(finish(&ephemeral, &component(|out| put_ephemeral_key(2, &key, out))), refusal);
        assert_eq!(respond(&static_certificate(&key), &select), refusal);
        let initiation = ours(KeyKind::Ephemeral).initiate(&static_certificate(&key), None, &mut rng(2));
        assert_eq!(initiation.map(|_| ()), refusal);
    }
}

/// RFC 7425 §4.5.2.1, §4.5.2.3, §4.6.1: which of the options there must be.
#[test]
fn the_certificate_decides_what_the_component_holds() {
    let key = good_key();
    let nothing = Vec::new();
    let ephemeral_key = component(|out| put_ephemeral_key(2, &key, out));
    let select = component(|out| put_group_select(2, out));
    let salt = component(|out| put_randomness(&[1; 64], out));
    let two_keys = [&ephemeral_key[..], &ephemeral_key].concat();
    let both = [&ephemeral_key[..], &select].concat();
    let two_selects = [&select[..], &select].concat();
    let malformed = Err(KeyingError::Malformed);
    for bytes in [&nothing, &select, &salt, &two_keys, &both] {
        assert_eq!(respond(&hex("021502"), bytes), malformed, "ephemeral: {bytes:02x?}");
    }
    for bytes in [&nothing, &ephemeral_key, &salt, &two_selects, &both] {
        assert_eq!(respond(&static_certificate(&key), bytes), malformed, "static: {bytes:02x?}");
    }
    for bytes in [&nothing, &salt, &two_keys] {
        assert_eq!(finish(&hex("021502"), bytes), malformed, "ephemeral responder: {bytes:02x?}");
    }
    assert_eq!(finish(&static_certificate(&key), &salt), Ok(()));
    assert_eq!(finish(&static_certificate(&key), &ephemeral_key), malformed);
    let other_group = component(|out| put_ephemeral_key(14, &key, out));
    assert_eq!(finish(&hex("021502"), &other_group), malformed, "not the group that was chosen");
}

#[test]
fn nothing_in_common() {
    let nothing = Err(KeyingError::NothingInCommon);
    let initiate = |certificate: &[u8]| ours(KeyKind::Ephemeral).initiate(certificate, None, &mut rng(2)).map(|_| ());
    assert_eq!(initiate(&[]), nothing, "no keys at all");
    assert_eq!(initiate(&hex("02150e021563")), nothing);
    assert_eq!(initiate(&[5]), Err(KeyingError::Malformed));
    assert_eq!(ours(KeyKind::Static).initiate(&hex("02150e"), None, &mut rng(2)).map(|_| ()), nothing);
    let with_group = |id| component(|out| put_ephemeral_key(id, &good_key(), out));
    assert_eq!(respond(&[], &with_group(2)), nothing);
    assert_eq!(respond(&hex("02150e"), &with_group(14)), nothing, "a group that is not ours");
    assert_eq!(respond(&hex("021563"), &with_group(99)), nothing, "a group that nobody knows");
    assert_eq!(respond(&hex("02150e"), &with_group(2)), nothing, "a group that is not the initiator's");
    assert_eq!(respond(&static_certificate(&good_key()), &component(|out| put_group_select(14, out))), nothing);
}

/// The responder pays for strangers, so its order decides, among what the initiator has.
#[test]
fn the_first_usable_group_of_the_responders_list_is_chosen() {
    let initiator =
        FlashProfile::builder().groups(&[Group::Modp1536, GROUP, Group::Modp2048]).build(&mut rng(1)).unwrap();
    let chosen = |certificate: &str| {
        let component = initiator.initiate(&hex(certificate), None, &mut rng(2)).unwrap().component;
        crate::profile::flash::component::Component::parse(&component).unwrap().ephemeral_key.unwrap().0
    };
    assert_eq!(chosen("02150e021502"), 14);
    assert_eq!(chosen("021505021502"), 5);
    assert_eq!(chosen("021510021502021505"), 2, "group 16 is not usable here");
}

/// Each session in group 16 costs several times one in group 14, and the far end decides.
#[test]
fn group_16_is_not_offered_unless_asked_for_and_costs_more() {
    let certificate = FlashProfile::builder().build(&mut rng(1)).unwrap();
    let parsed = crate::profile::flash::Certificate::parse(certificate.certificate()).unwrap();
    assert_eq!(parsed.groups().collect::<Vec<_>>(), [14]);
    let cost = |id| {
        let ephemeral = component(|out| put_ephemeral_key(id, &[4; 8], out));
        let chosen = component(|out| put_group_select(id, out));
        [ephemeral, chosen].map(|component| certificate.respond_cost(&[], &component))
    };
    assert_eq!([2, 5, 14, 16].map(cost), [[1; 2], [1; 2], [1; 2], [5; 2]]);
    assert_eq!(certificate.respond_cost(&[], b"garbage"), 1);
}

#[test]
fn malformed_negotiations() {
    let key = component(|out| put_ephemeral_key(2, &good_key(), out));
    let with = |more: &str| respond(&hex("021502"), &[&key[..], &hex(more)].concat());
    for (more, why) in [
        ("031a0203", "an HMAC of 3 bytes"),
        ("031a0421", "an HMAC of 33 bytes"),
        ("031a0400", "an HMAC of no bytes"),
        ("021a04", "no length"),
        ("011a", "no flags"),
        ("011e", "no flags"),
        ("031a0210031a0210", "HMAC twice"),
        ("021e02021e02", "sequence numbers twice"),
        ("05", "a cut option"),
    ] {
        assert_eq!(with(more), Err(KeyingError::Malformed), "{why}");
    }
    for (more, why) in [
        ("031a0000021e00", "neither is offered"),
        ("031a0005", "the length of what is never sent"),
        ("031afc10021efa", "reserved bits"),
        ("027f00", "an unknown option"),
        ("00", "a marker"),
    ] {
        assert_eq!(with(more), Ok(()), "{why}");
    }
}

/// A forged answer spoils nothing: the honest one still counts.
#[test]
fn an_initiator_may_try_again() {
    let (initiator, responder) = (ours(KeyKind::Ephemeral), ours(KeyKind::Static));
    let initiation = initiator.initiate(responder.certificate(), None, &mut rng(1)).unwrap();
    let response = responder.respond(initiator.certificate(), &initiation.component, None, &mut rng(2)).unwrap();
    assert!(initiation.pending.finish(b"\xff").is_err());
    let forged = component(|out| put_randomness(&[3; 64], out));
    let wrong = initiation.pending.finish(&forged).unwrap();
    assert_ne!(wrong.far_nonce(), response.keys.near_nonce());
    let right = initiation.pending.finish(&response.component).unwrap();
    assert_eq!(right.far_nonce(), response.keys.near_nonce());
    assert_eq!(right.near_nonce(), response.keys.far_nonce());
}

#[test]
fn static_keys_are_salted_afresh() {
    let (initiator, responder) = (ours(KeyKind::Static), ours(KeyKind::Static));
    let mut rng = rng(1);
    let mut salted = || initiator.initiate(responder.certificate(), None, &mut rng).unwrap().component;
    let (one, two) = (salted(), salted());
    assert_eq!(one.len(), two.len());
    assert_ne!(one, two);
}

/// RFC 7425 §4.3.6, §4.3.7.
#[test]
fn glare_and_override() {
    let ours = ours(KeyKind::Ephemeral);
    let near = ours.certificate();
    assert!(ours.prevails(near), "identical");
    assert!(ours.prevails(&[near, &[0]].concat()), "the shorter is first");
    assert!(!ours.prevails(&near[..near.len() - 1]) && !ours.prevails(&[]));
    let mut other = near.to_vec();
    other[5] = 0xff;
    assert!(ours.prevails(&other), "bytes are unsigned");
    other[5] = 0;
    assert!(!ours.prevails(&other) || near[5] == 0);
    assert!(ours.overrides(near, near) && !ours.overrides(near, &other));
    assert!(!ours.keys_prove_owner(near), "whoever has seen it can use it");
    let lasting = self::ours(KeyKind::Static);
    assert!(ours.keys_prove_owner(lasting.certificate()) && !ours.keys_prove_owner(&[1, 2]));
}

#[test]
fn signatures_by_configuration() {
    let message: &[&[u8]] = &[b"one", b"two"];
    let build = |builder: Builder| builder.build(&mut rng(1)).unwrap();
    let client = build(FlashProfile::builder().sign_with(b"old", b"1").sign_with(b"new", b"2"));
    let open = build(FlashProfile::builder().accept_password(b"new", b"3"));
    let strict = build(FlashProfile::builder().accept_password(b"new", b"2").require_signature());
    let stricter = build(FlashProfile::builder().accept_password(b"new", b"3").require_signature());
    let signature = client.sign(Role::Initiator, &[], message);
    for any in [&signature[..], b"", b"X", b"\xff\xff"] {
        assert!(open.verify(Role::Initiator, &[], message, any), "none is required");
        assert_eq!(strict.verify(Role::Initiator, &[], message, any), any == signature);
        assert!(!stricter.verify(Role::Initiator, &[], message, any));
    }
    assert_eq!(open.sign(Role::Initiator, &[], message), b"X");
}

#[test]
fn configurations_out_of_range() {
    let field = |builder: Builder| builder.build(&mut rng(1)).map(|_| ()).map_err(|error| error.field);
    let new = FlashProfile::builder;
    assert_eq!(field(new()), Ok(()));
    assert_eq!(field(new().groups(&[])), Err("groups"));
    assert_eq!(field(new().groups(&[GROUP, GROUP])), Err("groups"));
    assert_eq!(field(new().static_keys(StaticKeys::generate(&[], &mut rng(1)))), Err("groups"));
    assert_eq!(field(new().hmac_length(3)), Err("hmac_length"));
    assert_eq!(field(new().hmac_length(33)), Err("hmac_length"));
    assert_eq!(field(new().min_hmac_length(3)), Err("min_hmac_length"));
    assert_eq!(field(new().min_hmac_length(33)), Err("min_hmac_length"));
    assert_eq!(field(new().hostname(&[b'x'; 255])), Ok(()));
    assert_eq!(field(new().hostname(&[b'x'; 256])), Err("hostname"));
    assert_eq!(field(new().require_signature()), Err("require_signature"));
    assert_eq!(field(new().sign_with(&[1; 256], b"")), Err("sign_with"));
    let five = (0..5).fold(new(), |builder, id| builder.sign_with(&[id], b"password"));
    assert_eq!(field(five), Err("sign_with"));
}

#[test]
fn debug_output_hides_every_secret() {
    let builder = FlashProfile::builder()
        .static_keys(StaticKeys::from_bytes(&[&[29, 2][..], &[0xab; 28]].concat()).unwrap())
        .sign_with(b"name", b"\xab\xab\xab\xab")
        .accept_password(b"name", b"\xab\xab\xab\xab");
    let mut shown = alloc::format!("{builder:?}");
    let profile = builder.build(&mut rng(1)).unwrap();
    let initiation = profile.initiate(profile.certificate(), None, &mut rng(2)).unwrap();
    shown += &alloc::format!("{:?} {:?}", profile.keys, initiation.pending);
    assert!(!shown.contains("171, 171") && !shown.to_lowercase().contains("abab"), "{shown}");
}

#[test]
fn both_ends_of_one_identity() {
    let ours = ours(KeyKind::Static);
    let ends = agree(&ours, &ours, 1).unwrap();
    assert_ne!(ends.0.near_nonce(), ends.0.far_nonce());
}

quickcheck! {
    fn no_certificate_or_component_makes_it_panic(certificate: Vec<u8>, component: Vec<u8>) -> bool {
        let ours = ours(KeyKind::Ephemeral);
        let _ = ours.initiate(&certificate, None, &mut rng(1));
        let _ = (ours.is_authentic(&certificate), ours.canonical_discriminator(&certificate));
        let _ = (ours.selects(&component, &certificate), ours.selects_near(&component));
        ours.respond(&certificate, &component, None, &mut rng(1)).is_err() && finish(&[2, 0x15, 2], &component).is_err()
    }

    /// Options with the right numbers and any values.
    fn no_options_make_it_panic(options: Vec<(u8, Vec<u8>)>) -> TestResult {
        let kinds = [0x0d_u64, 0x0e, 0x1a, 0x1d, 0x1e, 0x40];
        let mut bytes = Vec::new();
        // Any number can be a key of the group.
        let is_key = |(kind, value): &(u8, Vec<u8>)| usize::from(*kind) % kinds.len() == 0 && value.starts_with(&[2]);
        let may_agree = options.iter().any(is_key);
        for (kind, value) in options {
            encode_option(kinds[usize::from(kind) % kinds.len()], &value, &mut bytes);
        }
        let refused = respond(&[2, 0x15, 2], &bytes).is_err() && finish(&[2, 0x15, 2], &bytes).is_err();
        let _ = respond(&static_certificate(&[0x5a; 64]), &bytes);
        TestResult::from_bool(refused || may_agree)
    }

    fn any_flags_are_understood(hmac: u8, len: u8, sequence: u8) -> bool {
        let offers = Offers {
            hmac: Offer::from_byte(hmac),
            hmac_len: usize::from(len),
            sequence: Offer::from_byte(sequence),
        };
        let bytes = component(|out| put_offers(&offers, out));
        let valid = !offers.hmac.willing() || (4..=32).contains(&len);
        crate::profile::flash::component::Component::parse(&bytes).is_ok() == valid
    }
}
