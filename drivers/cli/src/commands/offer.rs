//! `rtmfp send` to those who are told a code

use core::cell::{Cell, RefCell};
use core::num::NonZeroU8;
use std::path::Path;

use rtmfp_core::profile::modern;
use rtmfp_core::rand_core::Rng as _;
use rtmfp_core::{Endpoint, Instant, SessionHandle};
use rtmfp_files::manifest::{EntryKind, Manifest};
use rtmfp_files::proof::Maker;
use rtmfp_files::transfer::{self, Sender, SenderOptions, Summary, TransferEvent};
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

pub(super) fn run(args: &Send, report: Report, trace: &mut TraceFile) -> Result<(), Failure> {
    let mut report = report.aside();
    let tree = tree(args)?;
    report.skipped(tree.skipped());
    let skipped = tree.skipped().len();
    let root = tree.manifest().root().map_err(|e| Failure::local("this cannot be sent", e))?;
    let mut via = settings::meet(&args.meet)?;
    let mut slots = slots(args, &root)?;
    let first = slots.iter().find_map(|slot| slot.saved.clone());
    if let (None, Some(server)) = (&via.via, first.as_ref().and_then(|saved| saved.server.as_ref())) {
        via.via = server.parse().ok();
    }
    let is_resumed = first.is_some();
    let own = match first {
        Some(saved) => saved.identity,
        None => modern::Identity::generate(&mut *system_rng()?),
    };
    if is_resumed {
        // The others are done, or nobody has come for them.
        let is_own = |saved: &Saved| saved.identity.peer_id() == own.peer_id();
        slots.retain(|slot| slot.saved.as_ref().is_some_and(is_own));
    }
    let identity = Identity::transfer(&args.common, Part::Server { lasting: false, listen: None }, &own)?;
    let mut driver = via::driver(&[], &via, &identity, args.common.timeout, Some(trace))?;
    let forwarded = if via.map_port { ForwardedPort::of(&driver, &mut report)? } else { None };
    report.offer(tree.manifest());

    let tree = tree.waking(driver.waker());
    let clock = *driver.pump().clock();
    let report = RefCell::new(report);
    let manifest = tree.manifest().clone();
    let server = via.via.as_ref().map(|server| server.text.clone());
    let begin = |place: usize, endpoint: &Endpoint, session: SessionHandle, shared: Shared| {
        let slot = slots.get(place)?;
        let human = if is_resumed { "the receiver is back" } else { "the receiver knows the code" };
        let line =
            || slot.number.iter().fold(Line::new("proved"), |line, slot| line.number("receiver", slot.get().into()));
        report.borrow_mut().either(line, || format!("{}{human}", slot.prefix()));
        slot.opened.set(Some(clock.now()));
        let earlier = slot.saved.as_ref();
        let secret = earlier.map_or_else(|| shared.secret(b"resume"), |saved| saved.secret.clone());
        let pending = far_of(endpoint, session).map(|far| {
            let saved = Saved { secret, far, identity: own.clone(), root, server: server.clone() };
            Keeping { place: slot.place.as_ref(), saved, kept: &slot.kept }
        });
        let mut pending = pending.filter(|_| earlier.is_none_or(|saved| saved.root != root));
        let mut options = SenderOptions::default();
        let rate = args.limit.or(args.max_rate.map(|kibibytes| kibibytes << 10));
        options.rate = rate.map(|rate| (rate / slots.len().max(1) as u64).max(1));
        options.unasked = !is_resumed;
        // It was encoded before, for its root.
        let sender = Sender::new(session, manifest.clone(), Box::new(tree.clone()), options).ok()?;
        let (report, manifest) = (&report, &manifest);
        Some(Sending::new(session, sender, move |event| {
            pending = pending.take().and_then(|keeping| keeping.on(&event));
            observe(&mut report.borrow_mut(), manifest, slot, clock.now(), event);
        }))
    };
    let mut app = Offering::new(clock.now() + args.expire, begin);
    for slot in &slots {
        let (secret, number) = match &slot.saved {
            Some(saved) => (Secret::earlier(&saved.secret), None),
            None => (Secret::from(&slot.words), slot.number),
        };
        let far = slot.saved.as_ref().map(|saved| saved.far);
        app.add(Maker::new(secret, system_rng()?).with_slot(number), far);
    }
    let shown = if is_resumed { &[][..] } else { &slots };
    let mut code = Announced { args, via: &via, slots: shown, announcements: Vec::new() };
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
            if !is_resumed {
                // The number of the code is the server's.
                meeting = meeting.that_needs_server();
            }
            let told = meeting.told();
            let mut failed = None;
            let result = net::run(&mut driver, &mut meeting, |driver| {
                failed = failed.take().or_else(|| code.take_number(&told, driver, &mut report.borrow_mut()));
                via::show(&told, driver, None, &mut report.borrow_mut());
            });
            let unreached = meeting.server_failure().map(|step| {
                Failure::new(Code::NotOpened, format!("no code without the server {}: {step}", server.text))
            });
            (result.and(failed.or(unreached).map_or(Ok(()), Err)), meeting.into_app())
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
    let outcomes: Vec<_> = app.outcomes().map(|(app, why)| (app.and_then(Sending::outcome).cloned(), why)).collect();
    drop(app);
    conclude(&driver, &args.common, &mut report.borrow_mut());
    settle_all(&slots, &outcomes, &result).and_then(|()| all_offered(skipped))
}

/// How a transfer has ended, and why it has not begun.
type Outcome = (Option<Result<Summary, transfer::Failure>>, Option<NotUsed>);

/// One receiver's part.
struct Slot {
    /// Which of several.
    number: Option<NonZeroU8>,
    words: Words,
    /// Where it is kept what an interruption needs.
    place: Option<Place>,
    /// What was kept of an earlier attempt.
    saved: Option<Saved>,
    /// Since when the receiver is there.
    opened: Cell<Option<Instant>>,
    /// Whether anything is kept by now.
    kept: Cell<bool>,
}

impl Slot {
    /// What stands before lines about one of several.
    fn prefix(&self) -> String {
        self.number.map_or_else(String::new, |number| format!("receiver {number}: "))
    }
}

/// One for each receiver.
fn slots(args: &Send, root: &[u8; 32]) -> Result<Vec<Slot>, Failure> {
    if args.receivers > 1 && args.paths.iter().any(|path| path == Path::new("-")) {
        return Err(Failure::new(Code::Usage, "standard input can be read once, so there can be one receiver of it"));
    }
    let is_one = args.receivers == 1;
    let numbers = (1..=args.receivers).map(|number| NonZeroU8::new(number).filter(|_| !is_one));
    let slot = |number| {
        let place = place(args, number);
        let saved = earlier(args, place.as_ref(), root)?;
        let words = Words::random(args.words.into(), &mut system_rng()?);
        let kept = Cell::new(saved.is_some());
        Ok(Slot { number, words, place, saved, opened: Cell::new(None), kept })
    };
    numbers.map(slot).collect()
}

/// Forgets what is over, and says what has failed. The first failure is that of the command.
fn settle_all(slots: &[Slot], outcomes: &[Outcome], result: &Result<(), Failure>) -> Result<(), Failure> {
    let mut all = Ok(());
    for (slot, (sent, not_used)) in slots.iter().zip(outcomes) {
        let one = result.clone().and_then(|()| outcome(*not_used, sent.as_ref()));
        let begun = slot.place.as_ref().filter(|_| slot.kept.get());
        let one = super::settle(begun, sent.as_ref(), one);
        let one = one.map_err(|failure| Failure::new(failure.code, format!("{}{failure}", slot.prefix())));
        match (&all, one) {
            (Ok(()), one) => all = one,
            // An interruption is that of all, and told once.
            (Err(_), Err(other)) if result.is_ok() => output::complain("rtmfp", other),
            (Err(_), Ok(()) | Err(_)) => {}
        }
    }
    all
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
    Ok(tree)
}

/// Where it is kept what an interruption needs. What comes from standard input comes once.
fn place(args: &Send, slot: Option<NonZeroU8>) -> Option<Place> {
    if args.paths.iter().chain(&args.files_from).any(|path| path == Path::new("-")) {
        return None;
    }
    let mut about: Vec<Vec<u8>> = vec![args.text.clone().unwrap_or_default().into_bytes()];
    about.extend(args.exclude.iter().map(|pattern| pattern.clone().into_bytes()));
    for path in args.paths.iter().chain(&args.files_from) {
        about.push(std::path::absolute(path).ok()?.into_os_string().into_encoded_bytes());
    }
    // No path is as short.
    about.extend(slot.map(|slot| vec![slot.get()]));
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
            "what is there has changed since the transfer that was interrupted: the receiver is asked again",
        );
    }
    Ok(saved)
}

/// What is kept as soon as the receiver has accepted, which keeps it too then: not before, or one end alone would go on.
struct Keeping<'a> {
    place: Option<&'a Place>,
    saved: Saved,
    kept: &'a Cell<bool>,
}

impl Keeping<'_> {
    fn on(self, event: &TransferEvent) -> Option<Self> {
        if *event != TransferEvent::Accepted {
            return Some(self);
        }
        if let Some(place) = self.place {
            keep(place, &self.saved);
            self.kept.set(true);
        }
        None
    }
}

pub(super) fn keep(place: &Place, saved: &Saved) {
    if let Err(e) = place.save(saved) {
        output::complain("rtmfp", format_args!("an interruption will need a new code, as nothing can be kept: {e}"));
    }
}

fn observe(report: &mut Report, manifest: &Manifest, slot: &Slot, now: Instant, event: TransferEvent) {
    match event {
        TransferEvent::Accepted if slot.number.is_some() => report.expect(manifest.totals().bytes),
        TransferEvent::Accepted => report.transferring(manifest.totals().bytes),
        TransferEvent::Hashing { .. } if slot.number.is_some() => {}
        TransferEvent::Hashing { bytes } => report.hashing(bytes),
        TransferEvent::Begun { from: bytes, .. } => report.progress(bytes),
        TransferEvent::Progress { bytes } => report.moved(bytes),
        TransferEvent::Finished { index, verdict, hash } => {
            let Some(entry) = manifest.entries.get(index) else { return };
            report.entry_of(slot.number, &entry.path, size(&entry.kind), hash.as_ref(), &verdict);
        }
        TransferEvent::Ended(outcome) => {
            report.moved_all();
            if let Ok(summary) = outcome {
                let took = slot.opened.get().map(|at| now.saturating_duration_since(at)).unwrap_or_default();
                report.finished_of(slot.number, &summary, took);
            }
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

/// Codes, where they are announced.
struct Announced<'a> {
    args: &'a Send,
    via: &'a Via,
    /// None if the receiver needs no code.
    slots: &'a [Slot],
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

    /// Shows the codes with this number, and announces the number in this host's networks.
    fn show(&mut self, number: u64, driver: &Driver, report: &mut Report) -> Result<(), Failure> {
        if self.slots.is_empty() {
            return Ok(());
        }
        self.announce(&topic(number), driver)?;
        for slot in self.slots {
            let code = Shown { number, slot: slot.number, words: slot.words.clone() }.to_string();
            if self.args.qr {
                output::status(&qr::half_blocks(&code));
            }
            report.code(&code);
        }
        let server = self.via.via.as_ref().map_or_else(String::new, |server| format!(" --via {}", server.text));
        let place = if server.is_empty() { ", in this network" } else { "" };
        let until = self.args.expire;
        report.either(
            || Line::new("waiting").seconds("seconds", until),
            || {
                format!(
                    "at the other end{place}: rtmfp receive{server}, and then the code; in {} s it expires",
                    until.as_secs()
                )
            },
        );
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

/// What was left out was not sent, even if all else was.
fn all_offered(skipped: usize) -> Result<(), Failure> {
    if skipped == 0 {
        return Ok(());
    }
    Err(Failure::new(Code::Files, format!("{skipped} could not be read or sent, and were left out, see above")))
}

/// Whether it can go on another time. What the receiver has of it is found again only by what is kept.
pub(super) const fn is_resumable(ended: Option<&Result<Summary, transfer::Failure>>) -> bool {
    !matches!(ended, Some(Ok(_) | Err(transfer::Failure::Declined(_))))
}

#[cfg(test)]
mod tests {
    use rtmfp_core::profile::Fingerprint;
    use rtmfp_core::profile::flash::Zeroizing;

    use super::*;

    #[test]
    fn nothing_is_kept_before_the_receiver_has_accepted() {
        let scratch = crate::scratch::Scratch::new("keeping");
        let place = Place::at(scratch.path("transfers/one"));
        let identity = modern::Identity::from_bytes(&[3; 32]).unwrap();
        let (secret, far) = (Zeroizing::new([1; 32]), Fingerprint([2; 32]));
        let kept = Cell::new(false);
        let saved = Saved { secret, far, identity, root: [4; 32], server: None };
        let keeping = Keeping { place: Some(&place), saved, kept: &kept };
        let keeping = keeping.on(&TransferEvent::Hashing { bytes: 1 });
        assert!(!kept.get() && place.load().unwrap().is_none());
        assert!(keeping.unwrap().on(&TransferEvent::Accepted).is_none());
        assert!(kept.get() && place.load().unwrap().is_some());
    }

    #[test]
    fn a_fault_leaves_what_was_received_to_be_found_again() {
        use transfer::{Failure, StopCode};
        for failure in [Failure::NoFlow, Failure::Rejected(1), Failure::Stopped(StopCode::Fault, String::new())] {
            assert!(is_resumable(Some(&Err(failure))));
        }
        assert!(!is_resumable(Some(&Err(Failure::Declined(String::new())))));
    }

    #[test]
    fn what_was_left_out_is_no_success() {
        assert_eq!(all_offered(0), Ok(()));
        let failure = all_offered(2).unwrap_err();
        assert_eq!(failure.code, Code::Files);
        assert!(failure.message.starts_with("2 could not"));
    }
}
