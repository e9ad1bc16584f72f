//! Nodes over loopback, as application threads use them.

use core::task::Poll;
use core::time::Duration;
use std::sync::Arc;
use std::thread;

use rtmfp_core::profile::flash::{Discriminator, FlashProfile, Group, StaticKeys};
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::{CloseMode, EndpointConfig, FlowOptions};
use rtmfp_std::{Endpoint, Error, RecvFlow, Session, Waiter, system_rng};

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

fn read_all(flow: &RecvFlow) -> Vec<Vec<u8>> {
    core::iter::from_fn(|| flow.recv().unwrap()).map(|message| message.data.to_vec()).collect()
}

#[test]
fn messages_arrive_in_order_and_the_end_is_told_at_both_ends() {
    let (_near, session, _far, accepted) = pair();
    assert_eq!(accepted.far_discriminator(), b"near");
    let reader = thread::spawn(move || {
        let flow = accepted.accept_flow().unwrap();
        assert_eq!(flow.metadata().as_ref(), b"numbers");
        read_all(&flow)
    });
    let flow = session.open_flow(FlowOptions::new("numbers"));
    let sent: Vec<Vec<u8>> = (0_u32..500).map(|n| n.to_be_bytes().repeat(n as usize)).collect();
    for message in &sent {
        flow.send(message.clone()).unwrap();
    }
    flow.finish().unwrap();
    assert!(reader.join().unwrap() == sent);
}

#[test]
fn more_than_all_buffers_hold_gets_through_a_slow_reader() {
    let (_near, session, _far, accepted) = pair();
    let flow = session.open_flow(FlowOptions::new("much"));
    let mut taken = 0_u32;
    let message = vec![7; 100_000];
    // A queue that nothing drains is full sooner or later: the writer is not let on without bound.
    let mut context = core::task::Context::from_waker(core::task::Waker::noop());
    let refused = loop {
        let mut slot = Some(message.clone().into());
        match flow.poll_send(&mut context, &mut Waiter::default(), &mut slot) {
            Poll::Ready(result) => result.unwrap(),
            Poll::Pending => break slot.unwrap(),
        }
        taken += 1;
    };
    let writer = thread::spawn(move || {
        flow.send(refused).unwrap();
        for _ in 0..50 {
            flow.send(message.clone()).unwrap();
        }
        flow.finish().unwrap();
    });
    let flow = accepted.accept_flow().unwrap();
    assert_eq!(read_all(&flow).len(), taken as usize + 51);
    writer.join().unwrap();
}

#[test]
fn sessions_flows_and_messages_come_from_iterators_that_end() {
    let server = endpoint("server");
    let clients = ["client 0", "client 1"].map(endpoint);
    let mut held = Vec::new();
    for client in &clients {
        let session = client.connect("server", &server.local_addrs()).unwrap();
        let flow = session.open_flow(FlowOptions::new("flow"));
        for text in ["one", "two"] {
            flow.send(text).unwrap();
        }
        flow.close();
        held.push(session);
    }
    for (n, session) in server.incoming().take(2).enumerate() {
        assert_eq!(session.far_discriminator(), format!("client {n}").as_bytes());
        let mut flows = session.incoming_flows();
        let flow = flows.next().unwrap();
        let texts: Result<Vec<_>, Error> = flow.messages().map(|message| Ok(message?.data)).collect();
        assert_eq!(texts.unwrap(), ["one", "two"]);
        session.abort(CloseMode::Orderly);
        assert!(flows.next().is_none());
    }
    let incoming = server.incoming();
    server.stop();
    assert_eq!(incoming.count(), 0);
}

#[test]
fn a_return_flow_knows_what_it_answers() {
    let (_near, session, _far, accepted) = pair();
    let (asking, other) = (session.open_flow(FlowOptions::new("ask")), session.open_flow(FlowOptions::new("other")));
    asking.send("question").unwrap();
    let question = accepted.accept_flow().unwrap();
    assert_eq!(question.recv().unwrap().unwrap().data, "question");
    let answering = question.open_return_flow(FlowOptions::new("answer"));
    answering.send("answer").unwrap();
    let answer = session.accept_flow().unwrap();
    assert!(answer.is_return_to(&asking) && !answer.is_return_to(&other));
    assert_eq!(answer.recv().unwrap().unwrap().data, "answer");
}

#[test]
fn a_rejected_flow_tells_its_sender_why() {
    let (_near, session, _far, accepted) = pair();
    let flow = session.open_flow(FlowOptions::new("unwanted"));
    flow.send("x").unwrap();
    accepted.accept_flow().unwrap().reject(42);
    // Sent on until the rejection is heard of; a full queue waits for it too.
    let error = loop {
        if let Err(error) = flow.send("y") {
            break error;
        }
    };
    assert_eq!(error, Error::Rejected(42));
    // What came before the rejection was kept: that may be all there was.
    assert!(matches!(flow.finish(), Ok(()) | Err(Error::Rejected(42))));
}

#[test]
fn a_flow_rejected_after_its_close_is_not_taken_for_received() {
    let (_near, session, _far, accepted) = pair();
    let flow = session.open_flow(FlowOptions::new("unwanted"));
    // Nobody reads: the first fills the receive window, and the others wait at the sender.
    for _ in 0..3 {
        flow.send(vec![0; 600_000]).unwrap();
    }
    flow.close();
    accepted.accept_flow().unwrap().reject(42);
    assert!(matches!(flow.finish(), Err(Error::Abandoned | Error::Rejected(42))));
}

#[test]
fn a_closed_session_ends_everything_at_both_ends() {
    let (_near, session, _far, accepted) = pair();
    let flow = session.open_flow(FlowOptions::new("x"));
    flow.send("x").unwrap();
    let receiving = accepted.accept_flow().unwrap();
    receiving.recv().unwrap().unwrap();
    session.abort(CloseMode::Orderly);
    assert!(matches!(session.closed(), Error::SessionClosed(_)));
    assert!(matches!(accepted.closed(), Error::SessionClosed(_)));
    assert!(matches!(receiving.recv(), Err(Error::SessionClosed(_))));
    assert!(matches!(flow.send("y"), Err(Error::SessionClosed(_))));
    assert!(accepted.accept_flow().is_err());
}

#[test]
fn dropping_the_last_handle_closes_the_session() {
    let (_near, session, _far, accepted) = pair();
    let flow = session.open_flow(FlowOptions::new("x"));
    drop(session);
    flow.send("still open").unwrap();
    let receiving = accepted.accept_flow().unwrap();
    assert_eq!(receiving.recv().unwrap().unwrap().data, "still open");
    drop(flow);
    assert!(matches!(accepted.closed(), Error::SessionClosed(_)));
}

#[test]
fn a_stopped_endpoint_keeps_nobody_waiting() {
    let (near, session, far, accepted) = pair();
    let flow = session.open_flow(FlowOptions::new("x"));
    let handle = near.handle();
    let waiting = thread::spawn(move || handle.accept().is_none());
    assert!(near.shutdown(Duration::from_secs(10)).unwrap().is_empty());
    assert!(waiting.join().unwrap());
    assert!(flow.send("x").is_err());
    assert!(session.accept_flow().is_err());
    assert!(matches!(accepted.closed(), Error::SessionClosed(_)), "the far end is told");
    drop(far);
}

#[test]
fn what_cannot_be_opened_says_so() {
    let near = endpoint("near");
    assert!(matches!(near.connect("far", &[]), Err(Error::NotBegun(_))));
    let (_near, session, _far, _accepted) = pair();
    let flow = session.open_flow(FlowOptions::new(vec![0; 513]));
    assert!(matches!(flow.finish(), Err(Error::NoFlow(_))));
}

#[test]
fn every_socket_is_waited_for_however_many_there_are() {
    for count in [1, 3, 4, 9] {
        let addresses = vec!["127.0.0.1:0".parse().unwrap(); count];
        let profile = Arc::new(PlainProfile::new(&b"far"[..]));
        let far = Endpoint::bind(EndpointConfig::default(), profile, &addresses).unwrap();
        for address in far.local_addrs() {
            let near = endpoint("near");
            let session = near.connect("far", &[address]).unwrap();
            assert_eq!(session.remote_addr(), Some(address), "of {count}");
        }
    }
}

/// Key agreements on a thread of their own, at both ends.
#[test]
fn sessions_open_when_key_agreements_are_handed_out() {
    let bind = || {
        let mut config = EndpointConfig::default();
        config.max_waiting_key_agreements = 2;
        let keys = StaticKeys::generate(&[Group::Modp1024], &mut *system_rng().unwrap());
        let profile = FlashProfile::builder().static_keys(keys).build(&mut *system_rng().unwrap()).unwrap();
        let name = Discriminator::new().fingerprint(profile.fingerprint()).to_bytes();
        (Endpoint::bind(config, Arc::new(profile), &["127.0.0.1:0".parse().unwrap()]).unwrap(), name)
    };
    let (far, name) = bind();
    for _ in 0..3 {
        let (near, _) = bind();
        let session = near.connect(name.clone(), &far.local_addrs()).unwrap();
        let flow = session.open_flow(FlowOptions::new("f"));
        flow.send("hello").unwrap();
        let heard = far.accept().unwrap().accept_flow().unwrap().recv().unwrap().unwrap();
        assert_eq!(heard.data, "hello");
    }
}
