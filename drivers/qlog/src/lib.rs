//! Writes what an RTMFP endpoint does as qlog.
//!
//! [qlog](https://datatracker.ietf.org/doc/draft-ietf-quic-qlog-main-schema/) is the IETF's format for logs of transport
//! protocols. A file is a [`JSON text sequence`](https://www.rfc-editor.org/rfc/rfc7464): each record is the byte 0x1e, one
//! JSON object, and a line feed. The first record is the header, each further one an event. Files are named `.sqlog`.
//!
//! [`write_header`] and [`write_event`] make the records. [`QlogFile`] writes them to a file without holding up the thread
//! that moves packets.
//!
//! # Events
//!
//! The event schema is [`EVENT_SCHEMA`], and the namespace `rtmfp`. `time` is in milliseconds of the endpoint's clock.
//! `group_id` is the session, where there is one: its number, a point, and how many had that number before. What users
//! write is never logged, nor are keys, cookies, or certificates: only lengths.
//!
//! | event | `data` |
//! |---|---|
//! | `rtmfp:packet_sent`, `rtmfp:packet_received` | `remote`, `local`, `interface`, `ecn`; `raw.length`: bytes of the datagram; `header`; `chunks`, see below |
//! | `rtmfp:datagram_dropped` | `remote`, `raw.length`, `trigger`: why |
//! | `rtmfp:chunk_dropped` | `trigger`: why a chunk of the packet before was not used |
//! | `rtmfp:fragment_acknowledged` | `flow_id`, `sequence_number`, `length`: bytes of its chunk; `spurious_loss`: it had been declared lost |
//! | `rtmfp:fragment_lost` | `flow_id`, `sequence_number`, `length`, `trigger`: `negative_acknowledgements`, `time_threshold`, `timeout`, `path_change`, `revived` |
//! | `rtmfp:message_abandoned` | `flow_id`, `message`: its place in the order of writing, from 0; `length`; `trigger`: `user`, `deadline`, `not_retransmitted`, `dependency`, `flow_rejected`, `session_ended` |
//! | `rtmfp:congestion` | `congestion_window`, `ssthresh`, `bytes_in_flight`; `smoothed_rtt`, `retransmission_timeout` in milliseconds; `target_rate` in bytes a second |
//! | `rtmfp:timer_set` | `timer`; `at`: when, as `time` counts |
//! | `rtmfp:timer_cancelled`, `rtmfp:timer_expired` | `timer` |
//! | `rtmfp:moved` | `from`, `to`: addresses of the far end; `proved` |
//! | `rtmfp:state_changed` | `old` (not of a new session), `new`: states of RFC 7016 §3.5 |
//! | `rtmfp:open_failed`, `rtmfp:closed` | `trigger`: why |
//! | `rtmfp:key_agreement` | `step`: `initiate`, `finish`, `respond`; `outcome`: `offloaded`, `agreed`, `failed`; `error`, `remote` |
//! | `rtmfp:events_lost` | `count`: events that were not written before this one, for want of room; the last record of a file that reached its greatest size |
//!
//! `header` has `mode` (`initiator`, `responder`, `startup`), `timestamp`, `timestamp_echo`, `time_critical`,
//! `time_critical_reverse`. Each of `chunks` has a `chunk_type` and the fields that RFC 7016 §2.3 gives that type, with byte
//! strings as their lengths. Reasons are those of [`DropReason`](rtmfp_core::error::DropReason),
//! [`CloseReason`](rtmfp_core::CloseReason) and [`OpenFailure`](rtmfp_core::OpenFailure) by their `name`.
#![forbid(unsafe_code)]

mod chunk;
mod date;
mod event;
mod file;

pub use event::{EVENT_SCHEMA, Header, VantagePoint, write_event, write_header, write_lost};
pub use file::{QlogError, QlogFile, QlogSink};

#[cfg(test)]
mod tests {
    use rtmfp_core::error::DropReason;
    use rtmfp_core::{AbandonCause, Instant, InterfaceId, LossCause, Path, TraceEvent};

    /// What the manual says of events.
    const MANUAL: &str = include_str!("lib.rs");

    fn json(event: &TraceEvent<'_>) -> serde_json::Value {
        let mut out = Vec::new();
        super::write_event(&mut out, Instant::from_micros(1_500), None, event).unwrap();
        let text = core::str::from_utf8(&out).unwrap();
        serde_json::from_str(text.strip_prefix('\u{1e}').unwrap().strip_suffix('\n').unwrap()).unwrap()
    }

    #[test]
    fn a_packet_is_written_with_its_chunks_and_without_content() {
        let remote = ([192, 0, 2, 1], 1_935).into();
        // Initiator, with a timestamp: User Data of flow 2, number 7, two bytes; Next User Data; a range of
        // acknowledgements; a chunk that is cut short; padding.
        let plain = [
            &[0x09, 0x12, 0x34][..],
            &[0x10, 0, 6, 0x00, 2, 7, 3, b'h', b'i'],
            &[0x11, 0, 2, 0x00, b'!'],
            &[0x51, 0, 5, 4, 100, 10, 0, 2],
            &[0x18, 0, 0],
            &[0xff; 5],
        ]
        .concat();
        let path = Path::new(InterfaceId(0), remote);
        let event = json(&TraceEvent::PacketSent { path, size: 99, plain: &plain });
        assert_eq!(event["time"], 1.5);
        assert_eq!(event["name"], "rtmfp:packet_sent");
        let expected = serde_json::json!({
            "remote": "192.0.2.1:1935",
            "interface": 0,
            "raw": { "length": 99 },
            "header": { "mode": "initiator", "timestamp": 0x1234 },
            "chunks": [
                { "chunk_type": "user_data", "flow_id": 2, "sequence_number": 7, "forward_sequence_number": 4,
                  "fragment": "whole", "length": 2 },
                { "chunk_type": "next_user_data", "flow_id": 2, "sequence_number": 8, "forward_sequence_number": 4,
                  "fragment": "whole", "length": 1 },
                { "chunk_type": "range_acknowledgement", "flow_id": 4, "buffer_blocks": 100, "cumulative": 10,
                  "ranges": [[12, 14]] },
                { "chunk_type": "malformed" },
            ],
        });
        assert_eq!(event["data"], expected);
    }

    #[test]
    fn the_manual_names_every_event_and_cause() {
        let path = Path::new(InterfaceId(0), ([192, 0, 2, 1], 1_935).into());
        let events = [
            TraceEvent::PacketSent { path, size: 0, plain: &[] },
            TraceEvent::PacketReceived { path, size: 0, ecn: None, plain: &[] },
            TraceEvent::DatagramDropped { path, size: 0, reason: DropReason::TooShort },
            TraceEvent::ChunkDropped { reason: DropReason::TooShort },
            TraceEvent::TimerExpired { timer: "" },
        ];
        for event in events {
            assert!(MANUAL.contains(&format!("`rtmfp:{}`", event.name())), "{event:?}");
        }
        let losses = [LossCause::NegativeAcknowledgements, LossCause::TimeThreshold, LossCause::Timeout];
        let more_losses = [LossCause::PathChange, LossCause::Revived];
        let abandons = [AbandonCause::User, AbandonCause::Deadline, AbandonCause::NotRetransmitted];
        let more = [AbandonCause::Dependency, AbandonCause::FlowRejected, AbandonCause::SessionEnded];
        let losses = losses.iter().chain(&more_losses);
        let names = losses.map(LossCause::name).chain(abandons.iter().chain(&more).map(AbandonCause::name));
        for name in names {
            assert!(MANUAL.contains(&format!("`{name}`")), "{name}");
        }
    }
}
