//! `rtmfp send -` and `rtmfp receive -`, whose pipes take their time.

use std::io::{Read, Write as _};
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use super::harness::{DEADLINE, Running, Scratch, command, field, noise, run, serve};

/// What is sent together when it comes slowly.
const GROUP: usize = 16 << 10;
/// More than a pipe holds, and a message.
const LONG: usize = 1 << 20;
/// So much leaves the sender though nobody reads: 256 KiB lie in its queue, and the rest fills the pipe.
const MOVED: usize = 400_000;

/// A sender of its standard input, which is open, and its code.
fn send_piped(uri: &str) -> (Running, ChildStdin, String) {
    let mut command = command(None, &["send", "--via", uri, "--timeout", "5", "-"], &[]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let input = child.stdin.take().unwrap();
    let mut sender = Running::new(child);
    let code = sender.wait_for("-");
    (sender, input, code)
}

/// A receiver to its standard output, of which nothing is read yet.
fn receive_piped(uri: &str, code: &str) -> (Running, ChildStdout) {
    let arguments = ["receive", "--via", uri, "--timeout", "5", "--yes", "-"];
    let mut child = command(None, &arguments, &[("RTMFP_CODE", code)]).spawn().unwrap();
    let output = child.stdout.take().unwrap();
    (Running::new(child), output)
}

/// What comes out of a pipe, as it comes.
fn content_of(mut pipe: ChildStdout) -> Receiver<Vec<u8>> {
    let (sender, content) = channel();
    thread::spawn(move || {
        let mut piece = vec![0; GROUP];
        while let Ok(read @ 1..) = pipe.read(&mut piece) {
            if sender.send(piece.iter().copied().take(read).collect()).is_err() {
                break;
            }
        }
    });
    content
}

/// So many bytes, or fewer at the end.
fn take(content: &Receiver<Vec<u8>>, bytes: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < bytes {
        let Ok(piece) = content.recv_timeout(DEADLINE) else { break };
        all.extend(piece);
    }
    all
}

/// The sender read until a message was full, and said nothing more to the receiver, who gave up. The code was spent.
#[test]
fn what_is_piped_slowly_is_sent_as_it_comes() {
    let (_server, uri, _) = serve("serve", &[], None);
    let (sender, mut input, code) = send_piped(&uri);
    let (mut receiver, output) = receive_piped(&uri, &code);
    receiver.wait_for_error("the sender knows the code");
    let content = noise(3 * GROUP + LONG + 5, 9);
    let output = content_of(output);
    let (first, rest) = content.split_at(GROUP);
    input.write_all(first).unwrap();
    assert!(take(&output, GROUP) == first, "before there is any more");
    input.write_all(rest).unwrap();
    drop(input);
    assert!(take(&output, usize::MAX) == rest);
    assert_eq!(sender.end().code, Some(0));
    assert_eq!(receiver.end().code, Some(0));
}

#[test]
fn who_waits_for_a_pipe_is_interrupted_at_once() {
    let (_server, uri, _) = serve("serve", &[], None);
    let (sender, mut input, code) = send_piped(&uri);
    let (receiver, output) = receive_piped(&uri, &code);
    let first = noise(GROUP, 9);
    input.write_all(&first).unwrap();
    assert!(take(&content_of(output), GROUP) == first);
    sender.interrupt();
    assert_eq!(sender.end().code, Some(130));
    assert_ne!(receiver.end().code, Some(0));
    drop(input);
}

/// Sends a long file to a receiver whose output nobody reads, until as much is on its way as a pipe does not hold.
fn send_to_a_full_pipe(uri: &str, scratch: &Scratch) -> (Running, Running, ChildStdout) {
    let file = scratch.file("long", LONG, 4);
    let mut sender = run(None, &["send", "--via", uri, "--timeout", "5", "--json", file.to_str().unwrap()], &[]);
    let code = field(&sender.wait_for("\"code\""), "code").unwrap();
    let (receiver, output) = receive_piped(uri, &code);
    let mut moved = 0;
    while moved < MOVED {
        let line = sender.wait_for("\"progress\"");
        moved = line.trim_end_matches('}').rsplit(':').next().unwrap().parse().unwrap();
    }
    (sender, receiver, output)
}

#[test]
fn who_reads_late_loses_nothing() {
    let (_server, uri, _) = serve("serve", &[], None);
    let scratch = Scratch::new();
    let (sender, receiver, output) = send_to_a_full_pipe(&uri, &scratch);
    assert!(take(&content_of(output), usize::MAX) == noise(LONG, 4));
    assert_eq!(receiver.end().code, Some(0));
    assert_eq!(sender.end().code, Some(0));
}

/// The receiver waited for who reads, and for nothing else: it acknowledged nothing meanwhile.
#[test]
fn who_waits_for_a_reader_is_interrupted_at_once() {
    let (_server, uri, _) = serve("serve", &[], None);
    let scratch = Scratch::new();
    let (sender, receiver, output) = send_to_a_full_pipe(&uri, &scratch);
    receiver.interrupt();
    assert_eq!(receiver.end().code, Some(130));
    assert_ne!(sender.end().code, Some(0));
    drop(output);
}
