//! `rtmfp echo`

use core::cell::RefCell;

use rtmfp_std::Driver;

use super::{announce, conclude, far_fingerprint, is_post_quantum};
use crate::args::Echo;
use crate::echo::{Echo as App, EchoEvent};
use crate::failure::{Code, Failure};
use crate::identity::{Identity, Part};
use crate::json::Line;
use crate::nearby::{self, ForwardedPort};
use crate::net;
use crate::report::Report;
use crate::text::shown;
use crate::trace::TraceFile;
use crate::via::{self, Meeting};

pub(super) fn run(args: &Echo, mut report: Report, trace: &mut TraceFile) -> Result<(), Failure> {
    let identity = Identity::new(
        &args.common,
        Part::Server { lasting: args.listen.fingerprint_file.is_some(), listen: Some(&args.listen) },
    )?;
    let mut driver = match &args.via.via {
        Some(_) => via::driver(&args.listen.listen, &args.via, &identity, args.common.timeout, Some(trace))?,
        None => net::listen(&args.listen.listen, &identity, args.common.timeout, Some(trace))?,
    };
    let forwarded = if args.via.map_port { ForwardedPort::of(&driver, &mut report)? } else { None };
    announce(&driver, &identity, &args.listen, &mut report)?;
    let _announcements = args.nearby.then(|| nearby(&identity, &driver)).transpose()?;
    let report = RefCell::new(report.limited());
    let fresh = RefCell::new(Vec::new());
    let app = App::new(|event| match event {
        EchoEvent::Opened { session } => fresh.borrow_mut().push(session),
        EchoEvent::Finished { metadata, messages, bytes, .. } => {
            let metadata = shown(&String::from_utf8_lossy(&metadata));
            report.borrow_mut().either_of_far(
                || {
                    let line = Line::new("echoed").text("metadata", &metadata);
                    line.number("messages", messages).number("bytes", bytes)
                },
                || format!("flow `{metadata}`: {messages} messages, {bytes} bytes"),
            );
        }
        EchoEvent::Closed { .. } => {
            report
                .borrow_mut()
                .either_of_far(|| Line::new("closed").truth("complete", true), || "session closed".to_owned());
        }
    });
    let show_opened = |driver: &Driver| {
        for session in fresh.borrow_mut().drain(..) {
            let peer = driver.pump().endpoint().session(session).and_then(|s| s.path()).map(|path| path.remote);
            let post_quantum = is_post_quantum(driver, session);
            let fingerprint = far_fingerprint(driver, session);
            report.borrow_mut().opened(peer, fingerprint.as_deref(), post_quantum, None);
        }
    };
    let result = match &args.via.via {
        Some(server) => {
            let mut guest = args.via.guest(server, &args.common, &identity, &mut driver)?;
            let now = driver.pump().clock().now();
            guest.want_number(now, driver.pump_mut().endpoint_mut());
            let own = identity.fingerprint.map(|fingerprint| fingerprint.to_string());
            let mut meeting = Meeting::new(guest, app).with_port(forwarded);
            let told = meeting.told();
            net::run(&mut driver, &mut meeting, |driver| {
                show_opened(driver);
                via::show(&told, driver, own.as_deref(), &mut report.borrow_mut());
            })
        }
        None => {
            let mut app = app;
            net::run(&mut driver, &mut app, show_opened)
        }
    };
    conclude(&driver, &args.common, &mut report.borrow_mut());
    result
}

/// Lets programs in this network find this end.
fn nearby(identity: &Identity, driver: &Driver) -> Result<Vec<rtmfp_local::Announcement>, Failure> {
    let message = "--nearby needs a fingerprint, and a password leaves none: use the modern profile";
    let own = identity.fingerprint.ok_or_else(|| Failure::new(Code::Usage, message))?;
    nearby::announce(&own, driver)
}
