//! The server's part.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

use rtmfp_core::rand_core::CryptoRng;
use rtmfp_core::wire::{Address, AddressOrigin, Malformed};
use rtmfp_core::{
    Bytes, Endpoint, Event, FlowOptions, Instant, RecvFlowHandle, SendFlowHandle, Service, SessionHandle,
};

use self::circuits::is_for_relay;
use self::introducing::{SentHome, is_here};
use crate::admit::{Admit, Asker};
use crate::event::ServerEvent;
use crate::message::{MAX_DISCRIMINATOR, METADATA, RELAY_METADATA, Refusal, Reply, Request};
use crate::numbers::Numbers;
use crate::permits::Permits;
use crate::probe::is_probe;
use crate::rates::{Rate, Rates};
use crate::relay::{Relay, RelayLimits};

/// Exception code for a second flow of one session.
pub(crate) const ONE_FLOW: u64 = 1;
/// Exception code for a flow with a message that does not follow the syntax.
pub(crate) const MALFORMED: u64 = 2;

/// The longest reply: one that names a peer.
const LONGEST_REPLY: usize = MAX_DISCRIMINATOR + 16;
/// What a client may have on its way to here: several of the longest requests.
const WINDOW: usize = 16 << 10;

/// How much of everything there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Numbers of one session. Default 4.
    pub numbers_per_session: usize,
    /// Numbers in all. Default 100,000.
    pub numbers: usize,
    /// How often one source may ask for a number, for a peer, or whether a token holds. A source is an IPv4 address, or a
    /// /64 network of IPv6. A /48 network may ask twice as often. Default: 20 at once, and one more every 3 s.
    pub requests_per_source: Rate,
    /// The same of all sources together. Default: 2,000 at once, and 1,000 a second.
    pub requests: Rate,
    /// Sources that are remembered for that. Default 65,536.
    pub sources: usize,
    /// Permits to ask for a peer, each for 95 s. Default 65,536; each takes up to 600 bytes. With no more room, hellos are
    /// decided on as if nobody had been found.
    pub permits: usize,
    /// What is relayed. Default: nothing.
    pub relay: Option<RelayLimits>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            numbers_per_session: 4,
            numbers: 100_000,
            requests_per_source: Rate { burst: 20, every: Duration::from_secs(3) },
            requests: Rate { burst: 2_000, every: Duration::from_millis(1) },
            sources: 1 << 16,
            permits: 1 << 16,
            relay: None,
        }
    }
}

/// A session that uses the service.
#[derive(Debug)]
struct Registration {
    inbox: RecvFlowHandle,
    outbox: SendFlowHandle,
    numbers: Vec<u64>,
    /// Who has them.
    owner: Bytes,
    /// Where it was when it was given the last.
    source: IpAddr,
    /// Where it is in its own network.
    local: Vec<Address>,
    /// Where else it says that it is reached. Only what is at the address that it is seen at is told.
    mapped: Vec<Address>,
    /// Nobody is introduced to it.
    is_hidden: bool,
    accepted: bool,
    /// The address that it was told of last.
    told: Option<SocketAddr>,
}

/// Introduces far ends that have a session here, gives them numbers, and tells them their addresses.
///
/// The endpoint must tell of [unmatched hellos](rtmfp_core::EndpointConfig::max_unmatched_hellos), and must not
/// [introduce](rtmfp_core::EndpointConfig::introduce) by itself. Its limits hold for hellos and sessions; for what is
/// asked over sessions [`Limits`] hold.
pub struct Rendezvous<A, O> {
    limits: Limits,
    admit: A,
    observer: O,
    rng: Box<dyn CryptoRng + Send>,
    registrations: BTreeMap<SessionHandle, Registration>,
    numbers: Numbers,
    rates: Rates,
    permits: Permits,
    relay: Option<Relay>,
    sent_home: SentHome,
    /// The latest session of each far end that proves who it is, among those that use the service.
    owners: BTreeMap<Bytes, SessionHandle>,
}

impl<A, O> fmt::Debug for Rendezvous<A, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Rendezvous");
        shown
            .field("registrations", &self.registrations.len())
            .field("numbers", &self.numbers.len())
            .finish_non_exhaustive()
    }
}

impl<A: Admit, O: FnMut(ServerEvent)> Rendezvous<A, O> {
    /// A server without registrations. The generator makes the numbers.
    pub fn new(limits: Limits, admit: A, rng: Box<dyn CryptoRng + Send>, observer: O) -> Self {
        Self {
            admit,
            observer,
            rng,
            registrations: BTreeMap::new(),
            numbers: Numbers::default(),
            rates: Rates::new(limits.requests_per_source, limits.requests, limits.sources),
            permits: Permits::new(limits.permits),
            relay: limits.relay.map(Relay::new),
            sent_home: SentHome::default(),
            owners: BTreeMap::new(),
            limits,
        }
    }

    /// How many sessions use the service.
    #[must_use]
    pub fn registrations(&self) -> usize {
        self.registrations.len()
    }

    /// How many numbers are given.
    #[must_use]
    pub fn numbers(&self) -> usize {
        self.numbers.len()
    }

    /// Whether a flow is the one over which its session asks.
    fn receives(&self, flow: RecvFlowHandle) -> bool {
        self.registrations.get(&flow.session()).is_some_and(|registration| registration.inbox == flow)
    }

    /// A flow has begun: its session joins.
    fn join(&mut self, now: Instant, endpoint: &mut Endpoint, inbox: RecvFlowHandle) {
        let session = inbox.session();
        let Some(mut flow) = endpoint.recv_flow_mut(now, inbox) else { return };
        if self.registrations.contains_key(&session) {
            return flow.reject(ONE_FLOW);
        }
        flow.set_window(WINDOW);
        let Ok(outbox) = flow.open_return_flow(FlowOptions::new(METADATA)) else { return flow.reject(0) };
        let registration = Registration {
            inbox,
            outbox,
            numbers: Vec::new(),
            owner: Bytes::new(),
            source: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            local: Vec::new(),
            mapped: Vec::new(),
            is_hidden: false,
            accepted: false,
            told: None,
        };
        self.registrations.insert(session, registration);
        (self.observer)(ServerEvent::Joined { session });
        self.succeed(now, endpoint, session);
        self.serve(now, endpoint, session);
    }

    /// Forgets a session, and whatever was its own.
    fn leave(&mut self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle) {
        self.leave_relay(now, endpoint, session, 0);
        let Some(registration) = self.registrations.remove(&session) else { return };
        if self.owners.get(&registration.owner) == Some(&session) {
            self.owners.remove(&registration.owner);
        }
        // The last one first: the first is given back first then, in the place of the first that is asked for.
        for number in registration.numbers.into_iter().rev() {
            self.numbers.release(now, number, session, Some(&registration.owner), registration.source);
            (self.observer)(ServerEvent::NumberReleased { session });
        }
        (self.observer)(ServerEvent::Left { session });
    }

    /// Ends a session's flows, and forgets it.
    fn dismiss(&mut self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle, code: u64) {
        let Some(registration) = self.registrations.get(&session) else { return };
        if let Some(mut flow) = endpoint.recv_flow_mut(now, registration.inbox) {
            flow.reject(code);
        }
        if let Some(mut flow) = endpoint.send_flow_mut(now, registration.outbox) {
            flow.close();
        }
        self.leave(now, endpoint, session);
    }

    /// Answers what can be read, as long as there is room for answers. What is not read counts against the client.
    fn serve(&mut self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle) {
        while let Some(registration) = self.registrations.get_mut(&session) {
            let (inbox, outbox) = (registration.inbox, registration.outbox);
            if !endpoint.send_flow_mut(now, outbox).is_some_and(|mut flow| flow.has_room(LONGEST_REPLY)) {
                return;
            }
            let at = endpoint.session(session).and_then(|session| session.path()).map(|path| path.remote);
            if let Some(socket) = at.filter(|at| registration.told != Some(*at)) {
                registration.told = at;
                let address = Address { origin: AddressOrigin::Observed, socket };
                say(now, endpoint, outbox, &Reply::Seen { address });
                continue;
            }
            // A read that finds nothing asks to be told of the next message.
            let Some(message) = endpoint.recv_flow_mut(now, inbox).and_then(|mut flow| flow.read()) else { return };
            match Request::parse(&message.data) {
                Ok(Some(request)) => self.answer(now, endpoint, session, request),
                Ok(None) => {}
                Err(Malformed) => self.dismiss(now, endpoint, session, MALFORMED),
            }
        }
    }

    fn answer(&mut self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle, request: Request<'_>) {
        let Some(registration) = self.registrations.get(&session) else { return };
        let outbox = registration.outbox;
        let Some(asker) = asker(endpoint, session, registration.accepted) else { return };
        match request {
            Request::Number { request } => match self.give_number(now, &asker) {
                Ok(number) => say(now, endpoint, outbox, &Reply::Number { request, number }),
                Err(refused) => self.refuse(now, endpoint, session, request, refused),
            },
            Request::Release { number } => self.release(now, session, number),
            Request::LookUp { request, number } => {
                let holder = |rendezvous: &Self, endpoint: &Endpoint| {
                    let holder = endpoint.session(rendezvous.numbers.holder(number)?)?;
                    Some(holder.far_canonical_discriminator().into())
                };
                self.find(now, endpoint, &asker, request, holder);
            }
            Request::Peer { request, discriminator } => {
                let named = |_: &Self, _: &Endpoint| Some(Bytes::copy_from_slice(discriminator));
                self.find(now, endpoint, &asker, request, named);
            }
            Request::OpenCircuit { request, discriminator } => {
                self.open_circuit(now, endpoint, &asker, request, discriminator);
            }
            Request::Addresses { list } => self.set_addresses(now, &asker, list),
            Request::Introduction { wanted } => {
                let registration = self.registrations.get_mut(&session);
                registration.into_iter().for_each(|registration| registration.is_hidden = !wanted);
            }
            Request::CloseCircuit { circuit } => self.close_circuit(now, endpoint, session, circuit),
            Request::Token { request, token } => {
                if let Err(refused) = self.take(now, &asker) {
                    return self.refuse(now, endpoint, session, request, refused);
                }
                let accepted = self.admit.accepts_token(&asker, token);
                (self.observer)(ServerEvent::TokenShown { session, accepted });
                if !accepted {
                    return self.refuse(now, endpoint, session, request, (Refusal::NoToken, 0));
                }
                if let Some(registration) = self.registrations.get_mut(&session) {
                    registration.accepted = true;
                }
                say(now, endpoint, outbox, &Reply::Accepted { request });
            }
        }
    }

    /// Counts a request of somebody who must be allowed to use the server.
    fn take_of_user(&mut self, now: Instant, asker: &Asker) -> Result<(), Refused> {
        // First, so that no refusal is free.
        self.take(now, asker)?;
        if self.admit.may_use(asker) { Ok(()) } else { Err((Refusal::NoToken, 0)) }
    }

    /// Whether a peer is here that proves who it is, and may use the server.
    fn is_there(&mut self, endpoint: &Endpoint, discriminator: &[u8]) -> bool {
        let named = endpoint.session_named(discriminator).filter(|_| is_here(endpoint, discriminator));
        let accepted = |session| self.registrations.get(&session).is_some_and(|registration| registration.accepted);
        let peer = named.and_then(|session| asker(endpoint, session, accepted(session)));
        peer.is_some_and(|peer| self.admit.may_use(&peer))
    }

    /// Counts a request that costs somebody something.
    fn take(&mut self, now: Instant, asker: &Asker) -> Result<(), Refused> {
        self.rates.take(now, asker.address.ip()).map_err(|wait| (Refusal::TooMany, whole_seconds(wait)))
    }

    fn give_number(&mut self, now: Instant, asker: &Asker) -> Result<u64, Refused> {
        self.take_of_user(now, asker)?;
        let Some(registration) = self.registrations.get_mut(&asker.session) else { return Err((Refusal::Full, 0)) };
        if !asker.proved || asker.discriminator.len() > MAX_DISCRIMINATOR {
            return Err((Refusal::Unproved, 0));
        }
        if registration.numbers.len() >= self.limits.numbers_per_session {
            return Err((Refusal::TooMany, 0));
        }
        if !self.admit.may_have_number(asker) {
            return Err((Refusal::NotAllowed, 0));
        }
        let number = if self.numbers.len() < self.limits.numbers {
            self.numbers.give(now, asker.session, &asker.discriminator, &mut *self.rng)
        } else {
            None
        };
        let number = number.ok_or((Refusal::Full, FULL_FOR))?;
        registration.numbers.push(number);
        registration.owner = asker.discriminator.clone();
        registration.source = asker.address.ip();
        (self.observer)(ServerEvent::NumberGiven { session: asker.session });
        Ok(number)
    }

    fn release(&mut self, now: Instant, session: SessionHandle, number: u64) {
        let Some(registration) = self.registrations.get_mut(&session) else { return };
        if self.numbers.release(now, number, session, None, registration.source) {
            registration.numbers.retain(|other| *other != number);
            (self.observer)(ServerEvent::NumberReleased { session });
        }
    }

    /// Finds a peer for somebody. Nobody learns whether a peer is here that may not be found.
    fn find(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        asker: &Asker,
        request: u64,
        whom: impl FnOnce(&Self, &Endpoint) -> Option<Bytes>,
    ) {
        let session = asker.session;
        if let Err(refused) = self.take_of_user(now, asker) {
            return self.refuse(now, endpoint, session, request, refused);
        }
        let found = whom(self, endpoint);
        let found = found.filter(|found| self.is_there(endpoint, found) && self.admit.may_find(asker, found));
        (self.observer)(ServerEvent::Sought { session, found: found.is_some() });
        let Some(registration) = self.registrations.get(&session) else { return };
        let outbox = registration.outbox;
        let Some(found) = found else { return say(now, endpoint, outbox, &Reply::Nobody { request }) };
        // With no room for a permit, the program decides on the hello as on any other.
        self.permits.give(now, asker.address.ip(), found.clone());
        say(now, endpoint, outbox, &Reply::Found { request, discriminator: &found });
    }

    fn refuse(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        session: SessionHandle,
        request: u64,
        (reason, seconds): Refused,
    ) {
        (self.observer)(ServerEvent::Refused { session, reason });
        if let Some(registration) = self.registrations.get(&session) {
            say(now, endpoint, registration.outbox, &Reply::Refused { request, reason, seconds });
        }
    }
}

/// Why a request is refused, and for how many seconds; 0 for ever.
type Refused = (Refusal, u64);

/// Seconds after which something that was full may have room.
const FULL_FOR: u64 = 60;

fn asker(endpoint: &Endpoint, session: SessionHandle, accepted: bool) -> Option<Asker> {
    let seen = endpoint.session(session)?;
    Some(Asker {
        session,
        address: seen.path()?.remote,
        discriminator: seen.far_canonical_discriminator().into(),
        proved: seen.far_owner_proved(),
        accepted,
    })
}

/// Says something to a client. There was room for it, or the client has ended the flow and nobody waits.
fn say(now: Instant, endpoint: &mut Endpoint, outbox: SendFlowHandle, reply: &Reply<'_>) {
    if let Some(mut flow) = endpoint.send_flow_mut(now, outbox) {
        let _ = flow.write(reply.to_bytes());
    }
}

fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

impl<A: Admit, O: FnMut(ServerEvent)> Service for Rendezvous<A, O> {
    fn claims(&self, metadata: &[u8]) -> bool {
        metadata == METADATA || (metadata == RELAY_METADATA && self.relay.is_some())
    }

    fn owns(&self, flow: SendFlowHandle) -> bool {
        let registered =
            self.registrations.get(&flow.session()).is_some_and(|registration| registration.outbox == flow);
        registered || self.relay.as_ref().is_some_and(|relay| relay.owns(flow))
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "a service acts on the events that it knows of")]
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: &Event) {
        match event {
            Event::FlowOpened { flow } if is_for_relay(endpoint, *flow) => self.join_relay(now, endpoint, *flow),
            Event::FlowOpened { flow } => self.join(now, endpoint, *flow),
            Event::FlowReadable { flow } if self.receives(*flow) => self.serve(now, endpoint, flow.session()),
            Event::FlowReadable { flow } => self.relay(now, endpoint, flow.session()),
            Event::FlowWritable { flow } => self.serve(now, endpoint, flow.session()),
            Event::PathChanged { session, .. } => self.serve(now, endpoint, *session),
            Event::FlowFinished { flow, .. } if self.receives(*flow) => {
                self.dismiss(now, endpoint, flow.session(), 0);
            }
            Event::FlowFinished { flow, .. } if self.relay.as_ref().is_some_and(|relay| relay.receives(*flow)) => {
                self.leave_relay(now, endpoint, flow.session(), 0);
            }
            Event::FlowRejected { flow, .. } if self.relay.as_ref().is_some_and(|relay| relay.owns(*flow)) => {
                self.leave_relay(now, endpoint, flow.session(), 0);
            }
            Event::FlowRejected { flow, .. } => self.dismiss(now, endpoint, flow.session(), 0),
            Event::SessionClosed { session, .. } => {
                self.leave(now, endpoint, *session);
                self.relay.iter_mut().for_each(|relay| relay.forget(*session));
            }
            Event::UnmatchedHello { hello } if !is_probe(&hello.discriminator) => self.hello(now, endpoint, hello),
            _ => {}
        }
    }

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let ended = self.relay.as_mut().map(|relay| relay.expire(now)).unwrap_or_default();
        self.tell_ended(now, endpoint, ended);
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.relay.as_ref()?.next_timeout()
    }
}

mod circuits;
mod introducing;
mod succeeding;
#[cfg(test)]
mod tests;
