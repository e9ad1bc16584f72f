//! Sessions, flows and messages as streams, and readers that hold their senders up.

use std::sync::Arc;

use futures_lite::StreamExt as _;
use futures_lite::future::{self, poll_once};
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::{CloseMode, EndpointConfig, FlowOptions};
use rtmfp_smol::{Endpoint, Error, RecvFlow, SendFlow, Session, TryRecvError};

fn endpoint(name: &str) -> Endpoint {
    let profile = Arc::new(PlainProfile::new(name.as_bytes()));
    let (endpoint, driver) =
        Endpoint::bind(EndpointConfig::default(), profile, &["127.0.0.1:0".parse().unwrap()]).unwrap();
    smol::spawn(driver).detach();
    endpoint
}

async fn pair() -> (Session, Session) {
    let (near, far) = (endpoint("near"), endpoint("far"));
    let session = near.connect("far", &far.local_addrs()).await.unwrap();
    (session, far.accept().await.unwrap())
}

/// A flow of which the first message is read.
async fn flow(from: &Session, to: &Session) -> (SendFlow, RecvFlow) {
    let sending = from.open_flow(FlowOptions::new("flow"));
    sending.send("first").await.unwrap();
    let receiving = to.accept_flow().await.unwrap();
    assert_eq!(receiving.recv().await.unwrap().unwrap().data, "first");
    (sending, receiving)
}

#[test]
fn sessions_flows_and_messages_are_streams_that_end() {
    smol::block_on(async {
        let server = endpoint("server");
        let mut incoming = server.incoming();
        let mut held = Vec::new();
        for n in 0..3 {
            let client = endpoint(&format!("client {n}"));
            let session = client.connect("server", &server.local_addrs()).await.unwrap();
            let flow = session.open_flow(FlowOptions::new("flow"));
            for text in ["one", "two"] {
                flow.send(text).await.unwrap();
            }
            flow.close();
            held.push(session);
        }
        for n in 0..3 {
            let session = incoming.next().await.unwrap();
            assert_eq!(session.far_discriminator(), format!("client {n}").as_bytes());
            let mut flows = session.incoming_flows();
            let flow = flows.next().await.unwrap();
            let mut messages = flow.messages();
            let mut texts = Vec::new();
            while let Some(message) = messages.try_next().await.unwrap() {
                assert!(!message.gap);
                texts.push(message.data);
            }
            assert_eq!(texts, ["one", "two"]);
            assert!(messages.next().await.is_none() && flow.try_recv() == Err(TryRecvError::Finished));
            session.abort(CloseMode::Orderly);
            assert!(flows.next().await.is_none());
        }
        server.stop();
        assert!(incoming.next().await.is_none());
    });
}

#[test]
fn a_stream_of_messages_ends_with_the_error_that_ended_the_flow() {
    smol::block_on(async {
        let (near, far) = pair().await;
        let (_sending, receiving) = flow(&near, &far).await;
        let mut messages = receiving.messages();
        assert!(poll_once(messages.next()).await.is_none());
        near.abort(CloseMode::Abrupt);
        assert!(matches!(messages.next().await, Some(Err(Error::SessionClosed(_)))));
        assert!(messages.next().await.is_none());
    });
}

#[test]
fn a_suspended_flow_holds_its_sender_up_and_gives_everything_when_resumed() {
    const MESSAGES: u64 = 40;
    smol::block_on(async {
        let (near, far) = pair().await;
        let (sending, receiving) = flow(&near, &far).await;
        receiving.suspend();
        let last = near.open_flow(FlowOptions::new("other"));
        let writing = async {
            for _ in 0..MESSAGES {
                sending.send(vec![7; 100_000]).await.unwrap();
            }
            sending.finish().await
        };
        let reading = async {
            // By then the first flow is full, or another could not send.
            last.send("passes").await.unwrap();
            let other = far.accept_flow().await.unwrap();
            assert_eq!(other.recv().await.unwrap().unwrap().data, "passes");
            while receiving.stats().await.unwrap().buffered < 200_000 {
                future::yield_now().await;
            }
            let stats = receiving.stats().await.unwrap();
            assert!(stats.messages == 1 && stats.buffered < 400_000, "{stats:?}");
            assert_eq!(receiving.try_recv(), Err(TryRecvError::Empty));
            receiving.resume();
            let mut count = 0;
            while receiving.recv().await.unwrap().is_some() {
                count += 1;
            }
            count
        };
        let (written, read) = future::zip(writing, reading).await;
        assert_eq!((written, read), (Ok(()), MESSAGES));
    });
}
