//! Whom a command is to reach.

use core::fmt;
use core::str::FromStr;

use rtmfp_core::profile::Fingerprint;
use rtmfp_std::Uri;

use crate::keyring::fingerprint;

/// Whom a command is to reach.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Whom {
    /// At an address that is known.
    Uri(Uri),
    /// By peer ID, through a server.
    Peer(Fingerprint),
    /// By a number that the server has given.
    Number(u64),
}

impl FromStr for Whom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(peer_id) = fingerprint(text) {
            return Ok(Self::Peer(peer_id));
        }
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map(Self::Number).map_err(|_| "no number is as long".to_owned());
        }
        let error = |error| format!("{error}; with --via, a fingerprint of 64 hexadecimal digits or a number");
        text.parse().map(Self::Uri).map_err(error)
    }
}

impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri(uri) => f.write_str(&uri.text),
            Self::Peer(peer_id) => write!(f, "{peer_id}"),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}
