//! Two in one network, behind one NAT, which also sends back to the inside what is addressed to its outside.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use datagram_sim::{LinkSpec, NatSpec, NodeId, StageSpec, Time, World};
use rtmfp_core::EndpointConfig;
use rtmfp_meet::{PathKind, PathPolicy};
use rtmfp_sim::rtmfp::{EndpointNode, SimRandom};

use super::guest::{PORT, Program, SERVER};
use super::{node, rendezvous, server_config};

/// How the second is reached by the first, and how many messages arrive.
fn meet(seed: u64, tells: bool) -> (Vec<PathKind>, usize) {
    let mut world = World::new(seed);
    let line = |millis| LinkSpec::symmetric(vec![StageSpec::Delay(datagram_sim::Duration::millis(millis))]);
    let net = world.add_router("net");
    let app = rendezvous(&world);
    let server = node(&mut world, "server", server_config(), app);
    world.connect("server", server, net, &line(10));
    world.add_address(server, 0, SERVER.ip(), false);
    let nat = world.add_nat("NAT", NatSpec::port_restricted(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1))));
    let lan = world.add_router("lan");
    world.connect("line", nat, net, &line(10));
    world.connect("home", nat, lan, &line(0));
    let mut guests: Vec<NodeId> = Vec::new();
    for (last, name) in [(2, "ada"), (3, "ben")] {
        let rng = SimRandom::new(world.key(name, "guest"));
        let ip = IpAddr::V4(Ipv4Addr::new(192, 168, 0, last));
        let mut program = Program::new((name == "ada").then_some("ben"), rng).with(5, PathPolicy::Any);
        if tells {
            program = program.at(SocketAddr::new(ip, PORT));
        }
        let guest = node(&mut world, name, EndpointConfig::default(), program);
        world.connect(name, guest, lan, &line(1));
        world.add_address(guest, 0, ip, false);
        guests.push(guest);
    }
    world.run_until(Time(10_000_000_000)).unwrap();
    let program = |id| world.node::<EndpointNode<Program>>(id).map(EndpointNode::app).unwrap();
    (program(guests[0]).kinds(), program(guests[1]).got.len())
}

#[test]
fn two_behind_one_nat_meet_on_their_network() {
    for seed in 0..10 {
        assert_eq!(meet(seed, true), (vec![PathKind::Lan], 5), "seed {seed}");
    }
    // It is what they tell the server that does it.
    assert_eq!(meet(1, false).1, 5);
    assert_ne!(meet(1, false).0, [PathKind::Lan]);
}
