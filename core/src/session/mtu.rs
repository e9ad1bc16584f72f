//! How large a datagram the path carries (RFC 7016 §3.5.4.3, after RFC 8899).
//!
//! Probes are Padding and a Ping that tells the probe's size; a reply proves that the size passes. "Too big" signals
//! from the network are not asked for and not believed. Fragments of user data are never cut larger than the base
//! size carries, so a path that turns out smaller strands nothing: only how many share a datagram changes.

use core::time::Duration;

use crate::time::Instant;

/// The first byte of a probe's Ping message.
const MARK: u8 = b'U';
/// Length of a probe's Ping message: mark, size, number.
pub(super) const MESSAGE_LEN: usize = 1 + 4 + 4;
/// Probes of one size before it is held too large (RFC 8899 §5.1.2, MAX_PROBES).
const MAX_PROBES: u8 = 3;
/// What UDP over common networks carries, in bytes of payload: loopback, jumbo frames, Ethernet over IPv4 and IPv6,
/// PPPoE, tunnels, the IPv6 minimum. Sizes between them are not worth the probes.
const PLATEAUS: [usize; 13] =
    [65_507, 16_356, 8_972, 8_952, 4_324, 1_472, 1_452, 1_444, 1_392, 1_372, 1_352, 1_252, 1_232];
/// After this long a path may have got larger (RFC 8899 §5.1.1, PMTU_RAISE_TIMER).
const RAISE_AFTER: Duration = Duration::from_secs(600);
/// Losses of datagrams above the base size, with none acknowledged in between, that make a black hole of it.
const BLACK_HOLE_LOSSES: u8 = 4;

/// The search for the largest datagram.
#[derive(Debug)]
pub(super) struct Mtu {
    /// What every path is taken to carry (RFC 8899, BASE_PLPMTU).
    base: usize,
    /// The largest that is ever tried (RFC 8899, MAX_PLPMTU).
    ceiling: usize,
    /// What is known to pass.
    current: usize,
    /// The least that is known not to pass, or one more than the ceiling.
    too_large: usize,
    state: State,
    /// Numbers probes, so that a late reply to an old one proves nothing of a new path.
    number: u32,
    losses: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// A probe of this size is to be sent; so many of it were sent before.
    Due { size: usize, sent: u8 },
    /// A probe of this size is on its way until then.
    Waiting { size: usize, sent: u8, until: Instant },
    /// Found what there is to find; to be looked at again then, if there is room below the ceiling.
    Done { again: Option<Instant> },
}

impl Mtu {
    pub(super) fn new(base: usize, ceiling: usize) -> Self {
        let mut mtu = Self {
            base,
            ceiling: ceiling.max(base),
            current: base,
            too_large: ceiling.max(base) + 1,
            state: State::Done { again: None },
            number: 0,
            losses: 0,
        };
        mtu.search();
        mtu
    }

    /// The largest datagram to send, in bytes of UDP payload.
    pub(super) const fn datagram(&self) -> usize {
        self.current
    }

    /// Chooses the next size to try: the ceiling, then the plateaus below it, down to what is known to pass.
    fn search(&mut self) {
        let mut sizes = core::iter::once(self.ceiling).chain(PLATEAUS);
        let next = sizes.find(|size| self.current < *size && *size < self.too_large);
        self.state = next.map_or(State::Done { again: None }, |size| State::Due { size, sent: 0 });
    }

    /// The size of the datagram to probe with now, and the Ping's message.
    pub(super) fn probe_due(&self) -> Option<(usize, [u8; MESSAGE_LEN])> {
        match self.state {
            State::Due { size, .. } => Some((size, self.message(size))),
            State::Waiting { .. } | State::Done { .. } => None,
        }
    }

    fn message(&self, size: usize) -> [u8; MESSAGE_LEN] {
        let [s0, s1, s2, s3] = u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes();
        let [n0, n1, n2, n3] = self.number.to_be_bytes();
        [MARK, s0, s1, s2, s3, n0, n1, n2, n3]
    }

    /// The probe was sent; a reply may take until `wait` from now.
    pub(super) fn probe_sent(&mut self, now: Instant, wait: Duration) {
        if let State::Due { size, sent } = self.state {
            self.state = State::Waiting { size, sent: sent + 1, until: now + wait };
        }
    }

    /// A Ping Reply came; it may be a probe's.
    pub(super) fn on_reply(&mut self, now: Instant, message: &[u8]) {
        let (size, waiting) = match self.state {
            State::Due { size, .. } => (size, true),
            State::Waiting { size, .. } => (size, true),
            State::Done { .. } => (0, false),
        };
        if waiting && message == self.message(size) {
            self.current = size;
            // Everything larger has failed already.
            self.too_large = size + 1;
            self.next_size(now);
        }
    }

    fn next_size(&mut self, now: Instant) {
        self.number = self.number.wrapping_add(1);
        self.search();
        if matches!(self.state, State::Done { .. }) && self.current < self.ceiling {
            self.state = State::Done { again: Some(now + RAISE_AFTER) };
        }
    }

    pub(super) const fn next_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Due { .. } => None,
            State::Waiting { until, .. } => Some(until),
            State::Done { again } => again,
        }
    }

    /// A probe was not answered in time, or it is time to look again.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        match self.state {
            State::Waiting { size, sent, until } if until <= now => {
                if sent < MAX_PROBES {
                    self.state = State::Due { size, sent };
                } else {
                    self.too_large = size;
                    self.next_size(now);
                }
            }
            State::Done { again: Some(again) } if again <= now => {
                self.too_large = self.ceiling + 1;
                self.number = self.number.wrapping_add(1);
                self.search();
            }
            State::Due { .. } | State::Waiting { .. } | State::Done { .. } => {}
        }
    }

    /// A datagram above the base size arrived.
    pub(super) const fn on_large_acknowledged(&mut self) {
        self.losses = 0;
    }

    /// Datagrams above the base size were found lost. Too often, and the size goes back to the base (RFC 8899 §4.3,
    /// black hole detection).
    pub(super) fn on_large_lost(&mut self, now: Instant) {
        self.losses = self.losses.saturating_add(1);
        if self.losses < BLACK_HOLE_LOSSES || self.current == self.base {
            return;
        }
        self.too_large = self.current;
        self.current = self.base;
        self.losses = 0;
        // Whatever the reason was, it may last: a long rest before the next probe.
        self.number = self.number.wrapping_add(1);
        self.state = State::Done { again: Some(now + RAISE_AFTER) };
    }

    /// What was learned of the old path says nothing of the new.
    pub(super) fn on_path_change(&mut self) {
        let number = self.number.wrapping_add(1);
        *self = Self::new(self.base, self.ceiling);
        self.number = number;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    const START: Instant = Instant::from_millis(1_000);
    const WAIT: Duration = Duration::from_millis(500);

    /// Runs the search over a path that carries `path` bytes; returns how many probes it took.
    fn search(mtu: &mut Mtu, now: &mut Instant, path: usize) -> u32 {
        let mut probes = 0;
        loop {
            if let Some((size, message)) = mtu.probe_due() {
                probes += 1;
                mtu.probe_sent(*now, WAIT);
                if size <= path {
                    mtu.on_reply(*now, &message);
                }
            } else if let State::Waiting { until, .. } = mtu.state {
                *now = until;
                mtu.handle_timeout(*now);
            } else {
                return probes;
            }
        }
    }

    quickcheck! {
        fn the_search_finds_the_largest_size_that_passes(path: u16, ceiling: u16) -> bool {
            let (base, ceiling) = (1_200, usize::from(ceiling).max(1_200));
            let path = usize::from(path).max(base);
            let (mut mtu, mut now) = (Mtu::new(base, ceiling), START);
            let probes = search(&mut mtu, &mut now, path);
            let passes = |size: &usize| *size <= path.min(ceiling);
            let best = [base, ceiling].into_iter().chain(PLATEAUS).filter(passes).max();
            Some(mtu.datagram()) == best && probes <= 3 * 14
        }
    }

    #[test]
    fn a_path_that_carries_the_ceiling_takes_one_probe() {
        let (mut mtu, mut now) = (Mtu::new(1_200, 1_452), START);
        assert_eq!(search(&mut mtu, &mut now, 1_500), 1);
        assert_eq!((mtu.datagram(), mtu.next_timeout()), (1_452, None));
    }

    #[test]
    fn without_room_above_the_base_nothing_is_probed() {
        assert_eq!(Mtu::new(1_200, 1_200).probe_due(), None);
        assert_eq!(Mtu::new(1_200, 1_200).next_timeout(), None);
    }

    #[test]
    fn a_path_that_grows_is_found_after_ten_minutes() {
        let (mut mtu, mut now) = (Mtu::new(1_200, 1_452), START);
        search(&mut mtu, &mut now, 1_280);
        assert_eq!(mtu.datagram(), 1_252);
        assert_eq!(mtu.next_timeout(), Some(now + RAISE_AFTER));
        now += RAISE_AFTER;
        mtu.handle_timeout(now);
        search(&mut mtu, &mut now, 9_000);
        assert_eq!(mtu.datagram(), 1_452);
    }

    #[test]
    fn losses_of_large_datagrams_only_are_a_black_hole() {
        let (mut mtu, mut now) = (Mtu::new(1_200, 1_452), START);
        search(&mut mtu, &mut now, 9_000);
        (1..BLACK_HOLE_LOSSES).for_each(|_| mtu.on_large_lost(now));
        mtu.on_large_acknowledged();
        (1..BLACK_HOLE_LOSSES).for_each(|_| mtu.on_large_lost(now));
        assert_eq!(mtu.datagram(), 1_452);
        mtu.on_large_lost(now);
        assert_eq!((mtu.datagram(), mtu.probe_due()), (1_200, None));
        assert_eq!(mtu.next_timeout(), Some(now + RAISE_AFTER));
    }

    #[test]
    fn a_reply_to_a_probe_of_the_old_path_proves_nothing_of_the_new() {
        let mut mtu = Mtu::new(1_200, 1_452);
        let (_, old) = mtu.probe_due().unwrap();
        mtu.probe_sent(START, WAIT);
        mtu.on_path_change();
        mtu.on_reply(START, &old);
        assert_eq!(mtu.datagram(), 1_200);
        assert_ne!(mtu.probe_due().unwrap().1, old);
    }

    #[test]
    fn a_forged_or_foreign_reply_changes_nothing() {
        let mut mtu = Mtu::new(1_200, 9_000);
        mtu.probe_sent(START, WAIT);
        mtu.on_reply(START, b"");
        mtu.on_reply(START, &[MARK, 0, 0, 255, 255, 0, 0, 0, 0]);
        assert_eq!(mtu.datagram(), 1_200);
    }
}
