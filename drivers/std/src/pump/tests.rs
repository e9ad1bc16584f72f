use std::sync::Arc;

use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::{EndpointConfig, Event, FlowOptions, Path, SendFlowHandle, Target};

use super::*;
use crate::system_rng;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod error_queue;

/// Reads whatever comes.
#[derive(Debug, Default)]
struct Reader {
    messages: usize,
}

impl App for Reader {
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        if let Event::FlowReadable { flow } = event
            && let Some(mut flow) = endpoint.recv_flow_mut(now, flow)
        {
            self.messages += core::iter::from_fn(|| flow.read()).count();
        }
    }
}

fn pump(name: &str, sockets: usize) -> Pump {
    let (profile, clock) = (Arc::new(PlainProfile::new(name.as_bytes()).pretend_authentic(true)), Clock::new());
    let endpoint = Endpoint::new(EndpointConfig::default(), profile, system_rng().unwrap(), clock.now()).unwrap();
    let sockets = (0..sockets).map(|_| Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap());
    Pump::new(endpoint, clock, sockets.collect())
}

/// A flow of `near` over one of its interfaces to `far`.
fn flow(near: &mut Pump, interface: u16, far: &Pump, name: &str) -> SendFlowHandle {
    let now = near.clock.now();
    let path = Path::new(InterfaceId(interface), far.local_addr(InterfaceId(0)).unwrap());
    let session = near.endpoint.open(now, Target::new(name.as_bytes().to_vec(), path)).unwrap();
    near.endpoint.session_mut(now, session).unwrap().open_flow(FlowOptions::new("x")).unwrap()
}

fn write(pump: &mut Pump, flow: SendFlowHandle) {
    let now = pump.clock.now();
    pump.endpoint.send_flow_mut(now, flow).unwrap().write("hello").unwrap();
}

impl Pump {
    /// One whose first socket holds a flight back.
    pub(crate) fn blocked() -> Self {
        let (mut near, far) = (pump("near", 2), pump("far", 1));
        near.interfaces[0].socket.as_mut().unwrap().outgoing.full = true;
        flow(&mut near, 0, &far, "far");
        near.turn(&mut Reader::default()).unwrap();
        assert!(near.is_blocked(InterfaceId(0)));
        near
    }

    /// One whose only socket cannot receive.
    pub(crate) fn failing(kind: io::ErrorKind) -> Self {
        let mut near = pump("near", 1);
        near.fail(0, Some(kind));
        near
    }
}

/// A full socket stopped all others, and their acknowledgements.
#[test]
fn a_full_socket_keeps_its_flight_and_holds_back_no_other() {
    let (mut near, mut one, mut two) = (pump("near", 2), pump("one", 1), pump("two", 1));
    let (mut idle, mut at_one, mut at_two) = (Reader::default(), Reader::default(), Reader::default());
    let flows = [flow(&mut near, 0, &one, "one"), flow(&mut near, 1, &two, "two")];
    let mut run = |near: &mut Pump, from_one: usize, from_two: usize| {
        let end = near.clock.now() + core::time::Duration::from_secs(60);
        while at_one.messages < from_one || at_two.messages < from_two {
            assert!(near.clock.now() < end, "it hangs: {} and {}", at_one.messages, at_two.messages);
            near.turn(&mut idle).unwrap();
            one.turn(&mut at_one).unwrap();
            two.turn(&mut at_two).unwrap();
            std::thread::yield_now();
        }
        (at_one.messages, at_two.messages)
    };
    flows.iter().for_each(|flow| write(&mut near, *flow));
    assert_eq!(run(&mut near, 1, 1), (1, 1));

    near.interfaces[0].socket.as_mut().unwrap().outgoing.full = true;
    flows.iter().for_each(|flow| write(&mut near, *flow));
    assert_eq!(run(&mut near, 1, 2), (1, 2));
    let turn = near.turn(&mut Reader::default()).unwrap();
    assert!(turn.blocked && !turn.done);
    assert!(near.is_blocked(InterfaceId(0)) && !near.is_blocked(InterfaceId(1)));

    near.interfaces[0].socket.as_mut().unwrap().outgoing.full = false;
    let sends = near.stats().sends;
    let turn = near.turn(&mut Reader::default()).unwrap();
    assert!(near.stats().sends > sends && !turn.blocked, "the flight was kept");
    assert_eq!(run(&mut near, 2, 2), (2, 2));
    assert_eq!(near.stats().send_errors, 0);
}

/// Runs pumps in turns until `done`.
fn run(pumps: &mut [(&mut Pump, &mut Reader)], mut done: impl FnMut(&[(&mut Pump, &mut Reader)]) -> bool) {
    let clock = Clock::new();
    while !done(pumps) {
        assert!(clock.now() < Instant::ORIGIN + core::time::Duration::from_secs(60), "it hangs");
        for (pump, app) in pumps.iter_mut() {
            pump.turn(*app).unwrap();
        }
        std::thread::yield_now();
    }
}

fn interface_of(pump: &Pump) -> InterfaceId {
    let session = pump.endpoint.sessions().next().unwrap();
    pump.endpoint.session(session).unwrap().path().unwrap().interface
}

/// It ended the driver, and all its sessions.
#[test]
fn a_socket_that_fails_is_bound_again_and_its_sessions_go_on() {
    let (mut near, mut far) = (pump("near", 1), pump("far", 1));
    let (mut at_near, mut at_far) = (Reader::default(), Reader::default());
    let flow = flow(&mut near, 0, &far, "far");
    write(&mut near, flow);
    run(&mut [(&mut near, &mut at_near), (&mut far, &mut at_far)], |ends| ends[1].1.messages == 1);
    let (address, version) = (near.local_addr(InterfaceId(0)), near.sockets_version());
    near.interfaces[0].socket.as_mut().unwrap().failing = Some(io::ErrorKind::NotConnected);
    let turn = near.turn(&mut at_near).unwrap();
    assert_eq!((near.stats().socket_failures, near.sockets().count()), (1, 0));
    assert!(near.sockets_version() > version && turn.deadline.is_some());
    write(&mut near, flow);
    run(&mut [(&mut near, &mut at_near), (&mut far, &mut at_far)], |ends| ends[1].1.messages == 2);
    assert_eq!(near.local_addr(InterfaceId(0)), address);
}

#[test]
fn a_driver_ends_when_its_last_socket_can_not_be_bound_again() {
    let mut near = pump("near", 2);
    for index in 0..2 {
        near.interfaces[index].socket.as_mut().unwrap().failing = Some(io::ErrorKind::NotConnected);
    }
    let clock = Clock::new();
    // Both in one turn: each was noted only if no other failed after it.
    near.turn(&mut Reader::default()).unwrap();
    assert_eq!((near.stats().socket_failures, near.sockets().count()), (2, 0));
    near.forbid_binding(io::ErrorKind::PermissionDenied);
    let error = loop {
        match near.turn(&mut Reader::default()) {
            Ok(_) => assert!(clock.now() < Instant::ORIGIN + core::time::Duration::from_secs(60), "it hangs"),
            Err(error) => break error,
        }
        std::thread::yield_now();
    };
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
}

#[test]
fn sessions_of_a_removed_interface_go_on_over_another_and_identifiers_stay() {
    let (mut near, mut far) = (pump("near", 1), pump("far", 1));
    let (mut at_near, mut at_far) = (Reader::default(), Reader::default());
    let flow = flow(&mut near, 0, &far, "far");
    write(&mut near, flow);
    run(&mut [(&mut near, &mut at_near), (&mut far, &mut at_far)], |ends| ends[1].1.messages == 1);
    let other_family = near.add_socket(Socket::bind("[::1]:0".parse().unwrap()).unwrap()).unwrap();
    let other = near.add_socket(Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap()).unwrap();
    assert_eq!((other_family, other), (InterfaceId(1), InterfaceId(2)));
    near.interfaces[0].socket.as_mut().unwrap().outgoing.full = true;
    write(&mut near, flow);
    near.turn(&mut at_near).unwrap();
    assert!(near.is_blocked(InterfaceId(0)));
    assert!(near.remove_interface(InterfaceId(0)) && !near.remove_interface(InterfaceId(0)));
    assert_eq!((interface_of(&near), near.local_addr(InterfaceId(0))), (other, None));
    run(&mut [(&mut near, &mut at_near), (&mut far, &mut at_far)], |ends| ends[1].1.messages == 2);
    let ids: Vec<InterfaceId> = near.sockets().map(|(id, _)| id).collect();
    assert_eq!(ids, [other_family, other]);
    assert!(!near.replace_socket(InterfaceId(0), Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap()));
}

#[test]
fn the_far_end_follows_a_session_to_another_socket() {
    let (mut near, mut far) = (pump("near", 1), pump("far", 1));
    let (mut at_near, mut at_far) = (Reader::default(), Reader::default());
    let flow = flow(&mut near, 0, &far, "far");
    write(&mut near, flow);
    run(&mut [(&mut near, &mut at_near), (&mut far, &mut at_far)], |ends| ends[1].1.messages == 1);
    let socket = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr();
    assert!(near.replace_socket(InterfaceId(0), socket));
    assert_eq!(near.local_addr(InterfaceId(0)), Some(address));
    write(&mut near, flow);
    run(&mut [(&mut near, &mut at_near), (&mut far, &mut at_far)], |ends| {
        let endpoint = &ends[1].0.endpoint;
        let session = endpoint.sessions().next().unwrap();
        let followed = endpoint.session(session).unwrap().path().unwrap().remote == address;
        followed && ends[1].1.messages == 2
    });
}

impl Pump {
    fn fail(&mut self, index: usize, kind: Option<io::ErrorKind>) {
        self.interfaces[index].socket.as_mut().unwrap().failing = kind;
    }
}

/// It was bound again ten times a second, for ever.
#[test]
fn a_socket_that_fails_whenever_it_is_bound_waits_longer_each_time_and_is_given_up() {
    let mut near = pump("near", 1);
    let mut now = near.clock.now();
    let mut waits = Vec::new();
    let error = loop {
        near.failed(now, InterfaceId(0), io::ErrorKind::NotConnected.into());
        let at = near.next_rebind().unwrap();
        waits.push(at.saturating_duration_since(now).as_millis());
        if let Some(error) = near.hopeless() {
            break error;
        }
        // A change of the network does not make it sooner, but for the first time.
        near.rebind_after_change(now, InterfaceId(0));
        assert_eq!(near.next_rebind().is_none(), waits.len() == 1);
        now = at;
        near.rebind_due(now);
        assert_eq!(near.sockets().count(), 1);
    };
    assert_eq!(error.kind(), io::ErrorKind::NotConnected);
    assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000]);
    assert_eq!((near.stats().socket_failures, near.stats().rebinds), (8, 7));
}

#[test]
fn a_socket_that_has_worked_for_long_before_it_fails_is_bound_again_soon() {
    let mut near = pump("near", 1);
    let mut now = near.clock.now();
    for _ in 0..20 {
        now += core::time::Duration::from_secs(60);
        near.failed(now, InterfaceId(0), io::ErrorKind::NotConnected.into());
        assert_eq!(near.next_rebind(), Some(now + core::time::Duration::from_millis(100)));
        assert!(near.hopeless().is_none());
        now += core::time::Duration::from_millis(100);
        near.rebind_due(now);
    }
    assert_eq!(near.stats().rebinds, 20);
}

/// It was waited for without end.
#[test]
fn a_port_of_the_systems_choice_that_another_program_has_taken_is_given_up_for_another() {
    for (asked, moves) in [("127.0.0.1:0", true), ("127.0.0.1", false)] {
        let mut near = pump("near", 0);
        let asked = asked.parse().unwrap_or_else(|_| {
            // A port that is free, by its number.
            std::net::UdpSocket::bind((asked, 0)).unwrap().local_addr().unwrap()
        });
        near.add_socket(Socket::bind(asked).unwrap()).unwrap();
        let (mut now, before) = (near.clock.now(), near.local_addr(InterfaceId(0)).unwrap());
        near.failed(now, InterfaceId(0), io::ErrorKind::NotConnected.into());
        let other = std::net::UdpSocket::bind(before).unwrap();
        // Changes of the network are no trials: another program may be gone soon.
        (0..20).for_each(|_| near.rebind_after_change(now, InterfaceId(0)));
        for _ in 0..8 {
            let Some(at) = near.next_rebind() else { break };
            now = at;
            near.rebind_due(now);
        }
        let after = near.local_addr(InterfaceId(0));
        assert_eq!((after.is_some(), near.stats().port_changes), (moves, u64::from(moves)));
        assert!(after != Some(before) && near.next_rebind().is_none_or(|_| !moves));
        drop(other);
        if !moves {
            near.rebind_due(near.next_rebind().unwrap());
            assert_eq!(near.local_addr(InterfaceId(0)), Some(before), "the program asked for this one");
        }
    }
}

/// They told the port that another program had, for ever.
#[test]
fn handles_tell_the_port_that_a_socket_has_now() {
    let profile = Arc::new(PlainProfile::new(b"near"));
    let builder = crate::Endpoint::builder().profile(profile).bind("127.0.0.1:0".parse().unwrap());
    let (mut near, _app, handle) = builder.parts(|| {}).unwrap();
    let before = handle.local_addrs();
    near.failed(near.clock.now(), InterfaceId(0), io::ErrorKind::NotConnected.into());
    let _other = std::net::UdpSocket::bind(before[0]).unwrap();
    assert_eq!(handle.local_addrs(), before, "it may be bound there again");
    while let Some(at) = near.next_rebind() {
        near.rebind_due(at);
    }
    assert_eq!(near.stats().port_changes, 1);
    assert_eq!(handle.local_addrs(), [near.local_addr(InterfaceId(0)).unwrap()]);
    assert_ne!(handle.local_addrs(), before);
    let added = near.add_socket(Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap()).unwrap();
    near.remove_interface(InterfaceId(0));
    assert_eq!(handle.local_addrs(), [near.local_addr(added).unwrap()]);
}

/// The sockets of a program were bound again as plain ones.
#[test]
fn the_socket_of_a_program_is_bound_again_as_it_was_set_last() {
    let mut near = pump("near", 0);
    let given = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    near.add_socket(Socket::from_std(given).unwrap()).unwrap();
    let hops = |near: &Pump| near.sockets().next().unwrap().1.std_socket().ttl().unwrap();
    near.sockets().next().unwrap().1.std_socket().set_ttl(7).unwrap();
    near.failed(near.clock.now(), InterfaceId(0), io::ErrorKind::NotConnected.into());
    near.rebind_due(near.next_rebind().unwrap());
    assert_eq!(hops(&near), 7);
}

/// The driver turned without end and without a wait. Then a socket had failed after microseconds of a shortage.
#[test]
fn a_receive_error_that_does_not_pass_is_the_failure_of_the_socket() {
    use core::time::Duration;

    let mut near = Pump::failing(io::ErrorKind::OutOfMemory);
    let (begun, mut waits) = (near.clock.now(), Vec::new());
    while near.stats().socket_failures == 0 {
        let before = near.stats().receive_errors;
        let turn = near.turn(&mut Reader::default()).unwrap();
        assert!(!turn.more || near.stats().socket_failures > 0, "it spins");
        assert!(!near.is_receiving(InterfaceId(0)));
        let wait = near.clock.until(turn.deadline.unwrap());
        assert!(wait <= Duration::from_millis(100));
        if near.stats().receive_errors > before {
            waits.push(wait);
        }
        assert!(near.clock.now() < begun + Duration::from_secs(60), "it never fails");
        std::thread::yield_now();
    }
    // It is tried less and less often, but again and again.
    assert!((16..100).contains(&waits.len()) && near.clock.now() >= begun + Duration::from_secs(1), "{waits:?}");
    assert_eq!(near.stats().receive_errors, waits.len() as u64, "one in a trial");
    assert_eq!((near.stats().socket_failures, near.sockets().count()), (1, 0));

    // What tells of a datagram of its own does not end a socket: others can cause that.
    near.rebind_due(near.next_rebind().unwrap());
    for _ in 0..100 {
        near.fail(0, Some(io::ErrorKind::ConnectionRefused));
        near.turn(&mut Reader::default()).unwrap();
    }
    // Nor do errors that pass, of which one is what ICMPv6 tells of a firewall.
    for index in 0..100 {
        let kind = if index % 2 == 0 { io::ErrorKind::Other } else { io::ErrorKind::PermissionDenied };
        near.fail(0, Some(kind));
        near.turn(&mut Reader::default()).unwrap();
        near.fail(0, None);
        while !near.is_receiving(InterfaceId(0)) {
            near.turn(&mut Reader::default()).unwrap();
        }
    }
    assert_eq!((near.stats().socket_failures, near.sockets().count()), (1, 1));
}

/// What was to be sent over an interface that is gone, or to the other family, was lost: a candidate of a redirect has
/// the interface that the redirect came to.
#[test]
fn what_has_no_session_yet_leaves_over_an_interface_that_there_is() {
    for (locals, remote) in [(["127.0.0.1:0", "127.0.0.1:0"], "127.0.0.1:0"), (["127.0.0.1:0", "[::1]:0"], "[::1]:0")] {
        let (mut near, mut far) = (pump("near", 0), pump("far", 0));
        for local in locals {
            near.add_socket(Socket::bind(local.parse().unwrap()).unwrap()).unwrap();
        }
        far.add_socket(Socket::bind(remote.parse().unwrap()).unwrap()).unwrap();
        let flow = flow(&mut near, 0, &far, "far");
        if locals[0] == locals[1] {
            near.remove_interface(InterfaceId(0));
        }
        write(&mut near, flow);
        let (mut at_near, mut at_far) = (Reader::default(), Reader::default());
        run(&mut [(&mut near, &mut at_near), (&mut far, &mut at_far)], |ends| ends[1].1.messages == 1);
        assert_eq!(interface_of(&near), InterfaceId(1));
        assert!(near.stats().substitutions > 0 && near.stats().send_errors == 0);
    }
}
