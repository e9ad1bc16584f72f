//! The end that was told a code.

use core::fmt;
use core::num::NonZeroU8;

use rtmfp_core::rand_core::CryptoRng;
use rtmfp_core::{App, CloseMode, Endpoint, Event, Instant, SessionHandle};
use rtmfp_files::proof::{ClaimFailure, Claimer};
use rtmfp_files::{Secret, Shared};

use super::session_of;
use crate::transfer::{BUSY, NOT_FILES};

/// Events of the session that wait for the proof: the far end may begin as soon as it is convinced, and its flows
/// overtake its last word.
const HELD: usize = 64;

/// Claims a secret over a session, and begins an application once that is proved.
pub struct Claiming<A, B> {
    session: SessionHandle,
    /// What is claimed, until it is.
    secret: Option<(Secret, Box<dyn CryptoRng + Send>)>,
    slot: Option<NonZeroU8>,
    claimer: Option<Claimer>,
    begin: Option<B>,
    app: Option<A>,
    held: Vec<Event>,
    failure: Option<ClaimFailure>,
}

impl<A, B> fmt::Debug for Claiming<A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claiming")
            .field("claimer", &self.claimer)
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}

impl<A: App, B: FnOnce(&Endpoint, SessionHandle, Shared) -> A> Claiming<A, B> {
    /// Claims it over an open session, at the first [`on_wake`](App::on_wake). `begin` makes the application.
    pub const fn new(session: SessionHandle, secret: Secret, rng: Box<dyn CryptoRng + Send>, begin: B) -> Self {
        let (claimer, app) = (None, None);
        Self {
            session,
            secret: Some((secret, rng)),
            slot: None,
            claimer,
            begin: Some(begin),
            app,
            held: Vec::new(),
            failure: None,
        }
    }

    /// The same, of one of several codes.
    #[must_use]
    pub const fn with_slot(mut self, slot: Option<NonZeroU8>) -> Self {
        self.slot = slot;
        self
    }

    /// The application, if it has begun.
    pub const fn app(&self) -> Option<&A> {
        self.app.as_ref()
    }

    /// Why it has not begun.
    pub const fn failure(&self) -> Option<ClaimFailure> {
        self.failure
    }

    fn look(&mut self, now: Instant, endpoint: &mut Endpoint) {
        match self.claimer.as_mut().and_then(Claimer::outcome) {
            Some(Ok(shared)) => {
                let Some(begin) = self.begin.take() else { return };
                let app = self.app.insert(begin(endpoint, self.session, shared));
                app.on_wake(now, endpoint);
                app.on_event(now, endpoint, Event::SessionOpened { session: self.session });
                for event in core::mem::take(&mut self.held) {
                    app.on_event(now, endpoint, event);
                }
            }
            Some(Err(failure)) => {
                self.failure = Some(failure);
                if let Some(mut session) = endpoint.session_mut(now, self.session) {
                    session.close(CloseMode::Orderly);
                }
            }
            None => {}
        }
    }

    /// Keeps what comes before the proof, unread.
    #[expect(clippy::wildcard_enum_match_arm, reason = "nothing else matters before the proof")]
    fn hold(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        match event {
            Event::FlowOpened { flow } if self.held.len() >= HELD => reject(now, endpoint, flow, BUSY),
            Event::FlowOpened { .. } | Event::FlowReadable { .. } | Event::FlowFinished { .. } => self.held.push(event),
            _ => {}
        }
    }
}

impl<A: App, B: FnOnce(&Endpoint, SessionHandle, Shared) -> A> App for Claiming<A, B> {
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        let is_own = session_of(&event) == Some(self.session);
        if self.claimer.as_mut().is_some_and(|claimer| claimer.offer(now, endpoint, &event)) {
            return self.look(now, endpoint);
        }
        match (&mut self.app, event) {
            (Some(app), event) if is_own => app.on_event(now, endpoint, event),
            (None, event) if is_own => {
                self.hold(now, endpoint, event);
                self.look(now, endpoint);
            }
            // Nobody else has a part in this.
            (_, Event::FlowOpened { flow }) => reject(now, endpoint, flow, NOT_FILES),
            (_, Event::SessionOpened { session }) => {
                if let Some(mut session) = endpoint.session_mut(now, session) {
                    session.close(CloseMode::Abrupt);
                }
            }
            _ => {}
        }
    }

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if let Some((secret, rng)) = self.secret.take() {
            self.claimer = Some(Claimer::of_slot(now, endpoint, self.session, self.slot, &secret, rng));
        }
        if let Some(claimer) = &mut self.claimer {
            claimer.on_wake(now, endpoint);
        }
        self.look(now, endpoint);
        if let Some(app) = &mut self.app {
            app.on_wake(now, endpoint);
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        let claimer = self.claimer.as_ref().and_then(Claimer::next_timeout);
        [claimer, self.app.as_ref().and_then(App::next_timeout)].into_iter().flatten().min()
    }

    fn is_done(&self) -> bool {
        self.failure.is_some() || self.app.as_ref().is_some_and(App::is_done)
    }
}

fn reject(now: Instant, endpoint: &mut Endpoint, flow: rtmfp_core::RecvFlowHandle, code: u64) {
    if let Some(mut flow) = endpoint.recv_flow_mut(now, flow) {
        flow.reject(code);
    }
}
