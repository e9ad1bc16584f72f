//! The chunks (RFC 7016 §2.3), one file for each.

mod ack;
mod ack_bitmap;
mod ack_ranges;
mod buffer_probe;
mod close;
mod close_ack;
mod cookie_change;
mod ecn_report;
mod flow_exception;
mod forwarded_hello;
mod initiator_hello;
mod initiator_keying;
mod next_user_data;
mod packet_fragment;
mod padding;
mod ping;
mod ping_reply;
mod redirect;
mod responder_hello;
mod responder_keying;
mod user_data;

use alloc::vec::Vec;
use core::fmt;

use super::{Malformed, PacketWriter};

pub use ack_bitmap::{AckBitmap, BitmapRanges};
pub use ack_ranges::{AckRanges, RunRanges};
pub use buffer_probe::BufferProbe;
pub use close::Close;
pub use close_ack::CloseAck;
pub use cookie_change::CookieChange;
pub use ecn_report::EcnReport;
pub use flow_exception::FlowException;
pub use forwarded_hello::ForwardedHello;
pub use initiator_hello::InitiatorHello;
pub use initiator_keying::InitiatorKeying;
pub use next_user_data::NextUserData;
pub use packet_fragment::PacketFragment;
pub use padding::Padding;
pub use ping::Ping;
pub use ping_reply::PingReply;
pub use redirect::{Redirect, RedirectDestinations, RedirectIter};
pub use responder_hello::ResponderHello;
pub use responder_keying::ResponderKeying;
pub use user_data::{FragmentControl, FragmentFlags, UserData};

/// What every chunk to be sent implements, for [`PacketWriter::push`].
pub trait EncodeChunk {
    /// The chunk type code.
    const TYPE: u8;

    /// The length of the payload in bytes: exactly what [`encode_payload`](Self::encode_payload) appends.
    fn payload_len(&self) -> usize;

    /// Appends the payload.
    fn encode_payload(&self, out: &mut Vec<u8>);
}

/// Any chunk, as received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Chunk<'a> {
    /// RFC 7016 §2.3.1.
    PacketFragment(PacketFragment<'a>),
    /// RFC 7016 §2.3.2.
    InitiatorHello(InitiatorHello<'a>),
    /// RFC 7016 §2.3.3.
    ForwardedHello(ForwardedHello<'a>),
    /// RFC 7016 §2.3.4.
    ResponderHello(ResponderHello<'a>),
    /// RFC 7016 §2.3.5.
    Redirect(Redirect<'a>),
    /// RFC 7016 §2.3.6.
    CookieChange(CookieChange<'a>),
    /// RFC 7016 §2.3.7.
    InitiatorKeying(InitiatorKeying<'a>),
    /// RFC 7016 §2.3.8.
    ResponderKeying(ResponderKeying<'a>),
    /// RFC 7016 §2.3.9.
    Ping(Ping<'a>),
    /// RFC 7016 §2.3.10.
    PingReply(PingReply<'a>),
    /// RFC 7016 §2.3.11.
    UserData(UserData<'a>),
    /// RFC 7016 §2.3.12.
    NextUserData(NextUserData<'a>),
    /// RFC 7016 §2.3.13.
    AckBitmap(AckBitmap<'a>),
    /// RFC 7016 §2.3.14.
    AckRanges(AckRanges<'a>),
    /// RFC 7016 §2.3.15.
    BufferProbe(BufferProbe),
    /// RFC 7016 §2.3.16.
    FlowException(FlowException),
    /// RFC 7016 §2.3.17.
    Close(Close),
    /// RFC 7016 §2.3.18.
    CloseAck(CloseAck),
    /// Outside RFC 7016.
    EcnReport(EcnReport),
    /// Of type 0x00 or 0xff: to be ignored (RFC 7016 §2.3).
    Padding,
    /// Of a type that is not known: to be ignored (RFC 7016 §2.3).
    Unknown {
        /// The chunk type code.
        kind: u8,
    },
}

impl<'a> Chunk<'a> {
    /// Reads a chunk of type `kind`.
    ///
    /// # Errors
    /// The payload does not follow the syntax of the type.
    pub fn parse(kind: u8, payload: &'a [u8]) -> Result<Self, Malformed> {
        Ok(match kind {
            PacketFragment::TYPE => Self::PacketFragment(PacketFragment::parse(payload)?),
            InitiatorHello::TYPE => Self::InitiatorHello(InitiatorHello::parse(payload)?),
            ForwardedHello::TYPE => Self::ForwardedHello(ForwardedHello::parse(payload)?),
            ResponderHello::TYPE => Self::ResponderHello(ResponderHello::parse(payload)?),
            Redirect::TYPE => Self::Redirect(Redirect::parse(payload)?),
            CookieChange::TYPE => Self::CookieChange(CookieChange::parse(payload)?),
            InitiatorKeying::TYPE => Self::InitiatorKeying(InitiatorKeying::parse(payload)?),
            ResponderKeying::TYPE => Self::ResponderKeying(ResponderKeying::parse(payload)?),
            Ping::TYPE => Self::Ping(Ping::parse(payload)?),
            PingReply::TYPE => Self::PingReply(PingReply::parse(payload)?),
            UserData::TYPE => Self::UserData(UserData::parse(payload)?),
            NextUserData::TYPE => Self::NextUserData(NextUserData::parse(payload)?),
            AckBitmap::TYPE => Self::AckBitmap(AckBitmap::parse(payload)?),
            AckRanges::TYPE => Self::AckRanges(AckRanges::parse(payload)?),
            BufferProbe::TYPE => Self::BufferProbe(BufferProbe::parse(payload)?),
            FlowException::TYPE => Self::FlowException(FlowException::parse(payload)?),
            Close::TYPE => Self::Close(Close::parse(payload)?),
            CloseAck::TYPE => Self::CloseAck(CloseAck::parse(payload)?),
            EcnReport::TYPE => Self::EcnReport(EcnReport::parse(payload)?),
            0x00 | 0xff => Self::Padding,
            _ => Self::Unknown { kind },
        })
    }

    /// Appends the chunk to a packet. False, and nothing appended: it does not fit, or it is of an unknown type.
    /// Padding is appended empty.
    pub fn write(&self, packet: &mut PacketWriter<'_>) -> bool {
        match self {
            Self::PacketFragment(chunk) => packet.push(chunk),
            Self::InitiatorHello(chunk) => packet.push(chunk),
            Self::ForwardedHello(chunk) => packet.push(chunk),
            Self::ResponderHello(chunk) => packet.push(chunk),
            Self::Redirect(chunk) => packet.push(chunk),
            Self::CookieChange(chunk) => packet.push(chunk),
            Self::InitiatorKeying(chunk) => packet.push(chunk),
            Self::ResponderKeying(chunk) => packet.push(chunk),
            Self::Ping(chunk) => packet.push(chunk),
            Self::PingReply(chunk) => packet.push(chunk),
            Self::UserData(chunk) => packet.push(chunk),
            Self::NextUserData(chunk) => packet.push(chunk),
            Self::AckBitmap(chunk) => packet.push(chunk),
            Self::AckRanges(chunk) => packet.push(chunk),
            Self::BufferProbe(chunk) => packet.push(chunk),
            Self::FlowException(chunk) => packet.push(chunk),
            Self::Close(chunk) => packet.push(chunk),
            Self::CloseAck(chunk) => packet.push(chunk),
            Self::EcnReport(chunk) => packet.push(chunk),
            Self::Padding => packet.push(&Padding { length: 0 }),
            Self::Unknown { .. } => false,
        }
    }
}

/// One line, as `UserData flow=3 seq=5 fsn=2 whole 1024B`. Long byte strings are cut.
impl fmt::Display for Chunk<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PacketFragment(chunk) => chunk.fmt(f),
            Self::InitiatorHello(chunk) => chunk.fmt(f),
            Self::ForwardedHello(chunk) => chunk.fmt(f),
            Self::ResponderHello(chunk) => chunk.fmt(f),
            Self::Redirect(chunk) => chunk.fmt(f),
            Self::CookieChange(chunk) => chunk.fmt(f),
            Self::InitiatorKeying(chunk) => chunk.fmt(f),
            Self::ResponderKeying(chunk) => chunk.fmt(f),
            Self::Ping(chunk) => chunk.fmt(f),
            Self::PingReply(chunk) => chunk.fmt(f),
            Self::UserData(chunk) => chunk.fmt(f),
            Self::NextUserData(chunk) => chunk.fmt(f),
            Self::AckBitmap(chunk) => chunk.fmt(f),
            Self::AckRanges(chunk) => chunk.fmt(f),
            Self::BufferProbe(chunk) => chunk.fmt(f),
            Self::FlowException(chunk) => chunk.fmt(f),
            Self::Close(chunk) => chunk.fmt(f),
            Self::CloseAck(chunk) => chunk.fmt(f),
            Self::EcnReport(chunk) => chunk.fmt(f),
            Self::Padding => f.write_str("Padding"),
            Self::Unknown { kind } => write!(f, "Unknown type={kind:#04x}"),
        }
    }
}

/// The length of a byte string and its first bytes.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        write!(f, "{}B", self.0.len())?;
        if self.0.is_empty() {
            return Ok(());
        }
        f.write_str(":")?;
        self.0.iter().take(SHOWN).try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(if self.0.len() > SHOWN { ".." } else { "" })
    }
}
