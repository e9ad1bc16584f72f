//! Why not all could be found out.

use core::fmt;

use rtmfp_core::{CloseReason, OpenFailure};

use crate::message::Refusal;

/// Why a doctor's findings are not complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Incomplete {
    /// There is no session with the server.
    NotOpened(OpenFailure),
    /// The session ended.
    Lost(CloseReason),
    /// The server does not help with probes, or has no room; with the code of its rejection, if it rejected.
    NoProbes(Option<u64>),
    /// The server has refused a request, and may take it again after so many seconds.
    Refused(Refusal, u64),
}

impl core::error::Error for Incomplete {}

impl fmt::Display for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOpened(reason) => write!(f, "no session with the server could be opened: {reason}"),
            Self::Lost(reason) => write!(f, "the session with the server ended early: {reason}"),
            Self::NoProbes(Some(code)) if *code != 0 => {
                write!(f, "the server has no room for probes now (code {code})")
            }
            Self::NoProbes(_) => f.write_str("the server does not help with probes"),
            Self::Refused(reason, 0) => write!(f, "the server refused a probe: {reason}"),
            Self::Refused(reason, seconds) => {
                write!(f, "the server refused a probe: {reason}; ask again in {seconds} s")
            }
        }
    }
}
