//! `rtmfp-bench fanout`

use core::net::SocketAddr;
use core::time::Duration;
use std::thread;

use rtmfp_core::{App, Bytes, Endpoint, Event, FlowOptions, Instant, InterfaceId, SendFlowHandle};
use rtmfp_std::Pump;

use super::args::{Fanout, PATIENCE};
use super::ends::{self, Far, Figures, Orders};
use super::usage::{cpu_time, wall_time};
use super::{GIGA, Run, column, measure, nanos, ratio};
use rtmfp_cli::failure::{Code, Failure};
use rtmfp_cli::output;

/// How often subscribers look for what has come.
const LOOK: Duration = Duration::from_millis(10);
/// Subscribers that open their sessions at the same time.
const OPENING: usize = 16;
/// For what is under way when the publisher stops.
const GRACE: Duration = Duration::from_millis(500);

pub(super) fn run(args: &Fanout) -> Result<(), Failure> {
    if let (true, Some(publisher)) = (args.common.far, args.publisher) {
        return far(args, publisher);
    }
    let columns = [
        column("subscribers_per_core", "subscribers a core, at this cost", 1.0, 0),
        column("cpu_ppm", "publisher, % of a core", 1e4, 1),
        column("delivered_ppm", "messages delivered in time, %", 1e4, 2),
        column("refused", "messages that found a full buffer", 1.0, 0),
        column("bytes_per_second", "published, MB/s", 1e6, 1),
        column("packets_per_send_milli", "packets a send call", 1e3, 2),
        column("memory", "publisher, most memory, MB", 1e6, 1),
    ];
    measure("fanout", &args.common, &columns, || once(args))
}

/// Reads whatever comes.
#[derive(Clone, Copy, Debug, Default)]
struct Subscriber {
    open: bool,
    messages: u64,
}

impl App for Subscriber {
    #[expect(clippy::wildcard_enum_match_arm, reason = "an application acts on the events that it knows of")]
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        match event {
            Event::SessionOpened { .. } => self.open = true,
            Event::FlowReadable { flow } => {
                while endpoint.recv_flow_mut(now, flow).and_then(|mut flow| flow.read()).is_some() {
                    self.messages += 1;
                }
            }
            _ => {}
        }
    }
}

/// All subscribers, each an endpoint with a socket of its own, looked after in turns.
fn far(args: &Fanout, publisher: SocketAddr) -> Result<(), Failure> {
    let orders = Orders::listen(None);
    output::line(&publisher.to_string());
    let mut subscribers: Vec<(Pump, Subscriber)> = Vec::new();
    while !orders.ended() {
        let open = subscribers.iter().filter(|(_, subscriber)| subscriber.open).count();
        for _ in subscribers.len()..(open + OPENING).min(args.subscribers as usize) {
            let mut pump = ends::pump(&args.common, ends::config(&args.common), false)?;
            ends::open(&mut pump, &args.common, publisher)?;
            subscribers.push((pump, Subscriber::default()));
        }
        for (pump, subscriber) in &mut subscribers {
            while pump.turn(subscriber)?.more {}
        }
        if orders.asked() {
            let mut figures = Figures::default();
            figures.set("open", open as u64);
            figures.set("messages", subscribers.iter().map(|(_, subscriber)| subscriber.messages).sum());
            ends::tell_figures(&figures);
        }
        #[expect(clippy::disallowed_methods, reason = "waiting for thousands of sockets would cost more than looking")]
        thread::sleep(LOOK);
    }
    ends::tell_figures(&Figures::default());
    Ok(())
}

/// Writes the same message to all at a steady rate.
#[derive(Debug)]
struct Publisher {
    message: Bytes,
    interval: Duration,
    subscribers: usize,
    flows: Vec<SendFlowHandle>,
    /// When the next message is due, and how many are left.
    next: Option<Instant>,
    left: u64,
    refused: u64,
    lost: bool,
}

impl App for Publisher {
    #[expect(clippy::wildcard_enum_match_arm, reason = "an application acts on the events that it knows of")]
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        match event {
            Event::SessionOpened { session } => {
                let flow =
                    endpoint.session_mut(now, session).and_then(|mut s| s.open_flow(FlowOptions::new("fan")).ok());
                self.flows.extend(flow);
            }
            Event::SessionClosed { .. } => self.lost = true,
            _ => {}
        }
    }

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        while let Some(next) = self.next.filter(|next| *next <= now) {
            self.left = self.left.saturating_sub(1);
            self.next = (self.left > 0).then(|| next + self.interval);
            for flow in &self.flows {
                let written = endpoint.send_flow_mut(now, *flow).map(|mut flow| flow.write(self.message.clone()));
                self.refused += u64::from(!matches!(written, Some(Ok(_))));
            }
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.next
    }

    fn is_done(&self) -> bool {
        self.lost || (self.next.is_none() && self.flows.len() == self.subscribers)
    }
}

fn once(args: &Fanout) -> Result<Run, Failure> {
    let mut driver = ends::driver(&args.common, ends::config(&args.common), true)?;
    let address = driver.local_addr(InterfaceId(0)).map(|address| address.to_string()).unwrap_or_default();
    let mut far = Far::start(&["--publisher", &address])?;
    let interval = Duration::from_secs_f64(f64::from(args.size) * 8.0 / (f64::from(args.rate) * 1_000.0));
    let interval = interval.max(Duration::from_micros(100));
    let count = (f64::from(args.seconds) / interval.as_secs_f64()).ceil() as u64;
    let mut publisher = Publisher {
        message: vec![b'*'; args.size as usize].into(),
        interval,
        subscribers: args.subscribers as usize,
        flows: Vec::new(),
        next: None,
        left: count,
        refused: 0,
        lost: false,
    };
    ends::run(&mut driver, &mut publisher, PATIENCE * 10)?;
    let (cpu, began, stats) = (cpu_time(), wall_time(), driver.pump().stats());
    let packets = driver.pump().endpoint().stats().datagrams_sent;
    publisher.next = Some(driver.pump().clock().now());
    driver.pump_mut().wake();
    ends::run(&mut driver, &mut publisher, PATIENCE + Duration::from_secs(args.seconds.into()))?;
    let (cpu, took) = (nanos(cpu_time().saturating_sub(cpu)), nanos(wall_time().saturating_sub(began)));
    let mut figures = Figures::default();
    figures.count(driver.pump());
    // Only what is acknowledged is sure to be there.
    let end = driver.pump().clock().now() + GRACE;
    while driver.pump().clock().now() < end {
        driver.step(&mut publisher, Some(Duration::from_millis(20)))?;
    }
    if publisher.lost {
        return Err(Failure::new(Code::Lost, "a subscriber was lost"));
    }
    let subscribers = u64::from(args.subscribers);
    let delivered = far.ask()?.get("messages");
    Ok(Run::from([
        ("subscribers", subscribers),
        ("messages", count * subscribers),
        ("subscribers_per_core", ratio(subscribers, cpu, took)),
        ("cpu_ppm", ratio(cpu, took, 1_000_000)),
        ("delivered_ppm", ratio(delivered, count * subscribers, 1_000_000)),
        ("refused", publisher.refused),
        ("bytes_per_second", ratio(count * subscribers * u64::from(args.size), took, GIGA)),
        (
            "packets_per_send_milli",
            ratio(figures.get("packets_sent") - packets, figures.get("sends") - stats.sends, 1_000),
        ),
        ("memory", figures.get("memory")),
    ]))
}
