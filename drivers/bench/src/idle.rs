//! `rtmfp-bench idle`

use core::net::SocketAddr;
use core::time::Duration;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rtmfp_core::{App, Endpoint, EndpointConfig, Event, Instant};

use super::args::{Idle, PATIENCE};
use super::ends::{self, Far, Figures};
use super::usage::{cpu_time, memory, wall_time};
use super::{GIGA, Run, column, measure, nanos, ratio};
use rtmfp_cli::failure::{Code, Failure};
use rtmfp_cli::output;

/// Sessions that are opened at the same time.
const PARALLEL: u32 = 4;
/// Longer than any measurement: nothing is sent on a session that does nothing.
const NEVER: Duration = Duration::from_secs(86_400);

pub(super) fn run(args: &Idle) -> Result<(), Failure> {
    if args.common.far {
        return far(args);
    }
    let columns = [
        column("bytes_per_session", "memory a session, bytes", 1.0, 0),
        column("memory", "memory of the process, MB", 1e6, 1),
        column("cpu_ppm", "CPU while idle, % of a core", 1e4, 3),
        column("responder_ns", "CPU to open a session, ms", 1e6, 3),
    ];
    measure("idle", &args.common, &columns, || once(args))
}

fn config(args: &Idle) -> EndpointConfig {
    let mut config = ends::config(&args.common);
    config.session.keepalive = NEVER;
    config.session.idle_limit = NEVER;
    config
}

/// Counts sessions that are open, and waits for the first if it is to.
#[derive(Debug, Default)]
struct Waiter {
    open: u64,
    over: bool,
    first: bool,
}

impl App for Waiter {
    #[expect(clippy::wildcard_enum_match_arm, reason = "an application acts on the events that it knows of")]
    fn on_event(&mut self, _now: Instant, _endpoint: &mut Endpoint, event: Event) {
        match event {
            Event::SessionOpened { .. } => self.open += 1,
            Event::SessionClosed { .. } => self.open = self.open.saturating_sub(1),
            Event::SessionFailed { .. } => self.over = self.first,
            _ => {}
        }
    }

    fn is_done(&self) -> bool {
        self.over || (self.first && self.open > 0)
    }
}

fn far(args: &Idle) -> Result<(), Failure> {
    let driver = ends::driver(&args.common, config(args), true)?;
    ends::serve(driver, &mut Waiter::default(), |_, waiter| {
        let mut figures = Figures::default();
        figures.set("open", waiter.open);
        figures.set("cpu", nanos(cpu_time()));
        figures.set("memory", memory("VmRSS"));
        figures
    })
}

/// Opens a session from an endpoint that is forgotten then: the other end does not notice. No address may come twice:
/// as long as one endpoint has a session from there, another gets none (RFC 7016 §3.5.1.1.2).
fn open(args: &Idle, address: SocketAddr, number: u32) -> Result<(), Failure> {
    let mut driver = ends::driver_among(&args.common, config(args), number)?;
    ends::open(driver.pump_mut(), &args.common, address)?;
    let mut waiter = Waiter { first: true, ..Waiter::default() };
    ends::run(&mut driver, &mut waiter, PATIENCE)?;
    if waiter.over { Err(Failure::new(Code::NotOpened, "a session did not open")) } else { Ok(()) }
}

fn once(args: &Idle) -> Result<Run, Failure> {
    let mut far = Far::start(&[])?;
    let address = far.address;
    // What is there once, however many sessions.
    open(args, address, args.sessions)?;
    let before = far.ask()?;
    let next = AtomicU32::new(0);
    let tell = !args.common.json && std::io::stderr().is_terminal();
    thread::scope(|scope| {
        let work = || {
            while let number = next.fetch_add(1, Ordering::Relaxed)
                && number < args.sessions
            {
                if tell && number.is_multiple_of(1_000) {
                    output::status(&format!("\r{number} sessions "));
                }
                open(args, address, number)?;
            }
            Ok(())
        };
        let threads: Vec<_> = (0..PARALLEL).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err(Failure::new(Code::Local, "an initiator failed")))
        })
    })?;
    let (opened, began) = (far.ask()?, wall_time());
    #[expect(clippy::disallowed_methods, reason = "it is the time that passes that is measured")]
    thread::sleep(Duration::from_secs(args.seconds.into()));
    let (after, watched) = (far.ask()?, nanos(wall_time().saturating_sub(began)));
    let sessions = u64::from(args.sessions);
    if after.get("open") != sessions + 1 {
        return Err(Failure::new(Code::Lost, format!("only {} sessions were open at the end", after.get("open"))));
    }
    Ok(Run::from([
        ("sessions", sessions),
        ("bytes_per_session", after.get("memory").saturating_sub(before.get("memory")) / sessions),
        ("memory", after.get("memory")),
        ("cpu_ppm", ratio(after.get("cpu") - opened.get("cpu"), watched, GIGA / 1_000)),
        ("responder_ns", (opened.get("cpu") - before.get("cpu")) / sessions),
    ]))
}
