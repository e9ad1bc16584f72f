//! Key agreement: README.md, "Keying components" and "Key schedule".

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use rand_core::CryptoRng;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::ModernProfile;
use super::certificate::Certificate;
use super::component::{Component, X25519, choose, encode};
use super::hybrid::Hybrid;
use super::kem::{KemKey, encapsulate};
use super::key_log;
use super::provider::{Cipher, Provider};
use super::schedule::{Schedule, Secret, certificates, transcript};
use super::seal::ModernKeys;
use crate::profile::{Initiation, KeyLog, KeyingError, PendingKeying, PreparedKey, Response, Role, SessionKeys};
use crate::wire::Malformed;

/// A fresh X25519 key pair.
struct FreshKey {
    private: Zeroizing<[u8; 32]>,
    public: [u8; 32],
}

impl FreshKey {
    fn generate(provider: &dyn Provider, rng: &mut dyn CryptoRng) -> Self {
        let mut private = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *private);
        let public = provider.x25519_public(&private);
        Self { private, public }
    }

    /// The one that was prepared, if there is one.
    fn take(prepared: Option<PreparedKey>, provider: &dyn Provider, rng: &mut dyn CryptoRng) -> Self {
        let prepared = prepared.filter(|key| key.kind == X25519).and_then(|key| {
            let private = Zeroizing::new(key.private.as_slice().try_into().ok()?);
            Some(Self { private, public: key.public.as_slice().try_into().ok()? })
        });
        prepared.unwrap_or_else(|| Self::generate(provider, rng))
    }

    /// The shared secret with a far end's public key.
    fn agree(&self, provider: &dyn Provider, far: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>, KeyingError> {
        let secret = provider.x25519_agree(&self.private, far);
        // A public key of small order: the far end would decide alone what the keys are.
        if secret.ct_eq(&[0; 32]).into() { Err(KeyingError::BadPublicKey) } else { Ok(secret) }
    }
}

impl fmt::Debug for FreshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FreshKey").finish_non_exhaustive()
    }
}

/// A key for [`FreshKey::take`].
pub(super) fn prepare(provider: &dyn Provider, rng: &mut dyn CryptoRng) -> PreparedKey {
    let FreshKey { private, public } = FreshKey::generate(provider, rng);
    PreparedKey { kind: X25519, private: Zeroizing::new(private.to_vec()), public: public.to_vec() }
}

/// An initiator between IIKeying and RIKeying.
#[derive(Debug)]
struct Pending {
    key: FreshKey,
    /// The key of the hybrid, if that is offered.
    kem: Option<KemKey>,
    hybrid: Hybrid,
    component: Vec<u8>,
    offered: Vec<Cipher>,
    /// The hash of both certificates.
    certificates: [u8; 32],
    provider: Arc<dyn Provider>,
    key_log: Option<Arc<dyn KeyLog>>,
}

pub(super) fn initiate(
    profile: &ModernProfile,
    far_certificate: &[u8],
    prepared: Option<PreparedKey>,
    rng: &mut dyn CryptoRng,
) -> Result<Initiation, KeyingError> {
    check_certificate(far_certificate)?;
    let key = FreshKey::take(prepared, &*profile.provider, rng);
    let kem = if profile.hybrid.is_offered() { Some(KemKey::generate(rng)?) } else { None };
    let (kem, encapsulation_key) = kem.unzip();
    let component = encode(&key.public, &profile.ciphers, encapsulation_key.as_deref());
    let pending = Pending {
        key,
        kem,
        hybrid: profile.hybrid,
        component: component.clone(),
        offered: profile.ciphers.clone(),
        certificates: certificates(&profile.certificate, far_certificate),
        provider: Arc::clone(&profile.provider),
        key_log: profile.key_log.clone(),
    };
    Ok(Initiation { component, pending: Box::new(pending) })
}

impl Pending {
    /// The post-quantum secret, if the responder agreed to one.
    fn decapsulate(&self, ciphertext: Option<&[u8]>) -> Result<Option<Secret>, KeyingError> {
        match (&self.kem, ciphertext) {
            (Some(key), Some(ciphertext)) => key.decapsulate(ciphertext).map(Some),
            (None, Some(_)) => Err(KeyingError::Malformed),
            (_, None) if self.hybrid == Hybrid::Required => Err(KeyingError::ProtectionRefused),
            (_, None) => Ok(None),
        }
    }
}

impl PendingKeying for Pending {
    fn finish(&self, responder_component: &[u8]) -> Result<Box<dyn SessionKeys>, KeyingError> {
        let far = Component::parse(responder_component)?;
        let cipher = far.chosen(&self.offered)?;
        let post_quantum = self.decapsulate(far.ml_kem)?;
        let secret = self.key.agree(&*self.provider, far.public_key)?;
        let transcript = transcript(&self.certificates, &self.component, responder_component);
        let schedule = Schedule::new(&transcript, post_quantum.as_ref(), &secret);
        tell(self.key_log.as_ref(), responder_component, cipher, &schedule);
        Ok(Box::new(ModernKeys::new(&self.provider, cipher, Role::Initiator, &schedule)))
    }
}

pub(super) fn respond(
    profile: &ModernProfile,
    far_certificate: &[u8],
    initiator_component: &[u8],
    prepared: Option<PreparedKey>,
    rng: &mut dyn CryptoRng,
) -> Result<Response, KeyingError> {
    check_certificate(far_certificate)?;
    let far = Component::parse(initiator_component)?;
    let cipher = choose(&profile.ciphers, &far)?;
    let encapsulation_key = profile.hybrid.answers(far.ml_kem)?;
    let key = FreshKey::take(prepared, &*profile.provider, rng);
    let secret = key.agree(&*profile.provider, far.public_key)?;
    let kem = encapsulation_key.map(|far| encapsulate(far, rng)).transpose()?;
    let (ciphertext, post_quantum) = kem.unzip();
    let component = encode(&key.public, &[cipher], ciphertext.as_deref());
    let certificates = certificates(far_certificate, &profile.certificate);
    let transcript = transcript(&certificates, initiator_component, &component);
    let schedule = Schedule::new(&transcript, post_quantum.as_ref(), &secret);
    tell(profile.key_log.as_ref(), &component, cipher, &schedule);
    let keys = ModernKeys::new(&profile.provider, cipher, Role::Responder, &schedule);
    Ok(Response { component, keys: Box::new(keys) })
}

fn check_certificate(bytes: &[u8]) -> Result<(), KeyingError> {
    Certificate::parse(bytes).map(|_| ()).map_err(|Malformed| KeyingError::Malformed)
}

fn tell(log: Option<&Arc<dyn KeyLog>>, responder_component: &[u8], cipher: Cipher, schedule: &Schedule) {
    if let Some(log) = log {
        log.log(&key_log::line(responder_component, cipher, schedule));
    }
}
