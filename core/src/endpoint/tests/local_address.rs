//! An endpoint with several local addresses on one interface answers from the one that was asked.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::pair::{A, B, Pair, path_to};
use crate::{Event, InterfaceId, RecvMeta, TransmitBuf};

const ASKED: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(198, 51, 100, 7));

/// Hands over what one node has to send, to this local address of the other; returns the source addresses asked for.
fn carry(pair: &mut Pair, from: usize, to_local: Option<IpAddr>) -> Vec<Option<IpAddr>> {
    let mut buf = TransmitBuf::new(1);
    let mut sources = Vec::new();
    let now = pair.now;
    while let Some(transmit) = pair.nodes[from].endpoint.poll_transmit(now, &mut buf) {
        sources.push(transmit.path.local);
        for datagram in buf.datagrams() {
            let path = path_to(from).with_local(to_local);
            let endpoint = &mut pair.nodes[1 - from].endpoint;
            let _ = endpoint.handle_datagram(now, path, RecvMeta::default(), &mut datagram.to_vec());
        }
    }
    sources
}

#[test]
fn startup_and_session_of_a_responder_come_from_the_address_that_was_asked() {
    let mut pair = Pair::new(1);
    let session = pair.open(A);
    let near = IpAddr::from([192, 0, 2, 77]);
    assert_eq!(carry(&mut pair, A, Some(ASKED)), [None], "IHello");
    assert_eq!(carry(&mut pair, B, Some(near)), [Some(ASKED)], "RHello");
    assert_eq!(carry(&mut pair, A, Some(ASKED)), [None], "IIKeying");
    let answers = carry(&mut pair, B, Some(near));
    assert!(!answers.is_empty() && answers.iter().all(|source| *source == Some(ASKED)), "RIKeying: {answers:?}");
    assert_eq!(pair.nodes[A].endpoint.poll_event(), Some(Event::SessionOpened { session }));
    let accepted = pair.nodes[B].endpoint.sessions().next().unwrap();
    assert_eq!(pair.nodes[B].endpoint.session(accepted).unwrap().path(), Some(path_to(A).with_local(Some(ASKED))));
    assert_eq!(pair.nodes[A].endpoint.session(session).unwrap().path(), Some(path_to(B).with_local(Some(near))));
}

#[test]
fn a_second_answer_from_the_same_introducer_at_another_local_address_is_no_other_introducer() {
    let mut pair = Pair::new(1);
    let session = pair.open(A);
    pair.run_for_millis(500);
    let slot = pair.nodes[A].endpoint.table.resolve(session).unwrap();
    for last in 1..4 {
        let path = path_to(B).with_local(Some([192, 0, 2, last].into()));
        pair.nodes[A].endpoint.env().with(slot, |entry, _| entry.learn_introducer(path));
    }
    let known = &pair.nodes[A].endpoint.table.get(slot).unwrap().introducers;
    assert_eq!(known[..], [path_to(B)]);
}

#[test]
fn a_removed_address_concerns_the_sessions_that_used_it_and_they_leave_the_source_to_the_system() {
    let mut pair = Pair::new(1);
    pair.open(A);
    for _ in 0..3 {
        carry(&mut pair, A, Some(ASKED));
        carry(&mut pair, B, None);
    }
    let accepted = pair.nodes[B].endpoint.sessions().next().unwrap();
    assert_eq!(pair.nodes[B].endpoint.session(accepted).unwrap().path(), Some(path_to(A).with_local(Some(ASKED))));
    let now = pair.now;
    let other = IpAddr::from([192, 0, 2, 78]);
    pair.nodes[B].endpoint.local_address_removed(now, InterfaceId(1), ASKED);
    pair.nodes[B].endpoint.local_address_removed(now, InterfaceId(0), other);
    assert_eq!(carry(&mut pair, B, None), []);
    pair.nodes[B].endpoint.local_address_removed(now, InterfaceId(0), ASKED);
    assert_eq!(carry(&mut pair, B, None), [None], "a probe, not from there");
}
