//! The profile as a whole, through its traits.

mod key_log;
mod middle;
mod negotiation;
mod refusals;
mod vectors;

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;

use super::{Builder, FlashProfile, Group, KeyKind, StaticKeys};
use crate::profile::{CryptoProfile, KeyingError, PacketError, SessionKeys};
use crate::transmit::Span;

/// The same numbers in every run.
pub(in crate::profile) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// From hexadecimal digits.
pub(in crate::profile) fn hex(text: &str) -> Vec<u8> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { panic!("odd: {text}") };
    pairs.iter().map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// Lays out and seals plain packets end to end, four bytes of session ID before each, and returns the encrypted
/// packets.
pub(in crate::profile) fn seal_all(keys: &mut dyn SessionKeys, plains: &[&[u8]]) -> Vec<Vec<u8>> {
    let (mut bytes, mut spans) = (Vec::new(), Vec::new());
    for (ahead, plain) in plains.iter().enumerate() {
        bytes.extend([0xee; 4]);
        let (start, front) = (bytes.len(), keys.front_len(ahead));
        let sealed = keys.sealed_len(front, plain.len());
        bytes.resize(start + front, 0xdd);
        bytes.extend_from_slice(plain);
        bytes.resize(start + sealed, 0xcc);
        spans.push(Span { start, front, plain: plain.len(), sealed });
    }
    keys.seal(&mut bytes, &spans);
    spans.iter().for_each(|span| assert_eq!(bytes[span.start - 4..span.start], [0xee; 4], "not the profile's bytes"));
    spans.iter().map(|span| bytes[span.start..span.start + span.sealed].to_vec()).collect()
}

pub(in crate::profile) fn seal_one(keys: &mut dyn SessionKeys, plain: &[u8]) -> Vec<u8> {
    seal_all(keys, &[plain]).remove(0)
}

/// Opens a packet and returns it with its padding.
pub(in crate::profile) fn open(keys: &mut dyn SessionKeys, sealed: &[u8]) -> Result<Vec<u8>, PacketError> {
    let mut bytes = sealed.to_vec();
    keys.open(&mut bytes).map(|range| bytes[range].to_vec())
}

/// Whether `opened` is `plain` and padding.
pub(in crate::profile) fn is_padded(opened: &[u8], plain: &[u8]) -> bool {
    opened.strip_prefix(plain).is_some_and(|padding| padding.iter().all(|byte| *byte == 0xff))
}

/// A profile with one group.
pub(in crate::profile) fn profile(
    kind: KeyKind,
    group: Group,
    seed: u64,
    set: impl FnOnce(Builder) -> Builder,
) -> FlashProfile {
    let mut rng = rng(seed);
    let builder = match kind {
        KeyKind::Ephemeral => FlashProfile::builder().groups(&[group]),
        KeyKind::Static => FlashProfile::builder().static_keys(StaticKeys::generate(&[group], &mut rng)),
    };
    set(builder).build(&mut rng).unwrap()
}

/// The keys of both ends of a session.
pub(in crate::profile) type Ends = (Box<dyn SessionKeys>, Box<dyn SessionKeys>);

/// A whole key agreement.
pub(in crate::profile) fn agree(
    initiator: &FlashProfile,
    responder: &FlashProfile,
    seed: u64,
) -> Result<Ends, KeyingError> {
    let mut rng = rng(seed);
    let initiation = initiator.initiate(responder.certificate(), None, &mut rng)?;
    let response = responder.respond(initiator.certificate(), &initiation.component, None, &mut rng)?;
    Ok((initiation.pending.finish(&response.component)?, response.keys))
}

/// Sends packets both ways.
pub(in crate::profile) fn converse(ends: &mut Ends) {
    for round in 0..3 {
        let plain = vec![round; 20 * usize::from(round) + 1];
        let (initiator, responder) = (&mut *ends.0, &mut *ends.1);
        let sealed = seal_one(initiator, &plain);
        assert!(is_padded(&open(responder, &sealed).unwrap(), &plain));
        let sealed = seal_one(responder, &plain);
        assert!(is_padded(&open(initiator, &sealed).unwrap(), &plain));
    }
}

/// Whichever end has one, and only in its own group. It takes the place of a fresh one, to the byte.
#[test]
fn a_prepared_key_is_the_session_s_key() {
    let [near, far] = [1, 2].map(|seed| profile(KeyKind::Ephemeral, Group::Modp1024, seed, |builder| builder));
    let other = profile(KeyKind::Ephemeral, Group::Modp1536, 3, |builder| builder);
    let sent = |component: &[u8]| {
        let parsed = super::component::Component::parse(component).unwrap();
        parsed.ephemeral_key.unwrap().1.to_vec()
    };
    for (maker, used) in [(&near, true), (&other, false)] {
        let mut rng = rng(4);
        let [first, second] = [(); 2].map(|()| maker.prepare(&mut rng).unwrap());
        let publics = [first.public.clone(), second.public.clone()];
        assert_ne!(publics[0], publics[1]);
        let initiation = near.initiate(far.certificate(), Some(first), &mut rng).unwrap();
        let response = far.respond(near.certificate(), &initiation.component, Some(second), &mut rng).unwrap();
        assert_eq!(sent(&initiation.component) == publics[0], used);
        assert_eq!(sent(&response.component) == publics[1], used);
        converse(&mut (initiation.pending.finish(&response.component).unwrap(), response.keys));
    }
    let fixed = profile(KeyKind::Static, Group::Modp1024, 5, |builder| builder);
    assert!(fixed.prepare(&mut rng(6)).is_none());
}

#[test]
fn every_key_combination_in_every_group() {
    for group in Group::ALL {
        for (initiator, responder) in [
            (KeyKind::Ephemeral, KeyKind::Ephemeral),
            (KeyKind::Ephemeral, KeyKind::Static),
            (KeyKind::Static, KeyKind::Ephemeral),
            (KeyKind::Static, KeyKind::Static),
        ] {
            let initiator = profile(initiator, group, 1, |builder| builder);
            let responder = profile(responder, group, 2, |builder| builder);
            let mut ends = agree(&initiator, &responder, 3).unwrap();
            assert_eq!(ends.0.near_nonce(), ends.1.far_nonce());
            assert_eq!(ends.0.far_nonce(), ends.1.near_nonce());
            assert_ne!(ends.0.near_nonce(), ends.0.far_nonce());
            assert!(ends.0.authenticates() && ends.1.authenticates(), "by default");
            converse(&mut ends);
            let other = agree(&initiator, &responder, 4).unwrap();
            assert_ne!(ends.0.near_nonce(), other.0.near_nonce(), "every session has its own keys");
        }
    }
}
