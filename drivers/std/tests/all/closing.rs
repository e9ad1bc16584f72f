//! What was sent is delivered, whoever closes or drops what, and when it is not, that is told.

use core::time::Duration;
use std::net::UdpSocket;
use std::sync::Arc;
use std::thread;

use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::{EndpointConfig, FlowOptions, Undelivered};
use rtmfp_std::{Endpoint, Error, RecvFlow, Session};

const LONG: Duration = Duration::from_secs(60);

fn endpoint(name: &str) -> Endpoint {
    let profile = Arc::new(PlainProfile::new(name.as_bytes()));
    Endpoint::bind(EndpointConfig::default(), profile, &["127.0.0.1:0".parse().unwrap()]).unwrap()
}

/// Two endpoints and the session between them, from both ends.
fn pair() -> (Endpoint, Session, Endpoint, Session) {
    let (near, far) = (endpoint("near"), endpoint("far"));
    let session = near.connect("far", &far.local_addrs()).unwrap();
    let accepted = far.accept().unwrap();
    (near, session, far, accepted)
}

/// How many messages there are to the end of the flow, read one by one.
#[expect(clippy::disallowed_methods, reason = "a slow reader is what is tested")]
fn read_slowly(flow: &RecvFlow) -> usize {
    let mut count = 0;
    while flow.recv().unwrap().is_some() {
        count += 1;
        thread::sleep(Duration::from_millis(1));
    }
    count
}

#[test]
fn what_finish_promised_is_read_to_the_end_though_the_session_is_closed() {
    let mut config = EndpointConfig::default();
    config.session.recv_buffer = 256 << 10;
    let profile = Arc::new(PlainProfile::new(b"far"));
    let far = Endpoint::bind(config, profile, &["127.0.0.1:0".parse().unwrap()]).unwrap();
    let near = endpoint("near");
    let session = near.connect("far", &far.local_addrs()).unwrap();
    let accepted = far.accept().unwrap();
    let flow = session.open_flow(FlowOptions::new("much"));
    for _ in 0..300 {
        flow.send(vec![7; 1_000]).unwrap();
    }
    flow.finish().unwrap();
    drop(session);
    // Reading begins when all is over.
    assert!(matches!(accepted.closed(), Error::SessionClosed(_)));
    let flow = accepted.accept_flow().unwrap();
    assert_eq!(read_slowly(&flow), 300);
    assert!(accepted.accept_flow().is_err());
}

#[test]
fn a_slow_reader_gets_all_that_finish_promised() {
    for (messages, length) in [(300, 1_000), (20, 65_536)] {
        let (_near, session, _far, accepted) = pair();
        let reader = thread::spawn(move || read_slowly(&accepted.accept_flow().unwrap()));
        let flow = session.open_flow(FlowOptions::new("much"));
        for _ in 0..messages {
            flow.send(vec![7; length]).unwrap();
        }
        flow.finish().unwrap();
        drop(session);
        assert_eq!(reader.join().unwrap(), messages, "of {length} bytes");
    }
}

#[test]
fn what_was_sent_arrives_though_all_handles_are_dropped() {
    let (near, session, _far, accepted) = pair();
    let flow = session.open_flow(FlowOptions::new("three"));
    for _ in 0..3 {
        flow.send("message").unwrap();
    }
    drop((flow, session, near));
    assert_eq!(read_slowly(&accepted.accept_flow().unwrap()), 3);
}

#[test]
fn what_waits_for_a_session_to_open_arrives_though_all_handles_are_dropped() {
    let (near, far) = (endpoint("near"), endpoint("far"));
    let flow = near.begin("far", &far.local_addrs()).open_flow(FlowOptions::new("three"));
    for _ in 0..3 {
        flow.send("message").unwrap();
    }
    drop((flow, near));
    assert_eq!(read_slowly(&far.accept().unwrap().accept_flow().unwrap()), 3);
}

#[test]
fn a_stopped_endpoint_delivers_what_is_queued() {
    let (near, session, _far, accepted) = pair();
    let flow = session.open_flow(FlowOptions::new("twenty"));
    let reader = thread::spawn(move || read_slowly(&accepted.accept_flow().unwrap()));
    for _ in 0..20 {
        flow.send(vec![7; 65_536]).unwrap();
    }
    assert_eq!(near.shutdown(LONG).unwrap(), Undelivered::default());
    assert_eq!(reader.join().unwrap(), 20);
    assert_eq!(flow.send("late"), Err(Error::Closed));
    assert!(matches!(session.closed(), Error::SessionClosed(_)));
}

#[test]
fn a_closed_session_delivers_what_is_queued_and_takes_nothing_more() {
    let (_near, session, _far, accepted) = pair();
    let flow = session.open_flow(FlowOptions::new("twenty"));
    let reader = thread::spawn(move || read_slowly(&accepted.accept_flow().unwrap()));
    for _ in 0..20 {
        flow.send(vec![7; 65_536]).unwrap();
    }
    assert_eq!(session.close(LONG), Ok(Undelivered::default()));
    assert_eq!(reader.join().unwrap(), 20);
    assert!(flow.send("late").is_err());
    assert_eq!(flow.finish(), Ok(()), "all of it was received");
    // There is nothing to close any more; what it came to can be asked again.
    assert_eq!(session.close(LONG), Ok(Undelivered::default()));
}

#[test]
fn a_session_that_cannot_deliver_in_time_tells_what_it_has_not() {
    let mut config = EndpointConfig::default();
    config.session.recv_buffer = 256 << 10;
    let profile = Arc::new(PlainProfile::new(b"far"));
    let far = Endpoint::bind(config, profile, &["127.0.0.1:0".parse().unwrap()]).unwrap();
    let near = endpoint("near");
    let session = near.connect("far", &far.local_addrs()).unwrap();
    let accepted = far.accept().unwrap();
    let flow = session.open_flow(FlowOptions::new("much"));
    // Nobody reads. The far end's handle takes the first, and the second closes the receive window.
    for _ in 0..4 {
        flow.send(vec![7; 1_000_000]).unwrap();
    }
    let undelivered = session.close(Duration::from_millis(300)).unwrap();
    assert!(undelivered.messages >= 2 && undelivered.unsent >= 1, "{undelivered:?}");
    assert!(undelivered.bytes > 1_000_000, "{undelivered:?}");
    assert!(matches!(accepted.closed(), Error::SessionClosed(_)));
    assert!(flow.finish().is_err());
}

#[test]
fn an_endpoint_whose_far_end_is_gone_stops_in_time_and_tells_what_it_has_not_delivered() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let near = endpoint("near");
    let session = near.begin("far", &[silent.local_addr().unwrap()]);
    let flow = session.open_flow(FlowOptions::new("three"));
    for _ in 0..3 {
        flow.send("message").unwrap();
    }
    let undelivered = near.shutdown(Duration::from_millis(200)).unwrap();
    assert_eq!(undelivered, Undelivered { messages: 3, unsent: 3, bytes: 21 });
    assert!(matches!(session.closed(), Error::NotOpened(_)));
}

#[test]
fn a_session_that_had_ended_tells_why_when_it_is_closed() {
    let (_near, session, far, accepted) = pair();
    drop((accepted, far));
    let end = session.closed();
    assert!(matches!(end, Error::SessionClosed(_)));
    assert_eq!(session.close(LONG), Err(end));
}

/// It has all that was sent, whatever it thinks of more.
#[test]
fn a_flow_whose_receiver_has_read_everything_and_dropped_it_is_finished() {
    for messages in [1, 2, 7] {
        let (_near, session, _far, accepted) = pair();
        let flow = session.open_flow(FlowOptions::new("few"));
        for _ in 0..messages {
            flow.send("message").unwrap();
        }
        let received = accepted.accept_flow().unwrap();
        for _ in 0..messages {
            received.recv().unwrap().unwrap();
        }
        drop(received);
        assert_eq!(flow.finish(), Ok(()), "{messages}");
    }
}
