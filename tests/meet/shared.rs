//! Guests that share an endpoint, or a session, with others.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use datagram_sim::{LinkSpec, NatSpec, StageSpec};
use rtmfp_core::{App, Endpoint, EndpointConfig, Event, Instant, InterfaceId, Path, Router, Service as _, Target};
use rtmfp_meet::{Everybody, Guest, GuestOptions, Limits, PathPolicy, RelayLimits, ServerEvent};
use rtmfp_sim::rtmfp::{EndpointNode, SimRandom};

use super::guest::{PORT, SERVER};
use super::script::{Script, add, attach, replace, run, serve, world_with};
use super::{node, server_config};

const OTHER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 2)), PORT);

/// Two guests of two servers. The first connects.
struct Both {
    guests: [Guest; 2],
    whom: Option<&'static str>,
    /// When it pings all far ends, to find out whether they are there.
    pings: Option<Instant>,
}

impl App for Both {
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        self.guests.iter_mut().for_each(|guest| _ = guest.offer(now, endpoint, &event));
    }

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.guests.iter_mut().for_each(|guest| guest.on_wake(now, endpoint));
        if now >= Instant::from_millis(1_000)
            && let Some(whom) = self.whom.take()
        {
            self.guests[0].connect(now, endpoint, whom.as_bytes(), PathPolicy::Any);
        }
        if self.pings.is_some_and(|at| at <= now) {
            self.pings = None;
            let sessions: Vec<_> = endpoint.sessions().collect();
            sessions.into_iter().for_each(|session| endpoint.session_mut(now, session).unwrap().ping());
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        let begin = self.whom.map(|_| Instant::from_millis(1_000));
        self.guests.iter().filter_map(Guest::next_timeout).chain(begin).chain(self.pings).min()
    }

    fn carries(&self, interface: InterfaceId) -> bool {
        self.guests.iter().any(|guest| guest.carries(interface))
    }

    fn carry(&mut self, now: Instant, endpoint: &mut Endpoint, path: Path, datagram: &[u8]) {
        if let Some(guest) = self.guests.iter_mut().find(|guest| guest.carries(path.interface)) {
            guest.carry(now, endpoint, path, datagram);
        }
    }
}

/// Ada meets Ben through one server, and is at another with a guest that may only be relayed to.
#[test]
fn a_guest_leaves_sessions_of_others_alone_and_its_server_hears_nothing_of_them() {
    let mut limits = Limits::default();
    limits.relay = Some(RelayLimits::default());
    let (mut world, net, _) = world_with(limits, Everybody);
    // It relays nothing, and tells of whoever asks.
    let (router, log) = serve(&world, Limits::default(), Everybody);
    let other = node(&mut world, "other", server_config(), router);
    attach(&mut world, "other", other, net, OTHER.ip());
    let guest = |number, name, at, policy| {
        let mut options = GuestOptions::default();
        options.policy = policy;
        let rng = SimRandom::new(world.key(name, "ada"));
        Guest::new(number, Target::new(name, Path::new(InterfaceId(0), at)), options, Box::new(rng))
    };
    let guests = [guest(0, "server", SERVER, PathPolicy::Any), guest(1, "other", OTHER, PathPolicy::RelayOnly)];
    let pings = Some(Instant::from_millis(10_000));
    let ada = node(&mut world, "ada", EndpointConfig::default(), Both { guests, whom: Some("ben"), pings });
    attach(&mut world, "ada", ada, net, [198, 51, 100, 1].into());
    let nat = world.add_nat("NAT", NatSpec::full_cone([198, 51, 100, 2].into()));
    let line = LinkSpec::symmetric(vec![StageSpec::Delay(datagram_sim::Duration::millis(10))]);
    world.connect("line", nat, net, &line);
    // Ben speaks after his NAT has given him another port.
    let ben = Script::new(&world, "ben", GuestOptions::default()).at(6_000, |_, now, endpoint| {
        let sessions: Vec<_> = endpoint.sessions().collect();
        sessions.into_iter().for_each(|session| endpoint.session_mut(now, session).unwrap().ping());
    });
    add(&mut world, nat, "ben", 9, ben);
    let place = |world: &datagram_sim::World| {
        let endpoint = world.node::<EndpointNode<Both>>(ada).unwrap().endpoint();
        let ben = endpoint.session_named(b"ben").and_then(|ben| endpoint.session(ben)).unwrap();
        ben.path().unwrap().remote
    };
    run(&mut world, 5);
    let before = place(&world);
    world.flush_nat(nat, true);
    run(&mut world, 8);
    assert_ne!(place(&world), before, "Ada's session follows Ben");
    // Now he is gone: it is for the first server alone to help.
    let ben = world.find("ben").unwrap();
    replace(&mut world, ben, Router::new());
    run(&mut world, 60);
    let is_refused = |event: &ServerEvent| matches!(event, ServerEvent::Refused { .. });
    assert!(!log.lock().unwrap().iter().any(is_refused), "{:?}", log.lock().unwrap());
}
