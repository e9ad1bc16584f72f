//! Circuits that this end has opened. The server gives a session a few, and the peer has a place for half as many: so
//! those that nobody needs are closed.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use rtmfp_core::{Endpoint, Instant};

use super::Guest;

/// Circuits that are followed. Those beyond end when the server finds them idle.
const MAX_CIRCUITS: usize = 64;
/// How often each is looked at. It is closed if nobody needs it twice in succession.
const LOOK: Duration = Duration::from_secs(5);

/// Circuits, and when to look whether they are needed.
#[derive(Debug, Default)]
pub(super) struct Circuits(BTreeMap<u64, Opened>);

#[derive(Debug)]
struct Opened {
    look: Instant,
    is_idle: bool,
}

impl Circuits {
    pub(super) fn add(&mut self, now: Instant, circuit: u64) {
        if self.0.len() < MAX_CIRCUITS {
            self.0.insert(circuit, Opened { look: now + LOOK, is_idle: false });
        }
    }

    pub(super) fn remove(&mut self, circuit: u64) {
        self.0.remove(&circuit);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.0.values().map(|opened| opened.look).min()
    }
}

impl Guest {
    /// Closes circuits that nobody needs any more: the session goes over another path, or there is none.
    pub(super) fn close_idle_circuits(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let due = self.circuits.0.iter().filter(|(_, opened)| opened.look <= now);
        let due: Vec<u64> = due.map(|(circuit, _)| *circuit).collect();
        for circuit in due {
            let is_needed = self.needs_circuit(endpoint, circuit);
            let Some(opened) = self.circuits.0.get_mut(&circuit) else { continue };
            if opened.is_idle && !is_needed {
                self.circuits.remove(circuit);
                self.forget_circuit(circuit);
                let message = self.client.close_circuit(circuit);
                self.tell(now, endpoint, message);
            } else {
                (opened.look, opened.is_idle) = (now + LOOK, !is_needed);
            }
        }
    }

    fn needs_circuit(&self, endpoint: &Endpoint, circuit: u64) -> bool {
        let path = self.relay.path(circuit);
        let mut open = endpoint.sessions().filter_map(|session| endpoint.session(session));
        let is_used = open.any(|session| session.path().is_some_and(|own| own.matches(&path)));
        is_used || self.attempts_over(circuit) || self.is_searching_over(endpoint, circuit)
    }
}
