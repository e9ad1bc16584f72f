//! Worlds by hand: each expectation is computed on paper.

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

#[test]
fn serialisation_then_delay() {
    let stages = vec![shaper(10, QueueSpec::Unlimited), Delay(Duration::millis(25))];
    let mut pair = Pair::new(Script::burst(3, 1_250, Time(0), to_b()), stages);
    assert_eq!(pair.run(100 * MS).times(), [26 * MS, 27 * MS, 28 * MS]);
}

/// The same traffic through each queue, eleven packets of a millisecond each at once: which come out.
#[test]
fn full_queues() {
    let survivors =
        |queue| Pair::new(Script::burst(11, 1_250, Time(0), to_b()), vec![shaper(10, queue)]).run(MS * 100).numbers();
    // The first is being sent; four wait.
    assert_eq!(survivors(QueueSpec::TailBytes(5_000)), [0, 1, 2, 3, 4]);
    assert_eq!(survivors(QueueSpec::TailPackets(4)), [0, 1, 2, 3, 4]);
    assert_eq!(survivors(QueueSpec::TailTime(Duration::millis(4))), [0, 1, 2, 3, 4]);
    assert_eq!(survivors(QueueSpec::HeadBytes(5_000)), [0, 7, 8, 9, 10]);
    assert_eq!(survivors(QueueSpec::Unlimited), (0..11).collect::<Vec<_>>());
    assert_eq!(survivors(QueueSpec::Priority { classes: 2, bytes: 5_000 }), [0, 1, 2, 3, 4]);
    assert_eq!(survivors(QueueSpec::Drr { queues: 4, quantum: 1_500, bytes: 5_000 }), [0, 1, 2, 3, 4]);
    for queue in [QueueSpec::Codel(CodelSpec::default()), QueueSpec::FqCodel(FqCodelSpec::default())] {
        assert_eq!(survivors(queue), (0..11).collect::<Vec<_>>());
    }
}

#[test]
fn queue_depth_is_seen() {
    for queue in [QueueSpec::Unlimited, QueueSpec::HeadBytes(1 << 20)] {
        let mut pair = Pair::new(Script::burst(5, 1_250, Time(0), to_b()), vec![shaper(10, queue)]);
        pair.run(MS / 2);
        assert_eq!(pair.world.queue_depth(pair.link, Direction::Forward), (4, 5_000));
        pair.run(5 * MS / 2);
        assert_eq!(pair.world.queue_depth(pair.link, Direction::Forward), (2, 2_500));
    }
}

#[test]
fn policer_spends_its_burst() {
    let stage = StageSpec::Policer { rate: Rate::mbit(1), burst: 2_500, mark: false };
    let at = |ms: u64| Script::burst(3, 1_250, Time(ms * MS), to_b()).send;
    // Two pass, one does not; ten milliseconds later there are tokens for one.
    let script = Script::new([at(0), at(10)].concat());
    let mut pair = Pair::new(script, vec![stage]);
    assert_eq!(pair.run(100 * MS).times(), [0, 0, 10 * MS]);
    assert_eq!(pair.world.counters().dropped(DropCause::Policed), 3);
}

#[test]
fn explicit_list_and_loss_rate() {
    let stages = vec![Loss(LossSpec::List(vec![2, 0]))];
    assert_eq!(Pair::new(Script::burst(5, 100, Time(0), to_b()), stages).run(MS).numbers(), [1, 3, 4]);
    let lost = |spec: LossSpec| {
        10_000 - Pair::new(Script::burst(10_000, 100, Time(0), to_b()), vec![Loss(spec)]).run(MS).got.len()
    };
    let random = lost(LossSpec::Random(Ppb::percent(10)));
    assert!((900..1_100).contains(&random), "{random}");
    // p / (p + r) of the time bad: a sixth.
    let p = |n| Ppb::percent(n);
    let gilbert = lost(LossSpec::Gilbert { p: p(2), r: p(10), good: Ppb::NEVER, bad: Ppb::ALWAYS });
    assert!((1_400..1_950).contains(&gilbert), "{gilbert}");
    let markov = lost(LossSpec::Markov4 { p13: p(2), p31: p(10), p32: p(0), p23: p(0), p14: p(0) });
    assert!((1_400..1_950).contains(&markov), "{markov}");
    let single = lost(LossSpec::Markov4 { p13: p(0), p31: p(0), p32: p(0), p23: p(0), p14: p(5) });
    assert!((400..600).contains(&single), "{single}");
    assert_eq!(lost(LossSpec::Random(Ppb::ALWAYS)), 10_000);
}

#[test]
fn bounded_loss_never_has_long_runs() {
    let spec = LossSpec::Bounded { p: Ppb::percent(60), burst: 3 };
    let mut pair = Pair::new(Script::burst(5_000, 100, Time(0), to_b()), vec![Loss(spec)]);
    let numbers = pair.run(MS).numbers();
    let longest = numbers.windows(2).map(|pair| pair[1] - pair[0] - 1).max();
    assert_eq!(longest, Some(3));
}

#[test]
fn jitter_with_and_without_overtaking() {
    let spaced = || Script::new((0..500).flat_map(|n| Script::burst(1, 100, Time(n * MS), to_b()).send).collect());
    for distribution in [
        JitterSpec::Uniform(Duration::millis(20)),
        JitterSpec::Normal { mean: Duration::millis(10), sigma: Duration::millis(5) },
        JitterSpec::Exponential(Duration::millis(10)),
        JitterSpec::Table([Duration::millis(1), Duration::millis(30)].into()),
    ] {
        let delays = |reorder| {
            let stage = StageSpec::Jitter { distribution: distribution.clone(), reorder };
            let mut pair = Pair::new(spaced(), vec![stage]);
            let got = pair.run(2_000 * MS);
            assert_eq!(got.got.len(), 500);
            got.times().iter().copied().zip(0..).map(|(at, _): (u64, u64)| at).collect::<Vec<_>>()
        };
        let (free, ordered) = (delays(true), delays(false));
        assert_ne!(free, ordered);
        // Sum of delays: the mean of each distribution is between 10 and 15.5 ms.
        let sum: u64 = free.iter().sum::<u64>() - (0..500).map(|n| n * MS).sum::<u64>();
        assert!((9 * 500 * MS..17 * 500 * MS).contains(&sum), "{distribution:?} {}", sum / 500);
    }
}

#[test]
fn held_back_packets_are_overtaken() {
    let send = (0..6).flat_map(|n: u64| {
        let mut packets = Script::burst(1, 100, Time(n * MS), to_b()).send;
        packets[0].2[0] = n as u8;
        packets
    });
    let stage = StageSpec::Reorder { probability: Ppb::ALWAYS, gap: 3, by: Duration::micros(1_500) };
    let mut pair = Pair::new(Script::new(send.collect()), vec![stage, Delay(Duration::millis(5))]);
    assert_eq!(pair.run(100 * MS).numbers(), [0, 1, 3, 2, 4, 5]);
}

#[test]
fn copies_come_and_come_late() {
    let stage = StageSpec::Duplicate { probability: Ppb::ALWAYS, copies: 2, late: Duration::secs(5) };
    let mut pair = Pair::new(Script::burst(10, 100, Time(0), to_b()), vec![stage]);
    let got = pair.run(6_000 * MS);
    assert_eq!(got.got.len(), 30);
    assert!(got.times().iter().any(|&at| at > 1_000 * MS));
    assert_eq!(pair.world.counters().duplicated, 20);
    assert_eq!(pair.world.packets_alive(), 0);
}

#[test]
fn damage_changes_only_its_own_copy() {
    let bits = |kind| {
        let stages = vec![
            StageSpec::Duplicate { probability: Ppb::ALWAYS, copies: 1, late: Duration::ZERO },
            StageSpec::Corrupt { probability: Ppb::percent(50), kind },
        ];
        let mut pair = Pair::new(Script::burst(200, 128, Time(0), to_b()), stages);
        let got = pair.run(MS);
        got.got.iter().filter(|(_, _, bytes)| bytes.len() != 100 || bytes[4..].iter().any(|&b| b != 0)).count()
    };
    for kind in [CorruptSpec::FlipBit, CorruptSpec::Truncate, CorruptSpec::Extend(9), CorruptSpec::Any] {
        // Flips in the four bytes of the number are not seen.
        assert!((150..250).contains(&bits(kind)), "{kind:?}");
    }
}

#[test]
fn mtu_with_and_without_signal() {
    let stages = |signal| vec![StageSpec::Mtu { mtu: 1_280, signal }, Delay(Duration::millis(1))];
    let script = || {
        Script::new([1_280, 1_281].into_iter().flat_map(|len| Script::burst(1, len, Time(0), to_b()).send).collect())
    };
    for signal in [true, false] {
        let mut pair = Pair::new(script(), stages(signal));
        assert_eq!(pair.run(10 * MS).got.len(), 1);
        assert_eq!(pair.world.counters().dropped(DropCause::TooBig), 1);
        let remote = "10.0.0.2:2".parse().unwrap();
        let expected = if signal { vec![NetChange::TooBig { remote, mtu: 1_280 }] } else { vec![] };
        assert_eq!(pair.world.node::<Script>(pair.a).unwrap().changes, expected);
    }
    let fragmented = Tx { dont_fragment: false, ..to_b() };
    let mut pair = Pair::new(Script::burst(1, 4_000, Time(0), fragmented), stages(true));
    assert_eq!(pair.run(10 * MS).got.len(), 1);
    // 3,980 bytes in fragments of 1,256: four, three headers more.
    assert_eq!(pair.world.lane_counters(pair.link, Direction::Forward).arrived_bytes, 4_060);
}

#[test]
fn ecn_is_marked_and_bleached() {
    let tx = |ecn| Tx { ecn, ..to_b() };
    let seen = |ecn, spec| {
        let mut pair = Pair::new(Script::burst(1, 100, Time(0), tx(ecn)), vec![StageSpec::Ecn(spec)]);
        pair.run(MS).marks.first().copied()
    };
    assert_eq!(seen(Ecn::Ect0, EcnSpec::Mark(Ppb::ALWAYS)), Some(Ecn::Ce));
    assert_eq!(seen(Ecn::NotEct, EcnSpec::Mark(Ppb::ALWAYS)), Some(Ecn::NotEct));
    assert_eq!(seen(Ecn::Ce, EcnSpec::Bleach), Some(Ecn::NotEct));
    assert_eq!(seen(Ecn::Ect0, EcnSpec::DropCapable), None);
    assert_eq!(seen(Ecn::NotEct, EcnSpec::DropCapable), Some(Ecn::NotEct));
    assert_eq!(seen(Ecn::Ect0, EcnSpec::Set(Ecn::Ect1)), Some(Ecn::Ect1));
}

#[test]
fn schedules_and_outages() {
    let every_ms = || Script::new((0..10).flat_map(|n| Script::burst(1, 100, Time(n * MS), to_b()).send).collect());
    let lossy = |repeat| StageSpec::During {
        windows: vec![(Time(2 * MS), Time(4 * MS))],
        repeat,
        stage: Box::new(Loss(LossSpec::Random(Ppb::ALWAYS))),
    };
    assert_eq!(Pair::new(every_ms(), vec![lossy(None)]).run(100 * MS).got.len(), 8);
    assert_eq!(Pair::new(every_ms(), vec![lossy(Some(Duration::millis(5)))]).run(100 * MS).got.len(), 6);
}

#[test]
fn slots_gather() {
    let every_ms = Script::new((0..10).flat_map(|n| Script::burst(1, 100, Time(n * MS + 1), to_b()).send).collect());
    let stage = StageSpec::Slot { min: Duration::millis(5), max: Duration::millis(5) };
    assert_eq!(Pair::new(every_ms, vec![stage]).run(100 * MS).times(), [[5 * MS; 5], [10 * MS; 5]].concat());
}

/// Everything random at once, echoed, through all queues in turn.
fn storm(config: Config, loss: &[ExplicitFault]) -> World {
    let mut world = World::with_config(config);
    let hub = world.add_router("hub");
    let p = Ppb::percent(5);
    let queues = [
        QueueSpec::TailBytes(6_000),
        QueueSpec::Codel(CodelSpec {
            target: Duration::millis(2),
            interval: Duration::millis(10),
            ..CodelSpec::default()
        }),
        QueueSpec::Pie(PieSpec { target: Duration::millis(2), max_burst: Duration::ZERO, ..PieSpec::default() }),
        QueueSpec::FqCodel(FqCodelSpec::default()),
        QueueSpec::Red(RedSpec {
            min_bytes: 1_000,
            max_bytes: 5_000,
            limit_bytes: 20_000,
            max_p: Ppb::percent(20),
            weight_log: 2,
            ecn: true,
        }),
        QueueSpec::HeadBytes(9_000),
    ];
    let mut hosts = Vec::new();
    for (n, queue) in (0_u8..).zip(queues) {
        let peer = |m: u8| SocketAddr::from(([10, 0, 0, m % 6], 5));
        let send = (0..200).map(|k: u64| {
            let tx = Tx {
                ecn: if k.is_multiple_of(2) { Ecn::Ect0 } else { Ecn::NotEct },
                ..Tx::new(5, peer(n + 1 + (k % 5) as u8))
            };
            (Time(k * 300_000 + u64::from(n)), tx, vec![k as u8; 400 + (k as usize * 37) % 800])
        });
        let host = world.add_host(&format!("h{n}"), Script { echo: n < 2, ..Script::new(send.collect()) });
        let stages = vec![
            Loss(LossSpec::Gilbert { p, r: Ppb::percent(30), good: Ppb::NEVER, bad: Ppb::percent(70) }),
            shaper(5, queue),
            StageSpec::Jitter { distribution: JitterSpec::Exponential(Duration::millis(1)), reorder: n % 2 == 0 },
            StageSpec::Duplicate { probability: p, copies: 1, late: Duration::millis(30) },
            StageSpec::Corrupt { probability: p, kind: CorruptSpec::Any },
            shaper(20, QueueSpec::TailPackets(20)),
            StageSpec::Reorder { probability: p, gap: 2, by: Duration::millis(3) },
            StageSpec::Ecn(EcnSpec::Mark(p)),
        ];
        world.connect(&format!("l{n}"), host, hub, &LinkSpec::symmetric(stages));
        hosts.push(host);
    }
    for (n, host) in (0_u8..).zip(hosts) {
        world.add_address(host, 0, IpAddr::from([10, 0, 0, n]), false);
        world.set_clock(host, Clock::new(Duration::ZERO, i32::from(n) * 10_000));
    }
    assert_eq!(world.add_faults(loss.iter().cloned()), []);
    world.run_until(Time(400 * MS)).unwrap();
    world
}

#[test]
fn runs_repeat_whatever_the_tick() {
    let first = storm(Config::new(3), &[]);
    assert!(first.counters().delivered > 500 && first.counters().dropped(DropCause::Aqm) > 0);
    assert!(first.records() > 5_000, "{}", first.records());
    for tick_log in [0, 8, 14, 20] {
        let again = storm(Config { tick_log, ..Config::new(3) }, &[]);
        assert_eq!((again.hash(), again.records()), (first.hash(), first.records()), "tick 2^{tick_log}");
        assert_eq!(again.checkpoints(), first.checkpoints());
    }
    assert_ne!(storm(Config::new(4), &[]).hash(), first.hash());
}

/// A run played again from its recorded decisions alone is the same run.
#[test]
fn recorded_faults_replay_the_run() {
    let first = storm(Config { record_faults: true, ..Config::new(3) }, &[]);
    let faults = first.recorded_faults();
    assert!(faults.len() > 500);
    let replayed = storm(Config { mode: Mode::Explicit, ..Config::new(3) }, &faults);
    assert_eq!(replayed.hash(), first.hash());
    let clean = storm(Config { mode: Mode::Explicit, ..Config::new(3) }, &[]);
    assert_eq!(clean.counters().dropped(DropCause::Loss) + clean.counters().duplicated, 0);
}

/// Taking one fault away, or adding one, leaves all other decisions of that link as they were.
#[test]
fn one_fault_less_moves_no_other() {
    let run = |faults: &[ExplicitFault], mode| {
        let stages = vec![Loss(LossSpec::Random(Ppb::percent(20))), Delay(Duration::millis(1))];
        let config = Config { record_faults: true, mode, ..Config::new(9) };
        let mut pair = Pair::with(config, Script::burst(300, 100, Time(0), to_b()), stages);
        assert!(pair.world.add_faults(faults.iter().cloned()).is_empty());
        let numbers = pair.run(10 * MS).numbers();
        (numbers, pair.world.recorded_faults())
    };
    let (all, faults) = run(&[], Mode::Random);
    let (gone, kept) = faults.split_first().unwrap();
    let (thinned, _) = run(kept, Mode::Explicit);
    let mut expected = all.clone();
    expected.push(gone.ordinal as u32);
    expected.sort_unstable();
    assert_eq!(thinned, expected);
    // The same by overruling it in the random run.
    let overruled = ExplicitFault { decision: Decision::Pass, ..gone.clone() };
    assert_eq!(run(&[overruled], Mode::Random).0, expected);
    // One at the entry.
    let entry = ExplicitFault {
        link: "wan".into(),
        direction: Direction::Forward,
        ordinal: u64::from(all[5]),
        copy: 0,
        stage: None,
        decision: Decision::Drop(DropCause::Fault),
    };
    let fewer: Vec<u32> = all.iter().copied().filter(|&n| n != all[5]).collect();
    assert_eq!(run(core::slice::from_ref(&entry), Mode::Random).0, fewer);
    let nowhere = ExplicitFault { link: "lan".into(), ..entry };
    assert_eq!(World::new(1).add_faults([nowhere.clone()]), [nowhere]);
}

#[test]
fn entry_faults_of_each_kind() {
    let fault = |ordinal, decision| ExplicitFault {
        link: "wan".into(),
        direction: Direction::Forward,
        ordinal,
        copy: 0,
        stage: None,
        decision,
    };
    let mut pair = Pair::new(Script::burst(5, 128, Time(0), to_b()), vec![shaper(1_000, QueueSpec::Unlimited)]);
    pair.world.add_faults([
        fault(0, Decision::Delay(Duration::millis(3))),
        fault(1, Decision::Duplicate(2, Duration::millis(1))),
        fault(2, Decision::Corrupt(Edit::Truncate(4))),
        fault(3, Decision::Drop(DropCause::Fault)),
    ]);
    let got = pair.run(10 * MS);
    assert_eq!(got.numbers(), [1, 2, 4, 1, 1, 0]);
    assert_eq!(got.got[1].2.len(), 4);
}

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

#[test]
fn stages_change_while_packets_wait() {
    let mut pair = Pair::new(Script::burst(5, 1_250, Time(0), to_b()), vec![shaper(1, QueueSpec::HeadBytes(1 << 20))]);
    pair.run(MS);
    pair.world.set_stages(pair.link, Direction::Forward, &[shaper(10, QueueSpec::Unlimited)]);
    let got = pair.run(100 * MS);
    assert_eq!(got.times(), [2 * MS, 3 * MS, 4 * MS, 5 * MS, 6 * MS]);
}
