//! The commands of the program.

mod batch;
mod bench;
mod compare;
mod export;
mod list;
mod matrix;
mod output;
mod proxy;
mod search;
mod source;

use core::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use rtmfp_sim::scenario::ProfileName;

/// All expectations and invariants held.
pub(crate) const PASSED: u8 = 0;
/// An expectation did not hold.
pub(crate) const EXPECTATION: u8 = 1;
/// An invariant was broken.
pub(crate) const INVARIANT: u8 = 2;
/// Two runs of the same differed.
pub(crate) const DIFFERENT: u8 = 3;
/// Wrong arguments, a scenario that cannot be used, or output that could not be written.
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
    /// Runs all cases of a scenario's matrix with all seeds, and shows what was measured as a table.
    Matrix {
        /// A built-in name or a file.
        scenario: String,
    },
    /// Runs a file that was kept, with the seed in it, twice, and says how it fails.
    Replay {
        /// The file.
        file: PathBuf,
    },
    /// Stands between real sockets and does to datagrams, in real time, what a link does.
    Proxy(ProxyArguments),
    /// Measures how many packets the simulator moves in a second.
    Bench {
        /// Peers of the largest measurement.
        #[arg(long, default_value_t = 10_000)]
        peers: u32,
        /// Measures instead the time and the memory of so many peers with ten sessions each.
        #[arg(long)]
        sessions: bool,
    },
    /// Writes the report of a run as one HTML file, as `run --html` does, or those of all scenarios in a folder.
    Report {
        /// A built-in name, a file, or a folder.
        scenario: String,
        /// Where to; into the folder, if the scenarios are in one.
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
        /// Only scenarios with all of these: nat, mob.
        #[arg(long, value_delimiter = ',', value_enum)]
        only: Vec<Subject>,
        /// A file of numbers worth trying first, one a line; those that fail are added.
        #[arg(long)]
        corpus: Option<PathBuf>,
        /// Ends after so many scenarios.
        #[arg(long, default_value_t = u64::MAX)]
        count: u64,
        /// Where to put what was found.
        #[arg(long, default_value = ".")]
        out: PathBuf,
        /// The cryptography of the endpoints.
        #[arg(long, value_enum, default_value_t)]
        crypto: CryptoChoice,
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
    /// Shows the first event in which two runs differ, with what is around it.
    Bisect {
        /// A built-in name, a file, or a trace written by `run --trace`.
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

/// What a random scenario may be wanted for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Subject {
    /// There is a NAT.
    Nat,
    /// Somebody's address changes.
    Mob,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
enum CryptoChoice {
    /// Sizes without security: fast.
    #[default]
    Toy,
    /// The Flash profile.
    Real,
    /// The modern profile.
    Modern,
    /// The modern profile, which requires ML-KEM.
    Hybrid,
}

impl CryptoChoice {
    /// The profile that a scenario would name.
    const fn profile(self) -> Option<ProfileName> {
        match self {
            Self::Toy => None,
            Self::Real => Some(ProfileName::Flash),
            Self::Modern => Some(ProfileName::Modern),
            Self::Hybrid => Some(ProfileName::Hybrid),
        }
    }
}

#[derive(Debug, clap::Args)]
struct ProxyArguments {
    /// Where clients send to.
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,
    /// Where the server is.
    #[arg(long, value_name = "ADDR")]
    to: SocketAddr,
    /// A scenario, of which one link is used and what happens to it, or stages: `delay 25ms, loss random 1%`.
    #[arg(value_name = "SCENARIO|STAGES")]
    link_or_scenario: String,
    /// Which link of the scenario.
    #[arg(long, value_name = "NAME")]
    link: Option<String>,
    /// Times at which every client gets another port towards the server, as from a NAT that was restarted.
    #[arg(long, value_name = "TIME", value_delimiter = ',')]
    rebind_at: Vec<String>,
    /// Ends after this time.
    #[arg(long = "for", value_name = "TIME")]
    lasts: Option<String>,
    /// The seed of what the link does by chance.
    #[arg(long, default_value_t = 1)]
    seed: u64,
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
    /// The cryptography of endpoints whose scenario names no profile.
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
    /// Writes every event of a single run, a line each.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Writes what each endpoint of a single run tells of itself, as qlog, to this folder.
    #[arg(long, value_name = "FOLDER")]
    qlog: Option<PathBuf>,
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
        Command::Report { scenario, output, seed } => export::report(&scenario, &output, seed),
        Command::Matrix { scenario } => matrix::matrix(&scenario),
        Command::Replay { file } => matrix::replay(&file),
        Command::Proxy(arguments) => proxy::proxy(&arguments),
        Command::Bench { peers, sessions } => bench::bench(peers, sessions),
        Command::Swarm { minutes, from, only, corpus, count, out, crypto } => {
            search::swarm(&search::Swarm { minutes, from, only, corpus, count, out, profile: crypto.profile() })
        }
        Command::Shrink { scenario, seed, output, runs } => search::shrunk(&scenario, seed, &output, runs),
        Command::Verify { scenario, seed } => compare::verify(&scenario, seed),
        Command::Bisect { a, b, seed, seed_b } => compare::bisect(&a, &b, seed, seed_b.or(seed)),
    };
    let code = done.unwrap_or_else(|message| {
        output::report_error(&message);
        USAGE
    });
    ExitCode::from(output::finish(code))
}
