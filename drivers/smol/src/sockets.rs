//! Waits for the sockets of a pump, and for its deadline.

use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::future::Future;
use std::io;
use std::net::UdpSocket;
use std::sync::Arc;

use async_io::{Async, Timer};
use rtmfp_core::{App, Instant, InterfaceId};
use rtmfp_std::{Pump, Socket, Turn};

use crate::reactor::{Reactor, Signal};

/// A pump, and what waits for it.
pub(crate) struct OverSockets {
    pump: Pump,
    sockets: Sockets,
    timer: Timer,
    /// What the timer is set to: the deadline, or one before that.
    armed: Option<Instant>,
}

impl OverSockets {
    /// Has key agreements computed by a thread, and the machine's network watched: both set the signal.
    pub(crate) fn new(mut pump: Pump, signal: &Arc<Signal>) -> io::Result<Self> {
        pump.compute_elsewhere({
            let signal = Arc::clone(signal);
            move || signal.set()
        })?;
        // Without it sessions survive changes of the network too: `Pump::is_watching` tells.
        let _ = pump.watch_interfaces({
            let signal = Arc::clone(signal);
            move || signal.set()
        });
        let sockets = Sockets::new(&pump)?;
        Ok(Self { pump, sockets, timer: Timer::never(), armed: None })
    }

    /// Ready when the deadline is over.
    fn poll_deadline(&mut self, context: &mut Context<'_>, deadline: Option<Instant>) -> Poll<()> {
        loop {
            // One that is later than before is left to the timer as it is set: to set it wakes the reactor.
            if let Some(deadline) = deadline.filter(|deadline| self.armed.is_none_or(|armed| *deadline < armed)) {
                self.armed = Some(deadline);
                match self.pump.clock().to_system(deadline) {
                    Some(at) => self.timer.set_at(at),
                    None => self.timer = Timer::never(),
                }
            }
            ready!(Pin::new(&mut self.timer).poll(context));
            // It does not fire again by itself.
            self.armed = None;
            if deadline.is_some_and(|deadline| deadline <= self.pump.clock().now()) {
                return Poll::Ready(());
            }
        }
    }
}

impl Reactor for OverSockets {
    fn wake(&mut self) {
        self.pump.wake();
    }

    fn turn(&mut self, app: &mut dyn App) -> io::Result<Turn> {
        let turn = self.pump.turn(app)?;
        // Whether or not a wait follows: what the pump has closed has its port until it is let go here.
        self.sockets.update(&self.pump)?;
        Ok(turn)
    }

    fn poll_ready(&mut self, context: &mut Context<'_>, turn: &Turn) -> Poll<io::Result<()>> {
        for (id, socket) in &self.sockets.sockets {
            if self.pump.is_receiving(*id)
                && let Poll::Ready(result) = socket.poll_readable(context)
            {
                return Poll::Ready(result);
            }
            if turn.blocked
                && self.pump.is_blocked(*id)
                && let Poll::Ready(result) = socket.poll_writable(context)
            {
                return Poll::Ready(result);
            }
        }
        self.poll_deadline(context, turn.deadline).map(Ok)
    }
}

/// The sockets of a pump. The pump reads and writes; these only wait.
struct Sockets {
    sockets: Vec<(InterfaceId, Async<Arc<UdpSocket>>)>,
    /// The pump's [`sockets_version`](Pump::sockets_version) that they are of.
    version: u64,
}

impl Sockets {
    fn new(pump: &Pump) -> io::Result<Self> {
        let waits =
            |(id, socket): (InterfaceId, &Socket)| Ok((id, Async::new_nonblocking(Arc::clone(socket.std_socket()))?));
        Ok(Self { sockets: pump.sockets().map(waits).collect::<io::Result<_>>()?, version: pump.sockets_version() })
    }

    /// Has the sockets that the pump has now.
    fn update(&mut self, pump: &Pump) -> io::Result<()> {
        if self.version != pump.sockets_version() {
            // None is registered twice.
            self.sockets.clear();
            *self = Self::new(pump)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use core::future::poll_fn;
    use core::time::Duration;

    use futures_lite::future::{block_on, poll_once};
    use rtmfp_core::profile::plain::PlainProfile;
    use rtmfp_core::{Endpoint, EndpointConfig, Event};
    use rtmfp_std::{Clock, system_rng};

    use super::*;

    /// Has nothing to say.
    struct Idle;

    impl App for Idle {
        fn on_event(&mut self, _: Instant, _: &mut Endpoint, _: Event) {}
    }

    /// While a driver was busy its closed sockets had their ports, and none of them could be bound again.
    #[test]
    fn a_port_is_free_after_the_turn_that_closed_its_socket() {
        let clock = Clock::new();
        let profile = Arc::new(PlainProfile::new(b"busy"));
        let endpoint = Endpoint::new(EndpointConfig::default(), profile, system_rng().unwrap(), clock.now()).unwrap();
        let socket = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr();
        let mut over = OverSockets::new(Pump::new(endpoint, clock, vec![socket]), &Arc::default()).unwrap();
        assert!(over.pump.remove_interface(InterfaceId(0)));
        over.turn(&mut Idle).unwrap();
        UdpSocket::bind(address).unwrap();
    }

    /// Each time that it is set costs the reactor a wait more.
    #[test]
    fn the_timer_is_set_anew_only_for_an_earlier_deadline_and_none_is_missed() {
        let clock = Clock::new();
        let profile = Arc::new(PlainProfile::new(b"near"));
        let endpoint = Endpoint::new(EndpointConfig::default(), profile, system_rng().unwrap(), clock.now()).unwrap();
        let mut waits = OverSockets::new(Pump::new(endpoint, clock, Vec::new()), &Arc::default()).unwrap();
        let after = |millis| clock.now() + Duration::from_millis(millis);
        block_on(async {
            let hour = after(3_600_000);
            for deadline in [Some(hour), Some(hour + Duration::from_secs(1)), None] {
                assert!(poll_once(poll_fn(|context| waits.poll_deadline(context, deadline))).await.is_none());
                assert_eq!(waits.armed, Some(hour));
            }
            let soon = after(2);
            poll_fn(|context| waits.poll_deadline(context, Some(soon))).await;
            assert!(clock.now() >= soon && waits.armed.is_none());
            // It is set to one that does not count any more.
            let (early, late) = (after(1), after(20));
            let _ = poll_once(poll_fn(|context| waits.poll_deadline(context, Some(early)))).await;
            poll_fn(|context| waits.poll_deadline(context, Some(late))).await;
            assert!(clock.now() >= late);
        });
    }
}
