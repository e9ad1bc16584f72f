//! The receive window of a flow (RFC 7016 §3.6.3, BUFFER_CAPACITY), which grows with what is read in a round trip.
//!
//! This is dynamic right-sizing, as receivers of TCP do it (Fisk and Feng, 2001). A window of twice what is read in a round
//! trip keeps the path busy. One of four times also lets a sender in slow start double. And it lets the sender go on
//! while a loss is repaired: what has come by then counts for the window and cannot be read.
//!
//! A window that has become larger must have paid before it grows again: the reader must have become faster by a quarter
//! since. Where a queue only becomes longer with the window, and with it the round trip, the window so stops to grow. A
//! reader that has become slower by as much begins anew: the path may have another round trip than before.
//!
//! A window also doubles when what fills half of it cannot be read yet: a message that is longer than the window, or what
//! came after a loss. That is no fault of the reader.
//!
//! A far end has some say in all of this. But no window exceeds the limits of the flow, the session and the endpoint.

use core::time::Duration;

use crate::params::WINDOW_BLOCK;
use crate::time::{Instant, micros};

/// A window begins with this, unless its limit is less.
const INITIAL: u32 = 262_144;
/// It doubles if more than this part of it is read in a round trip.
const PART: u32 = 4;
/// Round trips count for no less than this: on a short path the window need not be larger for it.
const LEAST_ROUND_TRIP: Duration = Duration::from_millis(1);
/// The shortest time in which a rate is measured: readers and batches of packets make shorter ones uneven.
const LEAST_INTERVAL: Duration = Duration::from_millis(20);
/// A larger window is kept for this long without a use for it, then halved.
const KEPT: Duration = Duration::from_secs(10);

/// See the module. Bytes and rates are kept in 32 bits, as there are many flows: what is more counts as 4 GiB.
#[derive(Debug)]
pub(super) struct RecvWindow {
    /// BUFFER_CAPACITY in bytes.
    capacity: u32,
    /// What the configuration or the user allows.
    limit: u32,
    /// When the first fragment came since the last measurement.
    since: Option<Instant>,
    /// Bytes that came since then.
    arrived: u32,
    /// Bytes read since the last measurement.
    read: u32,
    /// The shortest time in microseconds that a window took to arrive, if the round trip is not known otherwise: no less
    /// than that if the sender waits for the window. 0: none was measured.
    shortest: u32,
    /// Bytes that were read a second when the window last grew.
    rate: u32,
    /// The most that was read in a round trip since the last look.
    peak: u32,
    /// When to look whether there is a use for a larger window.
    look: Option<Instant>,
}

fn narrow(number: impl TryInto<u32>) -> u32 {
    number.try_into().unwrap_or(u32::MAX)
}

impl RecvWindow {
    pub(super) fn new(limit: usize) -> Self {
        let limit = narrow(limit);
        let capacity = INITIAL.min(limit);
        Self { capacity, limit, since: None, arrived: 0, read: 0, shortest: 0, rate: 0, peak: 0, look: None }
    }

    fn initial(&self) -> u32 {
        INITIAL.min(self.limit)
    }

    /// By how many blocks it is larger than at first: what it takes of the session's share.
    pub(super) fn grown(&self) -> u32 {
        let bytes = self.capacity.saturating_sub(self.initial());
        narrow(u64::from(bytes).div_ceil(WINDOW_BLOCK))
    }

    /// BUFFER_CAPACITY, if windows of the session may grow by `share` blocks in all at present.
    pub(super) fn capacity(&self, share: u32) -> usize {
        let share = narrow(u64::from(share).saturating_mul(WINDOW_BLOCK));
        self.capacity.min(self.initial().saturating_add(share)) as usize
    }

    /// Changes the limit.
    pub(super) fn set_limit(&mut self, bytes: usize) {
        self.limit = narrow(bytes);
        self.capacity = self.capacity.min(self.limit).max(self.initial());
    }

    /// Nothing more comes.
    pub(super) fn close(&mut self) {
        self.capacity = self.initial();
        self.look = None;
    }

    /// A fragment of so many bytes came. `is_timed`: the round trip of the path is known.
    pub(super) fn on_arrival(&mut self, now: Instant, bytes: usize, is_timed: bool) {
        let since = *self.since.get_or_insert(now);
        if !is_timed {
            self.arrived = self.arrived.saturating_add(narrow(bytes));
            if self.arrived >= self.capacity {
                let took = narrow(micros(now.saturating_duration_since(since))).max(1);
                self.shortest = if self.shortest == 0 { took } else { self.shortest.min(took) };
                self.arrived = 0;
            }
        }
    }

    /// So many bytes were read. `round_trip`: that of the path, if it is known; `share`: by how many bytes the window may
    /// grow.
    pub(super) fn on_read(&mut self, now: Instant, bytes: usize, round_trip: Option<Duration>, share: usize) {
        self.read = self.read.saturating_add(narrow(bytes));
        let measured = (self.shortest > 0).then(|| Duration::from_micros(self.shortest.into()));
        let (Some(round_trip), Some(since)) = (round_trip.or(measured), self.since) else { return };
        let round_trip = round_trip.max(LEAST_ROUND_TRIP);
        let elapsed = now.saturating_duration_since(since);
        if elapsed < round_trip.max(LEAST_INTERVAL) {
            return;
        }
        (self.since, self.arrived) = (None, 0);
        let read = core::mem::take(&mut self.read);
        let rate = u64::from(read) * 1_000_000 / micros(elapsed);
        let in_round_trip = narrow(rate.saturating_mul(micros(round_trip)) / 1_000_000);
        let rate = narrow(rate);
        self.peak = self.peak.max(in_round_trip);
        let quarter = self.rate / 4;
        let has_paid = rate >= self.rate.saturating_add(quarter) || rate < self.rate - quarter;
        if in_round_trip > self.capacity / PART && has_paid && self.grow(now, share) {
            self.rate = rate;
        }
    }

    /// What cannot be read yet fills half of the window: with no more room it might never be.
    pub(super) fn make_room(&mut self, now: Instant, share: usize) {
        self.grow(now, share);
    }

    fn grow(&mut self, now: Instant, share: usize) -> bool {
        let more = self.capacity.min(self.limit.saturating_sub(self.capacity)).min(narrow(share));
        if more > 0 {
            self.capacity += more;
            self.look.get_or_insert(now + KEPT);
        }
        more > 0
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub(super) const fn next_timeout(&self) -> Option<Instant> {
        self.look
    }

    /// Halves a window that is not used.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.look.is_some_and(|at| at <= now) {
            if core::mem::take(&mut self.peak) < self.capacity / (2 * PART) {
                self.capacity = (self.capacity / 2).max(self.initial());
                self.rate = 0;
            }
            self.look = (self.grown() > 0).then(|| now + KEPT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(100);
    const LIMIT: usize = 16 << 20;
    const INITIAL: usize = super::INITIAL as usize;
    /// As many blocks as there may be.
    const ALL: u32 = u32::MAX;

    struct Reader {
        window: RecvWindow,
        now: Instant,
    }

    impl Reader {
        fn new() -> Self {
            Self { window: RecvWindow::new(LIMIT), now: Instant::from_millis(5_000) }
        }

        /// So many bytes come and are read, evenly, in each of so many round trips.
        fn read(&mut self, round_trips: u32, bytes: usize, round_trip: Option<Duration>) {
            for _ in 0..round_trips * 50 {
                self.window.on_arrival(self.now, bytes / 50, round_trip.is_some());
                self.now += RTT / 50;
                self.window.on_read(self.now, bytes / 50, round_trip, LIMIT);
            }
        }

        fn capacity(&self) -> usize {
            self.window.capacity(ALL)
        }
    }

    #[test]
    fn a_window_keeps_ahead_of_a_reader_that_doubles() {
        let mut reader = Reader::new();
        let mut bytes = 4_000;
        while bytes < LIMIT / 8 {
            reader.read(2, bytes, Some(RTT));
            assert!(reader.capacity() >= 3 * bytes, "{} for {bytes}", reader.capacity());
            assert!(reader.capacity() <= INITIAL.max(9 * bytes), "{} for {bytes}", reader.capacity());
            bytes *= 2;
        }
        reader.read(100, LIMIT, Some(RTT));
        assert_eq!(reader.capacity(), LIMIT);
    }

    #[test]
    fn a_slow_reader_has_the_initial_window() {
        let mut reader = Reader::new();
        reader.read(10_000, INITIAL / 5, Some(RTT));
        assert_eq!(reader.capacity(), INITIAL);
        // All that the window holds, but seldom.
        for _ in 0..100 {
            reader.window.on_arrival(reader.now, INITIAL, true);
            reader.now += RTT * 10;
            for _ in 0..10 {
                reader.window.on_read(reader.now, INITIAL / 10, Some(RTT), LIMIT);
            }
        }
        assert_eq!(reader.capacity(), INITIAL);
    }

    /// The far end says how long a round trip is, but not how much is read.
    #[test]
    fn a_longer_round_trip_alone_does_not_make_a_window_grow_on_and_on() {
        let mut reader = Reader::new();
        let mut round_trip = RTT;
        for _ in 0..10 {
            reader.read(200, INITIAL / 5, Some(round_trip));
            round_trip *= 2;
        }
        assert_eq!(reader.capacity(), 2 * INITIAL, "once, as there was nothing to compare with");
    }

    #[test]
    fn a_path_that_has_become_longer_has_a_window_for_it() {
        let mut reader = Reader::new();
        for times in [2, 5, 10] {
            reader.read(4, INITIAL * times, Some(RTT / 10));
        }
        assert_eq!(reader.capacity(), INITIAL * 4);
        // Ten times as long: no more than the window is read in each round trip.
        for _ in 0..6 {
            let window = reader.capacity();
            reader.read(4, window.min(INITIAL * 10), Some(RTT));
        }
        assert!(reader.capacity() > INITIAL * 10, "{}", reader.capacity());
    }

    #[test]
    fn a_window_without_a_use_is_given_back() {
        let mut reader = Reader::new();
        reader.read(20, INITIAL, Some(RTT));
        let grown = reader.capacity();
        assert_eq!(grown, 2 * INITIAL);
        for _ in 0..4 {
            let at = reader.window.next_timeout().expect("it is looked at");
            reader.window.handle_timeout(at - Duration::from_millis(1));
            reader.read(1, INITIAL, Some(RTT));
            reader.window.handle_timeout(at);
            assert_eq!(reader.capacity(), grown, "it is used");
        }
        while let Some(at) = reader.window.next_timeout() {
            reader.window.handle_timeout(at);
        }
        assert_eq!((reader.capacity(), reader.window.grown()), (INITIAL, 0));
    }

    #[test]
    fn a_window_takes_no_more_than_its_share() {
        let mut window = RecvWindow::new(LIMIT);
        let mut now = Instant::from_millis(5_000);
        for share in [100_000, 0, 0] {
            window.on_arrival(now, INITIAL, true);
            now += RTT;
            window.on_read(now, INITIAL, Some(RTT), share);
        }
        assert_eq!(window.grown(), 98, "blocks for 100,000 bytes");
        assert_eq!(window.capacity(10), INITIAL + 10_240, "there is less to share now");
    }

    /// Without an echo of any timestamp.
    #[test]
    fn a_round_trip_that_is_not_known_is_how_long_a_window_takes_to_arrive() {
        let mut reader = Reader::new();
        reader.read(3, INITIAL, None);
        assert!(reader.capacity() > INITIAL);
        reader.read(100, INITIAL, None);
        assert!(reader.capacity() <= 4 * INITIAL, "{}: it does not pay", reader.capacity());
    }

    #[test]
    fn a_limit_below_the_window_makes_it_smaller() {
        let mut window = RecvWindow::new(LIMIT);
        window.set_limit(1_000);
        assert_eq!(window.capacity(ALL), 1_000);
        window.set_limit(0);
        assert_eq!(window.capacity(ALL), 0);
        window.set_limit(LIMIT);
        assert_eq!(window.capacity(ALL), INITIAL);
    }
}
