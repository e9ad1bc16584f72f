//! Why two did not meet.

use core::fmt;

use rtmfp_core::error::OpenError;
use rtmfp_core::{CloseReason, OpenFailure};

use crate::message::Refusal;

/// Why something that a [`Guest`](crate::Guest) was asked for failed: the step that did. Shown, it says what to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Failure {
    /// No session with the server opened.
    ServerNotReached(OpenFailure),
    /// The session with the server has ended, and no other has opened yet.
    ServerLost(CloseReason),
    /// A server is there, but it does not speak this protocol, or has ended the talk.
    NoRendezvous,
    /// The server knows of nobody under this number or peer ID.
    NobodyThere,
    /// The server refuses what was asked.
    Refused {
        /// Why.
        reason: Refusal,
        /// Seconds after which it may be asked again. With 0, not before something else changes.
        seconds: u64,
    },
    /// The peer is registered with the server, but did not answer.
    NoAnswer {
        /// Why not over the relay either.
        relay: RelayOutcome,
    },
    /// Only the relay was allowed, and the server did not open a circuit.
    RelayRefused {
        /// Why.
        reason: Refusal,
    },
    /// Only a path on one network was allowed, and the peer is elsewhere.
    NotOnLan,
    /// A session with the peer is there, over a path that is not allowed.
    OtherPath,
    /// The peer answered, but no session opened.
    NotOpened(OpenFailure),
    /// This end could not begin.
    NotBegun(OpenError),
    /// This end has asked for too much at once.
    TooMany,
    /// The guest has left the server.
    Left,
}

/// What came of the relay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RelayOutcome {
    /// It was not to be used.
    NotAllowed,
    /// The server has not said yet whether it relays.
    Unknown,
    /// The server did not open a circuit.
    Refused(Refusal),
    /// The peer has not joined the server's relay, or may not be reached over it.
    NotJoined,
    /// Nobody answered over it.
    Silent,
}

impl core::error::Error for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ServerNotReached(reason) => {
                write!(f, "the server was not reached ({reason}): check its address and fingerprint, and that UDP gets there")
            }
            Self::ServerLost(reason) => {
                write!(f, "the session with the server has ended ({reason}): it is opened again, so try later")
            }
            Self::NoRendezvous => {
                f.write_str("the server is ending, or introduces nobody: check that `rtmfp serve` runs there")
            }
            Self::NobodyThere => f.write_str(
                "nobody is registered with the server under this number or fingerprint: check it, and that the other end runs",
            ),
            Self::Refused { reason: reason @ Refusal::NoToken, seconds: 0 } => write!(
                f,
                "the server refuses ({reason}): ask those who run it for a token, and show that (--token-file)"
            ),
            Self::Refused { reason, seconds: 0 } => write!(f, "the server refuses ({reason}): ask those who run it"),
            Self::Refused { reason, seconds } => write!(f, "the server refuses ({reason}): try again in {seconds} s"),
            Self::NoAnswer { relay } => {
                f.write_str("the server has introduced the two, but the other end did not answer")?;
                f.write_str(match relay {
                    RelayOutcome::NotAllowed => ": NATs or firewalls are between, or other networks: allow the relay, or all paths",
                    RelayOutcome::Unknown => ", and the server did not say whether it relays: try again",
                    RelayOutcome::Refused(Refusal::NoRelay) => {
                        ", and the server does not relay: NATs or firewalls are between, so use a server with --relay"
                    }
                    RelayOutcome::Refused(_) => ", and the server has refused to relay: try again later",
                    RelayOutcome::NotJoined => ", and it does not use the relay: NATs or firewalls are between",
                    RelayOutcome::Silent => ", not over the relay either: check that the other end runs, and try again",
                })
            }
            Self::RelayRefused { reason } => {
                write!(f, "the server does not relay to the other end, and nothing else is allowed ({reason}): allow direct \
                    paths, or use a server with --relay")
            }
            Self::NotOnLan => f.write_str("the other end is not on the same network: allow other paths"),
            Self::OtherPath => f.write_str("there is a session with the other end over a path that is not allowed: close it first"),
            Self::NotOpened(reason) => write!(f, "the other end answered, but no session opened ({reason}): try again"),
            Self::NotBegun(reason) => write!(f, "this end could not begin ({reason})"),
            Self::TooMany => f.write_str("too much was asked for at once: wait until some of it is answered"),
            Self::Left => f.write_str("this end has left the server: join it again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;

    #[test]
    fn a_failure_says_what_to_do_next() {
        for (failure, next) in [
            (Failure::NobodyThere, "check"),
            (Failure::Refused { reason: Refusal::TooMany, seconds: 9 }, "in 9 s"),
            (Failure::Refused { reason: Refusal::NotAllowed, seconds: 0 }, "ask those"),
            (Failure::Refused { reason: Refusal::NoToken, seconds: 0 }, "--token-file"),
            (Failure::NoAnswer { relay: RelayOutcome::Refused(Refusal::NoRelay) }, "--relay"),
            (Failure::NoAnswer { relay: RelayOutcome::NotAllowed }, "allow the relay"),
            (Failure::ServerNotReached(OpenFailure::TimedOut), "address"),
        ] {
            assert!(failure.to_string().contains(next), "{failure}");
        }
    }
}
