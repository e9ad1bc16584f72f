//! What an introducer is asked for.

use core::net::SocketAddr;
use core::task::{Context, Poll};
use std::sync::Arc;

use rtmfp_core::profile::flash::Fingerprint;
use rtmfp_core::{Bytes, UnmatchedHello};

use super::endpoint::Keeper;
use super::{Asked, EndpointHandle, Session};
use crate::endpoint::block_on;
use crate::endpoint::introduction::IntroductionRequest;
use crate::endpoint::shared::{Command, Introduce, lock};
use crate::endpoint::wakers::Waiter;

/// Somebody asks this endpoint for somebody else (RFC 7016 §3.5.1.4). It can be answered in several ways; dropped, it is
/// not answered.
///
/// Whoever asks repeats the request until it gives up. There is no answer that says that the other is unknown: RFC 7016
/// has none. An initiator whose request nobody answers learns of it by its own timeout.
#[derive(Debug)]
pub struct Introduction {
    keeper: Arc<Keeper>,
    hello: UnmatchedHello,
}

impl Introduction {
    pub(super) fn new(keeper: &Arc<Keeper>, hello: UnmatchedHello) -> Self {
        Self { keeper: Arc::clone(keeper), hello }
    }

    /// Where it comes from, which is not proved.
    #[must_use]
    pub const fn from(&self) -> SocketAddr {
        self.hello.path.remote
    }

    /// Whom it asks for, in the syntax of the profile.
    #[must_use]
    pub const fn discriminator(&self) -> &Bytes {
        &self.hello.discriminator
    }

    /// Whom it asks for, if that is a peer ID.
    #[must_use]
    pub fn peer_id(&self) -> Option<Fingerprint> {
        IntroductionRequest::of(&self.hello).peer_id()
    }

    /// Introduces the two: whoever asks is told where the other is, and the other who asks. The answer is false if the
    /// other has no open session here, or too many requests were answered in this second.
    pub fn introduce(&self) -> bool {
        wait_for(&self.ask_introduce())
    }

    /// [`introduce`](Self::introduce), polled.
    pub fn ask_introduce(&self) -> Asked<bool> {
        self.ask(Introduce::Known)
    }

    /// Hands the request on to the far end of a session, which can answer it or not (RFC 7016 §3.5.1.5). False if the
    /// session is not open, or too many requests wait there.
    pub fn forward(&self, session: &Session) -> bool {
        wait_for(&self.ask_forward(session))
    }

    /// [`forward`](Self::forward), polled.
    pub fn ask_forward(&self, session: &Session) -> Asked<bool> {
        self.ask(Introduce::Forward(Arc::clone(session.shared())))
    }

    /// Names addresses to try, up to 24 (RFC 7016 §3.5.1.4). False if too many requests were answered in this second.
    pub fn redirect(&self, addresses: &[SocketAddr]) -> bool {
        wait_for(&self.ask_redirect(addresses))
    }

    /// [`redirect`](Self::redirect), polled.
    pub fn ask_redirect(&self, addresses: &[SocketAddr]) -> Asked<bool> {
        self.ask(Introduce::Redirect(addresses.to_vec()))
    }

    fn ask(&self, how: Introduce) -> Asked<bool> {
        Asked::new(&self.keeper.0, |question| Command::Introduce(self.hello.clone(), how, question))
    }
}

fn wait_for(asked: &Asked<bool>) -> bool {
    block_on(|context, waiter| asked.poll(context, waiter)).unwrap_or(false)
}

/// Introduction.
impl EndpointHandle {
    /// The next request for somebody else, if the endpoint was made to
    /// [ask](crate::IntroducePolicy::Ask) the application. `None` when the endpoint has stopped, or was not made so.
    ///
    /// At most 256 requests wait, of them 64 from one IPv4 address or one /64 network of IPv6. A /56 network has one and a
    /// half times as many, and a /48 network twice. With one beyond its share the source's oldest is dropped, and with one
    /// beyond them all the oldest of the source that has most. Those are
    /// [counted](Self::missed_introductions). Their senders repeat them.
    #[must_use]
    pub fn next_introduction(&self) -> Option<Introduction> {
        block_on(|context, waiter| self.poll_introduction(context, waiter))
    }

    /// [`next_introduction`](Self::next_introduction), polled.
    pub fn poll_introduction(&self, context: &mut Context<'_>, waiter: &mut Waiter) -> Poll<Option<Introduction>> {
        let mut state = lock(&self.shared().introductions);
        if let Some(hello) = state.take() {
            return Poll::Ready(Some(Introduction::new(self.keeper(), hello)));
        }
        if state.stopped || !state.wanted {
            return Poll::Ready(None);
        }
        state.wakers.add(context, waiter);
        Poll::Pending
    }

    /// The requests for others, one after another, as an iterator that waits for the next.
    #[must_use]
    pub fn introductions(&self) -> Introductions {
        Introductions(self.clone())
    }

    /// How many requests for others were dropped because the application did not take them.
    #[must_use]
    pub fn missed_introductions(&self) -> u64 {
        lock(&self.shared().introductions).missed
    }
}

/// The requests for others: see [`EndpointHandle::introductions`]. It is a handle of the endpoint like others.
#[derive(Clone, Debug)]
pub struct Introductions(EndpointHandle);

impl Iterator for Introductions {
    type Item = Introduction;

    fn next(&mut self) -> Option<Introduction> {
        self.0.next_introduction()
    }
}
