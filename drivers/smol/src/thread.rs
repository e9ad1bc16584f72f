//! Runs the blocking driver on a thread, as a future that is ready when the thread ends.

use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io;
use std::panic::resume_unwind;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use rtmfp_core::App;
use rtmfp_std::{Driver, Pump, Waker};

use crate::reactor::Signal;

/// Wakes the thread's driver, once there is one. Its first turn finds what came before.
#[derive(Debug, Default)]
pub(crate) struct LateWaker(OnceLock<Waker>);

impl LateWaker {
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.0.get() {
            waker.wake();
        }
    }
}

/// A thread that runs a driver until its application is done, or this is dropped.
struct DriverThread {
    thread: Option<JoinHandle<io::Result<()>>>,
    /// Set when the thread has nothing more to do.
    ended: Arc<Signal>,
    stop: Arc<AtomicBool>,
    waker: Waker,
}

/// Runs the application on a thread of its own, from the first poll on.
pub(crate) async fn run(pump: Pump, mut app: Box<dyn App + Send>, waker: Arc<LateWaker>) -> io::Result<()> {
    let mut driver = Driver::new(pump)?;
    let _ = waker.0.set(driver.waker());
    // Handles know that there is a driver before the executor's next task runs.
    if driver.step(&mut *app, Some(Duration::ZERO))? {
        return Ok(());
    }
    let mut thread = DriverThread::start(driver, app)?;
    core::future::poll_fn(|context| thread.poll(context)).await
}

impl DriverThread {
    fn start(driver: Driver, app: Box<dyn App + Send>) -> io::Result<Self> {
        let (ended, stop, waker) = (Arc::<Signal>::default(), Arc::<AtomicBool>::default(), driver.waker());
        let (ending, stopping) = (Ended(Arc::clone(&ended)), Arc::clone(&stop));
        let body = move || {
            // What is bound last is dropped first: the sockets are closed before any handle is told that all has ended.
            let _ending = ending;
            let mut app = app;
            let mut driver = driver;
            while !stopping.load(Ordering::SeqCst) && !driver.step(&mut *app, None)? {}
            Ok(())
        };
        let thread = thread::Builder::new().name("rtmfp".to_owned()).spawn(body)?;
        Ok(Self { thread: Some(thread), ended, stop, waker })
    }

    /// Ready when the thread has ended. It panics if the thread did, as a task panics that polls what panics.
    fn poll(&mut self, context: &Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.ended.poll(context));
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => Poll::Ready(result),
            Some(Err(panic)) => resume_unwind(panic),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for DriverThread {
    /// Waits for the turn that the thread is at: the ports are free afterwards.
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.stop.store(true, Ordering::SeqCst);
        self.waker.wake();
        // A task can be dropped by what the thread wakes, and no thread can wait for itself.
        if thread.thread().id() != thread::current().id() {
            let _ = thread.join();
        }
    }
}

/// Tells that the thread ends, whether it returns or panics.
struct Ended(Arc<Signal>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.set();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

    use std::net::UdpSocket;

    use futures_lite::future::{block_on, poll_once};
    use rtmfp_core::profile::plain::PlainProfile;
    use rtmfp_core::{Endpoint, EndpointConfig, Event, Instant};
    use rtmfp_std::{Clock, Socket, system_rng};

    use super::*;

    /// Wakes itself, and panics when it is woken for the n-th time.
    struct Fragile(usize, Arc<LateWaker>);

    impl App for Fragile {
        fn on_event(&mut self, _: Instant, _: &mut Endpoint, _: Event) {}

        fn on_wake(&mut self, _: Instant, _: &mut Endpoint) {
            self.0 -= 1;
            assert!(self.0 > 0, "as it was told to");
            self.1.wake();
        }
    }

    fn pump() -> Pump {
        let (profile, clock) = (Arc::new(PlainProfile::new(b"near")), Clock::new());
        let endpoint = Endpoint::new(EndpointConfig::default(), profile, system_rng().unwrap(), clock.now()).unwrap();
        Pump::new(endpoint, clock, vec![Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap()])
    }

    #[test]
    fn the_task_of_a_driver_panics_with_its_thread() {
        for wakes in [1, 2, 20] {
            let waker = Arc::new(LateWaker::default());
            let app = Box::new(Fragile(wakes, Arc::clone(&waker)));
            let caught = thread::spawn(move || block_on(run(pump(), app, waker))).join();
            assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"as it was told to"));
        }
    }

    /// Has nothing to say.
    struct Idle;

    impl App for Idle {
        fn on_event(&mut self, _: Instant, _: &mut Endpoint, _: Event) {}
    }

    #[test]
    fn the_ports_of_a_driver_that_is_dropped_are_free() {
        for _ in 0..20 {
            let pump = pump();
            let address = pump.local_addr(rtmfp_core::InterfaceId(0)).unwrap();
            let mut running = Box::pin(run(pump, Box::new(Idle), Arc::default()));
            assert!(block_on(poll_once(&mut running)).is_none());
            assert!(UdpSocket::bind(address).is_err(), "it runs");
            drop(running);
            UdpSocket::bind(address).unwrap();
        }
    }
}
