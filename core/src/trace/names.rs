//! Short names of what a trace tells, for logs: in lower case, with underscores, and the same in all versions.

use super::{AbandonCause, KeyAgreementOutcome, KeyAgreementStep, LossCause, TraceEvent};
use crate::error::DropReason;
use crate::event::{CloseReason, OpenFailure};
use crate::profile::KeyingError;
use crate::session_state::SessionState;

/// Gives a type its names.
macro_rules! names {
    ($type:ty, $($variant:pat => $name:literal,)*) => {
        impl $type {
            /// A short name for logs, in lower case and the same in all versions.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self {
                    $($variant => $name,)*
                }
            }
        }
    };
}

names! { TraceEvent<'_>,
    Self::PacketSent { .. } => "packet_sent",
    Self::PacketReceived { .. } => "packet_received",
    Self::DatagramDropped { .. } => "datagram_dropped",
    Self::ChunkDropped { .. } => "chunk_dropped",
    Self::FragmentAcknowledged { .. } => "fragment_acknowledged",
    Self::FragmentLost { .. } => "fragment_lost",
    Self::MessageAbandoned { .. } => "message_abandoned",
    Self::Congestion { .. } => "congestion",
    Self::TimerSet { .. } => "timer_set",
    Self::TimerCancelled { .. } => "timer_cancelled",
    Self::TimerExpired { .. } => "timer_expired",
    Self::Moved { .. } => "moved",
    Self::StateChanged { .. } => "state_changed",
    Self::OpenFailed { .. } => "open_failed",
    Self::Closed { .. } => "closed",
    Self::KeyAgreement { .. } => "key_agreement",
}

names! { LossCause,
    Self::NegativeAcknowledgements => "negative_acknowledgements",
    Self::TimeThreshold => "time_threshold",
    Self::Timeout => "timeout",
    Self::PathChange => "path_change",
    Self::Revived => "revived",
}

names! { AbandonCause,
    Self::User => "user",
    Self::Deadline => "deadline",
    Self::NotRetransmitted => "not_retransmitted",
    Self::Dependency => "dependency",
    Self::FlowRejected => "flow_rejected",
    Self::SessionEnded => "session_ended",
}

names! { KeyAgreementStep,
    Self::Initiate => "initiate",
    Self::Finish => "finish",
    Self::Respond => "respond",
}

names! { KeyAgreementOutcome,
    Self::Offloaded => "offloaded",
    Self::Agreed => "agreed",
    Self::Failed(_) => "failed",
}

names! { KeyingError,
    Self::Malformed => "malformed",
    Self::NothingInCommon => "nothing_in_common",
    Self::BadPublicKey => "bad_public_key",
    Self::ProtectionRefused => "protection_refused",
    Self::Abandoned => "abandoned",
}

names! { SessionState,
    Self::HelloSent => "hello_sent",
    Self::KeyingSent => "keying_sent",
    Self::Open => "open",
    Self::NearClose => "near_close",
    Self::FarCloseLinger => "far_close_linger",
    Self::Closed => "closed",
    Self::OpenFailed => "open_failed",
}

names! { DropReason,
    Self::TooShort => "too_short",
    Self::UnknownSession => "unknown_session",
    Self::NotAuthentic => "not_authentic",
    Self::ProtectionRefused => "protection_refused",
    Self::Replayed => "replayed",
    Self::WrongMode => "wrong_mode",
    Self::Malformed => "malformed",
    Self::Unexpected => "unexpected",
    Self::OverLimit => "over_limit",
}

names! { OpenFailure,
    Self::TimedOut => "timed_out",
    Self::NotSent { .. } => "not_sent",
    Self::Cancelled => "cancelled",
    Self::Duplicate { .. } => "duplicate",
    Self::Glare => "glare",
    Self::KeyAgreement => "key_agreement",
    Self::CertificateRefused => "certificate_refused",
}

names! { CloseReason,
    Self::Near => "near",
    Self::Far => "far",
    Self::TimedOut => "timed_out",
    Self::TimedOutAtFixedAddress => "timed_out_at_fixed_address",
    Self::NotSent { .. } => "not_sent",
    Self::PacketSize => "packet_size",
    Self::Idle => "idle",
    Self::Overridden => "overridden",
    Self::Unproved => "unproved",
    Self::PeerAtFault => "peer_at_fault",
    Self::Stalled => "stalled",
    Self::UnrepairedGaps => "unrepaired_gaps",
}
