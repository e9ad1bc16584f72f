//! How much may be sent in acknowledgement of what came.
//!
//! An acknowledgement can be far longer than the packet that asks for it: a few bytes are enough to touch many flows,
//! and each may have many gaps. So what is received pays for what is acknowledged: each datagram for two, with a
//! multiple of its bytes. Beside that each round trip pays for one more datagram, so that the last acknowledgements of a
//! burst always go out.

use core::time::Duration;

use crate::time::Instant;

/// Datagrams of acknowledgements for each datagram received.
const DATAGRAMS: u32 = 2;
/// Datagrams that can be saved up for later.
pub(in crate::session) const MAX_SAVED: u32 = 2;
/// No round trip counts for shorter than this.
const LEAST_ROUND_TRIP: Duration = Duration::from_millis(50);

/// What may be sent in acknowledgements now.
#[derive(Debug)]
pub(in crate::session) struct Allowance {
    /// Bytes for each byte received.
    expansion: u32,
    bytes: usize,
    datagrams: u32,
    /// When a round trip paid last.
    paid: Instant,
}

impl Allowance {
    pub(in crate::session) const fn new(expansion: u32) -> Self {
        Self { expansion, bytes: 0, datagrams: 0, paid: Instant::ORIGIN }
    }

    /// A datagram of `bytes` was received. `full` is the length of the longest datagram that is sent.
    pub(in crate::session) fn received(&mut self, bytes: usize, full: usize) {
        self.add(bytes.saturating_mul(self.expansion as usize), DATAGRAMS, full);
    }

    /// Time has come to be `now`: pays for a datagram of `full` bytes if a round trip is over.
    pub(in crate::session) fn pass(&mut self, now: Instant, round_trip: Duration, full: usize) {
        if self.next_pay(round_trip) <= now {
            self.paid = now;
            self.add(full, 1, full);
        }
    }

    /// When `pass` pays again.
    pub(in crate::session) fn next_pay(&self, round_trip: Duration) -> Instant {
        self.paid + round_trip.max(LEAST_ROUND_TRIP)
    }

    /// How many bytes the next datagram of acknowledgements may have.
    pub(in crate::session) const fn bytes(&self) -> usize {
        if self.datagrams == 0 { 0 } else { self.bytes }
    }

    /// A datagram with `bytes` of acknowledgements is to be sent.
    pub(in crate::session) const fn spend(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.datagrams = self.datagrams.saturating_sub(1);
    }

    fn add(&mut self, bytes: usize, datagrams: u32, full: usize) {
        let most = full.saturating_mul(MAX_SAVED as usize);
        self.bytes = self.bytes.saturating_add(bytes).min(most);
        self.datagrams = (self.datagrams + datagrams).min(MAX_SAVED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: usize = 1_000;
    const ROUND_TRIP: Duration = Duration::from_millis(200);

    #[test]
    fn what_is_received_pays_twice() {
        let mut allowance = Allowance::new(2);
        assert_eq!(allowance.bytes(), 0);
        allowance.received(100, FULL);
        assert_eq!(allowance.bytes(), 200);
        allowance.spend(150);
        assert_eq!(allowance.bytes(), 50);
        allowance.spend(1);
        assert_eq!(allowance.bytes(), 0, "two datagrams for one");
    }

    #[test]
    fn what_is_saved_up_is_limited() {
        let mut allowance = Allowance::new(2);
        (0..100).for_each(|_| allowance.received(FULL, FULL));
        assert_eq!(allowance.bytes(), MAX_SAVED as usize * FULL);
        (0..MAX_SAVED).for_each(|_| allowance.spend(1));
        assert_eq!(allowance.bytes(), 0);
    }

    #[test]
    fn a_round_trip_pays_for_one_datagram() {
        let at = |millis: u64| Instant::from_millis(1_000 + millis);
        let mut allowance = Allowance::new(2);
        for (now, round_trip, bytes) in [
            (at(0), ROUND_TRIP, FULL),
            (at(199), ROUND_TRIP, 0),
            (at(200), ROUND_TRIP, FULL),
            (at(249), Duration::ZERO, 0),
            (at(250), Duration::ZERO, FULL),
        ] {
            allowance.pass(now, round_trip, FULL);
            assert_eq!(allowance.bytes(), bytes, "{now:?}");
            allowance.spend(FULL);
        }
        assert_eq!(allowance.next_pay(ROUND_TRIP), at(450));
    }
}
