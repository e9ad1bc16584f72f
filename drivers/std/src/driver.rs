//! Runs an application on the calling thread.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::sync::Arc;

use rtmfp_core::profile::CryptoProfile;
use rtmfp_core::{App, Endpoint, EndpointConfig, InterfaceId};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::clock::Clock;
use crate::entropy::system_rng;
use crate::pump::{Pump, Turn};
use crate::socket::Socket;
use crate::wake::Waker;

/// As many sockets, the waker's included, are waited for without a list on the heap.
const FEW: usize = 4;

/// Runs an [`App`] over real sockets, blocking between one thing to do and the next.
#[derive(Debug)]
pub struct Driver {
    pump: Pump,
    waker: Waker,
}

impl Driver {
    /// An endpoint on the given local addresses: the first is [`InterfaceId`] 0, the next 1, and so on.
    ///
    /// # Errors
    /// As the system tells, if an address cannot be bound; `InvalidInput` if a configuration value is out of range.
    pub fn bind(config: EndpointConfig, profile: Arc<dyn CryptoProfile>, addresses: &[SocketAddr]) -> io::Result<Self> {
        let sockets = addresses.iter().map(|address| Socket::bind(*address)).collect::<io::Result<Vec<_>>>()?;
        let clock = Clock::new();
        let endpoint = Endpoint::new(config, profile, system_rng()?, clock.now())
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        Self::new(Pump::new(endpoint, clock, sockets))
    }

    /// Drives a pump that was made elsewhere.
    ///
    /// # Errors
    /// As the system tells, if there is no loopback socket to be had for the [`Waker`], or no thread for key agreements.
    pub fn new(mut pump: Pump) -> io::Result<Self> {
        let waker = Waker::new()?;
        let agreed = waker.clone();
        pump.compute_elsewhere(move || agreed.wake())?;
        Ok(Self { pump, waker })
    }

    /// The local address of an interface.
    #[must_use]
    pub fn local_addr(&self, interface: InterfaceId) -> Option<SocketAddr> {
        self.pump.local_addr(interface)
    }

    /// The pump, and in it the endpoint.
    #[must_use]
    pub const fn pump(&self) -> &Pump {
        &self.pump
    }

    /// The pump, and in it the endpoint. Commands given between two calls of [`step`](Self::step) are acted on by the
    /// second.
    pub const fn pump_mut(&mut self) -> &mut Pump {
        &mut self.pump
    }

    /// Wakes this driver from other threads.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Runs the application until it is done.
    ///
    /// # Errors
    /// As the system tells, if a socket fails for good. Datagrams that could not be sent or received are only counted.
    pub fn run(&mut self, app: &mut dyn App) -> io::Result<()> {
        while !self.step(app, None)? {}
        Ok(())
    }

    /// One round: whatever there is to do, or else waits for it, at most as long as `limit`. Tells whether the
    /// application is done.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn step(&mut self, app: &mut dyn App, limit: Option<Duration>) -> io::Result<bool> {
        // Who waked may want something of the caller of this too: it does not wait then.
        let woken = self.waker.take();
        if woken {
            self.pump.wake();
        }
        let turn = self.pump.turn(app)?;
        if !turn.done && !turn.more && !woken {
            self.wait(&turn, limit)?;
        }
        Ok(turn.done)
    }

    fn wait(&self, turn: &Turn, limit: Option<Duration>) -> io::Result<()> {
        let until = turn.deadline.map(|deadline| self.pump.clock().until(deadline));
        let timeout = match (until, limit) {
            (Some(until), Some(limit)) => Some(until.min(limit)),
            (until, limit) => until.or(limit),
        };
        let interest = |(id, socket)| {
            let flags = if turn.blocked == Some(id) { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            let socket: &Socket = socket;
            PollFd::new(socket.std_socket().as_ref(), flags)
        };
        let waker = PollFd::new(self.waker.socket(), PollFlags::IN);
        // Hardly any endpoint has more: most waits allocate nothing.
        let mut few: [PollFd<'_>; FEW] = core::array::from_fn(|_| waker.clone());
        let mut many = Vec::new();
        let count = self.pump.sockets().count() + 1;
        let fds = match few.get_mut(..count) {
            Some(fds) => {
                // The last remains the waker.
                fds.iter_mut().zip(self.pump.sockets().map(interest)).for_each(|(fd, socket)| *fd = socket);
                fds
            }
            None => {
                many.extend(self.pump.sockets().map(interest).chain([waker]));
                many.as_mut_slice()
            }
        };
        // A day is as good as forever, and fits every system's timer.
        let timeout = timeout.map(|t| t.min(Duration::from_secs(86_400)));
        let timeout = timeout.and_then(|t| Timespec::try_from(t).ok());
        match poll(fds, timeout.as_ref()) {
            Ok(_) => {
                if fds.last().is_some_and(|waker| waker.revents().intersects(PollFlags::IN)) {
                    self.waker.drain();
                }
                Ok(())
            }
            Err(Errno::INTR) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}
