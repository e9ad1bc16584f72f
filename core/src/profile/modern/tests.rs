//! The profile as a whole, through its traits.

mod channels;
mod handshakes;
mod hybrid;
mod identities;
mod known_answers;
mod oracle;
mod packets;
mod vectors;

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use super::{Builder, Cipher, Identity, ModernProfile};
use crate::profile::flash::tests::{open, rng, seal_one};
use crate::profile::{CryptoProfile, KeyingError, SessionKeys};

/// The profile of an identity that the seed makes.
pub(crate) fn profile(seed: u64, set: impl FnOnce(Builder) -> Builder) -> ModernProfile {
    let mut rng = rng(seed);
    set(ModernProfile::builder().identity(Identity::generate(&mut rng))).build(&mut rng).unwrap()
}

/// With one cipher.
fn with(seed: u64, cipher: Cipher) -> ModernProfile {
    profile(seed, |builder| builder.ciphers(&[cipher]))
}

/// The keys of both ends of a session.
type Ends = (Box<dyn SessionKeys>, Box<dyn SessionKeys>);

/// A whole key agreement.
fn agree(initiator: &ModernProfile, responder: &ModernProfile, seed: u64) -> Result<Ends, KeyingError> {
    let mut rng = rng(seed);
    let initiation = initiator.initiate(responder.certificate(), None, &mut rng)?;
    let response = responder.respond(initiator.certificate(), &initiation.component, None, &mut rng)?;
    Ok((initiation.pending.finish(&response.component)?, response.keys))
}

/// Sends packets both ways.
fn converse(ends: &mut Ends) {
    for round in 0..3 {
        let plain: Vec<u8> = vec![round; 20 * usize::from(round) + 1];
        let (initiator, responder) = (&mut *ends.0, &mut *ends.1);
        let sealed = seal_one(initiator, &plain);
        assert_eq!(open(responder, &sealed).unwrap(), plain);
        let sealed = seal_one(responder, &plain);
        assert_eq!(open(initiator, &sealed).unwrap(), plain);
    }
}

#[test]
fn two_ends_have_the_same_keys_and_nonces_with_every_cipher() {
    for cipher in Cipher::ALL {
        let (near, far) = (with(1, cipher), with(2, cipher));
        let mut ends = agree(&near, &far, 3).unwrap();
        assert_eq!(ends.0.near_nonce(), ends.1.far_nonce());
        assert_eq!(ends.0.far_nonce(), ends.1.near_nonce());
        assert_ne!(ends.0.near_nonce(), ends.0.far_nonce());
        assert_eq!(ends.0.near_nonce().len(), 32);
        assert!(ends.0.authenticates() && ends.1.authenticates());
        converse(&mut ends);
        let other = agree(&near, &far, 4).unwrap();
        assert_ne!(ends.0.near_nonce(), other.0.near_nonce(), "every session has its own keys");
    }
}
