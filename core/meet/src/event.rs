//! What a server tells those who run it.

use core::net::SocketAddr;

use rtmfp_core::SessionHandle;

use crate::message::{CircuitEnd, Refusal};

/// What a [`Rendezvous`](crate::Rendezvous) tells its user, for logs and counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ServerEvent {
    /// A session uses the service.
    Joined {
        /// The session.
        session: SessionHandle,
    },
    /// It does not any more.
    Left {
        /// The session.
        session: SessionHandle,
    },
    /// A number was given.
    NumberGiven {
        /// To whom.
        session: SessionHandle,
    },
    /// A number is free again: its holder has released it, or has left.
    NumberReleased {
        /// Who had it.
        session: SessionHandle,
    },
    /// Somebody was asked for, by number or by name.
    Sought {
        /// By whom.
        session: SessionHandle,
        /// Whether somebody was there.
        found: bool,
    },
    /// A token was shown.
    TokenShown {
        /// By whom.
        session: SessionHandle,
        /// Whether it holds.
        accepted: bool,
    },
    /// A request was refused.
    Refused {
        /// Whose.
        session: SessionHandle,
        /// Why.
        reason: Refusal,
    },
    /// A circuit is open.
    CircuitOpened {
        /// Its number.
        circuit: u64,
        /// Who has asked for it, and the peer.
        ends: [SessionHandle; 2],
    },
    /// A circuit has ended.
    CircuitClosed {
        /// Its number.
        circuit: u64,
        /// Why.
        end: CircuitEnd,
        /// Bytes of datagrams that were queued for the other end, in both directions. What waits for longer than 250 ms
        /// is dropped from there.
        bytes: u64,
        /// Datagrams that were not queued: over a limit, or the other end had no room.
        dropped: u64,
    },
    /// A hello came for somebody.
    Hello {
        /// From where, which is not proved.
        from: SocketAddr,
        /// Whether the two were introduced.
        introduced: bool,
    },
}
