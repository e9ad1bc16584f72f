//! Why something was not done.

use core::fmt;
use std::io;

use rtmfp_core::error::{OpenError, OpenFlowError};
use rtmfp_core::{CloseReason, OpenFailure};
use rtmfp_meet::Failure;

use crate::uri::UriError;

/// Why something asked of an [`Endpoint`](super::Endpoint) was not done. Its text does not
/// include that of its source, if it has one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The endpoint did not begin the session.
    NotBegun(OpenError),
    /// No socket of the endpoint has the address family of any of the far end's addresses.
    AddressFamily,
    /// It is no URI of a far end.
    Uri(UriError),
    /// No address was found for the name of the far end.
    NotResolved,
    /// The session did not open.
    NotOpened(OpenFailure),
    /// Nobody answered, neither the introducer nor the far end. An introducer is silent if it does not know the peer
    /// (RFC 7016 §3.5.1.6 has no answer for that).
    NotIntroduced,
    /// The server was not joined with [`PathPolicy::RelayOnly`](rtmfp_meet::PathPolicy::RelayOnly), as the endpoint would
    /// answer hellos that are handed on to it, and so show its address. It must be built to
    /// [ignore](rtmfp_core::ForwardedHelloPolicy::Ignore) them.
    AnswersForwardedHellos,
    /// A meeting did not find or reach a peer. The text of the source says what to do next.
    NotMet(Failure),
    /// The session ended, and its flows with it.
    SessionClosed(CloseReason),
    /// The flow could not be opened.
    NoFlow(OpenFlowError),
    /// The receiver rejected the flow with this exception code (RFC 7016 §3.6.2.10).
    Rejected(u64),
    /// The receiver rejected the flow after it was closed here, and before it had received everything (its exception
    /// code is not told then, RFC 7016 §3.6.2.10).
    Abandoned,
    /// The flow, session or endpoint was closed, or the flow rejected, by this end.
    Closed,
    /// The endpoint has stopped.
    Stopped,
    /// Nobody runs the endpoint: its driver was neither spawned nor polled.
    NotDriven,
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::NotBegun(why) => Some(why),
            // The text says all.
            Self::NotOpened(OpenFailure::NotSent { .. })
            | Self::SessionClosed(CloseReason::NotSent { .. } | CloseReason::PacketSize) => None,
            Self::NotOpened(why) => Some(why),
            Self::SessionClosed(why) => Some(why),
            Self::NoFlow(why) => Some(why),
            Self::Uri(why) => Some(why),
            Self::NotMet(why) => Some(why),
            Self::AddressFamily
            | Self::AnswersForwardedHellos
            | Self::NotResolved
            | Self::NotIntroduced
            | Self::Rejected(_)
            | Self::Abandoned
            | Self::Closed
            | Self::Stopped
            | Self::NotDriven => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBegun(_) => f.write_str("the session was not begun"),
            Self::NotOpened(OpenFailure::NotSent { remote, os_error }) => {
                let error = io::Error::from_raw_os_error(*os_error);
                write!(f, "the session did not open: nothing could be sent to {remote}: {error}")
            }
            Self::NotOpened(_) => f.write_str("the session did not open"),
            Self::NotIntroduced => f.write_str(
                "the session did not open: nobody answered: the introducer may not know this peer, or not be there",
            ),
            Self::AnswersForwardedHellos => f.write_str(
                "over the relay only nothing is to show this end's address, but the endpoint answers forwarded hellos: set \
                 `forwarded_hello` to `Ignore` in its configuration",
            ),
            Self::NotMet(_) => f.write_str("the two did not meet"),
            Self::Uri(_) => f.write_str("it is no URI of a far end"),
            Self::NotResolved => f.write_str("no address was found for the name of the far end"),
            Self::AddressFamily => f.write_str("the endpoint has no socket of the address family that is needed"),
            Self::SessionClosed(CloseReason::NotSent { os_error }) => {
                let error = io::Error::from_raw_os_error(*os_error);
                write!(f, "the session has ended: nothing could be sent any more: {error}")
            }
            Self::SessionClosed(CloseReason::PacketSize) => f.write_str(
                "the session has ended: the network loses packets of the size that is needed, not smaller ones",
            ),
            Self::SessionClosed(_) => f.write_str("the session has ended"),
            Self::NoFlow(_) => f.write_str("the flow was not opened"),
            Self::Rejected(code) => write!(f, "the receiver rejected the flow with code {code}"),
            Self::Abandoned => f.write_str("the receiver rejected the flow before it had received everything"),
            Self::Closed => f.write_str("it was closed by this end"),
            Self::Stopped => f.write_str("the endpoint has stopped"),
            Self::NotDriven => f.write_str("nothing can happen: the endpoint's driver was never spawned or polled"),
        }
    }
}

impl From<UriError> for Error {
    fn from(why: UriError) -> Self {
        Self::Uri(why)
    }
}

#[cfg(test)]
mod tests {
    use core::error::Error as _;

    use super::*;
    use crate::{TryRecvError, TrySendError};

    /// Whoever prints an error and its sources, as programs do, read each cause twice.
    #[test]
    fn an_error_tells_its_cause_once() {
        let remote = "192.0.2.1:1935".parse().unwrap();
        let errors = [
            Error::NotBegun(OpenError::NoCandidates),
            Error::Uri(UriError::Scheme),
            Error::NotOpened(OpenFailure::TimedOut),
            Error::NotMet(Failure::NobodyThere),
            Error::NotOpened(OpenFailure::NotSent { remote, os_error: 101 }),
            Error::SessionClosed(CloseReason::Idle),
            Error::SessionClosed(CloseReason::NotSent { os_error: 101 }),
            Error::SessionClosed(CloseReason::PacketSize),
            Error::NoFlow(OpenFlowError::SessionClosed),
        ];
        let own = errors.iter().map(|error| error as &dyn core::error::Error);
        let outer = [TryRecvError::Ended(Error::Closed)];
        let sending = [TrySendError::Ended(rtmfp_core::Bytes::new(), Error::Closed)];
        let outer = outer.iter().map(|error| error as &dyn core::error::Error);
        let sending = sending.iter().map(|error| error as &dyn core::error::Error);
        for error in own.chain(outer).chain(sending) {
            let text = error.to_string();
            if let Some(source) = error.source() {
                assert!(!text.contains(&source.to_string()), "{text}: {source}");
            }
        }
        assert_eq!(errors.iter().filter(|error| error.source().is_none()).count(), 3);
    }
}
