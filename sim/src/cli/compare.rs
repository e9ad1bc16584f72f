//! Compares runs: whether a second run is the same, and where two runs differ.

use datagram_sim::first_difference;
use rtmfp_sim::run::{Failure, Outcome, RunOptions, run};
use rtmfp_sim::scenario::Scenario;

use super::export::TRACE_HEAD;
use super::output::outln;
use super::source::load;
use super::{DIFFERENT, Done, PASSED};

/// Records around the first difference that are shown.
const AROUND: u64 = 20;

fn outcome(scenario: &Scenario, options: &RunOptions) -> Result<Outcome, String> {
    run(scenario, options).map_err(|error| format!("{}: {error}", scenario.name))
}

/// The first case of a matrix stands for it.
fn first_case(name: &str) -> Result<Scenario, String> {
    let scenario = load(name)?;
    let mut cases = scenario.cases().map_err(|error| error.to_string())?;
    Ok(if cases.is_empty() { scenario } else { cases.swap_remove(0).scenario })
}

pub(super) fn verify(name: &str, seed: Option<u64>) -> Done {
    let scenario = first_case(name)?;
    let options = RunOptions::new(seed.unwrap_or(scenario.seed));
    let first = outcome(&scenario, &options)?;
    let mut code = PASSED;
    for (what, tick_log) in [("again", options.tick_log), ("with ticks of 64 us", 16), ("with ticks of 1 us", 10)] {
        let other = outcome(&scenario, &RunOptions { tick_log, ..options.clone() })?;
        let same = other.hash == first.hash && other.records == first.records;
        outln!("{what:<20} {:032x} {} records: {}", other.hash, other.records, if same { "same" } else { "DIFFERENT" });
        if !same {
            code = DIFFERENT;
            difference(
                (&scenario, &options, &first),
                (&scenario, &RunOptions { tick_log, ..options.clone() }, &other),
            )?;
        }
    }
    let other = outcome(&scenario, &RunOptions { other_order: true, ..options })?;
    let broken: Vec<_> = other.failures.iter().filter(|failure| matches!(failure, Failure::Invariant(_))).collect();
    let said = if broken.is_empty() { "another run, and its invariants hold" } else { "INVARIANTS BROKEN" };
    outln!("{:<20} {:032x} {} records: {said}", "in another order", other.hash, other.records);
    for failure in broken {
        code = DIFFERENT;
        outln!("  {failure}");
    }
    Ok(code)
}

/// The lines of a trace, if the file is one.
fn trace(name: &str) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(name).ok()?;
    text.starts_with(TRACE_HEAD).then(|| text.lines().map(str::to_owned).collect())
}

pub(super) fn bisect(a: &str, b: &str, seed_a: Option<u64>, seed_b: Option<u64>) -> Done {
    match (trace(a), trace(b)) {
        (Some(a), Some(b)) if a == b => {
            outln!("the two traces are the same: {} records", a.len() - 1);
            return Ok(PASSED);
        }
        (Some(a), Some(b)) if a.first() != b.first() => {
            return Err("the traces are of different versions".to_owned());
        }
        (Some(a), Some(b)) => {
            show_difference(a.get(1..).unwrap_or_default(), b.get(1..).unwrap_or_default(), 0);
            return Ok(DIFFERENT);
        }
        (None, None) => {}
        _ => return Err("one of the two is a trace; compare two traces, or two scenarios".to_owned()),
    }
    let (a, b) = (first_case(a)?, first_case(b)?);
    let options = (RunOptions::new(seed_a.unwrap_or(a.seed)), RunOptions::new(seed_b.unwrap_or(b.seed)));
    let outcomes = (outcome(&a, &options.0)?, outcome(&b, &options.1)?);
    if outcomes.0.hash == outcomes.1.hash {
        outln!("the two runs are the same: {:032x}", outcomes.0.hash);
        return Ok(PASSED);
    }
    difference((&a, &options.0, &outcomes.0), (&b, &options.1, &outcomes.1))?;
    Ok(DIFFERENT)
}

type Side<'a> = (&'a Scenario, &'a RunOptions, &'a Outcome);

/// Runs both again, keeping as text what is between the last checkpoint that agrees and the first that does not.
fn difference(a: Side<'_>, b: Side<'_>) -> Result<(), String> {
    let shorter = a.2.records.min(b.2.records);
    let tail = shorter / datagram_sim::CHECKPOINT_EVERY * datagram_sim::CHECKPOINT_EVERY;
    let (from, to) = first_difference(&a.2.checkpoints, &b.2.checkpoints).unwrap_or((tail, shorter + AROUND));
    let window = Some((from.saturating_sub(AROUND), to + AROUND));
    let lines = |side: Side<'_>| -> Result<Vec<String>, String> {
        let options = RunOptions { window, ..side.1.clone() };
        Ok(outcome(side.0, &options)?.watched.lines)
    };
    let (left, right) = (lines(a)?, lines(b)?);
    show_difference(&left, &right, from.saturating_sub(AROUND));
    Ok(())
}

/// Prints where two lists of records part, of which the first has this number.
fn show_difference(left: &[String], right: &[String], first: u64) {
    let at = left.iter().zip(right).position(|(left, right)| left != right).unwrap_or(left.len().min(right.len()));
    let around = usize::try_from(AROUND).unwrap_or(20);
    outln!("the first difference is after {} records that agree", at as u64 + first);
    for line in left.get(at.saturating_sub(around)..at).unwrap_or_default() {
        outln!("  {line}");
    }
    for (sign, list) in [("-", left), ("+", right)] {
        for line in list.iter().skip(at).take(around / 2) {
            outln!("{sign} {line}");
        }
    }
}
