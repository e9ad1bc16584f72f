//! The stages of links: what each does to packets.

use super::*;

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

#[test]
fn stages_change_while_packets_wait() {
    let mut pair = Pair::new(Script::burst(5, 1_250, Time(0), to_b()), vec![shaper(1, QueueSpec::HeadBytes(1 << 20))]);
    pair.run(MS);
    pair.world.set_stages(pair.link, Direction::Forward, &[shaper(10, QueueSpec::Unlimited)]);
    let got = pair.run(100 * MS);
    assert_eq!(got.times(), [2 * MS, 3 * MS, 4 * MS, 5 * MS, 6 * MS]);
}
