//! The end that made a code, and waits for who was told it.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;

use rtmfp_core::profile::Fingerprint;
use rtmfp_core::{App, CloseMode, Endpoint, Event, Instant, InterfaceId, Path, SessionHandle};
use rtmfp_files::proof::{Made, Maker};
use rtmfp_files::{Secret, Shared};

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

/// Waits for whoever knows a secret, and begins an application with them.
pub struct Offering<A, B> {
    maker: Maker,
    begin: Option<B>,
    app: Option<A>,
    proved: Option<SessionHandle>,
    /// Sessions that have proved nothing, and until when they may stay.
    waiting: BTreeMap<SessionHandle, Instant>,
    expires: Instant,
    /// Nobody else is listened to.
    only: Option<Fingerprint>,
    ended: Option<(NotUsed, Instant)>,
    done: bool,
}

impl<A, B> fmt::Debug for Offering<A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offering").field("maker", &self.maker).field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl<A: App, B: FnOnce(&Endpoint, SessionHandle, Shared) -> Option<A>> Offering<A, B> {
    /// Waits until `expires` for one who knows the secret. `begin` makes the application.
    pub fn new(
        secret: Secret,
        rng: Box<dyn rtmfp_core::rand_core::CryptoRng + Send>,
        expires: Instant,
        begin: B,
    ) -> Self {
        Self {
            maker: Maker::new(secret, rng),
            begin: Some(begin),
            app: None,
            proved: None,
            waiting: BTreeMap::new(),
            expires,
            only: None,
            ended: None,
            done: false,
        }
    }

    /// The same, of one far end alone.
    #[must_use]
    pub const fn only(mut self, far: Option<Fingerprint>) -> Self {
        self.only = far;
        self
    }

    /// Whether somebody may say something: it is proved with the first packet who it is.
    fn is_welcome(&self, endpoint: &Endpoint, event: &Event) -> bool {
        let (Some(only), Event::FlowOpened { flow }) = (self.only, event) else { return true };
        far_of(endpoint, flow.session()) == Some(only)
    }

    /// The application, if it has begun.
    pub const fn app(&self) -> Option<&A> {
        self.app.as_ref()
    }

    /// The session of whoever has proved to know the secret.
    pub const fn proved(&self) -> Option<SessionHandle> {
        self.proved
    }

    /// Why it has not begun, once that is certain.
    pub fn not_used(&self) -> Option<NotUsed> {
        self.ended.map(|(why, _)| why)
    }

    /// Acts on what the maker has found out.
    fn look(&mut self, now: Instant, endpoint: &mut Endpoint) {
        match self.maker.outcome() {
            Some(Made::Proved { session, shared }) => {
                self.proved = Some(session);
                self.waiting.remove(&session);
                for session in core::mem::take(&mut self.waiting).into_keys() {
                    close(now, endpoint, session, CloseMode::Orderly);
                }
                let Some(begin) = self.begin.take() else { return };
                let Some(app) = begin(endpoint, session, shared) else { return self.done = true };
                let app = self.app.insert(app);
                app.on_wake(now, endpoint);
                app.on_event(now, endpoint, Event::SessionOpened { session });
            }
            Some(Made::Burnt { session }) => {
                self.waiting.retain(|waiting, _| *waiting == session);
                self.end(now, NotUsed::Burnt);
            }
            Some(_) | None => {}
        }
    }

    fn end(&mut self, now: Instant, why: NotUsed) {
        if self.ended.is_none() && self.proved.is_none() {
            self.ended = Some((why, now + FAREWELL));
        }
    }

    /// An event of a session that has proved nothing.
    #[expect(clippy::wildcard_enum_match_arm, reason = "nothing else matters before the proof")]
    fn on_stranger(&mut self, now: Instant, endpoint: &mut Endpoint, event: &Event) {
        match event {
            Event::SessionOpened { session } if self.waiting.len() >= WAITING || self.proved.is_some() => {
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

    fn check_done(&mut self, now: Instant) {
        let heard = self.ended.is_some_and(|(_, until)| now >= until || self.waiting.is_empty());
        self.done |= heard || self.app.as_ref().is_some_and(App::is_done);
    }
}

impl<A: App, B: FnOnce(&Endpoint, SessionHandle, Shared) -> Option<A>> App for Offering<A, B> {
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        let session = session_of(&event);
        let taken = self.is_welcome(endpoint, &event) && self.maker.offer(now, endpoint, &event);
        match &mut self.app {
            Some(app) if session == self.proved && !taken => app.on_event(now, endpoint, event),
            _ if !taken => self.on_stranger(now, endpoint, &event),
            _ => {}
        }
        self.look(now, endpoint);
        self.check_done(now);
    }

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.maker.on_wake(now, endpoint);
        if now >= self.expires && self.proved.is_none() && self.ended.is_none() {
            self.maker.expire(now, endpoint);
            self.end(now, NotUsed::Expired);
        }
        let late: Vec<_> = self.waiting.iter().filter(|(_, until)| now >= **until).map(|(it, _)| *it).collect();
        for session in late {
            self.waiting.remove(&session);
            close(now, endpoint, session, CloseMode::Abrupt);
        }
        if let Some(app) = &mut self.app {
            app.on_wake(now, endpoint);
        }
        self.check_done(now);
    }

    fn carries(&self, interface: InterfaceId) -> bool {
        self.app.as_ref().is_some_and(|app| app.carries(interface))
    }

    fn carry(&mut self, now: Instant, endpoint: &mut Endpoint, path: Path, datagram: &[u8]) {
        if let Some(app) = &mut self.app {
            app.carry(now, endpoint, path, datagram);
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        let waits = self.proved.is_none() && self.ended.is_none();
        let own = [self.maker.next_timeout(), waits.then_some(self.expires), self.ended.map(|(_, until)| until)];
        let app = self.app.as_ref().and_then(App::next_timeout);
        let all = own.into_iter().flatten().chain(self.waiting.values().copied()).chain(app);
        if self.done { None } else { all.min() }
    }

    fn is_done(&self) -> bool {
        self.done
    }
}

fn close(now: Instant, endpoint: &mut Endpoint, session: SessionHandle, mode: CloseMode) {
    if let Some(mut session) = endpoint.session_mut(now, session) {
        session.close(mode);
    }
}
