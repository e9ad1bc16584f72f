//! How the program ends.

use core::fmt;
use std::io;

use rtmfp_core::{CloseReason, OpenFailure, SessionState};

/// Exit codes, as `rtmfp --help` lists them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Code {
    /// This end failed: a file, a socket, a setting.
    Local = 1,
    /// The command line was wrong.
    Usage = 2,
    /// No session could be opened.
    NotOpened = 3,
    /// The far end went away, or does not do what was asked.
    Lost = 4,
    /// One or more files were refused, left out or not verified.
    Files = 5,
    /// The code is wrong, or was used or burnt before.
    WrongCode = 6,
    /// Somebody has guessed the code of this end, wrongly.
    Burnt = 7,
    /// The code of this end has expired.
    Expired = 8,
    /// The receiver has declined what was offered.
    Declined = 9,
    /// Interrupted by the user.
    Interrupted = 130,
}

/// Why the program did not do what it was asked: what happened, and what to do next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The exit code.
    pub code: Code,
    /// For people.
    pub message: String,
}

impl Failure {
    /// A failure.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// A failure of this end.
    pub fn local(what: impl fmt::Display, error: impl fmt::Display) -> Self {
        Self::new(Code::Local, format!("{what}: {error}"))
    }

    /// Interrupted by the user.
    #[must_use]
    pub fn interrupted() -> Self {
        Self::new(Code::Interrupted, "interrupted")
    }

    /// A session that did not open, given how far it got.
    #[must_use]
    pub fn not_opened(reason: OpenFailure, reached: Option<SessionState>, to: &str, pinned: bool) -> Self {
        let message = match (reason, reached) {
            (OpenFailure::TimedOut, Some(SessionState::KeyingSent)) => format!(
                "{to} answered, but did not agree on keys: check that both ends have the same password (or both none), \
                 and that neither requires a --hybrid that the other lacks; if the far end is old software, try \
                 --compatible; it may also be too busy"
            ),
            (OpenFailure::TimedOut, _) if pinned => format!(
                "nobody with this fingerprint answered at {to}: check it against what the far end shows now (a \
                 receiver without an identity has a new one at each start), and known_peers if it was pinned; check that \
                 the far end is running, the address, and that both ends have the same profile"
            ),
            (OpenFailure::TimedOut, _) => format!(
                "nobody answered at {to}: check that the far end is running, the address and port, that UDP gets through \
                 the firewalls between, and that both ends have the same --profile (a password or --compatible means flash)"
            ),
            (OpenFailure::CertificateRefused, _) if pinned => format!(
                "{to} shows this fingerprint but has no static keys to prove it, so it may be a copy: start the far end \
                 with --fingerprint-file and pin what it says then"
            ),
            (OpenFailure::CertificateRefused, _) => format!(
                "{to} shows static keys, which a password does not vouch for: somebody between may have put them there. \
                 Pin them with --fingerprint, or start the far end without --fingerprint-file"
            ),
            (OpenFailure::NotSent { remote, os_error }, _) => format!(
                "nobody answered at {to}, and this machine could not send to {remote}: {}: check the network, and the \
                 address",
                io::Error::from_raw_os_error(os_error)
            ),
            (OpenFailure::KeyAgreement, _) => {
                format!(
                    "{to} offers no key agreement that is safe enough: with --hybrid require, the far end needs --hybrid \
                     too; with --profile flash, if you must talk to it, try --compatible"
                )
            }
            (other, _) => format!("no session with {to} could be opened ({other}): try again"),
        };
        Self::new(Code::NotOpened, message)
    }

    /// An open session that ended early.
    #[must_use]
    pub fn lost(reason: CloseReason, with: &str) -> Self {
        let message = match reason {
            CloseReason::Far => format!(
                "{with} closed the session before the end: it may be busy, or have ended; see what it says, and try again"
            ),
            CloseReason::TimedOut | CloseReason::Idle => {
                format!(
                    "{with} does not answer any more: check that it is running and the network between, and try again"
                )
            }
            CloseReason::TimedOutAtFixedAddress => format!(
                "{with} does not answer any more: check that it is running and the network between. This session had no \
                 message authentication, so it could not follow a change of address: if a NAT has given one of the ends a \
                 new port, it stalls for good. Try again, without --compatible if the far end allows"
            ),
            CloseReason::NotSent { os_error } => format!(
                "{with} does not answer any more, and this machine cannot send to it: {}: check the network, and try \
                 again",
                io::Error::from_raw_os_error(os_error)
            ),
            CloseReason::PacketSize => format!(
                "the network to {with} lets small packets through and loses larger ones (its MTU is below 1,000 bytes, \
                 or it drops IP fragments): try another network"
            ),
            CloseReason::UnrepairedGaps => {
                format!("{with} kept sending with parts left out: it may be incompatible software")
            }
            CloseReason::PeerAtFault => format!("{with} broke the protocol: it may be incompatible software"),
            CloseReason::Near | CloseReason::Overridden | _ => {
                format!("the session with {with} ended early ({reason}): try again")
            }
        };
        Self::new(Code::Lost, message)
    }
}

/// An error and its sources, one after another.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a>(pub &'a dyn core::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for Failure {}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(Code::Local, format!("the system reports: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::SendFailure;

    #[test]
    fn a_chain_tells_each_cause_once() {
        let failure = SendFailure::Lost(CloseReason::Idle);
        assert_eq!(Chain(&failure).to_string(), "the session ended early: there were no flows");
        assert_eq!(Chain(&SendFailure::Confused).to_string(), SendFailure::Confused.to_string());
    }
}
