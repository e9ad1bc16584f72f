//! Worlds by hand: each expectation is computed on paper.

mod hosts;
mod replay;
mod stages;

use core::net::{IpAddr, SocketAddr};

use super::*;
use crate::arena::Packet;
use crate::attack::{Injected, Replayer, TapLogic, TapVerdict};
use crate::ecn::Ecn;
use crate::fault::{DropCause, Edit};
use crate::link::{
    CorruptSpec, EcnSpec, JitterSpec, LinkSpec, LossSpec, RateSpec, StageSpec, StageSpec::Delay, StageSpec::Loss,
};
use crate::nat::NatSpec;
use crate::node::{Clock, Forged, NetChange, RxMeta, Tx};
use crate::queue::{CodelSpec, FqCodelSpec, PieSpec, QueueSpec, RedSpec};
use crate::rng::Ppb;
use crate::time::{Duration, Rate};

/// Sends a list of packets at given times and writes down what comes and when.
#[derive(Default)]
struct Script {
    send: Vec<(Time, Tx, Vec<u8>)>,
    got: Vec<(Time, SocketAddr, Vec<u8>)>,
    marks: Vec<Ecn>,
    changes: Vec<NetChange>,
    echo: bool,
}

impl Script {
    fn new(mut send: Vec<(Time, Tx, Vec<u8>)>) -> Self {
        send.sort_by_key(|&(at, _, _)| core::cmp::Reverse(at));
        Self { send, ..Self::default() }
    }

    /// `count` packets of `len` bytes on the wire at `at`, numbered.
    fn burst(count: u32, len: usize, at: Time, tx: Tx) -> Self {
        let packet = |n: u32| {
            let mut bytes = n.to_le_bytes().to_vec();
            bytes.resize(len - 28, 0);
            (at, tx, bytes)
        };
        // Taken from the end.
        Self { send: (0..count).rev().map(packet).collect(), ..Self::default() }
    }

    fn numbers(&self) -> Vec<u32> {
        self.got.iter().map(|(_, _, bytes)| u32::from_le_bytes(bytes[..4].try_into().unwrap())).collect()
    }

    fn times(&self) -> Vec<u64> {
        self.got.iter().map(|&(at, _, _)| at.0).collect()
    }
}

impl Node for Script {
    fn on_datagram(&mut self, now: Time, meta: &RxMeta, bytes: &mut [u8]) {
        self.got.push((now, meta.remote, bytes.to_vec()));
        self.marks.push(meta.ecn);
        if self.echo {
            self.send.push((now, Tx::new(meta.local.port(), meta.remote), bytes.to_vec()));
        }
    }
    fn on_timeout(&mut self, _now: Time) {}
    fn on_network_change(&mut self, _now: Time, change: NetChange) {
        self.changes.push(change);
    }
    fn poll_transmit(&mut self, now: Time, out: &mut Vec<u8>) -> Option<Tx> {
        let (_, tx, bytes) = self.send.pop_if(|&mut (at, _, _)| at <= now)?;
        out.extend_from_slice(&bytes);
        Some(tx)
    }
    fn poll_timeout(&self) -> Option<Time> {
        self.send.last().map(|&(at, _, _)| at)
    }
}

const MS: u64 = 1_000_000;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn to_b() -> Tx {
    Tx::new(1, "10.0.0.2:2".parse().unwrap())
}

/// Two hosts and a link.
struct Pair {
    world: World,
    a: NodeId,
    b: NodeId,
    link: LinkId,
}

impl Pair {
    fn with(config: Config, a: Script, stages: Vec<StageSpec>) -> Self {
        let mut world = World::with_config(config);
        let a = world.add_host("a", a);
        let b = world.add_host("b", Script::default());
        let link = world.connect("wan", a, b, &LinkSpec { forward: stages, backward: vec![] });
        world.add_address(a, 0, ip("10.0.0.1"), false);
        world.add_address(b, 0, ip("10.0.0.2"), false);
        Self { world, a, b, link }
    }

    fn new(a: Script, stages: Vec<StageSpec>) -> Self {
        Self::with(Config::new(7), a, stages)
    }

    fn run(&mut self, until: u64) -> &Script {
        self.world.run_until(Time(until)).unwrap();
        self.world.node(self.b).unwrap()
    }
}

fn shaper(mbit: u64, queue: QueueSpec) -> StageSpec {
    StageSpec::Shaper { rate: RateSpec::Fixed(Rate::mbit(mbit)), queue }
}
