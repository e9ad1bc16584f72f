//! `rtmfp serve`, and programs that meet through it.

use std::net::SocketAddr;
use std::process::Command;

use rtmfp_core::profile::Fingerprint;
use rtmfp_core::profile::modern::{Discriminator, ModernProfile};
use rtmfp_meet::{Answer, Client, METADATA};
use rtmfp_std::{Endpoint, FlowOptions, RecvFlow, Remote, SendFlow, Session};

use super::harness::{Running, serve};

/// A program that has a session with the server.
struct Guest {
    endpoint: Endpoint,
    _session: Session,
    to: SendFlow,
    from: RecvFlow,
    client: Client,
}

impl Guest {
    fn join(server: Fingerprint, at: SocketAddr) -> Self {
        let endpoint = Endpoint::builder().peer().modern(ModernProfile::builder());
        let endpoint = endpoint.bind(([127, 0, 0, 1], 0).into()).spawn().unwrap();
        let session = endpoint.connect_to(Remote::peer(server).at(at)).unwrap();
        let to = session.open_flow(FlowOptions::new(METADATA));
        let client = Client::new();
        to.send(client.hello()).unwrap();
        let from = session.accept_flow().unwrap();
        Self { endpoint, _session: session, to, from, client }
    }

    fn listen(&mut self) -> Answer {
        loop {
            let message = self.from.recv().unwrap().unwrap();
            if let Some(answer) = self.client.on_message(&message.data).unwrap() {
                return answer;
            }
        }
    }

    fn ask(&mut self, (_, message): (u64, Vec<u8>)) -> Answer {
        self.to.send(message).unwrap();
        self.listen()
    }
}

fn server() -> (Running, Fingerprint, SocketAddr) {
    let (running, uri, fingerprint) = serve("serve", &[], None);
    let at = uri.trim_start_matches("rtmfp://").trim_end_matches('/').parse().unwrap();
    (running, fingerprint.parse().unwrap(), at)
}

#[test]
fn two_programs_meet_by_a_number_and_the_server_closes_in_order() {
    let (mut running, server, at) = server();
    let (mut ada, mut ben) = (Guest::join(server, at), Guest::join(server, at));
    let Answer::Seen(seen) = ben.listen() else { panic!("the address comes first") };
    assert_eq!(Some(&seen.socket), ben.endpoint.local_addrs().first());
    ada.listen();
    let wish = ben.client.number();
    let Answer::Number { number, .. } = ben.ask(wish) else { panic!("no number") };
    let question = ada.client.look_up(number);
    let Answer::Found { discriminator, .. } = ada.ask(question) else { panic!("nobody has {number}") };
    let whom = Discriminator::parse(&discriminator).unwrap().required_peer_id().unwrap();
    assert_eq!(Some(whom), ben.endpoint.peer_id());
    let session = ada.endpoint.connect_through(whom, &[at]).unwrap();
    assert_eq!(session.remote_addr(), Some(seen.socket), "the session is between the two");
    running.wait_for("\"introduced\"");
    let question = ada.client.look_up(number + 1);
    assert!(matches!(ada.ask(question), Answer::Nobody { .. }));

    let kill = Command::new("kill").args(["-TERM", &running.child.id().to_string()]).status();
    assert!(kill.is_ok_and(|status| status.success()));
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("\"served\",\"sessions\":2,\"introduced\":1,\"numbers\":1"), "{}", ended.out);
    // It ends for its clients too, and at once: not after the time that a server is waited for that was killed.
    while ada.from.recv().is_ok_and(|message| message.is_some()) {}
    session.open_flow(FlowOptions::new("on")).send("the two go on without it").unwrap();
    assert!(ben.endpoint.accept().unwrap().accept_flow().unwrap().recv().unwrap().is_some());
}
