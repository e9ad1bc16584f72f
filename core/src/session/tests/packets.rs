//! Single packets: headers, timestamps, time critical flags, and chunks that should not be.

use alloc::vec::Vec;
use core::time::Duration;

use super::network::{A, ACK_RANGES, B, Network, PING_REPLY, START, Sent, path_to};
use crate::config::{FlowOptions, SessionConfig};
use crate::error::DropReason;
use crate::event::{CloseReason, Event};
use crate::handle::SessionHandle;
use crate::session::Ending;
use crate::transmit::RecvMeta;
use crate::wire::{
    BufferProbe, Chunk, EncodeChunk, FragmentControl, Mode, NextUserData, PacketHeader, PacketWriter, Ping, PingReply,
    UserData,
};

/// A plain packet, as the network's other end would send it.
pub(super) fn packet(header: PacketHeader, fill: impl FnOnce(&mut PacketWriter<'_>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = PacketWriter::new(&mut bytes, 3_000);
    assert!(writer.header(&header));
    fill(&mut writer);
    bytes
}

/// Of `from`'s mode, with one chunk.
pub(super) fn one(from: usize, chunk: &impl EncodeChunk) -> Vec<u8> {
    packet(header_of(from), |writer| assert!(writer.push(chunk)))
}

pub(super) fn header_of(from: usize) -> PacketHeader {
    PacketHeader::new(if from == A { Mode::Initiator } else { Mode::Responder })
}

pub(super) fn user_data<'a>(flow_id: u64, sequence_number: u64, data: &'a [u8]) -> UserData<'a> {
    UserData {
        control: FragmentControl::Whole,
        abandon: false,
        last: false,
        flow_id,
        sequence_number,
        fsn_offset: sequence_number,
        options: Some(METADATA),
        data,
    }
}

/// The option list "metadata: m".
const METADATA: &[u8] = &[2, 0, b'm'];

fn next_user_data(data: &[u8]) -> NextUserData<'_> {
    NextUserData { control: FragmentControl::Whole, abandon: false, last: false, options: None, data }
}

#[test]
fn packets_of_the_wrong_mode_are_ignored() {
    let mut network = Network::open(SessionConfig::default());
    for (mode, result) in [
        (Mode::Initiator, Ok(())),
        (Mode::Responder, Err(DropReason::WrongMode)),
        (Mode::Startup, Err(DropReason::WrongMode)),
    ] {
        let plain = packet(PacketHeader::new(mode), |writer| assert!(writer.push(&Ping { message: b"x" })));
        assert_eq!(network.inject(B, path_to(A), &plain), result);
    }
    assert_eq!(network.sent_by(B, |sent| sent.has(PING_REPLY)).len(), 1);
    for (mode, result) in [(Mode::Responder, Ok(())), (Mode::Initiator, Err(DropReason::WrongMode))] {
        let plain = packet(PacketHeader::new(mode), |writer| assert!(writer.push(&Ping { message: b"x" })));
        assert_eq!(network.inject(A, path_to(B), &plain), result, "at the initiator");
    }
    assert_eq!(network.inject(B, path_to(A), &[0b0000_0000]), Err(DropReason::WrongMode), "mode 0");
    assert_eq!(network.inject(B, path_to(A), &[]), Err(DropReason::Malformed));
    assert_eq!(network.ends[B].session.stats().packets_received, 1);
}

#[test]
fn packets_are_refused_before_the_session_opens_and_after_it_is_closed() {
    let mut network = Network::opening(SessionConfig::default());
    let plain = one(A, &Ping { message: b"x" });
    assert_eq!(network.inject(B, path_to(A), &plain), Err(DropReason::Unexpected));
    network.establish(true);
    let mut bytes = *b"nonsense";
    let handled = network.with(B, |session, cx| session.handle_packet(cx, path_to(A), RecvMeta::default(), &mut bytes));
    assert_eq!(handled, Err(DropReason::NotAuthentic));
    network.with(B, |session, cx| session.end(cx, Ending::Silent(CloseReason::Overridden)));
    assert_eq!(network.inject(B, path_to(A), &plain), Err(DropReason::Unexpected));
    assert!(network.sent.is_empty());
}

#[test]
fn a_ping_is_answered_unaltered_and_at_once() {
    let mut network = Network::open(SessionConfig::default());
    network.inject(B, path_to(A), &one(A, &Ping { message: b"any message" })).unwrap();
    let replies = network.sent_by(B, |sent| sent.has(PING_REPLY));
    assert!(matches!(&replies[0].chunks()[..], [Chunk::PingReply(reply)] if reply.message == b"any message"));
    assert_eq!((replies.len(), replies[0].to), (1, path_to(A)));
}

#[test]
fn a_ping_reply_is_not_answered() {
    let mut network = Network::open(SessionConfig::default());
    network.inject(B, path_to(A), &one(A, &PingReply { message: b"x" })).unwrap();
    assert!(network.sent_by(B, |sent| sent.has(PING_REPLY)).is_empty());
}

#[test]
fn next_user_data_continues_what_stands_before_it() {
    let mut network = Network::open(SessionConfig::default());
    let plain = packet(header_of(A), |writer| {
        assert!(writer.push(&user_data(3, 1, b"one")));
        assert!(writer.push(&BufferProbe { flow_id: 99 }));
        assert!(writer.push(&next_user_data(b"two")));
        assert!(writer.push(&next_user_data(b"three")));
    });
    network.inject(B, path_to(A), &plain).unwrap();
    let read: Vec<&[u8]> = network.ends[B].read.iter().map(|(_, data)| &data[..]).collect();
    assert_eq!(read, [&b"one"[..], b"two", b"three"]);
    assert_eq!(network.ends[B].stats.malformed, 0);
}

#[test]
fn next_user_data_without_a_sound_chunk_before_it_is_dropped() {
    let mut network = Network::open(SessionConfig::default());
    let alone = one(A, &next_user_data(b"x"));
    network.inject(B, path_to(A), &alone).unwrap();
    assert_eq!(network.ends[B].stats.malformed, 1);
    let behind_garbage = packet(header_of(A), |writer| {
        assert!(writer.push(&user_data(3, 1, b"one")));
        assert!(writer.push_with(0x10, |out| out.push(0)));
        assert!(writer.push(&next_user_data(b"not of flow 3")));
    });
    network.inject(B, path_to(A), &behind_garbage).unwrap();
    assert_eq!(network.ends[B].stats.malformed, 3);
    assert_eq!(network.ends[B].bytes_read(), 3);
    let at_the_end = packet(header_of(A), |writer| {
        assert!(writer.push(&UserData { fsn_offset: 1, ..user_data(3, u64::MAX, b"") }));
        assert!(writer.push(&next_user_data(b"there is no such sequence number")));
    });
    network.inject(B, path_to(A), &at_the_end).unwrap();
    assert_eq!(network.ends[B].stats.malformed, 4);
}

#[test]
fn unknown_chunks_are_ignored_and_startup_chunks_counted() {
    let mut network = Network::open(SessionConfig::default());
    let plain = packet(header_of(A), |writer| {
        assert!(writer.push_with(0x77, |out| out.extend_from_slice(b"unknown")));
        assert!(writer.push_with(0x30, |out| out.extend_from_slice(&[1, 1, b't'])));
        assert!(writer.push(&Ping { message: b"x" }));
    });
    network.inject(B, path_to(A), &plain).unwrap();
    assert_eq!(network.sent_by(B, |sent| sent.has(PING_REPLY)).len(), 1);
    assert_eq!(network.ends[B].stats.unexpected + network.ends[B].stats.malformed, 1);
}

#[test]
fn new_flows_without_metadata_or_with_a_wrong_association_are_rejected() {
    let mut network = Network::open(SessionConfig::default());
    let strange: [&[u8]; 4] = [
        &[],                       // No metadata.
        &[2, 0, b'm', 2, 10, 77],  // In return to a flow that does not exist.
        &[2, 0, b'm', 2, 0x55, 1], // A critical option that is not known.
        &[2, 0, b'm', 2, 10, 0],   // In return to flow 0, which is never ours.
    ];
    for (number, options) in strange.into_iter().enumerate() {
        let chunk = UserData { options: Some(options), ..user_data(number as u64, 1, b"data") };
        network.inject(B, path_to(A), &one(A, &chunk)).unwrap();
        let answer = network.sent.last().unwrap();
        assert!(matches!(&answer.chunks()[..], [Chunk::FlowException(exception), Chunk::AckRanges(_)]
            if exception.flow_id == number as u64 && exception.code == 0));
    }
    assert!(!network.ends[B].events.iter().any(|event| matches!(event, Event::FlowOpened { .. })));
}

/// RFC 7016 §5: a far end that acknowledges what was never sent is at fault; one that anyone can forge is not.
#[test]
fn an_impossible_acknowledgement_ends_an_authenticated_session() {
    for authenticates in [true, false] {
        let mut network = Network::opening(SessionConfig::default());
        network.establish(authenticates);
        let flow = network.open_flow(B);
        network.write(B, flow, 100);
        network.pump();
        let flow_id = network.ends[B].session.delivery().send_flow(flow).unwrap().flow_id();
        let far_too_much = packet(header_of(A), |writer| {
            assert!(writer.push_with(ACK_RANGES, |out| out.extend_from_slice(&[flow_id as u8, 64, 100])));
        });
        network.inject(B, path_to(A), &far_too_much).unwrap();
        let closed = |event: &Event| matches!(event, Event::SessionClosed { reason: CloseReason::PeerAtFault, .. });
        assert_eq!(network.ends[B].events.iter().any(closed), authenticates);
        assert_eq!(network.ends[B].stats.unexpected, 1);
        assert_eq!(network.ends[B].session.is_gone(), authenticates);
    }
}

#[test]
fn acknowledgements_of_unknown_flows_are_ignored() {
    let mut network = Network::open(SessionConfig::default());
    for flow_id in [0_u8, 1, 99] {
        let plain = packet(header_of(A), |writer| {
            assert!(writer.push_with(ACK_RANGES, |out| out.extend_from_slice(&[flow_id, 64, 100])));
        });
        network.inject(B, path_to(A), &plain).unwrap();
    }
    assert!(network.sent.is_empty());
    assert_eq!(network.ends[B].events.len(), 1, "nothing but its opening");
}

#[test]
fn timestamps_are_sent_once_per_tick_and_echoed() {
    let mut network = Network::open(SessionConfig::default());
    let header = PacketHeader { timestamp: Some(0x1234), ..header_of(A) };
    let ping = |header| packet(header, |writer| assert!(writer.push(&Ping { message: b"x" })));
    network.inject(B, path_to(A), &ping(header)).unwrap();
    network.inject(B, path_to(A), &ping(header)).unwrap();
    network.run(9);
    network.inject(B, path_to(A), &ping(header_of(A))).unwrap();
    let headers: Vec<PacketHeader> = network.sent_by(B, |_| true).iter().map(|sent| sent.header()).collect();
    let now = START.timestamp();
    assert_eq!((headers[0].timestamp, headers[0].timestamp_echo), (Some(now), Some(0x1234)));
    assert_eq!((headers[1].timestamp, headers[1].timestamp_echo), (None, None), "the same tick");
    assert_eq!((headers[2].timestamp, headers[2].timestamp_echo), (Some(now.wrapping_add(2)), Some(0x1236)));
}

#[test]
fn a_timestamp_older_than_128_seconds_is_not_echoed() {
    let mut network = Network::open(SessionConfig { keepalive: Duration::from_secs(10_000), ..Default::default() });
    let header = PacketHeader { timestamp: Some(7), ..header_of(A) };
    network.inject(B, path_to(A), &packet(header, |writer| assert!(writer.push(&Ping { message: b"" })))).unwrap();
    for (wait, echoed) in [(128_000, true), (1, false)] {
        network.run(wait);
        network.inject(B, path_to(A), &one(A, &Ping { message: b"" })).unwrap();
        assert_eq!(network.sent.last().unwrap().header().timestamp_echo.is_some(), echoed);
    }
}

/// RFC 7016 §2.2.4 and §3.5.2.1: TC on packets with time critical data; TCR while another session receives such.
#[test]
fn time_critical_data_is_marked_and_the_other_senders_are_told_for_800_ms() {
    let mut network = Network::open(SessionConfig::default());
    let routine = network.open_flow(A);
    let critical = network.open_flow_with(A, FlowOptions::new("test").time_critical());
    network.write(A, routine, 10);
    network.run(100);
    network.write(A, critical, 10);
    network.run(100);
    let marked: Vec<bool> = network.sent_by(A, Sent::has_data).iter().map(|sent| sent.header().time_critical).collect();
    assert_eq!(marked, [false, true]);
    assert!(network.sent.iter().all(|sent| !sent.header().time_critical_reverse), "its own session is no other");
    assert!(network.ends[A].time_critical.sent_lately(network.now));

    let other = SessionHandle { slot: 99, generation: 0 };
    let now = network.now;
    network.ends[B].time_critical.received(other, now);
    for (wait, told) in [(800, true), (1, false)] {
        network.run(wait);
        network.inject(B, path_to(A), &one(A, &Ping { message: b"" })).unwrap();
        assert_eq!(network.sent.last().unwrap().header().time_critical_reverse, told);
    }
}

/// The effect on growth is the controller's; here it is shown that the notification reaches it.
#[test]
fn a_reverse_notification_slows_growth_down() {
    let grown = |told: bool| {
        let mut network = Network::open(SessionConfig::default());
        if told {
            network.ends[B].time_critical.received(SessionHandle { slot: 99, generation: 0 }, network.now);
        }
        let flow = network.open_flow(A);
        network.write(A, flow, 200_000);
        network.run(400);
        network.ends[A].session.stats().cwnd
    };
    assert!(grown(false) > 2 * grown(true), "{} and {}", grown(false), grown(true));
}
