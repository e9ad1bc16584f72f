//! Meetings: guests of rendezvous servers, which share the endpoint with the handles.

use std::collections::BTreeMap;
use std::sync::Arc;

use chacha20::ChaCha20Rng;
use rtmfp_core::profile::Fingerprint;
use rtmfp_core::rand_core::SeedableRng as _;
use rtmfp_core::{CloseMode, Endpoint, Event, Instant, InterfaceId, Path, Service as _, SessionHandle, Target};
use rtmfp_meet::{CandidateKind, Failure, Guest, GuestEvent, GuestOptions, PathKind, Ticket};

use super::EndpointApp;
use super::leaving::Leaving;
use super::sessions::Entry;
use crate::endpoint::Error;
use crate::endpoint::introduction::MeetingEvent;
use crate::endpoint::shared::{Locked, MeetingCommand, MeetingShared, MeetingState, Question, SessionShared, lock};
use crate::kind::required_peer_id;

/// A guest, and who waits for what it was asked for.
#[derive(Debug)]
pub(super) struct Meeting {
    shared: Arc<MeetingShared>,
    relay: u16,
    pub(super) guest: Guest,
    /// Nobody holds it any more.
    pub(super) leaving: Option<Leaving>,
    /// What the handles were told of [`MeetingState::is_trying`].
    is_trying: bool,
    /// The number that is asked for, and how many were given back before.
    number: Option<(Ticket, u64)>,
    finding: BTreeMap<Ticket, Question<Result<Fingerprint, Failure>>>,
    connecting: BTreeMap<Ticket, Arc<SessionShared>>,
}

impl EndpointApp {
    pub(super) fn carry_out_of_meeting(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        shared: &Arc<MeetingShared>,
        command: MeetingCommand,
    ) {
        if let MeetingCommand::Join(target, options) = command {
            return self.join(now, endpoint, shared, target, options);
        }
        let place = self.meetings.iter().position(|meeting| Arc::ptr_eq(&meeting.shared, shared));
        let Some(place) = place.filter(|_| self.shutdown.is_none() || !command.begins()) else {
            // The meeting is left, or all end: nothing new begins, and nobody waits for it.
            return command.void(Error::Stopped);
        };
        if matches!(command, MeetingCommand::Leave) {
            self.meetings.get_mut(place).into_iter().for_each(|meeting| meeting.leaving = Some(Leaving::new(now)));
            return self.leave_unused(now, endpoint);
        }
        if let Some(meeting) = self.meetings.get_mut(place) {
            meeting.carry_out(now, endpoint, command);
        }
        self.take_meeting_events(now, endpoint);
    }

    fn join(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        shared: &Arc<MeetingShared>,
        target: Target,
        options: GuestOptions,
    ) {
        if self.shutdown.is_some() {
            return lock(&shared.0).stop();
        }
        // It spreads attempts over time, and needs no secret: in a simulation it is the same each time.
        let mut seed = self.shared.peer_id.map_or([0; 32], |peer_id| peer_id.0);
        seed.iter_mut().zip(now.as_micros().to_le_bytes()).for_each(|(byte, time)| *byte ^= time);
        let taken = |number: &u16| self.meetings.iter().any(|meeting| meeting.relay == *number);
        let relay = (0..=u16::MAX).find(|number| !taken(number)).unwrap_or_default();
        let guest = Guest::new(relay, target, options, Box::new(ChaCha20Rng::from_seed(seed)));
        let (finding, connecting) = (BTreeMap::new(), BTreeMap::new());
        let (shared, is_trying, number) = (Arc::clone(shared), false, None);
        let mut meeting = Meeting { shared, relay, guest, leaving: None, is_trying, number, finding, connecting };
        meeting.guest.set_addresses(now, endpoint, self.shared.locals.own());
        meeting.guest.set_candidates(now, endpoint, CandidateKind::Local, self.shared.locals.local_candidates());
        meeting.guest.on_wake(now, endpoint);
        self.meetings.push(meeting);
        self.take_meeting_events(now, endpoint);
    }

    /// True if the event is of a flow of a meeting's.
    pub(super) fn offer_to_meetings(&mut self, now: Instant, endpoint: &mut Endpoint, event: &Event) -> bool {
        let mut taken = false;
        for meeting in &mut self.meetings {
            taken |= meeting.guest.offer(now, endpoint, event);
        }
        self.take_meeting_events(now, endpoint);
        taken
    }

    pub(super) fn wake_meetings(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let version = self.shared.locals.version();
        let moved = core::mem::replace(&mut self.locals_version, version) != version;
        for meeting in &mut self.meetings {
            if moved {
                meeting.guest.set_addresses(now, endpoint, self.shared.locals.own());
                meeting.guest.set_candidates(
                    now,
                    endpoint,
                    CandidateKind::Local,
                    self.shared.locals.local_candidates(),
                );
            }
            meeting.guest.on_wake(now, endpoint);
        }
        self.take_meeting_events(now, endpoint);
        self.leave_unused(now, endpoint);
    }

    pub(super) fn next_of_meetings(&self) -> Option<Instant> {
        let looks = self.meetings.iter().filter_map(|meeting| meeting.leaving.as_ref().map(Leaving::look));
        self.meetings.iter().filter_map(|meeting| meeting.guest.next_timeout()).chain(looks).min()
    }

    pub(super) fn meeting_carries(&self, interface: InterfaceId) -> bool {
        self.meetings.iter().any(|meeting| meeting.guest.carries(interface))
    }

    pub(super) fn carry_over_meeting(&mut self, now: Instant, endpoint: &mut Endpoint, path: Path, datagram: &[u8]) {
        if let Some(meeting) = self.meetings.iter_mut().find(|meeting| meeting.guest.carries(path.interface)) {
            meeting.guest.carry(now, endpoint, path, datagram);
        }
    }

    /// Whether a session is one with a server.
    pub(super) fn is_with_server(&self, session: SessionHandle) -> bool {
        self.meetings.iter().any(|meeting| meeting.guest.server() == Some(session))
    }

    /// Leaves all servers.
    pub(super) fn leave_meetings(&mut self, now: Instant, endpoint: &mut Endpoint) {
        for meeting in core::mem::take(&mut self.meetings) {
            self.leave(now, endpoint, meeting);
        }
    }

    pub(super) fn leave(&mut self, now: Instant, endpoint: &mut Endpoint, mut meeting: Meeting) {
        meeting.guest.leave(now, endpoint);
        self.take_events(now, endpoint, &mut meeting);
        lock(&meeting.shared.0).stop();
    }

    /// Nobody waits for this session any more, which a meeting may still be connecting.
    pub(super) fn cancel_connecting(&mut self, now: Instant, endpoint: &mut Endpoint, shared: &SessionShared) {
        for meeting in &mut self.meetings {
            let mut connecting = meeting.connecting.iter();
            let ticket =
                connecting.find(|(_, one)| core::ptr::eq(&raw const ***one, shared)).map(|(ticket, _)| *ticket);
            if let Some(ticket) = ticket {
                meeting.connecting.remove(&ticket);
                meeting.guest.cancel(now, endpoint, ticket);
            }
        }
    }

    /// Those who wait are not to wait for ever.
    pub(super) fn stop_meetings(&mut self) {
        for meeting in self.meetings.drain(..) {
            lock(&meeting.shared.0).stop();
            meeting.connecting.into_values().for_each(|session| session.end(Error::Stopped));
        }
    }

    fn take_meeting_events(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let mut meetings = core::mem::take(&mut self.meetings);
        for meeting in &mut meetings {
            self.take_events(now, endpoint, meeting);
        }
        self.meetings.append(&mut meetings);
    }

    fn take_events(&mut self, now: Instant, endpoint: &mut Endpoint, meeting: &mut Meeting) {
        while let Some(event) = meeting.guest.poll_event() {
            if let GuestEvent::Connected { ticket, session } = event {
                if let Some(shared) = meeting.connecting.remove(&ticket) {
                    let kind = meeting.guest.path_kind(session);
                    self.adopt(now, endpoint, session, shared, kind);
                }
            } else if let GuestEvent::Path { session, kind } = event {
                self.tell_kind(session, kind);
            } else {
                meeting.on_event(event);
            }
        }
        let is_trying = meeting.guest.server().is_some() && !meeting.guest.is_registered();
        if core::mem::replace(&mut meeting.is_trying, is_trying) != is_trying {
            lock(&meeting.shared.0).is_trying = is_trying;
        }
    }

    /// A session that a meeting has opened is for a handle.
    fn adopt(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        session: SessionHandle,
        shared: Arc<SessionShared>,
        kind: Option<PathKind>,
    ) {
        if let Some(entry) = self.sessions.get(&session) {
            let mut state = lock(&shared.0);
            state.existing = Some(Arc::clone(&entry.shared));
            drop(state);
            let existing = rtmfp_core::OpenFailure::Duplicate { existing: session };
            return shared.end(Error::NotOpened(existing));
        }
        let mut state = lock(&shared.0);
        state.handle = Some(session);
        let attended = state.is_attended();
        drop(state);
        if !attended {
            if let Some(mut view) = endpoint.session_mut(now, session) {
                view.close(CloseMode::Orderly);
            }
            return;
        }
        self.sessions.insert(session, Entry::new(shared));
        kind.into_iter().for_each(|kind| self.tell_kind(session, kind));
        self.opened(now, endpoint, session);
    }
}

impl Meeting {
    fn carry_out(&mut self, now: Instant, endpoint: &mut Endpoint, command: MeetingCommand) {
        match command {
            MeetingCommand::Token(token) => {
                self.guest.show_token(now, endpoint, token);
            }
            MeetingCommand::Mapped(addresses) => {
                self.guest.set_candidates(now, endpoint, CandidateKind::Mapped, addresses);
            }
            MeetingCommand::Number(releases) => {
                // The command that gave the one before back may have been replaced by this one in the queue.
                if self.number.is_some_and(|(_, before)| before != releases) {
                    self.release_number(now, endpoint);
                }
                if self.number.is_none() {
                    self.number = Some((self.guest.want_number(now, endpoint), releases));
                }
            }
            MeetingCommand::ReleaseNumber => self.release_number(now, endpoint),
            MeetingCommand::Find(number, question) if !question.is_void() => {
                let ticket = self.guest.find(now, endpoint, number);
                self.finding.insert(ticket, question);
            }
            MeetingCommand::Find(..) => {}
            MeetingCommand::ForgetWithdrawn => {
                let void = self.finding.iter().filter(|(_, question)| question.is_void());
                let void: Vec<Ticket> = void.map(|(ticket, _)| *ticket).collect();
                for ticket in void {
                    self.finding.remove(&ticket);
                    self.guest.cancel(now, endpoint, ticket);
                }
            }
            MeetingCommand::Connect(session, discriminator, policy) => {
                let ticket = self.guest.connect(now, endpoint, discriminator, policy);
                self.connecting.insert(ticket, session);
            }
            MeetingCommand::Join(..) | MeetingCommand::Leave => {}
        }
    }

    fn release_number(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if let Some((ticket, _)) = self.number.take() {
            self.guest.cancel(now, endpoint, ticket);
        }
    }

    /// What the handles are told of a number, unless it was given back after it was asked for.
    fn number_state(&self, ticket: Ticket) -> Option<Locked<'_, MeetingState>> {
        let (_, releases) = self.number.filter(|(own, _)| *own == ticket)?;
        Some(lock(&self.shared.0)).filter(|state| state.releases == releases)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the others concern sessions")]
    fn on_event(&mut self, event: GuestEvent) {
        match event {
            GuestEvent::Registered => {
                let mut state = lock(&self.shared.0);
                (state.registered, state.failure) = (true, None);
                state.push(MeetingEvent::Registered);
            }
            GuestEvent::ServerLost { failure, retry } => {
                lock(&self.shared.0).lost(failure, retry, self.guest.server().is_some());
            }
            GuestEvent::Seen(address) => {
                let mut state = lock(&self.shared.0);
                state.seen = Some(address);
                state.push(MeetingEvent::Seen(address));
            }
            GuestEvent::Number { ticket, number, before } => {
                if let Some(mut state) = self.number_state(ticket) {
                    state.number = Some(number);
                    state.push(MeetingEvent::Number { number, before });
                }
            }
            GuestEvent::TokenRefused(failure) => lock(&self.shared.0).push(MeetingEvent::TokenRefused(failure)),
            GuestEvent::Found { ticket, discriminator } => {
                if let Some(question) = self.finding.remove(&ticket) {
                    // Peers of another profile are nobody to this end.
                    question.answer(Some(required_peer_id(&discriminator).ok_or(Failure::NobodyThere)));
                }
            }
            GuestEvent::Failed { ticket, failure } => self.failed(ticket, failure),
            _ => {}
        }
    }

    fn failed(&mut self, ticket: Ticket, failure: Failure) {
        if let Some(question) = self.finding.remove(&ticket) {
            question.answer(Some(Err(failure)));
        }
        if let Some(session) = self.connecting.remove(&ticket) {
            session.end(Error::NotMet(failure));
        }
        if let Some(mut state) = self.number_state(ticket) {
            (state.number, state.number_failure) = (None, Some(failure));
            state.wakers.wake();
        }
        self.number = self.number.filter(|(own, _)| *own != ticket);
    }
}

impl EndpointApp {
    /// Tells the handles of a session what kind of path it has. One that has none yet is told when it has.
    fn tell_kind(&self, session: SessionHandle, kind: PathKind) {
        let Some(entry) = self.sessions.get(&session) else { return };
        let updates = Arc::clone(&lock(&entry.shared.0).updates);
        lock(&updates.0).set_path_kind(kind);
    }

    /// A session has an entry.
    pub(super) fn look_up_kind(&self, session: SessionHandle) {
        let kind = self.meetings.iter().find_map(|meeting| meeting.guest.path_kind(session));
        kind.into_iter().for_each(|kind| self.tell_kind(session, kind));
    }
}
