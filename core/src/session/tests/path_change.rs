//! This end's network changes.

use alloc::boxed::Box;
use core::net::IpAddr;
use core::time::Duration;

use super::network::{A, B, Fate, Network, PING, PING_REPLY, Sent, path_to};
use super::packets::one;
use crate::config::SessionConfig;
use crate::congestion::CongestionControl;
use crate::event::Event;
use crate::session::{MoveBasis, NetworkChange};
use crate::transmit::{InterfaceId, Path};
use crate::wire::Ping;

/// Packets of `end` since `before` of them were sent.
fn since(network: &Network, before: usize, end: usize) -> impl Iterator<Item = &Sent> {
    network.sent[before..].iter().filter(move |sent| sent.from == end)
}

/// What A has sent does not arrive, its timer is backed off, and has just fired. Nothing gets through yet.
fn waiting() -> Network {
    let mut network = Network::open(SessionConfig::default());
    let flow = network.open_flow(A);
    network.write(A, flow, 100);
    network.run(1_000);
    network.filter = Box::new(|_| Fate::Lost);
    network.write(A, flow, 20_000);
    while network.ends[A].session.stats().timeouts < 6 {
        network.run(1);
    }
    network
}

/// Sending at once would put packets into a network that may not work yet, time and again.
#[test]
fn a_session_that_waits_probes_with_a_change_and_sends_with_the_first_sign_of_life() {
    let mut network = waiting();
    network.with(A, |session, cx| session.on_network_change(cx, NetworkChange::Any { waiting_only: true }));
    let before = network.sent.len();
    network.run(100);
    assert!(since(&network, before, A).all(|sent| sent.has(PING) && !sent.has_data()), "it does not work yet");
    network.filter = Box::new(|_| Fate::Arrives);
    let before = network.sent.len();
    network.with(A, |session, cx| session.on_network_change(cx, NetworkChange::Any { waiting_only: true }));
    network.run(39);
    assert!(since(&network, before, A).all(|sent| sent.has(PING) && !sent.has_data()));
    network.run(2);
    assert!(since(&network, before, A).filter(|sent| sent.has_data()).count() > 1, "one round trip later");
    network.run(400);
    assert_eq!(network.ends[B].bytes_read(), 20_100);
}

/// What never left the machine used up the limit on what is sent without an answer, and was waited for.
#[test]
fn what_was_sent_in_vain_before_a_sign_of_life_holds_nothing_up() {
    for before in [2, 30, 200] {
        let mut network = waiting();
        let sent = network.sent.len();
        while !since(&network, sent, A).any(|sent| sent.has_data()) {
            network.run(1);
        }
        network.run(before);
        network.ends[A].session.delivery.sending.recovery.burst.set_packets(100);
        network.filter = Box::new(|_| Fate::Arrives);
        let sent = network.sent.len();
        network.with(A, |session, cx| session.on_network_change(cx, NetworkChange::Any { waiting_only: true }));
        network.run(130);
        assert!(since(&network, sent, A).any(|sent| sent.has_data()), "{before} ms after it was sent");
    }
}

#[test]
fn a_session_that_hears_the_far_end_has_no_use_for_a_change() {
    let mut network = Network::open(SessionConfig::default());
    let flow = network.open_flow(A);
    network.write(A, flow, 100);
    network.run(30);
    network.write(A, flow, 100);
    network.run(20);
    let before = network.sent.len();
    for end in [A, B] {
        network.with(end, |session, cx| session.on_network_change(cx, NetworkChange::Any { waiting_only: false }));
    }
    network.run(0);
    assert!(!network.sent[before..].iter().any(|sent| sent.has(PING)));
}

#[test]
fn a_silent_session_that_waits_for_nothing_probes_only_if_it_is_to() {
    let mut network = Network::open(SessionConfig::default());
    network.run(5_000);
    let before = network.sent.len();
    network.with(A, |session, cx| session.on_network_change(cx, NetworkChange::Any { waiting_only: true }));
    network.run(100);
    assert_eq!(network.sent.len(), before);
    network.with(A, |session, cx| session.on_network_change(cx, NetworkChange::Any { waiting_only: false }));
    network.run(100);
    assert!(since(&network, before, A).next().unwrap().has(PING));
    assert!(since(&network, before, B).next().unwrap().has(PING_REPLY));
}

#[test]
fn an_address_that_is_gone_is_not_sent_from_until_something_comes_to_it_again() {
    let mut network = Network::open(SessionConfig::default());
    let local: IpAddr = [192, 0, 2, 9].into();
    let path = path_to(A).with_local(Some(local));
    network.ends[B].session.transport.link.as_mut().unwrap().path = path;
    let before = network.sent.len();
    network.with(B, |session, cx| session.on_network_change(cx, NetworkChange::AddressRemoved));
    network.run(0);
    let probe = since(&network, before, B).next().unwrap();
    assert!(probe.has(PING) && probe.to == path_to(A), "the far end learns of it at once: {:?}", probe.to);
    network.inject(B, path, &one(A, &Ping { message: b"x" })).unwrap();
    network.run(0);
    assert_eq!(network.sent.last().unwrap().to, path, "it is there again");

    // Or something comes to another address.
    network.with(B, |session, cx| session.on_network_change(cx, NetworkChange::AddressRemoved));
    let other = path.with_local(Some([198, 51, 100, 9].into()));
    network.with(B, |session, cx| session.move_to(cx, other, MoveBasis::Proved));
    network.with(B, |session, cx| session.on_network_change(cx, NetworkChange::Interface));
    network.run(0);
    assert_eq!(network.sent.last().unwrap().to, other);
}

#[test]
fn a_session_that_switches_its_interface_sends_everything_again_over_the_new_one() {
    let mut network = Network::open(SessionConfig::default());
    let flow = network.open_flow(A);
    network.write(A, flow, 100);
    network.run(1_000);
    network.filter = Box::new(|sent| if sent.to.interface == InterfaceId(0) { Fate::Lost } else { Fate::Arrives });
    network.write(A, flow, 3_000);
    network.run(10);
    let other = Path::new(InterfaceId(1), path_to(B).remote);
    assert!(network.with(A, |session, cx| session.move_to(
        cx,
        Path::new(InterfaceId(1), path_to(B).remote),
        MoveBasis::Chosen
    )));
    assert!(
        !network.with(A, |session, cx| session.move_to(
            cx,
            Path::new(InterfaceId(1), path_to(B).remote),
            MoveBasis::Chosen
        )),
        "it is there already"
    );
    let session = network.ends[A].session.handle();
    assert!(network.ends[A].events.contains(&Event::PathChanged { session, path: other }));
    let before = network.sent.len();
    network.run(21);
    let sent: alloc::vec::Vec<_> = since(&network, before, A).collect();
    assert!(sent.iter().all(|sent| sent.to == other) && sent.iter().any(|sent| sent.has(PING)));
    assert_eq!(network.ends[B].bytes_read(), 3_100);
    assert_eq!(network.ends[A].session.stats().srtt, None, "measurements of the old path are forgotten");
    network.run(Duration::from_secs(1).as_millis() as u64);
}

#[test]
fn a_session_that_is_not_open_switches_nothing() {
    let mut network = Network::opening(SessionConfig::default());
    assert!(!network.with(A, |session, cx| session.move_to(
        cx,
        Path::new(InterfaceId(1), path_to(B).remote),
        MoveBasis::Chosen
    )));
    network.with(A, |session, cx| session.on_network_change(cx, NetworkChange::Any { waiting_only: false }));
    network.run(100);
    assert!(network.sent.is_empty());
}

/// How an outage ends, and at which end the network changes.
#[derive(Clone, Debug)]
struct Return {
    congestion: CongestionControl,
    near: usize,
    /// By so many milliseconds the way took longer before, now and then.
    jitter: u64,
    /// So many milliseconds before it can send again the near end gets packets, and both see their link come up.
    ahead: u64,
}

/// How long after a change that ends an outage of `outage` ms data arrives again, and how long it may take: two round
/// trips, as they were before, and 50 ms.
fn stall(back: &Return, outage: u64) -> (u64, u64) {
    let Return { congestion, near, jitter, ahead } = back.clone();
    let mut network = Network::open(SessionConfig { congestion, ..SessionConfig::default() });
    let flow = network.open_flow(A);
    for step in 0..40 {
        network.delay = Duration::from_millis(20 + jitter * (step % 2));
        for _ in 0..10 {
            network.write(A, flow, 1_000);
        }
        network.run(25);
    }
    let round_trip = network.ends[A].session.stats().srtt.unwrap().as_millis() as u64;
    network.delay = Duration::from_millis(20);
    let (delay, up) = (network.delay, network.now + Duration::from_millis(outage));
    let link = network.now + Duration::from_millis(outage - ahead);
    network.filter = Box::new(move |sent| {
        let passes = if sent.from == near { sent.at >= up } else { sent.at + delay >= link };
        if passes { Fate::Arrives } else { Fate::Lost }
    });
    for _ in 0..60 {
        network.write(A, flow, 1_000);
    }
    network.run(outage - ahead);
    if ahead > 0 {
        for end in [A, B] {
            network.with(end, |session, cx| session.on_network_change(cx, NetworkChange::Any { waiting_only: false }));
        }
    }
    network.run(ahead);
    let read = network.ends[B].bytes_read();
    network.with(near, |session, cx| session.on_network_change(cx, NetworkChange::Any { waiting_only: false }));
    let arrives = |network: &mut Network| {
        network.run(1);
        network.ends[B].bytes_read() > read
    };
    ((1..1_000).find(|_| arrives(&mut network)).unwrap(), 2 * round_trip + 50)
}

/// What a timer had sent shortly before was waited for, up to a whole timeout at the end that did not move. And a change
/// that came soon after a packet was taken for none.
#[test]
fn an_outage_ends_within_two_round_trips_and_50_ms_of_the_last_change() {
    let controllers = [CongestionControl::Rfc7016, CongestionControl::default()];
    for (congestion, near) in controllers.iter().flat_map(|congestion| [(congestion, A), (congestion, B)]) {
        for (jitter, ahead) in [(0, 0), (15, 0), (60, 0), (0, 35), (60, 35)] {
            let back = Return { congestion: congestion.clone(), near, jitter, ahead };
            for outage in (250..1_500).step_by(70) {
                let (stall, limit) = stall(&back, outage);
                assert!(stall <= limit, "{back:?}, {outage} ms: nothing came for {stall} of at most {limit} ms");
            }
        }
    }
}
