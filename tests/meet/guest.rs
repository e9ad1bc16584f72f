//! A program that is registered at a server, and one that wants to reach it.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use rtmfp_core::rand_core::CryptoRng;
use rtmfp_core::{
    App, Endpoint, Event, FlowOptions, Instant, InterfaceId, Path, RecvFlowHandle, Service as _, SessionHandle, Target,
};
use rtmfp_meet::{Guest, GuestEvent, GuestOptions, PathPolicy};
use rtmfp_sim::rtmfp::SimRandom;

pub(super) const PORT: u16 = 1_935;
pub(super) const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)), PORT);

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
    pub(super) began: Option<Instant>,
    /// When the first data came, and whether over the relay.
    pub(super) heard: Option<(Instant, bool)>,
    /// What the guest has told.
    told: Vec<(Instant, GuestEvent)>,
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
                endpoint.send_flow_mut(now, flow).unwrap().write("hello").unwrap();
            }
            self.told.push((now, event));
        }
    }

    fn read(&mut self, now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle) {
        while endpoint.recv_flow_mut(now, flow).and_then(|mut flow| flow.read()).is_some() {
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
        self.guest.on_wake(now, endpoint);
        if self.begin.is_some_and(|begin| now >= begin)
            && let Some(whom) = self.whom.take()
        {
            self.guest.connect(now, endpoint, whom.into_bytes(), PathPolicy::Any);
            self.began = Some(now);
        }
        self.take_events(now, endpoint);
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.begin.filter(|_| self.whom.is_some()).into_iter().chain(self.guest.next_timeout()).min()
    }

    fn carries(&self, interface: InterfaceId) -> bool {
        self.guest.carries(interface)
    }

    fn carry(&mut self, now: Instant, endpoint: &mut Endpoint, path: Path, datagram: &[u8]) {
        self.guest.carry(now, endpoint, path, datagram);
    }
}
