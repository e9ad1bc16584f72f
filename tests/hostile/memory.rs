//! The memory that all sessions share: strangers fill what they can of it, and a friend gets through all the same.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::wire::{AckRanges, Chunk, FragmentControl, PacketHeader, Ping};
use rtmfp_core::{
    CloseMode, CloseReason, Endpoint, EndpointConfig, Event, FlowOptions, Instant, SendFlowHandle, SessionHandle,
    SessionState,
};
use rtmfp_tests::counting::held;
use rtmfp_tests::raw_peer::RawPeer;

use super::strangers::{START, data, endpoint, named};

pub(crate) const MIB: usize = 1 << 20;

pub(crate) fn config() -> EndpointConfig {
    let mut config = EndpointConfig::default();
    config.max_keying_units_per_second = u32::MAX;
    config.max_keying_units_per_source = u32::MAX;
    // A guaranteed share is 16 KiB.
    config.max_sessions = 128;
    config.max_recv_memory = 8 * MIB;
    config.max_send_memory = 8 * MIB;
    config.session.max_recv_bytes = 16 * MIB;
    config.session.idle_limit = Duration::from_secs(1_000_000);
    config.session.retransmit_limit = Duration::from_secs(1_000_000);
    config
}

/// A peer with a session; one that has not proved to have its keys, unless `proved`.
pub(crate) fn peer(victim: &mut Endpoint, now: Instant, number: u16, proved: bool) -> RawPeer {
    let [high, low] = number.to_be_bytes();
    let profile = Arc::new(PlainProfile::new(&[high, low]).pretend_authentic(proved));
    let mut peer = RawPeer::new(profile, SocketAddr::from(([10, 0, high, low], 1_935)), number.into());
    peer.connect(victim, now, b"victim");
    if proved {
        peer.send(victim, now, &[Chunk::Ping(Ping { message: b"" })]);
        peer.talk(victim, now);
    }
    peer
}

/// An endpoint whose sessions authenticate what comes.
pub(crate) fn victim(config: &EndpointConfig) -> Endpoint {
    let profile = Arc::new(PlainProfile::new(b"victim").pretend_authentic(true));
    endpoint(config, &(profile, b"victim".to_vec()))
}

fn opened(victim: &mut Endpoint) -> SessionHandle {
    let events = std::iter::from_fn(|| victim.poll_event());
    let opened =
        events.filter_map(|event| if let Event::SessionOpened { session } = event { Some(session) } else { None });
    opened.last().expect("a session")
}

/// Sends messages of 1,000 bytes on flows of 256 KiB until nothing more is taken: whole ones that nobody reads, or such
/// that lack their first fragment. How many bytes were acknowledged.
fn fill(victim: &mut Endpoint, peer: &mut RawPeer, whole: bool) -> usize {
    let (options, mut taken) = (named(), 0);
    for number in 0..16_000_u64 {
        let mut chunk = data(number / 250, number % 250 + 2, Some(&options), &[7; 1_000]);
        chunk.fsn_offset = chunk.sequence_number - u64::from(whole);
        chunk.control = if whole { FragmentControl::Whole } else { FragmentControl::Middle };
        let before = victim.stats().over_limit;
        peer.send(victim, START, &[Chunk::UserData(chunk)]);
        if number % 16 == 0 {
            peer.talk(victim, START);
        }
        if victim.stats().over_limit > before {
            break;
        }
        taken += 1_000;
    }
    peer.talk(victim, START);
    while victim.poll_event().is_some() {}
    taken
}

/// A friend comes, sends so many messages of 1,000 bytes and has them read. The smallest window that it is told of.
fn befriend(victim: &mut Endpoint, now: Instant, number: u16, messages: u64) -> u64 {
    let mut friend = peer(victim, now, number, true);
    let options = named();
    let mut window = u64::MAX;
    let mut read = 0;
    for number in 1..=messages {
        friend.send(victim, now, &[Chunk::UserData(data(1, number, Some(&options), &[1; 1_000]))]);
        while let Some(event) = victim.poll_event() {
            if let Event::FlowReadable { flow } = event {
                let mut flow = victim.recv_flow_mut(now, flow).unwrap();
                read += std::iter::from_fn(|| flow.read()).count() as u64;
            }
        }
        for plain in friend.talk(victim, now) {
            for chunk in PacketHeader::parse(&plain).unwrap().1.flatten() {
                if let Chunk::AckRanges(ack) = chunk {
                    window = window.min(ack.blocks_available);
                }
            }
        }
    }
    assert_eq!(read, messages);
    window
}

#[test]
fn a_hundred_sessions_share_what_is_received_and_a_friend_gets_through() {
    for whole in [true, false] {
        let mut victim = victim(&config());
        let before = held();
        let mut peers: Vec<RawPeer> = (0..100).map(|number| peer(&mut victim, START, number, true)).collect();
        while victim.poll_event().is_some() {}
        for _ in 0..3 {
            for peer in &mut peers {
                fill(&mut victim, peer, whole);
            }
            assert!(held() - before < 9 * MIB as isize, "{} bytes are held, whole: {whole}", held() - before);
        }
        assert!(held() - before > 5 * MIB as isize, "the limit was not reached: {}", held() - before);
        let window = befriend(&mut victim, START, 1_000, 200);
        assert!((8..32).contains(&window), "the window is what there is room for: {window} blocks");
        // Those that do not go on with what they have begun are closed; those that wait for a reader are not.
        keep_alive(&mut victim, &mut peers, START + Duration::from_secs(5));
        let later = START + Duration::from_secs(11);
        victim.handle_timeout(later);
        let closed = std::iter::from_fn(|| victim.poll_event())
            .filter(|event| matches!(event, Event::SessionClosed { reason: CloseReason::Stalled, .. }))
            .count();
        assert_eq!(closed > 0, !whole, "{closed} sessions were closed");
        assert!(closed < 50, "no more than needed: {closed}");
        let window = befriend(&mut victim, later, 2_000, 200);
        assert_eq!(window > 200, !whole, "{window} blocks");
    }
}

#[test]
fn unproved_sessions_together_have_a_small_part_of_the_memory() {
    let mut victim = victim(&config());
    let profile = Arc::new(PlainProfile::new(b"victim"));
    let mut unproved = endpoint(&config(), &(profile, b"victim".to_vec()));
    let before = held();
    for number in 0..100 {
        let mut peer = peer(&mut unproved, START, number, false);
        fill(&mut unproved, &mut peer, true);
    }
    assert!(held() - before < 2 * MIB as isize, "{} bytes are held", held() - before);
    // One that has proved its keys has half of the common part.
    let mut peer = peer(&mut victim, START, 1, true);
    assert!(fill(&mut victim, &mut peer, true) > 2 * MIB);
}

/// Opens flows to a peer and writes to them until every one refuses.
fn overfill(victim: &mut Endpoint, now: Instant, session: SessionHandle, len: usize) -> Vec<SendFlowHandle> {
    let flows: Vec<SendFlowHandle> = (0..64)
        .map(|_| victim.session_mut(now, session).unwrap().open_flow(FlowOptions::new("echo")).unwrap())
        .collect();
    for &flow in &flows {
        while victim.send_flow_mut(now, flow).unwrap().write(vec![1; len]).is_ok() {}
    }
    flows
}

/// Lets the endpoint send, and answers its pings: the peer is alive. Nothing is acknowledged.
fn keep_alive(victim: &mut Endpoint, peers: &mut [RawPeer], now: Instant) {
    for peer in peers {
        peer.send(victim, now, &[Chunk::Ping(Ping { message: b"alive" })]);
    }
    let mut buf = rtmfp_core::TransmitBuf::new(1);
    while victim.poll_transmit(now, &mut buf).is_some() {}
}

/// Of those that take nothing, the one that holds most for longest is closed, as soon as that is 10 seconds; the others
/// stay, and a friend gets what is written to it.
#[test]
fn when_memory_is_short_who_holds_most_for_longest_without_progress_is_closed_first() {
    let mut victim = victim(&config());
    let before = held();
    let mut peers = Vec::new();
    let mut sessions = Vec::new();
    for number in 0..8 {
        peers.push(peer(&mut victim, START, number, true));
        sessions.push(opened(&mut victim));
        overfill(&mut victim, START, sessions[usize::from(number)], 10_000);
    }
    assert!(held() - before < 9 * MIB as isize, "{} bytes are held", held() - before);
    let mut closed = Vec::new();
    for second in 1..=60 {
        let now = START + Duration::from_secs(second);
        victim.handle_timeout(now);
        keep_alive(&mut victim, &mut peers, now);
        while let Some(event) = victim.poll_event() {
            if let Event::SessionClosed { session, reason } = event {
                assert_eq!(reason, CloseReason::Stalled);
                closed.push((second, session));
            }
        }
    }
    // The first to come took most, and enough.
    assert_eq!(closed, [(10, sessions[0])]);
    assert_eq!(victim.session(sessions[7]).unwrap().state(), SessionState::Open);
}

/// Closing it would free nothing for the others.
#[test]
fn when_memory_is_short_a_session_within_its_guaranteed_share_stays_however_long_it_waits() {
    let mut victim = victim(&config());
    let mut peers = vec![peer(&mut victim, START, 0, true)];
    let friend = opened(&mut victim);
    let flow = victim.session_mut(START, friend).unwrap().open_flow(FlowOptions::new("chat")).unwrap();
    victim.send_flow_mut(START, flow).unwrap().write(vec![1; 1_000]).unwrap();
    let mut greedy = Vec::new();
    let mut closed = Vec::new();
    for second in 0..=60 {
        let now = START + Duration::from_secs(second);
        if second == 5 {
            for number in 1..8 {
                peers.push(peer(&mut victim, now, number, true));
                greedy.push(opened(&mut victim));
                overfill(&mut victim, now, greedy[usize::from(number) - 1], 10_000);
            }
        }
        victim.handle_timeout(now);
        keep_alive(&mut victim, &mut peers, now);
        let events = std::iter::from_fn(|| victim.poll_event());
        closed.extend(events.filter_map(|event| {
            if let Event::SessionClosed { session, .. } = event { Some((second, session)) } else { None }
        }));
    }
    assert_eq!(closed, [(15, greedy[0])]);
    assert_eq!(victim.session(friend).unwrap().state(), SessionState::Open);
}

/// RFC 7016 §3.6.3.5: a receiver may be suspended for hours, as long as nobody needs what it makes others hold.
#[test]
fn without_need_of_memory_nobody_is_closed_for_a_closed_window() {
    let mut victim = victim(&config());
    let mut peers = [peer(&mut victim, START, 1, true)];
    let session = opened(&mut victim);
    overfill(&mut victim, START, session, 10_000);
    for minute in 1..=600 {
        let now = START + Duration::from_secs(minute * 60);
        victim.handle_timeout(now);
        keep_alive(&mut victim, &mut peers, now);
    }
    assert_eq!(victim.session(session).unwrap().state(), SessionState::Open);
    assert!(std::iter::from_fn(|| victim.poll_event()).all(|event| !matches!(event, Event::SessionClosed { .. })));
}

/// One session with many flows makes an echo hold no more than the session may.
#[test]
fn what_one_session_makes_an_endpoint_hold_is_limited_however_many_flows_it_has() {
    let mut config = config();
    config.max_send_memory = 512 * MIB;
    config.session.max_send_bytes = 4 * MIB;
    let mut victim = victim(&config);
    let mut peer = peer(&mut victim, START, 1, true);
    let session = opened(&mut victim);
    let before = held();
    let flows = overfill(&mut victim, START, session, 10_000);
    assert!(held() - before < 5 * MIB as isize, "{} bytes are held", held() - before);
    // Acknowledged, it makes room, and the writers that were refused are told.
    let told = take_all(&mut victim, &mut peer, &flows);
    assert!(told > 0);
}

/// Acknowledges all that the endpoint sends until it has nothing more; how many flows were told of room.
#[expect(clippy::wildcard_enum_match_arm, reason = "only data is acknowledged")]
fn take_all(victim: &mut Endpoint, peer: &mut RawPeer, flows: &[SendFlowHandle]) -> usize {
    let mut told = 0;
    let mut now = START;
    for _ in 0..20_000 {
        let mut highest = std::collections::BTreeMap::new();
        for plain in peer.talk(victim, now) {
            let mut last = None;
            for chunk in PacketHeader::parse(&plain).unwrap().1.flatten() {
                match chunk {
                    Chunk::UserData(data) => last = Some((data.flow_id, data.sequence_number)),
                    Chunk::NextUserData(_) => last = last.map(|(flow, sequence)| (flow, sequence + 1)),
                    _ => {}
                }
                highest.extend(last);
            }
        }
        now += Duration::from_millis(20);
        let acks: Vec<AckRanges<'_>> = highest
            .into_iter()
            .map(|(flow_id, cumulative_ack)| AckRanges {
                flow_id,
                blocks_available: 1_000,
                cumulative_ack,
                encoded: &[],
            })
            .collect();
        for ack in acks {
            peer.send(victim, now, &[Chunk::AckRanges(ack)]);
        }
        victim.handle_timeout(now);
        while let Some(event) = victim.poll_event() {
            told += usize::from(matches!(event, Event::FlowWritable { .. }));
        }
        let waits = |flow: &SendFlowHandle| victim.send_flow(*flow).is_some_and(|flow| flow.stats().buffered > 0);
        if !flows.iter().any(waits) {
            return told;
        }
    }
    panic!("it does not end");
}

/// What other sessions let go is for those that were refused, though they themselves hold nothing.
#[test]
fn a_writer_that_was_refused_for_want_of_memory_is_told_when_others_let_go() {
    let mut victim = victim(&config());
    let mut greedy = peer(&mut victim, START, 1, true);
    let session = opened(&mut victim);
    let _friend = peer(&mut victim, START, 2, true);
    let friend = opened(&mut victim);
    overfill(&mut victim, START, session, 10_000);
    let flow = victim.session_mut(START, friend).unwrap().open_flow(FlowOptions::new("late")).unwrap();
    victim.send_flow_mut(START, flow).unwrap().write(vec![0; 10]).unwrap();
    // Much of the memory is taken, and the friend's buffer is large; so it is the memory that is short.
    let big =
        victim.session_mut(START, friend).unwrap().open_flow(FlowOptions::new("big").send_buffer(64 * MIB)).unwrap();
    assert!(victim.send_flow_mut(START, big).unwrap().write(vec![0; 5 * MIB]).is_err());
    assert!(!victim.send_flow_mut(START, big).unwrap().has_room(5 * MIB));
    assert!(std::iter::from_fn(|| victim.poll_event()).all(|event| !matches!(event, Event::FlowWritable { .. })));
    // The session ends with all that it holds: no packet comes for the friend's.
    victim.session_mut(START, session).unwrap().close(CloseMode::Abrupt);
    greedy.talk(&mut victim, START);
    let mut events = std::iter::from_fn(|| victim.poll_event());
    assert!(events.any(|event| event == Event::FlowWritable { flow: big }), "nobody told the writer");
    assert!(victim.send_flow_mut(START, big).unwrap().write(vec![0; 5 * MIB]).is_ok());
}
