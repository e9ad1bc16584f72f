//! What `connect` returns when it does not open a session of its own.

use core::time::Duration;
use std::sync::Arc;

use rtmfp_core::error::OpenError;
use rtmfp_core::profile::flash::{Discriminator, Fingerprint, FlashProfile, Group, StaticKeys};
use rtmfp_core::{Bytes, EndpointConfig, FlowOptions, OpenFailure};
use rtmfp_std::{Endpoint, Error, Remote, Session, UriError, system_rng};

/// An endpoint whose fingerprint proves who it is, and that.
fn endpoint() -> (Endpoint, Vec<u8>) {
    let keys = StaticKeys::generate(&[Group::Modp1024], &mut *system_rng().unwrap());
    let profile = FlashProfile::builder().static_keys(keys).build(&mut *system_rng().unwrap()).unwrap();
    let name = Discriminator::new().fingerprint(profile.fingerprint()).to_bytes();
    let local = "127.0.0.1:0".parse().unwrap();
    (Endpoint::bind(EndpointConfig::default(), Arc::new(profile), &[local]).unwrap(), name)
}

/// Sends a message from one handle and receives it with the other.
fn pass(from: &Session, to: &Session, message: &'static str) {
    from.open_flow(FlowOptions::new("flow")).send(message).unwrap();
    assert_eq!(to.accept_flow().unwrap().recv().unwrap().unwrap().data, message);
}

#[test]
fn connecting_to_a_far_end_with_a_session_returns_that_whoever_began_it() {
    let ((near, near_name), (far, far_name)) = (endpoint(), endpoint());
    let session = near.connect(far_name.clone(), &far.local_addrs()).unwrap();
    let accepted = far.accept().unwrap();
    pass(&session, &accepted, "its keys are proved");
    let again = near.connect(far_name, &far.local_addrs()).unwrap();
    pass(&again, &accepted, "to the same");
    let back = far.connect(near_name, &near.local_addrs()).unwrap();
    pass(&back, &session, "from the same");
    // All are handles of one session, which lives as long as one of them.
    drop((session, accepted));
    pass(&again, &back, "still there");
}

#[test]
fn connecting_does_not_return_a_session_that_is_being_closed() {
    let ((near, _), (far, name)) = (endpoint(), endpoint());
    let session = near.connect(name.clone(), &far.local_addrs()).unwrap();
    let accepted = far.accept().unwrap();
    let flow = session.open_flow(FlowOptions::new("much"));
    // Nobody reads: it cannot be delivered yet.
    for _ in 0..4 {
        flow.send(vec![7; 1_000_000]).unwrap();
    }
    session.begin_close(Duration::from_secs(60));
    let refused = near.connect(name.clone(), &far.local_addrs()).err();
    assert!(matches!(refused, Some(Error::NotOpened(OpenFailure::Duplicate { .. }))), "{refused:?}");
    let received = accepted.accept_flow().unwrap();
    while received.recv().unwrap().is_some() {}
    assert!(matches!(session.closed(), Error::SessionClosed(_)));
    // Then there is room for another.
    let another = near.connect(name, &far.local_addrs()).unwrap();
    pass(&another, &far.accept().unwrap(), "a new one");
}

#[test]
fn a_malformed_discriminator_is_refused_at_once() {
    let ((near, _), (far, _)) = (endpoint(), endpoint());
    for malformed in [&b"not a discriminator"[..], b"\x02\x0f\x01", b"\x01\x63"] {
        let refused = near.connect(Bytes::from_static(malformed), &far.local_addrs());
        assert_eq!(refused.err(), Some(Error::NotBegun(OpenError::BadDiscriminator)), "{malformed:?}");
    }
}

#[test]
fn an_address_of_a_family_without_a_socket_is_reported_as_such() {
    let ((near, _), (_far, name)) = (endpoint(), endpoint());
    let refused = near.connect(name, &["[::1]:1935".parse().unwrap()]).err().unwrap();
    assert_eq!(refused, Error::AddressFamily);
    assert!(refused.to_string().contains("address family"), "{refused}");
}

#[test]
fn a_server_is_found_by_its_uri_and_name() {
    // "localhost" has addresses of both families on most machines. Whichever does not answer holds nobody up for long.
    let server = Endpoint::builder().server().bind("127.0.0.1:0".parse().unwrap()).spawn().unwrap();
    let port = server.local_addrs().first().unwrap().port();
    let client = Endpoint::builder().client().spawn().unwrap();
    let session = client.connect_uri(&format!("rtmfp://localhost:{port}/app")).unwrap();
    pass(&session, &server.accept().unwrap(), "hello");
}

#[test]
fn only_the_pinned_peer_is_connected_to() {
    let flash = FlashProfile::builder;
    for (server, client) in [
        (Endpoint::builder().server(), Endpoint::builder().client()),
        (Endpoint::builder().server().new_static_keys(), Endpoint::builder().client().flash(flash())),
    ] {
        let server = server.bind("127.0.0.1:0".parse().unwrap()).spawn().unwrap();
        let uri = format!("rtmfp://{}/", server.local_addrs().first().unwrap());
        let client = client.spawn().unwrap();
        let remote = Remote::uri(&uri).unwrap().timeout(Duration::from_secs(1));
        let wrong = Fingerprint([7; 32]);
        assert_eq!(client.connect_to(remote.clone().pin(wrong)).err(), Some(Error::NotOpened(OpenFailure::TimedOut)));
        let session = client.connect_to(remote.pin(server.peer_id().unwrap())).unwrap();
        pass(&session, &server.accept().unwrap(), "hello");
    }
}

#[test]
fn what_is_no_uri_or_has_no_address_is_told_at_once() {
    let client = Endpoint::builder().client().spawn().unwrap();
    let refused = client.connect_uri("http://example.org/").err().unwrap();
    assert_eq!(refused, Error::Uri(UriError::Scheme));
    let why = core::error::Error::source(&refused).unwrap().to_string();
    assert!(why.contains("rtmfp://"), "{why}");
    let refused = client.connect_uri("rtmfp://name.invalid/").err().unwrap();
    assert_eq!(refused, Error::NotResolved);
    assert!(refused.to_string().contains("no address"), "{refused}");
}

#[test]
fn a_peer_is_found_through_an_introducer_that_knows_it() {
    let (introducer, introducer_name) = {
        let keys = StaticKeys::generate(&[Group::Modp1024], &mut *system_rng().unwrap());
        let builder = Endpoint::builder().peer().static_keys(keys).configure(|config| config.introduce = true);
        let endpoint = builder.bind("127.0.0.1:0".parse().unwrap()).spawn().unwrap();
        let name = Discriminator::new().fingerprint(endpoint.peer_id().unwrap()).to_bytes();
        (endpoint, name)
    };
    let ((near, _), (far, _)) = (endpoint(), endpoint());
    let registered = far.connect(introducer_name, &introducer.local_addrs()).unwrap();
    let accepted = introducer.accept().unwrap();
    pass(&registered, &accepted, "its keys are proved");
    let session = near.connect_through(far.peer_id().unwrap(), &introducer.local_addrs()).unwrap();
    pass(&session, &far.accept().unwrap(), "hello");
    assert_eq!(session.remote_addr(), far.local_addrs().first().copied(), "without the introducer");
}
