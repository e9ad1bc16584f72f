//! Handles: small, `Copy`, generational names for what an endpoint owns.
//!
//! A handle is not the session ID or flow ID of the RFC: those are wire values, chosen anew and reused. A handle
//! of something that has gone never names anything else.

use core::fmt;

/// Names a session of one endpoint, from [`open`](crate::Endpoint::open) or
/// [`SessionOpened`](crate::Event::SessionOpened) until its end is reported, and until its last complete flow is read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionHandle {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// Names a sending flow (RFC 7016 §3.6.2) of one session of one endpoint.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SendFlowHandle {
    pub(crate) session: SessionHandle,
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// Names a receiving flow (RFC 7016 §3.6.3) of one session of one endpoint.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecvFlowHandle {
    pub(crate) session: SessionHandle,
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// Names a message within the sending flow it was written to: the first written is 0, the next 1, and so on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MessageId(pub(crate) u64);

/// Zero is a legal flow ID, but left alone: peers differ in whether they use it.
pub(crate) const FIRST_FLOW_ID: u64 = 1;

impl SendFlowHandle {
    /// The session that this flow belongs to.
    #[must_use]
    pub const fn session(self) -> SessionHandle {
        self.session
    }

    /// The flow ID on the wire (RFC 7016 §3.6.2.1). After the flow's end another flow of the session may have it.
    ///
    /// It comes from the slot: small, and free for reuse exactly when the slot is, which is after the linger
    /// (RFC 7016 §3.6.2.11).
    #[must_use]
    pub const fn flow_id(self) -> u64 {
        self.slot as u64 + FIRST_FLOW_ID
    }
}

impl RecvFlowHandle {
    /// The session that this flow belongs to.
    #[must_use]
    pub const fn session(self) -> SessionHandle {
        self.session
    }
}

impl MessageId {
    /// The message's place in the order of writing, from 0.
    #[must_use]
    pub const fn index(self) -> u64 {
        self.0
    }
}

/// Short, for logs: `3.1` is the second session that has the number 3.
impl fmt::Display for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

impl fmt::Debug for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session {}.{}", self.slot, self.generation)
    }
}

impl fmt::Debug for SendFlowHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} send flow {}.{}", self.session, self.slot, self.generation)
    }
}

impl fmt::Debug for RecvFlowHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} receive flow {}.{}", self.session, self.slot, self.generation)
    }
}
