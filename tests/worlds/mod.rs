//! Properties of two endpoints: whatever the users do and the wire does, in any order, what the contract and RFC 7016
//! promise holds. A failing list of operations shrinks to a short one; each that taught something is kept below.
//! `RTMFP_WORLDS` sets how many worlds are tried, `RTMFP_WORLDS_SEED` which ones.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "tests"
)]

mod ops;
mod oracle;

use std::sync::Arc;
use std::time::Duration;

use ops::{Op, Scenario};
use oracle::World;
use quickcheck::{Gen, QuickCheck, TestResult};
use rtmfp_core::profile::CryptoProfile;
use rtmfp_core::profile::flash::{Discriminator, FlashProfile};
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_tests::duo::TestRng;

/// Two identities and the discriminators that select them.
fn identities(flash: bool, seed: u64) -> [(Arc<dyn CryptoProfile>, Vec<u8>); 2] {
    if !flash {
        return ["alice", "bob"].map(|name| {
            (
                Arc::new(PlainProfile::new(name.as_bytes()).pretend_authentic(true)) as Arc<dyn CryptoProfile>,
                name.as_bytes().to_vec(),
            )
        });
    }
    [1, 2].map(|index| {
        let mut rng = TestRng(seed ^ (index << 32));
        let profile = FlashProfile::builder().allow_ephemeral_fingerprints(true).build(&mut rng).unwrap();
        let discriminator = Discriminator::new().fingerprint(profile.fingerprint()).to_bytes();
        (Arc::new(profile) as Arc<dyn CryptoProfile>, discriminator)
    })
}

/// Runs a scenario to its end and settles it. The hash is of everything sent.
fn run(scenario: &Scenario) -> u64 {
    let mut world = World::new(scenario.seed, identities(scenario.flash, scenario.seed));
    for op in &scenario.ops {
        world.apply(op);
    }
    world.settle();
    world.trace()
}

fn holds(scenario: Scenario) -> TestResult {
    let first = run(&scenario);
    assert_eq!(first, run(&scenario), "the same seed and operations give the same bytes");
    TestResult::passed()
}

#[test]
fn whatever_happens_the_promises_hold() {
    let setting = |name, default| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let (tests, seed) = (setting("RTMFP_WORLDS", 300), setting("RTMFP_WORLDS_SEED", 1));
    let source = Gen::from_size_and_seed(100, seed);
    QuickCheck::new().rng(source).tests(tests).max_tests(tests).quickcheck(holds as fn(Scenario) -> TestResult);
}

#[test]
fn a_quiet_world_delivers_everything_and_falls_silent() {
    let ops = [
        Op::Open(0),
        Op::OpenFlow(0, 3),
        Op::Write(0, 0, 100_000),
        Op::Advance(2_000),
        Op::OpenFlow(1, 1),
        Op::Write(1, 0, 0),
        Op::Advance(500),
    ];
    let mut world = World::new(1, identities(false, 1));
    ops.iter().for_each(|op| world.apply(op));
    world.settle();
    assert_eq!(world.delivered(), 2);
    // With its flows closed and lingered out the session is idle, and ends.
    [Op::CloseFlow(0, 0), Op::CloseFlow(1, 0)].iter().for_each(|op| world.apply(op));
    world.run(Duration::from_secs(2_000));
    assert!(world.is_silent());
}
