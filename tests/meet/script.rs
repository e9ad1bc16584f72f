//! Programs that do as a test says, and a server that tells what it does. All are on one network without NATs.

use core::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use datagram_sim::{LinkSpec, NodeId, StageSpec, Time, World};
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::{App, Endpoint, EndpointConfig, Event, Instant, InterfaceId, Path, Router, Service as _, Target};
use rtmfp_meet::{Admit, Failure, Guest, GuestEvent, GuestOptions, Limits, PathKind, Rendezvous, ServerEvent};
use rtmfp_sim::rtmfp::{EndpointNode, SimRandom};

use super::guest::{PORT, SERVER};
use super::{node, server_config};

type Act = Box<dyn FnOnce(&mut Guest, Instant, &mut Endpoint)>;

/// A guest that does what it is told at its time.
pub(super) struct Script {
    pub(super) guest: Guest,
    acts: Vec<(Instant, Act)>,
    pub(super) told: Vec<(Instant, GuestEvent)>,
}

impl Script {
    pub(super) fn new(world: &World, name: &str, options: GuestOptions) -> Self {
        let rng = SimRandom::new(world.key(name, "guest"));
        let target = Target::new("server", Path::new(InterfaceId(0), SERVER));
        Self { guest: Guest::new(0, target, options, Box::new(rng)), acts: Vec::new(), told: Vec::new() }
    }

    /// In the order of time.
    pub(super) fn at(mut self, millis: u64, act: impl FnOnce(&mut Guest, Instant, &mut Endpoint) + 'static) -> Self {
        self.acts.push((Instant::from_millis(millis), Box::new(act)));
        self
    }

    pub(super) fn failures(&self) -> Vec<Failure> {
        let failure =
            |event: &GuestEvent| if let GuestEvent::Failed { failure, .. } = event { Some(*failure) } else { None };
        self.told.iter().filter_map(|(_, event)| failure(event)).collect()
    }

    pub(super) fn connected(&self) -> usize {
        self.told.iter().filter(|(_, event)| matches!(event, GuestEvent::Connected { .. })).count()
    }

    pub(super) fn kinds(&self) -> Vec<PathKind> {
        let kind = |event: &GuestEvent| if let GuestEvent::Path { kind, .. } = event { Some(*kind) } else { None };
        self.told.iter().filter_map(|(_, event)| kind(event)).collect()
    }

    pub(super) fn numbers(&self) -> Vec<u64> {
        let number =
            |event: &GuestEvent| if let GuestEvent::Number { number, .. } = event { Some(*number) } else { None };
        self.told.iter().filter_map(|(_, event)| number(event)).collect()
    }

    fn take_events(&mut self, now: Instant) {
        while let Some(event) = self.guest.poll_event() {
            self.told.push((now, event));
        }
    }
}

impl App for Script {
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        self.guest.offer(now, endpoint, &event);
        self.take_events(now);
    }

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.guest.on_wake(now, endpoint);
        while self.acts.first().is_some_and(|(at, _)| *at <= now) {
            let (_, act) = self.acts.remove(0);
            act(&mut self.guest, now, endpoint);
        }
        self.take_events(now);
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.acts.first().map(|(at, _)| *at).into_iter().chain(self.guest.next_timeout()).min()
    }

    fn carries(&self, interface: InterfaceId) -> bool {
        self.guest.carries(interface)
    }

    fn carry(&mut self, now: Instant, endpoint: &mut Endpoint, path: Path, datagram: &[u8]) {
        self.guest.carry(now, endpoint, path, datagram);
    }
}

/// What a server has told.
pub(super) type Log = Arc<Mutex<Vec<ServerEvent>>>;

pub(super) fn serve(world: &World, limits: Limits, admit: impl Admit + Send + 'static) -> (Router, Log) {
    let log = Log::default();
    let heard = Arc::clone(&log);
    let rng = Box::new(SimRandom::new(world.key("server", "numbers")));
    let rendezvous = Rendezvous::new(limits, admit, rng, move |event| heard.lock().unwrap().push(event));
    (Router::new().with(Box::new(rendezvous)), log)
}

/// A network with a server.
pub(super) fn world_with(limits: Limits, admit: impl Admit + Send + 'static) -> (World, NodeId, Log) {
    let mut world = World::new(1);
    let net = world.add_router("net");
    let (router, log) = serve(&world, limits, admit);
    let server = node(&mut world, "server", server_config(), router);
    attach(&mut world, "server", server, net, SERVER.ip());
    (world, net, log)
}

pub(super) fn attach(world: &mut World, name: &str, node: NodeId, net: NodeId, at: IpAddr) {
    let line = LinkSpec::symmetric(vec![StageSpec::Delay(datagram_sim::Duration::millis(10))]);
    world.connect(name, node, net, &line);
    world.add_address(node, 0, at, false);
}

/// One more program, at an address of its own.
pub(super) fn add(world: &mut World, net: NodeId, name: &str, last: u8, script: Script) -> NodeId {
    let id = node(world, name, EndpointConfig::default(), script);
    attach(world, name, id, net, IpAddr::V4(Ipv4Addr::new(198, 51, 100, last)));
    id
}

pub(super) fn run(world: &mut World, seconds: u64) {
    world.run_until(Time(seconds * 1_000_000_000)).unwrap();
}

pub(super) fn script(world: &World, id: NodeId) -> &Script {
    world.node::<EndpointNode<Script>>(id).map(EndpointNode::app).unwrap()
}

/// Another process in the server's place, with the same identity, that remembers nothing.
pub(super) fn replace<A: App + 'static>(world: &mut World, server: NodeId, app: A) {
    let profile = PlainProfile::new(b"server").pretend_authentic(true);
    let rng = SimRandom::new(world.key("server", "endpoint again"));
    let endpoint = Endpoint::new(server_config(), Arc::new(profile), Box::new(rng), Instant::ORIGIN).unwrap();
    world.replace_node(server, Box::new(EndpointNode::new(endpoint, app, PORT)));
}

pub(super) fn restart(world: &mut World, limits: Limits, admit: impl Admit + Send + 'static) -> Log {
    let server = world.find("server").unwrap();
    let (router, log) = serve(world, limits, admit);
    replace(world, server, router);
    log
}
