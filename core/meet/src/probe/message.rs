//! The messages of `rtmfp-probe/1`: see the [table](super#the-protocol-rtmfp-probe1).

use alloc::vec::Vec;

use rtmfp_core::wire::{Address, Cursor, Malformed, vlu};

use super::name::Token;
use crate::message::Refusal;

/// The metadata of the flows, both ways. The version is the last digit.
pub const METADATA: &[u8] = b"rtmfp-probe/1";
/// Bytes that a message has at least which asks for a probe. A hello takes fewer, with all that encryption adds.
pub const MIN_REQUEST: usize = 512;
/// The most places that a server tells of.
pub(super) const MAX_PLACES: usize = 8;

/// What a client asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ProbeRequest {
    /// A probe from a place, now.
    Send {
        /// What the probe is known by.
        test: u64,
        /// Where it is to come from; 0 for the socket of the session.
        place: u64,
    },
    /// A probe from the socket of the session, later.
    Later {
        /// What the probe is known by.
        test: u64,
        /// After how long.
        seconds: u64,
    },
}

impl ProbeRequest {
    /// Reads a message; `None` if it is of a kind that is not known.
    ///
    /// # Errors
    /// It does not follow the syntax, or is too short.
    pub fn parse(message: &[u8]) -> Result<Option<Self>, Malformed> {
        let mut cursor = Cursor::new(message);
        let request = match cursor.u8()? {
            0x01 => Self::Send { test: cursor.vlu()?, place: cursor.vlu()? },
            0x02 => Self::Later { test: cursor.vlu()?, seconds: cursor.vlu()? },
            _ => return Ok(None),
        };
        if message.len() < MIN_REQUEST { Err(Malformed) } else { Ok(Some(request)) }
    }

    /// The message.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        let (kind, test, field) = match self {
            Self::Send { test, place } => (0x01, test, place),
            Self::Later { test, seconds } => (0x02, test, seconds),
        };
        let mut out = Vec::from([kind]);
        vlu::encode(test, &mut out);
        vlu::encode(field, &mut out);
        out.resize(MIN_REQUEST, 0);
        out
    }
}

/// What a server says.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ProbeReply {
    /// The client may send probes, and ask for them.
    Welcome {
        /// Names the client's probes, in both directions.
        token: Token,
        /// Where the client's packets come from.
        seen: Address,
        /// The other sockets that the server has for probes, 8 at most.
        places: Vec<Address>,
    },
    /// A probe of the client's came.
    Arrived {
        /// Its test.
        test: u64,
        /// Where it came to.
        place: u64,
        /// Where it came from.
        address: Address,
    },
    /// A probe is sent, or will be.
    Sent {
        /// Its test.
        test: u64,
    },
    /// No probe is sent.
    Refused {
        /// Its test.
        test: u64,
        /// Why.
        reason: Refusal,
        /// Seconds after which it may be asked for again. With 0, not before something else changes.
        seconds: u64,
    },
}

impl ProbeReply {
    /// Reads a message; `None` if it is of a kind that is not known.
    ///
    /// # Errors
    /// It does not follow the syntax.
    pub fn parse(message: &[u8]) -> Result<Option<Self>, Malformed> {
        let mut cursor = Cursor::new(message);
        let reply = match cursor.u8()? {
            0x11 => {
                let token = cursor.array()?;
                let seen = Address::parse(&mut cursor)?;
                let mut places = Vec::new();
                while !cursor.is_empty() && places.len() < MAX_PLACES {
                    places.push(Address::parse(&mut cursor)?);
                }
                Self::Welcome { token, seen, places }
            }
            0x12 => Self::Arrived { test: cursor.vlu()?, place: cursor.vlu()?, address: Address::parse(&mut cursor)? },
            0x13 => Self::Sent { test: cursor.vlu()? },
            0x14 => {
                let (test, reason) = (cursor.vlu()?, Refusal::from_code(cursor.vlu()?));
                Self::Refused { test, reason, seconds: cursor.vlu()? }
            }
            _ => return Ok(None),
        };
        if cursor.is_empty() { Ok(Some(reply)) } else { Err(Malformed) }
    }

    /// The message.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Welcome { token, seen, places } => {
                out.push(0x11);
                out.extend_from_slice(token);
                seen.encode(&mut out);
                places.iter().take(MAX_PLACES).for_each(|place| place.encode(&mut out));
            }
            Self::Arrived { test, place, address } => {
                out.push(0x12);
                vlu::encode(*test, &mut out);
                vlu::encode(*place, &mut out);
                address.encode(&mut out);
            }
            Self::Sent { test } => {
                out.push(0x13);
                vlu::encode(*test, &mut out);
            }
            Self::Refused { test, reason, seconds } => {
                out.push(0x14);
                [*test, reason.code(), *seconds].into_iter().for_each(|number| vlu::encode(number, &mut out));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::SocketAddr;
    use rtmfp_core::wire::AddressOrigin;

    fn replies() -> [ProbeReply; 4] {
        let socket = SocketAddr::from(([192, 0, 2, 1], 1936));
        let address = Address { origin: AddressOrigin::Observed, socket };
        [
            ProbeReply::Welcome { token: [7; 16], seen: address, places: [address, address].into() },
            ProbeReply::Arrived { test: 3, place: 1, address },
            ProbeReply::Sent { test: 1 << 40 },
            ProbeReply::Refused { test: 3, reason: Refusal::TooMany, seconds: 2 },
        ]
    }

    #[test]
    fn what_is_written_is_read_back() {
        for request in [ProbeRequest::Send { test: 3, place: 2 }, ProbeRequest::Later { test: 1 << 40, seconds: 300 }] {
            let bytes = request.to_bytes();
            assert_eq!((bytes.len(), ProbeRequest::parse(&bytes)), (MIN_REQUEST, Ok(Some(request))));
        }
        for reply in replies() {
            assert_eq!(ProbeReply::parse(&reply.to_bytes()), Ok(Some(reply)));
        }
    }

    #[test]
    fn what_asks_for_more_than_it_takes_and_what_is_cut_short_is_refused() {
        let request = ProbeRequest::Send { test: 3, place: 2 }.to_bytes();
        for len in 0..MIN_REQUEST {
            assert_eq!(ProbeRequest::parse(request.get(..len).unwrap_or_default()), Err(Malformed), "{len} bytes");
        }
        for reply in replies().get(1..).unwrap_or_default() {
            let bytes = reply.to_bytes();
            for len in 0..bytes.len() {
                assert_eq!(
                    ProbeReply::parse(bytes.get(..len).unwrap_or_default()),
                    Err(Malformed),
                    "{reply:?} to {len}"
                );
            }
            assert_eq!(ProbeReply::parse(&[&bytes[..], &[0]].concat()), Err(Malformed));
        }
        assert_eq!(ProbeRequest::parse(&[0x55]), Ok(None));
        assert_eq!(ProbeReply::parse(&[0x55]), Ok(None));
    }

    #[test]
    fn no_more_places_are_read_than_there_may_be() {
        let [welcome, ..] = replies();
        let ProbeReply::Welcome { token, seen, .. } = welcome else { return };
        let many = |places| ProbeReply::Welcome { token, seen, places: alloc::vec![seen; places] };
        let eight = many(8).to_bytes();
        assert_eq!(many(9).to_bytes(), eight, "no more are written");
        let mut nine = eight;
        seen.encode(&mut nine);
        assert_eq!(ProbeReply::parse(&nine), Err(Malformed));
    }
}
