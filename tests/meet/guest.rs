//! A program that is registered at a server, and one that wants to reach it.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

use rtmfp_core::{
    App, Endpoint, Event, FlowOptions, Instant, InterfaceId, Path, RecvFlowHandle, SendFlowHandle, Service as _,
    SessionHandle, Target,
};
use rtmfp_meet::{Answer, Client, METADATA, RelayInterface};

pub(super) const PORT: u16 = 1_935;
pub(super) const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)), PORT);

/// When the first guest asks for the second.
const BEGIN: Instant = Instant::from_millis(1_000);
/// What the direct path is ahead of the relay.
const HEAD_START: Duration = Duration::from_millis(400);

#[derive(Debug)]
pub(super) struct Guest {
    relay: RelayInterface,
    client: Client,
    /// Whom it wants to reach.
    whom: Option<&'static str>,
    to_server: Option<SessionHandle>,
    questions: Option<SendFlowHandle>,
    peer: Option<SessionHandle>,
    pub(super) began: Option<Instant>,
    /// When the first data came, and whether over the relay.
    pub(super) heard: Option<(Instant, bool)>,
}

impl Guest {
    pub(super) fn new(whom: Option<&'static str>) -> Self {
        Self {
            relay: RelayInterface::new(0).of(b"server".as_slice()),
            client: Client::new(),
            whom,
            to_server: None,
            questions: None,
            peer: None,
            began: None,
            heard: None,
        }
    }

    fn register(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let session = endpoint.open(now, Target::new("server", Path::new(InterfaceId(0), SERVER))).unwrap();
        let flow = endpoint.session_mut(now, session).unwrap().open_flow(FlowOptions::new(METADATA)).unwrap();
        endpoint.send_flow_mut(now, flow).unwrap().write(self.client.hello()).unwrap();
        (self.to_server, self.questions) = (Some(session), Some(flow));
    }

    /// Asks to be introduced, and for a circuit, at once.
    fn reach(&mut self, now: Instant, endpoint: &mut Endpoint, whom: &'static str) {
        let session = endpoint.open(now, Target::new(whom, Path::new(InterfaceId(0), SERVER))).unwrap();
        let flow = endpoint.session_mut(now, session).unwrap().open_flow(FlowOptions::new("data")).unwrap();
        endpoint.send_flow_mut(now, flow).unwrap().write("hello").unwrap();
        let (_, question) = self.client.open_circuit(whom.as_bytes());
        endpoint.send_flow_mut(now, self.questions.unwrap()).unwrap().write(question).unwrap();
        (self.peer, self.began) = (Some(session), Some(now));
    }

    fn read(&mut self, now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle) {
        while let Some(message) = endpoint.recv_flow_mut(now, flow).and_then(|mut flow| flow.read()) {
            if self.to_server == Some(flow.session()) {
                if let Ok(Some(Answer::Circuit { circuit, .. })) = self.client.on_message(&message.data) {
                    let path = self.relay.path(circuit);
                    let peer = self.peer.and_then(|peer| endpoint.session_mut(now, peer));
                    peer.into_iter().for_each(|mut peer| peer.add_candidate(path, HEAD_START));
                }
            } else {
                let path = endpoint.session(flow.session()).and_then(|session| session.path());
                self.heard = self.heard.or(Some((now, path.is_some_and(|path| self.relay.is_relayed(&path)))));
            }
        }
    }
}

impl App for Guest {
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        self.relay.on_event(now, endpoint, &event);
        if let Event::FlowReadable { flow } = event
            && endpoint.recv_flow(flow).is_some_and(|flow| flow.metadata() != rtmfp_meet::RELAY_METADATA)
        {
            self.read(now, endpoint, flow);
        }
    }

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.relay.on_wake(now, endpoint);
        if self.to_server.is_none() {
            self.register(now, endpoint);
        }
        if now >= BEGIN
            && let Some(whom) = self.whom.take()
        {
            self.reach(now, endpoint, whom);
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.whom.map(|_| BEGIN).into_iter().chain(self.relay.next_timeout()).min()
    }

    fn carries(&self, interface: InterfaceId) -> bool {
        self.relay.carries(interface)
    }

    fn carry(&mut self, now: Instant, endpoint: &mut Endpoint, path: Path, datagram: &[u8]) {
        self.relay.carry(now, endpoint, path, datagram);
    }
}
