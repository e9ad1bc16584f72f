//! What a client says of its addresses, and who is told of them.

use super::circuits::apart;
use super::*;
use crate::relay::RelayLimits;

const VICTIM: ([u8; 4], u16) = ([203, 0, 113, 5], 53);

fn mapped(to: impl Into<SocketAddr>) -> Address {
    Address { origin: AddressOrigin::Observed, socket: to.into() }
}

impl World {
    fn tell(&mut self, node: usize, addresses: &[Address]) {
        let message = self.node(node).client.addresses(addresses);
        self.say(node, message);
        self.run(500);
    }

    /// Datagrams from a client to an address.
    fn sent_to(&mut self, node: usize, to: impl Into<SocketAddr>) -> usize {
        let way = (self.node(node).address, to.into());
        self.log.iter().filter(|sent| **sent == way).count()
    }
}

/// Everybody who wanted to meet the client sent hellos wherever it liked.
#[test]
fn nobody_is_sent_to_an_address_at_which_the_client_is_not_seen() {
    let mut world = World::new(Limits::default(), Everybody, 3);
    let forwarded = SocketAddr::new(address(BEN).ip(), 7_777);
    world.tell(BEN, &[mapped(VICTIM), mapped(forwarded)]);
    let refused = |event: &ServerEvent| matches!(event, ServerEvent::Refused { reason: Refusal::NotAllowed, .. });
    assert_eq!(world.count(refused), 1);
    assert!(world.meet(ADA, BEN));
    assert_eq!(world.sent_to(ADA, VICTIM), 0);
    assert!(world.sent_to(ADA, forwarded) > 0);
    // It goes elsewhere, and what it has left behind is somebody else's.
    world.node(BEN).address = SocketAddr::from(([198, 51, 100, 7], 4_000));
    let (_, message) = world.node(BEN).client.look_up(1);
    world.say(BEN, message);
    world.run(5_000);
    assert!(world.meet(3, BEN));
    assert_eq!(world.sent_to(3, forwarded), 0);
}

#[test]
fn a_change_of_forwarded_ports_counts_as_a_request_and_one_of_an_unproved_session_is_refused() {
    let refused = |world: &World, why| {
        world.count(|event| matches!(event, ServerEvent::Refused { reason, .. } if *reason == why))
    };
    let change = |world: &mut World, port| world.tell(BEN, &[mapped((address(BEN).ip(), port))]);
    let requests_per_source = Rate { burst: 5, every: Duration::from_secs(1_000) };
    let mut world = World::new(Limits { requests_per_source, ..Limits::default() }, Everybody, 2);
    (1..=9).for_each(|port| change(&mut world, port));
    assert_eq!(refused(&world, Refusal::TooMany), 4);
    change(&mut world, 5);
    assert_eq!(refused(&world, Refusal::TooMany), 4, "as it was: that is no change");
    let mut world = World::with(Limits::default(), Everybody, 2, false);
    change(&mut world, 1);
    assert_eq!(refused(&world, Refusal::Unproved), 1);
}

/// Of two in one network, who retries is told all addresses, that of the gateway too.
#[test]
fn two_in_one_network_are_told_of_forwarded_ports_as_well() {
    let mut world = World::new(Limits::default(), Everybody, 2);
    let local = |last| Address { origin: AddressOrigin::Local, socket: SocketAddr::from(([10, 0, 0, last], 1_935)) };
    let forwarded = SocketAddr::new(address(BEN).ip(), 7_777);
    world.tell(BEN, &[local(1), local(2), local(3), local(4), mapped(forwarded)]);
    world.node(ADA).address.set_ip(address(BEN).ip());
    world.node(ADA).address.set_port(4_000);
    assert!(world.meet(ADA, BEN));
    assert!(world.sent_to(ADA, SocketAddr::from(([10, 0, 0, 1], 1_935))) > 0);
    assert!(world.sent_to(ADA, forwarded) > 0);
}

/// With the relay alone, its address was told to whoever asked, and it answered hellos that were handed on to it.
#[test]
fn nobody_is_introduced_to_who_does_not_want_it_and_circuits_lead_there_still() {
    let mut world = apart(RelayLimits::default(), 2);
    world.apart = false;
    let (hidden, again) = (world.node(BEN).client.introduction(false), world.node(BEN).client.introduction(true));
    world.say(BEN, hidden);
    world.run(500);
    world.log.clear();
    assert!(!world.meet(ADA, BEN));
    assert_eq!((world.sent_to(ADA, address(BEN)), world.sent_to(BEN, address(ADA))), (0, 0));
    let asked = world.ask(ADA, |client| client.open_circuit(name(BEN).as_bytes()));
    assert!(matches!(asked, Some(Answer::Circuit { .. })), "{asked:?}");
    world.say(BEN, again);
    world.run(10_000);
    assert!(world.sent_to(ADA, address(BEN)) > 0, "the hello is sent time and again");
}

/// A server that hands hellos on all the same learns nothing by it, and nor does who has sent them.
#[test]
fn hellos_that_come_over_a_session_are_left_unanswered_if_that_is_wanted() {
    let mut world = World::new(Limits::default(), Everybody, 3);
    let now = world.now;
    let node = world.node(BEN);
    let session = node.to_server.and_then(|session| node.endpoint.session_mut(now, session));
    session.into_iter().for_each(|mut session| session.ignore_forwarded_hellos());
    world.apart = true;
    assert!(!world.meet(ADA, BEN) && !world.meet(ADA, 3));
    assert_eq!((world.sent_to(BEN, address(ADA)), world.sent_to(3, address(ADA)) > 0), (0, true));
}
