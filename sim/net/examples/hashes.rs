//! Runs a few worlds and compares the hashes of their traces with those in `hashes.txt`: they must be the same on every
//! machine and in every build. Prints the table, and fails if it differs.
//!
//! `cargo run -p datagram-sim --example hashes`. So far the table was compared on x86-64 (debug and release builds),
//! i686, s390x (big-endian) and wasm32.

use core::net::{IpAddr, SocketAddr};
use std::process::ExitCode;

use datagram_sim::cross::{Control, Receiver, Sender};
use datagram_sim::{
    CodelSpec, CorruptSpec, Duration, EcnSpec, FqCodelSpec, InFlight, JitterSpec, LinkSpec, LossSpec, NatSpec, PieSpec,
    Ppb, QueueSpec, Rate, RateSpec, RunError, StageSpec, Time, World,
};

const SECOND: u64 = 1_000_000_000;

fn address(number: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, number])
}

/// A host for each control, all sending to one through every kind of queue and stage.
fn world(seed: u64, nat: bool) -> Result<World, RunError> {
    let mut world = World::new(seed);
    let hub = world.add_router("hub");
    let receiver = world.add_host("receiver", Receiver::new());
    let shaper = |mbit, queue| StageSpec::Shaper { rate: RateSpec::Fixed(Rate::mbit(mbit)), queue };
    let p = Ppb::permille(5);
    world.connect("wan", hub, receiver, &LinkSpec::symmetric(vec![StageSpec::Delay(Duration::millis(5))]));
    let queues = [
        QueueSpec::TailBytes(60_000),
        QueueSpec::Codel(CodelSpec::default()),
        QueueSpec::Pie(PieSpec::default()),
        QueueSpec::FqCodel(FqCodelSpec::default()),
        QueueSpec::HeadBytes(60_000),
    ];
    let to = SocketAddr::new(address(200), 5_000);
    let mut hosts = Vec::new();
    for (number, queue) in (1_u8..).zip(queues) {
        let name = format!("h{number}");
        let control = if number % 2 == 0 { Control::NewReno } else { Control::Cubic };
        let host = world.add_host(&name, Sender::bulk(control, 4_000, to, Time(u64::from(number) * 1_000), None));
        let stages = vec![
            shaper(8, queue),
            StageSpec::Loss(LossSpec::Gilbert { p, r: Ppb::percent(30), good: Ppb::NEVER, bad: Ppb::percent(70) }),
            StageSpec::Jitter { distribution: JitterSpec::Exponential(Duration::millis(1)), reorder: number == 2 },
            StageSpec::Duplicate { probability: p, copies: 1, late: Duration::millis(30) },
            StageSpec::Corrupt { probability: p, kind: CorruptSpec::Any },
            StageSpec::Reorder { probability: p, gap: 2, by: Duration::millis(3) },
            StageSpec::Ecn(EcnSpec::Mark(p)),
        ];
        let link = LinkSpec::symmetric(stages);
        if nat {
            let outside = IpAddr::from([203, 0, 113, number]);
            let spec = if number % 2 == 0 { NatSpec::symmetric(outside) } else { NatSpec::new(outside) };
            let nat = world.add_nat(&format!("n{number}"), spec);
            world.connect(&format!("w{number}"), nat, hub, &link);
            world.connect(&format!("l{number}"), host, nat, &LinkSpec::delay(Duration::millis(1)));
        } else {
            world.connect(&format!("l{number}"), host, hub, &link);
        }
        world.add_address(host, 0, address(number), false);
        hosts.push(host);
    }
    world.add_address(receiver, 0, to.ip(), false);
    world.run_until(Time(SECOND))?;
    if let Some(&host) = hosts.first() {
        world.rebind(host, 0, address(99), InFlight::Lost, true);
    }
    world.run_until(Time(3 * SECOND))?;
    Ok(world)
}

fn main() -> ExitCode {
    let mut table = String::new();
    for (name, nat) in [("queues", false), ("nats", true)] {
        for seed in [1, 2] {
            match world(seed, nat) {
                Ok(world) => table += &format!("{name} {seed} {:032x} {}\n", world.hash(), world.records()),
                Err(error) => table += &format!("{name} {seed} {error}\n"),
            }
        }
    }
    print!("{table}");
    let bits = usize::BITS;
    let order = if cfg!(target_endian = "big") { "big" } else { "little" };
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    let same = table == include_str!("hashes.txt");
    println!("{bits} bits, {order}-endian, {build}: {}", if same { "as expected" } else { "NOT as in hashes.txt" });
    if same { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
