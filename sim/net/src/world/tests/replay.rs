//! Runs are repeated, and replayed from their recorded faults.

use super::*;

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
