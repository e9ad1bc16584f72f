//! Makes a failing scenario small: explicit faults instead of chance, then as few of everything as still fails alike.

use std::collections::BTreeSet;

use datagram_sim::Duration;

use super::{FailureKind, kind};
use crate::run::{Outcome, RunOptions, run};
use crate::scenario::{Action, At, Dur, FaultText, Scenario, ScenarioError};

/// What came of shrinking.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The smallest scenario found.
    pub scenario: Scenario,
    /// How it fails.
    pub kind: FailureKind,
    /// How many runs it took.
    pub runs: u64,
}

struct Shrinker<'a> {
    original: &'a Scenario,
    kind: FailureKind,
    /// Whether an expectation is broken that holds in the original if nothing goes wrong there.
    holds_when_calm: bool,
    options: RunOptions,
    runs: u64,
    /// Whether there is still time for another run.
    more: &'a mut dyn FnMut(u64) -> bool,
}

impl Shrinker<'_> {
    fn fails(&mut self, scenario: &Scenario) -> bool {
        if !(self.more)(self.runs) {
            return false;
        }
        // Without its thaw, or link-up, another failure would look like this one: that nothing moves any more.
        if !left_stopped(scenario).is_subset(&left_stopped(self.original)) {
            return false;
        }
        // What no longer fits together does not fail alike.
        let Ok(scenario) = Scenario::parse(&scenario.to_toml()) else { return false };
        if !self.fails_alike(&scenario) {
            return false;
        }
        // Of 20 messages, 40 never arrive: it is trouble that must break the expectation, not what was taken away.
        !self.holds_when_calm || !self.fails_alike(&calm(&scenario))
    }

    fn fails_alike(&mut self, scenario: &Scenario) -> bool {
        self.runs += 1;
        run(scenario, &self.options).is_ok_and(|outcome| self.is_alike(&outcome))
    }

    fn is_alike(&self, outcome: &Outcome) -> bool {
        kind(outcome).as_ref() == Some(&self.kind)
    }

    /// Removes as much of a list as it can: halves first, then smaller parts (Zeller's ddmin, without complements).
    fn list<T: Clone>(&mut self, scenario: &mut Scenario, of: impl Fn(&mut Scenario) -> &mut Vec<T>) {
        let mut size = of(scenario).len();
        while size > 0 {
            let mut from = 0;
            while from < of(scenario).len() {
                let mut smaller = scenario.clone();
                let list = of(&mut smaller);
                let to = (from + size).min(list.len());
                list.drain(from..to);
                if self.fails(&smaller) {
                    *scenario = smaller;
                } else {
                    from += size;
                }
            }
            size /= 2;
        }
    }

    fn change(&mut self, scenario: &mut Scenario, change: impl Fn(&mut Scenario)) -> bool {
        let mut smaller = scenario.clone();
        change(&mut smaller);
        let better = smaller != *scenario && self.fails(&smaller);
        if better {
            *scenario = smaller;
        }
        better
    }
}

/// Shrinks a scenario that fails with these options; none if it does not fail. `more` is asked before each run, with
/// the number of runs so far, whether to go on.
///
/// # Errors
/// If the scenario cannot be run.
pub fn shrink(
    scenario: &Scenario,
    options: &RunOptions,
    more: &mut dyn FnMut(u64) -> bool,
) -> Result<Option<Shrunk>, ScenarioError> {
    let first = run(scenario, &RunOptions { record_faults: true, ..options.clone() })?;
    let Some(kind) = kind(&first) else { return Ok(None) };
    let mut shrinker =
        Shrinker { original: scenario, kind, holds_when_calm: false, options: options.clone(), runs: 1, more };
    let mut best = scenario.clone();
    best.seed = options.seed;
    // Expectations that hold are no part of the failure.
    match shrinker.kind.clone() {
        FailureKind::Invariant(_) => best.expect.clear(),
        FailureKind::Expectation { written, .. } => {
            best.expect.retain(|expect| expect.to_string() == written);
            shrinker.holds_when_calm = !shrinker.fails_alike(&calm(&best));
        }
    }
    shrinker.change(&mut best, |scenario| {
        scenario.explicit = true;
        scenario.faults = first.faults.iter().cloned().map(FaultText).collect();
    });
    shrinker.list(&mut best, |scenario| &mut scenario.work);
    shrinker.list(&mut best, |scenario| &mut scenario.at);
    shrinker.list(&mut best, |scenario| &mut scenario.faults);
    while shrinker.change(&mut best, |scenario| {
        scenario.duration =
            Dur(Duration(scenario.duration.0.0 / 2 / 1_000_000_000 * 1_000_000_000).max(Duration::secs(1)));
    }) {}
    for at in 0..best.work.len() {
        for _ in 0..20 {
            let halved = shrinker.change(&mut best, |scenario| {
                if let Some(work) = scenario.work.get_mut(at) {
                    work.bytes = work.bytes.map(|bytes| crate::scenario::Size(bytes.0 / 2));
                    work.count = work.count.map(|count| (count / 2).max(1));
                }
            });
            if !halved {
                break;
            }
        }
    }
    Ok(Some(Shrunk { kind: shrinker.kind, runs: shrinker.runs, scenario: best }))
}

/// The same without trouble: nothing happens by chance, to single packets, or at a time.
fn calm(scenario: &Scenario) -> Scenario {
    Scenario { explicit: true, faults: Vec::new(), at: Vec::new(), ..scenario.clone() }
}

/// What is stopped, and does not go on before the end: nodes that stay frozen or do not read any more, and links that stay
/// down.
fn left_stopped(scenario: &Scenario) -> BTreeSet<(&'static str, &str)> {
    let mut in_order: Vec<&At> = scenario.at.iter().filter(|at| at.t.0 <= scenario.duration.0).collect();
    in_order.sort_by_key(|at| at.t.0);
    let mut stopped = BTreeSet::new();
    for at in in_order {
        match &at.action {
            Action::Freeze { node } => drop(stopped.insert(("frozen", node.as_str()))),
            Action::Thaw { node, .. } => drop(stopped.remove(&("frozen", node.as_str()))),
            Action::Suspend { node } => drop(stopped.insert(("suspended", node.as_str()))),
            Action::Resume { node } => drop(stopped.remove(&("suspended", node.as_str()))),
            Action::LinkDown { link } => drop(stopped.insert(("down", link.as_str()))),
            Action::LinkUp { link, .. } => drop(stopped.remove(&("down", link.as_str()))),
            Action::Heal => stopped.retain(|(how, _)| *how != "down"),
            Action::Rebind { .. }
            | Action::LinkChange { .. }
            | Action::NatFlush { .. }
            | Action::ClockStep { .. }
            | Action::Restart { .. }
            | Action::Close { .. } => {}
        }
    }
    stopped
}

/// A line that is dead for a while makes a transfer late. Without its transfer nothing is measured, and with a shorter run
/// or fewer bytes something else goes wrong than what was found.
#[cfg(test)]
const LATE: &str = r#"
    name = "planted"
    duration = "30s"
    work = [
        { kind = "messages", name = "x", from = "a", to = "b", count = 40 },
        { kind = "bulk", name = "y", from = "a", to = "b", bytes = "4MB" },
    ]
    at = [
        { t = "1s", do = "link-down", link = "wan" },
        { t = "6s", do = "link-up", link = "wan" },
        { t = "9s", do = "clock-step", node = "a", by-ms = 1 },
    ]
    expect = ["EXPECTED"]
    [node.a]
    [node.b]
    [link.wan]
    path = ["a", "b"]
    both = { rate = "10Mbit", delay = "20ms" }
"#;

#[test]
fn a_failure_is_cut_down_to_what_matters() {
    let text = r#"
        name = "planted"
        duration = "20s"
        work = [
            { kind = "messages", name = "x", from = "a", to = "b", count = 40, no-retransmit = true },
            { kind = "messages", name = "y", from = "a", to = "b", count = 40 },
        ]
        expect = ["lost(x) == 0", "lost(y) == 0"]
        [node.a]
        [node.b]
        [link.wan]
        path = ["a", "b"]
        both = { rate = "10Mbit", delay = "20ms", loss = "random 5%" }
    "#;
    let scenario = Scenario::parse(text).unwrap();
    let shrunk = shrink(&scenario, &RunOptions::new(3), &mut |runs| runs < 500).unwrap().expect("it fails");
    assert_eq!(shrunk.kind.to_string(), "lost(x) == 0");
    assert!(shrunk.scenario.explicit);
    assert_eq!(shrunk.scenario.faults.len(), 1, "{}", shrunk.scenario.to_toml());
    assert_eq!(shrunk.scenario.work.len(), 1);
    assert!(shrunk.scenario.to_toml().lines().count() < 40);
}

/// A node that was thawed in what failed stayed frozen in the smaller one, and nothing moved for that reason alone.
#[test]
fn what_goes_on_again_does_so_in_the_smaller_one() {
    let text = r#"
        name = "planted"
        duration = "20s"
        work = [{ kind = "bulk", name = "x", from = "a", to = "b", bytes = "2MB" }]
        at = [
            { t = "1s", do = "freeze", node = "b" },
            { t = "3s", do = "thaw", node = "b" },
            { t = "15s", do = "suspend", node = "b" },
            { t = "16s", do = "resume", node = "b" },
            { t = "17s", do = "link-down", link = "wan" },
            { t = "18s", do = "link-up", link = "wan" },
        ]
        expect = ["timeouts(a) == 0"]
        [node.a]
        [node.b]
        [link.wan]
        path = ["a", "b"]
        both = { rate = "10Mbit", delay = "20ms" }
    "#;
    let scenario = Scenario::parse(text).unwrap();
    let shrunk = shrink(&scenario, &RunOptions::new(3), &mut |runs| runs < 500).unwrap().expect("it fails");
    assert_eq!(shrunk.scenario.at, scenario.at.get(..2).unwrap(), "{}", shrunk.scenario.to_toml());
    assert!(shrunk.scenario.duration.0 > Duration::secs(3));
}

#[test]
fn a_metric_without_a_value_is_another_failure() {
    let scenario = Scenario::parse(&LATE.replace("EXPECTED", "finished(y) <= 5s")).unwrap();
    let shrunk = shrink(&scenario, &RunOptions::new(3), &mut |runs| runs < 500).unwrap().expect("it fails");
    let left = run(&shrunk.scenario, &RunOptions::new(3)).unwrap();
    assert!(left.measured[0].value.is_some(), "{}", shrunk.scenario.to_toml());
    assert_eq!(shrunk.scenario.work.len(), 1, "{}", shrunk.scenario.to_toml());
    assert_eq!(shrunk.scenario.at, scenario.at[..2], "{}", shrunk.scenario.to_toml());
}

#[test]
fn what_was_taken_away_is_not_what_fails() {
    let scenario = Scenario::parse(&LATE.replace("EXPECTED", "delivered(y) == 4MB").replace("6s", "29s")).unwrap();
    let shrunk = shrink(&scenario, &RunOptions::new(3), &mut |runs| runs < 500).unwrap().expect("it fails");
    let calm = run(&calm(&shrunk.scenario), &RunOptions::new(3)).unwrap();
    assert!(calm.passed(), "it fails without any trouble: {}", shrunk.scenario.to_toml());
    assert!(!shrunk.scenario.at.is_empty());
}

/// The expectation of a crowd was taken for one that holds, and removed: then nothing failed any more.
#[test]
fn what_fails_for_a_member_of_a_crowd_is_cut_down_too() {
    let text = r#"
        name = "planted"
        duration = "30s"
        expect = ["stall(peer->s) <= 1s"]
        at = [
            { t = "2s", do = "link-down", link = "peer2" },
            { t = "5s", do = "link-up", link = "peer2" },
            { t = "8s", do = "clock-step", node = "s", by-ms = 1 },
        ]
        [node.s]
        [link.s]
        path = ["s", "net"]
        both = { rate = "10Mbit", delay = "5ms" }
        [crowd.peer]
        count = 3
        link = { path = ["*", "net"], both = { rate = "10Mbit", delay = "5ms" } }
        work = [{ kind = "messages", to = "s", count = 80, interval = "100ms" }]
    "#;
    let scenario = Scenario::parse(text).unwrap();
    let shrunk = shrink(&scenario, &RunOptions::new(3), &mut |runs| runs < 500).unwrap().expect("it fails");
    assert_eq!(shrunk.kind.to_string(), "stall(peer->s) <= 1s");
    assert_eq!(shrunk.scenario.at, scenario.at[..2], "{}", shrunk.scenario.to_toml());
}
