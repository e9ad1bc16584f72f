//! What a profile is taken to do unless it says otherwise.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::flash::tests::rng;
use super::plain::PlainProfile;
use super::{CryptoProfile, Initiation, KeyingError, PreparedKey, Response, Role, SessionKeys};
use rand_core::CryptoRng;

/// Only what a profile must say.
#[derive(Debug)]
struct Least(PlainProfile);

impl CryptoProfile for Least {
    fn certificate(&self) -> &[u8] {
        self.0.certificate()
    }
    fn is_authentic(&self, certificate: &[u8]) -> bool {
        self.0.is_authentic(certificate)
    }
    fn selects(&self, discriminator: &[u8], certificate: &[u8]) -> bool {
        self.0.selects(discriminator, certificate)
    }
    fn accepts(&self, discriminator: &[u8], certificate: &[u8]) -> bool {
        self.0.accepts(discriminator, certificate)
    }
    fn canonical_discriminator(&self, certificate: &[u8]) -> Vec<u8> {
        self.0.canonical_discriminator(certificate)
    }
    fn sign(&self, signer: Role, far_certificate: &[u8], message: &[&[u8]]) -> Vec<u8> {
        self.0.sign(signer, far_certificate, message)
    }
    fn verify(&self, signer: Role, far_certificate: &[u8], message: &[&[u8]], signature: &[u8]) -> bool {
        self.0.verify(signer, far_certificate, message, signature)
    }
    fn prevails(&self, far_certificate: &[u8]) -> bool {
        self.0.prevails(far_certificate)
    }
    fn overrides(&self, new: &[u8], existing: &[u8]) -> bool {
        self.0.overrides(new, existing)
    }
    fn default_keys(&self) -> Box<dyn SessionKeys> {
        self.0.default_keys()
    }
    fn initiate(
        &self,
        far_certificate: &[u8],
        prepared: Option<PreparedKey>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Initiation, KeyingError> {
        self.0.initiate(far_certificate, prepared, rng)
    }
    fn respond(
        &self,
        far_certificate: &[u8],
        component: &[u8],
        prepared: Option<PreparedKey>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Response, KeyingError> {
        self.0.respond(far_certificate, component, prepared, rng)
    }
}

/// Else anybody who has seen a certificate could end its owner's sessions.
#[test]
fn the_keys_of_a_profile_that_does_not_say_so_prove_nothing() {
    let profile = Least(PlainProfile::new(b"alice").pretend_authentic(true));
    assert!(!profile.keys_prove_owner(b"bob"));
    assert!(profile.is_discriminator(b"bob") && profile.selects_near(b"alice") && !profile.selects_near(b"bob"));
    assert!(profile.prepare(&mut rng(1)).is_none());
    assert_eq!(profile.respond_cost(b"bob", b""), 1);
}
