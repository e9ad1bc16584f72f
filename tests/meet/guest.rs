//! A program that is registered at a server, and one that wants to reach it.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

use rtmfp_core::rand_core::CryptoRng;
use rtmfp_core::{
    App, Endpoint, Event, FlowOptions, Instant, InterfaceId, Path, RecvFlowHandle, SendFlowHandle, Service as _,
    SessionHandle, Target,
};
use rtmfp_meet::{CandidateKind, Guest, GuestEvent, GuestOptions, PathKind, PathPolicy};
use rtmfp_sim::rtmfp::SimRandom;

pub(super) const PORT: u16 = 1_935;
pub(super) const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)), PORT);

/// Between two messages.
const PACE: Duration = Duration::from_millis(100);
/// When the first asks for the second.
const BEGIN: Instant = Instant::from_millis(1_000);

#[derive(Debug)]
pub(super) struct Program {
    guest: Guest,
    /// Whom it wants to reach.
    whom: Option<String>,
    /// When it asks for that one.
    pub(super) begin: Option<Instant>,
    peer: Option<SessionHandle>,
    policy: PathPolicy,
    local: Option<SocketAddr>,
    /// How many messages it sends.
    pub(super) messages: u64,
    sending: Option<(SendFlowHandle, u64, Instant)>,
    pub(super) got: Vec<u64>,
    pub(super) began: Option<Instant>,
    /// When the first data came, and whether over the relay.
    pub(super) heard: Option<(Instant, bool)>,
    /// What the guest has told.
    pub(super) told: Vec<(Instant, GuestEvent)>,
}

impl Program {
    /// One that asks after a second, if it asks for anybody.
    pub(super) fn new(whom: Option<&str>, rng: SimRandom) -> Self {
        let mut program = Self::told_when(whom.map(str::to_owned), GuestOptions::default(), Box::new(rng));
        program.begin = Some(BEGIN);
        program
    }

    /// One that is told when to ask.
    pub(super) fn told_when(whom: Option<String>, options: GuestOptions, rng: Box<dyn CryptoRng + Send>) -> Self {
        let target = Target::new("server", Path::new(InterfaceId(0), SERVER));
        Self {
            guest: Guest::new(0, target, options, rng),
            whom,
            begin: None,
            peer: None,
            policy: PathPolicy::Any,
            local: None,
            messages: 1,
            sending: None,
            got: Vec::new(),
            began: None,
            heard: None,
            told: Vec::new(),
        }
    }

    /// The server knows of it.
    pub(super) fn is_registered(&self) -> bool {
        self.told.iter().any(|(_, event)| *event == GuestEvent::Registered)
    }

    /// The server was not reached.
    pub(super) fn has_lost_server(&self) -> bool {
        self.told.iter().any(|(_, event)| matches!(event, GuestEvent::ServerLost { .. }))
    }

    fn take_events(&mut self, now: Instant, endpoint: &mut Endpoint) {
        while let Some(event) = self.guest.poll_event() {
            if let GuestEvent::Connected { session, .. } = event {
                self.peer = Some(session);
                let flow = endpoint.session_mut(now, session).unwrap().open_flow(FlowOptions::new("data")).unwrap();
                self.sending = Some((flow, 0, now));
                self.send(now, endpoint);
            }
            self.told.push((now, event));
        }
    }

    /// The same, which knows its address on its own network.
    pub(super) fn at(mut self, local: SocketAddr) -> Self {
        self.local = Some(local);
        self
    }

    pub(super) const fn with(mut self, messages: u64, policy: PathPolicy) -> Self {
        (self.messages, self.policy) = (messages, policy);
        self
    }

    /// The kinds of paths that its session with the peer had, one after another.
    pub(super) fn kinds(&self) -> Vec<PathKind> {
        let of_peer = |event: &GuestEvent| {
            let GuestEvent::Path { session, kind } = event else { return None };
            (Some(*session) == self.peer).then_some(*kind)
        };
        self.told.iter().filter_map(|(_, event)| of_peer(event)).collect()
    }

    fn send(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let Some((flow, next, due)) = &mut self.sending else { return };
        if *due <= now && *next < self.messages {
            endpoint.send_flow_mut(now, *flow).unwrap().write(next.to_be_bytes().to_vec()).unwrap();
            (*next, *due) = (*next + 1, now + PACE);
        }
    }

    fn read(&mut self, now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle) {
        while let Some(message) = endpoint.recv_flow_mut(now, flow).and_then(|mut flow| flow.read()) {
            self.got.push(u64::from_be_bytes((*message.data).try_into().unwrap()));
            let path = endpoint.session(flow.session()).and_then(|session| session.path());
            let relayed = path.is_some_and(|path| path.interface.is_last_resort());
            self.peer = Some(flow.session());
            self.heard = self.heard.or(Some((now, relayed)));
        }
    }
}

impl App for Program {
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        let taken = self.guest.offer(now, endpoint, &event);
        if let Event::FlowReadable { flow } = event
            && !taken
        {
            self.read(now, endpoint, flow);
        }
        self.take_events(now, endpoint);
    }

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if let Some(local) = self.local.take() {
            self.guest.set_addresses(now, endpoint, [local.ip()]);
            self.guest.set_candidates(now, endpoint, CandidateKind::Local, [local]);
        }
        self.guest.on_wake(now, endpoint);
        if self.begin.is_some_and(|begin| now >= begin)
            && let Some(whom) = self.whom.take()
        {
            self.guest.connect(now, endpoint, whom.into_bytes(), self.policy);
            self.began = Some(now);
        }
        self.send(now, endpoint);
        self.take_events(now, endpoint);
    }

    fn next_timeout(&self) -> Option<Instant> {
        let next = self.sending.filter(|(_, next, _)| *next < self.messages).map(|(_, _, due)| due);
        let begin = self.begin.filter(|_| self.whom.is_some());
        begin.into_iter().chain(next).chain(self.guest.next_timeout()).min()
    }

    fn carries(&self, interface: InterfaceId) -> bool {
        self.guest.carries(interface)
    }

    fn carry(&mut self, now: Instant, endpoint: &mut Endpoint, path: Path, datagram: &[u8]) {
        self.guest.carry(now, endpoint, path, datagram);
    }
}
