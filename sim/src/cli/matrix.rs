//! A matrix as a table: what was measured in each case, the worst of its seeds.

use std::path::Path;

use rtmfp_sim::run::{Failure, RunOptions, Verdict, folded, range, run};

use super::output::outln;
use super::source::load;
use super::{DIFFERENT, Done, EXPECTATION, INVARIANT, PASSED};

/// Runs every case with every seed and prints a line for each.
pub(super) fn matrix(name: &str) -> Done {
    let scenario = load(name)?;
    let wrong = |error: &dyn core::fmt::Display| format!("{name}: {error}");
    let seeds = scenario.seed_range().map_err(|error| wrong(&error))?;
    let mut code = PASSED;
    let heads: Vec<String> = scenario.expect.iter().map(ToString::to_string).collect();
    outln!("seed | case | {} | hash", heads.join(" | "));
    for case in scenario.cases().map_err(|error| wrong(&error))? {
        for &seed in &seeds {
            let outcome = run(&case.scenario, &RunOptions::new(seed)).map_err(|error| wrong(&error))?;
            // A crowd's expectation is one column.
            let columns = outcome.measured.chunk_by(|a, b| a.written == b.written);
            let cells: Vec<String> = columns.map(cell).collect();
            outln!("{seed} | {} | {} | {:032x}", case.label(), cells.join(" | "), outcome.hash);
            code = code.max(match (outcome.passed(), outcome.broke_invariant()) {
                (true, _) => PASSED,
                (false, true) => INVARIANT,
                (false, false) => EXPECTATION,
            });
        }
    }
    Ok(code)
}

/// What was measured for one expectation: a value, or of a crowd the least and the greatest.
fn cell(verdicts: &[Verdict]) -> String {
    let (hold, broken): (Vec<Verdict>, Vec<Verdict>) = verdicts.iter().cloned().partition(|verdict| verdict.holds);
    let part = |verdicts: &[Verdict], word: &str| range(verdicts).map(|range| format!("{range}{word}"));
    [part(&hold, ""), part(&broken, " NOT")].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Runs a file as it was kept: with its own seed, twice, and says how it fails.
pub(super) fn replay(file: &Path) -> Done {
    let name = file.display().to_string();
    let scenario = load(&name)?;
    let options = RunOptions::new(scenario.seed);
    let outcome = run(&scenario, &options).map_err(|error| format!("{name}: {error}"))?;
    let again = run(&scenario, &options).map_err(|error| format!("{name}: {error}"))?;
    outln!("{name} seed={} hash={:032x} events={}", scenario.seed, outcome.hash, outcome.records);
    for failure in outcome.failures.iter().filter(|failure| matches!(failure, Failure::Invariant(_))) {
        outln!("     {failure}");
    }
    for verdict in folded(&outcome.measured) {
        outln!("     {verdict}");
    }
    if again.hash != outcome.hash {
        outln!("     and it is not the same again: {:032x}", again.hash);
        return Ok(DIFFERENT);
    }
    Ok(match (outcome.passed(), outcome.broke_invariant()) {
        (true, _) => PASSED,
        (false, true) => INVARIANT,
        (false, false) => EXPECTATION,
    })
}
