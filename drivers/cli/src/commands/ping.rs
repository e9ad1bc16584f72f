//! `rtmfp ping`

use core::cell::{Cell, RefCell};
use core::time::Duration;

use super::send::Opening;
use super::{conclude, far_fingerprint, is_post_quantum};
use crate::args::Ping;
use crate::echo::BUSY;
use crate::failure::{Code, Failure};
use crate::identity::{Identity, Part, destination, pin};
use crate::json::Line;
use crate::net;
use crate::ping::{Ping as App, PingEvent, PingFailure, PingOptions};
use crate::report::{Report, milliseconds};
use crate::trace::TraceFile;

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

pub(super) fn run(args: &Ping, report: Report, trace: &mut TraceFile) -> Result<(), Failure> {
    let identity = Identity::new(&args.common, Part::Client)?;
    let destination = destination(&args.common, &args.connect, &args.uri, &identity)?;
    let (mut driver, session) = net::connect(&args.uri, &destination, &identity, args.common.timeout, Some(trace))?;
    let clock = *driver.pump().clock();
    let begun = clock.now();
    let to = destination.place.clone();
    let report = RefCell::new(report);
    let times = Cell::new(Times::default());
    let opened = Cell::new(None);
    let mut app = App::new(session, options(args), |event| match event {
        PingEvent::Opened { .. } => opened.set(Some(clock.now().saturating_duration_since(begun))),
        PingEvent::Answered { flow, sequence, time } => {
            let mut all = times.get();
            all.add(time);
            times.set(all);
            report.borrow_mut().either(
                || {
                    let line = Line::new("reply").number("flow", flow as u64).number("sequence", sequence);
                    line.seconds("seconds", time)
                },
                || format!("{} bytes from {to}: {sequence} in {}", args.size, milliseconds(time)),
            );
        }
    });
    let mut progress = Opening::new(session);
    let mut far = None;
    let result = net::run(&mut driver, &mut app, |driver| {
        if progress.look(driver) {
            let peer = driver.pump().endpoint().session(session).and_then(|s| s.path()).map(|path| path.remote);
            let post_quantum = is_post_quantum(driver, session);
            let fingerprint = far_fingerprint(driver, session);
            report.borrow_mut().opened(peer, fingerprint.as_deref(), post_quantum, opened.get());
        }
        // It is proved by the first packet, which may come later.
        if far.is_none() && args.connect.pin {
            far = far_fingerprint(driver, session);
        }
    });
    let failure = app.failure();
    drop(app);
    let times = times.get();
    if times.replies > 0 {
        summarize(&times, &mut report.borrow_mut());
    }
    conclude(&driver, &args.common, &mut report.borrow_mut());
    result?;
    let outcome = match failure {
        None => Ok(()),
        Some(PingFailure::NotOpened(reason)) => {
            Err(Failure::not_opened(reason, progress.reached, &to, destination.pinned.is_some()))
        }
        Some(PingFailure::Lost(reason)) => Err(Failure::lost(reason, &to)),
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
    };
    pin(outcome, &args.connect, &destination, far.as_deref(), opened.get().is_some())
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
