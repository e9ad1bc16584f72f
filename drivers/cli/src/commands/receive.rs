//! `rtmfp receive`

use core::cell::RefCell;

use super::{announce, claim, conclude, far_fingerprint, is_post_quantum, refuse};
use crate::args::Receive;
use crate::failure::{Code, Failure};
use crate::identity::{Identity, Part};
use crate::json::Line;
use crate::net;
use crate::report::Report;
use crate::trace::TraceFile;
use crate::transfer::disk::Directory;
use crate::transfer::{Receiver, ReceiverEvent, ReceiverLimits};

pub(super) fn run(args: &Receive, mut report: Report, trace: &mut TraceFile) -> Result<(), Failure> {
    if args.listen.listen.is_empty() {
        let of_address = [
            ("--identity", args.listen.identity.is_some()),
            ("--fingerprint-file", args.listen.fingerprint_file.is_some()),
        ];
        refuse(&of_address, "belongs to a receiver at an address: give --listen too")?;
        return claim::run(args, report, trace);
    }
    refuse(&[("--via", args.meet.via.is_some())], "belongs to receiving by a code: leave out --listen")?;
    let directory = args.directory.display();
    let store = Directory::new(&args.directory, args.force)
        .map_err(|e| Failure::local(directory, format_args!("{e}; create the directory first")))?
        .with_dot_names(args.dot_files);
    let identity = Identity::new(
        &args.common,
        Part::Server { lasting: args.listen.fingerprint_file.is_some(), listen: Some(&args.listen) },
    )?;
    let mut driver = net::listen(&args.listen.listen, &identity, args.common.timeout, Some(trace))?;
    announce(&driver, &identity, &args.listen, &mut report)?;

    let clock = *driver.pump().clock();
    let report = RefCell::new(report.limited());
    let mut opened = Vec::new();
    let fresh = RefCell::new(Vec::new());
    let mut since = None;
    let started = RefCell::new(None);
    let mut receiver = Receiver::new(Box::new(store), args.keep, |event| {
        let mut report = report.borrow_mut();
        match event {
            ReceiverEvent::Opened { session } => {
                fresh.borrow_mut().push(session);
                started.borrow_mut().get_or_insert_with(|| clock.now());
            }
            ReceiverEvent::Begun { size, .. } => report.expect(size),
            ReceiverEvent::Progress { bytes } => report.progress(bytes),
            ReceiverEvent::Finished { name, size, hash, verdict } => {
                report.file(name, size, hash.as_ref().map(|hash| &hash[..]), verdict);
            }
            ReceiverEvent::Closed { complete, .. } => {
                let human = || if complete { "the sender has finished" } else { "the sender went away" }.to_owned();
                report.either_of_far(|| Line::new("closed").truth("complete", complete), human);
            }
        }
    });
    // A far end may be silent for the timeout; it is not taken for idle before.
    let limits = ReceiverLimits { patience: 2 * args.common.timeout, ..ReceiverLimits::default() };
    receiver = receiver.with_limits(&limits);
    let result = net::run(&mut driver, &mut receiver, |driver| {
        opened.append(&mut fresh.borrow_mut());
        for session in opened.drain(..) {
            let peer = driver.pump().endpoint().session(session).and_then(|s| s.path()).map(|path| path.remote);
            let post_quantum = is_post_quantum(driver, session);
            let fingerprint = far_fingerprint(driver, session);
            report.borrow_mut().opened(peer, fingerprint.as_deref(), post_quantum, None);
        }
        since = *started.borrow();
    });
    let received = receiver.received();
    drop(receiver);
    if let Some(since) = since {
        let took = clock.now().saturating_duration_since(since);
        report.borrow_mut().transferred(received.verified, received.failed, took);
    }
    conclude(&driver, &args.common, &mut report.borrow_mut());
    result?;
    match received.lost {
        Some(reason) if received.complete == 0 => Err(Failure::lost(reason, "the sender")),
        _ if received.failed > 0 => Err(Failure::new(
            Code::Files,
            format!("{} of {} files failed, see above", received.failed, received.failed + received.verified),
        )),
        _ => Ok(()),
    }
}
