//! What a stranger who has seen a handshake of the modern profile can make of it.

use alloc::vec::Vec;

use super::modern::{default_keys, kind, opened, pair, sealed, write};
use super::pair::{A, B, Datagram, Kind, Pair, address};
use crate::{CloseMode, Event};

const DELAY: core::time::Duration = core::time::Duration::from_millis(25);

/// Whether a datagram is an answer, of the responder in a session.
fn is_answer(sent: &Datagram) -> bool {
    sent.from == address(B) && kind(sent) != Kind::ResponderHello
}

fn log(pair: &Pair) -> Vec<Datagram> {
    pair.log.iter().map(|(_, sent)| sent.clone()).collect()
}

/// A copy of a keying packet whose signature is wrong, sealed as anybody can. The signature is the last field of an IIKeying
/// and of a RIKeying.
fn forged(keying: &Datagram) -> Vec<u8> {
    let (id, mut plain) = keying.plain_under(default_keys().as_mut()).unwrap();
    let last = plain.iter().rposition(|byte| *byte != 0xff).unwrap();
    plain[last] ^= 1;
    sealed(id, &plain)
}

/// The cookie of a recording is good for 95 s, and so is its signature.
#[test]
fn a_keying_recorded_of_a_session_that_has_ended_opens_no_other() {
    for wait in [10, 3_000, 60_000] {
        let mut pair = pair(30);
        let a = pair.open(A);
        write(&mut pair, A, a, b"once");
        pair.run_for_millis(1_000);
        pair.nodes[A].endpoint.session_mut(pair.now, a).unwrap().close(CloseMode::Orderly);
        pair.run_for_millis(wait);
        let log = log(&pair);
        for sent in log.iter().filter(|sent| sent.to == address(B)) {
            let _ = pair.deliver(sent.from, sent.to, sent.bytes.clone());
        }
        pair.run_for_millis(1_000);
        assert_eq!(opened(&pair, B), 1, "{wait} ms after the close");
        assert!(pair.nodes[B].endpoint.stats().dropped_replayed > 0, "{wait}");
    }
}

/// Its session was given up here because nothing came from it: all answers to it were lost.
#[test]
fn an_initiator_whose_first_session_is_given_up_opens_another_with_the_same_keying() {
    let mut pair = pair(33);
    pair.fate = alloc::boxed::Box::new(|sent| if is_answer(sent) { Vec::new() } else { alloc::vec![DELAY] });
    pair.open(A);
    pair.run_for_millis(80);
    let b = pair.nodes[B].endpoint.sessions().next().unwrap();
    pair.nodes[B].endpoint.session_mut(pair.now, b).unwrap().close(CloseMode::Abrupt);
    pair.run_for_millis(20_000);
    assert_eq!(opened(&pair, A), 0);
    pair.fate = alloc::boxed::Box::new(|_| alloc::vec![DELAY]);
    pair.run_for_millis(10_000);
    assert_eq!((opened(&pair, A), opened(&pair, B)), (1, 2));
}

#[test]
fn forged_answers_cost_an_opening_few_verifications_and_do_not_end_it() {
    let mut pair = pair(31);
    // The right answer is late.
    pair.fate = alloc::boxed::Box::new(|sent| {
        if kind(sent) == Kind::ResponderKeying {
            alloc::vec![]
        } else {
            alloc::vec![core::time::Duration::from_millis(25)]
        }
    });
    pair.open(A);
    pair.run_for_millis(80);
    let log = log(&pair);
    let answer = log.iter().find(|sent| kind(sent) == Kind::ResponderKeying).unwrap();
    let bytes = forged(answer);
    for _ in 0..5_000 {
        let _ = pair.deliver(address(B), address(A), bytes.clone());
    }
    let stats = pair.nodes[A].endpoint.stats();
    assert_eq!((stats.dropped_not_authentic, stats.over_limit), (200, 4_800));
    pair.fate = alloc::boxed::Box::new(|_| alloc::vec![core::time::Duration::from_millis(25)]);
    pair.run_for_millis(5_000);
    assert_eq!(opened(&pair, A), 1);
}

#[test]
fn keyings_that_would_move_a_session_cost_their_sender_its_share_of_key_agreements() {
    let mut pair = pair(32);
    pair.open(A);
    pair.run_for_millis(80);
    assert_eq!(opened(&pair, B), 1);
    // Its initiator asks for a cookie at another port, and repeats its keying from there with signatures that are wrong.
    let elsewhere = core::net::SocketAddr::from(([198, 51, 100, 7], 4_000));
    let log = log(&pair);
    let keying = log.iter().find(|sent| kind(sent) == Kind::InitiatorKeying).unwrap();
    let (id, plain) = keying.plain_under(default_keys().as_mut()).unwrap();
    let hello = log.iter().find(|sent| kind(sent) == Kind::Hello).unwrap();
    pair.run_for_millis(20);
    let _ = pair.deliver(elsewhere, address(B), hello.bytes.clone());
    pair.flush();
    let cookie = pair.log.iter().rev().find_map(|(_, sent)| cookie_in(sent).filter(|_| sent.to == elsewhere)).unwrap();
    let old = log.iter().find_map(cookie_in).unwrap();
    let at = plain.windows(old.len()).position(|window| window == old).unwrap();
    let moved = [&plain[..at], &cookie, &plain[at + old.len()..]].concat();
    let before = pair.nodes[B].endpoint.stats();
    for _ in 0..5_000 {
        let _ = pair.deliver(elsewhere, address(B), sealed(id, &moved));
    }
    let stats = pair.nodes[B].endpoint.stats();
    let refused = stats.dropped_not_authentic - before.dropped_not_authentic;
    assert!((1..=100).contains(&refused), "{refused}");
    assert_eq!(stats.over_limit - before.over_limit, 5_000 - refused);
    assert!(pair.nodes[B].events.iter().all(|event| !matches!(event, Event::PathChanged { .. })));
}

fn cookie_in(sent: &Datagram) -> Option<Vec<u8>> {
    use crate::wire::Chunk;
    let (_, plain) = sent.plain_under(default_keys().as_mut())?;
    let first = crate::endpoint::demux::startup_chunks(&plain).ok()?.next()?.ok()?;
    if let Chunk::ResponderHello(hello) = first { Some(hello.cookie.to_vec()) } else { None }
}
