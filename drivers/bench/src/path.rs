//! `rtmfp-bench path`: one bulk flow to a far end that was started by hand, over any path.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeMap;

use rtmfp_core::{
    App, Bytes, CloseMode, Endpoint, EndpointConfig, Event, FlowOptions, Instant, Priority, RecvFlowHandle,
    SendFlowHandle, SessionHandle, SessionStats,
};
use rtmfp_std::{Driver, Pump, Socket};

use super::args::{PATIENCE, PathArguments};
use super::{Run, column, ends, measure, nanos, ratio};
use rtmfp_cli::buffers::Buffers;
use rtmfp_cli::failure::{Code, Failure};
use rtmfp_cli::output;

/// How often the session is looked at.
const SAMPLE: Duration = Duration::from_millis(100);
const MESSAGE: &[u8] = &[0x5a; 16_384];

pub(super) fn run(args: &PathArguments) -> Result<(), Failure> {
    if let Some(address) = args.ends.listen {
        return listen(args, address);
    }
    let columns = [
        column("goodput", "goodput, Mbit/s", 1e6, 2),
        column("srtt_ns", "smoothed round trip, ms", 1e6, 1),
        column("cwnd", "congestion window, KB", 1e3, 0),
        column("outstanding", "in flight, KB", 1e3, 0),
        column("largest_outstanding", "most in flight, KB", 1e3, 0),
        column("window", "receive window, KB", 1e3, 0),
        column("lost", "fragments lost", 1.0, 0),
        column("timeouts", "timeouts", 1.0, 0),
        column("socket_send_buffer", "socket buffer to send, KiB", 1_024.0, 0),
        column("socket_recv_buffer", "socket buffer to receive, KiB", 1_024.0, 0),
    ];
    let mut advised = false;
    measure("path", &args.common, &columns, || once(args, &mut advised))
}

/// As programs have it by default, on one socket.
fn driver(args: &PathArguments, local: SocketAddr, reached: bool) -> Result<Driver, Failure> {
    let standard = EndpointConfig::default().session;
    let mut config = ends::config(&args.common);
    (config.session.recv_buffer, config.session.send_buffer) = (standard.recv_buffer, standard.send_buffer);
    let socket = Socket::bind(local).map_err(|e| Failure::local(format_args!("cannot bind {local}"), e))?;
    Ok(Driver::new(ends::pump_on(&args.common, config, reached, socket)?)?)
}

/// Is the far end, until interrupted: reads whatever comes, and tells of each flow.
fn listen(args: &PathArguments, address: SocketAddr) -> Result<(), Failure> {
    let mut driver = driver(args, address, true)?;
    for (_, socket) in driver.pump().sockets() {
        output::line(&socket.local_addr().to_string());
    }
    let mut buffers = Buffers::of(driver.pump());
    output::line(&buffers.granted());
    advise(&buffers);
    let mut sink = Sink::default();
    loop {
        driver.step(&mut sink, None)?;
        if core::mem::take(&mut sink.finished) {
            let before = core::mem::replace(&mut buffers, Buffers::of(driver.pump())).overflows;
            if buffers.overflows > before {
                let dropped = buffers.overflows - before;
                output::line(&format!(
                    "{dropped} datagrams were dropped by the system, mostly because the buffer was full"
                ));
            }
        }
    }
}

/// Says what to do if the system has granted less than was asked for.
fn advise(buffers: &Buffers) {
    if let Some(advice) = buffers.advice() {
        output::complain("rtmfp-bench", advice);
    }
}

#[derive(Debug, Default)]
struct Sink {
    /// When the first message came, and the bytes so far.
    flows: BTreeMap<RecvFlowHandle, (Instant, u64)>,
    /// A flow has ended since this was looked at.
    finished: bool,
}

impl App for Sink {
    #[expect(clippy::wildcard_enum_match_arm, reason = "an application acts on the events that it knows of")]
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        match event {
            Event::FlowReadable { flow } => {
                let bytes = &mut self.flows.entry(flow).or_insert((now, 0)).1;
                let Some(mut flow) = endpoint.recv_flow_mut(now, flow) else { return };
                while let Some(message) = flow.read() {
                    *bytes += message.data.len() as u64;
                }
            }
            Event::FlowFinished { flow, .. } => {
                let Some((began, bytes)) = self.flows.remove(&flow) else { return };
                self.finished = true;
                let took = now.saturating_duration_since(began);
                let rate = ratio(bytes * 8, nanos(took), super::GIGA) as f64 / 1e6;
                output::line(&format!("{bytes} bytes in {:.2} s: {rate:.2} Mbit/s", took.as_secs_f64()));
            }
            _ => {}
        }
    }

    fn is_done(&self) -> bool {
        false
    }
}

/// Writes as much as the flow takes, from the opening of the session on.
#[derive(Debug, Default)]
struct Source {
    began: Option<Instant>,
    flow: Option<SendFlowHandle>,
    written: u64,
    ended: bool,
}

impl Source {
    fn fill(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let Some(mut flow) = self.flow.and_then(|flow| endpoint.send_flow_mut(now, flow)) else { return };
        while flow.write(Bytes::from_static(MESSAGE)).is_ok() {
            self.written += MESSAGE.len() as u64;
        }
    }
}

impl App for Source {
    #[expect(clippy::wildcard_enum_match_arm, reason = "an application acts on the events that it knows of")]
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        match event {
            Event::SessionOpened { session } => {
                self.began = Some(now);
                let options = FlowOptions::new("bench").priority(Priority::Bulk);
                self.flow = endpoint.session_mut(now, session).and_then(|mut session| session.open_flow(options).ok());
                self.fill(now, endpoint);
            }
            Event::FlowWritable { .. } => self.fill(now, endpoint),
            Event::SessionClosed { .. } | Event::SessionFailed { .. } => self.ended = true,
            _ => {}
        }
    }

    fn is_done(&self) -> bool {
        self.ended
    }
}

fn once(args: &PathArguments, advised: &mut bool) -> Result<Run, Failure> {
    let Some(remote) = args.ends.connect else { return Err(Failure::new(Code::Local, "nobody to connect to")) };
    let any = if remote.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let mut driver = driver(args, SocketAddr::new(any, 0), false)?;
    if !core::mem::replace(advised, true) {
        advise(&Buffers::of(driver.pump()));
    }
    let session = ends::open(driver.pump_mut(), &args.common, remote)?;
    let (clock, lasts) = (*driver.pump().clock(), Duration::from_secs(args.seconds.into()));
    let (started, mut source, mut largest) = (clock.now(), Source::default(), 0);
    loop {
        let over = driver.step(&mut source, Some(SAMPLE))?;
        let now = clock.now();
        let stats = stats(driver.pump(), session);
        largest = stats.outstanding.max(largest);
        match source.began {
            Some(began) if !over => {
                if now.saturating_duration_since(began) >= lasts {
                    let run = figures(driver.pump(), &source, &stats, now.saturating_duration_since(began));
                    driver.pump_mut().endpoint_mut().close_all(now, CloseMode::Orderly);
                    ends::run(&mut driver, &mut source, PATIENCE)?;
                    return Ok(run.into_iter().chain([("largest_outstanding", largest)]).collect());
                }
            }
            None if !over && now.saturating_duration_since(started) < PATIENCE => {}
            _ => return Err(Failure::new(Code::Lost, "the far end does not answer; start it with --listen")),
        }
    }
}

fn stats(pump: &Pump, session: SessionHandle) -> SessionStats {
    pump.endpoint().session(session).map_or_else(SessionStats::default, |session| session.stats())
}

/// What was acknowledged of the flow, and how its session stands.
fn figures(pump: &Pump, source: &Source, stats: &SessionStats, took: Duration) -> Run {
    let flow = source.flow.and_then(|flow| pump.endpoint().send_flow(flow)).map(|flow| flow.stats());
    let flow = flow.unwrap_or_default();
    let acknowledged = source.written.saturating_sub(flow.buffered as u64);
    let sockets = pump.stats();
    Run::from([
        ("bytes", acknowledged),
        ("took_ns", nanos(took)),
        ("goodput", ratio(acknowledged * 8, nanos(took), super::GIGA)),
        ("srtt_ns", nanos(stats.srtt.unwrap_or_default())),
        ("cwnd", stats.cwnd),
        ("outstanding", stats.outstanding),
        ("window", flow.window),
        ("lost", stats.fragments_lost),
        ("timeouts", stats.timeouts),
        ("socket_send_buffer", sockets.send_buffer as u64),
        ("socket_recv_buffer", sockets.recv_buffer as u64),
    ])
}
