//! RFC 7016 §3.4, end to end: startup packets that are too large for one datagram.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::pair::{A, B, Kind, Pair, address, path_to, startup_datagram, startup_datagrams};
use crate::EndpointConfig;
use crate::endpoint::demux::startup_chunks;
use crate::endpoint::startup::StartupPacket;
use crate::event::Event;
use crate::profile::CryptoProfile;
use crate::profile::plain::PlainProfile;
use crate::transmit::TransmitBuf;
use crate::wire::{Chunk, EncodeChunk, InitiatorHello, Mode, PacketFragment, PacketHeader, PacketWriter, session_id};

/// A certificate, which in the plain profile is a name, that makes an IIKeying of several datagrams.
fn large() -> String {
    "a".repeat(5_000)
}

#[test]
fn a_large_keying_goes_in_fragments_at_the_rate_of_startup() {
    for order in [0, 1] {
        let name = large();
        let mut pair = Pair::named(1, &[(&name, EndpointConfig::default()), ("bob", EndpointConfig::default())]);
        // In order, or with each pair the other way about, and every datagram twice.
        pair.fate = Box::new(move |datagram| {
            let first = Duration::from_millis(25 + 3 * order * (datagram.ordinal % 2));
            vec![first, first + Duration::from_millis(order)]
        });
        let session = pair.open_to(A, "bob", &[B]);
        let start = pair.now;
        pair.run_for_millis(900);
        assert_eq!(pair.nodes[A].events, [Event::SessionOpened { session }]);
        assert_eq!(pair.nodes[B].endpoint.stats().sessions_opened, 1);
        let sizes: Vec<usize> = pair.log.iter().map(|(_, sent)| sent.bytes.len()).collect();
        assert!(sizes.iter().all(|len| *len <= 1_200), "{sizes:?}");
        let big = pair.log.iter().filter(|(_, sent)| sent.from == address(A) && sent.bytes.len() > 600);
        let times: Vec<u128> = big.map(|(at, _)| at.saturating_duration_since(start).as_millis()).collect();
        assert_eq!(times.len(), 5, "{sizes:?}");
        for window in times.windows(4) {
            assert!(window[3] - window[0] >= 200, "{times:?}");
        }
        assert_eq!(pair.nodes[B].endpoint.poll_timeout().map(|_| ()), Some(()), "only the session's keepalive");
    }
}

#[test]
fn a_lost_fragment_costs_one_repetition() {
    let name = large();
    let mut pair = Pair::named(2, &[(&name, EndpointConfig::default()), ("bob", EndpointConfig::default())]);
    pair.fate = Box::new(|datagram| if datagram.ordinal == 3 { vec![] } else { vec![Duration::from_millis(25)] });
    let session = pair.open_to(A, "bob", &[B]);
    pair.run_for_millis(2_000);
    assert_eq!(pair.nodes[A].events, [Event::SessionOpened { session }]);
}

/// A datagram under the Default Session Key, of any mode.
fn datagram(mode: Mode, chunk: &impl EncodeChunk) -> Vec<u8> {
    let mut keys = PlainProfile::new(b"").default_keys();
    let mut bytes = vec![0; session_id::LEN];
    let mut plain = Vec::new();
    let mut writer = PacketWriter::new(&mut plain, 1_400);
    assert!(writer.header(&PacketHeader::new(mode)) && writer.push(chunk));
    bytes.extend_from_slice(&plain);
    let sealed = keys.sealed_len(0, plain.len());
    bytes.resize(session_id::LEN + sealed, 0);
    let span = crate::transmit::Span { start: session_id::LEN, front: 0, plain: plain.len(), sealed };
    keys.seal(&mut bytes, &[span]);
    let (id, encrypted) = bytes.split_at_mut(session_id::LEN);
    id.copy_from_slice(&session_id::scramble(0, encrypted));
    bytes
}

/// A plain packet of any mode with a hello for B.
fn hello(mode: Mode) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut writer = PacketWriter::new(&mut plain, 1_400);
    assert!(writer.header(&PacketHeader::new(mode)));
    assert!(writer.push(&InitiatorHello { discriminator: b"bob", tag: b"0123456789abcdef" }));
    plain
}

#[test]
fn fragments_and_the_packet_they_make_are_of_startup_mode() {
    let startup = Mode::Startup;
    let cases = [
        (startup, startup, startup, 1),
        (startup, Mode::Initiator, startup, 0),
        (Mode::Responder, startup, startup, 0),
        (startup, startup, Mode::Initiator, 0),
        (Mode::Initiator, Mode::Initiator, Mode::Initiator, 0),
    ];
    for (first, second, whole, answers) in cases {
        let mut pair = Pair::new(3);
        let plain = hello(whole);
        for (number, mode, fragment) in [(0, first, &plain[..10]), (1, second, &plain[10..])] {
            let chunk = PacketFragment { more_fragments: number == 0, packet_id: 9, fragment_number: number, fragment };
            let _ = pair.deliver(address(A), address(B), datagram(mode, &chunk));
        }
        pair.flush();
        let sent = pair.sent_of(Kind::ResponderHello, Some(B), Some(A)).len();
        assert_eq!(sent, answers, "{first:?}, {second:?}, {whole:?}");
    }
}

#[test]
fn fragments_within_fragments_are_not_put_together() {
    let mut pair = Pair::new(4);
    let inner =
        PacketFragment { more_fragments: false, packet_id: 1, fragment_number: 0, fragment: &hello(Mode::Startup) };
    let mut plain = Vec::new();
    let mut writer = PacketWriter::new(&mut plain, 1_400);
    assert!(writer.header(&PacketHeader::new(Mode::Startup)) && writer.push(&inner));
    let outer = PacketFragment { more_fragments: false, packet_id: 2, fragment_number: 0, fragment: &plain };
    let _ = pair.deliver(address(A), address(B), startup_datagram(0, &outer));
    let mut buf = TransmitBuf::new(1);
    assert_eq!(pair.nodes[B].endpoint.poll_transmit(pair.now, &mut buf), None);
    assert_eq!(pair.nodes[B].endpoint.stats().dropped_wrong_mode, 1);
}

/// §3.4: fragments belong together by source address.
#[test]
fn fragments_from_two_addresses_make_no_packet() {
    let mut pair = Pair::new(5);
    let plain = hello(Mode::Startup);
    let (one, two) = plain.split_at(10);
    let piece = |number, fragment| PacketFragment {
        more_fragments: number == 0,
        packet_id: 7,
        fragment_number: number,
        fragment,
    };
    let other = core::net::SocketAddr::new(address(A).ip(), 9);
    pair.inject(address(A), B, 0, &piece(0, one));
    pair.inject(other, B, 0, &piece(1, two));
    pair.run_for_millis(100);
    assert_eq!(pair.sent_of(Kind::ResponderHello, Some(B), None).len(), 0);
    pair.inject(address(A), B, 0, &piece(1, two));
    pair.run_for_millis(100);
    assert_eq!(pair.sent_of(Kind::ResponderHello, Some(B), None).len(), 1);
}

/// Whoever sees a large startup packet on its way can send other fragments in its place, and be first.
#[test]
fn a_session_opens_though_every_packet_has_a_forged_fragment_before_it() {
    let long = String::from_utf8(vec![b'x'; 3_000]).unwrap();
    let mut pair = Pair::named(6, &[(&long, EndpointConfig::default()), ("bob", EndpointConfig::default())]);
    pair.open_to(A, "bob", &[B]);
    let mut seen = 0;
    for _ in 0..400 {
        pair.run_for_millis(1);
        for index in seen..pair.log.len() {
            let Some((_, plain)) = pair.log[index].1.plain().filter(|_| pair.log[index].1.from == address(A)) else {
                continue;
            };
            let Some(Ok(Chunk::PacketFragment(right))) = startup_chunks(&plain).unwrap().next() else { continue };
            pair.inject(address(A), B, 0, &PacketFragment { fragment: &[7; 100], ..right });
        }
        seen = pair.log.len();
    }
    assert_eq!(pair.nodes[B].endpoint.sessions().count(), 1);
}

/// With an end in one fragment or another, and with two versions of each, one packet was put together ten times. Each paid
/// for an answer anew, to an address that may be a victim's.
#[test]
fn a_packet_that_is_put_together_again_pays_for_no_answer_again() {
    let bob = EndpointConfig { max_excess_reply_bytes: 0, ..EndpointConfig::default() };
    let mut pair = Pair::named(7, &[("alice", EndpointConfig::default()), ("bob", bob)]);
    let mut plain = hello(Mode::Startup);
    plain.resize(60, 0xff);
    let piece = |number, more_fragments, fragment| PacketFragment {
        more_fragments,
        packet_id: 7,
        fragment_number: number,
        fragment,
    };
    pair.inject(address(A), B, 0, &piece(0, true, &plain));
    for number in 1..6 {
        pair.inject(address(A), B, 0, &piece(number, false, b"\xff"));
        pair.inject(address(A), B, 0, &piece(number, true, b"\xff"));
    }
    pair.run_for_millis(100);
    assert_eq!(pair.sent_of(Kind::ResponderHello, Some(B), Some(A)).len(), 1);
}

#[test]
fn fragments_that_are_held_back_are_what_an_endpoint_waits_for() {
    let mut pair = Pair::named(8, &[(&large(), EndpointConfig::default()), ("bob", EndpointConfig::default())]);
    pair.open_to(A, "bob", &[B]);
    pair.run_for_millis(60);
    assert_eq!(pair.nodes[A].endpoint.timeout_reason(), Some("startup fragments"), "and not for an answer yet");
    pair.run_for_millis(900);
    assert_eq!(pair.nodes[A].endpoint.timeout_reason(), Some("keepalive"));
}

/// What an answer is measured by.
#[test]
fn a_packet_costs_as_much_as_its_datagrams_or_a_little_more() {
    let keys = PlainProfile::new(b"").default_keys();
    for len in [10, 1_000, 1_200, 3_000, 20_000] {
        let hello = InitiatorHello { discriminator: &vec![b'x'; len], tag: b"0123456789abcdef" };
        let sent: usize = startup_datagrams(0, &hello).iter().map(Vec::len).sum();
        let cost = StartupPacket::new(path_to(A), 0, &hello).wire_len(keys.as_ref());
        assert!((sent..sent + 1_200).contains(&cost), "{cost} for {sent} bytes");
    }
}
