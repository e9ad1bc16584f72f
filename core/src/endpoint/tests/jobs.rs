//! Key agreements that are computed elsewhere.

use alloc::vec::Vec;
use core::net::{Ipv6Addr, SocketAddr};

use super::pair::{A, B, Kind, Pair, address};
use crate::endpoint::demux::startup_chunks;
use crate::endpoint::key_agreement::KeyAgreement;
use crate::event::{Event, OpenFailure};
use crate::wire::{Chunk, InitiatorHello, InitiatorKeying};
use crate::{CloseMode, EndpointConfig, FlowOptions, SessionState};

fn config(jobs: usize) -> EndpointConfig {
    EndpointConfig { max_waiting_key_agreements: jobs, ..EndpointConfig::default() }
}

/// All jobs that a node has.
fn jobs(pair: &mut Pair, node: usize) -> Vec<KeyAgreement> {
    core::iter::from_fn(|| pair.nodes[node].endpoint.poll_key_agreement()).collect()
}

/// Computes all jobs of a node.
fn compute(pair: &mut Pair, node: usize) -> usize {
    let jobs = jobs(pair, node);
    let count = jobs.len();
    for job in jobs {
        let now = pair.now;
        pair.nodes[node].endpoint.handle_key_agreement(now, job.run());
    }
    count
}

/// Each step waits for its job, and nothing else does.
#[test]
fn a_session_opens_with_jobs_at_both_ends() {
    let mut pair = Pair::with_config(1, config(4));
    let session = pair.open(A);
    pair.run_for_millis(60);
    assert_eq!(pair.sent_of(Kind::InitiatorKeying, None, None).len(), 0, "the RHello waits for its job");
    assert_eq!((compute(&mut pair, A), compute(&mut pair, A)), (1, 0));
    pair.run_for_millis(30);
    assert_eq!(pair.nodes[B].endpoint.sessions().count(), 0, "the IIKeying waits for its job");
    assert_eq!(compute(&mut pair, B), 1);
    pair.run_for_millis(30);
    assert_eq!(pair.nodes[A].endpoint.session(session).unwrap().state(), SessionState::KeyingSent);
    assert_eq!(compute(&mut pair, A), 1);
    pair.run_for_millis(60);
    assert!(pair.nodes[A].events.contains(&Event::SessionOpened { session }));
    assert!(matches!(pair.nodes[B].events[..], [Event::SessionOpened { .. }]));
}

/// The same keys, in effect: data crosses, under the Flash profile too.
#[test]
fn data_crosses_after_jobs() {
    let mut pair = Pair::flash_configured(2, &config(4), |_, builder| builder);
    let session = pair.open(A);
    let flow = pair.nodes[A].endpoint.session_mut(pair.now, session).unwrap().open_flow(FlowOptions::new("f")).unwrap();
    pair.nodes[A].endpoint.send_flow_mut(pair.now, flow).unwrap().write("hello").unwrap();
    for _ in 0..20 {
        pair.run_for_millis(25);
        compute(&mut pair, A);
        compute(&mut pair, B);
    }
    let readable = |event: &Event| if let Event::FlowReadable { flow } = event { Some(*flow) } else { None };
    let read = pair.nodes[B].events.iter().find_map(readable);
    let mut flow = pair.nodes[B].endpoint.recv_flow_mut(pair.now, read.unwrap()).unwrap();
    assert_eq!(flow.read().unwrap().data, "hello");
}

/// While its job waits, an IIKeying that comes again makes no second one; and when it is done, its answer is repeated.
#[test]
fn a_keying_that_is_repeated_costs_one_job() {
    let mut pair = Pair::named(3, &[("alice", config(0)), ("bob", config(4))]);
    let session = pair.open(A);
    pair.run_for_millis(6_000);
    let keyings = pair.sent_of(Kind::InitiatorKeying, None, None).len();
    assert!(keyings >= 3, "{keyings} IIKeyings");
    assert_eq!(compute(&mut pair, B), 1);
    pair.run_for_millis(200);
    assert!(pair.nodes[A].events.contains(&Event::SessionOpened { session }));
    assert_eq!(pair.nodes[B].endpoint.sessions().count(), 1);
}

/// Beyond the limit, IIKeyings are as if they had been lost, and sessions that are open do not notice.
#[test]
fn jobs_wait_in_limited_number() {
    let names = ["a", "b", "c", "d", "e"];
    let mut nodes: Vec<_> = names.iter().map(|name| (*name, config(0))).collect();
    nodes.push(("server", config(2)));
    let mut pair = Pair::named(4, &nodes);
    for node in 0..5 {
        pair.open_to(node, "server", &[5]);
    }
    pair.run_for_millis(500);
    assert_eq!(pair.nodes[5].endpoint.stats().over_limit, 3);
    assert_eq!(compute(&mut pair, 5), 2);
    assert_eq!(pair.nodes[5].endpoint.sessions().count(), 2);
    for _ in 0..10 {
        pair.run_for_millis(1_000);
        compute(&mut pair, 5);
    }
    assert_eq!(pair.nodes[5].endpoint.sessions().count(), 5, "the others at a later attempt");
}

/// As many addresses as there are send a keying each to an endpoint whose queue has `room`. It, and how many it refused.
fn fill_from(room: usize, addresses: impl Iterator<Item = SocketAddr>) -> (Pair, u64) {
    // So that all have their cookies at once.
    let server_config = EndpointConfig { max_hello_replies_per_source: 1_000, ..config(room) };
    let mut pair = Pair::named(11, &[("mallory", config(0)), ("alice", config(0)), ("server", server_config)]);
    pair.nodes[SERVER].endpoint.offload_key_agreements();
    for (session_id, from) in (1..).zip(addresses) {
        pair.inject(from, SERVER, 0, &InitiatorHello { discriminator: b"server", tag: b"the tag." });
        pair.run_for_millis(1);
        let (_, plain) = pair.log.last().unwrap().1.plain().unwrap();
        let Some(Ok(Chunk::ResponderHello(hello))) = startup_chunks(&plain).unwrap().next() else {
            panic!("no RHello")
        };
        let (cookie_echo, certificate, component) = (hello.cookie, b"mallory", b"garbage");
        let signed = InitiatorKeying::signed_parameters(session_id, cookie_echo, certificate, component);
        let keying =
            InitiatorKeying { session_id, cookie_echo, certificate, component, signature: b"X", signed: &signed };
        pair.inject(from, SERVER, 0, &keying);
    }
    let refused = pair.nodes[SERVER].endpoint.stats().over_limit;
    (pair, refused)
}

const SERVER: usize = 2;

fn leaves_jobs_to_others(addresses: impl Iterator<Item = SocketAddr>) {
    let (mut pair, refused) = fill_from(8, addresses);
    assert_eq!(refused, 96);
    pair.open_to(B, "server", &[SERVER]);
    pair.run_for_millis(100);
    assert_eq!(pair.nodes[SERVER].endpoint.stats().over_limit, 96, "there is room for another host");
    assert_eq!(jobs(&mut pair, SERVER).len(), 5);
}

/// Twenty clients in an office did not get in within 100 s.
#[test]
fn an_office_of_clients_at_one_address_is_served_at_once() {
    let office = (1..=90).map(|port| SocketAddr::new(address(A).ip(), port));
    let (mut pair, refused) = fill_from(EndpointConfig::default().max_waiting_key_agreements, office);
    assert_eq!((refused, jobs(&mut pair, SERVER).len()), (0, 90));
}

/// A host has one address for each port, and so could have as many jobs as there may be, for as long as it liked.
#[test]
fn a_host_with_many_ports_leaves_jobs_to_others() {
    leaves_jobs_to_others((1..=100).map(|port| SocketAddr::new(address(A).ip(), port)));
}

#[test]
fn a_site_with_many_networks_leaves_jobs_to_others() {
    leaves_jobs_to_others(
        (1..=100).map(|net| SocketAddr::new(Ipv6Addr::new(0x2001, 0xdb8, 0, net, 0, 0, 0, 1).into(), 1_935)),
    );
}

/// Results for what is over, and results of another endpoint, open nothing and are counted.
#[test]
fn late_and_foreign_results_do_nothing() {
    let mut pair = Pair::with_config(5, config(4));
    let session = pair.open(A);
    pair.run_for_millis(60);
    let hello = jobs(&mut pair, A);
    let now = pair.now;
    pair.nodes[A].endpoint.session_mut(now, session).unwrap().close(CloseMode::Abrupt);
    let before = pair.nodes[A].endpoint.stats().unexpected;
    for job in hello {
        pair.nodes[A].endpoint.handle_key_agreement(now, job.run());
    }
    assert_eq!(pair.nodes[A].endpoint.stats().unexpected, before + 1);
    pair.open(A);
    pair.run_for_millis(60);
    for job in jobs(&mut pair, A) {
        let unexpected = pair.nodes[B].endpoint.stats().unexpected;
        pair.nodes[B].endpoint.handle_key_agreement(pair.now, job.run());
        assert_eq!(pair.nodes[B].endpoint.stats().unexpected, unexpected + 1);
    }
    assert_eq!(pair.nodes[B].endpoint.sessions().count(), 0);
}

/// Whoever took jobs and died holds up nobody for ever.
#[test]
fn jobs_that_never_come_back_make_room_after_a_minute() {
    let mut pair = Pair::named(6, &[("alice", config(0)), ("bob", config(1))]);
    let first = pair.open(A);
    pair.run_for_millis(500);
    assert_eq!(jobs(&mut pair, B).len(), 1, "dropped");
    pair.run_for_millis(100_000);
    assert!(pair.nodes[A].events.iter().any(
        |event| matches!(event, Event::SessionFailed { session, reason: OpenFailure::TimedOut } if *session == first)
    ));
    let second = pair.open(A);
    for _ in 0..4 {
        pair.run_for_millis(500);
        compute(&mut pair, B);
    }
    assert!(pair.nodes[A].events.contains(&Event::SessionOpened { session: second }));
}

/// Those that are refused look for abandoned jobs.
#[test]
fn a_job_that_is_being_computed_keeps_its_place_however_many_are_refused() {
    let nodes = [("alice", config(0)), ("carol", config(0)), ("server", config(1))];
    let mut pair = Pair::named(20, &nodes);
    pair.open_to(A, "server", &[SERVER]);
    pair.run_for_millis(100);
    let slow = jobs(&mut pair, SERVER);
    pair.open_to(B, "server", &[SERVER]);
    pair.run_for_millis(5_000);
    assert_eq!(jobs(&mut pair, SERVER).len(), 0);
    assert!(pair.nodes[SERVER].endpoint.stats().over_limit > 2);
    for job in slow {
        let now = pair.now;
        pair.nodes[SERVER].endpoint.handle_key_agreement(now, job.run());
    }
    assert_eq!(pair.nodes[SERVER].endpoint.sessions().count(), 1);
}

#[test]
fn an_opening_has_one_job_however_many_answers_come() {
    let mut pair = Pair::named(21, &[("alice", config(4)), ("bob", config(0))]);
    pair.open(A);
    pair.run_for_millis(6_000);
    assert!(pair.sent_of(Kind::ResponderHello, Some(B), Some(A)).len() > 2);
    assert_eq!(jobs(&mut pair, A).len(), 1);
}

/// An initiator whose answer does not combine goes on waiting for a better one.
#[test]
fn an_answer_that_does_not_combine_in_a_job_is_survived() {
    let mut pair = Pair::with_config(7, config(4));
    let session = pair.open(A);
    pair.run_for_millis(60);
    compute(&mut pair, A);
    pair.lose(Kind::ResponderKeying);
    pair.run_for_millis(60);
    compute(&mut pair, B);
    pair.run_for_millis(60);
    let (_, keying) = pair.log.iter().rfind(|(_, sent)| sent.kind() == Kind::ResponderKeying).cloned().unwrap();
    let (id, _) = keying.plain().unwrap();
    let signed = crate::wire::ResponderKeying::signed_parameters(77, b"no salt");
    let forged =
        crate::wire::ResponderKeying { session_id: 77, component: b"no salt", signature: b"X", signed: &signed };
    pair.inject(address(B), A, id, &forged);
    pair.run_for_millis(30);
    assert_eq!(compute(&mut pair, A), 1);
    assert_eq!(pair.nodes[A].endpoint.session(session).unwrap().state(), SessionState::KeyingSent);
    pair.fate = alloc::boxed::Box::new(|_| alloc::vec![core::time::Duration::from_millis(25)]);
    for _ in 0..40 {
        pair.run_for_millis(50);
        compute(&mut pair, A);
        compute(&mut pair, B);
    }
    assert!(pair.nodes[A].events.contains(&Event::SessionOpened { session }));
}

/// What overtook the RIKeying was handled, but its acknowledgement was not scheduled until something else happened.
#[test]
fn packets_that_wait_for_a_job_are_acknowledged_when_it_is_done() {
    let mut pair = Pair::named(8, &[("alice", config(4)), ("bob", config(0))]);
    let session = pair.open(A);
    pair.run_for_millis(60);
    compute(&mut pair, A);
    pair.run_for_millis(30);
    let [Event::SessionOpened { session: far }] = pair.nodes[B].events[..] else { panic!("not open") };
    let now = pair.now;
    let flow = pair.nodes[B].endpoint.session_mut(now, far).unwrap().open_flow(FlowOptions::new("f")).unwrap();
    pair.nodes[B].endpoint.send_flow_mut(now, flow).unwrap().write("early").unwrap();
    pair.run_for_millis(60);
    assert_eq!(pair.nodes[A].endpoint.session(session).unwrap().state(), SessionState::KeyingSent);
    assert_eq!(compute(&mut pair, A), 1);
    assert!(pair.nodes[A].endpoint.timeout_reason().is_some());
    let sent = pair.sent;
    pair.run_for_millis(300);
    assert!(pair.nodes[A].events.iter().any(|event| matches!(event, Event::FlowReadable { .. })));
    let acknowledged = pair.log[sent as usize..].iter().any(|(_, datagram)| datagram.from == address(A));
    assert!(acknowledged, "with no other reason to send");
}

/// Jobs of openings that were given up waited in the queue, before those of others.
#[test]
fn an_opening_that_is_given_up_leaves_no_job() {
    let mut pair = Pair::with_config(9, config(4));
    let session = pair.open(A);
    pair.run_for_millis(60);
    let now = pair.now;
    pair.nodes[A].endpoint.session_mut(now, session).unwrap().close(CloseMode::Abrupt);
    assert_eq!(jobs(&mut pair, A).len(), 0);
    assert_eq!(pair.nodes[A].endpoint.stats().unexpected, 0);
}

/// The latest came first, so that under a load of openings the earliest timed out.
#[test]
fn own_jobs_go_in_their_order_and_before_those_of_peers() {
    let names = ["alice", "bob", "carol", "dave"];
    let mut pair = Pair::named(10, &names.map(|name| (name, config(if name == "alice" { 4 } else { 0 }))));
    pair.open_to(B, "alice", &[A]);
    pair.run_for_millis(80);
    let own = [2, 3].map(|node| {
        let session = pair.open_to(A, names[node], &[node]);
        pair.run_for_millis(60);
        session
    });
    for session in own {
        assert_eq!(pair.nodes[A].endpoint.session(session).unwrap().state(), SessionState::HelloSent);
        let job = pair.nodes[A].endpoint.poll_key_agreement().unwrap();
        let now = pair.now;
        pair.nodes[A].endpoint.handle_key_agreement(now, job.run());
        assert_eq!(pair.nodes[A].endpoint.session(session).unwrap().state(), SessionState::KeyingSent);
    }
    assert_eq!(compute(&mut pair, A), 1);
    assert_eq!(pair.nodes[A].endpoint.sessions().count(), 3);
}

/// An opening waited for its job until its time was over, 95 s; what a peer began was dropped and not counted.
#[test]
fn a_job_that_is_handed_back_as_abandoned_ends_what_waits_for_it() {
    let mut pair = Pair::with_config(19, config(4));
    let lose = |pair: &mut Pair, node: usize| {
        let abandoned: Vec<_> = jobs(pair, node).iter().map(KeyAgreement::abandoned).collect();
        let (now, count) = (pair.now, abandoned.len());
        abandoned.into_iter().for_each(|result| pair.nodes[node].endpoint.handle_key_agreement(now, result));
        count
    };
    let failed = |pair: &Pair, session| {
        let failed = Event::SessionFailed { session, reason: OpenFailure::KeyAgreement };
        pair.nodes[A].events.contains(&failed)
    };
    // The initiator's half.
    let session = pair.open(A);
    pair.run_for_millis(60);
    assert_eq!(lose(&mut pair, A), 1);
    pair.run_for_millis(3_100);
    assert!(failed(&pair, session));

    // The responder's, which the initiator asks for again; then the combination of both.
    let session = pair.open(A);
    pair.run_for_millis(60);
    compute(&mut pair, A);
    pair.run_for_millis(60);
    let dropped = pair.nodes[B].endpoint.stats().dropped_not_authentic;
    assert_eq!(lose(&mut pair, B), 1);
    assert_eq!(pair.nodes[B].endpoint.stats().dropped_not_authentic, dropped + 1);
    pair.run_for_millis(3_000);
    assert_eq!(compute(&mut pair, B), 1);
    pair.run_for_millis(60);
    assert_eq!(lose(&mut pair, A), 1);
    pair.run_for_millis(3_100);
    assert!(failed(&pair, session));
}

/// Nobody read the list, and it grew with each opening.
#[test]
fn an_endpoint_that_offloads_nothing_keeps_no_list_of_openings_that_ended() {
    let mut pair = Pair::new(1);
    pair.open(A);
    pair.run_for_millis(500);
    assert!(pair.nodes[A].endpoint.table.take_ended().is_empty());
}
