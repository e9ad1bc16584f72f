//! When it is tested whether the far end acknowledges only what arrives.
//!
//! A test costs the reader of a bulk one round trip of waiting, and nobody anything else. So it is seldom made, but while
//! the window grows: a far end that conceals losses makes it grow.

use rand_core::CryptoRng;

/// No harm is done with a smaller window.
const LEAST_WINDOW: u64 = 65_536;
/// With less in flight a sender is hardly busy. A part of the window would be no measure: where a rate limits a sender, by
/// the controller or by the user, any small part of the window may be in flight.
const LEAST_IN_FLIGHT: u64 = LEAST_WINDOW / 4;
/// A test is due after so many windows were sent, and by chance after up to twice as many.
const WINDOWS: u64 = 32;
/// One packet in so many begins a test that is due: the far end is not to know which.
const CHANCE: u32 = 16;

/// See the module.
#[derive(Debug)]
pub(super) struct Trust {
    /// The window when the far end was last tested. 4 GiB: it is never tested.
    window: u32,
    /// Bytes until the next test, at most 4 GiB.
    until: u32,
}

impl Trust {
    /// `blind`: no test is made, for peers whose acknowledgements are no better than they can be.
    pub(super) const fn new(blind: bool) -> Self {
        Self { window: if blind { u32::MAX } else { 0 }, until: 0 }
    }

    /// Whether a test begins with this packet, with this congestion window and so much in flight.
    pub(super) fn doubts(&self, window: u64, in_flight: u64, rng: &mut dyn CryptoRng) -> bool {
        let has_grown = window / 2 >= self.window.into();
        let due = self.window < u32::MAX
            && window >= LEAST_WINDOW
            && in_flight >= LEAST_IN_FLIGHT
            && (has_grown || self.until == 0);
        due && rng.next_u32().is_multiple_of(CHANCE)
    }

    /// A test has begun.
    pub(super) fn tested(&mut self, window: u64, rng: &mut dyn CryptoRng) {
        self.window = narrow(window).min(u32::MAX - 1);
        self.until = narrow(window.saturating_mul(WINDOWS + u64::from(rng.next_u32()) % WINDOWS));
    }

    /// So many bytes were sent.
    pub(super) fn sent(&mut self, bytes: u64) {
        self.until = self.until.saturating_sub(narrow(bytes));
    }
}

fn narrow(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
