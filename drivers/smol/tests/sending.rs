//! Messages with receipts and time limits, over loopback.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use core::time::Duration;
use std::sync::Arc;

use futures_lite::future::{self, poll_once};
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::{EndpointConfig, FlowOptions};
use rtmfp_smol::{Driver, Endpoint, MessageOutcome, SendOptions, Session};

fn endpoint(name: &str) -> (Endpoint, Driver) {
    let profile = Arc::new(PlainProfile::new(name.as_bytes()));
    let local = "127.0.0.1:0".parse().unwrap();
    Endpoint::bind(EndpointConfig::default(), profile, &[local]).unwrap()
}

/// Two endpoints' sessions with each other, and the far end's driver, which nobody polls.
async fn stopped_pair() -> (Session, Session, Driver) {
    let ((near, driving), (far, mut driving_far)) = (endpoint("near"), endpoint("far"));
    smol::spawn(driving).detach();
    let opening = async {
        let session = near.connect("far", far.local_addrs()).await.unwrap();
        (session, far.accept().await.unwrap())
    };
    let (session, accepted) = future::or(opening, async {
        (&mut driving_far).await.unwrap();
        panic!("the driver ended")
    })
    .await;
    (session, accepted, driving_far)
}

async fn pair() -> (Session, Session) {
    let (session, accepted, driving) = stopped_pair().await;
    smol::spawn(driving).detach();
    (session, accepted)
}

#[test]
fn a_receipt_is_a_future() {
    smol::block_on(async {
        let (session, accepted) = pair().await;
        let flow = session.open_flow(FlowOptions::new("states"));
        let first = flow.send_with("first", SendOptions::new().deadline(Duration::from_secs(60))).await.unwrap();
        let mut second = flow.send_with("second", SendOptions::new().after(&first).no_retransmit()).await.unwrap();
        let receiving = accepted.accept_flow().await.unwrap();
        for expected in ["first", "second"] {
            assert_eq!(receiving.recv().await.unwrap().unwrap().data, expected);
        }
        // Waiting for it may be given up, and it may be asked again.
        while poll_once(&mut second).await.is_none() {
            future::yield_now().await;
        }
        assert_eq!(second.outcome(), Some(MessageOutcome::Delivered));
        assert_eq!(second.clone().await, MessageOutcome::Delivered);
        assert_eq!(first.await, MessageOutcome::Delivered);
    });
}

/// The far end does nothing for a while: the messages wait, and those with a deadline go.
#[test]
fn a_message_that_waits_is_given_up_in_time() {
    smol::block_on(async {
        let (session, accepted, driving) = stopped_pair().await;
        let flow = session.open_flow(FlowOptions::new("states"));
        let large = flow.send_with(vec![7; 250_000], SendOptions::new()).await.unwrap();
        flow.send(vec![7; 250_000]).await.unwrap();
        let options = SendOptions::new().deadline(Duration::from_millis(50));
        let state = flow.send_with("state", options).await.unwrap();
        assert_eq!(state.await, MessageOutcome::Abandoned);
        // A time of the system's clock that has passed.
        let past = flow.send_with("past", SendOptions::new().deadline(std::time::Instant::now())).await.unwrap();
        assert_eq!(past.await, MessageOutcome::Abandoned);
        let by_hand = flow.send_with("by hand", SendOptions::new()).await.unwrap();
        by_hand.abandon();
        assert_eq!(by_hand.await, MessageOutcome::Abandoned);
        smol::spawn(driving).detach();
        let receiving = accepted.accept_flow().await.unwrap();
        let reading = async { while receiving.recv().await.unwrap().is_some() {} };
        let ((), finished) = future::zip(reading, flow.finish()).await;
        assert_eq!(finished, Ok(()), "what was given up here is no fault of the receiver's");
        assert_eq!(large.await, MessageOutcome::Delivered);
    });
}

#[test]
fn a_receipt_does_not_keep_the_session_open() {
    smol::block_on(async {
        let (session, accepted) = pair().await;
        let flow = session.open_flow(FlowOptions::new("states"));
        let receipt = flow.send_with("last", SendOptions::new()).await.unwrap();
        drop((flow, session));
        assert_eq!(receipt.await, MessageOutcome::Delivered);
        accepted.closed().await;
    });
}
