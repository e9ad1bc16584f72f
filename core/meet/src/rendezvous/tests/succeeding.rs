//! Clients that lose their session, and come back from elsewhere.

use super::circuits::apart;
use super::*;
use crate::relay::RelayLimits;

/// As one that comes back after an outage, behind a NAT with another mapping: the server hears nothing of the end of the
/// session before.
fn come_back(world: &mut World, number: usize, port: u16, authentic: bool) {
    let mut config = EndpointConfig::default();
    config.max_unmatched_hellos = 1;
    let profile = rtmfp_core::profile::plain::PlainProfile::new(name(number).as_bytes());
    let profile = profile.pretend_authentic(authentic);
    let rng = Box::new(generator(200_u8.wrapping_add(u8::try_from(port % 50).unwrap_or_default())));
    let endpoint = Endpoint::new(config, Arc::new(profile), rng, world.now).unwrap_or_else(|e| unreachable!("{e}"));
    world.add(number, endpoint);
    world.node(number).address = SocketAddr::from(([198, 51, 100, 9], port));
    world.join(number);
    world.run(500);
}

/// Its number went to nobody, and hellos to its old address, for as long as the server kept the session that it had lost.
#[test]
fn who_comes_back_from_another_address_has_its_number_again_and_is_met_there() {
    let mut world = World::new(Limits::default(), Everybody, 2);
    let number = world.number_of(BEN);
    for port in [4_000, 4_001] {
        come_back(&mut world, BEN, port, true);
        assert_eq!(world.number_of(BEN), number, "{port}");
        let found = world.ask(ADA, |client| client.look_up(number));
        assert!(matches!(found, Some(Answer::Found { .. })), "{found:?}");
        assert_eq!(world.server.sessions().count(), 2, "of Ben there is one");
    }
    assert!(world.meet(ADA, BEN));
    let left = world.count(|event| matches!(event, ServerEvent::Left { .. }));
    assert_eq!(left, 2, "the two sessions that were lost");
}

#[test]
fn a_circuit_leads_to_the_session_with_which_a_peer_has_come_back() {
    let mut world = apart(RelayLimits::default(), 2);
    let first = world.ask(ADA, |client| client.open_circuit(name(BEN).as_bytes()));
    assert!(matches!(first, Some(Answer::Circuit { .. })), "{first:?}");
    come_back(&mut world, BEN, 4_000, true);
    world.join_relay(BEN);
    let asked = world.ask(ADA, |client| client.open_circuit(name(BEN).as_bytes()));
    let Some(Answer::Circuit { circuit, .. }) = asked else { unreachable!("{asked:?}") };
    let told = &world.node(BEN).answers;
    let is_told = |answer: &Answer| matches!(answer, Answer::CircuitFrom { circuit: other, .. } if *other == circuit);
    assert!(told.iter().any(is_told), "{told:?}");
}

/// Whoever has seen a certificate can show it.
#[test]
fn nobody_takes_the_place_of_another_without_proof() {
    let mut world = World::with(Limits::default(), Everybody, 2, false);
    come_back(&mut world, BEN, 4_000, false);
    assert_eq!(world.server.sessions().count(), 3);
    assert_eq!(world.count(|event| matches!(event, ServerEvent::Left { .. })), 0);
}

/// Somebody on the way can hold back what a client sends, and let it through later.
#[test]
fn a_session_that_joins_late_does_not_take_the_place_of_a_later_one() {
    let mut world = World::new(Limits::default(), Everybody, 1);
    let now = world.now;
    // It opens, and says nothing yet.
    let early = endpoint(BEN, EndpointConfig::default(), true);
    world.add(BEN, early);
    let node = world.node(BEN);
    let target =
        Target { discriminator: name(SERVER).into_bytes().into(), candidates: vec![(path_to(SERVER), Duration::ZERO)] };
    node.to_server = node.endpoint.open(now, target).ok();
    world.run(500);
    let early = world.nodes.remove(&BEN).unwrap_or_else(|| unreachable!("it was added"));
    come_back(&mut world, BEN, 4_000, true);
    let number = world.number_of(BEN);
    let later = world.nodes.insert(BEN, early);
    let now = world.now;
    let node = world.node(BEN);
    let mut session = node.to_server.and_then(|session| node.endpoint.session_mut(now, session));
    node.outbox = session.as_mut().and_then(|session| session.open_flow(FlowOptions::new(METADATA)).ok());
    let hello = node.client.hello();
    world.say(BEN, hello);
    world.run(500);
    assert_eq!(world.count(|event| matches!(event, ServerEvent::Joined { .. })), 3, "the late one as well");
    assert_eq!(world.count(|event| matches!(event, ServerEvent::Left { .. })), 0);
    let found = world.ask(ADA, |client| client.look_up(number));
    assert!(matches!(found, Some(Answer::Found { .. })), "{found:?}");
    assert!(later.is_some());
}
