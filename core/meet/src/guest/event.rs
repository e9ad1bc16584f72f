//! What a guest tells its user.

use alloc::collections::VecDeque;
use core::net::SocketAddr;
use core::time::Duration;

use rtmfp_core::{Bytes, SessionHandle};

use crate::failure::Failure;
use crate::message::Refusal;
use crate::path::PathKind;

/// Names something that a [`Guest`](crate::Guest) was asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub(super) u64);

/// How far a connection has come that a [`Guest`](crate::Guest) makes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Progress {
    /// A session with the peer is opening: hellos are sent, through the server or over a circuit.
    Opening(SessionHandle),
    /// The server has said that the peer is there.
    Known,
    /// The server has opened a circuit to the peer.
    Circuit,
    /// The server opens no circuit.
    NoCircuit(Refusal),
    /// The server opens no circuit: the peer is not there, or does not use the relay.
    NotJoined,
}

/// What a [`Guest`](crate::Guest) has to tell.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum GuestEvent {
    /// The server knows this end now: others can find it. Comes again after each [`ServerLost`](Self::ServerLost).
    Registered,
    /// The server is not reached, or not any more. It is tried again.
    ServerLost {
        /// Why.
        failure: Failure,
        /// After this time. Zero: at once, as the server was there and only fell silent.
        retry: Duration,
    },
    /// The server sees this end at this address, which is another one than before.
    Seen(SocketAddr),
    /// A number leads to this end, until the server is lost. Then this comes again.
    Number {
        /// What it was asked with.
        ticket: Ticket,
        /// The number.
        number: u64,
        /// The number before, if it was another: it leads nowhere any more, or to somebody else.
        before: Option<u64>,
    },
    /// Somebody can be met under the number that was asked for.
    Found {
        /// What it was asked with.
        ticket: Ticket,
        /// The peer's Canonical Endpoint Discriminator.
        discriminator: Bytes,
    },
    /// A connection that was asked for has come so far. For whoever wants to show it: nothing depends on it.
    Progress {
        /// What it was asked with.
        ticket: Ticket,
        /// How far.
        progress: Progress,
    },
    /// There is a session with the peer that was asked for. It may have been there before.
    Connected {
        /// What it was asked with.
        ticket: Ticket,
        /// The session.
        session: SessionHandle,
    },
    /// Something that was asked for failed. Nothing more comes about it.
    Failed {
        /// What it was asked with.
        ticket: Ticket,
        /// Why.
        failure: Failure,
    },
    /// The server does not accept the token.
    TokenRefused(Failure),
    /// A session goes over a path of another kind than before, or of this kind at first.
    Path {
        /// The session.
        session: SessionHandle,
        /// The kind.
        kind: PathKind,
    },
}

/// Events that wait besides those that answer something. With one beyond them the oldest is dropped.
const MAX_UNASKED: usize = 256;

/// Events for the user. Answers are limited by what was asked.
#[derive(Debug, Default)]
pub(super) struct Events {
    waiting: VecDeque<GuestEvent>,
    unasked: usize,
}

impl Events {
    pub(super) fn push(&mut self, event: GuestEvent) {
        if !event.is_answer() {
            // Of a session, only the last kind counts.
            if let GuestEvent::Path { session, .. } = event {
                self.drop_first(|one| matches!(one, GuestEvent::Path { session: other, .. } if *other == session));
            }
            if self.unasked >= MAX_UNASKED {
                self.drop_first(|one| !one.is_answer());
            }
            self.unasked += 1;
        }
        self.waiting.push_back(event);
    }

    pub(super) fn pop(&mut self) -> Option<GuestEvent> {
        let event = self.waiting.pop_front()?;
        self.unasked -= usize::from(!event.is_answer());
        Some(event)
    }

    fn drop_first(&mut self, is_it: impl Fn(&GuestEvent) -> bool) {
        if let Some(place) = self.waiting.iter().position(is_it) {
            self.waiting.remove(place);
            self.unasked -= 1;
        }
    }
}

impl GuestEvent {
    const fn is_answer(&self) -> bool {
        matches!(self, Self::Number { .. } | Self::Found { .. } | Self::Connected { .. } | Self::Failed { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{a_session, another_session};

    #[test]
    fn events_that_nobody_takes_are_limited_and_answers_are_kept() {
        let mut events = Events::default();
        let answer = GuestEvent::Failed { ticket: Ticket(7), failure: Failure::Left };
        events.push(answer.clone());
        for port in 0..1_000 {
            events.push(GuestEvent::Seen(([192, 0, 2, 1], port).into()));
            events.push(GuestEvent::Progress { ticket: Ticket(7), progress: Progress::Known });
            for kind in [PathKind::Direct, PathKind::Searching] {
                events.push(GuestEvent::Path { session: a_session(), kind });
            }
        }
        let path = GuestEvent::Path { session: another_session(), kind: PathKind::Lan };
        events.push(path.clone());
        assert_eq!(events.waiting.len(), MAX_UNASKED + 1);
        assert_eq!(events.pop(), Some(answer));
        let rest: alloc::vec::Vec<_> = core::iter::from_fn(|| events.pop()).collect();
        assert_eq!(rest.iter().filter(|one| matches!(one, GuestEvent::Path { .. })).count(), 2);
        assert_eq!((rest.last(), events.unasked), (Some(&path), 0));
    }
}
