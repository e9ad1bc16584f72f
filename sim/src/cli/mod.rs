//! The commands of the program.

mod batch;
mod list;
mod look;
mod seek;
mod single;
mod source;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// All expectations and invariants held.
pub(crate) const PASSED: u8 = 0;
/// An expectation did not hold.
pub(crate) const EXPECTATION: u8 = 1;
/// An invariant was broken.
pub(crate) const INVARIANT: u8 = 2;
/// Two runs of the same differed.
pub(crate) const DIFFERENT: u8 = 3;
/// Wrong arguments, or a scenario that cannot be used.
pub(crate) const USAGE: u8 = 64;

/// A deterministic network simulator for RTMFP: a world in a file, the same on every machine.
#[derive(Debug, Parser)]
#[command(name = "rtmfp-sim", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists the built-in scenarios, and what those that cannot run wait for.
    List,
    /// Shows a scenario's file; `metrics`, `presets` and `capabilities` show what can be written in one.
    Show {
        /// A built-in name or a file.
        scenario: String,
    },
    /// Checks scenario files without running them.
    Check {
        /// The files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Runs scenarios. With several seeds or a matrix, everything in all combinations.
    Run(RunArguments),
    /// Writes the report of a run as one HTML file; `run --html` does the same.
    Report {
        /// A built-in name or a file.
        scenario: String,
        /// Where to.
        #[arg(short, long, default_value = "report.html")]
        output: PathBuf,
        /// The seed; the scenario's own if none is given.
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Runs random scenarios until the time is over, and shrinks what fails.
    Swarm {
        /// For how long.
        #[arg(long, default_value_t = 10)]
        minutes: u64,
        /// The number of the first scenario.
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// Ends after so many scenarios.
        #[arg(long, default_value_t = u64::MAX)]
        count: u64,
        /// Where to put what was found.
        #[arg(long, default_value = ".")]
        out: PathBuf,
    },
    /// Makes the smallest scenario that fails as this one does.
    Shrink {
        /// A built-in name or a file.
        scenario: String,
        /// The seed; the scenario's own if none is given.
        #[arg(long)]
        seed: Option<u64>,
        /// Where to put it.
        #[arg(short, long, default_value = "min.toml")]
        output: PathBuf,
        /// The most runs.
        #[arg(long, default_value_t = 2_000)]
        runs: u64,
    },
    /// Runs a scenario twice, and once with another granularity of the event queue: all must be the same.
    Verify {
        /// A built-in name or a file.
        scenario: String,
        /// The seed; the scenario's own if none is given.
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Shows the first event in which the runs of two scenarios differ, with what is around it.
    Bisect {
        /// A built-in name or a file.
        a: String,
        /// Another.
        b: String,
        /// The seed of both.
        #[arg(long)]
        seed: Option<u64>,
        /// The seed of the second, if it has another.
        #[arg(long)]
        seed_b: Option<u64>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
enum CryptoChoice {
    /// Sizes without security: fast.
    #[default]
    Toy,
    /// The Flash profile.
    Real,
}

#[derive(Debug, clap::Args)]
struct RunArguments {
    /// Built-in names or files.
    #[arg(required_unless_present = "all")]
    scenarios: Vec<String>,
    /// All built-in scenarios that can run.
    #[arg(long)]
    all: bool,
    /// Of those, only the quick set, with the first seed of each.
    #[arg(long)]
    quick: bool,
    /// A seed or a range: 7, 1..5, 1..=20.
    #[arg(long)]
    seed: Option<String>,
    /// Sets a key of the scenario, as in `link.wan.both.loss=random 1%`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// How many runs at once.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// The cryptography of all endpoints.
    #[arg(long, value_enum, default_value_t)]
    crypto: CryptoChoice,
    /// Ends at this time; expectations are not judged then.
    #[arg(long)]
    until: Option<String>,
    /// Writes the report of a single run.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Writes captures of a single run, as sent and in plain, to this folder.
    #[arg(long, value_name = "FOLDER")]
    pcap: Option<PathBuf>,
    /// Writes packets and messages of a single run, an object a line.
    #[arg(long, value_name = "FILE")]
    jsonl: Option<PathBuf>,
    /// Writes all gauges of a single run.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Shows the first packets of a single run.
    #[arg(long)]
    ladder: bool,
    /// Compares hashes with this table.
    #[arg(long, value_name = "FILE")]
    hashes: Option<PathBuf>,
    /// Writes that table instead.
    #[arg(long, requires = "hashes")]
    renew: bool,
}

/// What a command comes to: an exit code, or why it could not do its work.
type Done = Result<u8, String>;

pub(crate) fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let wrong = error.use_stderr();
            let _shown = error.print();
            return ExitCode::from(if wrong { USAGE } else { PASSED });
        }
    };
    let done = match arguments.command {
        Command::List => list::list(),
        Command::Show { scenario } => list::show(&scenario),
        Command::Check { files } => list::check(&files),
        Command::Run(arguments) => batch::run(&arguments),
        Command::Report { scenario, output, seed } => look::report(&scenario, &output, seed),
        Command::Swarm { minutes, from, count, out } => seek::swarm(minutes, from, count, &out),
        Command::Shrink { scenario, seed, output, runs } => seek::shrunk(&scenario, seed, &output, runs),
        Command::Verify { scenario, seed } => single::verify(&scenario, seed),
        Command::Bisect { a, b, seed, seed_b } => single::bisect(&a, &b, seed, seed_b.or(seed)),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(message) => {
            eprintln!("rtmfp-sim: {message}");
            ExitCode::from(USAGE)
        }
    }
}
