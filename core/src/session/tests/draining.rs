//! Closing a session once all that was written is acknowledged (RFC 7016 §3.5.5).

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::network::{A, B, CLOSE, CLOSE_ACK, Fate, Network, USER_DATA, at};
use crate::config::{FlowOptions, SendOptions, SessionConfig};
use crate::error::{OpenFlowError, WriteRefusal};
use crate::event::{CloseReason, Event, FlowEnd, MessageOutcome, OpenFailure, Undelivered};
use crate::handle::SendFlowHandle;
use crate::session::{CloseMode, SessionState};

const NOTHING: Undelivered = Undelivered { messages: 0, unsent: 0, bytes: 0 };

/// Drains, until so many milliseconds after the start.
fn drain(network: &mut Network, end: usize, until: u64) {
    network.with(end, |session, cx| session.drain(cx, at(until), false));
}

fn state(network: &Network, end: usize) -> SessionState {
    network.ends[end].session.state()
}

/// What was told to be undelivered, and why the session ended. Nothing else may stand between the two.
fn told(network: &Network, end: usize) -> Option<(Undelivered, CloseReason)> {
    let events = &network.ends[end].events;
    let at = events.iter().position(|event| matches!(event, Event::SessionDrained { .. }))?;
    match events[at..] {
        [Event::SessionDrained { undelivered, .. }, Event::SessionClosed { reason, .. }, ..] => {
            Some((undelivered, reason))
        }
        _ => panic!("{events:?}"),
    }
}

fn flow_with(network: &mut Network, end: usize, messages: usize, length: usize) -> SendFlowHandle {
    let flow = network.open_flow_with(end, FlowOptions::new("test").send_buffer(usize::MAX));
    for _ in 0..messages {
        network.write(end, flow, length);
    }
    flow
}

#[test]
fn all_that_was_written_arrives_before_the_close() {
    let mut network = Network::open(SessionConfig::default());
    flow_with(&mut network, A, 3, 100);
    flow_with(&mut network, A, 40, 20_000);
    drain(&mut network, A, 60_000);
    assert_eq!(state(&network, A), SessionState::Open);
    network.run(30_000);
    assert_eq!(told(&network, A), Some((NOTHING, CloseReason::Near)));
    assert_eq!(network.ends[B].bytes_read(), 800_300);
    let complete = |event: &&Event| matches!(event, Event::FlowFinished { end: FlowEnd::Complete, .. });
    assert_eq!(network.ends[B].events.iter().filter(complete).count(), 2);
    assert!(network.ends[A].session.is_gone() && network.ends[B].session.is_gone());
    let (last, close) = (network.times(A, |sent| sent.has(USER_DATA)), network.times(A, |sent| sent.has(CLOSE)));
    assert!(close.len() == 1 && close[0] >= *last.last().unwrap() + 40, "a round trip after the last of the data");
}

#[test]
fn nothing_more_is_taken_while_it_drains() {
    let mut network = Network::open(SessionConfig::default());
    let flow = flow_with(&mut network, A, 1, 100);
    drain(&mut network, A, 60_000);
    let refused = network.with(A, |session, cx| {
        session.command(cx, |delivery, cx| {
            delivery.sending.flows.write(cx, flow, b"late"[..].into(), SendOptions::default())
        })
    });
    assert_eq!(refused.unwrap_err().reason, WriteRefusal::Closed);
    let refused = network.with(A, |session, cx| session.open_flow(cx, FlowOptions::default()));
    assert_eq!(refused, Err(OpenFlowError::SessionClosed));
}

#[test]
fn with_nothing_to_send_it_closes_at_once() {
    for written in [false, true] {
        let mut network = Network::open(SessionConfig::default());
        if written {
            let flow = flow_with(&mut network, A, 1, 100);
            network.with(A, |session, cx| session.command(cx, |delivery, cx| delivery.sending.flows.close(cx, flow)));
            network.run(1_000);
        }
        drain(&mut network, A, 60_000);
        assert_eq!(state(&network, A), SessionState::NearClose);
        assert_eq!(told(&network, A), Some((NOTHING, CloseReason::Near)));
    }
}

#[test]
fn at_the_deadline_it_closes_and_tells_what_is_undelivered() {
    let mut network = Network::open(SessionConfig::default());
    flow_with(&mut network, A, 2, 100);
    network.run(1_000);
    // From now on nothing is acknowledged: what is sent may arrive, and what is not sent does not.
    network.filter = Box::new(|sent| if sent.has_ack() { Fate::Lost } else { Fate::Arrives });
    flow_with(&mut network, A, 3, 200);
    network.run(100);
    network.filter = Box::new(|_| Fate::Lost);
    flow_with(&mut network, A, 50, 1_000_000);
    drain(&mut network, A, 5_000);
    network.run_until(at(4_999));
    assert_eq!(state(&network, A), SessionState::Open);
    network.run(1);
    assert_eq!(state(&network, A), SessionState::NearClose);
    let (undelivered, reason) = told(&network, A).unwrap();
    assert_eq!((undelivered.messages, undelivered.bytes, reason), (53, 50_000_600, CloseReason::Near));
    assert_eq!(undelivered.unsent, 49, "of the first of the large ones something was sent");
}

#[test]
fn a_session_that_ends_otherwise_while_it_drains_tells_it_too() {
    let mut network = Network::open(SessionConfig::default());
    network.filter = Box::new(|sent| if sent.has(USER_DATA) { Fate::Lost } else { Fate::Arrives });
    flow_with(&mut network, A, 3, 200);
    drain(&mut network, A, 60_000);
    network.run(100);
    network.with(B, |session, cx| session.end(cx, CloseMode::Orderly.into()));
    network.run(100);
    let undelivered = Undelivered { messages: 3, unsent: 0, bytes: 600 };
    assert_eq!(told(&network, A), Some((undelivered, CloseReason::Far)));
    // Asked again after its end, it does nothing.
    let events = network.ends[A].events.len();
    drain(&mut network, A, 90_000);
    assert_eq!(network.ends[A].events.len(), events);
}

/// Nobody was told of what the far end had not taken.
#[test]
fn what_the_far_end_rejects_while_the_session_drains_is_undelivered() {
    let mut network = Network::open(SessionConfig::default());
    network.ends[B].reads = false;
    flow_with(&mut network, A, 400, 1_000);
    network.run(1_000);
    drain(&mut network, A, 60_000);
    network.run(100);
    assert_eq!(state(&network, A), SessionState::Open, "its reader has stopped");
    let received = network.ends[B].opened_flow();
    network.with(B, |session, cx| session.command(cx, |delivery, cx| delivery.receiving.reject(cx, received, 7)));
    network.run(1_000);
    let (undelivered, reason) = told(&network, A).unwrap();
    assert_eq!(reason, CloseReason::Near);
    assert!((100..200).contains(&undelivered.messages), "{undelivered:?}");
    assert_eq!(undelivered.bytes, undelivered.messages * 1_000);
}

#[test]
fn what_waits_for_a_session_to_open_is_sent_first() {
    let mut network = Network::opening(SessionConfig { max_datagram: 0, ..SessionConfig::default() });
    flow_with(&mut network, A, 3, 100);
    drain(&mut network, A, 60_000);
    assert_eq!(state(&network, A), SessionState::HelloSent);
    network.establish(true);
    network.run(1_000);
    assert_eq!(network.ends[B].bytes_read(), 300);
    assert_eq!(told(&network, A), Some((NOTHING, CloseReason::Near)));
}

#[test]
fn a_session_that_does_not_open_by_the_deadline_fails() {
    for (messages, at_once) in [(0, true), (2, false)] {
        let mut network = Network::opening(SessionConfig::default());
        if messages > 0 {
            flow_with(&mut network, A, messages, 100);
        }
        drain(&mut network, A, 3_000);
        assert_eq!(state(&network, A) == SessionState::OpenFailed, at_once);
        network.run(3_000);
        let session = network.ends[A].session.handle();
        let messages = messages as u64;
        let undelivered = Undelivered { messages, unsent: messages, bytes: messages * 100 };
        assert_eq!(
            network.ends[A].events,
            [
                Event::SessionDrained { session, undelivered },
                Event::SessionFailed { session, reason: OpenFailure::Cancelled }
            ]
        );
    }
}

#[test]
fn a_later_deadline_takes_the_place_of_an_earlier_one() {
    for (first, second) in [(1_000, 5_000), (5_000, 1_000)] {
        let mut network = Network::open(SessionConfig::default());
        network.filter = Box::new(|_| Fate::Lost);
        flow_with(&mut network, A, 1, 100);
        drain(&mut network, A, first);
        drain(&mut network, A, second);
        network.run(second - 1);
        assert_eq!(state(&network, A), SessionState::Open);
        network.run(1);
        assert_eq!(state(&network, A), SessionState::NearClose);
    }
}

/// One lost Close costs 5 s, and the far end need not find out by itself.
#[test]
fn a_lost_close_is_sent_again_and_the_far_end_hears_of_it_within_seconds() {
    let mut network = Network::open(SessionConfig::default());
    let mut closes = 0;
    network.filter = Box::new(move |sent| {
        closes += usize::from(sent.has(CLOSE));
        if sent.has(CLOSE) && closes == 1 { Fate::Lost } else { Fate::Arrives }
    });
    flow_with(&mut network, A, 3, 100);
    drain(&mut network, A, 60_000);
    network.run(6_000);
    let closes = network.times(A, |sent| sent.has(CLOSE));
    assert!(closes.len() == 2 && closes[1] == closes[0] + 5_000, "{closes:?}");
    assert_eq!(network.ends[B].bytes_read(), 300);
    assert_eq!(state(&network, B), SessionState::FarCloseLinger);
    assert!(network.ends[A].session.is_gone());
}

/// Whatever of the first closes and acknowledgements is lost, from whichever end, both ends have all messages, are told
/// once, and are gone in time.
#[test]
fn closes_and_their_acknowledgements_are_lost_in_every_pattern_and_both_ends_have_everything() {
    for pattern in 0_u32..64 {
        for ends in [&[A][..], &[B], &[A, B]] {
            let mut network = Network::open(SessionConfig::default());
            let mut count = 0;
            network.filter = Box::new(move |sent| {
                if !sent.has(CLOSE) && !sent.has(CLOSE_ACK) {
                    return Fate::Arrives;
                }
                count += 1;
                if count <= 6 && pattern & (1 << (count - 1)) != 0 { Fate::Lost } else { Fate::Arrives }
            });
            for end in [A, B] {
                flow_with(&mut network, end, 5, 3_000);
            }
            // Both have as much to send, so neither closes before the other is done.
            for end in ends {
                drain(&mut network, *end, 60_000);
            }
            network.run(130_000);
            for end in [A, B] {
                let context = alloc::format!("pattern {pattern:06b}, end {end} of {ends:?}");
                assert_eq!(network.ends[end].bytes_read(), 15_000, "{context}");
                assert!(network.ends[end].session.is_gone(), "{context}");
                let closed: Vec<_> = network.ends[end]
                    .events
                    .iter()
                    .filter(|event| matches!(event, Event::SessionClosed { .. }))
                    .collect();
                assert_eq!(closed.len(), 1, "{context}");
                let drained = told(&network, end).map(|(undelivered, _)| undelivered);
                assert_eq!(drained, ends.contains(&end).then_some(NOTHING), "{context}");
            }
        }
    }
}

#[test]
fn what_came_from_the_far_end_is_acknowledged_before_the_close() {
    let mut network = Network::open(SessionConfig::default());
    network.delay = core::time::Duration::from_millis(1);
    let flow = flow_with(&mut network, B, 1, 100);
    network.run(1_000);
    let options = SendOptions { receipt: true, ..SendOptions::default() };
    let message = network
        .with(B, |session, cx| {
            session.command(cx, |delivery, cx| delivery.sending.flows.write(cx, flow, b"last"[..].into(), options))
        })
        .unwrap();
    network.run(1);
    assert_eq!(network.ends[A].bytes_read(), 104, "it has come, and its acknowledgement is delayed");
    drain(&mut network, A, 60_000);
    network.run(1_000);
    let done = Event::MessageDone { flow, message, outcome: MessageOutcome::Delivered };
    assert!(network.ends[B].events.contains(&done), "{:?}", network.ends[B].events);
}

/// Then one has its acknowledgement in the packet of the other's close, and is gone before it can answer that.
#[test]
fn an_end_that_closes_at_the_same_moment_as_the_other_waits_for_nothing_more() {
    let mut network = Network::open(SessionConfig::default());
    assert!(network.ends[A].session.awaits_far_end());
    for end in [A, B] {
        drain(&mut network, end, 60_000);
        assert!(network.ends[end].session.awaits_far_end());
    }
    network.run(25);
    for end in [A, B] {
        assert!(!network.ends[end].session.awaits_far_end());
    }
}

/// The last acknowledgement is lost, and nothing repeats it but the close: in the first request or in a later one.
#[test]
fn what_arrived_is_acknowledged_again_along_with_the_close() {
    for lost in 0..3 {
        let mut network = Network::open(SessionConfig::default());
        let flow = flow_with(&mut network, A, 1, 100);
        network.with(A, |session, cx| session.delivery.sending.flows.close(cx, flow));
        let mut closes = 0;
        network.filter = Box::new(move |sent| {
            let close = sent.has(CLOSE);
            closes += usize::from(close);
            if sent.from == B && (!close || closes <= lost) { Fate::Lost } else { Fate::Arrives }
        });
        network.run(30);
        assert_eq!(network.ends[B].bytes_read(), 100);
        network.with(B, |session, cx| session.end(cx, CloseMode::Orderly.into()));
        network.run(20_000);
        let events = &network.ends[A].events;
        let [.., Event::FlowCompleted { abandoned: 0, .. }, Event::SessionClosed { reason: CloseReason::Far, .. }] =
            events[..]
        else {
            panic!("{lost}: {events:?}");
        };
    }
}

/// A message that nobody has read, and nobody can read any more, is not taken for delivered.
#[test]
fn what_is_lost_with_the_session_is_not_acknowledged_along_with_the_close() {
    for read in [false, true] {
        let mut network = Network::open(SessionConfig::default());
        let flow = network.open_flow(A);
        network.ends[B].reads = read;
        network.with(A, |session, cx| {
            let options = SendOptions { receipt: true, ..SendOptions::default() };
            session.delivery.sending.flows.write(cx, flow, b"message".as_slice().into(), options).unwrap();
        });
        network.filter = Box::new(|sent| if sent.from == B && !sent.has(CLOSE) { Fate::Lost } else { Fate::Arrives });
        network.run(30);
        network.with(B, |session, cx| session.end(cx, CloseMode::Orderly.into()));
        network.run(100);
        let done = |event: &Event| if let Event::MessageDone { outcome, .. } = event { Some(*outcome) } else { None };
        let told: Vec<_> = network.ends[A].events.iter().filter_map(done).collect();
        assert_eq!(told, [if read { MessageOutcome::Delivered } else { MessageOutcome::Unknown }]);
    }
}
