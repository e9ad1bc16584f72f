//! What signatures and keys are bound to.

extern crate std;

use self::std::sync::Mutex;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::oracle::{expand, option};
use super::{Cipher, agree, converse, profile, with};
use crate::profile::flash::tests::{hex, open, rng, seal_one};
use crate::profile::modern::ModernProfile;
use crate::profile::modern::component::encode;
use crate::profile::{CryptoProfile, KeyLog, KeyingError, PacketError, Role};

const MESSAGE: &[&[u8]] = &[b"session ID and cookie", b"component"];

fn three() -> [ModernProfile; 3] {
    [1, 2, 3].map(|seed| profile(seed, |builder| builder))
}

#[test]
fn a_signature_is_for_its_role_its_message_and_both_certificates() {
    let [near, far, other] = three();
    let renamed = profile(2, |builder| builder.hostname(b"other"));
    let signature = near.sign(Role::Initiator, far.certificate(), MESSAGE);
    assert_eq!(signature.len(), 64);
    assert!(far.verify(Role::Initiator, near.certificate(), MESSAGE, &signature));
    assert!(!far.verify(Role::Responder, near.certificate(), MESSAGE, &signature), "another role");
    assert!(!other.verify(Role::Initiator, near.certificate(), MESSAGE, &signature), "for somebody else");
    assert!(!renamed.verify(Role::Initiator, near.certificate(), MESSAGE, &signature), "another certificate");
    assert!(!far.verify(Role::Initiator, other.certificate(), MESSAGE, &signature), "of somebody else");
    let same_key = profile(1, |builder| builder.hostname(b"other"));
    assert!(!far.verify(Role::Initiator, same_key.certificate(), MESSAGE, &signature), "another certificate");
    assert!(!far.verify(Role::Initiator, near.certificate(), &[b"another message"], &signature));
    let joined = MESSAGE.concat();
    assert!(far.verify(Role::Initiator, near.certificate(), &[&joined], &signature), "however it is cut");
    for at in 0..64 {
        for bit in [1, 0x80] {
            let mut altered = signature.clone();
            altered[at] ^= bit;
            assert!(!far.verify(Role::Initiator, near.certificate(), MESSAGE, &altered), "byte {at}");
        }
    }
    for length in [0, 1, 63, 65] {
        let mut cut = signature.clone();
        cut.resize(length, 0);
        assert!(!far.verify(Role::Initiator, near.certificate(), MESSAGE, &cut));
    }
}

/// Sent back to who made it, in either role.
#[test]
fn a_reflected_signature_is_refused() {
    let [near, far, _] = three();
    for role in [Role::Initiator, Role::Responder] {
        for to in [&near, &far] {
            let signature = near.sign(role, to.certificate(), MESSAGE);
            for claimed in [Role::Initiator, Role::Responder] {
                assert!(!near.verify(claimed, near.certificate(), MESSAGE, &signature));
                assert!(!near.verify(claimed, far.certificate(), MESSAGE, &signature));
            }
        }
    }
}

/// Under an identity of small order one signature is valid for many messages, unless verification is strict.
#[test]
fn identities_of_small_order_sign_nothing() {
    let far = profile(2, |builder| builder);
    for order in [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    ] {
        let key = hex(order);
        let certificate = option(0x41, &key);
        for first in [&key, &hex("0100000000000000000000000000000000000000000000000000000000000000")] {
            let signature = [first.as_slice(), &[0; 32]].concat();
            for message in 0..64_u8 {
                assert!(!far.verify(Role::Initiator, &certificate, &[&[message]], &signature), "{order}");
            }
        }
    }
    assert!(!far.verify(Role::Initiator, &option(0x41, &[0xff; 32]), MESSAGE, &[1; 64]), "no point at all");
}

#[test]
fn public_keys_of_small_order_are_refused_at_both_ends() {
    let [near, far, _] = three();
    for point in [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000080",
    ] {
        let component = encode(hex(point).as_slice().try_into().unwrap(), &[Cipher::Aes128Gcm], None);
        let refused = Err(KeyingError::BadPublicKey);
        assert_eq!(far.respond(near.certificate(), &component, None, &mut rng(1)).map(|_| ()), refused, "{point}");
        let pending = near.initiate(far.certificate(), None, &mut rng(2)).unwrap().pending;
        assert_eq!(pending.finish(&component).map(|_| ()), refused, "{point}");
    }
}

/// Somebody between the ends, who shows one of them another certificate, changes a component, or swaps the roles.
#[test]
fn keys_are_bound_to_certificates_components_and_roles() {
    let [near, far, other] = three();
    let exchange = |initiator: &ModernProfile, to: &ModernProfile, responder: &ModernProfile, from: &ModernProfile| {
        let initiation = initiator.initiate(to.certificate(), None, &mut rng(7)).unwrap();
        let response = responder.respond(from.certificate(), &initiation.component, None, &mut rng(8)).unwrap();
        (initiation.pending.finish(&response.component).unwrap(), response.keys)
    };
    converse(&mut exchange(&near, &far, &far, &near));
    for (mut initiator, mut responder) in
        [exchange(&near, &other, &far, &near), exchange(&near, &far, &far, &other), exchange(&near, &near, &far, &far)]
    {
        let refused = Err(PacketError::NotAuthentic);
        assert_eq!(open(&mut *responder, &seal_one(&mut *initiator, b"plain")), refused);
        assert_eq!(open(&mut *initiator, &seal_one(&mut *responder, b"plain")), refused);
        assert_ne!(initiator.near_nonce(), responder.far_nonce());
    }
    let initiation = near.initiate(far.certificate(), None, &mut rng(7)).unwrap();
    let with_more = [&initiation.component[..], &option(0x7e, b"ignored")].concat();
    let mut response = far.respond(near.certificate(), &with_more, None, &mut rng(8)).unwrap();
    let mut keys = initiation.pending.finish(&response.component).unwrap();
    assert!(open(&mut *response.keys, &seal_one(&mut *keys, b"plain")).is_err(), "an option was added on the way");
    let mut again = initiation.pending.finish(&[&response.component[..], &option(0x7e, b"")].concat()).unwrap();
    assert!(open(&mut *response.keys, &seal_one(&mut *again, b"plain")).is_err());
}

#[test]
fn components_follow_the_syntax() {
    let [near, far, _] = three();
    let (key, ciphers) = (option(0x51, &[9; 32]), option(0x53, &[1]));
    for (component, result) in [
        ([&key[..], &ciphers].concat(), Ok(())),
        ([&ciphers[..], &key, &option(0x50, b"ignored")].concat(), Ok(())),
        ([&key[..], &option(0x53, &[0x77, 1, 0x78])].concat(), Ok(())),
        (key.clone(), Err(KeyingError::Malformed)),
        (ciphers.clone(), Err(KeyingError::Malformed)),
        (vec![], Err(KeyingError::Malformed)),
        ([&key[..], &key, &ciphers].concat(), Err(KeyingError::Malformed)),
        ([&key[..], &ciphers, &ciphers].concat(), Err(KeyingError::Malformed)),
        ([&option(0x51, &[9; 31])[..], &ciphers].concat(), Err(KeyingError::Malformed)),
        ([&option(0x51, &[9; 33])[..], &ciphers].concat(), Err(KeyingError::Malformed)),
        ([&key[..], &option(0x53, &[])].concat(), Err(KeyingError::Malformed)),
        ([&key[..], &option(0x53, &[1; 17])].concat(), Err(KeyingError::Malformed)),
        ([&key[..], &ciphers, &option(0x59, b"critical")].concat(), Err(KeyingError::Malformed)),
        ([&key[..], &ciphers, &[0]].concat(), Err(KeyingError::Malformed)),
        ([&key[..], &ciphers, &[9]].concat(), Err(KeyingError::Malformed)),
        ([&key[..], &option(0x53, &[0x77])].concat(), Err(KeyingError::NothingInCommon)),
    ] {
        let answered = far.respond(near.certificate(), &component, None, &mut rng(1)).map(|_| ());
        assert_eq!(answered, result, "{component:x?}");
        let pending = near.initiate(far.certificate(), None, &mut rng(2)).unwrap().pending;
        let finished = pending.finish(&component).map(|_| ());
        assert!(finished == result || component.len() == key.len() + 5 && finished == Err(KeyingError::Malformed));
        // A refusal spoils nothing.
        assert!(pending.finish(&[&key[..], &ciphers].concat()).is_ok());
    }
}

#[test]
fn ciphers_are_negotiated() {
    use Cipher::{Aes128Gcm, Aes256Gcm, ChaCha20Poly1305};
    let chosen = |near: &[Cipher], far: &[Cipher]| {
        let near = profile(1, |builder| builder.ciphers(near));
        let far = profile(2, |builder| builder.ciphers(far));
        let initiation = near.initiate(far.certificate(), None, &mut rng(3))?;
        let response = far.respond(near.certificate(), &initiation.component, None, &mut rng(4))?;
        converse(&mut (initiation.pending.finish(&response.component)?, response.keys));
        Ok(Cipher::from_id(*response.component.last().unwrap()).unwrap())
    };
    let with_aes = [Aes128Gcm, Aes256Gcm, ChaCha20Poly1305];
    let without = [ChaCha20Poly1305, Aes128Gcm, Aes256Gcm];
    assert_eq!(chosen(&with_aes, &with_aes), Ok(Aes128Gcm));
    assert_eq!(chosen(&without, &with_aes), Ok(ChaCha20Poly1305));
    assert_eq!(chosen(&with_aes, &without), Ok(ChaCha20Poly1305));
    assert_eq!(chosen(&with_aes, &[Aes256Gcm, Aes128Gcm]), Ok(Aes256Gcm), "the responder's order");
    assert_eq!(chosen(&without, &[Aes256Gcm, Aes128Gcm]), Ok(Aes128Gcm), "the initiator's");
    assert_eq!(chosen(&[Aes128Gcm], &[Aes256Gcm]), Err(KeyingError::NothingInCommon));
    let far = with(2, Aes128Gcm);
    let pending = with(1, Aes256Gcm).initiate(far.certificate(), None, &mut rng(1)).unwrap().pending;
    let answer = encode(&[9; 32], &[Aes128Gcm], None);
    assert_eq!(pending.finish(&answer).map(|_| ()), Err(KeyingError::NothingInCommon), "it was not offered");
}

/// It takes the place of a fresh one, to the byte, if it is of this profile.
#[test]
fn a_prepared_key_is_the_session_s_key() {
    let [near, far, _] = three();
    let [first, second] = [1, 2].map(|seed| near.prepare(&mut rng(seed)).unwrap());
    let publics = [option(0x51, &first.public), option(0x51, &second.public)];
    assert_ne!(publics[0], publics[1]);
    let initiation = near.initiate(far.certificate(), Some(first), &mut rng(3)).unwrap();
    let response = far.respond(near.certificate(), &initiation.component, Some(second), &mut rng(4)).unwrap();
    assert!(initiation.component.starts_with(&publics[0]) && response.component.starts_with(&publics[1]));
    converse(&mut (initiation.pending.finish(&response.component).unwrap(), response.keys));
    let mut foreign = near.prepare(&mut rng(5)).unwrap();
    foreign.kind = 14;
    let initiation = near.initiate(far.certificate(), Some(foreign), &mut rng(6)).unwrap();
    assert!(!initiation.component.starts_with(&option(0x51, &near.prepare(&mut rng(5)).unwrap().public)));
}

#[derive(Debug, Default)]
struct Lines(Mutex<Vec<String>>);

impl KeyLog for Lines {
    fn log(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_string());
    }
}

/// Both ends write the same line, and it is enough to open the first packet of each.
#[test]
fn a_key_log_has_what_opens_packets() {
    let log = Arc::new(Lines::default());
    let [near, far] = [1, 2]
        .map(|seed| profile(seed, |builder| builder.key_log(Arc::clone(&log) as _).ciphers(&[Cipher::Aes128Gcm])));
    let mut ends = agree(&near, &far, 3).unwrap();
    let lines = log.0.lock().unwrap();
    let [one, two] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!(one, two);
    let fields: Vec<&str> = one.split(' ').collect();
    let ["RTMFP_MODERN", session, "1", "H", header, "I", initiator, "R", responder] = fields[..] else {
        panic!("{one}")
    };
    assert_eq!((session.len(), header.len()), (64, 64));
    for (keys, secret) in [(&mut ends.0, initiator), (&mut ends.1, responder)] {
        let sealed = seal_one(&mut **keys, b"plain");
        let key: [u8; 16] = expand(&hex(secret), "key", 16).try_into().unwrap();
        let nonce: [u8; 12] = expand(&hex(secret), "iv", 12).try_into().unwrap();
        let mut text = sealed[4..].to_vec();
        let cipher = crate::profile::modern::Provider::cipher(
            &crate::profile::modern::PureRust,
            Cipher::Aes128Gcm,
            &[key, key].concat().try_into().unwrap(),
        );
        assert!(cipher.open(crate::profile::modern::PacketText { nonce, text: &mut text }));
        assert_eq!(&text[..5], b"plain");
    }
}
