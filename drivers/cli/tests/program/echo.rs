//! `rtmfp echo` and `rtmfp ping`.

use std::fs;
use std::net::UdpSocket;
use std::process::Command;

use super::harness::{Scratch, field, serve, start, start_logging};

#[test]
fn pings_come_back() {
    let (mut echo, uri, fingerprint) = serve("echo", &[], None);
    let ended = start(&["ping", "--json", "-i", "0", "-c", "5", "--fingerprint", &fingerprint, &uri]).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.out.matches("\"reply\"").count(), 5, "{}", ended.out);
    assert!(ended.out.contains("\"done\",\"replies\":5"), "{}", ended.out);
    echo.wait_for("\"echoed\",\"metadata\":\"ping\",\"messages\":5,\"bytes\":320");
    echo.wait_for("\"closed\"");
}

#[test]
fn a_flood_of_large_messages_comes_back_in_order() {
    let (_echo, uri, _) = serve("echo", &[], None);
    let arguments = ["--flood", "-c", "60", "-s", "4096", "--flows", "2", "--metadata", "metadata"];
    let mut command = vec!["ping", "--json"];
    command.extend(arguments);
    command.push(&uri);
    let ended = start(&command).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("\"done\",\"replies\":120"), "{}", ended.out);
}

#[test]
fn every_way_to_protect_a_session_works() {
    for arguments in [
        &["--compatible"][..],
        &["--mona"],
        &["--hmac", "never", "--sequence", "never"],
        &["--hmac", "never", "--sequence", "required"],
        &["--hmac", "required", "--sequence", "never"],
        &["--profile", "plain"],
    ] {
        let (_echo, uri, _) = serve("echo", arguments, None);
        let mut command = vec!["ping", "--json", "-i", "0", "-c", "3", "-s", "3000"];
        command.extend_from_slice(arguments);
        command.push(&uri);
        let ended = start(&command).end();
        assert_eq!(ended.code, Some(0), "{arguments:?} {ended:?}");
    }
}

/// Both programs must be built with ML-KEM, as they are by default.
#[cfg(feature = "ml-kem")]
#[test]
fn a_session_is_hybrid_if_both_ends_want_it() {
    for (near, far, code, hybrid) in [
        ("require", "offer", 0, true),
        ("offer", "offer", 0, true),
        ("offer", "off", 0, false),
        ("off", "offer", 0, false),
        ("require", "off", 3, false),
    ] {
        let (_echo, uri, _) = serve("echo", &["--hybrid", far], None);
        let ping = ["ping", "--json", "--timeout", "2", "-i", "0", "-c", "3", "--hybrid", near, &uri];
        let ended = start(&ping).end();
        assert_eq!(ended.code, Some(code), "{near} {far}: {ended:?}");
        assert_eq!(ended.out.contains("\"post_quantum\":true"), hybrid, "{near} {far}: {}", ended.out);
    }
}

#[test]
fn the_hybrid_is_of_the_modern_profile() {
    for other in [&["--profile", "flash"][..], &["--compatible"], &["--mona"]] {
        let mut command = vec!["ping", "--hybrid", "offer"];
        command.extend(other);
        command.push("rtmfp://127.0.0.1:9/");
        let ended = start(&command).end();
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.errors.contains("--hybrid belongs to the modern profile"), "{}", ended.errors);
    }
}

#[test]
fn a_receiver_is_no_echo() {
    let scratch = Scratch::new();
    let (_receiver, uri, _) = serve("receive", &[scratch.directory().to_str().unwrap()], None);
    let ended = start(&["ping", "--json", &uri]).end();
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.errors.contains("does not echo"), "{}", ended.errors);
}

#[test]
fn an_echo_is_no_receiver() {
    let scratch = Scratch::new();
    let (_echo, uri, _) = serve("echo", &[], None);
    let ended = super::harness::send(&[&scratch.file("a", 10, 1)], &uri, &[], None);
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.errors.contains("takes no files"), "{}", ended.errors);
}

#[test]
fn an_unanswered_ping_ends() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let uri = format!("rtmfp://{}/", silent.local_addr().unwrap());
    let ended = start(&["ping", "--timeout", "1", &uri]).end();
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.errors.contains("nobody answered"), "{}", ended.errors);
}

#[test]
fn both_ends_log_the_same_keys_if_asked() {
    let scratch = Scratch::new();
    let [near, far] = ["near", "far"].map(|name| scratch.source(name));
    let mut echo = start_logging(&["echo", "--json", "--listen", "127.0.0.1:0"], &far);
    let uri = format!("rtmfp://{}/", field(&echo.wait_for("\"listening\""), "address").unwrap());
    let ended = start_logging(&["ping", "--json", "-c", "1", &uri], &near).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.errors.contains("RTMFP_KEYLOG is set"), "{}", ended.errors);
    let [near, far] = [near, far].map(|file| fs::read_to_string(file).unwrap());
    assert!(near.starts_with("RTMFP_MODERN ") && near.lines().count() == 1, "{near}");
    assert_eq!(near, far);
    let ended = start_logging(&["ping", &uri], &scratch.source("no such directory/file")).end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.errors.contains("key log"), "{}", ended.errors);
}

/// Not only at the end of a server that may run for months.
#[cfg(target_os = "linux")]
#[test]
fn a_key_log_that_cannot_be_written_is_told_at_once() {
    let mut echo = start_logging(&["echo", "--json", "--listen", "127.0.0.1:0"], "/dev/full".as_ref());
    let uri = format!("rtmfp://{}/", field(&echo.wait_for("\"listening\""), "address").unwrap());
    for _ in 0..2 {
        assert_eq!(start(&["ping", "-c", "1", &uri]).end().code, Some(0));
    }
    echo.wait_for_error("the key log could not be written, and is incomplete: No space left");
    let id = echo.child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    // Once is enough.
    let ended = echo.end();
    assert!(!ended.errors.contains("key log"), "{}", ended.errors);
}

#[test]
fn what_was_dropped_is_told_if_asked() {
    let (mut echo, uri, _) = serve("echo", &["--verbose"], None);
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = uri.trim_start_matches("rtmfp://").trim_end_matches('/');
    for _ in 0..3 {
        stranger.send_to(b"?", address).unwrap();
    }
    // Behind them, so that they were received.
    let ended = start(&["ping", "--verbose", "-c", "1", &uri]).end();
    assert!(ended.out.contains("dropped: "), "{}", ended.out);
    echo.wait_for("\"echoed\"");
    let id = echo.child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let line = echo.wait_for("\"dropped\"");
    assert!(line.contains("\"too_short\":3"), "{line}");
    let line = echo.wait_for("\"buffers\"");
    let told: serde_json::Value = serde_json::from_str(&line).unwrap();
    let number = |key| told.get(key).unwrap().as_u64().unwrap();
    let granted = number("receive");
    assert!(granted > 0 && number("asked") == 4 << 20 && number("overflows") == 0, "{line}");
    assert!(ended.out.contains(&format!("socket buffers: {} KiB to receive", granted / 1_024)), "{}", ended.out);
    #[cfg(target_os = "linux")]
    assert_eq!(ended.errors.contains("rmem_max=4194304"), granted < 4 << 20, "{}", ended.errors);
}
