//! The transfer's state machines by themselves: two endpoints back to back in virtual time, no sockets and no files.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

mod crowds;
mod farewell;
mod memory;
mod strangers;
mod world;

use core::cell::RefCell;
use core::time::Duration;
use std::io;

use memory::{Faults, Files, outgoing};
use rtmfp_cli::echo::{Echo, EchoEvent};
use rtmfp_cli::ping::{Ping, PingEvent, PingOptions};
use rtmfp_cli::transfer::store::Outgoing;
use rtmfp_cli::transfer::{MAX_FILE_FLOWS, Receiver, ReceiverEvent, SendFailure, Sender, SenderEvent, VerdictCode};
use rtmfp_core::{Bytes, CloseReason};
use world::{Net, World};

/// What a transfer came to.
struct Outcome {
    verdicts: Vec<(String, VerdictCode)>,
    verified: u64,
    failed: u64,
    failure: Option<SendFailure>,
    received: rtmfp_cli::transfer::Received,
    most_at_once: usize,
}

fn transfer(net: Net, files: Vec<Outgoing>, store: &Files) -> Outcome {
    let mut world = World::new(net);
    let session = world.open();
    let verdicts = RefCell::new(Vec::new());
    let mut sender = Sender::new(session, files, MAX_FILE_FLOWS, |event| {
        if let SenderEvent::Finished { name, verdict, .. } = event {
            verdicts.borrow_mut().push((name.to_owned(), verdict.code));
        }
    });
    let mut at_once = (0_usize, 0_usize);
    let mut receiver = Receiver::new(Box::new(store.clone()), false, |event| {
        if let ReceiverEvent::Begun { .. } = event {
            at_once.0 += 1;
            at_once.1 = at_once.1.max(at_once.0);
        } else if let ReceiverEvent::Finished { .. } = event {
            at_once.0 -= 1;
        }
    });
    world.run(&mut sender, &mut receiver);
    let outcome = (sender.verified(), sender.failed(), sender.failure(), receiver.received());
    drop((sender, receiver));
    let (verified, failed, failure, received) = outcome;
    let mut verdicts = verdicts.into_inner();
    verdicts.sort();
    Outcome { verdicts, verified, failed, failure, received, most_at_once: at_once.1 }
}

#[test]
fn files_of_all_sizes_arrive_over_a_bad_network() {
    let net = Net { loss_percent: 3, ..Net::default() };
    let store = Files::default();
    let sizes = [0, 1, 100, 65_535, 65_536, 65_537, 200_000, 400_000];
    let files = sizes.iter().map(|size| outgoing(&format!("f{size}"), *size)).collect();
    let outcome = transfer(net, files, &store);
    assert_eq!((outcome.verified, outcome.failed, outcome.failure), (8, 0, None));
    assert_eq!((outcome.received.verified, outcome.received.complete), (8, 1));
    for size in sizes {
        assert!(store.content(&format!("f{size}")).unwrap() == memory::content(&format!("f{size}"), size), "{size}");
    }
    assert_eq!(store.unfinished(), 0);
}

#[test]
fn two_thousand_small_files_share_sixteen_lanes() {
    let store = Files::default();
    let files = (0..2_000).map(|n| outgoing(&format!("s{n}"), n % 700)).collect();
    let outcome = transfer(Net::default(), files, &store);
    assert_eq!((outcome.verified, outcome.failed), (2_000, 0));
    assert_eq!(store.count(), 2_000);
    assert!(outcome.most_at_once <= MAX_FILE_FLOWS, "{} at once", outcome.most_at_once);
}

#[test]
fn every_fault_of_the_receiver_has_its_verdict_and_stops_no_other_file() {
    let store = Files::with(Faults { refuse: "there", full: "big", uncommitted: "late" });
    let names = ["there", "big", "late", "good", "../bad", "also good"];
    let outcome = transfer(Net::default(), names.map(|name| outgoing(name, 300_000)).into(), &store);
    let expected = [
        ("../bad", VerdictCode::BadName),
        ("also good", VerdictCode::Verified),
        ("big", VerdictCode::Storage),
        ("good", VerdictCode::Verified),
        ("late", VerdictCode::Storage),
        ("there", VerdictCode::Exists),
    ];
    assert_eq!(outcome.verdicts, expected.map(|(name, code)| (name.to_owned(), code)));
    assert_eq!((outcome.received.verified, outcome.received.failed, outcome.received.complete), (2, 4, 1));
    assert_eq!((store.count(), store.unfinished()), (2, 0));
}

#[test]
fn a_file_that_shrinks_while_it_is_read_is_given_up_and_no_other() {
    let store = Files::default();
    let files = vec![memory::shorter_than_it_says("shrunk", 90_000), outgoing("whole", 90_000)];
    let outcome = transfer(Net::default(), files, &store);
    let expected = [("shrunk", VerdictCode::Abandoned), ("whole", VerdictCode::Verified)];
    assert_eq!(outcome.verdicts, expected.map(|(name, code)| (name.to_owned(), code)));
    assert_eq!((store.count(), store.unfinished()), (1, 0));
}

#[test]
fn what_cannot_be_read_is_told_of_at_both_ends() {
    let store = Files::default();
    let files = vec![memory::failing("unreadable", io::ErrorKind::PermissionDenied), outgoing("fine", 10)];
    let outcome = transfer(Net::default(), files, &store);
    assert_eq!((outcome.verified, outcome.failed, outcome.failure), (1, 1, None));
    assert_eq!(outcome.received.complete, 1);
}

#[test]
fn nothing_to_send_is_a_short_but_complete_transfer() {
    let outcome = transfer(Net::default(), Vec::new(), &Files::default());
    assert_eq!((outcome.verified, outcome.failed, outcome.failure), (0, 0, None));
    assert_eq!(outcome.received.complete, 1);
}

#[test]
fn when_no_file_can_be_read_the_receiver_still_hears_the_end() {
    let files = vec![memory::failing("a", io::ErrorKind::NotFound), memory::failing("b", io::ErrorKind::NotFound)];
    let outcome = transfer(Net::default(), files, &Files::default());
    assert_eq!((outcome.verified, outcome.failed, outcome.failure), (0, 2, None));
    assert_eq!((outcome.received.complete, outcome.received.failed), (1, 0));
}

#[test]
fn a_network_that_goes_away_ends_both_within_their_limits() {
    let store = Files::default();
    let net = Net { dead_after: Some(Duration::from_millis(100)), ..Net::default() };
    let outcome = transfer(net, vec![outgoing("never", 50_000_000)], &store);
    // The plain profile authenticates nothing.
    assert_eq!(outcome.failure, Some(SendFailure::Lost(CloseReason::TimedOutAtFixedAddress)));
    assert_eq!((outcome.received.lost, outcome.received.failed), (Some(CloseReason::TimedOutAtFixedAddress), 1));
    assert_eq!((store.count(), store.unfinished()), (0, 0));
}

#[test]
fn an_echo_gives_everything_back_through_small_windows() {
    let mut world = World::new(Net { loss_percent: 2, ..Net::default() });
    let session = world.open();
    let mut answers = 0;
    let options = PingOptions {
        metadata: Bytes::from_static(b"metadata"),
        flows: 3,
        count: 100,
        size: 20_000,
        interval: Duration::ZERO,
        flood: true,
        one_way: false,
    };
    let mut ping =
        Ping::new(session, options, |event| answers += u32::from(matches!(event, PingEvent::Answered { .. })));
    let mut finished = 0;
    let mut echo = Echo::new(|event| {
        if let EchoEvent::Finished { messages, bytes, .. } = event {
            assert_eq!((messages, bytes), (100, 2_000_000));
            finished += 1;
        }
    });
    world.run_first(&mut ping, &mut echo);
    assert_eq!(ping.failure(), None);
    drop((ping, echo));
    assert_eq!((answers, finished), (300, 3));
}
