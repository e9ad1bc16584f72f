//! Errors, in three families: bad bytes (dropped and counted, see [`DropReason`]), a peer at fault (its session is
//! closed, see [`CloseReason`](crate::CloseReason)), and misuse by the caller (returned, never a panic).

use core::fmt;

use bytes::Bytes;

/// Why a received datagram, packet or chunk was not used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum DropReason {
    /// Shorter than any packet can be (RFC 7016 §2.2.2).
    TooShort,
    /// Its session ID names no session here.
    UnknownSession,
    /// It failed the profile's integrity test (RFC 7016 §2.2.3).
    NotAuthentic,
    /// It is a keying without a protection that is required here, such as HMAC or the hybrid with ML-KEM.
    ProtectionRefused,
    /// It was received before (RFC 7425 §4.7.3.3).
    Replayed,
    /// Its packet mode is forbidden, or wrong for this end of the session (RFC 7016 §2.2.4).
    WrongMode,
    /// It did not follow the syntax of RFC 7016 §2.
    Malformed,
    /// The state of the session, or of its startup, has no use for it.
    Unexpected,
    /// A limit of the configuration was reached.
    OverLimit,
}

impl DropReason {
    /// All of them, in the order of the checks that find them.
    pub const ALL: [Self; 9] = [
        Self::TooShort,
        Self::UnknownSession,
        Self::NotAuthentic,
        Self::ProtectionRefused,
        Self::Replayed,
        Self::WrongMode,
        Self::Malformed,
        Self::Unexpected,
        Self::OverLimit,
    ];
}

impl core::error::Error for DropReason {}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooShort => "shorter than any packet",
            Self::UnknownSession => "for no session of this endpoint",
            Self::NotAuthentic => "not authentic",
            Self::ProtectionRefused => "without a protection that is required here",
            Self::Replayed => "received before",
            Self::WrongMode => "of a wrong packet mode",
            Self::Malformed => "malformed",
            Self::Unexpected => "of no use at this point",
            Self::OverLimit => "over a limit of this endpoint",
        })
    }
}

/// A configuration value is out of its range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConfigError {
    /// The field.
    pub field: &'static str,
    /// What it must be.
    pub rule: &'static str,
}

/// Why [`open`](crate::Endpoint::open) did not begin a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The endpoint has as many sessions, or opening sessions, as its configuration allows.
    TooManySessions,
    /// No candidate address was given, and none can be learned without one.
    NoCandidates,
    /// The endpoint discriminator is empty, too long for a hello to carry, or does not follow the profile's syntax: no far
    /// end would answer it.
    BadDiscriminator,
}

/// Why a flow could not be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum OpenFlowError {
    /// The session is closing or closed: flows exist only before and in S_OPEN (RFC 7016 §3.5.5).
    SessionClosed,
    /// The session has as many sending flows as its configuration allows, lingering ones included.
    TooManyFlows,
    /// The metadata is longer than 512 bytes (RFC 7016 §2.3.11.1.1), or than the largest datagram leaves room for:
    /// with `base_datagram` below 640, its length less 128.
    MetadataTooLong,
    /// The flow to associate with is not open (RFC 7016 §3.6.2.1).
    AssociationNotOpen,
}

/// Why a message was not taken. The bytes come back in [`WriteError::data`].
#[derive(Clone, PartialEq, Eq)]
pub struct WriteError {
    /// The message, untouched.
    pub data: Bytes,
    /// Why.
    pub reason: WriteRefusal,
}

/// What a user wrote is not for logs.
impl fmt::Debug for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteError").field("bytes", &self.data.len()).field("reason", &self.reason).finish()
    }
}

/// The reasons of a [`WriteError`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WriteRefusal {
    /// The flow's send buffer has no room. [`FlowWritable`](crate::Event::FlowWritable) will tell when it has.
    Full,
    /// The flow was closed, by this end or by the receiver's rejection.
    Closed,
}

impl core::error::Error for ConfigError {}
impl core::error::Error for OpenError {}
impl core::error::Error for OpenFlowError {}
impl core::error::Error for WriteError {}
impl core::error::Error for WriteRefusal {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "configuration: {} {}", self.field, self.rule)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooManySessions => "the endpoint has as many sessions as its configuration allows",
            Self::NoCandidates => "no candidate address was given to send a hello to",
            Self::BadDiscriminator => "the endpoint discriminator is empty, too long for a hello, or malformed",
        })
    }
}

impl fmt::Display for OpenFlowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SessionClosed => "the session is closing or closed",
            Self::TooManyFlows => "the session has as many sending flows as its configuration allows",
            Self::MetadataTooLong => "flow metadata is limited to 512 bytes",
            Self::AssociationNotOpen => "the flow to associate with is not open",
        })
    }
}

/// As its [`reason`](WriteError::reason).
impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl fmt::Display for WriteRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the flow's send buffer is full: wait for FlowWritable",
            Self::Closed => "the flow is closed",
        })
    }
}
