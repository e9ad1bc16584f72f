//! The handle to a flow from the far end.

use rtmfp_core::{Bytes, FlowOptions, Message};
use rtmfp_std::Error;

use super::{SendFlow, wait};

/// Messages from the far end. They can be read to the end if the flow was complete when its session ended: the sender's
/// [`finish`](SendFlow::finish) has promised that. When it is dropped before its end the flow is rejected.
#[derive(Debug)]
pub struct RecvFlow(pub(super) rtmfp_std::RecvFlow);

impl RecvFlow {
    /// The name that the far end gave it.
    #[must_use]
    pub fn metadata(&self) -> &Bytes {
        self.0.metadata()
    }

    /// Whether it answers this flow (RFC 7016 §2.3.11.1.2).
    #[must_use]
    pub fn is_return_to(&self, flow: &SendFlow) -> bool {
        self.0.is_return_to(&flow.0)
    }

    /// Opens a flow in answer to this one.
    #[must_use]
    pub fn open_return_flow(&self, options: FlowOptions) -> SendFlow {
        SendFlow(self.0.open_return_flow(options))
    }

    /// Waits for the next message. `None` when the far end has closed the flow and everything was read.
    ///
    /// # Errors
    /// Why the flow ended otherwise.
    pub async fn recv(&self) -> Result<Option<Message>, Error> {
        wait(|context, waiter| self.0.poll_recv(context, waiter)).await
    }

    /// Refuses the flow with an exception code for the far end (RFC 7016 §3.6.3.7).
    pub fn reject(self, code: u64) {
        self.0.reject(code);
    }
}
