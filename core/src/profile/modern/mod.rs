//! The modern Cryptography Profile: Ed25519 identities, fresh X25519 keys for each session, and packets under an AEAD.
//!
//! ```
//! # fn example(rng: &mut dyn rtmfp_core::rand_core::CryptoRng) -> Result<(), Box<dyn std::error::Error>> {
//! use rtmfp_core::profile::modern::{Discriminator, Identity, ModernProfile};
//!
//! // A server that clients reach by its address, and whose peer ID they pin.
//! let identity = Identity::generate(rng);
//! let saved = identity.to_bytes(); // be careful with them
//! let server = ModernProfile::builder().identity(identity).accept_ancillary(true).build(rng)?;
//!
//! let pinned = Discriminator::new().peer_id(server.peer_id()).to_bytes();
//!
//! let restored = ModernProfile::builder().identity(Identity::from_bytes(&saved)?).build(rng)?;
//! assert_eq!(restored.peer_id(), server.peer_id());
//! # Ok(())
//! # }
//! ```
//!
//! Optionally, sessions are hybrids: they also agree on keys with ML-KEM-768. See [`Hybrid`], and the feature `ml-kem` of
//! this crate.
//!
//! Its specification is README.md in the directory of this module.

mod agreement;
mod certificate;
mod channel;
mod component;
mod config;
mod discriminator;
mod epoch;
mod header;
mod hybrid;
mod identity;
#[cfg(feature = "ml-kem")]
mod kem;
#[cfg(not(feature = "ml-kem"))]
#[path = "kem_absent.rs"]
mod kem;
mod key_log;
mod options;
mod provider;
mod pure_rust;
mod receiving;
mod schedule;
mod seal;
mod signature;
mod startup;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use rand_core::CryptoRng;

pub use self::certificate::Certificate;
pub use self::channel::Channel;
pub use self::config::Builder;
pub use self::discriminator::Discriminator;
pub use self::hybrid::Hybrid;
pub use self::identity::Identity;
pub use self::provider::{Cipher, NONCE_LEN, PacketCipher, PacketText, Provider, TAG_LEN};
pub use self::pure_rust::PureRust;
pub use super::fingerprint::{Fingerprint, NotAFingerprint};

use self::component::Component;
use self::startup::StartupKeys;
use super::{CryptoProfile, Initiation, KeyLog, KeyingError, PreparedKey, Response, Role, SessionKeys};

/// One near identity under the modern profile. Made by its [`builder`](Self::builder).
#[derive(Debug)]
pub struct ModernProfile {
    identity: Identity,
    certificate: Vec<u8>,
    peer_id: Fingerprint,
    ciphers: Vec<Cipher>,
    hybrid: Hybrid,
    provider: Arc<dyn Provider>,
    key_log: Option<Arc<dyn KeyLog>>,
}

impl ModernProfile {
    /// Begins with the default settings.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The peer ID of the near identity, by which others pin it.
    #[must_use]
    pub const fn peer_id(&self) -> Fingerprint {
        self.peer_id
    }

    /// Whether a certificate is of the near identity, which is never at the far end.
    fn is_own(&self, certificate: &Certificate<'_>) -> bool {
        *certificate.public_key() == self.identity.public_key()
    }
}

impl CryptoProfile for ModernProfile {
    fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Any certificate that follows the syntax: its owner is proved by the signatures.
    fn is_authentic(&self, certificate: &[u8]) -> bool {
        Certificate::parse(certificate).is_ok()
    }

    fn is_discriminator(&self, discriminator: &[u8]) -> bool {
        Discriminator::parse(discriminator).is_ok_and(|parsed| parsed != Discriminator::new())
    }

    fn discriminator_of(&self, name: &[u8; 32]) -> Vec<u8> {
        Discriminator::new().peer_id(Fingerprint(*name)).to_bytes()
    }

    fn selects(&self, discriminator: &[u8], certificate: &[u8]) -> bool {
        match (Discriminator::parse(discriminator), Certificate::parse(certificate)) {
            (Ok(discriminator), Ok(certificate)) => discriminator.selects(&certificate),
            _ => false,
        }
    }

    /// Every certificate except the near identity's. By ancillary data or hostname, somebody on the path could send this
    /// end's own hello back to it.
    fn accepts(&self, _discriminator: &[u8], certificate: &[u8]) -> bool {
        Certificate::parse(certificate).is_ok_and(|far| !self.is_own(&far))
    }

    fn selects_near(&self, discriminator: &[u8]) -> bool {
        match (Discriminator::parse(discriminator), Certificate::parse(&self.certificate)) {
            // Hellos come from anybody: no hash is computed for them.
            (Ok(discriminator), Ok(near)) => discriminator.selects_with(&near, || self.peer_id),
            _ => false,
        }
    }

    /// 34 bytes; empty for what is no certificate.
    fn canonical_discriminator(&self, certificate: &[u8]) -> Vec<u8> {
        Certificate::parse(certificate)
            .map(|certificate| Discriminator::new().peer_id(certificate.peer_id()).to_bytes())
            .unwrap_or_default()
    }

    fn sign(&self, signer: Role, far_certificate: &[u8], message: &[&[u8]]) -> Vec<u8> {
        signature::sign(&self.identity, signer, &self.certificate, far_certificate, message)
    }

    fn verify(&self, signer: Role, far_certificate: &[u8], message: &[&[u8]], signature: &[u8]) -> bool {
        Certificate::parse(far_certificate).is_ok_and(|far| {
            !self.is_own(&far)
                && signature::verify(far.public_key(), signer, far_certificate, &self.certificate, message, signature)
        })
    }

    fn prevails(&self, far_certificate: &[u8]) -> bool {
        Certificate::parse(far_certificate).is_ok_and(|far| self.peer_id < far.peer_id())
    }

    fn overrides(&self, new: &[u8], existing: &[u8]) -> bool {
        match (Certificate::parse(new), Certificate::parse(existing)) {
            // As good as the peer IDs, and nothing is computed.
            (Ok(new), Ok(existing)) => new.public_key() == existing.public_key(),
            _ => false,
        }
    }

    /// The signatures prove it, and the keys depend on both certificates.
    fn keys_prove_owner(&self, certificate: &[u8]) -> bool {
        Certificate::parse(certificate).is_ok()
    }

    fn default_keys(&self) -> Box<dyn SessionKeys> {
        Box::new(StartupKeys::new(&*self.provider))
    }

    fn prepare(&self, rng: &mut dyn CryptoRng) -> Option<PreparedKey> {
        Some(agreement::prepare(&*self.provider, rng))
    }

    fn initiate(
        &self,
        far_certificate: &[u8],
        prepared: Option<PreparedKey>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Initiation, KeyingError> {
        agreement::initiate(self, far_certificate, prepared, rng)
    }

    /// A classical response takes a sixth of a millisecond with the signatures, so a unit is more than it costs. A hybrid
    /// takes 1.6 to 1.9 times as long. It counts as two, so that a flood of either costs the same.
    fn min_cookie(&self) -> usize {
        self.hybrid.min_cookie()
    }

    fn respond_cost(&self, _far_certificate: &[u8], initiator_component: &[u8]) -> u32 {
        1 + u32::from(self.hybrid.is_offered() && Component::offers_hybrid(initiator_component))
    }

    fn respond(
        &self,
        far_certificate: &[u8],
        initiator_component: &[u8],
        prepared: Option<PreparedKey>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Response, KeyingError> {
        agreement::respond(self, far_certificate, initiator_component, prepared, rng)
    }
}

#[cfg(test)]
pub(crate) mod tests;
