//! What is in the network, in the order of transmission (RFC 7016 §3.6.2.5, §3.6.2.6).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use crate::congestion::RateSample;
use crate::flow::delivery_rate::DeliveryRate;
use crate::flow::reordering::Reordering;
use crate::invariant::cannot_happen;
use crate::time::Instant;

/// A fragment that was declared lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Lost {
    pub(crate) flow_slot: u32,
    pub(crate) sequence: u64,
    pub(crate) size: u32,
    /// The plain length of its packet, as far as it was filled when this was added.
    pub(crate) packet: u16,
    /// Which packet it was sent in, as [`DeliveryRate`] counts.
    number: u32,
}

/// Numbers the packets of acknowledgements that declared fragments lost.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct LossEpoch(u32);

impl LossEpoch {
    /// It was never declared lost, or for a reason that says nothing of congestion.
    pub(crate) const NONE: Self = Self(0);

    const fn next(self) -> Self {
        Self(if self.0 == u32::MAX { 1 } else { self.0 + 1 })
    }
}

/// With more than this remembered, and more than is in flight, the reordering window is closed: what was acknowledged after
/// a fragment that is not takes room until that is declared lost.
const REMEMBERED_MAX: usize = 16_384;

/// All fragments of one session that are in the network, in the order of transmission (RFC 7016 §3.6.2.5, TSN).
///
/// A deque indexed by `tsn - first_tsn`; work is O(1) amortised per fragment. A fragment gets one NAK with every
/// packet of acknowledgements after which MAX_TSN_ACK is above its TSN. MAX_TSN_ACK never falls, so the fragment has
/// three when its TSN is below what MAX_TSN_ACK was two such packets ago: no counter per fragment, no scan.
///
/// Three mean loss (§3.6.2.5), unless there were spurious losses: see
/// [`Reordering`].
#[derive(Debug)]
pub(crate) struct InFlight {
    /// None: acknowledged. The front is never None.
    slots: VecDeque<Option<Lost>>,
    /// How many of them are not None.
    live: u32,
    /// TSN of the front, or the next to give if there is none.
    first_tsn: u64,
    outstanding: u64,
    max_tsn_ack: u64,
    pub(super) reordering: Reordering,
    /// Of the last packet of acknowledgements that declared any lost.
    loss_epoch: LossEpoch,
    /// Spurious losses count from this one on: the controller can undo what they caused.
    undo_epoch: LossEpoch,
    spurious_bytes: u64,
    /// The largest packet of what was acknowledged.
    acked_packet: u16,
    /// None: rates are not wanted.
    rate: Option<Box<DeliveryRate>>,
}

impl InFlight {
    /// `rated`: whether rates of delivery are wanted.
    pub(crate) fn new(rated: bool) -> Self {
        Self {
            slots: VecDeque::new(),
            live: 0,
            first_tsn: 1,
            outstanding: 0,
            max_tsn_ack: 0,
            reordering: Reordering::new(),
            loss_epoch: LossEpoch::NONE,
            undo_epoch: LossEpoch::NONE,
            spurious_bytes: 0,
            acked_packet: 0,
            rate: rated.then(Box::default),
        }
    }

    /// Records a transmission; returns its TSN, first 1.
    pub(crate) fn sent(&mut self, flow_slot: u32, sequence: u64, size: u32) -> u64 {
        let tsn = self.next_tsn();
        let number = self.rate.as_mut().map_or(0, |rate| rate.on_sent(self.outstanding));
        self.slots.push_back(Some(Lost { flow_slot, sequence, size, packet: 0, number }));
        self.live += 1;
        self.outstanding += u64::from(size);
        tsn
    }

    /// Bytes of memory that are taken.
    pub(crate) fn memory(&self) -> usize {
        self.slots.capacity() * size_of::<Option<Lost>>()
            + self.reordering.memory()
            + self.rate.as_ref().map_or(0, |rate| rate.memory())
    }

    fn next_tsn(&self) -> u64 {
        self.first_tsn + self.slots.len() as u64
    }

    /// The last fragment recorded was not sent before.
    pub(crate) fn mark_fresh(&mut self, now: Instant) {
        let tsn = self.next_tsn() - 1;
        self.reordering.fresh(tsn, now);
    }

    /// The last fragment recorded was sent before.
    pub(crate) fn mark_repeated(&mut self, now: Instant) {
        let tsn = self.next_tsn() - 1;
        self.reordering.repeated(tsn, now);
    }

    /// The shortest round trip of the path by what the far end echoes, once it is known: what is acknowledged sooner
    /// was sent before.
    pub(crate) fn set_min_rtt(&mut self, min_rtt: Option<Duration>) {
        self.reordering.echoed = min_rtt;
    }

    /// The last fragment recorded makes its plain packet as long as this.
    pub(crate) fn mark_packet(&mut self, len: usize) {
        if let Some(Some(last)) = self.slots.back_mut() {
            last.packet = u16::try_from(len).unwrap_or_else(|_| cannot_happen!(u16::MAX, "a packet is shorter"));
        }
    }

    /// Which packet of acknowledgements declared fragments lost the last time.
    pub(crate) const fn loss_epoch(&self) -> LossEpoch {
        self.loss_epoch
    }

    /// The controller made its window smaller because of the last loss epoch. If losses of earlier ones are spurious,
    /// that says nothing of this cut.
    pub(crate) const fn begin_undo_epoch(&mut self) {
        self.undo_epoch = self.loss_epoch;
    }

    /// What a timeout declared lost has an epoch of its own. Unless it is one of a `series`, spurious losses count from this
    /// one on.
    pub(crate) const fn begin_timeout_epoch(&mut self, series: bool) -> LossEpoch {
        self.loss_epoch = self.loss_epoch.next();
        if !series {
            self.begin_undo_epoch();
        }
        self.loss_epoch
    }

    /// The bytes of spurious losses since this was last asked.
    pub(crate) const fn take_spurious_bytes(&mut self) -> u64 {
        core::mem::replace(&mut self.spurious_bytes, 0)
    }

    /// The plain length of the largest packet with anything acknowledged since this was last asked; 0 if nothing was.
    pub(crate) fn take_acked_packet(&mut self) -> usize {
        core::mem::take(&mut self.acked_packet).into()
    }

    /// The fragment sent as `tsn` was acknowledged: returns its size, or None if it is not in flight (any more).
    /// `loss_epoch`: when an earlier transmission of it was declared lost.
    pub(crate) fn acked(&mut self, now: Instant, tsn: u64, loss_epoch: LossEpoch) -> Option<u32> {
        let index = usize::try_from(tsn.checked_sub(self.first_tsn)?).ok()?;
        let fragment = self.slots.get_mut(index)?.take()?;
        self.live -= 1;
        self.outstanding -= u64::from(fragment.size);
        self.acked_packet = self.acked_packet.max(fragment.packet);
        if self.reordering.is_answer_to(tsn, now) {
            self.max_tsn_ack = self.max_tsn_ack.max(tsn);
            if let Some(rate) = &mut self.rate {
                rate.on_acked(now, fragment.number, fragment.size, !self.reordering.was_repeated(tsn));
            }
        } else {
            self.spurious_loss(fragment.size, loss_epoch);
        }
        while let Some(None) = self.slots.front() {
            self.slots.pop_front();
            self.first_tsn += 1;
        }
        self.forget_old();
        Some(fragment.size)
    }

    /// What is before the front is not in flight any more.
    fn forget_old(&mut self) {
        self.reordering.forget_below(self.first_tsn);
        if let Some(rate) = &mut self.rate {
            match self.slots.front() {
                Some(Some(front)) => rate.forget_before(front.number),
                Some(None) | None => rate.forget_all(),
            }
        }
    }

    /// What is sent until the next call goes in one packet.
    pub(crate) fn begin_packet(&mut self, now: Instant) {
        if let Some(rate) = &mut self.rate {
            rate.begin_packet(now);
        }
    }

    /// There is less to send than may be sent.
    pub(crate) fn app_limited(&mut self) {
        if let Some(rate) = &mut self.rate {
            rate.app_limited(self.outstanding);
        }
    }

    /// How fast the path took what was acknowledged since this was last asked.
    pub(crate) fn take_rate_sample(&mut self) -> Option<RateSample> {
        self.rate.as_mut()?.take_sample()
    }

    /// A fragment was acknowledged that had been declared lost, and only the lost transmission can have caused that.
    pub(crate) fn spurious_loss(&mut self, size: u32, loss_epoch: LossEpoch) {
        let next_tsn = self.next_tsn();
        if loss_epoch != LossEpoch::NONE && loss_epoch >= self.undo_epoch {
            self.spurious_bytes += u64::from(size);
        }
        self.reordering.widen(self.max_tsn_ack, next_tsn);
    }

    /// S_OUTSTANDING_BYTES.
    pub(crate) const fn outstanding(&self) -> u64 {
        self.outstanding
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// After all chunks of a packet with at least one acknowledgement: appends what is lost now, and tells whether
    /// any fragment in flight got a negative acknowledgement (not counting as many as reordering explains).
    ///
    /// `more` tells that there is more to send, whose acknowledgements will show what was lost: without, nobody would
    /// look again before the timeout.
    pub(crate) fn end_of_acks(&mut self, now: Instant, more: bool, lost: &mut Vec<Lost>) -> bool {
        let live = self.live as usize;
        let remembered = self.slots.len() - live;
        let may_wait = more && remembered <= REMEMBERED_MAX.max(live);
        let (doubtful, lost_below) = self.reordering.end_of_acks(now, may_wait, self.max_tsn_ack);
        // The front is in flight unless the deque is empty, and has the lowest TSN of all.
        let any_naks = !self.slots.is_empty() && self.first_tsn < doubtful;
        let before = lost.len();
        self.lose_below(lost_below, lost);
        if lost.len() > before {
            self.loss_epoch = self.loss_epoch.next();
        }
        any_naks
    }

    /// TIMEOUT_ALARM: everything in flight is lost (RFC 7016 §3.6.2.6).
    pub(crate) fn time_out(&mut self, lost: &mut Vec<Lost>) {
        self.lose_below(u64::MAX, lost);
        self.reordering.timed_out();
    }

    /// Takes out what has a TSN below `limit`, and leaves the front in flight.
    fn lose_below(&mut self, limit: u64, lost: &mut Vec<Lost>) {
        while let Some(front) = self.slots.front()
            && (front.is_none() || self.first_tsn < limit)
        {
            if let Some(Some(fragment)) = self.slots.pop_front() {
                self.live -= 1;
                self.outstanding -= u64::from(fragment.size);
                lost.push(fragment);
            }
            self.first_tsn += 1;
        }
        self.forget_old();
    }
}

#[cfg(test)]
mod tests {
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
                        let fragment = Lost { flow_slot: 3, sequence: number as u64, size: u32::from(value), packet: 0, number: 0 };
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
        assert_eq!(lost, [Lost { flow_slot: 0, sequence: 1, size: 100, packet: 0, number: 0 }]);
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
        in_flight.spurious_loss(1, LossEpoch::NONE);
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
        in_flight.spurious_loss(1, LossEpoch::NONE);
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
}
