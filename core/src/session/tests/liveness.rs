//! Timeouts, keepalive, limits of silence, and recovery after an outage.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::network::{A, B, CLOSE_ACK, Fate, Network, PING, PING_REPLY, START};
use crate::config::{SendOptions, SessionConfig};
use crate::event::{CloseReason, Event};
use crate::session::NetworkChange;
use crate::transmit::InterfaceId;

fn closed(network: &Network, end: usize) -> Option<CloseReason> {
    network.ends[end]
        .events
        .iter()
        .find_map(|event| if let Event::SessionClosed { reason, .. } = event { Some(*reason) } else { None })
}

fn config() -> SessionConfig {
    SessionConfig { idle_limit: Duration::from_secs(100_000), ..SessionConfig::default() }
}

/// From `from` to `to`, in milliseconds after the start, nothing gets through.
fn outage(network: &mut Network, from: u64, to: u64) {
    let span = super::network::at(from)..super::network::at(to);
    network.filter = Box::new(move |sent| if span.contains(&sent.at) { Fate::Lost } else { Fate::Arrives });
}

/// RFC 7016 §3.6.3.5: a receiver may be suspended for hours; an application that does not want to wait says so.
#[test]
fn a_far_end_that_takes_nothing_is_closed_when_the_application_sets_a_limit() {
    for limit in [None, Some(Duration::from_secs(90))] {
        let mut network = Network::open(SessionConfig { stall_limit: limit, recv_buffer: 65_536, ..config() });
        network.ends[B].reads = false;
        let flow = network.open_flow(A);
        (0..20).for_each(|_| network.write(A, flow, 10_000));
        network.run(80_000);
        assert_eq!(closed(&network, A), None);
        network.run(3 * 3_600_000);
        assert_eq!(closed(&network, A), limit.map(|_| CloseReason::Stalled));
        assert_eq!(closed(&network, B), limit.map(|_| CloseReason::Far));
    }
}

#[test]
fn only_the_initiator_pings_a_silent_session() {
    let mut network = Network::open(config());
    network.run(50_000);
    assert_eq!(network.times(A, |sent| sent.has(PING)), [15_000, 30_040, 45_080]);
    assert_eq!(network.times(B, |sent| sent.has(PING_REPLY)), [15_020, 30_060, 45_100]);
    assert_eq!(network.sent_by(B, |sent| sent.has(PING)).len(), 0);
    assert_eq!(network.ends[A].session.stats().srtt, Some(Duration::from_millis(40)));
}

/// An introducer keeps its sessions for a month, and kept those that nobody had used yet for as long.
#[test]
fn without_a_proof_of_the_keys_a_session_is_idle_for_five_minutes_at_most() {
    for pings in [false, true] {
        let mut network = Network::open(SessionConfig { keepalive: Duration::from_secs(50_000), ..config() });
        network.run(250_000);
        if pings {
            let now = network.now;
            network.ends[A].session.ping(now);
        }
        network.run(40_000);
        assert_eq!(network.ends[B].session.transport().keys_proved(), pings);
        network.run(20_000);
        assert_eq!(closed(&network, B), (!pings).then_some(CloseReason::Idle));
        network.run(99_000_000);
        assert_eq!(closed(&network, B), (!pings).then_some(CloseReason::Idle), "five minutes were not all");
        network.run(2_000_000);
        assert!(closed(&network, B).is_some(), "the limit that is set");
    }
}

#[test]
fn the_responder_pings_mrto_later_if_nobody_else_does() {
    let mut network = Network::open(config());
    network.filter = Box::new(|sent| if sent.from == A { Fate::Lost } else { Fate::Arrives });
    network.run(16_000);
    assert_eq!(network.times(B, |sent| sent.has(PING)), [15_250], "MRTO is 250 ms before any measurement");
}

#[test]
fn unanswered_pings_are_repeated_with_backoff_until_the_retransmit_limit() {
    let mut network = Network::open(config());
    network.filter = Box::new(|_| Fate::Lost);
    network.run(80_000);
    // ERTO: 3 s, 4.2426, 5.9998, 8.4850, then the cap of 10.
    let expected = [15_000, 18_000, 22_242, 28_242, 36_727, 46_727, 56_727, 66_727];
    assert_eq!(network.times(A, |sent| sent.has(PING)), expected);
    assert_eq!(closed(&network, A), Some(CloseReason::TimedOut));
    assert_eq!(network.times(A, |sent| sent.has(CLOSE_ACK)), [75_000], "the limit counts from the first");
}

/// A NAT gave the far end a new port. RFC 7016 §5 forbids to follow it, so the session can only end, and say why.
#[test]
fn a_session_without_authenticated_packets_that_stalls_says_that_it_could_not_follow_a_move() {
    for authentic in [false, true] {
        let mut network = Network::opening(config());
        network.establish(authentic);
        let flow = network.open_flow(A);
        network.write(A, flow, 100);
        network.run(1_000);
        let reason = if authentic { CloseReason::TimedOut } else { CloseReason::TimedOutAtFixedAddress };
        network.filter = Box::new(|_| Fate::Lost);
        network.write(A, flow, 100);
        network.run(80_000);
        assert_eq!(closed(&network, A), Some(reason));
    }
}

#[test]
fn data_unanswered_for_the_retransmit_limit_ends_the_session_and_the_far_end_is_told() {
    let mut network = Network::open(config());
    let flow = network.open_flow(A);
    network.filter = Box::new(|sent| if sent.has(CLOSE_ACK) { Fate::Arrives } else { Fate::Lost });
    network.run(1_000);
    network.write(A, flow, 100);
    network.run(59_999);
    assert_eq!(closed(&network, A), None);
    network.run(1);
    assert_eq!(closed(&network, A), Some(CloseReason::TimedOut));
    network.run(20);
    assert_eq!(closed(&network, B), Some(CloseReason::Far));
}

#[test]
fn answers_put_off_the_retransmit_limit() {
    let mut network = Network::open(config());
    let flow = network.open_flow(A);
    for _ in 0..10 {
        network.write(A, flow, 100);
        network.run(10_000);
        // An outage shorter than the limit, with data waiting.
        let now = (network.now.as_micros() - START.as_micros()) / 1_000;
        outage(&mut network, now, now + 40_000);
        network.write(A, flow, 100);
        network.run(60_000);
        network.filter = Box::new(|_| Fate::Arrives);
    }
    assert_eq!(closed(&network, A), None);
    assert_eq!(network.ends[B].bytes_read(), 2_000);
}

#[test]
fn lost_data_is_sent_again_at_erto_which_backs_off_to_ten_seconds() {
    let mut network = Network::open(SessionConfig { keepalive: Duration::from_secs(1_000), ..config() });
    let flow = network.open_flow(A);
    network.filter = Box::new(|_| Fate::Lost);
    network.write(A, flow, 100);
    network.run(50_000);
    let expected = [0, 3_000, 7_242, 13_242, 21_727, 31_727, 41_727];
    assert_eq!(network.times(A, |sent| sent.has_data()), expected);
    assert_eq!(network.ends[A].session.stats().timeouts, 6);
    assert_eq!(network.ends[A].session.stats().erto, Duration::from_secs(10));
}

#[test]
fn a_transfer_survives_an_outage() {
    let mut network = Network::open(config());
    let flow = network.open_flow(A);
    outage(&mut network, 100, 9_000);
    for _ in 0..50 {
        network.write(A, flow, 4_000);
    }
    network.run(30_000);
    assert_eq!(network.ends[B].bytes_read(), 200_000);
    assert!(network.ends[A].session.stats().timeouts > 1);
}

/// After an outage of half a minute the timer would fire up to ten seconds later; a packet from there is enough.
#[test]
fn a_sign_of_life_after_an_outage_sends_at_once() {
    let mut network = Network::open(config());
    let flow = network.open_flow(A);
    network.write(A, flow, 100);
    network.run(1_000);
    outage(&mut network, 1_000, 31_000);
    network.write(A, flow, 100);
    network.run(30_100);
    let next = network.ends[A].session.deadlines().next().unwrap().0;
    assert!(next > network.now + Duration::from_millis(1_000), "the timer would take long: {next:?}");
    assert_eq!(network.ends[B].bytes_read(), 100);
    let now = network.now;
    network.with(B, |session, cx| session.on_network_change(cx, NetworkChange::Interface));
    network.run(20);
    assert_eq!(network.sent.last().unwrap().at, now + Duration::from_millis(20));
    assert!(network.sent.last().unwrap().has_data(), "sent with the first sign of life");
    network.run(20);
    assert_eq!(network.ends[B].bytes_read(), 200);
}

#[test]
fn an_interface_change_pings_and_sends_at_once() {
    let mut network = Network::open(config());
    let flow = network.open_flow(A);
    network.write(A, flow, 100);
    network.run(1_000);
    outage(&mut network, 1_000, 31_000);
    network.write(A, flow, 100);
    network.run(30_100);
    let now = network.now;
    network.with(A, |session, cx| session.on_network_change(cx, NetworkChange::Interface));
    network.pump();
    let since: Vec<_> = network.sent.iter().filter(|sent| sent.at == now).collect();
    assert!(since.iter().any(|sent| sent.has(PING)) && since.iter().any(|sent| sent.has_data()));
    network.run(20);
    assert_eq!(network.ends[B].bytes_read(), 200);
}

/// What was sent a moment ago is still under way, and not lost because something is heard: it is once an answer should
/// have come, without the time that acknowledgements may be delayed. A timer that fired shortly before the end of an
/// outage of five seconds cost a quarter of a second otherwise.
#[test]
fn a_sign_of_life_resends_what_was_just_sent_when_an_answer_is_due() {
    for (after, sent) in [(15, 3), (130, 4)] {
        let mut network = Network::open(config());
        let flow = network.open_flow(A);
        network.write(A, flow, 100);
        network.run(1_000);
        network.filter = Box::new(|sent| if sent.has_data() { Fate::Lost } else { Fate::Arrives });
        network.write(A, flow, 100);
        while network.sent_by(A, |sent| sent.has_data()).len() < 3 {
            network.run(1);
        }
        network.run(after);
        let now = network.now;
        network.with(B, |session, _| session.ping(now));
        network.run(25);
        assert_eq!(network.sent_by(A, |sent| sent.has(PING_REPLY)).len(), 1);
        assert_eq!(network.sent_by(A, |sent| sent.has_data()).len(), sent, "{after} ms after it was sent");
    }
}

/// Packets from a far end that answers no Ping do not make this end ping more often than once per ERTO.
#[test]
fn a_far_end_that_talks_but_does_not_answer_is_pinged_once_per_erto() {
    let mut network = Network::open(config());
    network.filter = Box::new(|sent| if sent.from == A || sent.has_ack() { Fate::Lost } else { Fate::Arrives });
    let now = network.now;
    network.with(A, |session, _| session.ping(now));
    for _ in 0..30 {
        network.run(300);
        network.with(B, |session, cx| session.on_network_change(cx, NetworkChange::Interface));
    }
    let pings = network.times(A, |sent| sent.has(PING));
    assert!(pings.windows(2).all(|pair| pair[1] - pair[0] >= 3_000), "{pings:?}");
    assert!(pings.len() >= 2, "{pings:?}");
}

/// Data that was lost and abandoned asks for no answer, and what is sent later has all the time of the limit.
#[test]
fn abandoned_data_leaves_no_limit_behind() {
    let mut network = Network::open(SessionConfig { keepalive: Duration::from_secs(1_000), ..config() });
    let flow = network.open_flow(A);
    network.write(A, flow, 10);
    network.run(1_000);
    network.filter = Box::new(|_| Fate::Lost);
    let options = SendOptions { retransmit: false, ..SendOptions::default() };
    network
        .with(A, |session, cx| {
            session
                .command(cx, |delivery, cx| delivery.sending.flows.write(cx, flow, Bytes::from_static(b"x"), options))
        })
        .unwrap();
    network.run(500);
    // What may be left is the notice that it was abandoned.
    network.filter = Box::new(|_| Fate::Arrives);
    network.run(58_000);
    network.filter = Box::new(|_| Fate::Lost);
    network.write(A, flow, 10);
    network.run(58_000);
    assert_eq!(closed(&network, A), None);
    network.run(2_001);
    assert_eq!(closed(&network, A), Some(CloseReason::TimedOut));
}

#[test]
fn a_user_ping_is_sent_once_per_erto() {
    let mut network = Network::open(config());
    let now = network.now;
    for _ in 0..5 {
        network.with(A, |session, _| session.ping(now));
        network.pump();
    }
    assert_eq!(network.sent_by(A, |sent| sent.has(PING)).len(), 1);
    network.run(100);
    let now = network.now;
    network.with(A, |session, _| session.ping(now));
    network.run(100);
    assert_eq!(network.times(A, |sent| sent.has(PING)), [0, 100]);
}

#[test]
fn a_session_without_flows_is_closed_in_order_after_the_idle_limit() {
    let mut network = Network::open(SessionConfig::default());
    network.run(299_999);
    assert_eq!(closed(&network, A), None);
    network.run(1);
    assert_eq!(closed(&network, A), Some(CloseReason::Idle));
    network.run(100);
    assert!(network.ends.iter().all(|end| end.session.is_gone()));
}

#[test]
fn an_idle_limit_of_its_own_replaces_the_configured_one() {
    let mut network = Network::open(config());
    network.run(100_000);
    network.with(A, |session, cx| session.set_idle_limit(cx, Duration::from_secs(10)));
    network.run(9_999);
    assert_eq!(closed(&network, A), None, "it is counted anew");
    network.with(A, |session, cx| session.set_idle_limit(cx, Duration::from_secs(30)));
    network.run(29_999);
    assert_eq!(closed(&network, A), None);
    network.run(1);
    assert_eq!(closed(&network, A), Some(CloseReason::Idle));
}

#[test]
fn lingering_flows_count_as_flows_for_the_idle_limit() {
    let mut network = Network::open(SessionConfig::default());
    let flow = network.open_flow(A);
    network.write(A, flow, 100);
    network.run(1_000_000);
    assert_eq!(closed(&network, A), None, "an open flow");
    network.with(A, |session, cx| session.command(cx, |delivery, cx| delivery.sending.flows.close(cx, flow)));
    // Complete 40 ms later; the receiver lingers for 120 s, the sender for 130 s.
    network.run(400_000);
    assert_eq!(closed(&network, A), None);
    assert!(network.ends[A].session.delivery().send_flow(flow).is_none(), "the flow is gone");
    network.run(30_100);
    assert!(closed(&network, A).is_some());
}

/// Data is in flight at every moment, so it is the answers alone that put off the limit.
#[test]
fn a_transfer_longer_than_the_retransmit_limit_goes_on() {
    let mut network = Network::open(config());
    let flow = network.open_flow(A);
    for _ in 0..3_000 {
        network.write(A, flow, 100);
        network.run(30);
    }
    assert_eq!(closed(&network, A), None);
    network.run(1_000);
    assert_eq!(network.ends[B].bytes_read(), 300_000);
}

/// RFC 7016 §3.6.2.6: the timeout is counted from what was sent last.
#[test]
fn each_transmission_of_data_restarts_the_timeout() {
    let mut network = Network::open(config());
    let flow = network.open_flow(A);
    network.filter = Box::new(|_| Fate::Lost);
    network.write(A, flow, 100);
    network.run(2_000);
    network.write(A, flow, 100);
    network.run(2_999);
    assert_eq!(network.times(A, |sent| sent.has_data()), [0, 2_000]);
    network.run(1);
    assert_eq!(network.times(A, |sent| sent.has_data()).get(2), Some(&5_000));
}

/// A relay may go before a round trip over it was measured. Elsewhere that is a far end which opens slowly.
#[test]
fn a_session_over_a_last_resort_struggles_before_a_round_trip_was_measured() {
    for (interface, struggles) in [(InterfaceId::last_resort(1), true), (InterfaceId(0), false)] {
        let mut network = Network::opening(SessionConfig { max_datagram: 0, ..config() });
        network.filter = Box::new(|_| Fate::Lost);
        network.establish_over(interface, true);
        let flow = network.open_flow(A);
        network.write(A, flow, 100);
        network.run(6_000);
        assert!(!network.ends[A].session.is_struggling(), "it may be slow");
        network.run(6_000);
        assert_eq!(network.ends[A].session.is_struggling(), struggles, "{interface:?}");
    }
}
