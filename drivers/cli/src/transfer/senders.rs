//! Who is there to send files, and for how long.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;

use rtmfp_core::{Endpoint, Instant, SessionHandle};
use rtmfp_std::Places;

use crate::admission::{Admitted, admit};

/// How long a session may take to bring its first file flow, and to go once all its file flows are over.
const GRACE: Duration = Duration::from_secs(10);
/// How long the session of a sender that has said its last word may take to close.
const CLOSE_WAIT: Duration = Duration::from_secs(2);
/// How long a sender, or a file, keeps its place for what it brought, if others want it.
pub(super) const STALLED: Duration = Duration::from_secs(10);
/// How often a sender is checked for bringing something.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes that a sender must bring in that time, all its packets counted. Answers to keepalives are fewer.
const MIN_BYTES: u64 = 16_384;

/// What far ends may take of a [`Receiver`](super::Receiver).
#[derive(Clone, Copy, Debug)]
pub struct ReceiverLimits {
    /// Sessions at once. Default 256.
    pub sessions: usize,
    /// Of these, from one IPv4 address or one /64 network of IPv6. Default 128.
    pub sessions_per_source: usize,
    /// Files open at once, over all senders. Default 192: systems allow 256 or more open files to a program.
    pub open_files: usize,
    /// Of these, from one source. Default 96.
    pub open_files_per_source: usize,
    /// How long a sender has to bring 16 KiB, again and again. Default and least 60 s.
    pub patience: Duration,
}

impl Default for ReceiverLimits {
    fn default() -> Self {
        Self { sessions: 256, sessions_per_source: 128, open_files: 192, open_files_per_source: 96, patience: PATIENCE }
    }
}

/// All senders, those that there is no place for included.
#[derive(Debug)]
pub(super) struct Senders {
    known: BTreeMap<SessionHandle, SenderState>,
    places: Places<SessionHandle>,
    patience: Duration,
}

/// What is known of a sender.
#[derive(Debug)]
pub(super) struct SenderState {
    /// It has a place.
    pub(super) admitted: bool,
    /// It has opened a file flow.
    pub(super) announced: bool,
    pub(super) file_flows: usize,
    /// A file of it was taken.
    pub(super) begun: bool,
    pub(super) complete: bool,
    /// Whom its share is counted for.
    pub(super) address: IpAddr,
    /// When it is checked next.
    until: Instant,
    /// What it had brought at the last check.
    brought: u64,
}

/// What a check comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Check {
    /// It brings what it should.
    Stays,
    /// It has said its last word, and should have closed the session.
    Finished,
    /// It brought too little, or nothing.
    Idle,
}

impl Senders {
    pub(super) fn new(limits: &ReceiverLimits) -> Self {
        Self {
            known: BTreeMap::new(),
            places: Places::new(limits.sessions, limits.sessions_per_source).stalled_after(STALLED),
            patience: limits.patience.max(PATIENCE),
        }
    }

    /// A session has opened. Returns the session that has to go for it, if one does.
    pub(super) fn enter(&mut self, now: Instant, endpoint: &Endpoint, session: SessionHandle) -> Option<SessionHandle> {
        let turned_away = self.known.iter().filter(|(_, sender)| !sender.admitted);
        let turned_away = turned_away.map(|(session, sender)| (*session, sender.until));
        let Admitted { has_place, displaced, address } = admit(&mut self.places, now, endpoint, session, turned_away);
        self.known.insert(
            session,
            SenderState {
                admitted: has_place,
                announced: false,
                file_flows: 0,
                begun: false,
                complete: false,
                address,
                until: now + GRACE,
                brought: 0,
            },
        );
        displaced
    }

    pub(super) fn get(&self, session: SessionHandle) -> Option<&SenderState> {
        self.known.get(&session)
    }

    pub(super) fn get_mut(&mut self, session: SessionHandle) -> Option<&mut SenderState> {
        self.known.get_mut(&session)
    }

    pub(super) fn sessions(&self) -> impl Iterator<Item = SessionHandle> + '_ {
        self.known.keys().copied()
    }

    /// Whether any has begun a file.
    pub(super) fn any_begun(&self) -> bool {
        self.known.values().any(|sender| sender.begun)
    }

    /// A file flow was opened: true for the first of its session.
    pub(super) fn file_flow_opened(&mut self, now: Instant, session: SessionHandle) -> bool {
        let Some(sender) = self.known.get_mut(&session) else { return false };
        sender.file_flows += 1;
        if sender.file_flows == 1 {
            sender.until = now + self.patience;
        }
        !core::mem::replace(&mut sender.announced, true)
    }

    /// A file flow is over.
    pub(super) fn file_flow_ended(&mut self, now: Instant, session: SessionHandle) {
        let Some(sender) = self.known.get_mut(&session) else { return };
        sender.file_flows = sender.file_flows.saturating_sub(1);
        if sender.file_flows == 0 {
            sender.until = now + if sender.complete { CLOSE_WAIT } else { GRACE };
        }
    }

    /// Content of a file has come.
    pub(super) fn brought(&mut self, now: Instant, session: SessionHandle) {
        self.places.brought(now, session);
    }

    pub(super) fn leave(&mut self, session: SessionHandle) -> Option<SenderState> {
        self.places.leave(session);
        self.known.remove(&session)
    }

    /// Those whose time has come to be checked.
    pub(super) fn due(&self, now: Instant) -> Vec<SessionHandle> {
        self.known.iter().filter(|(_, sender)| sender.until <= now).map(|(session, _)| *session).collect()
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.known.values().map(|sender| sender.until).min()
    }

    /// Whether a sender may stay that has brought so many bytes in all.
    pub(super) fn check(&mut self, now: Instant, session: SessionHandle, brought: u64) -> Check {
        let Some(sender) = self.known.get_mut(&session) else { return Check::Idle };
        if sender.file_flows == 0 {
            return if sender.complete { Check::Finished } else { Check::Idle };
        }
        if brought.saturating_sub(sender.brought) < MIN_BYTES {
            return Check::Idle;
        }
        sender.brought = brought;
        sender.until = now + self.patience;
        Check::Stays
    }
}
