//! Whether key agreements have a post-quantum half: README.md, "Hybrid key agreement".

use super::kem;
use crate::profile::KeyingError;

/// README.md, "Hybrid key agreement": an IIKeying is at most 13 times as long as an RHello with such a cookie.
const MIN_COOKIE: usize = 32;

/// Whether sessions also agree on keys with ML-KEM-768 (FIPS 203), beside X25519.
///
/// Such a session stays secret from somebody who records it today and has a quantum computer later. Identities and
/// signatures stay classical. The IIKeying then takes two datagrams instead of one.
///
/// The implementation of ML-KEM that is used has had no independent audit. A flaw in it alone does not make a session less
/// secret than a classical one: X25519 protects it too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Hybrid {
    /// Sessions are classical. An end that offers the hybrid can still have a session with this one.
    #[default]
    Off,
    /// Offered when opening a session, and agreed to when a peer offers it. With other peers, sessions are classical.
    Offered,
    /// There are no sessions without it.
    Required,
}

impl Hybrid {
    /// Whether this build can do it.
    pub(super) const fn is_possible(self) -> bool {
        matches!(self, Self::Off) || kem::AVAILABLE
    }

    /// As initiator: whether an encapsulation key is sent.
    pub(super) const fn is_offered(self) -> bool {
        !matches!(self, Self::Off)
    }

    /// As initiator: bytes of the shortest cookie that an RHello may have.
    pub(super) const fn min_cookie(self) -> usize {
        if self.is_offered() { MIN_COOKIE } else { 0 }
    }

    /// As responder: the encapsulation key of an initiator's component that a secret is made for. `None`: the session is
    /// classical.
    ///
    /// # Errors
    /// Returns [`KeyingError::ProtectionRefused`] if the hybrid is required here and the component has no key.
    pub(super) fn answers(self, offered: Option<&[u8]>) -> Result<Option<&[u8]>, KeyingError> {
        match (self, offered) {
            (Self::Required, None) => Err(KeyingError::ProtectionRefused),
            (Self::Off, _) => Ok(None),
            (Self::Offered | Self::Required, offered) => Ok(offered),
        }
    }
}
