//! Handles and a ready-made service on one endpoint.

use core::time::Duration;
use std::collections::BTreeMap;

use rtmfp_core::profile::flash::{Group, StaticKeys};
use rtmfp_core::{Event, FlowOptions, Instant, RecvFlowHandle, SendFlowHandle, Service};
use rtmfp_std::{Builder, Endpoint, Error, Remote, Session, system_rng};

/// Sends every message of a flow whose name begins with "echo" back, in a return flow.
#[derive(Default)]
struct Echo(BTreeMap<RecvFlowHandle, SendFlowHandle>);

impl Service for Echo {
    fn claims(&self, metadata: &[u8]) -> bool {
        metadata.starts_with(b"echo")
    }

    fn owns(&self, flow: SendFlowHandle) -> bool {
        self.0.values().any(|answer| *answer == flow)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "an application acts on the events that it knows of")]
    fn on_event(&mut self, now: Instant, endpoint: &mut rtmfp_core::Endpoint, event: &Event) {
        match event {
            Event::FlowOpened { flow } => {
                let mut opened = endpoint.recv_flow_mut(now, *flow).unwrap();
                let answer = opened.open_return_flow(FlowOptions::new("answer")).unwrap();
                self.0.insert(*flow, answer);
            }
            Event::FlowReadable { flow } => {
                while let Some(message) = endpoint.recv_flow_mut(now, *flow).and_then(|mut flow| flow.read()) {
                    let answer = self.0.get(flow).copied().unwrap();
                    endpoint.send_flow_mut(now, answer).unwrap().write(message.data).unwrap();
                }
            }
            Event::FlowFinished { flow, .. } => {
                if let Some(mut answer) = self.0.get(flow).and_then(|answer| endpoint.send_flow_mut(now, *answer)) {
                    answer.close();
                }
            }
            Event::FlowCompleted { flow, .. } | Event::FlowRejected { flow, .. } => {
                self.0.retain(|_, answer| answer != flow);
            }
            _ => {}
        }
    }
}

/// A session of its own, opened when it starts.
struct Caller {
    remote: Option<(Vec<u8>, core::net::SocketAddr)>,
}

impl Service for Caller {
    fn claims(&self, _metadata: &[u8]) -> bool {
        false
    }

    fn on_event(&mut self, _now: Instant, _endpoint: &mut rtmfp_core::Endpoint, _event: &Event) {}

    fn on_wake(&mut self, now: Instant, endpoint: &mut rtmfp_core::Endpoint) {
        if let Some((name, address)) = self.remote.take() {
            let path = rtmfp_core::Path::new(rtmfp_core::InterfaceId(0), address);
            endpoint.open(now, rtmfp_core::Target::new(name, path)).unwrap();
        }
    }
}

fn spawn(builder: Builder) -> Endpoint {
    let keys = StaticKeys::generate(&[Group::Modp1024], &mut *system_rng().unwrap());
    builder.static_keys(keys).bind("127.0.0.1:0".parse().unwrap()).spawn().unwrap()
}

fn remote(endpoint: &Endpoint) -> Remote {
    Remote::peer(endpoint.peer_id().unwrap()).at(endpoint.local_addrs().first().copied().unwrap())
}

fn echoed(session: &Session, message: &'static str) {
    let flow = session.open_flow(FlowOptions::new("echo/1"));
    flow.send(message).unwrap();
    let answer = session.accept_flow().unwrap();
    assert!(answer.is_return_to(&flow));
    assert_eq!(answer.recv().unwrap().unwrap().data, message);
    flow.finish().unwrap();
    assert_eq!(answer.recv().unwrap(), None);
}

#[test]
fn a_program_runs_a_ready_made_service_and_its_own_code_on_one_endpoint() {
    let server = spawn(Endpoint::builder().peer().service(Box::<Echo>::default()));
    let client = spawn(Endpoint::builder().peer());
    let session = client.connect_to(remote(&server)).unwrap();
    echoed(&session, "for the service");
    let accepted = server.accept().unwrap();
    session.open_flow(FlowOptions::new("other")).send("for the handles").unwrap();
    let flow = accepted.accept_flow().unwrap();
    assert_eq!(flow.metadata(), "other", "handles do not see the service's flows");
    assert_eq!(flow.recv().unwrap().unwrap().data, "for the handles");
    // Its own flows, the other way round: the answer is for whoever asked, whatever its name.
    let question = accepted.open_flow(FlowOptions::new("question"));
    question.send("?").unwrap();
    let asked = loop {
        let flow = session.accept_flow().unwrap();
        if flow.metadata() == "question" {
            break flow;
        }
    };
    asked.open_return_flow(FlowOptions::new("echo/2")).send("!").unwrap();
    let answer = accepted.accept_flow().unwrap();
    assert!(answer.is_return_to(&question));
    assert_eq!(answer.recv().unwrap().unwrap().data, "!");
    // The session is the service's too: it goes on without handles, which get no more flows.
    drop((flow, question, answer, accepted));
    echoed(&session, "still there");
    let refused = session.open_flow(FlowOptions::new("other"));
    let refused = loop {
        if let Err(error) = refused.send("for nobody") {
            break error;
        }
    };
    assert!(matches!(refused, Error::Rejected(0)), "{refused:?}");
}

#[test]
fn a_service_serves_though_nobody_accepts_and_its_own_sessions_are_not_accepted() {
    let far = spawn(Endpoint::builder().peer());
    let name = rtmfp_core::profile::flash::Discriminator::new().fingerprint(far.peer_id().unwrap()).to_bytes();
    let caller = Caller { remote: Some((name, far.local_addrs().first().copied().unwrap())) };
    let server = spawn(Endpoint::builder().peer().service(Box::<Echo>::default()).service(Box::new(caller)));
    let called = far.accept().unwrap();
    echoed(&called, "in the session that the service began");
    let clients: Vec<_> = (0..2).map(|_| spawn(Endpoint::builder().peer())).collect();
    for client in &clients {
        echoed(&client.connect_to(remote(&server)).unwrap(), "hello");
    }
    // The first that waits is a client's. The same endpoint reaches the service's session by its name.
    let accepted = server.accept().unwrap();
    assert_ne!(accepted.remote_addr(), far.local_addrs().first().copied());
    let again = server.connect_to(remote(&far)).unwrap();
    again.open_flow(FlowOptions::new("other")).send("the same session").unwrap();
    assert_eq!(called.accept_flow().unwrap().recv().unwrap().unwrap().data, "the same session");
    server.shutdown(Duration::from_secs(10)).unwrap();
    assert!(matches!(called.closed(), Error::SessionClosed(_)));
}
