//! What a sender offers that has proved to know the code.

use core::fmt;

use rtmfp_core::{App, Endpoint, Event, Instant, SessionHandle};
use rtmfp_files::manifest::{Manifest, Totals};
use rtmfp_files::storage::Store;
use rtmfp_files::transfer::{Failure, Receiver, Summary, TransferEvent};

use super::farewell::Farewell;

/// What is offered.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// Its entries.
    pub manifest: &'a Manifest,
    /// What is in it, all together.
    pub totals: Totals,
    /// By which it is known again.
    pub root: [u8; 32],
}

/// What the user wants of an offer.
#[derive(Debug)]
pub enum Decision {
    /// It goes here.
    Accept(Box<dyn Store>),
    /// Nothing of it. The text is for the sender.
    Decline(String),
}

/// Receives over one session, which is drained at the end.
pub struct Receiving<D, O> {
    session: SessionHandle,
    receiver: Receiver,
    decide: D,
    observer: O,
    offered: Option<Totals>,
    farewell: Farewell,
    outcome: Option<Result<Summary, Failure>>,
}

impl<D, O> fmt::Debug for Receiving<D, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiving").field("receiver", &self.receiver).finish_non_exhaustive()
    }
}

impl<D, O> Receiving<D, O>
where
    D: FnMut(Offer<'_>) -> Option<Decision>,
    O: FnMut(&Manifest, TransferEvent),
{
    /// Begins when it is told that the session is open. `decide` is asked about the offer, again at each wake-up until it
    /// has an answer; `observer` hears how it goes.
    pub fn new(session: SessionHandle, decide: D, observer: O) -> Self {
        let (receiver, farewell) = (Receiver::new(session), Farewell::default());
        Self { session, receiver, decide, observer, offered: None, farewell, outcome: None }
    }

    /// How it has ended, once it has.
    pub const fn outcome(&self) -> Option<&Result<Summary, Failure>> {
        self.outcome.as_ref()
    }

    fn look(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.tell();
        if let Some(totals) = self.offered {
            let offer = Offer { manifest: self.receiver.manifest(), totals, root: self.receiver.root() };
            match (self.decide)(offer) {
                Some(Decision::Accept(store)) => {
                    self.offered = None;
                    self.receiver.accept(now, endpoint, store);
                }
                Some(Decision::Decline(text)) => {
                    self.offered = None;
                    self.receiver.decline(now, endpoint, &text);
                }
                None => {}
            }
            self.tell();
        }
        self.farewell.look(now, endpoint, self.session, self.receiver.is_done());
    }

    fn tell(&mut self) {
        while let Some(event) = self.receiver.poll_event() {
            if let TransferEvent::Offered { totals, .. } = &event {
                self.offered = Some(*totals);
            }
            if let TransferEvent::Ended(outcome) = &event {
                self.offered = None;
                self.outcome = Some(outcome.clone());
            }
            (self.observer)(self.receiver.manifest(), event);
        }
    }
}

impl<D, O> App for Receiving<D, O>
where
    D: FnMut(Offer<'_>) -> Option<Decision>,
    O: FnMut(&Manifest, TransferEvent),
{
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        if event == (Event::SessionOpened { session: self.session }) {
            self.receiver.start(now, endpoint);
        }
        self.receiver.offer(now, endpoint, &event);
        self.look(now, endpoint);
    }

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.receiver.on_wake(now, endpoint);
        self.look(now, endpoint);
    }

    fn next_timeout(&self) -> Option<Instant> {
        [self.receiver.next_timeout(), self.farewell.next_timeout()].into_iter().flatten().min()
    }

    fn is_done(&self) -> bool {
        self.farewell.is_over()
    }
}
