//! The client's part: one test after another, until all that can be known is known.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use rtmfp_core::params::DATAGRAM_BASE;
use rtmfp_core::{
    App, CloseMode, Endpoint, Event, FlowOptions, Instant, InterfaceId, Path, RecvFlowHandle, SendFlowHandle,
    SessionHandle,
};

use super::bounds::Bounds;
use super::findings::Findings;
use super::incomplete::Incomplete;
use super::message::{METADATA, ProbeReply, ProbeRequest};
use super::name::{ProbeName, Token};
use super::places::Places;

/// How often each probe is tried: any can be lost.
const TRIES: u8 = 3;
/// The least time for an answer.
const LEAST_WAIT: Duration = Duration::from_millis(500);
/// How long a server may take to say that it helps.
const WELCOME_WAIT: Duration = Duration::from_secs(5);
/// While it is not known yet whether ECN marks arrive and larger datagrams pass, a message goes out so often, and so many
/// times.
const SETTLE_EVERY: Duration = Duration::from_millis(100);
const SETTLE_TIMES: u8 = 80;
/// A message that means nothing.
const NOTHING: u8 = 0;

/// The probes, by their numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Test {
    /// From another port of the server.
    FilterPort = 1,
    /// From another address of the server.
    FilterAddress,
    /// To another port of the server, from the socket that [`Second`](Self::Second) goes from.
    MapPort,
    /// To another address of the server.
    MapAddress,
    /// From this end's second socket to the server.
    Second,
    /// From the first socket to where the server sees the second.
    HairpinToSecond,
    /// The other way.
    HairpinToFirst,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Stage {
    Opening,
    Welcome,
    /// First, as the filter must not have seen this end send to the places.
    Filtering,
    Mapping,
    Hairpin,
    Settling,
    Done,
}

/// Finds out what kind of network this end is in, over a session with a server that has a
/// [`ProbeService`](super::ProbeService).
///
/// The endpoint must tell of [unmatched hellos](rtmfp_core::EndpointConfig::max_unmatched_hellos), and needs no other
/// session. Its sockets must be fresh: who has sent from them already to the server's other addresses finds filters open.
/// It sends at most three probes to each address that the server names: its further ones, and where this end is seen.
#[derive(Debug)]
pub struct Doctor {
    session: SessionHandle,
    second: Option<InterfaceId>,
    flow: Option<SendFlowHandle>,
    token: Token,
    /// Over which this end reaches the server.
    path: Option<Path>,
    places: Places,
    stage: Stage,
    tries: u8,
    next: Option<Instant>,
    /// Where the server saw probes come from.
    seen: BTreeMap<u64, SocketAddr>,
    /// Probes that came to this end.
    heard: BTreeSet<u64>,
    /// Probes that the server has sent.
    sent: BTreeSet<u64>,
    findings: Findings,
    incomplete: Option<Incomplete>,
}

impl Doctor {
    /// A doctor for a session that is opening. `second` is another socket of the same address family, for which nothing
    /// has used it; `local` is where the first socket sends from, if that is known.
    #[must_use]
    pub fn new(session: SessionHandle, second: Option<InterfaceId>, local: Option<SocketAddr>) -> Self {
        Self {
            session,
            second,
            flow: None,
            token: Token::default(),
            path: None,
            places: Places::default(),
            stage: Stage::Opening,
            tries: 0,
            next: None,
            seen: BTreeMap::new(),
            heard: BTreeSet::new(),
            sent: BTreeSet::new(),
            findings: Findings { local, ..Findings::default() },
            incomplete: None,
        }
    }

    /// What is known so far.
    #[must_use]
    pub const fn findings(&self) -> &Findings {
        &self.findings
    }

    /// Why not all is known, once it is done.
    #[must_use]
    pub const fn incomplete(&self) -> Option<Incomplete> {
        self.incomplete
    }

    /// The tests of the stage that can be done.
    fn tests(&self) -> Vec<Test> {
        let (port, address) = (self.places.other_port.is_some(), self.places.other_address.is_some());
        let hairpin = self.seen.contains_key(&(Test::Second as u64)) && self.findings.is_translated() != Some(false);
        let all: &[(Test, bool)] = match self.stage {
            Stage::Filtering => &[(Test::FilterPort, port), (Test::FilterAddress, address)],
            Stage::Mapping => {
                &[(Test::MapPort, port), (Test::MapAddress, address), (Test::Second, self.second.is_some())]
            }
            Stage::Hairpin => &[(Test::HairpinToSecond, hairpin), (Test::HairpinToFirst, hairpin)],
            Stage::Opening | Stage::Welcome | Stage::Settling | Stage::Done => &[],
        };
        all.iter().filter(|(_, can)| *can).map(|(test, _)| *test).collect()
    }

    fn is_answered(&self, test: Test) -> bool {
        let number = test as u64;
        self.heard.contains(&number) || self.seen.contains_key(&number)
    }

    fn open(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.path = endpoint.session(self.session).and_then(|session| session.path());
        let flow = endpoint.session_mut(now, self.session);
        let flow = flow.and_then(|mut session| session.open_flow(FlowOptions::new(METADATA)).ok());
        self.flow = flow;
        self.write(now, endpoint, [NOTHING].into());
        (self.stage, self.next) = (Stage::Welcome, Some(now + WELCOME_WAIT));
    }

    /// What does not fit now is lost, as it may be on its way: everything is tried again.
    fn write(&self, now: Instant, endpoint: &mut Endpoint, message: Vec<u8>) {
        if let Some(mut flow) = self.flow.and_then(|flow| endpoint.send_flow_mut(now, flow)) {
            let _ = flow.write(message);
        }
    }

    fn read(&mut self, now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle) {
        while let Some(message) = endpoint.recv_flow_mut(now, flow).and_then(|mut flow| flow.read()) {
            let Ok(reply) = ProbeReply::parse(&message.data) else {
                return self.end(now, endpoint, Some(Incomplete::NoProbes(None)));
            };
            match reply {
                Some(ProbeReply::Welcome { token, seen, places }) if self.stage == Stage::Welcome => {
                    self.token = token;
                    self.findings.seen = Some(seen.socket);
                    self.places = self.path.map(|path| Places::of(path.remote, &places)).unwrap_or_default();
                    self.begin(now, endpoint, Stage::Filtering);
                }
                Some(ProbeReply::Arrived { test, address, .. }) if self.is_current(test) => {
                    self.seen.insert(test, address.socket);
                }
                Some(ProbeReply::Sent { test }) if self.is_current(test) => {
                    self.sent.insert(test);
                }
                _ => {}
            }
        }
        self.go_on(now, endpoint);
    }

    /// Whether it is the number of a test of this stage. What comes later than that counts no more.
    fn is_current(&self, number: u64) -> bool {
        self.tests().into_iter().any(|test| test as u64 == number)
    }

    fn begin(&mut self, now: Instant, endpoint: &mut Endpoint, stage: Stage) {
        (self.stage, self.tries) = (stage, 0);
        self.try_again(now, endpoint);
    }

    /// Does once more what is not answered yet.
    fn try_again(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.tries += 1;
        let stats = endpoint.session(self.session).map(|session| session.stats()).unwrap_or_default();
        let wait = stats.srtt.map_or(LEAST_WAIT, |round_trip| LEAST_WAIT.max(round_trip * 2));
        self.next = Some(now + wait);
        for test in self.tests() {
            if !self.is_answered(test) {
                self.fire(now, endpoint, test);
            }
        }
        self.go_on(now, endpoint);
    }

    fn fire(&self, now: Instant, endpoint: &mut Endpoint, test: Test) {
        let Some(path) = self.path else { return };
        let ask = |place: u64| ProbeRequest::Send { test: test as u64, place }.to_bytes();
        let from_second = |remote| Some(Path::new(self.second?, remote));
        let to = match test {
            Test::FilterPort => {
                return self
                    .places
                    .other_port
                    .into_iter()
                    .for_each(|place| self.write(now, endpoint, ask(place.number)));
            }
            Test::FilterAddress => {
                return self
                    .places
                    .other_address
                    .into_iter()
                    .for_each(|place| self.write(now, endpoint, ask(place.number)));
            }
            Test::MapPort => self.places.other_port.map(|place| self.for_mapping(path).with_remote(place.at)),
            Test::MapAddress => self.places.other_address.map(|place| self.for_mapping(path).with_remote(place.at)),
            Test::Second => from_second(path.remote),
            Test::HairpinToSecond => self.seen.get(&(Test::Second as u64)).map(|second| path.with_remote(*second)),
            Test::HairpinToFirst => self.findings.seen.and_then(from_second),
        };
        if let Some(path) = to {
            // Without room it is lost, as it may be on its way.
            let _ = ProbeName::new(self.token, test as u64).send(now, endpoint, path);
        }
    }

    /// The socket that shows how it is mapped: the second, for the first one has had probes sent to it that a filter held
    /// up. Linux remembers these, and then gives this end another port towards where they came from.
    fn for_mapping(&self, path: Path) -> Path {
        self.second.map_or(path, |second| Path::new(second, path.remote))
    }

    /// Goes to the next stage once this one has all its answers.
    fn go_on(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let testing = matches!(self.stage, Stage::Filtering | Stage::Mapping | Stage::Hairpin);
        if testing && self.tests().into_iter().all(|test| self.is_answered(test)) {
            self.conclude(now, endpoint);
        }
    }

    /// Takes down what the stage has come to, and begins the next one.
    fn conclude(&mut self, now: Instant, endpoint: &mut Endpoint) {
        match self.stage {
            Stage::Filtering => {
                // What was not sent says nothing about who gets through.
                let passed = |test: Test| {
                    let heard = self.heard.contains(&(test as u64));
                    (heard || self.sent.contains(&(test as u64))).then_some(heard)
                };
                let known = Bounds::of(passed(Test::FilterPort), passed(Test::FilterAddress));
                self.findings.filtering = (known != Bounds::UNKNOWN).then_some(known);
                self.begin(now, endpoint, Stage::Mapping);
            }
            Stage::Mapping => {
                let second = self.seen.get(&(Test::Second as u64)).copied();
                let first = if self.second.is_some() { second } else { self.findings.seen };
                let same =
                    |test: Test| first.zip(self.seen.get(&(test as u64)).copied()).map(|(first, seen)| first == seen);
                let known = Bounds::of(same(Test::MapPort), same(Test::MapAddress));
                self.findings.mapping = (known != Bounds::UNKNOWN).then_some(known);
                self.begin(now, endpoint, Stage::Hairpin);
            }
            Stage::Hairpin => {
                let tests = self.tests();
                let all = tests.iter().all(|test| self.heard.contains(&(*test as u64)));
                self.findings.hairpin = (!tests.is_empty()).then_some(all);
                self.begin(now, endpoint, Stage::Settling);
                self.settle(now, endpoint);
            }
            Stage::Opening | Stage::Welcome | Stage::Settling | Stage::Done => {}
        }
    }

    /// Has packets go to and fro, without which neither marks nor larger datagrams are tried.
    fn settle(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let Some(stats) = endpoint.session(self.session).map(|session| session.stats()) else { return };
        self.findings.ecn = stats.ecn_arrives;
        self.findings.round_trip = stats.srtt;
        self.findings.datagram = Some(stats.datagram);
        let is_known = stats.ecn_arrives.is_some() && stats.datagram > DATAGRAM_BASE;
        if is_known || self.tries > SETTLE_TIMES {
            return self.end(now, endpoint, None);
        }
        self.tries += 1;
        self.write(now, endpoint, [NOTHING].into());
        self.next = Some(now + SETTLE_EVERY);
    }

    fn end(&mut self, now: Instant, endpoint: &mut Endpoint, incomplete: Option<Incomplete>) {
        if self.stage == Stage::Done {
            return;
        }
        (self.stage, self.next, self.incomplete) = (Stage::Done, None, incomplete);
        if let Some(mut session) = endpoint.session_mut(now, self.session) {
            session.close(CloseMode::Orderly);
        }
    }

    fn hello(&mut self, now: Instant, endpoint: &mut Endpoint, discriminator: &[u8]) {
        let own = ProbeName::of(discriminator).filter(|name| name.token == self.token);
        if let Some(name) = own.filter(|name| self.is_current(name.test)) {
            self.heard.insert(name.test);
            self.go_on(now, endpoint);
        }
    }

    /// The flow that answers this end's own is listened to, any other is not for it.
    fn take_flow(&self, now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle) {
        let association = endpoint.recv_flow(flow).and_then(|seen| seen.association());
        if (association.is_none() || association != self.flow)
            && let Some(mut flow) = endpoint.recv_flow_mut(now, flow)
        {
            flow.reject(0);
        }
    }
}

impl App for Doctor {
    #[expect(clippy::wildcard_enum_match_arm, reason = "an application acts on the events that it knows of")]
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        match event {
            Event::SessionOpened { session } if session == self.session => self.open(now, endpoint),
            Event::SessionFailed { session, reason } if session == self.session => {
                self.end(now, endpoint, Some(Incomplete::NotOpened(reason)));
            }
            Event::SessionClosed { session, reason } if session == self.session => {
                self.end(now, endpoint, Some(Incomplete::Lost(reason)));
            }
            Event::FlowOpened { flow } => self.take_flow(now, endpoint, flow),
            Event::FlowReadable { flow } => self.read(now, endpoint, flow),
            Event::FlowRejected { flow, code, .. } if Some(flow) == self.flow => {
                self.end(now, endpoint, Some(Incomplete::NoProbes(Some(code))));
            }
            Event::UnmatchedHello { hello } => self.hello(now, endpoint, &hello.discriminator),
            _ => {}
        }
    }

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if self.next.is_none_or(|next| next > now) {
            return;
        }
        match self.stage {
            Stage::Welcome => self.end(now, endpoint, Some(Incomplete::NoProbes(None))),
            Stage::Settling => self.settle(now, endpoint),
            Stage::Filtering | Stage::Mapping | Stage::Hairpin if self.tries < TRIES => self.try_again(now, endpoint),
            Stage::Filtering | Stage::Mapping | Stage::Hairpin => self.conclude(now, endpoint),
            Stage::Opening | Stage::Done => self.next = None,
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.next
    }

    fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }
}
