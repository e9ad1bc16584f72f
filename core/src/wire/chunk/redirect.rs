//! Responder Redirect (RFC 7016 §2.3.5).

use alloc::vec::Vec;
use core::fmt;
use core::iter::FusedIterator;
use core::slice;

use super::{EncodeChunk, Hex};
use crate::wire::{Address, Cursor, Malformed, vlu};

/// Tells an initiator where else to send its hellos (RFC 7016 §2.3.5). For startup packets of session 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Redirect<'a> {
    /// The tag of the hello.
    pub tag_echo: &'a [u8],
    /// The addresses. None at all is an Implied Redirect, to the source of the packet.
    pub destinations: RedirectDestinations<'a>,
}

impl<'a> Redirect<'a> {
    /// A redirect to `destinations`, or an Implied Redirect if there are none.
    pub const fn new(tag_echo: &'a [u8], destinations: &'a [Address]) -> Self {
        Self { tag_echo, destinations: RedirectDestinations(Destinations::Addresses(destinations)) }
    }

    /// Reads the payload of the chunk.
    ///
    /// # Errors
    /// It is truncated, be it in the last of the addresses.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        let tag_echo = cursor.sized_bytes()?;
        let encoded = cursor.as_slice();
        while !cursor.is_empty() {
            Address::parse(&mut cursor)?;
        }
        Ok(Self { tag_echo, destinations: RedirectDestinations(Destinations::Encoded(encoded)) })
    }
}

impl EncodeChunk for Redirect<'_> {
    const TYPE: u8 = 0x71;

    fn payload_len(&self) -> usize {
        let addresses: usize = self.destinations.iter().map(|address| address.encoded_len()).sum();
        vlu::sized_len(self.tag_echo.len()) + addresses
    }

    fn encode_payload(&self, out: &mut Vec<u8>) {
        vlu::encode_sized(self.tag_echo, out);
        for address in self.destinations.iter() {
            address.encode(out);
        }
    }
}

impl fmt::Display for Redirect<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redirect tag={}", Hex(self.tag_echo))?;
        if self.destinations.is_empty() {
            f.write_str(" implied")?;
        }
        self.destinations.iter().try_for_each(|address| write!(f, " {address}"))
    }
}

/// The addresses of a redirect: as received, or to be sent.
#[derive(Clone, Copy, Debug)]
pub struct RedirectDestinations<'a>(Destinations<'a>);

#[derive(Clone, Copy, Debug)]
enum Destinations<'a> {
    /// Validated by [`Redirect::parse`].
    Encoded(&'a [u8]),
    Addresses(&'a [Address]),
}

impl<'a> RedirectDestinations<'a> {
    /// The addresses, in the order of the chunk.
    pub fn iter(&self) -> RedirectIter<'a> {
        RedirectIter(match self.0 {
            Destinations::Encoded(bytes) => Source::Encoded(Cursor::new(bytes)),
            Destinations::Addresses(addresses) => Source::Addresses(addresses.iter()),
        })
    }

    /// Whether there is no address: the redirect is implied.
    pub const fn is_empty(&self) -> bool {
        match self.0 {
            Destinations::Encoded(bytes) => bytes.is_empty(),
            Destinations::Addresses(addresses) => addresses.is_empty(),
        }
    }
}

impl<'a> From<&'a [Address]> for RedirectDestinations<'a> {
    fn from(addresses: &'a [Address]) -> Self {
        Self(Destinations::Addresses(addresses))
    }
}

impl<'a> IntoIterator for RedirectDestinations<'a> {
    type Item = Address;
    type IntoIter = RedirectIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a> IntoIterator for &RedirectDestinations<'a> {
    type Item = Address;
    type IntoIter = RedirectIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Two are equal if they name the same addresses in the same order.
impl PartialEq for RedirectDestinations<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for RedirectDestinations<'_> {}

/// Iterates [`RedirectDestinations`].
#[derive(Clone, Debug)]
pub struct RedirectIter<'a>(Source<'a>);

#[derive(Clone, Debug)]
enum Source<'a> {
    Encoded(Cursor<'a>),
    Addresses(slice::Iter<'a, Address>),
}

impl Iterator for RedirectIter<'_> {
    type Item = Address;

    fn next(&mut self) -> Option<Address> {
        match &mut self.0 {
            Source::Encoded(cursor) => Address::parse(cursor).ok(),
            Source::Addresses(addresses) => addresses.next().copied(),
        }
    }
}

impl FusedIterator for RedirectIter<'_> {}
