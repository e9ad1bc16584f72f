//! What an application does with an endpoint, as a state machine that any driver and the simulator can run.
//!
//! Architecture in one line: a driver moves bytes and time, the endpoint speaks the protocol, the application
//! decides. Written against this trait, one application runs unchanged over real sockets and in virtual time.

use crate::endpoint::Endpoint;
use crate::event::Event;
use crate::time::Instant;
use crate::transmit::{InterfaceId, Path};

/// An application of an [`Endpoint`], without input or output of its own over the network.
///
/// Whoever runs it keeps to this order: [`on_wake`](Self::on_wake) once at the start; then, after every input to the
/// endpoint (datagrams, time), [`on_event`](Self::on_event) for each event until there are none left; and `on_wake`
/// again whenever [`next_timeout`](Self::next_timeout) is reached or the application asked from outside to be woken.
/// After each such round everything that the endpoint has to send is sent. When [`is_done`](Self::is_done) tells true
/// the endpoint is run no more, once what it had left to send is sent.
pub trait App {
    /// Something happened to the endpoint. Commands may be given to it at once.
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event);

    /// The start, a deadline of [`next_timeout`](Self::next_timeout), or a wake-up from outside. A call with nothing
    /// to do must change nothing.
    fn on_wake(&mut self, _now: Instant, _endpoint: &mut Endpoint) {}

    /// Whether this application is the way that datagrams leave over an interface (RFC 7016 §3.3), rather than a socket.
    fn carries(&self, _interface: InterfaceId) -> bool {
        false
    }

    /// Takes a datagram that is to leave over an interface that it [carries](Self::carries). What it cannot take is lost
    /// on the way. Datagrams that come in over such an interface it hands to
    /// [`Endpoint::handle_datagram`] itself.
    fn carry(&mut self, _now: Instant, _endpoint: &mut Endpoint, _path: Path, _datagram: &[u8]) {}

    /// When to call [`on_wake`](Self::on_wake) again; `None` for never. After `on_wake(now)` this must be later than
    /// `now`.
    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    /// Whether the application wants the endpoint to stop being run.
    fn is_done(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Listener;

    impl App for Listener {
        fn on_event(&mut self, _now: Instant, _endpoint: &mut Endpoint, _event: Event) {}
    }

    #[test]
    fn an_application_that_only_listens_has_no_deadline_and_no_end() {
        assert_eq!((Listener.next_timeout(), Listener.is_done()), (None, false));
    }
}
