//! Endpoint Discriminators (RFC 7425 §4.4).

use alloc::vec::Vec;

use super::certificate::Certificate;
use crate::profile::Fingerprint;
use crate::wire::Malformed;
use crate::wire::option::{Options, RawOption, encode_option};

const REQUIRED_HOSTNAME: u64 = 0x00;
const ANCILLARY_DATA: u64 = 0x0a;
const FINGERPRINT: u64 = 0x0f;

/// Says which endpoint is meant (RFC 7425 §4.4): to open a session, make one and hand its
/// [bytes](Self::to_bytes) over.
///
/// ```
/// use rtmfp_core::profile::flash::Discriminator;
///
/// let server = Discriminator::new().ancillary_data(b"rtmfp://server.example.com/app/instance");
/// assert_eq!(Discriminator::parse(&server.to_bytes()), Ok(server));
/// ```
///
/// A fingerprint outweighs everything else. Without any of the three it selects no endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Discriminator<'a> {
    hostname: Option<&'a [u8]>,
    ancillary_data: Option<&'a [u8]>,
    fingerprint: Option<Fingerprint>,
}

impl<'a> Discriminator<'a> {
    /// Selects nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { hostname: None, ancillary_data: None, fingerprint: None }
    }

    /// Requires this hostname (RFC 7425 §4.4.2.1).
    #[must_use]
    pub const fn hostname(self, hostname: &'a [u8]) -> Self {
        Self { hostname: Some(hostname), ..self }
    }

    /// Requires an endpoint that accepts ancillary data, and tells it these: the server's URI in UTF-8 (RFC 7425
    /// §4.4.2.2).
    #[must_use]
    pub const fn ancillary_data(self, data: &'a [u8]) -> Self {
        Self { ancillary_data: Some(data), ..self }
    }

    /// Requires this certificate, whatever else is given (RFC 7425 §4.4.2.3).
    #[must_use]
    pub const fn fingerprint(self, fingerprint: Fingerprint) -> Self {
        Self { fingerprint: Some(fingerprint), ..self }
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

    /// The required fingerprint.
    #[must_use]
    pub const fn required_fingerprint(&self) -> Option<Fingerprint> {
        self.fingerprint
    }

    /// Reads a discriminator. Unknown options are ignored (RFC 7425 §4.4.2).
    ///
    /// # Errors
    /// It is not a sequence of options; one of the known ones occurs more than once; or the fingerprint has not 32
    /// bytes. Such a discriminator selects nothing.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut parsed = Self::new();
        for option in Options::new(bytes) {
            let RawOption::Option { kind, value } = option? else { continue };
            let repeated = match kind {
                REQUIRED_HOSTNAME => parsed.hostname.replace(value).is_some(),
                ANCILLARY_DATA => parsed.ancillary_data.replace(value).is_some(),
                FINGERPRINT => {
                    let bytes = value.try_into().map_err(|_| Malformed)?;
                    parsed.fingerprint.replace(Fingerprint(bytes)).is_some()
                }
                _ => false,
            };
            if repeated {
                return Err(Malformed);
            }
        }
        Ok(parsed)
    }

    /// The bytes of the discriminator, as hellos carry them.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(hostname) = self.hostname {
            encode_option(REQUIRED_HOSTNAME, hostname, &mut out);
        }
        if let Some(data) = self.ancillary_data {
            encode_option(ANCILLARY_DATA, data, &mut out);
        }
        if let Some(fingerprint) = &self.fingerprint {
            // RFC 7425 §4.4.4: if it stands alone this is the canonical form, 34 bytes.
            encode_option(FINGERPRINT, fingerprint.as_bytes(), &mut out);
        }
        out
    }

    /// Whether it selects a certificate (RFC 7425 §4.4.3).
    #[must_use]
    pub fn selects(&self, certificate: &Certificate<'_>) -> bool {
        self.selects_with(certificate, || certificate.fingerprint())
    }

    /// The same, with a fingerprint that need not be computed again.
    pub(super) fn selects_with(&self, certificate: &Certificate<'_>, its: impl FnOnce() -> Fingerprint) -> bool {
        if let Some(fingerprint) = self.fingerprint {
            return fingerprint == its();
        }
        if self.hostname.is_none() && self.ancillary_data.is_none() {
            return false;
        }
        let hostname_fits = self.hostname.is_none() || self.hostname == certificate.hostname();
        let ancillary_fits = self.ancillary_data.is_none() || certificate.accepts_ancillary_data();
        hostname_fits && ancillary_fits
    }
}

#[cfg(test)]
mod tests;
