//! What the doctor finds out about simulated NATs is what they are, and its verdicts on pairs are those of the simulator's
//! oracle, which knows the NATs and no protocol.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use datagram_sim::{Duration, Filtering, Hairpin, LinkSpec, Mapping, NatSpec, NodeId, Ports, StageSpec, Time, World};
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::{App, Endpoint, EndpointConfig, Event, Instant, InterfaceId, Path, Router, Target};
use rtmfp_meet::probe::{
    Behaviour, Bounds, Doctor, Findings, How, Incomplete, KeptFor, Lifetime, ProbeEvent, ProbeLimits, ProbePlace,
    ProbeService, Report, will_meet,
};
use rtmfp_sim::rtmfp::{EndpointNode, SimRandom};

const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)), 1_935);
const OTHER_PORT: SocketAddr = SocketAddr::new(SERVER.ip(), 1_936);
const OTHER_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 2)), 1_935);
const INSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 0, 2));
/// The client's ports, of its first socket and of the others.
const PORT: u16 = 5_000;

/// A client that opens a session with the server, and has a doctor look at its network.
#[derive(Default)]
struct Patient {
    local: Option<SocketAddr>,
    doctor: Option<Doctor>,
}

impl App for Patient {
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        self.doctor.iter_mut().for_each(|doctor| doctor.on_event(now, endpoint, event.clone()));
    }

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let Some(doctor) = &mut self.doctor else {
            let session = endpoint.open(now, Target::new("server", Path::new(InterfaceId(0), SERVER))).unwrap();
            self.doctor = Some(Doctor::new(session, Some(InterfaceId(1)), self.local));
            return;
        };
        doctor.on_wake(now, endpoint);
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.doctor.as_ref().and_then(Doctor::next_timeout)
    }
}

/// What the server has, and how lossy the line is.
#[derive(Clone, Copy)]
struct Setting {
    other_port: bool,
    other_address: bool,
    /// Probes for later that one source may have waiting.
    waiting: usize,
    loss: u64,
    seed: u64,
}

const ALL: Setting = Setting { other_port: true, other_address: true, waiting: 16, loss: 0, seed: 1 };

type Counts = Arc<Mutex<[u64; 3]>>;

fn node<A: App + 'static>(world: &World, name: &str, app: A, port: u16) -> EndpointNode<A> {
    let mut config = EndpointConfig::default();
    config.max_unmatched_hellos = 64;
    let profile = PlainProfile::new(name.as_bytes()).pretend_authentic(true);
    let rng = SimRandom::new(world.key(name, "endpoint"));
    let endpoint = Endpoint::new(config, Arc::new(profile), Box::new(rng), Instant::ORIGIN).unwrap();
    EndpointNode::new(endpoint, app, port)
}

/// A server with its places, and a line from the network to it.
fn serve(world: &mut World, net: NodeId, setting: Setting) -> Counts {
    let mut places = Vec::new();
    if setting.other_port {
        places.push(ProbePlace { interface: InterfaceId(7), address: OTHER_PORT });
    }
    if setting.other_address {
        places.push(ProbePlace { interface: InterfaceId(1), address: OTHER_ADDRESS });
    }
    let counts = Counts::default();
    let counted = Arc::clone(&counts);
    let observer = move |event| {
        let [sent, arrived, refused] = &mut *counted.lock().unwrap();
        *sent += u64::from(matches!(event, ProbeEvent::Sent { .. }));
        *arrived += u64::from(matches!(event, ProbeEvent::Arrived { .. }));
        *refused += u64::from(matches!(event, ProbeEvent::Refused { .. }));
    };
    let rng = Box::new(SimRandom::new(world.key("server", "tokens")));
    let mut limits = ProbeLimits::default();
    limits.waiting_per_source = setting.waiting;
    let service = ProbeService::new(limits, places, rng, observer);
    let router = Router::new().with(Box::new(service));
    let server = node(world, "server", router, SERVER.port()).with_socket(InterfaceId(7), 0, OTHER_PORT.port());
    let server = world.add_host("server", server);
    let line = LinkSpec::symmetric(vec![StageSpec::Delay(Duration::millis(15))]);
    world.connect("server", server, net, &line);
    world.connect("server's second line", server, net, &line);
    world.add_address(server, 0, SERVER.ip(), false);
    world.add_address(server, 1, OTHER_ADDRESS.ip(), false);
    counts
}

/// A client behind NATs, the nearest first.
fn place<A: App + 'static>(
    world: &mut World,
    net: NodeId,
    node: EndpointNode<A>,
    nats: &[NatSpec],
    loss: u64,
) -> NodeId {
    let host = world.add_host("client", node);
    let mut stages = vec![StageSpec::Delay(Duration::millis(20))];
    if loss > 0 {
        stages.push(StageSpec::Loss(datagram_sim::LossSpec::Random(datagram_sim::Ppb::percent(loss as u32))));
    }
    let line = LinkSpec::symmetric(stages);
    let home = LinkSpec::symmetric(vec![StageSpec::Delay(Duration::ZERO)]);
    // NATs number their outside first.
    let nats: Vec<NodeId> =
        nats.iter().zip(0..).map(|(nat, number)| world.add_nat(&format!("NAT {number}"), nat.clone())).collect();
    for (number, nat) in nats.iter().enumerate().rev() {
        match nats.get(number + 1) {
            Some(above) => world.connect(&format!("between {number}"), *nat, *above, &home),
            None => world.connect("line", *nat, net, &line),
        };
    }
    match nats.first() {
        Some(nat) => world.connect("home", *nat, host, &home),
        None => world.connect("line", host, net, &line),
    };
    host
}

fn outside(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, last))
}

fn examine(nats: &[NatSpec], setting: Setting) -> (Findings, [u64; 3]) {
    let mut world = World::new(setting.seed);
    let net = world.add_router("net");
    let counts = serve(&mut world, net, setting);
    let at = if nats.is_empty() { outside(9) } else { INSIDE };
    let patient = Patient { local: Some(SocketAddr::new(at, PORT)), doctor: None };
    let patient = node(&world, "client", patient, PORT).with_socket(InterfaceId(1), 0, PORT + 1);
    let host = place(&mut world, net, patient, nats, setting.loss);
    world.add_address(host, 0, at, false);
    world.run_until(Time(60_000_000_000)).unwrap();
    let node = world.node::<EndpointNode<Patient>>(host).unwrap();
    assert_eq!(node.violation(), None);
    let doctor = node.app().doctor.as_ref().unwrap();
    assert!(doctor.is_done() && doctor.incomplete().is_none(), "{doctor:?}");
    (*doctor.findings(), *counts.lock().unwrap())
}

const fn mapping(spec: Mapping) -> Behaviour {
    match spec {
        Mapping::EndpointIndependent => Behaviour::EndpointIndependent,
        Mapping::AddressDependent => Behaviour::AddressDependent,
        Mapping::AddressAndPortDependent => Behaviour::AddressAndPortDependent,
    }
}

const fn filtering(spec: Filtering) -> Behaviour {
    match spec {
        Filtering::EndpointIndependent => Behaviour::EndpointIndependent,
        Filtering::AddressDependent => Behaviour::AddressDependent,
        Filtering::AddressAndPortDependent => Behaviour::AddressAndPortDependent,
    }
}

const MAPPINGS: [Mapping; 3] =
    [Mapping::EndpointIndependent, Mapping::AddressDependent, Mapping::AddressAndPortDependent];
const FILTERINGS: [Filtering; 3] =
    [Filtering::EndpointIndependent, Filtering::AddressDependent, Filtering::AddressAndPortDependent];

/// All kinds of NATs, with random ports where they depend on the far end.
fn kinds(outside: IpAddr) -> Vec<NatSpec> {
    let all = MAPPINGS.into_iter().flat_map(|mapping| FILTERINGS.map(|filtering| (mapping, filtering)));
    let ports = |mapping| if mapping == Mapping::EndpointIndependent { Ports::PreserveOrRandom } else { Ports::Random };
    all.map(|(mapping, filtering)| NatSpec { mapping, filtering, ports: ports(mapping), ..NatSpec::new(outside) })
        .collect()
}

#[test]
fn the_doctor_sees_what_each_nat_is() {
    for spec in kinds(outside(1)) {
        for hairpin in [Hairpin::None, Hairpin::ExternalSource] {
            let spec = NatSpec { hairpin, ..spec.clone() };
            let (found, _) = examine(core::slice::from_ref(&spec), ALL);
            assert_eq!(found.mapping, Some(Bounds::exactly(mapping(spec.mapping))), "{spec:?}");
            assert_eq!(found.filtering, Some(Bounds::exactly(filtering(spec.filtering))), "{spec:?}");
            assert_eq!(found.is_translated(), Some(true));
            assert_eq!(found.port_preserved(), Some(spec.mapping == Mapping::EndpointIndependent), "{spec:?}");
            if hairpin == Hairpin::None || spec.mapping == Mapping::EndpointIndependent {
                assert_eq!(found.hairpin, Some(hairpin != Hairpin::None), "{spec:?}");
            }
            assert_eq!(found.ecn, Some(true));
            assert!(found.datagram == Some(1_452) && found.round_trip.is_some(), "{found:?}");
        }
    }
}

#[test]
fn without_a_nat_nothing_is_translated_or_filtered() {
    let (found, [sent, arrived, refused]) = examine(&[], ALL);
    let open = Some(Bounds::exactly(Behaviour::EndpointIndependent));
    assert_eq!((found.mapping, found.filtering), (open, open));
    assert_eq!((found.is_translated(), found.port_preserved(), found.hairpin), (Some(false), Some(true), None));
    assert_eq!([sent, arrived, refused], [2, 3, 0], "each probe once, as none is lost");
}

#[test]
fn of_two_nats_one_after_the_other_the_more_restrictive_counts() {
    let inner = IpAddr::V4(Ipv4Addr::new(100, 64, 0, 2));
    for (near, far) in [
        (NatSpec::full_cone(inner), NatSpec::symmetric(outside(1))),
        (NatSpec::symmetric(inner), NatSpec::full_cone(outside(1))),
        (NatSpec::address_restricted(inner), NatSpec::port_restricted(outside(1))),
    ] {
        let (found, _) = examine(&[near.clone(), far.clone()], ALL);
        let most = mapping(near.mapping).max(mapping(far.mapping));
        assert_eq!(found.mapping, Some(Bounds::exactly(most)), "{near:?} {far:?}");
        let most = filtering(near.filtering).max(filtering(far.filtering));
        assert_eq!(found.filtering, Some(Bounds::exactly(most)), "{near:?} {far:?}");
    }
}

#[test]
fn with_fewer_places_less_is_known_and_nothing_wrong() {
    for spec in kinds(outside(1)) {
        for (other_port, other_address) in [(true, false), (false, true), (false, false)] {
            let (found, _) = examine(core::slice::from_ref(&spec), Setting { other_port, other_address, ..ALL });
            let holds = |bounds: Option<Bounds>, truth: Behaviour| {
                bounds.is_none_or(|bounds| (bounds.least..=bounds.most).contains(&truth))
            };
            assert!(holds(found.mapping, mapping(spec.mapping)), "{spec:?} {found:?}");
            assert!(holds(found.filtering, filtering(spec.filtering)), "{spec:?} {found:?}");
            assert_eq!(found.mapping.is_some(), other_port || other_address);
            assert_eq!(found.filtering.is_some(), other_port || other_address);
        }
    }
}

#[test]
fn what_is_lost_on_the_way_makes_nothing_look_restrictive() {
    for seed in 0..40 {
        let (found, _) = examine(&[NatSpec::full_cone(outside(1))], Setting { loss: 5, seed, ..ALL });
        let open = Some(Bounds::exactly(Behaviour::EndpointIndependent));
        assert_eq!((found.mapping, found.filtering), (open, open), "seed {seed}");
    }
}

/// Whether the oracle says that two behind these NATs can meet directly.
fn can_meet(nats: [Option<NatSpec>; 2]) -> bool {
    let mut world = World::new(1);
    let net = world.add_router("net");
    serve(&mut world, net, ALL);
    let hosts = [1, 2].map(|last| {
        let name = format!("host {last}");
        let node = node(&world, &name, Router::new(), PORT);
        (last, world.add_host(&name, node))
    });
    let home = LinkSpec::symmetric(vec![StageSpec::Delay(Duration::millis(1))]);
    for ((last, host), nat) in hosts.into_iter().zip(nats) {
        match nat {
            Some(spec) => {
                let nat = world.add_nat(&format!("NAT {last}"), spec);
                world.connect(&format!("line {last}"), nat, net, &home);
                world.connect(&format!("home {last}"), nat, host, &home);
                world.add_address(host, 0, INSIDE, false);
            }
            None => {
                world.connect(&format!("line {last}"), host, net, &home);
                world.add_address(host, 0, outside(last), false);
            }
        }
    }
    world.direct_path_possible(hosts[0].1, hosts[1].1, false)
}

#[test]
fn the_verdicts_on_all_pairs_are_the_oracles() {
    // Who is behind which NAT, what the doctor found, and the NAT for the other one of a pair.
    let symmetric = NatSpec::symmetric;
    let all = |last| {
        let nats = kinds(outside(last)).into_iter().chain([symmetric(outside(last))]).map(Some);
        core::iter::once(None).chain(nats).collect::<Vec<_>>()
    };
    let reports: Vec<Report> = all(1)
        .iter()
        .map(|nat| {
            let mut report = Report::default();
            report.v4 = Some(examine(nat.as_slice(), ALL).0);
            report
        })
        .collect();
    let mut direct = 0;
    for (left, one) in all(1).into_iter().zip(&reports) {
        for (right, two) in all(2).into_iter().zip(&reports) {
            // The other one is at another address.
            let mut two = *two;
            two.v4
                .iter_mut()
                .for_each(|found| found.seen = found.seen.map(|seen| SocketAddr::new(outside(2), seen.port())));
            let (verdict, possible) = (will_meet(one, &two), can_meet([left.clone(), right.clone()]));
            let expected = if possible { How::Directly } else { How::Relay };
            assert_eq!(verdict.how, expected, "{left:?} and {right:?}: {}", verdict.reason);
            direct += u32::from(possible);
        }
    }
    assert!((40..100).contains(&direct), "{direct} of 121 pairs");
}

/// Waits at the end of a test: a client with a socket for each pause.
fn kept_for(timeout: u64, inbound_refresh: bool, setting: Setting) -> (Option<KeptFor>, Option<Incomplete>) {
    let mut world = World::new(3);
    let net = world.add_router("net");
    serve(&mut world, net, setting);
    let pauses = [15, 30, 60, 120, 180, 300];
    let interfaces = pauses
        .into_iter()
        .zip(1..)
        .map(|(seconds, number)| (InterfaceId(number), core::time::Duration::from_secs(seconds)));
    let app = Lifetime::new("server", SERVER, interfaces);
    let mut client = node(&world, "client", app, PORT);
    for number in 1..=6 {
        client = client.with_socket(InterfaceId(number), 0, PORT + number);
    }
    let nat = NatSpec { timeout: Duration::secs(timeout), inbound_refresh, ..NatSpec::port_restricted(outside(1)) };
    let host = place(&mut world, net, client, &[nat], 0);
    world.add_address(host, 0, INSIDE, false);
    world.run_until(Time(330_000_000_000)).unwrap();
    let node = world.node::<EndpointNode<Lifetime>>(host).unwrap();
    assert!(node.app().is_done(), "{:?}", node.app());
    (node.app().kept_for(), node.app().incomplete())
}

#[test]
fn how_long_a_mapping_is_kept_is_found_within_the_steps_of_the_pauses() {
    let seconds = core::time::Duration::from_secs;
    for (timeout, at_least, less_than) in
        [(10, 0, Some(15)), (45, 30, Some(60)), (125, 120, Some(180)), (900, 300, None)]
    {
        for inbound_refresh in [false, true] {
            let expected = KeptFor { at_least: seconds(at_least), less_than: less_than.map(seconds) };
            assert_eq!(kept_for(timeout, inbound_refresh, ALL), (Some(expected), None), "{timeout} s");
        }
    }
}

/// After a refusal all that had not passed counted as too long.
#[test]
fn of_a_pause_that_the_server_refuses_nothing_is_told() {
    let (kept, incomplete) = kept_for(900, false, Setting { waiting: 3, ..ALL });
    assert_eq!(kept, None);
    assert!(matches!(incomplete, Some(Incomplete::Refused(_, seconds)) if seconds > 0), "{incomplete:?}");
}
