//! Programs that meet through a rendezvous server.

use futures_lite::{StreamExt as _, future};
use rtmfp_meet::{Everybody, Limits, RelayLimits, Rendezvous};
use rtmfp_smol::{
    Builder, Endpoint, Error, Failure, FlowOptions, GuestOptions, IntroducePolicy, MeetingEvent, PathKind, PathPolicy,
    Remote, system_rng,
};

fn start(builder: Builder) -> Endpoint {
    builder.peer().bind("127.0.0.1:0".parse().unwrap()).spawn().unwrap()
}

fn server() -> (Endpoint, Remote) {
    let mut limits = Limits::default();
    limits.relay = Some(RelayLimits::default());
    let meeting = Rendezvous::new(limits, Everybody, system_rng().unwrap(), |_| {});
    let introduce = IntroducePolicy::authorise(|_| false);
    let server = start(Endpoint::builder().service(Box::new(meeting)).introduce(introduce));
    let remote = Remote::peer(server.peer_id().unwrap()).at(*server.local_addrs().first().unwrap());
    (server, remote)
}

#[test]
fn two_meet_by_a_number_over_each_kind_of_path() {
    let (_server, remote) = server();
    for (policy, kind) in [(PathPolicy::Any, PathKind::Lan), (PathPolicy::RelayOnly, PathKind::Relayed)] {
        let (ada, ben) = (start(Endpoint::builder()), start(Endpoint::builder()));
        future::block_on(async {
            let of_ada = ada.join_with(remote.clone(), GuestOptions::default()).await.unwrap();
            let of_ben = ben.join(remote.clone()).await.unwrap();
            let number = of_ben.number().await.unwrap();
            let told: Vec<_> = of_ben.events().take(3).collect().await;
            assert_eq!(told.last(), Some(&MeetingEvent::Number { number, before: None }));
            let peer_id = of_ada.find(number).await.unwrap();
            let session = of_ada.connect_over(peer_id, policy).await.unwrap();
            assert_eq!(session.path_kind(), Some(kind));
            session.open_flow(FlowOptions::new("greeting")).send("we have met").await.unwrap();
            let accepted = ben.accept().await.unwrap();
            assert_eq!(accepted.path_kind(), Some(kind));
            assert_eq!(accepted.accept_flow().await.unwrap().recv().await.unwrap().unwrap().data, "we have met");
            of_ben.release_number();
            let nobody = Some(Error::NotMet(Failure::NobodyThere));
            assert_eq!(of_ada.connect(of_other()).await.err(), nobody);
        });
    }
}

/// A peer ID that nobody has.
fn of_other() -> rtmfp_smol::profile::Fingerprint {
    rtmfp_smol::profile::Fingerprint([7; 32])
}

#[test]
fn a_connection_whose_future_is_dropped_is_given_up() {
    let (_server, remote) = server();
    let (ada, ben) = (start(Endpoint::builder()), start(Endpoint::builder()));
    future::block_on(async {
        let (of_ada, of_ben) = (ada.join(remote.clone()).await.unwrap(), ben.join(remote).await.unwrap());
        of_ben.wait_registered().await.unwrap();
        let peer_id = ben.peer_id().unwrap();
        assert!(future::poll_once(of_ada.connect(peer_id)).await.is_none());
        // One that is not dropped comes through.
        let session = of_ada.connect(peer_id).await.unwrap();
        session.open_flow(FlowOptions::new("greeting")).send("we have met").await.unwrap();
        let accepted = ben.accept().await.unwrap();
        assert_eq!(accepted.accept_flow().await.unwrap().recv().await.unwrap().unwrap().data, "we have met");
    });
}
