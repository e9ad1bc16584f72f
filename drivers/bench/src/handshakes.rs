//! `rtmfp-bench handshakes`

use core::net::SocketAddr;
use std::thread;

use rtmfp_core::{App, CloseMode, Endpoint, Event, Instant};

use super::args::{BenchCommon, Handshakes, PATIENCE};
use super::ends::{self, Far, Figures};
use super::usage::{cpu_time, wall_time};
use super::{GIGA, Run, column, measure, nanos, ratio};
use rtmfp_cli::failure::{Code, Failure};

pub(super) fn run(args: &Handshakes) -> Result<(), Failure> {
    if args.common.far {
        return far(&args.common);
    }
    let columns = [
        column("per_second", "handshakes/s, two processes", 1.0, 0),
        column("initiator_per_core_second", "handshakes/s a core, initiators", 1.0, 0),
        column("responder_per_core_second", "handshakes/s a core, responder", 1.0, 0),
        column("initiator_ns", "initiator, CPU ms each", 1e6, 3),
        column("responder_ns", "responder, CPU ms each", 1e6, 3),
    ];
    measure("handshakes", &args.common, &columns, || once(args))
}

/// Takes sessions, and does nothing with them.
#[derive(Debug, Default)]
struct Responder {
    opened: u64,
}

impl App for Responder {
    fn on_event(&mut self, _now: Instant, _endpoint: &mut Endpoint, event: Event) {
        self.opened += u64::from(matches!(event, Event::SessionOpened { .. }));
    }
}

fn far(common: &BenchCommon) -> Result<(), Failure> {
    let driver = ends::driver(common, ends::config(common), true)?;
    ends::serve(driver, &mut Responder::default(), |_, responder| {
        let mut figures = Figures::default();
        figures.set("opened", responder.opened);
        figures.set("cpu", nanos(cpu_time()));
        figures
    })
}

/// Opens one session after the other.
struct Initiator<'a> {
    common: &'a BenchCommon,
    remote: SocketAddr,
    left: u32,
    failed: bool,
}

impl Initiator<'_> {
    fn next(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.failed |= self.left > 0 && endpoint.open(now, ends::target(self.common, self.remote)).is_err();
    }
}

impl App for Initiator<'_> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "an application acts on the events that it knows of")]
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        match event {
            Event::SessionOpened { session } => {
                self.left = self.left.saturating_sub(1);
                if let Some(mut session) = endpoint.session_mut(now, session) {
                    session.close(CloseMode::Abrupt);
                }
            }
            Event::SessionClosed { .. } => self.next(now, endpoint),
            Event::SessionFailed { .. } => self.failed = true,
            _ => {}
        }
    }

    fn is_done(&self) -> bool {
        self.left == 0 || self.failed
    }
}

fn initiate(common: &BenchCommon, remote: SocketAddr, count: u32) -> Result<(), Failure> {
    let mut driver = ends::driver(common, ends::config(common), false)?;
    let mut initiator = Initiator { common, remote, left: count, failed: false };
    let now = driver.pump().clock().now();
    initiator.next(now, driver.pump_mut().endpoint_mut());
    ends::run(&mut driver, &mut initiator, PATIENCE * 10)?;
    if initiator.failed { Err(Failure::new(Code::NotOpened, "a session did not open")) } else { Ok(()) }
}

fn once(args: &Handshakes) -> Result<Run, Failure> {
    let mut far = Far::start(&[])?;
    // What happens once only is not what is measured.
    initiate(&args.common, far.address, 1)?;
    let (before, cpu, began) = (far.ask()?, cpu_time(), wall_time());
    let (parallel, address) = (u32::from(args.parallel), far.address);
    thread::scope(|scope| {
        let share = |index| args.count / parallel + u32::from(index < args.count % parallel);
        let threads: Vec<_> =
            (0..parallel).map(|index| scope.spawn(move || initiate(&args.common, address, share(index)))).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err(Failure::new(Code::Local, "an initiator failed")))
        })
    })?;
    let (took, near) = (nanos(wall_time().saturating_sub(began)), nanos(cpu_time().saturating_sub(cpu)));
    let after = far.ask()?;
    let count = u64::from(args.count);
    if after.get("opened") - before.get("opened") != count {
        return Err(Failure::new(Code::NotOpened, "the two ends counted different numbers of handshakes"));
    }
    let far = after.get("cpu") - before.get("cpu");
    Ok(Run::from([
        ("per_second", ratio(count, took, GIGA)),
        ("initiator_ns", ratio(near, count, 1)),
        ("responder_ns", ratio(far, count, 1)),
        ("initiator_per_core_second", ratio(count, near, GIGA)),
        ("responder_per_core_second", ratio(count, far, GIGA)),
    ]))
}
