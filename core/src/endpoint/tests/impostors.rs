//! A certificate is no secret: whoever shows one, and never the keys that belong to it, takes nothing over.

use alloc::boxed::Box;
use alloc::vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::pair::{A, B, Kind, Pair, address, path_to};
use crate::endpoint::demux::startup_chunks;
use crate::endpoint::index::identity_of;
use crate::event::{Event, OpenFailure};
use crate::wire::{Chunk, InitiatorHello, InitiatorKeying};
use crate::{CloseReason, EndpointConfig, InterfaceId, Path, RecvMeta, SessionState, Target};

const DELAY: Duration = Duration::from_millis(25);
const IMPOSTOR: usize = 2;

/// The second "bob" has the certificate of the first, and never sends a packet of a session.
fn with_impostor(seed: u8, first: &str, config: EndpointConfig) -> Pair {
    let mut pair =
        Pair::named(seed, &[(first, config), ("bob", EndpointConfig::default()), ("bob", EndpointConfig::default())]);
    pair.fate = Box::new(|datagram| {
        let silent = datagram.from == address(IMPOSTOR) && datagram.kind() == Kind::Session;
        if silent { vec![] } else { vec![DELAY] }
    });
    pair
}

#[test]
fn a_keying_from_elsewhere_takes_no_opening_over() {
    // The near end prevails against the far one, or the other way round.
    for first in ["alice", "zoe"] {
        let mut pair = with_impostor(1, first, EndpointConfig::default());
        pair.lose(Kind::ResponderKeying);
        let session = pair.open_to(A, "bob", &[B]);
        pair.run_for_millis(100);
        assert_eq!(pair.nodes[A].endpoint.session(session).unwrap().state(), SessionState::KeyingSent);
        pair.open_to(IMPOSTOR, first, &[A]);
        pair.run_for_millis(100);
        pair.fate = Box::new(|_| vec![DELAY]);
        pair.run_for_millis(2_000);
        assert!(pair.nodes[A].events.contains(&Event::SessionOpened { session }), "{first}");
        let path = pair.nodes[A].endpoint.session(session).unwrap().path().unwrap();
        assert_eq!(path.remote, address(B), "{first}");
    }
}

/// An address that a redirect named, or that somebody else has by now, is a candidate still when another was chosen.
#[test]
fn a_candidate_that_was_not_chosen_takes_no_opening_over() {
    for first in ["alice", "zoe"] {
        let mut pair = with_impostor(4, first, EndpointConfig::default());
        pair.fate = Box::new(|datagram| {
            let of_impostor = matches!(datagram.kind(), Kind::ResponderHello | Kind::Session);
            let hidden = of_impostor && datagram.from == address(IMPOSTOR);
            let late = datagram.kind() == Kind::ResponderKeying && datagram.from == address(B);
            if hidden || late { vec![] } else { vec![DELAY] }
        });
        let session = pair.open_to(A, "bob", &[B, IMPOSTOR]);
        pair.run_for_millis(100);
        assert_eq!(pair.nodes[A].endpoint.session(session).unwrap().state(), SessionState::KeyingSent);
        pair.open_to(IMPOSTOR, first, &[A]);
        pair.run_for_millis(100);
        pair.fate = Box::new(|datagram| {
            let silent = datagram.from == address(IMPOSTOR) && datagram.kind() == Kind::Session;
            if silent { vec![] } else { vec![DELAY] }
        });
        pair.run_for_millis(2_000);
        assert!(pair.nodes[A].events.contains(&Event::SessionOpened { session }), "{first}");
        let path = pair.nodes[A].endpoint.session(session).unwrap().path().unwrap();
        assert_eq!(path.remote, address(B), "{first}");
    }
}

/// What was being opened to the address that was chosen waited for the far end's first keepalive.
#[test]
fn an_opening_ends_at_once_when_its_far_end_opens_from_another_address_of_its_own() {
    let elsewhere = SocketAddr::from(([198, 51, 100, 1], 1));
    for authentic in [true, false] {
        let nodes = [("zoe", EndpointConfig::default()), ("bob", EndpointConfig::default())];
        let mut pair = if authentic { Pair::named(4, &nodes) } else { Pair::not_authentic(4, &nodes) };
        pair.nodes[B].aliases.push(elsewhere);
        pair.fate = Box::new(move |datagram| {
            let of_its_own = matches!(datagram.kind(), Kind::Hello | Kind::InitiatorKeying | Kind::Session);
            if datagram.from == address(B) && of_its_own {
                datagram.from = elsewhere;
            }
            vec![DELAY]
        });
        let there = Path::new(InterfaceId(0), elsewhere);
        let candidates = vec![(path_to(B), Duration::ZERO), (there, Duration::from_millis(30))];
        let target = Target { discriminator: b"bob".to_vec().into(), candidates };
        let session = pair.nodes[A].endpoint.open(pair.now, target).unwrap();
        pair.open(B);
        pair.run_for_millis(1_000);
        let existing = pair.nodes[A].endpoint.sessions().next().unwrap();
        assert_ne!(existing, session, "{:?}", pair.nodes[A].events);
        let reason = OpenFailure::Duplicate { existing };
        let events = &pair.nodes[A].events;
        assert!(events.contains(&Event::SessionFailed { session, reason }), "{authentic}: {events:?}");
    }
}

/// Its keying may come in by another interface than that over which it was chosen: the address is the same.
#[test]
fn glare_is_by_address_whatever_interface_it_comes_in_by() {
    let mut pair = Pair::named(4, &[("zoe", EndpointConfig::default()), ("bob", EndpointConfig::default())]);
    let other = Path::new(InterfaceId(3), address(B));
    let target = Target { discriminator: b"bob".to_vec().into(), candidates: vec![(other, Duration::ZERO)] };
    let session = pair.nodes[A].endpoint.open(pair.now, target).unwrap();
    pair.fate = Box::new(|datagram| {
        let by_hand = datagram.to == address(A) && datagram.kind() == Kind::ResponderHello;
        if by_hand { vec![] } else { vec![DELAY] }
    });
    pair.open(B);
    pair.run_for_millis(45);
    let hello = pair.sent_of(Kind::ResponderHello, Some(B), Some(A))[0];
    let (now, mut bytes) = (pair.now, pair.log[hello].1.bytes.clone());
    let _ = pair.nodes[A].endpoint.handle_datagram(now, other, RecvMeta::default(), &mut bytes);
    assert_eq!(pair.nodes[A].endpoint.session(session).unwrap().state(), SessionState::KeyingSent);
    pair.fate = Box::new(|_| vec![DELAY]);
    pair.run_for_millis(3_000);
    assert!(pair.nodes[A].events.contains(&Event::SessionOpened { session }), "{:?}", pair.nodes[A].events);
}

/// Whoever saw the keying on its way, and repeated it with a cookie of its own, had the session for itself where neither
/// signatures nor packets are authentic: the true far end's packets came from elsewhere, and were not followed.
#[test]
fn a_copy_of_the_keying_keeps_no_session_from_its_far_end() {
    let node = |name| (name, EndpointConfig::default());
    let mut pair = Pair::not_authentic(6, &[node("intro"), node("bob"), node("mallory")]);
    let session = pair.open_to(B, "intro", &[A]);
    pair.run_for_millis(76);
    let seen = pair.sent_of(Kind::InitiatorKeying, Some(B), Some(A))[0];
    let (_, seen) = pair.log[seen].1.plain().unwrap();
    pair.inject(address(IMPOSTOR), A, 0, &InitiatorHello { discriminator: b"intro", tag: b"the tag." });
    pair.run_for_millis(1);
    let answer = pair.sent_of(Kind::ResponderHello, Some(A), Some(IMPOSTOR))[0];
    let (_, answer) = pair.log[answer].1.plain().unwrap();
    let Some(Ok(Chunk::InitiatorKeying(keying))) = startup_chunks(&seen).unwrap().next() else { panic!("no keying") };
    let Some(Ok(Chunk::ResponderHello(hello))) = startup_chunks(&answer).unwrap().next() else { panic!("no hello") };
    let (cookie_echo, certificate, component) = (hello.cookie, keying.certificate, keying.component);
    let signed = InitiatorKeying::signed_parameters(keying.session_id, cookie_echo, certificate, component);
    pair.inject(address(IMPOSTOR), A, 0, &InitiatorKeying { cookie_echo, signed: &signed, ..keying });
    let at_a = pair.nodes[A].endpoint.sessions().next().unwrap();
    let remote = |pair: &Pair| pair.nodes[A].endpoint.session(at_a).unwrap().path().unwrap().remote;
    assert_eq!(remote(&pair), address(IMPOSTOR));
    pair.run_for_millis(100);
    let now = pair.now;
    pair.nodes[B].endpoint.session_mut(now, session).unwrap().ping();
    pair.run_for_millis(500);
    assert_eq!(remote(&pair), address(B));
}

#[test]
fn a_claim_keeps_nobody_from_opening_and_ends_when_the_true_one_answers() {
    let mut pair = with_impostor(2, "alice", EndpointConfig::default());
    pair.open_to(IMPOSTOR, "alice", &[A]);
    pair.run_for_millis(200);
    let [Event::SessionOpened { session: claim }] = pair.nodes[A].events[..] else { panic!("no claim") };
    let session = pair.open_to(A, "bob", &[B]);
    pair.run_for_millis(200);
    let events = &pair.nodes[A].events[1..];
    assert!(events.contains(&Event::SessionOpened { session }), "{events:?}");
    assert!(events.contains(&Event::SessionClosed { session: claim, reason: CloseReason::Overridden }), "{events:?}");
    assert!(pair.nodes[A].endpoint.session(claim).is_none());
}

#[test]
fn an_introducer_names_the_one_who_has_shown_its_keys() {
    let introducer = EndpointConfig { introduce: true, ..EndpointConfig::default() };
    let mut pair = with_impostor(3, "intro", introducer);
    pair.open_to(IMPOSTOR, "intro", &[A]);
    pair.run_for_millis(200);
    let honest = pair.open_to(B, "intro", &[A]);
    pair.run_for_millis(200);
    let now = pair.now;
    pair.nodes[B].endpoint.session_mut(now, honest).unwrap().ping();
    pair.run_for_millis(200);
    assert_eq!(pair.nodes[A].endpoint.sessions().count(), 2);
    let named = pair.nodes[A].endpoint.session_named(b"bob").unwrap();
    assert_eq!(pair.nodes[A].endpoint.session(named).unwrap().path().unwrap().remote, address(B));
}

/// Of packets that have a checksum only, one of 65,536 that are made up passes, and was taken for proof of the keys.
#[test]
fn a_packet_that_is_not_authentic_shows_no_keys_but_an_answer_does() {
    let introducer = EndpointConfig { introduce: true, ..EndpointConfig::default() };
    let bob = || ("bob", EndpointConfig::default());
    let mut pair = Pair::not_authentic(6, &[("intro", introducer), bob(), bob()]);
    // It has no keys: what it sends is luck, and what comes it cannot read.
    pair.fate = Box::new(|datagram| {
        let unread = datagram.to == address(IMPOSTOR) && datagram.kind() == Kind::Session;
        if unread { vec![] } else { vec![DELAY] }
    });
    for (node, named) in [(IMPOSTOR, IMPOSTOR), (B, B)] {
        let session = pair.open_to(node, "intro", &[A]);
        pair.run_for_millis(200);
        let now = pair.now;
        pair.nodes[node].endpoint.session_mut(now, session).unwrap().ping();
        pair.run_for_millis(200);
        let bob = pair.nodes[A].endpoint.session_named(b"bob").unwrap();
        assert_eq!(pair.nodes[A].endpoint.session(bob).unwrap().path().unwrap().remote, address(named));
    }
    assert_eq!(pair.nodes[A].endpoint.sessions().count(), 2);
}

/// The far end moved while both keyed, and uses the session that it opened.
#[test]
fn an_opening_ends_when_its_far_end_proves_itself_from_elsewhere() {
    let elsewhere = SocketAddr::from(([198, 51, 100, 1], 1));
    let mut pair = Pair::named(4, &[("zoe", EndpointConfig::default()), ("bob", EndpointConfig::default())]);
    let session = pair.open(A);
    pair.run_for_millis(60);
    pair.nodes[B].aliases.push(elsewhere);
    pair.fate = Box::new(move |datagram| {
        if datagram.from == address(B) {
            datagram.from = elsewhere;
        }
        if datagram.to == address(B) { vec![] } else { vec![DELAY] }
    });
    let other = pair.open(B);
    pair.fate = Box::new(move |datagram| {
        if datagram.from == address(B) {
            datagram.from = elsewhere;
        }
        if datagram.to == address(B) && datagram.kind() == Kind::InitiatorKeying { vec![] } else { vec![DELAY] }
    });
    pair.run_for_millis(500);
    assert!(pair.nodes[B].events.contains(&Event::SessionOpened { session: other }), "{:?}", pair.nodes[B].events);
    let now = pair.now;
    pair.nodes[B].endpoint.session_mut(now, other).unwrap().ping();
    pair.run_for_millis(500);
    let sessions: alloc::vec::Vec<_> = pair.nodes[A].endpoint.sessions().collect();
    assert_eq!(sessions.len(), 1, "{:?}", pair.nodes[A].events);
    let reason = OpenFailure::Duplicate { existing: sessions[0] };
    assert!(pair.nodes[A].events.contains(&Event::SessionFailed { session, reason }), "{:?}", pair.nodes[A].events);
}

/// A far end that was chosen, and has moved since, begins anew from where it is. This end prevails, and insists on its own
/// keying for two seconds from the choice; then it answers.
#[test]
fn a_far_end_that_moved_is_answered_two_seconds_after_it_was_chosen() {
    let mut pair = with_impostor(6, "alice", EndpointConfig::default());
    pair.lose(Kind::ResponderKeying);
    let session = pair.open_to(A, "bob", &[B]);
    // What comes is 700 ms or 2,600 ms after the choice, with no keying of this end within the last 500 ms.
    for (wait, session_id, answers) in [(750, 9, 0), (1_900, 10, 1)] {
        pair.run_for_millis(wait);
        assert_eq!(pair.nodes[A].endpoint.session(session).unwrap().state(), SessionState::KeyingSent);
        pair.claim(address(IMPOSTOR), A, b"bob", session_id);
        assert_eq!(pair.sent_of(Kind::ResponderKeying, Some(A), Some(IMPOSTOR)).len(), answers, "after {wait} ms more");
    }
}

/// Whoever names another's certificate and session ID first, from an address of its own, made the other's keying look
/// like one that came late after glare; it was refused until the claim ended by itself, after more than a minute.
#[test]
fn a_claim_with_the_session_id_of_the_true_one_does_not_make_its_keying_late() {
    let mut pair = with_impostor(5, "alice", EndpointConfig::default());
    pair.open_to(IMPOSTOR, "alice", &[A]);
    pair.run_for_millis(200);
    let endpoint = &mut pair.nodes[A].endpoint;
    let (_, claim) = endpoint.table.iter().next().unwrap();
    assert_eq!(claim.session.transport().far_certificate(), b"bob");
    let (session_id, identity) = (claim.session.transport().tx_id().unwrap(), identity_of(endpoint.profile(), b"bob"));
    let env = endpoint.env();
    assert!(!env.has_become_another(session_id, identity));
}
