//! Those who wait for a time.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use rtmfp_core::Instant;

use crate::endpoint::shared::{Place, SleepShared, lock};

/// Waits, in the order in which they end.
#[derive(Debug, Default)]
pub(super) struct Sleepers {
    waiting: BTreeMap<Place, Arc<SleepShared>>,
    begun: u64,
}

impl Sleepers {
    pub(super) fn begin(&mut self, now: Instant, sleep: Arc<SleepShared>, duration: Duration) {
        let mut state = lock(&sleep.0);
        if state.given_up {
            return;
        }
        let place = (now + duration, self.begun);
        self.begun += 1;
        state.place = Some(place);
        drop(state);
        self.waiting.insert(place, sleep);
    }

    /// Nobody waits for this any more.
    pub(super) fn forget(&mut self, sleep: &SleepShared) {
        if let Some(place) = lock(&sleep.0).place.take() {
            self.waiting.remove(&place);
        }
    }

    /// Ends those whose time is over.
    pub(super) fn wake(&mut self, now: Instant) {
        while let Some(entry) = self.waiting.first_entry().filter(|entry| entry.key().0 <= now) {
            let sleep = entry.remove();
            let mut state = lock(&sleep.0);
            state.place = None;
            state.over = true;
            state.wakers.wake();
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|((ends, _), _)| *ends)
    }

    /// The endpoint stops.
    pub(super) fn stop(&mut self) {
        core::mem::take(&mut self.waiting).into_values().for_each(|sleep| stop(&sleep));
    }
}

/// Tells one who waits that the endpoint stops.
pub(super) fn stop(sleep: &SleepShared) {
    let mut state = lock(&sleep.0);
    state.stopped = true;
    state.wakers.wake();
}
