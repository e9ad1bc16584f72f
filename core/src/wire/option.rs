//! Options and option lists (RFC 7016 §2.1.3, §2.1.4).

use alloc::vec::Vec;
use core::iter::FusedIterator;

use super::{Cursor, Malformed, vlu};

/// Option of User Data: the user's per-flow metadata (RFC 7016 §2.3.11.1.1).
pub const USER_METADATA: u64 = 0x00;
/// Option of User Data: the flow that this one answers, as a VLU (RFC 7016 §2.3.11.1.2).
pub const RETURN_FLOW_ASSOCIATION: u64 = 0x0a;
/// A flow option that is not understood is ignored from this type on; below it, the flow is rejected
/// (RFC 7016 §2.3.11.1).
pub const FIRST_IGNORABLE: u64 = 0x2000;

/// One option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RawOption<'a> {
    /// The empty option, which ends an option list.
    Marker,
    /// An option with a type.
    Option {
        /// The type.
        kind: u64,
        /// The value, maybe empty.
        value: &'a [u8],
    },
}

impl<'a> RawOption<'a> {
    /// Takes one option.
    ///
    /// # Errors
    /// Its length is malformed or longer than what is left, or its type is not a VLU within that length. The cursor
    /// stays where it was.
    pub fn parse(cursor: &mut Cursor<'a>) -> Result<Self, Malformed> {
        let mut ahead = *cursor;
        let mut payload = Cursor::new(ahead.sized_bytes()?);
        let option = if payload.is_empty() {
            Self::Marker
        } else {
            Self::Option { kind: payload.vlu()?, value: payload.rest() }
        };
        *cursor = ahead;
        Ok(option)
    }
}

/// Iterates the options of a sequence to its end. Markers are items and do not end it: a bare sequence, such as a
/// certificate, may hold some. Nothing comes after an error.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options<'a> {
    cursor: Cursor<'a>,
}

impl<'a> Options<'a> {
    /// Over the options in `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { cursor: Cursor::new(bytes) }
    }

    /// What is behind the options returned so far; empty after an error.
    pub const fn as_slice(&self) -> &'a [u8] {
        self.cursor.as_slice()
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = Result<RawOption<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.cursor.is_empty() {
            return None;
        }
        let option = RawOption::parse(&mut self.cursor);
        if option.is_err() {
            self.cursor = Cursor::new(&[]);
        }
        Some(option)
    }
}

impl FusedIterator for Options<'_> {}

/// Takes an option list (RFC 7016 §2.1.4) and returns its options without the marker that ends it, fit for
/// [`Options`].
///
/// # Errors
/// An option is malformed, or the marker is missing.
pub fn parse_list<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], Malformed> {
    let mut ahead = *cursor;
    loop {
        let length = cursor.remaining() - ahead.remaining();
        if RawOption::parse(&mut ahead)? == RawOption::Marker {
            let list = cursor.bytes(length)?;
            *cursor = ahead;
            return Ok(list);
        }
    }
}

/// The length of an option whose value has `value_len` bytes.
pub const fn encoded_option_len(kind: u64, value_len: usize) -> usize {
    vlu::sized_len(vlu::encoded_len(kind).saturating_add(value_len))
}

/// Appends an option.
pub fn encode_option(kind: u64, value: &[u8], out: &mut Vec<u8>) {
    vlu::encode((vlu::encoded_len(kind) + value.len()) as u64, out);
    vlu::encode(kind, out);
    out.extend_from_slice(value);
}

/// Appends a marker.
pub fn encode_marker(out: &mut Vec<u8>) {
    out.push(0);
}
