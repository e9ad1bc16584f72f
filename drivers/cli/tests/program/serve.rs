//! `rtmfp serve`, and programs that meet through it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rtmfp_core::InterfaceId;
use rtmfp_core::profile::Fingerprint;
use rtmfp_core::profile::modern::Discriminator;
use rtmfp_meet::{Answer, Client, METADATA, RelayInterface};
use rtmfp_std::{Candidate, Endpoint, FlowOptions, RecvFlow, Remote, SendFlow, Session};

use super::harness::{Running, Scratch, field, serve, start};

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
        // A client joins the server's relay, if it has one.
        let relay = RelayInterface::new(0).of(Discriminator::new().peer_id(server).to_bytes());
        let endpoint = Endpoint::builder().peer().service(Box::new(relay));
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

fn server(arguments: &[&str]) -> (Running, Fingerprint, SocketAddr) {
    let (running, uri, fingerprint) = serve("serve", arguments, None);
    let at = uri.trim_start_matches("rtmfp://").trim_end_matches('/').parse().unwrap();
    (running, fingerprint.parse().unwrap(), at)
}

#[test]
fn two_programs_meet_by_a_number_and_the_server_closes_in_order() {
    let (mut running, server, at) = server(&[]);
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

#[test]
fn two_programs_reach_each_other_through_the_relay() {
    let (mut running, server, at) = server(&["--relay"]);
    let (mut ada, mut ben) = (Guest::join(server, at), Guest::join(server, at));
    ada.listen();
    ben.listen();
    let ben_is = ben.endpoint.peer_id().unwrap();
    let discriminator = Discriminator::new().peer_id(ben_is).to_bytes();
    // Both flows for datagrams were opened before what was answered.
    let question = ada.client.open_circuit(&discriminator);
    let Answer::Circuit { circuit, .. } = ada.ask(question) else { panic!("no circuit") };
    running.wait_for("\"circuit\"");
    let remote = RelayInterface::new(0).path(circuit).remote;
    let place = Candidate { remote, delay: Duration::ZERO, interface: Some(InterfaceId::last_resort(0)) };
    let session = ada.endpoint.connect_to(Remote::peer(ben_is).at_candidate(place)).unwrap();
    assert_eq!(session.remote_addr(), Some(remote));
    session.open_flow(FlowOptions::new("greeting")).send(vec![7; 100_000]).unwrap();
    let at_ben = ben.endpoint.accept().unwrap();
    let heard = at_ben.accept_flow().unwrap().recv().unwrap().unwrap();
    assert_eq!(heard.data.len(), 100_000);
    // Before the sessions with the server, over which it goes.
    session.close(Duration::from_secs(60)).unwrap();
}

/// What a page says, without its head.
fn page(at: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(at).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {at}\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    body.to_owned()
}

/// The settings come from a file. What is asked for shows in the metrics, as soon as it was published.
#[test]
fn metrics_and_health_are_served_as_a_file_says() {
    let scratch = Scratch::new();
    let file = scratch.source("serve.toml");
    fs::write(&file, "http = \"127.0.0.1:0\"\n[limits]\nnumbers-per-session = 1\n").unwrap();
    let (mut running, server, at) = server(&["--config", file.to_str().unwrap()]);
    let http = field(&running.wait_for("\"http\""), "address").unwrap();
    assert_eq!(page(&http, "/health"), "well\n");

    let mut guest = Guest::join(server, at);
    guest.listen();
    let wish = guest.client.number();
    assert!(matches!(guest.ask(wish), Answer::Number { .. }));
    let wish = guest.client.number();
    assert!(matches!(guest.ask(wish), Answer::Refused { .. }), "one number a session, says the file");
    let wanted = [
        "rtmfp_sessions{profile=\"modern\"} 1",
        "rtmfp_registrations{profile=\"modern\"} 1",
        "rtmfp_numbers{profile=\"modern\"} 1",
        "rtmfp_requests_refused_total{profile=\"modern\"} 1",
        "rtmfp_sessions_total{profile=\"modern\",outcome=\"opened\"} 1",
    ];
    wait_for_metrics(&http, &wanted);
}

/// They are published several times a second.
fn wait_for_metrics(http: &str, wanted: &[&str]) {
    let shown = |text: &str| wanted.iter().all(|wanted| text.lines().any(|line| line == *wanted));
    assert!((0..10_000).any(|_| shown(&page(http, "/metrics"))), "{}", page(http, "/metrics"));
}

/// An echo that is registered at a server, its number, and the server's fingerprint.
fn echo_at(uri: &str, server: &str, profile: &str) -> (Running, String) {
    let arguments = ["--via", uri, "--via-fingerprint", server, "--profile", profile];
    let (mut echo, ..) = serve("echo", &arguments, None);
    let line = echo.wait_for("\"reachable\"");
    let number = line.split_once("\"number\":").unwrap().1.chars().take_while(char::is_ascii_digit).collect();
    (echo, number)
}

#[test]
fn clients_of_both_profiles_meet_at_one_server_and_both_see_its_end() {
    let flash = ["--listen-flash", "127.0.0.1:0", "--http", "127.0.0.1:0", "--relay"];
    let (mut running, modern, server) = serve("serve", &flash, None);
    let line = running.wait_for("\"profile\":\"flash\"");
    let flash = format!("rtmfp://{}/", field(&line, "address").unwrap());
    let flash_server = field(&line, "fingerprint").unwrap();
    let http = field(&running.wait_for("\"http\""), "address").unwrap();
    let mut echoes = [echo_at(&modern, &server, "modern"), echo_at(&flash, &flash_server, "flash")];
    let ends =
        [(&modern, "modern", "--direct-only"), (&flash, "flash", "--direct-only"), (&flash, "flash", "--relay-only")];
    for (uri, profile, path) in ends {
        let (_, number) = &echoes[usize::from(profile == "flash")];
        let ended = start(&["ping", "-i", "0", "--profile", profile, "--via", uri, path, number]).end();
        assert_eq!(ended.code, Some(0), "{profile} {path}: {ended:?}");
    }
    wait_for_metrics(
        &http,
        &[
            "rtmfp_numbers{profile=\"modern\"} 1",
            "rtmfp_numbers{profile=\"flash\"} 1",
            "rtmfp_registrations_total{profile=\"modern\"} 2",
            "rtmfp_registrations_total{profile=\"flash\"} 3",
        ],
    );
    let kill = Command::new("kill").args(["-TERM", &running.child.id().to_string()]).status();
    assert!(kill.is_ok_and(|status| status.success()));
    for (echo, _) in &mut echoes {
        // At once: a server that was killed is missed only after a while.
        assert!(echo.wait_for("\"unregistered\"").contains("the server is ending"));
    }
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for served in ["\"served\",\"sessions\":2", "\"served\",\"profile\":\"flash\",\"sessions\":3"] {
        assert!(ended.out.contains(served), "{}", ended.out);
    }
}

#[test]
fn a_server_of_both_profiles_takes_no_choice_of_one() {
    let ended = start(&["serve", "--listen-flash", "127.0.0.1:0", "--profile", "flash"]).end();
    assert!(ended.code == Some(2) && ended.errors.contains("leave out --profile"), "{ended:?}");
}

#[test]
fn a_file_of_settings_with_a_mistake_is_refused_with_its_place() {
    let scratch = Scratch::new();
    let file = scratch.source("serve.toml");
    fs::write(&file, "max-sessions = 500\nlissten = []\n").unwrap();
    let ended = start(&["serve", "--config", file.to_str().unwrap()]).end();
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.errors.contains("line 2") && ended.errors.contains("lissten"), "{}", ended.errors);
    let missing = scratch.source("none.toml");
    let ended = start(&["serve", "--config", missing.to_str().unwrap()]).end();
    assert!(ended.code == Some(2) && ended.errors.contains("none.toml: No such file"), "{ended:?}");
}

#[test]
fn a_server_with_tokens_is_for_those_who_show_one_of_its_file() {
    let scratch = Scratch::new();
    let [tokens, ada, ben] = ["tokens", "ada", "ben"].map(|name| scratch.source(name));
    let make = |name: &str, file: &Path| {
        let ended = start(&["token", name, file.to_str().unwrap()]).end();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.out
    };
    fs::write(&tokens, make("ada", &ada)).unwrap();
    let of_ben = make("ben", &ben);
    let ended = start(&["token", "ben", ben.to_str().unwrap()]).end();
    assert!(ended.code == Some(1) && ended.errors.contains("exists"), "{ended:?}");
    let arguments = ["--tokens", tokens.to_str().unwrap(), "--http", "127.0.0.1:0", "--relay"];
    let (mut running, uri, _) = serve("serve", &arguments, None);
    let http = field(&running.wait_for("\"http\""), "address").unwrap();
    let token = |file: &Path| ["--via", &*uri, "--token-file", file.to_str().unwrap()].map(str::to_owned);
    let with_ada = token(&ada);
    let with_ada: Vec<&str> = with_ada.iter().map(String::as_str).collect();
    let (mut echo, ..) = serve("echo", &with_ada, None);
    let whom = field(&echo.wait_for("\"reachable\""), "fingerprint").unwrap();
    let ping = |arguments: &[&str]| start(&[&["ping", "-i", "0"][..], arguments, &[&whom]].concat()).end();
    assert_eq!(ping(&with_ada).code, Some(0));
    for path in ["--direct-only", "--relay-only"] {
        let ended = ping(&["--via", &uri, path]);
        assert!(ended.code == Some(3) && ended.errors.contains("(--token-file)"), "{path}: {ended:?}");
    }
    let with_ben = token(&ben);
    let with_ben: Vec<&str> = with_ben.iter().map(String::as_str).collect();
    let ended = ping(&with_ben);
    assert!(ended.code == Some(3) && ended.errors.contains("no token that the server accepts"), "{ended:?}");
    running.wait_for("\"token-rejected\"");
    let rejected = ["accepted\"} 2", "rejected\"} 1"]
        .map(|end| "rtmfp_tokens_total{profile=\"modern\",outcome=\"".to_owned() + end);
    wait_for_metrics(&http, &rejected.each_ref().map(String::as_str));

    fs::write(&tokens, of_ben).unwrap();
    assert_eq!(ping(&with_ben).code, Some(0), "the file was read again");
    fs::write(&tokens, "ben nothing").unwrap();
    assert_eq!(ping(&with_ben).code, Some(0), "what it said before holds");
    running.wait_for_error("cannot be used, so all stays as it was: line 1");
    let ended = start(&["serve", "--listen", "127.0.0.1:0", "--tokens", tokens.to_str().unwrap()]).end();
    assert!(ended.code == Some(1) && ended.errors.contains("line 1"), "{ended:?}");
}
