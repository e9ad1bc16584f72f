//! A thousand sessions: what they leave, how often they wake anybody, and what slow readers hold.

use super::*;

const CROWD: usize = 1_000;

/// Everything that is held for sessions.
fn held(server: &Server) -> [usize; 4] {
    let queue = lock(&server.app.shared().queue);
    let waits = usize::from(server.app.next_timeout().is_some());
    [server.endpoint.sessions().count(), server.app.sessions(), queue.accepted.len(), waits]
}

/// Time goes by for the server alone: all that it does then, and how often.
fn run_alone(server: &mut Server, duration: Duration) -> usize {
    let (end, mut turns) = (server.now + duration, 0);
    loop {
        server.settle();
        while server.endpoint.poll_transmit(server.now, &mut TransmitBuf::new(8)).is_some() {}
        server.settle();
        let due = [server.endpoint.poll_timeout(), server.app.next_timeout()].into_iter().flatten().min();
        let Some(due) = due.filter(|due| *due <= end) else {
            server.now = end;
            return turns;
        };
        assert!(due > server.now || turns == 0, "it is due again at once");
        turns += 1;
        server.now = server.now.max(due);
        server.endpoint.handle_timeout(server.now);
    }
}

#[test]
fn a_thousand_sessions_that_open_and_close_leave_nothing() {
    for whoever_closes in ["far end", "last handle", "close", "abort", "nobody accepts"] {
        let mut server = Server::new(open_to_all());
        assert_eq!(held(&server), [0; 4]);
        for n in 0..CROWD {
            let mut client = server.client();
            let flow = client.open_flow(server.now);
            client.write(server.now, flow, vec![7; 100 + n]);
            server.exchange_for(&mut client, 1);
            if whoever_closes == "nobody accepts" {
                continue;
            }
            let session = server.accept().unwrap();
            let (received, events) = (accept_flow(&session).unwrap(), session.events());
            assert_eq!(drain(&received), 100 + n);
            let answering = received.open_return_flow(FlowOptions::new("answer"));
            answering.send("yes").unwrap();
            server.exchange_for(&mut client, 1);
            match whoever_closes {
                "far end" => {
                    client.endpoint.session_mut(server.now, client.session).unwrap().close(CloseMode::Orderly);
                }
                "close" => session.begin_close(Duration::from_secs(5)),
                "abort" => session.abort(CloseMode::Abrupt),
                _ => {}
            }
            drop((received, answering, session));
            server.exchange_for(&mut client, 1);
            drop(events);
        }
        if whoever_closes == "nobody accepts" {
            assert_eq!(held(&server)[2], CROWD);
            drop(core::iter::from_fn(|| server.accept()).collect::<Vec<_>>());
        }
        run_alone(&mut server, Duration::from_secs(200));
        assert_eq!(held(&server), [0; 4], "{whoever_closes}");
    }
}

#[test]
fn a_thousand_idle_sessions_wake_nobody_but_for_their_keepalives() {
    let mut config = open_to_all();
    // Nobody answers here, and none is to be given up for that.
    config.session.retransmit_limit = Duration::from_secs(86_400);
    config.session.idle_limit = Duration::from_secs(86_400);
    config.session.keepalive = Duration::from_secs(600);
    let mut server = Server::new(config);
    let mut sessions = Vec::new();
    for _ in 0..CROWD {
        let mut client = server.client();
        let flow = client.open_flow(server.now);
        client.write(server.now, flow, b"x".to_vec());
        server.exchange_for(&mut client, 1);
        let session = server.accept().unwrap();
        let flow = accept_flow(&session).unwrap();
        assert_eq!(drain(&flow), 1);
        let events = session.events();
        sessions.push((session, flow, events));
    }
    // What was measured while they were busy is told, and that is the end of it.
    run_alone(&mut server, Duration::from_secs(60));
    assert_eq!(server.app.next_timeout(), None, "the handles' side waits for nothing");
    let quiet = run_alone(&mut server, Duration::from_secs(300));
    assert_eq!(quiet, 0, "turns in five minutes in which there is nothing to do");
    // Each ping is one turn at most, and is repeated every 10 s at most as nobody answers.
    let pinging = run_alone(&mut server, Duration::from_secs(300));
    assert!((CROWD..30 * CROWD).contains(&pinging), "{pinging} turns in five minutes of pings");
    assert_eq!((server.app.next_timeout(), held(&server)[0]), (None, CROWD));
    drop(sessions);
    run_alone(&mut server, Duration::from_secs(200));
    assert_eq!(held(&server), [0; 4]);
}

#[test]
fn readers_that_are_slow_hold_their_queues_and_a_window_each_and_no_more() {
    const FLOWS: usize = 24;
    let mut server = Server::new(EndpointConfig::default());
    let mut client = server.client();
    let session = server.accept().unwrap();
    let options = || FlowOptions::new("flow").send_buffer(usize::MAX).unsent_limit(usize::MAX);
    let sending: Vec<_> = (0..FLOWS)
        .map(|_| client.endpoint.session_mut(server.now, client.session).unwrap().open_flow(options()).unwrap())
        .collect();
    for flow in &sending {
        client.write(server.now, *flow, b"first".to_vec());
    }
    server.exchange(&mut client);
    let flows: Vec<_> = core::iter::from_fn(|| accept_flow(&session)).collect();
    assert_eq!(flows.len(), FLOWS);
    // All that a flow's sender may hold, eight times what the reader's end may.
    for _ in 0..16 {
        for flow in &sending {
            for _ in 0..8 {
                let _ = client.endpoint.send_flow_mut(server.now, *flow).unwrap().write(vec![7; MESSAGE]);
            }
        }
        server.exchange_for(&mut client, 5);
    }
    let mut held = 0;
    for flow in &flows {
        let asked = flow.ask_stats();
        server.settle();
        let Poll::Ready(Some(stats)) = asked.poll(&mut context(), &mut Waiter::default()) else { panic!("no answer") };
        assert!(stats.buffered <= 262_144 + MESSAGE + 64, "{stats:?}");
        let read = usize::try_from(stats.bytes).unwrap();
        assert!((QUEUE_BYTES / 2..QUEUE_BYTES + MESSAGE).contains(&read), "{stats:?}");
        held += stats.buffered;
    }
    assert!(held > 1_000_000 && held <= 16 * 1_024 * 1_024, "{held} bytes in the endpoint");
    // One that reads gets on, whatever the others do.
    let (reader, mut bytes) = (flows.last().unwrap(), 0);
    for _ in 0..40 {
        bytes += drain(reader);
        server.exchange_for(&mut client, 5);
    }
    assert!(bytes > 1_000_000, "{bytes}");
}
