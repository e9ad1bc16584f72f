//! Whole handshakes and packets, as the oracle makes them and as they are printed in README.md.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use super::oracle::{self, End, Session};
use super::{Identity, ModernProfile};
use crate::profile::flash::tests::{hex, open, seal_all, seal_one};
use crate::profile::modern::agreement::prepare;
use crate::profile::modern::schedule::{self, Schedule};
use crate::profile::modern::seal::ModernKeys;
use crate::profile::modern::{Cipher, Hybrid};
use crate::profile::{CryptoProfile, Initiation, PreparedKey, Response, Role};
use zeroize::Zeroizing;

const INITIATOR: End = End { identity: [1; 32], fresh: [2; 32] };
const RESPONDER: End = End { identity: [3; 32], fresh: [4; 32] };

fn profile(end: &End, cipher: Cipher) -> ModernProfile {
    profile_with(end, &[cipher], Hybrid::Off)
}

fn profile_with(end: &End, ciphers: &[Cipher], hybrid: Hybrid) -> ModernProfile {
    let identity = Identity::from_bytes(&end.identity).unwrap();
    let builder = ModernProfile::builder().identity(identity).ciphers(ciphers).hybrid(hybrid);
    builder.build(&mut crate::profile::flash::tests::rng(1)).unwrap()
}

fn fresh(end: &End) -> Option<PreparedKey> {
    let made = prepare(&crate::profile::modern::PureRust, &mut crate::profile::flash::tests::rng(1));
    let public = x25519_dalek::x25519(end.fresh, x25519_dalek::X25519_BASEPOINT_BYTES).to_vec();
    Some(PreparedKey { kind: made.kind, private: Zeroizing::new(end.fresh.to_vec()), public })
}

/// The profile's session of these two.
fn session(cipher: Cipher) -> (Initiation, Response) {
    session_of(&profile(&INITIATOR, cipher), &profile(&RESPONDER, cipher))
}

fn session_of(near: &ModernProfile, far: &ModernProfile) -> (Initiation, Response) {
    let mut rng = crate::profile::flash::tests::rng(1);
    let initiation = near.initiate(far.certificate(), fresh(&INITIATOR), &mut rng).unwrap();
    let response = far.respond(near.certificate(), &initiation.component, fresh(&RESPONDER), &mut rng).unwrap();
    (initiation, response)
}

#[test]
fn the_handshake_is_the_oracle_s() {
    for cipher in Cipher::ALL {
        let (near, far) = (profile(&INITIATOR, cipher), profile(&RESPONDER, cipher));
        assert_eq!(near.certificate(), INITIATOR.certificate());
        let key = &INITIATOR.certificate()[2..];
        assert_eq!(near.peer_id().0, oracle::sha("peer ID", key));
        assert_eq!(near.canonical_discriminator(near.certificate()), oracle::option(0x4f, &near.peer_id().0));
        let (initiation, response) = session(cipher);
        assert_eq!(initiation.component, INITIATOR.component(&[cipher.id()]));
        assert_eq!(response.component, RESPONDER.component(&[cipher.id()]));
        let theirs = Session::new(&INITIATOR, &RESPONDER, &[cipher.id()], cipher.id());
        let ours = initiation.pending.finish(&response.component).unwrap();
        assert_eq!([ours.near_nonce(), ours.far_nonce()], [&theirs.nonces[0][..], &theirs.nonces[1]]);
        let message: &[&[u8]] = &[b"signed ", b"parameters"];
        for (role, text, signer, profiles) in [
            (Role::Initiator, "initiator", &INITIATOR, [&near, &far]),
            (Role::Responder, "responder", &RESPONDER, [&far, &near]),
        ] {
            let [signs, verifies] = profiles;
            let signature = oracle::signature(signer, text, &theirs.certificates, &message.concat());
            assert_eq!(signs.sign(role, verifies.certificate(), message), signature);
            assert!(verifies.verify(role, signs.certificate(), message, &signature));
        }
    }
}

#[test]
fn packets_are_the_oracle_s() {
    for cipher in Cipher::ALL {
        let theirs = Session::new(&INITIATOR, &RESPONDER, &[cipher.id()], cipher.id());
        let (initiation, mut response) = session(cipher);
        let mut initiator = initiation.pending.finish(&response.component).unwrap();
        let plains: Vec<Vec<u8>> = (0..40).map(|length| (0..length).collect()).collect();
        let plains: Vec<&[u8]> = plains.iter().map(Vec::as_slice).collect();
        for (sender, keys) in [(0, &mut initiator), (1, &mut response.keys)] {
            let sealed = seal_all(&mut **keys, &plains);
            for ((sealed, plain), counter) in sealed.iter().zip(&plains).zip(0..) {
                assert_eq!(*sealed, theirs.packet(sender, counter, plain), "{cipher:?} {counter}");
            }
        }
        for counter in [1_000, 4_194_303, 4_194_304, 4_194_310, 2 * 4_194_304] {
            let packet = theirs.packet(1, counter, b"far ahead");
            assert_eq!(open(&mut *initiator, &packet).as_deref(), Ok(&b"far ahead"[..]), "{counter}");
        }
    }
}

/// Straight to an epoch that no test could reach packet by packet.
#[test]
fn late_epochs_are_the_oracle_s() {
    let theirs = Session::new(&INITIATOR, &RESPONDER, &[1], 1);
    let (initiation, response) = session(Cipher::Aes128Gcm);
    drop(initiation.pending.finish(&response.component).unwrap());
    for counter in [3 * 4_194_304 + 5, (1 << 32) - 1, 1 << 32] {
        let mut keys = modern_keys(Cipher::Aes128Gcm);
        keys.sending.next = counter;
        assert_eq!(seal_one(&mut keys, b"late"), theirs.packet(0, counter, b"late"), "{counter}");
    }
}

/// The profile's transcript hash of the session with these components, and the shared secret.
fn agreed(skic: &[u8], skrc: &[u8]) -> ([u8; 32], [u8; 32]) {
    let certificates = schedule::certificates(&INITIATOR.certificate(), &RESPONDER.certificate());
    let far = x25519_dalek::x25519(RESPONDER.fresh, x25519_dalek::X25519_BASEPOINT_BYTES);
    (schedule::transcript(&certificates, skic, skrc), x25519_dalek::x25519(INITIATOR.fresh, far))
}

/// The initiator's.
fn modern_keys(cipher: Cipher) -> ModernKeys {
    let (transcript, shared) = agreed(&INITIATOR.component(&[cipher.id()]), &RESPONDER.component(&[cipher.id()]));
    let schedule = Schedule::new(&transcript, None, &shared);
    ModernKeys::new(&(alloc::sync::Arc::new(crate::profile::modern::PureRust) as _), cipher, Role::Initiator, &schedule)
}

#[test]
fn startup_packets_are_the_oracle_s() {
    let mut keys = profile(&INITIATOR, Cipher::Aes128Gcm).default_keys();
    let sealed = seal_one(&mut *keys, b"hello");
    assert_eq!(sealed, oracle::startup(b"hello"));
    assert_eq!(open(&mut *keys, &sealed).unwrap(), b"hello");
    assert!(!keys.authenticates() && keys.near_nonce().is_empty() && keys.far_nonce().is_empty());
}

#[cfg(not(feature = "ml-kem"))]
fn put_hybrid(_: &mut dyn FnMut(&str, &[u8])) {}

/// The session of these two with ML-KEM.
#[cfg(feature = "ml-kem")]
fn put_hybrid(put: &mut dyn FnMut(&str, &[u8])) {
    use sha2::{Digest as _, Sha256};
    let [skic, skrc, secret] = Session::hybrid([&INITIATOR, &RESPONDER], 1, [5; 64], [6; 32]).1;
    let (initiation, mut response) = hybrid_session(Cipher::Aes128Gcm);
    assert_eq!([&initiation.component, &response.component], [&skic, &skrc]);
    let mut initiator = initiation.pending.finish(&response.component).unwrap();
    put("SHA-256 of SKIC", &Sha256::digest(&initiation.component));
    put("SHA-256 of SKRC", &Sha256::digest(&response.component));
    put("ML-KEM secret", &secret);
    put("nonce I", initiator.near_nonce());
    put("nonce R", initiator.far_nonce());
    put("packet I 0", &seal_one(&mut *initiator, b"RTMFP"));
    put("packet R 0", &seal_one(&mut *response.keys, b"RTMFP"));
}

/// Gives nothing but this byte.
#[cfg(feature = "ml-kem")]
struct Always(u8);

#[cfg(feature = "ml-kem")]
impl rand_core::TryRng for Always {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(u32::from_ne_bytes([self.0; 4]))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(u64::from_ne_bytes([self.0; 8]))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        out.fill(self.0);
        Ok(())
    }
}

#[cfg(feature = "ml-kem")]
impl rand_core::TryCryptoRng for Always {}

/// The same with ML-KEM: its private seed is 64 bytes 0x05, and the message 32 bytes 0x06. Neither has another source than
/// the generator that is given.
#[cfg(feature = "ml-kem")]
fn hybrid_session(cipher: Cipher) -> (Initiation, Response) {
    let [near, far] = [&INITIATOR, &RESPONDER].map(|end| profile_with(end, &[cipher], Hybrid::Required));
    let initiation = near.initiate(far.certificate(), fresh(&INITIATOR), &mut Always(5)).unwrap();
    let prepared = fresh(&RESPONDER);
    let response = far.respond(near.certificate(), &initiation.component, prepared, &mut Always(6)).unwrap();
    (initiation, response)
}

#[cfg(feature = "ml-kem")]
#[test]
fn the_hybrid_handshake_is_the_oracle_s() {
    for cipher in Cipher::ALL {
        let (theirs, [skic, skrc, secret]) = Session::hybrid([&INITIATOR, &RESPONDER], cipher.id(), [5; 64], [6; 32]);
        let (initiation, mut response) = hybrid_session(cipher);
        assert_eq!([&initiation.component, &response.component], [&skic, &skrc]);
        let mut initiator = initiation.pending.finish(&skrc).unwrap();
        assert_eq!([initiator.near_nonce(), initiator.far_nonce()], [&theirs.nonces[0][..], &theirs.nonces[1]]);
        assert_eq!(seal_one(&mut *initiator, b"hybrid"), theirs.packet(0, 0, b"hybrid"));
        assert_eq!(seal_one(&mut *response.keys, b"hybrid"), theirs.packet(1, 0, b"hybrid"));
        // Neither secret alone gives the keys, nor do both in the other order.
        let session = |ml_kem: &[u8]| Session::of(&INITIATOR, &RESPONDER, &skic, &skrc, ml_kem, cipher.id());
        assert_eq!(session(&secret).header, theirs.header);
        assert_ne!(session(&[]).header, theirs.header);
        assert_ne!(session(&[0; 32]).header, theirs.header);
    }
}

/// Transcript hash and pseudorandom key, as both implementations have them.
fn put_schedule(put: &mut dyn FnMut(&str, &[u8]), theirs: &Session, skic: &[u8], skrc: &[u8]) {
    let (transcript, shared) = agreed(skic, skrc);
    let prk = schedule::extract(&transcript, &[&shared]);
    assert_eq!((transcript, &prk[..]), (theirs.transcript, &theirs.prk[..]));
    put("T", &transcript);
    put("PRK", &*prk);
}

/// The session of these two with one of several ciphers.
fn put_choice(put: &mut dyn FnMut(&str, &[u8])) {
    use Cipher::{Aes128Gcm, Aes256Gcm, ChaCha20Poly1305};
    let near = profile_with(&INITIATOR, &[Aes128Gcm, ChaCha20Poly1305, Aes256Gcm], Hybrid::Off);
    let far = profile_with(&RESPONDER, &[Aes256Gcm, Aes128Gcm], Hybrid::Off);
    let (initiation, response) = session_of(&near, &far);
    let mut initiator = initiation.pending.finish(&response.component).unwrap();
    let theirs = Session::new(&INITIATOR, &RESPONDER, &[1, 3, 2], 2);
    put("SKIC", &initiation.component);
    put("SKRC", &response.component);
    assert_eq!(initiation.component, INITIATOR.component(&[1, 3, 2]));
    assert_eq!(response.component, RESPONDER.component(&[2]));
    put_schedule(put, &theirs, &initiation.component, &response.component);
    let packet = seal_one(&mut *initiator, b"RTMFP");
    assert_eq!(packet, theirs.packet(0, 0, b"RTMFP"));
    put("packet I 0", &packet);
}

/// The vectors of README.md: a change of them is another protocol.
#[test]
fn the_printed_vectors() {
    let mut text = String::new();
    let mut put = |name: &str, bytes: &[u8]| {
        write!(text, "{name:<22}").unwrap();
        bytes.iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
        text.push('\n');
    };
    let near = profile(&INITIATOR, Cipher::Aes128Gcm);
    put("certificate I", &INITIATOR.certificate());
    put("peer ID I", &near.peer_id().0);
    put("certificate R", &RESPONDER.certificate());
    for cipher in Cipher::ALL {
        let (id, parameters) = (cipher.id(), hex("00010203"));
        let (initiation, mut response) = session(cipher);
        let mut initiator = initiation.pending.finish(&response.component).unwrap();
        let theirs = Session::new(&INITIATOR, &RESPONDER, &[id], id);
        put("SKIC", &initiation.component);
        put("SKRC", &response.component);
        if id == 1 {
            let (far, parameters_r) = (profile(&RESPONDER, cipher), hex("04050607"));
            put("C", &theirs.certificates);
            put("signature I", &near.sign(Role::Initiator, far.certificate(), &[&parameters]));
            let signed: [&[u8]; 2] = [&parameters_r, &initiation.component];
            let signature = oracle::signature(&RESPONDER, "responder", &theirs.certificates, &signed.concat());
            put("signature R", &signature);
            assert_eq!(far.sign(Role::Responder, near.certificate(), &signed), signature);
        }
        put_schedule(&mut put, &theirs, &initiation.component, &response.component);
        put("nonce I", initiator.near_nonce());
        put("nonce R", initiator.far_nonce());
        put("header", &theirs.header);
        put("packet I 0", &seal_one(&mut *initiator, b"RTMFP"));
        put("packet R 0", &seal_one(&mut *response.keys, b"RTMFP"));
        let mut late = modern_keys(cipher);
        late.sending.next = 4_194_304;
        put("packet I 4194304", &seal_one(&mut late, b"RTMFP"));
        late.sending.next = (1 << 32) + 5;
        let latest = seal_one(&mut late, b"RTMFP");
        assert_eq!(latest, theirs.packet(0, 4_294_967_301, b"RTMFP"));
        put("packet I 4294967301", &latest);
    }
    put_choice(&mut put);
    put_hybrid(&mut put);
    let mut startup = near.default_keys();
    put("startup packet", &seal_one(&mut *startup, b"RTMFP"));
    let readme = include_str!("../README.md");
    let printed: Vec<&str> = readme.lines().skip_while(|line| *line != "```vectors").skip(1).collect();
    let printed = printed.into_iter().take_while(|line| *line != "```");
    if cfg!(feature = "ml-kem") {
        assert!(printed.eq(text.lines()), "README.md should have:\n{text}");
    } else {
        let printed: Vec<&str> = printed.collect();
        assert!(text.lines().all(|line| printed.contains(&line)), "README.md should have:\n{text}");
    }
}
