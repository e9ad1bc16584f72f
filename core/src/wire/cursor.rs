//! Reading: a cursor that only moves forward, never indexes, and never panics.

use core::fmt;

use crate::error::DropReason;

/// The input does not follow the syntax of RFC 7016 §2: it is truncated, or a field has a forbidden value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes do not follow the syntax of RFC 7016")
    }
}

impl core::error::Error for Malformed {}

impl From<Malformed> for DropReason {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// A position in borrowed bytes.
///
/// Whatever a method returns borrows from the input, not from the cursor. A method that fails leaves the cursor
/// where it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cursor<'a> {
    left: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// At the beginning of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    /// How many bytes are left: `remainder()` of RFC 7016 §2.1.1.
    pub const fn remaining(&self) -> usize {
        self.left.len()
    }

    /// Whether nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// What is left, without moving.
    pub const fn as_slice(&self) -> &'a [u8] {
        self.left
    }

    /// Takes everything that is left.
    pub const fn rest(&mut self) -> &'a [u8] {
        let rest = self.left;
        self.left = &[];
        rest
    }

    /// Takes `n` bytes.
    ///
    /// # Errors
    /// Fewer are left.
    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let (taken, left) = self.left.split_at_checked(n).ok_or(Malformed)?;
        self.left = left;
        Ok(taken)
    }

    /// Takes `N` bytes by value.
    ///
    /// # Errors
    /// Fewer are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, left) = self.left.split_first_chunk::<N>().ok_or(Malformed)?;
        self.left = left;
        Ok(*taken)
    }

    /// Takes `n` bytes as a cursor of their own.
    ///
    /// # Errors
    /// Fewer are left.
    pub fn sub(&mut self, n: usize) -> Result<Self, Malformed> {
        self.bytes(n).map(Self::new)
    }

    /// Takes an 8-bit integer.
    ///
    /// # Errors
    /// Nothing is left.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(u8::from_be_bytes)
    }

    /// Takes a 16-bit integer in network byte order.
    ///
    /// # Errors
    /// Fewer than two bytes are left.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    /// Takes a 32-bit integer in network byte order.
    ///
    /// # Errors
    /// Fewer than four bytes are left.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// Takes a VLU (RFC 7016 §2.1.2).
    ///
    /// Leading zero digits, which the syntax allows, are accepted: the bytes left are their bound.
    ///
    /// # Errors
    /// The VLU is truncated, or its value is above 2^64 - 1, the largest that RFC 7016 §2.1.2 asks for.
    pub fn vlu(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        let mut left = self.left;
        while let Some((&byte, behind)) = left.split_first() {
            left = behind;
            if value > u64::MAX >> 7 {
                return Err(Malformed);
            }
            value = value << 7 | u64::from(byte & 0x7f);
            if byte & 0x80 == 0 {
                self.left = left;
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    /// Takes a VLU and as many bytes as it says.
    ///
    /// # Errors
    /// The VLU is malformed, or fewer bytes are left than it says.
    pub fn sized_bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let mut ahead = *self;
        let length = usize::try_from(ahead.vlu()?).map_err(|_| Malformed)?;
        let bytes = ahead.bytes(length)?;
        *self = ahead;
        Ok(bytes)
    }
}
