//! What a reader can ask of a flow, and what it holds then.

use rtmfp_core::{ReceiveOrder, SendOptions};

use super::*;
use crate::endpoint::{Asked, TryRecvError};

/// A server with an accepted flow of which the first message is read, and the client that sends it.
fn with_flow() -> (Server, Client, SendFlowHandle, Session, RecvFlow) {
    let mut server = Server::new(EndpointConfig::default());
    let mut client = server.client();
    let options = FlowOptions::new("flow").send_buffer(usize::MAX).unsent_limit(usize::MAX);
    let sending = client.endpoint.session_mut(server.now, client.session).unwrap().open_flow(options).unwrap();
    client.write(server.now, sending, b"first".to_vec());
    server.exchange(&mut client);
    let session = server.accept().unwrap();
    let flow = accept_flow(&session).unwrap();
    assert_eq!(drain(&flow), 5);
    (server, client, sending, session, flow)
}

fn answer<T: Clone>(server: &mut Server, asked: &Asked<T>) -> Option<T> {
    server.settle();
    let Poll::Ready(answer) = asked.poll(&mut context(), &mut Waiter::default()) else { panic!("no answer") };
    answer
}

#[test]
fn a_suspended_flow_takes_no_more_and_what_has_reached_the_handle_stays_readable() {
    let (mut server, mut client, sending, _session, flow) = with_flow();
    client.write(server.now, sending, b"second".to_vec());
    server.exchange(&mut client);
    flow.suspend();
    for _ in 0..64 {
        client.write(server.now, sending, vec![7; MESSAGE]);
    }
    (0..10).for_each(|_| server.exchange(&mut client));
    assert_eq!(drain(&flow), 6, "what was there before");
    let held = answer(&mut server, &flow.ask_stats()).unwrap().buffered;
    assert!(held > 100_000 && held <= 262_144 + 2 * MESSAGE, "{held} bytes are held for a flow that is suspended");
    server.exchange(&mut client);
    assert_eq!(drain(&flow), 0);
    flow.resume();
    let mut bytes = 0;
    for _ in 0..10 {
        server.exchange(&mut client);
        bytes += drain(&flow);
    }
    assert_eq!(bytes, 64 * MESSAGE);
}

#[test]
fn a_flow_that_was_suspended_while_its_queue_was_full_goes_on_when_resumed() {
    let (mut server, mut client, sending, _session, flow) = with_flow();
    for _ in 0..12 {
        client.write(server.now, sending, vec![7; MESSAGE]);
    }
    server.exchange(&mut client);
    flow.suspend();
    let before = drain(&flow);
    assert!((QUEUE_BYTES - MESSAGE..12 * MESSAGE).contains(&before), "{before}");
    server.exchange(&mut client);
    assert_eq!(drain(&flow), 0);
    flow.resume();
    server.exchange(&mut client);
    assert_eq!(before + drain(&flow), 12 * MESSAGE);
}

#[test]
fn a_smaller_window_holds_the_sender_up_earlier() {
    for window in [40_000, 150_000] {
        let (mut server, mut client, sending, _session, flow) = with_flow();
        flow.suspend();
        flow.set_window(window);
        server.exchange(&mut client);
        for _ in 0..64 {
            client.write(server.now, sending, vec![7; 1_000]);
            client.write(server.now, sending, vec![7; MESSAGE]);
            server.exchange_for(&mut client, 2);
        }
        let held = answer(&mut server, &flow.ask_stats()).unwrap().buffered;
        assert!((window / 2..window + MESSAGE).contains(&held), "{held} bytes with a window of {window}");
    }
}

#[test]
fn messages_come_in_the_order_that_was_chosen_and_gaps_are_visible() {
    for order in [ReceiveOrder::Network, ReceiveOrder::Queuing] {
        let (mut server, mut client, sending, _session, flow) = with_flow();
        flow.set_order(order);
        server.settle();
        client.write(server.now, sending, b"lost at first".to_vec());
        let mut flight = TransmitBuf::new(8);
        while client.endpoint.poll_transmit(server.now, &mut flight).is_some() {}
        client.write(server.now, sending, b"next".to_vec());
        for _ in 0..5 {
            server.exchange(&mut client);
        }
        let texts: Vec<_> = core::iter::from_fn(|| flow.try_recv().ok()).map(|message| message.data).collect();
        match order {
            ReceiveOrder::Network => assert_eq!(texts, ["next", "lost at first"]),
            ReceiveOrder::Queuing => assert_eq!(texts, ["lost at first", "next"]),
        }
        let mut view = client.endpoint.send_flow_mut(server.now, sending).unwrap();
        let abandoned = view.write_with("never sent", SendOptions::default()).unwrap();
        assert!(view.abandon(abandoned));
        view.write("after a gap").unwrap();
        server.exchange(&mut client);
        let message = flow.try_recv().unwrap();
        // In network order a message is read before it is known what is missing.
        assert_eq!((message.data.as_ref(), message.gap), (&b"after a gap"[..], order == ReceiveOrder::Queuing));
    }
}

#[test]
fn a_flow_tells_what_it_answers_and_how_much_was_read() {
    let (mut server, mut client, _, session, first) = with_flow();
    assert_eq!(first.association(), None);
    let asked = session.open_flow(FlowOptions::new("question"));
    assert_eq!(asked.id(), None, "the endpoint has not opened it yet");
    asked.send("?").unwrap();
    server.settle();
    carry(server.now, &mut server.endpoint, &mut client.endpoint, server_path());
    let mut events = core::iter::from_fn(|| client.endpoint.poll_event());
    let opened = events.find_map(|event| if let Event::FlowOpened { flow } = event { Some(flow) } else { None });
    let mut received = client.endpoint.recv_flow_mut(server.now, opened.unwrap()).unwrap();
    let returned = received.open_return_flow(FlowOptions::new("answer")).unwrap();
    client.write(server.now, returned, b"yes".to_vec());
    client.write(server.now, returned, b"and no".to_vec());
    server.exchange(&mut client);
    let answering = accept_flow(&session).unwrap();
    assert!(answering.association().is_some() && answering.association() == asked.id());
    assert!(answering.is_return_to(&asked));
    let stats = answer(&mut server, &answering.ask_stats()).unwrap();
    assert_eq!((stats.messages, stats.bytes, stats.abandoned), (2, 9, 0));
}

#[test]
fn a_look_without_waiting_tells_a_message_from_none_yet_and_from_the_end() {
    let (mut server, mut client, sending, session, flow) = with_flow();
    assert_eq!(flow.try_recv(), Err(TryRecvError::Empty));
    client.write(server.now, sending, b"second".to_vec());
    client.endpoint.send_flow_mut(server.now, sending).unwrap().close();
    server.exchange(&mut client);
    assert_eq!(flow.try_recv().unwrap().data, "second");
    assert_eq!(flow.try_recv(), Err(TryRecvError::Finished));
    let other = client.open_flow(server.now);
    client.write(server.now, other, b"x".to_vec());
    server.exchange(&mut client);
    let other = session.try_accept_flow().unwrap().unwrap();
    assert!(session.try_accept_flow().unwrap().is_none());
    assert_eq!(other.try_recv().unwrap().data, "x");
    client.endpoint.session_mut(server.now, client.session).unwrap().close(CloseMode::Abrupt);
    server.exchange(&mut client);
    assert!(matches!(other.try_recv(), Err(TryRecvError::Ended(Error::SessionClosed(_)))));
    assert!(session.try_accept_flow().is_err());
    assert_eq!(answer(&mut server, &other.ask_stats()), None, "nor has it counters any more");
}

#[test]
fn whoever_asks_an_endpoint_that_stops_is_told() {
    let (server, _client, _, _session, flow) = with_flow();
    let under_way = flow.ask_stats();
    drop(server);
    for asked in [under_way, flow.ask_stats()] {
        assert_eq!(asked.poll(&mut context(), &mut Waiter::default()), Poll::Ready(None));
    }
}

#[test]
fn a_message_that_comes_in_the_turn_of_the_suspension_is_held_back() {
    let (mut server, mut client, sending, _session, flow) = with_flow();
    client.write(server.now, sending, b"second".to_vec());
    let back = Path::new(InterfaceId(0), client.address);
    assert!(carry(server.now, &mut client.endpoint, &mut server.endpoint, back));
    flow.suspend();
    server.settle();
    assert_eq!(drain(&flow), 0);
    flow.resume();
    server.settle();
    assert_eq!(drain(&flow), 6);
}
