//! Keys that are made ahead.

use alloc::vec::Vec;

use super::pair::{A, B, Pair};
use crate::endpoint::jobs::ABANDONED_AFTER;
use crate::endpoint::key_agreement::KeyAgreement;
use crate::event::Event;
use crate::{EndpointConfig, SessionState};

fn config(keys: usize) -> EndpointConfig {
    EndpointConfig { max_waiting_key_agreements: 4, max_prepared_keys: keys, ..EndpointConfig::default() }
}

fn flash(seed: u8, keys: usize) -> Pair {
    Pair::flash_configured(seed, &config(keys), |_, builder| builder)
}

/// All jobs that a node has, none of them computed.
fn jobs(pair: &mut Pair, node: usize) -> Vec<KeyAgreement> {
    core::iter::from_fn(|| pair.nodes[node].endpoint.poll_key_agreement()).collect()
}

/// Computes jobs until there are none.
fn compute(pair: &mut Pair, node: usize) -> usize {
    let mut count = 0;
    while let Some(job) = pair.nodes[node].endpoint.poll_key_agreement() {
        let now = pair.now;
        pair.nodes[node].endpoint.handle_key_agreement(now, job.run());
        count += 1;
    }
    count
}

/// As many as there may be, and for each that is used another.
#[test]
fn keys_are_made_when_nothing_else_is_to_be_computed_and_each_is_used_once() {
    let mut pair = flash(1, 3);
    assert_eq!((compute(&mut pair, A), compute(&mut pair, B)), (3, 3));
    let made = |pair: &Pair, node: usize| -> Vec<Vec<u8>> {
        pair.nodes[node].endpoint.handshake.agreements.prepared.keys().map(|key| key.public.clone()).collect()
    };
    let (of_a, of_b) = (made(&pair, A), made(&pair, B));
    let session = pair.open(A);
    for _ in 0..4 {
        pair.run_for_millis(60);
        compute(&mut pair, A);
        compute(&mut pair, B);
    }
    assert!(pair.nodes[A].events.contains(&Event::SessionOpened { session }));
    for (node, before) in [(A, of_a), (B, of_b)] {
        let after = made(&pair, node);
        assert_eq!(after.len(), 3);
        let used: Vec<_> = before.iter().filter(|key| !after.contains(key)).collect();
        assert_eq!(used.len(), 1, "node {node}");
    }
}

#[test]
fn what_a_session_waits_for_is_computed_first() {
    let mut pair = flash(2, 2);
    let session = pair.open(A);
    pair.run_for_millis(60);
    let mut waiting = jobs(&mut pair, A);
    assert_eq!(waiting.len(), 3);
    let now = pair.now;
    pair.nodes[A].endpoint.handle_key_agreement(now, waiting.remove(0).run());
    assert_eq!(pair.nodes[A].endpoint.session(session).unwrap().state(), SessionState::KeyingSent);
}

/// Whoever asks for jobs until there are none, and computes them in that order, would have had all of them before the next
/// session's.
#[test]
fn few_keys_are_made_at_once() {
    let mut pair = flash(5, 100);
    let mut out = jobs(&mut pair, A);
    assert_eq!(out.len(), 4);
    let now = pair.now;
    pair.nodes[A].endpoint.handle_key_agreement(now, out.remove(0).run());
    assert_eq!(jobs(&mut pair, A).len(), 1, "for the one that came back");
}

#[test]
fn keys_that_never_come_back_are_made_again_after_a_minute() {
    let mut pair = flash(3, 2);
    let lost = jobs(&mut pair, A);
    assert_eq!((lost.len(), jobs(&mut pair, A).len()), (2, 0));
    let unexpected = pair.nodes[A].endpoint.stats().unexpected;
    // Something has to happen for the time to be known.
    pair.run_for_millis(ABANDONED_AFTER.as_millis() as u64 + 1);
    pair.open(A);
    assert_eq!(compute(&mut pair, A), 2);
    for job in lost {
        let now = pair.now;
        pair.nodes[A].endpoint.handle_key_agreement(now, job.run());
    }
    assert_eq!(pair.nodes[A].endpoint.stats().unexpected, unexpected + 2, "too late");
    assert_eq!(pair.nodes[A].endpoint.handshake.agreements.prepared.keys().count(), 2);
}

#[test]
fn a_profile_that_makes_none_is_asked_once() {
    let mut pair = Pair::with_config(4, config(8));
    assert_eq!(compute(&mut pair, A), 1);
    assert_eq!(compute(&mut pair, A), 0);
}

#[test]
fn keys_are_made_only_where_jobs_are_handed_out() {
    let none = EndpointConfig { max_waiting_key_agreements: 0, ..config(1) };
    assert_eq!(none.validate().unwrap_err().field, "max_prepared_keys");
    assert_eq!(config(65_537).validate().unwrap_err().field, "max_prepared_keys");
    assert!(config(65_536).validate().is_ok());
}
