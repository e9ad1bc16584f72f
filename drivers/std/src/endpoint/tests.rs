//! What strangers can make an endpoint hold: endpoints back to back in virtual time, without sockets.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use core::net::SocketAddr;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::sync::Arc;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use rtmfp_core::error::DropReason;
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::{
    App, CloseMode, Endpoint, EndpointConfig, Event, FlowOptions, Instant, InterfaceId, Path, RecvMeta, SendFlowHandle,
    SessionHandle, Target, TransmitBuf, Undelivered,
};

use super::shared::{QUEUE_BYTES, WAITING_FLOWS, WAITING_SESSIONS, WAITING_SESSIONS_PER_SOURCE, lock};
use super::{EndpointApp, EndpointHandle, Error, RecvFlow, Session, Waiter};

mod closing;
mod connecting;
mod crowds;
mod introducing;
mod receiving;
mod sending;
mod session;
mod sleeping;
mod undriven;
mod unlocking;

const MESSAGE: usize = 32_768;

/// An endpoint and its application, and the time.
struct Server {
    endpoint: Endpoint,
    app: EndpointApp,
    handle: EndpointHandle,
    now: Instant,
    clients: u16,
    /// How many addresses the clients have.
    hosts: u8,
}

/// A stranger's endpoint with a session.
struct Client {
    endpoint: Endpoint,
    address: SocketAddr,
    session: SessionHandle,
}

fn endpoint(name: &str, config: EndpointConfig) -> Endpoint {
    let rng = Box::new(ChaCha20Rng::from_seed([name.len().to_le_bytes()[0]; 32]));
    Endpoint::new(config, Arc::new(PlainProfile::new(name.as_bytes())), rng, Instant::ORIGIN).unwrap()
}

fn server_path() -> Path {
    Path::new(InterfaceId(0), "192.0.2.1:1935".parse().unwrap())
}

/// Datagrams from one endpoint to another; whether there were any.
fn carry(now: Instant, from: &mut Endpoint, to: &mut Endpoint, path: Path) -> bool {
    let mut flight = TransmitBuf::new(8);
    let mut any = false;
    while from.poll_transmit(now, &mut flight).is_some() {
        for datagram in flight.datagrams() {
            any = true;
            let _ = to.handle_datagram(now, path, RecvMeta::default(), &mut datagram.to_vec());
        }
    }
    any
}

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

impl Server {
    fn new(config: EndpointConfig) -> Self {
        let (app, handle) = EndpointApp::new(vec![server_path().remote], || {});
        Self { endpoint: endpoint("server", config), app, handle, now: Instant::ORIGIN, clients: 0, hosts: 4 }
    }

    fn client(&mut self) -> Client {
        self.clients += 1;
        let mut endpoint = endpoint(&format!("client {}", self.clients), EndpointConfig::default());
        let host = self.clients.to_le_bytes()[0] % self.hosts;
        let address = SocketAddr::from(([198, 51, 100, host], self.clients));
        let target = Target { discriminator: "server".into(), candidates: vec![(server_path(), Duration::ZERO)] };
        let session = endpoint.open(self.now, target).unwrap();
        let mut client = Client { endpoint, address, session };
        // Nobody falls silent for long while others open.
        self.exchange_for(&mut client, 1);
        client
    }

    fn settle(&mut self) {
        while let Some(event) = self.endpoint.poll_event() {
            self.app.on_event(self.now, &mut self.endpoint, event);
        }
        self.app.on_wake(self.now, &mut self.endpoint);
    }

    /// A second of back and forth with one client.
    fn exchange(&mut self, client: &mut Client) {
        self.exchange_for(client, 100);
    }

    fn exchange_for(&mut self, client: &mut Client, rounds: usize) {
        let back = Path::new(InterfaceId(0), client.address);
        for _ in 0..rounds {
            self.settle();
            loop {
                let there = carry(self.now, &mut client.endpoint, &mut self.endpoint, back);
                self.settle();
                if !carry(self.now, &mut self.endpoint, &mut client.endpoint, server_path()) && !there {
                    break;
                }
            }
            while client.endpoint.poll_event().is_some() {}
            self.now += Duration::from_millis(10);
            for endpoint in [&mut self.endpoint, &mut client.endpoint] {
                if endpoint.poll_timeout().is_some_and(|at| at <= self.now) {
                    endpoint.handle_timeout(self.now);
                }
            }
        }
    }

    /// How long it still holds sessions if no far end is heard of.
    fn time_until_empty(&mut self) -> Duration {
        let start = self.now;
        loop {
            self.settle();
            let mut flight = TransmitBuf::new(8);
            while self.endpoint.poll_transmit(self.now, &mut flight).is_some() {}
            self.settle();
            if self.app.sessions() == 0 {
                return self.now.saturating_duration_since(start);
            }
            let due = [self.endpoint.poll_timeout(), self.app.next_timeout()].into_iter().flatten().min().unwrap();
            self.now = self.now.max(due);
            if self.endpoint.poll_timeout().is_some_and(|at| at <= self.now) {
                self.endpoint.handle_timeout(self.now);
            }
        }
    }

    fn accept(&self) -> Option<Session> {
        match self.handle.poll_accept(&mut context(), &mut Waiter::default()) {
            Poll::Ready(session) => session,
            Poll::Pending => None,
        }
    }

    fn waiting_sessions(&self) -> usize {
        lock(&self.app.shared().queue).accepted.len()
    }
}

impl Client {
    fn open_flow(&mut self, now: Instant) -> SendFlowHandle {
        self.endpoint
            .session_mut(now, self.session)
            .unwrap()
            .open_flow(FlowOptions::new("flow").unsent_limit(usize::MAX))
            .unwrap()
    }

    fn write(&mut self, now: Instant, flow: SendFlowHandle, message: Vec<u8>) {
        self.endpoint.send_flow_mut(now, flow).unwrap().write(message).unwrap();
    }
}

fn accept_flow(session: &Session) -> Option<RecvFlow> {
    match session.poll_accept_flow(&mut context(), &mut Waiter::default()) {
        Poll::Ready(flow) => flow.ok(),
        Poll::Pending => None,
    }
}

/// All messages that are there, and how many bytes.
fn drain(flow: &RecvFlow) -> usize {
    let mut bytes = 0;
    while let Poll::Ready(Ok(Some(message))) = flow.poll_recv(&mut context(), &mut Waiter::default()) {
        bytes += message.data.len();
    }
    bytes
}

#[test]
fn flows_that_nobody_accepted_hold_one_queue_together_and_lose_nothing() {
    let mut server = Server::new(EndpointConfig::default());
    let mut client = server.client();
    let flows: Vec<_> = (0..40).map(|_| client.open_flow(server.now)).collect();
    for flow in &flows {
        client.write(server.now, *flow, vec![7; MESSAGE]);
    }
    server.exchange(&mut client);
    let session = server.accept().unwrap();
    let held = session.held_unaccepted();
    assert!(held > QUEUE_BYTES - MESSAGE, "{held}: the flows did not arrive");
    assert!(held <= QUEUE_BYTES + MESSAGE + 1, "{held} bytes for flows that nobody accepted");
    // Each is whole once somebody accepts it.
    for number in 0..flows.len() {
        let flow = accept_flow(&session).unwrap();
        server.settle();
        assert_eq!(drain(&flow), MESSAGE, "flow {number}");
    }
    assert_eq!(session.held_unaccepted(), 0);
}

#[test]
fn flows_beyond_those_that_may_wait_are_rejected_even_if_the_first_are_over() {
    let mut config = EndpointConfig::default();
    config.session.max_recv_flows = 4 * WAITING_FLOWS;
    let mut server = Server::new(config);
    let mut client = server.client();
    for _ in 0..2 {
        for _ in 0..WAITING_FLOWS * 3 / 4 {
            let flow = client.open_flow(server.now);
            client.write(server.now, flow, Vec::new());
            client.endpoint.send_flow_mut(server.now, flow).unwrap().close();
        }
        server.exchange(&mut client);
    }
    let session = server.accept().unwrap();
    let waiting = core::iter::from_fn(|| accept_flow(&session)).count();
    assert_eq!(waiting, WAITING_FLOWS);
}

/// All call from few hosts at one moment.
fn open_to_all() -> EndpointConfig {
    let mut config = EndpointConfig::default();
    config.max_hello_replies_per_source = u32::MAX;
    config.max_excess_reply_bytes = u32::MAX;
    config.max_excess_reply_bytes_per_source = u32::MAX;
    config.max_keying_units_per_second = u32::MAX;
    config.max_keying_units_per_source = u32::MAX;
    config
}

#[test]
fn sessions_that_wait_without_a_flow_give_way_to_new_ones() {
    let mut server = Server::new(open_to_all());
    for _ in 0..WAITING_SESSIONS + 2 {
        server.client();
    }
    assert_eq!(server.waiting_sessions(), WAITING_SESSIONS);
    assert_eq!(server.app.sessions(), WAITING_SESSIONS, "and the others are closed");
    // A newcomer that brings something is there, however many wait in vain.
    let mut last = server.client();
    let flow = last.open_flow(server.now);
    last.write(server.now, flow, b"here".to_vec());
    server.exchange(&mut last);
    for _ in 0..WAITING_SESSIONS {
        server.client();
    }
    let sessions: Vec<_> = core::iter::from_fn(|| server.accept()).collect();
    let brought: usize = sessions.iter().filter_map(accept_flow).map(|flow| drain(&flow)).sum();
    assert_eq!((sessions.len(), brought), (WAITING_SESSIONS, 4));
    server.client();
    assert_eq!(server.waiting_sessions(), 1, "with room again, far ends are taken again");
}

#[test]
fn one_host_has_half_of_the_waiting_sessions_at_most() {
    let mut server = Server::new(open_to_all());
    server.hosts = 1;
    for _ in 0..WAITING_SESSIONS_PER_SOURCE + 10 {
        server.client();
    }
    assert_eq!(server.waiting_sessions(), WAITING_SESSIONS_PER_SOURCE);
}

#[test]
fn a_session_that_ended_before_it_was_accepted_waits_only_with_what_it_brought() {
    let mut server = Server::new(EndpointConfig::default());
    for bring in [false, true] {
        let mut client = server.client();
        if bring {
            let flow = client.open_flow(server.now);
            client.write(server.now, flow, b"last words".to_vec());
            server.exchange(&mut client);
        }
        assert_eq!(server.waiting_sessions(), 1);
        client.endpoint.session_mut(server.now, client.session).unwrap().close(CloseMode::Orderly);
        server.exchange(&mut client);
        assert_eq!(server.waiting_sessions(), usize::from(bring));
        assert_eq!(server.app.sessions(), 0);
    }
    let session = server.accept().unwrap();
    assert_eq!(drain(&accept_flow(&session).unwrap()), 10);
    assert!(accept_flow(&session).is_none());
}

#[test]
fn counters_are_told_as_long_as_the_node_runs() {
    let mut server = Server::new(EndpointConfig::default());
    let asked = server.handle.ask_stats();
    assert!(asked.poll(&mut context(), &mut Waiter::default()).is_pending());
    let _ = server.endpoint.handle_datagram(server.now, server_path(), RecvMeta::default(), &mut [0; 2]);
    server.settle();
    let Poll::Ready(Some(stats)) = asked.poll(&mut context(), &mut Waiter::default()) else { panic!("no answer") };
    assert!(stats.drops().eq([(DropReason::TooShort, 1)]));
    // Neither a question that was under way nor a new one is left waiting.
    let (asked, handle) = (server.handle.ask_stats(), server.handle.clone());
    drop(server);
    assert_eq!(asked.poll(&mut context(), &mut Waiter::default()), Poll::Ready(None));
    assert_eq!(handle.stats(), None);
}

/// RFC 7016 §3.6.2.10: after its close, the sender is told of a rejection by nothing but what was abandoned.
#[test]
fn a_flow_that_was_closed_and_then_rejected_is_not_taken_for_received() {
    for rejects in [true, false] {
        let mut server = Server::new(EndpointConfig::default());
        let mut client = server.client();
        let session = server.accept().unwrap();
        let flow = session.open_flow(FlowOptions::new("flow"));
        // More than the first flight carries.
        flow.send(vec![7; MESSAGE]).unwrap();
        flow.close();
        server.settle();
        carry(server.now, &mut server.endpoint, &mut client.endpoint, server_path());
        let events = core::iter::from_fn(|| client.endpoint.poll_event());
        let opened = events.filter_map(|event| if let Event::FlowOpened { flow } = event { Some(flow) } else { None });
        let opened = opened.last().unwrap();
        if rejects {
            client.endpoint.recv_flow_mut(server.now, opened).unwrap().reject(42);
        }
        server.exchange(&mut client);
        let expected = if rejects { Err(Error::Abandoned) } else { Ok(()) };
        assert_eq!(flow.poll_finish(&mut context(), &mut Waiter::default()), Poll::Ready(expected));
    }
}

#[test]
fn a_session_that_connect_returned_does_not_give_way_though_nobody_accepted_it() {
    let mut server = Server::new(open_to_all());
    let mut client = server.client();
    let mut connecting = server.handle.begin("client 1", &[client.address]);
    server.exchange(&mut client);
    let connected = connecting.poll_connected(&mut context(), &mut Waiter::default());
    assert_eq!((connected, server.waiting_sessions()), (Poll::Ready(Ok(())), 1));
    for _ in 0..WAITING_SESSIONS + 2 {
        server.client();
    }
    assert_eq!(connecting.poll_opened(&mut context(), &mut Waiter::default()), Poll::Ready(Ok(())));
    assert_eq!(server.waiting_sessions(), WAITING_SESSIONS + 1);
}
