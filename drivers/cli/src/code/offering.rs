//! The end that made codes, and waits for those who were told them.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;

use rtmfp_core::profile::Fingerprint;
use rtmfp_core::{App, CloseMode, Endpoint, Event, Instant, SessionHandle};
use rtmfp_files::Shared;
use rtmfp_files::proof::{Made, Maker};

use super::{far_of, session_of};
use crate::transfer::NOT_FILES;

/// Sessions that wait to prove something.
const WAITING: usize = 32;
/// How long one of them may wait before it is closed.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the far end has to hear why nothing comes of it.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why nobody has used a code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotUsed {
    /// Somebody has guessed, wrongly.
    Burnt,
    /// Nobody came in time.
    Expired,
}

/// One secret, for one who knows it.
struct One<A> {
    maker: Maker,
    app: Option<A>,
    proved: Option<SessionHandle>,
    /// Nobody else is listened to.
    only: Option<Fingerprint>,
    ended: Option<End>,
    done: bool,
}

/// Why nobody uses a secret any more.
#[derive(Clone, Copy)]
struct End {
    why: NotUsed,
    /// Whose guess it was.
    who: Option<SessionHandle>,
    /// How long they have to hear of it.
    until: Instant,
}

impl<A: App> One<A> {
    fn end(&mut self, now: Instant, why: NotUsed, who: Option<SessionHandle>) {
        if self.ended.is_none() && self.proved.is_none() {
            self.ended = Some(End { why, who, until: now + FAREWELL });
        }
    }

    /// Whether somebody may say something: it is proved with the first packet who it is.
    fn is_welcome(&self, endpoint: &Endpoint, event: &Event) -> bool {
        let (Some(only), Event::FlowOpened { flow }) = (self.only, event) else { return true };
        far_of(endpoint, flow.session()) == Some(only)
    }

    fn check_done(&mut self, now: Instant, waiting: &BTreeMap<SessionHandle, Instant>) {
        let heard = self.ended.is_some_and(|end| {
            now >= end.until || end.who.map_or(waiting.is_empty(), |who| !waiting.contains_key(&who))
        });
        self.done |= heard || self.app.as_ref().is_some_and(App::is_done);
    }
}

/// Waits for those who know secrets, and begins an application with each.
pub struct Offering<A, B> {
    all: Vec<One<A>>,
    begin: B,
    /// Sessions that have proved nothing, and until when they may stay.
    waiting: BTreeMap<SessionHandle, Instant>,
    expires: Instant,
}

impl<A, B> fmt::Debug for Offering<A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offering").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

impl<A: App, B: FnMut(usize, &Endpoint, SessionHandle, Shared) -> Option<A>> Offering<A, B> {
    /// Waits until `expires`. `begin` makes the application for who knows the secret that was added in this place.
    pub const fn new(expires: Instant, begin: B) -> Self {
        Self { all: Vec::new(), begin, waiting: BTreeMap::new(), expires }
    }

    /// Adds what is claimed by one, and by this far end alone if one is given.
    pub fn add(&mut self, maker: Maker, only: Option<Fingerprint>) {
        self.all.push(One { maker, app: None, proved: None, only, ended: None, done: false });
    }

    /// Of each secret: the application, if it has begun, and why it has not, once that is certain.
    pub fn outcomes(&self) -> impl Iterator<Item = (Option<&A>, Option<NotUsed>)> {
        self.all.iter().map(|one| (one.app.as_ref(), one.ended.map(|end| end.why)))
    }

    fn is_all_proved(&self) -> bool {
        self.all.iter().all(|one| one.proved.is_some())
    }

    /// Gives an event to those whose it is. False if it is a stranger's.
    fn pass(&mut self, now: Instant, endpoint: &mut Endpoint, event: &Event) -> bool {
        let session = session_of(event);
        // Who has proved one secret has no part in the others.
        if let Some(one) = self.all.iter_mut().find(|one| one.proved.is_some() && one.proved == session) {
            let taken = one.maker.offer(now, endpoint, event);
            if let (Some(app), false) = (&mut one.app, taken) {
                app.on_event(now, endpoint, event.clone());
                return true;
            }
            return taken;
        }
        self.all.iter_mut().any(|one| one.is_welcome(endpoint, event) && one.maker.offer(now, endpoint, event))
    }

    /// Acts on what the makers have found out.
    fn look(&mut self, now: Instant, endpoint: &mut Endpoint) {
        for (place, one) in self.all.iter_mut().enumerate() {
            match one.maker.outcome() {
                Some(Made::Proved { session, shared }) => {
                    one.proved = Some(session);
                    self.waiting.remove(&session);
                    one.app = (self.begin)(place, endpoint, session, shared);
                    one.done = one.app.is_none();
                    if let Some(app) = &mut one.app {
                        app.on_wake(now, endpoint);
                        app.on_event(now, endpoint, Event::SessionOpened { session });
                    }
                }
                Some(Made::Burnt { session }) => one.end(now, NotUsed::Burnt, Some(session)),
                Some(_) | None => {}
            }
        }
        if self.is_all_proved() {
            for session in core::mem::take(&mut self.waiting).into_keys() {
                close(now, endpoint, session, CloseMode::Orderly);
            }
        }
        self.all.iter_mut().for_each(|one| one.check_done(now, &self.waiting));
    }

    /// An event of a session that has proved nothing.
    #[expect(clippy::wildcard_enum_match_arm, reason = "nothing else matters before the proof")]
    fn on_stranger(&mut self, now: Instant, endpoint: &mut Endpoint, event: &Event) {
        match event {
            Event::SessionOpened { session } if self.waiting.len() >= WAITING || self.is_all_proved() => {
                close(now, endpoint, *session, CloseMode::Abrupt);
            }
            Event::SessionOpened { session } => {
                self.waiting.insert(*session, now + PATIENCE);
            }
            Event::SessionClosed { session, .. } => {
                self.waiting.remove(session);
            }
            Event::FlowOpened { flow } => {
                if let Some(mut flow) = endpoint.recv_flow_mut(now, *flow) {
                    flow.reject(NOT_FILES);
                }
            }
            _ => {}
        }
    }
}

impl<A: App, B: FnMut(usize, &Endpoint, SessionHandle, Shared) -> Option<A>> App for Offering<A, B> {
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        if !self.pass(now, endpoint, &event) {
            self.on_stranger(now, endpoint, &event);
        }
        self.look(now, endpoint);
    }

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        for one in &mut self.all {
            one.maker.on_wake(now, endpoint);
            if now >= self.expires && one.maker.is_open() {
                one.maker.expire(now, endpoint);
                one.end(now, NotUsed::Expired, None);
            }
            if let Some(app) = &mut one.app {
                app.on_wake(now, endpoint);
            }
        }
        let late: Vec<_> = self.waiting.iter().filter(|(_, until)| now >= **until).map(|(it, _)| *it).collect();
        for session in late {
            self.waiting.remove(&session);
            close(now, endpoint, session, CloseMode::Abrupt);
        }
        self.look(now, endpoint);
    }

    fn next_timeout(&self) -> Option<Instant> {
        let of_one = |one: &One<A>| {
            let app = one.app.as_ref().and_then(App::next_timeout);
            let expires = one.maker.is_open().then_some(self.expires);
            [one.maker.next_timeout(), expires, one.ended.map(|end| end.until), app].into_iter().flatten().min()
        };
        let all = self.all.iter().filter(|one| !one.done).filter_map(of_one);
        if self.is_done() { None } else { all.chain(self.waiting.values().copied()).min() }
    }

    fn is_done(&self) -> bool {
        self.all.iter().all(|one| one.done)
    }
}

fn close(now: Instant, endpoint: &mut Endpoint, session: SessionHandle, mode: CloseMode) {
    if let Some(mut session) = endpoint.session_mut(now, session) {
        session.close(mode);
    }
}
