//! What comes one after another: sessions, flows, messages.

use rtmfp_core::Message;

use super::{EndpointHandle, RecvFlow, Session};
use crate::endpoint::Error;

/// The sessions that far ends open: see [`EndpointHandle::incoming`]. It is a handle of the endpoint like others.
#[derive(Clone, Debug)]
pub struct Incoming(EndpointHandle);

impl Incoming {
    pub(super) const fn new(endpoint: EndpointHandle) -> Self {
        Self(endpoint)
    }
}

impl Iterator for Incoming {
    type Item = Session;

    fn next(&mut self) -> Option<Session> {
        self.0.accept()
    }
}

/// The flows that the far end of a session opens: see [`Session::incoming_flows`]. It is a handle of the session like
/// others.
#[derive(Clone, Debug)]
pub struct IncomingFlows(Session);

impl IncomingFlows {
    pub(super) const fn new(session: Session) -> Self {
        Self(session)
    }
}

impl Iterator for IncomingFlows {
    type Item = RecvFlow;

    fn next(&mut self) -> Option<RecvFlow> {
        self.0.accept_flow().ok()
    }
}

/// The messages of a flow: see [`RecvFlow::messages`].
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    flow: &'a RecvFlow,
    ended: bool,
}

impl<'a> Messages<'a> {
    pub(super) const fn new(flow: &'a RecvFlow) -> Self {
        Self { flow, ended: false }
    }
}

impl Iterator for Messages<'_> {
    type Item = Result<Message, Error>;

    fn next(&mut self) -> Option<Result<Message, Error>> {
        if self.ended {
            return None;
        }
        let next = self.flow.recv().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

impl core::iter::FusedIterator for Messages<'_> {}
