//! The Cryptography Profile for Flash communication (RFC 7425 §4): Diffie-Hellman key agreement, AES-128-CBC, and
//! HMAC-SHA256 or a simple checksum.
//!
//! ```
//! # fn example(rng: &mut dyn rtmfp_core::rand_core::CryptoRng) -> Result<(), Box<dyn std::error::Error>> {
//! use rtmfp_core::profile::flash::{FlashProfile, Group, StaticKeys};
//!
//! // A server that clients reach by its URI, with a new certificate at each start.
//! let server = FlashProfile::builder().accept_ancillary(true).build(rng)?;
//!
//! // A peer that keeps its identity: save the bytes of its keys, and be careful with them.
//! let keys = StaticKeys::generate(&[Group::Modp2048], rng);
//! let saved = keys.to_bytes();
//! let peer = FlashProfile::builder().static_keys(keys).build(rng)?;
//!
//! let restored = FlashProfile::builder().static_keys(StaticKeys::from_bytes(&saved)?).build(rng)?;
//! assert_eq!(restored.fingerprint(), peer.fingerprint());
//! # Ok(())
//! # }
//! ```

mod agreement;
mod certificate;
mod cipher;
mod comb;
mod component;
mod config;
mod derive;
mod dh;
mod discriminator;
mod groups;
mod key_log;
mod keys;
mod negotiation;
mod seal;
mod signature;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use rand_core::CryptoRng;

pub use super::fingerprint::{Fingerprint, NotAFingerprint};
pub use super::key_log::KeyLog;
pub use certificate::{Certificate, KeyKind};
pub use config::Builder;
pub use discriminator::Discriminator;
pub use groups::Group;
pub use keys::StaticKeys;
pub use negotiation::{Protection, Receiving, Sending};
pub use zeroize::Zeroizing;

use self::keys::Keys;
use self::negotiation::Rules;
use self::seal::FlashKeys;
use self::signature::Password;
use super::{CryptoProfile, Initiation, KeyingError, PreparedKey, Response, Role, SessionKeys};

/// One near identity under the Flash profile. Made by its [`builder`](Self::builder).
#[derive(Debug)]
pub struct FlashProfile {
    certificate: Vec<u8>,
    fingerprint: Fingerprint,
    keys: Keys,
    rules: Rules,
    signing: Vec<Password>,
    accepted: Vec<Password>,
    signature_required: bool,
    ephemeral_fingerprints: bool,
    key_log: Option<Arc<dyn KeyLog>>,
}

impl FlashProfile {
    /// Begins with the default settings.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The fingerprint of the near certificate, also called the peer ID (RFC 7425 §4.3.2). Others can pin it if the
    /// certificate has [static keys](Self::has_static_keys); without them it proves nothing, because anybody can copy
    /// the certificate.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Whether the near certificate has static keys, so that a session proves to own it (RFC 7425 §4.3.4).
    #[must_use]
    pub const fn has_static_keys(&self) -> bool {
        matches!(self.keys, Keys::Static(_))
    }
}

impl CryptoProfile for FlashProfile {
    fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Any properly encoded certificate is authentic (RFC 7425 §4.3.4).
    fn is_authentic(&self, certificate: &[u8]) -> bool {
        Certificate::parse(certificate).is_ok()
    }

    fn is_discriminator(&self, discriminator: &[u8]) -> bool {
        Discriminator::parse(discriminator).is_ok_and(|parsed| parsed != Discriminator::new())
    }

    fn discriminator_of(&self, name: &[u8; 32]) -> Vec<u8> {
        Discriminator::new().fingerprint(Fingerprint(*name)).to_bytes()
    }

    fn selects(&self, discriminator: &[u8], certificate: &[u8]) -> bool {
        match (Discriminator::parse(discriminator), Certificate::parse(certificate)) {
            (Ok(discriminator), Ok(certificate)) => discriminator.selects(&certificate),
            _ => false,
        }
    }

    /// A certificate is no secret. What proves its owner is in the keys of the session: static keys prove who has the
    /// fingerprint of their certificate (RFC 7425 §4.3.4), and a signature proves who has the password.
    ///
    /// * With a fingerprint in the discriminator, the certificate must have static keys. Anybody can show a copy of one
    ///   that has none, with fresh keys of his own. [`allow_ephemeral_fingerprints`] lifts this.
    /// * Without one, and if signatures are required, it must not have them. A responder's signature covers both keying
    ///   components, but not its certificate, so a man in the middle could put his own static key there.
    ///
    /// [`allow_ephemeral_fingerprints`]: Builder::allow_ephemeral_fingerprints
    fn accepts(&self, discriminator: &[u8], certificate: &[u8]) -> bool {
        let (Ok(discriminator), Ok(far)) = (Discriminator::parse(discriminator), Certificate::parse(certificate))
        else {
            return false;
        };
        let pinned = discriminator.required_fingerprint().is_some();
        match far.key_kind() {
            Some(KeyKind::Static) => pinned || !self.signature_required,
            Some(KeyKind::Ephemeral) => !pinned || self.ephemeral_fingerprints,
            // There is no group to agree in.
            None => true,
        }
    }

    fn selects_near(&self, discriminator: &[u8]) -> bool {
        match (Discriminator::parse(discriminator), Certificate::parse(&self.certificate)) {
            // Hellos come from anybody: no hash is computed for them.
            (Ok(discriminator), Ok(near)) => discriminator.selects_with(&near, || self.fingerprint),
            _ => false,
        }
    }

    /// 34 bytes (RFC 7425 §4.4.4); empty for what is no certificate.
    fn canonical_discriminator(&self, certificate: &[u8]) -> Vec<u8> {
        Certificate::parse(certificate)
            .map(|certificate| Discriminator::new().fingerprint(certificate.fingerprint()).to_bytes())
            .unwrap_or_default()
    }

    fn sign(&self, _signer: Role, _far_certificate: &[u8], message: &[&[u8]]) -> Vec<u8> {
        signature::sign(&self.signing, message)
    }

    /// RFC 7425 §4.3.5: any signature is valid if none is required. If one is, a signature with the near certificate is
    /// not: both ends may sign with one password, and somebody without it could send this end's own keying back.
    fn verify(&self, _signer: Role, far_certificate: &[u8], message: &[&[u8]], signature: &[u8]) -> bool {
        !self.signature_required
            || (far_certificate != self.certificate && signature::verify(&self.accepted, message, signature))
    }

    /// RFC 7425 §4.3.6: the end whose certificate is ordered before the other's, or identical to it.
    fn prevails(&self, far_certificate: &[u8]) -> bool {
        self.certificate.as_slice() <= far_certificate
    }

    /// RFC 7425 §4.3.7.
    fn overrides(&self, new: &[u8], existing: &[u8]) -> bool {
        new == existing
    }

    /// RFC 7425 §4.3.3.5: a certificate with static keys is used by its owner only.
    fn keys_prove_owner(&self, certificate: &[u8]) -> bool {
        Certificate::parse(certificate).is_ok_and(|certificate| certificate.key_kind() == Some(KeyKind::Static))
    }

    fn default_keys(&self) -> Box<dyn SessionKeys> {
        Box::new(FlashKeys::default_session_key())
    }

    fn prepare(&self, rng: &mut dyn CryptoRng) -> Option<PreparedKey> {
        self.keys.prepare(rng)
    }

    fn initiate(
        &self,
        far_certificate: &[u8],
        prepared: Option<PreparedKey>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Initiation, KeyingError> {
        agreement::initiate(self, far_certificate, prepared, rng)
    }

    /// By the group that the initiator chose.
    fn respond_cost(&self, _far_certificate: &[u8], initiator_component: &[u8]) -> u32 {
        agreement::group_of(initiator_component).map_or(1, Group::cost)
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
pub(super) mod tests;
