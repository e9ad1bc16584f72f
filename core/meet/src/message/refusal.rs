//! Why a server refuses what it is asked for.

use core::fmt;

/// Why a request is refused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// This client, or the network that it is in, has asked too often or has too many numbers.
    TooMany,
    /// The server has no more numbers, or is too busy.
    Full,
    /// The client may not do this.
    NotAllowed,
    /// The client's session does not prove who it is, so nobody could be sure to meet it.
    Unproved,
    /// The server relays nothing, or the client has no flow for relayed datagrams.
    NoRelay,
    /// The server asks for a token, and has accepted none of this client.
    NoToken,
    /// A reason that a later version has added.
    Other(u64),
}

impl Refusal {
    pub(crate) const fn code(self) -> u64 {
        match self {
            Self::TooMany => 1,
            Self::Full => 2,
            Self::NotAllowed => 3,
            Self::Unproved => 4,
            Self::NoRelay => 5,
            Self::NoToken => 6,
            Self::Other(code) => code,
        }
    }

    pub(crate) const fn from_code(code: u64) -> Self {
        match code {
            1 => Self::TooMany,
            2 => Self::Full,
            3 => Self::NotAllowed,
            4 => Self::Unproved,
            5 => Self::NoRelay,
            6 => Self::NoToken,
            code => Self::Other(code),
        }
    }
}

impl core::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => f.write_str("asked too often, or for too much"),
            Self::Full => f.write_str("the server has no room"),
            Self::NotAllowed => f.write_str("not allowed"),
            Self::Unproved => f.write_str("this end's session does not prove who it is"),
            Self::NoRelay => f.write_str("the server does not relay, or this end has no flow for it"),
            Self::NoToken => f.write_str("no token that the server accepts"),
            Self::Other(code) => write!(f, "reason {code}"),
        }
    }
}
