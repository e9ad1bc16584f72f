//! Introducing, and staying registered with an introducer.

use super::*;
use crate::endpoint::shared::WAITING_INTRODUCTIONS;
use crate::endpoint::{Builder, IntroducePolicy, Registration, RegistrationEvent, Remote};
use rtmfp_core::{CloseReason, OpenFailure, SessionState, UnmatchedHello};

impl Server {
    fn introducing(config: EndpointConfig, policy: IntroducePolicy) -> Self {
        let mut server = Self::new(config);
        server.app = server.app.introduce(policy);
        server
    }

    /// An endpoint without a session.
    fn stranger(&mut self, config: EndpointConfig) -> Client {
        self.clients += 1;
        let mut endpoint = endpoint(&format!("client {}", self.clients), config);
        let address = SocketAddr::from(([198, 51, 100, 1], self.clients));
        let target = Target { discriminator: "nobody".into(), candidates: vec![(server_path(), Duration::ZERO)] };
        let session = endpoint.open(self.now, target).unwrap();
        Client { endpoint, address, session }
    }

    fn register(&self, name: &'static str, client: &Client) -> Registration {
        self.handle.register_resolved(&Remote::new(name).at(client.address)).unwrap()
    }
}

fn events(registration: &Registration) -> Vec<RegistrationEvent> {
    let next = || match registration.poll_event(&mut context(), &mut Waiter::default()) {
        Poll::Ready(event) => event,
        Poll::Pending => None,
    };
    core::iter::from_fn(next).collect()
}

#[test]
fn requests_that_nobody_takes_are_dropped_the_oldest_first_and_counted() {
    let mut server = Server::introducing(EndpointConfig::default(), IntroducePolicy::Ask);
    for number in 0..WAITING_INTRODUCTIONS + 10 {
        let path = Path::new(InterfaceId(0), SocketAddr::from(([198, 51, 100, 1], 1)));
        let (tag, discriminator) = (vec![0; 16].into(), number.to_string().into());
        let hello = UnmatchedHello { path, discriminator, tag, datagram_len: 100 };
        server.app.on_event(server.now, &mut server.endpoint, Event::UnmatchedHello { hello });
    }
    assert_eq!(server.handle.missed_introductions(), 10);
    let next = || match server.handle.poll_introduction(&mut context(), &mut Waiter::default()) {
        Poll::Ready(introduction) => introduction,
        Poll::Pending => None,
    };
    let waiting: Vec<_> = core::iter::from_fn(next).collect();
    assert_eq!(waiting.len(), WAITING_INTRODUCTIONS);
    assert_eq!(waiting.first().unwrap().discriminator(), "10");
    // A late answer finds nobody.
    let asked = waiting.first().unwrap().ask_introduce();
    server.settle();
    assert_eq!(asked.poll(&mut context(), &mut Waiter::default()), Poll::Ready(Some(false)));
    let handle = server.handle.clone();
    drop(server);
    assert!(handle.next_introduction().is_none(), "it has stopped");
}

#[test]
fn who_was_not_made_to_ask_waits_for_no_requests() {
    assert!(Server::new(EndpointConfig::default()).handle.next_introduction().is_none());
}

#[test]
fn an_introducer_keeps_sessions_that_nobody_holds_and_rejects_their_flows() {
    for introduces in [true, false] {
        let mut server = match introduces {
            true => Server::introducing(EndpointConfig::default(), IntroducePolicy::Connected),
            false => Server::new(EndpointConfig::default()),
        };
        let mut client = server.client();
        server.exchange(&mut client);
        let accepted = server.accept().unwrap();
        let flow = client.open_flow(server.now);
        client.write(server.now, flow, b"before".to_vec());
        server.exchange(&mut client);
        drop(accepted);
        server.exchange(&mut client);
        let open = client.endpoint.session(client.session).is_some_and(|session| session.state() == SessionState::Open);
        assert_eq!((open, server.app.sessions()), (introduces, usize::from(introduces)));
        if introduces {
            let late = client.open_flow(server.now);
            client.write(server.now, late, b"after".to_vec());
            server.exchange(&mut client);
            for flow in [flow, late] {
                let refused = client.endpoint.send_flow(flow).is_none_or(|flow| !flow.is_open());
                assert!(refused, "nobody could ever read it");
            }
            server.handle.begin_shutdown(Duration::from_secs(1));
            server.exchange(&mut client);
            assert_eq!(server.app.sessions(), 0, "a shutdown closes it");
        }
    }
}

#[test]
fn an_introducer_keeps_more_sessions_than_can_wait_to_be_accepted() {
    let mut server = Server::introducing(open_to_all(), IntroducePolicy::Connected);
    for _ in 0..WAITING_SESSIONS + 5 {
        server.client();
    }
    assert_eq!((server.waiting_sessions(), server.app.sessions()), (WAITING_SESSIONS, WAITING_SESSIONS + 5));
}

#[test]
fn a_registration_is_tried_again_later_and_later_until_it_is_dropped() {
    let mut server = Server::new(EndpointConfig::default());
    let silent: SocketAddr = "198.51.100.9:1".parse().unwrap();
    let introducer = Remote::new("nobody").at(silent).timeout(Duration::from_secs(1));
    let registration = server.handle.register_resolved(&introducer).unwrap();
    let mut seen = Vec::new();
    for _ in 0..1_500 {
        server.settle();
        while server.endpoint.poll_transmit(server.now, &mut TransmitBuf::new(8)).is_some() {}
        server.now += Duration::from_millis(200);
        server.endpoint.handle_timeout(server.now);
        server.settle();
        seen.extend(events(&registration));
    }
    let waits: Vec<_> = seen
        .iter()
        .filter_map(|event| if let RegistrationEvent::Retrying(wait) = event { Some(wait.as_millis()) } else { None })
        .collect();
    assert!(waits.len() >= 8, "{waits:?}");
    for (number, wait) in waits.iter().enumerate() {
        let most = (1_000 << number).min(60_000);
        assert!((most / 2..=most).contains(wait), "{waits:?}");
    }
    let lost = RegistrationEvent::Lost(Error::NotOpened(OpenFailure::TimedOut));
    assert_eq!(seen.iter().filter(|event| **event == lost).count(), waits.len());
    assert!(!registration.registered() && registration.lost().is_some() && registration.session().is_none());
    drop(registration);
    server.settle();
    assert_eq!((server.app.sessions(), server.app.next_timeout()), (0, None));
}

#[test]
fn a_lost_registration_is_renewed() {
    let mut server = Server::new(EndpointConfig::default());
    let mut client = server.stranger(EndpointConfig::default());
    let registration = server.register("client 1", &client);
    server.exchange(&mut client);
    assert!(registration.registered());
    assert_eq!(events(&registration), [RegistrationEvent::Registered]);
    client.endpoint.close_all(server.now, CloseMode::Orderly);
    server.exchange_for(&mut client, 20);
    assert!(!registration.registered());
    let [RegistrationEvent::Lost(why), RegistrationEvent::Retrying(_)] = events(&registration)[..] else {
        panic!("not lost")
    };
    assert_eq!((why, registration.lost()), (Error::SessionClosed(CloseReason::Far), Some(why)));
    server.exchange(&mut client);
    assert_eq!(events(&registration), [RegistrationEvent::Registered]);
    assert_eq!((registration.registered(), registration.lost()), (true, None));
    // Without other handles, dropping it closes the session.
    drop(registration);
    server.exchange(&mut client);
    assert_eq!(server.app.sessions(), 0);
}

#[test]
fn a_registration_outlives_the_idle_limit_of_this_end() {
    let mut config = EndpointConfig::default();
    config.session.idle_limit = Duration::from_secs(2);
    let mut server = Server::new(config);
    let mut client = server.stranger(EndpointConfig::default());
    let registration = server.register("client 1", &client);
    for _ in 0..20 {
        server.exchange(&mut client);
    }
    assert_eq!(events(&registration), [RegistrationEvent::Registered]);
}

#[test]
fn a_registration_takes_the_session_that_there_is_and_leaves_it_to_its_other_handles() {
    let mut server = Server::new(EndpointConfig::default());
    let mut client = server.client();
    server.exchange(&mut client);
    let accepted = server.accept().unwrap();
    let registration = server.register("client 1", &client);
    server.exchange(&mut client);
    assert!(registration.registered());
    assert_eq!(server.app.sessions(), 1);
    // It stays as long as somebody needs it.
    drop(accepted);
    server.exchange(&mut client);
    assert!(registration.registered());
    let session = registration.session().unwrap();
    drop(registration);
    server.exchange(&mut client);
    assert_eq!(session.poll_opened(&mut context(), &mut Waiter::default()), Poll::Ready(Ok(())));
    drop(session);
    server.exchange(&mut client);
    assert_eq!(server.app.sessions(), 0);
}

#[test]
fn a_registration_ends_with_its_endpoint() {
    let mut server = Server::new(EndpointConfig::default());
    let mut client = server.stranger(EndpointConfig::default());
    let registration = server.register("client 1", &client);
    server.exchange(&mut client);
    server.handle.begin_shutdown(Duration::from_secs(1));
    server.exchange(&mut client);
    assert_eq!(events(&registration), [RegistrationEvent::Registered]);
    assert_eq!(registration.next_event(), None);
    assert_eq!(registration.wait_registered(), Err(Error::Stopped));
    drop(server);
}

#[test]
fn a_builder_of_an_introducer_sets_what_that_needs() {
    let loopback = "127.0.0.1:0".parse().unwrap();
    for (policy, by_itself, told) in [
        (IntroducePolicy::Connected, true, 0),
        (IntroducePolicy::Ask, false, WAITING_INTRODUCTIONS),
        (IntroducePolicy::authorise(|_| true), false, WAITING_INTRODUCTIONS),
    ] {
        let builder = Builder::default().bind(loopback).introduce(policy);
        let config = builder.introducer_config();
        assert_eq!((config.introduce, config.max_unmatched_hellos), (by_itself, told));
        assert!(config.session.idle_limit > Duration::from_secs(86_400));
    }
}
