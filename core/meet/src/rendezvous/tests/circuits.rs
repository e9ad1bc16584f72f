//! Circuits: two clients that cannot reach each other, and what a third must not do.

use super::*;
use crate::message::CircuitEnd;
use crate::relay::RelayLimits;
use rtmfp_core::Disposition;

mod draining;

const EVE: usize = 3;

/// Clients that have joined the relay, and reach each other over it only.
pub(super) fn apart(relay: RelayLimits, clients: usize) -> World {
    apart_by(relay, Everybody, clients)
}

fn apart_by(relay: RelayLimits, admit: impl Admit + Send + 'static, clients: usize) -> World {
    let limits = Limits { relay: Some(relay), ..Limits::default() };
    let mut world = World::new(limits, admit, clients);
    world.apart = true;
    (1..=clients).for_each(|client| world.join_relay(client));
    world
}

impl World {
    pub(super) fn join_relay(&mut self, client: usize) {
        let now = self.now;
        let node = self.node(client);
        let server = node.to_server.unwrap_or_else(|| unreachable!("it has joined"));
        node.relay.join(now, &mut node.endpoint, server).unwrap_or_else(|error| unreachable!("{error}"));
        self.run(200);
        self.node(client).answers.clear();
    }

    fn circuit(&mut self, from: usize, to: usize) -> Option<Answer> {
        self.ask(from, |client| client.open_circuit(name(to).as_bytes()))
    }

    fn circuit_number(&mut self, from: usize, to: usize) -> u64 {
        match self.circuit(from, to) {
            Some(Answer::Circuit { circuit, .. }) => circuit,
            other => unreachable!("{other:?}"),
        }
    }

    /// Opens a session over a circuit.
    fn connect(&mut self, from: usize, to: usize, circuit: u64) -> Option<SessionHandle> {
        let now = self.now;
        let node = self.node(from);
        let candidates = vec![(node.relay.path(circuit), Duration::ZERO)];
        let session =
            node.endpoint.open(now, Target { discriminator: name(to).into_bytes().into(), candidates }).ok()?;
        self.run(1_000);
        self.node(from).opened.contains(&session).then_some(session)
    }

    fn greet(&mut self, from: usize, session: SessionHandle, length: usize) {
        let now = self.now;
        let mut session = self.node(from).endpoint.session_mut(now, session).unwrap();
        let flow = session.open_flow(FlowOptions::new("greeting")).unwrap();
        let node = self.node(from);
        node.endpoint.send_flow_mut(now, flow).unwrap().write(vec![7; length]).unwrap();
    }

    fn heard(&mut self, node: usize) -> usize {
        self.node(node).heard.iter().map(Bytes::len).sum()
    }

    /// Sends datagrams of this length into a circuit, one a millisecond.
    fn flood(&mut self, from: usize, circuit: u64, datagrams: usize, length: usize) {
        for _ in 0..datagrams {
            let now = self.now;
            let node = self.node(from);
            let path = node.relay.path(circuit);
            node.relay.carry(now, &mut node.endpoint, path, &vec![0; length]);
            self.run(1);
        }
    }

    fn ended(&self) -> Vec<(CircuitEnd, u64, u64)> {
        let events = self.events.lock().unwrap();
        let ended = events.iter().filter_map(|event| {
            let ServerEvent::CircuitClosed { end, bytes, dropped, .. } = event else { return None };
            Some((*end, *bytes, *dropped))
        });
        ended.collect()
    }

    /// Ends of circuits that a client was told of.
    fn told_ends(&mut self, node: usize) -> Vec<CircuitEnd> {
        let answers = &self.node(node).answers;
        let ends = answers.iter().filter_map(|answer| {
            let Answer::CircuitClosed { end, .. } = answer else { return None };
            Some(*end)
        });
        ends.collect()
    }
}

#[test]
fn two_that_cannot_reach_each_other_meet_over_a_circuit() {
    let mut world = apart(RelayLimits::default(), 2);
    assert!(!world.meet(ADA, BEN), "they cannot meet directly");
    let circuit = world.circuit_number(ADA, BEN);
    let from = Answer::CircuitFrom { circuit, discriminator: name(ADA).into_bytes().into() };
    assert!(world.node(BEN).answers.contains(&from), "{:?}", world.node(BEN).answers);
    let session = world.connect(ADA, BEN, circuit).expect("a session over the circuit");
    // Longer than a packet, and than a window at the start.
    world.greet(ADA, session, 200_000);
    world.run(10_000);
    assert_eq!(world.heard(BEN), 200_000);
    let path = world.node(ADA).endpoint.session(session).and_then(|session| session.path());
    assert_eq!(path, Some(world.node(ADA).relay.path(circuit)));
    assert!(world.node(ADA).relay.is_relayed(&path.unwrap()));
}

#[test]
fn there_is_one_circuit_between_two_whoever_asks() {
    let mut world = apart(RelayLimits::default(), 2);
    let circuit = world.circuit_number(ADA, BEN);
    assert_eq!((world.circuit_number(ADA, BEN), world.circuit_number(BEN, ADA)), (circuit, circuit));
    assert_eq!(world.count(|event| matches!(event, ServerEvent::CircuitOpened { .. })), 1);
}

/// They had no permit, and stayed on the relay of a server that introduces nobody unasked.
#[test]
fn two_with_a_circuit_are_introduced_as_long_as_it_lasts() {
    for ends in [false, true] {
        let mut world = apart_by(RelayLimits::default(), Members, 3);
        world.apart = false;
        [ADA, BEN, EVE].into_iter().for_each(|client| {
            world.ask(client, |client| client.token(b"open"));
        });
        let circuit = world.circuit_number(ADA, BEN);
        if ends {
            let end = world.node(ADA).client.close_circuit(circuit);
            world.say(ADA, end);
            world.run(500);
        }
        assert!(!world.meet(EVE, BEN), "it is another's");
        assert_eq!(world.meet(BEN, ADA), !ends, "either may begin");
    }
}

#[test]
fn a_server_that_does_not_relay_says_so() {
    let mut world = World::new(Limits::default(), Everybody, 2);
    assert!(is_refused(world.circuit(ADA, BEN).as_ref(), Refusal::NoRelay));
    // Nor does it take the flow.
    world.join_relay(ADA);
    assert_eq!(world.node(ADA).rejections, [0]);
}

#[test]
fn who_has_no_flow_for_it_neither_asks_nor_is_reached() {
    let limits = Limits { relay: Some(RelayLimits::default()), ..Limits::default() };
    let mut world = World::new(limits, Everybody, 2);
    assert!(is_refused(world.circuit(ADA, BEN).as_ref(), Refusal::NoRelay));
    world.join_relay(ADA);
    assert!(matches!(world.circuit(ADA, BEN), Some(Answer::Nobody { .. })), "Ben has none");
    world.join_relay(BEN);
    assert!(matches!(world.circuit(ADA, BEN), Some(Answer::Circuit { .. })));
    assert!(is_refused(world.circuit(ADA, ADA).as_ref(), Refusal::NotAllowed), "to oneself");
    assert!(matches!(world.ask(ADA, |client| client.open_circuit(b"nobody")), Some(Answer::Nobody { .. })));
}

/// Nobody uses another's circuit: neither by sending into it nor by ending it.
#[test]
fn a_circuit_is_of_its_two_ends_only() {
    let mut world = apart(RelayLimits::default(), 3);
    let circuit = world.circuit_number(ADA, BEN);
    let before = world.node(BEN).endpoint.stats().datagrams_received;
    world.flood(EVE, circuit, 20, 100);
    let end = world.node(EVE).client.close_circuit(circuit);
    world.say(EVE, end);
    world.run(500);
    assert_eq!(world.told_ends(EVE).first(), Some(&CircuitEnd::Unknown));
    assert!(world.ended().is_empty(), "{:?}", world.ended());
    // Of what Ben has received since, nothing is for the session within: only acknowledgements of the server's.
    let stats = world.node(BEN).endpoint.stats();
    assert_eq!(stats.dropped_unknown_session + stats.dropped_too_short + stats.dropped_not_authentic, 0, "{before}");
    assert!(world.connect(ADA, BEN, circuit).is_some());
}

#[test]
fn what_may_be_sent_in_a_second_is_limited() {
    let relay = RelayLimits { rate_per_session: 100_000, ..RelayLimits::default() };
    let mut world = apart(relay, 2);
    let circuit = world.circuit_number(ADA, BEN);
    // Ten times as much as may be.
    world.flood(ADA, circuit, 1_000, 1_000);
    world.run(500);
    let end = world.node(ADA).client.close_circuit(circuit);
    world.say(ADA, end);
    world.run(500);
    let [(CircuitEnd::Closed, bytes, dropped)] = world.ended()[..] else { unreachable!("{:?}", world.ended()) };
    assert!((100_000..=140_000).contains(&bytes) && dropped >= 850, "{bytes} bytes, {dropped} dropped");
    assert_eq!((world.told_ends(ADA), world.told_ends(BEN)), (vec![CircuitEnd::Closed], vec![CircuitEnd::Closed]));
}

#[test]
fn what_all_may_send_in_a_second_is_limited() {
    let relay = RelayLimits { rate: 100_000, ..RelayLimits::default() };
    let mut world = apart(relay, 4);
    let circuits = [(ADA, world.circuit_number(ADA, BEN)), (EVE, world.circuit_number(EVE, 4))];
    for _ in 0..500 {
        circuits.iter().for_each(|(from, circuit)| world.flood(*from, *circuit, 1, 1_000));
    }
    for (from, circuit) in circuits {
        let end = world.node(from).client.close_circuit(circuit);
        world.say(from, end);
    }
    world.run(500);
    let bytes: u64 = world.ended().iter().map(|(_, bytes, _)| bytes).sum();
    assert!((100_000..=140_000).contains(&bytes), "{bytes}");
}

#[test]
fn who_has_sent_all_that_it_may_sends_no_more() {
    let relay = RelayLimits { bytes_per_session: 11_000, ..RelayLimits::default() };
    let mut world = apart(relay, 3);
    let circuit = world.circuit_number(ADA, BEN);
    world.flood(ADA, circuit, 12, 1_000);
    world.run(500);
    assert_eq!(world.ended(), [(CircuitEnd::Spent, 10_000, 1)]);
    assert!(is_refused(world.circuit(ADA, EVE).as_ref(), Refusal::TooMany), "nor over another circuit");
    // Nor after it has ended its flow and joined again.
    let now = world.now;
    let node = world.node(ADA);
    let outbox = node.relay.outbox().unwrap();
    node.endpoint.send_flow_mut(now, outbox).unwrap().close();
    world.run(500);
    world.join_relay(ADA);
    assert!(is_refused(world.circuit(ADA, EVE).as_ref(), Refusal::TooMany));
    assert!(matches!(world.circuit(BEN, EVE), Some(Answer::Circuit { .. })), "others are not concerned");
}

#[test]
fn circuits_have_limits_at_either_end_and_in_all() {
    let relay = RelayLimits { circuits_per_session: 2, circuits: 3, ..RelayLimits::default() };
    let mut world = apart(relay, 6);
    world.circuit_number(ADA, BEN);
    world.circuit_number(ADA, EVE);
    assert!(is_refused(world.circuit(ADA, 4).as_ref(), Refusal::TooMany));
    assert!(is_refused(world.circuit(4, ADA).as_ref(), Refusal::Full), "she has two");
    let third = world.circuit_number(4, 5);
    assert!(is_refused(world.circuit(5, 6).as_ref(), Refusal::Full), "there are three");
    let end = world.node(5).client.close_circuit(third);
    world.say(5, end);
    world.circuit_number(5, 6);
}

/// Whoever opens circuits to somebody leaves it half of its own.
#[test]
fn nobody_is_shut_out_by_circuits_of_others() {
    let relay = RelayLimits { circuits_per_session: 4, circuits_per_source: 2, ..RelayLimits::default() };
    let mut world = apart(relay, 6);
    world.circuit_number(4, ADA);
    world.circuit_number(5, ADA);
    assert!(is_refused(world.circuit(6, ADA).as_ref(), Refusal::Full));
    world.circuit_number(ADA, BEN);
    world.circuit_number(ADA, EVE);
    // Of her four, no more: two were hers to open, and so many has her address.
    assert!(is_refused(world.circuit(ADA, 6).as_ref(), Refusal::TooMany));
    world.circuit_number(4, BEN);
    assert!(is_refused(world.circuit(4, EVE).as_ref(), Refusal::TooMany), "the address of 4 has two");
    let end = world.node(4).client.close_circuit(1);
    world.say(4, end);
    world.circuit_number(4, EVE);
}

/// What is not the datagram counts too: else many small ones, or long numbers, would be free.
#[test]
fn small_datagrams_and_long_numbers_are_not_free() {
    let relay = RelayLimits { rate_per_session: 100_000, ..RelayLimits::default() };
    let mut world = apart(relay, 2);
    let circuit = world.circuit_number(ADA, BEN);
    let now = world.now;
    let node = world.node(ADA);
    let path = node.relay.path(circuit);
    (0..3_000).for_each(|_| node.relay.carry(now, &mut node.endpoint, path, &[0]));
    world.run(500);
    let outbox = world.node(ADA).relay.outbox().unwrap();
    let padded = [vec![0x80; 1_000], crate::relay::message(circuit, &[7])].concat();
    let now = world.now;
    world.node(ADA).endpoint.send_flow_mut(now, outbox).unwrap().write(padded).unwrap();
    world.run(500);
    let [(CircuitEnd::Closed, bytes, dropped)] = world.ended()[..] else { unreachable!("{:?}", world.ended()) };
    // A burst of 32 KiB, and half a second's.
    assert!((400..=1_300).contains(&bytes) && dropped > 1_000, "{bytes} passed, {dropped} dropped");
    assert!(world.node(ADA).rejections.contains(&MALFORMED), "{:?}", world.node(ADA).rejections);
}

#[test]
fn what_a_source_may_send_in_a_second_is_limited() {
    let relay = RelayLimits { rate_per_source: 100_000, ..RelayLimits::default() };
    let mut world = apart(relay, 2);
    let circuit = world.circuit_number(ADA, BEN);
    world.flood(ADA, circuit, 1_000, 1_000);
    let end = world.node(ADA).client.close_circuit(circuit);
    world.say(ADA, end);
    world.run(500);
    let [(_, bytes, _)] = world.ended()[..] else { unreachable!("{:?}", world.ended()) };
    assert!((95_000..=140_000).contains(&bytes), "{bytes} bytes");
}

#[test]
fn a_circuit_ends_when_it_is_idle_old_or_left() {
    let relay = RelayLimits { idle: Duration::from_secs(20), age: Duration::from_secs(50), ..RelayLimits::default() };
    let mut world = apart(relay, 3);
    let idle = world.circuit_number(ADA, BEN);
    let used = world.circuit_number(ADA, EVE);
    for _ in 0..5 {
        world.run(10_000);
        world.flood(EVE, used, 1, 50);
    }
    let ends: Vec<_> = world.ended().into_iter().map(|(end, ..)| end).collect();
    assert_eq!(ends, [CircuitEnd::Idle, CircuitEnd::Old]);
    assert_eq!(world.told_ends(BEN), [CircuitEnd::Idle], "{idle}");

    world.circuit_number(ADA, BEN);
    let now = world.now;
    world.node(BEN).endpoint.close_all(now, CloseMode::Orderly);
    world.run(500);
    assert_eq!(world.told_ends(ADA).last(), Some(&CircuitEnd::Closed));
    assert!(matches!(world.circuit(ADA, BEN), Some(Answer::Nobody { .. })));
}

/// A client is told who asks, so that must be proved; and who may not find a peer may not relay to it either.
#[test]
fn only_who_is_known_and_allowed_gets_a_circuit() {
    let limits = Limits { relay: Some(RelayLimits::default()), ..Limits::default() };
    let mut world = World::with(limits, Everybody, 2, false);
    world.join_relay(ADA);
    assert!(is_refused(world.circuit(ADA, BEN).as_ref(), Refusal::Unproved));
    let mut world = apart_by(RelayLimits::default(), Doorkeeper, 2);
    assert!(matches!(world.circuit(ADA, BEN), Some(Answer::Nobody { .. })));
    assert!(matches!(world.ask(ADA, |client| client.token(b"open")), Some(Answer::Accepted { .. })));
    assert!(matches!(world.circuit(ADA, BEN), Some(Answer::Circuit { .. })));
}

/// The flow for questions may come later than the one for datagrams, or never.
#[test]
fn a_message_that_follows_no_syntax_ends_a_flow_without_questions_too() {
    let limits = Limits { relay: Some(RelayLimits::default()), ..Limits::default() };
    let mut world = World::new(limits, Everybody, 0);
    let now = world.now;
    let mut stranger = endpoint(9, EndpointConfig::default(), true);
    let target =
        Target { discriminator: name(SERVER).into_bytes().into(), candidates: vec![(path_to(SERVER), Duration::ZERO)] };
    let session = stranger.open(now, target).unwrap();
    let flow = stranger.session_mut(now, session).unwrap().open_flow(FlowOptions::new(RELAY_METADATA)).unwrap();
    stranger.send_flow_mut(now, flow).unwrap().write(vec![0x80; 100]).unwrap();
    world.add(9, stranger);
    world.run(1_000);
    assert_eq!(world.node(9).rejections, [MALFORMED]);
}

#[test]
fn a_message_that_follows_no_syntax_ends_what_the_client_has() {
    let mut world = apart(RelayLimits::default(), 2);
    let circuit = world.circuit_number(ADA, BEN);
    let now = world.now;
    let long = vec![0; crate::relay::MAX_DATAGRAM + 1];
    let node = world.node(ADA);
    let outbox = node.relay.outbox().unwrap();
    let mut flow = node.endpoint.send_flow_mut(now, outbox).unwrap();
    flow.write(crate::relay::message(circuit, &long)).unwrap();
    world.run(500);
    assert_eq!(world.ended(), [(CircuitEnd::Closed, 0, 0)]);
    assert!(world.node(ADA).rejections.contains(&MALFORMED), "{:?}", world.node(ADA).rejections);
}

/// A session over a circuit, one of whose ends asks the server to introduce it on and on.
fn relayed(seconds: u64) -> (World, SessionHandle, Path) {
    let mut world = apart(RelayLimits::default(), 2);
    let circuit = world.circuit_number(ADA, BEN);
    let session = world.connect(ADA, BEN, circuit).expect("a session over the circuit");
    let now = world.now;
    let node = world.node(ADA);
    node.endpoint.session_mut(now, session).unwrap().add_introducer(path_to(SERVER));
    let circuit = node.relay.path(circuit);
    world.run(seconds * 1_000);
    assert_eq!(world.path(ADA, session), circuit);
    (world, session, circuit)
}

impl World {
    fn path(&mut self, node: usize, session: SessionHandle) -> Path {
        self.node(node).endpoint.session(session).and_then(|session| session.path()).unwrap()
    }

    /// The path of the session that another has opened to this node.
    fn path_from(&mut self, node: usize, from: usize) -> Path {
        let endpoint = &self.node(node).endpoint;
        let session = endpoint.session_named(name(from).as_bytes()).unwrap();
        endpoint.session(session).and_then(|session| session.path()).unwrap()
    }

    /// Says something, and tells whether all of it arrives within these seconds.
    fn arrives(&mut self, session: SessionHandle, seconds: u64) -> bool {
        let before = self.heard(BEN);
        self.greet(ADA, session, 10_000);
        self.run(seconds * 1_000);
        self.heard(BEN) == before + 10_000
    }
}

#[test]
fn a_relayed_session_moves_to_a_direct_path_and_back_when_that_fails() {
    let (mut world, session, circuit) = relayed(5);
    world.greet(ADA, session, 500_000);
    world.run(20);
    world.apart = false;
    world.run(20_000);
    assert_eq!(world.heard(BEN), 500_000, "nothing is lost in the move");
    assert_eq!((world.path(ADA, session).remote, world.path_from(BEN, ADA).remote), (address(BEN), address(ADA)));
    assert!(world.arrives(session, 1));

    // Long after the server would have ended a circuit that nobody uses.
    world.run(400_000);
    assert_eq!(world.ended(), []);
    world.apart = true;
    assert!(world.arrives(session, 30), "it comes back to the relay");
    assert_eq!(world.path(ADA, session), circuit);
    assert!(world.path_from(BEN, ADA).interface.is_last_resort());

    world.apart = false;
    world.run(60_000);
    assert_eq!(world.path(ADA, session).remote, address(BEN), "and leaves it again");
}

/// The first packets of a direct path may be its last.
#[test]
fn a_direct_path_that_fails_at_once_leads_back_to_the_relay() {
    let (mut world, session, circuit) = relayed(1);
    world.apart = false;
    while world.path(ADA, session) == circuit {
        world.run(1);
    }
    world.apart = true;
    assert!(world.arrives(session, 40));
    assert_eq!(world.path(ADA, session), circuit);
}

/// The session with the server would carry itself.
#[test]
fn the_session_that_leads_to_the_relay_is_not_asked_to_go_over_it() {
    let (mut world, session, _) = relayed(1);
    let elsewhere = world.node(ADA).relay.path(777);
    let mut handed = 0;
    for _ in 0..20 {
        world.greet(ADA, session, 2_000);
        world.run(15);
        // What the server sends to Ada comes to her by another circuit, as if somebody had put it in.
        let to_ada =
            world.in_flight.values_mut().filter(|(from, to, _)| (*from, *to) == (address(SERVER), address(ADA)));
        let wrapped: Vec<_> = to_ada.map(|(_, _, bytes)| core::mem::take(bytes)).collect();
        let now = world.now;
        let ada = world.node(ADA);
        for mut bytes in wrapped {
            let taken = ada.endpoint.handle_datagram(now, elsewhere, RecvMeta::default(), &mut bytes);
            handed += u32::from(taken == Disposition::Processed);
        }
        let mut buf = TransmitBuf::new(4);
        while let Some(transmit) = ada.endpoint.poll_transmit(now, &mut buf) {
            assert_ne!(transmit.path, elsewhere, "nobody is asked whether it is there");
        }
        world.run(1_000);
    }
    assert!(handed > 10, "{handed}");
}

/// A packet that was held up in the relay is no sign that the far end is there.
#[test]
fn what_comes_late_over_the_relay_moves_nothing_back() {
    let (mut world, session, circuit) = relayed(1);
    world.apart = false;
    world.run(20_000);
    let direct = world.path_from(BEN, ADA);
    assert_eq!(direct.remote, address(ADA));
    let now = world.now;
    let ada = world.node(ADA);
    // Data take the way through the relay, as if they had waited there. All else goes directly.
    let flow = ada.endpoint.session_mut(now, session).unwrap().open_flow(FlowOptions::new("greeting")).unwrap();
    for _ in 0..50 {
        let now = world.now;
        let ada = world.node(ADA);
        ada.endpoint.send_flow_mut(now, flow).unwrap().write([1].as_slice()).unwrap();
        let mut buf = TransmitBuf::new(4);
        while ada.endpoint.poll_transmit(now, &mut buf).is_some() {
            buf.datagrams().for_each(|bytes| ada.relay.carry(now, &mut ada.endpoint, circuit, bytes));
        }
        world.run(100);
        assert_eq!(world.path_from(BEN, ADA), direct);
    }
    world.run(2_000);
    assert_eq!(world.heard(BEN), 50);
}
