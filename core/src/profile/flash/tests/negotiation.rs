//! HMAC and session sequence numbers, negotiated in every way (RFC 7425 §4.6.4, §4.6.6).

use alloc::vec::Vec;

use super::{agree, converse, hex, profile, rng, seal_one};
use crate::profile::flash::negotiation::{Offer, Offers};
use crate::profile::flash::{
    Builder, Discriminator, FlashProfile, Group, KeyKind, Protection, Receiving, Sending, StaticKeys, component,
};
use crate::profile::{CryptoProfile, KeyingError, Role, SessionKeys};

const SENDING: [Sending; 3] = [Sending::Never, Sending::OnRequest, Sending::Always];
const RECEIVING: [Receiving; 3] = [Receiving::Unasked, Receiving::Requested, Receiving::Required];

fn protections() -> Vec<Protection> {
    let all = SENDING.into_iter().flat_map(|sending| RECEIVING.map(|receiving| Protection { sending, receiving }));
    all.collect()
}

/// What the text says, without flags.
fn sends(sender: Protection, receiver: Protection) -> bool {
    match sender.sending {
        Sending::Never => false,
        Sending::OnRequest => receiver.receiving != Receiving::Unasked,
        Sending::Always => true,
    }
}

fn refuses(receiver: Protection, sender: Protection) -> bool {
    receiver.receiving == Receiving::Required && sender.sending == Sending::Never
}

/// Whether packets have a session sequence number, and the length of their HMAC.
fn observed(keys: &dyn SessionKeys) -> (bool, usize) {
    let hmac = keys.sealed_len(0, 16) - 16;
    let checksum = if hmac == 0 { 2 } else { 0 };
    (keys.front_len(0) > checksum, hmac)
}

#[test]
fn every_way() {
    let protections = protections();
    let kinds = [KeyKind::Ephemeral, KeyKind::Static];
    let end = |kind, seed, hmac, hmac_len, sequence| {
        profile(kind, Group::Modp1024, seed, |builder| {
            builder.hmac(hmac).hmac_length(hmac_len).min_hmac_length(4).sequence_numbers(sequence)
        })
    };
    let mut refused = 0;
    for (i, near) in protections.iter().enumerate() {
        for (j, far) in protections.iter().enumerate() {
            // The other protection takes part as well, in another order.
            let (near_sequence, far_sequence) = (protections[(j + 2) % 9], protections[(i + 5) % 9]);
            let initiator = end(kinds[i % 2], 1, *near, 4, near_sequence);
            let responder = end(kinds[j % 2], 2, *far, 32, far_sequence);
            let refusal = [(*near, *far), (near_sequence, far_sequence)]
                .into_iter()
                .any(|(one, two)| refuses(one, two) || refuses(two, one));
            let case = (near, far, near_sequence, far_sequence);
            match agree(&initiator, &responder, 3) {
                Ok(mut ends) => {
                    assert!(!refusal, "{case:?}");
                    let from = |sends_hmac, len| if sends_hmac { len } else { 0 };
                    let expected = (sends(near_sequence, far_sequence), from(sends(*near, *far), 4));
                    assert_eq!(observed(&*ends.0), expected, "{case:?}");
                    let expected = (sends(far_sequence, near_sequence), from(sends(*far, *near), 32));
                    assert_eq!(observed(&*ends.1), expected, "{case:?}");
                    assert_eq!(ends.0.authenticates(), sends(*far, *near));
                    assert_eq!(ends.1.authenticates(), sends(*near, *far));
                    converse(&mut ends);
                }
                Err(error) => {
                    assert!(refusal, "{case:?}");
                    assert_eq!(error, KeyingError::ProtectionRefused);
                    refused += 1;
                }
            }
        }
    }
    assert!((10..60).contains(&refused), "{refused} of 81");
}

#[test]
fn every_length_of_hmac() {
    for len in 4..=32 {
        let end = |seed, len| {
            let lengths = |builder: Builder| builder.hmac_length(len).min_hmac_length(4);
            profile(KeyKind::Ephemeral, Group::Modp1024, seed, lengths)
        };
        let (near, far) = (end(1, len), end(2, 36 - len));
        let mut ends = agree(&near, &far, 3).unwrap();
        assert_eq!(seal_one(&mut *ends.0, b"x").len(), 16 + len);
        converse(&mut ends);
    }
}

/// At either end, and only of an HMAC that would be sent.
#[test]
fn an_hmac_that_is_too_short_is_refused() {
    let end = |seed, change: &dyn Fn(Builder) -> Builder| profile(KeyKind::Ephemeral, Group::Modp1024, seed, change);
    let ours = end(1, &|builder| builder);
    let compatible = |builder: Builder| builder.compatible().groups(&[Group::Modp1024]);
    for (len, enough) in [(4, false), (9, false), (10, true), (16, true), (32, true)] {
        let far = end(2, &|builder| builder.hmac_length(len).min_hmac_length(4));
        for refusal in [agree(&ours, &far, 3).map(|_| ()), agree(&far, &ours, 3).map(|_| ())] {
            assert_eq!(refusal, if enough { Ok(()) } else { Err(KeyingError::ProtectionRefused) }, "{len}");
        }
        // To an end that asks for none, one that would send it if asked sends none.
        let (asks_for_none, on_request) =
            (end(4, &compatible), end(5, &|builder| compatible(builder).hmac_length(len)));
        assert!(agree(&asks_for_none, &on_request, 6).is_ok() && agree(&on_request, &asks_for_none, 6).is_ok());
        assert_eq!(agree(&far, &asks_for_none, 6).is_ok(), enough, "{len}: sent all the same");
    }
    let strict = end(7, &|builder| builder.min_hmac_length(32));
    assert_eq!(agree(&ours, &strict, 8).map(|_| ()), Err(KeyingError::ProtectionRefused));
}

#[test]
fn offers_as_bytes() {
    for flags in 0..=255 {
        let offer = Offer::from_byte(flags);
        assert_eq!(offer.to_byte(), flags & 7, "the reserved bits are ignored and sent as zero");
    }
    let offer = |always, on_request, request| Offer { always, on_request, request };
    assert_eq!(Protection::required().offer(None), offer(true, true, true));
    assert_eq!(Protection::on_request().offer(None), offer(false, true, false));
    assert_eq!(Protection::never().offer(None), Offer::default());
    assert_eq!(Protection::on_request().offer(Some(offer(true, true, true))), offer(false, true, false));
    assert_eq!(Protection::on_request().offer(Some(offer(true, true, false))), Offer::default());
    let offers = Offers { hmac: offer(true, true, true), hmac_len: 16, sequence: offer(false, true, false) };
    let mut bytes = Vec::new();
    component::put_offers(&offers, &mut bytes);
    assert_eq!(bytes, hex("031a0710021e02"));
    assert_eq!(component::Component::parse(&bytes).unwrap().offers, offers);
}

fn compatible(builder: Builder) -> FlashProfile {
    builder.compatible().build(&mut rng(4)).unwrap()
}

/// librtmfp takes components only in the form that it expects byte for byte.
#[test]
fn components_for_byte_exact_peers() {
    // As such a peer sends it: group 2 selected, 64 bytes of randomness, both protections on request.
    let static_keys = || StaticKeys::generate(&[Group::Modp1024], &mut rng(5));
    let peer = compatible(FlashProfile::builder().static_keys(static_keys()));
    let ours = compatible(FlashProfile::builder());
    let skic = peer.initiate(ours.certificate(), None, &mut rng(6)).unwrap().component;
    assert_eq!(skic.len(), 76);
    assert_eq!((&skic[..5], &skic[69..]), (&hex("021d02410e")[..], &hex("031a0210021e02")[..]));
    // From a server: the key is everything behind byte 11.
    let skrc = ours.respond(peer.certificate(), &skic, None, &mut rng(7)).unwrap().component;
    assert_eq!(skrc[..11], hex("031a0000021e0081020d02")[..]);
    assert_eq!(skrc.len(), 11 + 128);
    // Between peers.
    let static_ours = compatible(FlashProfile::builder().static_keys(static_keys()));
    let skrc = static_ours.respond(peer.certificate(), &skic, None, &mut rng(8)).unwrap().component;
    assert_eq!(skrc.len(), 73);
    assert_eq!(skrc[..9], hex("031a0000021e00410e")[..]);
    assert_eq!(ours.sign(Role::Initiator, &[], &[b"any"]), b"X");
}

/// Somebody who asks is given what `compatible` has to offer.
#[test]
fn compatible_profiles_protect_on_request() {
    let ours = profile(KeyKind::Ephemeral, Group::Modp1024, 1, Builder::compatible);
    let asking = FlashProfile::builder().groups(&[Group::Modp1024]).build(&mut rng(2)).unwrap();
    for (one, two) in [(&ours, &asking), (&asking, &ours)] {
        let mut ends = agree(one, two, 3).unwrap();
        assert_eq!((observed(&*ends.0), observed(&*ends.1)), ((true, 16), (true, 16)));
        converse(&mut ends);
    }
    let mut ends = agree(&ours, &compatible(FlashProfile::builder()), 4).unwrap();
    assert_eq!((observed(&*ends.0), observed(&*ends.1)), ((false, 0), (false, 0)));
    converse(&mut ends);
}

/// A component without either option offers nothing.
#[test]
fn absent_options_offer_nothing() {
    let ours = compatible(FlashProfile::builder());
    let strict = FlashProfile::builder().groups(&[Group::Modp1024]).build(&mut rng(1)).unwrap();
    let certificate = hex("021502");
    let mut skic = Vec::new();
    let key = crate::profile::flash::dh::PrivateKey::generate(Group::Modp1024, &mut rng(2));
    component::put_ephemeral_key(2, &key.public_key(), &mut skic);
    let response = ours.respond(&certificate, &skic, None, &mut rng(3)).unwrap();
    assert_eq!(observed(&*response.keys), (false, 0));
    assert!(!response.keys.authenticates());
    let refusal = strict.respond(&certificate, &skic, None, &mut rng(3)).map(|_| ());
    assert_eq!(refusal, Err(KeyingError::ProtectionRefused));
}

/// They give the server's address as ancillary data, know group 2 alone, and no protection.
#[test]
fn a_profile_for_mona_clients_has_what_they_ask_for() {
    let server = FlashProfile::builder().for_mona_clients().build(&mut rng(1)).unwrap();
    assert!(server.selects_near(&Discriminator::new().ancillary_data(b"rtmfp://server.example.com").to_bytes()));
    for (group, agrees) in [(Group::Modp1024, true), (Group::Modp2048, false)] {
        let asks = |builder: Builder| builder.hmac(Protection::on_request()).sequence_numbers(Protection::on_request());
        let client = profile(KeyKind::Ephemeral, group, 2, asks);
        let ends = agree(&client, &server, 3);
        assert_eq!(ends.is_ok(), agrees, "{group:?}");
        if let Ok((near, far)) = ends {
            assert_eq!([observed(&*near), observed(&*far)], [(false, 0); 2]);
        }
    }
}
