use super::*;
use alloc::vec::Vec;
use core::time::Duration;

fn at(millis: u64) -> Instant {
    Instant::from_millis(1_000 + millis)
}

/// A packet of 1,000 bytes; returns its number.
fn send(rate: &mut DeliveryRate, millis: u64, outstanding: u64) -> u32 {
    rate.begin_packet(at(millis));
    rate.on_sent(outstanding)
}

/// A line of 1,000 bytes each 10 ms and a round trip of 100 ms, sent to at twice that rate.
#[test]
fn a_burst_is_rated_at_what_the_path_delivers() {
    let mut rate = DeliveryRate::default();
    let numbers: Vec<u32> = (0..20).map(|index| send(&mut rate, index * 5, index * 1_000)).collect();
    let mut last = None;
    for (index, number) in (0..).zip(numbers) {
        rate.on_acked(at(100 + index * 10), number, 1_000, true);
        last = rate.take_sample();
    }
    let sample = last.unwrap();
    assert_eq!((sample.delivered, sample.total_delivered), (20_000, 20_000));
    // From the first packet to the last acknowledgement, as nothing was acknowledged before.
    assert_eq!(sample.interval, Duration::from_millis(290));
    // What is sent next is measured against what was delivered since.
    let next = send(&mut rate, 290, 0);
    rate.on_acked(at(390), next, 1_000, true);
    assert_eq!(rate.take_sample().unwrap().interval, Duration::from_millis(100));
}

/// Acknowledgements that were held up somewhere do not make the path faster than the sender was.
#[test]
fn a_heap_of_acknowledgements_is_no_faster_than_the_sending() {
    let mut rate = DeliveryRate::default();
    let numbers: Vec<u32> = (0..20).map(|index| send(&mut rate, index * 10, index * 1_000)).collect();
    for number in numbers {
        rate.on_acked(at(300), number, 1_000, true);
    }
    let sample = rate.take_sample().unwrap();
    assert!(sample.interval >= Duration::from_millis(190), "{sample:?}");
    assert!(sample.rate().unwrap() <= 20_000 * 1_000 / 190);
}

#[test]
fn what_was_sent_without_more_to_send_is_marked_until_it_is_acknowledged() {
    let mut rate = DeliveryRate::default();
    let first = send(&mut rate, 0, 0);
    rate.app_limited(1_000);
    let second = send(&mut rate, 1, 1_000);
    rate.app_limited(2_000);
    rate.on_acked(at(100), first, 1_000, true);
    assert!(!rate.take_sample().unwrap().app_limited, "there was more when it was sent");
    rate.on_acked(at(101), second, 1_000, true);
    assert!(rate.take_sample().unwrap().app_limited);
    let third = send(&mut rate, 102, 0);
    rate.on_acked(at(200), third, 1_000, true);
    assert!(rate.take_sample().unwrap().app_limited, "a message a round trip is no measure of the path");
    let fourth = send(&mut rate, 201, 0);
    rate.on_acked(at(300), fourth, 1_000, true);
    assert!(!rate.take_sample().unwrap().app_limited);
}

#[test]
fn round_trips_are_those_of_packets_that_were_sent_once() {
    let mut rate = DeliveryRate::default();
    let (once, again) = (send(&mut rate, 0, 0), send(&mut rate, 10, 1_000));
    rate.on_acked(at(60), once, 1_000, true);
    assert_eq!(rate.take_sample().unwrap().rtt, Some(Duration::from_millis(60)));
    rate.on_acked(at(61), again, 1_000, false);
    assert_eq!(rate.take_sample().unwrap().rtt, None);
}

#[test]
fn numbers_wrap_and_what_is_gone_is_forgotten() {
    let mut rate = DeliveryRate { first: u32::MAX - 1, ..DeliveryRate::default() };
    let numbers: Vec<u32> = (0..4).map(|index| send(&mut rate, index, index * 1_000)).collect();
    assert_eq!(numbers, [u32::MAX - 1, u32::MAX, 0, 1]);
    rate.forget_before(0);
    assert_eq!(rate.records.len(), 2);
    rate.on_acked(at(50), 1, 1_000, true);
    assert_eq!(rate.take_sample().unwrap().in_flight, 3_000);
    // One that was forgotten counts as delivered, and says no more.
    rate.on_acked(at(51), u32::MAX, 1_000, true);
    assert_eq!(rate.take_sample(), None);
    rate.forget_all();
    assert_eq!(send(&mut rate, 60, 0), 2);
}
