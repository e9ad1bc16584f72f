//! `rtmfp-bench ceiling`: how much of what the system calls and the cryptography alone allow is left of it.

use super::args::{Direction, Throughput};
use super::{GIGA, Run, column, measure, nanos, pipe, ratio, throughput};
use rtmfp_cli::failure::{Code, Failure};

/// Parts of the whole in which the ratio is told.
const MILLION: u64 = 1_000_000;

pub(super) fn run(args: &Throughput) -> Result<(), Failure> {
    if args.direction != Direction::Up || args.verify || args.seconds.is_some() {
        return Err(Failure::new(Code::Usage, "`ceiling` takes none of --direction, --verify and --seconds"));
    }
    if args.common.far {
        return throughput::run(args);
    }
    let columns = [
        column("part_ppm", "of the bare pipe, %", 1e4, 1),
        column("bytes_per_second", "MB/s", 1e6, 1),
        column("sender_ns_per_gb", "sender, CPU s/GB", 1e9, 3),
        column("receiver_ns_per_gb", "receiver, CPU s/GB", 1e9, 3),
        column("pipe_bytes_per_second", "bare pipe, MB/s", 1e6, 1),
        column("pipe_sender_ns_per_gb", "bare pipe, sender, CPU s/GB", 1e9, 3),
        column("pipe_receiver_ns_per_gb", "bare pipe, receiver, CPU s/GB", 1e9, 3),
        column("segments", "packets a send call", 1.0, 0),
    ];
    measure("ceiling", &args.common, &columns, || once(args))
}

/// A transfer, and right after it a bare pipe with as many packets a system call.
fn once(args: &Throughput) -> Result<Run, Failure> {
    let mut run = throughput::once(args)?;
    let figure = |name| run.get(name).copied().unwrap_or(0);
    let segments = ((figure("packets_per_send_milli") + 500) / 1_000).max(1);
    let whole = figure("bytes_per_second");
    let piped = pipe::run(&args.common, args.megabytes.saturating_mul(MILLION), segments as usize)?;
    let per_gb = |time| ratio(nanos(time), piped.bytes, GIGA);
    let bare = ratio(piped.bytes, nanos(piped.took), GIGA);
    run.extend([
        ("part_ppm", ratio(whole, bare, MILLION)),
        ("segments", segments),
        ("pipe_bytes", piped.bytes),
        ("pipe_packets", piped.packets),
        ("pipe_bytes_per_second", bare),
        ("pipe_sender_ns_per_gb", per_gb(piped.sender)),
        ("pipe_receiver_ns_per_gb", per_gb(piped.receiver)),
    ]);
    Ok(run)
}
