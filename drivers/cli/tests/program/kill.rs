//! Either end dies in the middle.

use std::fs;

use super::harness::{Scratch, serve, start_send};

/// More than a debug build can move before the test has killed something.
const LARGE: u64 = 1 << 36;

/// A file that takes no room on the disk.
fn large(scratch: &Scratch) -> std::path::PathBuf {
    let path = scratch.source("large");
    fs::File::create(&path).unwrap().set_len(LARGE).unwrap();
    path
}

/// Whether the file's own name stands for anything yet.
fn is_absent(scratch: &Scratch) -> bool {
    !scratch.received().contains(&"large".to_owned())
}

#[test]
fn when_the_sender_is_killed_the_receiver_says_so_and_cleans_up() {
    let scratch = Scratch::new();
    let file = large(&scratch);
    let (mut receiver, uri, _) = serve("receive", &[scratch.directory().to_str().unwrap()], None);
    let mut sender = start_send(&[&file], &uri, &[], None);
    receiver.wait_for("\"opened\"");
    sender.child.kill().unwrap();
    let ended = receiver.end();
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.errors.contains("does not answer any more"), "{}", ended.errors);
    assert!(ended.out.contains("\"closed\",\"complete\":false"), "{}", ended.out);
    assert!(scratch.received().is_empty(), "{:?}", scratch.received());
}

#[test]
fn when_the_receiver_is_killed_the_sender_says_so() {
    let scratch = Scratch::new();
    let file = large(&scratch);
    let (mut receiver, uri, _) = serve("receive", &[scratch.directory().to_str().unwrap()], None);
    let mut sender = start_send(&[&file], &uri, &[], None);
    sender.wait_for("\"opened\"");
    receiver.child.kill().unwrap();
    let ended = sender.end();
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.errors.contains("does not answer any more"), "{}", ended.errors);
    assert!(is_absent(&scratch));
}

#[cfg(unix)]
#[test]
fn an_interrupted_end_says_goodbye() {
    for interrupt_sender in [true, false] {
        let scratch = Scratch::new();
        let file = large(&scratch);
        let (mut receiver, uri, _) = serve("receive", &[scratch.directory().to_str().unwrap()], None);
        let mut sender = start_send(&[&file], &uri, &[], None);
        receiver.wait_for("\"opened\"");
        sender.wait_for("\"opened\"");
        let (interrupted, other) = if interrupt_sender { (sender, receiver) } else { (receiver, sender) };
        let id = interrupted.child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        let ended = interrupted.end();
        assert_eq!(ended.code, Some(130), "{ended:?}");
        let ended = other.end();
        assert_eq!(ended.code, Some(4), "{ended:?}");
        assert!(ended.errors.contains("closed the session before the end"), "{}", ended.errors);
        assert!(scratch.received().is_empty(), "{:?}", scratch.received());
    }
}
