//! `rtmfp-bench throughput`

use core::time::Duration;

use super::args::{Direction, PATIENCE, Throughput};
use super::ends::{self, Far, Figures};
use super::stream::{Content, Limit, Stream};
use super::{GIGA, Run, column, measure, nanos, ratio};
use rtmfp_cli::failure::{Code, Failure};

pub(super) fn run(args: &Throughput) -> Result<(), Failure> {
    if args.common.far {
        return far(args);
    }
    let columns = [
        column("bytes_per_second", "MB/s", 1e6, 1),
        column("sender_ns_per_gb", "sender, CPU s/GB", 1e9, 3),
        column("receiver_ns_per_gb", "receiver, CPU s/GB", 1e9, 3),
        column("packets_per_send_milli", "packets a send call", 1e3, 2),
        column("packets_per_receive_milli", "packets a receive call", 1e3, 2),
        column("packets_per_ack_milli", "packets an acknowledgement", 1e3, 2),
        column("lost", "fragments lost", 1.0, 0),
        column("cwnd", "congestion window, KB", 1e3, 0),
        column("sender_memory", "sender, most memory, MB", 1e6, 1),
        column("receiver_memory", "receiver, most memory, MB", 1e6, 1),
    ];
    measure("throughput", &args.common, &columns, || once(args))
}

fn stream(args: &Throughput) -> Stream {
    let sends = (args.direction == Direction::Down) == args.common.far;
    let time = args.seconds.map(|seconds| Duration::from_secs(seconds.into()));
    let bytes = if time.is_some() { u64::MAX } else { args.megabytes.saturating_mul(1_000_000) };
    Stream::new(Content::new(args.size as usize, args.verify), sends.then_some(Limit { bytes, time }))
}

fn figures(pump: &rtmfp_std::Pump, stream: &Stream) -> Figures {
    let mut figures = Figures::default();
    let (took, cpu) = stream.took.unwrap_or_default();
    figures.set("took", nanos(took));
    figures.set("cpu", nanos(cpu));
    figures.set("bytes", stream.bytes);
    figures.set("wrong", stream.wrong);
    figures.count(pump);
    figures
}

fn far(args: &Throughput) -> Result<(), Failure> {
    let driver = ends::driver(&args.common, ends::config(&args.common), args.common.far)?;
    ends::serve(driver, &mut stream(args), |driver, stream| figures(driver.pump(), stream))
}

pub(super) fn once(args: &Throughput) -> Result<Run, Failure> {
    let far = Far::start(&[])?;
    let mut driver = ends::driver(&args.common, ends::config(&args.common), args.common.far)?;
    let session = ends::open(driver.pump_mut(), &args.common, far.address)?;
    let mut stream = stream(args);
    let mut stats = rtmfp_core::SessionStats::default();
    let limit = PATIENCE + Duration::from_secs(args.megabytes + u64::from(args.seconds.unwrap_or(0)));
    let end = driver.pump().clock().now() + limit;
    while !driver.step(&mut stream, Some(Duration::from_secs(1)))? {
        if let Some(session) = driver.pump().endpoint().session(session) {
            stats = session.stats();
        }
        if driver.pump().clock().now() > end {
            break;
        }
    }
    let near = figures(driver.pump(), &stream);
    let far = far.end()?;
    let (sender, receiver) = if args.direction == Direction::Up { (&near, &far) } else { (&far, &near) };
    if stream.failed || sender.get("took") == 0 {
        return Err(Failure::new(Code::NotOpened, "the two ends of the measurement did not get through: run it again"));
    }
    if receiver.get("wrong") > 0 || sender.get("bytes") != receiver.get("bytes") {
        return Err(Failure::new(Code::Files, "what arrived is not what was sent"));
    }
    let (bytes, took) = (sender.get("bytes"), near.get("took"));
    let per_gb = |figures: &Figures| ratio(figures.get("cpu"), bytes, GIGA);
    let mut run = Run::from([
        ("bytes", bytes),
        ("took_ns", took),
        ("bytes_per_second", ratio(bytes, took, GIGA)),
        ("sender_ns_per_gb", per_gb(sender)),
        ("receiver_ns_per_gb", per_gb(receiver)),
        ("packets", sender.get("packets_sent")),
        ("packets_per_send_milli", ratio(sender.get("packets_sent"), sender.get("sends"), 1_000)),
        ("packets_per_receive_milli", ratio(receiver.get("packets_received"), receiver.get("receives"), 1_000)),
        ("packets_per_ack_milli", ratio(sender.get("packets_sent"), receiver.get("packets_sent"), 1_000)),
        ("sender_memory", sender.get("memory")),
        ("receiver_memory", receiver.get("memory")),
    ]);
    if args.direction == Direction::Up {
        // What the sender's session measures is known of this end's only.
        run.extend([
            ("lost", stats.fragments_lost),
            ("cwnd", stats.cwnd),
            ("srtt_ns", nanos(stats.srtt.unwrap_or_default())),
        ]);
    }
    Ok(run)
}
