//! A trace: what an endpoint does, told to a sink as it happens.
//!
//! Events ([`Event`](crate::Event)) are for whoever uses sessions and flows. A trace is for whoever wants to know why they
//! behave as they do: each packet, each loss and its cause, each change of the window, of a timer, of a state.

mod names;
mod words;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use crate::error::DropReason;
use crate::event::{CloseReason, Event, OpenFailure};
use crate::handle::{MessageId, SendFlowHandle, SessionHandle};
use crate::profile::KeyingError;
use crate::session_state::SessionState;
use crate::time::Instant;
use crate::transmit::{Ecn, Path};

/// A sink of trace events, for [`Endpoint::set_trace`](crate::Endpoint::set_trace).
///
/// It is called in the middle of the endpoint's work, on the thread that works: it should note what it needs and return.
/// What it is told is borrowed, and nothing is allocated for it. It cannot reach the endpoint, so it cannot change what
/// happens: with a sink and without, the same inputs give the same outputs. It must not panic: an endpoint whose sink has
/// is in no defined state.
pub trait Trace: Send {
    /// Something happened at `at`, which never goes back. `session`: in the course of work for that session. It is `None`
    /// for what concerns none, or none yet: hellos and keyings before a session begins, and datagrams that are dropped.
    fn event(&mut self, at: Instant, session: Option<SessionHandle>, event: &TraceEvent<'_>);
}

/// Tells each of them, in order.
impl Trace for Vec<Box<dyn Trace>> {
    fn event(&mut self, at: Instant, session: Option<SessionHandle>, event: &TraceEvent<'_>) {
        for sink in self {
            sink.event(at, session, event);
        }
    }
}

/// What happened. Sizes are bytes.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum TraceEvent<'a> {
    /// A packet is given out by [`poll_transmit`](crate::Endpoint::poll_transmit), as one datagram of the flight, in order.
    PacketSent {
        /// Where it goes.
        path: Path,
        /// Of the datagram (UDP payload).
        size: usize,
        /// The packet before encryption (RFC 7016 §2.2.4), for [`PacketHeader::parse`](crate::wire::PacketHeader::parse).
        /// It holds what users write.
        plain: &'a [u8],
    },
    /// A packet came that the keys opened. What became of its chunks comes after.
    PacketReceived {
        /// Where it came from.
        path: Path,
        /// Of the datagram (UDP payload).
        size: usize,
        /// How it was marked, as far as the driver can see.
        ecn: Option<Ecn>,
        /// The packet after decryption (RFC 7016 §2.2.4), with the padding that the cipher needs. It holds what users
        /// write.
        plain: &'a [u8],
    },
    /// A whole datagram was not used.
    DatagramDropped {
        /// Where it came from.
        path: Path,
        /// Of the datagram (UDP payload).
        size: usize,
        /// Why.
        reason: DropReason,
    },
    /// A chunk of the packet that was received last was not used, or something else that waited to be done for a peer.
    ChunkDropped {
        /// Why.
        reason: DropReason,
    },
    /// The far end acknowledged a fragment for the first time (RFC 7016 §3.6.2.4).
    FragmentAcknowledged {
        /// The flow.
        flow: SendFlowHandle,
        /// Its sequence number.
        sequence: u64,
        /// Of its chunk when it was last sent.
        size: u32,
        /// It had been declared lost and waited to be sent again: the loss was spurious.
        was_lost: bool,
    },
    /// A fragment that was in flight was declared lost (RFC 7016 §3.6.2.5, §3.6.2.6). It is sent again unless its message
    /// is abandoned.
    FragmentLost {
        /// The flow.
        flow: SendFlowHandle,
        /// Its sequence number.
        sequence: u64,
        /// Of its chunk.
        size: u32,
        /// Why.
        cause: LossCause,
    },
    /// A message is not sent, or not sent again (RFC 7016 §3.6.2.7).
    MessageAbandoned {
        /// The flow.
        flow: SendFlowHandle,
        /// The message.
        message: MessageId,
        /// Of the whole message.
        size: usize,
        /// Why.
        cause: AbandonCause,
    },
    /// The state of congestion control (RFC 7016 §3.5.2) after it was told of acknowledgements, loss, a timeout, or
    /// another path.
    Congestion {
        /// The congestion window.
        window: u64,
        /// The slow start threshold; `None` while it is unset.
        threshold: Option<u64>,
        /// User data in flight (S_OUTSTANDING_BYTES).
        outstanding: u64,
        /// The smoothed round-trip time, once it is measured (RFC 7016 §3.5.2.2).
        srtt: Option<Duration>,
        /// The effective retransmission timeout (ERTO).
        erto: Duration,
        /// Bytes of user data a second that an encoder may be set to, once the round trip is measured: what
        /// [`SessionStats::target_rate`](crate::SessionStats::target_rate) is before small changes are left out.
        target_rate: Option<u64>,
    },
    /// A deadline of the session was set or moved.
    TimerSet {
        /// What it is for, as [`timeout_reason`](crate::Endpoint::timeout_reason) says it.
        timer: &'static str,
        /// When.
        at: Instant,
    },
    /// A deadline of the session was given up before it came.
    TimerCancelled {
        /// What it was for.
        timer: &'static str,
    },
    /// A deadline of the session has come.
    TimerExpired {
        /// What it was for.
        timer: &'static str,
    },
    /// The far end is elsewhere (RFC 7016 §3.5.3).
    Moved {
        /// Where packets went.
        from: Path,
        /// Where they go now.
        to: Path,
        /// It has proved so; else it claims so before it has used the session (RFC 7016 §3.5.1.2).
        proved: bool,
    },
    /// The session's state changed (RFC 7016 §3.5, figure 8).
    StateChanged {
        /// `None`: the session began. One that a peer begins is in S_IHELLO_SENT for no time.
        from: Option<SessionState>,
        /// Its state now.
        to: SessionState,
    },
    /// Why the session goes to S_OPEN_FAILED.
    OpenFailed {
        /// Why.
        reason: OpenFailure,
    },
    /// Why the session leaves S_OPEN.
    Closed {
        /// Why.
        reason: CloseReason,
    },
    /// A key agreement was handed to the caller, or came to its end (RFC 7016 §3.5.1.1).
    KeyAgreement {
        /// Whose part of it.
        step: KeyAgreementStep,
        /// What became of it.
        outcome: KeyAgreementOutcome,
        /// Where the far end is. `None`: where the session's keying went.
        remote: Option<SocketAddr>,
    },
}

/// Why a fragment was declared lost.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum LossCause {
    /// Negative acknowledgements (RFC 7016 §3.6.2.5).
    NegativeAcknowledgements,
    /// A later fragment is acknowledged, and this one was sent a round trip ago and an eighth (RFC 9002 §6.1.2).
    TimeThreshold,
    /// The retransmission timeout (RFC 7016 §3.6.2.6).
    Timeout,
    /// The far end is at another address, and what was in flight to the old one does not arrive.
    PathChange,
    /// The far end is heard again after a silence, or an interface came up: the timeout is not waited for.
    Revived,
}

/// Why a message was abandoned (RFC 7016 §3.6.2.7).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum AbandonCause {
    /// The user asked for it.
    User,
    /// One of its deadlines came.
    Deadline,
    /// A fragment of it was lost, and it is not to be sent again.
    NotRetransmitted,
    /// The message that it is to follow was abandoned.
    Dependency,
    /// The receiver rejected the flow (RFC 7016 §3.6.2.10).
    FlowRejected,
    /// The session ended.
    SessionEnded,
}

/// One of the computations of a key agreement (RFC 7016 §3.5.1.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum KeyAgreementStep {
    /// The initiator's half, for its IIKeying.
    Initiate,
    /// The initiator's keys, from the RIKeying.
    Finish,
    /// The responder's half and keys, from the IIKeying.
    Respond,
}

/// What became of a key agreement.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum KeyAgreementOutcome {
    /// The caller computes it, see [`poll_key_agreement`](crate::Endpoint::poll_key_agreement).
    Offloaded,
    /// It was computed.
    Agreed,
    /// It could not be.
    Failed(KeyingError),
}

impl TraceEvent<'_> {
    /// A key agreement came to its end.
    pub(crate) fn key_agreement<T>(
        step: KeyAgreementStep,
        remote: Option<SocketAddr>,
        result: &Result<T, KeyingError>,
    ) -> Self {
        let outcome = match result {
            Ok(_) => KeyAgreementOutcome::Agreed,
            Err(error) => KeyAgreementOutcome::Failed(*error),
        };
        Self::KeyAgreement { step, outcome, remote }
    }
}

/// The sink of an endpoint, if it has one, and what it is told with every event.
pub(crate) struct Tracer {
    sink: Option<Box<dyn Trace>>,
    at: Instant,
    session: Option<SessionHandle>,
}

impl Default for Tracer {
    fn default() -> Self {
        Self { sink: None, at: Instant::ORIGIN, session: None }
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer").field("on", &self.is_on()).finish_non_exhaustive()
    }
}

impl Tracer {
    pub(crate) fn set(&mut self, sink: Option<Box<dyn Trace>>) -> Option<Box<dyn Trace>> {
        core::mem::replace(&mut self.sink, sink)
    }

    /// Whether there is a sink: to be asked before what is costly.
    #[inline]
    pub(crate) const fn is_on(&self) -> bool {
        self.sink.is_some()
    }

    /// What comes from now on happens at this time, in the course of work for this session.
    pub(crate) const fn enter(&mut self, at: Instant, session: Option<SessionHandle>) {
        self.at = at;
        self.session = session;
    }

    /// Tells the sink, if there is one; the event is made only then.
    #[inline]
    pub(crate) fn emit<'a>(&mut self, event: impl FnOnce() -> TraceEvent<'a>) {
        if self.sink.is_some() {
            self.tell(event);
        }
    }

    /// Why a session ends, as the last that its user hears says.
    pub(crate) fn emit_end(&mut self, last: &Event) {
        if let Event::SessionFailed { reason, .. } = *last {
            self.emit(|| TraceEvent::OpenFailed { reason });
        }
        if let Event::SessionClosed { reason, .. } = *last {
            self.emit(|| TraceEvent::Closed { reason });
        }
    }

    #[cold]
    #[inline(never)]
    fn tell<'a>(&mut self, event: impl FnOnce() -> TraceEvent<'a>) {
        if let Some(sink) = &mut self.sink {
            sink.event(self.at, self.session, &event());
        }
    }
}
