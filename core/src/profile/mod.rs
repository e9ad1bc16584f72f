//! The border to cryptography: what RFC 7016 §3.2 asks of a Cryptography Profile, and nothing that belongs to one
//! profile alone.
//!
//! # The shape of a sealed packet
//!
//! A datagram is the scrambled session ID (four bytes, not the profile's business) and the encrypted packet. While
//! it is built, the encrypted packet stands in the transmit buffer as `[front][plain packet][back]`: the profile says
//! how long the front is (a sequence number, a checksum), the packetizer writes the plain packet right behind it,
//! and [`SessionKeys::seal`] fills in front and back, pads, and encrypts in place, several packets at a time.

#![warn(dead_code, unused_imports, missing_docs, missing_debug_implementations)]

mod checksum;
mod fingerprint;
pub mod flash;
mod flight;
mod key_log;
pub mod modern;
pub mod plain;
mod replay;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt::Debug;
use core::ops::Range;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::error::DropReason;
pub use crate::transmit::Span;
pub use fingerprint::{Fingerprint, NotAFingerprint};
pub use key_log::KeyLog;

/// Which end began the session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// This end sent the IIKeying.
    Initiator,
    /// This end answered it.
    Responder,
}

/// The duties of a Cryptography Profile towards one near identity (RFC 7016 §3.2). All are deterministic but for
/// the randomness they are given.
pub trait CryptoProfile: Debug + Send + Sync {
    /// The near certificate, as sent in RHello and IIKeying.
    fn certificate(&self) -> &[u8];

    /// Whether a certificate is authentic.
    fn is_authentic(&self, certificate: &[u8]) -> bool;

    /// Whether an Endpoint Discriminator follows the profile's syntax, and could select a certificate at all. One that
    /// does not is refused at once.
    fn is_discriminator(&self, _discriminator: &[u8]) -> bool {
        true
    }

    /// An Endpoint Discriminator that names something of 32 bytes in place of a fingerprint, and ends with it. If the bytes
    /// are no fingerprint it follows the profile's syntax and selects nobody. Hellos with it are probes: they go the way of
    /// any hello, and nobody answers them.
    fn discriminator_of(&self, name: &[u8; 32]) -> Vec<u8> {
        name.to_vec()
    }

    /// Whether an Endpoint Discriminator selects a certificate.
    fn selects(&self, discriminator: &[u8], certificate: &[u8]) -> bool;

    /// Whether a session that is opened to `discriminator` may have the owner of `certificate` at its far end, if the
    /// two agree on keys. The discriminator selects the certificate. Selection is a matter of names and the same for
    /// everybody; acceptance also asks whether keys that the two agree on would prove the far end to this one.
    fn accepts(&self, discriminator: &[u8], certificate: &[u8]) -> bool;

    /// Whether an Endpoint Discriminator selects the near identity.
    fn selects_near(&self, discriminator: &[u8]) -> bool {
        self.selects(discriminator, self.certificate())
    }

    /// The Canonical Endpoint Discriminator of a certificate.
    fn canonical_discriminator(&self, certificate: &[u8]) -> Vec<u8>;

    /// Signs the concatenation of `message`, the signed parameters of an IIKeying (RFC 7016 §2.3.7) or RIKeying
    /// (§2.3.8), as the near identity. `signer` is the near end's role, and `far_certificate` is that of the end which
    /// is to verify.
    fn sign(&self, signer: Role, far_certificate: &[u8], message: &[&[u8]]) -> Vec<u8>;

    /// Whether `signature` is a valid one by the owner of `far_certificate` over the concatenation of `message`, made
    /// for the near identity. `signer` is the far end's role.
    fn verify(&self, signer: Role, far_certificate: &[u8], message: &[&[u8]], signature: &[u8]) -> bool;

    /// Whether the near end prevails as initiator in glare with the owner of `far_certificate` (§3.5.1.3).
    fn prevails(&self, far_certificate: &[u8]) -> bool;

    /// Whether a new session from the owner of `new` takes the place of one with the owner of `existing`.
    fn overrides(&self, new: &[u8], existing: &[u8]) -> bool;

    /// Whether a session with the owner of `certificate` proves, by the keys that the two agree on, that it is the owner.
    /// If it does not, whoever has seen the certificate can have such a session, and no other session ends for its sake.
    fn keys_prove_owner(&self, _certificate: &[u8]) -> bool {
        false
    }

    /// The Default Session Key (§2.2.3): keys for startup packets, without sequence numbers.
    fn default_keys(&self) -> Box<dyn SessionKeys>;

    /// Makes a key ahead of the session that is to have it, which may take a millisecond. `None`, unless a profile says
    /// otherwise: its sessions need no key of their own.
    fn prepare(&self, _rng: &mut dyn CryptoRng) -> Option<PreparedKey> {
        None
    }

    /// Begins a key agreement as initiator with the owner of `far_certificate`. May take milliseconds, and less with a
    /// [prepared](Self::prepare) key, which is used or thrown away.
    ///
    /// # Errors
    /// [`KeyingError`] if the two have nothing in common.
    fn initiate(
        &self,
        far_certificate: &[u8],
        prepared: Option<PreparedKey>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Initiation, KeyingError>;

    /// Bytes of the shortest cookie that an RHello may have. A shorter one is not answered. An RHello proves no address, so a
    /// profile with a long component asks for an RHello that is not much shorter. 0, unless a profile says otherwise.
    fn min_cookie(&self) -> usize {
        0
    }

    /// What [`respond`](Self::respond) would cost with this component, in units of work: one is about a millisecond of a
    /// processor. Read before anything is proved, so it must be cheap. 1, unless a profile says otherwise.
    fn respond_cost(&self, _far_certificate: &[u8], _initiator_component: &[u8]) -> u32 {
        1
    }

    /// Answers an initiator's keying component: a pure function of its arguments, which may take milliseconds, and less
    /// with a [prepared](Self::prepare) key, which is used or thrown away.
    ///
    /// # Errors
    /// [`KeyingError`] if the component is not acceptable, or lacks a protection that is required here.
    fn respond(
        &self,
        far_certificate: &[u8],
        initiator_component: &[u8],
        prepared: Option<PreparedKey>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Response, KeyingError>;
}

/// A key pair that waits for its session, which is one only: a second would have the secrets of the first. Its private
/// part is wiped when dropped.
pub struct PreparedKey {
    /// What the profile tells its kinds of keys apart by, if it has several.
    pub kind: u64,
    /// The private key, as the profile writes it.
    pub private: Zeroizing<Vec<u8>>,
    /// The public key, as the profile sends it.
    pub public: Vec<u8>,
}

impl Debug for PreparedKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PreparedKey").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// An initiator's half of a key agreement.
#[derive(Debug)]
pub struct Initiation {
    /// The Session Key Initiator Component, for IIKeying.
    pub component: Vec<u8>,
    /// What is kept until the responder's component arrives.
    pub pending: Box<dyn PendingKeying>,
}

/// A responder's whole key agreement.
#[derive(Debug)]
pub struct Response {
    /// The Session Key Responder Component, for RIKeying.
    pub component: Vec<u8>,
    /// The keys of the session.
    pub keys: Box<dyn SessionKeys>,
}

/// An initiator's secret state between IIKeying and RIKeying.
pub trait PendingKeying: Debug + Send {
    /// Combines both components into the keys of the session. May take milliseconds, and may be called again after
    /// an error, so that a forged RIKeying spoils nothing.
    ///
    /// # Errors
    /// [`KeyingError`] if the component is not acceptable, or lacks a protection that is required here.
    fn finish(&self, responder_component: &[u8]) -> Result<Box<dyn SessionKeys>, KeyingError>;
}

/// The keys of one end of one session, or the Default Session Key.
pub trait SessionKeys: Debug + Send {
    /// Bytes to leave in front of the plain packet of the packet sealed `ahead` packets from now (0: the next).
    fn front_len(&self, ahead: usize) -> usize;

    /// Length of the encrypted packet for a plain packet of `plain` bytes behind a front of `front` bytes.
    fn sealed_len(&self, front: usize, plain: usize) -> usize;

    /// The longest plain packet whose encrypted packet, behind a front of `front` bytes, fits in `room` bytes; 0 if
    /// none does.
    fn plain_capacity(&self, front: usize, room: usize) -> usize;

    /// Seals packets in place, in order. Each span's plain packet has been written, its front was made as long as
    /// [`front_len`](Self::front_len) said, and `bytes` reaches at least to `start + sealed`.
    fn seal(&mut self, bytes: &mut [u8], packets: &[Span]);

    /// Opens an encrypted packet in place and tells where in it the plain packet (with padding) stands.
    ///
    /// # Errors
    /// [`PacketError`] if the packet is not to be used. Nothing has changed then except the bytes of the packet, and
    /// what the keys count.
    fn open(&mut self, encrypted: &mut [u8]) -> Result<Range<usize>, PacketError>;

    /// A secret known only to the two ends, which the far end knows as its far nonce. Empty if there is none.
    fn near_nonce(&self) -> &[u8];

    /// The far end's near nonce. Empty if there is none.
    fn far_nonce(&self) -> &[u8];

    /// Whether received packets are authenticated by a secret of the two ends. Without that, a change of address
    /// must not be followed (RFC 7016 §5).
    fn authenticates(&self) -> bool;

    /// Whether the keys also depend on a key agreement that a quantum computer is not known to break. `false`, unless a
    /// profile says otherwise.
    fn is_post_quantum(&self) -> bool {
        false
    }
}

/// Why keys did not open a packet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum PacketError {
    /// Shorter than any sealed packet.
    TooShort,
    /// It failed the integrity test.
    NotAuthentic,
    /// It was received before, or is too old to tell.
    Replayed,
    /// The keys open nothing any more: the session is over, or a limit of their use is reached.
    Exhausted,
}

impl From<PacketError> for DropReason {
    fn from(error: PacketError) -> Self {
        match error {
            PacketError::TooShort => Self::TooShort,
            PacketError::NotAuthentic => Self::NotAuthentic,
            PacketError::Replayed => Self::Replayed,
            PacketError::Exhausted => Self::Unexpected,
        }
    }
}

impl core::error::Error for PacketError {}

impl core::fmt::Display for PacketError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::TooShort => "the packet is shorter than any sealed packet",
            Self::NotAuthentic => "the packet is not authentic",
            Self::Replayed => "the packet was received before",
            Self::Exhausted => "the keys open nothing any more",
        })
    }
}

/// Why a key agreement failed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum KeyingError {
    /// A certificate or keying component did not follow the syntax.
    Malformed,
    /// The two ends support no group or key kind in common.
    NothingInCommon,
    /// A public key that must not be used (RFC 7425 §4.6.2).
    BadPublicKey,
    /// A protection that is required here was not offered, or is too weak.
    ProtectionRefused,
    /// The computation did not come to its end: [`KeyAgreement::abandoned`](crate::KeyAgreement::abandoned).
    Abandoned,
}

impl From<KeyingError> for DropReason {
    fn from(error: KeyingError) -> Self {
        match error {
            KeyingError::ProtectionRefused => Self::ProtectionRefused,
            KeyingError::Malformed
            | KeyingError::NothingInCommon
            | KeyingError::BadPublicKey
            | KeyingError::Abandoned => Self::NotAuthentic,
        }
    }
}

impl core::error::Error for KeyingError {}

impl core::fmt::Display for KeyingError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Malformed => "a certificate or keying component is malformed",
            Self::NothingInCommon => "the two ends have no key agreement in common",
            Self::BadPublicKey => "the far end's public key must not be used",
            Self::ProtectionRefused => "the far end does not offer a protection that is required here",
            Self::Abandoned => "the key agreement did not come to its end",
        })
    }
}

#[cfg(test)]
mod tests;
