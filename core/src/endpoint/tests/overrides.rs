//! RFC 7016 §3.5.1.1.2: IIKeyings that meet an open session, and glare with losses (§3.5.1.3).

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::pair::{A, B, Datagram, Kind, Pair, address};
use crate::event::Event;
use crate::wire::PacketHeader;
use crate::{CloseMode, CloseReason, EndpointConfig, FlowOptions, SessionState};

const DELAY: Duration = Duration::from_millis(25);

fn replay(pair: &mut Pair, sent: &Datagram) {
    let _ = pair.deliver(sent.from, sent.to, sent.bytes.clone());
    pair.flush();
}

fn sent(pair: &Pair, kind: Kind) -> Vec<Datagram> {
    pair.sent_of(kind, None, None).into_iter().map(|index| pair.log[index].1.clone()).collect()
}

/// The chunks of a startup packet: what it says, whenever it says it.
fn said(datagram: &Datagram) -> Option<Vec<u8>> {
    let (_, plain) = datagram.plain()?;
    let (_, chunks) = PacketHeader::parse(&plain).ok()?;
    Some(chunks.as_slice().to_vec())
}

#[test]
fn a_repeated_keying_gets_the_same_answer_until_the_session_is_used() {
    let mut pair = Pair::new(1);
    let session = pair.open(A);
    pair.run_for_millis(100);
    let keying = sent(&pair, Kind::InitiatorKeying).remove(0);
    for _ in 0..3 {
        replay(&mut pair, &keying);
    }
    let answers = sent(&pair, Kind::ResponderKeying);
    assert_eq!(answers.len(), 4);
    assert!(answers.iter().all(|answer| said(answer) == said(&answers[0])));
    assert_eq!(pair.nodes[B].endpoint.stats().sessions_opened, 1);
    // From another address it is no repetition, and the cookie is wrong.
    let elsewhere = Datagram { from: SocketAddr::from(([198, 51, 100, 1], 1)), ..keying.clone() };
    replay(&mut pair, &elsewhere);
    assert_eq!(sent(&pair, Kind::ResponderKeying).len(), 4);
    assert_eq!(sent(&pair, Kind::CookieChange).len(), 1);

    pair.nodes[A].endpoint.session_mut(pair.now, session).unwrap().ping();
    pair.run_for_millis(100);
    replay(&mut pair, &keying);
    assert_eq!(sent(&pair, Kind::ResponderKeying).len(), 4, "the initiator has shown that it has the answer");
    assert_eq!(pair.nodes[B].endpoint.sessions().count(), 1);
    assert!(!pair.nodes[B].events.iter().any(|event| matches!(event, Event::SessionClosed { .. })));
}

/// Found by the simulator: the responder had two open sessions, and nobody at the other end of the first.
#[test]
fn an_initiator_that_moves_while_it_repeats_its_keying_gets_the_session_that_answered_it() {
    let elsewhere = SocketAddr::from(([198, 51, 100, 1], 1));
    let mut pair = Pair::new(7);
    pair.nodes[A].aliases.push(elsewhere);
    pair.lose(Kind::ResponderKeying);
    let session = pair.open(A);
    pair.run_for_millis(500);
    let first = sent(&pair, Kind::InitiatorKeying).remove(0);
    pair.fate = Box::new(move |datagram| {
        if datagram.from == address(A) {
            datagram.from = elsewhere;
        }
        if datagram.to == address(A) { vec![] } else { vec![DELAY] }
    });
    pair.run_for_millis(2_000);
    assert_eq!(pair.nodes[A].events, [Event::SessionOpened { session }]);
    assert_eq!(sent(&pair, Kind::CookieChange).len(), 1);
    let answers = sent(&pair, Kind::ResponderKeying);
    assert!(answers.iter().all(|answer| said(answer) == said(&answers[0])), "the same answer");
    assert_eq!(answers.last().unwrap().to, elsewhere);
    let far: Vec<_> = pair.nodes[B].endpoint.sessions().collect();
    assert_eq!(far.len(), 1);
    let path = pair.nodes[B].endpoint.session(far[0]).unwrap().path().unwrap();
    assert_eq!(path.remote, elsewhere);
    assert_eq!(
        pair.nodes[B].events,
        [Event::SessionOpened { session: far[0] }, Event::PathChanged { session: far[0], path }]
    );

    // The first keying, with the cookie of before, comes once more: it has the answer, for if it is not late, it is
    // the younger one that was a copy. The session stays where it is.
    let before = answers.len();
    replay(&mut pair, &first);
    let answers = sent(&pair, Kind::ResponderKeying);
    assert_eq!(answers.len(), before + 1);
    assert_eq!((answers[before].to, said(&answers[before])), (address(A), said(&answers[0])));
    assert_eq!(pair.nodes[B].endpoint.session(far[0]).unwrap().path(), Some(path));
    pair.nodes[A].endpoint.session_mut(pair.now, session).unwrap().close(CloseMode::Abrupt);
    pair.run_for_millis(200_000);
    assert!(pair.nodes[B].endpoint.by_keying.is_empty(), "nothing is remembered of a session that is over");
}

/// Step 2.3.
#[test]
fn an_endpoint_that_restarts_at_its_address_takes_the_place_of_its_old_session() {
    // Also when there is room for no other session.
    for max_sessions in [1, 100] {
        let mut pair = Pair::with_config(2, EndpointConfig { max_sessions, ..EndpointConfig::default() });
        pair.open(A);
        pair.run_for_millis(200);
        let [Event::SessionOpened { session: old }] = pair.nodes[B].events[..] else { panic!("not open") };
        let flow = pair.nodes[B].endpoint.session_mut(pair.now, old).unwrap().open_flow(FlowOptions::new("f")).unwrap();
        pair.restart(A, 99);
        let session = pair.open(A);
        pair.run_for_millis(200);
        assert_eq!(pair.nodes[A].events, [Event::SessionOpened { session }]);
        let events = &pair.nodes[B].events[1..];
        let Some(Event::SessionOpened { session: new }) = events.last() else { panic!("{events:?}") };
        assert!(events.contains(&Event::SessionClosed { session: old, reason: CloseReason::Overridden }));
        assert_ne!(*new, old);
        assert!(pair.nodes[B].endpoint.session(old).is_none());
        assert!(pair.nodes[B].endpoint.send_flow(flow).is_none());
    }
}

#[test]
fn the_same_identity_at_another_address_closes_nothing() {
    let mut pair = Pair::new(3);
    pair.open(A);
    pair.run_for_millis(200);
    pair.restart(A, 99);
    let elsewhere = SocketAddr::from(([198, 51, 100, 1], 1_935));
    pair.nodes[A].aliases.push(elsewhere);
    pair.fate = Box::new(move |datagram| {
        if datagram.from == address(A) {
            datagram.from = elsewhere;
        }
        vec![DELAY]
    });
    pair.open(A);
    pair.run_for_millis(200);
    assert!(!pair.nodes[B].events.iter().any(|event| matches!(event, Event::SessionClosed { .. })));
    assert_eq!(pair.nodes[B].endpoint.sessions().count(), 2);
}

/// Step 2.2.
#[test]
fn another_identity_at_the_address_of_an_open_session_is_ignored() {
    let config = EndpointConfig::default;
    let mut pair = Pair::named(4, &[("alice", config()), ("bob", config()), ("mallory", config())]);
    pair.open_to(A, "bob", &[B]);
    pair.run_for_millis(200);
    pair.nodes[2].aliases.push(address(A));
    pair.fate = Box::new(|datagram| {
        if datagram.from == address(2) {
            datagram.from = address(A);
        } else if datagram.to == address(A) {
            datagram.to = address(2);
        }
        vec![DELAY]
    });
    pair.open_to(2, "bob", &[B]);
    pair.run_for_millis(200);
    assert_eq!(pair.sent_of(Kind::InitiatorKeying, Some(2), Some(B)).len(), 1);
    assert_eq!(pair.sent_of(Kind::ResponderKeying, Some(B), None).len(), 1, "only the first one's");
    assert_eq!(pair.nodes[B].endpoint.sessions().count(), 1);
    assert!(matches!(pair.nodes[B].events[..], [Event::SessionOpened { .. }]));
}

#[test]
fn a_late_keying_of_an_earlier_session_does_not_close_the_one_that_is_alive() {
    let mut pair = Pair::new(5);
    let first = pair.open(A);
    pair.run_for_millis(200);
    let keying = sent(&pair, Kind::InitiatorKeying).remove(0);
    pair.nodes[A].endpoint.session_mut(pair.now, first).unwrap().close(CloseMode::Orderly);
    pair.run_for_millis(30_000);
    assert_eq!(pair.nodes[B].endpoint.sessions().count(), 0);
    let second = pair.open(A);
    pair.run_for_millis(200);
    // Its cookie is good for a minute yet.
    replay(&mut pair, &keying);
    pair.run_for_millis(200);
    assert_eq!(pair.nodes[B].endpoint.sessions().count(), 1);
    assert_eq!(pair.nodes[A].endpoint.session(second).unwrap().state(), SessionState::Open);
    let closed = pair.nodes[B].events.iter().filter(|event| matches!(event, Event::SessionClosed { .. }));
    assert_eq!(closed.count(), 1, "the first, by its owner");
}

/// Whoever prevails, and whichever keyings are lost: both ends have the same session in the end.
#[test]
fn glare_with_lost_keyings_ends_with_one_session_that_works() {
    for (from, lost, offset) in [A, B]
        .into_iter()
        .flat_map(|from| (1..6).flat_map(move |lost| [0, 20, 40, 990, 1_010].map(move |offset| (from, lost, offset))))
    {
        let mut pair = Pair::new(6);
        let mut left = lost;
        pair.fate = Box::new(move |datagram| {
            let lose = datagram.kind() == Kind::InitiatorKeying && datagram.from == address(from) && left > 0;
            left -= usize::from(lose);
            if lose { vec![] } else { vec![DELAY] }
        });
        pair.open(A);
        pair.run_for_millis(offset);
        pair.open(B);
        pair.run_for_millis(60_000);
        let what = (from, lost, offset);
        let session = [A, B].map(|node| {
            let sessions: Vec<_> = pair.nodes[node].endpoint.sessions().collect();
            assert_eq!(sessions.len(), 1, "{what:?}: {:?}", pair.nodes[node].events);
            sessions[0]
        });
        let mut view = pair.nodes[A].endpoint.session_mut(pair.now, session[A]).unwrap();
        let flow = view.open_flow(FlowOptions::new("f")).unwrap();
        pair.nodes[A].endpoint.send_flow_mut(pair.now, flow).unwrap().write("x").unwrap();
        pair.run_for_millis(1_000);
        assert!(pair.nodes[B].events.iter().any(|event| matches!(event, Event::FlowReadable { .. })), "{what:?}");
    }
}
