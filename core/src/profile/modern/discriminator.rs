//! Endpoint Discriminators of the modern profile: README.md, "Endpoint Discriminator".

use alloc::vec::Vec;

use super::certificate::{ANCILLARY_DATA, Certificate, HOSTNAME};
use super::options::{once, read};
use crate::profile::Fingerprint;
use crate::wire::Malformed;
use crate::wire::option::encode_option;

const PEER_ID: u64 = 0x4f;

/// Says which endpoint is meant: to open a session, make one and hand its [bytes](Self::to_bytes) over.
///
/// ```
/// use rtmfp_core::profile::modern::Discriminator;
///
/// let server = Discriminator::new().ancillary_data(b"rtmfp://server.example.com/app/instance");
/// assert_eq!(Discriminator::parse(&server.to_bytes()), Ok(server));
/// ```
///
/// A peer ID outweighs everything else, and is the only one that proves who the far end is. Without any of the three it
/// selects no endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Discriminator<'a> {
    hostname: Option<&'a [u8]>,
    ancillary_data: Option<&'a [u8]>,
    peer_id: Option<Fingerprint>,
}

impl<'a> Discriminator<'a> {
    /// Selects nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { hostname: None, ancillary_data: None, peer_id: None }
    }

    /// Requires this hostname.
    #[must_use]
    pub const fn hostname(self, hostname: &'a [u8]) -> Self {
        Self { hostname: Some(hostname), ..self }
    }

    /// Requires an endpoint that accepts ancillary data, and tells it these: the server's URI in UTF-8.
    #[must_use]
    pub const fn ancillary_data(self, data: &'a [u8]) -> Self {
        Self { ancillary_data: Some(data), ..self }
    }

    /// Requires this identity, whatever else is given.
    #[must_use]
    pub const fn peer_id(self, peer_id: Fingerprint) -> Self {
        Self { peer_id: Some(peer_id), ..self }
    }

    /// The required hostname.
    #[must_use]
    pub const fn required_hostname(&self) -> Option<&'a [u8]> {
        self.hostname
    }

    /// The ancillary data.
    #[must_use]
    pub const fn required_ancillary_data(&self) -> Option<&'a [u8]> {
        self.ancillary_data
    }

    /// The required peer ID.
    #[must_use]
    pub const fn required_peer_id(&self) -> Option<Fingerprint> {
        self.peer_id
    }

    /// Reads a discriminator. Unknown options are ignored if their type is even.
    ///
    /// # Errors
    /// It does not follow the syntax. Such a discriminator selects nothing.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut parsed = Self::new();
        read(bytes, |kind, value| match kind {
            PEER_ID => once(&mut parsed.peer_id, Fingerprint(value.try_into().map_err(|_| Malformed)?)),
            HOSTNAME => once(&mut parsed.hostname, value),
            ANCILLARY_DATA => once(&mut parsed.ancillary_data, value),
            _ => Ok(false),
        })?;
        Ok(parsed)
    }

    /// The bytes of the discriminator, as hellos carry them. With a peer ID alone they are the canonical form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(hostname) = self.hostname {
            encode_option(HOSTNAME, hostname, &mut out);
        }
        if let Some(data) = self.ancillary_data {
            encode_option(ANCILLARY_DATA, data, &mut out);
        }
        if let Some(peer_id) = &self.peer_id {
            encode_option(PEER_ID, peer_id.as_bytes(), &mut out);
        }
        out
    }

    /// Whether it selects a certificate.
    #[must_use]
    pub fn selects(&self, certificate: &Certificate<'_>) -> bool {
        self.selects_with(certificate, || certificate.peer_id())
    }

    /// The same, with a peer ID that need not be computed again.
    pub(super) fn selects_with(&self, certificate: &Certificate<'_>, its: impl FnOnce() -> Fingerprint) -> bool {
        if let Some(peer_id) = self.peer_id {
            return peer_id == its();
        }
        if self.hostname.is_none() && self.ancillary_data.is_none() {
            return false;
        }
        let hostname_fits = self.hostname.is_none() || self.hostname == certificate.hostname();
        let ancillary_fits = self.ancillary_data.is_none() || certificate.accepts_ancillary_data();
        hostname_fits && ancillary_fits
    }
}
