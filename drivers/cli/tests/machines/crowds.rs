//! Many far ends that take places and bring nothing: an owner of a file gets through all the same.

use core::cell::RefCell;
use core::time::Duration;

use rtmfp_cli::echo::{BUSY as ECHO_BUSY, Echo};
use rtmfp_cli::ping::{Ping, PingFailure, PingOptions};
use rtmfp_cli::transfer::{
    BUSY, MAX_FILE_FLOWS, METADATA, Receiver, ReceiverEvent, ReceiverLimits, SendFailure, Sender, SenderEvent,
    VerdictCode,
};
use rtmfp_core::{App, Bytes, Endpoint, Event, FlowOptions, Instant, SendFlowHandle, SessionHandle};

use super::memory::{Files, outgoing};
use super::world::{Net, World};

/// Opens a session and nothing else.
struct Silent;

impl App for Silent {
    fn on_event(&mut self, _now: Instant, _endpoint: &mut Endpoint, _event: Event) {}
}

/// Begins a file on each of its file flows, and brings a byte of each now and then, or nothing.
struct Beginner {
    session: SessionHandle,
    name: &'static str,
    file_flows: usize,
    flows: Vec<SendFlowHandle>,
    every: Option<Duration>,
    next: Option<Instant>,
}

impl Beginner {
    fn app(session: SessionHandle, name: &'static str, file_flows: usize, every: Option<Duration>) -> Box<dyn App> {
        Box::new(Self { session, name, file_flows, flows: Vec::new(), every, next: None })
    }
}

impl App for Beginner {
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        if !matches!(event, Event::SessionOpened { .. }) {
            return;
        }
        for number in 0..self.file_flows {
            // It may have been sent away already.
            let Some(mut session) = endpoint.session_mut(now, self.session) else { return };
            let Ok(flow) = session.open_flow(FlowOptions::new(METADATA)) else { return };
            let begin =
                [&b"F"[..], &1_000_000_u64.to_be_bytes(), self.name.as_bytes(), &[b'0' + number as u8]].concat();
            endpoint.send_flow_mut(now, flow).unwrap().write(begin).unwrap();
            self.flows.push(flow);
        }
        self.next = self.every.map(|_| now);
    }

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if self.next.is_some_and(|next| next <= now) {
            self.next = self.every.map(|every| now + every);
            for flow in &self.flows {
                if let Some(mut flow) = endpoint.send_flow_mut(now, *flow) {
                    let _ = flow.write(&b"Dx"[..]);
                }
            }
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.next
    }
}

/// What becomes of the owner's files.
fn send(world: &mut World, names: &[String], receiver: &mut dyn App) -> (Vec<VerdictCode>, Option<SendFailure>) {
    let verdicts = RefCell::new(Vec::new());
    let files = names.iter().map(|name| outgoing(name, 200_000)).collect();
    let mut sender = Sender::new(world.open(), files, MAX_FILE_FLOWS, |event| {
        if let SenderEvent::Finished { verdict, .. } = event {
            verdicts.borrow_mut().push(verdict.code);
        }
    });
    world.run_first(&mut sender, receiver);
    let failure = sender.failure();
    drop(sender);
    (verdicts.into_inner(), failure)
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("own {number}")).collect()
}

#[test]
fn sessions_without_a_flow_keep_nobody_out() {
    let mut world = World::new(Net::default());
    let mut receiver = Receiver::new(Box::new(Files::default()), true, |_| {});
    // 128 from each of three hosts: more than there are places.
    for number in 0..384_u16 {
        world.join(1 + number.to_le_bytes()[0] % 3, |_| Box::new(Silent));
    }
    world.run_for(Duration::from_secs(2), &mut Silent, &mut receiver);
    assert!((256..=257).contains(&world.receiver_sessions()), "{}", world.receiver_sessions());
    assert_eq!(send(&mut world, &names(3), &mut receiver), (vec![VerdictCode::Verified; 3], None));
}

#[test]
fn a_session_without_a_file_flow_ends_within_ten_seconds() {
    let mut world = World::new(Net::default());
    let mut receiver = Receiver::new(Box::new(Files::default()), true, |_| {});
    for host in 1..=200 {
        world.join(host, |_| Box::new(Silent));
    }
    world.run_for(Duration::from_secs(9), &mut Silent, &mut receiver);
    assert_eq!(world.receiver_sessions(), 200);
    world.mute_crowd();
    world.run_for(Duration::from_secs(2), &mut Silent, &mut receiver);
    assert_eq!(world.receiver_sessions(), 0, "nor do those that do not answer linger");
}

#[test]
fn files_that_were_begun_and_bring_nothing_keep_no_other_out() {
    let mut world = World::new(Net::default());
    let refused = RefCell::new(0);
    let store = Files::default();
    let mut receiver = Receiver::new(Box::new(store.clone()), true, |event| {
        if let ReceiverEvent::Finished { verdict, .. } = event {
            *refused.borrow_mut() += u32::from(verdict.code == VerdictCode::Busy);
        }
    });
    for host in 1..=12 {
        world.join(host, |session| Beginner::app(session, "x", MAX_FILE_FLOWS, None));
    }
    world.run_for(Duration::from_secs(2), &mut Silent, &mut receiver);
    assert_eq!(store.unfinished(), 192);
    assert_eq!(
        send(&mut world, &names(MAX_FILE_FLOWS), &mut receiver),
        (vec![VerdictCode::Verified; MAX_FILE_FLOWS], None)
    );
    assert!(store.unfinished() < 192);
    drop(receiver);
    assert!(refused.into_inner() > 0, "those that gave way were told");
}

#[test]
fn one_host_has_half_of_the_files_at_most() {
    let mut world = World::new(Net::default());
    let store = Files::default();
    let refused = RefCell::new(Vec::new());
    let mut receiver = Receiver::new(Box::new(store.clone()), true, |event| {
        if let ReceiverEvent::Finished { name, verdict, .. } = event
            && verdict.code == VerdictCode::Busy
        {
            refused.borrow_mut().push(name.to_owned());
        }
    });
    for _ in 0..12 {
        world.join(1, |session| Beginner::app(session, "x", MAX_FILE_FLOWS, Some(Duration::from_secs(1))));
    }
    world.run_for(Duration::from_secs(5), &mut Silent, &mut receiver);
    assert_eq!(store.unfinished(), 96);
    assert_eq!(
        send(&mut world, &names(MAX_FILE_FLOWS), &mut receiver),
        (vec![VerdictCode::Verified; MAX_FILE_FLOWS], None)
    );
    // Whoever brings something keeps its place.
    let before = refused.borrow().len();
    world.join(1, |session| Beginner::app(session, "y", MAX_FILE_FLOWS, Some(Duration::from_secs(1))));
    world.run_for(Duration::from_secs(2), &mut Silent, &mut receiver);
    assert_eq!(store.unfinished(), 96);
    drop(receiver);
    let refused = refused.into_inner();
    assert_eq!(refused.len(), before + MAX_FILE_FLOWS);
    assert!(refused[before..].iter().all(|name| name.starts_with('y')), "{:?}", &refused[before..]);
}

#[test]
fn when_all_places_are_in_use_a_sender_hears_that_the_receiver_is_busy() {
    let mut world = World::new(Net::default());
    let limits = ReceiverLimits { sessions: 4, sessions_per_source: 2, ..ReceiverLimits::default() };
    let store = Files::default();
    let mut receiver = Receiver::new(Box::new(store.clone()), true, |_| {}).with_limits(&limits);
    // The third of each host has no place.
    for host in [1, 1, 1, 2, 2, 2] {
        world.join(host, |session| Beginner::app(session, "x", 1, Some(Duration::from_secs(1))));
    }
    world.run_for(Duration::from_secs(5), &mut Silent, &mut receiver);
    assert_eq!(store.unfinished(), 4);
    let (_, failure) = send(&mut world, &names(1), &mut receiver);
    assert_eq!(failure, Some(SendFailure::Rejected(BUSY)));
    // Those that wait to be told are few, and go.
    for host in 3..=150 {
        world.join(host, |_| Box::new(Silent));
    }
    world.run_for(Duration::from_secs(5), &mut Silent, &mut receiver);
    assert!((64..=70).contains(&world.receiver_sessions()), "{}", world.receiver_sessions());
    world.run_for(Duration::from_secs(32), &mut Silent, &mut receiver);
    assert_eq!(world.receiver_sessions(), 4);
}

/// It kept the name for itself, and the owner's file was refused.
#[test]
fn a_stranger_who_begins_a_name_does_not_take_it() {
    let mut world = World::new(Net::default());
    let store = Files::default();
    let mut receiver = Receiver::new(Box::new(store.clone()), true, |_| {});
    world.join(1, |session| Beginner::app(session, "own ", MAX_FILE_FLOWS, Some(Duration::from_secs(1))));
    world.run_for(Duration::from_secs(2), &mut Silent, &mut receiver);
    assert_eq!(send(&mut world, &names(2), &mut receiver), (vec![VerdictCode::Verified; 2], None));
    assert_eq!(store.content("own 0"), Some(super::memory::content("own 0", 200_000)));
}

#[test]
fn sessions_without_a_flow_keep_nobody_from_an_echo() {
    let mut world = World::new(Net::default());
    let mut echo = Echo::new(|_| {});
    for number in 0..384_u16 {
        world.join(1 + number.to_le_bytes()[0] % 3, |_| Box::new(Silent));
    }
    world.run_for(Duration::from_secs(2), &mut Silent, &mut echo);
    assert!((256..=257).contains(&world.receiver_sessions()), "{}", world.receiver_sessions());
    assert_eq!(ping(&mut world, &mut echo), None);
    world.run_for(Duration::from_secs(32), &mut Silent, &mut echo);
    assert_eq!(world.receiver_sessions(), 0);
}

#[test]
fn when_all_places_are_in_use_a_ping_hears_that_the_echo_is_busy() {
    let mut world = World::new(Net::default());
    let mut echo = Echo::new(|_| {});
    for number in 0..256_u16 {
        world.join(1 + number.to_le_bytes()[0] % 2, |session| {
            Beginner::app(session, "x", 1, Some(Duration::from_secs(2)))
        });
    }
    world.run_for(Duration::from_secs(3), &mut Silent, &mut echo);
    assert_eq!(ping(&mut world, &mut echo), Some(PingFailure::Rejected(ECHO_BUSY)));
}

fn ping(world: &mut World, echo: &mut dyn App) -> Option<PingFailure> {
    let options = PingOptions {
        metadata: Bytes::from_static(b"ping"),
        flows: 1,
        count: 3,
        size: 64,
        interval: Duration::ZERO,
        flood: false,
        one_way: false,
    };
    let mut ping = Ping::new(world.open(), options, |_| {});
    world.run_first(&mut ping, echo);
    ping.failure()
}
