//! Built-in scenarios from end to end: they pass, and they are the same however they are run.
#![cfg(feature = "files")]
#![expect(clippy::expect_used, reason = "helpers of tests; what is wrong ends the test")]

use rtmfp_sim::run::{Crypto, RunOptions, run};
use rtmfp_sim::scenario::{Scenario, builtin, builtins};

/// The cases of a built-in scenario with its first seed.
fn cases(name: &str) -> Vec<(String, Scenario)> {
    let scenario = builtin(name).expect("in the list").scenario().expect("right");
    let cases = scenario.cases().expect("right");
    cases.into_iter().map(|case| (format!("{name} {}", case.label()), case.scenario)).collect()
}

fn passes(name: &str, crypto: Crypto) {
    for (label, scenario) in cases(name) {
        let options = RunOptions { crypto, ..RunOptions::new(scenario.seed) };
        let outcome = run(&scenario, &options).expect("it can be run");
        assert!(outcome.passed(), "{label}: {:?}", outcome.failures);
    }
}

#[test]
fn handshakes_pass() {
    for name in ["hs-clean", "hs-droplist", "hs-dup-reorder", "hs-glare", "hs-forwarder", "nat-matrix", "udp-blocked"] {
        passes(name, Crypto::Toy);
    }
}

/// Attackers are parties of a scenario. The forged hellos are real ones: the victim answers them.
#[test]
fn attacks_come_to_nothing() {
    for name in ["atk-ihello-flood", "atk-offpath"] {
        passes(name, Crypto::Toy);
    }
    let (_, flood) = cases("atk-ihello-flood").swap_remove(0);
    let flood = flood.set("duration", "4s").expect("right").set("expect", "[]").expect("right");
    let outcome = run(&flood, &RunOptions::new(1)).expect("it can be run");
    let mallory = outcome.names.stages["mallory"];
    let answered = outcome.watched.lanes[&(mallory * 2 + 1)].entered;
    // The victim limits how many it answers in a second.
    assert!(answered > 1_000, "{answered} hellos were answered");
}

/// What a mistake in a role comes to.
#[test]
fn roles_are_checked() {
    let (_, scenario) = cases("fair-vs-tcp").swap_remove(0);
    for (key, value, word) in [
        ("node.sender.plays.to", "nobody", "nobody"),
        ("node.sender.plays.to", "a", "no sink"),
        ("node.sender.plays.control", "vegas", "vegas"),
        ("work.0.from", "sink", "runs no endpoint"),
    ] {
        let error = scenario.set(key, value).expect_err(key).to_string();
        assert!(error.contains(word), "{key}={value}: {error}");
    }
}

#[test]
fn real_cryptography_passes_too() {
    passes("hs-clean", Crypto::Real);
    passes("hs-forwarder", Crypto::Real);
}

/// Who is first of those that are due at the same time must not matter to what holds in every run (I19).
#[test]
fn invariants_hold_in_another_order() {
    let mut others = 0;
    for entry in builtins().filter(|entry| entry.scenario().is_ok_and(|scenario| scenario.quick)) {
        for (label, scenario) in cases(entry.name) {
            let options = RunOptions::new(scenario.seed);
            let usual = run(&scenario, &options).expect("it can be run");
            let other = run(&scenario, &RunOptions { other_order: true, ..options }).expect("it can be run");
            assert!(!other.broke_invariant(), "{label}: {:?}", other.failures);
            others += u32::from(other.hash != usual.hash);
        }
    }
    assert!(others > 20, "only {others} runs were in another order");
}

/// The hash holds everything that happened; how the event queue is grained must not show in it.
#[test]
fn runs_are_the_same_again_and_with_other_ticks() {
    for (label, scenario) in cases("hs-dup-reorder") {
        let hash = |seed, tick_log| {
            let options = RunOptions { tick_log, ..RunOptions::new(seed) };
            run(&scenario, &options).expect("it can be run").hash
        };
        assert_eq!(hash(1, 14), hash(1, 14), "{label}");
        assert_eq!(hash(1, 14), hash(1, 10), "{label}");
        assert_ne!(hash(1, 14), hash(2, 14), "{label}");
    }
}

/// What waits for something fails when it is run, and says for what.
#[test]
fn waiting_scenarios_are_not_skipped() {
    let mut scenario = builtin("pmtu").expect("in the list").scenario().expect("right");
    scenario.needs = vec!["delay-control".to_owned()];
    let error = run(&scenario, &RunOptions::new(1)).expect_err("it cannot be run");
    assert!(error.to_string().contains("delay-control"), "{error}");
}

/// A scenario that the swarm found and shrunk, with the seed in it.
fn found(text: &str) {
    let scenario = Scenario::parse(text).expect("right");
    let outcome = run(&scenario, &RunOptions::new(scenario.seed)).expect("it can be run");
    assert!(outcome.passed(), "{:?}", outcome.failures);
}

/// What was sent again at a sign of life, before a whole timeout was over, was not counted for the burst.
#[test]
fn a_sign_of_life_lets_out_no_more_than_a_burst() {
    found(include_str!("found/burst-at-a-sign-of-life.toml"));
}

/// A responder whose initiator moved before it had the keys took that for an acknowledgement of all.
#[test]
fn a_move_before_the_keys_lets_out_no_more_than_a_burst() {
    found(include_str!("found/burst-at-a-move-before-the-keys.toml"));
}

/// Signs of life used up the burst, and no timer was left to let out more.
#[test]
fn signs_of_life_leave_a_timer() {
    found(include_str!("found/stuck-after-signs-of-life.toml"));
}

/// An end that moved while both keyed got two sessions: glare was looked for at its old address only.
#[test]
fn glare_with_one_who_moved_makes_one_session() {
    found(include_str!("found/glare-with-one-who-moved.toml"));
}

/// An IIKeying that had lost in glare came late, from where the far end had moved to: a second session nobody used.
#[test]
fn a_late_keying_after_glare_makes_no_second_session() {
    found(include_str!("found/late-keying-after-glare.toml"));
}
