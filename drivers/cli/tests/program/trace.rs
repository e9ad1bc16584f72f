//! What `--trace` writes.
#![allow(clippy::indexing_slicing, reason = "a test that indexes wrongly should stop")]

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;

use super::harness::{Scratch, field, send, serve, start, start_send};

/// A file of `--trace`: its events, after a look at the form and the header.
struct Log {
    events: Vec<Value>,
}

impl Log {
    fn read(path: &Path, title: &str, vantage_point: &str) -> Self {
        let text = fs::read_to_string(path).unwrap();
        // RFC 7464: each record begins with a separator and ends with a line feed.
        assert!(text.starts_with('\u{1e}') && text.ends_with('\n'), "{title}");
        let record = |record: &str| -> Value { serde_json::from_str(record.strip_suffix('\n').unwrap()).unwrap() };
        let mut records: Vec<Value> = text.split('\u{1e}').skip(1).map(record).collect();
        let header = records.remove(0);
        assert_eq!(header["file_schema"], "urn:ietf:params:qlog:file:sequential");
        assert_eq!(header["serialization_format"], "application/qlog+json-seq");
        assert_eq!(header["title"], title);
        assert_eq!(header["trace"]["vantage_point"]["type"], vantage_point);
        assert_eq!(header["trace"]["event_schemas"][0], rtmfp_qlog::EVENT_SCHEMA);
        let reference = &header["trace"]["common_fields"]["reference_time"];
        assert_eq!((&reference["clock_type"], &reference["epoch"]), (&"monotonic".into(), &"unknown".into()));
        assert!(reference["wall_clock_time"].as_str().unwrap().ends_with('Z'));
        let times: Vec<f64> = records.iter().map(|event| event["time"].as_f64().unwrap()).collect();
        assert!(times.is_sorted(), "{title}");
        for event in &records {
            let name = event["name"].as_str().unwrap();
            assert!(name.starts_with("rtmfp:") && event["data"].is_object(), "{event}");
        }
        Self { events: records }
    }

    /// The data of all events of a kind.
    fn of(&self, name: &str) -> Vec<&Value> {
        let name = format!("rtmfp:{name}");
        self.events.iter().filter(|event| event["name"] == name.as_str()).map(|event| &event["data"]).collect()
    }

    /// Lengths of the fragments in packets of a kind, by flow and sequence number.
    fn fragments(&self, name: &str) -> BTreeMap<(u64, u64), u64> {
        let packets = self.of(name).into_iter().flat_map(|data| data["chunks"].as_array().unwrap());
        let data = packets.filter(|chunk| chunk["chunk_type"].as_str().unwrap().ends_with("user_data"));
        let number = |chunk: &Value, key: &str| chunk[key].as_u64().unwrap_or_else(|| panic!("{key}: {chunk}"));
        data.map(|chunk| ((number(chunk, "flow_id"), number(chunk, "sequence_number")), number(chunk, "length")))
            .collect()
    }

    fn states(&self) -> Vec<String> {
        self.of("state_changed").iter().map(|data| data["new"].as_str().unwrap().to_owned()).collect()
    }
}

fn path(scratch: &Scratch, name: &str) -> String {
    scratch.source(name).to_str().unwrap().to_owned()
}

#[test]
fn both_ends_of_a_transfer_write_what_they_did() {
    const SIZE: usize = 300_000;
    let scratch = Scratch::new();
    let file = scratch.file("file", SIZE, 1);
    let (theirs, ours) = (path(&scratch, "receive.sqlog"), path(&scratch, "send.sqlog"));
    let directory = scratch.directory();
    let (receiver, uri, _) = serve("receive", &[directory.to_str().unwrap(), "--trace", &theirs], None);
    let sent = send(&[&file], &uri, &["--trace", &ours], None);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    assert_eq!(receiver.end().code, Some(0));

    let sender = Log::read(ours.as_ref(), "rtmfp send", "client");
    let receiver = Log::read(theirs.as_ref(), "rtmfp receive", "server");
    // It need not wait for the answer to its close.
    assert_eq!(sender.states()[..4], ["hello_sent", "keying_sent", "open", "near_close"]);
    assert_eq!(receiver.states()[..2], ["hello_sent", "open"]);
    // All data that was sent is acknowledged and received, and it is the file with a little around it.
    let fragments = sender.fragments("packet_sent");
    assert_eq!(fragments, receiver.fragments("packet_received"));
    let number = |data: &Value, key: &str| data[key].as_u64().unwrap();
    let acknowledged: BTreeSet<(u64, u64)> = sender
        .of("fragment_acknowledged")
        .iter()
        .map(|data| (number(data, "flow_id"), number(data, "sequence_number")))
        .collect();
    assert!(acknowledged.iter().all(|fragment| fragments.contains_key(fragment)));
    let reported: u64 =
        sent.out.split("\"bytes\":").nth(1).and_then(|rest| rest.split([',', '}']).next()).unwrap().parse().unwrap();
    assert_eq!(reported, SIZE as u64);
    let bytes: u64 = fragments.values().sum();
    assert!((reported..reported + 2_000).contains(&bytes), "{bytes} bytes in fragments for {reported} of the file");
    let acknowledged: u64 = acknowledged.iter().map(|fragment| fragments[fragment]).sum();
    assert!((reported..=bytes).contains(&acknowledged), "{acknowledged} bytes acknowledged");
    for name in ["congestion", "timer_set", "timer_cancelled", "key_agreement", "closed"] {
        assert!(!sender.of(name).is_empty(), "{name}");
    }
}

/// Hands on what comes for `to`, and back, but loses one of `every` large datagrams that go there.
struct Proxy {
    address: SocketAddr,
    end: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<u32>>,
}

impl Proxy {
    fn new(to: SocketAddr, every: u32) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let end = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&end);
        let thread = thread::spawn(move || {
            let (mut buffer, mut sender, mut large) = ([0; 65_535], None, 0);
            while !ended.load(Ordering::Relaxed) {
                let Ok((len, from)) = socket.recv_from(&mut buffer) else { continue };
                if from == to {
                    let _ = sender.map(|sender| socket.send_to(&buffer[..len], sender));
                    continue;
                }
                sender = Some(from);
                // The path takes no larger ones: else the search for its size, whose packets carry nothing that can be
                // missed, would end with data in packets of another length.
                if len > 1_200 {
                    continue;
                }
                let full = len >= 900;
                large += u32::from(full);
                if !full || large % every != 0 {
                    let _ = socket.send_to(&buffer[..len], to);
                }
            }
            large / every
        });
        Self { address, end, thread: Some(thread) }
    }

    /// How many it lost.
    fn end(mut self) -> u32 {
        self.end.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

#[test]
fn what_the_network_loses_is_in_the_trace() {
    let scratch = Scratch::new();
    let file = scratch.file("file", 500_000, 2);
    let trace = path(&scratch, "send.sqlog");
    let (receiver, uri, _) = serve("receive", &[scratch.directory().to_str().unwrap()], None);
    let to = uri.trim_start_matches("rtmfp://").trim_end_matches('/').parse().unwrap();
    let proxy = Proxy::new(to, 20);
    let sent = send(&[&file], &format!("rtmfp://{}/", proxy.address), &["--trace", &trace], None);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    assert_eq!(receiver.end().code, Some(0));
    let lost_packets = proxy.end();
    let log = Log::read(trace.as_ref(), "rtmfp send", "client");
    let lost = log.of("fragment_lost");
    assert!(
        lost_packets > 0 && lost.len() >= lost_packets as usize,
        "{lost_packets} packets, {} fragments",
        lost.len()
    );
    let triggers: BTreeSet<&str> = lost.iter().map(|data| data["trigger"].as_str().unwrap()).collect();
    // Which of the two is first depends on how fast packets follow.
    let seen = ["negative_acknowledgements", "time_threshold"].iter().any(|trigger| triggers.contains(trigger));
    assert!(seen, "{triggers:?}");
    // All of them came over in the end, and so did the file.
    let acknowledged: BTreeSet<_> =
        log.of("fragment_acknowledged").iter().map(|data| data["sequence_number"].as_u64()).collect();
    assert!(lost.iter().all(|data| acknowledged.contains(&data["sequence_number"].as_u64())));
}

#[test]
fn a_ping_and_its_echo_are_traced() {
    let scratch = Scratch::new();
    let (theirs, ours) = (path(&scratch, "echo.sqlog"), path(&scratch, "ping.sqlog"));
    let (mut echo, uri, _) = serve("echo", &["--trace", &theirs], None);
    let ended = start(&["ping", "--json", "--count", "3", "--interval", "0", "--trace", &ours, &uri]).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let ping = Log::read(ours.as_ref(), "rtmfp ping", "client");
    assert_eq!(ping.fragments("packet_sent").values().filter(|length| **length == 64).count(), 3);
    echo.wait_for("\"closed\"");
    #[cfg(unix)]
    {
        // It runs until it is interrupted, and the file is complete then.
        let id = echo.child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        assert_eq!(echo.end().code, Some(130));
        let echo = Log::read(theirs.as_ref(), "rtmfp echo", "server");
        assert_eq!(echo.fragments("packet_sent").values().filter(|length| **length == 64).count(), 3);
    }
}

#[cfg(unix)]
#[test]
fn the_trace_of_an_interrupted_end_is_complete() {
    let scratch = Scratch::new();
    let file = scratch.source("large");
    fs::File::create(&file).unwrap().set_len(1 << 36).unwrap();
    let trace = path(&scratch, "send.sqlog");
    let (receiver, uri, _) = serve("receive", &[scratch.directory().to_str().unwrap()], None);
    let mut sender = start_send(&[&file], &uri, &["--trace", &trace], None);
    sender.wait_for("\"opened\"");
    let id = sender.child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let ended = sender.end();
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(!ended.errors.contains("trace"), "{}", ended.errors);
    assert_eq!(receiver.end().code, Some(4));
    let log = Log::read(trace.as_ref(), "rtmfp send", "client");
    assert_eq!(log.states().last().map(String::as_str), Some("closed"));
    let said: Vec<&Value> = log.of("closed").iter().map(|data| &data["trigger"]).collect();
    assert_eq!(said, ["near"]);
}

#[test]
fn an_end_that_fails_leaves_a_complete_trace() {
    let scratch = Scratch::new();
    let (file, trace) = (scratch.file("file", 10, 1), path(&scratch, "send.sqlog"));
    // Nobody is there.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let uri = format!("rtmfp://{}/", silent.local_addr().unwrap());
    let sent = send(&[&file], &uri, &["--trace", &trace, "--timeout", "1"], None);
    assert_eq!(sent.code, Some(3), "{sent:?}");
    let log = Log::read(trace.as_ref(), "rtmfp send", "client");
    assert_eq!(log.states(), ["hello_sent", "open_failed"]);
    assert_eq!(log.of("open_failed")[0]["trigger"], "timed_out");
    assert!(log.of("packet_received").is_empty() && !log.of("packet_sent").is_empty());
}

#[test]
fn a_trace_that_cannot_be_created_is_told_before_anything_is_done() {
    let scratch = Scratch::new();
    let (file, trace) = (scratch.file("file", 10, 1), path(&scratch, "no/such/directory"));
    let sent = send(&[&file], "rtmfp://127.0.0.1:9/", &["--trace", &trace], None);
    assert_eq!(sent.code, Some(1), "{sent:?}");
    assert!(sent.errors.contains("directory could not be created"), "{}", sent.errors);
    assert_eq!(field(&sent.out, "event").as_deref(), Some("error"), "{}", sent.out);
}

/// Linux has a file that is always full.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_and_does_not_stop_the_transfer() {
    let scratch = Scratch::new();
    let file = scratch.file("file", 100_000, 3);
    let (receiver, uri, _) = serve("receive", &[scratch.directory().to_str().unwrap()], None);
    let sent = send(&[&file], &uri, &["--trace", "/dev/full"], None);
    assert_eq!(sent.code, Some(1), "{sent:?}");
    assert!(sent.out.contains("\"done\",\"files\":1,\"failed\":0"), "{}", sent.out);
    assert!(sent.errors.contains("the trace /dev/full ends here: No space left"), "{}", sent.errors);
    assert!(sent.errors.contains("the trace /dev/full is incomplete"), "{}", sent.errors);
    assert_eq!(receiver.end().code, Some(0));
    assert_eq!(scratch.received(), ["file"]);
}

#[test]
fn a_trace_ends_at_its_limit() {
    let scratch = Scratch::new();
    let file = scratch.file("file", 5_000_000, 4);
    let trace = path(&scratch, "send.sqlog");
    let (receiver, uri, _) = serve("receive", &[scratch.directory().to_str().unwrap()], None);
    let sent = send(&[&file], &uri, &["--trace", &trace, "--trace-limit", "1"], None);
    assert_eq!(sent.code, Some(1), "{sent:?}");
    assert!(sent.out.contains("\"done\",\"files\":1,\"failed\":0"), "{}", sent.out);
    assert!(sent.errors.contains("reached its greatest size, 1048576 bytes"), "{}", sent.errors);
    assert_eq!(receiver.end().code, Some(0));
    let log = Log::read(trace.as_ref(), "rtmfp send", "client");
    let last = log.events.last().unwrap();
    assert_eq!(last["name"], "rtmfp:events_lost");
    assert!(last["data"]["count"].as_u64().unwrap() > 100, "{last}");
    // That record is beyond the limit.
    let size = fs::metadata(&trace).unwrap().len();
    assert!((900_000..(1 << 20) + 200).contains(&size), "{size} bytes");
}

#[test]
fn a_wrong_command_line_does_not_empty_a_file() {
    let scratch = Scratch::new();
    let (file, other) = (scratch.file("file", 10, 1), scratch.file("other", 10, 2));
    let (content, linked) = (fs::read(&file).unwrap(), scratch.source("linked"));
    fs::hard_link(&file, &linked).unwrap();
    let [trace, linked] = [&file, &linked].map(|path| path.to_str().unwrap());
    let missing = scratch.source("missing");
    let uri = "rtmfp://127.0.0.1:9/";
    for (files, uri, more, code) in [
        (vec![&*other, &*file], uri, &["--trace", trace][..], 2),
        (vec![&*file], uri, &["--trace", linked], 2),
        (vec![&*other], uri, &["--trace", trace, "--password-file", trace], 2),
        (vec![&*other], "http://127.0.0.1:9", &["--trace", trace], 2),
        (vec![&*missing], uri, &["--trace", trace], 1),
        (vec![&*other], uri, &["--trace", trace, "--fingerprint", "none"], 2),
    ] {
        let sent = send(&files, uri, more, None);
        assert_eq!(sent.code, Some(code), "{more:?}: {sent:?}");
        assert_eq!(fs::read(&file).unwrap(), content, "{more:?}");
    }
}

/// The reader of a pipe may never come back, and the end of the trace waits for it.
#[cfg(target_os = "linux")]
#[test]
fn a_second_interrupt_ends_what_waits_for_its_trace() {
    let scratch = Scratch::new();
    let file = scratch.file("file", 1_000_000, 5);
    let trace = path(&scratch, "pipe");
    assert!(std::process::Command::new("mkfifo").arg(&trace).status().unwrap().success());
    // Open, so that there is a reader, which reads nothing.
    let _reader = fs::OpenOptions::new().read(true).write(true).open(&trace).unwrap();
    let (receiver, uri, _) = serve("receive", &[scratch.directory().to_str().unwrap()], None);
    let mut sender = start_send(&[&file], &uri, &["--trace", &trace], None);
    sender.wait_for("\"done\"");
    assert_eq!(receiver.end().code, Some(0));
    let id = sender.child.id().to_string();
    // Signals that come together are one.
    let mut tries = 0;
    while sender.child.try_wait().unwrap().is_none() && tries < 10_000 {
        assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        tries += 1;
    }
    assert!((2..10_000).contains(&tries), "{tries} interrupts");
    assert_eq!(sender.end().code, Some(130));
}
