//! Meetings whose server says nothing for a while: it runs only while it is driven here.

use core::net::SocketAddr;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use rtmfp_core::App;
use rtmfp_meet::{Everybody, Limits, RelayLimits, Rendezvous};
use rtmfp_std::{
    Clock, Driver, Endpoint, EndpointHandle, Error, IntroducePolicy, PathPolicy, Remote, Waiter, system_rng,
};

/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

fn local() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// A rendezvous server with a relay.
struct Server {
    driver: Driver,
    app: Box<dyn App + Send>,
    handle: EndpointHandle,
}

impl Server {
    fn new() -> Self {
        let mut limits = Limits::default();
        limits.relay = Some(RelayLimits::default());
        let meeting = Rendezvous::new(limits, Everybody, system_rng().unwrap(), |_| {});
        let builder = Endpoint::builder().peer().bind(local()).service(Box::new(meeting));
        let builder = builder.introduce(IntroducePolicy::authorise(|_| false));
        let (pump, app, handle) = builder.parts(|| {}).unwrap();
        Self { driver: Driver::new(pump).unwrap(), app, handle }
    }

    fn remote(&self) -> Remote {
        Remote::peer(self.handle.peer_id().unwrap()).at(*self.handle.local_addrs().first().unwrap())
    }

    /// Runs until `poll` is ready.
    fn run_until<T>(&mut self, mut poll: impl FnMut() -> Poll<T>) -> T {
        let clock = Clock::new();
        let deadline = clock.now() + LONG;
        loop {
            if let Poll::Ready(value) = poll() {
                return value;
            }
            assert!(clock.now() < deadline, "what is waited for does not come");
            self.driver.step(&mut *self.app, Some(Duration::from_millis(5))).unwrap();
        }
    }
}

fn peer() -> Endpoint {
    Endpoint::builder().peer().bind(local()).spawn().unwrap()
}

/// What a call has now.
fn now<T>(poll: impl FnOnce(&mut Context<'_>, &mut Waiter) -> Poll<T>) -> Poll<T> {
    poll(&mut Context::from_waker(Waker::noop()), &mut Waiter::default())
}

/// All that was asked of an endpoint before is carried out.
fn carried_out(endpoint: &Endpoint) {
    assert!(endpoint.stats().is_some());
}

#[test]
fn a_connection_that_begins_once_the_endpoint_shuts_down_ends_at_once() {
    let mut server = Server::new();
    let ada = peer();
    let meeting = ada.join(server.remote()).unwrap();
    server.run_until(|| now(|context, waiter| meeting.poll_registered(context, waiter))).unwrap();
    // The meeting is left, and the endpoint waits for a server that does not answer.
    ada.begin_shutdown(LONG);
    let mut session = meeting.begin_connect(server.handle.peer_id().unwrap(), PathPolicy::Any);
    carried_out(&ada);
    let connected = now(|context, waiter| session.poll_connected(context, waiter));
    assert_eq!(connected, Poll::Ready(Err(Error::Stopped)));
    ada.shutdown(Duration::ZERO).unwrap();
}

#[test]
fn a_number_that_was_given_back_is_not_told_again_and_another_can_be_asked_for() {
    let mut server = Server::new();
    let ada = peer();
    let meeting = ada.join(server.remote()).unwrap();
    meeting.begin_number();
    server.run_until(|| now(|context, waiter| meeting.poll_number(context, waiter))).unwrap();
    meeting.release_number();
    meeting.begin_number();
    assert_eq!(now(|context, waiter| meeting.poll_number(context, waiter)), Poll::Pending);
    carried_out(&ada);
    assert_eq!(now(|context, waiter| meeting.poll_number(context, waiter)), Poll::Pending);
    server.run_until(|| now(|context, waiter| meeting.poll_number(context, waiter))).unwrap();
    // The server does not hear that this end leaves.
    ada.shutdown(Duration::ZERO).unwrap();
}
