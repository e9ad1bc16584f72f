//! Endpoints as their builder makes them, and what happens to calls when nobody runs them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use futures_lite::future;
use rtmfp_core::FlowOptions;
use rtmfp_core::profile::flash::{Discriminator, Group, StaticKeys};
use rtmfp_smol::{Driver, Endpoint, Error, system_rng};

fn build() -> (Endpoint, Driver) {
    let keys = StaticKeys::generate(&[Group::Modp1024], &mut *system_rng().unwrap());
    Endpoint::builder().peer().static_keys(keys).bind("127.0.0.1:0".parse().unwrap()).build().unwrap()
}

fn named(endpoint: &Endpoint) -> Vec<u8> {
    Discriminator::new().fingerprint(endpoint.peer_id().unwrap()).to_bytes()
}

#[test]
fn endpoints_find_each_other_by_peer_id() {
    smol::block_on(async {
        let ((near, driving_near), (far, driving_far)) = (build(), build());
        smol::spawn(driving_near).detach();
        smol::spawn(driving_far).detach();
        let session = near.connect(named(&far), far.local_addrs()).await.unwrap();
        session.open_flow(FlowOptions::new("flow")).send("hello").await.unwrap();
        let flow = far.accept().await.unwrap().accept_flow().await.unwrap();
        assert_eq!(flow.recv().await.unwrap().unwrap().data, "hello");
    });
}

#[test]
fn a_driver_that_is_dropped_before_it_is_polled_ends_all_calls() {
    smol::block_on(async {
        let ((near, driver), (far, _driving_far)) = (build(), build());
        let session = near.begin(named(&far), far.local_addrs());
        let flow = session.open_flow(FlowOptions::new("flow"));
        flow.send("hello").await.unwrap();
        let (name, remotes) = (named(&far), far.local_addrs());
        let waiting = future::zip(
            future::zip(near.connect(name.clone(), remotes), near.accept()),
            future::zip(session.opened(), future::zip(flow.finish(), near.stats())),
        );
        let dropping = async {
            // All of them wait before it goes.
            future::yield_now().await;
            drop(driver);
        };
        let (((connected, accepted), (opened, (finished, stats))), ()) = future::zip(waiting, dropping).await;
        assert_eq!(
            (connected.err(), opened.err(), finished.err()),
            (Some(Error::Stopped), Some(Error::Stopped), Some(Error::Stopped))
        );
        assert!(accepted.is_none() && stats.is_none());
        // And those that come later.
        assert_eq!(near.connect(name, remotes).await.err(), Some(Error::Stopped));
        assert!(near.accept().await.is_none());
        assert_eq!(near.begin(named(&far), far.local_addrs()).opened().await, Err(Error::Stopped));
    });
}

#[test]
fn a_server_is_found_by_its_uri_and_name() {
    smol::block_on(async {
        let (server, driving) = Endpoint::builder().server().bind("127.0.0.1:0".parse().unwrap()).build().unwrap();
        smol::spawn(driving).detach();
        let (client, driving) = Endpoint::builder().client().build().unwrap();
        smol::spawn(driving).detach();
        let uri = format!("rtmfp://localhost:{}/app", server.local_addrs().first().unwrap().port());
        let session = client.connect_uri(&uri).await.unwrap();
        session.open_flow(FlowOptions::new("flow")).send("hello").await.unwrap();
        let flow = server.accept().await.unwrap().accept_flow().await.unwrap();
        assert_eq!(flow.recv().await.unwrap().unwrap().data, "hello");
        assert_eq!(client.connect_uri("rtmfp://name.invalid/").await.err(), Some(Error::NotResolved));
        // Given up while the name is looked for: nothing is left of it.
        assert!(future::poll_once(client.connect_uri(&uri)).await.is_none());
    });
}
