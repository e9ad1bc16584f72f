use super::*;
use crate::run::{RunOptions, run};
use crate::scenario::builtin;

fn outcome() -> Outcome {
    let scenario = builtin("hs-clean").unwrap().scenario().unwrap();
    run(&scenario, &RunOptions { packets: 1_000, ..RunOptions::new(1) }).unwrap()
}

#[test]
fn blocks_are_whole_and_comments_tell_the_chunks() {
    let outcome = outcome();
    for layer in [Layer::Sent, Layer::Plain] {
        let bytes = capture(&outcome, layer);
        let (mut at, mut packets) = (0, 0);
        while at < bytes.len() {
            let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
            let total = word(at + 4) as usize;
            assert_eq!(total % 4, 0);
            assert_eq!(word(at + total - 4) as usize, total, "the length stands at both ends");
            packets += usize::from(word(at) == PACKET);
            at += total;
        }
        assert_eq!(at, bytes.len());
        assert!(packets >= 8, "{packets}");
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("InitiatorHello") && text.contains("ResponderKeying"), "chunks are told");
    }
}

/// Says loudly when it could not be done.
#[test]
fn tshark_reads_it() {
    let path = std::env::temp_dir().join(format!("rtmfp-sim-{}.pcapng", std::process::id()));
    std::fs::write(&path, capture(&outcome(), Layer::Sent)).unwrap();
    let ran = std::process::Command::new("tshark")
        .args(["-n", "-T", "fields", "-e", "udp.srcport", "-r"])
        .arg(&path)
        .output();
    std::fs::remove_file(&path).unwrap();
    let Ok(ran) = ran else {
        eprintln!("SKIPPED: tshark is not installed, so nobody but us has read the capture");
        return;
    };
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let ports = String::from_utf8_lossy(&ran.stdout);
    assert!(ports.lines().count() >= 8 && ports.lines().all(|port| port == "1935"), "{ports}");
}

/// The dissector of `drivers/wireshark` and our own decoder say the same about every plain packet of a run.
#[test]
fn the_dissector_says_what_the_comments_say() {
    let path = std::env::temp_dir().join(format!("rtmfp-sim-plain-{}.pcapng", std::process::id()));
    std::fs::write(&path, capture(&outcome(), Layer::Plain)).unwrap();
    let ran = std::process::Command::new("tshark")
        .args(["-n", "-X", concat!("lua_script:", env!("CARGO_MANIFEST_DIR"), "/../drivers/wireshark/rtmfp.lua")])
        .args(["-T", "fields", "-E", "aggregator=|", "-e", "frame.comment", "-e", "rtmfp.chunk.summary", "-r"])
        .arg(&path)
        .output();
    std::fs::remove_file(&path).unwrap();
    let Ok(ran) = ran else {
        eprintln!("SKIPPED: tshark is not installed, so the dissector was not tried");
        return;
    };
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let out = String::from_utf8_lossy(&ran.stdout);
    let mut packets = 0;
    for line in out.lines() {
        let (comment, shown) = line.split_once('\t').unwrap();
        // The first line of a comment is the packet's header; padding is left out of it.
        let told: Vec<&str> = comment.split("\\n").skip(1).collect();
        assert_eq!(told, shown.split('|').filter(|line| *line != "Padding").collect::<Vec<_>>(), "{line}");
        packets += 1;
    }
    assert!(packets >= 8, "{packets}");
}
