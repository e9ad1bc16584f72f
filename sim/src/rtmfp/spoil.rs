//! A peer that breaks the rules: packets that are spoiled before they are encrypted, so that they open.

use core::ops::Range;
use std::sync::Arc;

use rtmfp_core::error::DropReason;
use rtmfp_core::profile::{CryptoProfile, Initiation, KeyingError, PendingKeying, Response, SessionKeys, Span};
use rtmfp_core::rand_core::CryptoRng;

use crate::rng::{Key, Stream};

/// Another profile, of which some of what its sessions send is spoiled.
#[derive(Debug)]
pub struct SpoilingProfile {
    inner: Arc<dyn CryptoProfile>,
    every: u64,
    key: Key,
}

impl SpoilingProfile {
    /// One of `every` packets gets between one and four other bytes, chosen by `key`.
    #[must_use]
    pub fn new(inner: Arc<dyn CryptoProfile>, every: u64, key: Key) -> Self {
        Self { inner, every: every.max(1), key }
    }
}

fn spoiling(inner: Box<dyn SessionKeys>, every: u64, key: Key) -> Box<dyn SessionKeys> {
    Box::new(SpoilingKeys { inner, every, packets: 0, stream: key.stream() })
}

impl CryptoProfile for SpoilingProfile {
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
        self.inner.default_keys()
    }
    fn initiate(&self, far_certificate: &[u8], rng: &mut dyn CryptoRng) -> Result<Initiation, KeyingError> {
        let Initiation { component, pending } = self.inner.initiate(far_certificate, rng)?;
        Ok(Initiation {
            component,
            pending: Box::new(SpoilingPending { inner: pending, every: self.every, key: self.key }),
        })
    }
    fn respond(
        &self,
        far_certificate: &[u8],
        initiator_component: &[u8],
        rng: &mut dyn CryptoRng,
    ) -> Result<Response, KeyingError> {
        let Response { component, keys } = self.inner.respond(far_certificate, initiator_component, rng)?;
        Ok(Response { component, keys: spoiling(keys, self.every, self.key) })
    }
}

#[derive(Debug)]
struct SpoilingPending {
    inner: Box<dyn PendingKeying>,
    every: u64,
    key: Key,
}

impl PendingKeying for SpoilingPending {
    fn finish(&self, responder_component: &[u8]) -> Result<Box<dyn SessionKeys>, KeyingError> {
        self.inner.finish(responder_component).map(|keys| spoiling(keys, self.every, self.key))
    }
}

#[derive(Debug)]
struct SpoilingKeys {
    inner: Box<dyn SessionKeys>,
    every: u64,
    packets: u64,
    stream: Stream,
}

impl SpoilingKeys {
    fn spoil(&mut self, plain: &mut [u8]) {
        for _ in 0..=self.stream.below(4) {
            let at = usize::try_from(self.stream.below(plain.len().max(1) as u64)).unwrap_or(0);
            let to = self.stream.below(256) as u8;
            if let Some(byte) = plain.get_mut(at) {
                *byte = to;
            }
        }
    }
}

impl SessionKeys for SpoilingKeys {
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
        for packet in packets {
            self.packets += 1;
            let start = packet.start + packet.front;
            if self.packets.is_multiple_of(self.every)
                && let Some(plain) = bytes.get_mut(start..start + packet.plain)
            {
                self.spoil(plain);
            }
        }
        self.inner.seal(bytes, packets);
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
