#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use super::*;
use alloc::vec::Vec;
use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng as _;
use core::convert::Infallible;
use rand_core::{TryCryptoRng, TryRng};

fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

fn words(seed: u8) -> Secret {
    Secret::from(&Words::random(2, &mut rng(seed)))
}

#[test]
fn who_knows_the_words_shares_a_secret_with_who_made_them() {
    let (first, claimed) = claim(&words(1), b"session", &mut rng(2)).unwrap();
    let (second, answered) = answer(&words(1), b"session", &first, &mut rng(3)).unwrap();
    let (third, confirmed) = claimed.on_share(&second).unwrap();
    let (fourth, theirs) = answered.on_confirmation(&third).unwrap();
    let ours = confirmed.on_confirmation(&fourth).unwrap();
    assert_eq!(ours.secret(b"resume"), theirs.secret(b"resume"));
    assert_ne!(ours.secret(b"resume"), ours.secret(b"other"));
    assert_ne!(third, fourth);
}

#[test]
fn secrets_of_different_kinds_are_different() {
    assert_ne!(Secret::password(&[7; 32]).0, Secret::earlier(&[7; 32]).0);
    assert!(!alloc::format!("{:?}", Secret::password(b"swordfish")).contains("swordfish"));
}

/// How far an exchange comes: which end finds out that something is wrong.
fn exchange(claimed_words: &Secret, bindings: [&[u8]; 2]) -> (Option<PakeError>, Confirmation) {
    let [here, there] = bindings;
    let (first, claimed) = claim(claimed_words, here, &mut rng(2)).unwrap();
    let (second, answered) = answer(&words(1), there, &first, &mut rng(3)).unwrap();
    let (third, _) = claimed.on_share(&second).unwrap();
    (answered.on_confirmation(&third).err(), third)
}

#[test]
fn other_words_and_other_sessions_are_noticed_by_the_answering_end_first() {
    assert_eq!(exchange(&words(1), [b"session", b"session"]).0, None);
    assert_eq!(exchange(&words(9), [b"session", b"session"]).0, Some(PakeError::Wrong));
    assert_eq!(exchange(&words(1), [b"session", b"another"]).0, Some(PakeError::Wrong), "one who sits between");
}

#[test]
fn an_answering_end_that_does_not_know_the_words_is_noticed() {
    let (first, claimed) = claim(&words(1), b"session", &mut rng(2)).unwrap();
    let (second, _) = answer(&words(9), b"session", &first, &mut rng(3)).unwrap();
    let (third, confirmed) = claimed.on_share(&second).unwrap();
    // Not even what the claiming end has just sent will do.
    assert_eq!(confirmed.on_confirmation(&third).err(), Some(PakeError::Wrong));
}

#[test]
fn what_is_no_share_and_no_confirmation_is_refused() {
    let neutral = [0; SHARE];
    let no_point = [0xff; SHARE];
    for bad in [&neutral[..], &no_point, &[], &[1; 31], &[1; 33]] {
        assert_eq!(answer(&words(1), b"session", bad, &mut rng(3)).err(), Some(PakeError::BadShare), "{bad:?}");
        let (_, claimed) = claim(&words(1), b"session", &mut rng(2)).unwrap();
        assert_eq!(claimed.on_share(bad).err(), Some(PakeError::BadShare), "{bad:?}");
    }
    for length in [0, 31, 33] {
        let (first, _) = claim(&words(1), b"session", &mut rng(2)).unwrap();
        let (_, answered) = answer(&words(1), b"session", &first, &mut rng(3)).unwrap();
        assert_eq!(answered.on_confirmation(&alloc::vec![0; length]).err(), Some(PakeError::Wrong));
    }
}

/// Gives the scalar of a test vector, as the 64 bytes from which a scalar is reduced.
struct Scripted(Vec<u8>);

impl TryRng for Scripted {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(0)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(0)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.fill(0);
        bytes.iter_mut().zip(self.0.drain(..)).for_each(|(place, byte)| *place = byte);
        Ok(())
    }
}

impl TryCryptoRng for Scripted {}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit.try_into().unwrap()).collect();
    digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect()
}

/// The numbers of draft-irtf-cfrg-cpace-21, appendix B.3.
#[test]
fn the_exchange_is_that_of_the_draft() {
    let (context, sid) = (b"\x0bA_initiator\x0bB_responder", hex("7e4b4791d6a8ef019b936c79fb7f2c57"));
    let scalar = |text| Scripted(hex(text));
    let mut ya = scalar("da3d23700a9e5699258aef94dc060dfda5ebb61f02a5ea77fad53f4ff0976d08");
    let mut yb = scalar("d2316b454718c35362d83d69df6320f38578ed5984651435e2949762d900b80d");
    let begun = CpaceInitiator::<CpaceRistretto255>::start(b"Password", context, &sid, b"ADa", &mut ya);
    let (first, state) = begun.unwrap();
    assert_eq!(first, hex("d6bac480f2c386c394efc7c47adb9925dcd2630b64f240c50f8d0eec482b9157"));
    let mode = CpaceMode::InitiatorResponder;
    let respond = CpaceResponder::<CpaceRistretto255>::respond;
    let (second, theirs) = respond(&first, b"Password", context, &sid, b"ADa", b"ADb", mode, &mut yb).unwrap();
    assert_eq!(second, hex("3ea7e0b19560d7c0b0f5734f63b955286dfa8232b5ebe63324e2d9e7433f7258"));
    let ours = state.finish(&second, b"ADb", mode).unwrap();
    let expected = "b69effbf61b51d56401c0f65601abe428de8206feaaf0e32198896dcae7b35cd\
                    2b38950a39dfd5d4a79164614c2984f7daa460b588c1e80c3fa2068af7900447";
    assert_eq!((ours.isk.as_bytes(), theirs.isk.as_bytes()), (hex(expected).as_slice(), hex(expected).as_slice()));
}
