//! What a probe is known by.

use rtmfp_core::{CloseMode, Endpoint, Instant, Path, Target};

/// What the names of probes begin with. No fingerprint does, except by a chance of one in 2^64.
const MARK: [u8; 8] = *b"rtmfp/pr";

/// What a server has given to a client, so that it can tell that client's probes.
pub type Token = [u8; 16];

/// What stands in a probe where a hello has a fingerprint: a mark, a token, and the number of a test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ProbeName {
    /// Whose it is.
    pub token: Token,
    /// Chosen by the client.
    pub test: u64,
}

impl ProbeName {
    /// The name of a test.
    #[must_use]
    pub const fn new(token: Token, test: u64) -> Self {
        Self { token, test }
    }

    /// The bytes, for [`discriminator_of`](rtmfp_core::profile::CryptoProfile::discriminator_of).
    #[must_use]
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        let fields = MARK.into_iter().chain(self.token).chain(self.test.to_be_bytes());
        bytes.iter_mut().zip(fields).for_each(|(byte, field)| *byte = field);
        bytes
    }

    /// Reads the name at the end of a hello's discriminator; `None` if the hello is no probe.
    #[must_use]
    pub fn of(discriminator: &[u8]) -> Option<Self> {
        let rest = discriminator.last_chunk::<32>()?.strip_prefix(&MARK)?;
        let (token, test) = rest.split_first_chunk::<16>()?;
        Some(Self { token: *token, test: u64::from_be_bytes(test.try_into().ok()?) })
    }

    /// Sends a probe: one hello, after whose answer nobody looks. False if the endpoint has no room.
    pub(super) fn send(self, now: Instant, endpoint: &mut Endpoint, path: Path) -> bool {
        let discriminator = endpoint.profile().discriminator_of(&self.to_bytes());
        let Ok(session) = endpoint.open(now, Target::new(discriminator, path)) else { return false };
        // An answer would come from somebody who has no such name. Without an opening session it leads to nothing, and
        // no redirect does.
        if let Some(mut session) = endpoint.session_mut(now, session) {
            session.close(CloseMode::Abrupt);
        }
        true
    }
}

/// Whether a hello is a probe: who introduces others has nothing to do with it.
#[must_use]
pub fn is_probe(discriminator: &[u8]) -> bool {
    ProbeName::of(discriminator).is_some()
}
