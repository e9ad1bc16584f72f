//! Hosts, addresses, NATs and taps.

use super::*;
use crate::route::Prefix;

#[test]
fn a_node_that_spins_is_caught() {
    struct Spin;
    impl Node for Spin {
        fn on_datagram(&mut self, _: Time, _: &RxMeta, _: &mut [u8]) {}
        fn on_timeout(&mut self, _: Time) {}
        fn poll_transmit(&mut self, _: Time, _: &mut Vec<u8>) -> Option<Tx> {
            None
        }
        fn poll_timeout(&self) -> Option<Time> {
            Some(Time(5))
        }
    }
    let mut world = World::new(1);
    world.add_host("spin", Spin);
    let failure = world.run_until(Time(10));
    assert!(matches!(failure, Err(RunError::Livelock { ref node, at: Time(5), .. }) if node == "spin"), "{failure:?}");
    assert_eq!(world.step(), failure.map(|()| None));
}

#[test]
fn cut_links_lose_or_delay() {
    for (late, expected) in [(None, vec![]), (Some(Duration::millis(100)), vec![125 * MS])] {
        let mut pair = Pair::new(Script::burst(1, 100, Time(0), to_b()), vec![Delay(Duration::millis(25))]);
        pair.run(10 * MS);
        pair.world.set_link(pair.link, false, late);
        pair.run(20 * MS);
        pair.world.with_node(pair.a, |a: &mut Script, now| a.send.push((now, to_b(), vec![0; 4])));
        pair.world.set_link(pair.link, true, None);
        assert_eq!(pair.run(500 * MS).times(), expected);
        let lost = pair.world.counters().dropped(DropCause::LinkDown);
        assert_eq!(lost, if late.is_some() { 1 } else { 2 });
    }
}

#[test]
fn moved_addresses() {
    for (policy, got) in [(InFlight::Lost, 1), (InFlight::DeliveredUntil(Time(100 * MS)), 2)] {
        let mut world = World::new(1);
        let hub = world.add_router("hub");
        let new = Tx::new(1, "10.0.0.9:2".parse().unwrap());
        // The third goes to the old address when nobody has it; the last when a stranger does.
        let send = [(0, to_b()), (20, new), (40, to_b()), (60, to_b())];
        let send = send.map(|(ms, tx)| (Time(ms * MS), tx, vec![0; 4]));
        let a = world.add_host("a", Script::new(send.to_vec()));
        let b = world.add_host("b", Script::default());
        let c = world.add_host("c", Script::default());
        for (name, host, address) in [("a", a, "10.0.0.1"), ("b", b, "10.0.0.2"), ("c", c, "10.0.0.3")] {
            world.connect(name, host, hub, &LinkSpec::delay(Duration::millis(5)));
            world.add_address(host, 0, ip(address), false);
        }
        world.run_until(Time(7 * MS)).unwrap();
        world.rebind(b, 0, ip("10.0.0.9"), policy, true);
        world.run_until(Time(50 * MS)).unwrap();
        assert_eq!(world.counters().dropped(DropCause::NoRoute), 1);
        world.add_address(c, 0, ip("10.0.0.2"), false);
        world.run_until(Time(100 * MS)).unwrap();
        assert_eq!(world.node::<Script>(b).unwrap().got.len(), got);
        assert_eq!(world.node::<Script>(c).unwrap().got.len(), 1);
        let change = NetChange::InterfaceUp { interface: 0, address: ip("10.0.0.9") };
        assert_eq!(world.node::<Script>(b).unwrap().changes, [change]);
    }
}

#[test]
fn interfaces_are_chosen_by_what_is_up() {
    let mut world = World::new(1);
    let hub = world.add_router("hub");
    let forced = Tx { interface: Some(0), ..to_b() };
    let send = [(0, to_b()), (20, to_b()), (21, forced)].map(|(ms, tx)| (Time(ms * MS), tx, vec![0; 4]));
    let a = world.add_host("a", Script::new(send.to_vec()));
    let b = world.add_host("b", Script::default());
    world.connect("wifi", a, hub, &LinkSpec::delay(Duration::millis(1)));
    world.connect("mobile", a, hub, &LinkSpec::delay(Duration::millis(2)));
    world.connect("b", b, hub, &LinkSpec::default());
    world.add_address(a, 0, ip("10.0.1.1"), false);
    world.add_address(a, 1, ip("10.0.2.1"), false);
    world.add_address(b, 0, ip("10.0.0.2"), false);
    world.run_until(Time(10 * MS)).unwrap();
    world.set_interface(a, 0, false, true);
    world.run_until(Time(30 * MS)).unwrap();
    let from: Vec<_> = world.node::<Script>(b).unwrap().got.iter().map(|(at, src, _)| (at.0, src.ip())).collect();
    assert_eq!(from, [(MS, ip("10.0.1.1")), (22 * MS, ip("10.0.2.1"))]);
    assert_eq!(world.counters().dropped(DropCause::InterfaceDown), 1);
    assert_eq!(world.node::<Script>(a).unwrap().changes, [NetChange::InterfaceDown { interface: 0 }]);
}

#[test]
fn frozen_hosts_catch_up() {
    let mut pair = Pair::new(Script::burst(3, 100, Time(10 * MS), to_b()), vec![]);
    pair.world.set_socket_limit(pair.b, 150);
    pair.run(5 * MS);
    pair.world.freeze(pair.b);
    assert_eq!(pair.run(100 * MS).got.len(), 0);
    pair.world.thaw(pair.b, Duration::millis(1));
    // 72 bytes of payload each: two fit. The clock stood at 5 ms and then jumped one.
    assert_eq!(pair.run(100 * MS).times(), [6 * MS, 6 * MS]);
    assert_eq!(pair.world.counters().dropped(DropCause::SocketBuffer), 1);
}

#[test]
fn clocks_drift_and_step() {
    // Twice as fast: what is due at 10 ms of local time happens at 5.
    let mut pair = Pair::new(Script::burst(1, 100, Time(10 * MS), to_b()), vec![]);
    pair.world.set_clock(pair.a, Clock::new(Duration::ZERO, 1_000_000_000));
    assert_eq!(pair.run(100 * MS).times(), [5 * MS]);
    let mut pair = Pair::new(Script::burst(1, 100, Time(10 * MS), to_b()), vec![]);
    pair.run(2 * MS);
    pair.world.step_clock(pair.a, -(MS as i64));
    assert_eq!(pair.run(100 * MS).times(), [11 * MS]);
}

#[test]
fn through_a_nat_and_back() {
    let mut world = World::new(1);
    let hub = world.add_router("hub");
    let nat = world.add_nat("nat", NatSpec::port_restricted(ip("203.0.113.1")));
    let server = Tx::new(5_000, "198.51.100.1:7".parse().unwrap());
    let big = (Time(50 * MS), server, vec![0; 1_400]);
    let a = world.add_host("a", Script::new(vec![(Time(0), server, vec![1, 2, 3]), big]));
    let b = world.add_host("b", Script { echo: true, ..Script::default() });
    let stranger = Script::new(vec![(Time(20 * MS), Tx::new(8, "203.0.113.1:5000".parse().unwrap()), vec![9])]);
    let c = world.add_host("c", stranger);
    let link = LinkSpec::delay(Duration::millis(1));
    let narrow = LinkSpec { forward: vec![StageSpec::Mtu { mtu: 1_000, signal: true }], backward: vec![] };
    world.connect("wan", nat, hub, &narrow);
    world.connect("lan", a, nat, &link);
    world.connect("b", b, hub, &link);
    world.connect("c", c, hub, &link);
    world.add_address(a, 0, ip("192.168.0.2"), false);
    world.add_address(b, 0, ip("198.51.100.1"), false);
    world.add_address(c, 0, ip("198.51.100.2"), false);
    world.run_until(Time(100 * MS)).unwrap();
    let seen = &world.node::<Script>(b).unwrap().got;
    assert_eq!((seen.len(), seen[0].1), (1, "203.0.113.1:5000".parse().unwrap()));
    let back = world.node::<Script>(a).unwrap();
    assert_eq!((back.got.len(), back.got[0].1), (1, server.dst));
    assert_eq!(back.changes, [NetChange::TooBig { remote: server.dst, mtu: 1_000 }]);
    assert_eq!(world.counters().dropped(DropCause::Filtered), 1);
    assert_eq!(world.nat_mappings(nat).len(), 1);
}

#[test]
fn forgers_need_leave() {
    for allowed in [false, true] {
        let forged = Some(Forged { src: "10.9.9.9:9".parse().unwrap(), too_big: None });
        let script = Script::burst(1, 100, Time(0), Tx { forged, ..to_b() });
        let mut pair = Pair::new(script, vec![]);
        if allowed {
            pair.world.allow_raw(pair.a);
        }
        let src = pair.run(MS).got[0].1;
        assert_eq!(src, if allowed { "10.9.9.9:9" } else { "10.0.0.1:1" }.parse().unwrap());
    }
}

#[test]
fn taps_replay_change_and_swallow() {
    struct Odd;
    impl TapLogic for Odd {
        fn on_packet(&mut self, _: Time, _: Direction, _: &Packet, bytes: &mut Vec<u8>) -> TapVerdict {
            match bytes[0] % 3 {
                0 => TapVerdict::Drop,
                1 => TapVerdict::Delay(Duration::millis(7)),
                _ => {
                    bytes.push(0xff);
                    TapVerdict::Pass
                }
            }
        }
    }
    fn through(tap: impl TapLogic) -> Vec<(u64, u32, usize)> {
        let mut world = World::new(1);
        let a = world.add_host("a", Script::burst(3, 128, Time(0), to_b()));
        let b = world.add_host("b", Script::default());
        let tap = world.add_tap("tap", tap);
        world.connect("near", a, tap, &LinkSpec::delay(Duration::millis(1)));
        world.connect("far", tap, b, &LinkSpec::delay(Duration::millis(1)));
        world.add_address(a, 0, ip("10.0.0.1"), false);
        world.add_address(b, 0, ip("10.0.0.2"), false);
        world.run_until(Time(1_000 * MS)).unwrap();
        let b = world.node::<Script>(b).unwrap();
        let got = b.got.iter().zip(b.numbers());
        got.map(|((at, _, bytes), number)| (at.0 / MS, number, bytes.len())).collect()
    }
    assert_eq!(through(Odd), [(2, 2, 101), (9, 1, 100)]);
    let replayed = through(Replayer::new(Duration::millis(10), 2));
    assert_eq!(replayed.len(), 9);
    assert_eq!(replayed[3..6], [(12, 0, 100), (12, 1, 100), (12, 2, 100)]);
    let _ = Injected {
        direction: Direction::Forward,
        src: to_b().dst,
        dst: to_b().dst,
        ecn: Ecn::NotEct,
        bytes: Vec::new(),
    };
}

/// Two routers that each take the other for the way out: a packet does not go round for ever.
#[test]
fn a_packet_that_goes_in_circles_is_lost_at_the_hop_limit() {
    let mut world = World::new(1);
    let a = world.add_host("a", Script::burst(1, 100, Time(0), Tx::new(1, "198.51.100.1:2".parse().unwrap())));
    let (left, right) = (world.add_router("left"), world.add_router("right"));
    let link = LinkSpec::delay(Duration::millis(1));
    world.connect("lan", a, left, &link);
    let wan = world.connect("wan", left, right, &link);
    world.add_address(a, 0, ip("10.0.0.1"), false);
    world.add_route(left, Prefix::ALL_V4, wan);
    world.add_route(right, Prefix::ALL_V4, wan);
    world.run_until(Time(64 * MS)).unwrap();
    assert_eq!(world.counters().dropped(DropCause::HopLimit), 0);
    world.run_until(Time(65 * MS)).unwrap();
    assert_eq!(world.counters().dropped(DropCause::HopLimit), 1);
}

#[test]
fn packets_that_vanish_or_appear_are_seen() {
    for sent in [0, 2] {
        let mut pair = Pair::new(Script::burst(1, 100, Time(0), to_b()), vec![Delay(Duration::millis(25))]);
        pair.run(10 * MS);
        pair.world.core.counters.sent = sent;
        let failure = pair.world.run_until(Time(11 * MS));
        assert_eq!(failure, Err(RunError::NotConserved { at: Time(11 * MS) }));
    }
}
