//! Runs an application on the calling thread.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::sync::Arc;

use rtmfp_core::profile::CryptoProfile;
use rtmfp_core::{App, Endpoint, EndpointConfig, InterfaceId};

use crate::clock::Clock;
use crate::entropy::system_rng;
use crate::pump::{Pump, Turn};
use crate::socket::Socket;
use crate::wait::Sources;
use crate::wake::Waker;

/// Runs an [`App`] over real sockets, blocking between one thing to do and the next.
#[derive(Debug)]
pub struct Driver {
    pump: Pump,
    sources: Sources,
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
    /// As the system tells, if the sockets cannot be waited for, or no thread be started for key agreements.
    pub fn new(mut pump: Pump) -> io::Result<Self> {
        let sources = Sources::new(&pump)?;
        let waker = Waker::new(sources.notifier());
        let agreed = waker.clone();
        pump.compute_elsewhere(move || agreed.wake())?;
        let changed = waker.clone();
        // Without it sessions survive changes of the network too: `Pump::is_watching` tells.
        let _ = pump.watch_interfaces(move || changed.wake());
        Ok(Self { pump, sources, waker })
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
    /// As the system tells, if no socket works, and none can be bound again. Datagrams that could not be sent or received are only counted.
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
        // After a turn without a wait too: what the pump has closed has its port until it is let go here.
        self.sources.update(&self.pump)?;
        if !turn.done && !turn.more && !woken {
            self.wait(&turn, limit)?;
        }
        Ok(turn.done)
    }

    fn wait(&mut self, turn: &Turn, limit: Option<Duration>) -> io::Result<()> {
        let until = turn.deadline.map(|deadline| self.pump.clock().until(deadline));
        let timeout = match (until, limit) {
            (Some(until), Some(limit)) => Some(until.min(limit)),
            (until, limit) => until.or(limit),
        };
        // A day is as good as forever, and fits every system's timer.
        let timeout = timeout.map(|timeout| timeout.min(Duration::from_secs(86_400)));
        self.sources.wait(&self.pump, timeout)
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use rtmfp_core::Event;
    use rtmfp_core::profile::plain::PlainProfile;

    use super::*;

    /// Has nothing to say.
    struct Idle;

    impl App for Idle {
        fn on_event(&mut self, _: rtmfp_core::Instant, _: &mut Endpoint, _: Event) {}
    }

    /// While a driver was busy its closed sockets had their ports, and none of them could be bound again.
    #[test]
    fn a_port_is_free_after_the_turn_that_closed_its_socket() {
        let profile = Arc::new(PlainProfile::new(b"busy"));
        let mut driver = Driver::bind(EndpointConfig::default(), profile, &["127.0.0.1:0".parse().unwrap()]).unwrap();
        let address = driver.local_addr(InterfaceId(0)).unwrap();
        assert!(driver.pump_mut().remove_interface(InterfaceId(0)));
        // It does not wait in this step.
        driver.waker().wake();
        driver.step(&mut Idle, None).unwrap();
        UdpSocket::bind(address).unwrap();
    }
}
