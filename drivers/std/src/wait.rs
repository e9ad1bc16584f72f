//! Waits for sockets, a deadline, or another thread.

use core::time::Duration;
use std::io;
use std::net::UdpSocket;
use std::sync::Arc;

use polling::{Event, Events, PollMode, Poller};
use rtmfp_core::InterfaceId;

use crate::pump::Pump;
use crate::wake::Waker;

/// The sockets of a pump, registered with the system.
pub(crate) struct Sources {
    poller: Arc<Poller>,
    /// Kept here too: none may be closed while it is registered. With each, whether room to send is waited for.
    sockets: Vec<(Arc<UdpSocket>, bool)>,
    events: Events,
    mode: PollMode,
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
        let mut sources = Self { poller: Arc::new(poller), sockets: Vec::new(), events: Events::new(), mode };
        for (_, socket) in pump.sockets() {
            sources.add(Arc::clone(socket.std_socket()))?;
        }
        Ok(sources)
    }

    #[expect(unsafe_code, reason = "registering a socket that is closed before it is deleted would be unsound")]
    fn add(&mut self, socket: Arc<UdpSocket>) -> io::Result<()> {
        // SAFETY: the socket stays open until `drop` has deleted it from the poller, as `self.sockets` holds it.
        unsafe { self.poller.add_with_mode(&*socket, Event::readable(self.sockets.len()), self.mode)? };
        self.sockets.push((socket, false));
        Ok(())
    }

    pub(crate) fn waker(&self) -> Waker {
        Waker::new(Arc::clone(&self.poller))
    }

    /// Waits until a socket is readable, or one that is blocked is writable, or somebody wakes the driver, but not
    /// longer than `timeout`.
    pub(crate) fn wait(&mut self, pump: &Pump, timeout: Option<Duration>) -> io::Result<()> {
        for (index, (socket, writable)) in self.sockets.iter_mut().enumerate() {
            let blocked = u16::try_from(index).is_ok_and(|index| pump.is_blocked(InterfaceId(index)));
            if *writable != blocked || self.mode == PollMode::Oneshot {
                self.poller.modify_with_mode(&**socket, Event::new(index, true, blocked), self.mode)?;
                *writable = blocked;
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
        for (socket, _) in &self.sockets {
            // There is nothing to be done about a failure, and nobody waits any more.
            let _ = self.poller.delete(&**socket);
        }
    }
}
