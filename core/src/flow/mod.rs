//! Flows (RFC 7016 §3.6): what one direction of messages needs at either end, and nothing of sessions.

mod budget;
mod delivery_rate;
mod in_flight;
mod options;
mod range_set;
mod reassembly;
mod recv;
mod reordering;
mod scheduler;
mod send;
mod seq_map;
#[cfg(test)]
mod tests;

use bytes::Bytes;

use crate::stats::FlowStats;

pub(crate) use budget::{RecvBudget, SendBudget};
pub(crate) use in_flight::{InFlight, LossEpoch, Lost};
pub(crate) use options::parse_startup_options;
pub(crate) use recv::{Fragment, RecvFlow, RecvFlowState};
pub(crate) use scheduler::Scheduler;
pub(crate) use send::{Acknowledgement, SendFlow, SendFlowState, SendLimits};

/// What a flow of either direction counts.
#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    /// Messages written, or read.
    messages: u64,
    /// Bytes of those messages.
    bytes: u64,
    /// Fragments sent again, or received again.
    repeated: u64,
}

impl Counters {
    fn stats(self) -> FlowStats {
        let Self { messages, bytes, repeated } = self;
        FlowStats { messages, bytes, repeated, ..FlowStats::default() }
    }
}

/// One whole message, from [`read`](crate::RecvFlowMut::read).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// The bytes, as written. Messages of up to 2,048 bytes may share a piece of memory of 16 KiB with others: whoever
    /// keeps few of many for long does better to keep copies.
    pub data: Bytes,
    /// Sequence number of its first fragment (RFC 7016 §3.6.1.2): grows from message to message as written.
    pub sequence: u64,
    /// Whether one or more messages written before it were abandoned and will not come (RFC 7016 §3.6.1.2). In
    /// network order: whether it is known of some since the message read before.
    pub gap: bool,
}
