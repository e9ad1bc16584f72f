//! A profile that keeps the plain packets it seals, by what they became.

use core::ops::Range;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rtmfp_core::Role;
use rtmfp_core::profile::{
    CryptoProfile, Initiation, KeyingError, PacketError, PendingKeying, PreparedKey, Response, SessionKeys, Span,
};
use rtmfp_core::rand_core::CryptoRng;

/// Plain packets by encrypted packets.
pub(crate) type Plaintexts = Arc<Mutex<BTreeMap<Vec<u8>, Vec<u8>>>>;

#[derive(Debug)]
pub(crate) struct Tap<P> {
    pub(crate) inner: P,
    pub(crate) seen: Plaintexts,
}

impl<P: CryptoProfile> CryptoProfile for Tap<P> {
    fn certificate(&self) -> &[u8] {
        self.inner.certificate()
    }

    fn is_authentic(&self, certificate: &[u8]) -> bool {
        self.inner.is_authentic(certificate)
    }

    fn is_discriminator(&self, discriminator: &[u8]) -> bool {
        self.inner.is_discriminator(discriminator)
    }

    fn discriminator_of(&self, name: &[u8; 32]) -> Vec<u8> {
        self.inner.discriminator_of(name)
    }

    fn selects(&self, discriminator: &[u8], certificate: &[u8]) -> bool {
        self.inner.selects(discriminator, certificate)
    }

    fn accepts(&self, discriminator: &[u8], certificate: &[u8]) -> bool {
        self.inner.accepts(discriminator, certificate)
    }

    fn selects_near(&self, discriminator: &[u8]) -> bool {
        self.inner.selects_near(discriminator)
    }

    fn canonical_discriminator(&self, certificate: &[u8]) -> Vec<u8> {
        self.inner.canonical_discriminator(certificate)
    }

    fn sign(&self, signer: Role, far_certificate: &[u8], message: &[&[u8]]) -> Vec<u8> {
        self.inner.sign(signer, far_certificate, message)
    }

    fn verify(&self, signer: Role, far_certificate: &[u8], message: &[&[u8]], signature: &[u8]) -> bool {
        self.inner.verify(signer, far_certificate, message, signature)
    }

    fn prevails(&self, far_certificate: &[u8]) -> bool {
        self.inner.prevails(far_certificate)
    }

    fn overrides(&self, new: &[u8], existing: &[u8]) -> bool {
        self.inner.overrides(new, existing)
    }

    fn keys_prove_owner(&self, certificate: &[u8]) -> bool {
        self.inner.keys_prove_owner(certificate)
    }

    fn default_keys(&self) -> Box<dyn SessionKeys> {
        Box::new(Keys { inner: self.inner.default_keys(), seen: Arc::clone(&self.seen) })
    }

    fn prepare(&self, rng: &mut dyn CryptoRng) -> Option<PreparedKey> {
        self.inner.prepare(rng)
    }

    fn initiate(
        &self,
        far_certificate: &[u8],
        prepared: Option<PreparedKey>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Initiation, KeyingError> {
        let Initiation { component, pending } = self.inner.initiate(far_certificate, prepared, rng)?;
        Ok(Initiation { component, pending: Box::new(Pending { inner: pending, seen: Arc::clone(&self.seen) }) })
    }

    fn min_cookie(&self) -> usize {
        self.inner.min_cookie()
    }
    fn respond_cost(&self, far_certificate: &[u8], initiator_component: &[u8]) -> u32 {
        self.inner.respond_cost(far_certificate, initiator_component)
    }

    fn respond(
        &self,
        far_certificate: &[u8],
        initiator_component: &[u8],
        prepared: Option<PreparedKey>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Response, KeyingError> {
        let Response { component, keys } = self.inner.respond(far_certificate, initiator_component, prepared, rng)?;
        Ok(Response { component, keys: Box::new(Keys { inner: keys, seen: Arc::clone(&self.seen) }) })
    }
}

#[derive(Debug)]
struct Pending {
    inner: Box<dyn PendingKeying>,
    seen: Plaintexts,
}

impl PendingKeying for Pending {
    fn finish(&self, responder_component: &[u8]) -> Result<Box<dyn SessionKeys>, KeyingError> {
        Ok(Box::new(Keys { inner: self.inner.finish(responder_component)?, seen: Arc::clone(&self.seen) }))
    }
}

#[derive(Debug)]
struct Keys {
    inner: Box<dyn SessionKeys>,
    seen: Plaintexts,
}

impl SessionKeys for Keys {
    fn front_len(&self, ahead: usize) -> usize {
        self.inner.front_len(ahead)
    }

    fn sealed_len(&self, front: usize, plain: usize) -> usize {
        self.inner.sealed_len(front, plain)
    }

    fn plain_capacity(&self, front: usize, room: usize) -> usize {
        self.inner.plain_capacity(front, room)
    }

    fn seal(&mut self, bytes: &mut [u8], packets: &[Span]) {
        let plain = packets.iter().map(|span| bytes[span.start + span.front..][..span.plain].to_vec());
        let plains: Vec<_> = plain.collect();
        self.inner.seal(bytes, packets);
        let sealed = packets.iter().map(|span| bytes[span.start..][..span.sealed].to_vec());
        self.seen.lock().unwrap().extend(sealed.zip(plains));
    }

    fn open(&mut self, encrypted: &mut [u8]) -> Result<Range<usize>, PacketError> {
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
