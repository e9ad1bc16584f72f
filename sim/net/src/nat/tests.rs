//! NATs one by one, against RFC 4787, and the oracle against the known table of kinds.

use core::net::{IpAddr, SocketAddr};

use super::*;
use crate::link::LinkSpec;
use crate::node::Silent;
use crate::time::Duration;
use crate::world::World;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

const OUT: &str = "203.0.113.1";

fn nat(change: impl FnOnce(&mut NatSpec)) -> Nat {
    let mut spec = NatSpec::new(ip(OUT));
    change(&mut spec);
    Nat::new(spec, Key::mix(1, "nat", ""))
}

/// Outside sockets for one inside socket and three destinations: same address and port, same address, another.
fn three(mapping: Mapping) -> [SocketAddr; 3] {
    let mut nat = nat(|spec| {
        spec.mapping = mapping;
        spec.ports = Ports::Sequential;
    });
    ["1.1.1.1:1", "1.1.1.1:2", "2.2.2.2:1"].map(|dst| nat.outbound(Time(0), at("10.0.0.1:5000"), at(dst)).unwrap())
}

#[test]
fn mapping_kinds() {
    let [a, b, c] = three(Mapping::EndpointIndependent);
    assert!(a == b && b == c);
    let [a, b, c] = three(Mapping::AddressDependent);
    assert!(a == b && b != c);
    let [a, b, c] = three(Mapping::AddressAndPortDependent);
    assert!(a != b && b != c && a != c);
}

#[test]
fn filtering_kinds() {
    for (filtering, expected) in [
        (Filtering::EndpointIndependent, [true, true, true]),
        (Filtering::AddressDependent, [true, true, false]),
        (Filtering::AddressAndPortDependent, [true, false, false]),
    ] {
        let mut nat = nat(|spec| spec.filtering = filtering);
        let outside = nat.outbound(Time(0), at("10.0.0.1:5000"), at("1.1.1.1:1")).unwrap();
        let got = ["1.1.1.1:1", "1.1.1.1:9", "2.2.2.2:1"].map(|src| nat.inbound(Time(1), at(src), outside).is_ok());
        assert_eq!(got, expected, "{filtering:?}");
        assert_eq!(nat.inbound(Time(1), at("1.1.1.1:1"), at("203.0.113.1:9")), Err(DropCause::NoMapping));
    }
}

#[test]
fn ports_are_chosen_as_told() {
    fn out(nat: &mut Nat, src: &str) -> Result<u16, DropCause> {
        nat.outbound(Time(0), at(src), at("1.1.1.1:1")).map(|socket| socket.port())
    }
    let mut preserve = nat(|spec| spec.ports = Ports::Preserve);
    assert_eq!(out(&mut preserve, "10.0.0.1:5000"), Ok(5_000));
    assert_eq!(out(&mut preserve, "10.0.0.2:5000"), Err(DropCause::PortsExhausted));
    let mut either = nat(|spec| spec.ports = Ports::PreserveOrRandom);
    assert_eq!(out(&mut either, "10.0.0.1:5000"), Ok(5_000));
    assert!(out(&mut either, "10.0.0.2:5000").is_ok_and(|port| port != 5_000));
    // Below the range it cannot preserve.
    assert!(out(&mut either, "10.0.0.2:53").is_ok_and(|port| port >= 1_024));
    let mut sequential = nat(|spec| {
        spec.ports = Ports::Sequential;
        spec.port_range = (2_000, 2_001);
    });
    assert_eq!(["10.0.0.1:1", "10.0.0.1:2"].map(|src| out(&mut sequential, src)), [Ok(2_000), Ok(2_001)]);
    assert_eq!(out(&mut sequential, "10.0.0.1:3"), Err(DropCause::PortsExhausted));
    let mut parity = nat(|spec| spec.ports = Ports::RandomParity);
    for port in 5_000..5_200_u16 {
        let got = out(&mut parity, &format!("10.0.0.1:{port}")).unwrap();
        assert_eq!(got % 2, port % 2);
    }
    let mut small = nat(|spec| {
        spec.ports = Ports::RandomParity;
        spec.port_range = (2_001, 2_005);
    });
    let odd: std::collections::BTreeSet<_> =
        ["10.0.0.1:1", "10.0.0.1:3"].into_iter().map(|src| out(&mut small, src).unwrap()).collect();
    assert!(odd.iter().all(|port| port % 2 == 1) && odd.len() == 2, "{odd:?}");
}

/// RFC 4787 §4.2.2, REQ-4: an even port is mapped to an even one, an odd port to an odd one, at both ends of the range.
#[test]
fn parity_is_kept_at_the_ends_of_the_range() {
    for range in [(2_000, 2_003), (2_001, 2_004), (2_000, 2_004), (2_001, 2_005)] {
        for seed in 0..50 {
            let spec = NatSpec { ports: Ports::RandomParity, port_range: range, ..NatSpec::new(ip(OUT)) };
            let mut nat = Nat::new(spec, Key::mix(seed, "nat", ""));
            let mut ports = std::collections::BTreeSet::new();
            for inside in [4_000, 4_001, 4_002, 4_003] {
                let src = SocketAddr::new(ip("10.0.0.1"), inside);
                let port = nat.outbound(Time(0), src, at("1.1.1.1:1")).unwrap().port();
                assert_eq!(port % 2, inside % 2, "{range:?}, {seed}: {inside} to {port}");
                assert!((range.0..=range.1).contains(&port) && ports.insert(port), "{range:?}, {seed}: {port}");
            }
        }
    }
}

#[test]
fn overloading_takes_the_port_over() {
    let mut nat = nat(|spec| {
        spec.ports = Ports::Overload;
        spec.filtering = Filtering::EndpointIndependent;
    });
    let first = nat.outbound(Time(0), at("10.0.0.1:5000"), at("1.1.1.1:1")).unwrap();
    let second = nat.outbound(Time(0), at("10.0.0.2:5000"), at("2.2.2.2:1")).unwrap();
    assert_eq!(first, second);
    assert_eq!(nat.inbound(Time(1), at("1.1.1.1:1"), first), Ok(at("10.0.0.2:5000")));
}

#[test]
fn exhausted_ports_come_back_with_time() {
    let mut nat = nat(|spec| {
        spec.port_range = (2_000, 2_063);
        spec.ports = Ports::Random;
        spec.timeout = Duration::secs(10);
    });
    let mut got = 0;
    for port in 0..100_u16 {
        got += u32::from(nat.outbound(Time(0), SocketAddr::new(ip("10.0.0.1"), port), at("1.1.1.1:1")).is_ok());
    }
    assert_eq!(got, 64);
    assert!(nat.outbound(Time(10_000_000_000), at("10.0.0.1:900"), at("1.1.1.1:1")).is_ok());
}

#[test]
fn a_host_has_its_share() {
    let mut nat = nat(|spec| spec.per_host = Some(2));
    let mut out = |now, src| nat.outbound(Time(now), at(src), at("1.1.1.1:1")).is_ok();
    assert_eq!(
        ["10.0.0.1:1", "10.0.0.1:2", "10.0.0.1:3", "10.0.0.2:1"].map(|src| out(0, src)),
        [true, true, false, true]
    );
    assert!(out(300_000_000_000, "10.0.0.1:3"));
}

#[test]
fn timeouts_and_who_refreshes() {
    for inbound_refresh in [false, true] {
        let mut nat = nat(|spec| {
            spec.timeout = Duration::secs(30);
            spec.inbound_refresh = inbound_refresh;
        });
        let second = |n: u64| Time(n * 1_000_000_000);
        let outside = nat.outbound(second(0), at("10.0.0.1:5000"), at("1.1.1.1:1")).unwrap();
        assert!(nat.inbound(second(20), at("1.1.1.1:1"), outside).is_ok());
        assert_eq!(nat.inbound(second(40), at("1.1.1.1:1"), outside).is_ok(), inbound_refresh);
        // REQ-6: from inside always.
        let outside = nat.outbound(second(60), at("10.0.0.1:5000"), at("1.1.1.1:1")).unwrap();
        nat.outbound(second(85), at("10.0.0.1:5000"), at("1.1.1.1:1")).unwrap();
        assert!(nat.inbound(second(114), at("1.1.1.1:1"), outside).is_ok());
        assert_eq!(nat.inbound(second(150), at("1.1.1.1:1"), outside), Err(DropCause::NoMapping));
        assert_eq!(nat.mappings(second(150)).count(), 0);
    }
}

#[test]
fn hairpins() {
    for (hairpin, seen) in [
        (Hairpin::None, Err(DropCause::NoHairpin)),
        (Hairpin::InternalSource, Ok((at("10.0.0.1:5000"), at("10.0.0.2:6000")))),
        (Hairpin::ExternalSource, Ok((at("203.0.113.1:5000"), at("10.0.0.2:6000")))),
    ] {
        let mut nat = nat(|spec| {
            spec.hairpin = hairpin;
            spec.filtering = Filtering::EndpointIndependent;
        });
        let other = nat.outbound(Time(0), at("10.0.0.2:6000"), at("1.1.1.1:1")).unwrap();
        assert_eq!(nat.hairpin(Time(1), at("10.0.0.1:5000"), other), seen);
    }
}

#[test]
fn pooling() {
    let addresses = |pooling| {
        let mut nat = nat(|spec| {
            spec.outside = (1..=8).map(|n| ip(&format!("203.0.113.{n}"))).collect();
            spec.pooling = pooling;
        });
        let outs = (0..50).map(|port| {
            nat.outbound(Time(0), SocketAddr::new(ip("10.0.0.1"), 3_000 + port), at("1.1.1.1:1")).unwrap().ip()
        });
        outs.collect::<BTreeSet<_>>().len()
    };
    assert_eq!(addresses(Pooling::Paired), 1);
    assert_eq!(addresses(Pooling::Arbitrary), 8);
}

#[test]
fn flushing_with_and_without_new_ports() {
    let mut nat = nat(|_| {});
    let out = |nat: &mut Nat| nat.outbound(Time(0), at("10.0.0.1:5000"), at("1.1.1.1:1")).unwrap();
    let first = out(&mut nat);
    nat.flush(false);
    assert_eq!(nat.inbound(Time(1), at("1.1.1.1:1"), first), Err(DropCause::NoMapping));
    assert_eq!(out(&mut nat), first);
    nat.flush(true);
    assert_ne!(out(&mut nat), first);
}

#[test]
fn firewall_lets_answers_in() {
    let mut firewall = Firewall::new(FirewallSpec { inbound_refresh: false, ..FirewallSpec::default() });
    let (inside, outside) = (at("10.0.0.1:1"), at("1.1.1.1:1"));
    let kind = crate::arena::PacketKind::Datagram;
    assert_eq!(firewall.pass(Time(0), false, (outside, inside), kind), Err(DropCause::Filtered));
    assert_eq!(firewall.pass(Time(0), true, (inside, outside), kind), Ok(()));
    assert_eq!(firewall.pass(Time(1), false, (outside, inside), kind), Ok(()));
    assert_eq!(firewall.pass(Time(1), false, (at("1.1.1.1:2"), inside), kind), Err(DropCause::Filtered));
    assert_eq!(firewall.pass(Time(120_000_000_000), false, (outside, inside), kind), Err(DropCause::Filtered));
    firewall.spec.block_udp = true;
    assert_eq!(firewall.pass(Time(1), true, (inside, outside), kind), Err(DropCause::Filtered));
}

type Make = fn(IpAddr) -> NatSpec;

/// Two hosts behind a NAT each (none for `None`): what the oracle says.
fn oracle(a: Option<Make>, b: Option<Make>) -> bool {
    let mut world = World::new(1);
    let hub = world.add_router("hub");
    let mut hosts = Vec::new();
    for (number, make) in (1..).zip([a, b]) {
        let host = world.add_host(&format!("h{number}"), Silent::default());
        let outside = ip(&format!("203.0.113.{number}"));
        let link = LinkSpec::delay(Duration::millis(1));
        if let Some(make) = make {
            let nat = world.add_nat(&format!("n{number}"), make(outside));
            world.connect(&format!("w{number}"), nat, hub, &link);
            world.connect(&format!("l{number}"), host, nat, &link);
            world.add_address(host, 0, ip("192.168.0.2"), false);
        } else {
            world.connect(&format!("l{number}"), host, hub, &link);
            world.add_address(host, 0, outside, false);
        }
        hosts.push(host);
    }
    world.direct_path_possible(hosts[0], hosts[1], false)
}

/// The known table: all but port-restricted with symmetric, and symmetric with symmetric.
#[test]
fn oracle_knows_the_matrix() {
    let kinds: [(&str, Option<Make>); 5] = [
        ("none", None),
        ("full", Some(NatSpec::full_cone)),
        ("addr", Some(NatSpec::address_restricted)),
        ("port", Some(NatSpec::port_restricted)),
        ("sym", Some(NatSpec::symmetric)),
    ];
    let mut possible = 0;
    for (name_a, a) in kinds {
        for (name_b, b) in kinds {
            let expected = !matches!((name_a, name_b), ("port" | "sym", "sym") | ("sym", "port"));
            assert_eq!(oracle(a, b), expected, "{name_a} and {name_b}");
            possible += u32::from(expected);
        }
    }
    assert_eq!(possible, 22);
}

/// Two hosts behind one NAT.
fn behind_one(hairpin: Hairpin, local: bool) -> bool {
    let mut world = World::new(1);
    let hub = world.add_router("hub");
    let lan = world.add_router("lan");
    let nat = world.add_nat("nat", NatSpec { hairpin, ..NatSpec::port_restricted(ip(OUT)) });
    let link = LinkSpec::delay(Duration::millis(1));
    world.connect("w", nat, hub, &link);
    world.connect("l", lan, nat, &link);
    let hosts = [1, 2].map(|number| {
        let host = world.add_host(&format!("h{number}"), Silent::default());
        world.connect(&format!("h{number}"), host, lan, &link);
        world.add_address(host, 0, ip(&format!("10.0.0.{number}")), false);
        host
    });
    world.direct_path_possible(hosts[0], hosts[1], local)
}

#[test]
fn oracle_knows_hairpins() {
    assert!(behind_one(Hairpin::ExternalSource, false));
    assert!(!behind_one(Hairpin::None, false));
    assert!(behind_one(Hairpin::None, true));
}

/// Homes behind one carrier's NAT.
fn double(carrier_hairpin: Hairpin) -> bool {
    let mut world = World::new(1);
    let hub = world.add_router("hub");
    let access = world.add_router("access");
    let link = LinkSpec::delay(Duration::millis(1));
    let spec = NatSpec { hairpin: carrier_hairpin, ..NatSpec::port_restricted(ip(OUT)) };
    let carrier = world.add_nat("carrier", spec);
    world.connect("w", carrier, hub, &link);
    world.connect("a", access, carrier, &link);
    let hosts = [1, 2].map(|number| {
        let home = world.add_nat(&format!("n{number}"), NatSpec::port_restricted(ip(&format!("100.64.0.{number}"))));
        world.connect(&format!("a{number}"), home, access, &link);
        let host = world.add_host(&format!("h{number}"), Silent::default());
        world.connect(&format!("h{number}"), host, home, &link);
        world.add_address(host, 0, ip("192.168.0.2"), false);
        host
    });
    world.direct_path_possible(hosts[0], hosts[1], false)
}

#[test]
fn oracle_knows_double_nats() {
    assert!(double(Hairpin::ExternalSource));
    assert!(!double(Hairpin::None));
}

#[test]
fn tables_have_limits() {
    let mut firewall = Firewall::new(FirewallSpec::default());
    let kind = crate::arena::PacketKind::Datagram;
    let inside = |n: u32| SocketAddr::new(IpAddr::V4(n.into()), 1);
    for n in 0..firewall::SOCKETS as u32 {
        assert_eq!(firewall.pass(Time(0), true, (inside(n), at("1.1.1.1:1")), kind), Ok(()));
    }
    let one_more = (inside(firewall::SOCKETS as u32), at("1.1.1.1:1"));
    assert_eq!(firewall.pass(Time(0), true, one_more, kind), Err(DropCause::PortsExhausted));
    assert_eq!(firewall.pass(Time(0), true, (inside(0), at("1.1.1.1:2")), kind), Ok(()));
    let mut nat = nat(|spec| spec.ports = Ports::Overload);
    let out = |nat: &mut Nat, n| nat.outbound(Time(0), SocketAddr::new(inside(n).ip(), 5_000), at("1.1.1.1:1"));
    assert!((0..ENTRIES as u32).all(|n| out(&mut nat, n).is_ok()));
    assert_eq!(out(&mut nat, ENTRIES as u32), Err(DropCause::PortsExhausted));
}

/// A host behind a firewall, and one behind a NAT (or none): what the oracle says.
fn walled(firewall: FirewallSpec, other: Option<Make>) -> bool {
    let mut world = World::new(1);
    let hub = world.add_router("hub");
    let link = LinkSpec::delay(Duration::millis(1));
    // A local network between host and firewall.
    let lan = world.add_router("lan");
    let wall = world.add_firewall("wall", firewall);
    world.connect("w", wall, hub, &link);
    world.connect("l", wall, lan, &link);
    let a = world.add_host("a", Silent::default());
    let near = world.add_host("near", Silent::default());
    world.connect("a", a, lan, &link);
    world.connect("near", near, lan, &link);
    let b = world.add_host("b", Silent::default());
    let outside = ip("203.0.113.2");
    if let Some(make) = other {
        let nat = world.add_nat("nat", make(outside));
        world.connect("n", nat, hub, &link);
        world.connect("b", b, nat, &link);
        world.add_address(b, 0, ip("192.168.0.2"), false);
    } else {
        world.connect("b", b, hub, &link);
        world.add_address(b, 0, outside, false);
    }
    world.add_address(a, 0, ip("203.0.113.1"), false);
    world.add_address(near, 0, ip("203.0.113.3"), false);
    // Both ways round it is the same; and with local candidates, which lie behind the same walls.
    let possible = world.direct_path_possible(a, b, false);
    assert_eq!(world.direct_path_possible(b, a, false), possible);
    assert_eq!(world.direct_path_possible(a, b, true), possible);
    // The wall is not between neighbours, who meet if they know their addresses.
    assert!(world.direct_path_possible(a, near, true));
    possible
}

#[test]
fn oracle_knows_firewalls() {
    let wall = |filtering| FirewallSpec { filtering, ..FirewallSpec::default() };
    for filtering in [Filtering::EndpointIndependent, Filtering::AddressDependent, Filtering::AddressAndPortDependent] {
        // Those who send to each other meet.
        assert!(walled(wall(filtering), None), "{filtering:?}");
        for make in [NatSpec::full_cone, NatSpec::address_restricted, NatSpec::port_restricted] {
            assert!(walled(wall(filtering), Some(make)), "{filtering:?}");
        }
        // A symmetric NAT's port is not the one that was asked for.
        let expected = filtering != Filtering::AddressAndPortDependent;
        assert_eq!(walled(wall(filtering), Some(NatSpec::symmetric)), expected, "{filtering:?}");
        let blocked = FirewallSpec { block_udp: true, ..wall(filtering) };
        assert!(!walled(blocked.clone(), None));
        assert!(!walled(blocked, Some(NatSpec::full_cone)));
    }
}
