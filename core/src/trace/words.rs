//! The causes that a trace tells, in plain words.

use core::fmt;

use super::{AbandonCause, LossCause};

impl fmt::Display for LossCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NegativeAcknowledgements => "acknowledgements left it out",
            Self::TimeThreshold => "what was sent later is acknowledged",
            Self::Timeout => "it was not acknowledged in time",
            Self::PathChange => "the far end is at another address",
            Self::Revived => "the far end is heard again",
        })
    }
}

impl fmt::Display for AbandonCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "the user asked for it",
            Self::Deadline => "its deadline came",
            Self::NotRetransmitted => "a fragment was lost, and is not sent again",
            Self::Dependency => "the message that it follows was abandoned",
            Self::FlowRejected => "the receiver rejected the flow",
            Self::SessionEnded => "the session ended",
        })
    }
}
