//! Messages that expire in the queues of their handles.

use std::collections::{BTreeMap, BTreeSet};

use rtmfp_core::{Endpoint, Instant, SendFlowHandle, SessionHandle};

use super::EndpointApp;

/// When the first message in each flow's queue expires.
#[derive(Debug, Default)]
pub(super) struct Expiries {
    by_time: BTreeSet<(Instant, SendFlowHandle)>,
    by_flow: BTreeMap<SendFlowHandle, Instant>,
}

impl Expiries {
    pub(super) fn set(&mut self, flow: SendFlowHandle, at: Option<Instant>) {
        let before = match at {
            Some(at) => self.by_flow.insert(flow, at),
            None => self.by_flow.remove(&flow),
        };
        if before != at {
            before.map(|before| self.by_time.remove(&(before, flow)));
            self.by_time.extend(at.map(|at| (at, flow)));
        }
    }

    /// The session has ended.
    pub(super) fn forget(&mut self, session: SessionHandle) {
        let Self { by_time, by_flow } = self;
        by_flow.retain(|flow, at| {
            let stays = flow.session() != session;
            stays || !by_time.remove(&(*at, *flow))
        });
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|&(at, _)| at)
    }

    fn pop_due(&mut self, now: Instant) -> Option<SendFlowHandle> {
        let &(at, flow) = self.by_time.first().filter(|(at, _)| *at <= now)?;
        self.by_time.remove(&(at, flow));
        self.by_flow.remove(&flow);
        Some(flow)
    }
}

impl EndpointApp {
    /// Takes messages out of the queues of handles whose time is over.
    pub(super) fn expire(&mut self, now: Instant, endpoint: &mut Endpoint) {
        while let Some(flow) = self.expiries.pop_due(now) {
            if let Some(shared) = self.sending(flow).cloned() {
                self.hand_over(now, endpoint, &shared);
            }
        }
    }
}
