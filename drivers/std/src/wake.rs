//! Wakes a blocked driver from another thread.

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use crate::wait::Notifier;

/// Makes a [`Driver`](crate::Driver) call [`on_wake`](rtmfp_core::App::on_wake) soon, from any thread. Wake-ups that
/// come before the driver has acted on the last are one.
#[derive(Clone, Debug)]
pub struct Waker(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pending: AtomicBool,
    notifier: Notifier,
}

impl Waker {
    pub(crate) fn new(notifier: Notifier) -> Self {
        Self(Arc::new(Inner { pending: AtomicBool::new(false), notifier }))
    }

    /// Wakes the driver.
    pub fn wake(&self) {
        if !self.0.pending.swap(true, Ordering::SeqCst) {
            // It fails only if the system's object is broken, and then so does the driver's next wait.
            let _ = self.0.notifier.notify();
        }
    }

    /// Whether there was a wake-up since the last call.
    pub(crate) fn take(&self) -> bool {
        self.0.pending.swap(false, Ordering::SeqCst)
    }
}
