//! Losses that too few acknowledgements show: by time, and by probes.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::network::{A, B, Fate, Network};
use crate::config::{FlowOptions, SendOptions, SessionConfig};
use crate::congestion::CongestionControl;
use crate::handle::SendFlowHandle;

/// With a round trip of 80 ms, known from some messages.
fn network(options: FlowOptions) -> (Network, SendFlowHandle) {
    // Bursts leave as they are, without a pace.
    let congestion = CongestionControl::Rfc7016;
    let mut network = Network::open(SessionConfig { congestion, ..SessionConfig::default() });
    network.delay = Duration::from_millis(40);
    let flow = network.open_flow_with(A, options);
    for _ in 0..20 {
        network.write(A, flow, 1_000);
        network.write(A, flow, 1_000);
        network.run(100);
    }
    network.run(1_000);
    assert_eq!(network.ends[A].session.stats().srtt, Some(Duration::from_millis(80)));
    (network, flow)
}

/// The data packets of A with these numbers, the first 0, are lost.
fn lose(network: &mut Network, numbers: &'static [usize]) {
    let mut count = 0;
    network.filter = Box::new(move |sent| {
        count += usize::from(sent.from == A && sent.has_data());
        let lost = sent.from == A && sent.has_data() && numbers.contains(&(count - 1));
        if lost { Fate::Lost } else { Fate::Arrives }
    });
    network.sent.clear();
}

/// When data packets of A were sent, in milliseconds from now.
fn sent_since(network: &Network, start: u64) -> Vec<u64> {
    network.times(A, super::network::Sent::has_data).iter().map(|at| at - start).collect()
}

fn millis(network: &Network) -> u64 {
    network.now.saturating_duration_since(super::network::START).as_millis() as u64
}

/// It waited for the acknowledgements of three more packets, which come 120 ms later here.
#[test]
fn a_fragment_of_a_thin_flow_is_sent_again_as_soon_as_a_later_one_is_acknowledged() {
    let (mut network, flow) = network(FlowOptions::new("game"));
    lose(&mut network, &[1]);
    let start = millis(&network);
    for _ in 0..8 {
        network.write(A, flow, 200);
        network.run(40);
    }
    // Sent at 40; the next, sent at 80, is acknowledged at 160.
    assert_eq!(sent_since(&network, start), [0, 40, 80, 120, 160, 160, 200, 240, 280]);
    assert_eq!(network.ends[A].session.stats().fragments_lost, 1);
}

/// The last but one was lost, and no more came that would have been acknowledged: the timeout took 320 ms.
#[test]
fn what_was_lost_shortly_before_the_end_is_sent_again_after_nine_eighths_of_a_round_trip() {
    let (mut network, flow) = network(FlowOptions::new("bulk"));
    lose(&mut network, &[2]);
    let start = millis(&network);
    (0..4).for_each(|_| network.write(A, flow, 1_000));
    network.run(2_000);
    assert_eq!(sent_since(&network, start), [0, 0, 0, 0, 90]);
    let stats = network.ends[A].session.stats();
    assert_eq!((stats.fragments_lost, stats.timeouts, stats.congestion_events), (1, 0, 1));
}

#[test]
fn the_end_of_a_burst_is_sent_again_before_the_timeout_and_shows_what_else_was_lost() {
    let (mut network, flow) = network(FlowOptions::new("bulk"));
    lose(&mut network, &[2, 3]);
    let start = millis(&network);
    (0..4).for_each(|_| network.write(A, flow, 1_000));
    network.run(239);
    assert_eq!(sent_since(&network, start), [0; 4]);
    let window = network.ends[A].session.stats().cwnd;
    network.run(1);
    // The first two are acknowledged at 80, and two round trips later comes the probe.
    assert_eq!(sent_since(&network, start), [0, 0, 0, 0, 240]);
    assert_eq!(network.ends[A].session.stats().cwnd, window, "nothing is known to be lost yet");
    network.run(2_000);
    assert_eq!(sent_since(&network, start), [0, 0, 0, 0, 240, 320]);
    let stats = network.ends[A].session.stats();
    assert_eq!((stats.timeouts, stats.congestion_events), (0, 1));
    assert!(stats.cwnd < window, "the loss that the probe repaired is congestion, too");
    assert_eq!(network.ends[B].bytes_read(), 44_000);
}

/// A probe that is answered sooner than it can be shows that nothing was lost.
#[test]
fn a_probe_for_what_is_only_late_changes_nothing() {
    let (mut network, flow) = network(FlowOptions::new("bulk"));
    let before = network.ends[A].session.stats();
    network.sent.clear();
    let start = millis(&network);
    network.delay = Duration::from_millis(60);
    (0..4).for_each(|_| network.write(A, flow, 1_000));
    network.pump();
    network.delay = Duration::from_millis(130);
    network.run(2_000);
    assert_eq!(sent_since(&network, start), [0, 0, 0, 0, 160]);
    let after = network.ends[A].session.stats();
    assert_eq!((after.fragments_lost, after.congestion_events, after.timeouts), (0, 0, 0));
    assert!(after.cwnd >= before.cwnd);
}

/// Nor is one sent for what may not be sent twice.
#[test]
fn a_message_that_is_not_sent_again_is_not_probed_for() {
    let (mut network, flow) = network(FlowOptions::new("state"));
    lose(&mut network, &[0, 1, 2, 3]);
    let start = millis(&network);
    for _ in 0..4 {
        let options = SendOptions { retransmit: false, ..SendOptions::default() };
        let data = Bytes::from(alloc::vec![b'x'; 1_000]);
        let write = |delivery: &mut crate::session::Delivery, cx: &mut crate::session::Context<'_>| {
            delivery.sending.flows.write(cx, flow, data, options)
        };
        network.with(A, |session, cx| session.command(cx, write)).unwrap();
    }
    network.run(270);
    assert_eq!(sent_since(&network, start), [0; 4]);
    assert!(network.ends[A].session.stats().outstanding > 4_000);
}

/// One packet alone may wait for a delayed acknowledgement, which time critical data does not wait for. It says nothing of
/// congestion then.
#[test]
fn a_time_critical_packet_alone_is_sent_again_after_two_round_trips() {
    for (time_critical, expected) in [(true, &[0, 160][..]), (false, &[0, 280])] {
        let (mut network, flow) = network(FlowOptions { time_critical, ..FlowOptions::new("game") });
        lose(&mut network, &[0]);
        let start = millis(&network);
        let window = network.ends[A].session.stats().cwnd;
        network.write(A, flow, 200);
        network.run(2_000);
        assert_eq!(sent_since(&network, start), expected);
        let stats = network.ends[A].session.stats();
        assert_eq!(stats.timeouts, u64::from(!time_critical));
        assert_eq!(stats.cwnd >= window, time_critical);
    }
}

/// A far end that answers nothing gets one probe, and the timeout is no later for it.
#[test]
fn one_probe_is_sent_and_the_timeout_stays() {
    let (mut network, flow) = network(FlowOptions::new("bulk"));
    lose(&mut network, &[0, 1, 2, 3, 4]);
    let start = millis(&network);
    (0..4).for_each(|_| network.write(A, flow, 1_000));
    network.run(320);
    let sent = sent_since(&network, start);
    assert_eq!(sent[..5], [0, 0, 0, 0, 160], "{sent:?}");
    assert!(sent[5] <= 290, "{sent:?}");
    assert_eq!(network.ends[A].session.stats().timeouts, 1);
}

/// A probe that was never sent left its mark: what was sent next had no timeout, and was lost for good.
#[test]
fn what_follows_a_probe_that_was_not_sent_has_a_timeout() {
    let (mut network, flow) = network(FlowOptions::new("state"));
    lose(&mut network, &[0]);
    let recovery = &mut network.ends[A].session.delivery.sending.recovery;
    assert!(!recovery.timer.is_set());
    recovery.probe.is_next = true;
    let before = network.ends[B].bytes_read();
    network.write(A, flow, 1_000);
    network.run(5_000);
    assert_eq!(network.ends[B].bytes_read(), before + 1_000);
    assert_eq!(network.ends[A].session.stats().outstanding, 0);
}
