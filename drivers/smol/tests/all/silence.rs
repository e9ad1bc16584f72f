//! Meetings whose server says nothing for a while: it runs only while it is polled here.

use core::future::Future;
use core::pin::pin;
use core::time::Duration;
use std::net::UdpSocket;

use futures_lite::future::{self, poll_once};
use rtmfp_core::ForwardedHelloPolicy;
use rtmfp_meet::{Everybody, Limits, RelayLimits, Rendezvous};
use rtmfp_smol::{Driver, Endpoint, Error, Failure, GuestOptions, IntroducePolicy, PathPolicy, Remote, system_rng};

/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

/// A rendezvous server with a relay.
struct Server {
    driver: Driver,
    endpoint: Endpoint,
}

impl Server {
    fn new() -> Self {
        let mut limits = Limits::default();
        limits.relay = Some(RelayLimits::default());
        let meeting = Rendezvous::new(limits, Everybody, system_rng().unwrap(), |_| {});
        let builder = Endpoint::builder().peer().bind("127.0.0.1:0".parse().unwrap()).service(Box::new(meeting));
        let (endpoint, driver) = builder.introduce(IntroducePolicy::authorise(|_| false)).build().unwrap();
        Self { driver, endpoint }
    }

    fn remote(&self) -> Remote {
        Remote::peer(self.endpoint.peer_id().unwrap()).at(*self.endpoint.local_addrs().first().unwrap())
    }

    /// Runs until `future` is ready.
    async fn run_until<T>(&mut self, future: impl Future<Output = T>) -> T {
        let driver = async { unreachable!("the server runs: {:?}", (&mut self.driver).await) };
        let late = async {
            smol::Timer::after(LONG).await;
            panic!("what is waited for does not come")
        };
        future::or(future, future::or(driver, late)).await
    }
}

fn peer() -> Endpoint {
    Endpoint::builder().peer().bind("127.0.0.1:0".parse().unwrap()).spawn().unwrap()
}

/// All that was asked of an endpoint before is carried out.
async fn carried_out(endpoint: &Endpoint) {
    assert!(endpoint.stats().await.is_some());
}

#[test]
fn a_connection_that_begins_once_the_endpoint_shuts_down_ends_at_once() {
    let (mut server, ada) = (Server::new(), peer());
    future::block_on(async {
        let meeting = ada.join(server.remote()).await.unwrap();
        server.run_until(meeting.wait_registered()).await.unwrap();
        // The meeting is left, and the endpoint waits for a server that does not answer.
        assert!(poll_once(ada.shutdown(LONG)).await.is_none());
        let mut connecting = pin!(meeting.connect(server.endpoint.peer_id().unwrap()));
        // It may be carried out as soon as it is asked for.
        let begun = poll_once(connecting.as_mut()).await;
        carried_out(&ada).await;
        let ended = match begun {
            Some(ended) => ended,
            None => poll_once(connecting).await.unwrap(),
        };
        assert_eq!(ended.err(), Some(Error::Stopped));
        ada.shutdown(Duration::ZERO).await.unwrap();
    });
}

#[test]
fn a_number_that_was_given_back_is_not_told_again_and_another_can_be_asked_for() {
    let (mut server, ada) = (Server::new(), peer());
    future::block_on(async {
        let meeting = ada.join(server.remote()).await.unwrap();
        server.run_until(meeting.number()).await.unwrap();
        meeting.release_number();
        let mut number = pin!(meeting.number());
        assert_eq!(poll_once(number.as_mut()).await, None);
        carried_out(&ada).await;
        assert_eq!(poll_once(number.as_mut()).await, None);
        server.run_until(number).await.unwrap();
        // The server does not hear that this end leaves.
        ada.shutdown(Duration::ZERO).await.unwrap();
    });
}

#[test]
fn questions_that_nobody_waits_for_take_no_room() {
    // It is never reached: the questions wait.
    let (server, ada) = (Server::new(), peer());
    future::block_on(async {
        let meeting = ada.join(server.remote()).await.unwrap();
        let mut asked: Vec<_> = (0..64).map(|number| Box::pin(meeting.find(number))).collect();
        for asked in &mut asked {
            assert_eq!(poll_once(asked).await, None);
        }
        carried_out(&ada).await;
        assert_eq!(meeting.find(64).await, Err(Error::NotMet(Failure::TooMany)), "the limit is met");
        drop(asked);
        let mut asked = pin!(meeting.find(65));
        assert_eq!(poll_once(asked.as_mut()).await, None);
        carried_out(&ada).await;
        assert_eq!(poll_once(asked).await, None);
    });
}

#[test]
fn while_an_attempt_runs_the_failure_of_the_one_before_is_not_told() {
    let (stranger, ada) = (peer(), peer());
    let address = *stranger.local_addrs().first().unwrap();
    future::block_on(async {
        let meeting = ada.join(Remote::peer(stranger.peer_id().unwrap()).at(address)).await.unwrap();
        let session = stranger.accept().await.unwrap();
        // There are two, and either may be the first. With the one for questions the session ends.
        while let Ok(flow) = session.accept_flow().await {
            flow.reject(7);
        }
        assert_eq!(meeting.wait_registered().await.err(), Some(Error::NotMet(Failure::NoRendezvous)));
        stranger.shutdown(Duration::ZERO).await.unwrap();
        // The driver's thread lets the port go a little later.
        let silent = loop {
            match UdpSocket::bind(address) {
                Ok(socket) => break socket,
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse),
            }
            future::yield_now().await;
        };
        // It never answers: an attempt that has begun runs for 10 s.
        silent.set_read_timeout(Some(LONG)).unwrap();
        // The first may be the end of the session before.
        let mut told = None;
        for _ in 0..4 {
            silent.recv_from(&mut [0; 2_048]).unwrap();
            carried_out(&ada).await;
            told = poll_once(meeting.wait_registered()).await;
            if told.is_none() {
                break;
            }
        }
        assert_eq!(told, None);
        assert_eq!(meeting.failure(), Some(Failure::NoRendezvous));
        assert_eq!(poll_once(meeting.number()).await, None);
        // Rather than wait for the attempt.
        ada.shutdown(Duration::ZERO).await.unwrap();
    });
}

/// An endpoint that answers nobody whom an introducer hands on.
fn hidden() -> Endpoint {
    let builder = Endpoint::builder().peer().bind("127.0.0.1:0".parse().unwrap());
    builder.configure(|config| config.forwarded_hello = ForwardedHelloPolicy::Ignore).spawn().unwrap()
}

fn relay_only() -> GuestOptions {
    let mut options = GuestOptions::default();
    options.policy = PathPolicy::RelayOnly;
    options
}

#[test]
fn a_server_is_joined_over_its_relay_only_by_endpoints_that_do_not_show_their_addresses() {
    let server = Server::new();
    future::block_on(async {
        let refused = peer().join_with(server.remote(), relay_only()).await.err();
        assert_eq!(refused, Some(Error::AnswersForwardedHellos));
        assert!(hidden().join_with(server.remote(), relay_only()).await.is_ok());
    });
}
