//! A session, and what the endpoint keeps beside it.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::SocketAddr;

use super::index::{Identity, Place, Standing, identity_of};
use super::initiator::Opening;
use super::memory::Charge;
use super::reintroduce::Reintroduction;
use super::responder::RespondedKeying;
use super::shared::Shared;
use super::table::{FoundBy, Indexed, Tag};
use super::tracked::Tracked;
use crate::config::Priority;
use crate::handle::SessionHandle;
use crate::session::{Session, SessionState};
use crate::time::Instant;
use crate::transmit::Path;
use crate::wire::Address;

/// Who began a session, and what the endpoint still needs for it.
#[derive(Debug)]
pub(super) enum Phase {
    /// This end is opening it: S_IHELLO_SENT, S_KEYING_SENT. Once the session has left these states, the table makes this
    /// `Initiated`, whether it is open or has failed. In glare that the far end won, that becomes `Responded` at once.
    Opening(Box<Opening>),
    /// This end opened it. `proved`: the far end has shown the session's keys.
    Initiated { opened: Instant, proved: bool },
    /// A peer opened it.
    Responded(RespondedKeying),
}

/// What a session is known by beside its own state.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) phase: Phase,
    /// Who the far end is, or claims to be, if that is known.
    pub(super) identity: Option<Identity>,
    /// Its introducers are being asked to introduce this end again.
    pub(super) reintroduction: Option<Box<Reintroduction>>,
}

/// What of a session's own state decides where it is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Seen {
    state: SessionState,
    /// None before S_OPEN.
    pub(super) remote: Option<SocketAddr>,
}

/// One session of the table.
#[derive(Debug)]
pub(super) struct SessionEntry {
    pub(super) session: Session,
    /// What of the endpoint's memory is charged to it.
    pub(super) charge: Charge,
    pub(super) known: Tracked<Known>,
    /// The receive session ID, 0 while there is none.
    pub(super) rx_id: u32,
    /// Further addresses to introduce the far end at (§3.5.1.6).
    pub(super) introduce_at: Vec<Address>,
    /// Who can introduce this end to the far end again.
    pub(super) introducers: Vec<Path>,
    /// What the table finds it by.
    pub(super) indexed: Indexed,
}

impl SessionEntry {
    /// A session of which nothing is known yet.
    pub(super) fn new(session: Session, phase: Phase) -> Self {
        Self {
            session,
            charge: Charge::default(),
            known: Tracked::new(Known { phase, identity: None, reintroduction: None }),
            rx_id: 0,
            introduce_at: Vec::new(),
            introducers: Vec::new(),
            indexed: Indexed::default(),
        }
    }

    pub(super) fn handle(&self) -> SessionHandle {
        self.session.handle()
    }

    pub(super) fn opening(&self) -> Option<&Opening> {
        if let Phase::Opening(opening) = &self.known.phase { Some(opening) } else { None }
    }

    pub(super) fn opening_mut(&mut self) -> Option<&mut Opening> {
        self.opening()?;
        if let Phase::Opening(opening) = &mut self.known.phase { Some(opening) } else { None }
    }

    pub(super) fn responded(&self) -> Option<&RespondedKeying> {
        self.known.responded()
    }

    pub(super) fn is_open(&self) -> bool {
        self.session.state() == SessionState::Open
    }

    /// What of the session's own state decides where it is found now.
    pub(super) fn seen(&self) -> Seen {
        Seen { state: self.session.state(), remote: self.session.transport().remote().copied() }
    }

    /// Whether it is found by what is true now, and has nothing to begin or to end.
    #[inline]
    pub(super) fn is_indexed(&self) -> bool {
        let Some(Seen { state, remote }) = &self.indexed.seen else { return false };
        !self.known.is_changed()
            && *state == self.session.state()
            && !state.is_closed()
            && remote.as_ref() == self.session.transport().remote()
            && self.wants_reintroduction().is_none()
    }

    /// Since when it is in S_OPEN, or was.
    pub(super) fn opened(&self) -> Option<Instant> {
        match &self.known.phase {
            Phase::Opening(_) => None,
            Phase::Initiated { opened, .. } => Some(*opened),
            Phase::Responded(responded) => Some(responded.opened),
        }
    }

    /// Whether the session's keys are proved now, and that was not noted yet: then, whether it was begun from here.
    pub(super) fn keys_newly_proved(&self) -> Option<bool> {
        let initiated_here = match &self.known.phase {
            Phase::Initiated { proved: false, .. } => true,
            Phase::Responded(responded) if responded.reply.is_some() => false,
            Phase::Opening(_) | Phase::Initiated { .. } | Phase::Responded(_) => return None,
        };
        self.session.transport().keys_proved().then_some(initiated_here)
    }

    /// Knows the far end of a session that has just opened.
    pub(super) fn note_open(&mut self, shared: &Shared) {
        if self.known.identity.is_none() && self.is_open() {
            let far_certificate = self.session.transport().far_certificate();
            self.known.identity = Some(identity_of(shared.profile.as_ref(), far_certificate));
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let opening = self.opening().map(Opening::next_timeout);
        let again = self.known.reintroduction.as_ref().map(|again| again.next_timeout());
        Instant::earliest([opening, again, self.session.deadlines().first()])
    }

    /// What [`next_timeout`](Self::next_timeout) is for.
    pub(super) fn timeout_reason(&self) -> Option<&'static str> {
        let opening = self.opening().map(|opening| (opening.next_timeout(), "startup"));
        let again = self.known.reintroduction.as_ref().map(|again| (again.next_timeout(), "reintroduction"));
        opening.into_iter().chain(again).chain(self.session.deadlines().next()).min().map(|(_, reason)| reason)
    }

    /// What it wants to send, as [`ReadyRing::set`](super::schedule::ReadyRing::set) takes it.
    pub(super) fn wants(&self) -> Option<Option<Priority>> {
        let demand = self.session.demand();
        demand.any().then(|| demand.priority())
    }

    /// Does everything that is due.
    pub(super) fn handle_timeout(&mut self, shared: &mut Shared) {
        self.trace_expired(shared);
        self.drive_opening(shared);
        self.drive_reintroduction(shared);
        self.session.handle_timeout(&mut shared.context());
    }
}

/// What a session is found by depends on nothing else than this and what is [`Seen`].
impl Known {
    fn responded(&self) -> Option<&RespondedKeying> {
        if let Phase::Responded(responded) = &self.phase { Some(responded) } else { None }
    }

    pub(super) fn found_by(&self, seen: Seen) -> FoundBy {
        FoundBy { place: self.place(seen), tag: self.tag(), keying: self.responded().map(|responded| responded.digest) }
    }

    fn place(&self, seen: Seen) -> Option<Place> {
        let open = seen.state == SessionState::Open;
        let standing = match &self.phase {
            Phase::Opening(_) | Phase::Initiated { .. } => Standing::Initiated,
            Phase::Responded(responded) if responded.reply.is_none() => Standing::Proved,
            Phase::Responded(_) => Standing::Claimed,
        };
        if !open && !matches!(self.phase, Phase::Opening(_)) {
            return None;
        }
        Some(Place { identity: self.identity?, address: seen.remote.filter(|_| open), standing })
    }

    fn tag(&self) -> Option<Tag> {
        match &self.phase {
            Phase::Opening(opening) => Some(opening.tag),
            Phase::Initiated { .. } | Phase::Responded(_) => self.reintroduction.as_ref().map(|again| again.tag()),
        }
    }
}
