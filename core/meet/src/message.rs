//! What a client and a rendezvous server say to each other: see the [table](crate#the-protocol-rtmfp-meet1).

use alloc::vec::Vec;

use rtmfp_core::wire::{Address, Cursor, Malformed, vlu};

mod refusal;

pub use refusal::Refusal;

/// The metadata of the flows, both ways. The version is the last digit.
pub const METADATA: &[u8] = b"rtmfp-meet/1";
/// The metadata of the flows that carry relayed datagrams, both ways.
pub const RELAY_METADATA: &[u8] = b"rtmfp-relay/1";

/// The longest discriminator that is asked for, in bytes.
pub const MAX_DISCRIMINATOR: usize = 512;
/// The longest token, in bytes.
pub const MAX_TOKEN: usize = 4_096;

/// What a client says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Request<'a> {
    /// Asks for a number of its own.
    Number {
        /// Chosen by the client, to know the answer by.
        request: u64,
    },
    /// Gives a number back.
    Release {
        /// The number.
        number: u64,
    },
    /// Asks who can be met under a number.
    LookUp {
        /// To know the answer by.
        request: u64,
        /// The number.
        number: u64,
    },
    /// Asks whether a peer is here, and to be introduced to it.
    Peer {
        /// To know the answer by.
        request: u64,
        /// The peer's Canonical Endpoint Discriminator, at most [`MAX_DISCRIMINATOR`] bytes.
        discriminator: &'a [u8],
    },
    /// Shows a token that was given to the client by other ways.
    Token {
        /// To know the answer by.
        request: u64,
        /// The token, at most [`MAX_TOKEN`] bytes.
        token: &'a [u8],
    },
    /// Asks for a circuit to a peer: a way for datagrams between the two, through the server.
    OpenCircuit {
        /// To know the answer by.
        request: u64,
        /// The peer's Canonical Endpoint Discriminator, at most [`MAX_DISCRIMINATOR`] bytes.
        discriminator: &'a [u8],
    },
    /// Ends a circuit.
    CloseCircuit {
        /// Which.
        circuit: u64,
    },
    /// Further addresses of this client, in place of those before.
    Addresses {
        /// At most [`MAX_ADDRESSES`] addresses (RFC 7016 §2.1.5), one after another. See [`addresses`].
        list: &'a [u8],
    },
    /// Whether others are introduced to this client (RFC 7016 §3.5.1.6), as they are at first. If not, the server tells
    /// nobody an address of it and hands no hello on to it: it is reached over circuits alone.
    Introduction {
        /// Whether they are.
        wanted: bool,
    },
}

/// The most addresses in one message.
pub const MAX_ADDRESSES: usize = 8;
/// The longest list of them: origin, address and port of each.
const MAX_LIST: usize = MAX_ADDRESSES * 19;

/// The addresses of a list, up to the most that one message has. Nothing of what follows one that does not follow the syntax.
pub fn addresses(list: &[u8]) -> impl Iterator<Item = Address> + use<'_> {
    let mut cursor = Cursor::new(list);
    core::iter::from_fn(move || if cursor.is_empty() { None } else { Address::parse(&mut cursor).ok() })
        .take(MAX_ADDRESSES)
}

/// What a server says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Reply<'a> {
    /// Where the client's packets come from.
    Seen {
        /// The address.
        address: Address,
    },
    /// A number is the client's.
    Number {
        /// What is answered.
        request: u64,
        /// The number.
        number: u64,
    },
    /// A peer is here, and may be asked for.
    Found {
        /// What is answered.
        request: u64,
        /// The peer's Canonical Endpoint Discriminator.
        discriminator: &'a [u8],
    },
    /// Nobody is there.
    Nobody {
        /// What is answered.
        request: u64,
    },
    /// Not now, or not at all.
    Refused {
        /// What is answered.
        request: u64,
        /// Why.
        reason: Refusal,
        /// Seconds after which it may be asked again. With 0, not before something else changes.
        seconds: u64,
    },
    /// A token is accepted.
    Accepted {
        /// What is answered.
        request: u64,
    },
    /// A circuit is open, as was asked for.
    Circuit {
        /// What is answered.
        request: u64,
        /// The circuit.
        circuit: u64,
    },
    /// A peer has opened a circuit to this client.
    CircuitFrom {
        /// The circuit.
        circuit: u64,
        /// The peer's Canonical Endpoint Discriminator.
        discriminator: &'a [u8],
    },
    /// A circuit has ended, or there never was one.
    CircuitClosed {
        /// Which.
        circuit: u64,
        /// Why.
        end: CircuitEnd,
    },
}

/// Why a circuit has ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum CircuitEnd {
    /// One of the two has closed it, or has left.
    Closed,
    /// Nothing went through it for a while.
    Idle,
    /// It has been there for as long as a circuit may.
    Old,
    /// One of the two has sent all that it may.
    Spent,
    /// There is no such circuit of this client.
    Unknown,
    /// A reason that a later version has added.
    Other(u64),
}

impl CircuitEnd {
    const fn code(self) -> u64 {
        match self {
            Self::Closed => 1,
            Self::Idle => 2,
            Self::Old => 3,
            Self::Spent => 4,
            Self::Unknown => 5,
            Self::Other(code) => code,
        }
    }

    const fn from_code(code: u64) -> Self {
        match code {
            1 => Self::Closed,
            2 => Self::Idle,
            3 => Self::Old,
            4 => Self::Spent,
            5 => Self::Unknown,
            code => Self::Other(code),
        }
    }
}

impl core::fmt::Display for CircuitEnd {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Closed => f.write_str("closed"),
            Self::Idle => f.write_str("idle for too long"),
            Self::Old => f.write_str("open for too long"),
            Self::Spent => f.write_str("all that may be sent was sent"),
            Self::Unknown => f.write_str("not known"),
            Self::Other(code) => write!(f, "reason {code}"),
        }
    }
}

impl Request<'_> {
    /// Reads a message; `None` if it is of a kind that is not known.
    ///
    /// # Errors
    /// It does not follow the syntax, or something in it is too long.
    pub fn parse(message: &[u8]) -> Result<Option<Request<'_>>, Malformed> {
        let mut cursor = Cursor::new(message);
        let request = match cursor.u8()? {
            0x01 => Request::Number { request: cursor.vlu()? },
            0x02 => Request::Release { number: cursor.vlu()? },
            0x03 => Request::LookUp { request: cursor.vlu()?, number: cursor.vlu()? },
            0x04 => Request::Peer { request: cursor.vlu()?, discriminator: rest(&mut cursor, MAX_DISCRIMINATOR)? },
            0x05 => Request::Token { request: cursor.vlu()?, token: rest(&mut cursor, MAX_TOKEN)? },
            0x06 => {
                Request::OpenCircuit { request: cursor.vlu()?, discriminator: rest(&mut cursor, MAX_DISCRIMINATOR)? }
            }
            0x07 => Request::CloseCircuit { circuit: cursor.vlu()? },
            0x08 => Request::Addresses { list: rest(&mut cursor, MAX_LIST)? },
            0x09 => match cursor.u8()? {
                0 => Request::Introduction { wanted: false },
                1 => Request::Introduction { wanted: true },
                _ => return Err(Malformed),
            },
            _ => return Ok(None),
        };
        if cursor.is_empty() { Ok(Some(request)) } else { Err(Malformed) }
    }

    /// The message.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match *self {
            Request::Number { request } => start(0x01, request, &mut out),
            Request::Release { number } => start(0x02, number, &mut out),
            Request::LookUp { request, number } => {
                start(0x03, request, &mut out);
                vlu::encode(number, &mut out);
            }
            Request::Peer { request, discriminator } => {
                start(0x04, request, &mut out);
                out.extend_from_slice(discriminator);
            }
            Request::Token { request, token } => {
                start(0x05, request, &mut out);
                out.extend_from_slice(token);
            }
            Request::OpenCircuit { request, discriminator } => {
                start(0x06, request, &mut out);
                out.extend_from_slice(discriminator);
            }
            Request::CloseCircuit { circuit } => start(0x07, circuit, &mut out),
            Request::Addresses { list } => {
                out.push(0x08);
                out.extend_from_slice(list);
            }
            Request::Introduction { wanted } => out.extend_from_slice(&[0x09, u8::from(wanted)]),
        }
        out
    }
}

impl Reply<'_> {
    /// Reads a message; `None` if it is of a kind that is not known.
    ///
    /// # Errors
    /// It does not follow the syntax, or something in it is too long.
    pub fn parse(message: &[u8]) -> Result<Option<Reply<'_>>, Malformed> {
        let mut cursor = Cursor::new(message);
        let reply = match cursor.u8()? {
            0x11 => Reply::Seen { address: Address::parse(&mut cursor)? },
            0x12 => Reply::Number { request: cursor.vlu()?, number: cursor.vlu()? },
            0x13 => Reply::Found { request: cursor.vlu()?, discriminator: rest(&mut cursor, MAX_DISCRIMINATOR)? },
            0x14 => Reply::Nobody { request: cursor.vlu()? },
            0x15 => {
                let (request, reason) = (cursor.vlu()?, Refusal::from_code(cursor.vlu()?));
                Reply::Refused { request, reason, seconds: cursor.vlu()? }
            }
            0x16 => Reply::Accepted { request: cursor.vlu()? },
            0x17 => Reply::Circuit { request: cursor.vlu()?, circuit: cursor.vlu()? },
            0x18 => Reply::CircuitFrom { circuit: cursor.vlu()?, discriminator: rest(&mut cursor, MAX_DISCRIMINATOR)? },
            0x19 => Reply::CircuitClosed { circuit: cursor.vlu()?, end: CircuitEnd::from_code(cursor.vlu()?) },
            _ => return Ok(None),
        };
        if cursor.is_empty() { Ok(Some(reply)) } else { Err(Malformed) }
    }

    /// The message.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match *self {
            Reply::Seen { address } => {
                out.push(0x11);
                address.encode(&mut out);
            }
            Reply::Number { request, number } => {
                start(0x12, request, &mut out);
                vlu::encode(number, &mut out);
            }
            Reply::Found { request, discriminator } => {
                start(0x13, request, &mut out);
                out.extend_from_slice(discriminator);
            }
            Reply::Nobody { request } => start(0x14, request, &mut out),
            Reply::Refused { request, reason, seconds } => {
                start(0x15, request, &mut out);
                vlu::encode(reason.code(), &mut out);
                vlu::encode(seconds, &mut out);
            }
            Reply::Accepted { request } => start(0x16, request, &mut out),
            Reply::Circuit { request, circuit } => {
                start(0x17, request, &mut out);
                vlu::encode(circuit, &mut out);
            }
            Reply::CircuitFrom { circuit, discriminator } => {
                start(0x18, circuit, &mut out);
                out.extend_from_slice(discriminator);
            }
            Reply::CircuitClosed { circuit, end } => {
                start(0x19, circuit, &mut out);
                vlu::encode(end.code(), &mut out);
            }
        }
        out
    }
}

fn start(kind: u8, number: u64, out: &mut Vec<u8>) {
    out.push(kind);
    vlu::encode(number, out);
}

fn rest<'a>(cursor: &mut Cursor<'a>, longest: usize) -> Result<&'a [u8], Malformed> {
    let rest = cursor.rest();
    if rest.len() <= longest { Ok(rest) } else { Err(Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::SocketAddr;
    use rtmfp_core::wire::AddressOrigin;

    const BIG: u64 = 1 << 40;

    fn requests() -> [Request<'static>; 9] {
        [
            Request::Number { request: 1 },
            Request::Release { number: 7_214 },
            Request::LookUp { request: BIG, number: 7_214 },
            Request::Peer { request: 2, discriminator: b"somebody" },
            Request::Token { request: 3, token: b"" },
            Request::OpenCircuit { request: 4, discriminator: b"somebody" },
            Request::CloseCircuit { circuit: BIG },
            Request::Addresses { list: &[2, 192, 0, 2, 1, 7, 143] },
            Request::Introduction { wanted: false },
        ]
    }

    fn replies() -> [Reply<'static>; 9] {
        let socket = SocketAddr::from(([192, 0, 2, 1], 1935));
        [
            Reply::Seen { address: Address { origin: AddressOrigin::Observed, socket } },
            Reply::Number { request: 1, number: 7_214 },
            Reply::Found { request: 2, discriminator: b"somebody" },
            Reply::Nobody { request: BIG },
            Reply::Refused { request: 4, reason: Refusal::TooMany, seconds: 60 },
            Reply::Accepted { request: 5 },
            Reply::Circuit { request: 6, circuit: BIG },
            Reply::CircuitFrom { circuit: 7, discriminator: b"somebody" },
            Reply::CircuitClosed { circuit: 8, end: CircuitEnd::Spent },
        ]
    }

    #[test]
    fn what_is_written_is_read_back_and_is_as_the_table_says() {
        for request in requests() {
            assert_eq!(Request::parse(&request.to_bytes()), Ok(Some(request)));
        }
        for reply in replies() {
            assert_eq!(Reply::parse(&reply.to_bytes()), Ok(Some(reply)));
        }
        assert_eq!(Request::LookUp { request: 1, number: 7_214 }.to_bytes(), [3, 1, 0xb8, 0x2e]);
        let [_, _, _, _, refused, ..] = replies();
        assert_eq!(refused.to_bytes(), [0x15, 4, 1, 60]);
    }

    #[test]
    fn what_is_cut_short_or_goes_on_is_refused() {
        for bytes in requests().map(|request| request.to_bytes()).iter().take(3) {
            for len in 0..bytes.len() {
                assert_eq!(Request::parse(bytes.get(..len).unwrap_or_default()), Err(Malformed), "{bytes:x?} to {len}");
            }
            assert_eq!(Request::parse(&[&bytes[..], &[0]].concat()), Err(Malformed));
        }
        for bytes in [0, 1, 3, 4, 5, 6, 8].map(|index| replies().get(index).map(Reply::to_bytes).unwrap_or_default()) {
            for len in 0..bytes.len() {
                assert_eq!(Reply::parse(bytes.get(..len).unwrap_or_default()), Err(Malformed), "{bytes:x?} to {len}");
            }
            assert_eq!(Reply::parse(&[&bytes[..], &[0]].concat()), Err(Malformed));
        }
    }

    #[test]
    fn what_is_too_long_is_refused_and_what_is_not_known_is_ignored() {
        let longest = alloc::vec![b'x'; MAX_DISCRIMINATOR];
        let peer = Request::Peer { request: 1, discriminator: &longest }.to_bytes();
        assert!(matches!(Request::parse(&peer), Ok(Some(Request::Peer { .. }))));
        assert_eq!(Request::parse(&[&peer[..], b"x"].concat()), Err(Malformed));
        let longest = alloc::vec![b'x'; MAX_TOKEN + 1];
        assert_eq!(Request::parse(&Request::Token { request: 1, token: &longest }.to_bytes()), Err(Malformed));
        for kind in [0x00, 0x0a, 0x11, 0xff] {
            assert_eq!(Request::parse(&[kind, 0xff]), Ok(None));
        }
        for kind in [0x01, 0x10, 0x1a, 0xff] {
            assert_eq!(Reply::parse(&[kind]), Ok(None));
        }
    }

    quickcheck::quickcheck! {
        fn what_is_read_is_the_same_when_written(kind: u8, fields: Vec<u8>) -> bool {
            let request = [&[kind % 9 + 1], &fields[..]].concat();
            let reply = [&[kind % 9 + 0x11], &fields[..]].concat();
            let request = match Request::parse(&request) {
                Ok(Some(parsed)) => Request::parse(&parsed.to_bytes()) == Ok(Some(parsed)),
                Ok(None) => false,
                Err(Malformed) => true,
            };
            let reply = match Reply::parse(&reply) {
                Ok(Some(parsed)) => Reply::parse(&parsed.to_bytes()) == Ok(Some(parsed)),
                Ok(None) => false,
                Err(Malformed) => true,
            };
            request && reply
        }
    }
}
