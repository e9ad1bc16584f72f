//! What a driver turns in a world: an endpoint between the datagrams that have come and those that are to go.

use core::task::{Context, Poll, Waker};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};

use datagram_sim::{Stream, Tx};
use rtmfp_core::{App, Endpoint, Instant, InterfaceId, Path, RecvMeta, TransmitBuf};
use rtmfp_smol::Reactor;
use rtmfp_std::Turn;

use super::lock;
use crate::rtmfp::ecn_out;

/// A turn's budgets are drawn from 1 to this: small, so that they run out.
const BUDGET: u64 = 8;

/// What has come and waits.
pub(super) struct Arrived {
    pub(super) path: Path,
    pub(super) meta: RecvMeta,
    pub(super) bytes: Vec<u8>,
}

/// What a node shares with its reactor.
pub(super) struct Wire {
    pub(super) now: Instant,
    pub(super) arrived: VecDeque<Arrived>,
    pub(super) changed: Vec<InterfaceId>,
    pub(super) leaving: VecDeque<(Tx, Vec<u8>)>,
    /// The driver waits for what comes, and until then at most.
    pub(super) waiting: Option<(Waker, Option<Instant>)>,
}

impl Wire {
    pub(super) const fn new() -> Self {
        Self {
            now: Instant::ORIGIN,
            arrived: VecDeque::new(),
            changed: Vec::new(),
            leaving: VecDeque::new(),
            waiting: None,
        }
    }

    /// There is something to do for the driver.
    pub(super) fn wake(&mut self) {
        if let Some((waker, _)) = self.waiting.take() {
            waker.wake();
        }
    }
}

pub(super) struct SimReactor {
    pub(super) endpoint: Endpoint,
    pub(super) port: u16,
    pub(super) wire: Arc<Mutex<Wire>>,
    pub(super) budgets: Stream,
    pub(super) woken: bool,
}

impl SimReactor {
    fn budget(&mut self) -> u64 {
        1 + self.budgets.below(BUDGET)
    }

    /// Takes what has come. True if there is more.
    fn receive(&mut self, now: Instant) -> bool {
        let changed = core::mem::take(&mut lock(&self.wire).changed);
        for interface in changed {
            self.endpoint.interface_changed(now, interface);
        }
        for _ in 0..self.budget() {
            let Some(Arrived { path, meta, mut bytes }) = lock(&self.wire).arrived.pop_front() else { return false };
            // What became of it is counted by the endpoint.
            let _ = self.endpoint.handle_datagram(now, path, meta, &mut bytes);
        }
        !lock(&self.wire).arrived.is_empty()
    }

    /// Hands events to the application. True if there are more.
    fn events(&mut self, now: Instant, app: &mut dyn App) -> bool {
        for _ in 0..self.budget() {
            let Some(event) = self.endpoint.poll_event() else { return false };
            app.on_event(now, &mut self.endpoint, event);
        }
        true
    }

    /// Sends what there is to send. True if there is more.
    fn send(&mut self, now: Instant, app: &mut dyn App) -> bool {
        let mut flight = TransmitBuf::new(8);
        for _ in 0..self.budget() {
            let Some(transmit) = self.endpoint.poll_transmit(now, &mut flight) else { return false };
            if app.carries(transmit.path.interface) {
                flight.datagrams().for_each(|datagram| app.carry(now, &mut self.endpoint, transmit.path, datagram));
                continue;
            }
            let mut tx = Tx::new(self.port, transmit.path.remote);
            tx.interface = Some(transmit.path.interface.0);
            tx.ecn = ecn_out(transmit.ecn);
            tx.dont_fragment = !transmit.may_fragment;
            let mut wire = lock(&self.wire);
            wire.leaving.extend(flight.datagrams().map(|datagram| (tx, datagram.to_vec())));
        }
        true
    }
}

/// As [`rtmfp_std::Pump`] does it over sockets, with smaller budgets.
impl Reactor for SimReactor {
    fn wake(&mut self) {
        self.woken = true;
    }

    fn turn(&mut self, app: &mut dyn App) -> io::Result<Turn> {
        let now = lock(&self.wire).now;
        let mut more = self.receive(now);
        if self.endpoint.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.endpoint.handle_timeout(now);
        }
        more |= self.events(now, app);
        if core::mem::take(&mut self.woken) || app.next_timeout().is_some_and(|deadline| deadline <= now) {
            app.on_wake(now, &mut self.endpoint);
            more |= self.events(now, app);
        }
        more |= self.send(now, app);
        // Sending can end things too.
        more |= self.events(now, app);
        if let Some(job) = self.endpoint.poll_key_agreement() {
            self.endpoint.handle_key_agreement(now, job.run());
            more = true;
        }
        let deadline = [self.endpoint.poll_timeout(), app.next_timeout()].into_iter().flatten().min();
        Ok(Turn { more, blocked: false, deadline, done: app.is_done() && !more })
    }

    fn poll_ready(&mut self, context: &mut Context<'_>, turn: &Turn) -> Poll<io::Result<()>> {
        let mut wire = lock(&self.wire);
        let due = turn.deadline.is_some_and(|deadline| deadline <= wire.now);
        if due || !wire.arrived.is_empty() || !wire.changed.is_empty() {
            return Poll::Ready(Ok(()));
        }
        wire.waiting = Some((context.waker().clone(), turn.deadline));
        Poll::Pending
    }
}
