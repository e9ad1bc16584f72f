//! Files that arrive.

use std::fs;

use super::harness::{Scratch, send, serve, start};

#[test]
fn several_files_arrive_whole_and_an_empty_one_too() {
    let scratch = Scratch::new();
    let sizes = [0, 1, 65_535, 65_536, 65_537, 300_000, 1_500_000];
    let files: Vec<_> = (0_u64..).zip(sizes).map(|(n, size)| scratch.file(&format!("f {n}.bin"), size, n)).collect();
    let (receiver, uri, fingerprint) = serve("receive", &[scratch.directory().to_str().unwrap()], None);
    let files: Vec<_> = files.iter().map(AsRef::as_ref).collect();
    let sent = send(&files, &uri, &["--fingerprint", &fingerprint], None);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    let received = receiver.end();
    assert_eq!(received.code, Some(0), "{received:?}");
    assert_eq!(scratch.received().len(), files.len(), "nothing but the files is left");
    for file in files {
        let copy = scratch.directory().join(file.file_name().unwrap());
        assert!(fs::read(file).unwrap() == fs::read(copy).unwrap(), "{}", file.display());
    }
    assert!(sent.out.contains("\"done\",\"files\":7,\"failed\":0"), "{}", sent.out);
    assert!(received.out.contains("\"done\",\"files\":7,\"failed\":0"), "{}", received.out);
    assert!(received.out.contains("{\"event\":\"closed\",\"complete\":true}"), "{}", received.out);
}

#[test]
fn many_small_files_arrive_over_few_flows() {
    let scratch = Scratch::new();
    let files: Vec<_> = (0..300).map(|n| scratch.file(&format!("small-{n}"), 100 + n, n as u64)).collect();
    let (receiver, uri, _) = serve("receive", &[scratch.directory().to_str().unwrap()], None);
    let paths: Vec<_> = files.iter().map(AsRef::as_ref).collect();
    let sent = send(&paths, &uri, &[], None);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    assert_eq!(receiver.end().code, Some(0));
    assert_eq!(scratch.received().len(), 300);
    for file in &files {
        assert!(fs::read(file).unwrap() == fs::read(scratch.directory().join(file.file_name().unwrap())).unwrap());
    }
}

#[test]
fn a_password_that_both_ends_have_opens() {
    let scratch = Scratch::new();
    let file = scratch.file("a", 10, 1);
    let secret = scratch.source("secret");
    fs::write(&secret, "open sesame\r\nand no more\n").unwrap();
    let (receiver, uri, _) = serve("receive", &[scratch.directory().to_str().unwrap()], Some("open sesame"));
    let sent = send(&[&file], &uri, &["--password-file", secret.to_str().unwrap()], None);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    assert_eq!(receiver.end().code, Some(0));
}

#[test]
fn the_fingerprint_file_says_what_the_receiver_says() {
    let scratch = Scratch::new();
    let file = scratch.source("fingerprint");
    let arguments = [scratch.directory().to_str().unwrap().to_owned(), file.to_str().unwrap().to_owned()];
    let (_receiver, _, fingerprint) = serve("receive", &[&arguments[0], "--fingerprint-file", &arguments[1]], None);
    assert_eq!(fs::read_to_string(file).unwrap(), format!("{fingerprint}\n"));
    assert_eq!(fingerprint.len(), 64);
}

#[test]
fn with_keep_one_sender_after_another_is_served() {
    let scratch = Scratch::new();
    let (mut receiver, uri, _) = serve("receive", &[scratch.directory().to_str().unwrap(), "--keep"], None);
    for name in ["first", "second"] {
        let sent = send(&[&scratch.file(name, 1_000, 3)], &uri, &[], None);
        assert_eq!(sent.code, Some(0), "{sent:?}");
        receiver.wait_for("\"closed\",\"complete\":true");
    }
    assert_eq!(scratch.received(), ["first", "second"]);
}

#[test]
fn ipv6_works_like_ipv4() {
    let scratch = Scratch::new();
    let directory = scratch.directory();
    let arguments = ["receive", "--json", "--listen", "[::1]:0", directory.to_str().unwrap()];
    let mut receiver = start(&arguments);
    let line = receiver.wait_for("\"");
    if line.contains("\"error\"") {
        // No IPv6 on this machine.
        return;
    }
    let uri = format!("rtmfp://{}/x", super::harness::field(&line, "address").unwrap());
    let sent = send(&[&scratch.file("six", 100_000, 6)], &uri, &[], None);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    assert_eq!(receiver.end().code, Some(0));
    assert_eq!(scratch.received(), ["six"]);
}

#[test]
fn the_demo_tells_its_story() {
    let ended = start(&["demo", "--size", "4"]).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for part in ["fingerprint", "Session open after", "X25519", "100 %", "Moved 4 MiB", "RTT", "Verified"] {
        assert!(ended.out.contains(part), "{part:?} in {}", ended.out);
    }
}
