//! Readers that go, and disks that are full: what the program came to does not depend on its output.

use std::fs::File;
use std::io::Read;
use std::net::UdpSocket;
use std::process::{Command, Output, Stdio};

use super::harness::{Scratch, send, serve};

fn rtmfp(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rtmfp"));
    command.args(arguments).env_remove("RTMFP_PASSWORD").stdin(Stdio::null());
    command
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What `| head -1` does.
#[test]
fn the_demonstration_succeeds_though_its_reader_goes() {
    let mut child = rtmfp(&["demo", "--size", "1"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 1];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    // The pipe is closed now.
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(errors(&output), "");
}

#[test]
fn a_failure_has_its_exit_code_with_nobody_reading_either_output() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let uri = format!("rtmfp://{}/", silent.local_addr().unwrap());
    let scratch = Scratch::new();
    let file = scratch.file("a", 10, 1);
    for json in [&["--json"][..], &[]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = rtmfp(&["send", file.to_str().unwrap(), &uri, "--timeout", "1"])
            .args(json)
            .stdout(writer.try_clone().unwrap())
            .stderr(writer)
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(3), "{json:?}");
    }
}

/// The receiver announces itself to nobody, and takes the file all the same.
#[cfg(target_os = "linux")]
#[test]
fn with_a_full_standard_output_the_work_is_done_and_the_error_is_reported() {
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let output = rtmfp(&["demo", "--size", "1"]).stdout(full()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(errors(&output).matches("standard output could not be written").count(), 1, "{output:?}");

    let scratch = Scratch::new();
    let file = scratch.file("a", 100_000, 1);
    let (receiver, uri, _) = serve("receive", &[scratch.directory().to_str().unwrap()], None);
    let output = rtmfp(&["send", file.to_str().unwrap(), &uri, "--json"]).stdout(full()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(errors(&output).matches("standard output could not be written").count(), 1, "{output:?}");
    assert_eq!(receiver.end().code, Some(0));
    assert_eq!(scratch.received(), ["a"]);

    // What the program itself came to is the exit code, and both are told of.
    let (_receiver, uri, _) = serve("receive", &[scratch.directory().to_str().unwrap()], None);
    let output = rtmfp(&["send", file.to_str().unwrap(), &uri]).stdout(full()).output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    assert!(errors(&output).contains("1 of 1 files failed"), "{output:?}");
    assert!(errors(&output).contains("standard output could not be written"), "{output:?}");
}

/// A receiver is there for the files, not for its log.
#[test]
fn a_receiver_goes_on_when_nobody_reads_its_lines() {
    let scratch = Scratch::new();
    let file = scratch.file("a", 100_000, 1);
    let directory = scratch.directory();
    let mut receiver = rtmfp(&["receive", "--json", "--listen", "127.0.0.1:0", directory.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(receiver.stdout.take().unwrap()), &mut line).unwrap();
    let uri = format!("rtmfp://{}/", super::harness::field(&line, "address").unwrap());
    assert_eq!(send(&[&file], &uri, &[], None).code, Some(0));
    let output = receiver.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(scratch.received(), ["a"]);
}
