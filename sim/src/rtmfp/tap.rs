//! A profile that wraps another one, and shows each packet in plain before it is sealed and after it is opened.

use core::fmt::Debug;
use core::ops::Range;
use std::sync::Arc;

use rtmfp_core::Role;
use rtmfp_core::profile::{
    CryptoProfile, Initiation, KeyingError, PacketError, PendingKeying, PreparedKey, Response, SessionKeys, Span,
};
use rtmfp_core::rand_core::CryptoRng;

/// Sees the plain packets (RFC 7016 §2.2.4) of one end of a session, or of an end's startup packets.
pub trait ProfileTap: Debug + Send + Sync {
    /// This is about to be encrypted, and may be changed.
    fn sealing(&mut self, plain: &mut [u8]) {
        let _ = plain;
    }

    /// This was encrypted with the right keys.
    fn opened(&mut self, plain: &[u8]) {
        let _ = plain;
    }
}

/// Makes the taps of a node.
pub trait ProfileTapFactory: Debug + Send + Sync {
    /// For one end of a session with these keys.
    fn session(&self, keys: &dyn SessionKeys) -> Box<dyn ProfileTap>;

    /// For the packets of session ID 0, if those matter.
    fn startup(&self) -> Option<Box<dyn ProfileTap>> {
        None
    }
}

/// A profile like another, with taps.
#[derive(Debug)]
pub struct TappedProfile {
    inner: Arc<dyn CryptoProfile>,
    taps: Arc<dyn ProfileTapFactory>,
}

impl TappedProfile {
    /// Taps the packets of `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn CryptoProfile>, taps: impl ProfileTapFactory + 'static) -> Self {
        Self { inner, taps: Arc::new(taps) }
    }
}

fn tapped(inner: Box<dyn SessionKeys>, tap: Box<dyn ProfileTap>) -> Box<dyn SessionKeys> {
    Box::new(TappedKeys { inner, tap })
}

impl CryptoProfile for TappedProfile {
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
    fn accepts(&self, discriminator: &[u8], certificate: &[u8]) -> bool {
        self.inner.accepts(discriminator, certificate)
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
        let keys = self.inner.default_keys();
        match self.taps.startup() {
            Some(tap) => tapped(keys, tap),
            None => keys,
        }
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
        Ok(Initiation { component, pending: Box::new(TappedPending { inner: pending, taps: self.taps.clone() }) })
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
        let tap = self.taps.session(keys.as_ref());
        Ok(Response { component, keys: tapped(keys, tap) })
    }
}

#[derive(Debug)]
struct TappedPending {
    inner: Box<dyn PendingKeying>,
    taps: Arc<dyn ProfileTapFactory>,
}

impl PendingKeying for TappedPending {
    fn finish(&self, responder_component: &[u8]) -> Result<Box<dyn SessionKeys>, KeyingError> {
        let keys = self.inner.finish(responder_component)?;
        let tap = self.taps.session(keys.as_ref());
        Ok(tapped(keys, tap))
    }
}

#[derive(Debug)]
struct TappedKeys {
    inner: Box<dyn SessionKeys>,
    tap: Box<dyn ProfileTap>,
}

impl SessionKeys for TappedKeys {
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
        for span in packets {
            let from = span.start + span.front;
            self.tap.sealing(bytes.get_mut(from..from + span.plain).unwrap_or_default());
        }
        self.inner.seal(bytes, packets);
    }
    fn open(&mut self, encrypted: &mut [u8]) -> Result<Range<usize>, PacketError> {
        let range = self.inner.open(encrypted)?;
        self.tap.opened(encrypted.get(range.clone()).unwrap_or_default());
        Ok(range)
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
    fn is_post_quantum(&self) -> bool {
        self.inner.is_post_quantum()
    }
}
