use super::*;
use alloc::vec::Vec;
use quickcheck::quickcheck;

const PLAIN: TimeCritical = TimeCritical { sent_here: false, fast_grow: true };
const SENDING: TimeCritical = TimeCritical { sent_here: true, fast_grow: false };
const YIELDING: TimeCritical = TimeCritical { sent_here: false, fast_grow: false };

fn at(cwnd: u64, ssthresh: u64) -> Rfc7016 {
    Rfc7016 { cwnd, ssthresh, ..Rfc7016::new(1_460) }
}

/// A packet that acknowledges `acked` of `flight` bytes.
fn acks(flight: u64, acked: u64) -> PacketFacts {
    PacketFacts {
        pre_ack_outstanding: flight,
        acked_bytes: acked,
        any_acks: true,
        outstanding: flight - acked,
        ..PacketFacts::default()
    }
}

/// The same, with a fragment of 1,000 bytes declared lost.
fn loses(flight: u64, acked: u64) -> PacketFacts {
    PacketFacts {
        any_naks: true,
        any_loss: true,
        lost_bytes: 1_000,
        outstanding: flight - acked - 1_000,
        ..acks(flight, acked)
    }
}

/// RFC 7016 appendix A.2: CWND_INIT is IW of RFC 5681 §3.1, for example 4380 bytes.
#[test]
fn the_initial_window_is_that_of_rfc_5681() {
    for (smss, window) in
        [(1_460, 4_380), (1_200, 3_600), (1_095, 4_380), (1_096, 3_288), (2_190, 6_570), (2_191, 4_382)]
    {
        assert_eq!(Rfc7016::new(smss).window(), window);
    }
    assert_eq!(Rfc7016::new(1_460).ssthresh(), u64::MAX);
}

/// Figure 24.
#[test]
fn a_timeout_restarts_the_window() {
    for (cwnd, ssthresh, was_loss, expected) in [
        (20_000, 10_000, true, (1_460, 15_000)),
        (20_000, 18_000, true, (1_460, 18_000)),
        (20_000, 10_000, false, (4_380, 15_000)),
        (1_600, 10_000, false, (1_600, 10_000)),
        (20_000, u64::MAX, true, (1_460, u64::MAX)),
    ] {
        let mut controller = at(cwnd, ssthresh);
        controller.acked_bytes_accumulator = 99;
        controller.on_timeout(Instant::ORIGIN, was_loss);
        assert_eq!((controller.window(), controller.ssthresh()), expected);
        assert_eq!(controller.acked_bytes_accumulator, 0);
    }
}

/// What was in flight before the timeout may be said once more to have come, or an acknowledgement come twice.
#[test]
fn after_a_timeout_an_acknowledgement_of_nothing_new_does_not_widen_the_window() {
    let mut controller = Rfc7016::new(1_200);
    controller.on_timeout(Instant::ORIGIN, true);
    controller.on_packet(Instant::ORIGIN, &acks(1_200, 0), PLAIN);
    assert_eq!(controller.window(), 1_200);
    controller.on_packet(Instant::ORIGIN, &acks(1_200, 1_200), PLAIN);
    assert_eq!(controller.window(), 3 * 1_200);
}

/// Figure 25, ANY_LOSS, but for what lies between a half and an eighth.
#[test]
fn a_loss_cuts_by_a_half_or_an_eighth_of_what_was_in_flight() {
    for (time_critical, flight, expected) in [
        (PLAIN, 40_000, 20_000),
        (PLAIN, 67_200, 33_600),
        (PLAIN, 67_201, 33_601),
        (PLAIN, 80_000, 46_400),
        (PLAIN, 268_800, 235_200),
        (PLAIN, 8_000_000, 7_000_000),
        (YIELDING, 80_000, 40_000),
        (SENDING, 40_000, 35_000),
        (SENDING, 80_000, 70_000),
        (PLAIN, 6_000, 4_380),
    ] {
        let mut controller = at(flight, u64::MAX);
        controller.acked_bytes_accumulator = 99;
        controller.on_packet(Instant::ORIGIN, &loses(flight, 1_000), time_critical);
        assert_eq!((controller.window(), controller.ssthresh()), (expected, expected));
        assert_eq!(controller.acked_bytes_accumulator, 0);
    }
}

/// Figure 25, growth, one packet that acknowledges `acked` bytes of a full window.
#[test]
fn growth_follows_the_phase_and_the_time_critical_state() {
    for (time_critical, cwnd, ssthresh, acked, expected) in [
        // Slow start: what was acknowledged, at most SMSS.
        (PLAIN, 10_000, u64::MAX, 1_000, 11_000),
        (PLAIN, 10_000, u64::MAX, 2_920, 11_460),
        // Time critical slow start: a quarter, rounded up.
        (SENDING, 10_000, u64::MAX, 1_001, 10_251),
        // No slow start while yielding: AITHRESH is 625, 1,300 bytes yield two segments of 24.
        (YIELDING, 10_000, u64::MAX, 1_300, 10_048),
        // Avoidance: AITHRESH 328, a segment of 1,460 in 48ths; and 625.
        (PLAIN, 10_000, 5_000, 1_300, 10_144),
        (SENDING, 10_000, 5_000, 1_300, 10_048),
        // AITHRESH is capped at 4,800, or 2,400 when sending time critical data: 1 % a round trip.
        (PLAIN, 160_000, 5_000, 4_800, 160_048),
        (PLAIN, 160_000, 5_000, 4_799, 160_000),
        (SENDING, 160_000, 5_000, 4_800, 160_048),
        (YIELDING, 160_000, 5_000, 4_800, 160_024),
        // AITHRESH is 64 at the least.
        (PLAIN, 500, 400, 64, 4_380),
        // Back to the initial window at once, but not while yielding.
        (SENDING, 1_460, 400, 640, 4_380),
        (YIELDING, 1_460, 400, 640, 1_628),
    ] {
        let mut controller = at(cwnd, ssthresh);
        controller.on_packet(Instant::ORIGIN, &acks(cwnd, acked), time_critical);
        assert_eq!(controller.window(), expected, "{time_critical:?} {cwnd} {ssthresh} {acked}");
    }
}

/// §3.5.2.1: what is below the initial window after a timeout is not brought up to it while making way.
#[test]
fn a_loss_makes_no_window_larger_while_yielding() {
    for (time_critical, expected) in [(PLAIN, 4_380), (YIELDING, 1_600)] {
        let mut controller = at(1_600, 9_000);
        controller.on_packet(Instant::ORIGIN, &loses(3_000, 1_000), time_critical);
        assert_eq!(controller.window(), expected);
    }
}

#[test]
fn the_accumulator_keeps_what_is_left_of_a_segment() {
    let mut controller = at(10_000, 5_000);
    for _ in 0..5 {
        controller.on_packet(Instant::ORIGIN, &acks(11_000, 300), PLAIN);
    }
    // 1,500 bytes are four times 328 and some, and a little of it is for what the window has grown meanwhile.
    assert_eq!(controller.window(), 10_000 + 4 * 48);
}

/// RFC 5681 §3.1: a segment a round trip, as large as packets are by now. Datagrams of 64 KiB make no larger one.
#[test]
fn a_round_trip_adds_a_segment() {
    for (segment, grown) in [(0, 1_200), (1_150, 1_150), (1_440, 1_440), (65_000, 1_460)] {
        let mut controller = Rfc7016 { cwnd: 48_000, ssthresh: 5_000, ..Rfc7016::new(1_200) };
        for _ in 0..40 {
            controller.on_packet(Instant::ORIGIN, &PacketFacts { segment, ..acks(60_000, 1_200) }, PLAIN);
        }
        // In steps of 48, of which the last may be missing; and the window itself grows under way.
        let more = controller.window() - 48_000;
        assert!(more <= grown && more + 96 > grown, "{more} for {segment}");
    }
}

/// Two share a line, and both lose a packet each time it is full. The smaller one catches up, wherever they begin.
#[test]
fn two_of_different_size_get_the_same() {
    for line in [60_000, 80_000, 100_000] {
        let mut controllers = [at(line / 8, 1), at(line - line / 8, 1)];
        for _ in 0..4_000 {
            let full = controllers.iter().map(Rfc7016::window).sum::<u64>() > line;
            for controller in &mut controllers {
                let flight = controller.window();
                controller.cuts.forget();
                let facts = if full { loses(flight, 1_460) } else { acks(flight, flight / 2) };
                // A round trip, in as many packets as acknowledge it.
                let packets = if full { 1 } else { flight / 1_460 };
                let facts = PacketFacts { acked_bytes: 1_460.min(flight - 1_000), ..facts };
                (0..packets).for_each(|_| {
                    controller.on_packet(Instant::ORIGIN, &facts, PLAIN);
                });
            }
        }
        let [small, large] = controllers.map(|controller| controller.window());
        assert!(small * 5 > large * 4, "{small} and {large} of {line}");
    }
}

/// Figure 25: no growth on negative acknowledgements, or without acknowledgements. RFC 7661 §4.3: nor with less than half of
/// the window in use.
#[test]
fn growth_needs_half_of_the_window_and_no_doubt() {
    let full = acks(10_000, 1_000);
    for facts in [
        PacketFacts { any_naks: true, ..full },
        PacketFacts { any_acks: false, ..full },
        PacketFacts { pre_ack_outstanding: 4_999, ..full },
    ] {
        let mut controller = at(10_000, u64::MAX);
        controller.on_packet(Instant::ORIGIN, &facts, PLAIN);
        assert_eq!(controller.window(), 10_000);
    }
    let mut controller = at(10_000, u64::MAX);
    controller.on_packet(Instant::ORIGIN, &PacketFacts { pre_ack_outstanding: 5_000, ..full }, PLAIN);
    assert_eq!(controller.window(), 11_000, "half of it is used");
}

/// RFC 5681 §4.3, RFC 6582: one reduction per window of data.
#[test]
fn one_window_of_data_is_cut_for_once() {
    let mut controller = at(40_000, u64::MAX);
    controller.on_packet(Instant::ORIGIN, &loses(40_000, 1_000), PLAIN);
    assert_eq!(controller.window(), 20_000);
    let mut flight = 38_000;
    while flight > 2_000 {
        controller.on_packet(Instant::ORIGIN, &loses(flight, 1_000), PLAIN);
        assert_eq!(controller.window(), 20_000);
        flight -= 2_000;
    }
    controller.on_packet(Instant::ORIGIN, &acks(20_000, 2_000), PLAIN);
    assert_eq!(controller.window(), 20_000, "the last of the old window");
    controller.on_packet(Instant::ORIGIN, &acks(20_000, 2_000), PLAIN);
    assert_eq!(controller.window(), 20_144);
    controller.on_packet(Instant::ORIGIN, &loses(20_144, 1_000), PLAIN);
    assert_eq!(controller.window(), 10_072);
}

/// A loss halves it, and a timeout leaves a segment in each round trip.
#[test]
fn its_target_is_a_window_in_each_round_trip() {
    let target = |controller: &Rfc7016| controller.target_rate(core::time::Duration::from_millis(50));
    let mut controller = at(40_000, u64::MAX);
    assert_eq!(target(&controller), 800_000);
    controller.on_packet(Instant::ORIGIN, &loses(40_000, 1_000), PLAIN);
    assert_eq!(target(&controller), 400_000);
    controller.on_timeout(Instant::ORIGIN, true);
    assert_eq!(target(&controller), 29_200);
}

#[test]
fn a_new_path_is_learned_anew() {
    let mut controller = at(40_000, 9_000);
    controller.on_path_change();
    assert_eq!((controller.window(), controller.ssthresh()), (4_380, u64::MAX));
}

/// The threshold is half as high for a time critical sender: what was accumulated below the other is more than it, and
/// made the window grow with nothing acknowledged.
#[test]
fn what_is_left_over_of_a_larger_threshold_does_not_grow_the_window() {
    let mut controller = Rfc7016::new(1_200);
    let facts = |outstanding, acked_bytes, any_loss| PacketFacts {
        pre_ack_outstanding: outstanding,
        acked_bytes,
        any_acks: true,
        any_naks: any_loss,
        any_loss,
        ..PacketFacts::default()
    };
    controller.on_packet(
        Instant::ORIGIN,
        &facts(120_000, 0, true),
        TimeCritical { sent_here: false, fast_grow: false },
    );
    let plain = TimeCritical { sent_here: false, fast_grow: true };
    controller.on_packet(Instant::ORIGIN, &facts(120_000, 3_000, false), plain);
    let before = controller.window();
    controller.on_packet(
        Instant::ORIGIN,
        &facts(120_000, 1, false),
        TimeCritical { sent_here: true, fast_grow: false },
    );
    assert!(controller.window() <= before + 1);
}

/// What was lost was late: nothing is left of the cut. Not so if some of it is lost in truth, or a mark was reported.
#[test]
fn a_cut_is_taken_back_once_all_that_was_lost_has_come() {
    let spurious = |bytes| PacketFacts { spurious_bytes: bytes, ..acks(40_000, 1_000) };
    let lost = |bytes| PacketFacts { lost_bytes: bytes, ..loses(40_000, 1_000) };
    let mark = PacketFacts { any_mark: true, ..loses(40_000, 1_000) };
    let both = |bytes| PacketFacts { spurious_bytes: bytes, ..lost(bytes) };
    for (packets, taken_back) in [
        (&[lost(2_000), spurious(2_000)][..], true),
        (&[both(1_000), spurious(500)], false),
        (&[both(1_000), spurious(1_000)], true),
        (&[lost(1_000), lost(1_000), spurious(1_500), spurious(500)], true),
        (&[lost(1_000), lost(1_000), spurious(1_000)], false),
        (&[mark, spurious(1_000)], false),
        (&[lost(1_000), mark, spurious(1_000)], false),
        (&[lost(1_000)], false),
    ] {
        let mut controller = at(40_000, 60_000);
        packets.iter().for_each(|facts| {
            controller.on_packet(Instant::ORIGIN, facts, PLAIN);
        });
        let expected = if taken_back { (40_000, 60_000) } else { (20_000, 20_000) };
        assert_eq!((controller.window(), controller.ssthresh()), expected, "{packets:?}");
    }
    let mut controller = at(40_000, 60_000);
    controller.on_packet(Instant::ORIGIN, &lost(1_000), PLAIN);
    controller.on_timeout(Instant::ORIGIN, true);
    controller.on_packet(Instant::ORIGIN, &spurious(1_000), PLAIN);
    assert!(controller.window() < 10_000, "a timeout is not taken back");
}

quickcheck! {
    /// RFC 7016 §3.5.2: never more aggressive than slow start, so at most SMSS, and at most what was acknowledged,
    /// is added for a packet, but for the return to the initial window.
    fn it_never_grows_faster_than_slow_start(packets: Vec<(u32, u16, u8)>) -> bool {
        let mut controller = Rfc7016::new(1_200);
        packets.into_iter().all(|(flight, acked, bits)| {
            let facts = PacketFacts {
                pre_ack_outstanding: u64::from(flight % 400_000).max(u64::from(acked)),
                acked_bytes: u64::from(acked),
                any_acks: bits & 1 != 0,
                any_naks: bits & 2 != 0,
                any_loss: bits & 12 == 12,
                outstanding: u64::from(flight % 400_000).saturating_sub(u64::from(acked)),
                ..PacketFacts::default()
            };
            let before = controller.window();
            if bits & 0x70 == 0x70 {
                controller.on_timeout(Instant::ORIGIN, bits & 1 == 0);
                return controller.window() <= 3_600;
            }
            controller.on_packet(Instant::ORIGIN, &facts, TimeCritical { sent_here: bits & 0x80 != 0, fast_grow: bits & 0x10 != 0 });
            let grown = controller.window().saturating_sub(before);
            facts.any_loss || controller.window() <= 3_600 || grown <= 1_200.min(facts.acked_bytes)
        })
    }
}
