//! The command line of `rtmfp-bench`.

use core::net::SocketAddr;
use core::time::Duration;

use clap::builder::ArgPredicate;
use clap::{Args, Parser, Subcommand, ValueEnum};

use rtmfp_cli::args::Profile;
use rtmfp_core::congestion::CongestionControl;

/// `rtmfp-bench`
#[derive(Clone, Debug, Parser)]
#[command(name = "rtmfp-bench", version, about = "Measure RTMFP on this machine")]
pub(crate) struct Bench {
    /// What to measure.
    #[command(subcommand)]
    pub(crate) subject: Subject,
}

/// What can be measured.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Subject {
    /// Bytes a second over one flow, and the processor time they cost
    Throughput(Throughput),
    /// Complete handshakes a second, and the processor time of each
    Handshakes(Handshakes),
    /// One publisher to many subscribers at a steady rate
    Fanout(Fanout),
    /// Memory and processor time of sessions that do nothing
    Idle(Idle),
    /// Round trips of small messages, alone and beside a bulk transfer
    Latency(Latency),
    /// The throughput beside that of a bare pipe: the same packets sealed, sent and opened, and nothing else
    Ceiling(Throughput),
    /// The handles of the blocking and of the async driver, in turns: bulk and round trips
    Drivers(Drivers),
    /// One bulk flow over any path, to a far end that is started by hand
    Path(PathArguments),
}

impl Subject {
    /// What all of them take.
    #[must_use]
    pub(crate) const fn common(&self) -> &BenchCommon {
        match self {
            Self::Throughput(args) => &args.common,
            Self::Handshakes(args) => &args.common,
            Self::Fanout(args) => &args.common,
            Self::Idle(args) => &args.common,
            Self::Latency(args) => &args.common,
            Self::Ceiling(args) => &args.common,
            Self::Drivers(args) => &args.common,
            Self::Path(args) => &args.common,
        }
    }
}

/// What every measurement takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct BenchCommon {
    /// One JSON object a line on standard output, one line a run and a last one of medians
    #[arg(long)]
    pub(crate) json: bool,
    /// How often to measure; the medians are told
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) runs: u32,
    /// Cryptography of both ends: modern, flash or plain; flash if --no-hmac or --group is given, else modern
    #[arg(
        long,
        value_enum,
        default_value = "modern",
        hide_default_value = true,
        default_value_ifs([("no_hmac", ArgPredicate::IsPresent, "flash"), ("group", ArgPredicate::IsPresent, "flash")])
    )]
    pub(crate) profile: Profile,
    /// With the Flash profile, no message authentication codes: packets have a checksum only
    #[arg(long)]
    pub(crate) no_hmac: bool,
    /// Congestion controller: rfc7016, cubic, bbr or media
    #[arg(long, value_name = "NAME", default_value = "bbr")]
    pub(crate) cc: CongestionControl,
    /// Key agreements that may wait for a thread of their own; with 0 each is computed where packets are moved
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) key_agreements: usize,
    /// Diffie-Hellman group of the Flash profile: 2, 5, 14 or 16
    #[arg(long, default_value_t = 14, value_parser = group)]
    pub(crate) group: u64,
    /// One datagram a system call
    #[arg(long)]
    pub(crate) no_segmentation: bool,
    /// The largest datagram, in bytes of UDP payload
    #[arg(long, value_name = "BYTES", default_value_t = 1_200, value_parser = clap::value_parser!(u16).range(576..))]
    pub(crate) datagram: u16,
    /// Leave the choice of processors to the system; otherwise each end has one of its own, if there are two
    #[arg(long)]
    pub(crate) no_pin: bool,
    /// Be the far end. The program starts itself with this.
    #[arg(long, hide = true)]
    pub(crate) far: bool,
}

fn group(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(id @ (2 | 5 | 14 | 16)) => Ok(id),
        _ => Err("must be 2, 5, 14 or 16".to_owned()),
    }
}

/// Which end sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Direction {
    /// The end that began the session.
    Up,
    /// The other one.
    Down,
}

/// `rtmfp-bench throughput`
#[derive(Clone, Debug, Args)]
pub(crate) struct Throughput {
    /// Bytes in each message
    #[arg(long, short, value_name = "BYTES", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    pub(crate) size: u32,
    /// Megabytes to move
    #[arg(long, value_name = "MB", default_value_t = 400, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) megabytes: u64,
    /// Stop after so many seconds, however much was moved
    #[arg(long)]
    pub(crate) seconds: Option<u32>,
    /// Which end sends: up from the one that began the session, or down to it
    #[arg(long, value_enum, default_value = "up")]
    pub(crate) direction: Direction,
    /// Make every message another, and check each byte on arrival
    #[arg(long)]
    pub(crate) verify: bool,
    /// What all measurements take.
    #[command(flatten)]
    pub(crate) common: BenchCommon,
}

/// `rtmfp-bench path`
#[derive(Clone, Debug, Args)]
pub(crate) struct PathArguments {
    /// Which end this is.
    #[command(flatten)]
    pub(crate) ends: PathEnds,
    /// Seconds to send for in each run
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub(crate) seconds: u32,
    /// What all measurements take.
    #[command(flatten)]
    pub(crate) common: BenchCommon,
}

/// One of the two ends of a path.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct PathEnds {
    /// Be the far end, on this local address
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// Send to the far end at this address, or to a proxy before it
    #[arg(long, value_name = "ADDR")]
    pub(crate) connect: Option<SocketAddr>,
}

/// `rtmfp-bench handshakes`
#[derive(Clone, Debug, Args)]
pub(crate) struct Handshakes {
    /// Handshakes in each run
    #[arg(long, short, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) count: u32,
    /// Initiators at work at the same time
    #[arg(long, short, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub(crate) parallel: u16,
    /// What all measurements take.
    #[command(flatten)]
    pub(crate) common: BenchCommon,
}

/// `rtmfp-bench fanout`
#[derive(Clone, Debug, Args)]
pub(crate) struct Fanout {
    /// Subscribers
    #[arg(long, short = 'n', default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub(crate) subscribers: u32,
    /// Kilobits a second to each
    #[arg(long, value_name = "KBIT/S", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: u32,
    /// Bytes in each message
    #[arg(long, short, value_name = "BYTES", default_value_t = 4_096, value_parser = clap::value_parser!(u32).range(8..=1_048_576))]
    pub(crate) size: u32,
    /// Seconds to publish for
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub(crate) seconds: u32,
    /// Where the publisher is. The program starts itself with this.
    #[arg(long, hide = true)]
    pub(crate) publisher: Option<SocketAddr>,
    /// What all measurements take.
    #[command(flatten)]
    pub(crate) common: BenchCommon,
}

/// `rtmfp-bench idle`
#[derive(Clone, Debug, Args)]
pub(crate) struct Idle {
    /// Sessions
    #[arg(long, short = 'n', default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) sessions: u32,
    /// Seconds to watch them for
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub(crate) seconds: u32,
    /// What all measurements take.
    #[command(flatten)]
    pub(crate) common: BenchCommon,
}

/// `rtmfp-bench latency`
#[derive(Clone, Debug, Args)]
pub(crate) struct Latency {
    /// Bytes in each message
    #[arg(long, short, value_name = "BYTES", default_value_t = 100, value_parser = clap::value_parser!(u32).range(8..=1_048_576))]
    pub(crate) size: u32,
    /// Round trips in each run
    #[arg(long, short, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) count: u32,
    /// Beside a bulk transfer over the same session, of lower priority
    #[arg(long)]
    pub(crate) load: bool,
    /// What all measurements take.
    #[command(flatten)]
    pub(crate) common: BenchCommon,
}

/// A kind of driver, with its handles.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum DriverKind {
    /// rtmfp-std.
    Blocking,
    /// rtmfp-smol.
    Async,
}

impl DriverKind {
    /// As an argument.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Blocking => "blocking",
            Self::Async => "async",
        }
    }
}

/// Where an async driver runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Place {
    /// As a task of an executor with a thread, and what uses it on another thread.
    Task,
    /// As a task of the executor and thread that what uses it is on.
    Local,
    /// As `task`, without the thread that the driver makes for itself.
    InTask,
    /// As `local`, without that thread.
    InLocal,
    /// Not as a task, but on a thread of its own, and what uses it on one that only blocks.
    Thread,
}

/// `rtmfp-bench drivers`
#[derive(Clone, Debug, Args)]
pub(crate) struct Drivers {
    /// Bytes in each message of the bulk
    #[arg(long, short, value_name = "BYTES", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    pub(crate) size: u32,
    /// Megabytes to move
    #[arg(long, value_name = "MB", default_value_t = 400, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) megabytes: u64,
    /// Bytes in each message of the round trips
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub(crate) small: u32,
    /// Round trips
    #[arg(long, short, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) count: u32,
    /// Where the async driver runs
    #[arg(long, value_enum, default_value = "task")]
    pub(crate) place: Place,
    /// Which driver the far end has. The program starts itself with this.
    #[arg(long, hide = true)]
    pub(crate) driver: Option<DriverKind>,
    /// What all measurements take.
    #[command(flatten)]
    pub(crate) common: BenchCommon,
}

/// The time limit of anything that should take an instant.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_is_modern_unless_something_of_flash_is_asked_for() {
        let profile = |more: &[&str]| {
            let line = ["rtmfp-bench", "latency"].iter().chain(more);
            let Ok(Bench { subject: Subject::Latency(latency) }) = Bench::try_parse_from(line) else {
                panic!("{more:?}")
            };
            latency.common.profile
        };
        assert_eq!(profile(&[]), Profile::Modern);
        assert_eq!(profile(&["--no-hmac"]), Profile::Flash);
        assert_eq!(profile(&["--group", "14"]), Profile::Flash);
        assert_eq!(profile(&["--no-hmac", "--profile", "plain"]), Profile::Plain);
        assert_eq!(profile(&["--profile", "flash"]), Profile::Flash);
    }
}
