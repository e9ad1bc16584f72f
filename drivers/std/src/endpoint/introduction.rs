//! The words of introduction that handles and the endpoint have in common.

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use rtmfp_core::profile::Fingerprint;
use rtmfp_core::{Bytes, UnmatchedHello};
use rtmfp_meet::Failure;

use super::Error;
use crate::kind::required_peer_id;

/// Whom an introducer introduces: see [`Builder::introduce`](super::Builder::introduce).
#[non_exhaustive]
pub enum IntroducePolicy {
    /// Everybody who is connected, to whoever asks.
    Connected,
    /// Everybody who is connected, if this function says so. It is called on the endpoint's own thread or task, and so
    /// must not block.
    Authorise(Box<dyn Fn(&IntroductionRequest) -> bool + Send>),
    /// The application decides: it is given each request by
    /// [`introductions`](super::EndpointHandle::introductions).
    Ask,
}

impl IntroducePolicy {
    /// [`Authorise`](Self::Authorise).
    pub fn authorise(authorise: impl Fn(&IntroductionRequest) -> bool + Send + 'static) -> Self {
        Self::Authorise(Box::new(authorise))
    }
}

impl fmt::Debug for IntroducePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connected => "Connected",
            Self::Authorise(_) => "Authorise",
            Self::Ask => "Ask",
        })
    }
}

/// Somebody asks for somebody else (RFC 7016 §3.5.1.4).
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct IntroductionRequest {
    /// Where the request comes from, which is not proved.
    pub from: SocketAddr,
    /// Whom it asks for, in the syntax of the profile.
    pub discriminator: Bytes,
}

impl IntroductionRequest {
    pub(super) fn of(hello: &UnmatchedHello) -> Self {
        Self { from: hello.path.remote, discriminator: hello.discriminator.clone() }
    }

    /// Whom it asks for, if that is a peer ID.
    #[must_use]
    pub fn peer_id(&self) -> Option<Fingerprint> {
        required_peer_id(&self.discriminator)
    }
}

/// What becomes of a registration with an introducer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RegistrationEvent {
    /// The introducer can introduce this end to others, and has shown that it has the keys of the session: whose
    /// certificate it is that was asked for. (In a session without HMAC it has answered, which proves less.)
    Registered,
    /// It cannot any more, or could not in the first place.
    Lost(Error),
    /// It is tried again after this time.
    Retrying(Duration),
}

/// What becomes of a meeting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum MeetingEvent {
    /// The server knows this end: others can find it. Comes again after each [`ServerLost`](Self::ServerLost).
    Registered,
    /// The server is not reached, or not any more.
    ServerLost {
        /// Why.
        failure: Failure,
        /// It is tried again after this time.
        retry: Duration,
    },
    /// The server sees this end at this address.
    Seen(SocketAddr),
    /// Others find this end under this number, if one is wanted.
    Number {
        /// The number.
        number: u64,
        /// The number before, if it was another: it leads nowhere any more, or to somebody else.
        before: Option<u64>,
    },
    /// The server does not accept the token.
    TokenRefused(Failure),
}
