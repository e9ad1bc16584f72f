//! `rtmfp serve`

use core::time::Duration;
use std::sync::mpsc;

use rtmfp_core::{EndpointConfig, Router};
use rtmfp_meet::{Everybody, Limits, Rendezvous, ServerEvent};
use rtmfp_std::{Driver, system_rng};

use super::{announce, conclude};
use crate::args::Serve;
use crate::failure::Failure;
use crate::identity::{Identity, Part};
use crate::json::Line;
use crate::net;
use crate::report::Report;
use crate::trace::TraceFile;

/// Hellos for others that wait to be decided on, and how many of them from one source.
const HELLOS: usize = 1_024;
const HELLOS_PER_SOURCE: usize = 64;
/// How often a quiet session is asked for a sign of life: NATs keep their bindings for longer than this.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// How long a client may be silent, at least, before it counts as gone. A phone that changes networks takes a while.
const SILENCE: Duration = Duration::from_secs(60);
/// The window of a flow, which carries short questions only.
const WINDOW: usize = 64 << 10;
/// All that a session holds of what was received and not read, or sent and not acknowledged.
const SESSION_BYTES: usize = 256 << 10;

pub(super) fn run(args: &Serve, mut report: Report, trace: &mut TraceFile) -> Result<(), Failure> {
    let identity = Identity::new(&args.common, Part::Server { lasting: true, listen: Some(&args.listen) })?;
    let config = config(args, &identity);
    let mut driver = net::listen_with(&args.listen.listen, &identity, config, Some(trace))?;
    announce(&driver, &identity, &args.listen, &mut report)?;
    let mut report = report.limited();
    let (sender, events) = mpsc::channel();
    // The receiver lives as long as this function.
    let observer = move |event| {
        let _ = sender.send(event);
    };
    let rendezvous = Rendezvous::new(Limits::default(), Everybody, system_rng()?, observer);
    let mut app = Router::new().with(Box::new(rendezvous));
    let mut totals = Totals::default();
    let result = net::serve(&mut driver, &mut app, |driver| {
        for event in events.try_iter() {
            totals.count(event);
            report_event(event, driver, &mut report);
        }
    });
    let sessions = driver.pump().endpoint().stats().sessions_opened;
    totals.sum(sessions, &mut report);
    conclude(&driver, &args.common, &mut report);
    result
}

/// Settings for many sessions of which each does little.
fn config(args: &Serve, identity: &Identity) -> EndpointConfig {
    let mut config = net::config(identity, args.common.timeout, true);
    config.max_sessions = args.max_sessions;
    config.max_unmatched_hellos = HELLOS;
    config.max_unmatched_hellos_per_source = HELLOS_PER_SOURCE;
    config.session.keepalive = KEEPALIVE;
    config.session.retransmit_limit = args.common.timeout.max(SILENCE);
    config.session.recv_buffer = WINDOW;
    config.session.max_recv_bytes = SESSION_BYTES;
    config.session.send_buffer = WINDOW;
    config.session.max_send_bytes = SESSION_BYTES;
    // Who is registered here may have no flow, and is kept until it leaves or does not answer.
    config.session.idle_limit = args.idle;
    config
}

/// What there was in all.
#[derive(Clone, Copy, Default, Debug)]
struct Totals {
    introduced: u64,
    numbers: u64,
    refused: u64,
}

impl Totals {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the sum is of these")]
    const fn count(&mut self, event: ServerEvent) {
        match event {
            ServerEvent::Hello { introduced: true, .. } => self.introduced += 1,
            ServerEvent::NumberGiven { .. } => self.numbers += 1,
            ServerEvent::Refused { .. } => self.refused += 1,
            _ => {}
        }
    }

    fn sum(self, sessions: u64, report: &mut Report) {
        let Self { introduced, numbers, refused } = self;
        report.either(
            || {
                let line = Line::new("served").number("sessions", sessions).number("introduced", introduced);
                line.number("numbers", numbers).number("refused", refused)
            },
            || {
                format!(
                    "{sessions} sessions, {introduced} introductions, {numbers} numbers, {refused} requests refused"
                )
            },
        );
    }
}

/// A line for what happened.
#[expect(clippy::wildcard_enum_match_arm, reason = "the others are not worth a line")]
fn report_event(event: ServerEvent, driver: &Driver, report: &mut Report) {
    let address = |session| {
        let path = driver.pump().endpoint().session(session).and_then(|session| session.path());
        path.map_or_else(|| "unknown".to_owned(), |path| path.remote.to_string())
    };
    let (name, peer, human) = match event {
        ServerEvent::Joined { session } => ("joined", address(session), "asks for help to meet"),
        ServerEvent::NumberGiven { session } => ("number", address(session), "has a number"),
        ServerEvent::Sought { session, found: true } => ("found", address(session), "has found somebody"),
        ServerEvent::Sought { session, found: false } => ("nobody", address(session), "has found nobody"),
        ServerEvent::Refused { session, .. } => ("refused", address(session), "is refused"),
        ServerEvent::Hello { from, introduced: true } => ("introduced", from.to_string(), "is introduced"),
        ServerEvent::Hello { from, introduced: false } => {
            ("unknown", from.to_string(), "asks for somebody who is not here, or too often")
        }
        _ => return,
    };
    report.either_of_far(|| Line::new(name).text("peer", &peer), || format!("{peer} {human}"));
}
