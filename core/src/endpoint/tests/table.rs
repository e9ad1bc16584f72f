//! Whatever happens to a session, it is found by what is true afterwards.

use alloc::vec::Vec;

use super::pair::{A, B, Pair, address, path_to};
use crate::endpoint::Endpoint;
use crate::endpoint::entry::Phase;
use crate::endpoint::index::Standing;
use crate::event::CloseReason;
use crate::session::{Ending, MoveBasis};

/// Sessions that are found at an address, and those that are found by an identity.
fn found(endpoint: &Endpoint, at: usize, identity: [u8; 32]) -> (Vec<u32>, Vec<u32>) {
    let standings = [Standing::Proved, Standing::Initiated, Standing::Claimed].into_iter();
    let index = &endpoint.table.index;
    let here = standings.clone().flat_map(|standing| index.at(address(at), standing)).collect();
    (here, standings.flat_map(|standing| index.with(identity, standing)).collect())
}

#[test]
fn a_session_is_found_by_what_it_has_become() {
    let mut pair = Pair::new(1);
    let handle = pair.open(A);
    pair.run_for_millis(500);
    let endpoint = &mut pair.nodes[A].endpoint;
    let slot = endpoint.table.resolve(handle).unwrap();
    let identity = endpoint.table.get(slot).unwrap().known.identity.unwrap();
    assert_eq!(found(endpoint, B, identity), ([slot].into(), [slot].into()));

    // Its path changes, which the session alone knows.
    endpoint.env().session(slot, |session, cx| session.move_to(cx, path_to(7), MoveBasis::Proved));
    assert_eq!(found(endpoint, B, identity), ([].into(), [slot].into()));
    assert_eq!(found(endpoint, 7, identity), ([slot].into(), [slot].into()));

    // Its identity changes, which the entry alone knows.
    endpoint.env().with(slot, |entry, _| entry.known.identity = Some([1; 32]));
    assert_eq!(found(endpoint, 7, identity), ([slot].into(), [].into()));
    assert_eq!(found(endpoint, 7, [1; 32]), ([slot].into(), [slot].into()));

    // Nothing that it is found by changes.
    endpoint.env().with(slot, |entry, _| {
        if let Phase::Initiated { proved, .. } = &mut entry.known.phase {
            *proved = true;
        }
    });
    assert_eq!(found(endpoint, 7, [1; 32]), ([slot].into(), [slot].into()));

    // Its state changes; it lives on, to say so.
    endpoint.env().session(slot, |session, cx| session.end(cx, Ending::Abrupt(CloseReason::Near)));
    assert_eq!(endpoint.table.resolve(handle), Some(slot));
    assert_eq!(found(endpoint, 7, [1; 32]), ([].into(), [].into()));
    pair.run_for_millis(500);
    assert!(pair.nodes[A].endpoint.table.is_empty());
}

/// An opening session is found by its tag and its candidates, until it is no longer opening.
#[test]
fn an_opening_session_is_found_by_its_hello_until_it_ends() {
    let mut pair = Pair::new(1);
    let handle = pair.open(A);
    let endpoint = &mut pair.nodes[A].endpoint;
    let slot = endpoint.table.resolve(handle).unwrap();
    let tag = endpoint.table.get(slot).unwrap().opening().unwrap().tag;
    assert_eq!(endpoint.table.by_tag(&tag), Ok(slot));
    assert_eq!(endpoint.table.index.opening_to(address(B)).collect::<Vec<_>>(), [slot]);
    pair.run_for_millis(500);
    let endpoint = &mut pair.nodes[A].endpoint;
    assert!(endpoint.table.by_tag(&tag).is_err());
    assert_eq!(endpoint.table.index.opening_to(address(B)).count(), 0);
}
