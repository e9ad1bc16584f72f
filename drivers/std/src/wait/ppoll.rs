//! Waits with `ppoll`: one system call for as few descriptors as an endpoint has. `polling` needs
//! five here (it sets a timer and renews two registrations besides), which a publisher to hundreds of subscribers
//! pays thousands of times a second.

use core::time::Duration;
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use rtmfp_core::InterfaceId;
use rustix::event::PollFlags;

use crate::notifier::Notifier;
use crate::pump::Pump;

/// The sockets of a pump, and the notifier of its driver.
#[derive(Debug)]
pub(crate) struct Sources {
    notifier: Notifier,
    sockets: Vec<(InterfaceId, Arc<UdpSocket>)>,
    /// The pump's [`sockets_version`](Pump::sockets_version) that they are of.
    version: Option<u64>,
}

impl Sources {
    pub(crate) fn new(pump: &Pump) -> io::Result<Self> {
        let mut sources = Self { notifier: Notifier::new()?, sockets: Vec::new(), version: None };
        sources.update(pump)?;
        Ok(sources)
    }

    /// Takes the sockets that the pump has now, and no others.
    ///
    /// # Errors
    /// None here: the other way to wait has some.
    #[expect(clippy::unnecessary_wraps, reason = "as the other way to wait")]
    pub(crate) fn update(&mut self, pump: &Pump) -> io::Result<()> {
        if self.version == Some(pump.sockets_version()) {
            return Ok(());
        }
        self.sockets.clear();
        self.sockets.extend(pump.sockets().map(|(interface, socket)| (interface, Arc::clone(socket.std_socket()))));
        self.version = Some(pump.sockets_version());
        Ok(())
    }

    pub(crate) fn notifier(&self) -> Notifier {
        self.notifier.clone()
    }

    /// Waits until there is something to do, but not longer than `timeout`: a socket that is
    /// [receiving](Pump::is_receiving) is readable, one that is blocked is writable, or somebody notifies the driver.
    ///
    /// # Errors
    /// As the system tells.
    pub(crate) fn wait(&mut self, pump: &Pump, timeout: Option<Duration>) -> io::Result<()> {
        self.update(pump)?;
        // One that is asked for nothing would end the wait all the same, if it has an error.
        let waited =
            self.sockets.iter().filter(|(interface, _)| pump.is_receiving(*interface) || pump.is_blocked(*interface));
        let sockets = waited.map(|(interface, socket)| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, pump.is_receiving(*interface));
            flags.set(PollFlags::OUT, pump.is_blocked(*interface));
            (socket.as_fd(), flags)
        });
        self.notifier.wait(sockets, timeout)
    }
}
