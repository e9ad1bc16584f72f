//! Certificates of the modern profile: README.md, "Identity and certificate".

use alloc::vec::Vec;

use super::options::{once, read};
use super::schedule::hash;
use crate::profile::Fingerprint;
use crate::wire::Malformed;
use crate::wire::option::encode_option;

const IDENTITY: u64 = 0x41;
pub(super) const HOSTNAME: u64 = 0x42;
pub(super) const ANCILLARY_DATA: u64 = 0x44;

/// The longest hostname, in bytes.
pub(super) const LONGEST_HOSTNAME: usize = 255;

/// The peer ID of an Ed25519 public key.
pub(super) fn peer_id(public_key: &[u8; 32]) -> Fingerprint {
    Fingerprint(hash("peer ID", &[public_key]))
}

/// A view of a certificate of the modern profile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Certificate<'a> {
    public_key: &'a [u8; 32],
    hostname: Option<&'a [u8]>,
    accepts_ancillary_data: bool,
}

impl<'a> Certificate<'a> {
    /// Reads a certificate. Unknown options are ignored if their type is even.
    ///
    /// # Errors
    /// It does not follow the syntax. Nothing is proved if it does.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (mut public_key, mut hostname, mut ancillary) = (None, None, None);
        read(bytes, |kind, value| match kind {
            IDENTITY => once(&mut public_key, value.try_into().ok().filter(is_canonical).ok_or(Malformed)?),
            HOSTNAME if is_hostname(value) => once(&mut hostname, value),
            ANCILLARY_DATA if value.is_empty() => once(&mut ancillary, ()),
            HOSTNAME | ANCILLARY_DATA => Err(Malformed),
            _ => Ok(false),
        })?;
        let public_key = public_key.ok_or(Malformed)?;
        Ok(Self { public_key, hostname, accepts_ancillary_data: ancillary.is_some() })
    }

    /// The owner's Ed25519 public key.
    #[must_use]
    pub const fn public_key(&self) -> &'a [u8; 32] {
        self.public_key
    }

    /// The owner's peer ID.
    #[must_use]
    pub fn peer_id(&self) -> Fingerprint {
        peer_id(self.public_key)
    }

    /// The hostname that the owner claims, if any. Nothing proves it.
    #[must_use]
    pub const fn hostname(&self) -> Option<&'a [u8]> {
        self.hostname
    }

    /// Whether an Endpoint Discriminator with ancillary data may select the certificate.
    #[must_use]
    pub const fn accepts_ancillary_data(&self) -> bool {
        self.accepts_ancillary_data
    }
}

/// Whether a public key is written in the one way that RFC 8032 §5.1.3 allows: the coordinate is less than 2^255 - 19.
/// Otherwise one key would have several peer IDs. The other keys with two forms are of small order, and sign nothing.
fn is_canonical(public_key: &&[u8; 32]) -> bool {
    let [least, middle @ .., most] = *public_key;
    *most & 0x7f != 0x7f || *least < 0xed || middle.iter().any(|byte| *byte != 0xff)
}

/// Whether a hostname may stand in a certificate.
pub(super) fn is_hostname(bytes: &[u8]) -> bool {
    (1..=LONGEST_HOSTNAME).contains(&bytes.len()) && core::str::from_utf8(bytes).is_ok()
}

/// Encodes a certificate.
pub(super) fn encode(public_key: &[u8; 32], hostname: Option<&[u8]>, accepts_ancillary_data: bool) -> Vec<u8> {
    let mut out = Vec::new();
    encode_option(IDENTITY, public_key, &mut out);
    if let Some(hostname) = hostname {
        encode_option(HOSTNAME, hostname, &mut out);
    }
    if accepts_ancillary_data {
        encode_option(ANCILLARY_DATA, &[], &mut out);
    }
    out
}
