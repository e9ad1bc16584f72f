//! Peers that find each other through an introducer, over loopback.

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::{Arc, Mutex};
use std::thread;

use rtmfp_core::profile::flash::{Fingerprint, Group, StaticKeys};
use rtmfp_core::{FlowOptions, OpenFailure};
use rtmfp_std::{
    Builder, Endpoint, Error, IntroducePolicy, Registration, RegistrationEvent, Remote, Session, system_rng,
};

fn keys() -> StaticKeys {
    StaticKeys::generate(&[Group::Modp1024], &mut *system_rng().unwrap())
}

fn spawn(builder: Builder) -> Endpoint {
    builder.static_keys(keys()).bind("127.0.0.1:0".parse().unwrap()).spawn().unwrap()
}

fn peer() -> Endpoint {
    spawn(Endpoint::builder().peer())
}

fn address(endpoint: &Endpoint) -> SocketAddr {
    endpoint.local_addrs().first().copied().unwrap()
}

fn id(endpoint: &Endpoint) -> Fingerprint {
    endpoint.peer_id().unwrap()
}

/// Registers a peer with an introducer.
fn registered(peer: &Endpoint, introducer: &Endpoint) -> Registration {
    let registration = peer.register(Remote::peer(id(introducer)).at(address(introducer))).unwrap();
    registration.wait_registered().unwrap();
    registration
}

/// Whoever asks for a peer, and gives up soon.
fn ask(near: &Endpoint, far: Fingerprint, introducer: &Endpoint, seconds: u64) -> Result<Session, Error> {
    near.connect_to(Remote::peer(far).through(address(introducer)).timeout(Duration::from_secs(seconds)))
}

fn pass(from: &Session, to: &Endpoint) {
    from.open_flow(FlowOptions::new("flow")).send("hello").unwrap();
    assert_eq!(to.accept().unwrap().accept_flow().unwrap().recv().unwrap().unwrap().data, "hello");
}

#[test]
fn whoever_is_registered_is_found() {
    let introducer = spawn(Endpoint::builder().peer().introduce(IntroducePolicy::Connected));
    let (near, far) = (peer(), peer());
    let registration = registered(&far, &introducer);
    let session = near.connect_through(id(&far), &introducer.local_addrs()).unwrap();
    assert_eq!(session.remote_addr(), Some(address(&far)));
    pass(&session, &far);
    assert!(registration.registered());
    assert_eq!(
        ask(&near, Fingerprint([7; 32]), &introducer, 1).err(),
        Some(Error::NotIntroduced),
        "nobody has that ID"
    );
}

#[test]
fn only_those_who_are_authorised_are_introduced() {
    let allowed = Arc::<Mutex<Option<Fingerprint>>>::default();
    let known = Arc::clone(&allowed);
    let policy = IntroducePolicy::authorise(move |request| request.peer_id() == *known.lock().unwrap());
    let introducer = spawn(Endpoint::builder().peer().introduce(policy));
    let (near, far, hidden) = (peer(), peer(), peer());
    *allowed.lock().unwrap() = far.peer_id();
    let _registrations = (registered(&far, &introducer), registered(&hidden, &introducer));
    assert_eq!(ask(&near, id(&hidden), &introducer, 1).err(), Some(Error::NotIntroduced));
    pass(&ask(&near, id(&far), &introducer, 20).unwrap(), &far);
}

#[test]
fn the_application_introduces_forwards_and_redirects() {
    let introducer = spawn(Endpoint::builder().peer().introduce(IntroducePolicy::Ask));
    let (near, far, elsewhere) = (peer(), peer(), peer());
    let _registration = registered(&far, &introducer);
    let at_introducer = introducer.accept().unwrap();
    let (far_id, elsewhere_id, elsewhere_addr) = (id(&far), id(&elsewhere), address(&elsewhere));
    let near_addr = address(&near);
    let requests = introducer.introductions();
    let deciding = thread::spawn(move || {
        let mut introduced = false;
        let mut done = Vec::new();
        for request in requests {
            assert_eq!(request.from(), near_addr);
            match request.peer_id() {
                Some(id) if id == elsewhere_id => done.push(request.redirect(&[elsewhere_addr])),
                // The second time it is only handed on.
                Some(id) if id == far_id && introduced => done.push(request.forward(&at_introducer)),
                Some(id) if id == far_id => {
                    introduced = request.introduce();
                    done.push(introduced);
                }
                _ => done.push(!request.introduce()),
            }
        }
        done
    });
    pass(&ask(&near, far_id, &introducer, 20).unwrap(), &far);
    pass(&ask(&near, elsewhere_id, &introducer, 20).unwrap(), &elsewhere);
    let unknown = ask(&near, Fingerprint([7; 32]), &introducer, 1).err();
    assert_eq!(unknown, Some(Error::NotIntroduced));
    // It is asked for again once it is lost.
    let session = ask(&near, far_id, &introducer, 20).unwrap();
    session.close(Duration::from_secs(10)).unwrap();
    drop(session);
    assert!(ask(&near, far_id, &introducer, 20).is_ok());
    assert_eq!(introducer.missed_introductions(), 0);
    introducer.shutdown(Duration::from_secs(10)).unwrap();
    let done = deciding.join().unwrap();
    assert!(done.len() >= 4 && done.iter().all(|done| *done), "{done:?}");
}

#[test]
fn a_peer_is_registered_again_when_its_introducer_is_back() {
    let keys = keys();
    let start = |address| {
        let builder = Endpoint::builder().peer().introduce(IntroducePolicy::Connected);
        builder.static_keys(keys.clone()).bind(address).spawn().unwrap()
    };
    let introducer = start("127.0.0.1:0".parse().unwrap());
    let at = address(&introducer);
    let far = peer();
    let registration = registered(&far, &introducer);
    assert_eq!(registration.next_event(), Some(RegistrationEvent::Registered));
    drop(introducer);
    assert!(matches!(registration.next_event(), Some(RegistrationEvent::Lost(Error::SessionClosed(_)))));
    assert!(matches!(registration.next_event(), Some(RegistrationEvent::Retrying(_))));
    let introducer = start(at);
    registration.wait_registered().unwrap();
    let near = peer();
    pass(&ask(&near, id(&far), &introducer, 20).unwrap(), &far);
}

#[test]
fn an_introducer_that_is_not_there_is_told() {
    let far = peer();
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let introducer = Remote::peer(Fingerprint([7; 32])).at(silent).timeout(Duration::from_millis(1_100));
    let registration = far.register(introducer).unwrap();
    let Some(RegistrationEvent::Lost(Error::NotOpened(why))) = registration.next_event() else { panic!("not lost") };
    assert!(matches!(why, OpenFailure::TimedOut | OpenFailure::NotSent { .. }), "{why}");
    assert!(!registration.registered());
    let unreachable = Remote::peer(Fingerprint([7; 32])).at("[::1]:1".parse().unwrap());
    assert_eq!(far.register(unreachable).err(), Some(Error::AddressFamily));
    let unknown = Remote::peer(Fingerprint([7; 32])).at_host("name.invalid", 1);
    assert_eq!(far.register(unknown).err(), Some(Error::NotResolved));
}
