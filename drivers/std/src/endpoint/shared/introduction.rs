//! What the handles of an introducer and of a registered peer share with the endpoint.

use core::net::SocketAddr;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use rtmfp_core::UnmatchedHello;

use super::{Awaited, SessionShared};
use crate::endpoint::Error;
use crate::endpoint::introduction::RegistrationEvent;
use crate::endpoint::wakers::WakerSet;

/// Hellos for others that nobody has taken yet. With one beyond them the oldest is dropped.
pub(crate) const WAITING_INTRODUCTIONS: usize = 256;
/// Events of a registration that nobody has taken yet. With one beyond them the oldest is dropped.
pub(crate) const WAITING_EVENTS: usize = 64;

/// Hellos for others, for the application.
#[derive(Debug, Default)]
pub(crate) struct IntroductionState {
    /// The application is asked.
    pub(crate) wanted: bool,
    pub(crate) hellos: VecDeque<UnmatchedHello>,
    /// How many were dropped because nobody had taken them.
    pub(crate) missed: u64,
    pub(crate) stopped: bool,
    pub(crate) wakers: WakerSet,
}

impl IntroductionState {
    pub(crate) fn push(&mut self, hello: UnmatchedHello) {
        if self.hellos.len() >= WAITING_INTRODUCTIONS {
            self.hellos.pop_front();
            self.missed += 1;
        }
        self.hellos.push_back(hello);
        self.wakers.wake();
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
