//! Endpoints as their builder makes them, and what happens to calls when nobody runs them.

use core::task::{Context, Poll};
use core::time::Duration;
use std::io;

use async_io::Timer;
use futures_lite::{StreamExt as _, future};
use rtmfp_core::profile::flash::{Discriminator, Fingerprint, Group, StaticKeys};
use rtmfp_core::{App, Event, FlowOptions, Instant, Service};
use rtmfp_smol::{Builder, Bytes, Driver, Endpoint, Error, IntroducePolicy, Reactor, Session, system_rng};
use rtmfp_std::{Clock, Pump, Socket, Turn};

fn builder() -> Builder {
    let keys = StaticKeys::generate(&[Group::Modp1024], &mut *system_rng().unwrap());
    Endpoint::builder().peer().static_keys(keys).bind("127.0.0.1:0".parse().unwrap())
}

fn build() -> (Endpoint, Driver) {
    builder().build().unwrap()
}

fn named(endpoint: &Endpoint) -> Vec<u8> {
    Discriminator::new().fingerprint(endpoint.peer_id().unwrap()).to_bytes()
}

#[test]
fn endpoints_find_each_other_by_peer_id() {
    smol::block_on(async {
        let ((near, driving_near), (far, driving_far)) = (build(), build());
        smol::spawn(driving_near).detach();
        smol::spawn(driving_far).detach();
        let session = near.connect(named(&far), &far.local_addrs()).await.unwrap();
        session.open_flow(FlowOptions::new("flow")).send("hello").await.unwrap();
        let flow = far.accept().await.unwrap().accept_flow().await.unwrap();
        assert_eq!(flow.recv().await.unwrap().unwrap().data, "hello");
    });
}

#[test]
fn a_driver_that_is_dropped_before_it_is_polled_ends_all_calls() {
    smol::block_on(async {
        let ((near, driver), (far, _driving_far)) = (build(), build());
        let session = near.begin(named(&far), &far.local_addrs());
        let flow = session.open_flow(FlowOptions::new("flow"));
        flow.send("hello").await.unwrap();
        let (name, remotes) = (named(&far), &far.local_addrs());
        let waiting = future::zip(
            future::zip(near.connect(name.clone(), remotes), near.accept()),
            future::zip(session.opened(), future::zip(flow.finish(), near.stats())),
        );
        let dropping = async {
            // All of them wait before it goes.
            future::yield_now().await;
            drop(driver);
        };
        let (((connected, accepted), (opened, (finished, stats))), ()) = future::zip(waiting, dropping).await;
        assert_eq!(
            (connected.err(), opened.err(), finished.err()),
            (Some(Error::Stopped), Some(Error::Stopped), Some(Error::Stopped))
        );
        assert!(accepted.is_none() && stats.is_none());
        // And those that come later.
        assert_eq!(near.connect(name, remotes).await.err(), Some(Error::Stopped));
        assert!(near.accept().await.is_none());
        assert_eq!(near.begin(named(&far), &far.local_addrs()).opened().await, Err(Error::Stopped));
    });
}

#[test]
fn a_server_is_found_by_its_uri_and_name() {
    smol::block_on(async {
        let (server, driving) = Endpoint::builder().server().bind("127.0.0.1:0".parse().unwrap()).build().unwrap();
        smol::spawn(driving).detach();
        let (client, driving) = Endpoint::builder().client().build().unwrap();
        smol::spawn(driving).detach();
        let uri = format!("rtmfp://localhost:{}/app", server.local_addrs().first().unwrap().port());
        let session = client.connect_uri(&uri).await.unwrap();
        session.open_flow(FlowOptions::new("flow")).send("hello").await.unwrap();
        let flow = server.accept().await.unwrap().accept_flow().await.unwrap();
        assert_eq!(flow.recv().await.unwrap().unwrap().data, "hello");
        assert_eq!(client.connect_uri("rtmfp://name.invalid/").await.err(), Some(Error::NotResolved));
        // Given up while the name is looked for: nothing is left of it.
        assert!(future::poll_once(client.connect_uri(&uri)).await.is_none());
    });
}

/// Tells how long each message of a flow for it was, in an answer.
struct Lengths;

impl Service for Lengths {
    fn claims(&self, metadata: &[u8]) -> bool {
        metadata == b"lengths"
    }

    fn on_event(&mut self, now: Instant, endpoint: &mut rtmfp_core::Endpoint, event: &Event) {
        let Event::FlowReadable { flow } = event else { return };
        while let Some(message) = endpoint.recv_flow_mut(now, *flow).and_then(|mut flow| flow.read()) {
            let mut flow = endpoint.recv_flow_mut(now, *flow).unwrap();
            let answer = flow.open_return_flow(FlowOptions::new("answer")).unwrap();
            let length = message.data.len().to_string();
            endpoint.send_flow_mut(now, answer).unwrap().write(length.into_bytes()).unwrap();
        }
    }
}

/// What a service answers in a session.
async fn length_of(session: &Session, message: &'static str) -> Bytes {
    let flow = session.open_flow(FlowOptions::new("lengths"));
    flow.send(message).await.unwrap();
    let answer = session.accept_flow().await.unwrap();
    assert!(answer.is_return_to(&flow));
    answer.recv().await.unwrap().unwrap().data
}

#[test]
fn a_service_and_the_handles_share_an_endpoint() {
    smol::block_on(async {
        let (near, driving_near) = build();
        let (far, driving_far) = builder().service(Box::new(Lengths)).build().unwrap();
        smol::spawn(driving_near).detach();
        smol::spawn(driving_far).detach();
        let session = near.connect(named(&far), &far.local_addrs()).await.unwrap();
        assert_eq!(length_of(&session, "for the service").await, "15");
        session.open_flow(FlowOptions::new("other")).send("for the handles").await.unwrap();
        let accepted = far.accept().await.unwrap();
        let flow = accepted.accept_flow().await.unwrap();
        assert_eq!(
            (flow.metadata().as_ref(), flow.recv().await.unwrap().unwrap().data),
            (&b"other"[..], "for the handles".into())
        );
        // The session goes on without a handle, for the service.
        drop((flow, accepted));
        assert_eq!(length_of(&session, "still there").await, "11");
    });
}

#[test]
fn an_endpoint_on_a_thread_of_its_own_has_the_same_handles_and_ends_with_them() {
    let (near, far) = (builder().spawn().unwrap(), builder().spawn().unwrap());
    // No reactor runs here.
    future::block_on(async {
        let session = near.connect(named(&far), &far.local_addrs()).await.unwrap();
        session.open_flow(FlowOptions::new("flow")).send("hello").await.unwrap();
        let accepted = far.accept().await.unwrap();
        assert_eq!(accepted.accept_flow().await.unwrap().recv().await.unwrap().unwrap().data, "hello");
        drop((near, session));
        assert!(matches!(accepted.closed().await, Error::SessionClosed(_)));
    });
}

/// Turns a pump every millisecond.
struct EveryMillisecond(Pump, Timer);

impl Reactor for EveryMillisecond {
    fn wake(&mut self) {
        self.0.wake();
    }

    fn turn(&mut self, app: &mut dyn App) -> io::Result<Turn> {
        self.0.turn(app)
    }

    fn poll_ready(&mut self, context: &mut Context<'_>, _turn: &Turn) -> Poll<io::Result<()>> {
        self.1.poll_next(context).map(|_| Ok(()))
    }
}

#[test]
fn an_endpoint_over_a_programs_own_reactor_has_what_its_builder_gave_it() {
    let socket = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let (locals, clock) = (vec![socket.local_addr()], Clock::new());
    let reactor = |endpoint| {
        EveryMillisecond(Pump::new(endpoint, clock, vec![socket]), Timer::interval(Duration::from_millis(1)))
    };
    let builder = builder().service(Box::new(Lengths)).introduce(IntroducePolicy::Ask);
    let (server, driver) = builder.build_over(locals, system_rng().unwrap(), clock.now(), reactor).unwrap();
    smol::spawn(driver).detach();
    let (client, driving) = build();
    smol::spawn(driving).detach();
    smol::block_on(async {
        let session = client.connect(named(&server), &server.local_addrs()).await.unwrap();
        assert_eq!(length_of(&session, "hello").await, "5");
        let nobody = "00".repeat(32).parse::<Fingerprint>().unwrap();
        let asking = async { client.connect_through(nobody, &server.local_addrs()).await.is_err() };
        let asked = async { server.introductions().next().await.unwrap().peer_id() == Some(nobody) };
        assert!(future::or(asked, asking).await);
    });
}
