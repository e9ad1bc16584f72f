//! Runs of many scenarios, cases and seeds, several at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use datagram_sim::TRACE_VERSION;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rtmfp_core::profile::modern::Hybrid;
use rtmfp_sim::run::{Crypto, Failure, Outcome, RunOptions, folded, run as run_one};
use rtmfp_sim::scenario::{Scenario, builtins, missing, seeds, units};

use super::output::outln;
use super::source::load;
use super::{CryptoChoice, DIFFERENT, Done, EXPECTATION, INVARIANT, PASSED, RunArguments, USAGE};

/// One run to be done.
struct Job {
    /// How to run it again: name and settings, ready to paste.
    again: String,
    scenario: Scenario,
    options: RunOptions,
}

/// What came of it.
struct Line {
    text: String,
    code: u8,
    hash: Option<(String, u64, u128)>,
}

fn quoted(text: &str) -> String {
    if text.contains([' ', '"', '[', '(', '*']) { format!("'{text}'") } else { text.to_owned() }
}

fn jobs(arguments: &RunArguments) -> Result<Vec<Job>, String> {
    let names: Vec<String> = if arguments.all {
        builtins().map(|builtin| builtin.name.to_owned()).collect()
    } else {
        arguments.scenarios.clone()
    };
    let mut all = Vec::new();
    for name in names {
        let mut scenario = load(&name)?;
        if arguments.all && (!missing(&scenario.needs).is_empty() || arguments.quick && !scenario.quick) {
            continue;
        }
        for setting in &arguments.settings {
            let (key, value) =
                setting.split_once('=').ok_or_else(|| format!("--set {setting}: KEY=VALUE is needed"))?;
            scenario = scenario.set(key, value).map_err(|error| format!("--set {setting}: {error}"))?;
            scenario.matrix.remove(key);
        }
        let range = match &arguments.seed {
            Some(text) => seeds(text).map_err(|error| error.to_string())?,
            None => scenario.seed_range().map_err(|error| format!("{name}: {error}"))?,
        };
        let range = if arguments.quick { range.into_iter().take(1).collect() } else { range };
        let given: String = arguments.settings.iter().map(|setting| format!(" --set {}", quoted(setting))).collect();
        for case in scenario.cases().map_err(|error| format!("{name}: {error}"))? {
            let settings =
                case.settings.iter().map(|(key, value)| format!(" --set {}", quoted(&format!("{key}={value}"))));
            let settings: String = settings.collect();
            for &seed in &range {
                let mut options = RunOptions::new(seed);
                options.samples = if arguments.all { 100 } else { 400 };
                options.crypto = match arguments.crypto {
                    CryptoChoice::Toy => Crypto::Toy,
                    CryptoChoice::Real => Crypto::Real,
                    CryptoChoice::Modern => Crypto::Modern,
                    CryptoChoice::Hybrid => Crypto::Hybrid(Hybrid::Required),
                };
                options.until = arguments.until.as_deref().map(units::span).transpose()?;
                let crypto = match arguments.crypto {
                    CryptoChoice::Toy => "",
                    CryptoChoice::Real => " --crypto real",
                    CryptoChoice::Modern => " --crypto modern",
                    CryptoChoice::Hybrid => " --crypto hybrid",
                };
                let again = format!("{name} --seed {seed}{given}{settings}{crypto}");
                all.push(Job { again, scenario: case.scenario.clone(), options });
            }
        }
    }
    Ok(all)
}

fn perform(job: &Job) -> Line {
    match run_one(&job.scenario, &job.options) {
        Err(error) => Line { text: format!("FAIL {}\n     {error}", job.again), code: USAGE, hash: None },
        Ok(outcome) => describe(job, &outcome),
    }
}

/// One line for a run that passed; for one that did not, why, and what to paste.
fn describe(job: &Job, outcome: &Outcome) -> Line {
    let code = match (outcome.passed(), outcome.broke_invariant()) {
        (true, _) => PASSED,
        (false, true) => INVARIANT,
        (false, false) => EXPECTATION,
    };
    let verdict = if code == PASSED { "pass" } else { "FAIL" };
    let mut text = format!(
        "{verdict} {} hash={:032x} events={} sim-time={}",
        job.again, outcome.hash, outcome.records, outcome.end
    );
    for failure in outcome.failures.iter().filter(|failure| matches!(failure, Failure::Invariant(_))) {
        text.push_str(&format!("\n     {failure}"));
    }
    for verdict in folded(&outcome.measured).iter().filter(|verdict| !verdict.holds) {
        text.push_str(&format!("\n     {verdict}"));
    }
    if code != PASSED {
        text.push_str(&format!("\n     rtmfp-sim run {}", job.again));
    }
    let key = job.again.replace(" --seed ", " seed ").replace(" --set ", " ");
    Line { text, code, hash: Some((key, job.options.seed, outcome.hash)) }
}

pub(super) fn run(arguments: &RunArguments) -> Done {
    let jobs = jobs(arguments)?;
    if jobs.is_empty() {
        return Err("nothing to run".to_owned());
    }
    let began = began();
    let lines = perform_all(&jobs, arguments.jobs.clamp(1, 64));
    let failed = lines.iter().filter(|line| line.code != PASSED).count();
    let show_all = jobs.len() <= 20;
    for line in lines.iter().filter(|line| show_all || line.code != PASSED) {
        outln!("{}", line.text);
    }
    // One run shows what was measured.
    if let [job] = jobs.as_slice() {
        super::export::write_all(&job.scenario, &job.options, arguments)?;
    } else if arguments.html.is_some()
        || arguments.pcap.is_some()
        || arguments.jsonl.is_some()
        || arguments.csv.is_some()
        || arguments.trace.is_some()
        || arguments.qlog.is_some()
    {
        return Err(format!("these are {} runs; choose one with --seed and --set to write files of it", jobs.len()));
    }
    let wall = began.elapsed();
    outln!("{} runs, {failed} failed, wall={}.{:03}s", jobs.len(), wall.as_secs(), wall.subsec_millis());
    // An invariant weighs more than an expectation.
    let mut code = lines.iter().map(|line| line.code).max().unwrap_or(PASSED);
    if let Some(path) = &arguments.hashes {
        let hashes: BTreeMap<String, u128> =
            lines.iter().filter_map(|line| line.hash.as_ref().map(|(key, _, hash)| (key.clone(), *hash))).collect();
        if !compare(path, &hashes, arguments.renew)? && code == PASSED {
            code = DIFFERENT;
        }
    }
    Ok(code)
}

#[expect(clippy::disallowed_methods, reason = "how long the program took; no outcome depends on it")]
pub(super) fn began() -> std::time::Instant {
    std::time::Instant::now()
}

fn perform_all(jobs: &[Job], threads: usize) -> Vec<Line> {
    let bar = ProgressBar::with_draw_target(Some(jobs.len() as u64), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    let next = AtomicUsize::new(0);
    let lines: Mutex<BTreeMap<usize, Line>> = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.min(jobs.len()) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(at) else { return };
                    bar.set_message(job.scenario.name.clone());
                    let line = perform(job);
                    bar.inc(1);
                    if let Ok(mut lines) = lines.lock() {
                        lines.insert(at, line);
                    }
                }
            });
        }
    });
    bar.finish_and_clear();
    lines.into_inner().map(|lines| lines.into_values().collect()).unwrap_or_default()
}

/// What stands above the table.
fn heading() -> String {
    format!(
        "# The hash of every run of the quick set: a change of behaviour shows here, and its commit says why.\n\
         # To renew: rtmfp-sim run --all --quick --hashes sim/hashes.txt --renew\n\
         # trace version {TRACE_VERSION}; hash, scenario, seed, settings\n"
    )
}

/// Compares with the table in a file, or writes it: false if they differ.
fn compare(path: &Path, hashes: &BTreeMap<String, u128>, renew: bool) -> Result<bool, String> {
    let shown: BTreeSet<String> = hashes.iter().map(|(key, hash)| format!("{hash:032x} {key}")).collect();
    let name = path.display();
    if renew {
        let lines: String = hashes.iter().map(|(key, hash)| format!("{hash:032x} {key}\n")).collect();
        std::fs::write(path, heading() + &lines).map_err(|error| format!("{name}: {error}"))?;
        outln!("wrote {name}");
        return Ok(true);
    }
    let table = std::fs::read_to_string(path).map_err(|error| format!("{name}: {error}; --renew writes it"))?;
    if !table.starts_with(&heading()) {
        return Err(format!("{name} is of another version of the trace; --renew writes it again"));
    }
    let table: BTreeSet<String> = table.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    for (sign, line) in differences(&table, &shown) {
        outln!("{sign} {line}");
    }
    if table == shown {
        outln!("{} hashes are those of {name}", shown.len());
    } else {
        outln!("hashes differ from {name}: if that is meant, renew it with --renew and say why in the commit");
    }
    Ok(table == shown)
}

/// Lines that are only in one of two tables, those of one run next to each other.
fn differences<'a>(table: &'a BTreeSet<String>, shown: &'a BTreeSet<String>) -> Vec<(char, &'a str)> {
    let gone = table.difference(shown).map(|line| ('-', line.as_str()));
    let mut all: Vec<(char, &str)> = gone.chain(shown.difference(table).map(|line| ('+', line.as_str()))).collect();
    all.sort_by_key(|(sign, line)| (line.split_once(' ').map_or("", |(_, run)| run), *sign == '+'));
    all
}

#[test]
fn another_hash_is_shown_with_the_old_one() {
    let set = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<BTreeSet<String>>();
    let (table, shown) = (set(&["1 a seed 1", "2 b seed 1"]), set(&["1 a seed 1", "3 b seed 1", "4 c seed 1"]));
    assert_eq!(differences(&table, &shown), [('-', "2 b seed 1"), ('+', "3 b seed 1"), ('+', "4 c seed 1")]);
    assert!(differences(&table, &table).is_empty());
}
