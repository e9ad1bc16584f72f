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
use crate::endpoint::introduction::MeetingEvent;
use crate::endpoint::wakers::WakerSet;

#[derive(Debug, Default)]
pub(crate) struct MeetingShared(pub(crate) Mutex<MeetingState>);

#[derive(Debug, Default)]
pub(crate) struct MeetingState {
    pub(crate) registered: bool,
    /// Why the server is not reached, if the last attempt failed.
    pub(crate) failure: Option<Failure>,
    pub(crate) seen: Option<SocketAddr>,
    /// While the server holds it.
    pub(crate) number: Option<u64>,
    /// There will be no number.
    pub(crate) number_failure: Option<Failure>,
    pub(crate) number_wanted: bool,
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
    Number,
    ReleaseNumber,
    Find(u64, Question<Result<Fingerprint, Failure>>),
    Connect(Arc<SessionShared>, Bytes, PathPolicy),
}

impl MeetingState {
    pub(crate) fn push(&mut self, event: MeetingEvent) {
        if self.events.len() >= WAITING_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
        self.wakers.wake();
    }

    pub(crate) fn lost(&mut self, failure: Failure, retry: Duration) {
        (self.registered, self.number) = (false, None);
        self.failure = Some(failure);
        self.push(MeetingEvent::ServerLost { failure, retry });
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
