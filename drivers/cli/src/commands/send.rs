//! `rtmfp send`

use core::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::PathBuf;

use rtmfp_core::{Instant, SessionHandle};
use rtmfp_std::{Driver, Uri};

use super::{conclude, far_fingerprint, is_post_quantum, offer, refuse};
use crate::args::Send;
use crate::failure::{Code, Failure};
use crate::identity::{Identity, Part, destination, pin};
use crate::net;
use crate::report::Report;
use crate::text::shown;
use crate::trace::TraceFile;
use crate::transfer::store::Outgoing;
use crate::transfer::{BUSY, MALFORMED, NOT_FILES, SendFailure, Sender, SenderEvent, disk};

pub(super) fn run(args: &Send, mut report: Report, trace: &mut TraceFile) -> Result<(), Failure> {
    let last = args.paths.last().and_then(|last| last.to_str()).unwrap_or_default();
    // Whoever mistypes the scheme does not mean a file.
    if !last.to_ascii_lowercase().starts_with("rtmfp:") && !last.contains("://") {
        let of_address = [("--fingerprint", args.connect.fingerprint.is_some()), ("--pin", args.connect.pin)];
        refuse(&of_address, "belongs to a receiver at an address: the code proves who it is")?;
        return offer::run(args, report, trace);
    }
    let of_code = [
        ("--text", args.text.is_some()),
        ("--exclude", !args.exclude.is_empty()),
        ("--files-from", args.files_from.is_some()),
        ("--limit", args.limit.is_some()),
        ("--via", args.meet.via.is_some()),
        ("--qr", args.qr),
    ];
    refuse(&of_code, "belongs to sending by a code: leave out the address")?;
    let (files, uri) = split(&args.paths)?;
    let (files, bytes) = open_all(&files)?;
    report.expect(bytes);
    let identity = Identity::new(&args.common, Part::Client)?;
    let destination = destination(&args.common, &args.connect, &uri, &identity)?;
    let (mut driver, session) = net::connect(&uri, &destination, &identity, args.common.timeout, Some(trace))?;

    let clock = *driver.pump().clock();
    let begun = clock.now();
    limit(&mut driver, session, begun, args);
    let report = RefCell::new(report);
    let opened = Cell::new(None);
    let mut sender = Sender::new(session, files, args.parallel.into(), |event| {
        let mut report = report.borrow_mut();
        match event {
            SenderEvent::Opened { .. } => opened.set(Some(clock.now())),
            SenderEvent::Begun { .. } => {}
            SenderEvent::Progress { bytes } => report.progress(bytes),
            SenderEvent::Finished { name, size, hash, verdict } => {
                report.file(name, size, hash.as_ref().map(|hash| &hash[..]), verdict);
            }
        }
    });
    let mut progress = Opening::new(session);
    let mut far = None;
    let result = net::run(&mut driver, &mut sender, |driver| {
        if progress.look(driver) {
            let peer = driver.pump().endpoint().session(session).and_then(|s| s.path()).map(|path| path.remote);
            let took = opened.get().map(|at| at.saturating_duration_since(begun));
            let post_quantum = is_post_quantum(driver, session);
            let fingerprint = far_fingerprint(driver, session);
            report.borrow_mut().opened(peer, fingerprint.as_deref(), post_quantum, took);
        }
        // It is proved by the first packet, which may come later.
        if far.is_none() && args.connect.pin {
            far = far_fingerprint(driver, session);
        }
    });
    let (verified, failed, failure) = (sender.verified(), sender.failed(), sender.failure());
    drop(sender);
    if let Some(at) = opened.get() {
        report.borrow_mut().transferred(verified, failed, clock.now().saturating_duration_since(at));
    }
    conclude(&driver, &args.common, &mut report.borrow_mut());
    result?;
    let to = destination.place.clone();
    let outcome = match failure {
        Some(SendFailure::NotOpened(reason)) => {
            Err(Failure::not_opened(reason, progress.reached, &to, destination.pinned.is_some()))
        }
        Some(SendFailure::Lost(reason)) => Err(Failure::lost(reason, &to)),
        Some(SendFailure::Rejected(code)) => Err(Failure::new(Code::Lost, rejected(&to, code))),
        Some(SendFailure::Confused) => {
            Err(Failure::new(Code::Lost, format!("{to} takes no files: is `rtmfp receive --listen` running there?")))
        }
        None if failed > 0 => {
            Err(Failure::new(Code::Files, format!("{failed} of {} files failed, see above", failed + verified)))
        }
        None => Ok(()),
    };
    pin(outcome, &args.connect, &destination, far.as_deref(), opened.get().is_some())
}

/// Bounds the rate of the session, if the user has asked for that.
fn limit(driver: &mut Driver, session: SessionHandle, now: Instant, args: &Send) {
    if let Some(mut session) = driver.pump_mut().endpoint_mut().session_mut(now, session) {
        session.set_max_rate(args.max_rate.map(|kibibytes| kibibytes << 10));
    }
}

fn rejected(to: &str, code: u64) -> String {
    match code {
        BUSY => format!("{to} is busy with other senders: try again later"),
        NOT_FILES => {
            format!("{to} takes no files, or not from this version: is `rtmfp receive --listen` running there?")
        }
        MALFORMED => format!("{to} did not understand what was sent: use the same version at both ends"),
        code => format!("{to} refuses files (code {code}): is `rtmfp receive --listen` running there?"),
    }
}

/// The last argument is the URI, those before are files.
fn split(arguments: &[PathBuf]) -> Result<(Vec<PathBuf>, Uri), Failure> {
    let (uri, files) = arguments.split_last().ok_or_else(|| Failure::new(Code::Usage, "no files given"))?;
    let text = uri.to_str().unwrap_or_default();
    let uri = text.parse().map_err(|e| {
        Failure::new(Code::Usage, format!("the last argument, `{}`, is not a receiver: {e}", shown(text)))
    })?;
    Ok((files.to_vec(), uri))
}

/// Checks all files before anything is sent.
pub(super) fn open_all(paths: &[PathBuf]) -> Result<(Vec<Outgoing>, u64), Failure> {
    let mut names = BTreeSet::new();
    let (mut files, mut bytes) = (Vec::with_capacity(paths.len()), 0_u64);
    for path in paths {
        let (file, size) = disk::outgoing(path).map_err(|message| Failure::new(Code::Local, message))?;
        if !names.insert(file.name.clone()) {
            let message = format!("two of the files are named {}: send one of them by itself", file.name);
            return Err(Failure::new(Code::Local, message));
        }
        files.push(file);
        bytes = bytes.saturating_add(size);
    }
    Ok((files, bytes))
}

/// Watches how far a session gets while it opens.
#[derive(Debug)]
pub(super) struct Opening {
    session: SessionHandle,
    open: bool,
    /// The last state seen.
    pub(super) reached: Option<rtmfp_core::SessionState>,
}

impl Opening {
    pub(super) const fn new(session: SessionHandle) -> Self {
        Self { session, open: false, reached: None }
    }

    /// Looks; true once, when it is seen open for the first time.
    pub(super) fn look(&mut self, driver: &Driver) -> bool {
        use rtmfp_core::SessionState::{HelloSent, KeyingSent, Open};
        let state = driver.pump().endpoint().session(self.session).map(|session| session.state());
        if matches!(state, Some(HelloSent | KeyingSent | Open)) {
            self.reached = state;
        }
        let first = state == Some(Open) && !self.open;
        self.open |= first;
        first
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};
    use crate::identity::Destination;
    use rtmfp_core::profile::modern::Hybrid;

    /// The rate that a session is paced at, after these arguments.
    fn paced(more: &[&str]) -> Option<u64> {
        let line = ["rtmfp", "send", "file", "rtmfp://127.0.0.1:9/"].iter().chain(more);
        let Command::Send(args) = Cli::parse_from(line).command else { unreachable!("it says send") };
        // Made here: neither a password in the environment nor pinned peers of the user have a say.
        let identity = Identity::modern(Part::Client, Hybrid::Off).unwrap();
        let uri = split(&args.paths).unwrap().1;
        let discriminator = identity.kind().discriminator(Some(&uri.text), None);
        let destination = Destination { place: uri.host.clone(), discriminator, pinned: None };
        let (mut driver, session) = net::connect(&uri, &destination, &identity, args.common.timeout, None).unwrap();
        let now = driver.pump().clock().now();
        limit(&mut driver, session, now, &args);
        driver.pump().endpoint().session(session).unwrap().stats().pacing_rate
    }

    #[test]
    fn the_session_has_the_rate_that_the_user_allows() {
        assert_eq!(paced(&["--max-rate", "64"]), Some(65_536));
        assert_eq!(paced(&[]), None);
    }
}
