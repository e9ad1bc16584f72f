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

use ops::{Op, Profile, Scenario};
use oracle::World;
use quickcheck::{Gen, QuickCheck, TestResult};
use rtmfp_core::EndpointStats;
use rtmfp_core::profile::CryptoProfile;
use rtmfp_core::profile::flash::{Discriminator, FlashProfile};
use rtmfp_core::profile::modern::{self, ModernProfile};
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_tests::duo::TestRng;

/// Two identities and the discriminators that select them.
fn identities(profile: Profile, seed: u64) -> [(Arc<dyn CryptoProfile>, Vec<u8>); 2] {
    [(1, "alice"), (2, "bob")].map(|(index, name)| {
        let mut rng = TestRng(seed ^ (index << 32));
        match profile {
            Profile::Plain => {
                let profile = PlainProfile::new(name.as_bytes()).pretend_authentic(true);
                (Arc::new(profile) as Arc<dyn CryptoProfile>, name.as_bytes().to_vec())
            }
            Profile::Flash => {
                let profile = FlashProfile::builder().allow_ephemeral_fingerprints(true).build(&mut rng).unwrap();
                let discriminator = Discriminator::new().fingerprint(profile.fingerprint()).to_bytes();
                (Arc::new(profile) as Arc<dyn CryptoProfile>, discriminator)
            }
            Profile::Modern => {
                let profile = ModernProfile::builder().build(&mut rng).unwrap();
                let discriminator = modern::Discriminator::new().peer_id(profile.peer_id()).to_bytes();
                (Arc::new(profile) as Arc<dyn CryptoProfile>, discriminator)
            }
        }
    })
}

/// Runs a scenario to its end and settles it, with what `begin` does to the world first.
fn run(scenario: &Scenario, begin: impl FnOnce(&mut World)) -> World {
    let mut world = World::new(scenario.seed, identities(scenario.profile, scenario.seed));
    begin(&mut world);
    for op in &scenario.ops {
        world.apply(op);
    }
    world.settle();
    world
}

fn holds(scenario: Scenario) -> TestResult {
    let first = run(&scenario, |_| {}).trace();
    assert_eq!(first, run(&scenario, |_| {}).trace(), "the same seed and operations give the same bytes");
    TestResult::passed()
}

/// Datagrams that were dropped, for whatever reason.
fn dropped(stats: &EndpointStats) -> u64 {
    stats.dropped_too_short
        + stats.dropped_unknown_session
        + stats.dropped_not_authentic
        + stats.dropped_replayed
        + stats.dropped_wrong_mode
        + stats.malformed
        + stats.unexpected
        + stats.over_limit
}

/// Endpoints of both profiles on one wire, which brings every datagram to all of them. What comes from the other profile is
/// dropped and counted. For the rest, everything is as it is without the other two: each byte sent, and when.
fn undisturbed(scenario: Scenario) -> TestResult {
    // With one seed, all would draw the same session IDs.
    let both = [(Profile::Flash, 0), (Profile::Modern, 1_000)].map(|(profile, more)| Scenario {
        profile,
        seed: scenario.seed + more,
        ..scenario.clone()
    });
    let mut alone = both.each_ref().map(|scenario| run(scenario, World::record));
    let [by_flash, by_modern] = alone.each_mut().map(World::recorded);
    for ((scenario, alone), foreign) in both.iter().zip(&alone).zip([by_modern, by_flash]) {
        let count = foreign.len();
        let together = run(scenario, |world| world.overhear(foreign));
        let came = (count - together.foreign_left()) as u64;
        assert_eq!(together.trace(), alone.trace(), "{:?}: what was sent, and when", scenario.profile);
        assert_eq!(together.delivered(), alone.delivered());
        for (with, without) in together.stats().iter().zip(&alone.stats()) {
            assert_eq!(with.sessions_opened, without.sessions_opened);
            assert_eq!(with.sessions_failed, without.sessions_failed);
            assert_eq!(with.datagrams_received - without.datagrams_received, came);
            assert_eq!(dropped(with) - dropped(without), came, "{:?}: each is counted", scenario.profile);
        }
    }
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
fn packets_of_the_other_profile_are_dropped_and_change_nothing() {
    let source = Gen::from_size_and_seed(100, 1);
    QuickCheck::new().rng(source).tests(6).max_tests(6).quickcheck(undisturbed as fn(Scenario) -> TestResult);
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
    for profile in [Profile::Plain, Profile::Flash, Profile::Modern] {
        let mut world = World::new(1, identities(profile, 1));
        ops.iter().for_each(|op| world.apply(op));
        world.settle();
        assert_eq!(world.delivered(), 2, "{profile:?}");
        // With its flows closed and lingered out the session is idle, and ends.
        [Op::CloseFlow(0, 0), Op::CloseFlow(1, 0)].iter().for_each(|op| world.apply(op));
        world.run(Duration::from_secs(2_000));
        assert!(world.is_silent(), "{profile:?}");
    }
}
