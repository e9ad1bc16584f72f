//! Records: the header, and one for each event.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::io::{self, Write};
use std::time::SystemTime;

use rtmfp_core::{Ecn, Instant, KeyAgreementOutcome, Path, SendFlowHandle, SessionHandle, TraceEvent};
use serde::{Serialize, Serializer};

use crate::chunk::{ChunkList, HeaderData, is_false, parse};
use crate::date::rfc3339;

/// The URI of the event schema that this package documents.
pub const EVENT_SCHEMA: &str = "https://github.com/rtmfp/rtmfp/112026/qlog/rtmfp";

/// Begins each record (RFC 7464 §2.2).
const RECORD_SEPARATOR: u8 = 0x1e;

/// What the file is of.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    /// A short title.
    pub title: &'a str,
    /// Which end it shows.
    pub vantage_point: VantagePoint,
    /// When it begins. None if the endpoint's clock has nothing to do with the time of day, as in a simulation.
    pub began: Option<SystemTime>,
}

/// Which end a trace shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VantagePoint {
    /// One that opens sessions.
    Client,
    /// One that others open sessions to.
    Server,
    /// Both, or neither in particular.
    Unknown,
}

#[derive(Serialize)]
struct FileData<'a> {
    file_schema: &'static str,
    serialization_format: &'static str,
    title: &'a str,
    trace: TraceData,
}

#[derive(Serialize)]
struct TraceData {
    common_fields: CommonFields,
    vantage_point: VantageData,
    event_schemas: [&'static str; 1],
}

#[derive(Serialize)]
struct CommonFields {
    time_format: &'static str,
    reference_time: ReferenceTime,
}

#[derive(Serialize)]
struct ReferenceTime {
    clock_type: &'static str,
    epoch: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    wall_clock_time: Option<String>,
}

#[derive(Serialize)]
struct VantageData {
    #[serde(rename = "type")]
    kind: &'static str,
}

/// Writes one record.
fn record(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    out.write_all(&[RECORD_SEPARATOR])?;
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

/// Writes the header, which is the first record of a file.
///
/// # Errors
/// Those of `out`.
pub fn write_header(out: &mut impl Write, header: &Header<'_>) -> io::Result<()> {
    let kind = match header.vantage_point {
        VantagePoint::Client => "client",
        VantagePoint::Server => "server",
        VantagePoint::Unknown => "unknown",
    };
    let wall_clock_time = header.began.map(rfc3339);
    let reference_time = ReferenceTime { clock_type: "monotonic", epoch: "unknown", wall_clock_time };
    let trace = TraceData {
        common_fields: CommonFields { time_format: "relative_to_epoch", reference_time },
        vantage_point: VantageData { kind },
        event_schemas: [EVENT_SCHEMA],
    };
    let file = FileData {
        file_schema: "urn:ietf:params:qlog:file:sequential",
        serialization_format: "application/qlog+json-seq",
        title: header.title,
        trace,
    };
    record(out, &file)
}

/// Writes an event.
///
/// # Errors
/// Those of `out`.
pub fn write_event(
    out: &mut impl Write,
    at: Instant,
    session: Option<SessionHandle>,
    event: &TraceEvent<'_>,
) -> io::Result<()> {
    let group_id = session.map(Shown);
    record(out, &EventData { time: millis(at), name: Name(event.name()), group_id, data: Data::new(event) })
}

/// Writes that so many events are missing before this time.
///
/// # Errors
/// Those of `out`.
pub fn write_lost(out: &mut impl Write, at: Instant, count: u64) -> io::Result<()> {
    let (name, data) = (Name("events_lost"), Data::EventsLost { count });
    record(out, &EventData { time: millis(at), name, group_id: None, data })
}

fn millis(at: Instant) -> f64 {
    at.as_micros() as f64 / 1e3
}

fn duration(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[derive(Serialize)]
struct EventData<'a> {
    time: f64,
    name: Name,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_id: Option<Shown<SessionHandle>>,
    data: Data<'a>,
}

/// A name in the namespace of this schema.
struct Name(&'static str);

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("rtmfp:{}", self.0))
    }
}

/// As it is displayed.
struct Shown<T>(T);

impl<T: fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

#[derive(Serialize)]
struct Raw {
    length: usize,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Packet {
        remote: SocketAddr,
        #[serde(skip_serializing_if = "Option::is_none")]
        local: Option<IpAddr>,
        interface: u16,
        #[serde(skip_serializing_if = "Option::is_none")]
        ecn: Option<&'static str>,
        raw: Raw,
        #[serde(skip_serializing_if = "Option::is_none")]
        header: Option<HeaderData>,
        chunks: ChunkList<'a>,
    },
    DatagramDropped {
        remote: SocketAddr,
        raw: Raw,
        trigger: &'static str,
    },
    /// A chunk that was dropped, or the end of a session.
    Trigger {
        trigger: &'static str,
    },
    Acknowledged {
        flow_id: u64,
        sequence_number: u64,
        length: u32,
        #[serde(skip_serializing_if = "is_false")]
        spurious_loss: bool,
    },
    Lost {
        flow_id: u64,
        sequence_number: u64,
        length: u32,
        trigger: &'static str,
    },
    Abandoned {
        flow_id: u64,
        message: u64,
        length: usize,
        trigger: &'static str,
    },
    Congestion {
        congestion_window: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        ssthresh: Option<u64>,
        bytes_in_flight: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        smoothed_rtt: Option<f64>,
        retransmission_timeout: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        target_rate: Option<u64>,
    },
    TimerSet {
        timer: &'static str,
        at: f64,
    },
    Timer {
        timer: &'static str,
    },
    Moved {
        from: SocketAddr,
        to: SocketAddr,
        proved: bool,
    },
    State {
        #[serde(skip_serializing_if = "Option::is_none")]
        old: Option<&'static str>,
        new: &'static str,
    },
    KeyAgreement {
        step: &'static str,
        outcome: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        remote: Option<SocketAddr>,
    },
    EventsLost {
        count: u64,
    },
    /// Of a kind that this version does not know.
    Other {},
}

impl<'a> Data<'a> {
    fn new(event: &TraceEvent<'a>) -> Self {
        match *event {
            TraceEvent::PacketSent { path, size, plain } => Self::packet(path, None, size, plain),
            TraceEvent::PacketReceived { path, size, ecn, plain } => Self::packet(path, ecn, size, plain),
            TraceEvent::DatagramDropped { path, size, reason } => {
                Self::DatagramDropped { remote: path.remote, raw: Raw { length: size }, trigger: reason.name() }
            }
            TraceEvent::ChunkDropped { reason } => Self::Trigger { trigger: reason.name() },
            TraceEvent::FragmentAcknowledged { flow, sequence, size, was_lost } => Self::Acknowledged {
                flow_id: flow.flow_id(),
                sequence_number: sequence,
                length: size,
                spurious_loss: was_lost,
            },
            TraceEvent::FragmentLost { flow, sequence, size, cause } => Self::lost(flow, sequence, size, cause.name()),
            TraceEvent::MessageAbandoned { flow, message, size, cause } => Self::Abandoned {
                flow_id: flow.flow_id(),
                message: message.index(),
                length: size,
                trigger: cause.name(),
            },
            TraceEvent::Congestion { window, threshold, outstanding, srtt, erto, target_rate } => Self::Congestion {
                congestion_window: window,
                ssthresh: threshold,
                bytes_in_flight: outstanding,
                smoothed_rtt: srtt.map(duration),
                retransmission_timeout: duration(erto),
                target_rate,
            },
            TraceEvent::TimerSet { timer, at } => Self::TimerSet { timer, at: millis(at) },
            TraceEvent::TimerCancelled { timer } | TraceEvent::TimerExpired { timer } => Self::Timer { timer },
            TraceEvent::Moved { from, to, proved } => Self::Moved { from: from.remote, to: to.remote, proved },
            TraceEvent::StateChanged { from, to } => Self::State { old: from.map(|from| from.name()), new: to.name() },
            TraceEvent::OpenFailed { reason } => Self::Trigger { trigger: reason.name() },
            TraceEvent::Closed { reason } => Self::Trigger { trigger: reason.name() },
            TraceEvent::KeyAgreement { step, outcome, remote } => {
                let error = if let KeyAgreementOutcome::Failed(error) = outcome { Some(error.name()) } else { None };
                Self::KeyAgreement { step: step.name(), outcome: outcome.name(), error, remote }
            }
            _ => Self::Other {},
        }
    }

    fn packet(path: Path, ecn: Option<Ecn>, size: usize, plain: &'a [u8]) -> Self {
        let (header, chunks) = parse(plain);
        let ecn = ecn.map(|ecn| match ecn {
            Ecn::Ect0 => "ECT(0)",
            Ecn::Ect1 => "ECT(1)",
            Ecn::Ce => "CE",
        });
        let (remote, local, interface) = (path.remote, path.local, path.interface.0);
        Self::Packet { remote, local, interface, ecn, raw: Raw { length: size }, header, chunks }
    }

    const fn lost(flow: SendFlowHandle, sequence_number: u64, length: u32, trigger: &'static str) -> Self {
        Self::Lost { flow_id: flow.flow_id(), sequence_number, length, trigger }
    }
}
