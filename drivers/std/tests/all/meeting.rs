//! Programs that meet through a rendezvous server.

use core::net::SocketAddr;
use core::time::Duration;
use std::thread;

use rtmfp_core::FlowOptions;
use rtmfp_meet::{Everybody, Limits, RelayLimits, Rendezvous};
use rtmfp_std::profile::modern::Identity;
use rtmfp_std::{
    Builder, Endpoint, Error, Failure, GuestOptions, IntroducePolicy, MeetingEvent, PathKind, PathPolicy, Remote,
    Session, SessionEvent, system_rng,
};

fn local() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn server_at(address: SocketAddr, relays: bool, identity: Option<Identity>) -> Endpoint {
    let mut limits = Limits::default();
    limits.relay = relays.then(RelayLimits::default);
    let meeting = Rendezvous::new(limits, Everybody, system_rng().unwrap(), |_| {});
    let builder = Endpoint::builder().peer().bind(address).service(Box::new(meeting));
    let builder = builder.introduce(IntroducePolicy::authorise(|_| false));
    identity.into_iter().fold(builder, Builder::identity).spawn().unwrap()
}

fn server(relays: bool) -> (Endpoint, Remote) {
    let server = server_at(local(), relays, None);
    let remote = Remote::peer(server.peer_id().unwrap()).at(*server.local_addrs().first().unwrap());
    (server, remote)
}

fn peer() -> Endpoint {
    Endpoint::builder().peer().bind(local()).spawn().unwrap()
}

/// Says something over a session, to a far end that accepts it.
fn exchange(session: &Session, far: &Endpoint) -> Session {
    let flow = session.open_flow(FlowOptions::new("greeting"));
    flow.send("we have met").unwrap();
    let accepted = far.accept().unwrap();
    let heard = accepted.accept_flow().unwrap().recv().unwrap().unwrap();
    assert_eq!(heard.data, "we have met");
    accepted
}

#[test]
fn two_meet_by_a_number_and_know_their_path() {
    let (_server, remote) = server(false);
    let (ada, ben) = (peer(), peer());
    let (of_ada, of_ben) = (ada.join(remote.clone()).unwrap(), ben.join(remote).unwrap());
    let number = of_ben.number().unwrap();
    let told: Vec<_> = core::iter::from_fn(|| of_ben.next_event()).take(3).collect();
    let seen = MeetingEvent::Seen(*ben.local_addrs().first().unwrap());
    assert_eq!(told, [MeetingEvent::Registered, seen, MeetingEvent::Number { number, before: None }]);
    let peer_id = of_ada.find(number).unwrap();
    assert_eq!(Some(peer_id), ben.peer_id());
    let session = of_ada.connect(peer_id).unwrap();
    assert_eq!(session.path_kind(), Some(PathKind::Lan));
    let accepted = exchange(&session, &ben);
    assert_eq!(accepted.path_kind(), Some(PathKind::Lan));
    let again = of_ada.connect(peer_id).unwrap();
    assert_eq!(again.remote_addr(), session.remote_addr(), "it is the same session");
    assert_eq!(of_ada.connect_over(peer_id, PathPolicy::RelayOnly).err(), Some(Error::NotMet(Failure::OtherPath)));
}

#[test]
fn a_session_over_the_relay_alone_stays_there() {
    let (_server, remote) = server(true);
    let (ada, ben) = (peer(), peer());
    let (of_ada, of_ben) = (ada.join(remote.clone()).unwrap(), ben.join(remote).unwrap());
    of_ben.wait_registered().unwrap();
    let session = of_ada.connect_over(ben.peer_id().unwrap(), PathPolicy::RelayOnly).unwrap();
    assert_eq!(session.path_kind(), Some(PathKind::Relayed));
    let accepted = exchange(&session, &ben);
    assert_eq!(accepted.path_kind(), Some(PathKind::Relayed));
    assert!(session.close(Duration::from_secs(30)).unwrap().is_empty());
}

#[test]
fn who_is_not_met_is_told_which_step_failed() {
    let (server, remote) = server(false);
    let (ada, ben) = (peer(), peer());
    let meeting = ada.join(remote).unwrap();
    let nobody = Some(Error::NotMet(Failure::NobodyThere));
    assert_eq!(meeting.find(1).err(), nobody);
    assert_eq!(meeting.connect(ben.peer_id().unwrap()).err(), nobody);
    let refused = meeting.connect_over(ben.peer_id().unwrap(), PathPolicy::RelayOnly).err();
    assert!(matches!(refused, Some(Error::NotMet(Failure::RelayRefused { .. }))), "{refused:?}");
    drop(server);
    // It is lost first, and then not reached.
    let lost = core::iter::from_fn(|| meeting.next_event());
    assert!(lost.into_iter().any(|event| matches!(event, MeetingEvent::ServerLost { .. })));
    assert!(!meeting.registered());
}

#[test]
fn a_server_that_does_not_introduce_is_told_apart() {
    let stranger = peer();
    let remote = Remote::peer(stranger.peer_id().unwrap()).at(*stranger.local_addrs().first().unwrap());
    let ada = peer();
    let meeting = ada.join(remote).unwrap();
    let rejected = thread::spawn(move || {
        let session = stranger.accept().unwrap();
        session.incoming_flows().for_each(|flow| flow.reject(7));
        session.closed()
    });
    assert_eq!(meeting.number().err(), Some(Error::NotMet(Failure::NoRendezvous)));
    drop(meeting);
    rejected.join().unwrap();
}

#[test]
fn after_a_restart_of_the_server_there_is_a_number_again_and_sessions_go_on() {
    let identity = Identity::generate(&mut *system_rng().unwrap());
    let bind = |address| server_at(address, false, Some(identity.clone()));
    let server = bind(local());
    let address = *server.local_addrs().first().unwrap();
    let remote = Remote::peer(server.peer_id().unwrap()).at(address);
    let (ada, ben) = (peer(), peer());
    let (of_ada, of_ben) = (ada.join(remote.clone()).unwrap(), ben.join(remote).unwrap());
    of_ben.number().unwrap();
    let session = of_ada.connect(ben.peer_id().unwrap()).unwrap();
    let accepted = exchange(&session, &ben);
    drop(server);
    let mut lost = core::iter::from_fn(|| of_ben.next_event());
    assert!(lost.any(|event| matches!(event, MeetingEvent::ServerLost { .. })));
    let _server = bind(address);
    let mut again = core::iter::from_fn(|| of_ben.next_event());
    let number =
        again.find_map(|event| if let MeetingEvent::Number { number, .. } = event { Some(number) } else { None });
    assert_eq!(number, of_ben.number().ok());
    assert_eq!(of_ada_finds(&of_ada, number.unwrap()), ben.peer_id());
    let flow = session.open_flow(FlowOptions::new("later"));
    flow.send("still here").unwrap();
    assert_eq!(accepted.accept_flow().unwrap().recv().unwrap().unwrap().data, "still here");
}

/// Until this end is registered again, too.
fn of_ada_finds(meeting: &rtmfp_std::Meeting, number: u64) -> Option<rtmfp_std::profile::Fingerprint> {
    core::iter::from_fn(|| meeting.next_event())
        .filter(|_| meeting.registered())
        .find_map(|_| meeting.find(number).ok())
}

#[test]
fn options_and_events_of_a_path_are_told() {
    let (_server, remote) = server(true);
    let (ada, ben) = (peer(), peer());
    let mut options = GuestOptions::default();
    options.policy = PathPolicy::DirectOnly;
    let of_ada = ada.join_resolved(&remote, options).unwrap();
    let of_ben = ben.join(remote).unwrap();
    of_ben.wait_registered().unwrap();
    let session = of_ada.connect(ben.peer_id().unwrap()).unwrap();
    let events = session.events();
    session.begin_close(Duration::from_secs(30));
    let told: Vec<_> = events.filter(|event| !matches!(event, SessionEvent::TargetRate(_))).collect();
    assert!(matches!(told[..], [SessionEvent::Closed(_)]), "{told:?}");
    assert_eq!(session.path_kind(), Some(PathKind::Lan));
}
