//! Writes what a single run shows: reports, traces, captures.

use std::path::Path;

use datagram_sim::TRACE_VERSION;
use rtmfp_sim::record::{Layer, capture, csv, json_lines};
use rtmfp_sim::report::{html, ladder_text};
use rtmfp_sim::run::{Outcome, RunOptions, folded, run};
use rtmfp_sim::scenario::Scenario;

use super::output::{out, outln};
use super::source::load;
use super::{Done, EXPECTATION, INVARIANT, PASSED, RunArguments};

/// Packets that captures keep at most.
const CAPTURED: usize = 200_000;
/// The beginning of a trace's first line.
pub(super) const TRACE_HEAD: &str = "# rtmfp-sim trace, version";
/// Packets that a ladder needs.
const LADDER: usize = 400;

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    std::fs::write(path, bytes).map_err(|error| format!("{}: {error}", path.display()))?;
    outln!("     wrote {}", path.display());
    Ok(())
}

fn create(folder: &Path) -> Result<(), String> {
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}

fn measured(outcome: &Outcome) {
    for verdict in folded(&outcome.measured) {
        outln!("     {verdict}");
    }
}

/// Runs the scenario again, keeps what the arguments ask for, and writes it.
pub(super) fn write_all(scenario: &Scenario, options: &RunOptions, arguments: &RunArguments) -> Result<(), String> {
    let captured = arguments.pcap.is_some() || arguments.jsonl.is_some();
    let shown = arguments.ladder || arguments.html.is_some();
    let packets = if captured { CAPTURED } else { usize::from(shown) * LADDER };
    let window = arguments.trace.as_ref().map(|_| (0, u64::MAX));
    let options = RunOptions { packets, window, qlog: arguments.qlog.is_some(), ..options.clone() };
    let Ok(outcome) = run(scenario, &options) else { return Ok(()) };
    measured(&outcome);
    if arguments.ladder {
        out!("{}", ladder_text(&outcome, 40));
    }
    if let Some(path) = &arguments.html {
        write(path, html(scenario, options.seed, &outcome).as_bytes())?;
    }
    if let Some(path) = &arguments.trace {
        let lines = outcome.watched.lines.join("\n");
        write(path, format!("{TRACE_HEAD} {TRACE_VERSION}\n{lines}\n").as_bytes())?;
    }
    if let Some(path) = &arguments.jsonl {
        write(path, json_lines(&outcome).as_bytes())?;
    }
    if let Some(path) = &arguments.csv {
        write(path, csv(&outcome).as_bytes())?;
    }
    if let Some(folder) = &arguments.qlog {
        create(folder)?;
        for (node, log) in &outcome.qlogs {
            write(&folder.join(format!("{}-{node}.sqlog", scenario.name)), log)?;
        }
    }
    if let Some(folder) = &arguments.pcap {
        create(folder)?;
        write(&folder.join(format!("{}-sent.pcapng", scenario.name)), &capture(&outcome, Layer::Sent))?;
        write(&folder.join(format!("{}-plain.pcapng", scenario.name)), &capture(&outcome, Layer::Plain))?;
    }
    Ok(())
}

/// The report of one scenario, or of each in a folder.
pub(super) fn report(name: &str, output: &Path, seed: Option<u64>) -> Done {
    if !Path::new(name).is_dir() {
        return report_one(name, output, seed);
    }
    let entries = std::fs::read_dir(name).map_err(|error| format!("{name}: {error}"))?;
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    if files.is_empty() {
        return Err(format!("{name}: there is no scenario in it"));
    }
    let mut code = PASSED;
    for file in files {
        outln!("{}", file.display());
        code = code.max(report_one(&file.display().to_string(), &file.with_extension("html"), seed)?);
    }
    Ok(code)
}

fn report_one(name: &str, output: &Path, seed: Option<u64>) -> Done {
    let scenario = load(name)?;
    let mut cases = scenario.cases().map_err(|error| error.to_string())?;
    let scenario = if cases.is_empty() { scenario } else { cases.swap_remove(0).scenario };
    let seed = seed.unwrap_or(scenario.seed);
    let options = RunOptions { packets: LADDER, ..RunOptions::new(seed) };
    let outcome = run(&scenario, &options).map_err(|error| format!("{name}: {error}"))?;
    measured(&outcome);
    write(output, html(&scenario, seed, &outcome).as_bytes())?;
    Ok(match (outcome.passed(), outcome.broke_invariant()) {
        (true, _) => PASSED,
        (false, true) => INVARIANT,
        (false, false) => EXPECTATION,
    })
}
