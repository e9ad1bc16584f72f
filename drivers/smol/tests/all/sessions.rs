//! Who the far end is, what happens to a session, and one direction that ends before the other.

use core::time::Duration;

use futures_lite::StreamExt as _;
use futures_lite::future::{self, poll_once};
use rtmfp_core::profile::flash::FlashProfile;
use rtmfp_core::{CloseReason, FlowOptions};
use rtmfp_smol::{Builder, Endpoint, Error, Remote, Session, SessionEvent};

const LONG: Duration = Duration::from_secs(60);

fn endpoint(builder: Builder) -> Endpoint {
    let (endpoint, driver) = builder.bind("127.0.0.1:0".parse().unwrap()).build().unwrap();
    smol::spawn(driver).detach();
    endpoint
}

async fn connect(near: &Endpoint, far: &Endpoint, remote: Remote) -> (Session, Session) {
    let session = near.connect_to(remote).await.unwrap();
    (session, far.accept().await.unwrap())
}

async fn pair_of(client: Builder, server: Builder) -> (Session, Session) {
    let (near, far) = (endpoint(client), endpoint(server));
    let uri = format!("rtmfp://{}/", far.local_addrs().first().unwrap());
    connect(&near, &far, Remote::uri(&uri).unwrap()).await
}

async fn pair() -> (Session, Session) {
    pair_of(Endpoint::builder().client(), Endpoint::builder().server()).await
}

#[test]
fn a_peer_is_known_by_its_id_once_it_has_proved_it_and_both_share_nonces() {
    smol::block_on(async {
        let (near, far) = (endpoint(Endpoint::builder().peer()), endpoint(Endpoint::builder().peer()));
        let target = Remote::peer(far.peer_id().unwrap()).at(*far.local_addrs().first().unwrap());
        let (session, accepted) = connect(&near, &far, target).await;
        session.far_keys_proved().await.unwrap();
        accepted.far_keys_proved().await.unwrap();
        assert_eq!((session.peer_id(), accepted.peer_id()), (far.peer_id(), near.peer_id()));
        assert_ne!(session.peer_id(), accepted.peer_id());
        assert_eq!(session.peer_id().unwrap().to_string().len(), 64);
        assert!(!session.far_certificate().is_empty());
        let (near_nonce, far_nonce) = (session.near_nonce().await.unwrap(), session.far_nonce().await.unwrap());
        assert!(!near_nonce.is_empty() && near_nonce != far_nonce);
        assert_eq!((accepted.far_nonce().await, accepted.near_nonce().await), (Some(near_nonce), Some(far_nonce)));
    });
}

#[test]
fn a_far_end_without_static_keys_has_no_peer_id_though_it_proves_its_keys() {
    smol::block_on(async {
        let flash = FlashProfile::builder;
        let (client, server) = (Endpoint::builder().client(), Endpoint::builder().server());
        let (session, accepted) = pair_of(client.flash(flash()), server.flash(flash())).await;
        session.far_keys_proved().await.unwrap();
        accepted.far_keys_proved().await.unwrap();
        assert_eq!((session.peer_id(), accepted.peer_id()), (None, None));
        assert!(session.far_discriminator().len() == 34, "a claim");
    });
}

#[test]
fn what_happens_to_a_session_is_a_stream_that_ends_with_it() {
    smol::block_on(async {
        let (session, accepted) = pair().await;
        let (mut near, mut far) = (session.events(), accepted.events());
        let flow = session.open_flow(FlowOptions::new("much"));
        let writing = async {
            for _ in 0..40 {
                flow.send(vec![7; 100_000]).await.unwrap();
            }
        };
        let reading = async {
            // Held up until somebody reads.
            let events = async { while far.next().await.unwrap() != SessionEvent::UnreadFlow {} };
            events.await;
            let flow = accepted.accept_flow().await.unwrap();
            for _ in 0..40 {
                flow.recv().await.unwrap().unwrap();
            }
        };
        future::zip(writing, reading).await;
        while !matches!(near.next().await.unwrap(), SessionEvent::TargetRate(rate) if rate > 0) {}
        assert!(session.target_rate().is_some() && session.stats().await.unwrap().bytes_sent > 4_000_000);
        accepted.close(LONG).await.unwrap();
        let last = near.fold(None, |_, event| Some(event)).await;
        assert_eq!(last, Some(SessionEvent::Closed(Error::SessionClosed(CloseReason::Far))));
    });
}

#[test]
fn one_direction_ends_while_the_other_goes_on() {
    smol::block_on(async {
        let (session, accepted) = pair().await;
        for drops in [false, true] {
            let (there, back) =
                (session.open_flow(FlowOptions::new("there")), accepted.open_flow(FlowOptions::new("back")));
            there.send("last").await.unwrap();
            back.send("first").await.unwrap();
            let arriving = accepted.accept_flow().await.unwrap();
            let returning = session.accept_flow().await.unwrap();
            if drops {
                drop(there);
            } else {
                there.finish().await.unwrap();
            }
            assert_eq!(arriving.recv().await.unwrap().unwrap().data, "last");
            assert_eq!(arriving.recv().await.unwrap(), None, "that way is closed");
            for n in 0..50_u8 {
                back.send(vec![n; 10_000]).await.unwrap();
            }
            assert_eq!(returning.recv().await.unwrap().unwrap().data, "first");
            for n in 0..50_u8 {
                assert_eq!(returning.recv().await.unwrap().unwrap().data, vec![n; 10_000]);
            }
            back.finish().await.unwrap();
            assert_eq!(returning.recv().await.unwrap(), None);
            assert!(poll_once(session.closed()).await.is_none(), "the session lives on");
        }
    });
}
