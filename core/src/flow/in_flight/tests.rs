use super::*;
use quickcheck::quickcheck;

/// The method of RFC 7016 §3.6.2.5 to the letter: one counter per fragment, all visited each time.
#[derive(Default)]
struct Counters {
    next_tsn: u64,
    max_tsn_ack: u64,
    queue: Vec<(u64, Lost, u32)>,
}

impl Counters {
    fn sent(&mut self, fragment: Lost) -> u64 {
        self.next_tsn += 1;
        self.queue.push((self.next_tsn, fragment, 0));
        self.next_tsn
    }
    fn acked(&mut self, tsn: u64) -> Option<u32> {
        let index = self.queue.iter().position(|entry| entry.0 == tsn)?;
        self.max_tsn_ack = self.max_tsn_ack.max(tsn);
        Some(self.queue.remove(index).1.size)
    }
    fn end_of_acks(&mut self) -> (bool, Vec<Lost>) {
        let mut any = false;
        for (tsn, _, naks) in &mut self.queue {
            if *tsn < self.max_tsn_ack {
                *naks += 1;
                any = true;
            }
        }
        let lost = self.queue.iter().filter(|entry| entry.2 >= 3).map(|entry| entry.1).collect();
        self.queue.retain(|entry| entry.2 < 3);
        (any, lost)
    }
}

quickcheck! {
    fn it_finds_what_counters_find(ops: Vec<(u8, u16)>) -> bool {
        let (mut subject, mut model) = (InFlight::new(false), Counters::default());
        for (number, (op, value)) in ops.into_iter().enumerate() {
            match op % 8 {
                0..=3 => {
                    let fragment = Lost { flow_slot: 3, sequence: number as u64, size: u32::from(value), packet: 0, number: 0, sent: 0, by_time: false };
                    let tsn = subject.sent(3, fragment.sequence, fragment.size);
                    assert_eq!(tsn, model.sent(fragment));
                }
                4 | 5 => {
                    let tsn = u64::from(value) % (model.next_tsn + 2);
                    assert_eq!(subject.acked(Instant::ORIGIN, tsn, LossEpoch::NONE), model.acked(tsn));
                }
                6 => {
                    let mut lost = Vec::new();
                    let any = subject.end_of_acks(Instant::ORIGIN, true, &mut lost);
                    assert_eq!((any, lost), model.end_of_acks());
                }
                _ if value.is_multiple_of(16) => {
                    let mut lost = Vec::new();
                    subject.time_out(&mut lost);
                    let all: Vec<Lost> = model.queue.drain(..).map(|entry| entry.1).collect();
                    assert_eq!(lost, all);
                }
                _ => {}
            }
            assert_eq!(subject.outstanding(), model.queue.iter().map(|entry| u64::from(entry.1.size)).sum::<u64>());
            assert_eq!(subject.is_empty(), model.queue.is_empty());
        }
        true
    }
}

/// RFC 7016 §3.6.2.5: lost with the third negative acknowledgement, not before.
#[test]
fn the_third_negative_acknowledgement_means_loss() {
    let mut in_flight = InFlight::new(false);
    for sequence in 1..=5 {
        assert_eq!(in_flight.sent(0, sequence, 100), sequence);
    }
    let mut lost = Vec::new();
    for tsn in 2..=4 {
        assert!(lost.is_empty());
        assert_eq!(in_flight.acked(Instant::ORIGIN, tsn, LossEpoch::NONE), Some(100));
        assert!(in_flight.end_of_acks(Instant::ORIGIN, true, &mut lost));
    }
    assert_eq!(lost, [Lost { flow_slot: 0, sequence: 1, size: 100, packet: 0, number: 0, sent: 0, by_time: false }]);
    assert_eq!(in_flight.outstanding(), 100);
    assert_eq!(in_flight.acked(Instant::ORIGIN, 1, LossEpoch::NONE), None, "no longer in flight");
    assert_eq!(in_flight.acked(Instant::ORIGIN, 2, LossEpoch::NONE), None, "acknowledged once already");
}

/// What was lost in an earlier window, or by a timeout, could be kept and acknowledged whenever there was a cut to take
/// back.
#[test]
fn what_was_found_lost_before_is_not_credited_to_what_came_after() {
    let mut in_flight = InFlight::new(false);
    let mut lost = Vec::new();
    let mut lose_one = |in_flight: &mut InFlight| {
        let first = in_flight.sent(0, 1, 100);
        for tsn in first + 1..=first + 3 {
            in_flight.sent(0, tsn, 100);
            in_flight.acked(Instant::ORIGIN, tsn, LossEpoch::NONE);
            in_flight.end_of_acks(Instant::ORIGIN, false, &mut lost);
        }
        in_flight.loss_epoch()
    };
    let before = lose_one(&mut in_flight);
    let cut = lose_one(&mut in_flight);
    in_flight.begin_undo_epoch();
    let after = lose_one(&mut in_flight);
    for (loss_epoch, credited) in [(LossEpoch::NONE, 0), (before, 0), (cut, 100), (after, 100)] {
        in_flight.spurious_loss(100, loss_epoch);
        assert_eq!(in_flight.take_spurious_bytes(), credited, "{loss_epoch:?} of {cut:?}");
    }
    assert_eq!(lost.len(), 3);
}

#[test]
fn a_hole_left_by_an_acknowledgement_takes_no_room_for_long() {
    let mut in_flight = InFlight::new(false);
    let mut lost = Vec::new();
    in_flight.sent(0, 0, 1);
    for sequence in 1..10_000 {
        let tsn = in_flight.sent(0, sequence, 1);
        in_flight.acked(Instant::ORIGIN, tsn, LossEpoch::NONE);
        in_flight.end_of_acks(Instant::ORIGIN, true, &mut lost);
        assert!(in_flight.slots.len() <= 4);
    }
    assert_eq!(lost.len(), 1);
}

/// The same by one that has made this end wait for what is late, as long as it can.
#[test]
fn a_hole_takes_no_room_without_end_even_with_a_reordering_window() {
    let mut in_flight = InFlight::new(false);
    in_flight.set_min_rtt(Some(Duration::from_secs(120)));
    in_flight.spurious_loss(1, LossEpoch::NONE.next());
    in_flight.sent(0, 0, 1);
    let mut lost = Vec::new();
    for sequence in 1..3 * REMEMBERED_MAX as u64 {
        // All within the time that is waited for at most.
        let now = Instant::from_micros(sequence);
        let tsn = in_flight.sent(0, sequence, 1);
        in_flight.acked(now, tsn, LossEpoch::NONE);
        in_flight.end_of_acks(now, true, &mut lost);
        assert!(in_flight.slots.len() <= REMEMBERED_MAX + 4);
    }
    assert_eq!(lost.len(), 1);
}

/// Else there would be no reordering window for a sender with more than that in flight.
#[test]
fn a_large_flight_has_a_reordering_window() {
    let mut in_flight = InFlight::new(false);
    in_flight.set_min_rtt(Some(Duration::from_secs(1)));
    in_flight.spurious_loss(1, LossEpoch::NONE.next());
    let mut lost = Vec::new();
    let flight = 3 * REMEMBERED_MAX as u64;
    for sequence in 0..=flight {
        in_flight.sent(0, sequence, 1);
    }
    for tsn in 2..flight {
        in_flight.sent(0, flight + tsn, 1);
        in_flight.acked(Instant::from_micros(tsn), tsn, LossEpoch::NONE);
        in_flight.end_of_acks(Instant::from_micros(tsn), true, &mut lost);
    }
    assert_eq!(lost, []);
}

#[test]
fn the_memory_is_that_of_what_is_in_flight() {
    let mut in_flight = InFlight::new(false);
    assert_eq!(in_flight.memory(), 0);
    for sequence in 0..1_000 {
        in_flight.sent(0, sequence, 100);
    }
    let least = 1_000 * size_of::<Lost>();
    assert!((least..4 * least).contains(&in_flight.memory()), "{} bytes", in_flight.memory());
}

/// A round trip of 80 ms, and a fragment sent at each of these times in milliseconds.
fn sent_at(times: &[u64]) -> InFlight {
    let mut in_flight = InFlight::new(false);
    in_flight.set_round_trips(Some(Duration::from_millis(80)), Duration::ZERO);
    for (sequence, at) in times.iter().enumerate() {
        in_flight.begin_packet(Instant::from_millis(*at));
        in_flight.sent(0, sequence as u64 + 1, 100);
    }
    in_flight
}

fn sequences(lost: &[Lost]) -> Vec<u64> {
    lost.iter().map(|lost| lost.sequence).collect()
}

/// RFC 9002 §6.1.2.
#[test]
fn one_negative_acknowledgement_means_loss_after_nine_eighths_of_a_round_trip() {
    let at = Instant::from_millis;
    let mut in_flight = sent_at(&[0, 2, 5, 6]);
    let mut lost = Vec::new();
    in_flight.acked(at(85), 3, LossEpoch::NONE);
    in_flight.end_of_acks(at(85), true, &mut lost);
    assert_eq!((sequences(&lost), in_flight.late_at(at(85))), (Vec::new(), Some(at(90))));
    in_flight.lose_late(at(89), &mut lost);
    assert_eq!((sequences(&lost), in_flight.late_at(at(89))), (Vec::new(), Some(at(90))));
    let epoch = in_flight.loss_epoch();
    in_flight.lose_late(at(90), &mut lost);
    assert_eq!((sequences(&lost), in_flight.late_at(at(90))), ([1].into(), Some(at(92))));
    assert!(lost[0].by_time && in_flight.loss_epoch() != epoch);
    in_flight.lose_late(at(95), &mut lost);
    // What was sent after all that is acknowledged has no negative acknowledgement.
    assert_eq!((sequences(&lost), in_flight.late_at(at(95))), ([1, 2].into(), None));
    in_flight.lose_late(at(10_000), &mut lost);
    assert_eq!(lost.len(), 2);
}

/// A round trip that has grown, and the reordering window, are waited for too.
#[test]
fn time_shows_a_loss_later_on_a_path_that_is_slower_or_mixes_packets_up() {
    let at = Instant::from_millis;
    let mut in_flight = sent_at(&[0, 10]);
    in_flight.acked(at(114), 2, LossEpoch::NONE);
    in_flight.end_of_acks(at(114), true, &mut Vec::new());
    assert_eq!(in_flight.late_at(at(114)), Some(at(117)));
    let mut in_flight = sent_at(&[0, 10]);
    in_flight.set_round_trips(Some(Duration::from_millis(80)), Duration::from_millis(130));
    in_flight.acked(at(90), 2, LossEpoch::NONE);
    in_flight.end_of_acks(at(90), true, &mut Vec::new());
    assert_eq!(in_flight.late_at(at(90)), Some(at(130)), "round trips vary by so much");
    let mut in_flight = sent_at(&[0, 20]);
    in_flight.set_min_rtt(Some(Duration::from_millis(80)));
    in_flight.spurious_loss(100, LossEpoch::NONE.next());
    in_flight.acked(at(100), 2, LossEpoch::NONE);
    in_flight.end_of_acks(at(100), true, &mut Vec::new());
    assert_eq!(in_flight.late_at(at(100)), Some(at(110)));
}

/// The counter of time is 32 bits of microseconds.
#[test]
fn time_that_wraps_shows_the_same() {
    let begun = Instant::from_micros(u64::from(u32::MAX) - 10_000);
    let mut in_flight = sent_at(&[]);
    for sequence in 1..=2 {
        in_flight.begin_packet(begun);
        in_flight.sent(0, sequence, 100);
    }
    let mut lost = Vec::new();
    in_flight.acked(begun + Duration::from_millis(85), 2, LossEpoch::NONE);
    in_flight.end_of_acks(begun + Duration::from_millis(85), true, &mut lost);
    assert_eq!(
        (lost.len(), in_flight.late_at(begun + Duration::from_millis(85))),
        (0, Some(begun + Duration::from_micros(95_625)))
    );
}

#[test]
fn the_tail_is_taken_out_and_counts_as_lost_once_an_answer_to_its_probe_comes() {
    let at = Instant::from_millis;
    let mut in_flight = sent_at(&[0, 0, 0]);
    in_flight.set_min_rtt(Some(Duration::from_millis(80)));
    for (after, lost) in [(79, 0), (80, 100)] {
        let tail = in_flight.tail().unwrap();
        in_flight.take_tail();
        assert_eq!(in_flight.outstanding(), 200);
        let again = in_flight.sent(0, tail.sequence, 100);
        in_flight.mark_repeated(at(160));
        in_flight.acked(at(160 + after), again, LossEpoch::PROBED);
        in_flight.end_of_acks(at(160 + after), true, &mut Vec::new());
        assert_eq!((in_flight.take_probed_bytes(), in_flight.take_spurious_bytes()), (lost, 0));
        in_flight.sent(0, 4, 100);
    }
}
