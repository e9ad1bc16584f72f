//! What the handle of a sent message and the endpoint share.

use core::time::Duration;
use std::sync::Mutex;

use rtmfp_core::{Instant, MessageId, MessageOutcome};

use super::{Awaited, Place, lock};
use crate::endpoint::wakers::{Due, WakerSet};

/// A time limit of a message. The endpoint turns durations into times on its own clock.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    In(Duration),
    At(Instant),
}

impl Limit {
    fn fix(&mut self, now: Instant) -> Instant {
        let at = match *self {
            Self::In(duration) => now + duration,
            Self::At(at) => at,
        };
        *self = Self::At(at);
        at
    }
}

/// Whoever locks the flow's state too locks that first.
#[derive(Debug, Default)]
pub(crate) struct ReceiptShared(pub(crate) Mutex<ReceiptState>);

#[derive(Debug, Default)]
pub(crate) struct ReceiptState {
    pub(crate) outcome: Option<MessageOutcome>,
    /// Its number in the queue of the handle.
    pub(crate) queued: Option<u64>,
    /// Its number in the flow, once the endpoint has it.
    pub(crate) message: Option<MessageId>,
    pub(crate) start_by: Option<Limit>,
    pub(crate) finish_by: Option<Limit>,
    /// It waits for room in the queue, and the endpoint was told.
    pub(crate) waits: bool,
    /// Its place in [`SendState::waiting`](super::SendState::waiting).
    pub(crate) place: Option<Place>,
    pub(crate) wakers: WakerSet,
}

impl ReceiptState {
    /// From now on its time limits are times. Returns these.
    pub(crate) fn fix(&mut self, now: Instant) -> [Option<Instant>; 2] {
        [&mut self.start_by, &mut self.finish_by].map(|limit| limit.as_mut().map(|limit| limit.fix(now)))
    }
}

impl ReceiptShared {
    /// Tells what became of the message. Whoever waits for it is woken when what is returned is dropped.
    pub(crate) fn resolve(&self, outcome: MessageOutcome) -> Due {
        let mut state = lock(&self.0);
        state.outcome.get_or_insert(outcome);
        // Its number in the queue may become another's.
        state.queued = None;
        state.wakers.wake();
        state.wakers.take_due()
    }
}

impl Awaited for ReceiptState {
    fn wakers(&mut self) -> &mut WakerSet {
        &mut self.wakers
    }
}
