//! A small protocol in a simulated network: a file goes over a line that loses 10 % of its packets, from a host
//! behind a NAT that forgets everything at 2 s. `cargo run -p datagram-sim --example reliable`
//!
//! The protocol: a datagram is a number and data, an acknowledgement is the number of the datagram that is missing
//! next. Up to [`WINDOW`] datagrams are under way; a timeout sends them all again (go-back-N). Neither end reads a
//! clock. The run is made twice with one seed, and must be the same; with another seed it must be another.

use core::net::{IpAddr, SocketAddr};
use std::collections::VecDeque;
use std::process::ExitCode;

use datagram_sim::{
    DropCause, Duration, LinkSpec, LossSpec, NatSpec, Node, Ppb, QueueSpec, Rate, RateSpec, RunError, RxMeta,
    StageSpec, Time, Tx, World,
};

const PORT: u16 = 9_000;
/// Datagrams under way at most, and how long an acknowledgement may take.
const WINDOW: u64 = 32;
const TIMEOUT: Duration = Duration::millis(200);
/// Datagrams of the file, and their bytes.
const DATAGRAMS: u64 = 2_000;
const SIZE: usize = 1_000;

fn sent_by(number: u64) -> Vec<u8> {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.resize(SIZE, number as u8);
    bytes
}

fn number_in(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().map(|head| u64::from_be_bytes(*head))
}

struct Sender {
    to: SocketAddr,
    acknowledged: u64,
    next: u64,
    deadline: Option<Time>,
}

impl Node for Sender {
    fn on_datagram(&mut self, now: Time, _meta: &RxMeta, bytes: &mut [u8]) {
        let Some(missing) = number_in(bytes).filter(|&missing| missing > self.acknowledged) else { return };
        self.acknowledged = missing;
        self.next = self.next.max(missing);
        self.deadline = (missing < DATAGRAMS).then_some(now + TIMEOUT);
    }

    fn on_timeout(&mut self, now: Time) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.next = self.acknowledged;
            self.deadline = Some(now + TIMEOUT);
        }
    }

    fn poll_transmit(&mut self, now: Time, out: &mut Vec<u8>) -> Option<Tx> {
        if self.next >= DATAGRAMS.min(self.acknowledged + WINDOW) {
            return None;
        }
        out.extend(sent_by(self.next));
        self.next += 1;
        self.deadline.get_or_insert(now + TIMEOUT);
        Some(Tx::new(PORT, self.to))
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.deadline
    }
}

#[derive(Default)]
struct Receiver {
    missing: u64,
    wrong: u64,
    acknowledgements: VecDeque<SocketAddr>,
}

impl Node for Receiver {
    fn on_datagram(&mut self, _now: Time, meta: &RxMeta, bytes: &mut [u8]) {
        if number_in(bytes) == Some(self.missing) {
            self.wrong += u64::from(*bytes != *sent_by(self.missing));
            self.missing += 1;
        }
        // To wherever it came from: a NAT may have another port by now.
        self.acknowledgements.push_back(meta.remote);
    }

    fn on_timeout(&mut self, _now: Time) {}

    fn poll_transmit(&mut self, _now: Time, out: &mut Vec<u8>) -> Option<Tx> {
        let to = self.acknowledgements.pop_front()?;
        out.extend(self.missing.to_be_bytes());
        Some(Tx::new(PORT, to))
    }

    fn poll_timeout(&self) -> Option<Time> {
        None
    }
}

/// What came of a run: its hash, what was received and wrong, and what was lost.
#[derive(PartialEq, Eq, Debug)]
struct Outcome {
    hash: u128,
    received: u64,
    wrong: u64,
    lost: u64,
    sent: u64,
}

fn transfer(seed: u64) -> Result<Outcome, RunError> {
    let mut world = World::new(seed);
    let (home, outside, server) =
        (IpAddr::from([10, 0, 0, 2]), IpAddr::from([203, 0, 113, 1]), IpAddr::from([198, 51, 100, 1]));
    let sender = Sender { to: SocketAddr::new(server, PORT), acknowledged: 0, next: 0, deadline: None };
    let sender = world.add_host("sender", sender);
    let nat = world.add_nat("nat", NatSpec::port_restricted(outside));
    let receiver = world.add_host("receiver", Receiver::default());
    let line = LinkSpec::symmetric(vec![
        StageSpec::Shaper { rate: RateSpec::Fixed(Rate::mbit(10)), queue: QueueSpec::TailBytes(64_000) },
        StageSpec::Loss(LossSpec::Random(Ppb::percent(10))),
        StageSpec::Delay(Duration::millis(15)),
    ]);
    // The first link of a NAT leads outside.
    world.connect("line", nat, receiver, &line);
    world.connect("wifi", sender, nat, &LinkSpec::delay(Duration::millis(2)));
    world.add_address(sender, 0, home, false);
    world.add_address(receiver, 0, server, false);
    world.run_until(Time::ZERO + Duration::secs(2))?;
    world.flush_nat(nat, true);
    world.run_to_quiet(Time::ZERO + Duration::secs(120))?;
    let (received, wrong) = world.node::<Receiver>(receiver).map_or((0, 0), |node| (node.missing, node.wrong));
    let lost = world.counters().dropped(DropCause::Loss);
    Ok(Outcome { hash: world.hash(), received, wrong, lost, sent: world.counters().sent })
}

fn main() -> ExitCode {
    let (first, again, other) = match (transfer(1), transfer(1), transfer(2)) {
        (Ok(first), Ok(again), Ok(other)) => (first, again, other),
        (first, again, other) => {
            eprintln!("a world failed: {first:?} {again:?} {other:?}");
            return ExitCode::FAILURE;
        }
    };
    println!("seed 1: {first:?}\nseed 2: {other:?}");
    let whole = [&first, &other].iter().all(|run| run.received == DATAGRAMS && run.wrong == 0 && run.lost > 0);
    let right = whole && first == again && first.hash != other.hash;
    println!("{}", if right { "all of it arrived, and the same seed gave the same run" } else { "that is wrong" });
    if right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
