//! Endpoints back to back, in virtual time.

mod claims;
mod cookies;
mod crowd;
mod fragments;
mod impostors;
mod interfaces;
mod introduce;
mod jobs;
mod keying;
mod limits;
mod local_address;
mod middle;
mod modern;
mod modern_forgeries;
#[cfg(feature = "ml-kem")]
mod modern_hybrid;
mod modern_secrets;
mod overrides;
mod pair;
mod parallel;
mod prepared;
mod redirect;
mod reintroduce;
mod secrets;
mod startup;
mod table;
mod trace;

use core::time::Duration;

use pair::{A, B, Pair};

use crate::event::Event;
use crate::{CloseMode, CloseReason, FlowOptions, Priority, SessionState};

#[test]
fn a_message_crosses_and_both_ends_close() {
    let mut pair = Pair::new(1);
    let a = pair.open(A);
    let mut session = pair.nodes[A].endpoint.session_mut(pair.now, a).unwrap();
    let flow = session.open_flow(FlowOptions::new("greeting")).unwrap();
    // Written before the session is open: it waits.
    pair.nodes[A].endpoint.send_flow_mut(pair.now, flow).unwrap().write("hello").unwrap();
    pair.run_for_millis(500);

    assert!(matches!(pair.nodes[A].events[..], [Event::SessionOpened { session }] if session == a));
    let [Event::SessionOpened { session: b }, Event::FlowOpened { flow: received }, Event::FlowReadable { .. }] =
        pair.nodes[B].events[..]
    else {
        panic!("unexpected events: {:?}", pair.nodes[B].events)
    };
    let mut view = pair.nodes[B].endpoint.recv_flow_mut(pair.now, received).unwrap();
    assert_eq!(view.read().unwrap().data, "hello");
    assert_eq!(view.read(), None);
    assert_eq!(pair.nodes[B].endpoint.recv_flow(received).unwrap().metadata(), "greeting");

    pair.nodes[A].endpoint.session_mut(pair.now, a).unwrap().close(CloseMode::Orderly);
    pair.run_for_millis(500);
    assert_eq!(pair.nodes[A].events.last(), Some(&Event::SessionClosed { session: a, reason: CloseReason::Near }));
    assert_eq!(pair.nodes[B].events.last(), Some(&Event::SessionClosed { session: b, reason: CloseReason::Far }));
    assert!(pair.nodes[A].endpoint.session(a).is_none(), "closed and acknowledged: gone");
    assert_eq!(pair.nodes[B].endpoint.session(b).unwrap().state(), SessionState::FarCloseLinger);
    pair.run_for_millis(20_000);
    assert!(pair.nodes[B].endpoint.session(b).is_none());
    assert_eq!(pair.nodes[A].endpoint.poll_timeout(), None, "nothing is left to wait for");
    assert_eq!(pair.nodes[B].endpoint.poll_timeout(), None);
}

#[test]
fn both_nonces_agree() {
    let mut pair = Pair::flash(2);
    let a = pair.open(A);
    pair.run_for_millis(500);
    let b = pair.nodes[B].endpoint.sessions().next().unwrap();
    let (near, far) = {
        let session = pair.nodes[A].endpoint.session(a).unwrap();
        (session.near_nonce().to_vec(), session.far_nonce().to_vec())
    };
    let other = pair.nodes[B].endpoint.session(b).unwrap();
    assert_eq!((other.far_nonce(), other.near_nonce()), (&near[..], &far[..]));
    assert!(!near.is_empty());
}

#[test]
fn a_stale_handle_names_nothing() {
    let mut pair = Pair::new(3);
    let first = pair.open(A);
    pair.nodes[A].endpoint.session_mut(pair.now, first).unwrap().close(CloseMode::Abrupt);
    pair.run_for_millis(10);
    assert!(matches!(pair.nodes[A].events[..], [Event::SessionFailed { session, .. }] if session == first));
    let second = pair.open(A);
    assert_ne!(first, second);
    assert!(pair.nodes[A].endpoint.session_mut(pair.now, first).is_none());
    assert!(pair.nodes[A].endpoint.session(second).is_some());
}

#[test]
fn a_flow_tells_whether_it_is_open_and_has_room() {
    let mut pair = Pair::new(1);
    let session = pair.open(A);
    pair.run_for_millis(500);
    let (now, endpoint) = (pair.now, &mut pair.nodes[A].endpoint);
    let options = FlowOptions { send_buffer: Some(1_000), ..FlowOptions::new("name") };
    let flow = endpoint.session_mut(now, session).unwrap().open_flow(options).unwrap();
    let mut commands = endpoint.send_flow_mut(now, flow).unwrap();
    assert!(commands.has_room(2_000), "it is empty");
    commands.write(alloc::vec![0; 900]).unwrap();
    assert!(!commands.has_room(100));
    assert!(endpoint.send_flow(flow).unwrap().is_open());
    endpoint.send_flow_mut(now, flow).unwrap().close();
    assert!(!endpoint.send_flow(flow).unwrap().is_open());
}

#[test]
fn a_flow_has_the_priority_that_it_is_given() {
    let mut pair = Pair::new(4);
    let session = pair.open(A);
    let (now, endpoint) = (pair.now, &mut pair.nodes[A].endpoint);
    let options = FlowOptions { priority: Priority::High, ..FlowOptions::new("name") };
    let flow = endpoint.session_mut(now, session).unwrap().open_flow(options).unwrap();
    assert_eq!(endpoint.send_flow(flow).unwrap().priority(), Priority::High);
    endpoint.send_flow_mut(now, flow).unwrap().set_priority(Priority::Low);
    assert_eq!(endpoint.send_flow(flow).unwrap().priority(), Priority::Low);
}

#[test]
fn one_session_can_have_an_idle_limit_of_its_own() {
    let mut pair = Pair::new(5);
    let session = pair.open(A);
    pair.run_for_millis(500);
    pair.nodes[A].endpoint.session_mut(pair.now, session).unwrap().set_idle_limit(Duration::from_secs(2));
    pair.run_for_millis(1_999);
    assert_eq!(pair.nodes[A].events, [Event::SessionOpened { session }]);
    pair.run_for_millis(100);
    assert_eq!(pair.nodes[A].events.last(), Some(&Event::SessionClosed { session, reason: CloseReason::Idle }));
}

#[test]
fn the_far_end_is_awaited_until_it_has_acknowledged_the_close() {
    let mut pair = Pair::new(6);
    let a = pair.open(A);
    let awaits =
        |pair: &Pair, node: usize, session| pair.nodes[node].endpoint.session(session).unwrap().awaits_far_end();
    assert!(awaits(&pair, A, a));
    pair.run_for_millis(500);
    let b = pair.nodes[B].endpoint.sessions().next().unwrap();
    assert!(awaits(&pair, A, a) && awaits(&pair, B, b));
    pair.nodes[A].endpoint.session_mut(pair.now, a).unwrap().close(CloseMode::Orderly);
    assert!(awaits(&pair, A, a));
    pair.run_for_millis(100);
    assert!(!awaits(&pair, B, b), "it has said so itself");
}
