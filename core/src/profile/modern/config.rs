//! Making a modern profile.

use alloc::sync::Arc;
use alloc::vec::Vec;

use rand_core::CryptoRng;

use super::ModernProfile;
use super::certificate::{encode, is_hostname};
use super::hybrid::Hybrid;
use super::identity::Identity;
use super::provider::{Cipher, Provider};
use super::pure_rust::PureRust;
use crate::error::ConfigError;
use crate::profile::KeyLog;

/// Makes a [`ModernProfile`]. Without further settings: a new identity, a certificate without hostname, and all ciphers,
/// the fastest first.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Builder {
    identity: Option<Identity>,
    hostname: Option<Vec<u8>>,
    accepts_ancillary_data: bool,
    ciphers: Option<Vec<Cipher>>,
    hybrid: Hybrid,
    provider: Option<Arc<dyn Provider>>,
    key_log: Option<Arc<dyn KeyLog>>,
}

impl Builder {
    /// The identity. A new one unless set.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// The hostname in the certificate, 1 to 255 bytes of UTF-8. None unless set.
    pub fn hostname(mut self, hostname: &[u8]) -> Self {
        self.hostname = Some(hostname.to_vec());
        self
    }

    /// Whether discriminators with ancillary data may select this endpoint, as clients use them to reach a server that
    /// they know by its address alone. Not unless set.
    pub const fn accept_ancillary(mut self, accept: bool) -> Self {
        self.accepts_ancillary_data = accept;
        self
    }

    /// The ciphers that may be used, in order of preference, at least one and none twice. All of them unless set, in the
    /// [provider's order](Provider::preference).
    pub fn ciphers(mut self, ciphers: &[Cipher]) -> Self {
        self.ciphers = Some(ciphers.to_vec());
        self
    }

    /// Whether sessions also agree on keys with ML-KEM-768. [`Hybrid::Off`] unless set. All else needs the feature `ml-kem`
    /// of this crate.
    pub const fn hybrid(mut self, hybrid: Hybrid) -> Self {
        self.hybrid = hybrid;
        self
    }

    /// What computes packet ciphers and X25519: [`PureRust`] unless set.
    pub fn provider(mut self, provider: Arc<dyn Provider>) -> Self {
        self.provider = Some(provider);
        self
    }

    /// What computes packet ciphers and X25519, unless a [provider](Self::provider) is set already.
    pub fn default_provider(mut self, provider: impl FnOnce() -> Arc<dyn Provider>) -> Self {
        self.provider.get_or_insert_with(provider);
        self
    }

    /// Tells the keys of every session to `log`, for a packet analyser. Not unless set. Whoever has them can read what
    /// the sessions carry, and forge packets while they last: never set this where others can read the log.
    pub fn key_log(mut self, log: Arc<dyn KeyLog>) -> Self {
        self.key_log = Some(log);
        self
    }

    /// Makes the profile. The generator gives a new identity, if none is set.
    ///
    /// # Errors
    /// A value is outside of the limits said with its method.
    pub fn build(self, rng: &mut dyn CryptoRng) -> Result<ModernProfile, ConfigError> {
        let check = |holds: bool, field, rule| if holds { Ok(()) } else { Err(ConfigError { field, rule }) };
        let hostname = self.hostname.as_deref().is_none_or(is_hostname);
        check(hostname, "hostname", "must have 1 to 255 bytes of UTF-8")?;
        let provider = self.provider.unwrap_or_else(|| Arc::new(PureRust));
        let ciphers = self.ciphers.unwrap_or_else(|| provider.preference().to_vec());
        check(!ciphers.is_empty(), "ciphers", "must not be empty")?;
        let once = ciphers.iter().all(|cipher| ciphers.iter().filter(|other| *other == cipher).count() == 1);
        check(once, "ciphers", "must name no cipher twice")?;
        check(self.hybrid.is_possible(), "hybrid", "must be off in a build without the feature ml-kem")?;
        let identity = self.identity.unwrap_or_else(|| Identity::generate(rng));
        let certificate = encode(&identity.public_key(), self.hostname.as_deref(), self.accepts_ancillary_data);
        let peer_id = identity.peer_id();
        let Self { hybrid, key_log, .. } = self;
        Ok(ModernProfile { identity, certificate, peer_id, ciphers, hybrid, provider, key_log })
    }
}
