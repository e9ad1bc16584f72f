//! A profile without security, for tests and fuzzing.
//!
//! Certificates and discriminators are names, keys are salts of two bytes that stand in the keying components, and
//! nothing is encrypted: what a packet says can be read off the wire, and damage is found by a checksum. It speaks
//! the wire format of the plain test profile of rtmfp-cpp. Never use it on a network.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

use rand_core::CryptoRng;

use super::checksum::internet_checksum;
use super::{
    CryptoProfile, Initiation, KeyingError, PacketError, PendingKeying, PreparedKey, Response, Role, SessionKeys,
};
use crate::transmit::Span;

/// Padding bytes behind every plain packet.
const PADDING: usize = 16;
/// The checksum behind them.
const CHECKSUM: usize = 2;
/// Bytes of a keying component.
const SALT: usize = 2;
/// Every signature. None is checked.
const SIGNATURE: &[u8] = b"X";

/// A near identity without security.
#[derive(Clone, Debug)]
pub struct PlainProfile {
    name: Vec<u8>,
    pretend_authentic: bool,
}

impl PlainProfile {
    /// An identity whose certificate, discriminator and canonical discriminator are all its name.
    #[must_use]
    pub fn new(name: &[u8]) -> Self {
        Self { name: name.to_vec(), pretend_authentic: false }
    }

    /// Has session keys claim that they [authenticate](SessionKeys::authenticates) what they open, and that they
    /// [prove who the far end is](CryptoProfile::keys_prove_owner), which they do not: for tests of address mobility and
    /// of overrides, which otherwise no session of this profile takes part in. Off unless set.
    #[must_use]
    pub const fn pretend_authentic(mut self, pretend: bool) -> Self {
        self.pretend_authentic = pretend;
        self
    }

    fn fresh_salt(rng: &mut dyn CryptoRng) -> [u8; SALT] {
        let mut salt = [0; SALT];
        rng.fill_bytes(&mut salt);
        salt
    }
}

impl CryptoProfile for PlainProfile {
    fn certificate(&self) -> &[u8] {
        &self.name
    }

    fn is_authentic(&self, _certificate: &[u8]) -> bool {
        true
    }

    /// Nothing proves anybody.
    fn accepts(&self, _discriminator: &[u8], _certificate: &[u8]) -> bool {
        true
    }

    fn selects(&self, discriminator: &[u8], certificate: &[u8]) -> bool {
        discriminator == certificate
    }

    fn canonical_discriminator(&self, certificate: &[u8]) -> Vec<u8> {
        certificate.to_vec()
    }

    fn sign(&self, _signer: Role, _far_certificate: &[u8], _message: &[&[u8]]) -> Vec<u8> {
        SIGNATURE.to_vec()
    }

    fn verify(&self, _signer: Role, _far_certificate: &[u8], _message: &[&[u8]], _signature: &[u8]) -> bool {
        true
    }

    /// The lower name prevails.
    fn prevails(&self, far_certificate: &[u8]) -> bool {
        self.name.as_slice() < far_certificate
    }

    fn overrides(&self, new: &[u8], existing: &[u8]) -> bool {
        new == existing
    }

    fn keys_prove_owner(&self, _certificate: &[u8]) -> bool {
        self.pretend_authentic
    }

    fn default_keys(&self) -> Box<dyn SessionKeys> {
        Box::new(PlainKeys::default())
    }

    fn initiate(
        &self,
        _far_certificate: &[u8],
        _prepared: Option<PreparedKey>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Initiation, KeyingError> {
        let near_salt = Self::fresh_salt(rng);
        let pending = PlainPending { near_salt, pretend_authentic: self.pretend_authentic };
        Ok(Initiation { component: near_salt.to_vec(), pending: Box::new(pending) })
    }

    fn respond(
        &self,
        _far_certificate: &[u8],
        initiator_component: &[u8],
        _prepared: Option<PreparedKey>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Response, KeyingError> {
        let near_salt = Self::fresh_salt(rng);
        let pending = PlainPending { near_salt, pretend_authentic: self.pretend_authentic };
        Ok(Response { component: near_salt.to_vec(), keys: pending.finish(initiator_component)? })
    }
}

#[derive(Debug)]
struct PlainPending {
    near_salt: [u8; SALT],
    pretend_authentic: bool,
}

impl PendingKeying for PlainPending {
    fn finish(&self, responder_component: &[u8]) -> Result<Box<dyn SessionKeys>, KeyingError> {
        let far_salt = responder_component.try_into().map_err(|_| KeyingError::Malformed)?;
        Ok(Box::new(PlainKeys {
            send_salt: u16::from_be_bytes(far_salt),
            recv_salt: u16::from_be_bytes(self.near_salt),
            pretend_authentic: self.pretend_authentic,
        }))
    }
}

/// `[plain packet][16 bytes of padding][checksum]`. The salts are added to the checksum, so that a packet of another
/// session does not pass: a sender uses the salt that the receiver gave.
#[derive(Debug, Default)]
struct PlainKeys {
    send_salt: u16,
    recv_salt: u16,
    pretend_authentic: bool,
}

impl PlainKeys {
    fn checksum(bytes: &[u8], salt: u16) -> [u8; CHECKSUM] {
        internet_checksum(bytes).wrapping_add(salt).to_be_bytes()
    }
}

impl SessionKeys for PlainKeys {
    fn front_len(&self, _ahead: usize) -> usize {
        0
    }

    fn sealed_len(&self, front: usize, plain: usize) -> usize {
        front.saturating_add(plain).saturating_add(PADDING + CHECKSUM)
    }

    fn plain_capacity(&self, front: usize, room: usize) -> usize {
        room.saturating_sub(PADDING + CHECKSUM).saturating_sub(front)
    }

    fn seal(&mut self, bytes: &mut [u8], packets: &[Span]) {
        for span in packets {
            let packet = bytes.get_mut(span.start..span.start.saturating_add(span.sealed));
            let Some((body, field)) = packet.and_then(|packet| packet.split_last_chunk_mut::<CHECKSUM>()) else {
                continue;
            };
            if let Some(padding) = body.get_mut(span.front.saturating_add(span.plain)..) {
                padding.fill(0xff);
            }
            *field = Self::checksum(body, self.send_salt);
        }
    }

    fn open(&mut self, encrypted: &mut [u8]) -> Result<Range<usize>, PacketError> {
        let (body, field) = encrypted.split_last_chunk::<CHECKSUM>().ok_or(PacketError::TooShort)?;
        if body.is_empty() {
            return Err(PacketError::TooShort);
        }
        if Self::checksum(body, self.recv_salt) != *field {
            return Err(PacketError::NotAuthentic);
        }
        Ok(0..body.len())
    }

    fn near_nonce(&self) -> &[u8] {
        &[]
    }

    fn far_nonce(&self) -> &[u8] {
        &[]
    }

    /// There is no secret, so that anybody could move a session elsewhere.
    fn authenticates(&self) -> bool {
        self.pretend_authentic
    }
}

#[cfg(test)]
mod tests;
