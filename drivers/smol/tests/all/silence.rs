//! Meetings whose server says nothing for a while: it runs only while it is polled here.

use core::future::Future;
use core::pin::pin;
use core::time::Duration;

use futures_lite::future::{self, poll_once};
use rtmfp_meet::{Everybody, Limits, RelayLimits, Rendezvous};
use rtmfp_smol::{Driver, Endpoint, Error, IntroducePolicy, Remote, system_rng};

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
    });
}
