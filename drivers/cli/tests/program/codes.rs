//! `rtmfp send` and `rtmfp receive` by a code: through a server, and in one network without one.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::Command;

use sha2::{Digest as _, Sha256};

use super::harness::{Ended, Running, Scratch, field, noise, run, serve, start};
use super::namespaces::World;
use super::nearby::lead_groups_over_the_wire;

/// A sender that waits at the server, and its code.
fn offer(scratch: &Scratch, uri: &str, more: &[&str]) -> (Running, String) {
    let tree = tree(scratch);
    let home = scratch.source("home");
    let arguments = [&["send", "--via", uri, tree.to_str().unwrap()][..], more].concat();
    let mut sender = run(None, &arguments, &[("RTMFP_HOME", home.to_str().unwrap())]);
    let code = sender.wait_for("-");
    (sender, code)
}

/// A small tree, with all kinds of entries.
fn tree(scratch: &Scratch) -> PathBuf {
    let tree = scratch.source("tree");
    if !tree.exists() {
        fs::create_dir_all(tree.join("within/empty")).unwrap();
        fs::write(tree.join("a-notes"), noise(100_000, 7)).unwrap();
        fs::write(tree.join("within/nothing"), "").unwrap();
        fs::write(tree.join("within/run"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(tree.join("within/run"), fs::Permissions::from_mode(0o700)).unwrap();
        symlink("within/run", tree.join("link")).unwrap();
    }
    tree
}

fn start_receive(scratch: &Scratch, uri: &str, code: &str, more: &[&str]) -> Running {
    let directory = scratch.directory().join("new");
    let home = scratch.source("home");
    let arguments = [&["receive", "--via", uri, directory.to_str().unwrap()][..], more].concat();
    run(None, &arguments, &[("RTMFP_CODE", code), ("RTMFP_HOME", home.to_str().unwrap())])
}

fn receive(scratch: &Scratch, uri: &str, code: &str, more: &[&str]) -> Ended {
    start_receive(scratch, uri, code, &[&["--yes"][..], more].concat()).end()
}

/// Compares what was received with what was sent: content, modes, links, and nothing else.
fn assert_same(scratch: &Scratch) {
    let ended =
        Command::new("diff").arg("-r").arg("--no-dereference").arg(tree(scratch)).arg(arrived(scratch)).output();
    let ended = ended.unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
    let mode = fs::metadata(arrived(scratch).join("within/run")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

fn arrived(scratch: &Scratch) -> PathBuf {
    scratch.directory().join("new/tree")
}

/// How many interrupted transfers are remembered, of both ends.
fn remembered(scratch: &Scratch) -> usize {
    let Ok(all) = fs::read_dir(scratch.source("home/transfers")) else { return 0 };
    all.flatten().filter(|entry| entry.path().extension().is_none()).count()
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
        assert!(sent.errors.contains("3 files verified"), "{}", sent.errors);
        assert!(received.errors.contains("tree/  3 files") && received.out.is_empty(), "{received:?}");
        assert_same(&scratch);
        assert_eq!(remembered(&scratch), 0);
    }
}

/// The code was burnt, and then all was declined.
#[test]
fn without_anybody_to_ask_nothing_is_claimed() {
    let scratch = Scratch::new();
    let (_server, uri, _) = serve("serve", &[], None);
    let (sender, code) = offer(&scratch, &uri, &[]);
    let refused = start_receive(&scratch, &uri, &code, &[]).end();
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.errors.contains("--yes"), "{}", refused.errors);
    let received = receive(&scratch, &uri, &code, &[]);
    assert_eq!(received.code, Some(0), "{received:?}");
    assert_eq!(sender.end().code, Some(0));
}

#[test]
fn what_has_no_place_is_declined_and_both_are_told() {
    let scratch = Scratch::new();
    let (_server, uri, _) = serve("serve", &[], None);
    let (sender, code) = offer(&scratch, &uri, &["--json"]);
    let code = field(&code, "code").unwrap();
    fs::write(scratch.directory().join("new"), "no directory").unwrap();
    let received = receive(&scratch, &uri, &code, &[]);
    assert_eq!(received.code, Some(9), "{received:?}");
    let sent = sender.end();
    assert_eq!(sent.code, Some(9), "{sent:?}");
    assert!(sent.out.contains("\"code\":9") && sent.errors.contains("declined"), "{sent:?}");
    assert_eq!(remembered(&scratch), 0);
}

/// Either end is killed in the middle, and the same commands go on with what was sent, without another code.
#[test]
fn an_interrupted_transfer_goes_on_by_the_same_commands() {
    let scratch = Scratch::new();
    let (_server, uri, _) = serve("serve", &[], None);
    fs::write(tree(&scratch).join("big"), noise(2_000_000, 8)).unwrap();
    let (mut sender, code) = offer(&scratch, &uri, &["--limit", "500k"]);
    let mut receiver = start_receive(&scratch, &uri, &code, &["--yes", "--json"]);
    receiver.wait_for("\"name\":\"tree/a-notes\"");
    receiver.interrupt();
    assert_ne!(receiver.end().code, Some(0));
    assert_eq!(remembered(&scratch), 2);
    sender.interrupt();
    sender.wait_for_error("the receiver knows the code");
    drop(sender);
    let home = scratch.source("home");
    let arguments = ["send", "--via", &uri, tree(&scratch).to_str().unwrap().to_owned().leak()];
    let mut sender = run(None, &arguments, &[("RTMFP_HOME", home.to_str().unwrap())]);
    sender.wait_for_error("going on");
    let received = receive(&scratch, &uri, "", &["--json"]);
    assert_eq!(received.code, Some(0), "{received:?}");
    assert!(received.out.contains("\"resuming\""), "{}", received.out);
    let sent = sender.end();
    assert_eq!((sent.code, sent.out.as_str()), (Some(0), ""), "no code: {sent:?}");
    assert_same(&scratch);
    assert_eq!(remembered(&scratch), 0);
}

/// Leaves behind what an interrupted transfer into the directory of `start_receive` does, from somebody who is gone.
fn leave_interrupted(scratch: &Scratch, uri: &str) {
    let directory = scratch.directory().join("new").into_os_string().into_encoded_bytes();
    let hash = Sha256::new().chain_update("receive").chain_update((directory.len() as u64).to_be_bytes());
    let name: String = hash.chain_update(directory).finalize().iter().take(16).map(|it| format!("{it:02x}")).collect();
    let [secret, far, identity, root] = ["01", "02", "03", "04"].map(|digits| digits.repeat(32));
    let transfers = scratch.source("home/transfers");
    fs::create_dir_all(&transfers).unwrap();
    let text =
        format!("rtmfp-transfer-1\nsecret {secret}\nfar {far}\nidentity {identity}\nroot {root}\nserver {uri}\n");
    fs::write(transfers.join(&name), text).unwrap();
    fs::set_permissions(transfers.join(&name), fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_far_end_that_stays_away_is_waited_for_no_longer_than_asked() {
    let scratch = Scratch::new();
    let (_server, uri, _) = serve("serve", &[], None);
    leave_interrupted(&scratch, &uri);
    let received = receive(&scratch, &uri, "", &["--timeout", "1"]);
    assert_eq!(received.code, Some(3), "{received:?}");
    assert!(received.errors.contains("--new"), "{}", received.errors);
    assert_eq!(remembered(&scratch), 1);
}

#[test]
fn a_code_that_is_given_counts_more_than_an_interrupted_transfer() {
    let scratch = Scratch::new();
    let (_server, uri, _) = serve("serve", &[], None);
    leave_interrupted(&scratch, &uri);
    let (sender, code) = offer(&scratch, &uri, &[]);
    let received = receive(&scratch, &uri, &code, &["--json"]);
    assert_eq!(received.code, Some(0), "{received:?}");
    assert!(!received.out.contains("\"resuming\""), "{}", received.out);
    assert_eq!(sender.end().code, Some(0));
    assert_same(&scratch);
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
    assert!(!scratch.directory().join("new").exists());
    assert_eq!(remembered(&scratch), 0);
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
    let receiver = "rtmfp://127.0.0.1:9/";
    for of_the_other_form in [
        &["send", "--text", "hello", "file", receiver][..],
        &["send", "--pin", "file"],
        &["receive", "--identity", "file"],
        &["receive", "--via", receiver, "--listen", "127.0.0.1:0"],
        &["send", "--relay-only", "--text", "hello"],
    ] {
        let ended = start(of_the_other_form).end();
        assert_eq!(ended.code, Some(2), "{of_the_other_form:?}: {ended:?}");
    }
    let (sender, _) = offer(&scratch, &uri, &["--expire", "1"]);
    let expired = sender.end();
    assert_eq!(expired.code, Some(8), "{expired:?}");
    let ended = start(&["receive", "--yes", "--via", &uri]).end();
    assert_eq!(ended.code, Some(2), "standard input is empty: {ended:?}");
}

/// The README's example: two in one network, no server, and the code typed.
#[test]
fn two_in_one_network_need_no_server() {
    let Some(world) = World::new() else { return };
    lead_groups_over_the_wire(&world);
    let scratch = Scratch::new();
    let mut sender = run(Some(&world.far), &["send", tree(&scratch).to_str().unwrap()], &[]);
    let code = sender.wait_for("-");
    let directory = scratch.directory().join("new");
    let receive = ["receive", "--yes", directory.to_str().unwrap()];
    let received = run(Some(&world.near), &receive, &[("RTMFP_CODE", &code)]).end();
    assert_eq!(received.code, Some(0), "{received:?}");
    assert!(received.errors.contains("path: lan, to "), "{}", received.errors);
    assert_eq!(sender.end().code, Some(0));
    assert_same(&scratch);
    let nobody = run(Some(&world.near), &["receive", "--yes", "--timeout", "1"], &[("RTMFP_CODE", "1-zoo-zoo")]).end();
    assert_eq!(nobody.code, Some(3), "{nobody:?}");
    assert!(nobody.errors.contains("--via"), "{}", nobody.errors);
}

/// Of two codes one is used and one burnt, each by itself.
#[test]
fn each_of_several_receivers_has_a_code_of_its_own() {
    let scratch = Scratch::new();
    let (_server, uri, _) = serve("serve", &[], None);
    let (mut sender, first) = offer(&scratch, &uri, &["--receivers", "2"]);
    let second = sender.wait_for("-");
    let (place, _) = first.split_once('-').unwrap();
    assert!(place.ends_with(".1") && second.contains(".2-"), "{first} {second}");
    let received = receive(&scratch, &uri, &second, &[]);
    assert_eq!(received.code, Some(0), "{received:?}");
    assert_same(&scratch);
    let again = receive(&scratch, &uri, &second, &[]);
    assert_eq!(again.code, Some(6), "used: {again:?}");
    let wrong = if first.ends_with("-zoo-zoo") { "abandon" } else { "zoo" };
    let received = receive(&scratch, &uri, &format!("{place}-{wrong}-{wrong}"), &[]);
    assert_eq!(received.code, Some(6), "{received:?}");
    let sent = sender.end();
    assert_eq!(sent.code, Some(7), "{sent:?}");
    assert!(sent.errors.contains("receiver 2: 3 files verified"), "{}", sent.errors);
    assert!(sent.errors.contains("receiver 1: somebody has tried a wrong code"), "{}", sent.errors);
    assert_eq!(remembered(&scratch), 0);
}

#[test]
fn all_receivers_have_their_files_and_the_sender_ends() {
    let scratch = Scratch::new();
    let (_server, uri, _) = serve("serve", &[], None);
    let (mut sender, first) = offer(&scratch, &uri, &["--receivers", "2"]);
    let second = sender.wait_for("-");
    let others = Scratch::new();
    let both = [start_receive(&scratch, &uri, &first, &["--yes"]), start_receive(&others, &uri, &second, &["--yes"])];
    for received in both.map(Running::end) {
        assert_eq!(received.code, Some(0), "{received:?}");
    }
    let sent = sender.end();
    assert_eq!(sent.code, Some(0), "{sent:?}");
    assert_same(&scratch);
    assert_eq!(fs::read(arrived(&others).join("a-notes")).unwrap(), noise(100_000, 7));
    let twice = start(&["send", "--receivers", "2", "-"]).end();
    assert_eq!(twice.code, Some(2), "{twice:?}");
}

/// The number of a code is the server's: without it there is nothing to wait for.
#[test]
fn without_its_server_a_sender_gives_up_after_the_timeout() {
    let scratch = Scratch::new();
    // Nobody answers at a socket that nobody reads.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let uri = format!("rtmfp://{}/", silent.local_addr().unwrap());
    let tree = tree(&scratch);
    let home = scratch.source("home");
    let arguments = ["send", "--via", &uri, "--timeout", "1", tree.to_str().unwrap()];
    let ended = run(None, &arguments, &[("RTMFP_HOME", home.to_str().unwrap())]).end();
    assert_eq!((ended.code, ended.out.as_str()), (Some(3), ""), "{ended:?}");
    assert!(ended.errors.contains(&uri) && !ended.errors.contains("sessions go on"), "{ended:?}");
}
