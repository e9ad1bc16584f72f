//! Two behind NATs, and a server that introduces and relays: they meet directly wherever that is possible, and over the
//! relay elsewhere.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

mod code;
mod doctor;
mod guest;
mod hidden;
mod kernel;
mod lan;
mod outage;
mod probes;
mod refusals;
mod script;
mod shared;

use core::fmt::Write as _;
use core::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use datagram_sim::{Duration, LinkSpec, NatSpec, NodeId, StageSpec, Time, World};
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::{App, Endpoint, EndpointConfig, Instant, Router};
use rtmfp_meet::{Everybody, Limits, PathPolicy, RelayLimits, Rendezvous};
use rtmfp_sim::rtmfp::{EndpointNode, SimRandom};

use guest::{PORT, Program, SERVER};

/// What a host is behind.
type Nat = Option<fn(IpAddr) -> NatSpec>;

const NATS: [(&str, Nat); 5] = [
    ("none", None),
    ("full cone", Some(NatSpec::full_cone)),
    ("address", Some(NatSpec::address_restricted)),
    ("port", Some(NatSpec::port_restricted)),
    ("symmetric", Some(NatSpec::symmetric)),
];

/// Milliseconds from a place to the middle of the network.
#[derive(Clone, Copy)]
struct Lines {
    guests: [u64; 2],
    server: u64,
}

impl Lines {
    /// Every seed has other ones, so that packets cross in other orders.
    fn of(seed: u64) -> Self {
        Self { guests: [5 + seed * 3 % 40, 5 + seed * 7 % 60], server: 5 + seed * 11 % 30 }
    }

    /// What the first data may take at most, but for 50 ms. That is a round trip to the server, and two and a half between
    /// the two: a session opens in two, and data follow.
    fn least(self) -> u64 {
        let [ada, ben] = self.guests;
        2 * (ada + self.server) + 5 * (ada + ben)
    }
}

fn node<A: App + 'static>(world: &mut World, name: &str, config: EndpointConfig, app: A) -> NodeId {
    let profile = PlainProfile::new(name.as_bytes()).pretend_authentic(true);
    let rng = SimRandom::new(world.key(name, "endpoint"));
    let endpoint = Endpoint::new(config, Arc::new(profile), Box::new(rng), Instant::ORIGIN).unwrap();
    world.add_host(name, EndpointNode::new(endpoint, app, PORT))
}

/// What a server runs.
fn rendezvous(world: &World) -> Router {
    let mut limits = Limits::default();
    limits.relay = Some(RelayLimits::default());
    let rng = Box::new(SimRandom::new(world.key("server", "numbers")));
    Router::new().with(Box::new(Rendezvous::new(limits, Everybody, rng, |_| {})))
}

fn server_config() -> EndpointConfig {
    let mut config = EndpointConfig::default();
    config.max_unmatched_hellos = 64;
    config
}

/// A server, and a guest behind each of two NATs, of whom the first opens a session to the second after a second.
fn world(seed: u64, nats: [Nat; 2], messages: u64, policy: PathPolicy) -> (World, [NodeId; 2]) {
    let mut world = World::new(seed);
    let net = world.add_router("net");
    let lines = Lines::of(seed);
    let line = |millis| LinkSpec::symmetric(vec![StageSpec::Delay(Duration::millis(millis))]);
    let app = rendezvous(&world);
    let server = node(&mut world, "server", server_config(), app);
    world.connect("server", server, net, &line(lines.server));
    world.add_address(server, 0, SERVER.ip(), false);
    let mut guests = Vec::new();
    for (number, (name, nat)) in ["ada", "ben"].into_iter().zip(nats).enumerate() {
        let whom = (number == 0).then_some("ben");
        let rng = SimRandom::new(world.key(name, "guest"));
        let guest = node(&mut world, name, EndpointConfig::default(), Program::new(whom, rng).with(messages, policy));
        let outside = IpAddr::V4(Ipv4Addr::new(198, 51, 100, number as u8 + 1));
        match nat {
            Some(nat) => {
                let nat = world.add_nat(&format!("{name}'s NAT"), nat(outside));
                world.connect(&format!("{name}'s line"), nat, net, &line(lines.guests[number]));
                world.connect(&format!("{name}'s home"), nat, guest, &line(0));
                world.add_address(guest, 0, IpAddr::V4(Ipv4Addr::new(192, 168, 0, 2)), false);
            }
            None => {
                world.connect(&format!("{name}'s line"), guest, net, &line(lines.guests[number]));
                world.add_address(guest, 0, outside, false);
            }
        }
        guests.push(guest);
    }
    (world, [guests[0], guests[1]])
}

/// What became of one meeting.
struct Met {
    possible: bool,
    relayed: bool,
    /// Milliseconds from the first hello to the first data at the receiver.
    first: u64,
    /// What of it is more than [`Lines::least`].
    more: u64,
}

fn meet(seed: u64, nats: [Nat; 2]) -> Met {
    let (mut world, [ada, ben]) = world(seed, nats, 1, PathPolicy::Any);
    world.run_until(Time(6_000_000_000)).unwrap();
    let possible = world.direct_path_possible(ada, ben, false);
    let guest = |id| world.node::<EndpointNode<Program>>(id).map(EndpointNode::app).unwrap();
    let (ada, ben) = (guest(ada), guest(ben));
    let (first, relayed) = ben.heard.unwrap_or_else(|| panic!("seed {seed}: nothing was heard; {ada:?}, {ben:?}"));
    let first = first.saturating_duration_since(ada.began.unwrap()).as_millis() as u64;
    Met { possible, relayed, first, more: first.saturating_sub(Lines::of(seed).least()) }
}

fn p95(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    values.get((values.len() * 19).saturating_sub(1) / 20).copied()
}

/// Of all pairs of NATs, with as many seeds: how many meet directly, and how long the first data take.
fn matrix(seeds: u64) -> String {
    let mut table = String::from("| from \\ to |");
    NATS.iter().for_each(|(name, _)| write!(table, " {name} |").unwrap());
    table.push_str("\n|---|---|---|---|---|---|\n");
    let (mut direct, mut relayed) = (Vec::new(), Vec::new());
    for (near, left) in NATS {
        write!(table, "| {near} |").unwrap();
        for (far, right) in NATS {
            let met: Vec<Met> = (0..seeds).map(|seed| meet(seed, [left, right])).collect();
            let possible = met.iter().filter(|met| met.possible).count() as u64;
            let directly = met.iter().filter(|met| !met.relayed).count() as u64;
            assert!(possible == 0 || possible == seeds, "{near}, {far}: the oracle is not of one mind");
            assert!(possible > 0 || directly == 0, "{near}, {far}: {directly} met where that is not possible");
            assert!(directly * 100 >= possible * 97, "{near}, {far}: {directly} of {possible} met directly");
            direct.extend(met.iter().filter(|met| !met.relayed).map(|met| met.more));
            relayed.extend(met.iter().filter(|met| met.relayed).map(|met| met.first));
            let kind = if possible > 0 { "direct" } else { "relay" };
            write!(table, " {kind}, {} ms |", p95(met.iter().map(|met| met.first).collect()).unwrap()).unwrap();
        }
        table.push('\n');
    }
    let (direct, relayed) = (p95(direct).unwrap(), p95(relayed).unwrap());
    assert!(direct <= 50, "{direct} ms more than round trips, directly\n{table}");
    assert!(relayed <= 2_000, "{relayed} ms to the first data over the relay\n{table}");
    table
}

#[test]
fn two_meet_directly_where_that_is_possible_and_over_the_relay_elsewhere() {
    if std::env::var_os("RTMFP_LONG").is_none() {
        matrix(50);
        return;
    }
    let table = matrix(200);
    let shown = include_str!("../../core/meet/README.md");
    assert!(shown.contains(&table), "core/meet/README.md shows another table:\n{table}");
}
