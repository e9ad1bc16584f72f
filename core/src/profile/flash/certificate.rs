//! Certificates (RFC 7425 §4.3).

use alloc::vec::Vec;

use super::groups::Group;
use crate::profile::Fingerprint;
use crate::wire::option::{Options, RawOption, encode_option};
use crate::wire::{Cursor, Malformed, vlu};

const HOSTNAME: u64 = 0x00;
const ACCEPTS_ANCILLARY_DATA: u64 = 0x0a;
const EXTRA_RANDOMNESS: u64 = 0x0e;
const EPHEMERAL_GROUP: u64 = 0x15;
const STATIC_PUBLIC_KEY: u64 = 0x1d;

/// A view of a certificate of the Flash profile (RFC 7425 §4.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Certificate<'a> {
    canonical: &'a [u8],
    hostname: Option<&'a [u8]>,
    accepts_ancillary_data: bool,
    kind: Option<KeyKind>,
}

/// Whether a certificate's owner agrees on session keys with a fresh Diffie-Hellman key for each session or with the
/// keys in the certificate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum KeyKind {
    /// A fresh key for each session: nobody can prove to be the owner (RFC 7425 §4.3.3.4).
    Ephemeral,
    /// The keys in the certificate: opening a session proves to own it (RFC 7425 §4.3.3.5).
    Static,
}

impl<'a> Certificate<'a> {
    /// Reads a certificate. Unknown options, and options outside of the canonical section, are ignored.
    ///
    /// # Errors
    /// It is not a sequence of options and markers; or its canonical section has more than one hostname (RFC 7425
    /// §4.3.3.1), both ephemeral groups and static keys (§4.3.3.4, §4.3.3.5), or a group number that is no VLU.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut options = Options::new(bytes);
        let mut certificate = Self { canonical: bytes, hostname: None, accepts_ancillary_data: false, kind: None };
        let mut marker_found = false;
        loop {
            let left = options.as_slice().len();
            let Some(option) = options.next() else { return Ok(certificate) };
            match option? {
                RawOption::Marker if !marker_found => {
                    marker_found = true;
                    certificate.canonical = bytes.get(..bytes.len() - left).ok_or(Malformed)?;
                }
                RawOption::Option { kind, value } if !marker_found => certificate.take(kind, value)?,
                RawOption::Marker | RawOption::Option { .. } => {}
            }
        }
    }

    /// Takes an option of the canonical section.
    fn take(&mut self, kind: u64, value: &'a [u8]) -> Result<(), Malformed> {
        let keys = match kind {
            HOSTNAME => return self.hostname.replace(value).map_or(Ok(()), |_| Err(Malformed)),
            ACCEPTS_ANCILLARY_DATA => {
                self.accepts_ancillary_data = true;
                return Ok(());
            }
            EPHEMERAL_GROUP => KeyKind::Ephemeral,
            STATIC_PUBLIC_KEY => KeyKind::Static,
            _ => return Ok(()),
        };
        Cursor::new(value).vlu()?;
        match self.kind.replace(keys) {
            Some(before) if before != keys => Err(Malformed),
            _ => Ok(()),
        }
    }

    /// The bytes that the fingerprint is made of: all before the first marker (RFC 7425 §4.3.1).
    #[must_use]
    pub const fn canonical_section(&self) -> &'a [u8] {
        self.canonical
    }

    /// The certificate's fingerprint (RFC 7425 §4.3.2).
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.canonical)
    }

    /// The endpoint's hostname, if it has one. Nothing proves it (RFC 7425 §4.3.4).
    #[must_use]
    pub const fn hostname(&self) -> Option<&'a [u8]> {
        self.hostname
    }

    /// Whether an Endpoint Discriminator with ancillary data may select the certificate (RFC 7425 §4.3.3.2).
    #[must_use]
    pub const fn accepts_ancillary_data(&self) -> bool {
        self.accepts_ancillary_data
    }

    /// How the owner agrees on keys; `None` if the certificate names no group at all, so that no session is possible.
    #[must_use]
    pub const fn key_kind(&self) -> Option<KeyKind> {
        self.kind
    }

    /// The number of every group in which the owner agrees on keys, in the order of the certificate.
    pub fn groups(&self) -> impl Iterator<Item = u64> + use<'a> {
        self.key_options().map(|(group, _)| group)
    }

    /// The static public key in a group, in network byte order. The first, if there are several, which RFC 7425
    /// §4.3.3.5 leaves open.
    #[must_use]
    pub fn static_key(&self, group: u64) -> Option<&'a [u8]> {
        if self.kind != Some(KeyKind::Static) {
            return None;
        }
        self.key_options().find(|(id, _)| *id == group).map(|(_, key)| key)
    }

    /// Group numbers with what follows them.
    fn key_options(&self) -> impl Iterator<Item = (u64, &'a [u8])> + use<'a> {
        Options::new(self.canonical).filter_map(|option| match option {
            Ok(RawOption::Option { kind: EPHEMERAL_GROUP | STATIC_PUBLIC_KEY, value }) => {
                let mut value = Cursor::new(value);
                let group = value.vlu().ok()?;
                Some((group, value.rest()))
            }
            _ => None,
        })
    }
}

/// What goes into a near certificate.
#[derive(Debug, Default)]
pub(super) struct Contents<'a> {
    pub(super) hostname: Option<&'a [u8]>,
    pub(super) accepts_ancillary_data: bool,
    /// Group and public key for static keys.
    pub(super) static_keys: Vec<(Group, Vec<u8>)>,
    pub(super) ephemeral_groups: &'a [Group],
    pub(super) randomness: &'a [u8],
}

impl Contents<'_> {
    /// Encodes the certificate. All of it is the canonical section: there is no marker, since some implementations
    /// wrongly hash one into the fingerprint.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(hostname) = self.hostname {
            encode_option(HOSTNAME, hostname, &mut out);
        }
        if self.accepts_ancillary_data {
            encode_option(ACCEPTS_ANCILLARY_DATA, &[], &mut out);
        }
        for (group, key) in &self.static_keys {
            let mut value = Vec::new();
            vlu::encode(group.id(), &mut value);
            value.extend_from_slice(key);
            encode_option(STATIC_PUBLIC_KEY, &value, &mut out);
        }
        for group in self.ephemeral_groups {
            let mut value = Vec::new();
            vlu::encode(group.id(), &mut value);
            encode_option(EPHEMERAL_GROUP, &value, &mut out);
        }
        if !self.randomness.is_empty() {
            encode_option(EXTRA_RANDOMNESS, self.randomness, &mut out);
        }
        out
    }
}

#[cfg(test)]
mod tests;
