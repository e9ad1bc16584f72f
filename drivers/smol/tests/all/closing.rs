//! What was sent is delivered, whoever closes or drops what, and nothing outlives the last handle.

use core::time::Duration;
use std::net::UdpSocket;
use std::sync::Arc;

use futures_lite::future::{self, poll_once};
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::{EndpointConfig, FlowOptions, Undelivered};
use rtmfp_smol::{Builder, Endpoint, Error, RecvFlow, Session};
use smol::Timer;

const LONG: Duration = Duration::from_secs(60);
type Driving = smol::Task<std::io::Result<()>>;

fn endpoint(name: &str) -> (Endpoint, Driving) {
    let profile = Arc::new(PlainProfile::new(name.as_bytes()));
    let local = "127.0.0.1:0".parse().unwrap();
    let (endpoint, driver) = Endpoint::bind(EndpointConfig::default(), profile, &[local]).unwrap();
    (endpoint, smol::spawn(driver))
}

/// An end: its endpoint, its driver, and the session with the other end.
struct End {
    endpoint: Endpoint,
    driving: Driving,
    session: Session,
}

async fn pair() -> (End, End) {
    let ((near, driving_near), (far, driving_far)) = (endpoint("near"), endpoint("far"));
    let session = near.connect("far", &far.local_addrs()).await.unwrap();
    let accepted = far.accept().await.unwrap();
    let near = End { endpoint: near, driving: driving_near, session };
    (near, End { endpoint: far, driving: driving_far, session: accepted })
}

/// How many messages there are to the end of the flow, read one by one.
async fn read_slowly(flow: RecvFlow) -> usize {
    let mut count = 0;
    while flow.recv().await.unwrap().is_some() {
        count += 1;
        Timer::after(Duration::from_millis(1)).await;
    }
    count
}

#[test]
fn a_slow_reader_gets_all_that_finish_promised() {
    smol::block_on(async {
        for (messages, length) in [(300, 1_000), (20, 65_536)] {
            let (near, far) = pair().await;
            let reading = async { read_slowly(far.session.accept_flow().await.unwrap()).await };
            let writing = async move {
                let End { session, .. } = near;
                let flow = session.open_flow(FlowOptions::new("much"));
                for _ in 0..messages {
                    flow.send(vec![7; length]).await.unwrap();
                }
                flow.finish().await.unwrap();
            };
            let (count, ()) = future::zip(reading, writing).await;
            assert_eq!(count, messages, "of {length} bytes");
        }
    });
}

#[test]
fn what_was_sent_arrives_though_all_handles_are_dropped_and_then_the_driver_ends() {
    smol::block_on(async {
        let (near, far) = pair().await;
        let local = *near.endpoint.local_addrs().first().unwrap();
        let flow = near.session.open_flow(FlowOptions::new("three"));
        for _ in 0..3 {
            flow.send("message").await.unwrap();
        }
        drop((flow, near.session, near.endpoint));
        near.driving.await.unwrap();
        assert_eq!(read_slowly(far.session.accept_flow().await.unwrap()).await, 3);
        UdpSocket::bind(local).expect("the port is free");
    });
}

#[test]
fn an_idle_driver_ends_with_the_last_handle_of_anything() {
    smol::block_on(async {
        let (near, far) = pair().await;
        let (local, clone) = (*far.endpoint.local_addrs().first().unwrap(), far.session.clone());
        let flow = far.session.open_flow(FlowOptions::new("kept"));
        drop((far.endpoint, far.session, clone));
        // The flow's handle keeps its session, and that the endpoint. Nobody can accept another session.
        flow.send("still there").await.unwrap();
        assert_eq!(near.session.accept_flow().await.unwrap().recv().await.unwrap().unwrap().data, "still there");
        let stranger = endpoint("stranger");
        let session = stranger.0.connect("far", &[local]).await;
        if let Ok(session) = session {
            assert!(matches!(session.closed().await, Error::SessionClosed(_)), "turned away");
        }
        drop(flow);
        far.driving.await.unwrap();
        UdpSocket::bind(local).expect("the port is free");
        assert!(matches!(near.session.closed().await, Error::SessionClosed(_)));
    });
}

#[test]
fn an_endpoint_that_is_shut_down_delivers_what_is_queued() {
    smol::block_on(async {
        let (near, far) = pair().await;
        let flow = near.session.open_flow(FlowOptions::new("twenty"));
        for _ in 0..20 {
            poll_once(flow.send(vec![7; 8_192])).await.expect("room in the queue").unwrap();
        }
        let reading = async { read_slowly(far.session.accept_flow().await.unwrap()).await };
        let (count, undelivered) = future::zip(reading, near.endpoint.shutdown(LONG)).await;
        assert_eq!((count, undelivered), (20, Ok(Undelivered::default())));
        near.driving.await.unwrap();
    });
}

#[test]
fn a_closed_session_tells_what_it_could_not_deliver() {
    smol::block_on(async {
        let (near, far) = pair().await;
        assert_eq!(near.session.clone().close(LONG).await, Ok(Undelivered::default()));
        assert!(matches!(far.session.closed().await, Error::SessionClosed(_)));
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let session = near.endpoint.begin("far", &[silent.local_addr().unwrap()]);
        let flow = session.open_flow(FlowOptions::new("one"));
        flow.send("message").await.unwrap();
        let undelivered = session.close(Duration::from_millis(100)).await.unwrap();
        assert_eq!(undelivered, Undelivered { messages: 1, unsent: 1, bytes: 7 });
        assert!(matches!(flow.finish().await, Err(Error::NotOpened(_))));
    });
}

#[test]
fn a_hundred_thousand_tasks_wait_for_one_end_and_cancelled_ones_are_forgotten() {
    smol::block_on(async {
        let (near, far) = pair().await;
        let mut waiting: Vec<_> = (0..100_000).map(|_| Box::pin(near.session.closed())).collect();
        for task in &mut waiting {
            assert!(poll_once(task).await.is_none());
        }
        let flow = far.session.open_flow(FlowOptions::new("quiet"));
        flow.send("x").await.unwrap();
        let received = near.session.accept_flow().await.unwrap();
        received.recv().await.unwrap().unwrap();
        for _ in 0..300_000 {
            assert!(poll_once(received.recv()).await.is_none());
        }
        far.session.close(LONG).await.unwrap();
        for task in waiting {
            assert!(matches!(task.await, Error::SessionClosed(_)));
        }
    });
}

#[test]
fn what_waits_for_a_driver_that_is_dropped_while_it_runs_is_told() {
    for build in [Builder::build, Builder::build_in_task] {
        let builder = Endpoint::builder().profile(Arc::new(PlainProfile::new(b"near")));
        let (near, mut driver) = build(builder.bind("127.0.0.1:0".parse().unwrap())).unwrap();
        let session = near.begin("far", &["127.0.0.1:9".parse().unwrap()]);
        smol::block_on(async {
            assert!(poll_once(&mut driver).await.is_none());
            let waits =
                future::zip(near.sleep(Duration::from_secs(3_600)), future::zip(session.opened(), near.accept()));
            // They wait before it is dropped.
            let (told, ()) = future::zip(waits, async { drop(driver) }).await;
            assert!(matches!(told, (Err(Error::Stopped), (Err(Error::Stopped), None))), "{told:?}");
        });
    }
}
