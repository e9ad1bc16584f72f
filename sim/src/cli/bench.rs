//! How fast the simulator is: the engine alone, and with endpoints.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use datagram_sim::{
    Duration, LinkSpec, LossSpec, Node, Ppb, QueueSpec, Rate, RateSpec, RxMeta, StageSpec, Stream, Time, Tx, World,
};
use rtmfp_sim::run::{Crypto, RunOptions, run};
use rtmfp_sim::scenario::Scenario;

use super::batch::began;
use super::output::outln;
use super::{Done, PASSED};

/// Packets of the engine's measurement.
const PACKETS: u64 = 3_000_000;

/// Sends a packet to another peer every so often.
struct Chatter {
    peers: u32,
    stream: Stream,
    next: Time,
    every: Duration,
}

fn address(peer: u32) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0001 + peer)), 1_935)
}

impl Node for Chatter {
    fn on_datagram(&mut self, _now: Time, _meta: &RxMeta, _bytes: &mut [u8]) {}

    fn on_timeout(&mut self, _now: Time) {}

    fn poll_transmit(&mut self, now: Time, out: &mut Vec<u8>) -> Option<Tx> {
        if now < self.next {
            return None;
        }
        self.next = now + self.every;
        out.resize(100, 0x55);
        let to = u32::try_from(self.stream.below(self.peers.into())).unwrap_or(0);
        Some(Tx::new(1_935, address(to)))
    }

    fn poll_timeout(&self) -> Option<Time> {
        Some(self.next)
    }
}

/// Packets a second of real time.
fn per_second(packets: u64, nanos: u128) -> u64 {
    u64::try_from(u128::from(packets) * 1_000_000_000 / nanos.max(1)).unwrap_or(u64::MAX)
}

/// Peers around a router, each behind a line with a rate, a queue, 1 % of loss and a delay.
fn engine(peers: u32) -> Result<u64, String> {
    let mut world = World::new(1);
    let hub = world.add_router("hub");
    let stages = vec![
        StageSpec::Shaper { rate: RateSpec::Fixed(Rate::mbit(100)), queue: QueueSpec::TailBytes(125_000) },
        StageSpec::Loss(LossSpec::Random(Ppb::percent(1))),
        StageSpec::Delay(Duration::millis(10)),
    ];
    let every = if peers <= 1_000 { Duration::millis(1) } else { Duration::millis(10) };
    for peer in 0..peers {
        let name = format!("p{peer}");
        let stream = world.key(&name, "work").stream();
        let next = Time(u64::from(peer) * every.0 / u64::from(peers));
        let host = world.add_host(&name, Chatter { peers, stream, next, every });
        world.connect(&format!("l{peer}"), host, hub, &LinkSpec::symmetric(stages.clone()));
        world.add_address(host, 0, address(peer).ip(), false);
    }
    // Until the links are full, so that only the steady state is measured.
    let warm = Time(50_000_000);
    world.run_until(warm).map_err(|error| error.to_string())?;
    let before = world.counters().sent;
    let started = began();
    world.run_until(warm + Duration(every.0 * PACKETS / u64::from(peers))).map_err(|error| error.to_string())?;
    Ok(per_second(world.counters().sent - before, started.elapsed().as_nanos()))
}

/// A transfer through endpoints. One end sends as fast as the line lets it.
fn rtmfp(crypto: Crypto) -> Result<u64, String> {
    let text = r#"
        name = "bench"
        duration = "8s"
        work = [{ kind = "bulk", from = "a", to = "b", bytes = "80MB" }]
        [node.a]
        [node.b]
        [link.wan]
        path = ["a", "b"]
        both = { rate = "100Mbit", queue = "tail 4bdp", delay = "5ms" }
    "#;
    let scenario = Scenario::parse(text).map_err(|error| error.to_string())?;
    let mut options = RunOptions::new(1);
    options.crypto = crypto;
    options.samples = 8;
    let started = began();
    let outcome = run(&scenario, &options).map_err(|error| error.to_string())?;
    Ok(per_second(outcome.sent, started.elapsed().as_nanos()))
}

/// Fewer peers would have more than one session with some other.
const LEAST_CROWD: u32 = 201;

/// Peers with ten sessions each, of which each opened five.
fn crowd(peers: u32) -> Done {
    if peers < LEAST_CROWD {
        return Err(format!("ten sessions each take at least {LEAST_CROWD} peers: say --peers {LEAST_CROWD} or more"));
    }
    let text = format!(
        r#"
        name = "crowd"
        duration = "60s"
        [crowd.peer]
        count = {peers}
        spread = "40s"
        link = {{ path = ["*", "net"], both = {{ rate = "20Mbit", queue = "tail 64000B", delay = "10ms" }} }}
        work = [
            {{ kind = "open", to = "*+1" }},
            {{ kind = "open", to = "*+7" }},
            {{ kind = "open", to = "*+20" }},
            {{ kind = "open", to = "*+50" }},
            {{ kind = "open", to = "*+100" }},
        ]
        "#
    );
    let scenario = Scenario::parse(&text).map_err(|error| error.to_string())?;
    let started = began();
    let outcome = run(&scenario, &RunOptions::new(1)).map_err(|error| error.to_string())?;
    if let Some(failure) = outcome.failures.first() {
        return Err(failure.to_string());
    }
    let sessions: u64 = outcome.log.sessions_opened.values().sum();
    if sessions != u64::from(peers) * 10 {
        return Err(format!("{sessions} ends of sessions are open, and ten a peer were to be"));
    }
    let seconds = started.elapsed().as_secs_f32();
    outln!("{peers} peers with {sessions} ends of sessions, toy cryptography: a minute in {seconds:.1} s");
    match memory() {
        Some(mebibytes) => {
            outln!("  {mebibytes} MiB of memory at most, {} KiB a peer", mebibytes * 1024 / u64::from(peers))
        }
        None => outln!("  how much memory that took cannot be told on this system"),
    }
    Ok(PASSED)
}

/// The most memory that this process has had, in MiB, where the system tells.
fn memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(peak.split_whitespace().next()?.parse::<u64>().ok()? / 1024)
}

/// Prints all measurements, and those of others beside them.
pub(super) fn bench(peers: u32, sessions: bool) -> Done {
    if sessions {
        return crowd(peers);
    }
    for peers in [2, 100, peers.clamp(2, 100_000)] {
        outln!("engine, {peers} peers with trivial endpoints: {} packets/s", engine(peers)?);
    }
    outln!("RTMFP, a transfer with toy cryptography: {} packets/s", rtmfp(Crypto::Toy)?);
    outln!("RTMFP, a transfer with real cryptography: {} packets/s", rtmfp(Crypto::Real)?);
    outln!("for comparison, measured on another machine with two cores:");
    outln!("  turmoil 0.7.2 (UDP, no rates): 696000 packets/s with 2 hosts, 10000 with 200");
    outln!("  bach 0.2.0 (no rates): 668000 packets/s with 2 hosts, 476000 with 200");
    Ok(PASSED)
}
