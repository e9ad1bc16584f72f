//! `rtmfp-bench drivers`: one script over the handles of the blocking and of the async driver.

use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::io;
use std::sync::Arc;
use std::thread;

use rtmfp_core::profile::CryptoProfile;
use rtmfp_core::{Bytes, EndpointConfig, FlowOptions, Priority};

use super::args::{DriverKind, Drivers, PATIENCE, Place};
use super::ends::{self, Far, Figures};
use super::latency::{WARM_UP, measured, percentile};
use super::usage::{cpu_time, wall_time};
use super::{GIGA, Run, column, measure, nanos, ratio};
use rtmfp_cli::failure::{Code, Failure};
use rtmfp_cli::output;

pub(super) fn run(args: &Drivers) -> Result<(), Failure> {
    if args.common.no_segmentation {
        return Err(Failure::new(Code::Usage, "`drivers` takes no --no-segmentation"));
    }
    if let Some(kind) = args.driver {
        return far(args, kind);
    }
    let columns = [
        column("blocking_bytes_per_second", "blocking, MB/s", 1e6, 1),
        column("async_bytes_per_second", "async, MB/s", 1e6, 1),
        column("bytes_per_second_ratio_milli", "async, times that of blocking", 1e3, 3),
        column("blocking_ns_per_gb", "blocking, both ends, CPU s/GB", 1e9, 3),
        column("async_ns_per_gb", "async, both ends, CPU s/GB", 1e9, 3),
        column("ns_per_gb_ratio_milli", "async, times that of blocking", 1e3, 3),
        column("blocking_p50_ns", "blocking, round trip, median, µs", 1e3, 1),
        column("async_p50_ns", "async, round trip, median, µs", 1e3, 1),
        column("p50_ratio_milli", "async, times that of blocking", 1e3, 3),
        column("blocking_p99_ns", "blocking, 99 %, µs", 1e3, 1),
        column("async_p99_ns", "async, 99 %, µs", 1e3, 1),
        column("blocking_ns_per_trip", "blocking, both ends, CPU µs a round trip", 1e3, 1),
        column("async_ns_per_trip", "async, both ends, CPU µs a round trip", 1e3, 1),
        column("ns_per_trip_ratio_milli", "async, times that of blocking", 1e3, 3),
    ];
    let mut async_first = false;
    measure("drivers", &args.common, &columns, || {
        async_first = !async_first;
        once(args, async_first)
    })
}

/// What one end has seen.
#[derive(Debug, Default)]
struct Seen {
    bytes: u64,
    /// Of the bulk, on the clock and of the processor.
    bulk: (Duration, Duration),
    times: Vec<u64>,
    /// Processor time of the round trips.
    trips: Duration,
}

/// What the near end is to do.
#[derive(Debug)]
struct Plan {
    target: Bytes,
    far: SocketAddr,
    messages: u64,
    message: Bytes,
    small: Bytes,
    trips: usize,
}

/// The script of both ends. The two drivers have the same names, and differ in that one waits and the other awaits.
macro_rules! script {
    ($name:ident, $driver:ident, [$($async:tt)?], [$($wait:tt)*]) => {
        mod $name {
            use super::*;
            use ::$driver::{Endpoint, Error};

            pub(super) $($async)? fn near(endpoint: &Endpoint, plan: &Plan) -> Result<Seen, Error> {
                let mut seen = Seen::default();
                let session = endpoint.connect(plan.target.clone(), &[plan.far])$($wait)*?;
                let flow = session.open_flow(FlowOptions::new("bulk").priority(Priority::Bulk));
                let (began, cpu) = (wall_time(), cpu_time());
                for _ in 0..plan.messages {
                    flow.send(plan.message.clone())$($wait)*?;
                    seen.bytes += plan.message.len() as u64;
                }
                flow.finish()$($wait)*?;
                seen.bulk = (wall_time().saturating_sub(began), cpu_time().saturating_sub(cpu));

                let flow = session.open_flow(FlowOptions::new("ping").priority(Priority::Immediate));
                let mut answers = None;
                let cpu = cpu_time();
                for _ in 0..plan.trips {
                    let sent = wall_time();
                    flow.send(plan.small.clone())$($wait)*?;
                    let answers = match &answers {
                        Some(answers) => answers,
                        None => answers.insert(session.accept_flow()$($wait)*?),
                    };
                    answers.recv()$($wait)*?;
                    seen.times.push(nanos(wall_time().saturating_sub(sent)));
                }
                seen.trips = cpu_time().saturating_sub(cpu);
                session.close(PATIENCE)$($wait)*?;
                Ok(seen)
            }

            pub(super) $($async)? fn far(endpoint: &Endpoint) -> Result<Seen, Error> {
                let mut seen = Seen::default();
                let Some(session) = endpoint.accept()$($wait)* else { return Err(Error::Stopped) };
                let cpu = cpu_time();
                let flow = session.accept_flow()$($wait)*?;
                while let Some(message) = flow.recv()$($wait)*? {
                    seen.bytes += message.data.len() as u64;
                }
                seen.bulk.1 = cpu_time().saturating_sub(cpu);

                let cpu = cpu_time();
                let flow = session.accept_flow()$($wait)*?;
                let answers = flow.open_return_flow(FlowOptions::new("pong").priority(Priority::Immediate));
                while let Some(message) = flow.recv()$($wait)*? {
                    answers.send(message.data)$($wait)*?;
                }
                seen.trips = cpu_time().saturating_sub(cpu);
                let _ = session.closed()$($wait)*;
                Ok(seen)
            }
        }
    };
}

script!(blocking, rtmfp_std, [], []);
script!(asynchronous, rtmfp_smol, [async], [.await]);

const LOCAL: SocketAddr = SocketAddr::new(core::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn near(args: &Drivers, kind: DriverKind, plan: &Plan) -> Result<Seen, Failure> {
    let (config, profile) = (ends::config(&args.common), ends::profile(&args.common, false)?);
    let seen = match kind {
        DriverKind::Blocking => blocking::near(&rtmfp_std::Endpoint::bind(config, profile, &[LOCAL])?, plan),
        DriverKind::Async => {
            let (endpoint, driver) = build(args, config, profile)?;
            beside(args, driver, asynchronous::near(&endpoint, plan))
        }
    };
    seen.map_err(|e| Failure::local("near end", e))
}

fn far(args: &Drivers, kind: DriverKind) -> Result<(), Failure> {
    let (config, profile) = (ends::config(&args.common), ends::profile(&args.common, true)?);
    let seen = match kind {
        DriverKind::Blocking => {
            let endpoint = rtmfp_std::Endpoint::bind(config, profile, &[LOCAL])?;
            let handle = endpoint.handle();
            listen(&endpoint.local_addrs(), move || handle.stop());
            blocking::far(&endpoint)
        }
        DriverKind::Async => {
            let (endpoint, driver) = build(args, config, profile)?;
            let handle = endpoint.clone();
            listen(&endpoint.local_addrs(), move || handle.stop());
            beside(args, driver, asynchronous::far(&endpoint))
        }
    };
    let seen = seen.map_err(|e| Failure::local("far end", e))?;
    let mut figures = Figures::default();
    figures.set("bytes", seen.bytes);
    figures.set("bulk", nanos(seen.bulk.1));
    figures.set("trips", nanos(seen.trips));
    ends::tell_figures(&figures);
    Ok(())
}

fn build(
    args: &Drivers,
    config: EndpointConfig,
    profile: Arc<dyn CryptoProfile>,
) -> io::Result<(rtmfp_smol::Endpoint, Option<rtmfp_smol::Driver>)> {
    let builder = rtmfp_smol::Endpoint::builder().config(config).profile(profile).bind(LOCAL);
    let built = match args.place {
        Place::Thread => return Ok((builder.spawn()?, None)),
        Place::InTask | Place::InLocal => builder.build_in_task(),
        Place::Task | Place::Local => builder.build(),
    };
    built.map(|(endpoint, driver)| (endpoint, Some(driver)))
}

/// Runs the script beside the driver.
fn beside<T>(args: &Drivers, driver: Option<rtmfp_smol::Driver>, script: impl Future<Output = T>) -> T {
    let Some(driver) = driver else { return smol::future::block_on(script) };
    if matches!(args.place, Place::Local | Place::InLocal) {
        let executor = smol::LocalExecutor::new();
        executor.spawn(driver).detach();
        return smol::block_on(executor.run(script));
    }
    smol::spawn(driver).detach();
    smol::block_on(script)
}

/// Tells where the far end is, and stops it when the process is gone that started it.
fn listen(locals: &[SocketAddr], stop: impl FnOnce() + Send + 'static) {
    output::line(&locals.first().copied().unwrap_or(LOCAL).to_string());
    thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        stop();
    });
}

/// Bulk, and then round trips, with both ends of this kind.
fn once_over(args: &Drivers, kind: DriverKind) -> Result<[u64; 5], Failure> {
    let far = Far::start(&["--driver", kind.name()])?;
    let plan = Plan {
        target: ends::target(&args.common, far.address).discriminator,
        far: far.address,
        messages: args.megabytes.saturating_mul(1_000_000).div_ceil(args.size.into()),
        message: vec![b'.'; args.size as usize].into(),
        small: vec![b'*'; args.small as usize].into(),
        trips: args.count as usize + WARM_UP,
    };
    let near = near(args, kind, &plan)?;
    let far = far.end()?;
    if far.get("bytes") != near.bytes {
        return Err(Failure::new(Code::Files, "what arrived is not what was sent"));
    }
    let trips = nanos(near.trips) + far.get("trips");
    let times = measured(near.times);
    Ok([
        ratio(near.bytes, nanos(near.bulk.0), GIGA),
        ratio(nanos(near.bulk.1) + far.get("bulk"), near.bytes, GIGA),
        percentile(&times, 500),
        percentile(&times, 990),
        trips / plan.trips as u64,
    ])
}

/// One driver and then the other.
fn once(args: &Drivers, async_first: bool) -> Result<Run, Failure> {
    let kinds = [DriverKind::Blocking, DriverKind::Async];
    let mut figures = [[0; 5]; 2];
    let order = if async_first { [1, 0] } else { [0, 1] };
    for index in order {
        if let (Some(kind), Some(figures)) = (kinds.get(index), figures.get_mut(index)) {
            *figures = once_over(args, *kind)?;
        }
    }
    let [blocking, asynchronous] = figures;
    let [rate, cost, p50, p99, trip] = blocking;
    let [async_rate, async_cost, async_p50, async_p99, async_trip] = asynchronous;
    Ok(Run::from([
        ("blocking_bytes_per_second", rate),
        ("async_bytes_per_second", async_rate),
        ("bytes_per_second_ratio_milli", ratio(async_rate, rate, 1_000)),
        ("blocking_ns_per_gb", cost),
        ("async_ns_per_gb", async_cost),
        ("ns_per_gb_ratio_milli", ratio(async_cost, cost, 1_000)),
        ("blocking_p50_ns", p50),
        ("async_p50_ns", async_p50),
        ("p50_ratio_milli", ratio(async_p50, p50, 1_000)),
        ("blocking_p99_ns", p99),
        ("async_p99_ns", async_p99),
        ("blocking_ns_per_trip", trip),
        ("async_ns_per_trip", async_trip),
        ("ns_per_trip_ratio_milli", ratio(async_trip, trip, 1_000)),
    ]))
}
