//! Who announces a code's number in this host's networks.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use rtmfp_local::Search;
use rtmfp_std::Waker;

use crate::failure::Failure;

/// How long the thread may outlive the search.
const TICK: Duration = Duration::from_millis(200);

/// A search that goes on beside the endpoint, until it is dropped.
#[derive(Debug)]
pub(super) struct Nearby {
    found: Receiver<Vec<SocketAddr>>,
    stop: Arc<AtomicBool>,
}

impl Nearby {
    /// Begins to look for whoever announces this.
    ///
    /// # Errors
    /// If there is no socket for multicast, or no thread.
    pub(super) fn search(topic: &[u8], waker: Waker) -> Result<Self, Failure> {
        let fail = |e: &dyn core::fmt::Display| Failure::local("this network", e);
        let search = Search::new(topic).map_err(|e| fail(&e))?;
        let (sender, found) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let look = move || {
            while !stopped.load(Ordering::Relaxed) {
                if let Some(found) = search.next_within(TICK) {
                    if sender.send(found.addresses).is_err() {
                        return;
                    }
                    waker.wake();
                }
            }
        };
        thread::Builder::new().name("rtmfp-nearby".to_owned()).spawn(look).map_err(|e| fail(&e))?;
        Ok(Self { found, stop })
    }

    /// The addresses of the next one that was found.
    pub(super) fn take(&self) -> Option<Vec<SocketAddr>> {
        self.found.try_recv().ok()
    }
}

impl Drop for Nearby {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
