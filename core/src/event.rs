//! What an endpoint tells its user, and the queue it waits in.

use alloc::collections::VecDeque;
use core::fmt;
use core::net::SocketAddr;

use bytes::Bytes;

use crate::handle::{MessageId, RecvFlowHandle, SendFlowHandle, SessionHandle};
use crate::trace::{TraceEvent, Tracer};
use crate::transmit::Path;

/// Something that happened, from [`poll_event`](crate::Endpoint::poll_event). Events are edges: each tells of a
/// change, and what can be asked for (message data, metadata, certificates) is asked for by handle.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The session reached S_OPEN (RFC 7016 §3.5). For a session that a peer began this is its first event.
    SessionOpened {
        /// The session.
        session: SessionHandle,
    },
    /// A session begun here did not open. Nothing more comes about it.
    SessionFailed {
        /// The session.
        session: SessionHandle,
        /// Why.
        reason: OpenFailure,
    },
    /// An open session ended, with all flows that are not complete (RFC 7016 §3.5.5). Receiving flows that are complete
    /// stay readable by their handles, within [`unread_limit`](crate::SessionConfig::unread_limit):
    /// [`FlowFinished`](Self::FlowFinished) comes for each, and nothing else about the session.
    SessionClosed {
        /// The session.
        session: SessionHandle,
        /// Why.
        reason: CloseReason,
    },
    /// A session that was to be [drained](crate::SessionMut::drain) leaves S_OPEN, or fails to open: its end follows.
    SessionDrained {
        /// The session.
        session: SessionHandle,
        /// What was written and is not acknowledged.
        undelivered: Undelivered,
    },
    /// The far end was proved to be at another address (RFC 7016 §3.5.3).
    PathChanged {
        /// The session.
        session: SessionHandle,
        /// Where its packets go now.
        path: Path,
    },
    /// A session that is [watched](crate::SessionMut::watch) has changed in one of these: its
    /// [`target_rate`](crate::SessionStats::target_rate), its
    /// [`congestion_events`](crate::SessionStats::congestion_events), whether the far end
    /// [has proved its keys](crate::SessionRef::far_keys_proved), or whether the session
    /// [struggles](crate::SessionRef::is_struggling). Comes once, until it is watched again, and for the rate not
    /// more than once in a round trip.
    SessionUpdated {
        /// The session.
        session: SessionHandle,
    },
    /// The far end began a flow (RFC 7016 §3.6.3.1). It is accepted unless rejected.
    FlowOpened {
        /// The flow.
        flow: RecvFlowHandle,
    },
    /// A hello came for somebody else (RFC 7016 §3.5.1.4, §3.5.1.5). It can be answered with
    /// [`redirect`](crate::Endpoint::redirect), [`forward`](crate::Endpoint::forward), both, or not at all. Told only
    /// if [`max_unmatched_hellos`](crate::EndpointConfig::max_unmatched_hellos) is not 0.
    UnmatchedHello {
        /// The hello.
        hello: UnmatchedHello,
    },
    /// A flow that had no message to read has one. Comes again only after a read has returned nothing.
    FlowReadable {
        /// The flow.
        flow: RecvFlowHandle,
    },
    /// A receiving flow ended: nothing can be read from it any more.
    FlowFinished {
        /// The flow.
        flow: RecvFlowHandle,
        /// How.
        end: FlowEnd,
    },
    /// A flow that refused a write has room again.
    FlowWritable {
        /// The flow.
        flow: SendFlowHandle,
    },
    /// The receiver rejected the flow (RFC 7016 §3.6.2.10). It is closed, and what it held is abandoned.
    FlowRejected {
        /// The flow.
        flow: SendFlowHandle,
        /// The exception code, which is the application's own unless it is 0.
        code: u64,
        /// Messages of the flow that were abandoned, now or before. With none the receiver has acknowledged all that was
        /// written.
        abandoned: u64,
        /// How many of these were abandoned because of the rejection.
        rejected: u64,
    },
    /// A closed sending flow is complete: the receiver has acknowledged its end (RFC 7016 §3.6.2.11).
    FlowCompleted {
        /// The flow.
        flow: SendFlowHandle,
        /// Messages of the flow that were abandoned. With none the receiver has acknowledged all that was written.
        abandoned: u64,
        /// How many of these were abandoned because the receiver rejected the flow after its close.
        rejected: u64,
    },
    /// What became of a message written with a receipt asked for. It comes once for each, before the end of its flow or
    /// session is told. If a message is abandoned when all of it is in flight, this comes when that is acknowledged or
    /// lost.
    MessageDone {
        /// The flow.
        flow: SendFlowHandle,
        /// The message.
        message: MessageId,
        /// What became of it.
        outcome: MessageOutcome,
    },
}

/// An Initiator Hello that names somebody else (RFC 7016 §2.3.2).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UnmatchedHello {
    /// Where it came from, which is not proved.
    pub path: Path,
    /// Whom it names, in the profile's syntax.
    pub discriminator: Bytes,
    /// What the initiator will know an answer by.
    pub tag: Bytes,
    /// Bytes of the datagram that it came in, which an answer may be three times as long as.
    pub datagram_len: usize,
}

/// Why a session did not open.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum OpenFailure {
    /// Nobody answered within the ultimate open timeout (RFC 7016 §3.5.1.1.1).
    TimedOut,
    /// Nobody answered within that time, and the system refused to send to one of the candidates.
    NotSent {
        /// Where to.
        remote: SocketAddr,
        /// The system's code of the last such error.
        os_error: i32,
    },
    /// Closed by the user before it opened.
    Cancelled,
    /// The same endpoint is reached by another session already (RFC 7016 §3.5.1.1.1, step 1).
    Duplicate {
        /// The session to use instead.
        existing: SessionHandle,
    },
    /// The far end prevailed in glare, and its session takes the place of this one (RFC 7016 §3.5.1.3).
    Glare,
    /// The two ends have no key agreement in common, or a required protection was not offered, or the computation was
    /// lost.
    KeyAgreement,
    /// A far end answered whose certificate does not let it prove what this end asks for. In the Flash profile: it was
    /// pinned by fingerprint and its certificate has no static keys, so that anybody could show a copy; or signatures are
    /// required, and it has static keys that are not pinned, which no signature covers.
    CertificateRefused,
}

impl core::error::Error for OpenFailure {}

impl fmt::Display for OpenFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("nobody answered in time"),
            Self::NotSent { remote, os_error } => {
                write!(f, "nobody answered in time, and the system refused to send to {remote} (error {os_error})")
            }
            Self::Cancelled => f.write_str("it was closed before it opened"),
            Self::Duplicate { .. } => f.write_str("another session reaches the same endpoint"),
            Self::Glare => f.write_str("a session that the far end opened takes its place"),
            Self::KeyAgreement => f.write_str("the two ends did not agree on keys"),
            Self::CertificateRefused => f.write_str("the far end's certificate cannot prove what was asked for"),
        }
    }
}

/// Why an open session ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum CloseReason {
    /// Closed by the user of this end.
    Near,
    /// Closed by the far end, in order or abruptly.
    Far,
    /// The far end answered nothing for the retransmit limit.
    TimedOut,
    /// The same, in a session whose packets are not authenticated (in the Flash profile: without HMAC). Such a session
    /// cannot follow its far end to another address (RFC 7016 §5): if a NAT has given one of the ends a new port, it
    /// stalls for good.
    TimedOutAtFixedAddress,
    /// The far end answered nothing for the retransmit limit, and the system refused to send to it.
    NotSent {
        /// The system's code of the last such error.
        os_error: i32,
    },
    /// Small packets were answered, but for the retransmit limit no data came through: the path does not carry packets
    /// of the size that is needed, not even in fragments.
    PacketSize,
    /// It had no flows for the idle limit.
    Idle,
    /// The same identity opened a new session in its place (RFC 7016 §3.5.1.1.2).
    Overridden,
    /// It opened beside another session, of the same address or identity, and the far end did not show that it has the
    /// keys.
    Unproved,
    /// The far end broke the protocol in a way that can be no accident (RFC 7016 §5).
    PeerAtFault,
    /// It made next to no progress while it held memory: the far end did not take what waited for it, or did not go on
    /// with messages that it had begun. Either the configured [`stall_limit`](crate::SessionConfig::stall_limit) was
    /// over, or the endpoint's memory was short and no other session held as much for as long.
    Stalled,
    /// The far end left far more gaps in what it sent than losses make, and did not close them.
    UnrepairedGaps,
}

impl core::error::Error for CloseReason {}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Near => "closed by this end",
            Self::Far => "closed by the far end",
            Self::TimedOut => "the far end answered nothing",
            Self::TimedOutAtFixedAddress => {
                "the far end answered nothing, and without authentication it cannot be followed to another address"
            }
            Self::NotSent { os_error } => {
                return write!(
                    f,
                    "the far end answered nothing, and the system refused to send to it (error {os_error})"
                );
            }
            Self::PacketSize => "the path carries small packets only",
            Self::Idle => "there were no flows",
            Self::Overridden => "the far end opened a new session in its place",
            Self::Unproved => "the far end did not show that it has the keys",
            Self::PeerAtFault => "the far end broke the protocol",
            Self::Stalled => "the far end made no progress",
            Self::UnrepairedGaps => "the far end did not send again what was lost",
        })
    }
}

/// Messages that were written and not acknowledged to the last byte when their session ended, those of flows that the far
/// end rejected while the session drained included. Those that were abandoned otherwise do not count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Undelivered {
    /// Messages. The far end may have received those that were sent.
    pub messages: u64,
    /// Of these, messages of which nothing was sent: the far end has not received them.
    pub unsent: u64,
    /// Bytes of the messages that are not acknowledged.
    pub bytes: u64,
}

impl Undelivered {
    /// Whether all was delivered.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.messages == 0
    }

    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            messages: self.messages.saturating_add(other.messages),
            unsent: self.unsent.saturating_add(other.unsent),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

/// How a receiving flow ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum FlowEnd {
    /// Every message that the sender did not abandon was read.
    Complete,
    /// It was rejected at this end, by the user or for a fault (RFC 7016 §3.6.3.7).
    Rejected,
    /// Its session ended before it was complete, or so long ago that what was not read is discarded.
    SessionEnded,
}

impl fmt::Display for FlowEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Complete => "complete",
            Self::Rejected => "rejected by this end",
            Self::SessionEnded => "its session ended",
        })
    }
}

/// What became of a message.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum MessageOutcome {
    /// The receiver acknowledged every fragment. The last acknowledgement may have come after the message was abandoned.
    Delivered,
    /// It was abandoned before all of it was sent: by the user, a deadline, a chain, a rejection, or the end of its
    /// session. The receiver cannot have got it.
    Abandoned,
    /// It was abandoned after all of it was sent, and not all was acknowledged. The receiver may have got it. A loss is
    /// no proof of the contrary: it is only inferred from acknowledgements of later fragments (RFC 7016 §3.6.2.5).
    Unknown,
}

impl fmt::Display for MessageOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Delivered => "delivered",
            Self::Abandoned => "abandoned",
            Self::Unknown => "unknown",
        })
    }
}

/// Events waiting for the user, and the trace of what leads to them: what every part of an endpoint has to tell.
///
/// Its length is bounded by what it tells of, not by a cap: each flow and session reports an edge once until the
/// user has acted on it, so the limits on sessions, flows and buffered messages bound it.
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    events: VecDeque<Event>,
    pub(crate) tracer: Tracer,
}

impl EventQueue {
    /// [`Tracer::emit`].
    #[inline]
    pub(crate) fn trace<'a>(&mut self, event: impl FnOnce() -> TraceEvent<'a>) {
        self.tracer.emit(event);
    }

    pub(crate) fn push(&mut self, event: Event) {
        self.events.push_back(event);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}
