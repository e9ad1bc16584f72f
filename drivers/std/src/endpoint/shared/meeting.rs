//! What the handles of a meeting share with the endpoint.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use rtmfp_core::profile::Fingerprint;
use rtmfp_core::{Bytes, Target};
use rtmfp_meet::{Failure, GuestOptions, PathPolicy};

use super::introduction::WAITING_EVENTS;
use super::{Awaited, Question, SessionShared};
use crate::endpoint::Error;
use crate::endpoint::introduction::MeetingEvent;
use crate::endpoint::wakers::WakerSet;

#[derive(Debug, Default)]
pub(crate) struct MeetingShared(pub(crate) Mutex<MeetingState>);

#[derive(Debug, Default)]
pub(crate) struct MeetingState {
    pub(crate) registered: bool,
    /// Why the server is not reached, if the last attempt failed.
    pub(crate) failure: Option<Failure>,
    /// An attempt to reach it runs: what becomes of that is not known yet.
    pub(crate) is_trying: bool,
    pub(crate) seen: Option<SocketAddr>,
    /// While the server holds it.
    pub(crate) number: Option<u64>,
    /// There will be no number.
    pub(crate) number_failure: Option<Failure>,
    pub(crate) number_wanted: bool,
    /// How often a number was given back: one that was asked for before is not this end's any more.
    pub(crate) releases: u64,
    pub(crate) events: VecDeque<MeetingEvent>,
    pub(crate) stopped: bool,
    pub(crate) wakers: WakerSet,
}

/// Asked of a meeting.
#[derive(Debug)]
pub(crate) enum MeetingCommand {
    Join(Target, GuestOptions),
    Leave,
    Token(Bytes),
    Mapped(Vec<SocketAddr>),
    /// To ask for a number, after so many were given back.
    Number(u64),
    ReleaseNumber,
    Find(u64, Question<Result<Fingerprint, Failure>>),
    /// To find nobody for those who have withdrawn their questions.
    ForgetWithdrawn,
    Connect(Arc<SessionShared>, Bytes, PathPolicy),
}

impl MeetingCommand {
    /// Whether it begins a session.
    pub(crate) const fn begins(&self) -> bool {
        matches!(self, Self::Connect(..))
    }

    /// Nobody carries it out: whoever waits for a session is told why. A question is answered as it is dropped.
    pub(crate) fn void(self, error: Error) {
        if let Self::Connect(session, ..) = self {
            session.end(error);
        }
    }
}

impl MeetingState {
    pub(crate) fn push(&mut self, event: MeetingEvent) {
        if self.events.len() >= WAITING_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
        self.wakers.wake();
    }

    /// Why the server is not reached, unless an attempt runs that may reach it.
    pub(crate) fn outcome(&self) -> Option<Failure> {
        self.failure.filter(|_| !self.is_trying)
    }

    pub(crate) fn lost(&mut self, failure: Failure, retry: Duration, is_trying: bool) {
        (self.registered, self.number, self.is_trying) = (false, None, is_trying);
        self.failure = Some(failure);
        self.push(MeetingEvent::ServerLost { failure, retry });
    }

    pub(crate) const fn release_number(&mut self) {
        self.releases += 1;
        (self.number_wanted, self.number, self.number_failure) = (false, None, None);
    }

    pub(crate) fn stop(&mut self) {
        (self.registered, self.number, self.stopped) = (false, None, true);
        self.wakers.wake();
    }
}

impl Awaited for MeetingState {
    fn wakers(&mut self) -> &mut WakerSet {
        &mut self.wakers
    }
}
