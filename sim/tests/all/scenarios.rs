//! Built-in scenarios from end to end: they pass, and they are the same however they are run.
#![expect(clippy::expect_used, reason = "helpers of tests; what is wrong ends the test")]

use rtmfp_sim::run::{Crypto, RunOptions, folded, run};
use rtmfp_sim::scenario::{Builtin, Scenario, builtin, builtins};
use rtmfp_sim::search::random_scenario;

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
    assert!(answered > 100, "{answered} hellos were answered");
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

/// The limit is of bytes of user data: what the packets add is on top, and is not goodput.
#[test]
fn a_node_sends_no_more_than_its_maximum_rate() {
    let (_, line) = cases("fill-line").swap_remove(0);
    let line = line.set("link.wan.both.rate", "10Mbit").expect("right");
    let line = line.set("expect", r#"["goodput(a->b) >= 4Mbit", "goodput(a->b) <= 5Mbit"]"#).expect("right");
    let limited = line.set("node.a.max-rate", "5Mbit").expect("right");
    let outcome = run(&limited, &RunOptions::new(1)).expect("it can be run");
    assert!(outcome.passed(), "{:?}", outcome.failures);
    let outcome = run(&line, &RunOptions::new(1)).expect("it can be run");
    assert!(!outcome.passed(), "without the limit it is more");
}

#[test]
fn real_cryptography_passes_too() {
    passes("hs-clean", Crypto::Real);
    passes("hs-forwarder", Crypto::Real);
    passes("hs-clean", Crypto::Modern);
    passes("hs-forwarder", Crypto::Modern);
}

/// The scenarios name their profiles: each passes with both, or has endpoints of both.
#[test]
fn both_profiles_pass() {
    let named = |entry: &Builtin| ["profile-", "hybrid-"].iter().any(|start| entry.name.starts_with(start));
    for entry in builtins().filter(named) {
        passes(entry.name, Crypto::Toy);
    }
}

/// Somebody of one profile hears nothing from somebody of the other, whoever's choice the profile is.
#[test]
fn a_node_has_the_profile_that_is_named() {
    let (_, clean) = cases("hs-clean").swap_remove(0);
    let clean = clean.set("expect", r#"["sessions(b) == 1"]"#).expect("right");
    let hash = |all: Option<&str>, b: Option<&str>, crypto| {
        let named = [("profile", all), ("node.b.profile", b)].into_iter().filter_map(|(key, name)| Some((key, name?)));
        let scenario = named.fold(clean.clone(), |scenario, (key, name)| scenario.set(key, name).expect("right"));
        let outcome = run(&scenario, &RunOptions { crypto, ..RunOptions::new(1) }).expect("it can be run");
        outcome.passed().then_some(outcome.hash)
    };
    let [flash, modern] = [Crypto::Real, Crypto::Modern].map(|crypto| hash(None, None, crypto));
    assert!(flash.is_some() && modern.is_some() && flash != modern);
    assert_eq!(hash(Some("flash"), None, Crypto::Toy), flash);
    assert_eq!(hash(Some("modern"), None, Crypto::Real), modern);
    assert_eq!(hash(Some("modern"), Some("flash"), Crypto::Toy), None);
    let hybrid = hash(Some("hybrid"), None, Crypto::Toy);
    assert!(hybrid.is_some() && hybrid != modern);
    assert_eq!(hash(Some("hybrid"), Some("hybrid-offered"), Crypto::Toy), hybrid);
    assert_eq!(hash(Some("modern"), Some("hybrid"), Crypto::Toy), None);
    assert_eq!(hash(None, Some("modern"), Crypto::Real), None);
}

/// Who is first of those that are due at the same time must not matter to what holds in every run (I19). Handshakes for
/// each change, and the whole quick set with `RTMFP_LONG=1`.
#[test]
fn invariants_hold_in_another_order() {
    let mut others = 0;
    let chosen = |name: &str| crate::is_long() || name.starts_with("hs-");
    for entry in builtins().filter(|entry| chosen(entry.name) && entry.scenario().is_ok_and(|scenario| scenario.quick))
    {
        for (label, scenario) in cases(entry.name) {
            let options = RunOptions::new(scenario.seed);
            let usual = run(&scenario, &options).expect("it can be run");
            let other = run(&scenario, &RunOptions { other_order: true, ..options }).expect("it can be run");
            assert!(!other.broke_invariant(), "{label}: {:?}", other.failures);
            others += u32::from(other.hash != usual.hash);
        }
    }
    assert!(others > 5, "only {others} runs were in another order");
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
    for crypto in [Crypto::Toy, Crypto::Modern] {
        let outcome = run(&scenario, &RunOptions { crypto, ..RunOptions::new(scenario.seed) }).expect("it can be run");
        assert!(outcome.passed(), "{crypto:?}: {:?}", outcome.failures);
    }
}

/// A few of those that `rtmfp-sim swarm --crypto modern` goes through, and more with `RTMFP_LONG=1`.
#[test]
fn random_scenarios_pass_with_the_modern_profile() {
    for number in 1..=if crate::is_long() { 20 } else { 4 } {
        let scenario = random_scenario(number).expect("right");
        let options = RunOptions { crypto: Crypto::Modern, ..RunOptions::new(number) };
        let outcome = run(&scenario, &options).expect("it can be run");
        assert!(outcome.passed(), "swarm {number}: {:?}", outcome.failures);
    }
}

/// What was sent again at a sign of life, before a whole timeout was over, was not counted for the burst.
#[test]
fn a_sign_of_life_lets_out_no_more_than_a_burst() {
    found(include_str!("../found/burst-at-a-sign-of-life.toml"));
}

/// A responder whose initiator moved before it had the keys took that for an acknowledgement of all.
#[test]
fn a_move_before_the_keys_lets_out_no_more_than_a_burst() {
    found(include_str!("../found/burst-at-a-move-before-the-keys.toml"));
}

/// Signs of life used up the burst, and no timer was left to let out more.
#[test]
fn signs_of_life_leave_a_timer() {
    found(include_str!("../found/stuck-after-signs-of-life.toml"));
}

/// An end that moved while both keyed got two sessions: glare was looked for at its old address only.
#[test]
fn glare_with_one_who_moved_makes_one_session() {
    found(include_str!("../found/glare-with-one-who-moved.toml"));
}

/// An IIKeying that had lost in glare came late, from where the far end had moved to: a second session nobody used.
#[test]
fn a_late_keying_after_glare_makes_no_second_session() {
    found(include_str!("../found/late-keying-after-glare.toml"));
}

/// Measures one expectation of two nodes, of which one sends a message every 100 ms for 10 s.
fn measure(expect: &str, events: &str, both: &str) -> Option<i128> {
    let text = format!(
        r#"
name = "steady"
duration = "12s"
work = [{{ kind = "messages", from = "a", to = "b", count = 100 }}]
at = [{events}]
expect = ["{expect}"]
[node.a]
[node.b]
[link.wan]
path = ["a", "b"]
both = {{ {both} }}
"#
    );
    let scenario = Scenario::parse(&text).expect("right");
    run(&scenario, &RunOptions::new(1)).expect("it can be run").measured.first().expect("an expectation").value
}

const SECOND: i128 = 1_000_000_000;

/// Only what came after the last event counted: a dead line before it was not seen.
#[test]
fn a_stall_before_the_last_event_is_seen() {
    let dead = r#"delay = "10ms", loss = "random 100% during 3s..5s""#;
    let step = r#"{ t = "8s", do = "clock-step", node = "a", by-ms = 1 }"#;
    for events in ["", step] {
        let stall = measure("stall(a->b) <= 200ms", events, dead).expect("there were deliveries");
        assert!(stall >= 2 * SECOND, "{events}: {stall}");
    }
    let calm = measure("stall(a->b) <= 200ms", step, r#"delay = "10ms""#).expect("there were deliveries");
    assert!(calm < SECOND / 4, "{calm}");
}

/// A transfer that stands still for ever has no second delivery to measure to.
#[test]
fn a_stall_that_does_not_end_is_seen() {
    let down = r#"{ t = "4s", do = "link-down", link = "wan" }"#;
    let stall = measure("stall(a->b) <= 200ms", down, r#"delay = "10ms""#).expect("there were deliveries");
    assert!(stall >= 7 * SECOND, "{stall}");
}

/// A change of one direction leaves the other as it is, with what is on its way there.
#[test]
fn a_link_changes_in_the_direction_that_is_said() {
    let both = r#"delay = "10ms""#;
    let latency = |events: &str| measure("latency-max(a->b) <= 1s", events, both).expect("there were deliveries");
    let change = |what: &str| latency(&format!(r#"{{ t = "4s", do = "link-change", link = "wan", {what} }}"#));
    let usual = latency("");
    assert_eq!(change(r#"down = { delay = "300ms" }"#), usual);
    assert!(change(r#"up = { delay = "300ms" }"#) >= usual + SECOND * 29 / 100);
    assert!(change(r#"both = { delay = "10ms" }, up = { delay = "300ms" }"#) >= usual + SECOND * 29 / 100);
    // What was changed before stays when the other direction changes.
    let two = r#"{ t = "4s", do = "link-change", link = "wan", up = { delay = "300ms" } },
        { t = "5s", do = "link-change", link = "wan", down = { delay = "20ms" } }"#;
    assert!(latency(two) >= usual + SECOND * 29 / 100);
}

#[test]
fn what_is_wrong_with_a_change_of_a_link_is_said() {
    let text = |what: &str| {
        format!(
            "name = \"x\"\nduration = \"1s\"\nat = [\n{{ t = \"1s\", do = \"link-change\", link = \"wan\"{what} }},\n]\n\
             [node.a]\n[node.b]\n[link.wan]\npath = [\"a\", \"b\"]\n"
        )
    };
    for (what, word) in [("", "needs `both`"), (", preset = \"tin-can\"", "tin-can"), (", sideways = {}", "sideways")] {
        let error = Scenario::parse(&text(what)).expect_err(what).to_string();
        assert!(error.contains(word) && error.contains("line 4"), "{what}: {error}");
    }
    let right = Scenario::parse(&text(", down = { mtu = \"1100B\" }")).expect("right");
    assert_eq!(Scenario::parse(&right.to_toml()).expect("it reads what it writes"), right);
}

/// Works of a crowd to one node were all `peer1->s`, and their own names all the same.
#[test]
fn two_works_of_a_crowd_to_one_node_have_names() {
    let text = r#"
name = "crowd"
duration = "5s"
expect = [
    "messages(peer.chat) == 3",
    "messages(peer.file) == 2",
    "messages(peer2.file) == 2",
]
[node.s]
[link.s]
path = ["s", "net"]
[crowd.peer]
count = 3
link = { path = ["*", "net"], both = { delay = "10ms" } }
work = [
    { kind = "messages", name = "chat", to = "s", count = 3 },
    { kind = "bulk", name = "file", to = "s", bytes = "2kB", size = "1kB" },
]
"#;
    let outcome = run(&Scenario::parse(text).expect("right"), &RunOptions::new(1)).expect("it can be run");
    assert!(outcome.passed(), "{:?}", outcome.failures);
    assert_eq!(outcome.measured.len(), 7);
    assert_eq!(folded(&outcome.measured).len(), 3);
}
