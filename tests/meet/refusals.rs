//! What a server refuses, or leaves unanswered, and what guests make of it.

use core::time::Duration;

use rtmfp_core::wire::{Address, AddressOrigin};
use rtmfp_core::{App, Endpoint, Event, FlowOptions, Instant, OpenFailure};
use rtmfp_meet::message::Reply;
use rtmfp_meet::{
    Admit, Asker, Everybody, Failure, GuestEvent, GuestOptions, Limits, METADATA, PathKind, PathPolicy, Rate,
    RelayLimits, ServerEvent,
};

use super::script::{Log, Script, add, replace, restart, run, script, world_with};

const SILENT: Failure = Failure::ServerNotReached(OpenFailure::TimedOut);

/// Lets those have numbers alone who have shown a token.
struct Keyed;

impl Admit for Keyed {
    fn accepts_token(&mut self, _: &Asker, token: &[u8]) -> bool {
        token == b"open"
    }

    fn may_have_number(&mut self, asker: &Asker) -> bool {
        asker.accepted
    }
}

/// A server that says where it sees whoever asks, and answers nothing else.
#[derive(Debug)]
struct Mute;

impl App for Mute {
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        if let Event::FlowOpened { flow } = event {
            let mut inbox = endpoint.recv_flow_mut(now, flow).unwrap();
            let outbox = inbox.open_return_flow(FlowOptions::new(METADATA)).unwrap();
            let address = Address { origin: AddressOrigin::Observed, socket: ([192, 0, 2, 9], 9).into() };
            let _ = endpoint.send_flow_mut(now, outbox).unwrap().write(Reply::Seen { address }.to_bytes());
        }
        if let Event::FlowOpened { flow } | Event::FlowReadable { flow } = event {
            while endpoint.recv_flow_mut(now, flow).unwrap().read().is_some() {}
        }
    }

    fn on_wake(&mut self, _: Instant, _: &mut Endpoint) {}

    fn next_timeout(&self) -> Option<Instant> {
        None
    }
}

fn plenty() -> Limits {
    let mut limits = Limits::default();
    limits.requests_per_source = Rate { burst: 1_000, every: Duration::from_millis(1) };
    limits
}

fn relaying() -> Limits {
    let mut limits = Limits::default();
    limits.relay = Some(RelayLimits::default());
    limits
}

/// Circuits that the server has opened, and those that it still has.
fn circuits(log: &Log) -> [usize; 2] {
    let log = log.lock().unwrap();
    let opened = log.iter().filter(|event| matches!(event, ServerEvent::CircuitOpened { .. })).count();
    let closed = log.iter().filter(|event| matches!(event, ServerEvent::CircuitClosed { .. })).count();
    [opened, opened - closed]
}

#[test]
fn a_peer_that_does_not_use_the_relay_is_reached_directly() {
    let (mut world, net, _) = world_with(relaying(), Everybody);
    let mut options = GuestOptions::default();
    options.policy = PathPolicy::DirectOnly;
    let ben = Script::new(&world, "ben", options);
    add(&mut world, net, "ben", 2, ben);
    let ada = Script::new(&world, "ada", GuestOptions::default()).at(1_000, |guest, now, endpoint| {
        guest.connect(now, endpoint, b"ben".as_slice(), PathPolicy::Any);
    });
    let ada = add(&mut world, net, "ada", 1, ada);
    run(&mut world, 30);
    let ada = script(&world, ada);
    assert_eq!((ada.connected(), ada.failures(), ada.kinds()), (1, vec![], vec![PathKind::Direct]));
}

#[test]
fn more_peers_than_circuits_are_met_and_circuits_that_nobody_needs_are_closed() {
    let (mut world, net, log) = world_with(relaying(), Everybody);
    let names: Vec<String> = (0..9).map(|number| format!("peer {number}")).collect();
    for (last, name) in (2..).zip(&names) {
        let peer = Script::new(&world, name, GuestOptions::default());
        add(&mut world, net, name, last, peer);
    }
    let mut ada = Script::new(&world, "ada", GuestOptions::default());
    for (number, name) in (0..).zip(names) {
        ada = ada.at(1_000 + number * 50, move |guest, now, endpoint| {
            guest.connect(now, endpoint, name.into_bytes(), PathPolicy::Any);
        });
    }
    let ada = add(&mut world, net, "ada", 1, ada);
    run(&mut world, 5);
    assert_eq!(circuits(&log), [8, 8], "the ninth has none");
    run(&mut world, 20);
    assert_eq!(circuits(&log), [8, 0]);
    let ada = script(&world, ada);
    assert_eq!((ada.connected(), ada.failures()), (9, vec![]));
}

#[test]
fn a_circuit_that_a_session_is_on_stays_open() {
    let (mut world, net, log) = world_with(relaying(), Everybody);
    let ben = Script::new(&world, "ben", GuestOptions::default());
    add(&mut world, net, "ben", 2, ben);
    let ada = Script::new(&world, "ada", GuestOptions::default()).at(1_000, |guest, now, endpoint| {
        guest.connect(now, endpoint, b"ben".as_slice(), PathPolicy::RelayOnly);
    });
    let ada = add(&mut world, net, "ada", 1, ada);
    run(&mut world, 60);
    assert_eq!((circuits(&log), script(&world, ada).kinds()), ([1, 1], vec![PathKind::Relayed]));
}

#[test]
fn a_source_that_has_asked_too_often_reaches_peers_directly() {
    let mut limits = relaying();
    limits.requests_per_source = Rate { burst: 1, every: Duration::from_secs(60) };
    let (mut world, net, log) = world_with(limits, Everybody);
    let ben = Script::new(&world, "ben", GuestOptions::default());
    add(&mut world, net, "ben", 2, ben);
    let ada = Script::new(&world, "ada", GuestOptions::default())
        .at(1_000, |guest, now, endpoint| {
            guest.find(now, endpoint, 1);
        })
        .at(2_000, |guest, now, endpoint| {
            guest.connect(now, endpoint, b"ben".as_slice(), PathPolicy::Any);
        });
    let ada = add(&mut world, net, "ada", 1, ada);
    run(&mut world, 30);
    let is_refused = |event: &ServerEvent| matches!(event, ServerEvent::Refused { .. });
    assert!(log.lock().unwrap().iter().any(is_refused), "the server has asked to wait");
    assert_eq!(script(&world, ada).connected(), 1, "{:?}", script(&world, ada).told);
}

/// A server is replaced by one that remembers nothing, and grants one request at once and one more in three seconds.
#[test]
fn a_number_and_a_token_survive_a_restart_of_a_server_that_asks_to_wait() {
    let (mut world, net, _) = world_with(Limits::default(), Keyed);
    let ada = Script::new(&world, "ada", GuestOptions::default()).at(1_000, |guest, now, endpoint| {
        guest.show_token(now, endpoint, b"open".as_slice());
        (0..2).for_each(|_| _ = guest.want_number(now, endpoint));
    });
    let ada = add(&mut world, net, "ada", 1, ada);
    run(&mut world, 5);
    assert_eq!(script(&world, ada).numbers().len(), 2);
    let mut limits = Limits::default();
    limits.requests_per_source = Rate { burst: 1, every: Duration::from_secs(3) };
    restart(&mut world, limits, Keyed);
    run(&mut world, 120);
    let ada = script(&world, ada);
    assert_eq!((ada.numbers().len(), ada.failures()), (4, vec![]), "{:?}", ada.told);
}

/// The server refuses numbers without a token, and asks to wait with the token: the number is not lost for that.
#[test]
fn what_needs_a_token_waits_until_the_server_has_taken_it() {
    let mut limits = Limits::default();
    limits.requests_per_source = Rate { burst: 1, every: Duration::from_secs(3) };
    let (mut world, net, _) = world_with(limits, Keyed);
    let ada = Script::new(&world, "ada", GuestOptions::default())
        .at(1_000, |guest, now, endpoint| {
            guest.find(now, endpoint, 1);
            guest.show_token(now, endpoint, b"open".as_slice());
        })
        .at(1_500, |guest, now, endpoint| {
            guest.want_number(now, endpoint);
        });
    let ada = add(&mut world, net, "ada", 1, ada);
    run(&mut world, 60);
    let ada = script(&world, ada);
    let refused = ada.told.iter().any(|(_, event)| matches!(event, GuestEvent::TokenRefused(_)));
    assert_eq!((ada.numbers().len(), refused), (1, false), "{:?}", ada.told);
}

#[test]
fn questions_and_numbers_that_a_server_leaves_unanswered_fail_and_those_cancelled_take_no_place() {
    let (mut world, net, _) = world_with(Limits::default(), Everybody);
    let server = world.find("server").unwrap();
    replace(&mut world, server, Mute);
    let ada = Script::new(&world, "ada", GuestOptions::default())
        .at(1_000, |guest, now, endpoint| {
            guest.want_number(now, endpoint);
            (0..64).for_each(|number| _ = guest.find(now, endpoint, number));
        })
        .at(30_000, |guest, now, endpoint| {
            for number in 0..1_000 {
                let asked = guest.find(now, endpoint, number);
                let wanted = guest.want_number(now, endpoint);
                guest.cancel(now, endpoint, asked);
                guest.cancel(now, endpoint, wanted);
            }
            guest.find(now, endpoint, 7);
        });
    let ada = add(&mut world, net, "ada", 1, ada);
    run(&mut world, 25);
    assert_eq!(script(&world, ada).failures(), [SILENT; 65]);
    run(&mut world, 60);
    assert_eq!(script(&world, ada).failures(), [SILENT; 66]);
}

/// As much is asked for at once as may be, with a flow to the server that is full: nothing is lost.
#[test]
fn what_found_no_room_is_asked_for_when_there_is_some() {
    let (mut world, net, _) = world_with(plenty(), Everybody);
    let ada = Script::new(&world, "ada", GuestOptions::default()).at(1_000, |guest, now, endpoint| {
        for _ in 0..40 {
            guest.show_token(now, endpoint, vec![7; 4_096]);
        }
        (0..64).for_each(|number| _ = guest.find(now, endpoint, number));
        guest.want_number(now, endpoint);
    });
    let ada = add(&mut world, net, "ada", 1, ada);
    run(&mut world, 60);
    let ada = script(&world, ada);
    assert_eq!((ada.numbers().len(), ada.failures()), (1, vec![Failure::NobodyThere; 64]));
}
