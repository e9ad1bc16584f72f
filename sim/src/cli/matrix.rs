//! A matrix as a table: what was measured in each case, the worst of its seeds.

use std::path::Path;

use rtmfp_sim::run::{RunOptions, run};

use super::say::say;
use super::source::load;
use super::{DIFFERENT, Done, EXPECTATION, INVARIANT, PASSED};

/// Runs every case with every seed and prints a line for each.
pub(super) fn matrix(name: &str) -> Done {
    let scenario = load(name)?;
    let wrong = |error: &dyn core::fmt::Display| format!("{name}: {error}");
    let seeds = scenario.seed_range().map_err(|error| wrong(&error))?;
    let mut code = PASSED;
    let heads: Vec<String> = scenario.expanded().expect.iter().map(ToString::to_string).collect();
    say!("seed | case | {} | hash", heads.join(" | "));
    for case in scenario.cases().map_err(|error| wrong(&error))? {
        for &seed in &seeds {
            let outcome = run(&case.scenario, &RunOptions::new(seed)).map_err(|error| wrong(&error))?;
            let cells: Vec<String> = outcome
                .measured
                .iter()
                .map(|(_, value, holds)| if *holds { value.clone() } else { format!("{value} NOT") })
                .collect();
            say!("{seed} | {} | {} | {:032x}", case.label(), cells.join(" | "), outcome.hash);
            code = code.max(match (outcome.passed(), outcome.broke_invariant()) {
                (true, _) => PASSED,
                (false, true) => INVARIANT,
                (false, false) => EXPECTATION,
            });
        }
    }
    Ok(code)
}

/// Runs a file as it was kept: with its own seed, twice, and says how it fails.
pub(super) fn replay(file: &Path) -> Done {
    let name = file.display().to_string();
    let scenario = load(&name)?;
    let options = RunOptions::new(scenario.seed);
    let outcome = run(&scenario, &options).map_err(|error| format!("{name}: {error}"))?;
    let again = run(&scenario, &options).map_err(|error| format!("{name}: {error}"))?;
    say!("{name} seed={} hash={:032x} events={}", scenario.seed, outcome.hash, outcome.records);
    for failure in &outcome.failures {
        say!("     {failure:?}");
    }
    for (expectation, value, holds) in &outcome.measured {
        say!("     {} {expectation}   ({value})", if *holds { "ok " } else { "NOT" });
    }
    if again.hash != outcome.hash {
        say!("     and it is not the same again: {:032x}", again.hash);
        return Ok(DIFFERENT);
    }
    Ok(match (outcome.passed(), outcome.broke_invariant()) {
        (true, _) => PASSED,
        (false, true) => INVARIANT,
        (false, false) => EXPECTATION,
    })
}
