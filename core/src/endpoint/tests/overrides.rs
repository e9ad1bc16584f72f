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
    assert!(pair.nodes[B].endpoint.table.is_empty(), "nothing is remembered of a session that is over");
}

/// Step 2.3, once the new session has proved its keys.
#[test]
fn an_endpoint_that_restarts_at_its_address_takes_the_place_of_its_old_session() {
    for used in [true, false] {
        let mut pair = Pair::new(2);
        let first = pair.open(A);
        pair.run_for_millis(200);
        if used {
            pair.nodes[A].endpoint.session_mut(pair.now, first).unwrap().ping();
            pair.run_for_millis(200);
        }
        let [Event::SessionOpened { session: old }] = pair.nodes[B].events[..] else { panic!("not open") };
        let flow = pair.nodes[B].endpoint.session_mut(pair.now, old).unwrap().open_flow(FlowOptions::new("f")).unwrap();
        pair.restart(A, 99);
        let session = pair.open(A);
        pair.run_for_millis(200);
        assert_eq!(pair.nodes[A].events, [Event::SessionOpened { session }]);
        let [Event::SessionOpened { session: new }, Event::SessionClosed { session: closed, reason }] =
            pair.nodes[B].events[1..]
        else {
            panic!("{:?}", pair.nodes[B].events)
        };
        assert_eq!((closed, reason), (old, CloseReason::Overridden));
        assert_eq!(pair.nodes[B].endpoint.session(new).unwrap().state(), SessionState::Open);
        assert!(pair.nodes[B].endpoint.session(old).is_none());
        assert!(pair.nodes[B].endpoint.send_flow(flow).is_none());
    }
}

/// Keys prove nothing of a certificate that whoever has seen it can use.
#[test]
fn a_session_ends_for_no_other_whose_keys_prove_no_identity() {
    let nodes = [("alice", EndpointConfig::default()), ("bob", EndpointConfig::default())];
    let mut pair = Pair::not_authentic(2, &nodes);
    pair.open(A);
    pair.run_for_millis(200);
    pair.restart(A, 99);
    let session = pair.open(A);
    pair.run_for_millis(1_000);
    pair.nodes[A].endpoint.session_mut(pair.now, session).unwrap().ping();
    pair.run_for_millis(30_000);
    assert!(!pair.nodes[B].events.iter().any(|event| matches!(event, Event::SessionClosed { .. })));
    assert_eq!(pair.nodes[B].endpoint.sessions().count(), 2);
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

/// Otherwise than step 2.2 says: a peer that had crashed was kept out for as long as its old session lived.
#[test]
fn a_peer_that_comes_back_with_another_identity_is_let_in_at_once() {
    let config = EndpointConfig::default;
    let mut pair = Pair::named(4, &[("alice", config()), ("bob", config()), ("alice anew", config())]);
    let first = pair.open_to(A, "bob", &[B]);
    pair.run_for_millis(200);
    pair.nodes[A].endpoint.session_mut(pair.now, first).unwrap().ping();
    pair.run_for_millis(200);
    let [Event::SessionOpened { session: old }] = pair.nodes[B].events[..] else { panic!("not open") };
    // Alice is gone without a word.
    pair.fate = Box::new(|datagram| {
        if datagram.from == address(A) {
            return vec![];
        }
        if datagram.from == address(2) {
            datagram.from = address(A);
        } else if datagram.to == address(A) {
            datagram.to = address(2);
        }
        vec![DELAY]
    });
    let second = pair.open_to(2, "bob", &[B]);
    pair.run_for_millis(150);
    assert_eq!(pair.nodes[2].events, [Event::SessionOpened { session: second }]);
    let [_, Event::SessionOpened { session: new }] = pair.nodes[B].events[..] else {
        panic!("{:?}", pair.nodes[B].events)
    };
    // The old one lives by its own limits, the new one beside it.
    pair.run_for_millis(100_000);
    let ended = Event::SessionClosed { session: old, reason: CloseReason::TimedOut };
    assert_eq!(pair.nodes[B].events[2..], [ended]);
    assert_eq!(pair.nodes[B].endpoint.session(new).unwrap().state(), SessionState::Open);
}

#[test]
fn a_late_keying_of_an_earlier_session_does_not_close_the_one_that_is_alive() {
    for used in [true, false] {
        let mut pair = Pair::new(5);
        let first = pair.open(A);
        pair.run_for_millis(200);
        let keying = sent(&pair, Kind::InitiatorKeying).remove(0);
        pair.nodes[A].endpoint.session_mut(pair.now, first).unwrap().close(CloseMode::Orderly);
        pair.run_for_millis(30_000);
        assert_eq!(pair.nodes[B].endpoint.sessions().count(), 0);
        let second = pair.open(A);
        pair.run_for_millis(200);
        if used {
            pair.nodes[A].endpoint.session_mut(pair.now, second).unwrap().ping();
            pair.run_for_millis(200);
        }
        // Its cookie is good for a minute yet.
        replay(&mut pair, &keying);
        assert_eq!(pair.nodes[B].endpoint.sessions().count(), 1, "it had its answer");
        pair.run_for_millis(11_000);
        assert_eq!(pair.nodes[B].endpoint.sessions().count(), 1);
        assert_eq!(pair.nodes[A].endpoint.session(second).unwrap().state(), SessionState::Open);
        pair.nodes[A].endpoint.session_mut(pair.now, second).unwrap().close(CloseMode::Orderly);
        pair.run_for_millis(200);
        assert_eq!(pair.nodes[A].endpoint.sessions().count(), 0, "it was the one that is alive");
    }
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
