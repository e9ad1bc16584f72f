//! Handles whose calls are futures.

use core::future::poll_fn;
use core::net::SocketAddr;
use std::io;
use std::sync::Arc;

use rtmfp_core::profile::CryptoProfile;
use rtmfp_core::{Bytes, CloseMode, EndpointConfig, EndpointStats, FlowOptions, Message};
use rtmfp_std::{Clock, EndpointApp, EndpointError, EndpointHandle, Pump, Socket, system_rng};

use crate::driver::{Driver, Signal};

/// A handle to an endpoint. Clones are the same endpoint.
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

    /// Opens a session and waits until it is open.
    ///
    /// # Errors
    /// Why it did not open.
    pub async fn connect(
        &self,
        discriminator: impl Into<Bytes>,
        remotes: &[SocketAddr],
    ) -> Result<Session, EndpointError> {
        let session = self.begin(discriminator, remotes);
        session.opened().await?;
        Ok(session)
    }

    /// Waits for the next session that a far end opens. `None` when the endpoint has stopped.
    pub async fn accept(&self) -> Option<Session> {
        poll_fn(|context| self.0.poll_accept(context)).await.map(Session)
    }

    /// The counters of the endpoint, with what was [dropped](EndpointStats::drops) and why. `None` when the endpoint has
    /// stopped.
    pub async fn stats(&self) -> Option<EndpointStats> {
        let asked = self.0.ask_stats();
        poll_fn(|context| asked.poll(context)).await
    }

    /// Closes all sessions and ends the [`Driver`], soon.
    pub fn stop(&self) {
        self.0.stop();
    }
}

/// A session. Clones are the same session; it is closed in order when the last of them, and of its flows' handles, is
/// dropped.
#[derive(Clone, Debug)]
pub struct Session(rtmfp_std::Session);

impl Session {
    /// Waits until it is open; ready at once if it is.
    ///
    /// # Errors
    /// Why it did not open, or was closed.
    pub async fn opened(&self) -> Result<(), EndpointError> {
        poll_fn(|context| self.0.poll_opened(context)).await
    }

    /// Waits until it has ended, and tells why.
    pub async fn closed(&self) -> EndpointError {
        poll_fn(|context| self.0.poll_closed(context)).await
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
        poll_fn(|context| self.0.poll_accept_flow(context)).await.map(RecvFlow)
    }

    /// Ends it now, with all its flows. What was not yet delivered is lost.
    pub fn close(&self, mode: CloseMode) {
        self.0.close(mode);
    }
}

/// Messages to the far end. When dropped the flow is closed: what was sent is still delivered, as long as the session
/// is open.
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
        poll_fn(|context| self.0.poll_send(context, &mut message)).await
    }

    /// Closes the flow after what was sent, and waits until the far end has received all of it.
    ///
    /// # Errors
    /// Why not everything may have been received.
    pub async fn finish(self) -> Result<(), EndpointError> {
        poll_fn(|context| self.0.poll_finish(context)).await
    }

    /// Closes the flow after what was sent.
    pub fn close(&self) {
        self.0.close();
    }
}

/// Messages from the far end. When dropped before its end the flow is rejected.
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
        poll_fn(|context| self.0.poll_recv(context)).await
    }

    /// Refuses the flow with an exception code for the far end (RFC 7016 §3.6.3.7).
    pub fn reject(self, code: u64) {
        self.0.reject(code);
    }
}
