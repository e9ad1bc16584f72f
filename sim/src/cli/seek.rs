//! Looking for failures, and making them small.

use std::path::Path;
use std::time::Duration;

use rtmfp_sim::run::{RunOptions, run};
use rtmfp_sim::scenario::Scenario;
use rtmfp_sim::seek::{kind, random_scenario, shrink};

use super::batch::began;
use super::source::load;
use super::{Done, INVARIANT, PASSED};

/// Shrinks and writes what came of it, with a line to paste and one for a test.
fn keep(scenario: &Scenario, options: &RunOptions, output: &Path, runs: u64) -> Result<bool, String> {
    let found = shrink(scenario, options, &mut |done| done < runs).map_err(|error| error.to_string())?;
    let Some(found) = found else { return Ok(false) };
    std::fs::write(output, found.scenario.to_toml()).map_err(|error| format!("{}: {error}", output.display()))?;
    let lines = found.scenario.to_toml().lines().count();
    println!("     {} in {lines} lines after {} runs: {}", output.display(), found.runs, found.kind);
    println!("     rtmfp-sim run {} --seed {}", output.display(), options.seed);
    let test = scenario.name.replace('-', "_");
    println!("     #[test] fn {test}() {{ passes(include_str!({:?}), {}); }}", output.display(), options.seed);
    Ok(true)
}

pub(super) fn shrunk(name: &str, seed: Option<u64>, output: &Path, runs: u64) -> Done {
    let scenario = load(name)?;
    let mut cases = scenario.cases().map_err(|error| error.to_string())?;
    let scenario = if cases.is_empty() { scenario } else { cases.swap_remove(0).scenario };
    let options = RunOptions::new(seed.unwrap_or(scenario.seed));
    if keep(&scenario, &options, output, runs)? { Ok(PASSED) } else { Err(format!("`{name}` does not fail")) }
}

pub(super) fn swarm(minutes: u64, from: u64, count: u64, out: &Path) -> Done {
    let (began, budget) = (began(), Duration::from_secs(minutes.saturating_mul(60)));
    let (mut done, mut failed) = (0, 0);
    for number in from..from.saturating_add(count) {
        if began.elapsed() >= budget {
            break;
        }
        let scenario = random_scenario(number).map_err(|error| error.to_string())?;
        let options = RunOptions::new(number);
        let outcome = run(&scenario, &options).map_err(|error| error.to_string())?;
        done += 1;
        if let Some(kind) = kind(&outcome) {
            failed += 1;
            println!("FAIL swarm {number}: {kind}");
            for failure in outcome.failures.iter().take(3) {
                println!("     {failure:?}");
            }
            keep(&scenario, &options, &out.join(format!("swarm-{number}.toml")), 300)?;
        }
    }
    println!("{done} scenarios, {failed} failed, wall={}s", began.elapsed().as_secs());
    Ok(if failed == 0 { PASSED } else { INVARIANT })
}
