//! Meeting others through a server.

use core::net::SocketAddr;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_lite::Stream;
use rtmfp_core::Bytes;
use rtmfp_core::profile::flash::Fingerprint;
use rtmfp_std::{Driven as _, Error, Failure, MeetingEvent, PathPolicy};

use super::{Session, Wait, wait};

/// This end's place at a rendezvous server, such as `rtmfp serve`: others find this end there, and this end others.
///
/// It keeps a session with the server, and opens it again when it is lost. Sessions with peers that opened through it are
/// like any other. When the path of one fails, another is looked for, without an act of the program.
/// [`SessionEvent::PathKind`](rtmfp_std::SessionEvent::PathKind) tells.
///
/// When it is dropped, the server is left. Sessions with peers stay, those over the relay only until the server forgets
/// them.
#[derive(Debug)]
pub struct Meeting(rtmfp_std::Meeting);

impl Meeting {
    pub(super) const fn new(meeting: rtmfp_std::Meeting) -> Self {
        Self(meeting)
    }

    /// Whether the server knows this end now.
    #[must_use]
    pub fn registered(&self) -> bool {
        self.0.registered()
    }

    /// Why the server is not reached, if the last attempt failed.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        self.0.failure()
    }

    /// The address at which the server sees this end, once it has told.
    #[must_use]
    pub fn seen_at(&self) -> Option<SocketAddr> {
        self.0.seen_at()
    }

    /// Waits until the server knows this end.
    ///
    /// # Errors
    /// [`NotMet`](Error::NotMet) with the reason if the attempt to reach it that runs fails. Between two attempts it is the
    /// reason of the last one, at once. It goes on trying. [`Stopped`](Error::Stopped) if the endpoint stops.
    pub async fn wait_registered(&self) -> Result<(), Error> {
        wait(&self.0, |context, waiter| self.0.poll_registered(context, waiter)).await
    }

    /// Shows a token to a server that asks for one, now and whenever this end is registered again. At most 4,096 bytes; a
    /// longer one is ignored. Call it before anything else.
    pub fn show_token(&self, token: impl Into<Bytes>) {
        self.0.show_token(token);
    }

    /// Tells the server addresses that a gateway forwards to this end, in place of those before: it tells them to whoever it
    /// introduces to this end. The first eight count.
    pub fn set_mapped(&self, addresses: impl IntoIterator<Item = SocketAddr>) {
        self.0.set_mapped(addresses);
    }

    /// A number under which others find this end, as long as it is registered. Waits until there is one. After the server
    /// was lost the number may be another: [`MeetingEvent::Number`] tells.
    ///
    /// # Errors
    /// [`NotMet`](Error::NotMet) with the reason if the server refuses, or is not reached, as
    /// [`wait_registered`](Self::wait_registered) tells.
    pub async fn number(&self) -> Result<u64, Error> {
        self.0.begin_number();
        wait(&self.0, |context, waiter| self.0.poll_number(context, waiter)).await
    }

    /// Gives the number back.
    pub fn release_number(&self) {
        self.0.release_number();
    }

    /// Who can be met under a number, by peer ID. The number does not prove that: whoever has it now is told.
    ///
    /// # Errors
    /// [`NotMet`](Error::NotMet) with the reason.
    pub async fn find(&self, number: u64) -> Result<Fingerprint, Error> {
        let asked = self.0.ask_find(number);
        let found = wait(&asked, |context, waiter| asked.poll(context, waiter)).await;
        let unanswered = if self.0.is_driven() { Error::Stopped } else { Error::NotDriven };
        found.ok_or(unanswered)?.map_err(Error::NotMet)
    }

    /// Connects to a peer over the best path there is: on the same network, directly, or through the server's relay. The
    /// peer must be registered with this server too. If there is a session with it already, that is returned. If the future
    /// is dropped, nothing more is tried.
    ///
    /// # Errors
    /// [`NotMet`](Error::NotMet) with the step that failed.
    pub async fn connect(&self, peer_id: Fingerprint) -> Result<Session, Error> {
        self.connect_over(peer_id, PathPolicy::Any).await
    }

    /// [`connect`](Self::connect), over such paths only.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_over(&self, peer_id: Fingerprint, policy: PathPolicy) -> Result<Session, Error> {
        let mut session = self.0.begin_connect(peer_id, policy);
        wait(&self.0, |context, waiter| session.poll_connected(context, waiter)).await?;
        Ok(Session(session))
    }

    /// What becomes of it, one event after another; `None` when the endpoint has stopped. At most 64 events wait. With one
    /// beyond them the oldest is dropped. No event is lost if the future is.
    pub async fn next_event(&self) -> Option<MeetingEvent> {
        wait(&self.0, |context, waiter| self.0.poll_event(context, waiter)).await
    }

    /// The events as a stream.
    pub fn events(&self) -> MeetingEvents<'_> {
        MeetingEvents { meeting: self, wait: Wait::default() }
    }
}

/// What becomes of a meeting: see [`Meeting::events`].
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct MeetingEvents<'a> {
    meeting: &'a Meeting,
    wait: Wait,
}

impl Stream for MeetingEvents<'_> {
    type Item = MeetingEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<MeetingEvent>> {
        let Self { meeting, wait } = &mut *self;
        wait.poll(meeting.0.is_driven(), context, |context, waiter| meeting.0.poll_event(context, waiter))
    }
}
