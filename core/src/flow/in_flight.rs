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
    /// The plain length of its packet, as far as it was filled when this was added; with padding, if this is its last.
    pub(crate) packet: u16,
    /// Which packet it was sent in, as [`DeliveryRate`] counts.
    number: u32,
    /// When it was sent.
    sent: Stamp,
    /// The time since it was sent showed the loss, not the count of negative acknowledgements.
    pub(crate) by_time: bool,
}

/// A time in microseconds that wraps after 71 minutes. Nothing is in flight for so long.
type Stamp = u32;

const fn stamp(now: Instant) -> Stamp {
    let [.., a, b, c, d] = now.as_micros().to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// Numbers the packets of acknowledgements that declared fragments lost.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct LossEpoch(u32);

impl LossEpoch {
    /// It was never declared lost, or for a reason that says nothing of congestion.
    pub(crate) const NONE: Self = Self(0);
    /// It was sent again as a probe. If an answer to that acknowledges it, it was lost before.
    pub(crate) const PROBED: Self = Self(u32::MAX);

    const fn next(self) -> Self {
        Self(if self.0 >= Self::PROBED.0 - 1 { 1 } else { self.0 + 1 })
    }

    /// It is the number of a packet.
    fn is_numbered(self) -> bool {
        self != Self::NONE && self != Self::PROBED
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
/// Three mean loss (§3.6.2.5), unless there were spurious losses: see [`Reordering`]. So does one, a while after the
/// fragment was sent (RFC 9002 §6.1.2): few packets may come after it, or none.
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
    /// Bytes that timeouts declared lost, and that are neither sent again nor acknowledged since.
    timed_out_bytes: u32,
    /// Bytes that a probe has shown to be lost.
    probed_bytes: u32,
    /// When the packet goes that is put together now.
    sending: Stamp,
    /// The microseconds that it took to acknowledge the fragment of MAX_TSN_ACK.
    latest_rtt: u32,
    /// So many microseconds after it was sent, a fragment with a negative acknowledgement is lost. None: no round trip is
    /// measured, or no fragment has any.
    loss_delay: Option<u32>,
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
            timed_out_bytes: 0,
            probed_bytes: 0,
            sending: 0,
            latest_rtt: 0,
            loss_delay: None,
            acked_packet: 0,
            rate: rated.then(Box::default),
        }
    }

    /// Records a transmission; returns its TSN, first 1.
    pub(crate) fn sent(&mut self, flow_slot: u32, sequence: u64, size: u32) -> u64 {
        let tsn = self.next_tsn();
        let number = self.rate.as_mut().map_or(0, |rate| rate.on_sent(self.outstanding));
        let lost = Lost { flow_slot, sequence, size, packet: 0, number, sent: self.sending, by_time: false };
        self.slots.push_back(Some(lost));
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
        let size = self.slots.back().copied().flatten().map_or(0, |last| last.size);
        self.timed_out_bytes = self.timed_out_bytes.saturating_sub(size);
    }

    /// The shortest round trip of the path by what the far end echoes, once it is known: what is acknowledged sooner
    /// was sent before.
    pub(crate) fn set_min_rtt(&mut self, min_rtt: Option<Duration>) {
        self.reordering.echoed = min_rtt;
    }

    /// The smoothed round trip, once it is known, and by when an answer has come although round trips vary.
    pub(crate) fn set_round_trips(&mut self, srtt: Option<Duration>, answer: Duration) {
        self.reordering.set_round_trips(srtt, answer);
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
    /// one on. `bytes`: what it declared lost.
    pub(crate) fn begin_timeout_epoch(&mut self, series: bool, bytes: u64) -> LossEpoch {
        self.loss_epoch = self.loss_epoch.next();
        if !series {
            self.begin_undo_epoch();
            self.timed_out_bytes = 0;
        }
        self.timed_out_bytes = self.timed_out_bytes.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.loss_epoch
    }

    /// Bytes that the last timeouts declared lost, and that are neither sent again nor acknowledged since.
    pub(crate) fn timed_out_bytes(&self) -> u64 {
        self.timed_out_bytes.into()
    }

    /// The bytes of spurious losses since this was last asked.
    pub(crate) const fn take_spurious_bytes(&mut self) -> u64 {
        core::mem::replace(&mut self.spurious_bytes, 0)
    }

    /// The bytes that probes have shown to be lost since this was last asked.
    pub(crate) fn take_probed_bytes(&mut self) -> u64 {
        core::mem::take(&mut self.probed_bytes).into()
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
            if tsn > self.max_tsn_ack {
                self.max_tsn_ack = tsn;
                self.latest_rtt = age(now, &fragment);
            }
            if loss_epoch == LossEpoch::PROBED {
                self.probed_bytes = self.probed_bytes.saturating_add(fragment.size);
            }
            if let Some(rate) = &mut self.rate {
                rate.on_acked(now, fragment.number, fragment.size, !self.reordering.was_repeated(tsn));
            }
        } else {
            self.count_spurious_loss(fragment.size, loss_epoch);
        }
        self.trim_front();
        Some(fragment.size)
    }

    /// The fragment sent last, if that is in flight, and all that is in flight was sent after what is acknowledged: then
    /// nothing but a probe, or a timeout, would show that it is lost.
    pub(crate) fn tail(&self) -> Option<Lost> {
        self.slots.back().copied().flatten().filter(|_| !self.has_naks())
    }

    /// The plain length of the packet with the fragment sent last; 0 if that is not in flight.
    pub(crate) fn last_packet(&self) -> u64 {
        self.slots.back().copied().flatten().map_or(0, |fragment| fragment.packet.into())
    }

    /// Takes out what [`tail`](Self::tail) returns: it is to be sent again.
    pub(crate) fn take_tail(&mut self) {
        if let Some(tail) = self.slots.back_mut().and_then(Option::take) {
            self.live -= 1;
            self.outstanding -= u64::from(tail.size);
            self.trim_front();
        }
    }

    /// Leaves the front in flight.
    fn trim_front(&mut self) {
        while let Some(None) = self.slots.front() {
            self.slots.pop_front();
            self.first_tsn += 1;
        }
        self.forget_old();
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
        self.sending = stamp(now);
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
        if loss_epoch.is_numbered() && loss_epoch >= self.undo_epoch {
            self.timed_out_bytes = self.timed_out_bytes.saturating_sub(size);
        }
        self.count_spurious_loss(size, loss_epoch);
    }

    fn count_spurious_loss(&mut self, size: u32, loss_epoch: LossEpoch) {
        if !loss_epoch.is_numbered() {
            return;
        }
        let next_tsn = self.next_tsn();
        if loss_epoch >= self.undo_epoch {
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
        self.lose_while(lost, |tsn, _| tsn < lost_below);
        self.loss_delay = None;
        if self.has_naks() {
            self.loss_delay = self.reordering.loss_delay(self.latest_rtt);
            self.lose_late_fragments(now, lost);
        }
        if lost.len() > before || self.probed_bytes > 0 {
            self.loss_epoch = self.loss_epoch.next();
        }
        any_naks
    }

    /// A fragment in flight has a negative acknowledgement.
    fn has_naks(&self) -> bool {
        !self.slots.is_empty() && self.first_tsn < self.max_tsn_ack
    }

    /// When the first of those with a negative acknowledgement is lost, if nothing is heard before.
    pub(crate) fn late_at(&self, now: Instant) -> Option<Instant> {
        let delay = self.loss_delay.filter(|_| self.has_naks())?;
        let front = self.slots.front()?.as_ref()?;
        Some(now + Duration::from_micros(delay.saturating_sub(age(now, front)).into()))
    }

    /// That time has come: appends what is lost.
    pub(crate) fn lose_late(&mut self, now: Instant, lost: &mut Vec<Lost>) {
        let before = lost.len();
        self.lose_late_fragments(now, lost);
        if lost.len() > before {
            self.loss_epoch = self.loss_epoch.next();
        }
    }

    fn lose_late_fragments(&mut self, now: Instant, lost: &mut Vec<Lost>) {
        let (Some(delay), max_tsn_ack) = (self.loss_delay, self.max_tsn_ack) else { return };
        self.lose_while(lost, |tsn, fragment| {
            fragment.by_time = tsn < max_tsn_ack && age(now, fragment) >= delay;
            fragment.by_time
        });
    }

    /// TIMEOUT_ALARM: everything in flight is lost (RFC 7016 §3.6.2.6).
    pub(crate) fn time_out(&mut self, lost: &mut Vec<Lost>) {
        self.lose_while(lost, |_, _| true);
        self.reordering.timed_out();
        self.loss_delay = None;
    }

    /// Takes out the first fragments, in the order of TSNs, as long as each `is_lost`, and leaves the front in flight.
    fn lose_while(&mut self, lost: &mut Vec<Lost>, mut is_lost: impl FnMut(u64, &mut Lost) -> bool) {
        while let Some(front) = self.slots.front_mut() {
            if let Some(fragment) = front {
                if !is_lost(self.first_tsn, fragment) {
                    break;
                }
                self.live -= 1;
                self.outstanding -= u64::from(fragment.size);
                lost.push(*fragment);
            }
            self.slots.pop_front();
            self.first_tsn += 1;
        }
        self.forget_old();
    }
}

/// Microseconds since a fragment was sent.
const fn age(now: Instant, fragment: &Lost) -> u32 {
    stamp(now).wrapping_sub(fragment.sent)
}

#[cfg(test)]
mod tests;
