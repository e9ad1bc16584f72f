//! Next User Data (RFC 7016 §2.3.12).

use alloc::vec::Vec;
use core::fmt;

use super::user_data::{FragmentControl, FragmentFlags, display_fragment, encode_options, options_len, parse_options};
use super::{EncodeChunk, UserData};
use crate::wire::{Cursor, Malformed};

/// The fragment behind that of the [`UserData`] or [`NextUserData`] chunk before it in the packet: same flow, same
/// Forward Sequence Number, next sequence number (RFC 7016 §2.3.12).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NextUserData<'a> {
    /// Where the fragment stands in its message.
    pub control: FragmentControl,
    /// The sequence number was abandoned; the data, if any, is ignored.
    pub abandon: bool,
    /// It is the last sequence number of the flow: "final".
    pub last: bool,
    /// The option list without its marker, if there is one.
    pub options: Option<&'a [u8]>,
    /// The data.
    pub data: &'a [u8],
}

impl<'a> NextUserData<'a> {
    /// Reads the payload of the chunk.
    ///
    /// # Errors
    /// It is empty, or its option list malformed.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        let flags = FragmentFlags::from_byte(cursor.u8()?);
        let options = parse_options(flags, &mut cursor)?;
        let FragmentFlags { control, abandon, last, .. } = flags;
        Ok(Self { control, abandon, last, options, data: cursor.rest() })
    }

    /// The User Data chunk that means the same, for a fragment of the given numbers. Its offset is not checked
    /// against RFC 7016 §2.3.11, and need not be: it grows with the sequence number.
    pub const fn resolve(&self, flow_id: u64, sequence_number: u64, fsn_offset: u64) -> UserData<'a> {
        let Self { control, abandon, last, options, data } = *self;
        UserData { control, abandon, last, flow_id, sequence_number, fsn_offset, options, data }
    }

    /// The flags byte.
    pub const fn flags(&self) -> FragmentFlags {
        let Self { control, abandon, last, .. } = *self;
        FragmentFlags { options_present: self.options.is_some(), control, abandon, last }
    }
}

impl EncodeChunk for NextUserData<'_> {
    const TYPE: u8 = 0x11;

    fn payload_len(&self) -> usize {
        1 + options_len(self.options) + self.data.len()
    }

    fn encode_payload(&self, out: &mut Vec<u8>) {
        out.push(self.flags().to_byte());
        encode_options(self.options, out);
        out.extend_from_slice(self.data);
    }
}

impl fmt::Display for NextUserData<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NextUserData")?;
        display_fragment(self.flags(), self.options, self.data, f)
    }
}
