//! Registrations with introducers: each is a session that is kept, and opened again when it is lost.

use core::time::Duration;
use std::sync::Arc;

use rtmfp_core::{Endpoint, Instant, Target};

use super::EndpointApp;
use crate::endpoint::Error;
use crate::endpoint::introduction::RegistrationEvent;
use crate::endpoint::shared::{RegistrationShared, SessionShared, lock};

/// The wait before the first new attempt, which doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A registration that lasted as long is tried again as soon as a first one.
const LASTED: Duration = Duration::from_secs(30);
/// It has no flows. The introducer has an idle limit of its own.
const IDLE_LIMIT: Duration = Duration::from_secs(366 * 86_400);

#[derive(Debug)]
pub(super) struct Registering {
    shared: Arc<RegistrationShared>,
    target: Target,
    /// How long an attempt lasts, if not as configured.
    limit: Option<Duration>,
    state: State,
    wait: Duration,
}

#[derive(Debug)]
enum State {
    Opening(Arc<SessionShared>),
    Registered(Arc<SessionShared>, Instant),
    Waiting(Instant),
}

/// What has become of a registration's session.
enum Outcome {
    Nothing,
    /// The introducer may still have to show that it has the session's keys.
    Opened,
    /// There was one already, which serves as well.
    Existing(Arc<SessionShared>),
    Ended(Error),
}

impl EndpointApp {
    pub(super) fn register(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        shared: Arc<RegistrationShared>,
        target: Target,
        limit: Option<Duration>,
    ) {
        let registering = Registering { shared, target, limit, state: State::Waiting(now), wait: FIRST_WAIT };
        self.registrations.push(registering);
        self.review_registrations(now, endpoint);
    }

    pub(super) fn unregister(&mut self, now: Instant, endpoint: &mut Endpoint, shared: &Arc<RegistrationShared>) {
        let place = self.registrations.iter().position(|one| Arc::ptr_eq(&one.shared, shared));
        let Some(registering) = place.map(|place| self.registrations.swap_remove(place)) else { return };
        lock(&shared.0).stop();
        if let State::Opening(session) | State::Registered(session, _) = registering.state {
            let mut state = lock(&session.0);
            state.registrations -= 1;
            // For those who had the session before, it is as it was.
            let before = if state.registrations == 0 { state.handle.zip(state.idle_limit.take()) } else { None };
            drop(state);
            if let Some((handle, limit)) = before
                && let Some(mut view) = endpoint.session_mut(now, handle)
            {
                view.set_idle_limit(limit);
            }
            self.release_if_free(now, endpoint, &session);
        }
    }

    pub(super) fn stop_registrations(&mut self) {
        for registering in self.registrations.drain(..) {
            lock(&registering.shared.0).stop();
        }
    }

    pub(super) fn next_registration(&self) -> Option<Instant> {
        let next = |one: &Registering| if let State::Waiting(at) = one.state { Some(at) } else { None };
        self.registrations.iter().filter_map(next).min()
    }

    /// Looks what has become of the sessions, and does what is due.
    pub(super) fn review_registrations(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if self.registrations.is_empty() {
            return;
        }
        if self.shutdown.is_some() {
            return self.stop_registrations();
        }
        let mut registrations = core::mem::take(&mut self.registrations);
        for registering in &mut registrations {
            // An attempt may end as soon as it begins, and the next thing be due then.
            while self.review(now, endpoint, registering) {}
        }
        self.registrations.append(&mut registrations);
    }

    /// Whether anything has changed.
    fn review(&mut self, now: Instant, endpoint: &mut Endpoint, registering: &mut Registering) -> bool {
        let (session, since) = match &registering.state {
            State::Waiting(at) if *at > now => return false,
            State::Waiting(_) => {
                let session = Arc::<SessionShared>::default();
                lock(&session.0).registrations = 1;
                registering.set_session(State::Opening(Arc::clone(&session)), &session);
                let target = registering.target.clone();
                self.open(now, endpoint, session, target, registering.limit);
                return true;
            }
            State::Opening(session) => (Arc::clone(session), None),
            State::Registered(session, since) => (Arc::clone(session), Some(*since)),
        };
        match outcome(&session, since.is_some()) {
            Outcome::Nothing => false,
            Outcome::Opened => {
                let proved = is_proved(now, endpoint, &session);
                if proved {
                    keep(now, endpoint, &session);
                    registering.registered(now, session);
                }
                proved
            }
            Outcome::Existing(existing) => {
                lock(&existing.0).registrations += 1;
                registering.set_session(State::Opening(Arc::clone(&existing)), &existing);
                true
            }
            Outcome::Ended(error) => {
                registering.lost(now, since, error);
                true
            }
        }
    }
}

/// Whether the introducer has shown that it has the session's keys. Until it has, it is asked. At this end of a session
/// without HMAC there is no such proof: a packet under its keys is enough.
fn is_proved(now: Instant, endpoint: &mut Endpoint, session: &SessionShared) -> bool {
    let Some(handle) = lock(&session.0).handle else { return false };
    let Some(view) = endpoint.session(handle) else { return false };
    let answered = !view.far_keys_can_be_proved() && view.stats().packets_received > 0;
    let proved = view.far_keys_proved() || answered;
    if !proved && let Some(mut view) = endpoint.session_mut(now, handle) {
        view.ping();
    }
    proved
}

/// Keeps a session that has no flows.
fn keep(now: Instant, endpoint: &mut Endpoint, session: &SessionShared) {
    let Some(handle) = lock(&session.0).handle else { return };
    let Some(before) = endpoint.session(handle).map(|view| view.idle_limit()) else { return };
    lock(&session.0).idle_limit.get_or_insert(before);
    if let Some(mut view) = endpoint.session_mut(now, handle) {
        view.set_idle_limit(IDLE_LIMIT);
    }
}

fn outcome(session: &SessionShared, was_open: bool) -> Outcome {
    let state = lock(&session.0);
    match state.end {
        Some(error) => {
            let existing = state.existing.clone();
            drop(state);
            let usable = existing.filter(|existing| !lock(&existing.0).closing);
            usable.map_or(Outcome::Ended(error), Outcome::Existing)
        }
        None if state.closing => Outcome::Ended(Error::Closed),
        None if state.open && !was_open => Outcome::Opened,
        None => Outcome::Nothing,
    }
}

impl Registering {
    fn set_session(&mut self, state: State, session: &Arc<SessionShared>) {
        self.state = state;
        lock(&self.shared.0).session = Some(Arc::clone(session));
    }

    fn registered(&mut self, now: Instant, session: Arc<SessionShared>) {
        self.state = State::Registered(session, now);
        let mut state = lock(&self.shared.0);
        state.registered = true;
        state.lost = None;
        state.push(RegistrationEvent::Registered);
    }

    fn lost(&mut self, now: Instant, since: Option<Instant>, error: Error) {
        if since.is_some_and(|since| now.saturating_duration_since(since) >= LASTED) {
            self.wait = FIRST_WAIT;
        }
        let wait = spread(now, self.wait);
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        self.state = State::Waiting(now + wait);
        let mut state = lock(&self.shared.0);
        state.registered = false;
        state.session = None;
        state.lost = Some(error);
        state.push(RegistrationEvent::Lost(error));
        state.push(RegistrationEvent::Retrying(wait));
    }
}

/// Between half of it and all. All peers of an introducer that restarts lose it at one moment: they are not to come back
/// at one moment too. The time of that differs by microseconds.
fn spread(now: Instant, wait: Duration) -> Duration {
    // Steele, Lea and Flood: splitmix64.
    let mixed = (now.as_micros() ^ now.as_micros() >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb) >> 40;
    let part = u32::try_from(mixed % 1_024).unwrap_or_default();
    wait / 2 + wait / 2 * part / 1_024
}
