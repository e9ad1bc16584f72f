//! The end of sessions that go over a circuit, and of the one with the server, which carries them.

use super::*;
use rtmfp_core::SessionState;

/// A client that closes a relayed session and leaves at once does not wait for an answer that cannot come any more.
#[test]
fn a_client_that_has_used_the_relay_leaves_at_once() {
    let mut world = apart(RelayLimits::default(), 2);
    let circuit = world.circuit_number(ADA, BEN);
    let session = world.connect(ADA, BEN, circuit).expect("a session over the circuit");
    let now = world.now;
    let node = world.node(ADA);
    node.endpoint.session_mut(now, session).unwrap().close(CloseMode::Orderly);
    node.endpoint.drain_all(now, now + Duration::from_secs(50));
    world.run(1_000);
    assert_eq!(world.waiting(ADA), []);
}

impl World {
    /// States of sessions whose far ends do not know that they are over.
    fn waiting(&mut self, node: usize) -> Vec<SessionState> {
        let endpoint = &self.node(node).endpoint;
        let sessions = endpoint.sessions().filter_map(|session| endpoint.session(session));
        sessions.filter(|session| session.awaits_far_end()).map(|session| session.state()).collect()
    }
}

/// The session with the server carries the other, so it ends last, whether both are drained at once or one by one.
#[test]
fn a_relayed_session_that_drains_delivers_all_and_its_far_end_hears_of_the_close() {
    for one_by_one in [false, true] {
        let mut world = apart(RelayLimits::default(), 2);
        let circuit = world.circuit_number(ADA, BEN);
        let session = world.connect(ADA, BEN, circuit).expect("a session over the circuit");
        world.greet(ADA, session, 200_000);
        let (now, node) = (world.now, world.node(ADA));
        let until = now + Duration::from_secs(60);
        if one_by_one {
            for session in [node.to_server.unwrap(), session] {
                node.endpoint.session_mut(now, session).unwrap().drain(until);
            }
        } else {
            node.endpoint.drain_all(now, until);
        }
        world.run(10_000);
        assert_eq!((world.heard(BEN), world.waiting(ADA)), (200_000, vec![]));
        let reasons: Vec<_> = world.node(BEN).closed.iter().map(|(_, reason)| *reason).collect();
        assert_eq!(reasons, [CloseReason::Far]);
        let closed = world.node(ADA).closed.clone();
        let server = world.node(ADA).to_server.unwrap();
        assert_eq!(closed, [(session, CloseReason::Near), (server, CloseReason::Near)]);
        assert_eq!(world.count(|event| matches!(event, ServerEvent::Left { .. })), 1, "and the server of its own");
    }
}

/// What is not delivered in time is not waited for; but the far end hears of the close.
#[test]
fn a_relayed_session_that_does_not_drain_in_time_is_closed_before_the_one_that_carries_it() {
    let relay = RelayLimits { rate_per_session: 40_000, ..RelayLimits::default() };
    let mut world = apart(relay, 2);
    let circuit = world.circuit_number(ADA, BEN);
    let session = world.connect(ADA, BEN, circuit).expect("a session over the circuit");
    world.greet(ADA, session, 2_000_000);
    world.run(1_000);
    let now = world.now;
    world.node(ADA).endpoint.drain_all(now, now + Duration::from_secs(8));
    world.run(8_000);
    assert!(world.heard(BEN) < 2_000_000);
    let reasons: Vec<_> = world.node(BEN).closed.iter().map(|(_, reason)| *reason).collect();
    assert_eq!((reasons, world.waiting(ADA)), (vec![CloseReason::Far], vec![]));
}

/// Sessions that do not go over the relay wait for nobody, and nobody for them.
#[test]
fn a_carrier_that_nobody_needs_drains_at_once() {
    let limits = Limits { relay: Some(RelayLimits::default()), ..Limits::default() };
    let mut world = World::new(limits, Everybody, 2);
    world.join_relay(ADA);
    assert!(world.meet(ADA, BEN));
    let (now, node) = (world.now, world.node(ADA));
    let server = node.to_server.unwrap();
    node.endpoint.session_mut(now, server).unwrap().drain(now + Duration::from_secs(60));
    world.run(500);
    assert_eq!(world.node(ADA).closed, [(server, CloseReason::Near)]);
    assert_eq!(world.waiting(ADA), [SessionState::Open]);
}
