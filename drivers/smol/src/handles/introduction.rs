//! Introducing others, and being introduced.

use core::net::SocketAddr;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_lite::Stream;
use rtmfp_core::Bytes;
use rtmfp_core::profile::flash::Fingerprint;
use rtmfp_std::{Asked, Driven, EndpointHandle, Error, RegistrationEvent};

use super::{Endpoint, Session, Wait, wait};

/// Somebody asks this endpoint for somebody else (RFC 7016 §3.5.1.4). It can be answered in several ways; dropped, it is
/// not answered.
///
/// There is no answer that says that the other is unknown: RFC 7016 has none. An initiator whose request nobody answers
/// learns of it by its own timeout.
#[derive(Debug)]
pub struct Introduction(rtmfp_std::Introduction);

impl Introduction {
    /// Where it comes from, which is not proved.
    #[must_use]
    pub const fn from(&self) -> SocketAddr {
        self.0.from()
    }

    /// Whom it asks for, in the syntax of the profile.
    #[must_use]
    pub const fn discriminator(&self) -> &Bytes {
        self.0.discriminator()
    }

    /// Whom it asks for, if that is a peer ID.
    #[must_use]
    pub fn peer_id(&self) -> Option<Fingerprint> {
        self.0.peer_id()
    }

    /// Introduces the two: whoever asks is told where the other is, and the other who asks. That is done also if the
    /// future is dropped. False if the other has no open session here, or too many requests were answered in this second.
    pub fn introduce(&self) -> impl Future<Output = bool> + use<> {
        answer(self.0.ask_introduce())
    }

    /// Hands the request on to the far end of a session, which can answer it or not (RFC 7016 §3.5.1.5). That is done
    /// also if the future is dropped. False if the session is not open, or too many requests wait there.
    pub fn forward(&self, session: &Session) -> impl Future<Output = bool> + use<> {
        answer(self.0.ask_forward(&session.0))
    }

    /// Names addresses to try, up to 24 (RFC 7016 §3.5.1.4). That is done also if the future is dropped. False if too many
    /// requests were answered in this second.
    pub fn redirect(&self, addresses: &[SocketAddr]) -> impl Future<Output = bool> + use<> {
        answer(self.0.ask_redirect(addresses))
    }
}

async fn answer(asked: Asked<bool>) -> bool {
    wait(&asked, |context, waiter| asked.poll(context, waiter)).await.unwrap_or(false)
}

/// The requests for others: see [`Endpoint::introductions`]. It is a handle of the endpoint like others.
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct Introductions {
    endpoint: EndpointHandle,
    wait: Wait,
}

impl Stream for Introductions {
    type Item = Introduction;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Introduction>> {
        let Self { endpoint, wait } = &mut *self;
        wait.poll(endpoint.is_driven(), context, |context, waiter| endpoint.poll_introduction(context, waiter))
            .map(|next| next.map(Introduction))
    }
}

/// A registration with an introducer, who introduces this end to those who ask for it. It is a session that is kept: it is
/// pinged as [`keepalive`](rtmfp_core::SessionConfig::keepalive) says, and does not end for want of flows at this end.
/// When it is lost it is opened again, after a second at first and after a minute at last.
///
/// Flows that the introducer opens while nobody has a handle of the session are rejected: see
/// [`session`](Self::session).
///
/// When it is dropped the session is closed, unless there are other handles of it.
#[derive(Debug)]
pub struct Registration(rtmfp_std::Registration);

impl Registration {
    pub(super) const fn new(registration: rtmfp_std::Registration) -> Self {
        Self(registration)
    }

    /// Whether this end is registered now.
    #[must_use]
    pub fn registered(&self) -> bool {
        self.0.registered()
    }

    /// Why it is not, if there was an attempt.
    #[must_use]
    pub fn lost(&self) -> Option<Error> {
        self.0.lost()
    }

    /// The session with the introducer, if this end is registered: for flows of an application's own. As long as its
    /// handle is held, flows from there can be accepted too.
    #[must_use]
    pub fn session(&self) -> Option<Session> {
        self.0.session().map(Session)
    }

    /// Waits until this end is registered.
    ///
    /// # Errors
    /// [`Stopped`](Error::Stopped) if the endpoint stops before.
    pub async fn wait_registered(&self) -> Result<(), Error> {
        wait(&self.0, |context, waiter| self.0.poll_registered(context, waiter)).await
    }

    /// What becomes of it, one event after another; `None` when the endpoint has stopped. At most 64 events wait. With one
    /// beyond them the oldest is dropped. No event is lost if the future is.
    pub async fn next_event(&self) -> Option<RegistrationEvent> {
        wait(&self.0, |context, waiter| self.0.poll_event(context, waiter)).await
    }

    /// The events as a stream.
    pub fn events(&self) -> RegistrationEvents<'_> {
        RegistrationEvents { registration: self, wait: Wait::default() }
    }
}

/// What becomes of a registration: see [`Registration::events`].
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct RegistrationEvents<'a> {
    registration: &'a Registration,
    wait: Wait,
}

impl Stream for RegistrationEvents<'_> {
    type Item = RegistrationEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<RegistrationEvent>> {
        let Self { registration, wait } = &mut *self;
        wait.poll(registration.0.is_driven(), context, |context, waiter| registration.0.poll_event(context, waiter))
    }
}

/// Introduction.
impl Endpoint {
    /// The requests for others, if the endpoint was made to [ask](rtmfp_std::IntroducePolicy::Ask) the application. At
    /// most 256 wait, of them 64 from one IPv4 address or one /64 network of IPv6. A /56 network has one and a half times
    /// as many, and a /48 network twice. With one beyond its share the source's oldest is dropped, and with one beyond
    /// them all the oldest of the source that has most. Those are [counted](Self::missed_introductions). Their senders
    /// repeat them.
    pub fn introductions(&self) -> Introductions {
        Introductions { endpoint: self.handle().clone(), wait: Wait::default() }
    }

    /// How many requests for others were dropped because the application did not take them.
    #[must_use]
    pub fn missed_introductions(&self) -> u64 {
        self.handle().missed_introductions()
    }
}
