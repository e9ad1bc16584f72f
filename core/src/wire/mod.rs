//! The syntax of RFC 7016 §2, and nothing of what it means: parsing borrows from the packet, encoding appends to a
//! buffer. Nothing here panics on any input.
//!
//! [`PacketHeader::parse`] begins the reading of a packet and [`PacketWriter`] its writing.

mod address;
mod chunk;
mod cursor;
pub mod option;
mod packet;
pub mod session_id;
#[cfg(test)]
mod tests;
pub mod vlu;
mod writer;

pub use address::{Address, AddressOrigin};
pub use chunk::{
    AckBitmap, AckRanges, BitmapRanges, BufferProbe, Chunk, Close, CloseAck, CookieChange, EcnReport, EncodeChunk,
    FlowException, ForwardedHello, FragmentControl, FragmentFlags, InitiatorHello, InitiatorKeying, NextUserData,
    PacketFragment, Padding, Ping, PingReply, Redirect, RedirectDestinations, RedirectIter, ResponderHello,
    ResponderKeying, RunRanges, UserData,
};
pub use cursor::{Cursor, Malformed};
pub use option::{Options, RawOption, encode_marker, encode_option, encoded_option_len};
pub use packet::{CHUNK_HEADER_LEN, Chunks, HeaderError, Mode, PacketHeader};
pub use writer::{Mark, PacketWriter};
