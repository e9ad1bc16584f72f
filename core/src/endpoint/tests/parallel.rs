//! RFC 7016 §3.5.1.7: parallel open to several endpoints that one discriminator selects.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::pair::{A, B, Kind, Pair, address};
use crate::event::Event;
use crate::{EndpointConfig, InterfaceId, OpenFailure, Path, Target};

fn pool(seed: u8) -> Pair {
    let config = EndpointConfig::default;
    Pair::named(seed, &[("alice", config()), ("server", config()), ("server", config()), ("server", config())])
}

/// Nodes 1 to 3 are 90, 20 and 50 ms away; those named are dead.
fn distances(pair: &mut Pair, dead: &'static [usize]) {
    pair.fate = Box::new(move |datagram| {
        let node = (1..4).find(|node| [datagram.to, datagram.from].contains(&address(*node))).unwrap();
        if dead.contains(&node) { vec![] } else { vec![Duration::from_millis([0, 90, 20, 50][node])] }
    });
}

#[test]
fn the_first_to_answer_is_chosen_and_later_answers_are_ignored() {
    for (dead, chosen) in [(&[][..], 2), (&[2][..], 3), (&[2, 3][..], 1)] {
        let mut pair = pool(1);
        distances(&mut pair, dead);
        let session = pair.open_to(A, "server", &[1, 2, 3]);
        pair.run_for_millis(800);
        assert_eq!(pair.nodes[A].events, [Event::SessionOpened { session }]);
        assert_eq!(pair.nodes[A].endpoint.session(session).unwrap().path().unwrap().remote, address(chosen));
        assert_eq!(pair.sent_of(Kind::ResponderHello, None, Some(A)).len(), 3 - dead.len());
        assert_eq!(pair.sent_of(Kind::InitiatorKeying, Some(A), None).len(), 1);
        assert_eq!(pair.nodes[A].endpoint.stats().unexpected as usize, 2 - dead.len());
        let others: usize = (1..4).filter(|n| *n != chosen).map(|n| pair.nodes[n].endpoint.sessions().count()).sum();
        assert_eq!(others, 0, "who is not chosen keeps nothing");
    }
}

/// §3.5.1.1.1, step 1.
#[test]
fn a_second_opening_to_the_same_endpoint_is_given_up_in_favour_of_the_first() {
    for wait in [0, 30, 60, 1_000] {
        let mut pair = Pair::new(2);
        let first = pair.open(A);
        pair.run_for_millis(wait);
        let second = pair.open(A);
        pair.run_for_millis(1_000);
        let reason = OpenFailure::Duplicate { existing: first };
        let mut expected =
            vec![Event::SessionOpened { session: first }, Event::SessionFailed { session: second, reason }];
        if wait < 60 {
            expected.swap(0, 1);
        }
        assert_eq!(pair.nodes[A].events, expected, "{wait} ms apart");
        assert_eq!(pair.nodes[A].endpoint.sessions().collect::<Vec<_>>(), [first]);
    }
}

/// Its keys have proved who it is, so the address says nothing.
#[test]
fn a_second_opening_to_the_same_endpoint_at_another_address_is_given_up_too() {
    let mut pair = Pair::new(3);
    let other = SocketAddr::new(address(B).ip(), 9);
    let first = pair.open(A);
    pair.run_for_millis(500);
    pair.nodes[B].address = other;
    let target = Target::new("bob", Path::new(InterfaceId(0), other));
    let second = pair.nodes[A].endpoint.open(pair.now, target).unwrap();
    pair.run_for_millis(500);
    let reason = OpenFailure::Duplicate { existing: first };
    assert_eq!(pair.nodes[A].events.last(), Some(&Event::SessionFailed { session: second, reason }));
}
