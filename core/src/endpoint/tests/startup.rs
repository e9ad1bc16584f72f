//! RFC 7016 §3.5.1, case by case.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::pair::{A, B, Kind, Pair, address, path_to};
use super::redirect::{attempts, tag};
use crate::endpoint::initiator::Opening;
use crate::event::Event;
use crate::params::TAG_LEN;
use crate::wire::EncodeChunk;
use crate::{EndpointConfig, Instant, OpenFailure, Role, SessionState, Target};

const DELAY: Duration = Duration::from_millis(25);

#[test]
fn an_undisturbed_handshake_takes_two_round_trips_and_four_packets() {
    let mut pair = Pair::new(1);
    let start = pair.now;
    let session = pair.open(A);
    pair.run_for_millis(100);
    assert_eq!(pair.now - Duration::from_millis(100), start);
    assert_eq!(pair.nodes[A].events, [Event::SessionOpened { session }]);
    assert_eq!(pair.nodes[A].endpoint.session(session).unwrap().role(), Role::Initiator);
    let far = pair.nodes[B].endpoint.sessions().next().unwrap();
    assert_eq!(pair.nodes[B].endpoint.session(far).unwrap().role(), Role::Responder);
    // Four packets of startup: nothing else had to be said in two round trips.
    assert_eq!(pair.sent, 4);
}

/// Clients of a server that was ending were told to go, and came back to the same.
#[test]
fn an_endpoint_that_drains_accepts_nobody() {
    let mut pair = Pair::new(1);
    let session = pair.open(A);
    pair.run_for_millis(100);
    let now = pair.now;
    pair.nodes[B].endpoint.drain_all(now, now + Duration::from_secs(5));
    pair.run_for_millis(200);
    assert!(pair.nodes[A].endpoint.session(session).is_none_or(|session| session.state() != SessionState::Open));
    let again = pair.open(A);
    pair.run_for_millis(3_000);
    assert_eq!(pair.nodes[A].endpoint.session(again).unwrap().state(), SessionState::HelloSent);
}

#[test]
fn hellos_are_repeated_at_growing_intervals_and_given_up_after_95_seconds() {
    let mut pair = Pair::new(2);
    pair.fate = alloc::boxed::Box::new(|_| Vec::new());
    let start = pair.now;
    let session = pair.open(A);
    let mut times = Vec::new();
    let mut sent = 0;
    for millis in 0..95_000 {
        if pair.sent > sent {
            times.push(pair.now.saturating_duration_since(start).as_millis());
            sent = pair.sent;
        }
        assert_eq!(pair.nodes[A].endpoint.session(session).unwrap().state(), SessionState::HelloSent, "{millis}");
        pair.run_for_millis(1);
    }
    let close = |at: u128, expected: u128| at.abs_diff(expected) <= 1;
    let expected = attempts(&tag(&pair, 0));
    assert_eq!(times.len(), expected.len(), "{times:?}");
    assert!(times.iter().zip(expected).all(|(at, expected)| close(*at, expected)), "{times:?}");
    assert_eq!(pair.nodes[A].events, [Event::SessionFailed { session, reason: OpenFailure::TimedOut }]);
    assert!(pair.nodes[A].endpoint.session(session).is_none());
    assert_eq!(pair.nodes[A].endpoint.poll_timeout(), None);
}

/// Every choice of up to two startup packets lost: the session opens all the same, once at each end.
#[test]
fn any_two_lost_packets_of_startup_are_made_good() {
    for first in 0..8 {
        for second in first..8 {
            let mut pair = Pair::new(3);
            pair.fate =
                alloc::boxed::Box::new(
                    move |datagram| {
                        if [first, second].contains(&datagram.ordinal) { vec![] } else { vec![DELAY] }
                    },
                );
            let session = pair.open(A);
            pair.run_for_millis(20_000);
            assert_eq!(pair.nodes[A].events, [Event::SessionOpened { session }], "lost {first} and {second}");
            let opened = pair.nodes[B].events.iter().filter(|event| matches!(event, Event::SessionOpened { .. }));
            assert_eq!(opened.count(), 1, "lost {first} and {second}");
        }
    }
}

#[test]
fn duplicates_and_reordering_make_one_session() {
    for spread in [0, 10, 200, 3_000] {
        let mut pair = Pair::new(4);
        pair.fate = alloc::boxed::Box::new(move |datagram| {
            (0..3).map(|copy| DELAY + Duration::from_millis(copy * spread + datagram.ordinal % 3 * 7)).collect()
        });
        let session = pair.open(A);
        pair.run_for_millis(30_000);
        assert_eq!(pair.nodes[A].events, [Event::SessionOpened { session }], "copies {spread} ms apart");
        assert!(matches!(pair.nodes[B].events[..], [Event::SessionOpened { .. }]), "copies {spread} ms apart");
        assert_eq!(pair.nodes[B].endpoint.sessions().count(), 1);
    }
}

#[test]
fn glare_at_any_offset_leaves_one_session_and_no_event_lost() {
    for offset in 0..120 {
        let mut pair = Pair::new(5);
        let a = pair.open(A);
        pair.run_for_millis(offset);
        let b_was_open = pair.nodes[B].endpoint.sessions().count() > 0;
        let b = pair.open(B);
        pair.run_for_millis(10_000);
        let opened = |node: usize| {
            let events = pair.nodes[node].events.iter();
            events.filter(|event| matches!(event, Event::SessionOpened { .. })).count()
        };
        assert_eq!((opened(A), opened(B)), (1, 1), "offset {offset} ms");
        assert!(pair.nodes[A].events.contains(&Event::SessionOpened { session: a }), "offset {offset} ms");
        for node in [A, B] {
            let open = pair.nodes[node].endpoint.sessions().count();
            assert_eq!(open, 1, "offset {offset} ms, node {node}: {:?}", pair.nodes[node].events);
        }
        // The second opening was merged into the session, or told that there is one.
        let told = pair.nodes[B].events.iter().any(|event| {
            matches!(event, Event::SessionOpened { session } | Event::SessionFailed { session, .. } if *session == b)
        });
        assert!(told, "offset {offset} ms, {b_was_open}: {:?}", pair.nodes[B].events);
    }
}

/// RFC 7016 §3.5.1.3 says who prevails, but there are peers that decide it in another way: each end would wait for the
/// other for ever. So the end that prevails insists for two seconds, and then takes the other's keying.
#[test]
fn an_end_that_prevails_in_glare_gives_way_to_one_that_insists() {
    let mut pair = Pair::new(5);
    pair.lose(Kind::InitiatorKeying);
    pair.open(A);
    pair.run_for_millis(600);
    // B ignores what A keys with.
    pair.fate = alloc::boxed::Box::new(|datagram| {
        let ignored = datagram.kind() == Kind::InitiatorKeying && datagram.from == address(A);
        if ignored { vec![] } else { vec![DELAY] }
    });
    pair.open(B);
    let opened = |pair: &Pair, node: usize| {
        pair.nodes[node].events.iter().any(|event| matches!(event, Event::SessionOpened { .. }))
    };
    pair.run_for_millis(2_000);
    assert!(!pair.sent_of(Kind::InitiatorKeying, Some(B), Some(A)).is_empty());
    assert!(!opened(&pair, A) && !opened(&pair, B), "A insists");
    pair.run_for_millis(6_000);
    assert!(opened(&pair, A) && opened(&pair, B), "A has given way");
}

#[test]
fn a_hello_for_somebody_else_is_not_answered() {
    let mut pair = Pair::new(6);
    let target = Target::new(&b"carol"[..], path_to(B));
    pair.nodes[A].endpoint.open(pair.now, target).unwrap();
    pair.run_for_millis(900);
    assert_eq!(pair.sent, 1);
    assert_eq!(pair.nodes[B].endpoint.stats().unexpected, 1);
}

#[test]
fn a_hello_leaves_nothing_behind_and_floods_are_answered_at_the_configured_rate() {
    let config = EndpointConfig { max_hello_replies_per_second: 50, ..EndpointConfig::default() };
    let mut pair = Pair::with_config(7, config);
    let all_differ = |n: u32| core::net::SocketAddr::from(((0x0a00_0000 + n).to_be_bytes(), 1_935));
    pair.open(A);
    pair.flush();
    let hello = capture_first(&mut pair);
    for n in 0..5_000 {
        let _ = pair.deliver(all_differ(n), address(B), hello.clone());
    }
    assert_eq!(pair.nodes[B].endpoint.sessions().count(), 0);
    assert_eq!(pair.nodes[B].endpoint.poll_timeout(), None);
    let before = pair.sent;
    pair.flush();
    assert_eq!(pair.sent - before, 50);
    assert_eq!(pair.nodes[B].endpoint.stats().over_limit, 4_950);
}

/// The bytes of the next datagram that a fresh opening from A sends.
fn capture_first(pair: &mut Pair) -> Vec<u8> {
    use alloc::rc::Rc;
    use core::cell::RefCell;
    let seen = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&seen);
    pair.fate = alloc::boxed::Box::new(move |datagram| {
        log.borrow_mut().push(datagram.bytes.clone());
        Vec::new()
    });
    pair.open(A);
    pair.flush();
    let bytes = seen.borrow().last().cloned();
    bytes.unwrap()
}

#[test]
fn time_that_goes_backward_is_clamped() {
    let mut pair = Pair::new(8);
    let session = pair.open(A);
    pair.nodes[A].endpoint.handle_timeout(Instant::ORIGIN);
    assert!(pair.nodes[A].endpoint.session_mut(Instant::ORIGIN, session).is_some());
    pair.run_for_millis(200);
    assert_eq!(pair.nodes[A].events, [Event::SessionOpened { session }]);
}

#[test]
fn an_endpoint_that_does_not_accept_answers_nobody() {
    let config = EndpointConfig { accept: false, ..EndpointConfig::default() };
    let mut pair = Pair::with_config(9, config);
    pair.open(A);
    pair.run_for_millis(900);
    assert_eq!(pair.sent, 1);
}

#[test]
fn an_opening_gives_up_at_the_time_that_it_is_given() {
    for seconds in [5, 200] {
        let mut pair = Pair::new(1);
        let session = pair.open_to(A, "nobody", &[B]);
        let at = pair.now + Duration::from_secs(seconds);
        let mut view = pair.nodes[A].endpoint.session_mut(pair.now, session).unwrap();
        // The last one counts.
        view.give_up_at(at + Duration::from_secs(300));
        view.give_up_at(at);
        pair.run_for_millis(seconds * 1_000 - 1);
        assert_eq!(pair.nodes[A].events, []);
        pair.run_for_millis(2);
        let failed = Event::SessionFailed { session, reason: OpenFailure::TimedOut };
        assert_eq!(pair.nodes[A].events, [failed], "{seconds} s");
    }
}

#[test]
fn after_a_refused_answer_an_opening_does_not_try_longer_than_before() {
    let (now, config) = (Instant::ORIGIN, EndpointConfig::default());
    let target = Target { discriminator: "far".into(), candidates: vec![] };
    let mut opening = Opening::new(target, [0; TAG_LEN], now, &config);
    opening.refused(now, OpenFailure::CertificateRefused);
    let patient = opening.next_timeout();
    opening.give_up_at(now + Duration::from_secs(300));
    assert_eq!(opening.next_timeout(), patient);
    opening.give_up_at(now + Duration::from_secs(1));
    assert_eq!(opening.next_timeout(), now + Duration::from_secs(1));
}

/// RFC 7016 §2.3.
#[test]
fn a_startup_chunk_of_an_unknown_type_is_ignored_and_not_counted() {
    struct Unknown;
    impl EncodeChunk for Unknown {
        const TYPE: u8 = 0x6e;
        fn payload_len(&self) -> usize {
            3
        }
        fn encode_payload(&self, out: &mut Vec<u8>) {
            out.extend_from_slice(b"new");
        }
    }
    let mut pair = Pair::new(20);
    pair.inject(address(A), B, 0, &Unknown);
    let stats = pair.nodes[B].endpoint.stats();
    assert_eq!((stats.datagrams_received, stats.drops().next()), (1, None));
}
