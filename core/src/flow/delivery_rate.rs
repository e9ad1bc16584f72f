//! How fast the path takes what is sent (draft-ietf-ccwg-bbr §4.1).
//!
//! A rate is what was acknowledged, by the longer of the times that it took to send it and to have it acknowledged. The
//! first alone would take a burst for the path's rate, the second acknowledgements that come in a heap.

use alloc::collections::VecDeque;

use crate::congestion::RateSample;
use crate::time::Instant;

/// What was known when a packet was sent.
#[derive(Clone, Copy, Debug)]
struct Record {
    sent: Instant,
    /// When the first packet of the interval was sent that this one ends, if it is acknowledged.
    first_sent: Instant,
    /// All that was acknowledged, and when the last of it was.
    delivered: u64,
    delivered_at: Instant,
    in_flight: u64,
    app_limited: bool,
}

/// Of the packets in flight, what rates are made of.
#[derive(Debug)]
pub(crate) struct DeliveryRate {
    /// Of packets with anything in flight, the oldest first.
    records: VecDeque<Record>,
    /// The number of the first; they wrap.
    first: u32,
    /// A packet is begun, and nothing of it recorded yet.
    begun: Option<Instant>,
    delivered: u64,
    delivered_at: Instant,
    first_sent: Instant,
    /// Until more than this is delivered, what is sent may be less than the path carries.
    app_limited_until: Option<u64>,
    /// Of what was acknowledged since a sample was taken, the packet sent last, and whether it was sent once.
    newest: Option<(Record, bool)>,
}

impl Default for DeliveryRate {
    fn default() -> Self {
        Self {
            records: VecDeque::new(),
            first: 0,
            begun: None,
            delivered: 0,
            delivered_at: Instant::ORIGIN,
            first_sent: Instant::ORIGIN,
            app_limited_until: None,
            newest: None,
        }
    }
}

impl DeliveryRate {
    /// What is sent until the next call goes in one packet.
    pub(super) const fn begin_packet(&mut self, now: Instant) {
        self.begun = Some(now);
    }

    /// There is less to send than may be sent: rates of what is in flight now say little of the path.
    pub(super) fn app_limited(&mut self, outstanding: u64) {
        self.app_limited_until = Some(self.delivered + outstanding);
    }

    /// A fragment goes in the packet; returns the packet's number. `outstanding`: bytes in flight before it.
    pub(super) fn on_sent(&mut self, outstanding: u64) -> u32 {
        if let Some(now) = self.begun.take() {
            if outstanding == 0 {
                (self.first_sent, self.delivered_at) = (now, now);
            }
            self.records.push_back(Record {
                sent: now,
                first_sent: self.first_sent,
                delivered: self.delivered,
                delivered_at: self.delivered_at,
                in_flight: outstanding,
                app_limited: self.app_limited_until.is_some(),
            });
        }
        self.first.wrapping_add(u32::try_from(self.records.len()).unwrap_or(u32::MAX)).wrapping_sub(1)
    }

    /// A fragment of a packet is acknowledged. `once`: it was sent only in this one.
    pub(super) fn on_acked(&mut self, now: Instant, number: u32, size: u32, once: bool) {
        self.delivered += u64::from(size);
        self.delivered_at = now;
        self.app_limited_until = self.app_limited_until.filter(|until| self.delivered <= *until);
        let index = number.wrapping_sub(self.first) as usize;
        let Some(record) = self.records.get(index) else { return };
        if self.newest.is_none_or(|(newest, _)| (record.sent, record.delivered) >= (newest.sent, newest.delivered)) {
            self.newest = Some((*record, once));
        }
    }

    /// Packets before this one have nothing in flight any more.
    pub(super) fn forget_before(&mut self, number: u32) {
        let gone = (number.wrapping_sub(self.first) as usize).min(self.records.len());
        self.records.drain(..gone);
        self.first = self.first.wrapping_add(u32::try_from(gone).unwrap_or(u32::MAX));
    }

    /// Nothing is in flight.
    pub(super) fn forget_all(&mut self) {
        self.first = self.first.wrapping_add(u32::try_from(self.records.len()).unwrap_or(u32::MAX));
        self.records.clear();
    }

    /// What the acknowledgements since the last call show.
    pub(super) fn take_sample(&mut self) -> Option<RateSample> {
        let (record, once) = self.newest.take()?;
        // Later samples measure the sending from here on.
        self.first_sent = record.sent;
        let sending = record.sent.saturating_duration_since(record.first_sent);
        let acknowledging = self.delivered_at.saturating_duration_since(record.delivered_at);
        Some(RateSample {
            delivered: self.delivered - record.delivered,
            interval: sending.max(acknowledging),
            rtt: once.then(|| self.delivered_at.saturating_duration_since(record.sent)),
            prior_delivered: record.delivered,
            total_delivered: self.delivered,
            in_flight: record.in_flight,
            app_limited: record.app_limited,
        })
    }

    /// Bytes of memory that are taken.
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>() + self.records.capacity() * size_of::<Record>()
    }
}

#[cfg(test)]
mod tests;
