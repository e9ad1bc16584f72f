//! Every future is dropped after each number of polls, and nothing is lost by that.

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;
use core::time::Duration;
use std::sync::Arc;

use futures_lite::StreamExt as _;
use futures_lite::future::{self, poll_once};
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::{CloseMode, EndpointConfig, FlowOptions, Message, Undelivered};
use rtmfp_smol::{Endpoint, Error, RecvFlow, SendFlow, Session, SessionEvent};

const LONG: Duration = Duration::from_secs(60);
/// More polls than any of these futures needs.
const MANY: usize = 1_000;

fn endpoint(name: &str) -> (Endpoint, smol::Task<std::io::Result<()>>) {
    let profile = Arc::new(PlainProfile::new(name.as_bytes()));
    let mut config = EndpointConfig::default();
    // Agreed in the driver's turn, so that a session opens within few polls.
    config.max_waiting_key_agreements = 0;
    let builder = Endpoint::builder().config(config).profile(profile).bind("127.0.0.1:0".parse().unwrap());
    let (endpoint, driver) = builder.build().unwrap();
    (endpoint, smol::spawn(driver))
}

fn detached(name: &str) -> Endpoint {
    let (endpoint, driving) = endpoint(name);
    driving.detach();
    endpoint
}

async fn pair() -> (Session, Session) {
    let (near, far) = (detached("near"), detached("far"));
    let session = near.connect("far", &far.local_addrs()).await.unwrap();
    (session, far.accept().await.unwrap())
}

async fn flow(from: &Session, to: &Session) -> (SendFlow, RecvFlow) {
    let sending = from.open_flow(FlowOptions::new("flow"));
    sending.send("first").await.unwrap();
    let receiving = to.accept_flow().await.unwrap();
    assert_eq!(receiving.recv().await.unwrap().unwrap().data, "first");
    (sending, receiving)
}

/// Polls a future so many times and drops it, unless it is ready before. Between two polls others run: if it is `eager`,
/// it does not wait to be woken.
async fn polled<F: Future>(times: usize, eager: bool, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..times {
        if let Some(output) = poll_once(future.as_mut()).await {
            return Some(output);
        }
        if eager {
            future::yield_now().await;
        } else {
            // Until this task is woken, be it by the future or by what runs beside it.
            let mut woken = false;
            poll_fn(|_| if core::mem::replace(&mut woken, true) { Poll::Ready(()) } else { Poll::Pending }).await;
        }
    }
    None
}

/// Polls and drops what `call` gives, with one poll more each time, until one of them is ready.
async fn swept<F: Future>(eager: bool, mut call: impl FnMut() -> F) -> F::Output {
    for times in 1..MANY {
        if let Some(output) = polled(times, eager, call()).await {
            return output;
        }
        // Let what was begun go on, or else an eager sweep is over before anything has happened.
        smol::Timer::after(Duration::from_micros(200)).await;
    }
    call().await
}

#[test]
fn dropped_waits_for_messages_lose_none_and_give_none_twice() {
    smol::block_on(async {
        let (near, far) = pair().await;
        for eager in [false, true] {
            let (sending, receiving) = flow(&near, &far).await;
            for n in 0..40_u8 {
                if eager {
                    assert!(polled(3, true, receiving.recv()).await.is_none());
                }
                sending.send(vec![n; 3_000]).await.unwrap();
                let message = if n % 2 == 0 {
                    swept(eager, || receiving.recv()).await.unwrap()
                } else {
                    // A stream that is dropped with what it waits for.
                    swept(eager, || async { receiving.messages().try_next().await }).await.unwrap()
                };
                assert_eq!(message.unwrap().data, vec![n; 3_000]);
            }
        }
    });
}

#[test]
fn a_dropped_send_was_not_queued_and_a_ready_one_was_exactly_once() {
    smol::block_on(async {
        let (near, far) = pair().await;
        for eager in [false, true] {
            let (sending, receiving) = flow(&near, &far).await;
            let writing = async {
                for n in 0..60_u8 {
                    // The queue is full after three: most of these wait.
                    swept(eager, || sending.send(vec![n; 100_000])).await.unwrap();
                }
                sending.finish().await.unwrap();
            };
            let reading = async {
                for n in 0..60_u8 {
                    assert_eq!(receiving.recv().await.unwrap().unwrap().data.first(), Some(&n));
                }
                assert_eq!(receiving.recv().await.unwrap(), None);
            };
            future::zip(writing, reading).await;
        }
    });
}

#[test]
fn dropped_accepts_lose_no_session_and_no_flow() {
    smol::block_on(async {
        let server = detached("server");
        for eager in [false, true] {
            for n in 0..8 {
                let client = detached(&format!("client {n} {eager}"));
                let accepting = async {
                    let session = if n % 2 == 0 {
                        swept(eager, || server.accept()).await.unwrap()
                    } else {
                        swept(eager, || async { server.incoming().next().await }).await.unwrap()
                    };
                    let mut metadata = Vec::new();
                    for flow in 0..6_u8 {
                        let accepted = if flow % 2 == 0 {
                            swept(eager, || session.accept_flow()).await.unwrap()
                        } else {
                            swept(eager, || async { session.incoming_flows().next().await }).await.unwrap()
                        };
                        metadata.push(accepted.metadata().to_vec());
                    }
                    assert_eq!(metadata, (0..6_u8).map(|flow| vec![flow]).collect::<Vec<_>>());
                };
                let calling = async {
                    let session = client.connect("server", &server.local_addrs()).await.unwrap();
                    for flow in 0..6_u8 {
                        session.open_flow(FlowOptions::new(vec![flow])).send("x").await.unwrap();
                    }
                    session
                };
                future::zip(accepting, calling).await;
            }
        }
    });
}

#[test]
fn a_dropped_connect_leaves_nothing_that_hinders_the_next() {
    smol::block_on(async {
        for eager in [false, true] {
            let (near, far) = (detached("near"), detached("far"));
            let remotes = far.local_addrs();
            let session = swept(eager, || near.connect("far", &remotes)).await.unwrap();
            let sending = session.open_flow(FlowOptions::new("flow"));
            sending.send("here").await.unwrap();
            // Those that were given up may have opened at the far end, which hears of that only when nobody answers.
            let mut incoming = far.incoming();
            let (told, heard) = smol::channel::bounded::<Message>(1);
            let accepting = async {
                while let Some(accepted) = incoming.next().await {
                    let told = told.clone();
                    smol::spawn(async move {
                        let message = accepted.accept_flow().await?.recv().await?;
                        let _ = told.send(message.unwrap()).await;
                        Ok::<_, Error>(())
                    })
                    .detach();
                }
                unreachable!("the far end runs");
            };
            let message = future::or(accepting, async { heard.recv().await.unwrap() }).await;
            assert_eq!(message.data, "here");
            assert_eq!(near.shutdown(LONG).await, Ok(Undelivered::default()));
        }
    });
}

#[test]
fn what_a_dropped_finish_close_or_shutdown_has_begun_goes_on() {
    smol::block_on(async {
        for polls in 1..4 {
            let ((near, driving), far) = (endpoint("near"), detached("far"));
            let session = near.connect("far", &far.local_addrs()).await.unwrap();
            let accepted = far.accept().await.unwrap();
            let (finishing, receiving) = flow(&session, &accepted).await;
            finishing.send(vec![7; 200_000]).await.unwrap();
            let _dropped = polled(polls, true, finishing.finish()).await;
            assert_eq!(receiving.recv().await.unwrap().unwrap().data.len(), 200_000);
            assert_eq!(receiving.recv().await.unwrap(), None, "the flow is closed");
            let (sending, receiving) = flow(&session, &accepted).await;
            sending.send(vec![7; 200_000]).await.unwrap();
            if polls % 2 == 0 {
                let _dropped = polled(polls, true, session.close(LONG)).await;
                assert_eq!(session.close(LONG).await, Ok(Undelivered::default()));
            } else {
                let _dropped = polled(polls, true, near.shutdown(LONG)).await;
                assert_eq!(near.shutdown(LONG).await, Ok(Undelivered::default()));
                driving.await.unwrap();
            }
            assert_eq!(receiving.recv().await.unwrap().unwrap().data.len(), 200_000);
            assert!(matches!(accepted.closed().await, Error::SessionClosed(_)));
        }
    });
}

#[test]
fn dropped_questions_and_waits_for_events_leave_the_next_all_that_there_is() {
    smol::block_on(async {
        for eager in [false, true] {
            let (near, far) = pair().await;
            let (_sending, receiving) = flow(&near, &far).await;
            assert_eq!(swept(eager, || receiving.stats()).await.unwrap().messages, 1);
            assert!(swept(eager, || near.stats()).await.unwrap().packets_sent > 0);
            assert!(swept(eager, || near.near_nonce()).await.is_some());
            swept(eager, || near.opened()).await.unwrap();
            let mut events = near.events();
            far.abort(CloseMode::Abrupt);
            let closed = swept(eager, || near.closed()).await;
            loop {
                // The same stream goes on, though the wait for its next event is dropped.
                let mut event = None;
                for times in 1.. {
                    event = polled(times, eager, events.next()).await;
                    if event.is_some() {
                        break;
                    }
                }
                if let SessionEvent::Closed(why) = event.flatten().unwrap() {
                    break assert_eq!(why, closed);
                }
            }
            assert_eq!(events.next().await, None);
        }
    });
}
