//! A user who watches a session hears of what is measured.

use alloc::boxed::Box;
use core::time::Duration;

use super::network::{A, B, Fate, Network};
use crate::config::{FlowOptions, SessionConfig};
use crate::congestion::CongestionControl;
use crate::event::Event;
use crate::stats::SessionStats;
use crate::transmit::Ecn;

fn watch(network: &mut Network) -> SessionStats {
    network.with(A, |session, cx| session.watch(cx.now));
    network.ends[A].session.stats()
}

/// How often A's user was told.
fn told(network: &Network) -> usize {
    let session = network.ends[A].session.handle();
    network.ends[A].events.iter().filter(|event| **event == Event::SessionUpdated { session }).count()
}

/// With the controller of RFC 7016, which knows no rate, and with those that do.
#[test]
fn no_more_is_sent_than_the_user_allows() {
    for congestion in
        [CongestionControl::Rfc7016, CongestionControl::Cubic, CongestionControl::Bbr, CongestionControl::Media]
    {
        let max_rate = Some(50_000);
        let config = SessionConfig { congestion, max_rate, recv_buffer: 16_000_000, ..SessionConfig::default() };
        let mut network = Network::open(config);
        transfer(&mut network);
        network.run(4_000);
        let mut read = network.ends[B].bytes_read();
        for (rate, millis) in [(50_000, 20_000), (200_000, 5_000), (20_000, 50_000)] {
            network.with(A, |session, cx| session.set_max_rate(cx, Some(rate)));
            // What was under way, or came of another rate, is over.
            network.run(1_000);
            read = network.ends[B].bytes_read().max(read);
            network.run(millis);
            let came = network.ends[B].bytes_read() - read;
            let due = usize::try_from(rate * millis / 1_000).unwrap();
            assert!(came.abs_diff(due) <= 110_000, "{came} of {due}, a message more or less");
            let stats = network.ends[A].session.stats();
            assert_eq!((stats.pacing_rate, stats.target_rate), (Some(rate), Some(rate - rate / 16)));
        }
        network.with(A, |session, cx| session.set_max_rate(cx, None));
        assert!(network.ends[A].session.stats().pacing_rate != Some(20_000));
        assert!(network.ends[B].bytes_read() < 5_000_000);
        network.run(20_000);
        assert_eq!(network.ends[B].bytes_read(), 10_000_000, "without the limit");
    }
}

/// What the limit held back says nothing of the path: a model of the path must not take it for the rate of the line.
#[test]
fn a_limit_that_is_lifted_leaves_no_trace_in_the_model_of_the_path() {
    let (congestion, max_rate) = (CongestionControl::Bbr, Some(100_000));
    let config = SessionConfig { congestion, max_rate, recv_buffer: 16_000_000, ..SessionConfig::default() };
    let mut network = Network::open(config);
    transfer(&mut network);
    network.run(10_000);
    let read = network.ends[B].bytes_read();
    assert!(read <= 1_100_000, "{read} bytes");
    network.with(A, |session, cx| session.set_max_rate(cx, None));
    network.run(3_000);
    assert_eq!(network.ends[B].bytes_read(), 10_000_000, "a tenth of the time that it took for a tenth of this");
}

/// An endless transfer from A to B.
fn transfer(network: &mut Network) {
    let flow = network.open_flow_with(A, FlowOptions::new("much").send_buffer(usize::MAX));
    for _ in 0..1_000 {
        network.write(A, flow, 10_000);
    }
}

#[test]
fn nobody_is_told_who_does_not_watch() {
    let mut network = Network::open(SessionConfig::default());
    transfer(&mut network);
    network.run(2_000);
    assert!(network.ends[A].session.stats().target_rate.is_some());
    assert_eq!(told(&network), 0);
}

#[test]
fn a_change_of_the_target_rate_is_told_once_until_the_user_has_seen_it() {
    let mut network = Network::open(SessionConfig { recv_buffer: 16_000_000, ..SessionConfig::default() });
    let before = watch(&mut network);
    assert_eq!((before.target_rate, told(&network)), (None, 0));
    transfer(&mut network);
    network.run(200);
    assert_eq!(told(&network), 1);
    network.run(200);
    assert_eq!(told(&network), 1, "again, though nobody has looked");
    let mut known = watch(&mut network).target_rate.unwrap();
    assert!(known > before.cwnd, "a window each round trip of 40 ms");
    let (mut changes, mut last) = (0, network.now);
    for _ in 0..2_000 {
        let before = told(&network);
        network.run(1);
        let session = &network.ends[A].session;
        let rate = session.delivery.sending.recovery.target_rate(&session.transport).unwrap();
        let worth_it = rate > known / 8 * 9 || rate < known / 16 * 15;
        let over = network.now >= last + session.stats().srtt.unwrap();
        assert_eq!(told(&network) - before, usize::from(worth_it && over), "from {known} to {rate}");
        assert_eq!(session.stats().target_rate, Some(if worth_it { rate } else { known }));
        if worth_it && over {
            (known, last) = (watch(&mut network).target_rate.unwrap(), network.now);
            changes += 1;
        }
    }
    assert!(changes > 5, "{changes}: the window grows slowly and adds up");
}

#[test]
fn the_target_rate_is_the_window_by_the_round_trip_which_counts_4_ms_at_least() {
    for (delay, round_trip) in [(50, 100), (0, 4)] {
        let mut network = Network::open(SessionConfig::default());
        network.delay = Duration::from_millis(delay);
        let flow = network.open_flow(A);
        network.write(A, flow, 10);
        network.run(1_000);
        let stats = network.ends[A].session.stats();
        // A sixteenth is left for what waits.
        let expected = stats.cwnd * 1_000 / round_trip / 16 * 15;
        let rate = stats.target_rate.unwrap();
        assert!(rate.abs_diff(expected) < expected / 20, "{rate} is not {expected}");
    }
}

#[test]
fn losses_marks_and_timeouts_are_congestion_and_told() {
    // This controller takes each loss and each mark for congestion.
    let congestion = CongestionControl::Rfc7016;
    for cause in ["loss", "mark", "timeout"] {
        let congestion = congestion.clone();
        // So that it lasts.
        let mut network = Network::open(SessionConfig { congestion, recv_buffer: 65_536, ..SessionConfig::default() });
        transfer(&mut network);
        network.run(1_000);
        assert_eq!(watch(&mut network).congestion_events, 0);
        let (mut data, from) = (0, network.now);
        network.filter = Box::new(move |sent| {
            let early = sent.at < from + Duration::from_millis(600);
            data += usize::from(sent.from == A && sent.has_data());
            match cause {
                "timeout" if early => Fate::Lost,
                "loss" if data == 5 => Fate::Lost,
                "mark" if data == 5 => Fate::Marked(Some(Ecn::Ce)),
                _ => Fate::Arrives,
            }
        });
        network.run(1_400);
        let stats = network.ends[A].session.stats();
        assert!(told(&network) > 0, "{cause}: {stats:?}");
        let expected = if cause == "timeout" { stats.timeouts } else { 1 };
        assert!(expected > 0 && stats.congestion_events == expected, "{cause}: {stats:?}");
    }
}

#[test]
fn the_proof_of_the_far_ends_keys_is_told() {
    let mut network = Network::open(SessionConfig::default());
    watch(&mut network);
    network.run(100);
    assert!(told(&network) == 0 && !network.ends[A].session.transport().keys_proved());
    let flow = network.open_flow(B);
    network.write(B, flow, 10);
    network.run(20);
    assert!(told(&network) == 1 && network.ends[A].session.transport().keys_proved());
}

/// There was no deadline for it: if no packet came afterwards, it was never told.
#[test]
fn a_fall_of_the_rate_within_a_round_trip_of_the_last_is_told_though_no_packet_comes() {
    let mut network = Network::open(SessionConfig { recv_buffer: 16_000_000, ..SessionConfig::default() });
    transfer(&mut network);
    network.run(1_000);
    watch(&mut network);
    network.run(1_000);
    // It has been told once: the next is the first thing that the user sees of this round trip.
    network.with(A, |session, cx| session.set_max_rate(cx, Some(20_000)));
    watch(&mut network);
    network.filter = Box::new(|_| Fate::Lost);
    let before = told(&network);
    network.with(A, |session, cx| session.set_max_rate(cx, Some(10_000)));
    assert_eq!(told(&network), before, "not yet");
    let (now, round_trip) = (network.now, network.ends[A].session.stats().srtt.unwrap());
    assert!(network.ends[A].session.deadlines().first().is_some_and(|at| at <= now + round_trip));
    network.with(A, |session, cx| {
        cx.now = now + round_trip;
        session.handle_timeout(cx);
    });
    assert_eq!(told(&network), before + 1);
}
