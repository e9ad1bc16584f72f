//! What the congestion controller is told.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use core::time::Duration;

use super::network::{A, ACK_RANGES, B, Fate, Network, path_to};
use super::packets::{header_of, packet};
use crate::config::{FlowOptions, SessionConfig};
use crate::congestion::{Controller, PacketFacts, Reaction, TimeCritical};
use crate::event::CloseReason;
use crate::handle::SendFlowHandle;
use crate::session::Ending;
use crate::time::Instant;

/// Adds up the late bytes that it is told of, and has the same window always.
#[derive(Debug)]
struct Recorder {
    spurious_bytes: Arc<AtomicU64>,
    window: u64,
}

impl Controller for Recorder {
    fn on_packet(&mut self, _now: Instant, facts: &PacketFacts, _time_critical: TimeCritical) -> Reaction {
        self.spurious_bytes.fetch_add(facts.spurious_bytes, Relaxed);
        if facts.any_loss { Reaction::Cut } else { Reaction::Other }
    }
    fn on_timeout(&mut self, _now: Instant, _was_loss: bool) {}
    fn on_path_change(&mut self) {}
    fn window(&self) -> u64 {
        self.window
    }
    fn ssthresh(&self) -> u64 {
        u64::MAX
    }
}

/// An acknowledgement of B comes to A.
fn acknowledge(network: &mut Network, flow: SendFlowHandle, cumulative_and_ranges: &[u8]) {
    let flow_id = network.ends[A].session.delivery().send_flow(flow).unwrap().flow_id() as u8;
    let plain = packet(header_of(B), |writer| {
        assert!(writer.push_with(ACK_RANGES, |out| {
            out.extend_from_slice(&[flow_id, 0]);
            out.extend_from_slice(cumulative_and_ranges);
        }));
    });
    network.inject(A, path_to(B), &plain).unwrap();
}

/// A receiver that keeps back the acknowledgement of what was lost once could take back a later cut with it.
#[test]
fn what_was_lost_before_a_cut_and_comes_after_it_does_not_take_it_back() {
    let mut network = Network::open(SessionConfig::default());
    let spurious_bytes = Arc::new(AtomicU64::new(0));
    network.ends[A].session.delivery.sending.recovery.controller =
        Box::new(Recorder { spurious_bytes: Arc::clone(&spurious_bytes), window: 100_000 });
    network.filter = Box::new(|_| Fate::Lost);
    // With no room for more, what was lost is not sent again.
    let flows = [(); 2].map(|()| network.open_flow(A));
    for flow in flows {
        for _ in 0..4 {
            network.write(A, flow, 1_000);
        }
        network.pump();
        // The first is missing, and two, three and four more are there.
        for more in 0..3 {
            acknowledge(&mut network, flow, &[0, 0, more]);
        }
    }
    assert_eq!(network.ends[A].session.delivery.sending.recovery.fragments_lost, 2);
    let [before, with] = flows;
    acknowledge(&mut network, before, &[4]);
    assert_eq!(spurious_bytes.load(Relaxed), 0);
    acknowledge(&mut network, with, &[4]);
    assert!(spurious_bytes.load(Relaxed) >= 1_000);
}

/// RFC 9438 §4.9.1: acknowledgements of what timeouts declared lost, and what was not sent again, show that it was not.
#[test]
fn what_only_timeouts_declared_lost_is_spurious_when_it_is_acknowledged() {
    let mut network = Network::open(SessionConfig::default());
    let spurious_bytes = Arc::new(AtomicU64::new(0));
    let recorder = |window| Box::new(Recorder { spurious_bytes: Arc::clone(&spurious_bytes), window });
    network.ends[A].session.delivery.sending.recovery.controller = recorder(100_000);
    let flow = network.open_flow(A);
    for _ in 0..4 {
        network.write(A, flow, 1_000);
    }
    // All arrives but the acknowledgements.
    network.filter = Box::new(|sent| if sent.from == B { Fate::Lost } else { Fate::Arrives });
    network.pump();
    // Only the first fragment is sent again, with each of two timeouts.
    network.ends[A].session.delivery.sending.recovery.controller = recorder(1);
    while network.ends[A].session.stats().timeouts < 2 {
        let soon = network.now + Duration::from_millis(50);
        network.run_until(soon);
    }
    assert_eq!(spurious_bytes.load(Relaxed), 0);
    network.filter = Box::new(|_| Fate::Arrives);
    network.run(20_000);
    let spurious_bytes = spurious_bytes.load(Relaxed);
    assert!((2_900..=3_100).contains(&spurious_bytes), "{spurious_bytes}");
}

/// What comes late of the first timeout counted for the second, too: nothing new was acknowledged between them.
#[test]
fn what_shows_one_timeout_to_be_spurious_says_nothing_of_the_next() {
    let mut network = Network::open(SessionConfig::default());
    let spurious_bytes = Arc::new(AtomicU64::new(0));
    let recorder = |window| Box::new(Recorder { spurious_bytes: Arc::clone(&spurious_bytes), window });
    network.ends[A].session.delivery.sending.recovery.controller = recorder(100_000);
    network.filter = Box::new(|_| Fate::Lost);
    let flow = network.open_flow(A);
    (0..4).for_each(|_| network.write(A, flow, 1_000));
    network.pump();
    network.ends[A].session.delivery.sending.recovery.controller = recorder(1);
    let wait = |network: &mut Network, timeouts| {
        while network.ends[A].session.stats().timeouts < timeouts {
            let soon = network.now + Duration::from_millis(50);
            network.run_until(soon);
        }
    };
    wait(&mut network, 1);
    // Of what was not sent again, the second fragment was there.
    acknowledge(&mut network, flow, &[0, 0, 0]);
    let first = spurious_bytes.load(Relaxed);
    assert!((900..=1_100).contains(&first), "{first}");
    wait(&mut network, 2);
    acknowledge(&mut network, flow, &[0, 0, 2]);
    assert_eq!(spurious_bytes.load(Relaxed), first);
}

/// As many gaps as a thousand million bits a second, 200 ms and a loss of a tenth make: here of a smaller window a
/// fourth is lost.
#[test]
fn two_thousand_gaps_cost_a_retransmission_each() {
    let limits = SessionConfig { max_recv_bytes: 256 << 20, max_send_bytes: 128 << 20, ..SessionConfig::default() };
    let config = SessionConfig { recv_buffer: 64 << 20, ..limits };
    let mut network = Network::open(config);
    network.delay = Duration::from_millis(100);
    network.ends[A].session.delivery.sending.recovery.controller =
        Box::new(Recorder { spurious_bytes: Arc::default(), window: 9_600_000 });
    let flow = network.open_flow_with(A, FlowOptions::new("x").send_buffer(usize::MAX));
    (0..70).for_each(|_| network.write(A, flow, 1_000_000));
    while network.ends[A].session.stats().outstanding < 9_500_000 {
        network.run(20);
        assert!(network.ends[B].bytes_read() < 40_000_000, "the window was to be filled");
    }
    let mut packets = 0;
    network.filter = Box::new(move |sent| {
        let data = sent.from == A && sent.has_data();
        packets += u64::from(data);
        if data && packets <= 8_000 && packets % 4 == 0 { Fate::Lost } else { Fate::Arrives }
    });
    let mut most = 0;
    let before = network.now;
    while network.ends[B].bytes_read() < 70_000_000 {
        network.run(20);
        network.sent.clear();
        most = most.max(network.ends[B].session.delivery.receiving.flows.budget.gaps().0);
        assert!(network.now < before + Duration::from_secs(60), "{} bytes", network.ends[B].bytes_read());
    }
    let received = network.ends[B].opened_flow();
    let repeated = network.ends[B].session.delivery().recv_flow(received).unwrap().stats().repeated;
    let lost = network.ends[A].session.stats().fragments_lost;
    let took = network.now.saturating_duration_since(before);
    let found = (most, lost, repeated, took);
    assert!(most > 1_800 && repeated < 50, "gaps, declared lost, received twice, time: {found:?}");
}

/// What a closed session remembers of them would never be acknowledged.
#[test]
fn a_session_that_ends_forgets_what_is_in_flight() {
    let mut network = Network::open(SessionConfig::default());
    let flow = network.open_flow(A);
    network.write(A, flow, 1_000);
    network.pump();
    assert!(network.ends[A].session.stats().outstanding > 1_000);
    network.with(A, |session, cx| session.end(cx, Ending::Silent(CloseReason::Overridden)));
    assert_eq!(network.ends[A].session.stats().outstanding, 0);
    assert!(!network.ends[A].session.delivery().sending.awaits_answer());
}
