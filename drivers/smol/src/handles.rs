//! Handles whose calls are futures.

use core::future::poll_fn;
use core::net::SocketAddr;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;
use std::sync::Arc;

use rtmfp_core::profile::CryptoProfile;
use rtmfp_core::{Bytes, CloseMode, EndpointConfig, EndpointStats, FlowOptions, Message, Undelivered};
use rtmfp_std::{Clock, EndpointApp, EndpointError, EndpointHandle, Pump, Socket, Waiter, system_rng};

use crate::driver::{Driver, Signal};

/// Waits for what a handle polls. The task is forgotten when the future is dropped.
async fn wait<T>(mut poll: impl FnMut(&mut Context<'_>, &mut Waiter) -> Poll<T>) -> T {
    let mut waiter = Waiter::default();
    poll_fn(|context| poll(context, &mut waiter)).await
}

/// A handle to an endpoint. Clones are the same endpoint.
///
/// When the last of them is dropped, no session can be accepted any more, and far ends that open one are turned away.
/// When the last handle of its sessions and flows is dropped too, the [`Driver`] ends, and its sockets with it. It ends
/// once what was sent is delivered, or after 10 s. An earlier close or shutdown may have given it another time. A program
/// must not exit before that: [`shutdown`](Self::shutdown) waits for it.
#[derive(Clone, Debug)]
pub struct Endpoint(EndpointHandle);

impl Endpoint {
    /// An endpoint on the given local addresses (port 0 lets the system choose), and the [`Driver`] to spawn for it.
    ///
    /// # Errors
    /// As the system tells, if an address cannot be bound; `InvalidInput` if a configuration value is out of range.
    pub fn bind(
        config: EndpointConfig,
        profile: Arc<dyn CryptoProfile>,
        addresses: &[SocketAddr],
    ) -> io::Result<(Self, Driver)> {
        let sockets = addresses.iter().map(|address| Socket::bind(*address)).collect::<io::Result<Vec<_>>>()?;
        let locals = sockets.iter().map(Socket::local_addr).collect();
        let clock = Clock::new();
        let endpoint = rtmfp_core::Endpoint::new(config, profile, system_rng()?, clock.now())
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        let signal = Arc::new(Signal::default());
        let (app, handle) = EndpointApp::new(locals, {
            let signal = Arc::clone(&signal);
            move || signal.set()
        });
        Ok((Self(handle), Driver::new(Pump::new(endpoint, clock, sockets), app, signal)))
    }

    /// The local addresses, with the ports that the system chose.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        self.0.local_addrs()
    }

    /// Begins a session with the endpoint that `discriminator` selects, at one or several addresses. Flows can be
    /// opened and written at once; [`Session::opened`] tells how it went.
    #[must_use]
    pub fn begin(&self, discriminator: impl Into<Bytes>, remotes: &[SocketAddr]) -> Session {
        Session(self.0.begin(discriminator, remotes))
    }

    /// Opens a session and waits until it is open. If there is one with the same far end already, whichever end began
    /// it, that one is returned: it is the same session as its other handles.
    ///
    /// # Errors
    /// Why it did not open: [`Duplicate`](rtmfp_core::OpenFailure::Duplicate) if there is one, and it is being closed.
    /// Once it has ended, another can be opened.
    pub async fn connect(
        &self,
        discriminator: impl Into<Bytes>,
        remotes: &[SocketAddr],
    ) -> Result<Session, EndpointError> {
        let mut session = self.begin(discriminator, remotes);
        wait(|context, waiter| session.0.poll_connected(context, waiter)).await?;
        Ok(session)
    }

    /// Waits for the next session that a far end opens. `None` when the endpoint has stopped.
    pub async fn accept(&self) -> Option<Session> {
        wait(|context, waiter| self.0.poll_accept(context, waiter)).await.map(Session)
    }

    /// The counters of the endpoint, with what was [dropped](EndpointStats::drops) and why. `None` when the endpoint has
    /// stopped.
    pub async fn stats(&self) -> Option<EndpointStats> {
        let asked = self.0.ask_stats();
        wait(|context, waiter| asked.poll(context, waiter)).await
    }

    /// Closes all sessions, and ends the [`Driver`] when all that was sent is delivered and the far ends know that their
    /// sessions are closed, or after `within`. Nothing more can be sent, also if the future is dropped. Returns what was
    /// not delivered. If it is called more than once, the last call's time counts.
    ///
    /// # Errors
    /// [`Stopped`](EndpointError::Stopped) if the endpoint had stopped otherwise.
    pub async fn shutdown(&self, within: Duration) -> Result<Undelivered, EndpointError> {
        self.0.begin_shutdown(within);
        wait(|context, waiter| self.0.poll_stopped(context, waiter)).await
    }

    /// [`shutdown`](Self::shutdown) within 10 s, without waiting.
    pub fn stop(&self) {
        self.0.stop();
    }
}

/// A session. Clones are the same session.
///
/// When the last of them, and of its flows' handles, is dropped, it is closed: what was sent has 10 s to be delivered.
/// [`close`](Self::close) gives it another time, which the drop does not change, and tells what was not.
#[derive(Clone, Debug)]
pub struct Session(rtmfp_std::Session);

impl Session {
    /// Waits until it is open; ready at once if it is.
    ///
    /// # Errors
    /// Why it did not open, or was closed.
    pub async fn opened(&self) -> Result<(), EndpointError> {
        wait(|context, waiter| self.0.poll_opened(context, waiter)).await
    }

    /// Waits until it has ended, and tells why.
    pub async fn closed(&self) -> EndpointError {
        wait(|context, waiter| self.0.poll_closed(context, waiter)).await
    }

    /// The far end's address, once it is open.
    #[must_use]
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.0.remote_addr()
    }

    /// Who the far end is, once it is open: its canonical endpoint discriminator, which for the Flash profile holds its
    /// fingerprint (RFC 7425 §4.4.4).
    #[must_use]
    pub fn far_discriminator(&self) -> Vec<u8> {
        self.0.far_discriminator()
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
    pub async fn accept_flow(&self) -> Result<RecvFlow, EndpointError> {
        wait(|context, waiter| self.0.poll_accept_flow(context, waiter)).await.map(RecvFlow)
    }

    /// Closes it: all its flows are closed, and once all that was sent is delivered, or after `within`, the far end is
    /// told, again and again until it has acknowledged that. Returns what was not delivered, when the session has ended.
    /// It is closed all the same if the future is dropped. Flows that the far end has closed before, and that have
    /// arrived, can still be read to their end.
    ///
    /// # Errors
    /// Why it had ended before, if it had.
    pub async fn close(&self, within: Duration) -> Result<Undelivered, EndpointError> {
        self.0.begin_close(within);
        wait(|context, waiter| self.0.poll_drained(context, waiter)).await
    }

    /// Ends it now, with all its flows. What is not yet delivered is lost.
    pub fn abort(&self, mode: CloseMode) {
        self.0.abort(mode);
    }
}

/// Messages to the far end. When it is dropped the flow is closed: what was sent is still delivered.
#[derive(Debug)]
pub struct SendFlow(rtmfp_std::SendFlow);

impl SendFlow {
    /// Queues a message; waits while the queue is full. If dropped before it is ready the message was not queued. That
    /// it was delivered is only told by [`finish`](Self::finish).
    ///
    /// # Errors
    /// Why no more can be sent.
    pub async fn send(&self, message: impl Into<Bytes>) -> Result<(), EndpointError> {
        let mut message = Some(message.into());
        wait(|context, waiter| self.0.poll_send(context, waiter, &mut message)).await
    }

    /// Closes the flow after what was sent, and waits until the far end has received all of it.
    ///
    /// # Errors
    /// Why not everything may have been received.
    pub async fn finish(self) -> Result<(), EndpointError> {
        wait(|context, waiter| self.0.poll_finish(context, waiter)).await
    }

    /// Closes the flow after what was sent.
    pub fn close(&self) {
        self.0.close();
    }
}

/// Messages from the far end. They can be read to the end if the flow was complete when its session ended: the sender's
/// [`finish`](SendFlow::finish) has promised that. When it is dropped before its end the flow is rejected.
#[derive(Debug)]
pub struct RecvFlow(rtmfp_std::RecvFlow);

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
    pub async fn recv(&self) -> Result<Option<Message>, EndpointError> {
        wait(|context, waiter| self.0.poll_recv(context, waiter)).await
    }

    /// Refuses the flow with an exception code for the far end (RFC 7016 §3.6.3.7).
    pub fn reject(self, code: u64) {
        self.0.reject(code);
    }
}
