//! `rtmfp send` to whoever is told a code

use core::cell::{Cell, RefCell};
use std::path::Path;

use rtmfp_core::profile::modern;
use rtmfp_core::rand_core::Rng as _;
use rtmfp_core::{Endpoint, SessionHandle};
use rtmfp_files::manifest::{EntryKind, Manifest};
use rtmfp_files::transfer::{self, Sender, SenderOptions, StopCode, Summary, TransferEvent};
use rtmfp_files::{Code as Shown, Secret, Shared, Words};
use rtmfp_local::Announcement;
use rtmfp_meet::GuestEvent;
use rtmfp_std::{Driver, system_rng};

use super::conclude;
use crate::args::{Send, Via};
use crate::code::{NotUsed, Offering, Sending, far_of, topic};
use crate::failure::{Code, Failure};
use crate::identity::{Identity, Part};
use crate::json::Line;
use crate::nearby::{ForwardedPort, announce_topic};
use crate::report::Report;
use crate::resume::{Place, Saved};
use crate::trace::TraceFile;
use crate::tree::{PathList, Tree, TreeOptions};
use crate::via::{self, Meeting, Told};
use crate::{net, output, qr, settings};

/// Numbers in one network have as many digits as those that a server gives.
const NUMBERS: core::ops::Range<u64> = 1_000..10_000;
/// Paths that cannot be sent and are shown.
const SHOWN: usize = 20;

pub(super) fn run(args: &Send, report: Report, trace: &mut TraceFile) -> Result<(), Failure> {
    let mut report = report.aside();
    let tree = tree(args)?;
    let root = tree.manifest().root().map_err(|e| Failure::local("this cannot be sent", e))?;
    let mut via = settings::meet(&args.meet)?;
    let place = place(args);
    let saved = earlier(args, place.as_ref(), &root)?;
    if let (None, Some(server)) = (&via.via, saved.as_ref().and_then(|saved| saved.server.as_ref())) {
        via.via = server.parse().ok();
    }
    let own = match &saved {
        Some(saved) => saved.identity.clone(),
        None => modern::Identity::generate(&mut *system_rng()?),
    };
    let identity = Identity::transfer(&args.common, Part::Server { lasting: false, listen: None }, &own)?;
    let mut driver = via::driver(&[], &via, &identity, args.common.timeout, Some(trace))?;
    let forwarded = if via.map_port { ForwardedPort::of(&driver, &mut report)? } else { None };
    report.offer(tree.manifest());

    let words = Words::random(args.words.into(), &mut system_rng()?);
    let secret = saved.as_ref().map_or_else(|| Secret::from(&words), |saved| Secret::earlier(&saved.secret));
    let clock = *driver.pump().clock();
    let report = RefCell::new(report);
    let opened = Cell::new(None);
    let manifest = tree.manifest().clone();
    let is_resumed = saved.is_some();
    let server = via.via.as_ref().map(|server| server.text.clone());
    let begin = |endpoint: &Endpoint, session: SessionHandle, shared: Shared| {
        let human = if is_resumed { "the receiver is back" } else { "the receiver knows the code" };
        report.borrow_mut().either(|| Line::new("proved"), || human.to_owned());
        opened.set(Some(clock.now()));
        if let (Some(place), Some(far), false) = (&place, far_of(endpoint, session), is_resumed) {
            let secret = shared.secret(b"resume");
            keep(place, &Saved { secret, far, identity: own.clone(), root, server: server.clone() });
        }
        let mut options = SenderOptions::default();
        options.rate = args.limit.or(args.max_rate.map(|kibibytes| kibibytes << 10));
        options.unasked = !is_resumed;
        // It was encoded before, for its root.
        let sender = Sender::new(session, manifest.clone(), Box::new(tree), options).ok()?;
        let (report, manifest) = (&report, &manifest);
        Some(Sending::new(session, sender, move |event| observe(&mut report.borrow_mut(), manifest, event)))
    };
    let far = saved.as_ref().map(|saved| saved.far);
    let app = Offering::new(secret, system_rng()?, clock.now() + args.expire, begin).only(far);
    let mut code = Announced { args, via: &via, words: saved.is_none().then_some(words), announcements: Vec::new() };
    if is_resumed {
        let fingerprint = own.peer_id();
        code.announce(fingerprint.as_bytes(), &driver)?;
        let human = "going on with the transfer that was interrupted: run the same command at the receiver (--new begins \
                     anew, with another code)";
        report.borrow_mut().either(|| Line::new("resuming"), || human.to_owned());
    }
    let (result, app) = match &via.via {
        Some(server) => {
            let mut guest = via.guest(server, &args.common, &identity, &mut driver)?;
            if !is_resumed {
                let now = driver.pump().clock().now();
                guest.want_number(now, driver.pump_mut().endpoint_mut());
            }
            let mut meeting = Meeting::new(guest, app).with_port(forwarded);
            let told = meeting.told();
            let mut failed = None;
            let result = net::run(&mut driver, &mut meeting, |driver| {
                failed = failed.take().or_else(|| code.take_number(&told, driver, &mut report.borrow_mut()));
                via::show(&told, driver, None, &mut report.borrow_mut());
            });
            (result.and(failed.map_or(Ok(()), Err)), meeting.into_app())
        }
        None => {
            if !is_resumed {
                let number = NUMBERS.start + system_rng()?.next_u64() % (NUMBERS.end - NUMBERS.start);
                code.show(number, &driver, &mut report.borrow_mut())?;
            }
            let mut app = app;
            let result = net::run(&mut driver, &mut app, |_| {});
            (result, app)
        }
    };
    drop(code);
    let not_used = app.not_used();
    let sent = app.app().and_then(Sending::outcome).cloned();
    drop(app);
    let mut report = report.into_inner();
    if let (Some(at), Some(Ok(summary))) = (opened.get(), &sent) {
        report.finished(summary, clock.now().saturating_duration_since(at));
    }
    conclude(&driver, &args.common, &mut report);
    let result = result.and_then(|()| outcome(not_used, sent.as_ref()));
    let begun = place.as_ref().filter(|_| opened.get().is_some() || is_resumed);
    super::settle(begun, sent.as_ref(), result)
}

/// What is offered.
fn tree(args: &Send) -> Result<Tree, Failure> {
    let options = TreeOptions {
        paths: args.paths.clone(),
        list: args.files_from.clone().map(|path| PathList { path, nul: false }),
        exclude: args.exclude.clone(),
        text: args.text.clone(),
        stdin_name: None,
    };
    let tree = Tree::new(&options).map_err(|e| {
        let is_missing = args.paths.last().is_some_and(|path| path != Path::new("-") && !path.exists());
        let advice = if is_missing { " (a receiver at an address begins with rtmfp://)" } else { "" };
        Failure::new(Code::Local, format!("{e}{advice}"))
    })?;
    for skipped in tree.skipped().iter().take(SHOWN) {
        output::complain("rtmfp", format_args!("left out: {}: {}", skipped.path.display(), skipped.why));
    }
    if let Some(more) = tree.skipped().len().checked_sub(SHOWN).filter(|more| *more > 0) {
        output::complain("rtmfp", format_args!("and {more} more are left out"));
    }
    Ok(tree)
}

/// Where it is kept what an interruption needs. What comes from standard input comes once.
fn place(args: &Send) -> Option<Place> {
    if args.paths.iter().chain(&args.files_from).any(|path| path == Path::new("-")) {
        return None;
    }
    let mut about: Vec<Vec<u8>> = vec![args.text.clone().unwrap_or_default().into_bytes()];
    about.extend(args.exclude.iter().map(|pattern| pattern.clone().into_bytes()));
    for path in args.paths.iter().chain(&args.files_from) {
        about.push(std::path::absolute(path).ok()?.into_os_string().into_encoded_bytes());
    }
    Place::of("send", &about.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// What was kept of an earlier attempt at the same.
fn earlier(args: &Send, place: Option<&Place>, root: &[u8; 32]) -> Result<Option<Saved>, Failure> {
    let Some(place) = place else { return Ok(None) };
    if args.new {
        place.remove();
    }
    let saved = place.load()?;
    if saved.as_ref().is_some_and(|saved| saved.root != *root) {
        output::complain(
            "rtmfp",
            "what is there has changed since the transfer that was interrupted: this is a new one",
        );
        place.remove();
        return Ok(None);
    }
    Ok(saved)
}

pub(super) fn keep(place: &Place, saved: &Saved) {
    if let Err(e) = place.save(saved) {
        output::complain("rtmfp", format_args!("an interruption will need a new code, as nothing can be kept: {e}"));
    }
}

fn observe(report: &mut Report, manifest: &Manifest, event: TransferEvent) {
    match event {
        TransferEvent::Accepted => report.transferring(manifest.totals().bytes),
        TransferEvent::Hashing { bytes } => report.hashing(bytes),
        TransferEvent::Begun { from: bytes, .. } => report.progress(bytes),
        TransferEvent::Progress { bytes } => report.moved(bytes),
        TransferEvent::Ended(_) => report.moved_all(),
        TransferEvent::Finished { index, verdict, hash } => {
            let Some(entry) = manifest.entries.get(index) else { return };
            report.entry(&entry.path, size(&entry.kind), hash.as_ref(), &verdict);
        }
        TransferEvent::Offered { .. } | _ => {}
    }
}

/// Bytes of an entry, as far as they are known.
pub(super) fn size(kind: &EntryKind) -> u64 {
    match kind {
        EntryKind::File { size: Some(size) } | EntryKind::Text { size } => *size,
        EntryKind::File { size: None } | EntryKind::Directory | EntryKind::Symlink { .. } | _ => 0,
    }
}

/// A code, where it is announced.
struct Announced<'a> {
    args: &'a Send,
    via: &'a Via,
    /// `None` if the receiver needs no code.
    words: Option<Words>,
    announcements: Vec<Announcement>,
}

impl Announced<'_> {
    fn announce(&mut self, topic: &[u8], driver: &Driver) -> Result<(), Failure> {
        if self.via.policy().is_direct() {
            match announce_topic(topic, driver) {
                Ok(announcements) => self.announcements = announcements,
                Err(e) if self.via.via.is_none() => return Err(Failure::local("this network", e)),
                // The server leads here too.
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Shows the code with this number, and announces the number in this host's networks.
    fn show(&mut self, number: u64, driver: &Driver, report: &mut Report) -> Result<(), Failure> {
        let Some(words) = self.words.clone() else { return Ok(()) };
        self.announce(&topic(number), driver)?;
        let code = Shown { number, words }.to_string();
        if self.args.qr {
            output::status(&qr::half_blocks(&code));
        }
        report.code(&code);
        Ok(())
    }

    /// Shows the code whenever the server gives a number.
    fn take_number(&mut self, told: &RefCell<Vec<Told>>, driver: &Driver, report: &mut Report) -> Option<Failure> {
        let number = |told: &Told| match told {
            Told::Guest(GuestEvent::Number { number, .. }) => Some(*number),
            Told::Guest(_) | Told::Path(..) | Told::Port(_) => None,
        };
        let numbers: Vec<u64> = told.borrow().iter().filter_map(number).collect();
        // It is shown here, with its words.
        told.borrow_mut().retain(|told| number(told).is_none());
        numbers.into_iter().find_map(|number| self.show(number, driver, report).err())
    }
}

fn outcome(not_used: Option<NotUsed>, sent: Option<&Result<Summary, transfer::Failure>>) -> Result<(), Failure> {
    match (not_used, sent) {
        (Some(NotUsed::Burnt), _) => Err(Failure::new(
            Code::Burnt,
            "somebody has tried a wrong code, so this one is burnt: if that was the receiver's mistake, run the same \
             command again, and tell the new code",
        )),
        (Some(NotUsed::Expired), _) => {
            Err(Failure::new(Code::Expired, "nobody has come in time: run the same command again"))
        }
        (None, None) => Err(Failure::new(Code::Lost, "the receiver is gone: try again")),
        (None, Some(ended)) => super::ended(ended, "the receiver"),
    }
}

/// Whether it can go on another time.
pub(super) const fn is_resumable(ended: Option<&Result<Summary, transfer::Failure>>) -> bool {
    match ended {
        None => true,
        Some(Ok(_)) => false,
        Some(Err(failure)) => matches!(
            failure,
            transfer::Failure::Lost(_)
                | transfer::Failure::Cancelled
                | transfer::Failure::Storage(_)
                | transfer::Failure::Stopped(StopCode::Full | StopCode::Cancelled | StopCode::Storage, _)
        ),
    }
}
