//! What comes one after another, as streams: sessions, flows, messages.

use core::pin::Pin;
use core::task::{Context, Poll, ready};

use futures_lite::Stream;
use rtmfp_core::Message;
use rtmfp_std::{Driven, EndpointHandle, Error, SessionEvent};

use super::{RecvFlow, Session, Wait};

/// The sessions that far ends open: see [`Endpoint::incoming`](super::Endpoint::incoming). It is a handle of the endpoint
/// like others.
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct Incoming {
    endpoint: EndpointHandle,
    wait: Wait,
}

impl Incoming {
    pub(super) fn new(endpoint: EndpointHandle) -> Self {
        Self { endpoint, wait: Wait::default() }
    }
}

impl Stream for Incoming {
    type Item = Session;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Session>> {
        let Self { endpoint, wait } = &mut *self;
        wait.poll(endpoint.is_driven(), context, |context, waiter| endpoint.poll_accept(context, waiter))
            .map(|session| session.map(Session))
    }
}

/// The flows that the far end of a session opens: see [`Session::incoming_flows`]. It is a handle of the session like
/// others.
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct IncomingFlows {
    session: rtmfp_std::Session,
    wait: Wait,
}

impl IncomingFlows {
    pub(super) fn new(session: rtmfp_std::Session) -> Self {
        Self { session, wait: Wait::default() }
    }
}

impl Stream for IncomingFlows {
    type Item = RecvFlow;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<RecvFlow>> {
        let Self { session, wait } = &mut *self;
        let next = wait.poll(session.is_driven(), context, |context, waiter| session.poll_accept_flow(context, waiter));
        next.map(|flow| flow.ok().map(RecvFlow::new))
    }
}

/// The messages of a flow: see [`RecvFlow::messages`].
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct Messages<'a> {
    flow: &'a RecvFlow,
    wait: Wait,
    ended: bool,
}

impl<'a> Messages<'a> {
    pub(super) fn new(flow: &'a RecvFlow) -> Self {
        Self { flow, wait: Wait::default(), ended: false }
    }
}

impl Stream for Messages<'_> {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        let Self { flow, wait, ended } = &mut *self;
        if *ended {
            return Poll::Ready(None);
        }
        let next = wait.poll(flow.inner.is_driven(), context, |context, waiter| flow.inner.poll_recv(context, waiter));
        let next = ready!(next).transpose();
        *ended = !matches!(next, Some(Ok(_)));
        Poll::Ready(next)
    }
}

/// What happens to a session: see [`Session::events`].
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct SessionEvents {
    events: rtmfp_std::SessionEvents,
    wait: Wait,
}

impl SessionEvents {
    pub(super) fn new(events: rtmfp_std::SessionEvents) -> Self {
        Self { events, wait: Wait::default() }
    }
}

impl Stream for SessionEvents {
    type Item = SessionEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<SessionEvent>> {
        let Self { events, wait } = &mut *self;
        wait.poll(events.is_driven(), context, |context, waiter| events.poll_next(context, waiter))
    }
}
