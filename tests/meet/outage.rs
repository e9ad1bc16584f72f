//! What fails while two exchange messages: the server with its relay, and the NAT of either. No message is lost, and no
//! application does anything about it.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::sync::Arc;

use datagram_sim::{LinkSpec, NodeId, StageSpec, Time, World};
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::{Endpoint, EndpointConfig, Instant, OpenFailure};
use rtmfp_meet::{Failure, GuestEvent, PathKind, PathPolicy, RelayInterface, RelayOutcome};
use rtmfp_sim::rtmfp::{EndpointNode, SimRandom};

use super::guest::{PORT, Program};
use super::{NATS, Nat, node, rendezvous, server_config, world};

/// Five seconds of messages.
const MESSAGES: u64 = 50;
/// In the midst of them.
const FAILS: Time = Time(3_500_000_000);
const END: Time = Time(40_000_000_000);

fn nat(name: &str) -> Nat {
    NATS.iter().find(|(other, _)| *other == name).unwrap().1
}

/// Another process in the server's place, with the same identity, that remembers nothing.
fn restart_server(world: &mut World, seed: u64) {
    let server = world.find("server").unwrap();
    let profile = PlainProfile::new(b"server").pretend_authentic(true);
    let rng = SimRandom::new(world.key("server", &format!("endpoint again {seed}")));
    let endpoint = Endpoint::new(server_config(), Arc::new(profile), Box::new(rng), Instant::ORIGIN).unwrap();
    let app = rendezvous(world);
    world.replace_node(server, Box::new(EndpointNode::new(endpoint, app, PORT)));
}

fn program(world: &World, id: NodeId) -> &Program {
    world.node::<EndpointNode<Program>>(id).map(EndpointNode::app).unwrap()
}

/// The address of a circuit's other end.
fn place_of_circuit(circuit: u64) -> SocketAddr {
    RelayInterface::new(0).path(circuit).remote
}

/// Runs two with something that fails. All messages arrive, in one session.
fn survive(seed: u64, nats: [&str; 2], fail: impl FnOnce(&mut World)) -> [Vec<PathKind>; 2] {
    survive_and(seed, nats, fail, |_, _| {})
}

/// The same, and looks at what became of it.
fn survive_and(
    seed: u64,
    nats: [&str; 2],
    fail: impl FnOnce(&mut World),
    look: impl FnOnce(&World, NodeId),
) -> [Vec<PathKind>; 2] {
    let (mut world, [ada, ben]) = world(seed, nats.map(nat), MESSAGES, PathPolicy::Any);
    world.run_until(FAILS).unwrap();
    assert!(program(&world, ben).got.len() < MESSAGES as usize, "seed {seed}: it is over already");
    fail(&mut world);
    world.run_until(END).unwrap();
    look(&world, ada);
    let (ada, ben) = (program(&world, ada), program(&world, ben));
    let all: Vec<u64> = (0..MESSAGES).collect();
    assert_eq!(ben.got, all, "seed {seed}, {nats:?}: {:#?}", (&ada.told, &ben.told));
    [ada.kinds(), ben.kinds()]
}

fn registrations(program: &Program) -> usize {
    program.told.iter().filter(|(_, event)| *event == GuestEvent::Registered).count()
}

#[test]
fn the_server_restarts_and_nobody_notices() {
    for seed in 0..10 {
        let (mut world, guests) = world(seed, [nat("port"), nat("address")], MESSAGES, PathPolicy::Any);
        world.run_until(FAILS).unwrap();
        restart_server(&mut world, seed);
        world.run_until(Time(90_000_000_000)).unwrap();
        let [ada, ben] = guests.map(|guest| program(&world, guest));
        assert_eq!(ben.got, (0..MESSAGES).collect::<Vec<_>>(), "seed {seed}");
        assert_eq!([ada.kinds(), ben.kinds()], [[PathKind::Direct], [PathKind::Direct]], "seed {seed}");
        assert_eq!([ada, ben].map(registrations), [2, 2], "seed {seed}: {:#?}", (&ada.told, &ben.told));
        let failure = Failure::ServerNotReached(OpenFailure::TimedOut);
        let lost = GuestEvent::ServerLost { failure, retry: Duration::ZERO };
        for program in [ada, ben] {
            assert!(program.told.iter().any(|(_, event)| *event == lost), "it is tried at once: {:#?}", program.told);
        }
    }
}

/// When they ask for it: the others have not noticed yet that the server is another.
const TAKES: Instant = Instant::from_millis(3_700);

/// Two more, who have the new server's first circuit before others ask for one: numbers begin anew in it.
fn take_first_circuit(world: &mut World) {
    let net = world.find("net").unwrap();
    for (last, name) in [(8, "eve"), (9, "fay")] {
        let rng = SimRandom::new(world.key(name, "guest"));
        let whom = (name == "eve").then_some("fay");
        let mut program = Program::new(whom, rng).with(MESSAGES, PathPolicy::RelayOnly);
        program.begin = Some(TAKES);
        let id = node(world, name, EndpointConfig::default(), program);
        let line = LinkSpec::symmetric(vec![StageSpec::Delay(datagram_sim::Duration::millis(1))]);
        world.connect(name, id, net, &line);
        world.add_address(id, 0, IpAddr::V4(Ipv4Addr::new(198, 51, 100, last)), false);
    }
}

/// Where the one session with a peer goes.
fn place(world: &World, id: NodeId, peer: &str) -> SocketAddr {
    let endpoint = world.node::<EndpointNode<Program>>(id).unwrap().endpoint();
    let session = endpoint.session_named(peer.as_bytes()).and_then(|session| endpoint.session(session)).unwrap();
    session.path().unwrap().remote
}

#[test]
fn the_relay_restarts_and_the_session_goes_on_over_another_circuit() {
    for seed in 0..20 {
        let mut places = Vec::new();
        let kinds = survive_and(
            seed,
            ["symmetric", "symmetric"],
            |world| {
                let ada = world.find("ada").unwrap();
                places.push(place(world, ada, "ben"));
                restart_server(world, seed);
                take_first_circuit(world);
            },
            |world, ada| {
                assert_ne!(place(world, ada, "ben"), place_of_circuit(1), "seed {seed}: that is of the other two");
            },
        );
        assert_eq!(places, [place_of_circuit(1)], "seed {seed}");
        for kinds in kinds {
            assert_eq!((kinds.first(), kinds.last()), (Some(&PathKind::Relayed), Some(&PathKind::Relayed)), "{seed}");
        }
    }
}

/// The server cannot be reached for a while, and remembers everything.
#[test]
fn the_relay_is_silent_for_a_while_and_the_session_comes_back() {
    for (seed, silence) in (0..5).flat_map(|seed| [1_500, 6_000, 20_000].map(|silence| (seed, silence))) {
        for policy in [PathPolicy::Any, PathPolicy::RelayOnly] {
            let (mut world, [ada, ben]) = world(seed, ["symmetric", "symmetric"].map(nat), MESSAGES, policy);
            world.run_until(FAILS).unwrap();
            let line = world.find_link("server").unwrap();
            world.set_link(line, false, None);
            world.run_until(Time(FAILS.0 + silence * 1_000_000)).unwrap();
            world.set_link(line, true, None);
            world.run_until(Time(120_000_000_000)).unwrap();
            let (ada, ben) = (program(&world, ada), program(&world, ben));
            let what = format!("seed {seed}, {silence} ms, {policy:?}: {:#?}", (&ada.told, &ben.told));
            assert_eq!(ben.got, (0..MESSAGES).collect::<Vec<_>>(), "{what}");
            let last = [ada.kinds(), ben.kinds()].map(|kinds| kinds.last().copied());
            assert_eq!(last, [Some(PathKind::Relayed); 2], "{what}");
        }
    }
}

#[test]
fn either_end_moves_and_the_session_goes_on() {
    for (who, seed) in ["ada", "ben"].into_iter().flat_map(|who| (0..10).map(move |seed| (who, seed))) {
        for nats in [["port", "port"], ["symmetric", "full cone"], ["symmetric", "symmetric"]] {
            let last = survive(seed, nats, |world| {
                let nat = world.find(&format!("{who}'s NAT")).unwrap();
                world.flush_nat(nat, true);
            });
            let relayed = nats[1] == "symmetric";
            let kind = if relayed { PathKind::Relayed } else { PathKind::Direct };
            assert_eq!(last.map(|kinds| kinds.last().copied()), [Some(kind); 2], "seed {seed}, {nats:?}, {who}");
        }
    }
}

#[test]
fn a_policy_is_kept_and_a_failure_names_its_step() {
    let meet = |nats: [&str; 2], policy| {
        let (mut world, [ada, ben]) = world(7, nats.map(nat), 5, policy);
        world.run_until(END).unwrap();
        let failure =
            |event: &GuestEvent| if let GuestEvent::Failed { failure, .. } = event { Some(*failure) } else { None };
        let failed = program(&world, ada).told.iter().find_map(|(_, event)| failure(event));
        (program(&world, ada).kinds(), program(&world, ben).got.len(), failed)
    };
    assert_eq!(meet(["none", "none"], PathPolicy::RelayOnly), (vec![PathKind::Relayed], 5, None));
    assert_eq!(meet(["none", "none"], PathPolicy::DirectOnly), (vec![PathKind::Direct], 5, None));
    let silent = Failure::NoAnswer { relay: RelayOutcome::NotAllowed };
    assert_eq!(meet(["symmetric", "symmetric"], PathPolicy::DirectOnly), (vec![], 0, Some(silent)));
    assert_eq!(meet(["none", "none"], PathPolicy::LanOnly), (vec![], 0, Some(Failure::NotOnLan)));
}
