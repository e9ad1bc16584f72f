//! `rtmfp receive` by a code

use core::cell::RefCell;
use std::fs;

use rtmfp_core::SessionHandle;
use rtmfp_files::Secret;
use rtmfp_files::proof::{ClaimFailure, Refusal};
use rtmfp_meet::PathKind;
use rtmfp_std::system_rng;

use super::conclude;
use crate::args::Receive;
use crate::code::{Answers, Claiming, Finder, Found, refuse_in_arguments};
use crate::failure::{Code, Failure};
use crate::identity::{Identity, Part};
use crate::json::Line;
use crate::nearby::ForwardedPort;
use crate::report::Report;
use crate::trace::TraceFile;
use crate::transfer::disk::Directory;
use crate::transfer::{Receiver, ReceiverEvent, ReceiverLimits};
use crate::{net, settings, via};

pub(super) fn run(args: &Receive, report: Report, trace: &mut TraceFile) -> Result<(), Failure> {
    refuse_in_arguments(args.directory.as_os_str())?;
    let mut report = report.aside();
    let via = settings::meet(&args.meet)?;
    let identity = Identity::transfer(&args.common, Part::Client)?;
    let mut driver = via::driver(&[], &via, &identity, args.common.timeout, Some(trace))?;
    let forwarded = if via.map_port { ForwardedPort::of(&driver, &mut report)? } else { None };
    let server = via.via.as_ref();
    let guest = server.map(|server| via.guest(server, &args.common, &identity, &mut driver)).transpose()?;
    let answers = Answers::new(driver.waker());
    let mut found = Finder::new(guest, via.policy(), answers, args.common.timeout, &driver).run(&mut driver)?;

    fs::create_dir_all(&args.directory).map_err(|e| Failure::local(args.directory.display(), e))?;
    let store = Directory::new(&args.directory, args.force)
        .map_err(|e| Failure::local(args.directory.display(), e))?
        .with_dot_names(args.dot_files);
    let clock = *driver.pump().clock();
    let begun = clock.now();
    let report = RefCell::new(report);
    let begin = |_session: SessionHandle, _shared| {
        report.borrow_mut().either(|| Line::new("proved"), || "the sender knows the code".to_owned());
        let report = &report;
        let observe = move |event: ReceiverEvent<'_>| {
            let mut report = report.borrow_mut();
            match event {
                ReceiverEvent::Begun { size, .. } => report.expect(size),
                ReceiverEvent::Progress { bytes } => report.progress(bytes),
                ReceiverEvent::Finished { name, size, hash, verdict } => {
                    report.file(name, size, hash.as_ref().map(|hash| &hash[..]), verdict);
                }
                ReceiverEvent::Opened { .. } | ReceiverEvent::Closed { .. } => {}
            }
        };
        let limits = ReceiverLimits { patience: 2 * args.common.timeout, ..ReceiverLimits::default() };
        Receiver::new(Box::new(store), false, observe).with_limits(&limits)
    };
    let session = found.session;
    if found.is_local {
        via::path(&driver, session, PathKind::Lan, &mut report.borrow_mut());
    }
    let mut app = Claiming::new(session, Secret::from(&found.code.words), system_rng()?, begin);
    let result = match found.take_guest() {
        Some(guest) => {
            let mut meeting = Found::meeting(guest, app).with_port(forwarded);
            let told = meeting.told();
            let result = net::run(&mut driver, &mut meeting, |driver| {
                via::show(&told, driver, None, &mut report.borrow_mut());
            });
            app = meeting.into_app();
            result
        }
        None => net::run(&mut driver, &mut app, |_| {}),
    };
    let (failure, received) = (app.failure(), app.app().map(Receiver::received));
    drop(app);
    if let Some(received) = received {
        let took = clock.now().saturating_duration_since(begun);
        report.borrow_mut().transferred(received.verified, received.failed, took);
    }
    conclude(&driver, &args.common, &mut report.borrow_mut());
    result?;
    if let Some(failure) = failure {
        return Err(not_proved(failure));
    }
    match received {
        Some(received) if received.failed > 0 => {
            let all = received.failed + received.verified;
            Err(Failure::new(Code::Files, format!("{} of {all} files failed, see above", received.failed)))
        }
        Some(received) => match received.lost {
            Some(reason) if received.complete == 0 => Err(Failure::lost(reason, "the sender")),
            _ => Ok(()),
        },
        None => Err(Failure::interrupted()),
    }
}

/// Why the code was not proved, and what to do.
#[expect(clippy::wildcard_enum_match_arm, reason = "the others tell enough themselves")]
fn not_proved(failure: ClaimFailure) -> Failure {
    match failure {
        ClaimFailure::Refused { why: Refusal::Wrong, .. } => Failure::new(
            Code::WrongCode,
            "the code is wrong, and is burnt now: ask the sender for a new one, and mind the words",
        ),
        ClaimFailure::Refused { why: Refusal::Spent, .. } => Failure::new(
            Code::WrongCode,
            "the code was used before, or burnt by a wrong guess: ask the sender for a new one",
        ),
        ClaimFailure::Refused { why: Refusal::Expired, .. } => {
            Failure::new(Code::WrongCode, "the code has expired: ask the sender for a new one")
        }
        ClaimFailure::Deceived => Failure::new(
            Code::WrongCode,
            "whoever answered does not know the code, and has had a guess at it: do not use it again, ask the sender for \
             a new one",
        ),
        other if other.is_spent() => Failure::new(
            Code::WrongCode,
            format!("{other}: whoever is there may have had a guess at the code, so ask the sender for a new one"),
        ),
        other => Failure::new(Code::Lost, format!("{other}: try again")),
    }
}
