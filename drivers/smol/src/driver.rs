//! Runs an application as a future.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::io;
use std::sync::Arc;

use rtmfp_core::App;
use rtmfp_std::Pump;

use crate::reactor::{Reactor, Signal, drive};
use crate::sockets::OverSockets;
use crate::thread::{self, LateWaker};

/// The future that runs an [`Endpoint`](crate::Endpoint), and owns its sockets and state: spawn it. It is ready when the
/// endpoint was stopped, or no socket works any more.
///
/// Over sockets it works on a thread of its own from the first poll on, whether or not it is polled again. So busy tasks
/// beside it do not keep acknowledgements waiting. [Services](crate::Builder::service) run on that thread, and so do the
/// calls that wake tasks. There is no executor there: what spawns a task needs a handle to one.
///
/// Made by [`build_in_task`](crate::Builder::build_in_task), or over a [`Reactor`] of the program's own, it has no such
/// thread: all runs in the task that polls it.
///
/// If nobody polls it within 5 s, whatever waits for the endpoint ends with [`NotDriven`](rtmfp_std::Error::NotDriven).
/// When it is dropped, the endpoint is gone, and far ends are not told. Whatever waits for the endpoint ends with
/// [`Stopped`](rtmfp_std::Error::Stopped) then, also if the driver was never polled.
///
/// The drop waits for a turn that its thread is at: drop it with no lock held that a service or waker takes. The ports
/// are free afterwards. A drop on a thread that runs a driver (by a waker or service) waits for nothing, and the ports
/// are free soon.
#[must_use = "nothing happens until the driver is spawned or polled"]
pub struct Driver(Pin<Box<dyn Future<Output = io::Result<()>> + Send>>);

impl Driver {
    /// On a thread of its own.
    pub(crate) fn on_thread(pump: Pump, app: Box<dyn App + Send>, waker: Arc<LateWaker>) -> Self {
        Self(Box::pin(thread::run(pump, app, waker)))
    }

    /// In the task that polls it.
    pub(crate) fn in_task(pump: Pump, app: Box<dyn App + Send>, signal: Arc<Signal>) -> Self {
        Self(Box::pin(async move {
            let mut app = app;
            drive(&mut OverSockets::new(pump, &signal)?, &mut *app, &signal).await
        }))
    }

    pub(crate) fn over(mut reactor: Box<dyn Reactor>, app: Box<dyn App + Send>, signal: Arc<Signal>) -> Self {
        Self(Box::pin(async move {
            let mut app = app;
            drive(&mut *reactor, &mut *app, &signal).await
        }))
    }
}

impl core::fmt::Debug for Driver {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}

impl Future for Driver {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll(context)
    }
}

/// Runs any application over a pump until it is done, in the task that polls this. It is the same state machine that the
/// blocking driver and the simulator run.
///
/// # Errors
/// As the system tells, if no socket works, and none can be bound again.
pub async fn run(pump: Pump, app: &mut (dyn App + Send)) -> io::Result<()> {
    let signal = Arc::new(Signal::default());
    drive(&mut OverSockets::new(pump, &signal)?, app, &signal).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use core::time::Duration;

    use futures_lite::future;
    use rtmfp_core::profile::plain::PlainProfile;
    use rtmfp_core::{CloseMode, Endpoint, EndpointConfig, Event, Instant, InterfaceId, Path, Target};
    use rtmfp_std::{Clock, system_rng};

    use super::*;

    /// Never idle: each session that ends makes it begin another. It is asked to stop at once.
    struct Busy {
        signal: Arc<Signal>,
        sessions: usize,
        wakes: usize,
    }

    impl Busy {
        const MOST: usize = 100_000;

        fn open(&mut self, now: Instant, endpoint: &mut Endpoint) {
            self.sessions += 1;
            let path = Path::new(InterfaceId(0), "192.0.2.1:1935".parse().unwrap());
            let target = Target { discriminator: "far".into(), candidates: vec![(path, Duration::ZERO)] };
            let session = endpoint.open(now, target).unwrap();
            endpoint.session_mut(now, session).unwrap().close(CloseMode::Abrupt);
        }
    }

    impl App for Busy {
        fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, _event: Event) {
            if !self.is_done() {
                self.open(now, endpoint);
            }
        }

        fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
            self.wakes += 1;
            if self.wakes == 1 {
                self.open(now, endpoint);
                self.signal.set();
            }
        }

        fn is_done(&self) -> bool {
            self.wakes > 1 || self.sessions > Self::MOST
        }
    }

    #[test]
    fn a_driver_that_is_never_idle_carries_out_commands() {
        let clock = Clock::new();
        let profile = Arc::new(PlainProfile::new(b"near"));
        let endpoint = Endpoint::new(EndpointConfig::default(), profile, system_rng().unwrap(), clock.now()).unwrap();
        let signal = Arc::new(Signal::default());
        let mut app = Busy { signal: Arc::clone(&signal), sessions: 0, wakes: 0 };
        let mut reactor = OverSockets::new(Pump::new(endpoint, clock, Vec::new()), &signal).unwrap();
        future::block_on(drive(&mut reactor, &mut app, &signal)).unwrap();
        assert!(app.wakes == 2 && app.sessions < Busy::MOST, "{} sessions", app.sessions);
    }

    /// Has something for itself to do whenever it is asked.
    struct AlwaysWoken {
        signal: Arc<Signal>,
        wakes: usize,
    }

    impl App for AlwaysWoken {
        fn on_event(&mut self, _: Instant, _: &mut Endpoint, _: Event) {}

        fn on_wake(&mut self, _: Instant, _: &mut Endpoint) {
            self.wakes += 1;
            self.signal.set();
        }

        fn is_done(&self) -> bool {
            self.wakes > Busy::MOST
        }
    }

    /// Other tasks of the executor had no turn for as long as handles gave commands.
    #[test]
    fn a_driver_that_is_woken_all_the_time_lets_other_tasks_run() {
        let clock = Clock::new();
        let profile = Arc::new(PlainProfile::new(b"near"));
        let endpoint = Endpoint::new(EndpointConfig::default(), profile, system_rng().unwrap(), clock.now()).unwrap();
        let signal = Arc::new(Signal::default());
        let mut app = AlwaysWoken { signal: Arc::clone(&signal), wakes: 0 };
        let mut reactor = OverSockets::new(Pump::new(endpoint, clock, Vec::new()), &signal).unwrap();
        let polled = future::block_on(future::poll_once(drive(&mut reactor, &mut app, &signal)));
        assert!(polled.is_none() && app.wakes < 10, "{} turns in a row", app.wakes);
    }
}
