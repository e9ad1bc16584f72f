//! The syntax of RFC 7016 §2: parse borrows from the packet, encode appends to a buffer.
//!
//! SKELETON: these definitions are the contract; they move into one file per subject (cursor, vlu, option, address,
//! session_id, packet, one per chunk type).

#![allow(dead_code, unused_imports, missing_docs, missing_debug_implementations)]

use alloc::vec::Vec;
use core::net::SocketAddr;

// cursor.rs: `Cursor<'a>` over `&'a [u8]`: remaining(), is_empty(), u8(), u16(), u32(), vlu() -> Result<u64, Malformed>,
// bytes(n), sized_bytes() (VLU length then that many), rest(), sub-cursors. Never indexes, never panics.
/// The input does not follow the syntax.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

// vlu.rs: `encode(value: u64, out: &mut Vec<u8>)`, `encoded_len(value: u64) -> usize`.
// option.rs: `Options<'a>` iterator over an option list or bare sequence: items `RawOption<'a> { Marker, Option {kind: u64, value: &'a [u8]} }`;
// `encode_option(kind, value: &[u8], out)`, `encode_marker(out)`, `encoded_option_len(kind, value_len)`.

/// Where an address comes from, as its reporter says (RFC 7016 §2.1.5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum AddressOrigin {
    Unknown,
    Local,
    Observed,
    Relay,
}

/// An Internet socket address with its origin (RFC 7016 §2.1.5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Address {
    pub origin: AddressOrigin,
    pub socket: SocketAddr,
}
// Address::{parse(&mut Cursor), encode(&mut Vec<u8>), encoded_len()}

// session_id.rs: `scramble(session_id: u32, encrypted: &[u8]) -> [u8; 4]`, `unscramble(datagram: &[u8]) -> Option<(u32, usize /* offset of encrypted packet = 4 */)>`.

/// RFC 7016 §2.2.4. Mode 0 is refused by parse.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mode {
    Initiator = 1,
    Responder = 2,
    Startup = 3,
}

/// The packet header (RFC 7016 §2.2.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PacketHeader {
    pub time_critical: bool,
    pub time_critical_reverse: bool,
    pub timestamp: Option<u16>,
    pub timestamp_echo: Option<u16>,
    pub mode: Mode,
}
// PacketHeader::parse(packet: &[u8]) -> Result<(PacketHeader, Chunks<'_>), HeaderError>; encode(&mut Vec<u8>); encoded_len(); MAX_LEN = 5.
// The flags byte can be patched after the fact: PacketWriter::set_time_critical().

/// Walks the chunks of a packet: yields `(type, payload)` pairs' parse results; padding ends it.
/// `Iterator<Item = Result<Chunk<'a>, Malformed>>`: an Err is one malformed chunk, iteration goes on behind it.
#[derive(Clone, Debug)]
pub struct Chunks<'a>(pub &'a [u8]);

/// Every chunk of RFC 7016 §2.3, and the ECN report (0xec).
#[derive(Clone, Debug)]
pub enum Chunk<'a> {
    PacketFragment(PacketFragment<'a>),
    InitiatorHello(InitiatorHello<'a>),
    ForwardedHello(ForwardedHello<'a>),
    ResponderHello(ResponderHello<'a>),
    Redirect(Redirect<'a>),
    CookieChange(CookieChange<'a>),
    InitiatorKeying(InitiatorKeying<'a>),
    ResponderKeying(ResponderKeying<'a>),
    Ping(Ping<'a>),
    PingReply(PingReply<'a>),
    UserData(UserData<'a>),
    NextUserData(NextUserData<'a>),
    AckBitmap(AckBitmap<'a>),
    AckRanges(AckRanges<'a>),
    BufferProbe(BufferProbe),
    FlowException(FlowException),
    Close(Close),
    CloseAck(CloseAck),
    EcnReport(EcnReport),
    Padding,
    Unknown { kind: u8 },
}

/// What every chunk type implements, for `PacketWriter::push`.
pub trait EncodeChunk {
    /// The chunk type code.
    const TYPE: u8;
    /// Length of the payload in bytes.
    fn payload_len(&self) -> usize;
    /// Appends the payload.
    fn encode_payload(&self, out: &mut Vec<u8>);
}
// Each also has `parse(payload: &'a [u8]) -> Result<Self, Malformed>`.

#[derive(Clone, Debug)]
pub struct PacketFragment<'a> {
    pub more_fragments: bool,
    pub packet_id: u64,
    pub fragment_number: u64,
    pub fragment: &'a [u8],
}
#[derive(Clone, Debug)]
pub struct InitiatorHello<'a> {
    pub discriminator: &'a [u8],
    pub tag: &'a [u8],
}
#[derive(Clone, Debug)]
pub struct ForwardedHello<'a> {
    pub discriminator: &'a [u8],
    pub reply_address: Address,
    pub tag: &'a [u8],
}
#[derive(Clone, Debug)]
pub struct ResponderHello<'a> {
    pub tag_echo: &'a [u8],
    pub cookie: &'a [u8],
    pub certificate: &'a [u8],
}
/// `destinations()` iterates the addresses (empty: implied redirect to the packet's source).
#[derive(Clone, Debug)]
pub struct Redirect<'a> {
    pub tag_echo: &'a [u8],
    /* parsed view or a slice of Address to encode */ pub destinations: RedirectDestinations<'a>,
}
#[derive(Clone, Debug)]
pub struct CookieChange<'a> {
    pub old_cookie: &'a [u8],
    pub new_cookie: &'a [u8],
}
/// `signed` is the payload up to the signature: filled by parse; for encoding, `signed_parameters(&self) -> Vec<u8>` gives the bytes to sign.
#[derive(Clone, Debug)]
pub struct InitiatorKeying<'a> {
    pub session_id: u32,
    pub cookie_echo: &'a [u8],
    pub certificate: &'a [u8],
    pub component: &'a [u8],
    pub signature: &'a [u8],
    pub signed: &'a [u8],
}
#[derive(Clone, Debug)]
pub struct ResponderKeying<'a> {
    pub session_id: u32,
    pub component: &'a [u8],
    pub signature: &'a [u8],
    pub signed: &'a [u8],
}
#[derive(Clone, Debug)]
pub struct Ping<'a> {
    pub message: &'a [u8],
}
#[derive(Clone, Debug)]
pub struct PingReply<'a> {
    pub message: &'a [u8],
}
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FragmentControl {
    Whole = 0,
    Begin = 1,
    End = 2,
    Middle = 3,
}
/// Shared by User Data and Next User Data.
#[derive(Clone, Debug)]
pub struct FragmentFlags {
    pub options_present: bool,
    pub control: FragmentControl,
    pub abandon: bool,
    pub last: bool,
}
/// `fsn_offset` is as on the wire; parse refuses it where RFC 7016 §2.3.11 forbids it (zero without abandon, above the sequence number).
/// `options`: the raw option list without its marker (empty if none), iterated with `Options`.
#[derive(Clone, Debug)]
pub struct UserData<'a> {
    pub control: FragmentControl,
    pub abandon: bool,
    pub last: bool,
    pub flow_id: u64,
    pub sequence_number: u64,
    pub fsn_offset: u64,
    pub options: Option<&'a [u8]>,
    pub data: &'a [u8],
}
#[derive(Clone, Debug)]
pub struct NextUserData<'a> {
    pub control: FragmentControl,
    pub abandon: bool,
    pub last: bool,
    pub options: Option<&'a [u8]>,
    pub data: &'a [u8],
}
/// `ranges()` of all three ack views yields inclusive (from, to) pairs above the cumulative ack, ascending, merged for bitmaps, no overflow.
#[derive(Clone, Debug)]
pub struct AckBitmap<'a> {
    pub flow_id: u64,
    pub blocks_available: u64,
    pub cumulative_ack: u64,
    pub bits: &'a [u8],
}
/// Parsed: `encoded` holds the run-length pairs. `AckRangesBuilder`/`encode` from an iterator of (from, to) with a byte limit (truncation at a whole range).
#[derive(Clone, Debug)]
pub struct AckRanges<'a> {
    pub flow_id: u64,
    pub blocks_available: u64,
    pub cumulative_ack: u64,
    pub encoded: &'a [u8],
}
#[derive(Clone, Debug)]
pub struct BufferProbe {
    pub flow_id: u64,
}
#[derive(Clone, Debug)]
pub struct FlowException {
    pub flow_id: u64,
    pub code: u64,
}
#[derive(Clone, Debug)]
pub struct Close;
#[derive(Clone, Debug)]
pub struct CloseAck;
/// Chunk 0xec, outside the RFC: count of Congestion Experienced marks, modulo 256.
#[derive(Clone, Debug)]
pub struct EcnReport {
    pub ce_count: u8,
}

/// Writes one plain packet at the end of a buffer, never past `limit` bytes of plain packet; what does not fit is
/// rolled back.
///
/// `new(buf, limit)` · `header(&PacketHeader)` · `push(&impl EncodeChunk) -> bool` · `push_with(type, |&mut Vec<u8>| ) -> bool`
/// · `remaining() -> usize` (payload bytes that still fit in one more chunk, header already counted) · `len()` ·
/// `has_chunks()` · `set_time_critical()` · `mark()/rollback(mark)`.
pub struct PacketWriter<'a> {
    pub buf: &'a mut Vec<u8>,
    pub start: usize,
    pub limit: usize,
}

/// The addresses of a redirect.
#[derive(Clone, Debug)]
pub struct RedirectDestinations<'a>(pub &'a [u8]);
