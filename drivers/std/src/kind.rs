//! What differs between the profiles for those who name far ends: discriminators, peer IDs and ports.

use core::fmt;

use rtmfp_core::Bytes;
use rtmfp_core::profile::{CryptoProfile, Fingerprint, flash, modern};

use crate::uri::{DEFAULT_PORT, MODERN_PORT};

/// The kind of a cryptography profile. An endpoint has one, and never falls back to another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ProfileKind {
    /// The Flash profile (RFC 7425 §4). Profiles that are not known here are treated as this one.
    Flash,
    /// The modern profile.
    Modern,
}

impl ProfileKind {
    /// The kind of a profile.
    #[must_use]
    pub fn of(profile: &dyn CryptoProfile) -> Self {
        let certificate = profile.certificate();
        let modern = modern_peer_id(certificate, &profile.canonical_discriminator(certificate));
        if modern.is_some() { Self::Modern } else { Self::Flash }
    }

    /// The port of servers whose URI names none: 1935 for Flash, and 1936 for the modern profile.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Flash => DEFAULT_PORT,
            Self::Modern => MODERN_PORT,
        }
    }

    /// Selects the server of a URI, the owner of a peer ID, or both in one.
    #[must_use]
    pub fn discriminator(self, uri: Option<&str>, peer_id: Option<Fingerprint>) -> Bytes {
        match self {
            Self::Flash => {
                let with = flash::Discriminator::new();
                let with = uri.map_or(with, |uri| with.ancillary_data(uri.as_bytes()));
                peer_id.map_or(with, |peer_id| with.fingerprint(peer_id)).to_bytes().into()
            }
            Self::Modern => {
                let with = modern::Discriminator::new();
                let with = uri.map_or(with, |uri| with.ancillary_data(uri.as_bytes()));
                peer_id.map_or(with, |peer_id| with.peer_id(peer_id)).to_bytes().into()
            }
        }
    }
}

impl fmt::Display for ProfileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flash => "flash",
            Self::Modern => "modern",
        })
    }
}

/// The peer ID of the owner of `certificate`, whose canonical discriminator (RFC 7016 §3.2) is `canonical`. `None` for
/// profiles without peer IDs. It tells the kinds apart: a certificate of one may look like one of another.
#[must_use]
pub fn peer_id_of(certificate: &[u8], canonical: &[u8]) -> Option<Fingerprint> {
    modern_peer_id(certificate, canonical).or_else(|| {
        let peer_id = flash::Certificate::parse(certificate).ok()?.fingerprint();
        (flash::Discriminator::new().fingerprint(peer_id).to_bytes() == canonical).then_some(peer_id)
    })
}

fn modern_peer_id(certificate: &[u8], canonical: &[u8]) -> Option<Fingerprint> {
    let peer_id = modern::Certificate::parse(certificate).ok()?.peer_id();
    (modern::Discriminator::new().peer_id(peer_id).to_bytes() == canonical).then_some(peer_id)
}

/// The peer ID that a discriminator of either kind requires.
pub(crate) fn required_peer_id(discriminator: &[u8]) -> Option<Fingerprint> {
    let modern = modern::Discriminator::parse(discriminator).ok().and_then(|parsed| parsed.required_peer_id());
    modern.or_else(|| flash::Discriminator::parse(discriminator).ok()?.required_fingerprint())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use rtmfp_core::profile::plain::PlainProfile;

    use super::*;
    use crate::entropy::system_rng;

    #[test]
    fn profiles_and_their_peer_ids_are_told_apart() {
        let mut rng = system_rng().unwrap();
        let flash = flash::FlashProfile::builder().build(&mut *rng).unwrap();
        let modern = modern::ModernProfile::builder().build(&mut *rng).unwrap();
        let peer_id = |profile: &dyn CryptoProfile| {
            let certificate = profile.certificate();
            peer_id_of(certificate, &profile.canonical_discriminator(certificate))
        };
        assert_eq!((ProfileKind::of(&flash), peer_id(&flash)), (ProfileKind::Flash, Some(flash.fingerprint())));
        assert_eq!((ProfileKind::of(&modern), peer_id(&modern)), (ProfileKind::Modern, Some(modern.peer_id())));
        assert_eq!(peer_id(&PlainProfile::new(b"somebody")), None);
    }

    #[test]
    fn discriminators_of_each_kind_require_a_peer_id() {
        let peer_id = Fingerprint([7; 32]);
        for kind in [ProfileKind::Flash, ProfileKind::Modern] {
            for uri in [None, Some("rtmfp://h/")] {
                assert_eq!(required_peer_id(&kind.discriminator(uri, Some(peer_id))), Some(peer_id), "{kind}");
                assert_eq!(required_peer_id(&kind.discriminator(uri, None)), None, "{kind}");
            }
        }
    }
}
