//! Sessions that end before what they brought is read: it is kept, within limits.

use std::time::Duration;

use rtmfp_core::wire::{Chunk, Close, CloseAck};
use rtmfp_core::{Endpoint, Event, FlowEnd, Instant, RecvFlowHandle};
use rtmfp_tests::counting::held;

use super::memory::{MIB, config, peer, victim};
use super::strangers::{START, data, named};

/// A peer comes, sends complete flows of 200 messages of 1,000 bytes, and goes. None if it finds no place.
fn leave(victim: &mut Endpoint, now: Instant, number: u16, flows: u64) -> Option<RecvFlowHandle> {
    leave_with(victim, now, number, flows, Chunk::CloseAck(CloseAck))
}

fn leave_with(victim: &mut Endpoint, now: Instant, number: u16, flows: u64, last: Chunk<'_>) -> Option<RecvFlowHandle> {
    let mut peer = peer(victim, now, number, true);
    peer.session.as_ref()?;
    let options = named();
    for flow in 0..flows {
        for sequence in 1..=200 {
            let mut chunk = data(flow, sequence, Some(&options), &[7; 1_000]);
            chunk.last = sequence == 200;
            peer.send(victim, now, &[Chunk::UserData(chunk)]);
        }
        peer.talk(victim, now);
    }
    peer.send(victim, now, &[last]);
    let opened = std::iter::from_fn(|| victim.poll_event());
    opened.filter_map(|event| if let Event::FlowOpened { flow } = event { Some(flow) } else { None }).last()
}

fn read_all(victim: &mut Endpoint, now: Instant, flow: RecvFlowHandle) -> usize {
    std::iter::from_fn(|| victim.recv_flow_mut(now, flow)?.read()).count()
}

fn ended(victim: &mut Endpoint) -> Vec<FlowEnd> {
    let events = std::iter::from_fn(|| victim.poll_event());
    events.filter_map(|event| if let Event::FlowFinished { end, .. } = event { Some(end) } else { None }).collect()
}

#[test]
fn sessions_that_are_kept_to_be_read_keep_no_new_one_out_and_the_longest_unread_gives_way() {
    let mut config = config();
    config.max_sessions = 10;
    config.max_recv_memory = 64 * MIB;
    let mut victim = victim(&config);
    let before = held();
    let flows: Vec<_> = (0..1_000)
        .map(|number| {
            let now = START + Duration::from_millis(number);
            let flow = leave(&mut victim, now, number as u16, 1).expect("a place");
            assert!(victim.sessions().count() <= 10);
            flow
        })
        .collect();
    assert!(held() - before < 4 * MIB as isize, "{} bytes are held", held() - before);
    let now = START + Duration::from_secs(1);
    let read: Vec<_> = flows.iter().map(|flow| read_all(&mut victim, now, *flow)).collect();
    assert_eq!(read[..990].iter().sum::<usize>(), 0);
    assert_eq!(read[990..], [200; 10]);
    assert_eq!(victim.sessions().count(), 0, "they are gone once they are read");
}

#[test]
fn when_memory_is_short_what_was_not_read_for_longest_after_its_session_is_discarded() {
    for last in [Chunk::CloseAck(CloseAck), Chunk::Close(Close)] {
        discards_the_longest_unread(&last);
    }
}

/// In S_CLOSED and in S_FARCLOSE_LINGER.
fn discards_the_longest_unread(last: &Chunk<'_>) {
    let mut victim = victim(&config());
    let before = held();
    let flows: Vec<_> = (0..100).filter_map(|number| leave_with(&mut victim, START, number, 4, *last)).collect();
    assert!(held() - before < 9 * MIB as isize, "{} bytes are held", held() - before);
    assert!(held() - before > 5 * MIB as isize, "the limit was not reached: {}", held() - before);
    ended(&mut victim);
    let later = START + Duration::from_secs(10);
    victim.handle_timeout(later - Duration::from_millis(1));
    assert_eq!(ended(&mut victim), []);
    victim.handle_timeout(later);
    let discarded = ended(&mut victim);
    assert!(!discarded.is_empty() && discarded.iter().all(|end| *end == FlowEnd::SessionEnded), "{discarded:?}");
    // No more than is needed.
    let left = flows.iter().filter(|flow| read_all(&mut victim, later, **flow) == 200).count();
    assert!(left > 0, "all are gone");
}

#[test]
fn what_nobody_reads_after_a_session_is_held_for_two_minutes() {
    let mut victim = victim(&config());
    let before = held();
    leave(&mut victim, START, 1, 1).unwrap();
    let limit = START + config().session.unread_limit;
    victim.handle_timeout(limit - Duration::from_millis(1));
    assert_eq!(victim.sessions().count(), 1);
    assert!(held() - before > 200_000);
    victim.handle_timeout(limit);
    assert_eq!((victim.sessions().count(), ended(&mut victim)), (0, vec![FlowEnd::SessionEnded]));
}
