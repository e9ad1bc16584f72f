//! Reads packets before they are sealed, so that captures can show them in plain without any keys.

use core::ops::Range;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rtmfp_core::error::DropReason;
use rtmfp_core::profile::{CryptoProfile, Initiation, KeyingError, PendingKeying, Response, SessionKeys};
use rtmfp_core::rand_core::CryptoRng;

use crate::trace::digest;

/// The plain packets of everything sealed so far, by the digest of the encrypted packet.
#[derive(Clone, Debug, Default)]
pub struct Plaintexts(Arc<Mutex<BTreeMap<u64, Vec<u8>>>>);

impl Plaintexts {
    /// The plain packet (RFC 7016 §2.2.4) of a datagram (session ID and encrypted packet), if it was sealed here.
    #[must_use]
    pub fn of(&self, datagram: &[u8]) -> Option<Vec<u8>> {
        let key = digest(datagram.get(4..)?);
        self.0.lock().ok()?.get(&key).cloned()
    }
}

/// A profile like another, whose sealed packets are noted.
#[derive(Debug)]
pub struct SpyProfile {
    inner: Arc<dyn CryptoProfile>,
    seen: Plaintexts,
}

impl SpyProfile {
    /// Notes what `inner` seals in `seen`.
    #[must_use]
    pub const fn new(inner: Arc<dyn CryptoProfile>, seen: Plaintexts) -> Self {
        Self { inner, seen }
    }

    fn keys(&self, inner: Box<dyn SessionKeys>) -> Box<dyn SessionKeys> {
        Box::new(SpyKeys { inner, seen: self.seen.clone() })
    }
}

impl CryptoProfile for SpyProfile {
    fn certificate(&self) -> &[u8] {
        self.inner.certificate()
    }
    fn is_authentic(&self, certificate: &[u8]) -> bool {
        self.inner.is_authentic(certificate)
    }
    fn selects(&self, discriminator: &[u8], certificate: &[u8]) -> bool {
        self.inner.selects(discriminator, certificate)
    }
    fn selects_near(&self, discriminator: &[u8]) -> bool {
        self.inner.selects_near(discriminator)
    }
    fn canonical_discriminator(&self, certificate: &[u8]) -> Vec<u8> {
        self.inner.canonical_discriminator(certificate)
    }
    fn sign(&self, message: &[&[u8]]) -> Vec<u8> {
        self.inner.sign(message)
    }
    fn verify(&self, certificate: &[u8], message: &[&[u8]], signature: &[u8]) -> bool {
        self.inner.verify(certificate, message, signature)
    }
    fn prevails(&self, far_certificate: &[u8]) -> bool {
        self.inner.prevails(far_certificate)
    }
    fn overrides(&self, new: &[u8], existing: &[u8]) -> bool {
        self.inner.overrides(new, existing)
    }
    fn default_keys(&self) -> Box<dyn SessionKeys> {
        self.keys(self.inner.default_keys())
    }
    fn initiate(&self, far_certificate: &[u8], rng: &mut dyn CryptoRng) -> Result<Initiation, KeyingError> {
        let Initiation { component, pending } = self.inner.initiate(far_certificate, rng)?;
        Ok(Initiation { component, pending: Box::new(SpyPending { inner: pending, seen: self.seen.clone() }) })
    }
    fn respond(
        &self,
        far_certificate: &[u8],
        initiator_component: &[u8],
        rng: &mut dyn CryptoRng,
    ) -> Result<Response, KeyingError> {
        let Response { component, keys } = self.inner.respond(far_certificate, initiator_component, rng)?;
        Ok(Response { component, keys: self.keys(keys) })
    }
}

#[derive(Debug)]
struct SpyPending {
    inner: Box<dyn PendingKeying>,
    seen: Plaintexts,
}

impl PendingKeying for SpyPending {
    fn finish(&self, responder_component: &[u8]) -> Result<Box<dyn SessionKeys>, KeyingError> {
        Ok(Box::new(SpyKeys { inner: self.inner.finish(responder_component)?, seen: self.seen.clone() }))
    }
}

#[derive(Debug)]
struct SpyKeys {
    inner: Box<dyn SessionKeys>,
    seen: Plaintexts,
}

impl SessionKeys for SpyKeys {
    fn front_len(&self, ahead: usize) -> usize {
        self.inner.front_len(ahead)
    }
    fn sealed_len(&self, front: usize, plain: usize) -> usize {
        self.inner.sealed_len(front, plain)
    }
    fn plain_capacity(&self, front: usize, room: usize) -> usize {
        self.inner.plain_capacity(front, room)
    }
    fn seal(&mut self, bytes: &mut [u8], packets: &[rtmfp_core::profile::Span]) {
        let plain: Vec<Vec<u8>> = packets
            .iter()
            .map(|span| {
                let from = span.start + span.front;
                bytes.get(from..from + span.plain).map(<[u8]>::to_vec).unwrap_or_default()
            })
            .collect();
        self.inner.seal(bytes, packets);
        if let Ok(mut seen) = self.seen.0.lock() {
            for (span, plain) in packets.iter().zip(plain) {
                if let Some(sealed) = bytes.get(span.start..span.start + span.sealed) {
                    seen.insert(digest(sealed), plain);
                }
            }
        }
    }
    fn open(&mut self, encrypted: &mut [u8]) -> Result<Range<usize>, DropReason> {
        self.inner.open(encrypted)
    }
    fn near_nonce(&self) -> &[u8] {
        self.inner.near_nonce()
    }
    fn far_nonce(&self) -> &[u8] {
        self.inner.far_nonce()
    }
    fn authenticates(&self) -> bool {
        self.inner.authenticates()
    }
}
