//! `rtmfp send` and `rtmfp receive` by a code: through a server, and in one network without one.

use std::fs;
use std::path::Path;

use super::harness::{Ended, Running, Scratch, run, serve, start};
use super::namespaces::World;
use super::nearby::lead_groups_over_the_wire;

/// A sender that waits at the server, and its code.
fn offer(scratch: &Scratch, uri: &str, more: &[&str]) -> (Running, String) {
    let file = scratch.file("notes", 100_000, 7);
    let mut sender = start(&[&["send", "--via", uri, file.to_str().unwrap()][..], more].concat());
    let code = sender.wait_for("-");
    (sender, code)
}

fn receive(scratch: &Scratch, uri: &str, code: &str, more: &[&str]) -> Ended {
    let directory = scratch.directory().join("new");
    let arguments = ["receive", "--via", uri, "--yes", directory.to_str().unwrap()];
    run(None, &[&arguments[..], more].concat(), &[("RTMFP_CODE", code)]).end()
}

fn is_same(scratch: &Scratch, directory: &Path) -> bool {
    fs::read(directory.join("notes")).unwrap() == fs::read(scratch.source("notes")).unwrap()
}

#[test]
fn a_code_is_all_that_the_receiver_needs() {
    let scratch = Scratch::new();
    let (_server, uri, _) = serve("serve", &["--relay"], None);
    for more in [&[][..], &["--relay-only"]] {
        let _ = fs::remove_dir_all(scratch.directory().join("new"));
        let (sender, code) = offer(&scratch, &uri, more);
        let received = receive(&scratch, &uri, &code, more);
        assert_eq!(received.code, Some(0), "{received:?}");
        let sent = sender.end();
        assert_eq!((sent.code, sent.out.as_str()), (Some(0), code.as_str()), "nothing but the code: {sent:?}");
        assert!(sent.errors.contains("1 file verified"), "{}", sent.errors);
        assert!(is_same(&scratch, &scratch.directory().join("new")));
    }
}

#[test]
fn a_wrong_code_is_told_to_both_at_once_and_burns_the_right_one() {
    let scratch = Scratch::new();
    let (_server, uri, _) = serve("serve", &[], None);
    let (sender, code) = offer(&scratch, &uri, &[]);
    let number = code.split('-').next().unwrap();
    let wrong = if code.ends_with("-zoo-zoo") { "abandon" } else { "zoo" };
    let received = receive(&scratch, &uri, &format!("{number}-{wrong}-{wrong}"), &[]);
    assert_eq!(received.code, Some(6), "{received:?}");
    assert!(received.errors.contains("the code is wrong"), "{}", received.errors);
    let sent = sender.end();
    assert_eq!(sent.code, Some(7), "{sent:?}");
    assert!(sent.errors.contains("burnt"), "{}", sent.errors);
    assert!(!scratch.directory().join("new/notes").exists());
}

#[test]
fn codes_that_lead_nowhere_are_told_with_what_to_do() {
    let scratch = Scratch::new();
    let (_server, uri, _) = serve("serve", &[], None);
    let nobody = receive(&scratch, &uri, "1-zoo-zoo", &[]);
    assert_eq!(nobody.code, Some(3), "{nobody:?}");
    assert!(nobody.errors.contains("nobody is there under 1"), "{}", nobody.errors);
    let no_code = receive(&scratch, &uri, "7214-zoo-zoological", &[]);
    assert_eq!(no_code.code, Some(2), "{no_code:?}");
    let in_arguments = start(&["receive", "7214-zoo-zoo"]).end();
    assert_eq!(in_arguments.code, Some(2), "{in_arguments:?}");
    assert!(in_arguments.errors.contains("history"), "{}", in_arguments.errors);
    let (sender, _) = offer(&scratch, &uri, &["--expire", "1"]);
    let expired = sender.end();
    assert_eq!(expired.code, Some(8), "{expired:?}");
    let ended = start(&["receive", "--via", &uri]).end();
    assert_eq!(ended.code, Some(2), "standard input is empty: {ended:?}");
}

/// The README's example: two in one network, no server, and the code typed.
#[test]
fn two_in_one_network_need_no_server() {
    let Some(world) = World::new() else { return };
    lead_groups_over_the_wire(&world);
    let scratch = Scratch::new();
    let file = scratch.file("notes", 100_000, 7);
    let mut sender = run(Some(&world.far), &["send", file.to_str().unwrap()], &[]);
    let code = sender.wait_for("-");
    let directory = scratch.directory().join("new");
    let receive = ["receive", "--yes", directory.to_str().unwrap()];
    let received = run(Some(&world.near), &receive, &[("RTMFP_CODE", &code)]).end();
    assert_eq!(received.code, Some(0), "{received:?}");
    assert!(received.errors.contains("path: lan, to "), "{}", received.errors);
    assert_eq!(sender.end().code, Some(0));
    assert!(is_same(&scratch, &directory));
    let nobody = run(Some(&world.near), &["receive", "--timeout", "1"], &[("RTMFP_CODE", "1-zoo-zoo")]).end();
    assert_eq!(nobody.code, Some(3), "{nobody:?}");
    assert!(nobody.errors.contains("--via"), "{}", nobody.errors);
}
