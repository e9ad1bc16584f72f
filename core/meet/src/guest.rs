//! A program that meets others through a server: it is registered there, finds peers, and connects to them over the best
//! path that there is.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use rtmfp_core::rand_core::CryptoRng;
use rtmfp_core::{Bytes, Endpoint, Event, Instant, InterfaceId, Path, SendFlowHandle, Service, SessionHandle, Target};

use crate::client::Client;
use crate::failure::Failure;
use crate::path::{CandidateKind, PathPolicy};
use crate::relayed::RelayInterface;

use attempts::Attempt;
use circuits::Circuits;
use event::Events;
pub use event::{GuestEvent, Progress, Ticket};
use server::Server;
use tracking::Tracked;
use wanted::{Number, Question};
use wishes::{Asked, Wishes};

/// How a [`Guest`] behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct GuestOptions {
    /// What sessions may go over that others open, and whether the server's relay is joined at all. Default: anything.
    pub policy: PathPolicy,
    /// By how much a direct path is ahead of the relay. Default 400 ms.
    pub head_start: Duration,
    /// How long an attempt to reach the server lasts, and how long the server has to say something then. Default 10 s.
    pub server_timeout: Duration,
    /// How long a connection is tried, and how long the answer to any question is waited for. Default 20 s.
    pub connect_timeout: Duration,
}

impl Default for GuestOptions {
    fn default() -> Self {
        Self {
            policy: PathPolicy::Any,
            head_start: Duration::from_millis(400),
            server_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(20),
        }
    }
}

/// A client of a rendezvous server, which does all that it takes to be found, and to meet others.
///
/// It keeps a session with the server, and opens it again when it is lost, after a second at first and after a minute at
/// last. What is wanted, such as a number, is asked for again then. It [connects](Self::connect) to peers, and takes part
/// when they connect to this end: a circuit is joined, and the server is named as an introducer. For as long as a session
/// with a peer is open, it looks for another path when the present one fails: by introduction, and over the relay. It
/// tells [what kind of path](GuestEvent::Path) each session has.
///
/// It is a [`Service`], for a [`Router`](rtmfp_core::Router). An application that has one of its own gives it each event
/// with [`offer`](Self::offer). What it has to tell is taken with [`poll_event`](Self::poll_event).
///
/// # Who is told what
/// The server sees the address that the packets of this end come from, and tells it to whoever asks for this end, as an
/// introducer does (RFC 7016 §3.5.1.6). It knows who asks for whom. With [`PathPolicy::RelayOnly`] in its options, this end
/// sends nothing to peers but through the server, has the server tell nobody its address, and ignores hellos that the server
/// hands on. A policy of one [connection](Self::connect) alone does not hide it: whoever finds this end learns its address.
pub struct Guest {
    options: GuestOptions,
    rng: Box<dyn CryptoRng + Send>,
    server: Server,
    client: Client,
    relay: RelayInterface,
    wishes: Wishes,
    /// Messages that answer to nothing, and found no room.
    unsent: VecDeque<Vec<u8>>,
    token: Option<Bytes>,
    numbers: BTreeMap<Ticket, Number>,
    questions: BTreeMap<Ticket, Question>,
    circuits: Circuits,
    attempts: BTreeMap<Ticket, Attempt>,
    sessions: BTreeMap<SessionHandle, Tracked>,
    /// Those that get no answers, and when something is to be done about it.
    due: BTreeSet<(Instant, SessionHandle)>,
    /// Addresses of this end.
    own: Vec<IpAddr>,
    candidates: Vec<(CandidateKind, SocketAddr)>,
    seen: Option<SocketAddr>,
    events: Events,
    tickets: u64,
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Guest");
        shown
            .field("server", &self.server)
            .field("attempts", &self.attempts)
            .field("sessions", &self.sessions)
            .finish_non_exhaustive()
    }
}

impl Guest {
    /// A guest of the server that `target` names. It begins with the first [`on_wake`](Service::on_wake). `relay`: the
    /// number of the interface for the server's relay; it takes one that no other interface of the endpoint has. The
    /// generator spreads new attempts over time.
    #[must_use]
    pub fn new(relay: u16, target: Target, options: GuestOptions, rng: Box<dyn CryptoRng + Send>) -> Self {
        Self {
            options,
            rng,
            server: Server::new(target),
            client: Client::new(),
            relay: RelayInterface::new(relay),
            wishes: Wishes::new(),
            unsent: VecDeque::new(),
            token: None,
            numbers: BTreeMap::new(),
            questions: BTreeMap::new(),
            circuits: Circuits::default(),
            attempts: BTreeMap::new(),
            sessions: BTreeMap::new(),
            due: BTreeSet::new(),
            own: Vec::new(),
            candidates: Vec::new(),
            seen: None,
            events: Events::default(),
            tickets: 0,
        }
    }

    /// What has happened, one event after another.
    pub fn poll_event(&mut self) -> Option<GuestEvent> {
        self.events.pop()
    }

    /// Whether the server knows this end now.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        self.server.is_registered()
    }

    /// Why the server is not reached, if the last attempt failed.
    #[must_use]
    pub const fn server_failure(&self) -> Option<Failure> {
        self.server.failure
    }

    /// The session with the server, while there is one, open or opening.
    #[must_use]
    pub fn server(&self) -> Option<SessionHandle> {
        self.server.session()
    }

    /// The address at which the server sees this end, as it has told last.
    #[must_use]
    pub const fn seen(&self) -> Option<SocketAddr> {
        self.seen
    }

    /// Tells it the addresses of this end, by which it knows paths [on one network](crate::PathKind::of).
    pub fn set_addresses(&mut self, now: Instant, endpoint: &mut Endpoint, own: impl IntoIterator<Item = IpAddr>) {
        self.own = own.into_iter().collect();
        let sessions: Vec<SessionHandle> = self.sessions.keys().copied().collect();
        sessions.into_iter().for_each(|session| self.review(now, endpoint, session));
    }

    const fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    const fn cannot_begin(&self, too_many: bool) -> Option<Failure> {
        if self.server.has_left() {
            Some(Failure::Left)
        } else if too_many {
            Some(Failure::TooMany)
        } else {
            None
        }
    }

    /// Ends all that waits for an answer. Numbers stay wanted, unless this end has left.
    fn fail_all(&mut self, now: Instant, endpoint: &mut Endpoint, failure: Failure) {
        for ticket in core::mem::take(&mut self.questions).into_keys() {
            self.forget(Asked::Find(ticket));
            self.events.push(GuestEvent::Failed { ticket, failure });
        }
        let attempts: Vec<Ticket> = self.attempts.keys().copied().collect();
        attempts.into_iter().for_each(|ticket| self.attempt_failed(now, endpoint, ticket, failure));
    }
}

/// What happens.
impl Guest {
    /// Takes an event of the endpoint. True if it is of a flow of the guest's, and so is for nobody else.
    #[expect(clippy::wildcard_enum_match_arm, reason = "a service acts on the events that it knows of")]
    pub fn offer(&mut self, now: Instant, endpoint: &mut Endpoint, event: &Event) -> bool {
        let is_own = self.is_own(endpoint, event);
        // First: the relay hears of the end of the server's session before the session is opened again.
        self.relay.on_event(now, endpoint, event);
        match event {
            Event::SessionOpened { session } if self.server.session() == Some(*session) => {
                self.server_opened(now, endpoint);
            }
            Event::SessionOpened { session } => self.track(now, endpoint, *session),
            Event::SessionFailed { session, reason } if self.server.session() == Some(*session) => {
                self.server_not_opened(now, endpoint, *reason);
            }
            Event::SessionFailed { session, reason } => self.attempt_not_opened(now, endpoint, *session, *reason),
            Event::SessionClosed { session, reason } if self.server.session() == Some(*session) => {
                self.server_lost(now, endpoint, Failure::ServerLost(*reason));
            }
            Event::SessionClosed { session, .. } => self.untrack(*session),
            Event::SessionUpdated { session } if self.server.session() == Some(*session) => {
                self.server_updated(now, endpoint);
            }
            Event::SessionUpdated { session } | Event::PathChanged { session, .. } => {
                self.review(now, endpoint, *session);
            }
            Event::FlowOpened { flow } if is_own && !self.relay.receives(*flow) => {
                self.server.answered(*flow);
                self.read(now, endpoint);
            }
            Event::FlowReadable { flow } if self.server.inbox() == Some(*flow) => self.read(now, endpoint),
            Event::FlowWritable { flow } if self.server.outbox() == Some(*flow) => self.has_room(now, endpoint),
            Event::FlowFinished { flow, .. } if self.server.inbox() == Some(*flow) => {
                self.server_lost(now, endpoint, Failure::NoRendezvous);
            }
            Event::FlowRejected { flow, .. } if self.server.outbox() == Some(*flow) => {
                self.server_lost(now, endpoint, Failure::NoRendezvous);
            }
            _ => {}
        }
        is_own
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "only flows have one owner")]
    fn is_own(&self, endpoint: &Endpoint, event: &Event) -> bool {
        match event {
            Event::FlowOpened { flow } => {
                let answered = endpoint.recv_flow(*flow).and_then(|flow| flow.association());
                answered.is_some_and(|flow| self.owns(flow))
            }
            Event::FlowReadable { flow } | Event::FlowFinished { flow, .. } => {
                self.server.inbox() == Some(*flow) || self.relay.receives(*flow)
            }
            Event::FlowWritable { flow }
            | Event::FlowRejected { flow, .. }
            | Event::FlowCompleted { flow, .. }
            | Event::MessageDone { flow, .. } => self.owns(*flow),
            _ => false,
        }
    }
}

impl Service for Guest {
    /// What comes is in return to its own flows.
    fn claims(&self, _metadata: &[u8]) -> bool {
        false
    }

    fn owns(&self, flow: SendFlowHandle) -> bool {
        self.server.outbox() == Some(flow) || self.relay.owns(flow)
    }

    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: &Event) {
        self.offer(now, endpoint, event);
    }

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.relay.on_wake(now, endpoint);
        self.drive_server(now, endpoint);
        self.expire_questions(now);
        self.expire_attempts(now, endpoint);
        self.search(now, endpoint);
        self.close_idle_circuits(now, endpoint);
        self.ask_due(now, endpoint);
    }

    fn next_timeout(&self) -> Option<Instant> {
        let wishes = self.server.outbox().and_then(|_| self.wishes.next_timeout());
        let questions = self.questions.values().map(|question| question.until).min();
        let own = [self.server.next_timeout(), self.next_attempt_timeout(), self.next_search()];
        let others = [wishes, questions, self.circuits.next_timeout(), self.relay.next_timeout()];
        own.into_iter().chain(others).flatten().min()
    }

    fn carries(&self, interface: InterfaceId) -> bool {
        self.relay.carries(interface)
    }

    fn carry(&mut self, now: Instant, endpoint: &mut Endpoint, path: Path, datagram: &[u8]) {
        self.relay.carry(now, endpoint, path, datagram);
    }
}

mod asking;
mod attempts;
mod circuits;
mod event;
mod server;
mod tracking;
mod wanted;
mod wishes;
