//! Meetings whose server says nothing for a while: it runs only while it is driven here.

use core::net::SocketAddr;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::net::UdpSocket;

use rtmfp_core::{App, ForwardedHelloPolicy};
use rtmfp_meet::{Everybody, Limits, RelayLimits, Rendezvous};
use rtmfp_std::{
    Clock, Driver, Endpoint, EndpointHandle, Error, Failure, GuestOptions, IntroducePolicy, PathPolicy, Remote, Waiter,
    system_rng,
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

#[test]
fn questions_that_nobody_waits_for_take_no_room() {
    // It is never reached: the questions wait.
    let server = Server::new();
    let ada = peer();
    let meeting = ada.join(server.remote()).unwrap();
    let asked: Vec<_> = (0..64).map(|number| meeting.ask_find(number)).collect();
    carried_out(&ada);
    let one_more = meeting.ask_find(64);
    carried_out(&ada);
    let refused = now(|context, waiter| one_more.poll(context, waiter));
    assert_eq!(refused, Poll::Ready(Some(Err(Failure::TooMany))), "the limit is met");
    drop(asked);
    let asked = meeting.ask_find(65);
    carried_out(&ada);
    assert_eq!(now(|context, waiter| asked.poll(context, waiter)), Poll::Pending);
}

#[test]
fn while_an_attempt_runs_the_failure_of_the_one_before_is_not_told() {
    let stranger = peer();
    let address = *stranger.local_addrs().first().unwrap();
    let ada = peer();
    let meeting = ada.join(Remote::peer(stranger.peer_id().unwrap()).at(address)).unwrap();
    let session = stranger.accept().unwrap();
    // There are two, and either may be the first. With the one for questions the session ends.
    while let Ok(flow) = session.accept_flow() {
        flow.reject(7);
    }
    assert_eq!(meeting.wait_registered().err(), Some(Error::NotMet(Failure::NoRendezvous)));
    stranger.shutdown(Duration::ZERO).unwrap();
    // What listens there now never answers: an attempt that has begun runs for 10 s.
    let silent = UdpSocket::bind(address).unwrap();
    silent.set_read_timeout(Some(LONG)).unwrap();
    // The first may be the end of the session before.
    assert!((0..4).any(|_| {
        silent.recv_from(&mut [0; 2_048]).unwrap();
        carried_out(&ada);
        now(|context, waiter| meeting.poll_registered(context, waiter)).is_pending()
    }));
    meeting.begin_number();
    assert_eq!(meeting.failure(), Some(Failure::NoRendezvous));
    assert_eq!(now(|context, waiter| meeting.poll_number(context, waiter)), Poll::Pending);
    // Rather than wait for the attempt.
    ada.shutdown(Duration::ZERO).unwrap();
}

/// An endpoint that answers nobody whom an introducer hands on.
fn hidden() -> Endpoint {
    let builder = Endpoint::builder().peer().bind(local());
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
    let join = |endpoint: &Endpoint| endpoint.join_resolved(&server.remote(), relay_only()).err();
    assert_eq!(join(&peer()), Some(Error::AnswersForwardedHellos));
    assert_eq!(join(&hidden()), None);
    assert_eq!(join(&Endpoint::builder().client().bind(local()).spawn().unwrap()), None, "it answers nobody");
}
