//! The queue of errors that Linux keeps for a socket, if its program has asked for that.

use crate::socket::Socket;

/// Receive calls in a row that found nothing, after which the queue may be why the socket is called ready.
const EMPTY_CALLS: u32 = 16;
/// Entries that are taken at once.
#[cfg(any(target_os = "linux", target_os = "android"))]
const ENTRIES: usize = 1_024;

impl Socket {
    /// A receive call found nothing. A wait ends at once for as long as anything is in the queue, and only a call that
    /// asks for the queue empties it.
    pub(crate) fn nothing_received(&mut self) {
        self.receive_errors = None;
        self.empty_calls += 1;
        if self.empty_calls >= EMPTY_CALLS {
            self.drain_error_queue();
        }
    }

    /// A receive call was worth it.
    pub(crate) fn something_received(&mut self) {
        (self.receive_errors, self.empty_calls) = (None, 0);
    }

    /// Empties the queue, and tells whether anything was in it: an error that a call has just returned can be an entry's
    /// then. What entries say is not needed: the errors of sends are told by the calls themselves.
    pub(crate) fn drain_error_queue(&mut self) -> bool {
        self.empty_calls = 0;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            use rustix::net::{RecvFlags, recv};
            let flags = RecvFlags::ERRQUEUE | RecvFlags::DONTWAIT;
            // The datagrams that the errors are of are cut off.
            let taken = (0..ENTRIES).take_while(|_| recv(&*self.socket, &mut [0_u8; 1], flags).is_ok()).count();
            taken > 0
        }
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        false
    }
}
