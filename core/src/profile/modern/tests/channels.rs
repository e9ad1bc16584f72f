//! Identities that are shown within a session.

use super::oracle::{lv, option, sha};
use super::{Cipher, Identity, agree, profile, with};
use crate::profile::flash::tests::rng;
use crate::profile::modern::{Certificate, Channel, ModernProfile};
use crate::profile::{CryptoProfile, Role, SessionKeys};

fn channel<'a>(keys: &'a dyn SessionKeys, role: Role, near: &ModernProfile, far: &ModernProfile) -> Channel<'a> {
    Channel::new(role, [keys.near_nonce(), keys.far_nonce()], [near.certificate(), far.certificate()]).unwrap()
}

#[test]
fn a_channel_signature_is_for_one_end_of_one_session_and_one_context() {
    let (near, far) = (with(1, Cipher::Aes128Gcm), with(2, Cipher::Aes128Gcm));
    let renamed = profile(2, |builder| builder.hostname(b"other"));
    let lasting = Identity::generate(&mut rng(9));
    let shown = option(0x41, &lasting.public_key());
    let shown = Certificate::parse(&shown).unwrap();
    let (ours, theirs) = agree(&near, &far, 3).unwrap();
    let (other, _) = agree(&near, &far, 4).unwrap();
    let initiator = channel(&*ours, Role::Initiator, &near, &far);
    let responder = channel(&*theirs, Role::Responder, &far, &near);
    for (signer, verifier) in [(&initiator, &responder), (&responder, &initiator)] {
        let signature = signer.sign(&lasting, b"login");
        assert!(verifier.verify(&shown, b"login", &signature));
        assert!(!signer.verify(&shown, b"login", &signature), "reflected");
        assert!(!verifier.verify(&shown, b"logi", &signature) && !verifier.verify(&shown, b"", &signature));
        let somebody = Certificate::parse(near.certificate()).unwrap();
        assert!(!verifier.verify(&somebody, b"login", &signature));
        for at in 0..64 {
            let mut altered = signature;
            altered[at] ^= 1;
            assert!(!verifier.verify(&shown, b"login", &altered), "byte {at}");
        }
        assert!(!verifier.verify(&shown, b"login", &signature[..63]));
    }
    let signature = channel(&*other, Role::Initiator, &near, &far).sign(&lasting, b"login");
    assert!(!responder.verify(&shown, b"login", &signature), "of another session");
    let signature = channel(&*ours, Role::Initiator, &near, &renamed).sign(&lasting, b"login");
    assert!(!responder.verify(&shown, b"login", &signature), "another certificate");
}

#[test]
fn a_channel_signature_covers_what_the_specification_says() {
    use ed25519_dalek::{Signer as _, SigningKey};
    let key = SigningKey::from_bytes(&[7; 32]);
    let identity = Identity::from_bytes(&[7; 32]).unwrap();
    let nonces = [[1; 32], [2; 32]];
    let channel = Channel::new(Role::Responder, [&nonces[1], &nonces[0]], [b"responder's", b"initiator's"]).unwrap();
    let certificates = sha("certificates", &[lv(b"initiator's"), lv(b"responder's")].concat());
    let message =
        [&b"RTMFP modern 1 channel identity\x01"[..], &nonces[0], &nonces[1], &certificates, &[0, 0, 0, 7], b"context"]
            .concat();
    assert_eq!(channel.sign(&identity, b"context"), key.sign(&message).to_bytes());
}

/// Those of a session that is not open, or of another profile.
#[test]
fn nonces_of_another_length_make_no_channel() {
    let good = [1; 32];
    for length in [0, 16, 31, 33] {
        let bad = alloc::vec![1; length];
        assert!(Channel::new(Role::Initiator, [&bad, &good], [b"", b""]).is_err());
        assert!(Channel::new(Role::Initiator, [&good, &bad], [b"", b""]).is_err());
    }
    let channel = Channel::new(Role::Initiator, [&good, &good], [b"", b""]).unwrap();
    assert_eq!(alloc::format!("{channel:?}"), "Channel { near_role: Initiator, .. }");
}
