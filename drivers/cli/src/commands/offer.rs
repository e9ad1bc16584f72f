//! `rtmfp send` to whoever is told a code

use core::cell::{Cell, RefCell};

use rtmfp_core::SessionHandle;
use rtmfp_core::rand_core::Rng as _;
use rtmfp_files::{Code as Words, Secret, Words as Chosen};
use rtmfp_local::Announcement;
use rtmfp_meet::GuestEvent;
use rtmfp_std::{Driver, system_rng};

use super::conclude;
use super::send::open_all;
use crate::args::{Send, Via};
use crate::code::{NotUsed, Offering, topic};
use crate::failure::{Code, Failure};
use crate::identity::{Identity, Part};
use crate::json::Line;
use crate::nearby::{ForwardedPort, announce_topic};
use crate::report::Report;
use crate::trace::TraceFile;
use crate::transfer::{SendFailure, Sender, SenderEvent};
use crate::via::{self, Meeting, Told};
use crate::{net, settings};

/// Numbers in one network have as many digits as those that a server gives.
const NUMBERS: core::ops::Range<u64> = 1_000..10_000;

pub(super) fn run(args: &Send, report: Report, trace: &mut TraceFile) -> Result<(), Failure> {
    let mut report = report.aside();
    let (files, bytes) = open_all(&args.paths)?;
    let via = settings::meet(&args.meet)?;
    let identity = Identity::transfer(&args.common, Part::Server { lasting: false, listen: None })?;
    let mut driver = via::driver(&[], &via, &identity, args.common.timeout, Some(trace))?;
    let forwarded = if via.map_port { ForwardedPort::of(&driver, &mut report)? } else { None };
    let mut rng = system_rng()?;
    let words = Chosen::random(args.words.into(), &mut rng);
    let secret = Secret::from(&words);

    let clock = *driver.pump().clock();
    let report = RefCell::new(report);
    let opened = Cell::new(None);
    let begin = |session: SessionHandle, _shared| {
        report.borrow_mut().either(|| Line::new("proved"), || "the receiver knows the code".to_owned());
        report.borrow_mut().expect(bytes);
        opened.set(Some(clock.now()));
        let report = &report;
        Sender::new(session, files, args.parallel.into(), move |event| {
            let mut report = report.borrow_mut();
            match event {
                SenderEvent::Opened { .. } | SenderEvent::Begun { .. } => {}
                SenderEvent::Progress { bytes } => report.progress(bytes),
                SenderEvent::Finished { name, size, hash, verdict } => {
                    report.file(name, size, hash.as_ref().map(|hash| &hash[..]), verdict);
                }
            }
        })
    };
    let app = Offering::new(secret, system_rng()?, clock.now() + args.expire, begin);
    let mut code = Announced { via: &via, words, announcements: Vec::new() };
    let (result, app) = match &via.via {
        Some(server) => {
            let mut guest = via.guest(server, &args.common, &identity, &mut driver)?;
            let now = driver.pump().clock().now();
            guest.want_number(now, driver.pump_mut().endpoint_mut());
            let mut meeting = Meeting::new(guest, app).with_port(forwarded);
            let told = meeting.told();
            let mut refused = None;
            let result = net::run(&mut driver, &mut meeting, |driver| {
                refused = refused.take().or_else(|| code.take_number(&told, driver, &mut report.borrow_mut()));
                via::show(&told, driver, None, &mut report.borrow_mut());
            });
            (result, meeting.into_app())
        }
        None => {
            let number = NUMBERS.start + rng.next_u64() % (NUMBERS.end - NUMBERS.start);
            code.show(number, &driver, &mut report.borrow_mut())?;
            let mut app = app;
            let result = net::run(&mut driver, &mut app, |_| {});
            (result, app)
        }
    };
    drop(code);
    let not_used = app.not_used();
    let sent = app.app().map(|sender| (sender.verified(), sender.failed(), sender.failure()));
    drop(app);
    if let (Some(at), Some((verified, failed, _))) = (opened.get(), sent) {
        report.borrow_mut().transferred(verified, failed, clock.now().saturating_duration_since(at));
    }
    conclude(&driver, &args.common, &mut report.borrow_mut());
    result?;
    outcome(not_used, sent)
}

/// A code, where it is announced.
struct Announced<'a> {
    via: &'a Via,
    words: Chosen,
    announcements: Vec<Announcement>,
}

impl Announced<'_> {
    /// Shows the code with this number, and announces the number in this host's networks.
    fn show(&mut self, number: u64, driver: &Driver, report: &mut Report) -> Result<(), Failure> {
        let has_server = self.via.via.is_some();
        if self.via.policy().is_direct() {
            match announce_topic(&topic(number), driver) {
                Ok(announcements) => self.announcements = announcements,
                Err(e) if !has_server => return Err(Failure::local("this network", e)),
                // The server leads here too.
                Err(_) => {}
            }
        }
        let code = Words { number, words: self.words.clone() };
        report.code(&code.to_string());
        Ok(())
    }

    /// Shows the code whenever the server gives a number.
    fn take_number(&mut self, told: &RefCell<Vec<Told>>, driver: &Driver, report: &mut Report) -> Option<Failure> {
        let numbers: Vec<u64> = told
            .borrow()
            .iter()
            .filter_map(|told| match told {
                Told::Guest(GuestEvent::Number { number, .. }) => Some(*number),
                Told::Guest(_) | Told::Path(..) | Told::Port(_) => None,
            })
            .collect();
        numbers.into_iter().find_map(|number| self.show(number, driver, report).err())
    }
}

fn outcome(not_used: Option<NotUsed>, sent: Option<(u64, u64, Option<SendFailure>)>) -> Result<(), Failure> {
    match (not_used, sent) {
        (Some(NotUsed::Burnt), _) => Err(Failure::new(
            Code::Burnt,
            "somebody has tried a wrong code, so this one is burnt: if that was the receiver's mistake, run the same \
             command again, and tell the new code",
        )),
        (Some(NotUsed::Expired), _) => Err(Failure::new(
            Code::Expired,
            "nobody has used the code in time: run the same command again for a new one",
        )),
        (None, None) => Err(Failure::interrupted()),
        (None, Some((_, _, Some(SendFailure::Lost(reason))))) => Err(Failure::lost(reason, "the receiver")),
        (None, Some((_, _, Some(failure)))) => Err(Failure::new(Code::Lost, failure.to_string())),
        (None, Some((verified, failed, None))) if failed > 0 => {
            Err(Failure::new(Code::Files, format!("{failed} of {} files failed, see above", failed + verified)))
        }
        (None, Some(_)) => Ok(()),
    }
}
