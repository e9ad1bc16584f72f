//! The files of an offer, to one receiver that has proved to know the code.

use core::fmt;

use rtmfp_core::{App, Endpoint, Event, Instant, SessionHandle};
use rtmfp_files::transfer::{Failure, Sender, Summary, TransferEvent};

use super::farewell::Farewell;

/// Sends over one session, which is drained at the end.
pub struct Sending<O> {
    session: SessionHandle,
    sender: Sender,
    observer: O,
    farewell: Farewell,
    outcome: Option<Result<Summary, Failure>>,
}

impl<O> fmt::Debug for Sending<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").field("sender", &self.sender).finish_non_exhaustive()
    }
}

impl<O: FnMut(TransferEvent)> Sending<O> {
    /// Begins when it is told that the session is open. `observer` hears how it goes.
    pub fn new(session: SessionHandle, sender: Sender, observer: O) -> Self {
        Self { session, sender, observer, farewell: Farewell::default(), outcome: None }
    }

    /// How it has ended, once it has.
    pub const fn outcome(&self) -> Option<&Result<Summary, Failure>> {
        self.outcome.as_ref()
    }

    fn look(&mut self, now: Instant, endpoint: &mut Endpoint) {
        while let Some(event) = self.sender.poll_event() {
            if let TransferEvent::Ended(outcome) = &event {
                self.outcome = Some(outcome.clone());
            }
            (self.observer)(event);
        }
        self.farewell.look(now, endpoint, self.session, self.sender.is_done());
    }
}

impl<O: FnMut(TransferEvent)> App for Sending<O> {
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        if event == (Event::SessionOpened { session: self.session }) {
            self.sender.start(now, endpoint);
        }
        self.sender.offer(now, endpoint, &event);
        self.look(now, endpoint);
    }

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.sender.on_wake(now, endpoint);
        self.look(now, endpoint);
    }

    fn next_timeout(&self) -> Option<Instant> {
        [self.sender.next_timeout(), self.farewell.next_timeout()].into_iter().flatten().min()
    }

    fn is_done(&self) -> bool {
        self.farewell.is_over()
    }
}
