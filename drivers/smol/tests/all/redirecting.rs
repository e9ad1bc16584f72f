//! The messages between a server and a redirector, byte by byte, and what becomes of clients: `examples/redirected`.

use core::net::SocketAddr;
use core::time::Duration;
use std::net::UdpSocket;

use futures_lite::future;
use hmac::{Hmac, KeyInit, Mac};
use rtmfp_core::FlowOptions;
use rtmfp_core::profile::flash::{Discriminator, FlashProfile, Group, StaticKeys};
use rtmfp_core::wire::{Address, AddressOrigin};
use rtmfp_smol::{Bytes, Endpoint, Error, IntroducePolicy, OpenFailure, Registration, Remote, system_rng};
use sha2::Sha256;
use smol::Timer;

#[path = "../../examples/redirected/redirector.rs"]
mod redirector;
#[path = "../../examples/redirected/server.rs"]
mod server;

use server::{Account, BAD_AUTHENTICATION, DRAINING, join, load_factor, settings};

const SOON: Duration = Duration::from_secs(1);
/// Long enough for the third hello: the first may come when the redirector has answered enough in that second.
const THREE_HELLOS: Duration = Duration::from_secs(3);
const METADATA: &str = "http://zenomt.com/ns/rtmfp#redirector";

/// A test, which fails if what it waits for does not come.
fn run(test: impl Future<Output = ()>) {
    let too_long = async {
        Timer::after(Duration::from_secs(60)).await;
        panic!("it waits for something that does not come");
    };
    smol::block_on(future::or(test, too_long));
}

fn account(password: &str) -> Account {
    Account { user: "alice".to_owned(), password: password.to_owned() }
}

/// What proves a password, made here and not by the example.
fn proof(password: &str, nonce: &[u8]) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(password.as_bytes()).unwrap().chain_update(nonce);
    [&[0x1d][..], &mac.finalize().into_bytes()[..], b"alice"].concat()
}

fn start(builder: rtmfp_smol::Builder, at: SocketAddr) -> (Endpoint, SocketAddr, smol::Task<std::io::Result<()>>) {
    let (endpoint, driver) = builder.bind(at).build().unwrap();
    let at = *endpoint.local_addrs().first().unwrap();
    (endpoint, at, smol::spawn(driver))
}

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// An endpoint that is called by any URI, its hostname and its peer ID.
fn start_server() -> (Endpoint, SocketAddr) {
    let keys = StaticKeys::generate(&[Group::Modp1024], &mut *system_rng().unwrap());
    let flash = FlashProfile::builder().hostname(b"server").accept_ancillary(true);
    let (endpoint, at, driving) = start(Endpoint::builder().server().flash(flash).static_keys(keys), any_port());
    driving.detach();
    (endpoint, at)
}

fn start_client() -> Endpoint {
    let flash = FlashProfile::builder().groups(&[Group::Modp1024]);
    let (endpoint, _, driving) = start(Endpoint::builder().client().flash(flash), any_port());
    driving.detach();
    endpoint
}

/// A redirector, and what runs it.
fn start_redirector(at: SocketAddr) -> (Endpoint, SocketAddr, smol::Task<()>) {
    let flash = FlashProfile::builder().groups(&[Group::Modp1024]).hostname(b"redirector");
    let builder = Endpoint::builder().peer().flash(flash).introduce(IntroducePolicy::Ask);
    let (endpoint, at, driving) = start(builder, at);
    let redirecting = redirector::run(endpoint.clone(), vec![account("secret")]);
    let running = smol::spawn(async move {
        redirecting.await;
        driving.await.unwrap();
    });
    (endpoint, at, running)
}

fn redirector_at(at: SocketAddr) -> Remote {
    Remote::new(Discriminator::new().hostname(b"redirector").to_bytes()).at(at)
}

async fn register(server: &Endpoint, at: SocketAddr) -> Registration {
    server.register(redirector_at(at)).await.unwrap()
}

/// Where a client gets to that asks the redirector for any server.
async fn reached(client: &Endpoint, at: SocketAddr) -> Result<SocketAddr, Error> {
    let session = client.connect_to(Remote::uri(&format!("rtmfp://{at}/app")).unwrap().timeout(THREE_HELLOS)).await?;
    let reached = session.remote_addr().unwrap();
    session.close(SOON).await?;
    Ok(reached)
}

/// The redirector does not say when it has read what it was told: until then clients still get elsewhere.
async fn until_reached(client: &Endpoint, at: SocketAddr, wanted: Option<SocketAddr>) {
    while reached(client, at).await.ok() != wanted {}
}

#[test]
fn the_messages_of_a_server_are_these_bytes() {
    // RFC 4231 §4.3.
    let hmac = [
        0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24, 0x26, 0x08, 0x95, 0x75, 0xc7, 0x5a, 0x00,
        0x3f, 0x08, 0x9d, 0x27, 0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43,
    ];
    let authentication = account("Jefe").authentication(b"what do ya want for nothing?").unwrap();
    assert_eq!(authentication, [&[0x1d], &hmac[..], b"alice"].concat());
    assert_eq!(server::METADATA, METADATA.as_bytes());
    assert_eq!(settings(&[]), [0x05, 0x01, 0x0d]);
    let address = Address { origin: AddressOrigin::Local, socket: "192.0.2.1:1935".parse().unwrap() };
    assert_eq!(settings(&[address]), [0x05, 0x01, 0x0d, 0x08, 0x0a, 0x01, 192, 0, 2, 1, 0x07, 0x8f]);
    assert_eq!((load_factor(0), load_factor(300)), (vec![0x0f, 0x00], vec![0x0f, 0x82, 0x2c]));
    assert_eq!((DRAINING, BAD_AUTHENTICATION), (0x00, 0x0a));
}

/// A redirector that is nothing but bytes.
#[test]
fn a_server_authenticates_and_asks_for_clients() {
    run(async {
        let flash = FlashProfile::builder().groups(&[Group::Modp1024]).hostname(b"redirector");
        let (redirector, at, driving) = start(Endpoint::builder().peer().flash(flash), any_port());
        driving.detach();
        let (server, server_at) = start_server();
        let registration = register(&server, at).await;
        let account = account("secret");
        let (place, flow) = future::zip(join(&registration, &account), async {
            let session = redirector.accept().await.unwrap();
            let flow = session.accept_flow().await.unwrap();
            assert_eq!((flow.metadata(), flow.association()), (&METADATA.into(), None));
            let nonce = session.near_nonce().await.unwrap();
            assert_eq!(nonce.len(), 32);
            for message in [proof("secret", &nonce), vec![0x05, 0x01, 0x0d], vec![0x0f, 0x00]] {
                assert_eq!(flow.recv().await.unwrap().unwrap().data, message);
            }
            let other = session.open_flow(FlowOptions::new(METADATA));
            other.send("no answer to the server's flow").await.unwrap();
            let answer = flow.open_return_flow(FlowOptions::new(METADATA));
            answer.send(&b"\x10unknown"[..]).await.unwrap();
            answer.send([&[0x0d, 0x02, 198, 51, 100, 1], &server_at.port().to_be_bytes()[..]].concat()).await.unwrap();
            (flow, answer)
        })
        .await;
        let place = place.unwrap();
        assert_eq!(place.seen_at().await, Ok(Some((([198, 51, 100, 1]), server_at.port()).into())));
        place.tell([DRAINING]).await.unwrap();
        assert_eq!(flow.0.recv().await.unwrap().unwrap().data, [0x00].as_slice());
        flow.0.reject(0x0a);
        assert_eq!(place.lost().await, Error::Rejected(10));
    });
}

/// What a server sends, and the code of the redirector's refusal.
fn refused(nonces: &[Bytes; 2]) -> Vec<(&'static str, Vec<Vec<u8>>, u64)> {
    let [near, far] = nonces;
    let right = proof("secret", far);
    let settings = vec![0x05, 0x01, 0x0d];
    vec![
        (METADATA, vec![settings.clone()], 10),
        (METADATA, vec![vec![], vec![0x00]], 10),
        (METADATA, vec![vec![0x1d, 7], settings.clone()], 10),
        (METADATA, vec![proof("Secret", far)], 10),
        (METADATA, vec![proof("secret", near)], 10),
        (METADATA, vec![right.clone(), settings.clone(), proof("Secret", far)], 10),
        ("http://zenomt.com/ns/rtmfp", vec![right.clone(), settings], 0),
        (METADATA, vec![right.clone(), vec![0x05, 0x02, 0x0d]], 0),
        (METADATA, vec![right.clone(), vec![0x05, 0x03, 0x0a, 0x00, 0x7f]], 0),
        (METADATA, vec![right, vec![0x0f, 0x80]], 0),
    ]
}

/// A server that is nothing but bytes.
#[test]
fn a_redirector_refuses_who_does_not_prove_a_password() {
    run(async {
        let (redirector, at, _running) = start_redirector(any_port());
        for number in 0..refused(&[Bytes::new(), Bytes::new()]).len() {
            let (server, _) = start_server();
            let session = server.connect_to(redirector_at(at)).await.unwrap();
            let nonces = [session.near_nonce().await.unwrap(), session.far_nonce().await.unwrap()];
            let (metadata, messages, code) = refused(&nonces).swap_remove(number);
            let flow = session.open_flow(FlowOptions::new(metadata));
            for message in &messages {
                flow.send(message.clone()).await.unwrap();
            }
            assert_eq!(flow.closed().await, Error::Rejected(code), "{metadata} {messages:x?}");
        }
        // An unknown user proves nothing and refutes nothing.
        let (server, server_at) = start_server();
        let session = server.connect_to(redirector_at(at)).await.unwrap();
        let flow = session.open_flow(FlowOptions::new(METADATA));
        flow.send([&[0x1d][..], &[7; 32], b"bob"].concat()).await.unwrap();
        flow.send(proof("secret", &session.far_nonce().await.unwrap())).await.unwrap();
        flow.send(vec![0x05]).await.unwrap();
        let answer = session.accept_flow().await.unwrap();
        assert_eq!((answer.metadata(), answer.is_return_to(&flow)), (&METADATA.into(), true));
        let seen_at = [&[0x0d, 0x02, 127, 0, 0, 1], &server_at.port().to_be_bytes()[..]].concat();
        assert_eq!(answer.recv().await.unwrap().unwrap().data, seen_at);
        let client = start_client();
        let by_peer_id = Remote::peer(server.peer_id().unwrap()).at(at).timeout(SOON);
        let nowhere = Err(Error::NotOpened(OpenFailure::TimedOut));
        assert_eq!(client.connect_to(by_peer_id).await.map(|_| ()), nowhere, "it has named no address");
        // No client gets an answer at that address, but the server has its hello from the redirector.
        let silent = UdpSocket::bind(any_port()).unwrap();
        let port = silent.local_addr().unwrap().port().to_be_bytes();
        flow.send([&[0x05, 0x08, 0x0a, 0x00, 127, 0, 0, 1], &port[..]].concat()).await.unwrap();
        let session = client.connect_through(server.peer_id().unwrap(), &[at]).await.unwrap();
        assert_eq!(session.remote_addr(), Some(server_at));
        silent.set_read_timeout(Some(SOON)).unwrap();
        assert!(silent.recv(&mut [0; 2_048]).is_ok(), "the client was redirected there too");
        redirector.shutdown(SOON).await.unwrap();
    });
}

#[test]
fn clients_get_to_the_server_with_the_least_load_that_is_not_draining() {
    run(async {
        let (_redirector, at, _running) = start_redirector(any_port());
        let ((one, one_at), (two, two_at)) = (start_server(), start_server());
        let (account, client) = (account("secret"), start_client());
        assert_eq!(reached(&client, at).await, Err(Error::NotOpened(OpenFailure::TimedOut)), "there is no server");
        let registrations = [register(&one, at).await, register(&two, at).await];
        let [first, second] = registrations.each_ref().map(|registration| join(registration, &account));
        let (first, second) = future::try_zip(first, second).await.unwrap();
        assert_eq!(first.seen_at().await, Ok(Some(one_at)));
        let by_hostname = Remote::new(Discriminator::new().hostname(b"server").to_bytes()).at(at).timeout(SOON);
        assert!(client.connect_to(by_hostname).await.is_err(), "a hostname alone gets no client anywhere");
        first.tell(load_factor(1)).await.unwrap();
        until_reached(&client, at, Some(two_at)).await;
        second.tell(load_factor(2)).await.unwrap();
        until_reached(&client, at, Some(one_at)).await;
        first.tell([DRAINING]).await.unwrap();
        until_reached(&client, at, Some(two_at)).await;
        // A server that gives its place up gets no clients either, though it stays registered.
        drop(second);
        until_reached(&client, at, None).await;
    });
}

#[test]
fn a_server_that_drains_is_reached_by_its_peer_id_and_comes_back_after_a_restart() {
    run(async {
        let (redirector, at, running) = start_redirector(any_port());
        let (server, server_at) = start_server();
        let (account, client) = (account("secret"), start_client());
        let registration = register(&server, at).await;
        let place = join(&registration, &account).await.unwrap();
        place.tell([DRAINING]).await.unwrap();
        until_reached(&client, at, None).await;
        let session = client.connect_through(server.peer_id().unwrap(), &[at]).await.unwrap();
        assert_eq!(session.remote_addr(), Some(server_at));
        session.close(SOON).await.unwrap();
        place.tell(settings(&[])).await.unwrap();
        until_reached(&client, at, Some(server_at)).await;

        redirector.shutdown(SOON).await.unwrap();
        running.await;
        assert!(matches!(place.lost().await, Error::SessionClosed(_)));
        until_reached(&client, at, None).await;
        let (_redirector, _, _running) = start_redirector(at);
        // Another session has other nonces, and the password is proved anew.
        let place = join(&registration, &account).await.unwrap();
        until_reached(&client, at, Some(server_at)).await;
        drop(place);
    });
}

#[test]
fn a_wrong_password_is_told_by_its_code() {
    run(async {
        let (_redirector, at, _running) = start_redirector(any_port());
        let (server, _) = start_server();
        let registration = register(&server, at).await;
        let refused = join(&registration, &account("Secret")).await.err();
        assert_eq!(refused, Some(Error::Rejected(BAD_AUTHENTICATION)));
        assert_eq!(refused.unwrap().to_string(), "the receiver rejected the flow with code 10");
        assert!(registration.registered(), "a session without a place");
    });
}
