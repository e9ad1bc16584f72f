//! The program as users run it, at small sizes.
#![allow(clippy::unwrap_used, clippy::tests_outside_test_module, reason = "a test that cannot go on has failed")]

use std::process::{Command, Output, Stdio};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rtmfp-bench")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// The last line tells the medians.
fn median(arguments: &[&str]) -> String {
    let ended = run(&[arguments, &["--json", "--runs", "1"]].concat());
    assert_eq!(ended.status.code(), Some(0), "{arguments:?}: {ended:?}");
    let last = String::from_utf8_lossy(&ended.stdout).lines().last().unwrap_or_default().to_owned();
    assert!(last.starts_with("{\"event\":\"median\",\"subject\":\""), "{ended:?}");
    last
}

#[test]
fn every_byte_of_the_throughput_is_checked_in_both_directions() {
    for more in [&["--direction", "down"][..], &["--no-segmentation"], &["--size", "200", "--no-hmac"]] {
        let arguments = [&["throughput", "--megabytes", "1", "--verify"], more].concat();
        let line = median(&arguments);
        assert!(line.contains("\"bytes\":10"), "{line}");
    }
}

/// Five times as much as may be on its way at once.
#[test]
fn every_packet_of_the_bare_pipe_is_opened() {
    for more in [
        &[][..],
        &["--no-segmentation", "--profile", "flash", "--no-hmac"],
        &["--profile", "flash"],
        &["--profile", "plain"],
    ] {
        let line = median(&[&["ceiling", "--megabytes", "5"], more].concat());
        let bytes = line.split("\"pipe_bytes\":").nth(1).and_then(|rest| rest.split(',').next()).unwrap_or_default();
        assert!(line.contains("\"part_ppm\":") && bytes.parse::<u64>().is_ok_and(|bytes| bytes >= 5_000_000), "{line}");
    }
    let ended = run(&["ceiling", "--verify"]);
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
}

#[test]
fn the_other_subjects_come_to_an_end() {
    assert!(median(&["handshakes", "--count", "3", "--parallel", "2"]).contains("\"per_second\":"));
    assert!(median(&["idle", "-n", "3", "--seconds", "1"]).contains("\"sessions\":3"));
    assert!(median(&["latency", "--count", "10"]).contains("\"p50_ns\":"));
    assert!(median(&["latency", "--count", "3", "--load", "--size", "4000"]).contains("\"p50_ns\":"));
    for place in ["task", "local", "thread"] {
        let drivers = median(&["drivers", "--megabytes", "1", "--count", "10", "--place", place]);
        assert!(drivers.contains("\"p50_ratio_milli\":"), "{drivers}");
    }
    let fanout = median(&["fanout", "-n", "2", "--seconds", "1", "--rate", "100"]);
    assert!(fanout.contains("\"delivered_ppm\":1000000"), "{fanout}");
}
