//! An asynchronous endpoint whose network changes keeps its sessions. What is measured is printed; the blocking driver's
//! tests have all cases, and the network.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

#[path = "../../std/tests/mobility/world.rs"]
#[allow(dead_code, reason = "the blocking driver's tests use all of it")]
mod world;

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;

use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::{EndpointConfig, FlowOptions};
use rtmfp_smol::Endpoint;

use world::{Family, World};

/// Longer than this nothing may come: far more than it takes.
const LIMIT: Duration = Duration::from_secs(2);

/// An endpoint in a host's namespace, and a thread there that drives it.
fn endpoint(host: &str, name: &'static str, address: SocketAddr) -> Endpoint {
    World::on(host, move || {
        let profile = PlainProfile::new(name.as_bytes()).pretend_authentic(true);
        let (endpoint, driver) = Endpoint::bind(EndpointConfig::default(), Arc::new(profile), &[address]).unwrap();
        // It inherits the namespace.
        thread::spawn(|| smol::block_on(driver).unwrap());
        endpoint
    })
}

#[test]
fn a_sender_whose_address_goes_goes_on_from_another() {
    for family in [Family::V4, Family::V6] {
        let Some(world) = World::new(family) else { return };
        let unspecified = SocketAddr::new(family.unspecified(), 0);
        let (near, far) = (endpoint(&world.near, "near", unspecified), endpoint(&world.far, "far", unspecified));
        let there = world.service(far.local_addrs()[0].port());
        let (arrived, arrivals) = channel();
        let clock = world.clock;
        let receiver = thread::spawn(move || {
            smol::block_on(async {
                let flow = far.accept().await.unwrap().accept_flow().await.unwrap();
                while flow.recv().await.unwrap().is_some() {
                    arrived.send(clock.now()).unwrap();
                }
            });
        });
        let (stop, stopped) = channel();
        let sender = thread::spawn(move || {
            smol::block_on(async {
                let flow = near.connect("far", &[there]).await.unwrap().open_flow(FlowOptions::new("x"));
                while stopped.recv_timeout(Duration::from_millis(1)).is_err() {
                    flow.send(vec![1; 1_000]).await.unwrap();
                }
                flow.finish().await.unwrap();
            });
        });
        let next = || arrivals.recv_timeout(LIMIT).unwrap();
        for _ in 0..200 {
            next();
        }
        world.remove(0, 1).unwrap();
        let changed = world.noticed();
        let (mut last, mut stall) = (changed, Duration::ZERO);
        while last < changed + Duration::from_millis(500) {
            let at = next();
            if at > last {
                stall = stall.max(at.saturating_duration_since(last));
                last = at;
            }
        }
        println!("{family:?}: nothing came for {stall:?}");
        assert!(stall < LIMIT, "{family:?}: nothing came for {stall:?}");
        stop.send(()).unwrap();
        sender.join().unwrap();
        receiver.join().unwrap();
    }
}
