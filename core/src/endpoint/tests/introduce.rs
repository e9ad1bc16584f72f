//! RFC 7016 §3.5.1.4 to §3.5.1.6: redirector, forwarder, and both.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::pair::{A, B, Kind, Pair, address};
use crate::endpoint::demux::startup_chunks;
use crate::event::{Event, UnmatchedHello};
use crate::wire::{Address, AddressOrigin, Chunk, ForwardedHello, InitiatorHello};
use crate::{EndpointConfig, ForwardedHelloPolicy};

const INTRO: usize = 2;

/// A and B behind NATs that let in only what comes from where something was sent to before; B has a session with
/// the introducer.
fn introduced(seed: u8, policy: ForwardedHelloPolicy, introducer: EndpointConfig) -> Pair {
    introduced_to(seed, EndpointConfig { forwarded_hello: policy, ..EndpointConfig::default() }, introducer)
}

fn introduced_to(seed: u8, bob: EndpointConfig, introducer: EndpointConfig) -> Pair {
    let mut pair = Pair::named(seed, &[("alice", EndpointConfig::default()), ("bob", bob), ("intro", introducer)]);
    let mut opened: BTreeSet<(SocketAddr, SocketAddr)> = BTreeSet::new();
    pair.fate = Box::new(move |datagram| {
        opened.insert((datagram.from, datagram.to));
        let lets_in = datagram.to == address(INTRO) || opened.contains(&(datagram.to, datagram.from));
        if lets_in { vec![Duration::from_millis(25)] } else { vec![] }
    });
    pair.open_to(B, "intro", &[INTRO]);
    pair.run_for_millis(500);
    pair.nodes.iter_mut().for_each(|node| node.events.clear());
    pair.log.clear();
    pair
}

fn introducer() -> EndpointConfig {
    EndpointConfig { introduce: true, ..EndpointConfig::default() }
}

/// Figure 17.
#[test]
fn two_ends_behind_nats_are_introduced() {
    let mut pair = introduced(1, ForwardedHelloPolicy::Answer, introducer());
    let start = pair.now;
    let session = pair.open_to(A, "bob", &[INTRO]);
    pair.run_for_millis(900);
    assert_eq!(pair.nodes[A].events, [Event::SessionOpened { session }], "at the first attempt");
    assert_eq!(pair.nodes[A].endpoint.session(session).unwrap().path().unwrap().remote, address(B));
    let opened_after = |kind, from, to| {
        let index = pair.sent_of(kind, Some(from), Some(to))[0];
        pair.log[index].0.saturating_duration_since(start).as_millis()
    };
    assert_eq!(opened_after(Kind::Hello, A, INTRO), 0);
    assert_eq!(opened_after(Kind::Redirect, INTRO, A), 25);
    assert_eq!(opened_after(Kind::ResponderHello, B, A), 50, "for the forwarded hello");
    assert_eq!(opened_after(Kind::Hello, A, B), 50, "for the redirect");
    assert_eq!(opened_after(Kind::InitiatorKeying, A, B), 75);
}

/// An answer with a certificate of static keys is longer than a forwarded hello pays for. Of many ends that were introduced
/// in one second, all but eight had none, and the NAT stayed shut.
#[test]
fn an_end_that_may_give_no_more_long_answers_opens_its_nat_with_a_short_one() {
    let bob = EndpointConfig { max_excess_reply_bytes: 0, ..EndpointConfig::default() };
    let mut pair = introduced_to(7, bob, introducer());
    let session = pair.open_to(A, "bob", &[INTRO]);
    pair.run_for_millis(2_000);
    assert_eq!(pair.nodes[A].events, [Event::SessionOpened { session }]);
    assert!(!pair.sent_of(Kind::Redirect, Some(B), Some(A)).is_empty());
}

#[test]
fn each_policy_for_forwarded_hellos_does_as_it_says() {
    use ForwardedHelloPolicy::{Answer, Ignore, ImpliedRedirect};
    for (policy, hellos, redirects) in [(Answer, 1, 0), (ImpliedRedirect, 0, 1), (Ignore, 0, 0)] {
        // Only forwarded, by the application: A has no candidate but the introducer.
        let config = EndpointConfig { max_unmatched_hellos: 8, ..EndpointConfig::default() };
        let mut pair = introduced(2, policy, config);
        pair.fate = Box::new(|_| vec![Duration::from_millis(25)]);
        let session = pair.open_to(A, "bob", &[INTRO]);
        pair.run_for_millis(26);
        let [Event::UnmatchedHello { hello }] = &pair.nodes[INTRO].events[..] else { panic!("no event") };
        let hello = hello.clone();
        assert_eq!((&hello.discriminator[..], hello.path.remote), (&b"bob"[..], address(A)));
        let intro = &mut pair.nodes[INTRO].endpoint;
        let to_bob = intro.session_named(b"bob").unwrap();
        assert!(intro.session_named(b"alice").is_none());
        assert!(intro.forward(pair.now, &hello, to_bob));
        pair.run_for_millis(30);
        let sent = [Kind::ResponderHello, Kind::Redirect].map(|kind| pair.sent_of(kind, Some(B), Some(A)).len());
        assert_eq!(sent, [hellos, redirects], "{policy:?}");
        pair.run_for_millis(500);
        let opened = pair.nodes[A].events.contains(&Event::SessionOpened { session });
        assert_eq!(opened, policy != Ignore, "{policy:?}");
    }
}

#[test]
fn the_application_can_redirect() {
    let config = EndpointConfig { max_unmatched_hellos: 8, ..EndpointConfig::default() };
    let mut pair =
        Pair::named(3, &[("alice", EndpointConfig::default()), ("bob", EndpointConfig::default()), ("r", config)]);
    let session = pair.open_to(A, "bob", &[INTRO]);
    pair.run_for_millis(26);
    let Some(Event::UnmatchedHello { hello }) = pair.nodes[INTRO].events.pop() else { panic!("no event") };
    let bob = Address { origin: AddressOrigin::Observed, socket: address(B) };
    assert!(pair.nodes[INTRO].endpoint.redirect(pair.now, &hello, &[bob; 40]));
    pair.run_for_millis(500);
    assert_eq!(pair.nodes[A].events, [Event::SessionOpened { session }]);
    // 24 addresses at most, of seven bytes each with its flags.
    let redirect = pair.sent_of(Kind::Redirect, None, None)[0];
    assert!(pair.log[redirect].1.bytes.len() < 24 * 7 + 60);
}

#[test]
fn hellos_for_others_wait_in_limited_number_and_size_and_are_untold_unless_wanted() {
    for (wanted, told) in [(0, 0), (2, 2)] {
        let config = EndpointConfig { max_unmatched_hellos: wanted, ..EndpointConfig::default() };
        let mut pair = Pair::with_config(4, config);
        pair.inject(address(A), B, 0, &InitiatorHello { discriminator: &[b'x'; 3_000], tag: b"the huge" });
        for _ in 0..10 {
            pair.inject(address(A), B, 0, &InitiatorHello { discriminator: b"carol", tag: b"12345678" });
        }
        pair.flush();
        let hello = |event: &Event| matches!(event, Event::UnmatchedHello { hello: UnmatchedHello { tag, .. } } if &tag[..] == b"12345678");
        assert_eq!(pair.nodes[B].events.len(), told);
        assert!(pair.nodes[B].events.iter().all(hello));
        assert_eq!(pair.sent, 0);
        // The user has taken them: there is room again.
        pair.inject(address(A), B, 0, &InitiatorHello { discriminator: b"carol", tag: b"12345678" });
        pair.flush();
        assert_eq!(pair.nodes[B].events.len(), if told == 0 { 0 } else { told + 1 });
    }
}

#[test]
fn a_hello_for_another_is_told_of_up_to_2048_bytes_of_name_and_tag() {
    for (len, told) in [(2_040, 1), (2_041, 0)] {
        let config = EndpointConfig { max_unmatched_hellos: 8, ..EndpointConfig::default() };
        let mut pair = Pair::with_config(10, config);
        pair.inject(address(A), B, 0, &InitiatorHello { discriminator: &vec![b'x'; len], tag: b"12345678" });
        pair.flush();
        assert_eq!(pair.nodes[B].events.len(), told, "{len}");
    }
}

#[test]
fn a_session_has_the_name_of_its_far_end_once_it_is_open() {
    let mut pair = Pair::new(11);
    let session = pair.open(A);
    // The keying is on its way: who is called is known.
    pair.run_for_millis(60);
    assert_eq!(pair.nodes[A].endpoint.session_named(b"bob"), None);
    pair.run_for_millis(500);
    assert_eq!(pair.nodes[A].endpoint.session_named(b"bob"), Some(session));
}

/// A far end that comes back from elsewhere was introduced at its old address, for as long as its old session lived.
#[test]
fn of_several_sessions_of_a_proved_far_end_its_latest_has_its_name() {
    for (authentic, latest) in [(true, true), (false, false)] {
        let configs = [("alice", EndpointConfig::default()), ("bob", EndpointConfig::default())];
        let mut pair = if authentic { Pair::named(13, &configs) } else { Pair::not_authentic(13, &configs) };
        let mut opened = Vec::new();
        for (port, seed) in [(1_935, 90), (1, 91), (2, 92)] {
            let elsewhere = SocketAddr::from(([192, 0, 2, 1], port));
            pair.restart(A, seed);
            pair.nodes[A].aliases.push(elsewhere);
            pair.fate = Box::new(move |datagram| {
                if datagram.from == address(A) {
                    datagram.from = elsewhere;
                }
                vec![Duration::from_millis(25)]
            });
            let session = pair.open(A);
            pair.run_for_millis(200);
            pair.nodes[A].endpoint.session_mut(pair.now, session).unwrap().ping();
            pair.run_for_millis(200);
            opened.extend(
                pair.nodes[B].events.drain(..).filter_map(|event| {
                    if let Event::SessionOpened { session } = event { Some(session) } else { None }
                }),
            );
        }
        let [first, _, last] = opened[..] else { panic!("{opened:?}") };
        let wanted = if latest { last } else { first };
        assert_eq!(pair.nodes[B].endpoint.session_named(b"alice"), Some(wanted), "{authentic}");
    }
}

#[test]
fn a_far_end_is_introduced_at_23_further_addresses_at_most() {
    let mut pair = introduced(12, ForwardedHelloPolicy::Answer, introducer());
    let to_bob = pair.nodes[INTRO].endpoint.session_named(b"bob").unwrap();
    let further = |port| Address { origin: AddressOrigin::Local, socket: SocketAddr::from(([10, 0, 0, 9], port)) };
    let told: Vec<_> = (1..=40).map(further).collect();
    pair.nodes[INTRO].endpoint.session_mut(pair.now, to_bob).unwrap().introduce_at(&told);
    let table = &pair.nodes[INTRO].endpoint.table;
    assert_eq!(table.get(table.resolve(to_bob).unwrap()).unwrap().introduce_at, told[..23]);
    pair.open_to(A, "bob", &[INTRO]);
    pair.run_for_millis(60);
    let redirect = pair.sent_of(Kind::Redirect, Some(INTRO), Some(A))[0];
    let (_, plain) = pair.log[redirect].1.plain().unwrap();
    let Some(Ok(Chunk::Redirect(redirect))) = startup_chunks(&plain).unwrap().next() else { panic!("no redirect") };
    let observed = Address { origin: AddressOrigin::Observed, socket: address(B) };
    let sent: Vec<_> = redirect.destinations.iter().collect();
    assert_eq!((sent[0], &sent[1..]), (observed, &told[..23]));
}

#[test]
fn an_introducer_does_not_introduce_whom_it_does_not_know_or_no_longer_knows() {
    let mut pair = introduced(5, ForwardedHelloPolicy::Answer, introducer());
    pair.open_to(A, "carol", &[INTRO]);
    pair.run_for_millis(100);
    assert_eq!(pair.sent_of(Kind::Redirect, Some(INTRO), None).len(), 0);
    let to_bob = pair.nodes[INTRO].endpoint.session_named(b"bob").unwrap();
    pair.nodes[INTRO].endpoint.session_mut(pair.now, to_bob).unwrap().close(crate::CloseMode::Orderly);
    pair.run_for_millis(100);
    pair.open_to(A, "bob", &[INTRO]);
    pair.run_for_millis(100);
    assert_eq!(pair.sent_of(Kind::Redirect, Some(INTRO), None).len(), 0);
    let hello = UnmatchedHello {
        path: super::pair::path_to(A),
        discriminator: (&b"bob"[..]).into(),
        tag: (&b"t"[..]).into(),
        datagram_len: 100,
    };
    assert!(!pair.nodes[INTRO].endpoint.forward(pair.now, &hello, to_bob));
    assert_eq!(Vec::from_iter(pair.nodes[INTRO].endpoint.session_named(b"bob")), []);
}

/// §2.3.3: a forwarded hello is for sessions, where it has come from somebody who is known.
#[test]
fn a_forwarded_hello_outside_a_session_is_refused() {
    let mut pair = Pair::new(6);
    let reply_address = Address { origin: AddressOrigin::Observed, socket: "203.0.113.1:1935".parse().unwrap() };
    pair.inject(address(A), B, 0, &ForwardedHello { discriminator: b"bob", reply_address, tag: b"12345678" });
    pair.flush();
    assert_eq!(pair.sent, 0);
    assert_eq!(pair.nodes[B].endpoint.stats().dropped_wrong_mode, 1);
}

#[test]
fn the_application_can_introduce_those_that_it_knows() {
    let config = EndpointConfig { max_unmatched_hellos: 8, ..EndpointConfig::default() };
    let mut pair = introduced(9, ForwardedHelloPolicy::Answer, config);
    let session = pair.open_to(A, "bob", &[INTRO]);
    pair.open_to(A, "nobody", &[INTRO]);
    pair.run_for_millis(100);
    let now = pair.now;
    let intro = &mut pair.nodes[INTRO];
    let introduced = intro.events.drain(..).filter_map(|event| {
        let Event::UnmatchedHello { hello } = event else { return None };
        Some((hello.discriminator.to_vec(), intro.endpoint.introduce(now, &hello)))
    });
    let introduced: Vec<_> = introduced.collect();
    assert_eq!(introduced, [(b"bob".to_vec(), true), (b"nobody".to_vec(), false)]);
    pair.run_for_millis(900);
    assert_eq!(pair.nodes[A].events, [Event::SessionOpened { session }]);
    assert!(!pair.sent_of(Kind::Redirect, Some(INTRO), Some(A)).is_empty());
}
