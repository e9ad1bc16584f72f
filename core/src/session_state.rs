//! The states of a session.

/// The state of a session (RFC 7016 §3.5, figure 8).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SessionState {
    /// S_IHELLO_SENT.
    HelloSent,
    /// S_KEYING_SENT.
    KeyingSent,
    /// S_OPEN.
    Open,
    /// S_NEARCLOSE.
    NearClose,
    /// S_FARCLOSE_LINGER.
    FarCloseLinger,
    /// S_CLOSED.
    Closed,
    /// S_OPEN_FAILED.
    OpenFailed,
}

impl SessionState {
    /// One of the opening states (RFC 7016 §3.5).
    pub(crate) const fn is_opening(self) -> bool {
        matches!(self, Self::HelloSent | Self::KeyingSent)
    }

    /// S_OPEN is left, by a close or because it was never reached.
    pub(crate) const fn has_ended(self) -> bool {
        !self.is_opening() && !matches!(self, Self::Open)
    }

    /// One of the closed states (RFC 7016 §3.5).
    pub(crate) const fn is_closed(self) -> bool {
        matches!(self, Self::Closed | Self::OpenFailed)
    }
}
