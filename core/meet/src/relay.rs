//! The server's side of circuits: who may pass how much on to whom.

use alloc::collections::btree_map::Entry;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use rtmfp_core::wire::{Cursor, vlu};
use rtmfp_core::{
    Endpoint, FlowOptions, Instant, ReceiveOrder, RecvFlowHandle, SendFlowHandle, SendOptions, SessionHandle,
};

use crate::budget::Budget;
use crate::message::{CircuitEnd, RELAY_METADATA, Refusal};
use crate::rates::network_of;

/// How long a datagram may wait here. An older one is of no use to the session that it belongs to.
pub(crate) const LASTS: Duration = Duration::from_millis(250);
/// The longest datagram that is passed on.
pub(crate) const MAX_DATAGRAM: usize = 2_048;
/// The longest circuit number: 64 bits, seven in a byte.
const MAX_NUMBER: usize = 10;
/// What a datagram counts for beside its message: about what it takes on the way to the peer.
pub(crate) const DATAGRAM_COST: usize = 64;
/// What a client may have on its way to here, and what waits for it.
const WINDOW: usize = 128 << 10;

/// How much is relayed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct RelayLimits {
    /// Circuits in all. Default 4,096.
    pub circuits: usize,
    /// Circuits of one session. Others can open at most half of them to it. Default 8.
    pub circuits_per_session: usize,
    /// Circuits that sessions of one source have opened: of an IPv4 address, or a /64 network of IPv6. Default 64.
    pub circuits_per_source: usize,
    /// Bytes that a session may send through circuits, all together. A datagram counts for 64 bytes more than it is long.
    /// A session that is opened anew has them anew. Default 1 GiB.
    pub bytes_per_session: u64,
    /// The same in a second. With less than 2,112, the longest datagrams never pass. Default 500,000.
    pub rate_per_session: u64,
    /// The same of all sessions of one source. Default 1,000,000.
    pub rate_per_source: u64,
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
            circuits_per_source: 64,
            bytes_per_session: 1 << 30,
            rate_per_session: 500_000,
            rate_per_source: 1_000_000,
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
    /// Where the session was when it joined.
    source: IpAddr,
}

/// All sessions of one source that have joined.
#[derive(Debug)]
struct Source {
    links: usize,
    /// Circuits that they have opened.
    circuits: usize,
    budget: Budget,
}

#[derive(Debug)]
struct Circuit {
    /// Who has opened it, and to whom.
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
    /// What sessions have left, though they have ended their flows: who joins again goes on where it was.
    budgets: BTreeMap<SessionHandle, Budget>,
    sources: BTreeMap<IpAddr, Source>,
    circuits: BTreeMap<u64, Circuit>,
    deadlines: BTreeSet<(Instant, u64)>,
    next: u64,
    /// Of all sessions.
    budget: Budget,
}

impl Relay {
    pub(crate) fn new(limits: RelayLimits) -> Self {
        Self {
            limits,
            links: BTreeMap::new(),
            budgets: BTreeMap::new(),
            sources: BTreeMap::new(),
            circuits: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            next: 0,
            budget: Budget::new(limits.rate, u64::MAX),
        }
    }

    pub(crate) fn owns(&self, flow: SendFlowHandle) -> bool {
        self.links.get(&flow.session()).is_some_and(|link| link.outbox == flow)
    }

    pub(crate) fn receives(&self, flow: RecvFlowHandle) -> bool {
        self.links.get(&flow.session()).is_some_and(|link| link.inbox == flow)
    }

    pub(crate) fn has_joined(&self, session: SessionHandle) -> bool {
        self.links.contains_key(&session)
    }

    /// A session opens its flow for datagrams. False if it has one, or there is no room for the return flow.
    pub(crate) fn join(&mut self, now: Instant, endpoint: &mut Endpoint, inbox: RecvFlowHandle) -> bool {
        let session = inbox.session();
        let path = endpoint.session(session).and_then(|session| session.path());
        let Some(address) = path.map(|path| path.remote.ip()).filter(|_| !self.links.contains_key(&session)) else {
            return false;
        };
        let Some(mut flow) = endpoint.recv_flow_mut(now, inbox) else { return false };
        flow.set_window(WINDOW);
        flow.set_order(ReceiveOrder::Network);
        let Ok(outbox) = flow.open_return_flow(flow_options()) else { return false };
        let RelayLimits { rate_per_session, bytes_per_session, rate_per_source, .. } = self.limits;
        self.budgets.entry(session).or_insert_with(|| Budget::new(rate_per_session, bytes_per_session));
        let source = source_of(address);
        let new = || Source { links: 0, circuits: 0, budget: Budget::new(rate_per_source, u64::MAX) };
        self.sources.entry(source).or_insert_with(new).links += 1;
        self.links.insert(session, Link { inbox, outbox, circuits: BTreeSet::new(), source });
        true
    }

    /// A session has ended its flow, or is to: with this code.
    pub(crate) fn leave(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        session: SessionHandle,
        code: u64,
    ) -> Vec<Ended> {
        let Some(link) = self.links.get(&session) else { return Vec::new() };
        let (inbox, outbox, source) = (link.inbox, link.outbox, link.source);
        let ended = self.end_all(session, CircuitEnd::Closed);
        if let Some(mut flow) = endpoint.recv_flow_mut(now, inbox) {
            flow.reject(code);
        }
        if let Some(mut flow) = endpoint.send_flow_mut(now, outbox) {
            flow.close();
        }
        self.links.remove(&session);
        if let Entry::Occupied(mut source) = self.sources.entry(source) {
            source.get_mut().links -= 1;
            if source.get().links == 0 {
                source.remove();
            }
        }
        ended
    }

    /// A session is over, and has left.
    pub(crate) fn forget(&mut self, session: SessionHandle) {
        self.budgets.remove(&session);
    }

    /// Sessions that have a circuit to this one.
    pub(crate) fn connected_to(&self, session: SessionHandle) -> impl Iterator<Item = SessionHandle> {
        let circuits = self.links.get(&session).into_iter().flat_map(|link| &link.circuits);
        circuits.filter_map(move |circuit| self.circuits.get(circuit)?.other(session))
    }

    /// Circuits to this session that others have opened.
    fn opened_by_others(&self, session: SessionHandle) -> usize {
        let circuits = self.links.get(&session).into_iter().flat_map(|link| &link.circuits);
        circuits.filter(|circuit| self.circuits.get(circuit).is_some_and(|circuit| circuit.ends[1] == session)).count()
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
        let most = self.limits.circuits_per_session;
        let spent = self.budgets.get(&from).is_none_or(Budget::is_spent);
        let source = self.sources.get(&near.source).map_or(0, |source| source.circuits);
        if near.circuits.len() >= most || source >= self.limits.circuits_per_source || spent {
            return Err(Refusal::TooMany);
        }
        let far_is_full = far.circuits.len() >= most || self.opened_by_others(to) >= most.div_ceil(2);
        if far_is_full || self.circuits.len() >= self.limits.circuits {
            return Err(Refusal::Full);
        }
        if let Some(source) = self.sources.get_mut(&near.source) {
            source.circuits += 1;
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
        let source = self.links.get(&circuit.ends[0]).and_then(|opener| self.sources.get_mut(&opener.source));
        if let Some(source) = source {
            source.circuits -= 1;
        }
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
            let number = cursor.vlu();
            let length = cursor.rest().len();
            let Some(number) = number.ok().filter(|_| is_proper(message.data.len(), length)) else {
                served.malformed = true;
                return served;
            };
            let circuit = self.circuits.get_mut(&number);
            let known = circuit.and_then(|circuit| circuit.other(session).map(|other| (circuit, other)));
            let Some((circuit, other)) = known else {
                served.unknown = Some(number);
                continue;
            };
            // Nobody pays for what the peer has no room for.
            let outbox = self.links.get(&other).map(|link| link.outbox);
            let flow = outbox.and_then(|outbox| endpoint.send_flow_mut(now, outbox));
            let flow = flow.and_then(|mut flow| flow.has_room(message.data.len()).then_some(flow));
            let source = self.links.get(&session).and_then(|link| self.sources.get_mut(&link.source));
            let own = source.zip(self.budgets.get_mut(&session)).filter(|_| flow.is_some());
            let paid = own.is_some_and(|(source, own)| {
                let cost = message.data.len() + DATAGRAM_COST;
                // What one may not send is not taken from what more may.
                let has = own.has(now, cost) && source.budget.has(now, cost) && self.budget.take(now, cost);
                has && source.budget.take(now, cost) && own.take(now, cost)
            });
            let flow = flow.filter(|_| paid);
            if flow.is_some() {
                circuit.used = now;
            }
            // Without a datagram, it only keeps the circuit. Else it goes on as it is: the number is that of both ends.
            if flow.is_some_and(|mut flow| length == 0 || flow.write_with(message.data, send_options(now)).is_ok()) {
                circuit.bytes += length as u64;
            } else {
                circuit.dropped += 1;
            }
            if self.budgets.get(&session).is_some_and(Budget::is_spent) {
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

/// Whether a message of this length can be one, with a datagram of that length. A number takes no more bytes than it may.
const fn is_proper(message: usize, datagram: usize) -> bool {
    datagram <= MAX_DATAGRAM && message - datagram <= MAX_NUMBER
}

fn source_of(address: IpAddr) -> IpAddr {
    network_of(address.to_canonical(), 64)
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
