//! What the handles of an introducer and of a registered peer share with the endpoint.

use core::net::SocketAddr;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use rtmfp_core::{Instant, UnmatchedHello};

use super::{Awaited, SessionShared};
use crate::endpoint::Error;
use crate::endpoint::introduction::RegistrationEvent;
use crate::endpoint::wakers::WakerSet;
use crate::places::{Admission, Places};

/// Hellos for others that nobody has taken yet. With one beyond them the oldest is dropped, of the source that has most.
pub(crate) const WAITING_INTRODUCTIONS: usize = 256;
/// Of these, those that may be from one source. With one beyond them its oldest is dropped.
pub(crate) const WAITING_INTRODUCTIONS_PER_SOURCE: usize = 64;
/// Events of a registration that nobody has taken yet. With one beyond them the oldest is dropped.
pub(crate) const WAITING_EVENTS: usize = 64;

/// Hellos for others, for the application.
#[derive(Debug)]
pub(crate) struct IntroductionState {
    /// The application is asked.
    pub(crate) wanted: bool,
    /// In the order in which they came.
    hellos: BTreeMap<u64, UnmatchedHello>,
    /// The places among them.
    places: Places<u64>,
    /// How many ever came.
    came: u64,
    /// How many were dropped because nobody had taken them.
    pub(crate) missed: u64,
    pub(crate) stopped: bool,
    pub(crate) wakers: WakerSet,
}

impl Default for IntroductionState {
    fn default() -> Self {
        Self {
            wanted: false,
            hellos: BTreeMap::new(),
            places: Places::new(WAITING_INTRODUCTIONS, WAITING_INTRODUCTIONS_PER_SOURCE),
            came: 0,
            missed: 0,
            stopped: false,
            wakers: WakerSet::default(),
        }
    }
}

impl IntroductionState {
    pub(crate) fn push(&mut self, now: Instant, hello: UnmatchedHello) {
        self.came += 1;
        match self.places.admit(now, self.came, hello.path.remote.ip()) {
            Admission::Admitted => {}
            Admission::Replaced(dropped) => {
                self.hellos.remove(&dropped);
                self.missed += 1;
            }
            // All that wait have brought nothing yet, so each gives way.
            Admission::Full => return,
        }
        self.hellos.insert(self.came, hello);
        self.wakers.wake();
    }

    /// The next for the application.
    pub(crate) fn take(&mut self) -> Option<UnmatchedHello> {
        let (number, hello) = self.hellos.pop_first()?;
        self.places.leave(number);
        Some(hello)
    }
}

impl Awaited for IntroductionState {
    fn wakers(&mut self) -> &mut WakerSet {
        &mut self.wakers
    }
}

/// What to do about a hello for somebody else.
#[derive(Debug)]
pub(crate) enum Introduce {
    /// Redirect and forward, if the far end that it names has a session.
    Known,
    Forward(Arc<SessionShared>),
    Redirect(Vec<SocketAddr>),
}

#[derive(Debug, Default)]
pub(crate) struct RegistrationShared(pub(crate) Mutex<RegistrationState>);

#[derive(Debug, Default)]
pub(crate) struct RegistrationState {
    pub(crate) registered: bool,
    /// The last session, which may have ended.
    pub(crate) session: Option<Arc<SessionShared>>,
    /// Why it is not registered, if there was an attempt.
    pub(crate) lost: Option<Error>,
    pub(crate) events: VecDeque<RegistrationEvent>,
    pub(crate) stopped: bool,
    pub(crate) wakers: WakerSet,
}

impl RegistrationState {
    pub(crate) fn push(&mut self, event: RegistrationEvent) {
        if self.events.len() >= WAITING_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
        self.wakers.wake();
    }

    pub(crate) fn stop(&mut self) {
        self.registered = false;
        self.stopped = true;
        self.wakers.wake();
    }
}

impl Awaited for RegistrationState {
    fn wakers(&mut self) -> &mut WakerSet {
        &mut self.wakers
    }
}
