//! `rtmfp-bench`: measures RTMFP on this machine, over loopback, with the far end in a process of its own.
//!
//! With `--json` there is a line with `event` `run` for each run, then one with `event` `median` that has the median of
//! each field by itself. Fields that end in `_ns` are nanoseconds, others are counts, bytes or bytes a second.

mod args;
mod ceiling;
mod drivers;
mod ends;
mod fanout;
mod handshakes;
mod idle;
mod latency;
mod path;
mod pipe;
mod stream;
mod throughput;
mod usage;

use core::time::Duration;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::process::ExitCode;

use args::{Bench, BenchCommon, Subject};
use clap::Parser;
use rtmfp_cli::failure::Failure;
use rtmfp_cli::json::Line;
use rtmfp_cli::output;

fn main() -> ExitCode {
    let result = run(&Bench::parse());
    if let Err(failure) = &result {
        output::complain("rtmfp-bench", failure);
    }
    output::exit_code("rtmfp-bench", &result)
}

fn run(args: &Bench) -> Result<(), Failure> {
    let common = args.subject.common();
    // The ends of a path may be on machines of their own, and something else between them.
    if !common.no_pin && !matches!(args.subject, Subject::Path(_)) {
        usage::pin(common.far);
    }
    match &args.subject {
        Subject::Throughput(args) => throughput::run(args),
        Subject::Handshakes(args) => handshakes::run(args),
        Subject::Fanout(args) => fanout::run(args),
        Subject::Idle(args) => idle::run(args),
        Subject::Latency(args) => latency::run(args),
        Subject::Ceiling(args) => ceiling::run(args),
        Subject::Drivers(args) => drivers::run(args),
        Subject::Path(args) => path::run(args),
    }
}

/// Nanoseconds in a second, and bytes in a gigabyte.
const GIGA: u64 = 1_000_000_000;

/// A figure of a run: its name in lines of JSON, and what it is called and counted in for people, if they see it.
#[derive(Clone, Copy)]
struct Column {
    name: &'static str,
    title: &'static str,
    /// What the value is divided by to be shown.
    unit: f64,
    decimals: usize,
}

const fn column(name: &'static str, title: &'static str, unit: f64, decimals: usize) -> Column {
    Column { name, title, unit, decimals }
}

/// The figures of one run, by name.
type Run = BTreeMap<&'static str, u64>;

/// Measures as often as asked, and tells of it.
fn measure(
    subject: &str,
    common: &BenchCommon,
    columns: &[Column],
    mut once: impl FnMut() -> Result<Run, Failure>,
) -> Result<(), Failure> {
    let mut runs = Vec::new();
    for number in 1..=common.runs {
        if !common.json && std::io::stderr().is_terminal() {
            output::status(&format!("\rrun {number} of {} ", common.runs));
        }
        let run = once()?;
        if common.json {
            output::line(&json("run", subject, &run));
        }
        runs.push(run);
    }
    let median = median(&runs);
    if common.json {
        output::line(&json("median", subject, &median));
        return Ok(());
    }
    if std::io::stderr().is_terminal() {
        output::status("\r");
    }
    output::line(&table(columns, &runs, &median));
    Ok(())
}

fn json(event: &str, subject: &str, run: &Run) -> String {
    let line = Line::new(event).text("subject", subject);
    run.iter().fold(line, |line, (name, value)| line.number(name, *value)).end()
}

/// The median of each figure by itself; of an even number, the lower of the two in the middle.
fn median(runs: &[Run]) -> Run {
    let names = runs.first().map(Run::keys).into_iter().flatten();
    names
        .map(|name| {
            let mut values: Vec<u64> = runs.iter().filter_map(|run| run.get(name).copied()).collect();
            values.sort_unstable();
            (*name, values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(0))
        })
        .collect()
}

/// A row a figure: least, median, most.
fn table(columns: &[Column], runs: &[Run], median: &Run) -> String {
    let width = columns.iter().map(|column| column.title.chars().count()).max().unwrap_or(0);
    let mut text = format!("{:width$} {:>12} {:>12} {:>12}", "", "least", "median", "most");
    let measured = |column: &&Column| median.contains_key(column.name);
    for column in columns.iter().filter(measured) {
        let values = || runs.iter().filter_map(|run| run.get(column.name).copied());
        let shown = |value: Option<u64>| {
            value.map_or_else(String::new, |value| format!("{:.*}", column.decimals, value as f64 / column.unit))
        };
        let (least, middle, most) =
            (shown(values().min()), shown(median.get(column.name).copied()), shown(values().max()));
        text += &format!("\n{:width$} {least:>12} {middle:>12} {most:>12}", column.title);
    }
    text
}

/// Nanoseconds.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// `scale` times `part` over `whole`; 0 of nothing.
fn ratio(part: u64, whole: u64, scale: u64) -> u64 {
    let scaled = u128::from(part) * u128::from(scale);
    u64::try_from(scaled.checked_div(u128::from(whole)).unwrap_or(0)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_taken_of_each_figure_by_itself() {
        let run = |a, b| Run::from([("a", a), ("b", b)]);
        assert_eq!(median(&[run(1, 30), run(2, 10), run(3, 20)]), run(2, 20));
        assert_eq!(median(&[run(4, 1), run(2, 2)]), run(2, 1));
        assert_eq!(median(&[]), Run::new());
    }

    #[test]
    fn the_table_shows_the_spread() {
        let runs = [Run::from([("rate", 1_500_000)]), Run::from([("rate", 2_000_000)])];
        let shown = table(&[column("rate", "MB/s", 1e6, 1)], &runs, &median(&runs));
        let row: Vec<_> = shown.lines().last().unwrap_or_default().split_whitespace().collect();
        assert_eq!(row, ["MB/s", "1.5", "1.5", "2.0"]);
    }
}
