//! User Data (RFC 7016 §2.3.11), and the flags that Next User Data shares with it.

use alloc::vec::Vec;
use core::fmt;

use super::EncodeChunk;
use crate::wire::option::{encode_marker, parse_list};
use crate::wire::{Cursor, Malformed, Options, RawOption, vlu};

const OPTIONS_PRESENT: u8 = 0x80;
const CONTROL_SHIFT: u32 = 4;
const CONTROL: u8 = 0x03;
const ABANDON: u8 = 0x02;
const FINAL: u8 = 0x01;

/// Where a fragment stands in its message (FRA of RFC 7016 §2.3.11).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FragmentControl {
    /// It is the whole message.
    Whole = 0,
    /// It is the first of several.
    Begin = 1,
    /// It is the last of several.
    End = 2,
    /// It is neither the first nor the last.
    Middle = 3,
}

impl fmt::Display for FragmentControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whole => "whole",
            Self::Begin => "begin",
            Self::End => "end",
            Self::Middle => "middle",
        })
    }
}

/// The flags byte of User Data and Next User Data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FragmentFlags {
    /// An option list comes before the data (OPT).
    pub options_present: bool,
    /// Where the fragment stands in its message (FRA).
    pub control: FragmentControl,
    /// The sequence number was abandoned; the data, if any, is ignored (ABN).
    pub abandon: bool,
    /// It is the last sequence number of the flow (FIN).
    pub last: bool,
}

impl FragmentFlags {
    /// Reads the flags; reserved bits are ignored.
    pub const fn from_byte(byte: u8) -> Self {
        Self {
            options_present: byte & OPTIONS_PRESENT != 0,
            control: match byte >> CONTROL_SHIFT & CONTROL {
                0 => FragmentControl::Whole,
                1 => FragmentControl::Begin,
                2 => FragmentControl::End,
                _ => FragmentControl::Middle,
            },
            abandon: byte & ABANDON != 0,
            last: byte & FINAL != 0,
        }
    }

    /// The flags as a byte; reserved bits are clear.
    pub const fn to_byte(self) -> u8 {
        let options = if self.options_present { OPTIONS_PRESENT } else { 0 };
        let abandon = if self.abandon { ABANDON } else { 0 };
        let last = if self.last { FINAL } else { 0 };
        options | (self.control as u8) << CONTROL_SHIFT | abandon | last
    }
}

/// A fragment of a message of a flow (RFC 7016 §2.3.11). For packets of established sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UserData<'a> {
    /// Where the fragment stands in its message.
    pub control: FragmentControl,
    /// The sequence number was abandoned; the data, if any, is ignored.
    pub abandon: bool,
    /// It is the last sequence number of the flow: "final".
    pub last: bool,
    /// The flow.
    pub flow_id: u64,
    /// The fragment's number in the flow, from 1.
    pub sequence_number: u64,
    /// How far below the sequence number the Forward Sequence Number is: zero only if abandoned, and not above the
    /// sequence number.
    pub fsn_offset: u64,
    /// The option list without its marker, if there is one: see [`Options`].
    pub options: Option<&'a [u8]>,
    /// The data.
    pub data: &'a [u8],
}

impl<'a> UserData<'a> {
    /// Reads the payload of the chunk.
    ///
    /// # Errors
    /// It is truncated, or its option list malformed; or the sequence number, or the offset of the Forward Sequence
    /// Number, is one that RFC 7016 §2.3.11 forbids.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        let flags = FragmentFlags::from_byte(cursor.u8()?);
        let (flow_id, sequence_number, fsn_offset) = (cursor.vlu()?, cursor.vlu()?, cursor.vlu()?);
        // RFC 7016 §2.3.11: sequence numbers are greater than zero; fsnOffset MUST NOT be zero if the abandon flag
        // is not set, and MUST NOT be greater than sequenceNumber.
        if sequence_number == 0 || (fsn_offset == 0 && !flags.abandon) || fsn_offset > sequence_number {
            return Err(Malformed);
        }
        let options = parse_options(flags, &mut cursor)?;
        let FragmentFlags { control, abandon, last, .. } = flags;
        Ok(Self { control, abandon, last, flow_id, sequence_number, fsn_offset, options, data: cursor.rest() })
    }

    /// The Forward Sequence Number: nothing up to it will be sent again.
    pub const fn forward_sequence_number(&self) -> u64 {
        self.sequence_number.saturating_sub(self.fsn_offset)
    }

    /// The flags byte.
    pub const fn flags(&self) -> FragmentFlags {
        let Self { control, abandon, last, .. } = *self;
        FragmentFlags { options_present: self.options.is_some(), control, abandon, last }
    }
}

impl EncodeChunk for UserData<'_> {
    const TYPE: u8 = 0x10;

    fn payload_len(&self) -> usize {
        let fields = [self.flow_id, self.sequence_number, self.fsn_offset].map(vlu::encoded_len).iter().sum::<usize>();
        1 + fields + options_len(self.options) + self.data.len()
    }

    fn encode_payload(&self, out: &mut Vec<u8>) {
        out.push(self.flags().to_byte());
        vlu::encode(self.flow_id, out);
        vlu::encode(self.sequence_number, out);
        vlu::encode(self.fsn_offset, out);
        encode_options(self.options, out);
        out.extend_from_slice(self.data);
    }
}

impl fmt::Display for UserData<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fsn = self.forward_sequence_number();
        write!(f, "UserData flow={} seq={} fsn={fsn}", self.flow_id, self.sequence_number)?;
        display_fragment(self.flags(), self.options, self.data, f)
    }
}

pub(super) fn parse_options<'a>(flags: FragmentFlags, cursor: &mut Cursor<'a>) -> Result<Option<&'a [u8]>, Malformed> {
    if flags.options_present { parse_list(cursor).map(Some) } else { Ok(None) }
}

pub(super) fn options_len(options: Option<&[u8]>) -> usize {
    options.map_or(0, |list| list.len() + 1)
}

pub(super) fn encode_options(options: Option<&[u8]>, out: &mut Vec<u8>) {
    if let Some(list) = options {
        out.extend_from_slice(list);
        encode_marker(out);
    }
}

pub(super) fn display_fragment(
    flags: FragmentFlags,
    options: Option<&[u8]>,
    data: &[u8],
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let abandon = if flags.abandon { " abandon" } else { "" };
    let last = if flags.last { " final" } else { "" };
    write!(f, " {}{abandon}{last}", flags.control)?;
    for option in Options::new(options.unwrap_or_default()).flatten() {
        if let RawOption::Option { kind, value } = option {
            write!(f, " option={kind:#04x}:{}B", value.len())?;
        }
    }
    write!(f, " {}B", data.len())
}
