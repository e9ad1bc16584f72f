//! What a trace tells of real exchanges, and that it tells nothing else.

extern crate std;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use alloc::{format, vec};
use core::net::SocketAddr;
use core::time::Duration;
use std::sync::{Mutex, MutexGuard};

use super::pair::{A, B, Kind, Pair, address, path_to};
use crate::congestion::CongestionControl;
use crate::error::DropReason;
use crate::event::{CloseReason, Event, OpenFailure};
use crate::profile::KeyingError;
use crate::wire::{Chunk, PacketHeader};
use crate::{
    AbandonCause, CloseMode, EndpointConfig, FlowOptions, Instant, KeyAgreementOutcome, KeyAgreementStep, LossCause,
    SendFlowHandle, SendOptions, SessionConfig, SessionHandle, SessionState, Trace, TraceEvent,
};

const DELAY: Duration = Duration::from_millis(25);

/// All that a sink was told.
#[derive(Default)]
struct Seen {
    names: BTreeMap<&'static str, usize>,
    last: Option<Instant>,
    sent: Vec<(usize, Vec<u8>)>,
    received: Vec<(usize, Vec<u8>)>,
    dropped: Vec<(Option<SocketAddr>, DropReason)>,
    dropped_sizes: Vec<usize>,
    /// Flow, sequence number, size, and whether it had been declared lost.
    acknowledged: Vec<(SendFlowHandle, u64, u32, bool)>,
    lost: Vec<(u64, LossCause)>,
    abandoned: Vec<(u64, usize, AbandonCause)>,
    windows: Vec<(u64, u64)>,
    timers: BTreeMap<(SessionHandle, &'static str), Instant>,
    expired: Vec<&'static str>,
    cancelled: Vec<&'static str>,
    moved: Vec<(SocketAddr, SocketAddr, bool)>,
    states: Vec<(Option<SessionState>, SessionState)>,
    ends: Vec<Result<CloseReason, OpenFailure>>,
    agreements: Vec<(KeyAgreementStep, KeyAgreementOutcome)>,
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Seen>>);

impl Sink {
    fn on(pair: &mut Pair, node: usize) -> Self {
        let sink = Self::default();
        assert!(pair.nodes[node].endpoint.set_trace(Some(Box::new(sink.clone()))).is_none());
        sink
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap()
    }

    /// How often each kind of these was seen.
    fn counts<const N: usize>(&self, names: [&str; N]) -> [usize; N] {
        let seen = self.seen();
        names.map(|name| seen.names.get(name).copied().unwrap_or(0))
    }
}

impl Trace for Sink {
    fn event(&mut self, at: Instant, session: Option<SessionHandle>, event: &TraceEvent<'_>) {
        let mut seen = self.seen();
        assert!(seen.last.is_none_or(|last| last <= at), "time goes back");
        seen.last = Some(at);
        *seen.names.entry(event.name()).or_default() += 1;
        match *event {
            TraceEvent::PacketSent { size, plain, .. } => seen.sent.push((size, plain.to_vec())),
            TraceEvent::PacketReceived { size, plain, .. } => seen.received.push((size, plain.to_vec())),
            TraceEvent::DatagramDropped { path, size, reason } => {
                seen.dropped.push((Some(path.remote), reason));
                seen.dropped_sizes.push(size);
            }
            TraceEvent::ChunkDropped { reason } => seen.dropped.push((None, reason)),
            TraceEvent::FragmentAcknowledged { flow, sequence, size, was_lost } => {
                seen.acknowledged.push((flow, sequence, size, was_lost));
            }
            TraceEvent::FragmentLost { sequence, cause, .. } => seen.lost.push((sequence, cause)),
            TraceEvent::MessageAbandoned { message, size, cause, .. } => {
                seen.abandoned.push((message.index(), size, cause));
            }
            TraceEvent::Congestion { window, outstanding, .. } => seen.windows.push((window, outstanding)),
            TraceEvent::TimerSet { timer, at: due } => {
                seen.timers.insert((session.unwrap(), timer), due);
            }
            TraceEvent::TimerCancelled { timer } => {
                assert!(seen.timers.remove(&(session.unwrap(), timer)).is_some_and(|due| due > at), "{timer}");
                seen.cancelled.push(timer);
            }
            TraceEvent::TimerExpired { timer } => {
                assert!(seen.timers.remove(&(session.unwrap(), timer)).is_some_and(|due| due <= at), "{timer}");
                seen.expired.push(timer);
            }
            TraceEvent::Moved { from, to, proved } => seen.moved.push((from.remote, to.remote, proved)),
            TraceEvent::StateChanged { from, to } => {
                assert!(session.is_some());
                seen.states.push((from, to));
            }
            TraceEvent::OpenFailed { reason } => seen.ends.push(Err(reason)),
            TraceEvent::Closed { reason } => seen.ends.push(Ok(reason)),
            TraceEvent::KeyAgreement { step, outcome, .. } => seen.agreements.push((step, outcome)),
        }
    }
}

/// Sequence numbers of the user data in a plain packet, and its bytes.
fn user_data(plain: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let (_, chunks) = PacketHeader::parse(plain).unwrap();
    let data = chunks.filter_map(|chunk| match chunk {
        Ok(Chunk::UserData(data)) => Some((data.sequence_number, data.data.to_vec())),
        _ => None,
    });
    data.collect()
}

/// A flow of A's that waits for its session to open.
fn open_flow(pair: &mut Pair) -> SendFlowHandle {
    let session = pair.open(A);
    let mut view = pair.nodes[A].endpoint.session_mut(pair.now, session).unwrap();
    view.open_flow(FlowOptions::new("f")).unwrap()
}

fn write(pair: &mut Pair, flow: SendFlowHandle, size: usize, options: SendOptions) -> crate::MessageId {
    let mut view = pair.nodes[A].endpoint.send_flow_mut(pair.now, flow).unwrap();
    view.write_with(vec![7; size], options).unwrap()
}

#[test]
fn an_exchange_without_loss_is_told_at_both_ends() {
    let mut pair = Pair::flash(1);
    let sinks = [A, B].map(|node| Sink::on(&mut pair, node));
    let flow = open_flow(&mut pair);
    write(&mut pair, flow, 5, SendOptions::default());
    pair.run_for_millis(500);
    pair.nodes[A].endpoint.session_mut(pair.now, flow.session()).unwrap().close(CloseMode::Orderly);
    pair.run_for_millis(500);

    for (node, sink) in pair.nodes.iter().zip(&sinks) {
        let (stats, seen) = (node.endpoint.stats(), sink.seen());
        let totals = |packets: &[(usize, Vec<u8>)]| {
            (packets.len() as u64, packets.iter().map(|(size, _)| *size as u64).sum::<u64>())
        };
        assert_eq!(totals(&seen.sent), (stats.datagrams_sent, stats.bytes_sent));
        assert_eq!(totals(&seen.received), (stats.datagrams_received, stats.bytes_received));
    }
    // What one end sent in plain, the other received, followed by what the cipher needs to fill its blocks.
    for (from, to) in [(A, B), (B, A)] {
        let (from, to) = (sinks[from].seen(), sinks[to].seen());
        assert_eq!(from.sent.len(), to.received.len());
        for (sent, received) in from.sent.iter().zip(&to.received) {
            assert!(sent.0 == received.0 && received.1.starts_with(&sent.1), "{sent:?} {received:?}");
        }
    }
    let data: Vec<_> = sinks[A].seen().sent.iter().flat_map(|(_, plain)| user_data(plain)).collect();
    assert_eq!(data, [(1, vec![7; 5])]);
    let acknowledged = sinks[A].seen().acknowledged.clone();
    assert!(matches!(acknowledged[..], [(of, 1, 6.., false)] if of == flow), "{acknowledged:?}");
    assert_eq!(flow.flow_id(), 1);

    use KeyAgreementOutcome::Agreed;
    use SessionState::{Closed, FarCloseLinger, HelloSent, KeyingSent, NearClose, Open};
    let (a, b) = (sinks[A].seen(), sinks[B].seen());
    let way = |states: &[SessionState]| {
        let from = core::iter::once(None).chain(states.iter().copied().map(Some));
        from.zip(states.iter().copied()).collect::<Vec<_>>()
    };
    assert_eq!(a.states, way(&[HelloSent, KeyingSent, Open, NearClose, Closed]));
    assert_eq!(b.states, way(&[HelloSent, Open, FarCloseLinger]));
    assert_eq!((&a.ends[..], &b.ends[..]), (&[Ok(CloseReason::Near)][..], &[Ok(CloseReason::Far)][..]));
    assert_eq!(a.agreements, [(KeyAgreementStep::Initiate, Agreed), (KeyAgreementStep::Finish, Agreed)]);
    assert_eq!(b.agreements, [(KeyAgreementStep::Respond, Agreed)]);
    assert!(!a.windows.is_empty() && b.windows.is_empty(), "B sends no data");
    drop((a, b));
    for sink in &sinks {
        let never = ["datagram_dropped", "chunk_dropped", "fragment_lost", "message_abandoned", "moved", "open_failed"];
        assert_eq!(sink.counts(never), [0; 6]);
    }
}

/// Bytes are the same with a sink and without, and none is told once it is taken away.
#[test]
fn a_trace_changes_nothing_and_ends_when_it_is_taken_away() {
    let run = |traced: bool| {
        let mut pair = Pair::flash(2);
        let sink = traced.then(|| Sink::on(&mut pair, A));
        let flow = open_flow(&mut pair);
        pair.fate = Box::new(|datagram| if datagram.ordinal % 10 == 9 { vec![] } else { vec![DELAY] });
        write(&mut pair, flow, 100_000, SendOptions::default());
        pair.run_for_millis(10_000);
        let bytes: Vec<_> = pair.log.iter().map(|(at, datagram)| (*at, datagram.bytes.clone())).collect();
        if let Some(sink) = sink {
            let before = sink.seen().sent.len();
            assert!(before > 50);
            assert!(pair.nodes[A].endpoint.set_trace(None).is_some(), "it is given back");
            write(&mut pair, flow, 1_000, SendOptions::default());
            pair.run_for_millis(1_000);
            assert_eq!(sink.seen().sent.len(), before);
        }
        bytes
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn a_loss_is_told_with_its_cause_and_what_it_does_to_the_window() {
    // This controller cuts its window for a single loss.
    let session = SessionConfig { congestion: CongestionControl::Rfc7016, ..SessionConfig::default() };
    let mut pair = Pair::with_config(3, EndpointConfig { session, ..EndpointConfig::default() });
    let sink = Sink::on(&mut pair, A);
    let flow = open_flow(&mut pair);
    pair.run_for_millis(200);
    write(&mut pair, flow, 40_000, SendOptions::default());
    let mut data = 0;
    pair.fate = Box::new(move |datagram| {
        data += u64::from(datagram.from == address(A));
        if data == 10 { vec![] } else { vec![DELAY] }
    });
    pair.run_for_millis(2_000);
    let stats = pair.nodes[A].endpoint.session(flow.session()).unwrap().stats();
    let seen = sink.seen();
    assert_eq!(seen.lost.len() as u64, stats.fragments_lost);
    assert!(!seen.lost.is_empty());
    assert!(seen.lost.iter().all(|(_, cause)| *cause == LossCause::NegativeAcknowledgements), "{:?}", seen.lost);
    assert!(seen.acknowledged.iter().all(|(.., was_lost)| !was_lost));
    // Each fragment is acknowledged once, also one that was sent twice.
    let mut acknowledged: Vec<u64> = seen.acknowledged.iter().map(|(_, sequence, ..)| *sequence).collect();
    acknowledged.sort_unstable();
    assert_eq!(acknowledged, (1..=acknowledged.len() as u64).collect::<Vec<_>>());
    assert!(seen.windows.windows(2).any(|pair| pair[1].0 < pair[0].0), "the window was cut");
    assert_eq!(seen.windows.last(), Some(&(stats.cwnd, stats.outstanding)));
}

#[test]
fn a_fragment_that_was_late_only_is_told_as_a_spurious_loss() {
    let mut pair = Pair::new(4);
    let sink = Sink::on(&mut pair, A);
    let flow = open_flow(&mut pair);
    pair.run_for_millis(200);
    // All of it is declared lost by the timeout, and so held back that it is acknowledged before it is sent again.
    pair.fate = Box::new(|_| vec![Duration::from_secs(3)]);
    write(&mut pair, flow, 30_000, SendOptions::default());
    pair.run_for_millis(20_000);
    let seen = sink.seen();
    assert!(seen.lost.iter().any(|(_, cause)| *cause == LossCause::Timeout));
    assert!(seen.acknowledged.iter().any(|(.., was_lost)| *was_lost));
}

#[test]
fn timeouts_and_the_way_back_are_told() {
    let mut pair = Pair::new(5);
    let sink = Sink::on(&mut pair, A);
    let flow = open_flow(&mut pair);
    write(&mut pair, flow, 100, SendOptions::default());
    pair.run_for_millis(400);
    assert!(!sink.seen().expired.contains(&"retransmission timeout"));
    pair.fate = Box::new(|_| vec![]);
    write(&mut pair, flow, 100, SendOptions::default());
    pair.run_for_millis(10_000);
    let losses = sink.seen().lost.clone();
    assert!(losses.len() > 1 && losses.iter().all(|loss| *loss == (2, LossCause::Timeout)), "{losses:?}");
    let expired = sink.seen().expired.iter().filter(|timer| **timer == "retransmission timeout").count();
    assert_eq!(expired, losses.len());
    // The far end is heard again, long before the next timeout.
    pair.fate = Box::new(|_| vec![DELAY]);
    let b = pair.nodes[B].endpoint.sessions().next().unwrap();
    pair.nodes[B].endpoint.session_mut(pair.now, b).unwrap().ping();
    pair.run_for_millis(200);
    assert_eq!(sink.seen().lost.last(), Some(&(2, LossCause::Revived)));
}

/// Whatever happens, the deadlines that a trace tells of are those that the endpoint waits for.
#[test]
fn timers_are_those_of_the_endpoint() {
    let mut pair = Pair::new(6);
    let sinks = [A, B].map(|node| Sink::on(&mut pair, node));
    let flow = open_flow(&mut pair);
    pair.fate = Box::new(|datagram| if datagram.ordinal % 7 == 6 { vec![] } else { vec![DELAY] });
    write(&mut pair, flow, 200_000, SendOptions::default());
    for step in 0..3_000 {
        pair.run_for_millis(10);
        if step == 2_000 {
            pair.nodes[A].endpoint.session_mut(pair.now, flow.session()).unwrap().close(CloseMode::Orderly);
        }
        for (node, sink) in pair.nodes.iter().zip(&sinks) {
            let alive: Vec<_> = node.endpoint.sessions().collect();
            let timers = sink.seen().timers.clone();
            let told = timers.iter().filter(|((session, _), _)| alive.contains(session)).map(|(_, at)| *at).min();
            assert_eq!(told, node.endpoint.poll_timeout(), "{timers:?}, {:?}", node.endpoint.timeout_reason());
        }
    }
    let seen = sinks[A].seen();
    for timer in ["keepalive", "retransmission timeout", "startup"] {
        assert!(seen.expired.contains(&timer) || seen.cancelled.contains(&timer), "{timer}: {:?}", seen.expired);
    }
}

#[test]
fn every_cause_to_abandon_is_told() {
    let mut pair = Pair::new(7);
    let sink = Sink::on(&mut pair, A);
    let flow = open_flow(&mut pair);
    pair.run_for_millis(200);
    let plain = SendOptions::default();
    write(&mut pair, flow, 1, plain);
    pair.run_for_millis(200);
    assert_eq!(sink.seen().abandoned, []);
    pair.fate = Box::new(|_| vec![]);
    let soon = pair.now + Duration::from_millis(10);
    let short_lived = write(&mut pair, flow, 2, SendOptions { finish_by: Some(soon), ..plain });
    write(&mut pair, flow, 3, SendOptions { after: Some(short_lived), ..plain });
    write(&mut pair, flow, 4, SendOptions { retransmit: false, ..plain });
    let by_hand = write(&mut pair, flow, 5, plain);
    assert!(pair.nodes[A].endpoint.send_flow_mut(pair.now, flow).unwrap().abandon(by_hand));
    pair.run_for_millis(3_000);
    use AbandonCause::{Deadline, Dependency, FlowRejected, NotRetransmitted, SessionEnded, User};
    assert_eq!(sink.seen().abandoned, [(4, 5, User), (1, 2, Deadline), (2, 3, Dependency), (3, 4, NotRetransmitted)]);

    pair.fate = Box::new(|_| vec![DELAY]);
    write(&mut pair, flow, 6, plain);
    pair.run_for_millis(10_000);
    let opened = |event: &Event| if let Event::FlowOpened { flow } = event { Some(*flow) } else { None };
    let received = pair.nodes[B].events.iter().find_map(opened).unwrap();
    pair.nodes[B].endpoint.recv_flow_mut(pair.now, received).unwrap().reject(1);
    // What is written before this end hears of it.
    write(&mut pair, flow, 7, plain);
    pair.run_for_millis(500);
    assert_eq!(sink.seen().abandoned.get(4..), Some(&[(6, 7, FlowRejected)][..]));

    let session = flow.session();
    let other =
        pair.nodes[A].endpoint.session_mut(pair.now, session).unwrap().open_flow(FlowOptions::new("g")).unwrap();
    write(&mut pair, other, 8, plain);
    pair.nodes[A].endpoint.session_mut(pair.now, session).unwrap().close(CloseMode::Abrupt);
    assert_eq!(sink.seen().abandoned.get(5..), Some(&[(0, 8, SessionEnded)][..]));
}

#[test]
fn a_far_end_that_moves_is_told_with_what_it_loses() {
    let mut pair = Pair::new(8);
    let sinks = [A, B].map(|node| Sink::on(&mut pair, node));
    let flow = open_flow(&mut pair);
    pair.run_for_millis(200);
    // B is behind a NAT that forgets.
    let elsewhere = SocketAddr::from(([192, 0, 2, 77], 99));
    pair.nodes[B].aliases.push(elsewhere);
    pair.fate = Box::new(move |datagram| {
        if datagram.from == address(B) {
            datagram.from = elsewhere;
        }
        vec![DELAY]
    });
    write(&mut pair, flow, 30_000, SendOptions::default());
    pair.run_for_millis(2_000);
    assert_eq!(sinks[A].seen().moved, [(path_to(B).remote, elsewhere, true)]);
    assert_eq!(sinks[B].seen().moved, []);
    let lost = sinks[A].seen().lost.clone();
    assert!(!lost.is_empty() && lost.iter().all(|(_, cause)| *cause == LossCause::PathChange), "{lost:?}");
}

#[test]
fn what_is_dropped_is_told_with_the_reason() {
    let mut pair = Pair::new(9);
    let sink = Sink::on(&mut pair, B);
    let flow = open_flow(&mut pair);
    pair.run_for_millis(200);
    assert_eq!(sink.seen().dropped, []);
    let from = address(9);
    for bytes in [&[1, 2, 3][..], &[0; 40], &[9; 40]] {
        let _ = pair.deliver(from, address(B), bytes.to_vec());
    }
    let reasons = [DropReason::TooShort, DropReason::NotAuthentic, DropReason::UnknownSession];
    let dropped = sink.seen().dropped.clone();
    assert_eq!(dropped, reasons.map(|reason| (Some(from), reason)));
    // A cookie that was not made here: its packet is good, its chunk is not.
    let signed = crate::wire::InitiatorKeying::signed_parameters(7, b"cookie", b"mallory", b"component");
    let keying = crate::wire::InitiatorKeying {
        session_id: 7,
        cookie_echo: b"cookie",
        certificate: b"mallory",
        component: b"component",
        signature: b"X",
        signed: &signed,
    };
    pair.inject(from, B, 0, &keying);
    assert_eq!(sink.seen().dropped.last(), Some(&(None, DropReason::NotAuthentic)));
    // In a session: what A has not been sent cannot be acknowledged.
    write(&mut pair, flow, 1, SendOptions::default());
    let b = pair.nodes[B].endpoint.sessions().next().unwrap();
    pair.nodes[B].endpoint.session_mut(pair.now, b).unwrap().close(CloseMode::Orderly);
    pair.run_for_millis(200);
    assert_eq!(sink.seen().dropped.last(), Some(&(None, DropReason::Unexpected)), "flows exist only in S_OPEN");
    let stats = pair.nodes[B].endpoint.stats();
    let counted = stats.dropped_too_short + stats.dropped_unknown_session + stats.dropped_not_authentic;
    assert_eq!(sink.seen().dropped.len() as u64, counted + stats.unexpected + stats.malformed + stats.over_limit);
}

#[test]
fn key_agreements_that_are_offloaded_or_fail_are_told() {
    let config = EndpointConfig { max_waiting_key_agreements: 4, ..EndpointConfig::default() };
    let mut pair = Pair::with_config(10, config);
    let sinks = [A, B].map(|node| Sink::on(&mut pair, node));
    let session = pair.open(A);
    for _ in 0..20 {
        pair.run_for_millis(25);
        for node in [A, B] {
            while let Some(job) = pair.nodes[node].endpoint.poll_key_agreement() {
                // The last step does not return.
                let lost = !pair.sent_of(Kind::ResponderKeying, None, None).is_empty();
                let result = if lost { job.abandoned() } else { job.run() };
                let now = pair.now;
                pair.nodes[node].endpoint.handle_key_agreement(now, result);
            }
        }
    }
    use KeyAgreementOutcome::{Agreed, Failed, Offloaded};
    use KeyAgreementStep::{Finish, Initiate, Respond};
    let expected =
        [(Initiate, Offloaded), (Initiate, Agreed), (Finish, Offloaded), (Finish, Failed(KeyingError::Abandoned))];
    assert_eq!(sinks[A].seen().agreements, expected);
    assert_eq!(sinks[B].seen().agreements, [(Respond, Offloaded), (Respond, Agreed)]);
    pair.run_for_millis(5_000);
    assert!(pair.nodes[A].events.contains(&Event::SessionFailed { session, reason: OpenFailure::KeyAgreement }));
    let seen = sinks[A].seen();
    assert_eq!(seen.ends, [Err(OpenFailure::KeyAgreement)]);
    assert_eq!(seen.states.last(), Some(&(Some(SessionState::KeyingSent), SessionState::OpenFailed)));
}

#[test]
fn a_tracer_shows_no_content() {
    let mut pair = Pair::new(11);
    let _sink = Sink::on(&mut pair, A);
    let shown = format!("{:?}", pair.nodes[A].endpoint);
    assert!(shown.contains("Tracer { on: true, .. }"), "{shown}");
}

#[test]
fn a_packet_that_waited_for_its_keys_is_told_with_its_length_if_they_do_not_open_it() {
    let mut pair = Pair::new(20);
    let sink = Sink::on(&mut pair, A);
    pair.fate = Box::new(|datagram| {
        let kind = datagram.kind();
        if kind == Kind::Session && datagram.from == address(B) {
            datagram.bytes.iter_mut().last().into_iter().for_each(|byte| *byte ^= 1);
        }
        vec![if kind == Kind::ResponderKeying { DELAY * 8 } else { DELAY }]
    });
    pair.open(A);
    pair.run_for_millis(80);
    let far = pair.nodes[B].endpoint.sessions().next().unwrap();
    let now = pair.now;
    let flow = pair.nodes[B].endpoint.session_mut(now, far).unwrap().open_flow(FlowOptions::new("f")).unwrap();
    pair.nodes[B].endpoint.send_flow_mut(now, flow).unwrap().write("early").unwrap();
    pair.run_for_millis(100);
    assert_eq!(sink.seen().dropped, [], "they are kept");
    let sizes: Vec<_> =
        pair.sent_of(Kind::Session, Some(B), Some(A)).iter().map(|at| pair.log[*at].1.bytes.len()).collect();
    pair.run_for_millis(125);
    assert!(!sizes.is_empty());
    assert_eq!(sink.seen().dropped_sizes[..sizes.len()], sizes);
}
