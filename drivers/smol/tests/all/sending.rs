//! Messages with receipts and time limits, over loopback.

use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::sync::Arc;

use futures_lite::future::{self, poll_once};
use futures_sink::Sink;
use rtmfp_core::FlowOptions;
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_smol::{Bytes, Driver, Endpoint, Error, MessageOutcome, MessageSink, SendOptions, Session, TrySendError};

/// Its driver does nothing while it is not polled.
fn endpoint(name: &str) -> (Endpoint, Driver) {
    let profile = Arc::new(PlainProfile::new(name.as_bytes()));
    Endpoint::builder().profile(profile).bind("127.0.0.1:0".parse().unwrap()).build_in_task().unwrap()
}

/// Two endpoints' sessions with each other, and the far end's driver, which nobody polls.
async fn stopped_pair() -> (Session, Session, Driver) {
    let ((near, driving), (far, mut driving_far)) = (endpoint("near"), endpoint("far"));
    smol::spawn(driving).detach();
    let opening = async {
        let session = near.connect("far", &far.local_addrs()).await.unwrap();
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
        #[expect(clippy::disallowed_methods, reason = "a deadline on the system's clock is what is tested")]
        let now = std::time::Instant::now();
        let past = flow.send_with("past", SendOptions::new().deadline(now)).await.unwrap();
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

#[test]
fn a_flow_is_a_sink_of_messages() {
    smol::block_on(async {
        let (session, accepted, driving) = stopped_pair().await;
        let flow = session.open_flow(FlowOptions::new("numbers"));
        let mut sink = flow.sink();
        let mut sent = 0;
        while let Some(ready) = poll_once(poll_fn(|context| poll_ready(&mut sink, context))).await {
            ready.unwrap();
            sent += 1;
            Sink::<Bytes>::start_send(Pin::new(&mut sink), vec![7; 50_000].into()).unwrap();
        }
        assert!((6..30).contains(&sent), "{sent}: as much as the endpoint and the queue hold");
        assert_eq!(poll_once(poll_fn(|context| poll_flush(&mut sink, context))).await, None);
        // Against the contract, one more is taken, and no second.
        Sink::<Bytes>::start_send(Pin::new(&mut sink), "more".into()).unwrap();
        assert_eq!(Sink::<Bytes>::start_send(Pin::new(&mut sink), "no".into()), Err(Error::Closed));
        smol::spawn(driving).detach();
        let receiving = accepted.accept_flow().await.unwrap();
        let reading = async {
            let mut count = 0;
            while receiving.recv().await.unwrap().is_some() {
                count += 1;
            }
            count
        };
        let writing = async {
            poll_fn(|context| poll_flush(&mut sink, context)).await.unwrap();
            poll_fn(|context| Sink::<Bytes>::poll_close(Pin::new(&mut sink), context)).await.unwrap();
        };
        let (count, ()) = future::zip(reading, writing).await;
        assert_eq!(count, sent + 1);
        assert_eq!(flow.closed().await, Error::Closed);
        assert_eq!(poll_fn(|context| poll_ready(&mut flow.sink(), context)).await, Err(Error::Closed));
    });
}

fn poll_ready(sink: &mut MessageSink<'_>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
    Sink::<Bytes>::poll_ready(Pin::new(sink), context)
}

fn poll_flush(sink: &mut MessageSink<'_>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
    Sink::<Bytes>::poll_flush(Pin::new(sink), context)
}

#[test]
fn a_message_without_room_is_given_back_and_room_is_waited_for() {
    smol::block_on(async {
        let (session, accepted, driving) = stopped_pair().await;
        let flow = session.open_flow(FlowOptions::new("numbers"));
        let mut sent = 0;
        let refused = loop {
            let full = flow.try_send(vec![7; 50_000]).is_err();
            // This end's driver makes room until it is full itself.
            flow.stats().await.unwrap();
            match flow.try_send(vec![7; 50_000]) {
                Err(refused) if full => break refused,
                tried => sent += usize::from(!full) + usize::from(tried.is_ok()),
            }
        };
        assert_eq!((refused.into_message().len(), flow.capacity()), (50_000, 0));
        assert_eq!(poll_once(flow.ready()).await, None);
        smol::spawn(driving).detach();
        let receiving = accepted.accept_flow().await.unwrap();
        let reading = async {
            while sent > 0 {
                receiving.recv().await.unwrap().unwrap();
                sent -= 1;
            }
        };
        let ((), ready) = future::zip(reading, flow.ready()).await;
        assert_eq!(ready, Ok(()));
        flow.flush().await.unwrap();
        assert!(flow.buffered() == 0 && flow.stats().await.unwrap().messages > 0);
        // The receiver has had enough: the sender learns that without sending.
        receiving.reject(3);
        assert_eq!(flow.closed().await, Error::Rejected(3));
        assert!(matches!(flow.try_send("more"), Err(TrySendError::Ended(_, Error::Rejected(3)))));
    });
}

/// It has all that was sent, whatever it thinks of more.
#[test]
fn a_flow_whose_receiver_has_read_everything_and_dropped_it_is_finished() {
    smol::block_on(async {
        for messages in [1, 2, 7] {
            let (session, accepted) = pair().await;
            let flow = session.open_flow(FlowOptions::new("few"));
            for _ in 0..messages {
                flow.send("message").await.unwrap();
            }
            let receiving = accepted.accept_flow().await.unwrap();
            for _ in 0..messages {
                receiving.recv().await.unwrap().unwrap();
            }
            drop(receiving);
            assert_eq!(flow.finish().await, Ok(()), "{messages}");
        }
    });
}
