//! Sessions and flows as futures, over loopback.

use std::sync::Arc;

use futures_lite::future::{self, poll_once};
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::{CloseMode, EndpointConfig, FlowOptions};
use rtmfp_smol::{Endpoint, Error, RecvFlow, Session};

fn endpoint(name: &str) -> (Endpoint, smol::Task<std::io::Result<()>>) {
    let profile = Arc::new(PlainProfile::new(name.as_bytes()));
    let local = "127.0.0.1:0".parse().unwrap();
    let mut config = EndpointConfig::default();
    // On a thread of their own, as a server would have it.
    config.max_waiting_key_agreements = 2;
    let (endpoint, driver) = Endpoint::bind(config, profile, &[local]).unwrap();
    (endpoint, smol::spawn(driver))
}

/// Two endpoints' sessions with each other.
async fn pair() -> (Session, Session) {
    let ((near, driving_near), (far, driving_far)) = (endpoint("near"), endpoint("far"));
    driving_near.detach();
    driving_far.detach();
    future::try_zip(async { near.connect("far", &far.local_addrs()).await }, async {
        far.accept().await.ok_or(Error::Stopped)
    })
    .await
    .unwrap()
}

async fn read_all(flow: RecvFlow) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(message) = flow.recv().await.unwrap() {
        all.push(message.data.to_vec());
    }
    all
}

#[test]
fn messages_arrive_in_order_through_a_slow_reader() {
    smol::block_on(async {
        let (session, accepted) = pair().await;
        let sent: Vec<Vec<u8>> = (0_u32..400).map(|n| n.to_be_bytes().repeat(n as usize * 4)).collect();
        let writing = async {
            let flow = session.open_flow(FlowOptions::new("numbers"));
            for message in &sent {
                flow.send(message.clone()).await.unwrap();
            }
            flow.finish().await.unwrap();
        };
        let reading = async { read_all(accepted.accept_flow().await.unwrap()).await };
        let ((), received) = future::zip(writing, reading).await;
        assert!(received == sent);
    });
}

#[test]
fn a_dropped_receive_loses_nothing() {
    smol::block_on(async {
        let (session, accepted) = pair().await;
        let flow = session.open_flow(FlowOptions::new("x"));
        flow.send("first").await.unwrap();
        let receiving = accepted.accept_flow().await.unwrap();
        assert_eq!(receiving.recv().await.unwrap().unwrap().data, "first");
        for n in 0..50_u8 {
            // Given up at once, before there is anything.
            let early = poll_once(receiving.recv()).await;
            flow.send(vec![n; 9]).await.unwrap();
            let message = match early {
                Some(message) => message,
                None => receiving.recv().await,
            };
            assert_eq!(message.unwrap().unwrap().data, vec![n; 9]);
        }
    });
}

#[test]
fn rejection_and_close_are_told() {
    smol::block_on(async {
        let (session, accepted) = pair().await;
        let flow = session.open_flow(FlowOptions::new("unwanted"));
        flow.send("x").await.unwrap();
        accepted.accept_flow().await.unwrap().reject(7);
        let error = loop {
            if let Err(error) = flow.send("y").await {
                break error;
            }
        };
        assert_eq!(error, Error::Rejected(7));
        accepted.abort(CloseMode::Orderly);
        assert!(matches!(session.closed().await, Error::SessionClosed(_)));
        assert!(session.accept_flow().await.is_err());
    });
}

#[test]
fn a_stopped_endpoint_ends_its_driver_and_tells_everybody() {
    smol::block_on(async {
        let ((near, driving), (far, driving_far)) = (endpoint("near"), endpoint("far"));
        driving_far.detach();
        let session = near.connect("far", &far.local_addrs()).await.unwrap();
        let accepted = far.accept().await.unwrap();
        near.stop();
        driving.await.unwrap();
        assert!(near.accept().await.is_none());
        assert!(session.opened().await.is_err());
        assert!(near.connect("far", &far.local_addrs()).await.is_err());
        assert!(matches!(accepted.closed().await, Error::SessionClosed(_)), "the far end is told");
    });
}

#[test]
fn nobody_there_is_told() {
    smol::block_on(async {
        let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut config = EndpointConfig::default();
        config.open_timeout = core::time::Duration::from_secs(1);
        let local = "127.0.0.1:0".parse().unwrap();
        let (near, driver) = Endpoint::bind(config, Arc::new(PlainProfile::new(b"near")), &[local]).unwrap();
        smol::spawn(driver).detach();
        let result = near.connect("far", &[silent.local_addr().unwrap()]).await;
        assert!(matches!(result, Err(Error::NotOpened(_))));
    });
}

#[test]
fn counters_are_told_as_long_as_the_endpoint_runs() {
    smol::block_on(async {
        let (endpoint, driver) = endpoint("near");
        std::net::UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .send_to(b"?", endpoint.local_addrs().first().unwrap())
            .unwrap();
        while endpoint.stats().await.unwrap().dropped_too_short == 0 {
            future::yield_now().await;
        }
        endpoint.stop();
        driver.await.unwrap();
        assert_eq!(endpoint.stats().await, None);
    });
}
