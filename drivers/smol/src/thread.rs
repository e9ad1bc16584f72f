//! Runs the blocking driver on a thread, as a future that is ready when the thread ends.

use core::cell::Cell;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
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

std::thread_local! {
    /// This thread runs a driver: it waits for no other that does.
    static RUNS_DRIVER: Cell<bool> = const { Cell::new(false) };
}

/// What a thread came to, or what it panicked with. None until then, and once it is taken.
type Outcome = Arc<Mutex<Option<thread::Result<io::Result<()>>>>>;

/// A thread that runs a driver until its application is done, or this is dropped.
struct DriverThread {
    thread: Option<JoinHandle<()>>,
    outcome: Outcome,
    /// Set when the outcome is there. The thread has nothing more to do then.
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
        let outcome = Outcome::default();
        let (ending, stopping, told) = (Arc::clone(&ended), Arc::clone(&stop), Arc::clone(&outcome));
        let body = move || {
            RUNS_DRIVER.set(true);
            // Nothing of it is looked at after a panic.
            let result = catch_unwind(AssertUnwindSafe(move || {
                // What is bound last is dropped first: the sockets are closed before any handle is told that all has ended.
                let mut app = app;
                let mut driver = driver;
                while !stopping.load(Ordering::SeqCst) && !driver.step(&mut *app, None)? {}
                Ok(())
            }));
            *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            // An executor may poll the task in this call.
            ending.set();
        };
        let thread = thread::Builder::new().name("rtmfp".to_owned()).spawn(body)?;
        Ok(Self { thread: Some(thread), outcome, ended, stop, waker })
    }

    /// Ready when the thread has closed its sockets and ends. It panics if the thread did, as a task panics that polls
    /// what panics.
    fn poll(&mut self, context: &Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.ended.poll(context));
        // Not waited for: this may be the thread itself.
        self.thread = None;
        let outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
        match outcome {
            Some(Ok(result)) => Poll::Ready(result),
            Some(Err(panic)) => resume_unwind(panic),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for DriverThread {
    /// Waits for the turn that the thread is at: the ports are free afterwards. Not on a thread that runs a driver.
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.stop.store(true, Ordering::SeqCst);
        self.waker.wake();
        // A task can be dropped by what the thread wakes, and no thread can wait for itself, nor two for each other.
        if !RUNS_DRIVER.get() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

    use core::pin::Pin;
    use std::net::UdpSocket;
    use std::sync::{Barrier, mpsc};
    use std::task::{Wake, Waker};

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

    const LONG: Duration = Duration::from_secs(60);

    type Running = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

    /// An executor that polls its task wherever that is woken.
    struct Inline(Mutex<Option<Running>>, mpsc::Sender<io::Result<()>>);

    impl Wake for Inline {
        fn wake(self: Arc<Self>) {
            let waker = Waker::from(Arc::clone(&self));
            let mut task = self.0.lock().unwrap();
            let polled = task.as_mut().map(|task| task.as_mut().poll(&mut Context::from_waker(&waker)));
            if let Some(Poll::Ready(result)) = polled {
                *task = None;
                self.1.send(result).unwrap();
            }
        }
    }

    /// Is done when it is told so.
    struct Told(Arc<AtomicBool>);

    impl App for Told {
        fn on_event(&mut self, _: Instant, _: &mut Endpoint, _: Event) {}

        fn is_done(&self) -> bool {
            self.0.load(Ordering::SeqCst)
        }
    }

    /// The thread waited for itself, which panicked.
    #[test]
    fn a_task_that_is_polled_by_what_its_thread_wakes_is_ready() {
        let (done, late) = (Arc::<AtomicBool>::default(), Arc::<LateWaker>::default());
        let running = Box::pin(run(pump(), Box::new(Told(Arc::clone(&done))), Arc::clone(&late)));
        let (sender, results) = mpsc::channel();
        Arc::new(Inline(Mutex::new(Some(running)), sender)).wake();
        done.store(true, Ordering::SeqCst);
        late.wake();
        results.recv_timeout(LONG).unwrap().unwrap();
    }

    /// Drops another driver, once it has one, while that drops this one.
    struct Foe {
        other: Arc<Mutex<Option<Running>>>,
        both: Arc<Barrier>,
        _gone: Gone,
    }

    /// Tells that it was dropped.
    struct Gone(mpsc::Sender<()>);

    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
        }
    }

    impl App for Foe {
        fn on_event(&mut self, _: Instant, _: &mut Endpoint, _: Event) {}

        fn on_wake(&mut self, _: Instant, _: &mut Endpoint) {
            let other = self.other.lock().unwrap().take();
            if other.is_some() {
                self.both.wait();
            }
            drop(other);
        }
    }

    /// Each thread waited for the other.
    #[test]
    fn drivers_that_drop_each_other_end() {
        let (both, (sender, gone)) = (Arc::new(Barrier::new(2)), mpsc::channel());
        let drivers: [(Running, _, _); 2] = core::array::from_fn(|_| {
            let (other, late) = (Arc::<Mutex<Option<Running>>>::default(), Arc::<LateWaker>::default());
            let foe = Foe { other: Arc::clone(&other), both: Arc::clone(&both), _gone: Gone(sender.clone()) };
            let mut running: Running = Box::pin(run(pump(), Box::new(foe), Arc::clone(&late)));
            assert!(block_on(poll_once(&mut running)).is_none());
            (running, other, late)
        });
        let [(first, of_first, wake_first), (second, of_second, wake_second)] = drivers;
        *of_first.lock().unwrap() = Some(second);
        *of_second.lock().unwrap() = Some(first);
        wake_first.wake();
        wake_second.wake();
        for _ in 0..2 {
            gone.recv_timeout(LONG).unwrap();
        }
    }
}
