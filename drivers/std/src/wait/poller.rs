//! Waits with what the system has for it, by way of `polling`.

use core::time::Duration;
use std::io;
use std::net::UdpSocket;
use std::sync::Arc;

use polling::{Event, Events, PollMode, Poller};
use rtmfp_core::InterfaceId;

use crate::pump::Pump;

/// Ends a wait, the present one or the next, from any thread.
#[derive(Clone, Debug)]
pub(crate) struct Notifier(Arc<Poller>);

impl Notifier {
    /// # Errors
    /// As the system tells. A notification that has not been taken yet is none.
    pub(crate) fn notify(&self) -> io::Result<()> {
        self.0.notify()
    }
}

/// The sockets of a pump, registered with the system.
pub(crate) struct Sources {
    poller: Arc<Poller>,
    sockets: Vec<Source>,
    /// The pump's [`sockets_version`](Pump::sockets_version) that they are of.
    version: Option<u64>,
    events: Events,
    mode: PollMode,
}

/// A registered socket.
struct Source {
    interface: InterfaceId,
    /// Kept here too: none may be closed while it is registered.
    socket: Arc<UdpSocket>,
    /// What is waited for: something to receive, and room to send.
    readable: bool,
    writable: bool,
}

impl core::fmt::Debug for Sources {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

impl Sources {
    pub(crate) fn new(pump: &Pump) -> io::Result<Self> {
        let poller = Poller::new()?;
        let mode = if poller.supports_level() { PollMode::Level } else { PollMode::Oneshot };
        let mut sources =
            Self { poller: Arc::new(poller), sockets: Vec::new(), version: None, events: Events::new(), mode };
        sources.update(pump)?;
        Ok(sources)
    }

    /// Registers the sockets that the pump has now, and no others.
    ///
    /// # Errors
    /// As the system tells.
    pub(crate) fn update(&mut self, pump: &Pump) -> io::Result<()> {
        if self.version == Some(pump.sockets_version()) {
            return Ok(());
        }
        self.delete_all();
        for (interface, socket) in pump.sockets() {
            self.add(interface, Arc::clone(socket.std_socket()))?;
        }
        self.version = Some(pump.sockets_version());
        Ok(())
    }

    #[expect(unsafe_code, reason = "registering a socket that is closed before it is deleted would be unsound")]
    fn add(&mut self, interface: InterfaceId, socket: Arc<UdpSocket>) -> io::Result<()> {
        let event = Event::readable(usize::from(interface.0));
        // SAFETY: the socket stays open until `delete_all` has deleted it from the poller, as `self.sockets` holds it.
        unsafe { self.poller.add_with_mode(&*socket, event, self.mode)? };
        self.sockets.push(Source { interface, socket, readable: true, writable: false });
        Ok(())
    }

    fn delete_all(&mut self) {
        for source in self.sockets.drain(..) {
            // There is nothing to be done about a failure, and nobody waits any more.
            let _ = self.poller.delete(&*source.socket);
        }
    }

    pub(crate) fn notifier(&self) -> Notifier {
        Notifier(Arc::clone(&self.poller))
    }

    /// Waits until there is something to do, but not longer than `timeout`: a socket that is
    /// [receiving](Pump::is_receiving) is readable, one that is blocked is writable, or somebody notifies the driver.
    ///
    /// # Errors
    /// As the system tells.
    pub(crate) fn wait(&mut self, pump: &Pump, timeout: Option<Duration>) -> io::Result<()> {
        self.update(pump)?;
        for source in &mut self.sockets {
            let (receiving, blocked) = (pump.is_receiving(source.interface), pump.is_blocked(source.interface));
            if (source.readable, source.writable) != (receiving, blocked) || self.mode == PollMode::Oneshot {
                let event = Event::new(usize::from(source.interface.0), receiving, blocked);
                self.poller.modify_with_mode(&*source.socket, event, self.mode)?;
                (source.readable, source.writable) = (receiving, blocked);
            }
        }
        self.events.clear();
        match self.poller.wait(&mut self.events, timeout) {
            Err(e) if e.kind() != io::ErrorKind::Interrupted => Err(e),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

impl Drop for Sources {
    fn drop(&mut self) {
        self.delete_all();
    }
}
