//! The models against the figures of RFC 9438 and of the closed forms.

use core::net::SocketAddr;

use super::*;
use crate::link::{LinkSpec, LossSpec, RateSpec, StageSpec};
use crate::node::Silent;
use crate::queue::QueueSpec;
use crate::rng::Ppb;
use crate::time::{Duration, Rate, Time};
use crate::world::World;

fn socket(last: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], port))
}

const SECOND: u64 = 1_000_000_000;

/// Senders `controls` share 10 Mbit/s to one receiver: packets of each between two times, in seconds.
fn shared(controls: &[Control], rtt_ms: u64, queue_bdp: u64, loss: Ppb, (from, to): (u64, u64)) -> Vec<u64> {
    let mut world = World::new(1);
    let hub = world.add_router("hub");
    let receiver = world.add_host("receiver", Receiver::new());
    let bdp = Rate::mbit(10).bytes_in(Duration::millis(rtt_ms));
    let bottleneck = vec![
        StageSpec::Shaper { rate: RateSpec::Fixed(Rate::mbit(10)), queue: QueueSpec::TailBytes(bdp * queue_bdp) },
        StageSpec::Loss(LossSpec::Random(loss)),
        StageSpec::Delay(Duration::millis(rtt_ms / 2)),
    ];
    let backward = vec![StageSpec::Delay(Duration::millis(rtt_ms / 2))];
    world.connect("wan", hub, receiver, &LinkSpec { forward: bottleneck, backward });
    let to_receiver = socket(200, 5_000);
    for (number, &control) in (0_u8..).zip(controls) {
        let start = Time(u64::from(number) * SECOND / 3);
        let node = Sender::bulk(control, 4_000, to_receiver, start, None);
        let sender = world.add_host(&format!("s{number}"), node);
        world.connect(&format!("l{number}"), sender, hub, &LinkSpec::delay(Duration::micros(1)));
        world.add_address(sender, 0, socket(number, 0).ip(), false);
    }
    world.add_address(receiver, 0, to_receiver.ip(), false);
    let mut count = |second: u64| {
        world.run_until(Time(second * SECOND)).unwrap();
        let node = world.node::<Receiver>(receiver).unwrap();
        (0..controls.len() as u8).map(|number| node.packets_from(socket(number, 4_000))).collect::<Vec<_>>()
    };
    let (before, after) = (count(from), count(to));
    after.into_iter().zip(before).map(|(after, before)| after - before).collect()
}

/// Utilisation of 10 Mbit/s in per mille between 10 s and 110 s.
fn utilisation(control: Control, rtt_ms: u64, loss_permyriad: u32) -> u64 {
    let loss = Ppb(loss_permyriad * 100_000);
    let packets: u64 = shared(&[control], rtt_ms, 1, loss, (10, 110)).iter().sum();
    packets * 12_000 / 1_000_000
}

fn check(control: Control, rtt_ms: u64, table: &[(u32, u64, u64)]) {
    for &(loss, low, high) in table {
        let got = utilisation(control, rtt_ms, loss);
        assert!((low..=high).contains(&got), "{control:?}, {rtt_ms} ms, {loss}/10000: {got} per mille");
    }
}

/// RFC 9438 table 1: 38 packets at 0.1 % and 12 at 1 % for 100 ms are 45.6 % and 14.4 %.
#[test]
fn new_reno_at_100_ms() {
    check(Control::NewReno, 100, &[(0, 970, 1_000), (10, 400, 510), (100, 125, 158)]);
}

#[test]
fn new_reno_at_50_ms() {
    check(Control::NewReno, 50, &[(0, 970, 1_000), (10, 700, 880), (100, 235, 300), (300, 120, 160)]);
}

#[test]
fn cubic_at_50_ms() {
    check(Control::Cubic, 50, &[(0, 970, 1_000), (10, 720, 920), (100, 235, 310), (300, 120, 165)]);
}

#[test]
fn cubic_at_100_ms() {
    check(Control::Cubic, 100, &[(0, 970, 1_000), (10, 420, 560), (100, 125, 160)]);
}

#[test]
fn bbr_does_not_mind_loss() {
    check(Control::Bbr, 50, &[(0, 930, 1_000), (100, 910, 1_000), (300, 880, 1_000)]);
}

#[test]
fn ledbat_alone_fills_the_link() {
    check(Control::Ledbat, 50, &[(0, 950, 1_000)]);
}

#[test]
fn equal_flows_share_equally() {
    for control in [Control::NewReno, Control::Cubic] {
        let shares = shared(&[control; 4], 50, 1, Ppb::NEVER, (20, 120));
        let (sum, squares) = shares.iter().fold((0, 0), |(sum, squares), &n| (sum + n, squares + n * n));
        // Jain's index in per mille.
        let jain = sum * sum * 1_000 / (4 * squares);
        assert!(jain >= 970, "{control:?}: {shares:?}");
    }
}

#[test]
fn ledbat_yields() {
    let shares = shared(&[Control::Cubic, Control::Ledbat], 50, 4, Ppb::NEVER, (20, 80));
    assert!(shares[1] * 3 < shares[0], "{shares:?}");
}

#[test]
fn cbr_keeps_its_rate_and_stops() {
    let mut world = World::new(1);
    let window = (Time(SECOND), Time(11 * SECOND));
    let sender = world.add_host("s", Cbr::new(1, socket(2, 2), Rate::mbit(3), 1_000, window));
    let sink = world.add_host("r", Silent::default());
    let link = world.connect("wan", sender, sink, &LinkSpec::delay(Duration::millis(1)));
    world.add_address(sender, 0, socket(1, 0).ip(), false);
    world.add_address(sink, 0, socket(2, 0).ip(), false);
    world.run_until(Time(20 * SECOND)).unwrap();
    let counters = world.lane_counters(link, crate::id::Direction::Forward);
    assert_eq!((counters.entered, counters.entered_bytes), (3_750, 3_750_000));
    assert_eq!(world.node::<Silent>(sink).map(|node| node.received), Some(3_750));
}

#[test]
fn on_off_sends_its_share() {
    let mut world = World::new(1);
    let stream = world.key("s", "on-off").stream();
    let cbr = Cbr::new(1, socket(2, 2), Rate::mbit(1), 1_250, (Time(0), Time(600 * SECOND)));
    let sender = world.add_host("s", cbr.on_off(Duration::secs(1), Duration::secs(3), stream));
    let sink = world.add_host("r", Silent::default());
    world.connect("wan", sender, sink, &LinkSpec::delay(Duration::millis(1)));
    world.add_address(sender, 0, socket(1, 0).ip(), false);
    world.add_address(sink, 0, socket(2, 0).ip(), false);
    world.run_until(Time(601 * SECOND)).unwrap();
    // A quarter of 60,000, by 150 exponential periods.
    let sent = world.node::<Cbr>(sender).unwrap().sent();
    assert!((11_000..19_500).contains(&sent), "{sent}");
}

#[test]
fn short_flows_finish() {
    let mut world = World::new(1);
    let stream = world.key("s", "short").stream();
    let (mean_gap, mean_packets, control) = (Duration::millis(100), 20, Control::NewReno);
    let flows = ShortFlows { to: socket(2, 5_000), mean_gap, mean_packets, control, stream };
    let sender = world.add_host("s", Sender::short(flows, Time(0)));
    let receiver = world.add_host("r", Receiver::new());
    world.connect("wan", sender, receiver, &LinkSpec::simple(Rate::mbit(10), Duration::millis(25), 62_500));
    world.add_address(sender, 0, socket(1, 0).ip(), false);
    world.add_address(receiver, 0, socket(2, 0).ip(), false);
    world.run_until(Time(100 * SECOND)).unwrap();
    let finished = world.node::<Sender>(sender).unwrap().finished();
    assert!((850..1_150).contains(&finished), "{finished}");
    let packets = world.node::<Receiver>(receiver).unwrap().packets();
    assert!(packets / finished > 14 && packets / finished < 28, "{packets}");
}
