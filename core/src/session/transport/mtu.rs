//! How large a datagram the path carries (RFC 7016 §3.5.4.3, after RFC 8899).
//!
//! Probes are Padding and a Ping that tells the probe's size; a reply proves that the size passes. "Too big" signals
//! from the network are not asked for and not believed.
//!
//! Even the base size is probed before it is relied upon: until then, and again when losses say that it does not pass
//! any more, fragments are cut for a smaller size, and datagrams may be fragmented on the way. Fragments are never cut
//! larger than the base size carries. What was cut for it can still be sent on a smaller path, as fragments of IP.

use core::time::Duration;

use super::black_hole::BlackHole;
use crate::invariant::cannot_happen;
use crate::params::DATAGRAM_SAFE;
use crate::time::Instant;

/// The first byte of a probe's Ping message.
const MARK: u8 = b'U';
/// Length of a probe's Ping message: mark, size, number.
pub(in crate::session) const MESSAGE_LEN: usize = 1 + 4 + 4;
/// Probes of one size before it is held too large (RFC 8899 §5.1.2, MAX_PROBES).
const MAX_PROBES: u8 = 3;
/// What UDP over common networks carries, in bytes of payload: loopback, jumbo frames, Ethernet over IPv4 and IPv6,
/// PPPoE, tunnels, the IPv6 minimum. Sizes between them are not worth the probes.
const PLATEAUS: [usize; 13] =
    [65_507, 16_356, 8_972, 8_952, 4_324, 1_472, 1_452, 1_444, 1_392, 1_372, 1_352, 1_252, 1_232];
/// After this long a path may have got larger (RFC 8899 §5.1.1, PMTU_RAISE_TIMER).
const RAISE_AFTER: Duration = Duration::from_secs(600);

/// The search for the largest datagram.
#[derive(Debug)]
pub(in crate::session) struct Mtu {
    /// What most paths carry (RFC 8899, BASE_PLPMTU).
    base: usize,
    /// The largest that is ever tried (RFC 8899, MAX_PLPMTU).
    ceiling: usize,
    /// What is used.
    current: usize,
    /// The base size is known to pass.
    confirmed: bool,
    /// The least that is known not to pass, or one more than the ceiling.
    too_large: usize,
    state: State,
    /// Numbers probes, so that a late reply to an old one proves nothing of a new path.
    number: u32,
    /// No larger sizes are tried before: one of them was a black hole.
    rest: Option<Instant>,
    hole: BlackHole,
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
    /// With a ceiling that is not above the base nothing is probed: the base is trusted as long as nothing speaks
    /// against it.
    pub(in crate::session) fn new(base: usize, ceiling: usize) -> Self {
        let mut mtu = Self {
            base,
            ceiling: ceiling.max(base),
            current: base,
            confirmed: ceiling <= base,
            too_large: ceiling.max(base) + 1,
            state: State::Done { again: None },
            number: 0,
            rest: None,
            hole: BlackHole::default(),
        };
        if mtu.probes() {
            mtu.current = mtu.fragment_datagram();
            mtu.search();
        }
        mtu
    }

    const fn probes(&self) -> bool {
        self.ceiling > self.base
    }

    /// The largest datagram to send, in bytes of UDP payload.
    pub(in crate::session) const fn datagram(&self) -> usize {
        self.current
    }

    /// The datagram that fragments of user data are cut for.
    pub(in crate::session) fn fragment_datagram(&self) -> usize {
        if self.confirmed { self.base } else { self.base.min(DATAGRAM_SAFE) }
    }

    /// Whether datagrams may be fragmented on their way, all but probes.
    pub(in crate::session) const fn may_fragment(&self) -> bool {
        !self.confirmed
    }

    /// Chooses the next size to try: the base, if it is not known to pass; then the ceiling, then the plateaus below
    /// it, down to what is known to pass.
    fn search(&mut self) {
        let base = (!self.confirmed).then_some(self.base).filter(|size| *size < self.too_large);
        let mut sizes = core::iter::once(self.ceiling).chain(PLATEAUS);
        let larger = || sizes.find(|size| self.current.max(self.base) < *size && *size < self.too_large);
        let next = base.or_else(larger);
        self.state = next.map_or(State::Done { again: None }, |size| State::Due { size, sent: 0 });
    }

    /// The size of the datagram to probe with now, and the Ping's message.
    pub(in crate::session) fn probe_due(&self) -> Option<(usize, [u8; MESSAGE_LEN])> {
        match self.state {
            State::Due { size, .. } => Some((size, self.message(size))),
            State::Waiting { .. } | State::Done { .. } => None,
        }
    }

    fn message(&self, size: usize) -> [u8; MESSAGE_LEN] {
        let [s0, s1, s2, s3] =
            u32::try_from(size).unwrap_or_else(|_| cannot_happen!(u32::MAX, "a datagram is shorter")).to_be_bytes();
        let [n0, n1, n2, n3] = self.number.to_be_bytes();
        [MARK, s0, s1, s2, s3, n0, n1, n2, n3]
    }

    /// The probe was sent; a reply may take until `wait` from now.
    pub(in crate::session) fn probe_sent(&mut self, now: Instant, wait: Duration) {
        if let State::Due { size, sent } = self.state {
            self.state = State::Waiting { size, sent: sent + 1, until: now + wait };
        }
    }

    /// A Ping Reply came; it may be a probe's.
    pub(in crate::session) fn on_reply(&mut self, now: Instant, message: &[u8]) {
        let (size, waiting) = match self.state {
            State::Due { size, .. } => (size, true),
            State::Waiting { size, .. } => (size, true),
            State::Done { .. } => (0, false),
        };
        if waiting && message == self.message(size) {
            self.current = size;
            if self.confirmed {
                // Everything larger has failed already.
                self.too_large = size + 1;
            }
            self.confirmed = true;
            self.next_size(now);
        }
    }

    fn next_size(&mut self, now: Instant) {
        self.number = self.number.wrapping_add(1);
        if let Some(rest) = self.rest.filter(|_| self.confirmed) {
            self.state = State::Done { again: Some(rest) };
            return;
        }
        self.search();
        if matches!(self.state, State::Done { .. }) && (self.current < self.ceiling || !self.confirmed) {
            self.state = State::Done { again: Some(now + RAISE_AFTER) };
        }
    }

    pub(in crate::session) fn next_timeout(&self) -> Option<Instant> {
        let search = match self.state {
            State::Due { .. } => None,
            State::Waiting { until, .. } => Some(until),
            State::Done { again } => again,
        };
        search.into_iter().chain(self.hole.next_timeout()).min()
    }

    /// A probe was not answered in time, or it is time to look again. True if the session is to end: no
    /// data has passed for the `limit`, while smaller datagrams were answered.
    pub(in crate::session) fn handle_timeout(&mut self, now: Instant, limit: Duration) -> bool {
        self.continue_search(now);
        self.hole.handle_timeout(now, limit)
    }

    fn continue_search(&mut self, now: Instant) {
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
                self.rest = None;
                self.number = self.number.wrapping_add(1);
                if !self.probes() {
                    (self.current, self.confirmed) = (self.base, true);
                }
                self.search();
            }
            State::Due { .. } | State::Waiting { .. } | State::Done { .. } => {}
        }
    }

    /// Data in packets up to this plain length was acknowledged.
    pub(in crate::session) fn on_acknowledged(&mut self, size: usize) {
        self.hole.on_acknowledged(size);
    }

    /// A Ping Reply came, which says nothing of larger packets.
    pub(in crate::session) fn on_answer(&mut self) {
        self.hole.on_answer();
    }

    /// Data in packets up to this plain length was declared lost. Too often, and the size goes back to what nearly every
    /// path carries until the base size is proved again (RFC 8899 §4.3, black hole detection). `small`: the length of
    /// packets that are no larger than that, whose loss says nothing as long as larger ones are in use.
    pub(in crate::session) fn on_lost(&mut self, now: Instant, size: usize, small: usize, limit: Duration) {
        let reduced = !self.confirmed && self.current <= self.fragment_datagram();
        if !reduced && size <= small {
            return;
        }
        if !self.hole.on_lost(now, size, limit) || reduced {
            return;
        }
        self.hole.on_reduced();
        self.too_large = self.current.max(self.base + 1);
        self.confirmed = false;
        self.current = self.fragment_datagram();
        self.number = self.number.wrapping_add(1);
        // Whatever the reason was, it may last: a long rest before anything above the base.
        self.rest = Some(now + RAISE_AFTER);
        self.state = State::Done { again: self.rest };
        if self.probes() {
            self.search();
        }
    }

    /// What was learned of the old path says nothing of the new.
    pub(in crate::session) fn on_path_change(&mut self) {
        let number = self.number.wrapping_add(1);
        *self = Self::new(self.base, self.ceiling);
        self.number = number;
    }
}

#[cfg(test)]
mod tests {
    use super::super::black_hole::LOSSES;
    use super::*;
    use quickcheck::quickcheck;

    const START: Instant = Instant::from_millis(1_000);
    const WAIT: Duration = Duration::from_millis(500);

    const LIMIT: Duration = Duration::from_secs(15);
    /// The plain length of small packets, as far as these tests are concerned.
    const SMALL: usize = 950;

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
                assert!(!mtu.handle_timeout(*now, LIMIT));
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
            Some(mtu.datagram()) == best && probes <= 3 * 15 && !mtu.may_fragment()
        }

        fn below_the_base_fragments_are_cut_for_less_and_may_be_fragmented_again(path: u16, ceiling: u16) -> bool {
            let (base, ceiling) = (1_200, usize::from(ceiling).max(1_201));
            let (mut mtu, mut now) = (Mtu::new(base, ceiling), START);
            let probes = search(&mut mtu, &mut now, usize::from(path) % base);
            (mtu.datagram(), mtu.fragment_datagram()) == (1_000, 1_000) && mtu.may_fragment() && probes == 3
        }
    }

    #[test]
    fn a_path_that_carries_the_ceiling_takes_a_probe_of_the_base_and_one_of_the_ceiling() {
        let (mut mtu, mut now) = (Mtu::new(1_200, 1_452), START);
        assert_eq!((mtu.datagram(), mtu.fragment_datagram(), mtu.may_fragment()), (1_000, 1_000, true));
        assert_eq!(search(&mut mtu, &mut now, 1_500), 2);
        assert_eq!((mtu.datagram(), mtu.next_timeout()), (1_452, None));
        assert_eq!((mtu.fragment_datagram(), mtu.may_fragment()), (1_200, false));
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
        mtu.handle_timeout(now, LIMIT);
        search(&mut mtu, &mut now, 9_000);
        assert_eq!(mtu.datagram(), 1_452);
    }

    #[test]
    fn a_path_below_the_base_is_tried_again_after_ten_minutes() {
        let (mut mtu, mut now) = (Mtu::new(1_200, 1_452), START);
        search(&mut mtu, &mut now, 1_100);
        assert_eq!((mtu.datagram(), mtu.next_timeout()), (1_000, Some(now + RAISE_AFTER)));
        now += RAISE_AFTER;
        mtu.handle_timeout(now, LIMIT);
        search(&mut mtu, &mut now, 9_000);
        assert_eq!((mtu.datagram(), mtu.may_fragment()), (1_452, false));
    }

    #[test]
    fn losses_of_large_datagrams_only_are_a_black_hole() {
        let (mut mtu, mut now) = (Mtu::new(1_200, 1_452), START);
        search(&mut mtu, &mut now, 9_000);
        let lose = |mtu: &mut Mtu, size| mtu.on_lost(START, size, SMALL, LIMIT);
        (0..99).for_each(|_| lose(&mut mtu, SMALL));
        (1..LOSSES).for_each(|_| lose(&mut mtu, 1_400));
        mtu.on_acknowledged(1_400);
        (1..LOSSES).for_each(|_| lose(&mut mtu, 1_400));
        mtu.on_acknowledged(1_100);
        assert_eq!((mtu.datagram(), mtu.may_fragment()), (1_452, false));
        lose(&mut mtu, 1_400);
        assert_eq!((mtu.datagram(), mtu.may_fragment()), (1_000, true));
        let (size, message) = mtu.probe_due().unwrap();
        mtu.probe_sent(now, WAIT);
        mtu.on_reply(now, &message);
        assert_eq!((size, mtu.datagram(), mtu.may_fragment()), (1_200, 1_200, false));
        assert_eq!(mtu.probe_due(), None, "a rest before anything larger");
        assert_eq!(mtu.next_timeout(), Some(START + LIMIT));
        mtu.on_acknowledged(1_100);
        assert_eq!(mtu.next_timeout(), Some(START + RAISE_AFTER));
    }

    #[test]
    fn after_a_black_hole_of_the_base_size_that_is_probed_again() {
        let (mut mtu, mut now) = (Mtu::new(1_200, 1_452), START);
        search(&mut mtu, &mut now, 1_200);
        assert_eq!((mtu.datagram(), mtu.may_fragment()), (1_200, false));
        (0..LOSSES).for_each(|_| mtu.on_lost(now, 1_100, SMALL, LIMIT));
        assert_eq!(mtu.datagram(), 1_000);
        assert_eq!(mtu.probe_due().map(|(size, _)| size), Some(1_200));
    }

    #[test]
    fn without_probes_the_base_is_trusted_but_for_ten_minutes_after_a_black_hole() {
        let mut mtu = Mtu::new(1_200, 0);
        assert_eq!((mtu.datagram(), mtu.may_fragment()), (1_200, false));
        (0..LOSSES).for_each(|_| mtu.on_lost(START, 1_100, SMALL, LIMIT));
        assert_eq!((mtu.datagram(), mtu.may_fragment(), mtu.probe_due()), (1_000, true, None));
        mtu.on_acknowledged(900);
        assert_eq!(mtu.next_timeout(), Some(START + RAISE_AFTER));
        assert!(!mtu.handle_timeout(START + RAISE_AFTER, LIMIT));
        assert_eq!((mtu.datagram(), mtu.may_fragment(), mtu.next_timeout()), (1_200, false, None));
    }

    #[test]
    fn a_reply_to_a_probe_of_the_old_path_proves_nothing_of_the_new() {
        let mut mtu = Mtu::new(1_200, 1_452);
        let (_, old) = mtu.probe_due().unwrap();
        mtu.probe_sent(START, WAIT);
        mtu.on_path_change();
        mtu.on_reply(START, &old);
        assert_eq!(mtu.datagram(), 1_000);
        assert_ne!(mtu.probe_due().unwrap().1, old);
    }

    #[test]
    fn a_forged_or_foreign_reply_changes_nothing() {
        let mut mtu = Mtu::new(1_200, 9_000);
        mtu.probe_sent(START, WAIT);
        mtu.on_reply(START, b"");
        mtu.on_reply(START, &[MARK, 0, 0, 255, 255, 0, 0, 0, 0]);
        assert_eq!(mtu.datagram(), 1_000);
    }
}
