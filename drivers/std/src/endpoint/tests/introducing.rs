//! Introducing, and staying registered with an introducer.

use super::*;
use crate::endpoint::shared::{WAITING_EVENTS, WAITING_INTRODUCTIONS, WAITING_INTRODUCTIONS_PER_SOURCE};
use crate::endpoint::{Builder, IntroducePolicy, Introduction, Registration, RegistrationEvent, Remote};
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

    /// Somebody asks for somebody else.
    fn request(&mut self, from: [u8; 4], name: &str) {
        let path = Path::new(InterfaceId(0), SocketAddr::from((from, 1)));
        let hello =
            UnmatchedHello { path, discriminator: name.to_owned().into(), tag: vec![0; 16].into(), datagram_len: 100 };
        self.app.on_event(self.now, &mut self.endpoint, Event::UnmatchedHello { hello });
    }

    /// Takes all that wait.
    fn waiting_requests(&self) -> Vec<Introduction> {
        let next = || match self.handle.poll_introduction(&mut context(), &mut Waiter::default()) {
            Poll::Ready(introduction) => introduction,
            Poll::Pending => None,
        };
        core::iter::from_fn(next).collect()
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
        server.request([198, 51, 100, number.to_le_bytes()[0]], &number.to_string());
    }
    assert_eq!(server.handle.missed_introductions(), 10);
    let waiting = server.waiting_requests();
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

/// One source filled the places of all, and nobody else was introduced.
#[test]
fn requests_of_one_source_displace_only_their_own() {
    let mut server = Server::introducing(EndpointConfig::default(), IntroducePolicy::Ask);
    server.request([198, 51, 100, 1], "first");
    (0..1_000).for_each(|number| server.request([198, 51, 100, 2], &number.to_string()));
    server.request([198, 51, 100, 3], "last");
    let most = WAITING_INTRODUCTIONS_PER_SOURCE;
    assert_eq!(server.handle.missed_introductions(), 1_000 - most as u64);
    let waiting: Vec<_> = server.waiting_requests();
    let names: Vec<_> = waiting.iter().map(|waiting| waiting.discriminator().clone()).collect();
    assert_eq!((&names[0][..], &names[1][..], names.len()), (&b"first"[..], &b"936"[..], most + 2));
    assert_eq!(names.last().unwrap(), "last");
    // What is taken makes room.
    (0..most).for_each(|number| server.request([198, 51, 100, 2], &number.to_string()));
    assert_eq!(server.waiting_requests().len(), most);
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
fn events_of_a_registration_that_nobody_takes_are_dropped_the_oldest_first() {
    let mut server = Server::new(EndpointConfig::default());
    let silent: SocketAddr = "198.51.100.9:1".parse().unwrap();
    let introducer = Remote::new("nobody").at(silent).timeout(Duration::from_secs(1));
    let registration = server.handle.register_resolved(&introducer).unwrap();
    server.settle();
    // Two events for each attempt.
    while server.endpoint.stats().sessions_failed < WAITING_EVENTS as u64 {
        while server.endpoint.poll_transmit(server.now, &mut TransmitBuf::new(8)).is_some() {}
        let next = [server.endpoint.poll_timeout(), server.app.next_timeout()].into_iter().flatten().min();
        server.now = next.unwrap();
        server.endpoint.handle_timeout(server.now);
        server.settle();
    }
    let seen = events(&registration);
    assert_eq!(seen.len(), WAITING_EVENTS);
    let [RegistrationEvent::Lost(_), RegistrationEvent::Retrying(wait)] = seen[..2] else { panic!("{seen:?}") };
    assert!(wait >= Duration::from_secs(30), "the first waits were of seconds");
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

/// Whoever copies the introducer's certificate could open a session, and this end held itself to be registered.
#[test]
fn a_registration_is_told_once_the_introducer_has_shown_its_keys() {
    let mut server = Server::new(EndpointConfig::default());
    let mut client = server.stranger(EndpointConfig::default());
    let registration = server.register("client 1", &client);
    let back = Path::new(InterfaceId(0), client.address);
    let is_open = |server: &Server| {
        let mut sessions = server.endpoint.sessions().filter_map(|session| server.endpoint.session(session));
        sessions.any(|session| session.state() == SessionState::Open)
    };
    server.settle();
    while !is_open(&server) {
        carry(server.now, &mut server.endpoint, &mut client.endpoint, server_path());
        carry(server.now, &mut client.endpoint, &mut server.endpoint, back);
        server.settle();
    }
    assert_eq!((registration.registered(), events(&registration)), (false, vec![]));
    // It is asked, not waited for.
    server.exchange_for(&mut client, 10);
    assert_eq!((registration.registered(), events(&registration)), (true, vec![RegistrationEvent::Registered]));
}

/// Up to 1,024 waited that nobody would ever read.
#[test]
fn flows_of_an_introducer_are_rejected_unless_somebody_has_the_session() {
    let mut server = Server::new(EndpointConfig::default());
    let mut client = server.stranger(EndpointConfig::default());
    let registration = server.register("client 1", &client);
    server.exchange(&mut client);
    client.session = client.endpoint.sessions().last().unwrap();
    let mut is_rejected = |server: &mut Server| {
        let flow = client.open_flow(server.now);
        client.write(server.now, flow, b"to nobody".to_vec());
        server.exchange(&mut client);
        client.endpoint.send_flow(flow).is_none_or(|flow| !flow.is_open())
    };
    assert!(is_rejected(&mut server), "no handle");
    let session = registration.session().unwrap();
    assert!(!is_rejected(&mut server), "a handle");
    drop(session);
    server.settle();
    let waiting = server.app.shared().queue.lock().unwrap().commands.len();
    assert_eq!(waiting, 0);
    assert!(is_rejected(&mut server), "no handle any more");
    assert!(registration.registered());
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
    let another = server.register("client 1", &client);
    server.exchange(&mut client);
    assert!(registration.registered());
    assert_eq!(server.app.sessions(), 1);
    // It stays as long as somebody needs it.
    drop(accepted);
    server.exchange(&mut client);
    assert!(registration.registered());
    let session = registration.session().unwrap();
    let idle_limit = |server: &Server| {
        let sessions = server.endpoint.sessions().filter_map(|session| server.endpoint.session(session));
        sessions.map(|session| session.idle_limit()).collect::<Vec<_>>()
    };
    drop(registration);
    server.exchange(&mut client);
    assert!(another.registered() && idle_limit(&server)[0] > Duration::from_secs(86_400));
    drop(another);
    server.exchange(&mut client);
    assert_eq!(idle_limit(&server), [EndpointConfig::default().session.idle_limit], "as before");
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
