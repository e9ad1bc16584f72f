//! Looking for failures, and making them small.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rtmfp_sim::run::{RunOptions, run};
use rtmfp_sim::scenario::{Action, ProfileName, Scenario};
use rtmfp_sim::search::{kind, random_scenario, shrink};

use super::batch::began;
use super::output::outln;
use super::source::load;
use super::{Done, INVARIANT, PASSED, Subject};

/// Shrinks and writes what came of it, with a line to paste and one for a test.
fn keep(scenario: &Scenario, options: &RunOptions, output: &Path, runs: u64) -> Result<bool, String> {
    let found = shrink(scenario, options, &mut |done| done < runs).map_err(|error| error.to_string())?;
    let Some(found) = found else { return Ok(false) };
    std::fs::write(output, found.scenario.to_toml()).map_err(|error| format!("{}: {error}", output.display()))?;
    let lines = found.scenario.to_toml().lines().count();
    outln!("     {} in {lines} lines after {} runs: {}", output.display(), found.runs, found.kind);
    outln!("     rtmfp-sim run {} --seed {}", output.display(), options.seed);
    let test = scenario.name.replace('-', "_");
    outln!("     #[test] fn {test}() {{ passes(include_str!({:?}), {}); }}", output.display(), options.seed);
    Ok(true)
}

pub(super) fn shrunk(name: &str, seed: Option<u64>, output: &Path, runs: u64) -> Done {
    let scenario = load(name)?;
    let mut cases = scenario.cases().map_err(|error| error.to_string())?;
    let scenario = if cases.is_empty() { scenario } else { cases.swap_remove(0).scenario };
    let options = RunOptions::new(seed.unwrap_or(scenario.seed));
    if keep(&scenario, &options, output, runs)? { Ok(PASSED) } else { Err(format!("`{name}` does not fail")) }
}

/// What to look for, and for how long.
#[derive(Debug)]
pub(super) struct Swarm {
    pub(super) minutes: u64,
    pub(super) from: u64,
    pub(super) only: Vec<Subject>,
    pub(super) corpus: Option<PathBuf>,
    pub(super) count: u64,
    pub(super) out: PathBuf,
    /// In the scenarios themselves, so that those that are kept fail again.
    pub(super) profile: Option<ProfileName>,
}

/// Whether a scenario has what is wanted.
fn is_wanted(scenario: &Scenario, only: &[Subject]) -> bool {
    only.iter().all(|subject| match subject {
        Subject::Nat => !scenario.nat.is_empty(),
        Subject::Mob => {
            scenario.at.iter().any(|at| matches!(at.action, Action::Rebind { .. } | Action::NatFlush { .. }))
        }
    })
}

/// The numbers in a file, one at the beginning of each line; `#` begins a comment.
fn numbers(path: &Path) -> Result<Vec<u64>, String> {
    let Ok(text) = std::fs::read_to_string(path) else { return Ok(Vec::new()) };
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or("").trim()).filter(|line| !line.is_empty());
    lines.map(|line| line.parse().map_err(|_| format!("{}: `{line}` is no number", path.display()))).collect()
}

/// Adds a number to the corpus with the reason why it is worth keeping.
fn remember(path: &Path, number: u64, why: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).map_err(failed)?;
    writeln!(file, "{number} # {why}").map_err(failed)
}

pub(super) fn swarm(wanted: &Swarm) -> Done {
    // Before an hour is spent on findings that cannot be kept.
    std::fs::create_dir_all(&wanted.out).map_err(|error| format!("{}: {error}", wanted.out.display()))?;
    let (began, budget) = (began(), Duration::from_secs(wanted.minutes.saturating_mul(60)));
    let (mut done, mut failed) = (0, 0);
    let kept = wanted.corpus.as_deref().map_or_else(|| Ok(Vec::new()), numbers)?;
    let fresh = (wanted.from..).filter(|number| !kept.contains(number));
    for number in kept.iter().copied().chain(fresh) {
        if began.elapsed() >= budget || done >= wanted.count {
            break;
        }
        let scenario = random_scenario(number).map_err(|error| error.to_string())?;
        let scenario = Scenario { profile: wanted.profile, ..scenario };
        if !is_wanted(&scenario, &wanted.only) {
            continue;
        }
        let options = RunOptions::new(number);
        let outcome = run(&scenario, &options).map_err(|error| error.to_string())?;
        done += 1;
        if let Some(kind) = kind(&outcome) {
            failed += 1;
            outln!("FAIL swarm {number}: {kind}");
            for failure in outcome.failures.iter().take(3) {
                outln!("     {failure}");
            }
            if let Some(path) = wanted.corpus.as_deref().filter(|_| !kept.contains(&number)) {
                remember(path, number, &kind.to_string())?;
            }
            keep(&scenario, &options, &wanted.out.join(format!("swarm-{number}.toml")), 300)?;
        }
    }
    outln!("{done} scenarios, {failed} failed, wall={}s", began.elapsed().as_secs());
    Ok(if failed == 0 { PASSED } else { INVARIANT })
}
