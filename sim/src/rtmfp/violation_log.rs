//! Where all checkers of a run report violated invariants.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use datagram_sim::Time;

/// The most violations that are kept.
const KEPT: usize = 20;

/// The violated invariants of a run: the first 20, with their time. Clones share one log.
#[derive(Clone, Debug, Default)]
pub struct ViolationLog(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    now: AtomicU64,
    violations: Mutex<Vec<String>>,
    /// Addresses that forwarded hellos named.
    introduced: Mutex<BTreeSet<SocketAddr>>,
}

impl ViolationLog {
    /// Sets the world time, with which violations are reported.
    pub fn set_now(&self, now: Time) {
        self.0.now.store(now.0, Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> Time {
        Time(self.0.now.load(Ordering::Relaxed))
    }

    pub(crate) fn report(&self, what: &str) {
        if let Ok(mut violations) = self.0.violations.lock()
            && violations.len() < KEPT
        {
            violations.push(format!("{what} at {}", self.now()));
        }
    }

    /// A forwarded hello named this address, to be answered there.
    pub(super) fn introduce(&self, address: SocketAddr) {
        if let Ok(mut introduced) = self.0.introduced.lock() {
            introduced.insert(address);
        }
    }

    /// Whether a forwarded hello named this address.
    #[must_use]
    pub fn is_introduced(&self, address: SocketAddr) -> bool {
        self.0.introduced.lock().is_ok_and(|introduced| introduced.contains(&address))
    }

    /// What was reported so far.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        self.0.violations.lock().map(|violations| violations.clone()).unwrap_or_default()
    }
}
