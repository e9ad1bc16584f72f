//! What is left to be read after a session (RFC 7016 §3.5.5): complete flows, within limits.

use core::time::Duration;

use super::network::{A, B, CLOSE, Network, Sent, at};
use crate::config::{FlowOptions, SessionConfig};
use crate::event::{CloseReason, Event, FlowEnd};
use crate::handle::RecvFlowHandle;
use crate::session::{CloseMode, SessionState};

/// A flow of so many messages of 1,000 bytes from A to B, which does not read them. Complete if `closed`.
fn unread_flow(network: &mut Network, messages: usize, closed: bool) -> RecvFlowHandle {
    unread_flow_of(network, messages, 1_000, closed)
}

fn unread_flow_of(network: &mut Network, messages: usize, length: usize, closed: bool) -> RecvFlowHandle {
    network.ends[B].reads = false;
    let opened = |network: &Network| {
        let flow = |event: &Event| if let Event::FlowOpened { flow } = event { Some(*flow) } else { None };
        network.ends[B].events.iter().filter_map(flow).last()
    };
    let before = opened(network);
    let flow = network.open_flow_with(A, FlowOptions::new("test").send_buffer(usize::MAX));
    for _ in 0..messages {
        network.write(A, flow, length);
    }
    if closed {
        network.with(A, |session, cx| session.command(cx, |delivery, cx| delivery.sending.flows.close(cx, flow)));
    }
    network.run(5_000);
    let opened = opened(network);
    assert_ne!(opened, before);
    opened.unwrap()
}

fn close(network: &mut Network, end: usize, mode: CloseMode) {
    network.with(end, |session, cx| session.end(cx, mode.into()));
    network.run(100);
}

/// Reads one message at B; whether there was one.
fn read(network: &mut Network, flow: RecvFlowHandle) -> bool {
    network.with(B, |session, cx| session.command(cx, |delivery, cx| delivery.receiving.read(cx, flow))).is_some()
}

fn ends(network: &Network) -> alloc::vec::Vec<FlowEnd> {
    let end = |event: &Event| if let Event::FlowFinished { end, .. } = event { Some(*end) } else { None };
    network.ends[B].events.iter().filter_map(end).collect()
}

fn held(network: &Network) -> usize {
    network.ends[B].session.memory().recv
}

/// They lived as long as anybody left something unread, up to two minutes and more.
#[test]
fn the_secrets_of_a_session_that_is_kept_to_be_read_are_gone() {
    let mut network = Network::open(SessionConfig::default());
    let flow = unread_flow(&mut network, 3, true);
    let nonces = |network: &Network| {
        let transport = network.ends[B].session.transport();
        [transport.near_nonce(), transport.far_nonce()].concat()
    };
    assert_eq!(nonces(&network), b"nearfar");
    close(&mut network, B, CloseMode::Abrupt);
    assert_eq!(network.ends[B].session.state(), SessionState::Closed);
    assert_eq!(network.ends[A].session.state(), SessionState::Closed, "it could still be told");
    assert_eq!(nonces(&network), b"");
    assert!(network.ends[B].session.transport().path().is_some());
    assert!((0..3).all(|_| read(&mut network, flow)));
}

#[test]
fn complete_flows_are_read_to_their_end_after_the_session_whoever_closed_it_and_how() {
    for (closer, mode) in
        [(A, CloseMode::Orderly), (A, CloseMode::Abrupt), (B, CloseMode::Orderly), (B, CloseMode::Abrupt)]
    {
        let mut network = Network::open(SessionConfig::default());
        let flow = unread_flow(&mut network, 200, true);
        close(&mut network, closer, mode);
        let reason = if closer == A { CloseReason::Far } else { CloseReason::Near };
        let session = flow.session();
        assert_eq!(network.ends[B].events.last(), Some(&Event::SessionClosed { session, reason }));
        // All states of closing go by meanwhile.
        network.run(95_000);
        assert_eq!(network.ends[B].session.state(), SessionState::Closed);
        assert!(!network.ends[B].session.is_gone());
        for nth in 0..200 {
            assert!(read(&mut network, flow), "{closer} {mode:?}: message {nth}");
        }
        assert_eq!(network.ends[B].events.last(), Some(&Event::FlowFinished { flow, end: FlowEnd::Complete }));
        assert!(!read(&mut network, flow) && network.ends[B].session.is_gone());
        assert_eq!((ends(&network).len(), held(&network)), (1, 0));
    }
}

#[test]
fn flows_that_are_not_complete_end_with_the_session() {
    let mut network = Network::open(SessionConfig::default());
    let open = unread_flow(&mut network, 20, false);
    let complete = unread_flow(&mut network, 20, true);
    let both = held(&network);
    close(&mut network, A, CloseMode::Orderly);
    let session = open.session();
    assert_eq!(
        network.ends[B].events[network.ends[B].events.len() - 2..],
        [
            Event::FlowFinished { flow: open, end: FlowEnd::SessionEnded },
            Event::SessionClosed { session, reason: CloseReason::Far }
        ]
    );
    assert!(!read(&mut network, open));
    assert!(held(&network) > 0 && held(&network) < both);
    assert!(read(&mut network, complete));
}

#[test]
fn a_flow_that_was_read_to_its_end_is_not_kept() {
    let mut network = Network::open(SessionConfig::default());
    let flow = unread_flow(&mut network, 3, true);
    while read(&mut network, flow) {}
    close(&mut network, A, CloseMode::Abrupt);
    assert!(network.ends[B].session.is_gone());
    assert_eq!(ends(&network), [FlowEnd::Complete]);
}

#[test]
fn what_nobody_reads_is_discarded_after_a_while() {
    let limit = Duration::from_secs(30);
    let mut network = Network::open(SessionConfig { unread_limit: limit, ..SessionConfig::default() });
    unread_flow(&mut network, 100, true);
    network.with(B, |session, cx| session.end(cx, CloseMode::Abrupt.into()));
    network.run(29_999);
    assert!(held(&network) > 100_000 && ends(&network).is_empty());
    network.run(1);
    assert!(network.ends[B].session.is_gone() && held(&network) == 0);
    assert_eq!(ends(&network), [FlowEnd::SessionEnded]);
}

#[test]
fn reading_puts_the_limit_off_if_it_is_more_than_next_to_nothing() {
    let limit = Duration::from_secs(30);
    let mut network = Network::open(SessionConfig { unread_limit: limit, ..SessionConfig::default() });
    let flow = unread_flow(&mut network, 200, true);
    network.with(B, |session, cx| session.end(cx, CloseMode::Abrupt.into()));
    for _ in 0..10 {
        network.run(29_000);
        (0..5).for_each(|_| assert!(read(&mut network, flow)));
    }
    network.run(29_000);
    assert!(read(&mut network, flow), "one of 150 is no progress");
    network.run(1_000);
    assert_eq!(ends(&network), [FlowEnd::SessionEnded]);
}

#[test]
fn the_application_can_discard_what_it_does_not_want() {
    for after_the_session in [false, true] {
        let mut network = Network::open(SessionConfig::default());
        let flow = unread_flow(&mut network, 100, true);
        if after_the_session {
            close(&mut network, A, CloseMode::Abrupt);
        }
        let sent = network.sent.len();
        network.with(B, |session, cx| session.command(cx, |delivery, cx| delivery.receiving.reject(cx, flow, 7)));
        network.run(0);
        assert_eq!(ends(&network), [FlowEnd::Rejected]);
        assert!(!read(&mut network, flow));
        assert_eq!(network.sent.len(), sent, "the sender has its acknowledgement, and is not told");
        assert_eq!(network.ends[B].session.is_gone(), after_the_session);
    }
}

#[test]
fn commands_for_a_flow_that_outlives_its_session_say_nothing_to_the_far_end() {
    let mut network = Network::open(SessionConfig::default());
    let flow = unread_flow(&mut network, 250, true);
    network.with(B, |session, cx| session.command(cx, |delivery, _| delivery.receiving.suspend(flow)));
    close(&mut network, A, CloseMode::Orderly);
    let sent = network.sent_by(B, Sent::has_ack).len();
    network.with(B, |session, cx| {
        session.command(cx, |delivery, cx| {
            let flows = &mut delivery.receiving;
            flows.set_window(flow, 1);
            flows.set_window(flow, 1_000_000);
            flows.set_order(cx, flow, crate::config::ReceiveOrder::Network);
            flows.resume(cx, flow);
            for _ in 0..100 {
                flows.read(cx, flow);
            }
        });
    });
    network.run_until(at(30_000));
    assert!(read(&mut network, flow));
    assert_eq!(network.sent_by(B, Sent::has_ack).len(), sent);
    assert_eq!(network.sent_by(B, |sent| sent.has(CLOSE)).len(), 0);
}

#[test]
fn the_time_to_read_begins_when_the_lingering_is_over() {
    let limit = Duration::from_secs(10);
    let mut network = Network::open(SessionConfig { unread_limit: limit, ..SessionConfig::default() });
    unread_flow(&mut network, 100, true);
    close(&mut network, A, CloseMode::Orderly);
    assert_eq!(network.ends[B].session.state(), SessionState::FarCloseLinger);
    network.run(28_000);
    assert_eq!(network.ends[B].session.state(), SessionState::Closed, "after 19 s");
    assert!(held(&network) > 100_000 && ends(&network).is_empty());
    network.run(2_000);
    assert_eq!(ends(&network), [FlowEnd::SessionEnded]);
}

#[test]
fn to_read_empty_messages_is_progress() {
    let limit = Duration::from_secs(30);
    let mut network = Network::open(SessionConfig { unread_limit: limit, ..SessionConfig::default() });
    let flow = unread_flow_of(&mut network, 200, 0, true);
    network.with(B, |session, cx| session.end(cx, CloseMode::Abrupt.into()));
    for _ in 0..40 {
        network.run(29_000);
        (0..5).for_each(|_| assert!(read(&mut network, flow)));
    }
    assert_eq!(ends(&network), [FlowEnd::Complete]);
}

/// RFC 7016 §3.6.2.11: a number is free for another flow once its sender has lingered.
#[test]
fn a_flow_that_is_not_read_does_not_keep_its_number() {
    let mut network = Network::open(SessionConfig::default());
    let first = unread_flow(&mut network, 3, true);
    network.run(140_000);
    let second = unread_flow(&mut network, 3, true);
    for flow in [first, second] {
        (0..3).for_each(|_| assert!(read(&mut network, flow), "{flow:?}"));
    }
    assert_eq!(ends(&network), [FlowEnd::Complete; 2]);
}
