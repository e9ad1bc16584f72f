//! What must not happen, and what is said instead.

use std::fs;
use std::net::UdpSocket;

use super::harness::{Scratch, send, serve, start};

#[test]
fn nothing_is_overwritten_without_force() {
    let scratch = Scratch::new();
    let old = scratch.file("old", 5_000_000, 1);
    let new = scratch.file("new", 1_000, 2);
    fs::write(scratch.directory().join("old"), "precious").unwrap();
    let (receiver, uri, _) = serve("receive", &[scratch.directory().to_str().unwrap()], None);
    let sent = send(&[&old, &new], &uri, &[], None);
    assert_eq!(sent.code, Some(5), "{sent:?}");
    assert!(sent.out.contains("there is a file of this name"), "{}", sent.out);
    assert!(sent.errors.contains("1 of 2 files failed"), "{}", sent.errors);
    assert_eq!(receiver.end().code, Some(5));
    assert_eq!(fs::read(scratch.directory().join("old")).unwrap(), b"precious");
    assert_eq!(scratch.received(), ["new", "old"]);
}

#[test]
fn with_force_a_file_is_replaced() {
    let scratch = Scratch::new();
    let file = scratch.file("old", 70_000, 1);
    fs::write(scratch.directory().join("old"), "worthless").unwrap();
    let (receiver, uri, _) = serve("receive", &[scratch.directory().to_str().unwrap(), "--force"], None);
    assert_eq!(send(&[&file], &uri, &[], None).code, Some(0));
    assert_eq!(receiver.end().code, Some(0));
    assert!(fs::read(scratch.directory().join("old")).unwrap() == fs::read(file).unwrap());
    assert_eq!(scratch.received(), ["old"]);
}

#[test]
fn a_wrong_password_is_told_of_at_the_sender_and_lets_nothing_in() {
    let scratch = Scratch::new();
    let file = scratch.file("a", 10, 1);
    let (_receiver, uri, _) = serve("receive", &[scratch.directory().to_str().unwrap()], Some("right"));
    let flash = &["--timeout", "2", "--profile", "flash"][..];
    for (more, password, hint) in [
        (flash, Some("wrong"), "same password"),
        (flash, None, "same password"),
        (&["--timeout", "2"], None, "a password or --compatible means flash"),
    ] {
        let sent = send(&[&file], &uri, more, password);
        assert_eq!(sent.code, Some(3), "{sent:?}");
        assert!(sent.errors.contains(hint), "{}", sent.errors);
    }
    assert!(scratch.received().is_empty());
}

#[test]
fn a_wrong_fingerprint_is_told_of_at_the_sender() {
    let scratch = Scratch::new();
    let file = scratch.file("a", 10, 1);
    let (_receiver, uri, _) = serve("receive", &[scratch.directory().to_str().unwrap()], None);
    let sent = send(&[&file], &uri, &["--timeout", "2", "--fingerprint", &"0".repeat(64)], None);
    assert_eq!(sent.code, Some(3), "{sent:?}");
    assert!(sent.errors.contains("nobody with this fingerprint"), "{}", sent.errors);
    let sent = send(&[&file], &uri, &["--fingerprint", "zz"], None);
    assert_eq!(sent.code, Some(2), "{sent:?}");
    assert!(scratch.received().is_empty());
}

#[test]
fn nobody_there_is_told_of_within_the_timeout() {
    // A socket that never answers, so that no other test's receiver is there by chance.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let scratch = Scratch::new();
    let uri = format!("rtmfp://{}/", silent.local_addr().unwrap());
    let sent = send(&[&scratch.file("a", 10, 1)], &uri, &["--timeout", "1"], None);
    assert_eq!(sent.code, Some(3), "{sent:?}");
    assert!(sent.errors.contains("nobody answered"), "{}", sent.errors);
    assert!(sent.out.contains("\"error\",\"code\":3"), "{}", sent.out);
}

#[test]
fn what_is_wrong_at_this_end_is_told_before_anything_is_sent() {
    let scratch = Scratch::new();
    let missing = scratch.source("missing");
    let file = scratch.file("a", 1, 1);
    let namesake = scratch.directory().join("a");
    fs::write(&namesake, "x").unwrap();
    let uri = "rtmfp://127.0.0.1:9/";
    let directory = scratch.directory();
    for (files, code, text) in [
        (vec![missing.as_path()], 1, "missing"),
        (vec![directory.as_path()], 1, "is a directory"),
        #[cfg(unix)]
        (vec![std::path::Path::new("/dev/null")], 1, "is not a regular file"),
        (vec![file.as_path(), namesake.as_path()], 1, "two of the files are named a"),
    ] {
        let sent = send(&files, uri, &[], None);
        assert_eq!(sent.code, Some(code), "{sent:?}");
        assert!(sent.errors.contains(text), "{}", sent.errors);
    }
    let ended = start(&["send", file.to_str().unwrap(), "http://h/"]).end();
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.errors.contains("rtmfp://"), "{}", ended.errors);
    let ended = start(&["receive", "--listen", "127.0.0.1:0", scratch.source("nowhere").to_str().unwrap()]).end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.errors.contains("create the directory"), "{}", ended.errors);
}

#[test]
fn a_port_that_is_taken_is_told_of() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = start(&["echo", "--listen", &address]).end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.errors.contains("--listen chooses another"), "{}", ended.errors);
}

/// Each cost a line of output.
#[test]
fn refused_names_are_not_taken_and_cost_a_limited_number_of_lines() {
    let scratch = Scratch::new();
    let files: Vec<_> = (0..400).map(|number| scratch.file(&format!(".hidden {number}"), 1, number)).collect();
    let files: Vec<_> = files.iter().map(std::path::PathBuf::as_path).collect();
    let (receiver, uri, _) = serve("receive", &[scratch.directory().to_str().unwrap()], None);
    let sent = send(&files, &uri, &[], None);
    assert_eq!(sent.code, Some(5), "{sent:?}");
    assert!(sent.out.contains("begin with a dot"), "{}", sent.out);
    let received = receiver.end();
    assert_eq!(received.code, Some(5), "{received:?}");
    assert!(scratch.received().is_empty());
    let told = received.out.lines().filter(|line| line.contains("\"file\"")).count();
    assert!((1..300).contains(&told), "{told} lines");
    assert!(received.out.contains("\"event\":\"omitted\",\"lines\":"), "{}", received.out);
    assert!(received.out.contains("\"failed\":400"), "{}", received.out);
}

#[test]
fn a_leading_dot_is_taken_if_asked_for() {
    let scratch = Scratch::new();
    let file = scratch.file(".profile", 10, 1);
    let (receiver, uri, _) = serve("receive", &[scratch.directory().to_str().unwrap(), "--dot-files"], None);
    assert_eq!(send(&[&file], &uri, &[], None).code, Some(0));
    assert_eq!(receiver.end().code, Some(0));
    assert_eq!(scratch.received(), [".profile"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_name_with_invisible_characters_is_refused_before_it_is_sent() {
    let scratch = Scratch::new();
    for name in ["song\u{202e}3pm.exe", "a\u{200b}", "a\u{2028}b", "\u{feff}a"] {
        let sent = send(&[&scratch.file(name, 1, 1)], "rtmfp://127.0.0.1:9/", &[], None);
        assert_eq!(sent.code, Some(1), "{sent:?}");
        assert!(sent.errors.contains("invisible character"), "{sent:?}");
    }
}
