//! When negative acknowledgements mean loss (RFC 7016 §3.6.2.5) on a path that brings packets out of order.

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::params::NAK_LOSS_THRESHOLD;
use crate::time::{Instant, micros32};

/// The reordering window grows by this part of the shortest round trip, up to all of it (RFC 8985 §6.2).
const STEPS: u32 = 4;
/// Records of MAX_TSN_ACK that are kept over the reordering window: its resolution.
const MARKS: u32 = 32;
/// The longest reordering window: the round trip is partly what the far end says it is.
const MAX_WINDOW: Duration = Duration::from_secs(1);
/// The least time in microseconds that shows a loss: the timestamps of the protocol have ticks of 4 ms (RFC 9002 §6.1.2,
/// kGranularity).
const GRANULARITY: u32 = 4_000;

/// Since when fragments have had negative acknowledgements, and how long after it was sent each is lost.
///
/// The RFC's three are right where packets keep their order. Where some are late by more, each of them costs a
/// retransmission and, what is worse, half the window. So each time that one proves to have been late, those to come
/// are waited for a little longer after their first negative acknowledgement, by at most one step in a round trip. There
/// are two proofs: what was declared lost is acknowledged before it was sent again; or it is so soon after it was sent
/// again that no answer to that can have come yet.
#[derive(Debug)]
pub(super) struct Reordering {
    /// The reordering window: how long after its first negative acknowledgement a fragment is declared lost, in steps.
    window: u32,
    /// MAX_TSN_ACK after the last packets of acknowledgements, the latest first.
    recent: [u64; NAK_LOSS_THRESHOLD - 1],
    /// MAX_TSN_ACK at several times, the oldest first. The first is what it was at the beginning of the reordering window.
    marks: VecDeque<(Instant, u64)>,
    /// What was sent more than once, with the time: TSNs in ascending order.
    repeated: VecDeque<(u64, Instant)>,
    /// The shortest round trip by what the far end echoes.
    pub(super) echoed: Option<Duration>,
    /// The microseconds after which a fragment is late, by the round trips of the past.
    pub(super) round_trips: Option<u32>,
    /// The shortest by this end's clock alone. A far end that echoes too little would otherwise make round trips longer
    /// than they are, and every acknowledgement of a retransmission a proof that nothing was lost.
    measured: Option<Duration>,
    /// The fragment that is measured now, which was sent once, and when.
    timed: Option<(u64, Instant)>,
    /// MAX_TSN_ACK from which the reordering window may grow again.
    grow_from: u64,
    /// Everything was declared lost, and what is acknowledged now proves nothing.
    timed_out: bool,
}

impl Reordering {
    pub(super) const fn new() -> Self {
        Self {
            window: 0,
            recent: [0; NAK_LOSS_THRESHOLD - 1],
            marks: VecDeque::new(),
            repeated: VecDeque::new(),
            echoed: None,
            round_trips: None,
            measured: None,
            timed: None,
            grow_from: 0,
            timed_out: false,
        }
    }

    pub(super) fn repeated(&mut self, tsn: u64, now: Instant) {
        self.repeated.push_back((tsn, now));
    }

    /// This is sent for the first time.
    pub(super) fn fresh(&mut self, tsn: u64, now: Instant) {
        self.timed.get_or_insert((tsn, now));
    }

    /// The shortest round trip, of two measures the shorter one.
    fn min_rtt(&self) -> Option<Duration> {
        self.echoed.map(|echoed| self.measured.map_or(echoed, |measured| measured.min(echoed)))
    }

    /// Whether an acknowledgement of now can be for this transmission, rather than an earlier one of the same fragment.
    pub(super) fn is_answer_to(&mut self, tsn: u64, now: Instant) -> bool {
        let Ok(index) = self.repeated.binary_search_by_key(&tsn, |(tsn, _)| *tsn) else {
            self.timed_out = false;
            self.measure(tsn, now);
            return true;
        };
        let (Some((_, sent)), Some(min_rtt)) = (self.repeated.get(index), self.min_rtt()) else { return true };
        now.saturating_duration_since(*sent) >= min_rtt
    }

    /// Whether the fragment of this transmission was sent before.
    pub(super) fn was_repeated(&self, tsn: u64) -> bool {
        self.repeated.binary_search_by_key(&tsn, |(tsn, _)| *tsn).is_ok()
    }

    fn measure(&mut self, tsn: u64, now: Instant) {
        if let Some((_, sent)) = self.timed.take_if(|(timed, _)| *timed == tsn) {
            let took = now.saturating_duration_since(sent);
            self.measured = Some(self.measured.map_or(took, |measured| measured.min(took)));
        }
    }

    /// A loss was spurious.
    pub(super) fn widen(&mut self, max_tsn_ack: u64, next_tsn: u64) {
        if !self.timed_out && max_tsn_ack >= self.grow_from {
            self.window = STEPS.min(self.window + 1);
            self.grow_from = next_tsn;
        }
    }

    /// After a packet of acknowledgements: the TSNs below which fragments are in doubt, and are lost. Unless it
    /// `may_wait`, three negative acknowledgements are enough, however wide the reordering window is.
    pub(super) fn end_of_acks(&mut self, now: Instant, may_wait: bool, max_tsn_ack: u64) -> (u64, u64) {
        let [latest, three_naks] = self.recent;
        self.recent = [max_tsn_ack, latest];
        let waited = self.mark(now, max_tsn_ack).filter(|_| may_wait).unwrap_or(max_tsn_ack);
        (waited, waited.min(three_naks))
    }

    /// How long the reordering window is; none if it is closed.
    fn window(&self) -> Option<Duration> {
        Some((self.min_rtt().filter(|_| self.window > 0)? * self.window / STEPS).min(MAX_WINDOW))
    }

    /// How many microseconds after it was sent a fragment is lost that has a negative acknowledgement: nine eighths of the
    /// round trip (RFC 9002 §6.1.2), and the reordering window. None before a round trip is measured. `latest`: how long
    /// it took to acknowledge what was sent last.
    pub(super) fn loss_delay(&self, latest: u32) -> Option<u32> {
        let delay = self.round_trips?.max(nine_eighths(latest)).max(GRANULARITY);
        Some(delay.saturating_add(self.window().map_or(0, micros32)))
    }

    /// The smoothed round trip, and by when an answer has come although round trips vary. On a path where they do, packets
    /// that come out of order are late by as much.
    pub(super) fn set_round_trips(&mut self, srtt: Option<Duration>, answer: Duration) {
        self.round_trips = srtt.map(|srtt| nine_eighths(micros32(srtt)).max(micros32(answer)));
    }

    /// What MAX_TSN_ACK was at the beginning of the reordering window; none without a window.
    fn mark(&mut self, now: Instant, max_tsn_ack: u64) -> Option<u64> {
        let window = self.window()?;
        let apart = |(latest, _): &(Instant, u64)| now.saturating_duration_since(*latest) >= window / MARKS;
        if self.marks.back().is_none_or(apart) {
            self.marks.push_back((now, max_tsn_ack));
        }
        let is_over = |(since, _): &(Instant, u64)| now.saturating_duration_since(*since) >= window;
        while self.marks.get(1).is_some_and(is_over) {
            self.marks.pop_front();
        }
        Some(self.marks.front().filter(|mark| is_over(mark)).map_or(0, |(_, max)| *max))
    }

    /// Bytes of memory that are taken.
    pub(super) fn memory(&self) -> usize {
        self.marks.capacity() * size_of::<(Instant, u64)>() + self.repeated.capacity() * size_of::<(u64, Instant)>()
    }

    /// What has a TSN below this is no longer in flight.
    pub(super) fn forget_below(&mut self, first_tsn: u64) {
        while self.repeated.front().is_some_and(|(tsn, _)| *tsn < first_tsn) {
            self.repeated.pop_front();
        }
        self.timed.take_if(|(timed, _)| *timed < first_tsn);
    }

    /// The path is not what it was, or too much was waited for.
    pub(super) fn timed_out(&mut self) {
        self.window = 0;
        self.marks = VecDeque::new();
        (self.measured, self.timed) = (None, None);
        self.timed_out = true;
    }
}

const fn nine_eighths(micros: u32) -> u32 {
    micros.saturating_add(micros / 8)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use core::time::Duration;

    use super::Reordering;
    use crate::flow::InFlight;
    use crate::time::Instant;

    const RTT: Duration = Duration::from_millis(40);

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    /// So many fragments in flight, numbered from 1 as their TSNs are.
    fn flight(fragments: u64) -> InFlight {
        let mut in_flight = InFlight::new(false);
        in_flight.set_min_rtt(Some(RTT));
        send(&mut in_flight, 1, fragments);
        in_flight
    }

    fn send(in_flight: &mut InFlight, first: u64, fragments: u64) {
        for sequence in first..first + fragments {
            in_flight.sent(0, sequence, 100);
        }
    }

    /// What is declared lost as these are acknowledged, each with a packet of its own.
    fn ack(in_flight: &mut InFlight, now: Instant, tsns: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let mut lost = Vec::new();
        for tsn in tsns {
            in_flight.acked(now, tsn, in_flight.loss_epoch());
            in_flight.end_of_acks(now, true, &mut lost);
        }
        lost.iter().map(|fragment| fragment.sequence).collect()
    }

    #[test]
    fn what_comes_after_one_that_was_late_is_waited_for() {
        let mut in_flight = flight(20);
        assert_eq!(ack(&mut in_flight, at(100), 2..=4), [1]);
        in_flight.spurious_loss(100, in_flight.loss_epoch());
        assert_eq!(in_flight.take_spurious_bytes(), 100);
        // A quarter of the shortest round trip after the first negative acknowledgement of 5.
        assert_eq!(ack(&mut in_flight, at(110), 6..=10), []);
        assert_eq!(ack(&mut in_flight, at(119), 11..=15), []);
        assert_eq!(ack(&mut in_flight, at(120), 16..=16), [5]);
        // Another in the same round trip makes it no longer; one of the next does.
        in_flight.spurious_loss(100, in_flight.loss_epoch());
        send(&mut in_flight, 21, 20);
        assert_eq!(ack(&mut in_flight, at(130), 18..=20), []);
        assert_eq!(ack(&mut in_flight, at(140), 21..=22), [17]);
        in_flight.spurious_loss(100, in_flight.loss_epoch());
        assert_eq!(ack(&mut in_flight, at(150), 24..=27), []);
        assert_eq!(ack(&mut in_flight, at(160), 28..=28), []);
        assert_eq!(ack(&mut in_flight, at(170), 29..=29), [23]);
    }

    #[test]
    fn what_is_in_flight_is_remembered() {
        let mut reordering = Reordering::new();
        reordering.echoed = Some(RTT);
        reordering.repeated(5, at(100));
        reordering.fresh(6, at(100));
        reordering.forget_below(5);
        assert!(!reordering.is_answer_to(5, at(110)), "too soon after it was sent again");
        reordering.forget_below(6);
        assert!(reordering.is_answer_to(5, at(110)) && reordering.is_answer_to(6, at(130)));
        assert_eq!(reordering.measured, Some(Duration::from_millis(30)));
    }

    /// And still it takes three of them.
    #[test]
    fn time_alone_means_no_loss() {
        let mut in_flight = flight(20);
        ack(&mut in_flight, at(100), 2..=4);
        in_flight.spurious_loss(100, in_flight.loss_epoch());
        assert_eq!(ack(&mut in_flight, at(200), 6..=6), []);
        assert_eq!(ack(&mut in_flight, at(300), 7..=7), []);
        assert_eq!(ack(&mut in_flight, at(400), 8..=8), [5]);
    }

    /// It would have given all that was sent between a negative acknowledgement.
    #[test]
    fn an_answer_that_comes_too_soon_is_for_an_earlier_transmission() {
        for (after, late) in [(39, true), (40, false)] {
            let mut in_flight = flight(20);
            assert_eq!(ack(&mut in_flight, at(100), 2..=4), [1]);
            let again = in_flight.sent(0, 1, 100);
            in_flight.mark_repeated(at(100));
            assert_eq!(ack(&mut in_flight, at(100 + after), [again]), []);
            assert_eq!(in_flight.take_spurious_bytes(), if late { 100 } else { 0 });
            let lost = ack(&mut in_flight, at(100 + after), [19, 20]);
            assert_eq!(lost.is_empty(), late, "{lost:?}");
        }
    }

    /// What comes after a timeout was declared lost with all the rest: it proves nothing of the order.
    #[test]
    fn a_timeout_closes_the_reordering_window_and_what_comes_after_it_opens_none() {
        let mut in_flight = flight(20);
        ack(&mut in_flight, at(100), 2..=4);
        in_flight.spurious_loss(100, in_flight.loss_epoch());
        in_flight.time_out(&mut Vec::new());
        in_flight.spurious_loss(100, in_flight.loss_epoch());
        send(&mut in_flight, 21, 20);
        assert_eq!(ack(&mut in_flight, at(400), 22..=24), [21]);
    }

    #[test]
    fn what_is_remembered_of_transmissions_ends_with_them() {
        let mut in_flight = flight(1);
        for sequence in 2..10_000 {
            in_flight.sent(0, sequence, 100);
            in_flight.mark_repeated(at(sequence));
            ack(&mut in_flight, at(sequence + 40), [sequence]);
            in_flight.spurious_loss(100, in_flight.loss_epoch());
        }
        assert!(in_flight.reordering.repeated.len() <= 200, "{}", in_flight.reordering.repeated.len());
        assert!(in_flight.reordering.marks.len() <= 34, "{}", in_flight.reordering.marks.len());
    }

    /// A far end can echo timestamps that are too old, and undo every cut of the window so.
    #[test]
    fn a_round_trip_that_is_echoed_too_long_makes_no_retransmission_late() {
        let mut in_flight = InFlight::new(false);
        in_flight.set_min_rtt(Some(2 * RTT));
        send(&mut in_flight, 1, 1);
        in_flight.mark_fresh(at(0));
        send(&mut in_flight, 2, 19);
        assert_eq!(ack(&mut in_flight, at(40), [1]), []);
        assert_eq!(ack(&mut in_flight, at(100), 3..=5), [2]);
        let again = in_flight.sent(0, 2, 100);
        in_flight.mark_repeated(at(100));
        ack(&mut in_flight, at(145), [again]);
        assert_eq!(in_flight.take_spurious_bytes(), 0);
    }

    /// No acknowledgement would come later to look again, and a timeout costs more.
    #[test]
    fn the_end_of_a_burst_is_not_waited_for() {
        for (more, expected) in [(true, 0), (false, 1)] {
            let mut in_flight = flight(8);
            ack(&mut in_flight, at(100), 2..=4);
            in_flight.spurious_loss(100, in_flight.loss_epoch());
            let mut lost = Vec::new();
            for tsn in 6..=8 {
                in_flight.acked(at(150), tsn, in_flight.loss_epoch());
                in_flight.end_of_acks(at(150), more, &mut lost);
            }
            assert_eq!(lost.len(), expected);
        }
    }

    /// However long the far end says that the round trip is.
    #[test]
    fn nothing_is_waited_for_longer_than_a_second() {
        let mut in_flight = flight(20);
        ack(&mut in_flight, at(100), 2..=4);
        in_flight.set_min_rtt(Some(Duration::from_secs(120)));
        in_flight.spurious_loss(100, in_flight.loss_epoch());
        assert_eq!(ack(&mut in_flight, at(200), 6..=8), []);
        assert_eq!(ack(&mut in_flight, at(1_150), [9]), []);
        assert_eq!(ack(&mut in_flight, at(1_250), [10]), [5]);
    }
}
