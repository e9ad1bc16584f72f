//! How a message is to be sent.

use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use super::Receipt;
use crate::clock::system_now;
use crate::endpoint::shared::{Limit, ReceiptShared, SendShared};

/// How one message is to be sent (RFC 7016 §3.6.1.2, §3.6.2.7). The default is what [`SendFlow::send`](super::SendFlow)
/// does: reliably, without a time limit. The priority is the flow's.
///
/// A message that is abandoned takes no more of the network, and what was sent after it is not held up.
///
/// ```
/// use std::time::Duration;
/// use rtmfp_std::SendOptions;
///
/// // Worth nothing after 80 ms, whether it was sent by then or not.
/// let state = SendOptions::new().deadline(Duration::from_millis(80));
/// // Sent once: what is lost is not repeated.
/// let voice = SendOptions::new().no_retransmit();
/// # let _ = (state, voice);
/// ```
#[derive(Clone, Debug)]
pub struct SendOptions {
    start_by: Option<Deadline>,
    finish_by: Option<Deadline>,
    pub(super) retransmit: bool,
    after: Option<Receipt>,
}

/// A time limit of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deadline {
    /// This long after the message is sent, on the endpoint's own clock: from the call, whether it has to wait for room or
    /// not.
    In(Duration),
    /// At this time on the system's clock. Not for simulations, whose clock is another.
    At(Instant),
}

impl From<Duration> for Deadline {
    fn from(duration: Duration) -> Self {
        Self::In(duration)
    }
}

impl From<Instant> for Deadline {
    fn from(at: Instant) -> Self {
        Self::At(at)
    }
}

impl Deadline {
    fn limit(self) -> Limit {
        match self {
            Self::In(duration) => Limit::In(duration),
            Self::At(at) => Limit::In(at.saturating_duration_since(system_now())),
        }
    }
}

impl Default for SendOptions {
    fn default() -> Self {
        Self { start_by: None, finish_by: None, retransmit: true, after: None }
    }
}

impl SendOptions {
    /// Reliably, without a time limit.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Abandons the message if it is not delivered by then: a [`Duration`] from the call that sends it, or an
    /// [`Instant`].
    #[doc(alias = "finish_by")]
    #[must_use]
    pub fn deadline(mut self, deadline: impl Into<Deadline>) -> Self {
        self.finish_by = Some(deadline.into());
        self
    }

    /// Abandons the message if no part of it was sent by then. What was begun is sent to its end, unless there is a
    /// [`deadline`](Self::deadline) too.
    #[must_use]
    pub fn start_by(mut self, deadline: impl Into<Deadline>) -> Self {
        self.start_by = Some(deadline.into());
        self
    }

    /// Abandons the message if any part of it is lost.
    #[must_use]
    pub const fn no_retransmit(mut self) -> Self {
        self.retransmit = false;
        self
    }

    /// Abandons the message if that earlier one of the same flow is abandoned, as a predicted frame depends on its
    /// reference. A receipt of another flow has no effect, nor has one that tells that the earlier message was delivered.
    #[must_use]
    pub fn after(mut self, receipt: &impl AsRef<Receipt>) -> Self {
        self.after = Some(receipt.as_ref().clone());
        self
    }

    /// The time limits: until when the message is to be begun, and delivered.
    pub(super) fn limits(&self) -> [Option<Limit>; 2] {
        [self.start_by, self.finish_by].map(|deadline| deadline.map(Deadline::limit))
    }

    /// The message that it depends on, if that is of this flow.
    pub(super) fn parent_in(&self, flow: &Arc<SendShared>) -> Option<Arc<ReceiptShared>> {
        self.after.as_ref().filter(|parent| parent.is_of(flow)).map(|parent| Arc::clone(parent.shared()))
    }
}
