use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec;
use std::sync::Mutex;

use rtmfp_core::{
    App as _, CloseMode, CloseReason, EndpointConfig, InterfaceId, Path, RecvMeta, Router, Target, TransmitBuf,
};

use super::*;
use crate::admit::Everybody;
use crate::client::{Answer, Client};
use crate::relayed::RelayInterface;
use crate::testing::{address, endpoint, generator, name, path_to};

extern crate std;

mod circuits;
mod introducing;
mod succeeding;

const DELAY: Duration = Duration::from_millis(10);
const SERVER: usize = 0;
const ADA: usize = 1;
const BEN: usize = 2;

/// A server that accepts the token "open", and lets only those find others, and be found by number, who have shown it.
struct Doorkeeper;

impl Admit for Doorkeeper {
    fn accepts_token(&mut self, _: &Asker, token: &[u8]) -> bool {
        token == b"open"
    }

    fn may_have_number(&mut self, asker: &Asker) -> bool {
        asker.accepted
    }

    fn may_find(&mut self, asker: &Asker, _: &[u8]) -> bool {
        asker.accepted
    }

    fn may_be_introduced_unasked(&mut self, _: SocketAddr, _: &[u8]) -> bool {
        false
    }
}

/// A server for those alone who have shown the token "open".
struct Members;

impl Admit for Members {
    fn accepts_token(&mut self, _: &Asker, token: &[u8]) -> bool {
        token == b"open"
    }

    fn may_use(&mut self, asker: &Asker) -> bool {
        asker.accepted
    }

    fn may_be_introduced_unasked(&mut self, _: SocketAddr, _: &[u8]) -> bool {
        false
    }
}

/// One client's end.
struct Node {
    endpoint: Endpoint,
    address: SocketAddr,
    client: Client,
    to_server: Option<SessionHandle>,
    outbox: Option<SendFlowHandle>,
    answers: Vec<Answer>,
    /// Codes of rejections of the flow.
    rejections: Vec<u64>,
    opened: Vec<SessionHandle>,
    closed: Vec<(SessionHandle, CloseReason)>,
    /// Reads nothing.
    deaf: bool,
    unread: Option<RecvFlowHandle>,
    relay: RelayInterface,
    /// What peers have said over flows of other names.
    heard: Vec<Bytes>,
}

struct World {
    now: Instant,
    server: Endpoint,
    router: Router,
    events: Arc<Mutex<Vec<ServerEvent>>>,
    nodes: BTreeMap<usize, Node>,
    in_flight: BTreeMap<(Instant, u64), (SocketAddr, SocketAddr, Vec<u8>)>,
    sent: u64,
    /// Nothing gets from one client to another.
    apart: bool,
    /// From where to where each datagram was sent.
    log: Vec<(SocketAddr, SocketAddr)>,
}

impl World {
    fn new(limits: Limits, admit: impl Admit + Send + 'static, clients: usize) -> Self {
        Self::with(limits, admit, clients, true)
    }

    fn with(limits: Limits, admit: impl Admit + Send + 'static, clients: usize, authentic: bool) -> Self {
        let mut config = EndpointConfig::default();
        config.max_unmatched_hellos = 64;
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&events);
        let observer = move |event| {
            if let Ok(mut heard) = heard.lock() {
                heard.push(event);
            }
        };
        let rendezvous = Rendezvous::new(limits, admit, Box::new(generator(77)), observer);
        let mut world = Self {
            now: Instant::ORIGIN,
            server: endpoint(SERVER, config, authentic),
            router: Router::new().with(Box::new(rendezvous)),
            events,
            nodes: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            sent: 0,
            apart: false,
            log: Vec::new(),
        };
        for number in 1..=clients {
            world.add(number, endpoint(number, EndpointConfig::default(), authentic));
            world.join(number);
        }
        world.run(1_000);
        world
    }

    fn add(&mut self, number: usize, endpoint: Endpoint) {
        let node = Node {
            endpoint,
            address: address(number),
            client: Client::new(),
            to_server: None,
            outbox: None,
            answers: Vec::new(),
            rejections: Vec::new(),
            opened: Vec::new(),
            closed: Vec::new(),
            deaf: false,
            unread: None,
            relay: RelayInterface::new(0),
            heard: Vec::new(),
        };
        self.nodes.insert(number, node);
    }

    fn node(&mut self, number: usize) -> &mut Node {
        self.nodes.get_mut(&number).unwrap_or_else(|| unreachable!("no node {number}"))
    }

    /// Opens a session to the server, and a flow in it.
    fn join(&mut self, number: usize) {
        let now = self.now;
        let node = self.node(number);
        let candidates = vec![(path_to(SERVER), Duration::ZERO)];
        let target = Target { discriminator: name(SERVER).into_bytes().into(), candidates };
        node.to_server = node.endpoint.open(now, target).ok();
        let mut session = node.to_server.and_then(|session| node.endpoint.session_mut(now, session));
        node.outbox = session.as_mut().and_then(|session| session.open_flow(FlowOptions::new(METADATA)).ok());
        let hello = node.client.hello();
        self.say(number, hello);
    }

    fn say(&mut self, number: usize, message: Vec<u8>) {
        let now = self.now;
        let node = self.node(number);
        let flow = node.outbox.and_then(|outbox| node.endpoint.send_flow_mut(now, outbox));
        assert!(flow.is_some_and(|mut flow| flow.write(message).is_ok()));
    }

    /// Asks, and gives the answer.
    fn ask(&mut self, number: usize, ask: impl FnOnce(&mut Client) -> (u64, Vec<u8>)) -> Option<Answer> {
        let (_, message) = ask(&mut self.node(number).client);
        self.say(number, message);
        self.run(500);
        self.node(number).answers.pop()
    }

    fn number_of(&mut self, number: usize) -> u64 {
        match self.ask(number, Client::number) {
            Some(Answer::Number { number, .. }) => number,
            other => unreachable!("{other:?}"),
        }
    }

    /// Opens a session to a peer through the server, and tells whether it opens.
    fn meet(&mut self, from: usize, to: usize) -> bool {
        let now = self.now;
        let node = self.node(from);
        let candidates = vec![(path_to(SERVER), Duration::ZERO)];
        let session = node.endpoint.open(now, Target { discriminator: name(to).into_bytes().into(), candidates }).ok();
        self.run(5_000);
        session.is_some_and(|session| self.node(from).opened.contains(&session))
    }

    fn count(&self, wanted: impl Fn(&ServerEvent) -> bool) -> usize {
        self.events.lock().map(|heard| heard.iter().filter(|event| wanted(event)).count()).unwrap_or(0)
    }

    fn run(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        while self.step(end) {}
        self.now = end;
    }

    fn step(&mut self, end: Instant) -> bool {
        let now = self.now;
        while let Some(event) = self.server.poll_event() {
            self.router.on_event(now, &mut self.server, event);
        }
        let mut leaving = Vec::new();
        let mut buf = TransmitBuf::new(4);
        while let Some(transmit) = self.server.poll_transmit(now, &mut buf) {
            leaving.extend(buf.datagrams().map(|bytes| (address(SERVER), transmit.path.remote, bytes.to_vec())));
        }
        for node in self.nodes.values_mut() {
            node.send(now, &mut leaving);
        }
        for (from, to, bytes) in leaving {
            self.sent += 1;
            self.log.push((from, to));
            if !self.apart || [from, to].contains(&address(SERVER)) {
                self.in_flight.insert((now + DELAY, self.sent), (from, to, bytes));
            }
        }
        for node in self.nodes.values_mut() {
            node.listen(now);
        }
        let timeouts = self.nodes.values().map(|node| &node.endpoint).chain([&self.server]);
        let timeout = timeouts.filter_map(Endpoint::poll_timeout).chain(self.router.next_timeout());
        let timeout = timeout.chain(self.nodes.values().filter_map(|node| node.relay.next_timeout())).min();
        let arrival = self.in_flight.keys().next().map(|(at, _)| *at);
        let Some(next) = arrival.into_iter().chain(timeout).min().filter(|next| *next <= end) else { return false };
        self.now = self.now.max(next);
        while let Some(entry) = self.in_flight.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (from, to, mut bytes) = entry.remove();
            let path = Path::new(InterfaceId(0), from);
            let node = self.nodes.values_mut().find(|node| node.address == to).map(|node| &mut node.endpoint);
            let receiver = if to == address(SERVER) { Some(&mut self.server) } else { node };
            if let Some(receiver) = receiver {
                let _ = receiver.handle_datagram(self.now, path, RecvMeta::default(), &mut bytes);
            }
        }
        self.server.handle_timeout(self.now);
        for node in self.nodes.values_mut() {
            node.endpoint.handle_timeout(self.now);
            if node.relay.next_timeout().is_some_and(|due| due <= self.now) {
                node.relay.on_wake(self.now, &mut node.endpoint);
            }
        }
        if self.router.next_timeout().is_some_and(|due| due <= self.now) {
            self.router.on_wake(self.now, &mut self.server);
        }
        true
    }
}

impl Node {
    fn send(&mut self, now: Instant, leaving: &mut Vec<(SocketAddr, SocketAddr, Vec<u8>)>) {
        let mut buf = TransmitBuf::new(4);
        while let Some(transmit) = self.endpoint.poll_transmit(now, &mut buf) {
            for bytes in buf.datagrams() {
                if self.relay.carries(transmit.path.interface) {
                    self.relay.carry(now, &mut self.endpoint, transmit.path, bytes);
                } else {
                    leaving.push((self.address, transmit.path.remote, bytes.to_vec()));
                }
            }
        }
    }

    /// Reads what is there, and from now on.
    fn hear(&mut self, now: Instant) {
        self.deaf = false;
        if let Some(flow) = self.unread.take() {
            self.read(now, flow);
        }
    }

    fn read(&mut self, now: Instant, flow: RecvFlowHandle) {
        let is_peer = self.to_server != Some(flow.session());
        if is_peer {
            let Some(mut flow) = self.endpoint.recv_flow_mut(now, flow) else { return };
            return self.heard.extend(core::iter::from_fn(|| flow.read()).map(|message| message.data));
        }
        while let Some(message) = self.endpoint.recv_flow_mut(now, flow).and_then(|mut flow| flow.read()) {
            let answer = self.client.on_message(&message.data);
            self.answers.extend(answer.unwrap_or_else(|error| unreachable!("{error}")));
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "other events do not matter to the tests")]
    fn listen(&mut self, now: Instant) {
        while let Some(event) = self.endpoint.poll_event() {
            self.relay.on_event(now, &mut self.endpoint, &event);
            match event {
                Event::FlowReadable { flow } if is_for_relay(&self.endpoint, flow) => {}
                Event::SessionOpened { session } => self.opened.push(session),
                Event::SessionClosed { session, reason } => self.closed.push((session, reason)),
                Event::FlowReadable { flow } if self.deaf => self.unread = Some(flow),
                Event::FlowReadable { flow } => self.read(now, flow),
                Event::FlowRejected { code, .. } => self.rejections.push(code),
                _ => {}
            }
        }
    }
}

fn is_refused(answer: Option<&Answer>, why: Refusal) -> bool {
    matches!(answer, Some(Answer::Refused { reason, .. }) if *reason == why)
}

#[test]
fn each_is_told_the_address_it_is_seen_at_and_again_after_a_move() {
    let mut world = World::new(Limits::default(), Everybody, 1);
    let seen = |socket| Answer::Seen(Address { origin: AddressOrigin::Observed, socket });
    assert_eq!(world.node(ADA).answers, [seen(address(ADA))]);
    let elsewhere = SocketAddr::from(([198, 51, 100, 7], 4_000));
    world.node(ADA).address = elsewhere;
    let (_, message) = world.node(ADA).client.look_up(1);
    world.say(ADA, message);
    world.run(5_000);
    assert!(world.node(ADA).answers.contains(&seen(elsewhere)), "{:?}", world.node(ADA).answers);
}

#[test]
fn two_meet_by_a_number() {
    let mut world = World::new(Limits::default(), Everybody, 2);
    let number = world.number_of(BEN);
    assert!((1_000..10_000).contains(&number));
    let answer = world.ask(ADA, |client| client.look_up(number));
    let Some(Answer::Found { discriminator, .. }) = answer else { unreachable!("{answer:?}") };
    assert_eq!(discriminator, name(BEN));
    assert!(world.meet(ADA, BEN));
    assert_eq!(world.count(|event| matches!(event, ServerEvent::Hello { introduced: true, .. })), 1);
}

#[test]
fn a_number_that_nobody_has_and_a_peer_that_is_not_here_are_answered_at_once() {
    let mut world = World::new(Limits::default(), Everybody, 1);
    for ask in [|client: &mut Client| client.look_up(1_234), |client: &mut Client| client.peer(b"nobody")] {
        let answer = world.ask(ADA, ask);
        assert!(matches!(answer, Some(Answer::Nobody { .. })), "{answer:?}");
    }
    assert_eq!(world.count(|event| matches!(event, ServerEvent::Sought { found: false, .. })), 2);
}

#[test]
fn a_number_leads_nowhere_once_it_is_given_back_or_its_session_or_flow_has_ended() {
    let mut world = World::new(Limits::default(), Everybody, 2);
    let gone = |world: &mut World, number| {
        world.run(500);
        matches!(world.ask(ADA, |client| client.look_up(number)), Some(Answer::Nobody { .. }))
    };
    let number = world.number_of(BEN);
    let release = world.node(BEN).client.release(number);
    world.say(BEN, release);
    assert!(gone(&mut world, number));

    let number = world.number_of(BEN);
    let now = world.now;
    let node = world.node(BEN);
    let flow = node.outbox.and_then(|outbox| node.endpoint.send_flow_mut(now, outbox));
    flow.into_iter().for_each(|mut flow| flow.close());
    assert!(gone(&mut world, number));
    assert_eq!(world.count(|event| matches!(event, ServerEvent::Left { .. })), 1);

    let mut world = World::new(Limits::default(), Everybody, 2);
    let number = world.number_of(BEN);
    let now = world.now;
    let node = world.node(BEN);
    let session = node.to_server.and_then(|session| node.endpoint.session_mut(now, session));
    session.into_iter().for_each(|mut session| session.close(CloseMode::Abrupt));
    assert!(gone(&mut world, number));
}

#[test]
fn somebody_elses_number_is_not_given_back() {
    let mut world = World::new(Limits::default(), Everybody, 2);
    let number = world.number_of(BEN);
    let release = world.node(ADA).client.release(number);
    world.say(ADA, release);
    let answer = world.ask(ADA, |client| client.look_up(number));
    assert!(matches!(answer, Some(Answer::Found { .. })), "{answer:?}");
}

#[test]
fn numbers_are_limited_for_each_session_and_in_all() {
    let limits = Limits { numbers_per_session: 2, numbers: 3, ..Limits::default() };
    let mut world = World::new(limits, Everybody, 2);
    let (first, _) = (world.number_of(ADA), world.number_of(ADA));
    let answer = world.ask(ADA, Client::number);
    assert!(is_refused(answer.as_ref(), Refusal::TooMany), "{answer:?}");
    world.number_of(BEN);
    let answer = world.ask(BEN, Client::number);
    assert!(is_refused(answer.as_ref(), Refusal::Full), "{answer:?}");
    let release = world.node(ADA).client.release(first);
    world.say(ADA, release);
    world.run(500);
    world.number_of(BEN);
}

#[test]
fn guesses_are_limited_for_each_source_and_each_refusal_says_how_long() {
    let requests_per_source = Rate { burst: 5, every: Duration::from_secs(10) };
    let mut world = World::new(Limits { requests_per_source, ..Limits::default() }, Everybody, 2);
    let guesses: Vec<_> = (0..8).map(|number| world.ask(ADA, |client| client.look_up(number))).collect();
    let answered = guesses.iter().filter(|answer| matches!(answer, Some(Answer::Nobody { .. }))).count();
    assert_eq!((answered, guesses.len()), (5, 8));
    let Some(Some(Answer::Refused { reason: Refusal::TooMany, seconds, .. })) = guesses.last() else {
        unreachable!("{guesses:?}")
    };
    assert!((1..=10).contains(seconds), "{seconds}");
    world.number_of(BEN);
}

#[test]
fn who_does_not_prove_who_it_is_gets_no_number() {
    let mut world = World::with(Limits::default(), Everybody, 1, false);
    let answer = world.ask(ADA, Client::number);
    assert!(is_refused(answer.as_ref(), Refusal::Unproved), "{answer:?}");
}

/// Whoever claims to be somebody is not found in that one's place.
#[test]
fn who_does_not_prove_who_it_is_is_not_found() {
    let mut world = World::with(Limits::default(), Everybody, 2, false);
    let name = name(BEN);
    let answer = world.ask(ADA, |client| client.peer(name.as_bytes()));
    assert!(matches!(answer, Some(Answer::Nobody { .. })), "{answer:?}");
    assert!(!world.meet(ADA, BEN));
}

#[test]
fn without_room_for_permits_peers_are_found_all_the_same() {
    let mut world = World::new(Limits { permits: 0, ..Limits::default() }, Everybody, 2);
    let name = name(BEN);
    let answer = world.ask(ADA, |client| client.peer(name.as_bytes()));
    assert!(matches!(answer, Some(Answer::Found { .. })), "{answer:?}");
    assert!(world.meet(ADA, BEN));
}

#[test]
fn refusals_cost_their_share_too() {
    let mut world = World::with(Limits::default(), Everybody, 1, false);
    let answers: Vec<_> = (0..30).map(|_| world.ask(ADA, Client::number)).collect();
    let unproved = answers.iter().filter(|answer| is_refused(answer.as_ref(), Refusal::Unproved)).count();
    let too_many = answers.iter().filter(|answer| is_refused(answer.as_ref(), Refusal::TooMany)).count();
    assert!((20..26).contains(&unproved) && unproved + too_many == 30, "{unproved} {too_many}");
}

#[test]
fn a_doorkeeper_decides_who_is_introduced_to_whom() {
    let mut world = World::new(Limits::default(), Doorkeeper, 2);
    let answer = world.ask(BEN, Client::number);
    assert!(is_refused(answer.as_ref(), Refusal::NotAllowed), "{answer:?}");
    let name = name(BEN);
    let answer = world.ask(ADA, |client| client.peer(name.as_bytes()));
    assert!(matches!(answer, Some(Answer::Nobody { .. })), "who may not find learns nothing: {answer:?}");
    assert!(!world.meet(ADA, BEN), "and is not introduced");

    let answer = world.ask(ADA, |client| client.token(b"shut"));
    assert!(is_refused(answer.as_ref(), Refusal::NoToken), "{answer:?}");
    let answer = world.ask(ADA, |client| client.token(b"open"));
    assert!(matches!(answer, Some(Answer::Accepted { .. })), "{answer:?}");
    let answer = world.ask(ADA, |client| client.peer(name.as_bytes()));
    assert!(matches!(answer, Some(Answer::Found { .. })), "{answer:?}");
    assert!(world.meet(ADA, BEN));
}

#[test]
fn who_has_shown_no_token_does_nothing_and_is_not_found() {
    let limits = Limits { relay: Some(RelayLimits::default()), ..Limits::default() };
    let mut world = World::new(limits, Members, 2);
    [ADA, BEN].into_iter().for_each(|client| world.join_relay(client));
    let (ada, ben) = (name(ADA), name(BEN));
    let client = &mut world.node(ADA).client;
    let wishes =
        [client.number(), client.look_up(1_234), client.peer(ben.as_bytes()), client.open_circuit(ben.as_bytes())];
    for wish in wishes {
        let answer = world.ask(ADA, |_| wish);
        assert!(is_refused(answer.as_ref(), Refusal::NoToken), "{answer:?}");
    }
    assert!(!world.meet(ADA, BEN), "nor is it introduced");
    let answer = world.ask(BEN, |client| client.token(b"open"));
    assert!(matches!(answer, Some(Answer::Accepted { .. })), "{answer:?}");
    let answer = world.ask(BEN, |client| client.peer(ada.as_bytes()));
    assert!(matches!(answer, Some(Answer::Nobody { .. })), "{answer:?}");
    let answer = world.ask(BEN, |client| client.open_circuit(ada.as_bytes()));
    assert!(matches!(answer, Some(Answer::Nobody { .. })), "{answer:?}");
    world.ask(ADA, |client| client.token(b"open"));
    let answer = world.ask(BEN, |client| client.peer(ada.as_bytes()));
    assert!(matches!(answer, Some(Answer::Found { .. })), "{answer:?}");
    assert!(world.meet(BEN, ADA));
}

#[test]
fn tokens_are_tried_as_often_as_anything_is_asked() {
    let mut world = World::new(Limits::default(), Members, 1);
    let answers: Vec<_> = (0..30).map(|_| world.ask(ADA, |client| client.token(b"shut"))).collect();
    let wrong = answers.iter().filter(|answer| is_refused(answer.as_ref(), Refusal::NoToken)).count();
    let too_many = answers.iter().filter(|answer| is_refused(answer.as_ref(), Refusal::TooMany)).count();
    assert!((20..26).contains(&wrong) && wrong + too_many == 30, "{wrong} {too_many}");
    let rejected = |event: &ServerEvent| matches!(event, ServerEvent::TokenShown { accepted: false, .. });
    assert_eq!(world.count(rejected), wrong);
}

#[test]
fn a_second_flow_of_a_session_is_rejected_and_so_is_one_with_nonsense() {
    let mut world = World::new(Limits::default(), Everybody, 2);
    let first = world.node(ADA).outbox;
    let now = world.now;
    let node = world.node(ADA);
    let session = node.to_server.and_then(|session| node.endpoint.session_mut(now, session));
    node.outbox = session.and_then(|mut session| session.open_flow(FlowOptions::new(METADATA)).ok());
    world.say(ADA, vec![0]);
    world.run(500);
    assert_eq!(world.node(ADA).rejections, [ONE_FLOW]);

    world.node(ADA).outbox = first;
    world.say(ADA, vec![1]);
    world.run(500);
    assert_eq!(world.node(ADA).rejections, [ONE_FLOW, MALFORMED]);
    world.number_of(BEN);
}

#[test]
fn a_client_that_never_reads_is_not_answered_without_end() {
    let often = Rate { burst: 1_000_000, every: Duration::from_micros(1) };
    let limits = Limits { requests_per_source: often, requests: often, ..Limits::default() };
    let mut world = World::new(limits, Everybody, 2);
    world.node(ADA).deaf = true;
    let sought = |world: &World| world.count(|event| matches!(event, ServerEvent::Sought { .. }));
    let (mut written, mut answered) = (0, Vec::new());
    for _ in 0..60 {
        let now = world.now;
        let node = world.node(ADA);
        for _ in 0..10_000 {
            let (_, message) = node.client.look_up(1_234);
            let flow = node.outbox.and_then(|outbox| node.endpoint.send_flow_mut(now, outbox));
            if flow.is_none_or(|mut flow| flow.write(message).is_err()) {
                break;
            }
            written += 1;
        }
        world.run(1_000);
        answered.push(sought(&world));
    }
    // Its receive window, and the server's send buffer, are full of answers. Nothing more is read from it.
    assert!(answered.first() < answered.last(), "it begins");
    assert_eq!(answered.last(), answered.get(answered.len() / 2), "it ends: {answered:?}");
    assert!(answered.last() < Some(&written), "{answered:?} of {written}");
    world.number_of(BEN);
    // It reads after all, and the rest is answered.
    let now = world.now;
    world.node(ADA).hear(now);
    world.run(60_000);
    assert_eq!(sought(&world), written);
}
