//! Packets: their header, and their chunks.

use core::net::SocketAddr;

use rtmfp_core::wire::{Chunk, Chunks, FragmentControl, Mode, PacketHeader};
use serde::ser::SerializeSeq as _;
use serde::{Serialize, Serializer};

/// The header of a packet (RFC 7016 §2.2.4).
#[derive(Serialize)]
pub(crate) struct HeaderData {
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp_echo: Option<u16>,
    #[serde(skip_serializing_if = "is_false")]
    time_critical: bool,
    #[serde(skip_serializing_if = "is_false")]
    time_critical_reverse: bool,
}

pub(crate) fn is_false(value: &bool) -> bool {
    !value
}

/// A plain packet, taken apart. A packet that has no header, which no endpoint makes or opens, has no chunks.
pub(crate) fn parse(plain: &[u8]) -> (Option<HeaderData>, ChunkList<'_>) {
    match PacketHeader::parse(plain) {
        Ok((header, chunks)) => (Some(HeaderData::new(&header)), ChunkList(chunks)),
        Err(_) => (None, ChunkList(Chunks::new(&[]))),
    }
}

impl HeaderData {
    const fn new(header: &PacketHeader) -> Self {
        let mode = match header.mode {
            Mode::Initiator => "initiator",
            Mode::Responder => "responder",
            Mode::Startup => "startup",
        };
        Self {
            mode,
            timestamp: header.timestamp,
            timestamp_echo: header.timestamp_echo,
            time_critical: header.time_critical,
            time_critical_reverse: header.time_critical_reverse,
        }
    }
}

/// The chunks of a packet, as an array.
pub(crate) struct ChunkList<'a>(Chunks<'a>);

impl Serialize for ChunkList<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        // Next User Data continues the chunk before it (RFC 7016 §2.3.12).
        let mut last = None;
        for chunk in self.0.clone() {
            let data = match chunk {
                Ok(Chunk::Padding) => continue,
                Ok(chunk) => ChunkData::new(&chunk, &mut last),
                Err(_) => ChunkData::Malformed,
            };
            list.serialize_element(&data)?;
        }
        list.end()
    }
}

#[derive(Serialize)]
#[serde(tag = "chunk_type", rename_all = "snake_case")]
enum ChunkData<'a> {
    PacketFragment { packet_id: u64, fragment_number: u64, more_fragments: bool, length: usize },
    InitiatorHello { discriminator_length: usize, tag_length: usize },
    ForwardedHello { discriminator_length: usize, reply_address: SocketAddr, tag_length: usize },
    ResponderHello { tag_length: usize, cookie_length: usize, certificate_length: usize },
    Redirect { tag_length: usize, destinations: Vec<SocketAddr> },
    CookieChange { old_cookie_length: usize, new_cookie_length: usize },
    InitiatorKeying { session_id: u32, cookie_length: usize, certificate_length: usize, component_length: usize },
    ResponderKeying { session_id: u32, component_length: usize },
    Ping { length: usize },
    PingReply { length: usize },
    UserData(DataChunk),
    NextUserData(DataChunk),
    BitmapAcknowledgement(AckChunk<'a>),
    RangeAcknowledgement(AckChunk<'a>),
    BufferProbe { flow_id: u64 },
    FlowException { flow_id: u64, code: u64 },
    CloseRequest,
    CloseAcknowledgement,
    EcnReport { ce_count: u8 },
    Unknown { type_code: u8 },
    Malformed,
}

/// User Data, or Next User Data with what it takes from the chunk before.
#[derive(Serialize)]
struct DataChunk {
    #[serde(skip_serializing_if = "Option::is_none")]
    flow_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence_number: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    forward_sequence_number: Option<u64>,
    fragment: &'static str,
    #[serde(skip_serializing_if = "is_false")]
    abandon: bool,
    #[serde(rename = "final", skip_serializing_if = "is_false")]
    last: bool,
    length: usize,
}

#[derive(Serialize)]
struct AckChunk<'a> {
    flow_id: u64,
    buffer_blocks: u64,
    cumulative: u64,
    ranges: Ranges<'a>,
}

/// First and last number of each range beyond the cumulative acknowledgement.
enum Ranges<'a> {
    Bitmap(rtmfp_core::wire::BitmapRanges<'a>),
    Runs(rtmfp_core::wire::RunRanges<'a>),
}

impl Serialize for Ranges<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bitmap(ranges) => serializer.collect_seq(ranges.clone()),
            Self::Runs(ranges) => serializer.collect_seq(ranges.clone()),
        }
    }
}

const fn fragment(control: FragmentControl) -> &'static str {
    match control {
        FragmentControl::Whole => "whole",
        FragmentControl::Begin => "begin",
        FragmentControl::End => "end",
        FragmentControl::Middle => "middle",
    }
}

impl<'a> ChunkData<'a> {
    /// `last`: flow ID, sequence number and FSN of the data chunk before.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the chunks of startup have a function of their own")]
    fn new(chunk: &Chunk<'a>, last: &mut Option<(u64, u64, u64)>) -> Self {
        match chunk {
            Chunk::UserData(chunk) => {
                *last = Some((chunk.flow_id, chunk.sequence_number, chunk.forward_sequence_number()));
                Self::UserData(DataChunk::new(*last, chunk.control, (chunk.abandon, chunk.last), chunk.data.len()))
            }
            Chunk::NextUserData(chunk) => {
                *last = last.map(|(flow, sequence, fsn)| (flow, sequence.saturating_add(1), fsn));
                Self::NextUserData(DataChunk::new(*last, chunk.control, (chunk.abandon, chunk.last), chunk.data.len()))
            }
            Chunk::AckBitmap(ack) => {
                let ranges = Ranges::Bitmap(ack.ranges());
                Self::BitmapAcknowledgement(AckChunk {
                    flow_id: ack.flow_id,
                    buffer_blocks: ack.blocks_available,
                    cumulative: ack.cumulative_ack,
                    ranges,
                })
            }
            Chunk::AckRanges(ack) => {
                let ranges = Ranges::Runs(ack.ranges());
                Self::RangeAcknowledgement(AckChunk {
                    flow_id: ack.flow_id,
                    buffer_blocks: ack.blocks_available,
                    cumulative: ack.cumulative_ack,
                    ranges,
                })
            }
            Chunk::BufferProbe(chunk) => Self::BufferProbe { flow_id: chunk.flow_id },
            Chunk::FlowException(chunk) => Self::FlowException { flow_id: chunk.flow_id, code: chunk.code },
            Chunk::Close(_) => Self::CloseRequest,
            Chunk::CloseAck(_) => Self::CloseAcknowledgement,
            Chunk::EcnReport(chunk) => Self::EcnReport { ce_count: chunk.ce_count },
            Chunk::Ping(chunk) => Self::Ping { length: chunk.message.len() },
            Chunk::PingReply(chunk) => Self::PingReply { length: chunk.message.len() },
            Chunk::Unknown { kind } => Self::Unknown { type_code: *kind },
            startup => Self::startup(startup),
        }
    }

    /// Chunks of startup.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are named before")]
    fn startup(chunk: &Chunk<'a>) -> Self {
        match chunk {
            Chunk::PacketFragment(chunk) => Self::PacketFragment {
                packet_id: chunk.packet_id,
                fragment_number: chunk.fragment_number,
                more_fragments: chunk.more_fragments,
                length: chunk.fragment.len(),
            },
            Chunk::InitiatorHello(chunk) => {
                Self::InitiatorHello { discriminator_length: chunk.discriminator.len(), tag_length: chunk.tag.len() }
            }
            Chunk::ForwardedHello(chunk) => Self::ForwardedHello {
                discriminator_length: chunk.discriminator.len(),
                reply_address: chunk.reply_address.socket,
                tag_length: chunk.tag.len(),
            },
            Chunk::ResponderHello(chunk) => Self::ResponderHello {
                tag_length: chunk.tag_echo.len(),
                cookie_length: chunk.cookie.len(),
                certificate_length: chunk.certificate.len(),
            },
            Chunk::Redirect(chunk) => Self::Redirect {
                tag_length: chunk.tag_echo.len(),
                destinations: chunk.destinations.iter().map(|address| address.socket).collect(),
            },
            Chunk::CookieChange(chunk) => Self::CookieChange {
                old_cookie_length: chunk.old_cookie.len(),
                new_cookie_length: chunk.new_cookie.len(),
            },
            Chunk::InitiatorKeying(chunk) => Self::InitiatorKeying {
                session_id: chunk.session_id,
                cookie_length: chunk.cookie_echo.len(),
                certificate_length: chunk.certificate.len(),
                component_length: chunk.component.len(),
            },
            Chunk::ResponderKeying(chunk) => {
                Self::ResponderKeying { session_id: chunk.session_id, component_length: chunk.component.len() }
            }
            _ => Self::Malformed,
        }
    }
}

impl DataChunk {
    fn new(
        place: Option<(u64, u64, u64)>,
        control: FragmentControl,
        (abandon, last): (bool, bool),
        length: usize,
    ) -> Self {
        Self {
            flow_id: place.map(|place| place.0),
            sequence_number: place.map(|place| place.1),
            forward_sequence_number: place.map(|place| place.2),
            fragment: fragment(control),
            abandon,
            last,
            length,
        }
    }
}
