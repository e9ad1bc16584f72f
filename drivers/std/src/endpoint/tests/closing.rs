//! What is being closed keeps the time that it was given, takes nothing new, and tells what was lost.

use super::*;

#[test]
fn dropping_the_last_handle_leaves_a_close_the_time_that_it_was_given() {
    for (within, and_endpoint) in [(20_000, false), (100, false), (20_000, true), (100, true)] {
        let mut server = Server::new(EndpointConfig::default());
        server.client();
        let session = server.accept().unwrap();
        let flow = session.open_flow(FlowOptions::new("flow"));
        flow.send("nobody acknowledges this").unwrap();
        server.settle();
        session.begin_close(Duration::from_millis(within));
        drop((session, flow));
        if and_endpoint {
            // What the last handle of an endpoint does, and an endpoint on a thread when it is dropped.
            server.handle.release();
        }
        let lived = server.time_until_empty();
        assert_eq!(lived, Duration::from_millis(within), "and the endpoint's handle: {and_endpoint}");
    }
}

#[test]
fn dropping_an_endpoint_leaves_a_shutdown_the_time_that_it_was_given() {
    for within in [20_000, 100] {
        let mut server = Server::new(EndpointConfig::default());
        server.client();
        let session = server.accept().unwrap();
        let flow = session.open_flow(FlowOptions::new("flow"));
        flow.send("nobody acknowledges this").unwrap();
        server.settle();
        server.handle.begin_shutdown(Duration::from_millis(within));
        server.handle.release();
        assert_eq!(server.time_until_empty(), Duration::from_millis(within));
    }
}

#[test]
fn nothing_begins_while_an_endpoint_shuts_down_and_what_was_lost_is_told() {
    let mut server = Server::new(EndpointConfig::default());
    let client = server.client();
    let session = server.accept().unwrap();
    server.handle.begin_shutdown(Duration::from_secs(20));
    let begun = server.handle.begin("client", &[client.address]);
    let flows = [session.open_flow(FlowOptions::new("late")), begun.open_flow(FlowOptions::new("late"))];
    for flow in &flows {
        flow.send("lost").unwrap();
    }
    server.settle();
    assert_eq!(begun.poll_opened(&mut context(), &mut Waiter::default()), Poll::Ready(Err(Error::Closed)));
    for flow in &flows {
        let finished = flow.poll_finish(&mut context(), &mut Waiter::default());
        assert_eq!(finished, Poll::Ready(Err(Error::Closed)));
    }
    server.time_until_empty();
    let told = lock(&server.app.shared().queue).undelivered;
    assert_eq!(told, Undelivered { messages: 2, unsent: 2, bytes: 8 });
}

#[test]
fn a_session_that_is_being_closed_opens_no_flow_and_tells_what_was_lost() {
    let mut server = Server::new(EndpointConfig::default());
    let mut client = server.client();
    let flow = client.open_flow(server.now);
    client.write(server.now, flow, b"here".to_vec());
    server.exchange(&mut client);
    let session = server.accept().unwrap();
    let received = accept_flow(&session).unwrap();
    let first = session.open_flow(FlowOptions::new("early"));
    // More than the endpoint takes at once: until it has that, it does not know of the close.
    while let Poll::Ready(sent) =
        first.poll_send(&mut context(), &mut Waiter::default(), &mut Some(vec![7; MESSAGE].into()))
    {
        sent.unwrap();
        server.settle();
    }
    session.begin_close(Duration::from_secs(20));
    let flows = [session.open_flow(FlowOptions::new("late")), received.open_return_flow(FlowOptions::new("late"))];
    for flow in &flows {
        flow.send("lost").unwrap();
    }
    server.settle();
    for flow in &flows {
        let finished = flow.poll_finish(&mut context(), &mut Waiter::default());
        assert_eq!(finished, Poll::Ready(Err(Error::Closed)));
    }
    server.time_until_empty();
    let told = session.poll_drained(&mut context(), &mut Waiter::default());
    let Poll::Ready(Ok(told)) = told else { panic!("{told:?}") };
    assert_eq!(told.bytes % MESSAGE as u64, 8, "{told:?}");
}

/// What still waited in the handle's queue was not told.
#[test]
fn what_the_far_end_rejects_while_a_session_closes_is_undelivered() {
    let mut server = Server::new(EndpointConfig::default());
    let mut client = server.client();
    let session = server.accept().unwrap();
    let flow = session.open_flow(FlowOptions::new("unread"));
    let (mut sent, mut received) = (1, None);
    flow.send(vec![7; MESSAGE]).unwrap();
    server.settle();
    carry(server.now, &mut server.endpoint, &mut client.endpoint, server_path());
    while let Some(event) = client.endpoint.poll_event() {
        received = if let Event::FlowOpened { flow } = event { Some(flow) } else { received };
    }
    for _ in 0..3 {
        while let Poll::Ready(taken) =
            flow.poll_send(&mut context(), &mut Waiter::default(), &mut Some(vec![7; MESSAGE].into()))
        {
            taken.unwrap();
            sent += 1;
            server.settle();
        }
        // The far end does not read: its window is full, and all queues are.
        server.exchange(&mut client);
    }
    session.begin_close(Duration::from_secs(20));
    server.exchange_for(&mut client, 5);
    client.endpoint.recv_flow_mut(server.now, received.unwrap()).unwrap().reject(7);
    server.exchange(&mut client);
    let told = session.poll_drained(&mut context(), &mut Waiter::default());
    let Poll::Ready(Ok(told)) = told else { panic!("{told:?}") };
    assert!(told.messages >= sent - 9, "{told:?} of {sent}: all but what the far end had room for");
}
