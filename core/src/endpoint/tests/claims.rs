//! Sessions that somebody begins without the keys of the certificate that he shows: they end no other session, keep nobody
//! out, and however many there are, nothing takes longer for it.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::pair::{A, B, Pair, address};
use crate::event::{Event, OpenFailure};
use crate::wire::InitiatorHello;
use crate::{CloseReason, EndpointConfig, FlowOptions, SessionState};

const DELAY: Duration = Duration::from_millis(25);

/// Whether a message still comes over.
fn works(pair: &mut Pair) -> bool {
    let session = pair.nodes[A].endpoint.sessions().next().unwrap();
    let mut view = pair.nodes[A].endpoint.session_mut(pair.now, session).unwrap();
    let flow = view.open_flow(FlowOptions::new("f")).unwrap();
    pair.nodes[A].endpoint.send_flow_mut(pair.now, flow).unwrap().write("x").unwrap();
    let before = pair.nodes[B].events.len();
    pair.run_for_millis(100);
    pair.nodes[B].events[before..].iter().any(|event| matches!(event, Event::FlowReadable { .. }))
}

fn closed(pair: &Pair) -> Vec<CloseReason> {
    let reason = |event: &Event| if let Event::SessionClosed { reason, .. } = event { Some(*reason) } else { None };
    pair.nodes[B].events.iter().filter_map(reason).collect()
}

/// Otherwise than §3.5.1.1.2, step 2.3 says: the claim closed the session that it claimed to replace.
#[test]
fn a_sniffer_beside_the_path_ends_no_session() {
    for (certificate, used) in [(&b"alice"[..], true), (b"alice", false), (b"mallory", true)] {
        let mut pair = Pair::new(1);
        let session = pair.open(A);
        pair.run_for_millis(200);
        if used {
            pair.nodes[A].endpoint.session_mut(pair.now, session).unwrap().ping();
            pair.run_for_millis(200);
        }
        for number in 1..=20 {
            pair.claim(address(A), B, certificate, number);
        }
        assert_eq!(pair.nodes[B].endpoint.sessions().count(), 21);
        assert!(works(&mut pair), "{used}");
        pair.run_for_millis(10_000);
        assert_eq!(closed(&pair), [CloseReason::Unproved; 20], "{used}");
        assert!(works(&mut pair), "{used}");
    }
}

/// Each at an address and with an identity of its own, they held their places for more than a minute.
#[test]
fn sessions_without_proof_hold_half_of_all_places_for_seconds_only() {
    let bob = EndpointConfig { max_sessions: 8, ..EndpointConfig::default() };
    let mut pair = Pair::named(3, &[("alice", EndpointConfig::default()), ("bob", bob)]);
    let claim = |pair: &mut Pair, number: u8| {
        pair.claim(SocketAddr::from(([203, 0, 113, number], 1)), B, &[b'm', number], u32::from(number));
    };
    (1..=20).for_each(|number| claim(&mut pair, number));
    assert_eq!(pair.nodes[B].endpoint.sessions().count(), 8);
    pair.run_for_millis(11_000);
    assert_eq!(pair.nodes[B].endpoint.sessions().count(), 4);
    assert_eq!(closed(&pair), [CloseReason::Unproved; 4]);
    let session = pair.open(A);
    pair.run_for_millis(30_000);
    assert!(pair.nodes[A].events.contains(&Event::SessionOpened { session }));
    assert!(works(&mut pair), "its keys are proved");
}

#[test]
fn a_sniffer_beside_the_path_keeps_nobody_from_coming_back() {
    // He has his cookies at once.
    let bob = EndpointConfig { max_hello_replies_per_source: 1_000, ..EndpointConfig::default() };
    let mut pair = Pair::named(2, &[("alice", EndpointConfig::default()), ("bob", bob)]);
    // His claims are there before any session, and all the while.
    for number in 1..=100 {
        pair.claim(address(A), B, b"alice", number);
    }
    for seed in [98, 99] {
        let session = pair.open(A);
        pair.run_for_millis(100);
        pair.claim(address(A), B, b"alice", 1_000);
        pair.run_for_millis(100);
        assert_eq!(pair.nodes[A].events, [Event::SessionOpened { session }]);
        assert!(works(&mut pair));
        pair.restart(A, seed);
    }
}

#[test]
fn sessions_at_one_address_are_limited() {
    let config = EndpointConfig { max_sessions_per_address: 3, ..EndpointConfig::default() };
    let names = ["bob", "a", "b", "c", "d"];
    let nodes: Vec<_> = names.iter().map(|name| (*name, config.clone())).collect();
    let mut pair = Pair::named(3, &nodes);
    let all_at: SocketAddr = address(9);
    pair.nodes.iter_mut().skip(1).for_each(|node| node.aliases.push(all_at));
    for node in 1..5 {
        // Whoever had the address before is gone.
        pair.nodes.iter_mut().skip(1).for_each(|node| node.aliases.clear());
        pair.nodes[node].aliases.push(all_at);
        pair.fate = Box::new(move |datagram| {
            if datagram.from == address(node) {
                datagram.from = all_at;
                return vec![DELAY];
            }
            if datagram.from == address(0) { vec![DELAY] } else { vec![] }
        });
        let session = pair.open_to(node, "bob", &[0]);
        pair.run_for_millis(200);
        if node < 4 {
            pair.nodes[node].endpoint.session_mut(pair.now, session).unwrap().ping();
            pair.run_for_millis(200);
        }
        assert_eq!(pair.nodes[node].events.len(), usize::from(node < 4), "{node}");
    }
    assert_eq!(pair.nodes[0].endpoint.sessions().count(), 3);
    assert!(pair.nodes[0].endpoint.stats().over_limit > 0);
}

/// One host filled all places, for as long as a session may be idle.
#[test]
fn sessions_of_one_source_are_limited_and_others_get_in() {
    for (most, share) in [(None, 16), (Some(5), 5)] {
        let mut bob = EndpointConfig { max_sessions: 60, max_sessions_per_source: most, ..EndpointConfig::default() };
        (bob.max_hello_replies_per_source, bob.max_keying_units_per_source) = (1_000, 400);
        let mut pair = Pair::named(3, &[("alice", EndpointConfig::default()), ("bob", bob)]);
        let fill = |pair: &mut Pair, host: u8| {
            let before = pair.nodes[B].endpoint.sessions().count();
            for port in 1..=30 {
                pair.claim(SocketAddr::from(([203, 0, 113, host], port)), B, &[host, port as u8], u32::from(port));
            }
            pair.nodes[B].endpoint.sessions().count() - before
        };
        assert_eq!([fill(&mut pair, 1), fill(&mut pair, 1), fill(&mut pair, 2)], [share, 0, share]);
        let session = pair.open(A);
        pair.run_for_millis(200);
        assert!(pair.nodes[A].events.contains(&Event::SessionOpened { session }));
        // Sessions that are begun from here are nobody's share, and those that are over leave room.
        let handles: Vec<_> = pair.nodes[B].endpoint.sessions().collect();
        for handle in handles {
            pair.nodes[B].endpoint.session_mut(pair.now, handle).unwrap().close(crate::CloseMode::Abrupt);
        }
        // The same keyings are recordings while their cookies could be good.
        pair.run_for_millis(100_000);
        assert_eq!(fill(&mut pair, 1), share);
    }
}

#[test]
fn few_sessions_that_claim_one_identity_live_without_proof() {
    let config = EndpointConfig { max_unproved_per_identity: 3, ..EndpointConfig::default() };
    let mut pair = Pair::named(4, &[("alice", config.clone()), ("bob", config)]);
    for number in 1..=20 {
        pair.claim(SocketAddr::from(([203, 0, 113, number], 9)), B, b"carol", u32::from(number));
    }
    assert_eq!(pair.nodes[B].endpoint.sessions().count(), 20);
    pair.run_for_millis(10_000);
    assert_eq!(pair.nodes[B].endpoint.sessions().count(), 3);
    assert_eq!(closed(&pair), [CloseReason::Unproved; 17]);
}

/// A claim at the far end's own address was taken for the far end, and the opening failed in its favour.
#[test]
fn a_claim_from_the_far_ends_address_keeps_nobody_from_opening() {
    let mut pair = Pair::new(5);
    for number in 1..=20 {
        pair.claim(address(B), A, b"bob", number);
    }
    let session = pair.open(A);
    pair.run_for_millis(1_200);
    assert!(pair.nodes[A].events.contains(&Event::SessionOpened { session }), "{:?}", pair.nodes[A].events);
}

/// The far end has just opened a session and not used it.
#[test]
fn an_opening_ends_within_a_round_trip_if_its_far_end_has_opened_a_session_already() {
    let mut pair = Pair::new(6);
    pair.open(B);
    pair.run_for_millis(100);
    let [Event::SessionOpened { session: existing }] = pair.nodes[A].events[..] else { panic!("not open") };
    let session = pair.open(A);
    pair.run_for_millis(101);
    let reason = OpenFailure::Duplicate { existing };
    assert_eq!(pair.nodes[A].events[1..], [Event::SessionFailed { session, reason }]);
    assert_eq!(pair.nodes[A].endpoint.session(existing).unwrap().state(), SessionState::Open);
}

/// What lookups walk for a hello to be introduced, for an IIKeying from such an address and from another, and for an opening with all that follows.
fn steps_with(claims: u32) -> [usize; 4] {
    let config = EndpointConfig {
        introduce: true,
        max_keying_units_per_second: u32::MAX,
        max_keying_units_per_source: u32::MAX,
        max_hello_replies_per_second: u32::MAX,
        max_hello_replies_per_source: u32::MAX,
        max_excess_reply_bytes: u32::MAX,
        ..EndpointConfig::default()
    };
    let mut pair = Pair::named(7, &[("alice", config.clone()), ("bob", config.clone()), ("carol", config)]);
    let used = pair.open_to(2, "bob", &[B]);
    pair.run_for_millis(200);
    pair.nodes[2].endpoint.session_mut(pair.now, used).unwrap().ping();
    pair.run_for_millis(200);
    for number in 1..=claims {
        // Some at one address, some elsewhere.
        let port = if number % 2 == 0 { 9 } else { number as u16 };
        pair.claim(SocketAddr::from(([203, 0, 113, 1], port)), B, b"carol", number);
        pair.claim(address(A), B, b"alice", number);
    }
    let steps = |pair: &mut Pair, act: &mut dyn FnMut(&mut Pair)| {
        pair.nodes[B].endpoint.table.index.visited.set(0);
        act(pair);
        pair.nodes[B].endpoint.table.index.visited.get()
    };
    let hello = steps(&mut pair, &mut |pair| {
        let hello = InitiatorHello { discriminator: b"carol", tag: b"a tag of 16 byte" };
        pair.inject(SocketAddr::from(([198, 51, 100, 7], 7)), B, 0, &hello);
    });
    let keying = steps(&mut pair, &mut |pair| pair.claim(address(A), B, b"carol", 70_000));
    let elsewhere =
        steps(&mut pair, &mut |pair| pair.claim(SocketAddr::from(([198, 51, 100, 7], 7)), B, b"alice", 70_001));
    let opening = steps(&mut pair, &mut |pair| {
        pair.open_to(B, "alice", &[A]);
        pair.run_for_millis(200);
    });
    let open = pair.nodes[B].endpoint.sessions().count();
    assert!(open > 2 * claims as usize, "{open}");
    assert!(hello > 0 && keying > 0 && elsewhere > 0 && opening > 0);
    [hello, keying, elsewhere, opening]
}

#[test]
fn no_lookup_takes_longer_for_sessions_that_claim_an_identity_or_are_at_an_address() {
    assert_eq!(steps_with(100), steps_with(2_000));
}
