//! `rtmfp ping`

use core::cell::{Cell, RefCell};
use core::time::Duration;

use rtmfp_core::profile::Fingerprint;
use rtmfp_core::{Bytes, Instant, SessionHandle, Target};
use rtmfp_meet::PathKind;
use rtmfp_std::{Driver, Uri};

use super::send::Opening;
use super::{conclude, far_fingerprint, is_post_quantum};
use crate::args::Ping;
use crate::echo::BUSY;
use crate::failure::{Code, Failure};
use crate::identity::{Destination, Identity, Part, destination, pin};
use crate::json::Line;
use crate::nearby::{self, ForwardedPort};
use crate::net;
use crate::ping::{Ping as App, PingEvent, PingFailure, PingOptions};
use crate::report::{Report, milliseconds};
use crate::trace::TraceFile;
use crate::via::{self, Finding};
use crate::whom::Whom;

/// Round-trip times so far.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    replies: u64,
    least: Option<Duration>,
    most: Duration,
    total: Duration,
}

impl Times {
    fn add(&mut self, time: Duration) {
        self.replies += 1;
        self.least = Some(self.least.map_or(time, |least| least.min(time)));
        self.most = self.most.max(time);
        self.total = self.total.saturating_add(time);
    }

    fn mean(&self) -> Duration {
        self.total / u32::try_from(self.replies).unwrap_or(u32::MAX).max(1)
    }
}

/// A far end that is reached, or is being.
struct Reached {
    driver: Driver,
    session: SessionHandle,
    /// Who has found it, if nobody knew its address.
    finding: Option<Finding>,
    /// A port that is needed as long as the session is.
    forwarded: Option<ForwardedPort>,
    destination: Destination,
    /// When it was begun.
    begun: Instant,
}

pub(super) fn run(args: &Ping, mut report: Report, trace: &mut TraceFile) -> Result<(), Failure> {
    if !matches!(args.whom, Whom::Uri(_)) && (args.connect.pin || args.connect.fingerprint.is_some()) {
        let message = "--fingerprint and --pin belong to a URI: give the fingerprint in its place (that of the server is \
                       --via-fingerprint)";
        return Err(Failure::new(Code::Usage, message));
    }
    let part = if args.via.via.is_some() { Part::Guest } else { Part::Client };
    let identity = Identity::new(&args.common, part)?;
    let reached = match (&args.whom, &args.via.via) {
        (Whom::Uri(uri), None) => directly(args, uri, &identity, trace)?,
        (Whom::Peer(_) | Whom::Number(_), Some(server)) => through(args, server, &identity, &mut report, trace)?,
        (Whom::Uri(_), Some(_)) => {
            let message = "with --via, give the number or the fingerprint of the far end rather than a URI";
            return Err(Failure::new(Code::Usage, message));
        }
        (Whom::Peer(peer), None) => near(args, peer, &identity, trace)?,
        (Whom::Number(_), None) => {
            return Err(Failure::new(Code::Usage, "a number is found by a server: name it with --via"));
        }
    };
    ping(args, reached, report)
}

fn directly(args: &Ping, uri: &Uri, identity: &Identity, trace: &mut TraceFile) -> Result<Reached, Failure> {
    let destination = destination(&args.common, &args.connect, uri, identity)?;
    let (driver, session) = net::connect(uri, &destination, identity, args.common.timeout, Some(trace))?;
    let begun = driver.pump().clock().now();
    Ok(Reached { driver, session, finding: None, forwarded: None, destination, begun })
}

/// Looks for the far end in this host's networks.
fn near(args: &Ping, whom: &Fingerprint, identity: &Identity, trace: &mut TraceFile) -> Result<Reached, Failure> {
    let mut driver = via::driver(&[], &args.via, identity, args.common.timeout, Some(trace))?;
    let begun = driver.pump().clock().now();
    let addresses = nearby::find(whom, args.common.timeout, &driver)?;
    let discriminator = identity.kind().discriminator(None, Some(*whom));
    let place = args.whom.to_string();
    let target = Target { discriminator: discriminator.clone(), candidates: via::candidates(&addresses, &driver) };
    let session = net::open(&mut driver, &place, target)?;
    let destination = Destination { place, discriminator, pinned: None };
    Ok(Reached { driver, session, finding: None, forwarded: None, destination, begun })
}

fn through(
    args: &Ping,
    server: &Uri,
    identity: &Identity,
    report: &mut Report,
    trace: &mut TraceFile,
) -> Result<Reached, Failure> {
    let mut driver = via::driver(&[], &args.via, identity, args.common.timeout, Some(trace))?;
    let forwarded = if args.via.map_port { ForwardedPort::of(&driver, report)? } else { None };
    let guest = args.via.guest(server, &args.common, identity, &mut driver)?;
    let begun = driver.pump().clock().now();
    let mut finding = Finding::new(guest, args.whom.clone(), identity.kind(), args.via.policy());
    net::run(&mut driver, &mut finding, |_| {})?;
    let session = finding.outcome().map_err(|step| via::not_met(step, &args.whom))?;
    let destination = Destination { place: args.whom.to_string(), discriminator: Bytes::new(), pinned: None };
    Ok(Reached { driver, session, finding: Some(finding), forwarded, destination, begun })
}

fn ping(args: &Ping, reached: Reached, report: Report) -> Result<(), Failure> {
    let Reached { mut driver, session, finding, forwarded, destination, begun } = reached;
    let clock = *driver.pump().clock();
    let to = destination.place.clone();
    let report = RefCell::new(report);
    let times = Cell::new(Times::default());
    let opened = Cell::new(None);
    let app = App::new(session, options(args), |event| match event {
        PingEvent::Opened { .. } => opened.set(Some(clock.now().saturating_duration_since(begun))),
        PingEvent::Answered { flow, sequence, time } => {
            let mut all = times.get();
            all.add(time);
            times.set(all);
            answered(&mut report.borrow_mut(), flow, sequence, time, args.size, &to);
        }
    });
    let mut progress = Opening::new(session);
    let mut far = None;
    let is_nearby = args.via.via.is_none() && matches!(args.whom, Whom::Peer(_));
    let look = |driver: &Driver| {
        if progress.look(driver) {
            let peer = driver.pump().endpoint().session(session).and_then(|s| s.path()).map(|path| path.remote);
            let post_quantum = is_post_quantum(driver, session);
            let fingerprint = far_fingerprint(driver, session);
            report.borrow_mut().opened(peer, fingerprint.as_deref(), post_quantum, opened.get());
            // What is announced is heard in one network alone.
            if is_nearby {
                via::path(driver, session, PathKind::Lan, &mut report.borrow_mut());
            }
        }
        // It is proved by the first packet, which may come later.
        if far.is_none() && args.connect.pin {
            far = far_fingerprint(driver, session);
        }
    };
    let (result, failure) = play(&mut driver, app, finding.map(|finding| (finding, session, forwarded)), &report, look);
    let times = times.get();
    if times.replies > 0 {
        summarize(&times, &mut report.borrow_mut());
    }
    conclude(&driver, &args.common, &mut report.borrow_mut());
    result?;
    let outcome = outcome(failure, &progress, &destination);
    pin(outcome, &args.connect, &destination, far.as_deref(), opened.get().is_some())
}

/// Runs it, beside the guest that has found the far end, if there is one.
fn play<O: FnMut(PingEvent)>(
    driver: &mut Driver,
    mut app: App<O>,
    found: Option<(Finding, SessionHandle, Option<ForwardedPort>)>,
    report: &RefCell<Report>,
    mut look: impl FnMut(&Driver),
) -> (Result<(), Failure>, Option<PingFailure>) {
    let Some((finding, session, forwarded)) = found else {
        let result = net::run(driver, &mut app, look);
        return (result, app.failure());
    };
    let mut meeting = finding.then(session, app).with_port(forwarded);
    let told = meeting.told();
    // It has not begun.
    driver.pump_mut().wake();
    let result = net::run(driver, &mut meeting, |driver| {
        look(driver);
        via::show(&told, driver, None, &mut report.borrow_mut());
    });
    (result, meeting.into_app().failure())
}

fn answered(report: &mut Report, flow: usize, sequence: u64, time: Duration, size: u32, to: &str) {
    report.either(
        || {
            let line = Line::new("reply").number("flow", flow as u64).number("sequence", sequence);
            line.seconds("seconds", time)
        },
        || format!("{size} bytes from {to}: {sequence} in {}", milliseconds(time)),
    );
}

fn outcome(failure: Option<PingFailure>, progress: &Opening, destination: &Destination) -> Result<(), Failure> {
    let to = &destination.place;
    match failure {
        None => Ok(()),
        Some(PingFailure::NotOpened(reason)) => {
            Err(Failure::not_opened(reason, progress.reached, to, destination.pinned.is_some()))
        }
        Some(PingFailure::Lost(reason)) => Err(Failure::lost(reason, to)),
        Some(PingFailure::Rejected(BUSY)) => {
            Err(Failure::new(Code::Lost, format!("{to} is busy with others: try again later")))
        }
        Some(PingFailure::Rejected(code)) => Err(Failure::new(
            Code::Lost,
            format!("{to} is there but does not echo (code {code}): run `rtmfp echo` there"),
        )),
        Some(PingFailure::Garbled) => {
            Err(Failure::new(Code::Lost, format!("{to} sent something else back than it got: it is no echo")))
        }
        Some(PingFailure::NoFlow) => Err(Failure::new(Code::Local, "no flow could be opened: ask for fewer")),
    }
}

fn options(args: &Ping) -> PingOptions {
    PingOptions {
        metadata: args.metadata.clone().into_bytes().into(),
        flows: args.flows.into(),
        count: args.count,
        size: usize::try_from(args.size).unwrap_or(64),
        interval: args.interval,
        flood: args.flood,
        one_way: args.one_way,
    }
}

fn summarize(times: &Times, report: &mut Report) {
    let least = times.least.unwrap_or_default();
    report.either(
        || {
            let line = Line::new("done").number("replies", times.replies).seconds("least", least);
            line.seconds("mean", times.mean()).seconds("most", times.most)
        },
        || {
            let (least, mean, most) = (milliseconds(least), milliseconds(times.mean()), milliseconds(times.most));
            format!("{} replies: least {least}, mean {mean}, most {most}", times.replies)
        },
    );
}
