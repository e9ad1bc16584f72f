//! The end of a session (RFC 7016 §3.5.5, figure 8).

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::network::{A, B, CLOSE, CLOSE_ACK, Fate, Network, USER_DATA, path_to};
use super::packets::{header_of, packet};
use crate::config::{FlowOptions, SendOptions, SessionConfig};
use crate::error::{OpenFlowError, WriteRefusal};
use crate::event::{CloseReason, Event, FlowEnd, MessageOutcome, OpenFailure};
use crate::session::{CloseMode, Ending, SessionState};
use crate::transmit::RecvMeta;
use crate::wire::{Close, CloseAck};

fn close_reasons(network: &Network, end: usize) -> Vec<CloseReason> {
    let reason = |event: &Event| if let Event::SessionClosed { reason, .. } = event { Some(*reason) } else { None };
    network.ends[end].events.iter().filter_map(reason).collect()
}

fn close(network: &mut Network, end: usize, mode: CloseMode) {
    network.with(end, |session, cx| session.end(cx, mode.into()));
}

fn state(network: &Network, end: usize) -> SessionState {
    network.ends[end].session.state()
}

#[test]
fn an_orderly_close_ends_both_ends() {
    let mut network = Network::open(SessionConfig::default());
    network.run(100);
    close(&mut network, A, CloseMode::Orderly);
    assert_eq!(close_reasons(&network, A), [CloseReason::Near], "told at once");
    assert_eq!(state(&network, A), SessionState::NearClose);
    network.run(21);
    assert_eq!(close_reasons(&network, B), [CloseReason::Far]);
    assert_eq!(state(&network, B), SessionState::FarCloseLinger);
    network.run(20);
    assert!(network.ends[A].session.is_gone());
    network.run(18_950);
    assert_eq!(state(&network, B), SessionState::FarCloseLinger);
    network.run(50);
    assert!(network.ends[B].session.is_gone(), "after 19 s");
    assert_eq!(network.times(A, |sent| sent.has(CLOSE)), [100]);
    assert_eq!(network.times(B, |sent| sent.has(CLOSE_ACK)), [120]);
}

#[test]
fn an_abrupt_close_says_so_once_and_is_not_answered() {
    let mut network = Network::open(SessionConfig::default());
    close(&mut network, A, CloseMode::Abrupt);
    assert_eq!(state(&network, A), SessionState::Closed);
    assert!(!network.ends[A].session.is_gone(), "its last word is not said yet");
    network.run(100);
    assert!(network.ends[A].session.is_gone() && network.ends[B].session.is_gone());
    assert_eq!(close_reasons(&network, A), [CloseReason::Near]);
    assert_eq!(close_reasons(&network, B), [CloseReason::Far]);
    assert_eq!(network.sent.len(), 1);
}

#[test]
fn close_requests_are_repeated_every_5_seconds_for_90() {
    let mut network = Network::open(SessionConfig::default());
    network.filter = Box::new(|_| Fate::Lost);
    close(&mut network, A, CloseMode::Orderly);
    network.run(89_999);
    assert_eq!(state(&network, A), SessionState::NearClose);
    network.run(1);
    assert!(network.ends[A].session.is_gone());
    let expected: Vec<u64> = (0..18).map(|nth| nth * 5_000).collect();
    assert_eq!(network.times(A, |sent| sent.has(CLOSE)), expected);
    assert_eq!(close_reasons(&network, A), [CloseReason::Near]);
}

/// Whatever of the first eight packets is lost, both ends are told exactly once, and both are gone in time.
#[test]
fn closes_survive_every_pattern_of_losses() {
    for pattern in 0_u32..256 {
        for (first, both) in [(A, false), (B, false), (A, true)] {
            let mut network = Network::open(SessionConfig::default());
            let mut count = 0;
            network.filter = Box::new(move |_| {
                count += 1;
                if count <= 8 && pattern & (1 << (count - 1)) != 0 { Fate::Lost } else { Fate::Arrives }
            });
            close(&mut network, first, CloseMode::Orderly);
            if both {
                network.run(10);
                close(&mut network, 1 - first, CloseMode::Orderly);
            }
            network.run(110_000);
            for end in [A, B] {
                assert!(network.ends[end].session.is_gone(), "pattern {pattern:08b}, end {end}");
                assert_eq!(close_reasons(&network, end).len(), 1, "pattern {pattern:08b}, end {end}");
                assert!(matches!(network.ends[end].events.last(), Some(Event::SessionClosed { .. })));
            }
        }
    }
}

#[test]
fn a_lingering_end_answers_each_request() {
    let mut network = Network::open(SessionConfig::default());
    network.filter = Box::new(|sent| if sent.has(CLOSE_ACK) { Fate::Lost } else { Fate::Arrives });
    close(&mut network, A, CloseMode::Orderly);
    network.run(60_000);
    assert_eq!(network.times(B, |sent| sent.has(CLOSE_ACK)), [20, 5_020, 10_020, 15_020], "for 19 s");
    assert_eq!(state(&network, A), SessionState::NearClose);
}

#[test]
fn flows_end_before_the_session_and_nothing_comes_after() {
    let mut network = Network::open(SessionConfig::default());
    let flow = network.open_flow(A);
    let options = SendOptions { receipt: true, ..SendOptions::default() };
    network.filter = Box::new(|sent| if sent.from == B { Fate::Lost } else { Fate::Arrives });
    let message = network
        .with(A, |session, cx| {
            session.command(cx, |delivery, cx| {
                delivery.sending.flows.write(cx, flow, Bytes::from_static(b"lost"), options)
            })
        })
        .unwrap();
    network.run(30);
    close(&mut network, A, CloseMode::Orderly);
    network.run(30);
    let session = flow.session();
    assert_eq!(
        network.ends[A].events,
        [
            Event::SessionOpened { session },
            Event::MessageDone { flow, message, outcome: MessageOutcome::Unknown },
            Event::SessionClosed { session, reason: CloseReason::Near },
        ]
    );
    let received = network.ends[B].opened_flow();
    let finished = Event::FlowFinished { flow: received, end: FlowEnd::SessionEnded };
    let closed = Event::SessionClosed { session: received.session(), reason: CloseReason::Far };
    assert_eq!(network.ends[B].events[network.ends[B].events.len() - 2..], [finished, closed]);

    // No flow is left, and none can be opened.
    let refused = network.with(A, |session, cx| {
        session.command(cx, |delivery, cx| delivery.sending.flows.write(cx, flow, Bytes::from_static(b"late"), options))
    });
    let refused = refused.unwrap_err();
    assert_eq!((refused.reason, &refused.data[..]), (WriteRefusal::Closed, &b"late"[..]));
    let refused = network.with(A, |session, cx| session.open_flow(cx, FlowOptions::default()));
    assert_eq!(refused, Err(OpenFlowError::SessionClosed));
    assert!(
        network
            .with(B, |session, cx| session.command(cx, |delivery, cx| delivery.receiving.read(cx, received)))
            .is_none()
    );
    let data = network.times(A, |sent| sent.has(USER_DATA)).len();
    network.run(60_000);
    assert_eq!(network.times(A, |sent| sent.has(USER_DATA)).len(), data, "no data after the close");
}

#[test]
fn a_close_while_opening_cancels() {
    let mut network = Network::opening(SessionConfig::default());
    let flow = network.open_flow(A);
    let options = SendOptions { receipt: true, ..SendOptions::default() };
    let message = network
        .with(A, |session, cx| {
            session
                .command(cx, |delivery, cx| delivery.sending.flows.write(cx, flow, Bytes::from_static(b"x"), options))
        })
        .unwrap();
    close(&mut network, A, CloseMode::Orderly);
    let expected = vec![
        Event::MessageDone { flow, message, outcome: MessageOutcome::Abandoned },
        Event::SessionFailed { session: flow.session(), reason: OpenFailure::Cancelled },
    ];
    assert_eq!(network.ends[A].events, expected);
    assert!(network.ends[A].session.is_gone());
    close(&mut network, A, CloseMode::Abrupt);
    network.with(A, |session, cx| session.end(cx, Ending::Silent(CloseReason::Overridden)));
    network.with(A, |session, cx| session.end(cx, Ending::Failed(OpenFailure::TimedOut)));
    assert_eq!(network.ends[A].events, expected, "once and for all");
}

#[test]
fn an_abort_says_nothing() {
    let mut network = Network::open(SessionConfig::default());
    network.with(A, |session, cx| session.end(cx, Ending::Silent(CloseReason::Overridden)));
    assert!(network.ends[A].session.is_gone());
    assert_eq!(close_reasons(&network, A), [CloseReason::Overridden]);
    network.run(100);
    assert!(network.sent.is_empty());
}

/// Both ends closed at once, and the far end's acknowledgement comes before ours has gone out: nobody waits for ours.
#[test]
fn an_acknowledged_close_takes_back_its_own_acknowledgement() {
    let mut network = Network::open(SessionConfig::default());
    close(&mut network, A, CloseMode::Orderly);
    network.run(0);
    let both = packet(header_of(B), |writer| assert!(writer.push(&Close) && writer.push(&CloseAck)));
    network.inject(A, path_to(B), &both).unwrap();
    assert!(network.ends[A].session.is_gone());
    assert!(network.sent_by(A, |sent| sent.has(CLOSE_ACK)).is_empty());
}

#[test]
fn an_abort_takes_back_the_acknowledgement_of_a_close() {
    let mut network = Network::open(SessionConfig::default());
    let close = packet(header_of(B), |writer| assert!(writer.push(&Close)));
    let mut encrypted = [&[0x5f], &close[..], &[0x5b]].concat();
    let meta = RecvMeta::default();
    network.with(A, |session, cx| session.handle_packet(cx, path_to(B), meta, &mut encrypted)).unwrap();
    assert!(network.ends[A].session.demand().any(), "the acknowledgement waits");
    network.with(A, |session, cx| session.end(cx, Ending::Silent(CloseReason::Overridden)));
    network.run(100);
    assert!(network.ends[A].session.is_gone() && network.sent_by(A, |_| true).is_empty());
}
