//! How many packets a second the engine moves with trivial endpoints:
//! `cargo run --release -p rtmfp-sim --example engine [PEERS [PACKETS]]`.
#![expect(clippy::disallowed_methods, reason = "this is a measurement of the real time taken")]

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use rtmfp_sim::{
    LinkSpec, LossSpec, Node, Ppb, QueueSpec, Rate, RateSpec, RxMeta, Span, StageSpec, Stream, Time, Tx, World,
};

/// Sends a packet to another peer every so often.
struct Chatter {
    peers: u32,
    stream: Stream,
    next: Time,
    every: Span,
    payload: usize,
}

fn address(peer: u32) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0001 + peer)), 1935)
}

impl Node for Chatter {
    fn on_datagram(&mut self, _now: Time, _meta: &RxMeta, _bytes: &mut [u8]) {}

    fn on_timeout(&mut self, _now: Time) {}

    fn poll_transmit(&mut self, now: Time, out: &mut Vec<u8>) -> Option<Tx> {
        if now < self.next {
            return None;
        }
        self.next = now + self.every;
        out.resize(self.payload, 0x55);
        let to = u32::try_from(self.stream.below(self.peers.into())).unwrap_or(0);
        Some(Tx::new(1935, address(to)))
    }

    fn poll_timeout(&self) -> Option<Time> {
        Some(self.next)
    }
}

fn run(peers: u32, payload: usize, packets: u64) {
    let mut world = World::new(1);
    let hub = world.add_router("hub");
    let up = vec![
        StageSpec::Shaper { rate: RateSpec::Fixed(Rate::mbit(100)), queue: QueueSpec::TailBytes(125_000) },
        StageSpec::Loss(LossSpec::Random(Ppb::percent(1))),
        StageSpec::Delay(Span::millis(10)),
    ];
    // A hundred thousand packets a second, or a million with many peers, of simulated time.
    let every = if peers <= 1_000 { Span::millis(1) } else { Span::millis(10) };
    for peer in 0..peers {
        let stream = world.key(&format!("p{peer}"), "work").stream();
        let next = Time(u64::from(peer) * every.0 / u64::from(peers));
        let node = Chatter { peers, stream, next, every, payload };
        let host = world.add_host(&format!("p{peer}"), node);
        world.connect(&format!("l{peer}"), host, hub, &LinkSpec::symmetric(up.clone()));
        world.add_address(host, 0, address(peer).ip(), false);
    }
    // Until the links are full, so that only the steady state is measured.
    let warm = Time(50_000_000);
    let _ = world.run_until(warm);
    let before = world.counters().sent;
    let span = Span::nanos(every.0 * packets / u64::from(peers));
    let started = Instant::now();
    let result = world.run_until(warm + span);
    let wall = started.elapsed();
    let packets = world.counters().sent - before;
    println!(
        "{peers} peers, {payload} B: {packets} packets in {wall:?}, {} packets/s, hash {:032x} {result:?}",
        u128::from(packets) * 1_000_000_000 / wall.as_nanos().max(1),
        world.hash()
    );
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let peers = arguments.next().and_then(|text| text.parse().ok());
    let packets = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(3_000_000);
    for peers in peers.map_or(vec![100, 10_000], |peers: u32| vec![peers.max(2)]) {
        for payload in [100, 1_400] {
            run(peers, payload, packets);
        }
    }
}
