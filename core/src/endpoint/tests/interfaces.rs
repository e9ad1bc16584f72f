//! Interfaces that take nothing more, or that cannot send.

use alloc::vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::pair::{A, B, Pair, address, path_to};
use crate::{CloseReason, Event, FlowOptions, InterfaceId, OpenFailure, Path, Target, TransmitBuf};

const FULL: InterfaceId = InterfaceId(7);
const ENETUNREACH: i32 = 101;

#[test]
fn a_full_interface_holds_back_its_own_sessions_and_no_others() {
    let mut pair = Pair::new(1);
    let session = pair.open(A);
    let flow = pair.nodes[A].endpoint.session_mut(pair.now, session).unwrap().open_flow(FlowOptions::new("x")).unwrap();
    pair.run_for_millis(500);
    let now = pair.now;
    let endpoint = &mut pair.nodes[A].endpoint;
    let elsewhere = Path::new(FULL, SocketAddr::from(([198, 51, 100, 1], 1)));
    endpoint.set_blocked(now, FULL, true);
    let other = endpoint.open(now, Target::new(b"bob".to_vec(), elsewhere)).unwrap();
    endpoint.send_flow_mut(now, flow).unwrap().write("hello").unwrap();
    let mut buf = TransmitBuf::new(4);
    let mut sent = vec![];
    while let Some(transmit) = endpoint.poll_transmit(now, &mut buf) {
        sent.push(transmit.path.interface);
    }
    assert!(!sent.is_empty() && sent.iter().all(|interface| *interface == InterfaceId(0)), "{sent:?}");

    // The other way round: startup goes, the session waits, and goes as soon as it may.
    endpoint.set_blocked(now, InterfaceId(0), true);
    endpoint.send_flow_mut(now, flow).unwrap().write("hello").unwrap();
    assert_eq!(endpoint.poll_transmit(now, &mut buf), None);
    endpoint.set_blocked(now, FULL, false);
    let hello = endpoint.poll_transmit(now, &mut buf).unwrap();
    assert_eq!(hello.path, elsewhere);
    assert_eq!(endpoint.poll_transmit(now, &mut buf), None);
    endpoint.set_blocked(now, InterfaceId(0), false);
    assert_eq!(endpoint.poll_transmit(now, &mut buf).unwrap().path.remote, address(B));
    assert!(endpoint.session(other).is_some());
}

#[test]
fn a_session_that_ends_while_its_interface_is_full_leaves_nothing() {
    let mut pair = Pair::new(1);
    let session = pair.open(A);
    pair.run_for_millis(500);
    let now = pair.now;
    let endpoint = &mut pair.nodes[A].endpoint;
    endpoint.set_blocked(now, InterfaceId(0), true);
    endpoint.session_mut(now, session).unwrap().close(crate::CloseMode::Abrupt);
    assert_eq!(endpoint.poll_transmit(now, &mut TransmitBuf::new(1)), None);
    endpoint.set_blocked(now, InterfaceId(0), false);
    assert!(endpoint.poll_transmit(now, &mut TransmitBuf::new(1)).is_some(), "the close is still sent");
}

/// The user was told that nobody answered, and to look at firewalls.
#[test]
fn a_session_that_fails_tells_what_the_system_said() {
    let mut pair = Pair::new(1);
    pair.lose(super::pair::Kind::Hello);
    let session = pair.open(A);
    let deadline = pair.now + Duration::from_secs(200);
    pair.nodes[A].endpoint.handle_send_error(pair.now, path_to(B), ENETUNREACH);
    pair.run_for_millis(1_000);
    assert!(pair.nodes[A].events.is_empty(), "it is tried again");
    pair.run_for_millis(deadline.saturating_duration_since(pair.now).as_millis() as u64);
    let reason = OpenFailure::NotSent { remote: address(B), os_error: ENETUNREACH };
    assert_eq!(pair.nodes[A].events[..], [Event::SessionFailed { session, reason }]);
}

#[test]
fn what_the_system_said_once_is_forgotten_when_something_gets_through() {
    let mut pair = Pair::new(1);
    pair.lose(super::pair::Kind::InitiatorKeying);
    let session = pair.open(A);
    pair.nodes[A].endpoint.handle_send_error(pair.now, path_to(B), ENETUNREACH);
    pair.run_for_millis(200_000);
    assert_eq!(pair.nodes[A].events[..], [Event::SessionFailed { session, reason: OpenFailure::TimedOut }]);
}

#[test]
fn a_session_that_breaks_off_tells_what_the_system_said() {
    for (elsewhere, answered, told) in [(false, false, true), (true, false, false), (false, true, false)] {
        let mut pair = Pair::new(1);
        let session = pair.open(A);
        pair.run_for_millis(500);
        let path = if elsewhere { path_to(9) } else { path_to(B) };
        if answered {
            pair.nodes[A].endpoint.handle_send_error(pair.now, path, ENETUNREACH);
            pair.run_for_millis(60_000);
        }
        pair.fate = alloc::boxed::Box::new(|_| vec![]);
        if !answered {
            pair.nodes[A].endpoint.handle_send_error(pair.now, path, ENETUNREACH);
        }
        pair.run_for_millis(200_000);
        let reason = if told { CloseReason::NotSent { os_error: ENETUNREACH } } else { CloseReason::TimedOut };
        let ended = Event::SessionClosed { session, reason };
        assert!(pair.nodes[A].events.contains(&ended), "{:?}", pair.nodes[A].events);
    }
}

#[test]
fn a_session_is_moved_to_another_interface_by_its_handle() {
    let mut pair = Pair::new(1);
    let session = pair.open(A);
    pair.run_for_millis(500);
    let now = pair.now;
    let endpoint = &mut pair.nodes[A].endpoint;
    assert!(endpoint.switch_interface(now, session, InterfaceId(3)));
    assert_eq!(endpoint.session(session).unwrap().path(), Some(Path::new(InterfaceId(3), address(B))));
    endpoint.session_mut(now, session).unwrap().close(crate::CloseMode::Abrupt);
    pair.run_for_millis(200_000);
    assert!(!pair.nodes[A].endpoint.switch_interface(now, session, InterfaceId(4)), "the handle is stale");
}

/// It waited for the schedule of its hellos: 1.5 s, then 3 s and so on.
#[test]
fn a_hello_that_the_system_refused_is_sent_again_once_with_a_change_of_the_network() {
    let mut pair = Pair::new(1);
    let mut buf = TransmitBuf::new(1);
    pair.open(A);
    let now = pair.now;
    let endpoint = &mut pair.nodes[A].endpoint;
    let mut hellos =
        |endpoint: &mut crate::Endpoint| core::iter::from_fn(|| endpoint.poll_transmit(now, &mut buf)).count();
    assert_eq!(hellos(endpoint), 1);
    endpoint.network_changed(now);
    assert_eq!(hellos(endpoint), 0, "it is on its way, as far as is known");
    endpoint.handle_send_error(now, path_to(B), ENETUNREACH);
    endpoint.network_changed(now);
    endpoint.network_changed(now);
    assert_eq!(hellos(endpoint), 1);
    assert!(endpoint.poll_timeout().is_some_and(|at| at > now), "and again by the schedule");
}

/// All hellos went at once: those that were on their way, and those that were to go later.
#[test]
fn with_a_change_of_the_network_only_those_hellos_are_sent_again_that_the_system_refused() {
    let mut pair = Pair::new(1);
    let now = pair.now;
    let endpoint = &mut pair.nodes[A].endpoint;
    let on_its_way = path_to(8);
    let later = (path_to(9), Duration::from_secs(1));
    let candidates = vec![(path_to(B), Duration::ZERO), (on_its_way, Duration::ZERO), later];
    endpoint.open(now, Target { discriminator: b"bob".to_vec().into(), candidates }).unwrap();
    let mut buf = TransmitBuf::new(1);
    let mut hellos = |endpoint: &mut crate::Endpoint| {
        let sent = core::iter::from_fn(|| endpoint.poll_transmit(now, &mut buf).map(|sent| sent.path.remote));
        sent.collect::<alloc::vec::Vec<_>>()
    };
    assert_eq!(hellos(endpoint), [address(B), address(8)]);
    for _ in 0..3 {
        endpoint.handle_send_error(now, path_to(B), ENETUNREACH);
        endpoint.network_changed(now);
        assert_eq!(hellos(endpoint), [address(B)]);
        endpoint.network_changed(now);
        assert_eq!(hellos(endpoint), [], "it was not refused again");
    }
    // Another interface to the same address is another way.
    endpoint.handle_send_error(now, Path::new(FULL, address(8)), ENETUNREACH);
    endpoint.network_changed(now);
    assert_eq!(hellos(endpoint), []);
}

/// It went a second time, though the schedule had sent it again meanwhile.
#[test]
fn a_hello_that_was_sent_by_its_schedule_after_it_was_refused_is_not_sent_again() {
    let mut pair = Pair::new(1);
    let endpoint = &mut pair.nodes[A].endpoint;
    endpoint.open(pair.now, Target::new(b"bob".to_vec(), path_to(8))).unwrap();
    let mut buf = TransmitBuf::new(1);
    assert!(endpoint.poll_transmit(pair.now, &mut buf).is_some());
    endpoint.handle_send_error(pair.now, path_to(8), ENETUNREACH);
    let now = endpoint.poll_timeout().unwrap();
    endpoint.handle_timeout(now);
    assert!(endpoint.poll_transmit(now, &mut buf).is_some());
    endpoint.network_changed(now);
    assert!(endpoint.poll_transmit(now, &mut buf).is_none());
}
