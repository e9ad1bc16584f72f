//! An end whose network changes keeps its sessions, whichever way the data goes.
//!
//! What is measured is printed: `cargo test -p rtmfp-std --test mobility -- --nocapture`. It counts from the start of the
//! `ip` program that makes the last change, and includes its 5 ms or so. Measured with a debug build on two busy cores,
//! over a round trip of 40 ms, for both families and both directions:
//!
//! - There is another address, or another socket: 80 to 135 ms. The far end follows after one and a half round trips.
//! - An address comes after an outage: 45 to 140 ms.
//! - A link comes up after an outage: 45 to 125 ms. Up to 290 ms if a timer of the sender fired shortly before: what it
//!   sent is waited for.
//! - The responder's address is removed, over a wire without delay: 4 to 13 ms.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

mod relay;
mod world;

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;

use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::{EndpointConfig, FlowOptions, Instant};
use rtmfp_std::{Clock, Endpoint, Session};

use relay::Relay;
use world::{Family, World};

/// Longer than this nothing may come while the network works: far more than it takes.
const LIMIT: Duration = Duration::from_secs(2);
/// Nothing comes for so long: it is an outage.
const OUTAGE: Duration = Duration::from_millis(400);
const MESSAGE: usize = 1_000;
/// Half of a round trip.
const DELAY: Duration = Duration::from_millis(20);

/// Which end moves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mobile {
    Sender,
    Receiver,
}

fn endpoint(host: &str, name: &'static str, addresses: Vec<SocketAddr>) -> Endpoint {
    World::on(host, move || {
        let profile = PlainProfile::new(name.as_bytes()).pretend_authentic(true);
        Endpoint::bind(EndpointConfig::default(), Arc::new(profile), &addresses).unwrap()
    })
}

/// A stream of numbered messages over a session, some every millisecond, and when they arrive.
struct Stream {
    arrivals: Receiver<Instant>,
    stop: Sender<()>,
    threads: Vec<thread::JoinHandle<u64>>,
}

impl Stream {
    fn start(clock: Clock, from: &Session, to: &Session) -> Self {
        let flow = from.open_flow(FlowOptions::new("numbers"));
        let (stop, stopped) = channel();
        let sender = thread::spawn(move || {
            let mut number = 0;
            while stopped.recv_timeout(Duration::from_millis(1)) == Err(RecvTimeoutError::Timeout) {
                for _ in 0..4 {
                    let mut message = vec![0; MESSAGE];
                    message[..8].copy_from_slice(&u64::to_be_bytes(number));
                    flow.send(message).unwrap();
                    number += 1;
                }
            }
            flow.finish().unwrap();
            number
        });
        let (arrived, arrivals) = channel();
        let to = to.clone();
        let receiver = thread::spawn(move || {
            let flow = to.accept_flow().unwrap();
            let mut number = 0;
            while let Some(message) = flow.recv().unwrap() {
                assert_eq!(message.data[..8], u64::to_be_bytes(number), "none is lost, and all are in order");
                number += 1;
                arrived.send(clock.now()).unwrap();
            }
            number
        });
        Self { arrivals, stop, threads: vec![sender, receiver] }
    }

    fn skip(&self, count: usize) {
        for _ in 0..count {
            self.arrivals.recv_timeout(LIMIT).unwrap();
        }
    }

    /// Waits until nothing has come for a while.
    fn wait_for_outage(&self) {
        while self.arrivals.recv_timeout(OUTAGE).is_ok() {}
    }

    /// How long nothing came after `since`, at most, within the time in which an outage would show.
    fn stall_since(&self, since: Instant) -> Duration {
        let (mut stall, mut last) = (Duration::ZERO, since);
        while last < since + OUTAGE {
            let at = self.arrivals.recv_timeout(LIMIT).unwrap();
            if at > last {
                stall = stall.max(at.saturating_duration_since(last));
                last = at;
            }
        }
        stall
    }

    /// All that was sent has arrived, and both ends agree on that.
    fn end(self) {
        self.stop.send(()).unwrap();
        let counts: Vec<u64> = self.threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(counts[0] > 0 && counts[0] == counts[1], "{counts:?}");
    }
}

/// A session between the hosts of a world.
struct Pair {
    near: Session,
    far: Session,
    relay: Option<Relay>,
    _ends: (Endpoint, Endpoint),
}

impl Pair {
    /// The near host begins the session, over a long way.
    fn new(world: &World, family: Family, explicit: bool) -> Self {
        let unspecified = SocketAddr::new(family.unspecified(), 0);
        let own = [0, 1].map(|wire| SocketAddr::new(family.address(wire, 1), 0));
        let near = endpoint(&world.near, "near", if explicit { own.to_vec() } else { vec![unspecified] });
        let far = endpoint(&world.far, "far", vec![SocketAddr::new(family.loopback(), 0)]);
        let (service, behind) = (world.service(0), far.local_addrs()[0]);
        let relay = World::on(&world.far, move || Relay::start(service, behind, DELAY));
        let session = near.connect("far", &[relay.address]).unwrap();
        let accepted = far.accept().unwrap();
        Self { near: session, far: accepted, relay: Some(relay), _ends: (near, far) }
    }

    /// The far host begins the session, over the wire alone.
    fn begun_by_far(world: &World, family: Family) -> Self {
        let unspecified = SocketAddr::new(family.unspecified(), 0);
        let near = endpoint(&world.near, "near", vec![unspecified]);
        // Its datagrams come from an address that both wires lead to.
        let far = endpoint(&world.far, "far", vec![world.service(0)]);
        let there = SocketAddr::new(family.address(0, 1), near.local_addrs()[0].port());
        let session = far.connect("near", &[there]).unwrap();
        let accepted = near.accept().unwrap();
        Self { near: accepted, far: session, relay: None, _ends: (near, far) }
    }

    fn stream(&self, world: &World, mobile: Mobile) -> Stream {
        let (from, to) = match mobile {
            Mobile::Sender => (&self.near, &self.far),
            Mobile::Receiver => (&self.far, &self.near),
        };
        let stream = Stream::start(world.clock, from, to);
        stream.skip(400);
        stream
    }

    /// The wire that the near host uses.
    fn wire(&self, family: Family) -> u8 {
        let address = self.relay.as_ref().unwrap().client().ip();
        if address == family.address(0, 1) { 0 } else { 1 }
    }
}

/// Runs a case for both families and both directions.
fn cases(what: &str, case: impl Fn(&World, Family, Mobile) -> Duration) {
    for family in [Family::V4, Family::V6] {
        for mobile in [Mobile::Sender, Mobile::Receiver] {
            let Some(world) = World::new(family) else { return };
            let stall = case(&world, family, mobile);
            println!("{what}, {family:?}, at the {mobile:?}: nothing came for {stall:?}");
            assert!(stall < LIMIT, "{what}, {family:?}, at the {mobile:?}: nothing came for {stall:?}");
        }
    }
}

#[test]
fn an_address_goes_and_there_is_another() {
    cases("the address was removed", |world, family, mobile| {
        let pair = Pair::new(world, family, false);
        let stream = pair.stream(world, mobile);
        world.remove(0, 1).unwrap();
        let stall = stream.stall_since(world.changed());
        stream.end();
        stall
    });
}

#[test]
fn an_address_of_a_responder_goes_and_there_is_another() {
    cases("the responder's address was removed", |world, family, mobile| {
        let pair = Pair::begun_by_far(world, family);
        let stream = pair.stream(world, mobile);
        world.remove(0, 1).unwrap();
        let stall = stream.stall_since(world.changed());
        stream.end();
        stall
    });
}

#[test]
fn an_address_goes_and_another_comes_later() {
    cases("another address came after an outage", |world, family, mobile| {
        world.switch(1, false).unwrap();
        let pair = Pair::new(world, family, false);
        let stream = pair.stream(world, mobile);
        world.remove(0, 1).unwrap();
        stream.wait_for_outage();
        world.add(0, 3).unwrap();
        let stall = stream.stall_since(world.changed());
        stream.end();
        stall
    });
}

#[test]
fn a_link_goes_down_and_up() {
    cases("the link came up after an outage", |world, family, mobile| {
        world.switch(1, false).unwrap();
        let pair = Pair::new(world, family, false);
        let stream = pair.stream(world, mobile);
        world.switch(0, false).unwrap();
        stream.wait_for_outage();
        world.switch(0, true).unwrap();
        let stall = stream.stall_since(world.changed());
        stream.end();
        stall
    });
}

#[test]
fn the_address_of_a_socket_goes_and_another_socket_reaches_the_far_end() {
    cases("the socket's address was removed", |world, family, mobile| {
        let pair = Pair::new(world, family, true);
        let wire = pair.wire(family);
        let stream = pair.stream(world, mobile);
        world.remove(wire, 1).unwrap();
        let stall = stream.stall_since(world.changed());
        stream.end();
        stall
    });
}

#[test]
fn the_only_address_of_a_socket_goes_and_comes_again() {
    cases("the socket's address came again after an outage", |world, family, mobile| {
        let pair = Pair::new(world, family, true);
        let wire = pair.wire(family);
        let stream = pair.stream(world, mobile);
        world.remove(1 - wire, 1).unwrap();
        world.remove(wire, 1).unwrap();
        stream.wait_for_outage();
        world.add(wire, 1).unwrap();
        let stall = stream.stall_since(world.changed());
        stream.end();
        stall
    });
}
