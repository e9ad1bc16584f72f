//! An endpoint that runs by itself, and handles to it for application threads.

mod app;
mod builder;
mod error;
mod handles;
mod introduction;
mod remote;
mod shared;
#[cfg(test)]
mod tests;
mod wakers;

use core::net::SocketAddr;
use core::pin::pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;
use std::sync::Arc;
use std::task::Wake;
use std::thread::{self, JoinHandle, Thread};

use rtmfp_core::profile::CryptoProfile;
use rtmfp_core::{EndpointConfig, Undelivered};

pub use app::EndpointApp;
pub use builder::Builder;
pub use error::Error;
pub use handles::{
    Asked, Deadline, Driven, EndpointHandle, Incoming, IncomingFlows, Messages, Moved, Nonces, PendingSend, Receipt,
    RecvFlow, SendFlow, SendOptions, Session, SessionEvent, SessionEvents, Sleep, TryRecvError, TrySendError,
};
pub use handles::{Introduction, Introductions, Meeting, Registration};
pub use introduction::{IntroducePolicy, IntroductionRequest, MeetingEvent, RegistrationEvent};
pub use remote::{Candidate, Remote};
pub use wakers::Waiter;

/// An endpoint on a thread of its own, from any number of threads: see [`EndpointHandle`] for what can be done with it.
///
/// When it is dropped, all sessions are closed: what was sent has 10 s to be delivered, or the time that a close or a
/// [shutdown](EndpointHandle::begin_shutdown) before gave it. The calling thread waits for that.
/// [`shutdown`](Self::shutdown) tells what was not.
#[derive(Debug)]
pub struct Endpoint {
    handle: EndpointHandle,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Endpoint {
    /// An endpoint on the given local addresses; port 0 lets the system choose. Key agreements have a thread of their own.
    ///
    /// # Errors
    /// As the system tells, if an address cannot be bound or a thread not started; `InvalidInput` if a configuration
    /// value is out of range.
    pub fn bind(config: EndpointConfig, profile: Arc<dyn CryptoProfile>, addresses: &[SocketAddr]) -> io::Result<Self> {
        addresses
            .iter()
            .fold(Self::builder(), |builder, address| builder.bind(*address))
            .config(config)
            .profile(profile)
            .spawn()
    }

    /// Makes an endpoint with other settings, or with a preset.
    pub fn builder() -> Builder {
        Builder::default()
    }

    const fn new(handle: EndpointHandle, thread: JoinHandle<io::Result<()>>) -> Self {
        Self { handle, thread: Some(thread) }
    }

    /// A handle to give away.
    #[must_use]
    pub fn handle(&self) -> EndpointHandle {
        self.handle.clone()
    }

    /// [`EndpointHandle::shutdown`], and then waits for the thread.
    ///
    /// # Errors
    /// As the system tells, if a socket had failed.
    pub fn shutdown(mut self, within: Duration) -> io::Result<Undelivered> {
        let undelivered = self.handle.shutdown(within);
        self.join()?;
        undelivered.map_err(io::Error::other)
    }

    /// Leaves the thread to itself, so that nobody waits for it: it ends as the last handle of anything is dropped.
    #[must_use]
    pub fn into_handle(mut self) -> EndpointHandle {
        self.thread = None;
        self.handle.clone()
    }

    fn join(&mut self) -> io::Result<()> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(io::Error::other("the endpoint's thread panicked")),
            None => Ok(()),
        }
    }
}

impl core::ops::Deref for Endpoint {
    type Target = EndpointHandle;

    fn deref(&self) -> &EndpointHandle {
        &self.handle
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.handle.release();
            let _ = self.join();
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits on the calling thread until `poll` is ready: how the blocking calls are made of the polled ones.
pub fn block_on<T>(mut poll: impl FnMut(&mut Context<'_>, &mut Waiter) -> Poll<T>) -> T {
    let mut waiter = Waiter::default();
    let poll = |context: &mut Context<'_>| poll(context, &mut waiter);
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(core::future::poll_fn(poll));
    loop {
        if let Poll::Ready(value) = core::future::Future::poll(future.as_mut(), &mut context) {
            return value;
        }
        thread::park();
    }
}
