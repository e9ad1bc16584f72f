//! The server's side of circuits: who may pass how much on to whom.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use rtmfp_core::wire::{Cursor, vlu};
use rtmfp_core::{
    Endpoint, FlowOptions, Instant, ReceiveOrder, RecvFlowHandle, SendFlowHandle, SendOptions, SessionHandle,
};

use crate::budget::Budget;
use crate::message::{CircuitEnd, RELAY_METADATA, Refusal};

/// How long a datagram may wait here. An older one is of no use to the session that it belongs to.
pub(crate) const LASTS: Duration = Duration::from_millis(250);
/// The longest datagram that is passed on.
pub(crate) const MAX_DATAGRAM: usize = 2_048;
/// What a client may have on its way to here, and what waits for it.
const WINDOW: usize = 128 << 10;

/// How much is relayed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct RelayLimits {
    /// Circuits in all. Default 4,096.
    pub circuits: usize,
    /// Circuits of one session, whoever has opened them. Default 8.
    pub circuits_per_session: usize,
    /// Bytes that a session may send through circuits, all together. Default 1 GiB.
    pub bytes_per_session: u64,
    /// The same in a second. Default 500,000.
    pub rate_per_session: u64,
    /// Bytes a second of all sessions together. Default 10,000,000.
    pub rate: u64,
    /// A circuit ends after so long without a datagram. Default: two minutes.
    pub idle: Duration,
    /// A circuit ends after so long in any case, and may be opened again. Default: four hours.
    pub age: Duration,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self {
            circuits: 4_096,
            circuits_per_session: 8,
            bytes_per_session: 1 << 30,
            rate_per_session: 500_000,
            rate: 10_000_000,
            idle: Duration::from_secs(120),
            age: Duration::from_secs(4 * 3_600),
        }
    }
}

/// The flows of a session that carry datagrams.
#[derive(Debug)]
struct Link {
    inbox: RecvFlowHandle,
    outbox: SendFlowHandle,
    circuits: BTreeSet<u64>,
    budget: Budget,
}

#[derive(Debug)]
struct Circuit {
    ends: [SessionHandle; 2],
    opened: Instant,
    used: Instant,
    /// When it was last to be looked at: its entry in the deadlines.
    look: Instant,
    bytes: u64,
    dropped: u64,
}

impl Circuit {
    fn other(&self, end: SessionHandle) -> Option<SessionHandle> {
        match self.ends {
            [one, other] if one == end => Some(other),
            [one, other] if other == end => Some(one),
            _ => None,
        }
    }
}

/// A circuit that has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ended {
    pub(crate) circuit: u64,
    pub(crate) ends: [SessionHandle; 2],
    pub(crate) end: CircuitEnd,
    pub(crate) bytes: u64,
    pub(crate) dropped: u64,
}

/// What there is to tell after datagrams were read.
#[derive(Debug, Default)]
pub(crate) struct Served {
    pub(crate) ended: Vec<Ended>,
    /// A circuit that the client has named and does not have.
    pub(crate) unknown: Option<u64>,
    /// A message did not follow the syntax.
    pub(crate) malformed: bool,
}

/// Passes datagrams on. It never looks into them.
#[derive(Debug)]
pub(crate) struct Relay {
    limits: RelayLimits,
    links: BTreeMap<SessionHandle, Link>,
    circuits: BTreeMap<u64, Circuit>,
    deadlines: BTreeSet<(Instant, u64)>,
    next: u64,
    /// Of all sessions.
    budget: Budget,
}

impl Relay {
    pub(crate) fn new(limits: RelayLimits) -> Self {
        let budget = Budget::new(limits.rate, u64::MAX);
        let (links, circuits, deadlines) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { limits, links, circuits, deadlines, next: 0, budget }
    }

    pub(crate) fn owns(&self, flow: SendFlowHandle) -> bool {
        self.links.get(&flow.session()).is_some_and(|link| link.outbox == flow)
    }

    pub(crate) fn receives(&self, flow: RecvFlowHandle) -> bool {
        self.links.get(&flow.session()).is_some_and(|link| link.inbox == flow)
    }

    /// A session opens its flow for datagrams. False if it has one, or there is no room for the return flow.
    pub(crate) fn join(&mut self, now: Instant, endpoint: &mut Endpoint, inbox: RecvFlowHandle) -> bool {
        let session = inbox.session();
        let Some(mut flow) = endpoint.recv_flow_mut(now, inbox).filter(|_| !self.links.contains_key(&session)) else {
            return false;
        };
        flow.set_window(WINDOW);
        flow.set_order(ReceiveOrder::Network);
        let Ok(outbox) = flow.open_return_flow(flow_options()) else { return false };
        let budget = Budget::new(self.limits.rate_per_session, self.limits.bytes_per_session);
        self.links.insert(session, Link { inbox, outbox, circuits: BTreeSet::new(), budget });
        true
    }

    /// A session has left, or has ended its flow.
    pub(crate) fn leave(&mut self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle) -> Vec<Ended> {
        let Some(link) = self.links.get(&session) else { return Vec::new() };
        let (inbox, outbox, circuits) = (link.inbox, link.outbox, link.circuits.clone());
        let ended = circuits.into_iter().filter_map(|circuit| self.end(circuit, CircuitEnd::Closed)).collect();
        if let Some(mut flow) = endpoint.recv_flow_mut(now, inbox) {
            flow.reject(0);
        }
        if let Some(mut flow) = endpoint.send_flow_mut(now, outbox) {
            flow.close();
        }
        self.links.remove(&session);
        ended
    }

    /// Opens a circuit, or finds the one that there is. True if it is new. `None` if the peer has no flow for it.
    ///
    /// # Errors
    /// The asker has no flow, or one of the limits is reached.
    pub(crate) fn open(
        &mut self,
        now: Instant,
        from: SessionHandle,
        to: SessionHandle,
    ) -> Result<Option<(u64, bool)>, Refusal> {
        let near = self.links.get(&from).ok_or(Refusal::NoRelay)?;
        if from == to {
            return Err(Refusal::NotAllowed);
        }
        let Some(far) = self.links.get(&to) else { return Ok(None) };
        if let Some(circuit) = near.circuits.intersection(&far.circuits).next() {
            return Ok(Some((*circuit, false)));
        }
        if near.circuits.len() >= self.limits.circuits_per_session || near.budget.is_spent() {
            return Err(Refusal::TooMany);
        }
        if far.circuits.len() >= self.limits.circuits_per_session || self.circuits.len() >= self.limits.circuits {
            return Err(Refusal::Full);
        }
        self.next += 1;
        let circuit = self.next;
        for end in [from, to] {
            if let Some(link) = self.links.get_mut(&end) {
                link.circuits.insert(circuit);
            }
        }
        let look = now + self.limits.idle.min(self.limits.age);
        self.circuits.insert(circuit, Circuit { ends: [from, to], opened: now, used: now, look, bytes: 0, dropped: 0 });
        self.deadlines.insert((look, circuit));
        Ok(Some((circuit, true)))
    }

    /// Ends a circuit for one of its two ends.
    pub(crate) fn close(&mut self, session: SessionHandle, circuit: u64) -> Option<Ended> {
        self.circuits.get(&circuit)?.other(session)?;
        self.end(circuit, CircuitEnd::Closed)
    }

    fn end(&mut self, number: u64, end: CircuitEnd) -> Option<Ended> {
        let circuit = self.circuits.remove(&number)?;
        self.deadlines.remove(&(circuit.look, number));
        for session in circuit.ends {
            if let Some(link) = self.links.get_mut(&session) {
                link.circuits.remove(&number);
            }
        }
        let Circuit { ends, bytes, dropped, .. } = circuit;
        Some(Ended { circuit: number, ends, end, bytes, dropped })
    }

    /// Passes on what a session has sent.
    pub(crate) fn serve(&mut self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle) -> Served {
        let mut served = Served::default();
        let Some(inbox) = self.links.get(&session).map(|link| link.inbox) else { return served };
        while let Some(message) = endpoint.recv_flow_mut(now, inbox).and_then(|mut flow| flow.read()) {
            // The first message may be empty: it only tells of the flow.
            if message.data.is_empty() {
                continue;
            }
            let mut cursor = Cursor::new(&message.data);
            let Ok(number) = cursor.vlu() else {
                served.malformed = true;
                return served;
            };
            let length = cursor.rest().len();
            if length > MAX_DATAGRAM {
                served.malformed = true;
                return served;
            }
            let circuit = self.circuits.get_mut(&number);
            let known = circuit.and_then(|circuit| circuit.other(session).map(|other| (circuit, other)));
            let Some((circuit, other)) = known else {
                served.unknown = Some(number);
                continue;
            };
            circuit.used = now;
            let paid = self.links.get_mut(&session).is_some_and(|link| {
                // What one may not send is not taken from what all may.
                link.budget.has(now, length) && self.budget.take(now, length) && link.budget.take(now, length)
            });
            let outbox = self.links.get(&other).map(|link| link.outbox);
            let flow = outbox.filter(|_| paid).and_then(|outbox| endpoint.send_flow_mut(now, outbox));
            // It goes on as it is: the circuit has the same number at both ends.
            if flow.is_some_and(|mut flow| flow.write_with(message.data, send_options(now)).is_ok()) {
                circuit.bytes += length as u64;
            } else {
                circuit.dropped += 1;
            }
            if self.links.get(&session).is_some_and(|link| link.budget.is_spent()) {
                served.ended.extend(self.end_all(session, CircuitEnd::Spent));
            }
        }
        served
    }

    fn end_all(&mut self, session: SessionHandle, end: CircuitEnd) -> Vec<Ended> {
        let circuits = self.links.get(&session).map(|link| link.circuits.clone()).unwrap_or_default();
        circuits.into_iter().filter_map(|circuit| self.end(circuit, end)).collect()
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Ends circuits that are idle or old.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<Ended> {
        let mut ended = Vec::new();
        while let Some((_, number)) = self.deadlines.first().copied().filter(|(deadline, _)| *deadline <= now) {
            self.deadlines.pop_first();
            let Some(circuit) = self.circuits.get_mut(&number) else { continue };
            let (idle, old) = (circuit.used + self.limits.idle, circuit.opened + self.limits.age);
            circuit.look = idle.min(old);
            if old <= now {
                ended.extend(self.end(number, CircuitEnd::Old));
            } else if idle <= now {
                ended.extend(self.end(number, CircuitEnd::Idle));
            } else {
                self.deadlines.insert((circuit.look, number));
            }
        }
        ended
    }
}

/// Of the flows that carry datagrams. What does not fit is lost, as on any path.
pub(crate) fn flow_options() -> FlowOptions {
    FlowOptions::new(RELAY_METADATA).send_buffer(WINDOW)
}

/// A datagram is sent once, and soon or not at all.
pub(crate) fn send_options(now: Instant) -> SendOptions {
    let mut options = SendOptions::default();
    (options.start_by, options.finish_by, options.retransmit) = (Some(now + LASTS), Some(now + LASTS), false);
    options
}

/// A message: the circuit, and the datagram.
pub(crate) fn message(circuit: u64, datagram: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(datagram.len() + 10);
    vlu::encode(circuit, &mut message);
    message.extend_from_slice(datagram);
    message
}
