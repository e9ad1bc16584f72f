//! `rtmfp doctor`, with a server that has two ports and two addresses of the loopback interface.

use std::fs;

use super::harness::{Scratch, field, serve, start};

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
    let ended = start(&["doctor", "--with", hard, hard]).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let ended_open = start(&["doctor", "--with", hard, file]).end();
    assert!(ended_open.out.contains("these two will meet directly"), "{ended_open:?}");
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
