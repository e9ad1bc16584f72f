//! Runs an application as a future.

use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};
use std::io;
use std::net::UdpSocket;
use std::sync::{Arc, Mutex, PoisonError};

use async_io::{Async, Timer};
use rtmfp_core::{App, InterfaceId};
use rtmfp_std::{Pump, Socket};

/// Turns in a row before other tasks of the executor have their turn.
const TURNS: usize = 4;

/// The future that owns an [`Endpoint`](crate::Endpoint)'s sockets and state: spawn it. It is ready when the endpoint
/// was stopped, or no socket works any more.
///
/// When it is dropped, whatever waits for the endpoint ends with [`Stopped`](rtmfp_std::Error::Stopped), be it that the
/// driver was never polled; far ends are not told.
#[must_use = "nothing happens until the driver is spawned or polled"]
pub struct Driver(Pin<Box<dyn Future<Output = io::Result<()>> + Send>>);

impl Driver {
    pub(crate) fn new(pump: Pump, app: Box<dyn App + Send>, signal: Arc<Signal>) -> Self {
        Self(Box::pin(async move {
            let mut app = app;
            run_with(pump, &mut *app, signal).await
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

/// Has the driver's task look at its queue.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    set: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Signal {
    pub(crate) fn set(&self) {
        self.set.store(true, Ordering::SeqCst);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll(&self, context: &Context<'_>) -> Poll<()> {
        let waker = context.waker().clone();
        let replaced = self.waker.lock().unwrap_or_else(PoisonError::into_inner).replace(waker);
        // Dropping a waker may run anything: nothing is locked here.
        drop(replaced);
        // Looked at after the waker is there, so that no signal falls between.
        if self.take() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Whether it was set since the last look.
    fn take(&self) -> bool {
        self.set.swap(false, Ordering::SeqCst)
    }
}

/// Runs any application over a pump until it is done: the same state machine that the blocking driver and the simulator
/// run.
///
/// # Errors
/// As the system tells, if no socket works, and none can be bound again.
pub async fn run(pump: Pump, app: &mut (dyn App + Send)) -> io::Result<()> {
    run_with(pump, app, Arc::new(Signal::default())).await
}

async fn run_with(mut pump: Pump, app: &mut (dyn App + Send), signal: Arc<Signal>) -> io::Result<()> {
    pump.compute_elsewhere({
        let signal = Arc::clone(&signal);
        move || signal.set()
    })?;
    // Without it sessions survive changes of the network too: `Pump::is_watching` tells.
    let _ = pump.watch_interfaces({
        let signal = Arc::clone(&signal);
        move || signal.set()
    });
    let mut sockets = Sockets::new(&pump)?;
    let mut timer = Timer::never();
    let mut armed = None;
    let mut turns = 0;
    loop {
        // A peer that keeps the pump busy does not keep commands waiting.
        if signal.take() {
            pump.wake();
        }
        let turn = pump.turn(app)?;
        if turn.done {
            return Ok(());
        }
        turns += 1;
        if turn.more {
            if turns % TURNS == 0 {
                futures_lite::future::yield_now().await;
            }
            continue;
        }
        if armed != turn.deadline {
            armed = turn.deadline;
            match turn.deadline.and_then(|deadline| pump.clock().to_system(deadline)) {
                Some(at) => timer.set_at(at),
                None => timer = Timer::never(),
            }
        }
        sockets.update(&pump)?;
        // Hardly ever any: most waits allocate nothing.
        let blocked: Vec<InterfaceId> = match turn.blocked {
            true => pump.sockets().map(|(id, _)| id).filter(|id| pump.is_blocked(*id)).collect(),
            false => Vec::new(),
        };
        let woken = poll_fn(|context| {
            if signal.poll(context).is_ready() {
                return Poll::Ready(Ok(true));
            }
            poll_sources(context, &sockets.sockets, &blocked, &mut timer).map(|result| result.map(|()| false))
        })
        .await?;
        // A timer that has fired does not do so again by itself.
        armed = armed.filter(|deadline| *deadline > pump.clock().now());
        if woken {
            pump.wake();
        }
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

/// Ready when a socket or the timer is.
fn poll_sources(
    context: &mut Context<'_>,
    sockets: &[(InterfaceId, Async<Arc<UdpSocket>>)],
    blocked: &[InterfaceId],
    timer: &mut Timer,
) -> Poll<io::Result<()>> {
    for (id, socket) in sockets {
        if let Poll::Ready(result) = socket.poll_readable(context) {
            return Poll::Ready(result);
        }
        if blocked.contains(id)
            && let Poll::Ready(result) = socket.poll_writable(context)
        {
            return Poll::Ready(result);
        }
    }
    Pin::new(timer).poll(context).map(|_| Ok(()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use core::time::Duration;

    use rtmfp_core::profile::plain::PlainProfile;
    use rtmfp_core::{CloseMode, Endpoint, EndpointConfig, Event, Instant, Path, Target};
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
        futures_lite::future::block_on(run_with(Pump::new(endpoint, clock, Vec::new()), &mut app, signal)).unwrap();
        assert!(app.wakes == 2 && app.sessions < Busy::MOST, "{} sessions", app.sessions);
    }
}
