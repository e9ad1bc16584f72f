//! Messages of a flow that wait for the endpoint to take them.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use rtmfp_core::{Bytes, Instant, Undelivered};

use super::{ReceiptShared, lock};

/// A message, and how it is to be sent.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) data: Bytes,
    /// None: reliably and without a receipt.
    pub(crate) special: Option<Box<Special>>,
}

#[derive(Debug)]
pub(crate) struct Special {
    pub(crate) receipt: Arc<ReceiptShared>,
    pub(crate) retransmit: bool,
    /// The message that it is to be abandoned with.
    pub(crate) after: Option<Arc<ReceiptShared>>,
    /// The first of its time limits, once they are fixed.
    expires: Option<Instant>,
}

impl Special {
    pub(crate) const fn new(receipt: Arc<ReceiptShared>, retransmit: bool, after: Option<Arc<ReceiptShared>>) -> Self {
        Self { receipt, retransmit, after, expires: None }
    }
}

/// The queue. Messages are found by number: those that expire are taken out wherever they are.
#[derive(Debug, Default)]
pub(crate) struct OutgoingQueue {
    /// None: taken out. The front never is.
    messages: VecDeque<Option<Outgoing>>,
    /// The number of the front.
    first: u64,
    /// What is in the queue, with one byte more for each message, as empty ones take room too.
    bytes: usize,
    /// The same of what was [taken](Self::take).
    taken: usize,
    /// From this number on the time limits are not fixed yet.
    unfixed: u64,
    expiring: BTreeSet<(Instant, u64)>,
}

impl OutgoingQueue {
    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.taken == 0
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes + self.taken
    }

    /// All of it, as not delivered.
    pub(crate) fn undelivered(&self) -> Undelivered {
        let messages = self.messages.iter().flatten().count() as u64;
        Undelivered { messages, unsent: messages, bytes: self.bytes as u64 - messages }
    }

    /// Appends a message.
    pub(crate) fn push(&mut self, message: Outgoing) {
        self.bytes += message.data.len() + 1;
        if let Some(special) = &message.special {
            lock(&special.receipt.0).queued = Some(self.first + self.messages.len() as u64);
        }
        self.messages.push_back(Some(message));
    }

    /// Takes out the first.
    pub(crate) fn pop(&mut self) -> Option<Outgoing> {
        self.remove(self.first)
    }

    /// Takes out the first messages, up to `most`. They take their room until the rest is [put back](Self::put_back).
    pub(crate) fn take(&mut self, most: usize) -> Vec<Outgoing> {
        let before = self.bytes;
        let mut taken = Vec::with_capacity(self.messages.len().min(most));
        taken.extend(core::iter::from_fn(|| self.pop()).take(most));
        self.taken = before - self.bytes;
        taken
    }

    /// Puts back those of the messages that were [taken](Self::take) which the endpoint did not take.
    pub(crate) fn put_back(&mut self, rest: impl DoubleEndedIterator<Item = Outgoing>) {
        self.taken = 0;
        for message in rest.rev() {
            // What was before it is gone for good: numbers only have to rise.
            self.first -= 1;
            self.bytes += message.data.len() + 1;
            if let Some(special) = &message.special {
                lock(&special.receipt.0).queued = Some(self.first);
                self.expiring.extend(special.expires.map(|at| (at, self.first)));
            }
            self.messages.push_front(Some(message));
        }
    }

    /// Takes out the message with this number, if it is in the queue.
    pub(crate) fn remove(&mut self, number: u64) -> Option<Outgoing> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let message = self.messages.get_mut(index)?.take()?;
        self.bytes -= message.data.len() + 1;
        if let Some(at) = message.special.as_ref().and_then(|special| special.expires) {
            self.expiring.remove(&(at, number));
        }
        while let Some(None) = self.messages.front() {
            self.messages.pop_front();
            self.first += 1;
        }
        Some(message)
    }

    /// Fixes the time limits of what was queued since the last call.
    pub(crate) fn fix_limits(&mut self, now: Instant) {
        let from = self.unfixed.max(self.first);
        let skipped = usize::try_from(from - self.first).unwrap_or(usize::MAX);
        for (number, message) in (from..).zip(self.messages.iter_mut().skip(skipped)) {
            let Some(special) = message.as_mut().and_then(|message| message.special.as_mut()) else { continue };
            special.expires = lock(&special.receipt.0).fix(now).into_iter().flatten().min();
            self.expiring.extend(special.expires.map(|at| (at, number)));
        }
        self.unfixed = self.first + self.messages.len() as u64;
    }

    /// When the next message expires. Only those count whose limits are fixed.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.expiring.first().map(|&(at, _)| at)
    }

    /// Takes out a message whose time is over.
    pub(crate) fn pop_expired(&mut self, now: Instant) -> Option<Outgoing> {
        let &(_, number) = self.expiring.first().filter(|(at, _)| *at <= now)?;
        self.remove(number)
    }
}
