//! Sockets that have failed are bound again.

use core::time::Duration;
use std::io;

use rtmfp_core::{Instant, InterfaceId};

use super::Pump;

/// A socket that has failed is bound again after this, and then after twice as long, up to [`WAIT_MAX`].
const WAIT_MIN: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(10);
/// A socket that works for so long has not failed at once.
const STEADY: Duration = Duration::from_secs(60);
/// Failures in a row after which binding again does not count as help.
const MAX_FAILURES: u32 = 8;
/// Trials to bind a port that another program has. If the system chose it, another is taken then.
const PORT_TRIALS: u32 = 5;

/// Failures of an interface's sockets, each soon after it was bound.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failures {
    in_a_row: u32,
    /// When the last socket was bound.
    bound: Instant,
}

impl Failures {
    pub(super) const fn new(now: Instant) -> Self {
        Self { in_a_row: 0, bound: now }
    }

    /// The socket has failed. How long to wait before another is bound.
    fn add(&mut self, now: Instant) -> Duration {
        let steady = now.saturating_duration_since(self.bound) >= STEADY;
        self.in_a_row = if steady { 1 } else { self.in_a_row.saturating_add(1) };
        let doubled = 2_u32.saturating_pow(self.in_a_row - 1);
        WAIT_MIN.saturating_mul(doubled).min(WAIT_MAX)
    }

    /// Binding helps no more.
    const fn is_hopeless(&self) -> bool {
        self.in_a_row >= MAX_FAILURES
    }
}

/// When a socket is bound again, and why there is none.
#[derive(Debug)]
pub(super) struct Rebind {
    at: Instant,
    wait: Duration,
    /// Binding was tried, and this is why it failed. Before: why the socket has failed.
    tried: bool,
    error: io::Error,
    /// Trials that failed because another program has the port.
    taken: u32,
}

/// Whether binding may succeed another time without anybody's help: a shortage of descriptors or memory may.
fn may_pass(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    !matches!(error.kind(), InvalidInput | PermissionDenied | Unsupported)
}

impl Pump {
    /// A socket has failed for good.
    pub(super) fn failed(&mut self, now: Instant, interface: InterfaceId, error: io::Error) {
        self.stats.socket_failures += 1;
        self.close(now, interface);
        if let Some(state) = self.interfaces.get_mut(usize::from(interface.0)) {
            let wait = state.failures.add(now);
            state.rebind = Some(Rebind { at: now + wait, wait, tried: false, error, taken: 0 });
        }
        self.move_sessions(now);
    }

    /// When a socket is to be bound again.
    pub(super) fn next_rebind(&self) -> Option<Instant> {
        self.interfaces.iter().filter_map(|state| Some(state.rebind.as_ref()?.at)).min()
    }

    /// Does what is due.
    pub(super) fn rebind_due(&mut self, now: Instant) {
        if self.next_rebind().is_none_or(|at| at > now) {
            return;
        }
        for id in self.ids() {
            let rebind = self.interfaces.get(usize::from(id.0)).and_then(|state| state.rebind.as_ref());
            if rebind.is_some_and(|rebind| rebind.at <= now) {
                self.rebind(now, id);
            }
        }
    }

    /// The network has changed: what could not be bound may be now. A socket that fails again and again, though it can be
    /// bound, waits for its time.
    pub(super) fn rebind_after_change(&mut self, now: Instant, interface: InterfaceId) {
        let state = self.interfaces.get(usize::from(interface.0));
        let tried = |rebind: &Rebind| rebind.tried || rebind.wait == WAIT_MIN;
        if state.and_then(|state| state.rebind.as_ref()).is_some_and(tried) {
            self.rebind(now, interface);
        }
    }

    /// Why no interface works, nor will without help. None: one does, or may.
    pub(super) fn hopeless(&mut self) -> Option<io::Error> {
        let mut states = self.interfaces.iter_mut().filter(|state| !state.is_removed()).peekable();
        states.peek()?;
        let errors = states.map(|state| {
            let hopeless = state.failures.is_hopeless();
            state.rebind.as_mut().filter(|rebind| hopeless || (rebind.tried && !may_pass(&rebind.error)))
        });
        let last = errors.collect::<Option<Vec<_>>>()?.pop()?;
        Some(core::mem::replace(&mut last.error, io::ErrorKind::Other.into()))
    }

    fn rebind(&mut self, now: Instant, interface: InterfaceId) {
        let Some(state) = self.interfaces.get(usize::from(interface.0)) else { return };
        let Some(rebind) = &state.rebind else { return };
        let (mut failures, taken) = (state.failures, rebind.taken);
        let elsewhere = state.binding.any_port && taken >= PORT_TRIALS;
        let bound = if elsewhere { state.binding.bind_elsewhere() } else { state.binding.bind() };
        #[cfg(test)]
        let bound = self.forbidden.map_or(bound, |kind| Err(kind.into()));
        match bound {
            Ok(socket) => {
                self.stats.rebinds += 1;
                self.stats.port_changes += u64::from(elsewhere);
                failures.bound = now;
                self.open(now, interface, socket, failures);
            }
            Err(error) => self.not_bound(now, interface, error),
        }
    }

    fn not_bound(&mut self, now: Instant, interface: InterfaceId, error: io::Error) {
        let state = self.interfaces.get_mut(usize::from(interface.0));
        let Some(rebind) = state.and_then(|state| state.rebind.as_mut()) else { return };
        // A trial before its time leaves the time as it is.
        if rebind.at <= now {
            rebind.wait = (2 * rebind.wait).min(WAIT_MAX);
            rebind.at = now + rebind.wait;
            rebind.taken += u32::from(error.kind() == io::ErrorKind::AddrInUse);
        }
        (rebind.tried, rebind.error) = (true, error);
    }

    /// Pretends that no socket can be bound.
    #[cfg(test)]
    pub(super) const fn forbid_binding(&mut self, kind: io::ErrorKind) {
        self.forbidden = Some(kind);
    }
}
