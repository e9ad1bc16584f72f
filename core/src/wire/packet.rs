//! The plain packet (RFC 7016 §2.2.4): a header, chunks, padding.

use alloc::vec::Vec;
use core::fmt;
use core::iter::FusedIterator;

use super::{Chunk, Cursor, Malformed};
use crate::error::DropReason;

/// Length of the header of a chunk, in bytes: its type and its length (RFC 7016 §2.3).
pub const CHUNK_HEADER_LEN: usize = 3;

pub(super) const TIME_CRITICAL: u8 = 0x80;
pub(super) const TIME_CRITICAL_REVERSE: u8 = 0x40;
const TIMESTAMP_PRESENT: u8 = 0x08;
const TIMESTAMP_ECHO_PRESENT: u8 = 0x04;
const MODE: u8 = 0x03;

/// The packet mode: which end of a session sent the packet. Mode 0 is forbidden (RFC 7016 §2.2.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mode {
    /// From the session's initiator.
    Initiator = 1,
    /// From the session's responder.
    Responder = 2,
    /// For the startup of a session.
    Startup = 3,
}

/// The packet header (RFC 7016 §2.2.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PacketHeader {
    /// This packet holds real-time user data (TC).
    pub time_critical: bool,
    /// The sender is receiving real-time user data from elsewhere (TCR).
    pub time_critical_reverse: bool,
    /// When the packet was sent, in units of 4 ms of the sender's clock, modulo 2^16.
    pub timestamp: Option<u16>,
    /// The receiver's last timestamp, advanced by the time it was held (RFC 7016 §3.5.2.2).
    pub timestamp_echo: Option<u16>,
    /// Which end sent it.
    pub mode: Mode,
}

/// Why a packet has no valid header. The packet is dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeaderError {
    /// The packet mode is 0: it MUST be discarded.
    ForbiddenMode,
    /// The packet is empty, or ends within a timestamp.
    Truncated,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ForbiddenMode => "packet mode 0 is forbidden",
            Self::Truncated => "the packet ends within its header",
        })
    }
}

impl core::error::Error for HeaderError {}

impl From<HeaderError> for DropReason {
    fn from(error: HeaderError) -> Self {
        match error {
            HeaderError::ForbiddenMode => Self::WrongMode,
            HeaderError::Truncated => Self::Malformed,
        }
    }
}

impl PacketHeader {
    /// Length of the longest header in bytes.
    pub const MAX_LEN: usize = 5;

    /// A header without flags and timestamps.
    pub const fn new(mode: Mode) -> Self {
        Self { time_critical: false, time_critical_reverse: false, timestamp: None, timestamp_echo: None, mode }
    }

    /// Reads the header of a plain packet; what follows it are the chunks. Reserved bits are ignored.
    ///
    /// # Errors
    /// See [`HeaderError`].
    pub fn parse(packet: &[u8]) -> Result<(Self, Chunks<'_>), HeaderError> {
        let mut cursor = Cursor::new(packet);
        let flags = cursor.u8().map_err(|_| HeaderError::Truncated)?;
        let mode = match flags & MODE {
            1 => Mode::Initiator,
            2 => Mode::Responder,
            3 => Mode::Startup,
            _ => return Err(HeaderError::ForbiddenMode),
        };
        let mut timestamp = |present: u8| match flags & present {
            0 => Ok(None),
            _ => cursor.u16().map(Some).map_err(|_| HeaderError::Truncated),
        };
        let header = Self {
            time_critical: flags & TIME_CRITICAL != 0,
            time_critical_reverse: flags & TIME_CRITICAL_REVERSE != 0,
            timestamp: timestamp(TIMESTAMP_PRESENT)?,
            timestamp_echo: timestamp(TIMESTAMP_ECHO_PRESENT)?,
            mode,
        };
        Ok((header, Chunks { cursor }))
    }

    /// Its length when encoded, in bytes.
    pub const fn encoded_len(&self) -> usize {
        1 + 2 * self.timestamp.is_some() as usize + 2 * self.timestamp_echo.is_some() as usize
    }

    /// Appends the header.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        out.push(
            flag(self.time_critical, TIME_CRITICAL)
                | flag(self.time_critical_reverse, TIME_CRITICAL_REVERSE)
                | flag(self.timestamp.is_some(), TIMESTAMP_PRESENT)
                | flag(self.timestamp_echo.is_some(), TIMESTAMP_ECHO_PRESENT)
                | self.mode as u8,
        );
        for timestamp in [self.timestamp, self.timestamp_echo].into_iter().flatten() {
            out.extend_from_slice(&timestamp.to_be_bytes());
        }
    }
}

/// As `initiator TC TCR ts=5 tse=9`, without what is not there.
impl fmt::Display for PacketHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.mode {
            Mode::Initiator => "initiator",
            Mode::Responder => "responder",
            Mode::Startup => "startup",
        })?;
        f.write_str(if self.time_critical { " TC" } else { "" })?;
        f.write_str(if self.time_critical_reverse { " TCR" } else { "" })?;
        if let Some(timestamp) = self.timestamp {
            write!(f, " ts={timestamp}")?;
        }
        if let Some(echo) = self.timestamp_echo {
            write!(f, " tse={echo}")?;
        }
        Ok(())
    }
}

/// Walks the chunks of a packet until padding begins (RFC 7016 §2.2.4).
///
/// An error is one malformed chunk: it counts as though it was not there, and the walk goes on behind it
/// (RFC 7016 §2.3). It may have been User Data, though: a Next User Data chunk behind it, up to the next User Data,
/// cannot be trusted to have the sequence number that counting gives it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunks<'a> {
    cursor: Cursor<'a>,
}

impl<'a> Chunks<'a> {
    /// Over what follows the header of a packet.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { cursor: Cursor::new(bytes) }
    }

    /// The bytes behind the chunks walked so far: in the end, the padding.
    pub const fn as_slice(&self) -> &'a [u8] {
        self.cursor.as_slice()
    }

    /// The next chunk's type and payload, whatever they are. None: what is left is padding.
    pub fn next_raw(&mut self) -> Option<(u8, &'a [u8])> {
        // RFC 7016 §2.2.4: fewer bytes than a chunk header, or than the chunk's length says, are padding.
        let mut ahead = self.cursor;
        let kind = ahead.u8().ok()?;
        let length = ahead.u16().ok()?;
        let payload = ahead.bytes(length.into()).ok()?;
        self.cursor = ahead;
        Some((kind, payload))
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Result<Chunk<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_raw().map(|(kind, payload)| Chunk::parse(kind, payload))
    }
}

impl FusedIterator for Chunks<'_> {}
