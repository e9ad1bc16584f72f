//! `rtmfp-bench latency`

use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::thread;

use rtmfp_core::{
    App, Bytes, CloseMode, Endpoint, Event, FlowOptions, Instant, Priority, RecvFlowHandle, SendFlowHandle,
    SessionHandle,
};

use super::args::{Latency, PATIENCE};
use super::ends::{self, Far, Figures};
use super::usage::wall_time;
use super::{Run, column, measure, nanos, ratio};
use rtmfp_cli::failure::{Code, Failure};

/// Round trips before those that are measured.
pub(super) const WARM_UP: usize = 100;
/// Bytes in each message of the bulk transfer.
const BULK: usize = 16_384;
const PING: &[u8] = b"ping";

pub(super) fn run(args: &Latency) -> Result<(), Failure> {
    if args.common.far {
        return far(args);
    }
    let columns = [
        column("p50_ns", "round trip, median, µs", 1e3, 1),
        column("p90_ns", "90 %, µs", 1e3, 1),
        column("p99_ns", "99 %, µs", 1e3, 1),
        column("max_ns", "slowest, µs", 1e3, 1),
        column("bare_p50_ns", "bare UDP sockets, median, µs", 1e3, 1),
        column("bare_p99_ns", "bare UDP sockets, 99 %, µs", 1e3, 1),
        column("ratio_milli", "median, times that of bare sockets", 1e3, 2),
        column("bulk_bytes_per_second", "bulk transfer beside it, MB/s", 1e6, 1),
    ];
    measure("latency", &args.common, &columns, || once(args))
}

/// Sends back what comes on flows that ask for it, and drops the rest.
#[derive(Debug, Default)]
struct Answerer {
    answers: BTreeMap<RecvFlowHandle, SendFlowHandle>,
}

impl App for Answerer {
    #[expect(clippy::wildcard_enum_match_arm, reason = "an application acts on the events that it knows of")]
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        match event {
            Event::FlowOpened { flow } if endpoint.recv_flow(flow).is_some_and(|flow| flow.metadata() == PING) => {
                let options = FlowOptions::new("pong").priority(Priority::Immediate);
                let answer = endpoint.recv_flow_mut(now, flow).and_then(|mut flow| flow.open_return_flow(options).ok());
                self.answers.extend(answer.map(|answer| (flow, answer)));
            }
            Event::FlowReadable { flow } => {
                while let Some(message) = endpoint.recv_flow_mut(now, flow).and_then(|mut flow| flow.read()) {
                    if let Some(answer) = self.answers.get(&flow)
                        && let Some(mut answer) = endpoint.send_flow_mut(now, *answer)
                    {
                        // There is never more than one.
                        let _ = answer.write(message.data);
                    }
                }
            }
            Event::FlowFinished { flow, .. } => {
                if let Some(mut answer) = self.answers.remove(&flow).and_then(|flow| endpoint.send_flow_mut(now, flow))
                {
                    answer.close();
                }
            }
            _ => {}
        }
    }
}

fn far(args: &Latency) -> Result<(), Failure> {
    let bare = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = bare.local_addr()?.port();
    thread::spawn(move || {
        let mut bytes = vec![0; 65_536];
        while let Ok((len, from)) = bare.recv_from(&mut bytes) {
            let _ = bare.send_to(bytes.get(..len).unwrap_or_default(), from);
        }
    });
    let driver = ends::driver(&args.common, ends::config(&args.common), true)?;
    ends::serve(driver, &mut Answerer::default(), |_, _| {
        let mut figures = Figures::default();
        figures.set("port", port.into());
        figures
    })
}

/// Sends a message, waits for it to come back, and sends the next.
#[derive(Debug)]
struct Pinger {
    message: Bytes,
    load: Option<Bytes>,
    count: usize,
    flow: Option<SendFlowHandle>,
    bulk: Option<SendFlowHandle>,
    bulk_bytes: u64,
    sent: Duration,
    began: Duration,
    times: Vec<u64>,
    over: bool,
}

impl Pinger {
    fn start(&mut self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle) {
        let Some(mut session) = endpoint.session_mut(now, session) else { return };
        self.flow = session.open_flow(FlowOptions::new(PING).priority(Priority::Immediate)).ok();
        if self.load.is_some() {
            self.bulk = session.open_flow(FlowOptions::new("bulk").priority(Priority::Bulk)).ok();
        }
        self.began = wall_time();
        self.load(now, endpoint);
        self.send(now, endpoint);
    }

    fn load(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let (Some(message), Some(flow)) = (&self.load, self.bulk) else { return };
        let Some(mut flow) = endpoint.send_flow_mut(now, flow) else { return };
        while flow.write(message.clone()).is_ok() {
            self.bulk_bytes += message.len() as u64;
        }
    }

    fn send(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.sent = wall_time();
        if let Some(mut flow) = self.flow.and_then(|flow| endpoint.send_flow_mut(now, flow)) {
            let _ = flow.write(self.message.clone());
        }
    }

    fn answered(&mut self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle) {
        self.times.push(nanos(wall_time().saturating_sub(self.sent)));
        if self.times.len() < self.count + WARM_UP {
            return self.send(now, endpoint);
        }
        self.over = true;
        if let Some(mut session) = endpoint.session_mut(now, session) {
            session.close(CloseMode::Abrupt);
        }
    }
}

impl App for Pinger {
    #[expect(clippy::wildcard_enum_match_arm, reason = "an application acts on the events that it knows of")]
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        match event {
            Event::SessionOpened { session } => self.start(now, endpoint, session),
            Event::FlowWritable { .. } => self.load(now, endpoint),
            Event::FlowReadable { flow } => {
                while endpoint.recv_flow_mut(now, flow).and_then(|mut flow| flow.read()).is_some() {
                    self.answered(now, endpoint, flow.session());
                }
            }
            Event::SessionFailed { .. } | Event::SessionClosed { .. } => self.over = true,
            _ => {}
        }
    }

    fn is_done(&self) -> bool {
        self.over
    }
}

/// The same between two sockets without anything above.
fn bare(args: &Latency, port: u16) -> Result<Vec<u64>, Failure> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let far = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    // A longer message would not fit into one datagram.
    let message = vec![0; (args.size as usize).min(usize::from(args.common.datagram))];
    let mut answer = vec![0; 65_536];
    let mut times = Vec::new();
    for _ in 0..args.count as usize + WARM_UP {
        let sent = wall_time();
        socket.send_to(&message, far)?;
        socket.recv_from(&mut answer)?;
        times.push(nanos(wall_time().saturating_sub(sent)));
    }
    Ok(measured(times))
}

/// Those behind the warm-up, in order of length.
pub(super) fn measured(mut times: Vec<u64>) -> Vec<u64> {
    times.drain(..WARM_UP.min(times.len()));
    times.sort_unstable();
    times
}

/// The time that so many of a thousand do not exceed.
pub(super) fn percentile(sorted: &[u64], thousandths: usize) -> u64 {
    let rank = (sorted.len() * thousandths).div_ceil(1_000).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

fn once(args: &Latency) -> Result<Run, Failure> {
    let mut far = Far::start(&[])?;
    let port = u16::try_from(far.ask()?.get("port")).unwrap_or(0);
    let bare = bare(args, port)?;
    let mut driver = ends::driver(&args.common, ends::config(&args.common), false)?;
    ends::open(driver.pump_mut(), &args.common, far.address)?;
    let mut pinger = Pinger {
        message: vec![b'*'; args.size as usize].into(),
        load: args.load.then(|| vec![b'.'; BULK].into()),
        count: args.count as usize,
        flow: None,
        bulk: None,
        bulk_bytes: 0,
        sent: Duration::ZERO,
        began: Duration::ZERO,
        times: Vec::with_capacity(args.count as usize + WARM_UP),
        over: false,
    };
    ends::run(&mut driver, &mut pinger, PATIENCE * 10)?;
    let took = nanos(wall_time().saturating_sub(pinger.began));
    if pinger.times.len() < pinger.count + WARM_UP {
        return Err(Failure::new(Code::Lost, "the session ended early"));
    }
    let times = measured(pinger.times);
    let (median, bare_median) = (percentile(&times, 500), percentile(&bare, 500));
    Ok(Run::from([
        ("p50_ns", median),
        ("p90_ns", percentile(&times, 900)),
        ("p99_ns", percentile(&times, 990)),
        ("max_ns", percentile(&times, 1_000)),
        ("bare_p50_ns", bare_median),
        ("bare_p99_ns", percentile(&bare, 990)),
        ("ratio_milli", ratio(median, bare_median, 1_000)),
        ("bulk_bytes_per_second", ratio(pinger.bulk_bytes, took, super::GIGA)),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_those_measured() {
        let mut times: Vec<u64> = vec![1_000_000; WARM_UP];
        times.extend((1..=1_000).rev());
        let times = measured(times);
        assert_eq!([0, 500, 990, 1_000].map(|at| percentile(&times, at)), [1, 500, 990, 1_000]);
        assert_eq!(percentile(&[], 500), 0);
    }
}
