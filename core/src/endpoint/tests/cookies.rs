//! RFC 7016 §3.5.1.2: cookies that reach the responder from another address, and old ones.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::pair::{A, B, Kind, Pair, address};
use crate::endpoint::demux::startup_chunks;
use crate::event::Event;
use crate::wire::{Chunk, CookieChange};

const DELAY: Duration = Duration::from_millis(25);

fn other_interface() -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 101], 50_001))
}

/// Session ID and cookie of every IIKeying that A sent.
pub(super) fn keyings(pair: &Pair) -> Vec<(u32, Vec<u8>)> {
    let sent = pair.sent_of(Kind::InitiatorKeying, Some(A), None);
    let plain = sent.into_iter().map(|index| pair.log[index].1.plain().unwrap().1);
    plain
        .map(|plain| match startup_chunks(&plain).unwrap().next() {
            Some(Ok(Chunk::InitiatorKeying(keying))) => (keying.session_id, keying.cookie_echo.to_vec()),
            other => panic!("{other:?}"),
        })
        .collect()
}

/// Figure 10.
#[test]
fn an_initiator_that_keys_from_another_address_gets_another_cookie() {
    let mut pair = Pair::new(1);
    pair.nodes[A].aliases.push(other_interface());
    pair.fate = Box::new(|datagram| {
        if datagram.from == address(A) && datagram.kind() != Kind::Hello {
            datagram.from = other_interface();
        }
        vec![DELAY]
    });
    let session = pair.open(A);
    pair.run_for_millis(500);
    assert_eq!(pair.nodes[A].events, [Event::SessionOpened { session }]);
    let kinds: Vec<Kind> = pair.log.iter().map(|(_, sent)| sent.kind()).collect();
    assert_eq!(
        kinds,
        [
            Kind::Hello,
            Kind::ResponderHello,
            Kind::InitiatorKeying,
            Kind::CookieChange,
            Kind::InitiatorKeying,
            Kind::ResponderKeying
        ]
    );
    let far = pair.nodes[B].endpoint.sessions().next().unwrap();
    assert_eq!(pair.nodes[B].endpoint.session(far).unwrap().path().unwrap().remote, other_interface());
    assert!([0, 1, 2, 4].iter().all(|index| pair.log[*index].1.plain().unwrap().0 == 0));
    // Both go to the session ID of the IIKeying, under the Default Session Key.
    let keyings = keyings(&pair);
    assert_eq!(keyings[0].0, keyings[1].0);
    assert_ne!(keyings[0].1, keyings[1].1);
    assert_eq!(pair.log[3].1.plain().unwrap().0, keyings[0].0);
}

#[test]
fn the_cookie_is_changed_once_only() {
    let mut pair = Pair::new(2);
    let mut port = 50_000;
    pair.nodes[A].aliases.extend((50_000..51_000).map(|port| SocketAddr::from(([198, 51, 100, 101], port))));
    pair.fate = Box::new(move |datagram| {
        if datagram.kind() == Kind::InitiatorKeying {
            port += 1;
            datagram.from.set_port(port);
            datagram.from.set_ip([198, 51, 100, 101].into());
        }
        vec![DELAY]
    });
    pair.open(A);
    pair.run_for_millis(900);
    assert_eq!(pair.sent_of(Kind::CookieChange, Some(B), None).len(), 2);
    assert_eq!(keyings(&pair).len(), 2, "the second change is not answered");
    pair.run_for_millis(10_000);
    let keyings = keyings(&pair);
    assert!(keyings.len() > 2, "the backoff goes on");
    assert!(keyings[1..].iter().all(|keying| keying.1 == keyings[1].1));
}

#[test]
fn a_cookie_change_must_know_the_cookie_and_bring_one_of_sensible_length() {
    let mut pair = Pair::new(3);
    pair.lose(Kind::InitiatorKeying);
    pair.open(A);
    pair.run_for_millis(100);
    let (id, cookie) = keyings(&pair).remove(0);
    let stats = pair.nodes[A].endpoint.stats();
    pair.inject(address(B), A, id, &CookieChange { old_cookie: &[0; 64], new_cookie: &[1; 64] });
    pair.inject(address(B), A, id, &CookieChange { old_cookie: &cookie[..63], new_cookie: &[1; 64] });
    pair.inject(address(B), A, id, &CookieChange { old_cookie: &cookie, new_cookie: &[1; 1_100] });
    pair.inject(address(B), A, 0, &CookieChange { old_cookie: &cookie, new_cookie: &[1; 64] });
    pair.run_for_millis(10);
    assert_eq!(keyings(&pair).len(), 1);
    assert_eq!(pair.nodes[A].endpoint.stats().unexpected - stats.unexpected, 2);
    assert_eq!(pair.nodes[A].endpoint.stats().over_limit - stats.over_limit, 1);
    pair.inject(address(B), A, id, &CookieChange { old_cookie: &cookie, new_cookie: &[1; 64] });
    pair.flush();
    assert_eq!(keyings(&pair)[1], (id, vec![1; 64]));
}

/// §3.5.1.1.2: the lifetime is 95 s, to the microsecond.
#[test]
fn a_keying_is_answered_while_its_cookie_is_not_older_than_95_seconds() {
    for (delay, answered) in [(94_000, true), (94_975, true), (94_976, false), (96_000, false)] {
        let mut pair = Pair::new(4);
        let mut first = true;
        pair.fate = Box::new(move |datagram| {
            if datagram.kind() != Kind::InitiatorKeying {
                vec![DELAY]
            } else if core::mem::take(&mut first) {
                vec![Duration::from_millis(delay)]
            } else {
                vec![]
            }
        });
        pair.open(A);
        pair.run_for_millis(100_000);
        let opened = pair.nodes[B].endpoint.stats().sessions_opened == 1;
        assert_eq!(opened, answered, "{delay} ms on the way, and 25 ms old when it was used");
    }
}
