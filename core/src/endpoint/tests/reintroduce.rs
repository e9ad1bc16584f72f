//! Peers behind NATs that lose sight of each other, and are introduced again without losing their session.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::pair::{A, B, Kind, Pair, address, path_to};
use crate::event::Event;
use crate::wire::{Address, AddressOrigin, Redirect};
use crate::{EndpointConfig, FlowOptions, InterfaceId, SendFlowHandle, SessionHandle};

const INTRO: usize = 2;

/// Two peers behind NATs that let in only what comes from where something was sent to before, introduced by a third;
/// both have a session with it. Also the session between the two, as A knows it, and a flow in it.
fn talking(seed: u8) -> (Pair, SessionHandle, SendFlowHandle) {
    let plain = EndpointConfig::default;
    let intro = EndpointConfig { introduce: true, ..plain() };
    let mut pair = Pair::named(seed, &[("alice", plain()), ("bob", plain()), ("intro", intro)]);
    let mut opened: BTreeSet<(SocketAddr, SocketAddr)> = BTreeSet::new();
    pair.fate = Box::new(move |datagram| {
        opened.insert((datagram.from, datagram.to));
        let lets_in = datagram.to == address(INTRO) || opened.contains(&(datagram.to, datagram.from));
        if lets_in { vec![Duration::from_millis(25)] } else { vec![] }
    });
    pair.open_to(A, "intro", &[INTRO]);
    pair.open_to(B, "intro", &[INTRO]);
    pair.run_for_millis(500);
    let session = pair.open_to(A, "bob", &[INTRO]);
    pair.run_for_millis(2_000);
    assert!(pair.nodes[A].events.contains(&Event::SessionOpened { session }));
    let flow = pair.nodes[A].endpoint.session_mut(pair.now, session).unwrap().open_flow(FlowOptions::new("talk"));
    let flow = flow.unwrap();
    say(&mut pair, flow);
    pair.run_for_millis(1_000);
    assert_eq!(heard(&mut pair), 1);
    (pair, session, flow)
}

fn say(pair: &mut Pair, flow: SendFlowHandle) {
    pair.nodes[A].endpoint.send_flow_mut(pair.now, flow).unwrap().write("hello").unwrap();
}

/// Messages that B can read.
fn heard(pair: &mut Pair) -> usize {
    let flow = pair.nodes[B]
        .events
        .iter()
        .find_map(|event| if let Event::FlowOpened { flow } = *event { Some(flow) } else { None });
    let mut flow = pair.nodes[B].endpoint.recv_flow_mut(pair.now, flow.unwrap()).unwrap();
    core::iter::from_fn(|| flow.read()).count()
}

/// A node gets another address, and is told so.
fn moves(pair: &mut Pair, node: usize) {
    pair.nodes[node].address = SocketAddr::from(([198, 51, 100, node as u8 + 1], 4_000));
    let now = pair.now;
    pair.nodes[node].endpoint.interface_changed(now, InterfaceId(0));
}

fn no_session_ended(pair: &Pair) {
    for node in &pair.nodes {
        let over = |event: &Event| matches!(event, Event::SessionClosed { .. } | Event::SessionFailed { .. });
        assert!(!node.events.iter().any(over), "{:?}", node.events);
    }
}

#[test]
fn whoever_moves_and_even_if_both_do_they_meet_again_through_their_introducer() {
    for (seed, movers) in [(1, &[A][..]), (2, &[B]), (3, &[A, B])] {
        let (mut pair, session, flow) = talking(seed);
        movers.iter().for_each(|node| moves(&mut pair, *node));
        say(&mut pair, flow);
        pair.run_for_millis(8_000);
        assert_eq!(heard(&mut pair), 1, "{movers:?} moved");
        let at = pair.nodes[A].endpoint.session(session).unwrap().path().unwrap().remote;
        assert_eq!(at, pair.nodes[B].address, "{movers:?} moved");
        no_session_ended(&pair);
        // It is over, and nobody asks any more.
        pair.log.clear();
        pair.run_for_millis(30_000);
        assert!(pair.sent_of(Kind::Hello, None, None).is_empty());
    }
}

#[test]
fn a_passing_outage_that_ends_by_itself_asks_nobody() {
    let (mut pair, _, flow) = talking(4);
    let usual = core::mem::replace(&mut pair.fate, Box::new(|_| vec![]));
    say(&mut pair, flow);
    pair.run_for_millis(300);
    pair.fate = usual;
    pair.log.clear();
    pair.run_for_millis(5_000);
    assert_eq!(heard(&mut pair), 1);
    assert!(pair.sent_of(Kind::Hello, None, None).is_empty());
}

#[test]
fn hellos_to_introducers_are_repeated_on_the_schedule_of_hellos_only() {
    let (mut pair, _, flow) = talking(5);
    pair.fate = Box::new(|_| vec![]);
    pair.log.clear();
    say(&mut pair, flow);
    pair.run_for_millis(20_000);
    let asked = pair.sent_of(Kind::Hello, Some(A), Some(INTRO)).len();
    assert!((4..=6).contains(&asked), "{asked} hellos in 20 s");
}

/// An introducer that many peers ask for each other could have them all ping one address.
#[test]
fn a_session_that_is_looked_for_pings_few_addresses_a_second_whatever_introducers_say() {
    let (mut pair, _, flow) = talking(6);
    pair.fate = Box::new(|_| vec![]);
    pair.log.clear();
    say(&mut pair, flow);
    pair.run_for_millis(6_000);
    let asked = pair.sent_of(Kind::Hello, Some(A), Some(INTRO))[0];
    let tag = super::redirect::tag(&pair, asked);
    let victim = |port| SocketAddr::from(([203, 0, 113, 5], port));
    let pings = |pair: &Pair| pair.log.iter().filter(|(_, sent)| sent.to.ip() == victim(1).ip()).count();
    for second in 1..=5 {
        for redirect in 0..10_000 {
            let addresses = [0, 1, 2, 3].map(|port| {
                let socket = victim(1 + redirect % 1_000 * 4 + port);
                Address { origin: AddressOrigin::Observed, socket }
            });
            pair.inject(address(INTRO), A, 0, &Redirect::new(&tag, &addresses));
            // What waits to be sent does not bound it.
            pair.flush();
        }
        assert!(pings(&pair) <= 6 * second, "{} pings in second {second}", pings(&pair));
        pair.run_for_millis(1_000);
    }
    assert!(pings(&pair) >= 6);
}

#[test]
fn whoever_hands_a_hello_on_is_an_introducer_and_whoever_answers_it_is_none() {
    let introducers = |pair: &Pair, session| {
        let table = &pair.nodes[A].endpoint.table;
        table.get(table.resolve(session).unwrap()).unwrap().introducers.clone()
    };
    let mut pair = Pair::new(20);
    let direct = pair.open(A);
    pair.run_for_millis(500);
    assert_eq!(introducers(&pair, direct), []);

    // Figure 14: the hello is forwarded only, and bob answers from an address that alice has not heard of.
    let config = EndpointConfig { max_unmatched_hellos: 8, ..EndpointConfig::default() };
    let named = |name| (name, EndpointConfig::default());
    let mut pair = Pair::named(21, &[named("alice"), named("bob"), ("intro", config)]);
    pair.open_to(B, "intro", &[INTRO]);
    pair.run_for_millis(500);
    let forwarded = pair.open_to(A, "bob", &[INTRO]);
    pair.run_for_millis(26);
    let Some(Event::UnmatchedHello { hello }) = pair.nodes[INTRO].events.pop() else { panic!("no event") };
    let intro = &mut pair.nodes[INTRO].endpoint;
    let to_bob = intro.session_named(b"bob").unwrap();
    assert!(intro.forward(pair.now, &hello, to_bob));
    pair.run_for_millis(500);
    assert!(pair.nodes[A].events.contains(&Event::SessionOpened { session: forwarded }));
    assert_eq!(introducers(&pair, forwarded), [path_to(INTRO)]);
}
