//! What a session tells of itself, and its events.

use rtmfp_core::congestion::CongestionControl;
use rtmfp_core::wire::{Address, AddressOrigin};
use rtmfp_core::{CloseReason, SessionStats};

use super::*;
use crate::endpoint::{Asked, Moved, SendFlow, SessionEvent, SessionEvents};

/// A server whose sessions may move, with one that is accepted.
fn with_session() -> (Server, Client, Session) {
    with_session_of(EndpointConfig::default())
}

fn with_session_of(config: EndpointConfig) -> (Server, Client, Session) {
    let mut server = Server::new(config.clone());
    let profile = Arc::new(PlainProfile::new(b"server").pretend_authentic(true));
    server.endpoint =
        Endpoint::new(config, profile, Box::new(ChaCha20Rng::from_seed([9; 32])), Instant::ORIGIN).unwrap();
    let client = server.client();
    let session = server.accept().unwrap();
    (server, client, session)
}

fn answer<T: Clone>(server: &mut Server, asked: &Asked<T>) -> Option<T> {
    server.settle();
    let Poll::Ready(answer) = asked.poll(&mut context(), &mut Waiter::default()) else { panic!("no answer") };
    answer
}

fn stats(server: &mut Server, session: &Session) -> SessionStats {
    answer(server, &session.ask_stats()).unwrap()
}

fn read(events: &mut SessionEvents) -> Vec<SessionEvent> {
    let next = || match events.poll_next(&mut context(), &mut Waiter::default()) {
        Poll::Ready(event) => event,
        Poll::Pending => None,
    };
    core::iter::from_fn(next).take(100).collect()
}

/// The server sends as much as the flow takes, over a round trip of 20 ms for so many round trips.
fn send_for(server: &mut Server, client: &mut Client, flow: &SendFlow, round_trips: usize) {
    for _ in 0..round_trips {
        while flow.poll_send(&mut context(), &mut Waiter::default(), &mut Some(vec![7; 50_000].into())).is_ready() {
            server.settle();
        }
        carry(server.now, &mut server.endpoint, &mut client.endpoint, server_path());
        while let Some(event) = client.endpoint.poll_event() {
            let Event::FlowReadable { flow } = event else { continue };
            while client.endpoint.recv_flow_mut(server.now, flow).unwrap().read().is_some() {}
        }
        server.now += Duration::from_millis(20);
        client.endpoint.handle_timeout(server.now);
        server.endpoint.handle_timeout(server.now);
        carry(server.now, &mut client.endpoint, &mut server.endpoint, Path::new(InterfaceId(0), client.address));
        server.settle();
    }
}

#[test]
fn a_session_tells_where_it_is_and_what_it_has_measured() {
    let (mut server, mut client, session) = with_session();
    assert_eq!(session.path(), Some(Path::new(InterfaceId(0), client.address)));
    assert_eq!((session.remote_addr(), session.local_addr()), (Some(client.address), Some(server_path().remote)));
    assert_eq!(
        (session.far_certificate().as_ref(), session.far_discriminator()),
        (&b"client 1"[..], b"client 1".to_vec())
    );
    assert_eq!(session.peer_id(), None, "there are none in this profile");
    let nonces = answer(&mut server, &session.ask_nonces()).unwrap();
    assert!(nonces.near.is_empty() && nonces.far.is_empty());
    let before = stats(&mut server, &session).packets_sent;
    session.ping();
    server.exchange(&mut client);
    let after = stats(&mut server, &session);
    assert!(after.packets_sent > before && after.packets_received > 0, "{after:?}");
    session.abort(CloseMode::Abrupt);
    server.exchange(&mut client);
    assert_eq!(answer(&mut server, &session.ask_stats()), None);
    assert_eq!(answer(&mut server, &session.ask_nonces()), None);
}

#[test]
fn the_far_end_proves_its_keys_when_it_is_pinged() {
    let (mut server, mut client, session) = with_session();
    assert!(session.poll_far_keys_proved(&mut context(), &mut Waiter::default()).is_pending());
    server.exchange_for(&mut client, 20);
    assert!(session.poll_far_keys_proved(&mut context(), &mut Waiter::default()).is_pending());
    session.begin_proof();
    server.exchange_for(&mut client, 20);
    assert_eq!(session.poll_far_keys_proved(&mut context(), &mut Waiter::default()), Poll::Ready(Ok(())));
    assert_eq!(session.peer_id(), None);
}

#[test]
fn the_rate_is_told_when_it_changes_and_not_more_often_than_every_100_ms() {
    let (mut server, mut client, session) = with_session();
    let mut events = session.events();
    let mut told: Vec<(Instant, u64)> = Vec::new();
    let flow = session.open_flow(FlowOptions::new("much"));
    for _ in 0..100 {
        send_for(&mut server, &mut client, &flow, 1);
        for event in read(&mut events) {
            let SessionEvent::TargetRate(rate) = event else { panic!("{event:?}") };
            assert_eq!(session.target_rate(), Some(rate));
            told.push((server.now, rate));
        }
    }
    assert!(told.len() >= 2, "{told:?}");
    for pair in told.windows(2) {
        let ([(before, old), (after, new)], pace) = (pair, Duration::from_millis(100)) else { unreachable!() };
        assert!(
            after.saturating_duration_since(*before) >= pace && (*new > old / 8 * 9 || *new < old / 16 * 15),
            "{told:?}"
        );
    }
    // What has changed last is told too, though nothing happens any more.
    server.exchange(&mut client);
    let now = stats(&mut server, &session).target_rate.unwrap();
    assert_eq!(session.target_rate(), Some(now));
    // Then there is nothing to look at.
    server.exchange(&mut client);
    assert_eq!(server.app.next_timeout(), None);
}

#[test]
fn congestion_begins_with_a_loss_and_ends_after_a_second_without() {
    // This controller takes each loss for congestion.
    let mut config = EndpointConfig::default();
    config.session.congestion = CongestionControl::Rfc7016;
    let (mut server, mut client, session) = with_session_of(config);
    let flow = session.open_flow(FlowOptions::new("much"));
    send_for(&mut server, &mut client, &flow, 10);
    let mut events = session.events();
    assert!(!session.is_congested());
    assert!(server.endpoint.poll_transmit(server.now, &mut TransmitBuf::new(1)).is_some(), "what is lost");
    let lost = server.now;
    let congestion = |events: &mut SessionEvents| {
        let all = read(events);
        all.into_iter().filter(|event| !matches!(event, SessionEvent::TargetRate(_))).collect::<Vec<_>>()
    };
    while !session.is_congested() {
        send_for(&mut server, &mut client, &flow, 1);
        assert!(server.now < lost + Duration::from_secs(3), "a loss that nobody was told of");
    }
    let begun = server.now;
    assert_eq!(congestion(&mut events), [SessionEvent::CongestionBegan]);
    while session.is_congested() {
        assert!(server.app.next_timeout().is_some(), "nothing else wakes it");
        server.exchange_for(&mut client, 1);
    }
    let lasted = server.now.saturating_duration_since(begun);
    assert!((Duration::from_millis(900)..Duration::from_millis(1_300)).contains(&lasted), "{lasted:?}");
    assert_eq!(congestion(&mut events), [SessionEvent::CongestionEnded]);
}

#[test]
fn a_reader_is_told_of_moves_of_flows_that_wait_and_of_the_end() {
    let (mut server, mut client, session) = with_session();
    let (mut events, mut late) = (session.events(), session.events());
    client.address = "198.51.100.77:7777".parse().unwrap();
    let flow = client.open_flow(server.now);
    for _ in 0..7 {
        client.write(server.now, flow, vec![7; MESSAGE]);
    }
    server.exchange(&mut client);
    let moved = SessionEvent::PathChanged { path: Path::new(InterfaceId(0), client.address), moved: Moved::FarEnd };
    let of_note = |events: &mut SessionEvents| {
        let all = read(events);
        all.into_iter().filter(|event| !matches!(event, SessionEvent::TargetRate(_))).collect::<Vec<_>>()
    };
    assert_eq!(of_note(&mut events), [moved]);
    assert_eq!(session.remote_addr(), Some(client.address));
    for _ in 0..3 {
        client.write(server.now, flow, vec![7; MESSAGE]);
        server.exchange(&mut client);
    }
    assert_eq!(of_note(&mut events), [SessionEvent::UnreadFlow], "nobody has accepted it");
    let accepted = accept_flow(&session).unwrap();
    drain(&accepted);
    server.exchange(&mut client);
    assert_eq!(of_note(&mut events), []);
    for _ in 0..3 {
        for _ in 0..7 {
            client.write(server.now, flow, vec![7; MESSAGE]);
        }
        server.exchange(&mut client);
    }
    assert_eq!(of_note(&mut events), [SessionEvent::UnreadFlow], "its reader is slow");
    drop((accepted, session));
    server.exchange(&mut client);
    let closed = SessionEvent::Closed(Error::SessionClosed(CloseReason::Near));
    assert_eq!(of_note(&mut events), [closed], "though only events were left");
    assert_eq!(events.poll_next(&mut context(), &mut Waiter::default()), Poll::Ready(None));
    // One that has not read meanwhile gets the last of each.
    assert_eq!(of_note(&mut late), [moved, SessionEvent::UnreadFlow, closed]);
}

#[test]
fn a_session_that_does_not_open_has_an_event_all_the_same() {
    let server = Server::new(EndpointConfig::default());
    let session = server.handle.begin("nobody", &["[2001:db8::1]:1935".parse().unwrap()]);
    let mut events = session.events();
    assert_eq!(read(&mut events), [SessionEvent::Closed(Error::AddressFamily)]);
    let session = server.handle.begin("nobody", &["192.0.2.9:1935".parse().unwrap()]);
    let mut events = session.events();
    assert_eq!(read(&mut events), []);
    drop(server);
    assert_eq!(read(&mut events), [SessionEvent::Closed(Error::Stopped)]);
}

#[test]
fn who_is_introduced_is_redirected_to_the_addresses_that_were_named() {
    let mut config = EndpointConfig::default();
    config.introduce = true;
    let (mut server, client, session) = with_session_of(config);
    let private = "10.0.0.7:1935".parse().unwrap();
    session.introduce_at(&[Address { origin: AddressOrigin::Local, socket: private }]);
    server.settle();
    let mut third = endpoint("a third one", EndpointConfig::default());
    let target = Target { discriminator: "client 1".into(), candidates: vec![(server_path(), Duration::ZERO)] };
    third.open(server.now, target).unwrap();
    let back = Path::new(InterfaceId(0), "198.51.100.200:1".parse().unwrap());
    assert!(carry(server.now, &mut third, &mut server.endpoint, back));
    server.settle();
    assert!(carry(server.now, &mut server.endpoint, &mut third, server_path()));
    let mut flight = TransmitBuf::new(1);
    let mut asked = Vec::new();
    for _ in 0..50 {
        asked.extend(core::iter::from_fn(|| third.poll_transmit(server.now, &mut flight)).map(|sent| sent.path.remote));
        server.now += Duration::from_millis(50);
        third.handle_timeout(server.now);
    }
    assert!(asked.contains(&private) && asked.contains(&client.address), "{asked:?}");
    assert_eq!(session.add_introducer("[2001:db8::1]:1935".parse().unwrap()), Err(Error::AddressFamily));
    assert_eq!(session.add_introducer(back.remote), Ok(()));
}
