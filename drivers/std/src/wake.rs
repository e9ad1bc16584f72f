//! Wakes a blocked driver from another thread.

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use polling::Poller;

/// Makes a [`Driver`](crate::Driver) call [`on_wake`](rtmfp_core::App::on_wake) soon, from any thread. Wake-ups that
/// come before the driver has acted on the last are one.
#[derive(Clone, Debug)]
pub struct Waker(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pending: AtomicBool,
    poller: Arc<Poller>,
}

impl Waker {
    pub(crate) fn new(poller: Arc<Poller>) -> Self {
        Self(Arc::new(Inner { pending: AtomicBool::new(false), poller }))
    }

    /// Wakes the driver.
    pub fn wake(&self) {
        if !self.0.pending.swap(true, Ordering::SeqCst) {
            // It fails only if the driver's poller is broken, and then so does the driver's next wait.
            let _ = self.0.poller.notify();
        }
    }

    /// Whether there was a wake-up since the last call.
    pub(crate) fn take(&self) -> bool {
        self.0.pending.swap(false, Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use polling::Events;

    use super::*;

    /// A wait without an end hangs here if a wake-up is lost.
    #[test]
    fn every_wake_up_ends_a_wait_and_is_taken_once() {
        let waker = Waker::new(Arc::new(Poller::new().unwrap()));
        for _ in 0..3 {
            waker.wake();
            waker.wake();
            waker.0.poller.wait(&mut Events::new(), None).unwrap();
            assert!(waker.take() && !waker.take());
        }
        // Taken before the wait, as when the driver runs between the two halves of `wake`.
        waker.0.pending.store(true, Ordering::SeqCst);
        assert!(waker.take());
        waker.wake();
        waker.0.poller.wait(&mut Events::new(), None).unwrap();
        assert!(waker.take());
    }
}
