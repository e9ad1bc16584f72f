//! Far ends that mean no good, or are in nobody's way.

use core::cell::RefCell;
use core::time::Duration;

use rtmfp_cli::echo::Echo;
use rtmfp_cli::transfer::{MAX_FILE_FLOWS, METADATA, Receiver, ReceiverLimits, Sender, SenderEvent, VerdictCode};
use rtmfp_core::{
    App, Bytes, CloseMode, CloseReason, Endpoint, Event, FlowOptions, Instant, SendFlowHandle, SessionHandle,
};
use sha2::{Digest, Sha256};

use super::memory::{Files, outgoing};
use super::world::{Net, World};

/// Opens a file flow, says one thing on it, and leaves if that is not taken.
struct Stranger {
    session: SessionHandle,
    says: Bytes,
    closed: Option<Instant>,
}

impl Stranger {
    fn new(session: SessionHandle, says: impl Into<Bytes>) -> Self {
        Self { session, says: says.into(), closed: None }
    }
}

impl App for Stranger {
    #[expect(clippy::wildcard_enum_match_arm, reason = "an application acts on the events that it knows of")]
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        match event {
            Event::SessionOpened { .. } => {
                let mut session = endpoint.session_mut(now, self.session).unwrap();
                let flow = session.open_flow(FlowOptions::new(METADATA)).unwrap();
                endpoint.send_flow_mut(now, flow).unwrap().write(self.says.clone()).unwrap();
            }
            Event::FlowRejected { .. } => {
                endpoint.session_mut(now, self.session).unwrap().close(CloseMode::Orderly);
            }
            Event::SessionClosed { .. } => self.closed = Some(now),
            _ => {}
        }
    }

    fn is_done(&self) -> bool {
        self.closed.is_some()
    }
}

#[test]
fn a_stranger_that_leaves_without_a_file_does_not_end_the_receiver() {
    let mut world = World::new(Net::default());
    let store = Files::default();
    let mut receiver = Receiver::new(Box::new(store.clone()), false, |_| {});
    let mut stranger = Stranger::new(world.open(), "");
    world.run_first(&mut stranger, &mut receiver);
    assert!(!receiver.is_done());
    assert_eq!((receiver.received().lost, receiver.received().failed), (None, 0));
    let mut sender = Sender::new(world.open(), vec![outgoing("a", 1_000)], MAX_FILE_FLOWS, |_| {});
    world.run(&mut sender, &mut receiver);
    assert_eq!((receiver.received().verified, receiver.received().complete), (1, 1));
    assert_eq!(store.count(), 1);
}

#[test]
fn a_stranger_that_stays_and_brings_nothing_is_sent_away() {
    for begins_a_file in [true, false] {
        let mut world = World::new(Net::default());
        let store = Files::default();
        let mut receiver = Receiver::new(Box::new(store.clone()), false, |_| {});
        // A file of 100 bytes, or the remains of one that was refused.
        let says = if begins_a_file { &b"F\0\0\0\0\0\0\0\x64name"[..] } else { b"F\0\0\0\0\0\0\0\x64../name" };
        let mut stranger = Stranger::new(world.open(), says);
        world.run_first(&mut stranger, &mut receiver);
        let closed = stranger.closed.unwrap();
        assert!(closed < Instant::ORIGIN + Duration::from_secs(130), "{closed:?}");
        assert_eq!(receiver.is_done(), begins_a_file);
        assert_eq!(receiver.received().lost, begins_a_file.then_some(CloseReason::Idle));
        assert_eq!((store.count(), store.unfinished()), (0, 0));
    }
}

/// Sends a file of no bytes, and between its beginning and its end a message that it abandons.
struct Skipping {
    session: SessionHandle,
    closed: bool,
}

impl App for Skipping {
    #[expect(clippy::wildcard_enum_match_arm, reason = "an application acts on the events that it knows of")]
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        match event {
            Event::SessionOpened { .. } => {
                let mut session = endpoint.session_mut(now, self.session).unwrap();
                let flow = session.open_flow(FlowOptions::new(METADATA)).unwrap();
                let mut flow = endpoint.send_flow_mut(now, flow).unwrap();
                flow.write(&b"F\0\0\0\0\0\0\0\0name"[..]).unwrap();
                let skipped = flow.write(&b"D"[..]).unwrap();
                assert!(flow.abandon(skipped));
                let end = [&b"E\0\0\0\0\0\0\0\0"[..], &Sha256::digest([])].concat();
                flow.write(end).unwrap();
            }
            Event::FlowRejected { .. } => {
                endpoint.session_mut(now, self.session).unwrap().close(CloseMode::Orderly);
            }
            Event::SessionClosed { .. } => self.closed = true,
            _ => {}
        }
    }

    fn is_done(&self) -> bool {
        self.closed
    }
}

/// What was abandoned may have been a piece of the file: whoever verifies what is left vouches for what nobody sent.
#[test]
fn a_file_with_a_gap_is_refused_whatever_its_hash() {
    let mut world = World::new(Net::default());
    let store = Files::default();
    let mut receiver = Receiver::new(Box::new(store.clone()), false, |_| {});
    let mut skipping = Skipping { session: world.open(), closed: false };
    world.run_first(&mut skipping, &mut receiver);
    assert_eq!((receiver.received().verified, receiver.received().failed), (0, 1));
    assert_eq!((store.count(), store.unfinished()), (0, 0));
}

#[test]
fn a_slow_sender_is_not_taken_for_an_idle_one() {
    // A few kilobytes a second, for some minutes.
    let mut world = World::new(Net { delay: Duration::from_millis(1_500), loss_percent: 10, dead_after: None });
    let store = Files::default();
    let mut receiver = Receiver::new(Box::new(store.clone()), false, |_| {});
    let mut sender = Sender::new(world.open_slow(3_000), vec![outgoing("slow", 500_000)], MAX_FILE_FLOWS, |_| {});
    let begun = world.now();
    world.run(&mut sender, &mut receiver);
    assert!(world.now() > begun + Duration::from_secs(130), "too fast to show anything: {:?}", world.now());
    assert_eq!((receiver.received().verified, receiver.received().complete), (1, 1));
}

#[test]
fn files_beyond_those_that_may_be_open_are_refused_and_the_others_arrive() {
    let mut world = World::new(Net::default());
    let store = Files::default();
    let limits = ReceiverLimits { open_files: 4, open_files_per_source: 4, ..ReceiverLimits::default() };
    let mut receiver = Receiver::new(Box::new(store.clone()), false, |_| {}).with_limits(&limits);
    let verdicts = RefCell::new(Vec::new());
    let files = (0..MAX_FILE_FLOWS).map(|n| outgoing(&format!("f{n}"), 300_000)).collect();
    let mut sender = Sender::new(world.open(), files, MAX_FILE_FLOWS, |event| {
        if let SenderEvent::Finished { verdict, .. } = event {
            verdicts.borrow_mut().push(verdict.clone());
        }
    });
    world.run(&mut sender, &mut receiver);
    drop(sender);
    let (good, bad): (Vec<_>, Vec<_>) = verdicts.into_inner().into_iter().partition(|v| v.is_verified());
    assert_eq!((good.len(), bad.len()), (4, MAX_FILE_FLOWS - 4));
    assert!(bad.iter().all(|v| v.code == VerdictCode::Busy && v.text.contains("try again")), "{bad:?}");
    assert_eq!((store.count(), store.unfinished()), (4, 0));
}

/// Has an echo answer a thousand flows, and reads no answer.
struct Glutton {
    session: SessionHandle,
    flows: Vec<SendFlowHandle>,
    until: Instant,
    /// How many bytes the echo has taken in the end.
    taken: Option<u64>,
}

impl Glutton {
    fn fill(now: Instant, endpoint: &mut Endpoint, flow: SendFlowHandle) {
        while endpoint.send_flow_mut(now, flow).is_some_and(|mut flow| flow.write(vec![7; 5_000]).is_ok()) {}
    }
}

impl App for Glutton {
    #[expect(clippy::wildcard_enum_match_arm, reason = "an application acts on the events that it knows of")]
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        match event {
            Event::SessionOpened { .. } => {
                for _ in 0..1_000 {
                    let flow = endpoint.session_mut(now, self.session).unwrap().open_flow(FlowOptions::new("glutton"));
                    self.flows.extend(flow);
                }
                self.flows.iter().for_each(|&flow| Self::fill(now, endpoint, flow));
            }
            Event::FlowWritable { flow } => Self::fill(now, endpoint, flow),
            Event::SessionClosed { reason, .. } => panic!("{reason}"),
            _ => {}
        }
    }

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if now >= self.until && self.taken.is_none() {
            let stats = self.flows.iter().filter_map(|&flow| Some(endpoint.send_flow(flow)?.stats()));
            // What is buffered counts with an overhead.
            self.taken = Some(stats.map(|stats| stats.bytes.saturating_sub(stats.buffered as u64)).sum());
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.taken.is_none().then_some(self.until)
    }

    fn is_done(&self) -> bool {
        self.taken.is_some()
    }
}

/// In ten seconds, before any limit of patience is over, the echo takes no more than fits into the glutton's buffers and
/// into its own, 16 MiB each to receive and to send.
#[test]
fn an_echo_whose_answers_nobody_reads_takes_no_more_than_its_session_may_hold() {
    let mut world = World::new(Net::default());
    let until = Instant::ORIGIN + Duration::from_secs(10);
    let mut glutton = Glutton { session: world.open(), flows: Vec::new(), until, taken: None };
    let mut echo = Echo::new(|_| {});
    world.run_first(&mut glutton, &mut echo);
    let taken = glutton.taken.unwrap();
    assert!((20 << 20..50 << 20).contains(&taken), "{taken} bytes were taken");
}

/// Calls every file verified as soon as it begins.
#[derive(Default)]
struct Liar {
    done: bool,
}

impl App for Liar {
    #[expect(clippy::wildcard_enum_match_arm, reason = "an application acts on the events that it knows of")]
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        match event {
            Event::FlowOpened { flow } => {
                let options = FlowOptions::new(METADATA);
                let answer = endpoint.recv_flow_mut(now, flow).unwrap().open_return_flow(options).unwrap();
                endpoint.send_flow_mut(now, answer).unwrap().write(&b"V\0"[..]).unwrap();
            }
            Event::FlowReadable { flow } => {
                while endpoint.recv_flow_mut(now, flow).is_some_and(|mut flow| flow.read().is_some()) {}
            }
            Event::SessionClosed { .. } => self.done = true,
            _ => {}
        }
    }

    fn is_done(&self) -> bool {
        self.done
    }
}

#[test]
fn a_file_that_is_called_verified_too_early_is_reported_as_a_mismatch() {
    let mut world = World::new(Net::default());
    let verdicts = RefCell::new(Vec::new());
    let mut sender = Sender::new(world.open(), vec![outgoing("a", 5_000_000)], MAX_FILE_FLOWS, |event| {
        if let SenderEvent::Finished { verdict, .. } = event {
            verdicts.borrow_mut().push(verdict.code);
        }
    });
    world.run(&mut sender, &mut Liar::default());
    assert_eq!((sender.verified(), sender.failed(), sender.failure()), (0, 1, None));
    drop(sender);
    assert_eq!(verdicts.into_inner(), [VerdictCode::Mismatch]);
}
