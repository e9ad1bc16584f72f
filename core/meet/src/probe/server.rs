//! The server's part.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use rtmfp_core::rand_core::CryptoRng;
use rtmfp_core::wire::{Address, AddressOrigin, Malformed};
use rtmfp_core::{
    Endpoint, Event, FlowOptions, Instant, InterfaceId, Path, RecvFlowHandle, SendFlowHandle, Service, SessionHandle,
    UnmatchedHello,
};

use super::message::{MAX_PLACES, METADATA, ProbeReply, ProbeRequest};
use super::name::{ProbeName, Token};
use super::waiting::{Later, Waiting};
use crate::message::Refusal;
use crate::rates::{Rate, Rates};

/// Exception code of a flow when its session has one already.
const ONE_FLOW: u64 = 1;
/// Exception code of a flow with a message that does not follow the syntax.
const MALFORMED: u64 = 2;
/// Exception code of a flow for which there is no room.
const FULL: u64 = 3;

/// The longest reply: one that tells of all places.
const LONGEST_REPLY: usize = 256;
/// What a client may have on its way to here: some requests.
const WINDOW: usize = 8 << 10;

/// How much there may be of probes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ProbeLimits {
    /// Sessions that use the service at once. Default 1,024.
    pub clients: usize,
    /// How often a source may join, ask for a probe, or be told of one. A source is an IPv4 address, or a /64 network of
    /// IPv6. A /48 network may twice as often. Default: 60 times at once, and once more after each second.
    pub probes_per_source: Rate,
    /// The same of all sources together. Default: 1,000 at once, and 500 a second.
    pub probes: Rate,
    /// Sources that are remembered for that. Default 16,384.
    pub sources: usize,
    /// Probes that are to be sent later. Default 4,096.
    pub waiting: usize,
    /// Of these, from one source. Default 16.
    pub waiting_per_source: usize,
    /// How much later at most. Default ten minutes.
    pub longest_wait: Duration,
}

impl Default for ProbeLimits {
    fn default() -> Self {
        Self {
            clients: 1_024,
            probes_per_source: Rate { burst: 60, every: Duration::from_secs(1) },
            probes: Rate { burst: 1_000, every: Duration::from_millis(2) },
            sources: 1 << 14,
            waiting: 4_096,
            waiting_per_source: 16,
            longest_wait: Duration::from_secs(600),
        }
    }
}

/// A socket of the server that probes come from and go to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProbePlace {
    /// The endpoint's interface.
    pub interface: InterfaceId,
    /// Where others reach it. With an unspecified IP address, where they reach the server.
    pub address: SocketAddr,
}

/// What a [`ProbeService`] tells its user.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ProbeEvent {
    /// A session uses the service.
    Joined {
        /// The session.
        session: SessionHandle,
    },
    /// A probe was sent.
    Sent {
        /// Where to.
        to: SocketAddr,
    },
    /// A probe came, and the session that it belongs to is told.
    Arrived {
        /// The session.
        session: SessionHandle,
    },
    /// A flow was rejected, a request refused, or a probe that came not told of.
    Refused {
        /// Whose.
        session: SessionHandle,
        /// Why.
        reason: Refusal,
    },
}

#[derive(Debug)]
struct Client {
    inbox: RecvFlowHandle,
    outbox: SendFlowHandle,
    token: Token,
    welcomed: bool,
}

/// Sends probes to those who ask, and tells them of theirs that come: the server's part of
/// [`rtmfp-probe/1`](super#the-protocol-rtmfp-probe1).
///
/// The endpoint must tell of [unmatched hellos](rtmfp_core::EndpointConfig::max_unmatched_hellos).
pub struct ProbeService<O> {
    limits: ProbeLimits,
    places: Vec<ProbePlace>,
    observer: O,
    rng: Box<dyn CryptoRng + Send>,
    clients: BTreeMap<SessionHandle, Client>,
    by_token: BTreeMap<Token, SessionHandle>,
    rates: Rates,
    waiting: Waiting,
}

impl<O> fmt::Debug for ProbeService<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeService").field("clients", &self.clients.len()).finish_non_exhaustive()
    }
}

impl<O: FnMut(ProbeEvent)> ProbeService<O> {
    /// A server without clients. The generator makes tokens. Only the first 8 places are used.
    pub fn new(limits: ProbeLimits, mut places: Vec<ProbePlace>, rng: Box<dyn CryptoRng + Send>, observer: O) -> Self {
        places.truncate(MAX_PLACES);
        Self {
            places,
            observer,
            rng,
            clients: BTreeMap::new(),
            by_token: BTreeMap::new(),
            rates: Rates::new(limits.probes_per_source, limits.probes, limits.sources),
            waiting: Waiting::new(limits.waiting, limits.waiting_per_source),
            limits,
        }
    }

    /// How many sessions use the service.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    fn take(&mut self, now: Instant, endpoint: &Endpoint, session: SessionHandle) -> Result<Path, Refused> {
        let path = endpoint.session(session).and_then(|session| session.path()).ok_or((Refusal::NotAllowed, 0))?;
        let taken = self.rates.take(now, path.remote.ip());
        taken.map_err(|wait| (Refusal::TooMany, wait.as_secs() + 1))?;
        Ok(path)
    }

    fn refused(&mut self, session: SessionHandle, reason: Refusal) {
        (self.observer)(ProbeEvent::Refused { session, reason });
    }

    fn join(&mut self, now: Instant, endpoint: &mut Endpoint, inbox: RecvFlowHandle) {
        let session = inbox.session();
        let admitted = if self.clients.contains_key(&session) {
            Err((ONE_FLOW, Refusal::TooMany))
        } else if self.clients.len() >= self.limits.clients {
            Err((FULL, Refusal::Full))
        } else {
            self.take(now, endpoint, session).map_err(|(reason, _)| (FULL, reason))
        };
        if let Err((_, reason)) = admitted {
            self.refused(session, reason);
        }
        let Some(mut flow) = endpoint.recv_flow_mut(now, inbox) else { return };
        if let Err((code, _)) = admitted {
            return flow.reject(code);
        }
        flow.set_window(WINDOW);
        let Ok(outbox) = flow.open_return_flow(FlowOptions::new(METADATA)) else { return flow.reject(FULL) };
        let mut token = Token::default();
        self.rng.fill_bytes(&mut token);
        self.by_token.insert(token, session);
        self.clients.insert(session, Client { inbox, outbox, token, welcomed: false });
        (self.observer)(ProbeEvent::Joined { session });
        self.serve(now, endpoint, session);
    }

    fn leave(&mut self, session: SessionHandle) -> Option<Client> {
        let client = self.clients.remove(&session)?;
        self.by_token.remove(&client.token);
        Some(client)
    }

    fn dismiss(&mut self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle, code: u64) {
        let Some(client) = self.leave(session) else { return };
        if let Some(mut flow) = endpoint.recv_flow_mut(now, client.inbox) {
            flow.reject(code);
        }
        if let Some(mut flow) = endpoint.send_flow_mut(now, client.outbox) {
            flow.close();
        }
    }

    /// Answers what can be read, as long as there is room for answers.
    fn serve(&mut self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle) {
        while let Some(client) = self.clients.get_mut(&session) {
            let (inbox, outbox, token) = (client.inbox, client.outbox, client.token);
            if !endpoint.send_flow_mut(now, outbox).is_some_and(|mut flow| flow.has_room(LONGEST_REPLY)) {
                return;
            }
            let path = endpoint.session(session).and_then(|session| session.path());
            if let Some(path) = path.filter(|_| !client.welcomed) {
                client.welcomed = true;
                let seen = Address { origin: AddressOrigin::Observed, socket: path.remote };
                let reported = |place: &ProbePlace| Address { origin: AddressOrigin::Local, socket: place.address };
                let places = self.places.iter().map(reported).collect();
                say(now, endpoint, outbox, &ProbeReply::Welcome { token, seen, places });
                continue;
            }
            // A read that finds nothing asks to be told of the next message.
            let Some(message) = endpoint.recv_flow_mut(now, inbox).and_then(|mut flow| flow.read()) else { return };
            match ProbeRequest::parse(&message.data) {
                Ok(Some(request)) => {
                    let (test, done) = match request {
                        ProbeRequest::Send { test, place } => {
                            (test, self.send(now, endpoint, session, ProbeName::new(token, test), place))
                        }
                        ProbeRequest::Later { test, seconds } => {
                            (test, self.later(now, endpoint, session, ProbeName::new(token, test), seconds))
                        }
                    };
                    let reply = match done {
                        Ok(()) => ProbeReply::Sent { test },
                        Err((reason, seconds)) => {
                            self.refused(session, reason);
                            ProbeReply::Refused { test, reason, seconds }
                        }
                    };
                    say(now, endpoint, outbox, &reply);
                }
                Ok(None) => {}
                Err(Malformed) => self.dismiss(now, endpoint, session, MALFORMED),
            }
        }
    }

    /// Sends a probe to a session's address, which is proved.
    fn send(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        session: SessionHandle,
        name: ProbeName,
        place: u64,
    ) -> Result<(), Refused> {
        let path = self.take(now, endpoint, session)?;
        let place = match usize::try_from(place).ok().and_then(|place| place.checked_sub(1)) {
            Some(place) => self.places.get(place).copied().ok_or((Refusal::NotAllowed, 0))?,
            None if place == 0 => ProbePlace { interface: path.interface, address: path.remote },
            None => return Err((Refusal::NotAllowed, 0)),
        };
        let family = |socket: SocketAddr| socket.ip().to_canonical().is_ipv4();
        // What comes over a relay has an address that is none.
        if path.interface.is_last_resort() || family(place.address) != family(path.remote) {
            return Err((Refusal::NotAllowed, 0));
        }
        let mut from = Path::new(place.interface, path.remote);
        if place.address.ip().is_unspecified() {
            // A socket on all addresses: another port of the address that the client has asked.
            from.local = path.local;
        }
        self.probe(now, endpoint, from, name)
    }

    fn later(
        &mut self,
        now: Instant,
        endpoint: &Endpoint,
        session: SessionHandle,
        name: ProbeName,
        seconds: u64,
    ) -> Result<(), Refused> {
        let path = self.take(now, endpoint, session)?;
        if path.interface.is_last_resort() || seconds > self.limits.longest_wait.as_secs() {
            return Err((Refusal::NotAllowed, 0));
        }
        let added = self.waiting.add(now + Duration::from_secs(seconds), Later { path, name });
        added.then_some(()).ok_or((Refusal::Full, self.limits.longest_wait.as_secs()))
    }

    fn probe(&mut self, now: Instant, endpoint: &mut Endpoint, path: Path, name: ProbeName) -> Result<(), Refused> {
        if !name.send(now, endpoint, path) {
            return Err((Refusal::Full, 1));
        }
        (self.observer)(ProbeEvent::Sent { to: path.remote });
        Ok(())
    }

    /// A probe came, from an address that is not proved: it is not answered. Whoever has the token is told.
    fn hello(&mut self, now: Instant, endpoint: &mut Endpoint, hello: &UnmatchedHello) {
        let Some(name) = ProbeName::of(&hello.discriminator) else { return };
        let Some(&session) = self.by_token.get(&name.token) else { return };
        let Some(outbox) = self.clients.get(&session).map(|client| client.outbox) else { return };
        let has_room = endpoint.send_flow_mut(now, outbox).is_some_and(|mut flow| flow.has_room(LONGEST_REPLY));
        if !has_room {
            return self.refused(session, Refusal::Full);
        }
        if let Err((reason, _)) = self.take(now, endpoint, session) {
            return self.refused(session, reason);
        }
        let place = self.places.iter().position(|place| place.interface == hello.path.interface);
        let place = place.map_or(0, |place| place as u64 + 1);
        let address = Address { origin: AddressOrigin::Observed, socket: hello.path.remote };
        say(now, endpoint, outbox, &ProbeReply::Arrived { test: name.test, place, address });
        (self.observer)(ProbeEvent::Arrived { session });
    }
}

/// Why a request is refused, and for how many seconds; 0 for ever.
type Refused = (Refusal, u64);

/// Says something to a client. There was room for it, or the client has ended the flow and nobody waits.
fn say(now: Instant, endpoint: &mut Endpoint, outbox: SendFlowHandle, reply: &ProbeReply) {
    if let Some(mut flow) = endpoint.send_flow_mut(now, outbox) {
        let _ = flow.write(reply.to_bytes());
    }
}

impl<O: FnMut(ProbeEvent)> Service for ProbeService<O> {
    fn claims(&self, metadata: &[u8]) -> bool {
        metadata == METADATA
    }

    fn owns(&self, flow: SendFlowHandle) -> bool {
        self.clients.get(&flow.session()).is_some_and(|client| client.outbox == flow)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "a service acts on the events that it knows of")]
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: &Event) {
        match event {
            Event::FlowOpened { flow } => self.join(now, endpoint, *flow),
            Event::FlowReadable { flow } => self.serve(now, endpoint, flow.session()),
            Event::FlowWritable { flow } => self.serve(now, endpoint, flow.session()),
            // A second flow, which was rejected, ends too.
            Event::FlowFinished { flow, .. }
                if self.clients.get(&flow.session()).is_some_and(|client| client.inbox == *flow) =>
            {
                self.dismiss(now, endpoint, flow.session(), 0);
            }
            Event::FlowRejected { flow, .. } => self.dismiss(now, endpoint, flow.session(), 0),
            Event::SessionClosed { session, .. } => {
                self.leave(*session);
            }
            Event::UnmatchedHello { hello } => self.hello(now, endpoint, hello),
            _ => {}
        }
    }

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        while let Some(Later { path, name }) = self.waiting.take(now) {
            // Without room the probe is lost, as it could be on its way. Whoever waits for it asks for several.
            let _ = self.probe(now, endpoint, path, name);
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.waiting.next_timeout()
    }
}
