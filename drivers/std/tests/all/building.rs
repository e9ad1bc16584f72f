//! Endpoints as their builder makes them.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::net::UdpSocket;
use std::sync::Arc;

use rtmfp_core::profile::flash::{Discriminator, FlashProfile, Group, StaticKeys};
use rtmfp_core::profile::modern::Identity;
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::{FlowOptions, OpenFailure};
use rtmfp_std::{Builder, Endpoint, Error, Remote, system_rng};

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// Small keys, which take less time.
fn keys() -> StaticKeys {
    StaticKeys::generate(&[Group::Modp1024], &mut *system_rng().unwrap())
}

fn with_keys(builder: Builder) -> Endpoint {
    builder.static_keys(keys()).bind(loopback()).spawn().unwrap()
}

fn named(endpoint: &Endpoint) -> Vec<u8> {
    Discriminator::new().fingerprint(endpoint.peer_id().unwrap()).to_bytes()
}

#[test]
fn without_settings_an_endpoint_has_all_addresses_and_an_identity_of_its_own() {
    let (endpoint, other) = (Endpoint::builder().spawn().unwrap(), Endpoint::builder().spawn().unwrap());
    assert_ne!(endpoint.peer_id().unwrap(), other.peer_id().unwrap());
    let has = |ip: core::net::IpAddr| endpoint.local_addrs().iter().any(|local| local.ip() == ip && local.port() != 0);
    assert!(has(Ipv4Addr::UNSPECIFIED.into()));
    assert_eq!(has(Ipv6Addr::UNSPECIFIED.into()), UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok());
    // Whoever knows the peer ID reaches it.
    let port = endpoint.local_addrs().first().unwrap().port();
    let remote = Remote::peer(endpoint.peer_id().unwrap()).at((Ipv4Addr::LOCALHOST, port).into());
    let session = other.connect_to(remote).unwrap();
    session.open_flow(FlowOptions::new("flow")).send("hello").unwrap();
    let heard = endpoint.accept().unwrap().accept_flow().unwrap().recv().unwrap().unwrap();
    assert_eq!(heard.data, "hello");
}

#[test]
fn the_same_static_keys_are_the_same_peer() {
    let keys = keys();
    let bind = || Endpoint::builder().bind(loopback()).static_keys(keys.clone()).spawn().unwrap();
    assert_eq!(bind().peer_id().unwrap(), bind().peer_id().unwrap());
}

#[test]
fn what_proves_nothing_is_no_peer_id() {
    let flash = Endpoint::builder().flash(FlashProfile::builder()).bind(loopback()).spawn().unwrap();
    let plain = Arc::new(PlainProfile::new(&[0; 34]).pretend_authentic(true));
    let plain = Endpoint::builder().profile(plain).bind(loopback()).spawn().unwrap();
    assert_eq!((flash.peer_id(), plain.peer_id()), (None, None));
}

#[test]
fn a_client_calls_a_server_by_its_uri_and_is_not_called() {
    let profiles: [fn(Builder) -> Builder; 2] = [|builder| builder, |builder| builder.flash(FlashProfile::builder())];
    for choose in profiles {
        let server = choose(Endpoint::builder().server()).bind(loopback()).spawn().unwrap();
        let client = choose(Endpoint::builder().client()).bind(loopback()).spawn().unwrap();
        let session = client.connect_uri(&format!("rtmfp://{}/app", server.local_addrs()[0])).unwrap();
        assert_eq!(session.remote_addr(), server.local_addrs().first().copied());
    }

    let client = with_keys(Endpoint::builder().client());
    let caller = with_keys(Endpoint::builder().peer().configure(|config| config.open_timeout = Duration::from_secs(1)));
    let refused = caller.connect(named(&client), &client.local_addrs()).err();
    assert_eq!(refused, Some(Error::NotOpened(OpenFailure::TimedOut)));
}

#[test]
fn what_cannot_be_bound_or_is_out_of_range_is_told() {
    let taken = UdpSocket::bind(loopback()).unwrap();
    assert!(Endpoint::builder().bind(taken.local_addr().unwrap()).spawn().is_err());
    let out_of_range =
        Endpoint::builder().configure(|config| config.max_sessions_per_address = 0).spawn().err().unwrap();
    assert_eq!(out_of_range.kind(), std::io::ErrorKind::InvalidInput);
}

#[test]
fn a_modern_endpoint_is_reached_by_its_peer_id_and_by_its_uri() {
    let identity = Identity::generate(&mut *system_rng().unwrap());
    let server = Endpoint::builder().server().identity(identity.clone()).bind(loopback()).spawn().unwrap();
    assert_eq!(server.peer_id(), Some(identity.peer_id()));
    let client = Endpoint::builder().client().bind(loopback()).spawn().unwrap();
    let address = server.local_addrs()[0];
    let uri = format!("rtmfp://{address}/app");
    for remote in [Remote::peer(identity.peer_id()).at(address), uri.parse().unwrap()] {
        let session = client.connect_to(remote).unwrap();
        session.open_flow(FlowOptions::new("flow")).send("hello").unwrap();
        let accepted = server.accept().unwrap();
        assert_eq!(accepted.accept_flow().unwrap().recv().unwrap().unwrap().data, "hello");
        for (session, far) in [(&session, &server), (&accepted, &client)] {
            session.far_keys_proved().unwrap();
            assert_eq!(session.peer_id(), far.peer_id());
        }
        session.close(Duration::from_secs(5)).unwrap();
    }
    let another = uri.parse::<Remote>().unwrap().pin(client.peer_id().unwrap()).timeout(Duration::from_secs(1));
    assert!(client.connect_to(another).is_err(), "nobody else is connected to");
}

#[cfg(feature = "ml-kem")]
#[test]
fn a_session_tells_whether_it_is_a_hybrid() {
    use rtmfp_core::profile::modern::{Hybrid, ModernProfile};
    let with = |hybrid| ModernProfile::builder().hybrid(hybrid);
    let server = Endpoint::builder().server().modern(with(Hybrid::Offered)).bind(loopback()).spawn().unwrap();
    for (hybrid, expected) in [(Hybrid::Required, true), (Hybrid::Off, false)] {
        let client = Endpoint::builder().client().modern(with(hybrid)).bind(loopback()).spawn().unwrap();
        let session = client.connect_uri(&format!("rtmfp://{}/app", server.local_addrs()[0])).unwrap();
        let accepted = server.accept().unwrap();
        assert_eq!((session.is_post_quantum(), accepted.is_post_quantum()), (expected, expected));
    }
}

/// Presets do not take the place of what was chosen before.
#[test]
fn who_an_endpoint_is_may_be_said_before_the_preset_and_after() {
    let identity = Identity::generate(&mut *system_rng().unwrap());
    for endpoint in [
        Endpoint::builder().identity(identity.clone()).peer(),
        Endpoint::builder().peer().identity(identity.clone()),
        Endpoint::builder().identity(identity.clone()).client(),
    ] {
        assert_eq!(endpoint.bind(loopback()).spawn().unwrap().peer_id(), Some(identity.peer_id()));
    }
    let client = with_keys(Endpoint::builder().client());
    for server in [Endpoint::builder().static_keys(keys()).server(), Endpoint::builder().server().static_keys(keys())] {
        let server = server.bind(loopback()).spawn().unwrap();
        assert!(client.connect_uri(&format!("rtmfp://{}/app", server.local_addrs()[0])).is_ok());
    }
}

/// Neither falls back to the other's profile.
#[test]
fn endpoints_of_different_profiles_have_no_sessions() {
    let modern = Endpoint::builder().server().bind(loopback()).spawn().unwrap();
    let flash = Endpoint::builder().server().flash(FlashProfile::builder()).bind(loopback()).spawn().unwrap();
    for (from, to) in [(&modern, &flash), (&flash, &modern)] {
        let uri = format!("rtmfp://{}/app", to.local_addrs()[0]);
        let remote = uri.parse::<Remote>().unwrap().timeout(Duration::from_secs(1));
        assert_eq!(from.connect_to(remote).unwrap_err(), Error::NotOpened(OpenFailure::TimedOut));
    }
}
