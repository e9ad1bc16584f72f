//! The hybrid with ML-KEM-768: README.md, "Hybrid key agreement".

use alloc::vec::Vec;

use super::oracle::option;
use super::profile;
use crate::profile::flash::tests::rng;
use crate::profile::modern::{Hybrid, ModernProfile};
use crate::profile::{CryptoProfile, KeyingError, SessionKeys};

/// A component without ML-KEM.
fn classical(key: u8) -> Vec<u8> {
    [option(0x51, &[key; 32]), option(0x53, &[1])].concat()
}

fn is_post_quantum(keys: Result<alloc::boxed::Box<dyn SessionKeys>, KeyingError>) -> Result<bool, KeyingError> {
    keys.map(|keys| keys.is_post_quantum())
}

/// Of any build. What the value is does not matter.
#[test]
fn an_end_without_the_hybrid_ignores_its_option_in_a_skic_and_refuses_it_in_an_skrc() {
    let [near, far] = [1, 2].map(|seed| profile(seed, |builder| builder));
    for value in [&[7; 1_184][..], &[0xff; 1_184], &[7; 1_088], b"x", b""] {
        let component = [classical(9), option(0x56, value)].concat();
        let response = far.respond(near.certificate(), &component, None, &mut rng(3)).unwrap();
        assert!(!response.keys.is_post_quantum());
        assert_eq!(response.component.len(), classical(9).len(), "a classical answer");
        let initiation = near.initiate(far.certificate(), None, &mut rng(4)).unwrap();
        assert_eq!(initiation.component.len(), classical(9).len() + 2, "three ciphers");
        assert_eq!(is_post_quantum(initiation.pending.finish(&component)), Err(KeyingError::Malformed));
        assert_eq!(is_post_quantum(initiation.pending.finish(&classical(9))), Ok(false));
    }
    let twice = [classical(9), option(0x56, b"x"), option(0x56, b"x")].concat();
    let refused = far.respond(near.certificate(), &twice, None, &mut rng(3)).map(|_| ());
    assert_eq!(refused, Err(KeyingError::Malformed));
}

#[cfg(not(feature = "ml-kem"))]
#[test]
fn a_build_without_ml_kem_refuses_to_be_told_to_use_it() {
    for hybrid in [Hybrid::Offered, Hybrid::Required] {
        let built = ModernProfile::builder().hybrid(hybrid).build(&mut rng(1));
        assert_eq!(built.map(|_| ()).unwrap_err().field, "hybrid");
    }
    assert!(ModernProfile::builder().hybrid(Hybrid::Off).build(&mut rng(1)).is_ok());
}

#[cfg(feature = "ml-kem")]
mod with_ml_kem {
    use alloc::boxed::Box;
    use alloc::format;

    use rand_core::Rng as _;

    use super::*;
    use crate::profile::flash::tests::{open, seal_one};
    use crate::profile::modern::kem::KemKey;
    use crate::profile::modern::tests::converse;
    use crate::profile::modern::{Provider as _, PureRust};
    use crate::profile::{Initiation, Response, Role};

    /// Bytes of a component before the value of its last option, with one cipher and with three.
    const BEFORE: [usize; 2] = [40, 42];

    fn with(seed: u64, hybrid: Hybrid) -> ModernProfile {
        profile(seed, |builder| builder.hybrid(hybrid))
    }

    fn pair() -> [ModernProfile; 2] {
        [1, 2].map(|seed| with(seed, Hybrid::Offered))
    }

    fn halves(near: &ModernProfile, far: &ModernProfile) -> (Initiation, Response) {
        let initiation = near.initiate(far.certificate(), None, &mut rng(3)).unwrap();
        let response = far.respond(near.certificate(), &initiation.component, None, &mut rng(4)).unwrap();
        (initiation, response)
    }

    /// Nothing that one seals opens under the other's keys.
    fn are_strangers(one: &mut dyn SessionKeys, other: &mut dyn SessionKeys) -> bool {
        open(other, &seal_one(one, b"plain")).is_err() && open(one, &seal_one(other, b"plain")).is_err()
    }

    /// The crate's own feature for that does not reach its hashes. This does not compile without theirs.
    #[test]
    fn the_hashes_of_ml_kem_are_wiped() {
        const fn is_wiped<T: zeroize::ZeroizeOnDrop>() {}
        is_wiped::<sha3::Sha3_256>();
        is_wiped::<sha3::Sha3_512>();
        is_wiped::<shake::Shake128>();
        is_wiped::<shake::Shake256>();
    }

    #[test]
    fn it_is_negotiated() {
        use Hybrid::{Off, Offered, Required};
        let refused = Err(KeyingError::ProtectionRefused);
        for (near, far, responded, finished) in [
            (Off, Off, Ok(false), Ok(false)),
            (Off, Offered, Ok(false), Ok(false)),
            (Off, Required, refused, Ok(false)),
            (Offered, Off, Ok(false), Ok(false)),
            (Offered, Offered, Ok(true), Ok(true)),
            (Offered, Required, Ok(true), Ok(true)),
            (Required, Off, Ok(false), refused),
            (Required, Offered, Ok(true), Ok(true)),
            (Required, Required, Ok(true), Ok(true)),
        ] {
            let [near, far] = [with(1, near), with(2, far)];
            let initiation = near.initiate(far.certificate(), None, &mut rng(3)).unwrap();
            let response = far.respond(near.certificate(), &initiation.component, None, &mut rng(4));
            let answer = response.as_ref().map_or_else(|_| classical(9), |response| response.component.clone());
            let keys = initiation.pending.finish(&answer);
            assert_eq!(
                response.as_ref().map(|response| response.keys.is_post_quantum()).map_err(|error| *error),
                responded
            );
            assert_eq!(keys.as_ref().map(|keys| keys.is_post_quantum()).map_err(|error| *error), finished);
            if let (Ok(keys), Ok(response)) = (keys, response) {
                converse(&mut (keys, response.keys));
            }
        }
    }

    /// So that nobody has more sent to a victim than they send themselves.
    #[test]
    fn the_answer_is_smaller_than_the_question() {
        let [near, far] = pair();
        let (initiation, response) = halves(&near, &far);
        assert_eq!((initiation.component.len(), response.component.len()), (BEFORE[1] + 1_184, BEFORE[0] + 1_088));
        let least = [classical(9), option(0x56, &initiation.component[BEFORE[1]..])].concat();
        let response = far.respond(near.certificate(), &least, None, &mut rng(4)).unwrap();
        assert!(response.component.len() < least.len());
    }

    #[test]
    fn a_prepared_key_and_a_fresh_one_of_ml_kem_make_a_session() {
        let [near, far] = pair();
        let [first, second] = [1, 2].map(|seed| near.prepare(&mut rng(seed)));
        let public = option(0x51, &first.as_ref().unwrap().public);
        let initiation = near.initiate(far.certificate(), first, &mut rng(3)).unwrap();
        let response = far.respond(near.certificate(), &initiation.component, second, &mut rng(4)).unwrap();
        assert!(initiation.component.starts_with(&public));
        converse(&mut (initiation.pending.finish(&response.component).unwrap(), response.keys));
        let other = near.initiate(far.certificate(), None, &mut rng(5)).unwrap().component;
        assert_ne!(initiation.component[BEFORE[1]..], other[BEFORE[1]..], "each session has its own");
    }

    #[test]
    fn values_of_wrong_lengths_are_refused() {
        let [near, far] = pair();
        let (initiation, response) = halves(&near, &far);
        for length in [0, 1, 32, 1_087, 1_089, 1_183, 1_185, 1_568, 2_400] {
            let value = option(0x56, &[1_u8; 2_400][..length]);
            let component = [classical(9), value].concat();
            let refused = far.respond(near.certificate(), &component, None, &mut rng(4)).map(|_| ());
            assert_eq!(refused, Err(KeyingError::Malformed), "{length}");
            assert_eq!(is_post_quantum(initiation.pending.finish(&component)), Err(KeyingError::Malformed), "{length}");
        }
        // What was sent comes back.
        let reflected = initiation.component.clone();
        assert!(is_post_quantum(initiation.pending.finish(&reflected)).is_err());
        let reflected = far.respond(near.certificate(), &response.component, None, &mut rng(4)).map(|_| ());
        assert_eq!(reflected, Err(KeyingError::Malformed));
        // A refusal spoils nothing.
        assert_eq!(is_post_quantum(initiation.pending.finish(&response.component)), Ok(true));
    }

    /// FIPS 203 §7.2: each of the 768 coefficients, 12 bits each, must be below 3,329.
    #[test]
    fn an_encapsulation_key_with_a_coefficient_that_is_not_reduced_is_refused() {
        let [near, far] = pair();
        let component = near.initiate(far.certificate(), None, &mut rng(3)).unwrap().component;
        for at in 0..768 {
            for (value, refused) in [(3_328_u16, false), (3_329, true), (4_095, true)] {
                let mut altered = component.clone();
                let bytes = &mut altered[BEFORE[1] + at / 2 * 3..][..3];
                let [low, high] = value.to_le_bytes();
                if at % 2 == 0 {
                    (bytes[0], bytes[1]) = (low, bytes[1] & 0xf0 | high);
                } else {
                    (bytes[1], bytes[2]) = (bytes[1] & 0x0f | low << 4, high << 4 | low >> 4);
                }
                if !refused && at % 50 != 0 {
                    continue;
                }
                let response = far.respond(near.certificate(), &altered, None, &mut rng(4)).map(|_| ());
                let expected = if refused { Err(KeyingError::BadPublicKey) } else { Ok(()) };
                assert_eq!(response, expected, "coefficient {at} is {value}");
            }
        }
    }

    /// Signatures find it. Without them, the keys would be of no use to anybody.
    #[test]
    fn every_altered_byte_breaks_the_signature_and_the_keys() {
        let [near, far] = pair();
        let (initiation, response) = halves(&near, &far);
        let skic = &initiation.component;
        let signed = near.sign(Role::Initiator, far.certificate(), &[skic]);
        for at in BEFORE[1]..skic.len() {
            let mut altered = skic.clone();
            altered[at] ^= 1;
            assert!(!far.verify(Role::Initiator, near.certificate(), &[&altered], &signed), "SKIC {at}");
            // Some are no key any more.
            let Ok(mut answer) = far.respond(near.certificate(), &altered, None, &mut rng(4)) else { continue };
            let mut keys = initiation.pending.finish(&answer.component).unwrap();
            assert!(are_strangers(&mut *keys, &mut *answer.keys), "SKIC {at}");
        }
        let skrc = &response.component;
        let signed = far.sign(Role::Responder, near.certificate(), &[skrc, skic]);
        let mut theirs = response.keys;
        for at in BEFORE[0]..skrc.len() {
            let mut altered = skrc.clone();
            altered[at] ^= 1;
            assert!(!near.verify(Role::Responder, far.certificate(), &[&altered, skic], &signed), "SKRC {at}");
            let mut keys = initiation.pending.finish(&altered).unwrap();
            assert!(are_strangers(&mut *keys, &mut *theirs), "SKRC {at}");
        }
    }

    /// Somebody on the path takes the option out, so that the session would be classical.
    #[test]
    fn a_downgrade_breaks_the_signature_and_the_keys() {
        let [near, far] = pair();
        let (initiation, response) = halves(&near, &far);
        let (skic, skrc) = (&initiation.component, &response.component);
        // Of the SKIC.
        let stripped = &skic[..BEFORE[1] - 3];
        let signed = near.sign(Role::Initiator, far.certificate(), &[skic]);
        assert!(far.verify(Role::Initiator, near.certificate(), &[skic], &signed));
        assert!(!far.verify(Role::Initiator, near.certificate(), &[stripped], &signed));
        let mut answer = far.respond(near.certificate(), stripped, None, &mut rng(4)).unwrap();
        assert!(!answer.keys.is_post_quantum());
        let signed = far.sign(Role::Responder, near.certificate(), &[&answer.component, stripped]);
        assert!(!near.verify(Role::Responder, far.certificate(), &[&answer.component, skic], &signed));
        let mut keys = initiation.pending.finish(&answer.component).unwrap();
        assert!(are_strangers(&mut *keys, &mut *answer.keys));
        // Of the SKRC.
        let stripped = &skrc[..BEFORE[0] - 3];
        let signed = far.sign(Role::Responder, near.certificate(), &[skrc, skic]);
        assert!(!near.verify(Role::Responder, far.certificate(), &[stripped, skic], &signed));
        let mut keys = initiation.pending.finish(stripped).unwrap();
        let mut theirs: Box<dyn SessionKeys> = response.keys;
        assert!(are_strangers(&mut *keys, &mut *theirs));
        // An end that requires it does not come as far as that.
        let strict = with(1, Hybrid::Required).initiate(far.certificate(), None, &mut rng(3)).unwrap();
        assert_eq!(is_post_quantum(strict.pending.finish(stripped)), Err(KeyingError::ProtectionRefused));
    }

    /// The ciphertext of one session in another.
    #[test]
    fn a_ciphertext_of_another_session_gives_other_keys() {
        let [near, far] = pair();
        let (first, mut response) = halves(&near, &far);
        let second = near.initiate(far.certificate(), None, &mut rng(9)).unwrap();
        let mut keys = second.pending.finish(&response.component).unwrap();
        assert!(are_strangers(&mut *keys, &mut *response.keys));
        let mut keys = first.pending.finish(&response.component).unwrap();
        assert!(!are_strangers(&mut *keys, &mut *response.keys));
    }

    /// Only what will be computed is paid for.
    #[test]
    fn a_hybrid_response_costs_twice_as_much() {
        let [near, far] = pair();
        let component = near.initiate(far.certificate(), None, &mut rng(3)).unwrap().component;
        let cost = |hybrid, component: &[u8]| with(2, hybrid).respond_cost(near.certificate(), component);
        for hybrid in [Hybrid::Offered, Hybrid::Required] {
            assert_eq!([&component[..], &classical(9), b"garbage"].map(|component| cost(hybrid, component)), [2, 1, 1]);
        }
        assert_eq!(cost(Hybrid::Off, &component), 1);
        for length in [0, 1_183, 1_185] {
            let refused = [classical(9), option(0x56, &[1; 1_185][..length])].concat();
            assert_eq!(cost(Hybrid::Required, &refused), 1, "{length}");
        }
    }

    #[test]
    fn debug_shows_nothing_secret() {
        let [near, far] = pair();
        let (initiation, response) = halves(&near, &far);
        let (pending, keys) = (format!("{:?}", initiation.pending), format!("{:?}", response.keys));
        assert!(pending.contains("KemKey { .. }"), "{pending}");
        // What the initiator has drawn: its private key, and the seed.
        let (mut first, mut second) = (rng(3), rng(3));
        let (mut private, mut seed) = ([0; 32], [0; 64]);
        first.fill_bytes(&mut private);
        second.fill_bytes(&mut private);
        assert_eq!(PureRust.x25519_public(&private), initiation.component[2..34]);
        first.fill_bytes(&mut seed);
        assert_eq!(KemKey::generate(&mut second).unwrap().1, initiation.component[BEFORE[1]..]);
        for secret in private.windows(4).chain(seed.windows(4)) {
            let bytes = format!("{secret:?}");
            assert!(!pending.contains(bytes.trim_matches(['[', ']'])), "{bytes} in {pending}");
        }
        // The replay window is empty. No other bytes are shown of the keys.
        let mut lists = keys.split('[').skip(1).filter_map(|rest| rest.split_once(']'));
        assert!(lists.all(|(list, _)| list.split(", ").all(|number| number == "0")), "{keys}");
    }
}
