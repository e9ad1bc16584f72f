//! The handle to a session.

use core::time::Duration;

use rtmfp_core::{CloseMode, FlowOptions, Undelivered};
use rtmfp_std::Error;

use super::{IncomingFlows, RecvFlow, SendFlow, wait};

/// A session. Clones are the same session.
///
/// When the last of them, and of its flows' handles, is dropped, it is closed: what was sent has 10 s to be delivered.
/// [`close`](Self::close) gives it another time, which the drop does not change, and tells what was not.
#[derive(Clone, Debug)]
pub struct Session(pub(super) rtmfp_std::Session);

impl Session {
    /// Waits until it is open; ready at once if it is.
    ///
    /// # Errors
    /// Why it did not open, or was closed.
    pub async fn opened(&self) -> Result<(), Error> {
        wait(&self.0, |context, waiter| self.0.poll_opened(context, waiter)).await
    }

    /// Waits until it has ended, and tells why.
    pub async fn closed(&self) -> Error {
        wait(&self.0, |context, waiter| self.0.poll_closed(context, waiter)).await
    }

    /// Opens a flow to the far end. If that is not possible the flow's calls tell why.
    #[must_use]
    pub fn open_flow(&self, options: FlowOptions) -> SendFlow {
        SendFlow(self.0.open_flow(options))
    }

    /// Waits for the next flow that the far end opens, return flows included.
    ///
    /// # Errors
    /// That the session has ended.
    pub async fn accept_flow(&self) -> Result<RecvFlow, Error> {
        wait(&self.0, |context, waiter| self.0.poll_accept_flow(context, waiter)).await.map(RecvFlow::new)
    }

    /// A flow that the far end has opened, if one waits to be accepted.
    ///
    /// # Errors
    /// That the session has ended.
    pub fn try_accept_flow(&self) -> Result<Option<RecvFlow>, Error> {
        Ok(self.0.try_accept_flow()?.map(RecvFlow::new))
    }

    /// The flows that the far end opens, as a stream. It ends with the session; [`closed`](Self::closed) tells why. A
    /// stream that is dropped loses none.
    pub fn incoming_flows(&self) -> IncomingFlows {
        IncomingFlows::new(self.0.clone())
    }

    /// Closes it: all its flows are closed, and once all that was sent is delivered, or after `within`, the far end is
    /// told, again and again until it has acknowledged that. Returns what was not delivered, when the session has ended.
    /// It is closed all the same if the future is dropped. Flows that the far end has closed before, and that have
    /// arrived, can still be read to their end.
    ///
    /// The protocol has no room for a code or a text in a close: Session Close Request is empty (RFC 7016 §2.3.17). To say
    /// why, send a last message on a flow before; for a single flow, [`RecvFlow::reject`] has a code.
    ///
    /// # Errors
    /// Why it had ended before, if it had.
    pub async fn close(&self, within: Duration) -> Result<Undelivered, Error> {
        self.0.begin_close(within);
        wait(&self.0, |context, waiter| self.0.poll_drained(context, waiter)).await
    }

    /// Ends it now, with all its flows. What is not yet delivered is lost.
    pub fn abort(&self, mode: CloseMode) {
        self.0.abort(mode);
    }
}
