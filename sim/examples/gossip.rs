//! An application of one's own in the simulator: peers behind NATs, introduced to each other by somebody whom all know,
//! pass on a rumour. `cargo run -p rtmfp-sim --example gossip`
//!
//! [`Peer`] is an [`App`]: it would run over real sockets unchanged. Here it runs twice in a world of two minutes with
//! loss, and both runs are the same to the last bit. What to look for in such a world, and to change: `NATS`, `loss`,
//! and what happens at 20 s.
#![expect(clippy::wildcard_enum_match_arm, reason = "a peer has no use for most events")]

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;

use datagram_sim::{Duration, InFlight, Key, LinkSpec, LossSpec, NatSpec, NodeId, Ppb, StageSpec, Time, World};
use rtmfp_core::profile::CryptoProfile;
use rtmfp_core::profile::flash::{Discriminator, FlashProfile, Group, StaticKeys};
use rtmfp_core::{
    App, Endpoint, EndpointConfig, Event, FlowOptions, Instant, InterfaceId, Path, SendFlowHandle, Target,
};
use rtmfp_sim::rtmfp::{EndpointNode, SimRandom};

type Error = Box<dyn std::error::Error>;

const PEERS: u8 = 12;
const PORT: u16 = 1_935;
const RUMOUR: &[u8] = b"the harbour is open";
const NATS: [fn(IpAddr) -> NatSpec; 3] = [NatSpec::full_cone, NatSpec::address_restricted, NatSpec::port_restricted];

/// Where everybody finds the introducer.
const INTRODUCER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)), PORT);

fn introducer() -> Path {
    Path::new(InterfaceId(0), INTRODUCER)
}

/// Introduces those that have a session with it: its endpoint does that alone.
struct Introducer;

impl App for Introducer {
    fn on_event(&mut self, _now: Instant, _endpoint: &mut Endpoint, _event: Event) {}
}

/// Opens sessions to some others, and tells everybody whom it has a session with what it has heard.
struct Peer {
    /// The introducer's and the others' names.
    targets: Vec<Vec<u8>>,
    /// When the next of them is tried.
    next: Option<Instant>,
    flows: Vec<SendFlowHandle>,
    heard: Option<Instant>,
    /// When it makes the rumour up, if it is the one.
    begins: Option<Instant>,
}

impl Peer {
    fn tell_all(&mut self, now: Instant, endpoint: &mut Endpoint) {
        for flow in &self.flows {
            if let Some(mut flow) = endpoint.send_flow_mut(now, *flow) {
                // A session that is closing takes nothing any more; others will tell its far end.
                let _refused = flow.write(RUMOUR);
            }
        }
    }

    fn hear(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if self.heard.is_none() {
            self.heard = Some(now);
            self.tell_all(now, endpoint);
        }
    }
}

impl App for Peer {
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        match event {
            Event::SessionOpened { session } => {
                let opened =
                    endpoint.session_mut(now, session).map(|mut view| view.open_flow(FlowOptions::new("rumours")));
                if let Some(Ok(flow)) = opened {
                    self.flows.push(flow);
                    if self.heard.is_some() {
                        self.tell_all(now, endpoint);
                    }
                }
            }
            Event::FlowReadable { flow } => {
                while let Some(message) = endpoint.recv_flow_mut(now, flow).and_then(|mut view| view.read()) {
                    if message.data == RUMOUR {
                        self.hear(now, endpoint);
                    }
                }
            }
            _ => {}
        }
    }

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        while self.next.is_some_and(|next| next <= now) {
            self.next = None;
            if let Some(name) = self.targets.pop() {
                // If there is no way, the event SessionFailed tells so, and this peer has the others.
                let _session = endpoint.open(now, Target::new(name, introducer()));
                self.next = Some(now + core::time::Duration::from_millis(500));
            }
        }
        if self.begins.is_some_and(|begins| begins <= now) {
            self.begins = None;
            self.hear(now, endpoint);
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.next.into_iter().chain(self.begins).min()
    }
}

/// Its identity, which is always the same for a number, and the name by which others look for it.
fn identity(number: u8) -> Result<(Arc<dyn CryptoProfile>, Vec<u8>), Error> {
    let mut rng = SimRandom::new(Key::mix(number.into(), "identity", "rumour"));
    // The smaller group, since nobody is to be kept from listening.
    let keys = StaticKeys::generate(&[Group::Modp1024], &mut rng);
    let profile = FlashProfile::builder().static_keys(keys).build(&mut rng)?;
    let name = Discriminator::new().fingerprint(profile.fingerprint()).to_bytes();
    Ok((Arc::new(profile), name))
}

fn node<A: App + 'static>(
    world: &mut World,
    name: &str,
    profile: Arc<dyn CryptoProfile>,
    app: A,
) -> Result<NodeId, Error> {
    let mut config = EndpointConfig::default();
    config.introduce = true;
    let rng = SimRandom::new(world.key(name, "endpoint"));
    let endpoint = Endpoint::new(config, profile, Box::new(rng), Instant::ORIGIN)?;
    Ok(world.add_host(name, EndpointNode::new(endpoint, app, PORT)))
}

/// When each peer heard the rumour, in seconds, and the hash of all that happened.
fn run(seed: u64) -> Result<(Vec<Option<f64>>, u128), Error> {
    let mut world = World::new(seed);
    let net = world.add_router("net");
    let line = |delay| LinkSpec::symmetric(vec![StageSpec::Delay(Duration::millis(delay))]);
    let lossy = LinkSpec::symmetric(vec![
        StageSpec::Loss(LossSpec::Random(Ppb::percent(5))),
        StageSpec::Delay(Duration::millis(20)),
    ]);

    let (profile, known) = identity(PEERS)?;
    let middle = node(&mut world, "introducer", profile, Introducer)?;
    world.connect("introducer", middle, net, &line(5));
    world.add_address(middle, 0, INTRODUCER.ip(), false);

    let mut peers = Vec::new();
    for number in 0..PEERS {
        let (profile, _) = identity(number)?;
        // Those three and five further on. The introducer comes first, and so last in the list.
        let mut targets = Vec::new();
        for step in [3, 5] {
            targets.push(identity((number + step) % PEERS)?.1);
        }
        targets.push(known.clone());
        let begins = (number == 0).then(|| Instant::from_millis(10_000));
        let next = Some(Instant::from_millis(u64::from(number) * 10));
        let app = Peer { targets, next, flows: Vec::new(), heard: None, begins };
        let peer = node(&mut world, &format!("peer{number}"), profile, app)?;
        let outside = IpAddr::from([198, 51, 100, number + 1]);
        let kind = NATS.get(usize::from(number) % NATS.len()).copied().unwrap_or(NatSpec::full_cone);
        let nat = world.add_nat(&format!("nat{number}"), kind(outside));
        world.connect(&format!("line{number}"), nat, net, &lossy);
        world.connect(&format!("home{number}"), nat, peer, &line(1));
        world.add_address(peer, 0, IpAddr::from([192, 168, 0, 2]), false);
        peers.push(peer);
    }

    world.run_until(Time(20_000_000_000))?;
    // One of them gets another address at home: its sessions go with it.
    if let Some(&moved) = peers.first() {
        world.rebind(moved, 0, IpAddr::from([192, 168, 0, 77]), InFlight::Lost, true);
    }
    world.run_until(Time(120_000_000_000))?;

    let heard = |&peer: &NodeId| world.node::<EndpointNode<Peer>>(peer).and_then(|node| node.app().heard);
    let times = peers.iter().map(heard).map(|heard| heard.map(|at| at.as_micros() as f64 / 1e6)).collect();
    Ok((times, world.hash()))
}

fn main() -> Result<ExitCode, Error> {
    let (heard, hash) = run(1)?;
    for (number, at) in heard.iter().enumerate() {
        match at {
            Some(at) => println!("peer {number:2} heard it at {at:.3} s"),
            None => println!("peer {number:2} never heard it"),
        }
    }
    println!("hash {hash:032x}");
    let told = heard.iter().flatten().collect::<Vec<_>>().len();
    if told < heard.len() {
        println!("{} did not hear it", heard.len() - told);
        return Ok(ExitCode::FAILURE);
    }
    if run(1)? != (heard, hash) {
        println!("a second run with the same seed was another");
        return Ok(ExitCode::FAILURE);
    }
    let others: BTreeSet<u128> = (2..5).map(|seed| run(seed).map(|(_, hash)| hash)).collect::<Result<_, _>>()?;
    println!("the same again with the same seed, and not with {} others", others.len());
    Ok(ExitCode::SUCCESS)
}
