//! Meets a far end through a server, and tells of each step: `rtmfp doctor --explain`.
//!
//! With `--json` each step is a line with the event `step`: `step` (its name), `passed` (a truth value), `at` (seconds since
//! the beginning), `seconds` (since the step before), and if it was not passed `error`. They come as they happen. The last
//! is the one that failed, or `open`.
//!
//! | Step | Meaning |
//! |---|---|
//! | `server` | there is a session with it |
//! | `registered` | it knows this end |
//! | `token` | only if it is refused |
//! | `far-end` | the server knows it |
//! | `circuit` | over the relay |
//! | `introduced` | hellos go to the far end through the server |
//! | `answered` | the far end has answered |
//! | `direct` | whether a direct path was the first |
//! | `open` | with `kind` and, unless it is relayed, `peer` |
//!
//! A circuit that is refused fails nothing if a direct path is allowed.

use core::time::Duration;

use rtmfp_core::{App, CloseMode, Endpoint, Event, Instant, SessionHandle, SessionState};
use rtmfp_meet::{Failure as Reason, PathKind, PathPolicy, Progress};
use rtmfp_std::{Driver, Uri};

use crate::args::{Common, Via};
use crate::failure::Failure;
use crate::identity::Identity;
use crate::json::Line;
use crate::net;
use crate::report::{Report, milliseconds};
use crate::via::{self, Finding, Passed};
use crate::whom::Whom;

/// Tries to meet somebody, and tells of it.
///
/// # Errors
/// If the two do not meet: the step that failed, and what to do next. Or if this end fails, or is interrupted.
pub fn run(
    via: &Via,
    server: &Uri,
    whom: &Whom,
    common: &Common,
    identity: &Identity,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut driver = via::driver(&[], via, identity, common.timeout, None)?;
    let guest = via.guest(server, common, identity, &mut driver)?;
    let begun = driver.pump().clock().now();
    let mut finding = Finding::new(guest, whom.clone(), identity.kind(), via.policy()).once_registered();
    let steps = finding.steps();
    let mut told = Told::new(via.policy(), begun, report);
    told.begin(whom, server);
    net::run(&mut driver, &mut finding, |driver| told.look(driver, steps.borrow_mut().drain(..)))?;
    match finding.outcome() {
        Ok(session) => {
            driver.pump_mut().wake();
            net::run(&mut driver, &mut finding.then(session, Parting { session, parted: false }), |_| {})
        }
        Err(reason) => {
            told.fail(driver.pump().clock().now(), reason);
            Err(via::not_met(reason, whom))
        }
    }
}

/// What was told so far.
struct Told<'a> {
    report: &'a mut Report,
    policy: PathPolicy,
    begun: Instant,
    /// The step before.
    last: Instant,
    /// The session that is opening with the far end.
    opening: Option<SessionHandle>,
    is_known: bool,
    is_introduced: bool,
    has_answered: bool,
    /// Which fails the rest.
    token_refused: bool,
}

impl<'a> Told<'a> {
    const fn new(policy: PathPolicy, begun: Instant, report: &'a mut Report) -> Self {
        Self {
            report,
            policy,
            begun,
            last: begun,
            opening: None,
            is_known: false,
            is_introduced: false,
            has_answered: false,
            token_refused: false,
        }
    }

    fn begin(&mut self, whom: &Whom, server: &Uri) {
        let (whom, server) = (whom.to_string(), server.text.clone());
        self.report.either(
            || Line::new("explaining").text("whom", &whom).text("via", &server),
            || format!("meeting {whom} through {server}; the times are since the beginning, and of each step:"),
        );
    }

    /// Tells of what was passed since the last time.
    fn look(&mut self, driver: &Driver, steps: impl Iterator<Item = (Instant, Passed)>) {
        for (at, step) in steps {
            self.passed(driver, at, step);
        }
        let state = self.opening.and_then(|session| driver.pump().endpoint().session(session)).map(|one| one.state());
        if matches!(state, Some(SessionState::KeyingSent | SessionState::Open)) {
            self.answered(driver.pump().clock().now());
        }
    }

    fn passed(&mut self, driver: &Driver, at: Instant, step: Passed) {
        match step {
            Passed::Server => self.step(at, "server", "there is a session with the server"),
            Passed::Registered => self.step(at, "registered", "this end is registered with the server"),
            Passed::TokenRefused => self.token_refused = true,
            Passed::Found => self.known(at, "the number leads to somebody who is there"),
            Passed::Connecting(Progress::Known) => self.known(at, "the far end is there: the server knows it"),
            Passed::Connecting(Progress::Opening(session)) => {
                self.opening = Some(session);
                self.introduced(at, self.is_known);
            }
            Passed::Connecting(Progress::Circuit) => self.step(at, "circuit", "the relay has a circuit to the far end"),
            // Where nothing but the relay is allowed, that is the end, which is told of last.
            Passed::Connecting(Progress::NoCircuit(reason)) if self.policy.is_direct() => {
                self.missed(at, "circuit", &format!("the server opens no circuit over its relay: {reason}"));
            }
            Passed::Connecting(_) => {}
            Passed::Connected(session, kind) => self.connected(driver, at, session, kind),
        }
    }

    fn known(&mut self, at: Instant, what: &str) {
        if !core::mem::replace(&mut self.is_known, true) {
            self.step(at, "far-end", what);
        }
        self.introduced(at, true);
    }

    /// The server passes on hellos for those that it knows.
    fn introduced(&mut self, at: Instant, is_known: bool) {
        let is_now = is_known && self.opening.is_some() && self.policy.is_direct();
        if is_now && !core::mem::replace(&mut self.is_introduced, true) {
            self.step(at, "introduced", "the server introduces the two: hellos go to the far end through it");
        }
    }

    fn answered(&mut self, at: Instant) {
        if !core::mem::replace(&mut self.has_answered, true) {
            // It answers hellos that the server has passed on, perhaps before the server has said that it is there.
            self.introduced(at, true);
            self.step(at, "answered", "the far end has answered");
        }
    }

    fn connected(&mut self, driver: &Driver, at: Instant, session: SessionHandle, kind: PathKind) {
        self.answered(at);
        if self.policy.is_direct() {
            if matches!(kind, PathKind::Direct | PathKind::Lan) {
                self.step(at, "direct", "a direct path has answered");
            } else {
                self.missed(at, "direct", "no direct path has answered before the relay did");
            }
        }
        let view = driver.pump().endpoint().session(session);
        let path = view.and_then(|view| view.path()).filter(|_| kind != PathKind::Relayed);
        let peer = path.map(|path| path.remote.to_string());
        let text = peer.as_ref().map_or_else(|| format!("met: {kind}"), |peer| format!("met: {kind}, at {peer}"));
        self.tell(at, "open", &text, |line| {
            let line = line.truth("passed", true).text("kind", &kind.to_string());
            peer.iter().fold(line, |line, peer| line.text("peer", peer))
        });
    }

    /// The end of it, unless the two have met.
    fn fail(&mut self, at: Instant, reason: Reason) {
        let step = match reason {
            Reason::ServerNotReached(_) | Reason::ServerLost(_) => "server",
            Reason::NoRendezvous => "registered",
            Reason::Refused { .. } if self.token_refused => "token",
            Reason::Refused { .. } if self.is_known => "circuit",
            Reason::NobodyThere | Reason::Refused { .. } => "far-end",
            Reason::RelayRefused { .. } => "circuit",
            Reason::NoAnswer { .. } => "answered",
            Reason::NotOnLan | Reason::OtherPath | Reason::NotOpened(_) => "open",
            Reason::NotBegun(_) | Reason::TooMany | Reason::Left | _ => "begun",
        };
        self.missed(at, step, &reason.to_string());
    }

    fn step(&mut self, at: Instant, name: &str, what: &str) {
        self.tell(at, name, what, |line| line.truth("passed", true));
    }

    fn missed(&mut self, at: Instant, name: &str, why: &str) {
        self.tell(at, name, &format!("{name}: no. {why}"), |line| line.truth("passed", false).text("error", why));
    }

    fn tell(&mut self, at: Instant, name: &str, text: &str, more: impl FnOnce(Line) -> Line) {
        let (since, took) = (at.saturating_duration_since(self.begun), at.saturating_duration_since(self.last));
        self.last = at.max(self.last);
        self.report.either(
            || more(Line::new("step").text("step", name)).seconds("at", since).seconds("seconds", took),
            || format!("{:>12} {:>12}  {text}", milliseconds(since), plus(took)),
        );
    }
}

fn plus(took: Duration) -> String {
    format!("+{}", milliseconds(took))
}

/// Closes the session at once.
#[derive(Debug)]
struct Parting {
    session: SessionHandle,
    parted: bool,
}

impl App for Parting {
    fn on_event(&mut self, _: Instant, _: &mut Endpoint, _: Event) {}

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if let Some(mut session) = endpoint.session_mut(now, self.session).filter(|_| !self.parted) {
            session.close(CloseMode::Orderly);
        }
        self.parted = true;
    }

    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    fn is_done(&self) -> bool {
        self.parted
    }
}
