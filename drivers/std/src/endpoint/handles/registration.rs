//! Being registered with an introducer.

use core::task::{Context, Poll};
use std::sync::Arc;

use rtmfp_core::Target;

use super::endpoint::Keeper;
use super::{EndpointHandle, Session};
use crate::endpoint::introduction::RegistrationEvent;
use crate::endpoint::shared::{Command, RegistrationShared, lock};
use crate::endpoint::wakers::Waiter;
use crate::endpoint::{Error, Remote, block_on};

/// A registration with an introducer, who introduces this end to those who ask for it. It is a session that is kept: it is
/// pinged as [`keepalive`](rtmfp_core::SessionConfig::keepalive) says, and does not end for want of flows at this end.
/// When it is lost it is opened again, after a second at first and after a minute at last.
///
/// Flows that the introducer opens while nobody has a handle of the session are rejected: see
/// [`session`](Self::session).
///
/// When it is dropped the session is closed, unless there are other handles of it.
#[derive(Debug)]
pub struct Registration {
    pub(super) keeper: Arc<Keeper>,
    shared: Arc<RegistrationShared>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.keeper.0.send(Command::Unregister(Arc::clone(&self.shared)));
    }
}

impl EndpointHandle {
    /// Registers with an introducer, and stays registered. Names of the introducer are looked up once; the calling thread
    /// waits for that.
    ///
    /// # Errors
    /// [`NotResolved`](Error::NotResolved), [`AddressFamily`](Error::AddressFamily), or [`Stopped`](Error::Stopped).
    /// What comes later is told by [`Registration::next_event`].
    pub fn register(&self, introducer: Remote) -> Result<Registration, Error> {
        self.register_resolved(&introducer.resolve().map_err(|_| Error::NotResolved)?)
    }

    /// [`register`](Self::register), with names that are [resolved](Remote::resolve): those that are not are left out.
    ///
    /// # Errors
    /// [`AddressFamily`](Error::AddressFamily), or [`Stopped`](Error::Stopped).
    pub fn register_resolved(&self, introducer: &Remote) -> Result<Registration, Error> {
        let candidates = introducer.paths(&self.shared().locals.list(), self.shared().kind);
        if candidates.is_empty() && introducer.has_places() {
            return Err(Error::AddressFamily);
        }
        let target = Target { discriminator: introducer.discriminator(self.shared().kind)?, candidates };
        let shared = Arc::<RegistrationShared>::default();
        if !self.shared().send(Command::Register(Arc::clone(&shared), target, introducer.limit())) {
            return Err(Error::Stopped);
        }
        Ok(Registration { keeper: Arc::clone(self.keeper()), shared })
    }
}

impl Registration {
    /// Whether this end is registered now.
    #[must_use]
    pub fn registered(&self) -> bool {
        lock(&self.shared.0).registered
    }

    /// Why it is not, if there was an attempt.
    #[must_use]
    pub fn lost(&self) -> Option<Error> {
        lock(&self.shared.0).lost
    }

    /// The session with the introducer, if this end is registered: for flows of an application's own. As long as its
    /// handle is held, flows from there can be accepted too.
    #[must_use]
    pub fn session(&self) -> Option<Session> {
        let state = lock(&self.shared.0);
        let session = state.session.clone().filter(|_| state.registered);
        drop(state);
        Session::join(&self.keeper, &session?)
    }

    /// Waits until this end is registered.
    ///
    /// # Errors
    /// [`Stopped`](Error::Stopped) if the endpoint stops before.
    pub fn wait_registered(&self) -> Result<(), Error> {
        block_on(|context, waiter| self.poll_registered(context, waiter))
    }

    /// [`wait_registered`](Self::wait_registered), polled.
    pub fn poll_registered(&self, context: &mut Context<'_>, waiter: &mut Waiter) -> Poll<Result<(), Error>> {
        let mut state = lock(&self.shared.0);
        if state.registered {
            return Poll::Ready(Ok(()));
        }
        if state.stopped {
            return Poll::Ready(Err(Error::Stopped));
        }
        state.wakers.add(context, waiter);
        Poll::Pending
    }

    /// What becomes of it, one event after another; `None` when the endpoint has stopped. At most 64 events wait. With one
    /// beyond them the oldest is dropped.
    #[must_use]
    pub fn next_event(&self) -> Option<RegistrationEvent> {
        block_on(|context, waiter| self.poll_event(context, waiter))
    }

    /// [`next_event`](Self::next_event), polled.
    pub fn poll_event(&self, context: &mut Context<'_>, waiter: &mut Waiter) -> Poll<Option<RegistrationEvent>> {
        let mut state = lock(&self.shared.0);
        if let Some(event) = state.events.pop_front() {
            return Poll::Ready(Some(event));
        }
        if state.stopped {
            return Poll::Ready(None);
        }
        state.wakers.add(context, waiter);
        Poll::Pending
    }
}
