//! `rtmfp doctor`, with a server that has two ports and two addresses of the loopback interface.

use std::fs;
use std::net::UdpSocket;

use super::harness::{Ended, Running, Scratch, field, serve, start};

#[test]
fn the_doctor_finds_an_open_network_and_says_who_meets() {
    let probes = ["--probe-listen", "127.0.0.1:0", "--probe-listen", "127.0.0.2:0"];
    let (mut running, uri, _) = serve("serve", &probes, None);
    let places = [running.wait_for("\"probes\""), running.wait_for("\"probes\"")].map(|line| field(&line, "address"));
    assert!(
        matches!(&places, [Some(one), Some(two)] if one.starts_with("127.0.0.1:") && two.starts_with("127.0.0.2:"))
    );

    let scratch = Scratch::new();
    let file = scratch.source("report.json");
    let file = file.to_str().unwrap();
    let ended = start(&["doctor", "--json", "--via", &uri, "--save", file]).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let of = |key| field(&ended.out, key);
    assert_eq!(of("ipv4_mapping").as_deref(), Some("endpoint-independent"), "{}", ended.out);
    assert_eq!(of("ipv4_filtering").as_deref(), Some("endpoint-independent"), "{}", ended.out);
    assert!(of("ipv4_seen").is_some() && of("ipv4_seen") == of("ipv4_local"), "{}", ended.out);
    assert!(ended.out.contains("\"ipv4_port_preserved\":true") && !ended.out.contains("ipv6"), "{}", ended.out);
    assert_eq!(fs::read_to_string(file).unwrap().trim_end(), ended.out, "the same report");

    // One that is found out now, and one from a file; two from files; and for people.
    let ended = start(&["doctor", "--json", "--via", &uri, "--with", file]).end();
    assert!(ended.out.contains("\"meeting\",\"how\":\"directly\""), "{ended:?}");
    let hard = scratch.source("hard.json");
    let symmetric = r#"{"event":"report","ipv4_seen":"192.0.2.9:1","ipv4_local":"10.0.0.1:1",
        "ipv4_mapping":"address-and-port-dependent","ipv4_filtering":"address-and-port-dependent"}"#;
    fs::write(&hard, symmetric.replace('\n', "")).unwrap();
    let hard = hard.to_str().unwrap();
    let other = scratch.source("other.json");
    fs::write(&other, symmetric.replace('\n', "").replace("192.0.2.9", "192.0.2.10")).unwrap();
    let other = other.to_str().unwrap();
    let ended = start(&["doctor", "--with", hard, other]).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let ended_open = start(&["doctor", "--with", hard, file]).end();
    assert!(ended_open.out.contains("these two will meet directly"), "{ended_open:?}");
    assert!(!ended_open.out.contains("--relay"), "nothing is to be done: {ended_open:?}");
    let names = format!("(the first: {hard}; the second: {other})");
    assert!(ended.out.contains(&names), "{ended:?}");
    assert!(ended.out.contains("next: to meet directly, forward a port") && ended.out.contains("--relay"), "{ended:?}");
    let ended = start(&["doctor", "--via", &uri]).end();
    assert!(ended.out.starts_with("open: ") && ended.out.contains("\nIPv4 mapping "), "{ended:?}");
}

#[test]
fn without_further_addresses_less_is_known() {
    let (_running, uri, _) = serve("serve", &[], None);
    let ended = start(&["doctor", "--json", "--via", &uri]).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("\"ipv4_seen\"") && !ended.out.contains("\"ipv4_mapping\""), "{}", ended.out);
    let ended = start(&["doctor", "--via", &uri]).end();
    assert!(ended.out.starts_with("not known: a server with a second port"), "{}", ended.out);
}

#[test]
fn a_server_that_does_not_answer_and_one_that_does_not_help_are_told_apart() {
    let ended = start(&["doctor", "--via", "rtmfp://127.0.0.1:9/", "--timeout", "1"]).end();
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.out.starts_with("no server was reached") && ended.errors.contains("127.0.0.1:9"), "{ended:?}");
    let (_running, uri, _) = serve("echo", &[], None);
    let ended = start(&["doctor", "--via", &uri]).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.errors.contains("does not help with probes"), "{ended:?}");
}

#[test]
fn what_cannot_be_looked_at_is_told() {
    let scratch = Scratch::new();
    let file = scratch.source("no report.json");
    fs::write(&file, "{\"event\":\"done\"}\n").unwrap();
    let ended = start(&["doctor", "--with", file.to_str().unwrap(), file.to_str().unwrap()]).end();
    assert!(ended.code == Some(2) && ended.errors.contains("is no report"), "{ended:?}");
    let ended = start(&["doctor", "--json"]).end();
    assert!(ended.code == Some(2) && ended.out.contains("\"route\",\"family\":\"IPv4\""), "{ended:?}");
}

#[test]
fn what_the_doctor_would_leave_undone_is_refused() {
    let ended = start(&["doctor", "--via", "rtmfp://127.0.0.1:9/", "--pin"]).end();
    assert!(ended.code == Some(2) && ended.errors.contains("leave out --pin"), "{ended:?}");
    let scratch = Scratch::new();
    let file = scratch.source("report.json");
    fs::write(&file, "{\"event\":\"report\"}\n").unwrap();
    let file = file.to_str().unwrap();
    let saved = scratch.source("saved.json");
    for more in [["--via", "rtmfp://127.0.0.1:9/"], ["--save", saved.to_str().unwrap()]] {
        let ended = start(&[&["doctor"][..], &more, &["--with", file, file]].concat()).end();
        assert!(ended.code == Some(2) && ended.errors.contains("with two reports"), "{ended:?}");
    }
    assert!(!saved.exists());
}

/// An echo that is registered with the server, its peer ID and its number.
fn echo_at(uri: &str) -> (Running, String, String) {
    let (mut echo, _, peer_id) = serve("echo", &["--via", uri], None);
    let line = echo.wait_for("\"reachable\"");
    let number = line.split_once("\"number\":").unwrap().1.chars().take_while(char::is_ascii_digit).collect();
    (echo, peer_id, number)
}

fn explain(uri: &str, whom: &str, more: &[&str]) -> Ended {
    start(&[&["doctor", "--json", "--via", uri, "--explain", whom], more].concat()).end()
}

/// The names of the steps that were passed, or that were not.
fn passed(ended: &Ended, passed: bool) -> Vec<String> {
    let passed = format!("\"passed\":{passed}");
    let lines = ended.out.lines().filter(|line| line.contains("\"event\":\"step\"") && line.contains(&passed));
    lines.map(|line| field(line, "step").unwrap()).collect()
}

#[test]
fn who_meets_a_far_end_is_told_each_step_and_the_path() {
    let (_server, uri, _) = serve("serve", &["--relay"], None);
    let (mut echo, peer_id, number) = echo_at(&uri);
    // What the server says of the far end may come after its answer: only what must be there is asked for.
    let direct = ["server", "registered", "introduced", "answered", "direct", "open"];
    let relayed = ["server", "registered", "far-end", "circuit", "answered", "open"];
    for (whom, more, steps, kind) in [
        (&number, &[][..], direct, "lan"),
        (&peer_id, &["--direct-only"], direct, "lan"),
        (&peer_id, &["--lan-only"], direct, "lan"),
        (&peer_id, &["--relay-only"], relayed, "relayed"),
    ] {
        let ended = explain(&uri, whom, more);
        assert_eq!(ended.code, Some(0), "{more:?} {ended:?}");
        let mut told = passed(&ended, true);
        told.retain(|told| steps.contains(&&**told));
        assert_eq!(told, steps, "{more:?} {ended:?}");
        assert_eq!(passed(&ended, false), [""; 0], "{more:?}");
        let open = ended.out.lines().last().unwrap();
        assert_eq!((field(open, "step").as_deref(), field(open, "kind").as_deref()), (Some("open"), Some(kind)));
        assert!(open.contains("\"at\":") && open.contains("\"seconds\":"), "{open}");
        assert_eq!(field(open, "peer").is_some(), kind == "lan", "{open}");
        assert_eq!(field(&echo.wait_for("\"path\""), "kind").as_deref(), Some(kind));
        echo.wait_for("\"closed\"");
    }
    let ended = start(&["doctor", "--via", &uri, "--explain", &peer_id]).end();
    assert!(ended.out.contains("ms  the far end has answered\n"), "{ended:?}");
    assert!(ended.out.lines().last().unwrap().contains("met: lan, at 127.0.0.1:"), "{ended:?}");
}

#[test]
fn who_does_not_meet_a_far_end_is_told_the_step_that_failed() {
    let (_server, uri, _) = serve("serve", &[], None);
    let (_echo, peer_id, number) = echo_at(&uri);
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent = format!("rtmfp://{}/", silent.local_addr().unwrap());
    let nobody = "0".repeat(64);
    let at_server = &["server", "registered"][..];
    for (uri, whom, more, steps, failed, next) in [
        (&uri, &nobody, &["--direct-only"][..], at_server, &["far-end"][..], "that the other end runs"),
        (&uri, &nobody, &[], at_server, &["circuit", "far-end"], "that the other end runs"),
        (&uri, &number, &["--relay-only"], &["server", "registered", "far-end"], &["circuit"], "allow direct paths"),
        (&silent, &peer_id, &["--timeout", "1"], &[], &["server"], "check its address"),
    ] {
        let ended = explain(uri, whom, more);
        assert_eq!(ended.code, Some(3), "{ended:?}");
        assert_eq!(passed(&ended, true), steps, "{more:?} {ended:?}");
        assert_eq!(passed(&ended, false), failed, "{more:?} {ended:?}");
        let [.., last, error] = ended.out.lines().collect::<Vec<_>>()[..] else { panic!("{ended:?}") };
        assert!(last.contains("\"passed\":false") && last.contains(next) && error.contains(next), "{ended:?}");
    }
    // A circuit that is refused fails nothing else.
    let ended = explain(&uri, &number, &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(passed(&ended, false).iter().all(|step| step == "circuit"), "{ended:?}");
}

#[test]
fn options_for_a_far_end_need_one() {
    for (more, next) in [(&["--relay-only"][..], "--explain"), (&["--explain", "1", "--with", "a", "b"], "leave out")] {
        let scratch = Scratch::new();
        let report = scratch.source("report.json");
        fs::write(&report, "{\"event\":\"report\"}\n").unwrap();
        let report = report.to_str().unwrap();
        let more = more.iter().map(|one| if ["a", "b"].contains(one) { report } else { one });
        let line: Vec<&str> = ["doctor", "--via", "rtmfp://127.0.0.1:9/"].into_iter().chain(more).collect();
        let ended = start(&line).end();
        assert!(ended.code == Some(2) && ended.errors.contains(next), "{ended:?}");
    }
}
