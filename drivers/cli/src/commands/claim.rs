//! `rtmfp receive` by a code

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::io::{self, IsTerminal as _};
use std::path::Path;

use rtmfp_core::profile::Fingerprint;
use rtmfp_core::profile::flash::Zeroizing;
use rtmfp_core::profile::modern;
use rtmfp_core::{Endpoint, SessionHandle};
use rtmfp_files::manifest::Manifest;
use rtmfp_files::proof::{ClaimFailure, Refusal};
use rtmfp_files::storage::Store;
use rtmfp_files::transfer::TransferEvent;
use rtmfp_files::{Secret, Shared};
use rtmfp_meet::PathKind;
use rtmfp_std::{Driver, Waker, system_rng};
use sha2::{Digest as _, Sha256};

use super::{conclude, offer};
use crate::args::Receive;
use crate::code::{Answers, Claiming, Decision, Finder, Found, Offer, Receiving, Wanted, far_of, refuse_in_arguments};
use crate::failure::{Code, Failure};
use crate::identity::{Identity, Part};
use crate::json::Line;
use crate::nearby::ForwardedPort;
use crate::report::Report;
use crate::resume::{Place, Saved};
use crate::store::{Directory, StandardOutput, StoreOptions, Texts};
use crate::text::shown_lines;
use crate::trace::TraceFile;
use crate::{net, output, settings, via};

/// How long a code may take to come from standard input that is no terminal, if there is an earlier transfer too.
const CODE_WAIT: Duration = Duration::from_secs(1);

pub(super) fn run(args: &Receive, report: Report, trace: &mut TraceFile) -> Result<(), Failure> {
    refuse_in_arguments(args.directory.as_os_str())?;
    let mut report = report.aside();
    let mut via = settings::meet(&args.meet)?;
    let place = place(args);
    let mut asking = Answers::of_user();
    let saved = earlier(args, place.as_ref(), &mut asking)?;
    if saved.is_none() && !args.yes && !asking.is_terminal() {
        // Later, the code would be spent for nothing.
        return Err(Failure::new(
            Code::Usage,
            "nobody can be asked whether to take what is offered: give --yes to take it",
        ));
    }
    if let (None, Some(server)) = (&via.via, saved.as_ref().and_then(|saved| saved.server.as_ref())) {
        via.via = server.parse().ok();
    }
    let own = match &saved {
        Some(saved) => saved.identity.clone(),
        None => modern::Identity::generate(&mut *system_rng()?),
    };
    let identity = Identity::transfer(&args.common, Part::Client, &own)?;
    let mut driver = via::driver(&[], &via, &identity, args.common.timeout, Some(trace))?;
    let forwarded = if via.map_port { ForwardedPort::of(&driver, &mut report)? } else { None };
    let server = via.via.as_ref();
    let guest = server.map(|server| via.guest(server, &args.common, &identity, &mut driver)).transpose()?;
    asking.wake_with(driver.waker());
    let (mut found, asking) = find(args, saved.as_ref(), asking, guest, &via, &mut driver, &mut report)?;

    let (clock, waker) = (*driver.pump().clock(), driver.waker());
    let report = RefCell::new(report);
    let opened = Cell::new(None);
    let kept_now = Cell::new(saved.is_some());
    let texts = RefCell::new(None);
    let secret = match (&saved, &found.code) {
        (Some(saved), _) => Secret::earlier(&saved.secret),
        (None, Some(code)) => Secret::from(&code.words),
        (None, None) => return Err(Failure::interrupted()),
    };
    // An earlier transfer is known by who is at its far end.
    let slot = found.code.as_ref().filter(|_| saved.is_none()).and_then(|code| code.slot);
    let begin = |endpoint: &Endpoint, session: SessionHandle, shared: Shared| {
        let human = if saved.is_some() { "the sender is back" } else { "the sender knows the code" };
        report.borrow_mut().either(|| Line::new("proved"), || human.to_owned());
        opened.set(Some(clock.now()));
        let kept = Kept {
            place: place.as_ref(),
            secret: saved.as_ref().map_or_else(|| shared.secret(b"resume"), |saved| saved.secret.clone()),
            far: far_of(endpoint, session),
            own: &own,
            server: via.via.as_ref().map(|server| server.text.clone()),
            kept: &kept_now,
        };
        let earlier = saved.as_ref().map(|saved| saved.root);
        let mut decide = Deciding { args, asking, earlier, kept, waker, shown: false };
        let (report, texts, opened) = (&report, &texts, &opened);
        Receiving::new(
            session,
            move |offer: Offer<'_>| decide.decide(&offer, &mut report.borrow_mut(), &mut texts.borrow_mut()),
            move |manifest: &Manifest, event| {
                if event == TransferEvent::Accepted {
                    // The user's time does not count.
                    opened.set(Some(clock.now()));
                }
                observe(&mut report.borrow_mut(), manifest, event);
            },
        )
    };
    let session = found.session;
    if found.is_local {
        via::path(&driver, session, PathKind::Lan, &mut report.borrow_mut());
    }
    let mut app = Claiming::new(session, secret, system_rng()?, begin).with_slot(slot);
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
    let failure = app.failure();
    let received = app.app().and_then(Receiving::outcome).cloned();
    drop(app);
    let mut report = report.into_inner();
    show_texts(texts.into_inner(), &mut report);
    if let (Some(at), Some(Ok(summary))) = (opened.get(), &received) {
        report.finished(summary, clock.now().saturating_duration_since(at));
    }
    conclude(&driver, &args.common, &mut report);
    let result = result.and_then(|()| match (failure, &received) {
        (Some(failure), _) => Err(not_proved(failure, saved.is_some())),
        (None, None) => Err(Failure::new(Code::Lost, "the sender is gone: try again")),
        (None, Some(ended)) => super::ended(ended, "the sender"),
    });
    let begun = place.as_ref().filter(|_| kept_now.get());
    super::settle(begun, received.as_ref(), result)
}

/// Where it is kept what an interruption needs. What goes to standard output goes once.
fn place(args: &Receive) -> Option<Place> {
    if args.directory == Path::new("-") {
        return None;
    }
    let directory = std::path::absolute(&args.directory).ok()?;
    Place::of("receive", &[directory.as_os_str().as_encoded_bytes()])
}

/// What was kept of a transfer into the same directory. A code that the user gives now counts more.
fn earlier(args: &Receive, place: Option<&Place>, asking: &mut Answers) -> Result<Option<Saved>, Failure> {
    let Some(place) = place else { return Ok(None) };
    if args.new {
        place.remove();
    }
    let saved = place.load()?;
    if saved.is_some() && asking.is_given(CODE_WAIT)? {
        output::complain(
            "rtmfp",
            "a code is given: the transfer into this directory that was interrupted is left alone",
        );
        return Ok(None);
    }
    Ok(saved)
}

/// Finds the far end of an earlier transfer, or whoever made the code.
fn find(
    args: &Receive,
    saved: Option<&Saved>,
    answers: Answers,
    guest: Option<rtmfp_meet::Guest>,
    via: &crate::args::Via,
    driver: &mut Driver,
    report: &mut Report,
) -> Result<(Found, Answers), Failure> {
    let timeout = args.common.timeout;
    let (wanted, aside) = match saved {
        Some(saved) => {
            let human = "going on with the transfer that was interrupted (--new begins anew, with another code)";
            report.either(|| Line::new("resuming"), || human.to_owned());
            (Wanted::Peer(saved.far), Some(answers))
        }
        None => (Wanted::Code(answers), None),
    };
    let mut finder = Finder::new(guest, via.policy(), wanted, timeout, driver);
    finder.run(driver)?;
    let mut found = finder.found(driver)?;
    let answers = aside.or_else(|| found.take_answers()).ok_or_else(Failure::interrupted)?;
    Ok((found, answers))
}

/// What is kept once the offer is accepted.
struct Kept<'a> {
    place: Option<&'a Place>,
    secret: Zeroizing<[u8; 32]>,
    far: Option<Fingerprint>,
    own: &'a modern::Identity,
    server: Option<String>,
    /// Whether it is kept by now.
    kept: &'a Cell<bool>,
}

/// Asks the user.
struct Deciding<'a> {
    args: &'a Receive,
    asking: Answers,
    /// The root of what was accepted before.
    earlier: Option<[u8; 32]>,
    kept: Kept<'a>,
    waker: Waker,
    shown: bool,
}

impl Deciding<'_> {
    fn decide(&mut self, offer: &Offer<'_>, report: &mut Report, texts: &mut Option<Texts>) -> Option<Decision> {
        if self.earlier == Some(offer.root) {
            return Some(self.accept(offer, texts));
        }
        if !self.shown {
            self.shown = true;
            report.offer(offer.manifest);
            show_names(self.args, offer.manifest);
        }
        if self.args.yes {
            return Some(self.accept(offer, texts));
        }
        if !self.asking.is_terminal() {
            // Only if what was accepted before has changed.
            output::complain("rtmfp", "nobody can be asked, so this is declined: give --yes to take it");
            return Some(Decision::Decline("nobody is there to accept it".to_owned()));
        }
        match self.asking.agrees("Take it? [y/N] ") {
            Ok(None) => None,
            Ok(Some(true)) => Some(self.accept(offer, texts)),
            Ok(Some(false)) | Err(_) => Some(Decision::Decline("its user does not want it".to_owned())),
        }
    }

    fn accept(&self, offer: &Offer<'_>, texts: &mut Option<Texts>) -> Decision {
        if self.args.directory == Path::new("-") {
            return Decision::Accept(Box::new(StandardOutput::default().waking(self.waker.clone())));
        }
        let options = StoreOptions {
            force: self.args.force,
            dot_names: self.args.dot_files,
            // Also if something else is offered now: what is the same of it is not sent again.
            resumed: self.earlier.is_some(),
            id: Sha256::new().chain_update("partial files").chain_update(&self.kept.secret[..]).finalize().into(),
            ..StoreOptions::default()
        };
        let store = match Directory::new(&self.args.directory, options) {
            Ok(store) => store,
            Err(e) => {
                output::complain("rtmfp", format_args!("{}: {e}", self.args.directory.display()));
                return Decision::Decline("it has no place for it".to_owned());
            }
        };
        *texts = Some(store.texts());
        let is_new = self.earlier != Some(offer.root);
        if let (Some(place), Some(far), true) = (self.kept.place, self.kept.far, is_new) {
            let Kept { secret, own, server, .. } = &self.kept;
            let (secret, server) = (secret.clone(), server.clone());
            offer::keep(place, &Saved { secret, far, identity: (*own).clone(), root: offer.root, server });
            self.kept.kept.set(true);
        }
        let store: Box<dyn Store> = Box::new(store);
        Decision::Accept(store)
    }
}

/// Says which names are refused or changed, before the user decides.
fn show_names(args: &Receive, manifest: &Manifest) {
    let options = StoreOptions { dot_names: args.dot_files, ..StoreOptions::default() };
    let Ok(store) = Directory::new(&args.directory, options) else { return };
    let names = store.names(manifest);
    let path = |index: usize| manifest.entries.get(index).map(|entry| crate::text::shown(&entry.path).to_string());
    for (index, refusal) in names.refused().take(10) {
        output::complain("rtmfp", format_args!("refused: {}: {refusal}", path(index).unwrap_or_default()));
    }
    for (index, name) in names.renamed().take(10) {
        let name = crate::text::shown(name);
        output::complain("rtmfp", format_args!("renamed: {} becomes {name}", path(index).unwrap_or_default()));
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
            report.entry(&entry.path, offer::size(&entry.kind), hash.as_ref(), &verdict);
        }
        TransferEvent::Warned { index, error } => {
            let path = manifest.entries.get(index).map_or("", |entry| entry.path.as_str());
            report.either_of_far(
                || Line::new("warning").text("name", path).text("text", &error.text),
                || format!("{path}: arrived, but: {}", error.text),
            );
        }
        TransferEvent::Offered { .. } | _ => {}
    }
}

/// Texts are what the user has asked for, and go to standard output.
fn show_texts(texts: Option<Texts>, report: &mut Report) {
    for text in texts.iter().flat_map(Texts::take) {
        let shown = if io::stdout().is_terminal() { shown_lines(&text) } else { text };
        report.text(&shown);
    }
}

/// Why the code was not proved, and what to do.
#[expect(clippy::wildcard_enum_match_arm, reason = "the others tell enough themselves")]
fn not_proved(failure: ClaimFailure, resumed: bool) -> Failure {
    if resumed {
        return Failure::new(Code::Lost, format!("{failure}: try again, or begin anew with --new"));
    }
    match failure {
        ClaimFailure::Refused { why: Refusal::Wrong, spent: true } => Failure::new(
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_burnt_only_by_a_guess_that_was_sent() {
        let refused = |spent| not_proved(ClaimFailure::Refused { why: Refusal::Wrong, spent }, false);
        assert_eq!(refused(true).code, Code::WrongCode);
        assert_eq!(refused(false).code, Code::Lost);
    }
}
