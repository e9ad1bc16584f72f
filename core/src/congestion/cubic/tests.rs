use super::super::RateSample;
use super::*;

const PLAIN: TimeCritical = TimeCritical { sent_here: false, fast_grow: true };
const SMSS: u64 = 1_000;

fn at(millis: u64) -> Instant {
    Instant::from_millis(10_000 + millis)
}

/// Past slow start, with a maximum before the last cut.
fn avoiding(cwnd: u64, last_max: u64) -> Cubic {
    Cubic { cwnd, ssthresh: cwnd, last_max, ..Cubic::new(SMSS) }
}

/// Acknowledges a whole window, two segments at a time, over `round_trip`.
fn round(cubic: &mut Cubic, begun: u64, round_trip: u64) {
    let cwnd = cubic.window();
    for done in (0..cwnd).step_by(2_000) {
        let facts = PacketFacts {
            pre_ack_outstanding: cubic.window(),
            acked_bytes: 2_000.min(cwnd - done),
            any_acks: true,
            outstanding: cubic.window() - 1,
            srtt: Some(Duration::from_millis(round_trip)),
            ..PacketFacts::default()
        };
        cubic.on_packet(at(begun + done * round_trip / cwnd), &facts, PLAIN);
    }
}

fn loss(flight: u64) -> PacketFacts {
    PacketFacts {
        pre_ack_outstanding: flight,
        acked_bytes: 1_000,
        any_acks: true,
        any_naks: true,
        any_loss: true,
        lost_bytes: 1_000,
        outstanding: flight - 2_000,
        ..PacketFacts::default()
    }
}

/// RFC 9438 §4.6, §4.7.
#[test]
fn a_loss_leaves_seven_tenths_and_of_a_window_that_did_not_recover_the_maximum_falls() {
    let mut cubic = avoiding(100_000, 0);
    assert_eq!(cubic.on_packet(at(0), &loss(100_000), PLAIN), Reaction::Cut);
    assert_eq!((cubic.window(), cubic.ssthresh(), cubic.last_max), (70_000, 70_000, 100_000));
    cubic.cuts.forget();
    cubic.on_packet(at(500), &loss(70_000), PLAIN);
    assert_eq!((cubic.window(), cubic.last_max), (49_000, 59_500));
}

/// RFC 9438 §4.2: K is the cube root of (W_max - cwnd) / C, here of 300 / 0.4: 9.086 s.
#[test]
fn the_window_is_back_at_its_maximum_after_k_and_flat_there() {
    let mut cubic = avoiding(700_000, 1_000_000);
    let mut windows = alloc::vec::Vec::new();
    for begun in (0..14_000).step_by(100) {
        round(&mut cubic, begun, 100);
        windows.push(cubic.window());
    }
    let at_time = |millis: usize| windows[millis / 100];
    assert!((980_000..=1_005_000).contains(&at_time(9_000)), "{}", at_time(9_000));
    let (early, flat, late) =
        (at_time(1_500) - at_time(500), at_time(9_500) - at_time(8_500), at_time(13_900) - at_time(12_900));
    assert!(early > 10 * flat && late > 10 * flat, "{early} {flat} {late}");
}

/// RFC 9438 §4.3: on short paths no slower than Reno, which adds 9/17 of a segment each round trip up to its maximum, and
/// a whole one above: ten round trips take it from 7 by way of 10 to 14.
#[test]
fn on_a_short_path_it_grows_like_reno() {
    let mut cubic = avoiding(7_000, 10_000);
    for index in 0..10 {
        round(&mut cubic, index * 10, 10);
    }
    assert!((13_500..=14_500).contains(&cubic.window()), "{}", cubic.window());
}

#[test]
fn no_acknowledgement_makes_it_grow_by_more_than_it_acknowledges() {
    let mut cubic = avoiding(10_000, 1_000_000_000);
    for millis in (0..60_000).step_by(10) {
        let before = cubic.window();
        let facts =
            PacketFacts { pre_ack_outstanding: before, acked_bytes: 500, any_acks: true, ..PacketFacts::default() };
        cubic.on_packet(at(millis), &facts, PLAIN);
        assert!(cubic.window() <= before + 500);
    }
}

#[test]
fn a_window_that_is_not_used_does_not_grow() {
    let mut cubic = avoiding(100_000, 50_000);
    for millis in (0..60_000).step_by(10) {
        let facts =
            PacketFacts { pre_ack_outstanding: 49_000, acked_bytes: 2_000, any_acks: true, ..PacketFacts::default() };
        cubic.on_packet(at(millis), &facts, PLAIN);
    }
    assert_eq!(cubic.window(), 100_000);
}

/// The pace is above it, twice in slow start: that is for bursts, and not for longer than a round trip.
#[test]
fn its_target_is_a_window_in_each_round_trip() {
    for mut cubic in [avoiding(100_000, 50_000), Cubic { cwnd: 100_000, ..Cubic::new(SMSS) }] {
        cubic.srtt = Some(Duration::from_millis(50));
        assert!(cubic.pacing_rate() > Some(2_000_000));
        assert_eq!(cubic.target_rate(Duration::from_millis(50)), 2_000_000);
    }
}

#[test]
fn a_cut_for_nothing_is_taken_back() {
    let mut cubic = avoiding(100_000, 90_000);
    cubic.on_packet(at(0), &loss(100_000), PLAIN);
    let late = PacketFacts { any_acks: true, spurious_bytes: 1_000, outstanding: 97_000, ..PacketFacts::default() };
    cubic.on_packet(at(10), &late, PLAIN);
    assert_eq!((cubic.window(), cubic.ssthresh(), cubic.last_max), (100_000, 100_000, 90_000));
}

/// RFC 9438 §4.8.
#[test]
fn a_timeout_leaves_a_segment() {
    let mut cubic = avoiding(100_000, 0);
    cubic.on_timeout(at(0), true);
    assert_eq!((cubic.window(), cubic.ssthresh()), (SMSS, 70_000));
    cubic.on_timeout(at(500), true);
    assert_eq!((cubic.window(), cubic.ssthresh(), cubic.last_max), (SMSS, 70_000, 100_000), "an outage is one loss");
}

/// RFC 9438 §4.9.1. Where half of the acknowledgements are lost, timeouts are for nothing. Each took three tenths of the
/// threshold, and a line of 10 Mbit/s carried three.
#[test]
fn a_timeout_for_lost_acknowledgements_leaves_the_threshold() {
    let timed_out = || {
        let mut cubic = avoiding(100_000, 120_000);
        cubic.on_timeout(at(0), true);
        cubic.on_timeout(at(500), true);
        cubic
    };
    let answer = PacketFacts {
        pre_ack_outstanding: 1_000,
        acked_bytes: 1_000,
        any_acks: true,
        spurious_bytes: 20_000,
        ..PacketFacts::default()
    };
    let mut cubic = timed_out();
    // What acknowledges nothing new tells nothing.
    cubic.on_packet(at(510), &PacketFacts { any_acks: true, ..PacketFacts::default() }, PLAIN);
    cubic.on_packet(at(520), &answer, PLAIN);
    assert_eq!((cubic.ssthresh(), cubic.last_max), (100_000, 120_000));
    assert!((4_000..=5_000).contains(&cubic.window()), "{}: as at the start, not all at once", cubic.window());
    let mut lost = timed_out();
    for _ in 0..2 {
        lost.on_packet(at(520), &PacketFacts { spurious_bytes: 0, ..answer }, PLAIN);
    }
    lost.on_packet(at(530), &answer, PLAIN);
    assert_eq!(lost.ssthresh(), 70_000, "the first answer was for what was sent again");
    let mut marked = timed_out();
    marked.on_packet(at(520), &PacketFacts { any_mark: true, any_loss: true, ..answer }, PLAIN);
    assert!(marked.ssthresh() <= 70_000);
}

/// The epoch went on meanwhile, and the window then grew as fast as in slow start to make up for the time.
#[test]
fn time_spent_yielding_is_not_made_up_for() {
    let yielding = TimeCritical { sent_here: false, fast_grow: false };
    let mut cubic = avoiding(100_000, 110_000);
    round(&mut cubic, 0, 100);
    for millis in (100..20_000).step_by(100) {
        let facts = PacketFacts {
            pre_ack_outstanding: cubic.window(),
            acked_bytes: 10_000,
            any_acks: true,
            ..PacketFacts::default()
        };
        cubic.on_packet(at(millis), &facts, yielding);
    }
    let window = cubic.window();
    round(&mut cubic, 20_000, 100);
    assert!(cubic.window() < window + 3_000, "{window} {}", cubic.window());
}

/// RFC 7016 §3.5.2.1: not even what a cut took for nothing comes back at once.
#[test]
fn a_cut_for_nothing_is_not_taken_back_while_it_yields() {
    let yielding = TimeCritical { sent_here: false, fast_grow: false };
    let mut cubic = avoiding(100_000, 90_000);
    cubic.on_packet(at(0), &loss(100_000), yielding);
    let late = PacketFacts { any_acks: true, spurious_bytes: 1_000, outstanding: 49_000, ..PacketFacts::default() };
    cubic.on_packet(at(10), &late, yielding);
    assert_eq!((cubic.window(), cubic.ssthresh()), (50_000, 100_000));
}

/// RFC 7016 §3.5.2.1: no exponential growth while another session has time critical data.
#[test]
fn it_grows_gently_while_it_yields() {
    let yielding = TimeCritical { sent_here: false, fast_grow: false };
    let mut cubic = Cubic::new(SMSS);
    for millis in (0..10_000).step_by(100) {
        let window = cubic.window();
        let facts =
            PacketFacts { pre_ack_outstanding: window, acked_bytes: window, any_acks: true, ..PacketFacts::default() };
        cubic.on_packet(at(millis), &facts, yielding);
        assert!(cubic.window() <= window + 384.max(window / 200));
    }
    assert!(cubic.window() > 4_000);
}

/// RFC 9406: at a round trip that has grown by an eighth, growth slows down; after five rounds it is over.
#[test]
fn slow_start_ends_when_the_round_trip_grows() {
    let mut cubic = Cubic::new(SMSS);
    let mut delivered = 0;
    let mut windows = alloc::vec::Vec::new();
    for index in 0..20_u64 {
        let (prior, cwnd) = (delivered, cubic.window());
        let rtt = Duration::from_millis(if index < 5 { 100 } else { 120 });
        for _ in 0..cwnd.div_ceil(1_000) {
            delivered += 1_000;
            let sample = RateSample {
                delivered: 1_000,
                interval: rtt,
                rtt: Some(rtt),
                prior_delivered: prior,
                total_delivered: delivered,
                in_flight: cwnd,
                app_limited: false,
            };
            let facts = PacketFacts {
                pre_ack_outstanding: cubic.window(),
                acked_bytes: 1_000,
                any_acks: true,
                sample: Some(sample),
                ..PacketFacts::default()
            };
            cubic.on_packet(at(index * 100), &facts, PLAIN);
        }
        windows.push(cubic.window());
    }
    assert!(windows[4] >= 30 * windows[0] / 4, "it doubles: {windows:?}");
    assert!(windows[7] < windows[6] * 3 / 2, "it is conservative: {windows:?}");
    assert_eq!(cubic.ssthresh(), *windows.iter().find(|window| **window == cubic.ssthresh()).unwrap_or(&0));
    assert!(cubic.ssthresh() < u64::MAX);
}

#[test]
fn cube_roots_are_whole() {
    for root in [0, 1, 2, 10, 9_085, 2_642_245] {
        assert_eq!(cube_root(root * root * root), root);
        assert_eq!(cube_root(root * root * root + 1), root.max(u64::from(root == 0)));
    }
    assert_eq!(cube_root(u64::MAX), 2_642_245);
}

/// Of a hundred packets that a timeout declared lost, only the last had arrived. Its late acknowledgement took all back.
#[test]
fn a_timeout_is_not_taken_back_while_anything_that_it_declared_lost_is_open() {
    let mut cubic = Cubic { cwnd: 100_000, ..Cubic::new(SMSS) };
    cubic.on_timeout(at(0), true);
    let answer = PacketFacts {
        pre_ack_outstanding: 1_000,
        any_acks: true,
        spurious_bytes: 1_000,
        timed_out_bytes: 98_000,
        ..PacketFacts::default()
    };
    cubic.on_packet(at(10), &answer, PLAIN);
    assert_eq!(cubic.ssthresh(), 70_000);
    let mut lost = Cubic { cwnd: 100_000, ..Cubic::new(SMSS) };
    lost.on_timeout(at(0), true);
    lost.on_packet(at(10), &answer, PLAIN);
    lost.on_packet(at(20), &PacketFacts { acked_bytes: 1_000, spurious_bytes: 0, ..answer }, PLAIN);
    let last = PacketFacts { timed_out_bytes: 0, ..answer };
    lost.on_packet(at(30), &last, PLAIN);
    assert_eq!(lost.ssthresh(), 70_000, "what was sent again was needed");
    cubic.on_packet(at(30), &last, PLAIN);
    assert_eq!(cubic.ssthresh(), u64::MAX, "all had arrived");
}
