//! What a trace tells of a session whatever the call: how its state and its deadlines differ afterwards.

use super::entry::SessionEntry;
use super::initiator::Opening;
use super::shared::Shared;
use crate::session::{SessionState, TIMERS};
use crate::time::Instant;
use crate::trace::TraceEvent;

/// A deadline that may be set, and what it is for.
type Timer = (Option<Instant>, &'static str);

/// A session before a call.
#[derive(Debug)]
pub(super) struct Traced {
    state: SessionState,
    timers: [Timer; TIMERS + 2],
}

impl Default for Traced {
    fn default() -> Self {
        Self { state: SessionState::HelloSent, timers: [(None, ""); TIMERS + 2] }
    }
}

impl SessionEntry {
    fn timers(&self) -> [Timer; TIMERS + 2] {
        let mut timers = [(None, ""); TIMERS + 2];
        let opening = (self.opening().map(Opening::next_timeout), "startup");
        let again = (self.known.reintroduction.as_ref().map(|again| again.next_timeout()), "reintroduction");
        let all = [opening, again].into_iter().chain(self.session.deadlines().0);
        timers.iter_mut().zip(all).for_each(|(place, timer)| *place = timer);
        timers
    }

    /// Tells which deadlines have come.
    pub(super) fn trace_expired(&self, shared: &mut Shared) {
        if !shared.events.tracer.is_on() {
            return;
        }
        let now = shared.now;
        for (_, timer) in self.timers().into_iter().filter(|(at, _)| at.is_some_and(|at| at <= now)) {
            shared.events.trace(|| TraceEvent::TimerExpired { timer });
        }
    }
}

impl Traced {
    /// Before a call.
    #[cold]
    pub(super) fn begin(&mut self, entry: &SessionEntry, shared: &mut Shared) {
        shared.events.tracer.enter(shared.now, Some(entry.handle()));
        *self = Self { state: entry.session.state(), timers: entry.timers() };
    }

    /// After the call, before a session that is over is forgotten.
    #[cold]
    pub(super) fn tell_state(&self, entry: &SessionEntry, shared: &mut Shared) {
        let (from, to) = (self.state, entry.session.state());
        if from != to {
            shared.events.trace(|| TraceEvent::StateChanged { from: Some(from), to });
        }
    }

    /// After all else, if the session is still there. One that is over has no deadlines.
    pub(super) fn tell_timers(&self, entry: &SessionEntry, shared: &mut Shared) {
        let now = shared.now;
        for (&(before, timer), (after, _)) in self.timers.iter().zip(entry.timers()) {
            match (before, after) {
                (before, Some(at)) if before != Some(at) => {
                    shared.events.trace(|| TraceEvent::TimerSet { timer, at });
                }
                // One that was due has expired.
                (Some(at), None) if at > now => shared.events.trace(|| TraceEvent::TimerCancelled { timer }),
                _ => {}
            }
        }
    }
}
