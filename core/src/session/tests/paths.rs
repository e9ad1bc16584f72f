//! Moves to another address (RFC 7016 §3.5.3, §3.5.4.2) and congestion marks.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use super::network::{A, ACK_RANGES, B, ECN_REPORT, Fate, Network, PING, PING_REPLY, Sent, address, path_to};
use super::packets::{header_of, one, packet, user_data};
use crate::config::SessionConfig;
use crate::congestion::CongestionControl;
use crate::event::Event;
use crate::session::transport::mobility::MESSAGE_LEN;
use crate::session::{MoveBasis, NetworkChange};
use crate::transmit::{Ecn, InterfaceId, Path, RecvMeta};
use crate::wire::{Chunk, Close, EcnReport, Ping, PingReply};

fn elsewhere(end: usize) -> Path {
    path_to(end).with_remote(address(end, 4_000))
}

fn path_changes(network: &Network, end: usize) -> Vec<Path> {
    let changed = |event: &Event| if let Event::PathChanged { path, .. } = event { Some(*path) } else { None };
    network.ends[end].events.iter().filter_map(changed).collect()
}

/// The messages of the mobility checks that an end has sent.
fn checks(network: &Network, end: usize) -> Vec<(Path, Vec<u8>)> {
    let check = |sent: &&Sent| match &sent.chunks()[..] {
        [Chunk::Ping(ping)] if ping.message.first() == Some(&b'M') => Some((sent.to, ping.message.to_vec())),
        _ => None,
    };
    network.sent_by(end, |sent| sent.has(PING)).iter().filter_map(check).collect()
}

#[test]
fn a_far_end_that_moves_is_followed_once_it_is_proved_to_be_there() {
    let mut network = Network::open(SessionConfig::default());
    let flow = network.open_flow(B);
    network.write(B, flow, 100);
    network.run(1_000);
    assert!(network.ends[B].session.stats().srtt.is_some());
    network.ends[A].address = address(A, 4_000);
    let now = network.now;
    network.with(A, |session, _| session.ping(now));
    network.run(21);
    assert_eq!(network.ends[B].session.transport().path(), Some(path_to(A)), "asked, not yet moved");
    assert_eq!(checks(&network, B).len(), 1);
    assert_eq!(checks(&network, B)[0].0, elsewhere(A));
    network.run(40);
    assert_eq!(path_changes(&network, B), [elsewhere(A)]);
    assert_eq!(network.ends[B].session.transport().path(), Some(elsewhere(A)));
    assert_eq!(network.ends[B].session.stats().srtt, None, "measurements of the old path are forgotten");
    network.write(B, flow, 100);
    network.run(100);
    assert_eq!(network.ends[A].bytes_read(), 200);
    assert!(path_changes(&network, A).is_empty());
}

#[test]
fn data_in_flight_to_the_old_address_is_sent_again_with_the_move() {
    let mut network = Network::open(SessionConfig::default());
    let flow = network.open_flow(B);
    network.write(B, flow, 100);
    network.run(1_000);
    network.ends[A].address = address(A, 4_000);
    network.write(B, flow, 3_000);
    network.run(10);
    network.with(A, |session, cx| session.on_network_change(cx, NetworkChange::Interface));
    network.run(81);
    assert_eq!(network.ends[A].bytes_read(), 3_100, "two round trips after the far end spoke up");
}

/// Found by the simulator: the sender stood still until its timeout, and sent its window again.
#[test]
fn what_was_acknowledged_to_the_old_address_is_acknowledged_again_with_the_move() {
    let mut network = Network::open(SessionConfig::default());
    let flow = network.open_flow(A);
    network.write(A, flow, 100);
    network.run(1_000);
    for _ in 0..12 {
        network.write(A, flow, 1_000);
    }
    network.run(10);
    network.ends[A].address = address(A, 4_000);
    network.with(A, |session, cx| session.on_network_change(cx, NetworkChange::Interface));
    network.run(101);
    assert_eq!(path_changes(&network, B), [elsewhere(A)]);
    assert!(network.ends[B].bytes_read() > 5_100, "two and a half round trips after the sender spoke up");
    network.run(200);
    assert_eq!(network.ends[B].bytes_read(), 12_100);
    let stats = network.ends[A].session.stats();
    assert_eq!((stats.timeouts, stats.fragments_lost), (0, 0));
}

/// Whoever can replay or forward a packet from another address does not get the session.
#[test]
fn a_spoofed_address_is_asked_and_not_followed() {
    let mut network = Network::open(SessionConfig::default());
    network.inject(B, elsewhere(A), &one(A, &Ping { message: b"x" })).unwrap();
    let asked = checks(&network, B);
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].1.len(), MESSAGE_LEN);
    let reply = network.sent_by(B, |sent| sent.has(PING_REPLY))[0];
    assert_eq!(reply.to, path_to(A), "and the Ping is answered where the far end is known to be");
    network.run(10_000);
    assert!(path_changes(&network, B).is_empty());

    // The right answer from a third place, or from the old one, proves nothing; nor does a wrong answer.
    let message = &asked[0].1;
    network.inject(B, path_to(A).with_remote(address(A, 5_000)), &one(A, &PingReply { message })).unwrap();
    network.inject(B, path_to(A), &one(A, &PingReply { message })).unwrap();
    let other_interface = Path::new(InterfaceId(9), elsewhere(A).remote);
    network.inject(B, other_interface, &one(A, &PingReply { message })).unwrap();
    for place in 0..message.len() {
        let mut wrong = message.clone();
        wrong[place] ^= 1;
        network.inject(B, elsewhere(A), &one(A, &PingReply { message: &wrong })).unwrap();
    }
    network.inject(B, elsewhere(A), &one(A, &PingReply { message: &message[..20] })).unwrap();
    assert!(path_changes(&network, B).is_empty());
    assert_eq!(network.ends[B].session.transport().path(), Some(path_to(A)));
    // The right answer from the right place does.
    network.inject(B, elsewhere(A), &one(A, &PingReply { message })).unwrap();
    assert_eq!(path_changes(&network, B), [elsewhere(A)]);
}

#[test]
fn an_old_proof_does_not_move_the_session_back() {
    let mut network = Network::open(SessionConfig::default());
    network.inject(B, elsewhere(A), &one(A, &Ping { message: b"x" })).unwrap();
    let (_, first) = checks(&network, B).pop().unwrap();
    network.inject(B, elsewhere(A), &one(A, &PingReply { message: &first })).unwrap();
    network.run(1_000);
    network.inject(B, path_to(A), &one(A, &Ping { message: b"x" })).unwrap();
    let (_, second) = checks(&network, B).pop().unwrap();
    network.inject(B, path_to(A), &one(A, &PingReply { message: &second })).unwrap();
    assert_eq!(path_changes(&network, B), [elsewhere(A), path_to(A)]);
    network.inject(B, elsewhere(A), &one(A, &PingReply { message: &first })).unwrap();
    assert_eq!(network.ends[B].session.transport().path(), Some(path_to(A)), "a replay");
}

#[test]
fn a_proof_counts_for_120_seconds() {
    for (age, counts) in [(120_000, true), (120_001, false)] {
        let mut network = Network::open(SessionConfig::default());
        network.inject(B, elsewhere(A), &one(A, &Ping { message: b"x" })).unwrap();
        let (_, message) = checks(&network, B).pop().unwrap();
        network.run(age);
        network.inject(B, elsewhere(A), &one(A, &PingReply { message: &message })).unwrap();
        assert_eq!(!path_changes(&network, B).is_empty(), counts);
    }
}

#[test]
fn checks_are_a_second_apart_whatever_comes() {
    let mut network = Network::open(SessionConfig::default());
    for millis in 0..2_500 {
        let path = path_to(A).with_remote(address(A, 4_000 + (millis % 7) as u16));
        network.inject(B, path, &one(A, &Ping { message: b"x" })).unwrap();
        network.run(1);
    }
    assert_eq!(checks(&network, B).len(), 3);
}

/// RFC 7016 §5: else it would be "session hijacking support".
#[test]
fn without_authenticated_packets_no_move_is_followed() {
    let mut network = Network::opening(SessionConfig::default());
    network.establish(false);
    network.inject(B, elsewhere(A), &one(A, &Ping { message: b"x" })).unwrap();
    assert!(checks(&network, B).is_empty());
}

#[test]
fn a_packet_that_closes_the_session_starts_no_check() {
    let mut network = Network::open(SessionConfig::default());
    network.inject(B, elsewhere(A), &one(A, &Close)).unwrap();
    assert!(checks(&network, B).is_empty());
}

/// This end came to another interface: it must answer over that one, to the address that it knows.
#[test]
fn a_ping_over_another_interface_is_answered_there() {
    let mut network = Network::open(SessionConfig::default());
    let other = Path::new(InterfaceId(5), path_to(A).remote);
    network.inject(B, other, &one(A, &Ping { message: b"are you there" })).unwrap();
    let reply = network.sent_by(B, |sent| sent.has(PING_REPLY))[0];
    assert_eq!(reply.to, other);
    assert!(matches!(&reply.chunks()[..], [Chunk::PingReply(reply)] if reply.message == b"are you there"));
}

#[test]
fn data_is_marked_and_nothing_else() {
    let mut network = Network::open(SessionConfig::default());
    let flow = network.open_flow(A);
    network.write(A, flow, 100_000);
    network.run(5_000);
    assert!(network.sent_by(A, Sent::has_data).iter().all(|sent| sent.ecn == Some(Ecn::Ect0)));
    assert!(network.sent.iter().filter(|sent| !sent.has_data()).all(|sent| sent.ecn.is_none()));
    // Immediately before the first acknowledgement of each packet that follows marked ones, from the very first.
    let acks = network.sent_by(B, Sent::has_ack);
    assert!(acks.iter().all(|sent| sent.kinds()[..2] == [ECN_REPORT, ACK_RANGES]));
}

#[test]
fn marks_are_counted_reported_and_answered_like_a_loss() {
    let congestion = CongestionControl::Rfc7016;
    // With a window that makes the transfer last.
    let mut network = Network::open(SessionConfig { congestion, recv_buffer: 262_144, ..SessionConfig::default() });
    let flow = network.open_flow(A);
    (0..200).for_each(|_| network.write(A, flow, 50_000));
    network.run(600);
    let before = network.ends[A].session.stats();
    assert_eq!(before.ssthresh, u64::MAX);
    network.filter = Box::new(|sent| if sent.has_data() { Fate::Marked(Some(Ecn::Ce)) } else { Fate::Arrives });
    network.run(50);
    network.filter = Box::new(|_| Fate::Arrives);
    network.run(5_000);
    let after = network.ends[A].session.stats();
    assert!(after.ssthresh < before.cwnd, "{after:?}");
    assert_eq!((after.fragments_lost, after.timeouts), (0, 0));
    let marked = network.ends[B].session.stats().ecn_ce_received;
    assert!(marked > 0);
    let last = network.sent_by(B, |sent| sent.has(ECN_REPORT)).pop().unwrap();
    let count = last
        .chunks()
        .iter()
        .find_map(|chunk| if let Chunk::EcnReport(report) = chunk { Some(report.ce_count) } else { None });
    assert_eq!(count, Some(marked as u8));
}

#[test]
fn marking_stops_where_marks_do_not_pass() {
    let mut network = Network::open(SessionConfig::default());
    network.filter = Box::new(|_| Fate::Marked(None));
    let flow = network.open_flow(A);
    network.write(A, flow, 200_000);
    network.run(10_000);
    assert_eq!(network.ends[B].bytes_read(), 200_000);
    assert!(network.sent_by(B, |sent| sent.has(ECN_REPORT)).is_empty());
    let data = network.sent_by(A, Sent::has_data);
    assert_eq!(data.first().unwrap().ecn, Some(Ecn::Ect0));
    assert!(data[data.len() / 2..].iter().all(|sent| sent.ecn.is_none()));
}

/// A report is worth nothing without the acknowledgement that it belongs to, and counts as sent only with that.
#[test]
fn a_report_is_not_sent_without_the_acknowledgement_that_no_longer_fits() {
    let (mut alone, mut together) = (0, 0);
    for length in 1_100..1_200 {
        let mut network = Network::open(SessionConfig::default());
        let message = vec![b'x'; length];
        let plain = packet(header_of(A), |writer| {
            assert!(writer.push(&Ping { message: &message }) && writer.push(&user_data(2, 1, b"x")));
        });
        let mut encrypted = [&[0x5f], &plain[..], &[0x5b]].concat();
        let meta = RecvMeta { ecn: Some(Ecn::Ce) };
        network.with(B, |session, cx| session.handle_packet(cx, path_to(A), meta, &mut encrypted)).unwrap();
        network.run(1_000);
        for sent in network.sent_by(B, |sent| sent.has(ECN_REPORT) || sent.has_ack()) {
            assert!(
                sent.kinds().windows(2).any(|pair| pair == [ECN_REPORT, ACK_RANGES]),
                "{length}: {:?}",
                sent.kinds()
            );
            *(if sent.has(PING_REPLY) { &mut together } else { &mut alone }) += 1;
        }
    }
    assert!(alone > 0 && together > 0 && alone + together == 100, "{alone} and {together}");
}

#[test]
fn with_ecn_off_nothing_is_marked_or_reported() {
    let mut network = Network::open(SessionConfig { ecn: false, ..SessionConfig::default() });
    network.filter = Box::new(|_| Fate::Marked(Some(Ecn::Ce)));
    let flow = network.open_flow(A);
    network.write(A, flow, 50_000);
    network.run(2_000);
    assert!(network.sent.iter().all(|sent| sent.ecn.is_none() && !sent.has(ECN_REPORT)));
}

#[test]
fn a_report_without_marked_data_changes_nothing() {
    let mut network = Network::open(SessionConfig { ecn: false, ..SessionConfig::default() });
    let before = network.ends[A].session.stats().cwnd;
    let plain = packet(header_of(B), |writer| assert!(writer.push(&EcnReport { ce_count: 9 })));
    network.inject(A, path_to(B), &plain).unwrap();
    assert_eq!(network.ends[A].session.stats().cwnd, before);
}

/// RFC 7016 §5: what proves the keys of a session proves no address, without authenticated packets.
#[test]
fn without_authenticated_packets_the_answer_about_the_keys_moves_nothing() {
    let mut network = Network::opening(SessionConfig { max_datagram: 0, ..SessionConfig::default() });
    network.establish(false);
    network.filter = Box::new(|_| Fate::Lost);
    network.inject(B, path_to(A), &one(A, &Ping { message: b"x" })).unwrap();
    let asked = checks(&network, B);
    assert_eq!((asked.len(), network.ends[B].session.transport().keys_proved()), (1, false));
    network.with(B, |session, cx| session.move_to(cx, elsewhere(A), MoveBasis::Proved));
    network.inject(B, path_to(A), &one(A, &PingReply { message: &asked[0].1 })).unwrap();
    assert!(network.ends[B].session.transport().keys_proved());
    assert_eq!(network.ends[B].session.transport().path(), Some(elsewhere(A)));
}

/// A responder that is known to be reached at this local address.
fn responder_at(local: [u8; 4]) -> (Network, Path) {
    let mut network = Network::open(SessionConfig::default());
    let path = path_to(A).with_local(Some(local.into()));
    network.ends[B].session.transport.link.as_mut().unwrap().path = path;
    (network, path)
}

#[test]
fn a_responder_sends_from_the_address_that_was_asked_and_an_initiator_as_routes_say() {
    let (mut network, path) = responder_at([192, 0, 2, 9]);
    network.ends[A].session.transport.link.as_mut().unwrap().path = path_to(B).with_local(Some([192, 0, 2, 8].into()));
    let flow = network.open_flow(A);
    network.write(A, flow, 10_000);
    network.run(1_000);
    assert!(network.sent_by(A, |_| true).iter().all(|sent| sent.to == path_to(B)));
    assert!(network.sent_by(B, Sent::has_ack).iter().all(|sent| sent.to == path));
}

/// The system knows the way from a new network, and this end does not.
#[test]
fn a_responder_that_is_not_answered_leaves_its_address_to_the_system_in_turn() {
    let (mut network, path) = responder_at([192, 0, 2, 9]);
    let flow = network.open_flow(B);
    network.write(B, flow, 100);
    network.run(1_000);
    network.filter = Box::new(|_| Fate::Lost);
    let before = network.sent.len();
    network.write(B, flow, 100);
    network.run(20_000);
    let sent = network.sent[before..].iter().filter(|sent| sent.from == B);
    let locals: Vec<bool> = sent.map(|sent| sent.to.local.is_some()).collect();
    assert!(locals[..2].iter().all(|pinned| *pinned), "at first the far end is only slow: {locals:?}");
    assert!(locals[locals.len() - 4..].windows(2).all(|pair| pair[0] != pair[1]), "{locals:?}");
    assert_eq!(network.ends[B].session.transport().path(), Some(path));
}

#[test]
fn a_far_end_that_sends_to_another_local_address_is_answered_from_there_and_followed_once_proved() {
    let (mut network, path) = responder_at([192, 0, 2, 9]);
    let other = path.with_local(Some([198, 51, 100, 9].into()));
    network.inject(B, other, &one(A, &Ping { message: b"x" })).unwrap();
    let reply = network.sent_by(B, |sent| sent.has(PING_REPLY))[0];
    assert_eq!(reply.to, other);
    let (to, message) = checks(&network, B).pop().unwrap();
    assert_eq!(to, other);
    network.inject(B, path, &one(A, &PingReply { message: &message })).unwrap();
    let third = path.with_local(Some([203, 0, 113, 9].into()));
    network.inject(B, third, &one(A, &PingReply { message: &message })).unwrap();
    assert!(path_changes(&network, B).is_empty(), "the answer came to another local address");
    network.inject(B, other, &one(A, &PingReply { message: &message })).unwrap();
    assert_eq!(path_changes(&network, B), [other]);
}

#[test]
fn an_unknown_local_address_is_no_move() {
    let (mut network, path) = responder_at([192, 0, 2, 9]);
    network.inject(B, path_to(A), &one(A, &Ping { message: b"x" })).unwrap();
    assert!(checks(&network, B).is_empty());
    assert_eq!(network.ends[B].session.transport().path(), Some(path));
    network.ends[B].session.transport.link.as_mut().unwrap().path = path_to(A);
    network.inject(B, path, &one(A, &Ping { message: b"x" })).unwrap();
    assert!(checks(&network, B).is_empty());
}

/// A driver that cannot always tell the local address asked without one, and is told one with the answer.
#[test]
fn a_check_that_was_caused_without_a_local_address_is_proved_at_any() {
    let (mut network, _) = responder_at([192, 0, 2, 9]);
    network.inject(B, elsewhere(A), &one(A, &Ping { message: b"x" })).unwrap();
    let (_, message) = checks(&network, B).pop().unwrap();
    let known = elsewhere(A).with_local(Some([192, 0, 2, 9].into()));
    network.inject(B, known, &one(A, &PingReply { message: &message })).unwrap();
    assert_eq!(path_changes(&network, B), [known]);
}
