//! Internet socket addresses (RFC 7016 §2.1.5).

use alloc::vec::Vec;
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Cursor, Malformed};

const INET6: u8 = 0x80;
const ORIGIN: u8 = 0x03;

/// Where an address comes from, as its reporter says (RFC 7016 §2.1.5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum AddressOrigin {
    /// Unknown, unspecified, or other.
    Unknown,
    /// The reporter's own, of a directly attached interface.
    Local,
    /// Seen as the source of a packet: a reflexive address.
    Observed,
    /// Of a relay, proxy or introducer.
    Relay,
}

impl AddressOrigin {
    const fn from_flags(flags: u8) -> Self {
        match flags & ORIGIN {
            0 => Self::Unknown,
            1 => Self::Local,
            2 => Self::Observed,
            _ => Self::Relay,
        }
    }
}

/// An Internet socket address with its origin (RFC 7016 §2.1.5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Address {
    /// Where it comes from.
    pub origin: AddressOrigin,
    /// The address and port. The flow label and the scope of an IPv6 address do not travel.
    pub socket: SocketAddr,
}

impl Address {
    /// Takes an address.
    ///
    /// # Errors
    /// It is truncated. The cursor stays where it was.
    pub fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        let mut ahead = *cursor;
        let flags = ahead.u8()?;
        let ip = if flags & INET6 == 0 {
            Ipv4Addr::from(ahead.array::<4>()?).into()
        } else {
            Ipv6Addr::from(ahead.array::<16>()?).into()
        };
        let socket = SocketAddr::new(ip, ahead.u16()?);
        *cursor = ahead;
        Ok(Self { origin: AddressOrigin::from_flags(flags), socket })
    }

    /// Appends the address.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let origin = self.origin as u8;
        match self.socket {
            SocketAddr::V4(socket) => {
                out.push(origin);
                out.extend_from_slice(&socket.ip().octets());
            }
            SocketAddr::V6(socket) => {
                out.push(INET6 | origin);
                out.extend_from_slice(&socket.ip().octets());
            }
        }
        out.extend_from_slice(&self.socket.port().to_be_bytes());
    }

    /// Its length when encoded, in bytes: 7 or 19.
    pub const fn encoded_len(&self) -> usize {
        match self.socket {
            SocketAddr::V4(_) => 7,
            SocketAddr::V6(_) => 19,
        }
    }
}

/// As `192.0.2.1:1935 (observed)`; an unknown origin is left out.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = match self.origin {
            AddressOrigin::Unknown => "",
            AddressOrigin::Local => " (local)",
            AddressOrigin::Observed => " (observed)",
            AddressOrigin::Relay => " (relay)",
        };
        write!(f, "{}{origin}", self.socket)
    }
}
