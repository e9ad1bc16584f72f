//! What a server does for clients that ask for more probes than they need, or not as they should.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use datagram_sim::{Duration, LinkSpec, NodeId, StageSpec, Time, World};
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::{
    App, Endpoint, EndpointConfig, Event, FlowOptions, Instant, InterfaceId, Path, Router, SendFlowHandle, Target,
};
use rtmfp_meet::Rate;
use rtmfp_meet::probe::{
    METADATA, MIN_REQUEST, ProbeEvent, ProbeLimits, ProbeName, ProbePlace, ProbeReply, ProbeRequest, ProbeService,
};
use rtmfp_sim::rtmfp::{EndpointNode, SimRandom};

const PORT: u16 = 1_935;
const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)), PORT);

/// A client that writes all it is given, and then sends some probes with the token that it got, or with another.
struct Greedy {
    messages: Vec<Vec<u8>>,
    probes: u64,
    false_token: bool,
    flow: Option<SendFlowHandle>,
    replies: Vec<ProbeReply>,
    rejected: Option<u64>,
    heard: u64,
}

impl Greedy {
    fn new(messages: Vec<Vec<u8>>) -> Self {
        let (flow, replies, rejected) = (None, Vec::new(), None);
        Self { messages, probes: 0, false_token: false, flow, replies, rejected, heard: 0 }
    }

    fn asking(requests: impl IntoIterator<Item = ProbeRequest>) -> Self {
        Self::new(requests.into_iter().map(ProbeRequest::to_bytes).collect())
    }

    fn write(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let Some(mut flow) = self.flow.and_then(|flow| endpoint.send_flow_mut(now, flow)) else { return };
        while let Some(message) = self.messages.first() {
            if flow.write(message.clone()).is_err() {
                return;
            }
            self.messages.remove(0);
        }
    }

    fn count(&self, is: impl Fn(&ProbeReply) -> bool) -> usize {
        self.replies.iter().filter(|reply| is(reply)).count()
    }

    fn refused(&self) -> usize {
        self.count(|reply| matches!(reply, ProbeReply::Refused { .. }))
    }

    fn promised(&self) -> usize {
        self.count(|reply| matches!(reply, ProbeReply::Sent { .. }))
    }
}

impl App for Greedy {
    #[expect(clippy::wildcard_enum_match_arm, reason = "an application acts on the events that it knows of")]
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        match event {
            Event::FlowReadable { flow } => {
                while let Some(message) = endpoint.recv_flow_mut(now, flow).and_then(|mut flow| flow.read()) {
                    let reply = ProbeReply::parse(&message.data).unwrap().unwrap();
                    if let ProbeReply::Welcome { token, .. } = reply {
                        let token = if self.false_token { [9; 16] } else { token };
                        let name = ProbeName::new(token, 5).to_bytes();
                        for _ in 0..self.probes {
                            let discriminator = endpoint.profile().discriminator_of(&name);
                            endpoint.open(now, Target::new(discriminator, Path::new(InterfaceId(0), SERVER))).unwrap();
                        }
                    }
                    self.replies.push(reply);
                }
            }
            Event::FlowWritable { .. } => self.write(now, endpoint),
            Event::FlowRejected { code, .. } => self.rejected = Some(code),
            Event::UnmatchedHello { .. } => self.heard += 1,
            _ => {}
        }
    }

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if self.flow.is_none() {
            let session = endpoint.open(now, Target::new("server", Path::new(InterfaceId(0), SERVER))).unwrap();
            let flow = endpoint.session_mut(now, session).unwrap().open_flow(FlowOptions::new(METADATA)).unwrap();
            self.flow = Some(flow);
            self.write(now, endpoint);
        }
    }
}

fn node<A: App + 'static>(world: &World, name: &str, app: A) -> EndpointNode<A> {
    let mut config = EndpointConfig::default();
    (config.max_unmatched_hellos, config.max_unmatched_hellos_per_source) = (256, 256);
    let profile = PlainProfile::new(name.as_bytes()).pretend_authentic(true);
    let rng = SimRandom::new(world.key(name, "endpoint"));
    let endpoint = Endpoint::new(config, Arc::new(profile), Box::new(rng), Instant::ORIGIN).unwrap();
    EndpointNode::new(endpoint, app, PORT)
}

/// What came of clients, each at an address of its own, after so many seconds: they, and the probes that were sent.
fn serve(limits: ProbeLimits, clients: Vec<Greedy>, seconds: u64, check: impl Fn(&[&Greedy], usize)) {
    let mut world = World::new(4);
    let net = world.add_router("net");
    let line = LinkSpec::symmetric(vec![StageSpec::Delay(Duration::millis(10))]);
    let sent = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&sent);
    let observer = move |event| *counted.lock().unwrap() += usize::from(matches!(event, ProbeEvent::Sent { .. }));
    let places = vec![ProbePlace { interface: InterfaceId(0), address: SocketAddr::from(([0, 0, 0, 0], PORT)) }];
    let rng = Box::new(SimRandom::new(world.key("server", "tokens")));
    let service = ProbeService::new(limits, places, rng, observer);
    let server = node(&world, "server", Router::new().with(Box::new(service)));
    let server = world.add_host("server", server);
    world.connect("server", server, net, &line);
    world.add_address(server, 0, SERVER.ip(), false);
    let hosts: Vec<NodeId> = (1..)
        .zip(clients)
        .map(|(number, client)| {
            let name = format!("client {number}");
            let client = node(&world, &name, client);
            let host = world.add_host(&name, client);
            world.connect(&name, host, net, &line);
            world.add_address(host, 0, IpAddr::from([198, 51, 100, number]), false);
            host
        })
        .collect();
    world.run_until(Time(seconds * 1_000_000_000)).unwrap();
    let clients: Vec<&Greedy> =
        hosts.iter().map(|host| world.node::<EndpointNode<Greedy>>(*host).unwrap().app()).collect();
    check(&clients, *sent.lock().unwrap());
}

fn few() -> ProbeLimits {
    let mut limits = ProbeLimits::default();
    let often = core::time::Duration::from_secs(1_000);
    (limits.probes_per_source, limits.probes) = (Rate { burst: 10, every: often }, Rate { burst: 15, every: often });
    limits
}

#[test]
fn probes_are_limited_for_each_source_and_in_all_and_the_refusal_tells_how_long() {
    let greedy = || Greedy::asking((0..30).map(|test| ProbeRequest::Send { test, place: test % 2 }));
    serve(few(), vec![greedy()], 5, |clients, sent| {
        let [client] = clients else { unreachable!() };
        assert_eq!((client.promised(), client.refused(), sent), (9, 21, 9), "joining counts too");
        assert_eq!(client.heard, 9);
        let soon = |reply: &ProbeReply| matches!(reply, ProbeReply::Refused { seconds: 1..=1_001, .. });
        assert_eq!(client.count(soon), 21);
    });
    serve(few(), vec![greedy(), greedy()], 5, |clients, sent| {
        assert_eq!(sent, 13, "of both together");
        assert!(clients.iter().all(|client| client.promised() + client.refused() == 30));
    });
}

#[test]
fn probes_that_come_are_told_of_only_to_who_has_the_token_and_only_so_often() {
    let mut greedy = Greedy::asking([]);
    (greedy.messages, greedy.probes) = (vec![vec![0]], 30);
    let arrived = |client: &Greedy| client.count(|reply| matches!(reply, ProbeReply::Arrived { test: 5, .. }));
    serve(few(), vec![greedy], 1, |clients, sent| {
        assert_eq!((arrived(clients[0]), sent), (9, 0));
    });
    let mut liar = Greedy::new(vec![vec![0]]);
    (liar.probes, liar.false_token) = (30, true);
    serve(few(), vec![liar], 1, |clients, sent| {
        assert_eq!((arrived(clients[0]), clients[0].replies.len(), sent), (0, 1, 0));
    });
}

#[test]
fn probes_for_later_are_limited_for_each_source_and_in_all() {
    let mut limits = ProbeLimits::default();
    (limits.waiting, limits.waiting_per_source) = (7, 4);
    let greedy = || Greedy::asking((0..10).map(|test| ProbeRequest::Later { test, seconds: 20 }));
    serve(limits, vec![greedy(), greedy()], 25, |clients, sent| {
        assert_eq!(sent, 7);
        assert!(clients.iter().all(|client| client.promised() <= 4 && client.promised() + client.refused() == 10));
    });
    let late = Greedy::asking([ProbeRequest::Later { test: 1, seconds: 601 }]);
    serve(limits, vec![late], 5, |clients, _| assert_eq!((clients[0].promised(), clients[0].refused()), (0, 1)));
    // Once they are sent there is room again.
    let again = Greedy::asking((0..10).map(|test| ProbeRequest::Later { test, seconds: 0 }));
    serve(limits, vec![again], 5, |clients, sent| assert!(clients[0].promised() >= 4 && sent >= 4));
}

#[test]
fn a_request_shorter_than_the_probe_that_it_asks_for_ends_the_flow() {
    let short = ProbeRequest::Send { test: 1, place: 0 }.to_bytes()[..MIN_REQUEST - 1].to_vec();
    serve(ProbeLimits::default(), vec![Greedy::new(vec![short])], 5, |clients, sent| {
        assert_eq!((clients[0].rejected, sent), (Some(2), 0));
    });
}

#[test]
fn no_place_is_used_that_the_server_does_not_have() {
    let places = [0, 1, 2, u64::MAX].map(|place| ProbeRequest::Send { test: 1, place });
    serve(ProbeLimits::default(), vec![Greedy::asking(places)], 5, |clients, sent| {
        assert_eq!((clients[0].promised(), clients[0].refused(), sent), (2, 2, 2));
    });
}

#[test]
fn no_more_clients_are_served_than_there_is_room_for() {
    let mut limits = ProbeLimits::default();
    limits.clients = 2;
    serve(limits, (0..3).map(|_| Greedy::new(vec![vec![0]])).collect(), 5, |clients, _| {
        let rejected: Vec<u64> = clients.iter().filter_map(|client| client.rejected).collect();
        assert_eq!(rejected, [3]);
        assert_eq!(clients.iter().filter(|client| client.replies.len() == 1).count(), 2);
    });
}
