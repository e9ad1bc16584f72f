//! Messages that wait for room in a flow.

use alloc::collections::VecDeque;

use rtmfp_core::error::WriteRefusal;
use rtmfp_core::{Bytes, Endpoint, Instant, SendFlowHandle};

/// A sending flow, and what it has no room for yet.
#[derive(Debug)]
pub(super) struct Outbox {
    flow: SendFlowHandle,
    queue: VecDeque<Bytes>,
    closing: bool,
}

impl Outbox {
    pub(super) const fn new(flow: SendFlowHandle) -> Self {
        Self { flow, queue: VecDeque::new(), closing: false }
    }

    pub(super) const fn flow(&self) -> SendFlowHandle {
        self.flow
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Adds a message. It goes with the next [`pump`](Self::pump).
    pub(super) fn push(&mut self, message: impl Into<Bytes>) {
        if !self.closing {
            self.queue.push_back(message.into());
        }
    }

    /// Nothing comes after what is waiting.
    pub(super) fn close(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.closing = true;
        self.pump(now, endpoint);
    }

    /// Writes as much as there is room for.
    pub(super) fn pump(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let Some(mut flow) = endpoint.send_flow_mut(now, self.flow) else { return };
        while let Some(message) = self.queue.pop_front() {
            if let Err(refusal) = flow.write(message) {
                if refusal.reason == WriteRefusal::Full {
                    self.queue.push_front(refusal.data);
                }
                return;
            }
        }
        if self.closing {
            flow.close();
        }
    }
}
