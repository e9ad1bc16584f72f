//! What all sessions together hold: each has a guaranteed share, and of the rest as much as it leaves free for the
//! others. Who holds most for longest without progress gives way when that rest is short.
//!
//! A session is granted what it may hold at the beginning of each call, and charged what it takes at the end. The rule
//! for the common part is that of shared switch buffers ("dynamic thresholds", Choudhury and Hahne 1998): it needs no
//! limit for each session, and nobody takes the last of it.

use alloc::collections::BTreeSet;
use core::time::Duration;

use crate::config::EndpointConfig;
use crate::session::{Grant, Memory, Session};
use crate::time::Instant;

/// Sessions whose far end has not proved to have the keys share this part of the memory.
const UNPROVED_PART: usize = 16;

/// A session without progress is listed once this is so for this long: those that move data never are.
const LISTED_AFTER: Duration = Duration::from_secs(1);

/// Sessions of about the same size, to twice as much, are listed together. What is larger counts as the largest.
const CLASSES: usize = 32;

/// The receive windows of a session grow by this part of what half of the common memory has left. So readers that were
/// fast, and have stopped, leave the other half to windows that have not grown.
const WINDOWS_PART: usize = 4;

/// This part of the memory is kept for guaranteed shares.
const GUARANTEED_PART: usize = 4;

/// The bytes of one direction.
#[derive(Debug)]
struct Pool {
    /// What each session may take in any case.
    guaranteed: usize,
    /// What all sessions take beyond that, and may take.
    common: usize,
    common_limit: usize,
    /// All that is taken by sessions whose far end has not proved to have the keys, and may be taken.
    unproved: usize,
    unproved_limit: usize,
    /// What is granted to a proved session while the memory is not short.
    ample: usize,
    /// Receive windows do not grow beyond those that they begin with while no more than this is granted.
    kept_from_windows: usize,
    /// The most that a session may hold now.
    granted: usize,
    stalled: StallIndex,
}

impl Pool {
    fn new(limit: usize, max_sessions: usize) -> Self {
        let kept = limit / GUARANTEED_PART;
        let (guaranteed, common_limit) = (kept.checked_div(max_sessions).unwrap_or(0), limit - kept);
        Self {
            guaranteed,
            common: 0,
            common_limit,
            unproved: 0,
            unproved_limit: limit / UNPROVED_PART,
            ample: guaranteed + common_limit / 4,
            kept_from_windows: guaranteed + common_limit / 2,
            granted: guaranteed + common_limit,
            stalled: StallIndex::default(),
        }
    }

    /// The most that a session may hold.
    const fn grant(&self, unproved: bool) -> usize {
        if !unproved {
            return self.granted;
        }
        let part = self.unproved_limit.saturating_sub(self.unproved);
        if part < self.granted { part } else { self.granted }
    }

    const fn is_short(&self) -> bool {
        self.granted < self.ample
    }

    /// What a session takes has changed. The sums are exact, so that nothing overflows but on the way.
    fn charge(&mut self, before: Share, after: Share) {
        let beyond = |share: Share| share.bytes.saturating_sub(self.guaranteed);
        self.common = self.common.wrapping_sub(beyond(before)).wrapping_add(beyond(after));
        self.unproved = self.unproved.wrapping_sub(before.unproved()).wrapping_add(after.unproved());
        self.granted = self.guaranteed + self.common_limit.saturating_sub(self.common);
    }

    /// Where a session is to be listed that holds so much, and is without progress since then. Who keeps to the guaranteed
    /// share takes nothing that others could have.
    #[inline]
    fn place(&self, now: Instant, at_once: bool, bytes: usize, since: Option<Instant>) -> Option<Place> {
        let since = since.filter(|&since| at_once || since + LISTED_AFTER <= now)?;
        (bytes > self.guaranteed).then(|| (class(bytes), since))
    }

    /// Of each class the session without progress for longest; none while the memory is not short.
    fn candidates(&self) -> impl Iterator<Item = (u32, Instant, u32)> + '_ {
        self.stalled.oldest().take(if self.is_short() { CLASSES } else { 0 })
    }
}

/// What one session takes of a pool.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Share {
    bytes: usize,
    is_unproved: bool,
}

impl Share {
    const fn unproved(self) -> usize {
        if self.is_unproved { self.bytes } else { 0 }
    }
}

/// Where a session is in a [`StallIndex`]: its class, and since when it is without progress.
type Place = (u8, Instant);

/// Sessions without progress, by size class, since when: who holds most for longest is found among few.
#[derive(Debug)]
struct StallIndex([BTreeSet<(Instant, u32)>; CLASSES]);

impl Default for StallIndex {
    fn default() -> Self {
        Self([const { BTreeSet::new() }; CLASSES])
    }
}

impl StallIndex {
    #[inline]
    fn set(&mut self, slot: u32, place: &mut Option<Place>, now: Option<Place>) {
        if *place != now {
            self.replace(slot, core::mem::replace(place, now), now);
        }
    }

    #[cold]
    fn replace(&mut self, slot: u32, before: Option<Place>, now: Option<Place>) {
        if let Some((class, since)) = before
            && let Some(list) = self.0.get_mut(usize::from(class))
        {
            list.remove(&(since, slot));
        }
        if let Some((class, since)) = now
            && let Some(list) = self.0.get_mut(usize::from(class))
        {
            list.insert((since, slot));
        }
    }

    /// Of each class the one without progress for longest: class, since when, slot.
    fn oldest(&self) -> impl Iterator<Item = (u32, Instant, u32)> + '_ {
        (0..).zip(&self.0).filter_map(|(class, list)| list.first().map(|&(since, slot)| (class, since, slot)))
    }
}

/// What is charged to one session, and where it is listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Charge {
    memory: Memory,
    unproved: bool,
    recv_stalled: Option<Place>,
    send_stalled: Option<Place>,
    waiting: Option<usize>,
}

/// The memory of an endpoint. See the module.
#[derive(Debug)]
pub(super) struct MemoryPools {
    recv: Pool,
    send: Pool,
    scarce_stall_limit: Duration,
    /// Sessions with refused writers, by how much they must be granted.
    waiting: BTreeSet<(usize, u32)>,
}

impl MemoryPools {
    pub(super) fn new(config: &EndpointConfig) -> Self {
        Self {
            recv: Pool::new(config.max_recv_memory, config.max_sessions),
            send: Pool::new(config.max_send_memory, config.max_sessions),
            scarce_stall_limit: config.scarce_stall_limit,
            waiting: BTreeSet::new(),
        }
    }

    /// What a session may hold.
    #[inline]
    pub(super) fn grant(&self, session: &Session) -> Grant {
        let unproved = session.transport().is_unproved();
        let recv = self.recv.grant(unproved);
        let windows = recv.saturating_sub(self.recv.kept_from_windows) / WINDOWS_PART;
        Grant { recv, windows, send: self.send.grant(unproved), ample: self.send.ample }
    }

    /// Brings all in line with a session that may have changed in any way.
    #[inline]
    pub(super) fn update(&mut self, now: Instant, slot: u32, charge: &mut Charge, session: &Session) {
        let memory = session.memory();
        let unproved = session.transport().is_unproved();
        if (memory, unproved) != (charge.memory, charge.unproved) {
            self.charge(charge, memory, unproved);
        }
        // Nothing may call on a session again soon that has ended, and is kept to be read.
        let at_once = session.state().has_ended();
        let delivery = session.delivery();
        let recv = self.recv.place(now, at_once, memory.recv, delivery.receiving.stalled_since());
        let send = self.send.place(now, at_once, memory.send, delivery.sending.stalled_since());
        self.recv.stalled.set(slot, &mut charge.recv_stalled, recv);
        self.send.stalled.set(slot, &mut charge.send_stalled, send);
        // An unproved session waits until it is proved.
        let waiting = delivery.sending.flows.awaited_memory().map(|bytes| if unproved { usize::MAX } else { bytes });
        if charge.waiting != waiting {
            self.list_waiting(slot, charge, waiting);
        }
    }

    /// A session is gone.
    pub(super) fn forget(&mut self, slot: u32, charge: &mut Charge) {
        self.charge(charge, Memory::default(), false);
        self.recv.stalled.set(slot, &mut charge.recv_stalled, None);
        self.send.stalled.set(slot, &mut charge.send_stalled, None);
        self.list_waiting(slot, charge, None);
    }

    fn charge(&mut self, charge: &mut Charge, memory: Memory, unproved: bool) {
        let share = |bytes, is_unproved| Share { bytes, is_unproved };
        let before = charge.memory;
        for (pool, before, after) in
            [(&mut self.recv, before.recv, memory.recv), (&mut self.send, before.send, memory.send)]
        {
            let (before, after) = (share(before, charge.unproved), share(after, unproved));
            if before != after {
                pool.charge(before, after);
            }
        }
        (charge.memory, charge.unproved) = (memory, unproved);
    }

    #[cold]
    fn list_waiting(&mut self, slot: u32, charge: &mut Charge, bytes: Option<usize>) {
        if let Some(before) = core::mem::replace(&mut charge.waiting, bytes) {
            self.waiting.remove(&(before, slot));
        }
        if let Some(bytes) = bytes {
            self.waiting.insert((bytes, slot));
        }
    }

    /// A session with a refused writer that there is room for now.
    #[inline]
    pub(super) fn next_writable(&self) -> Option<u32> {
        if self.waiting.is_empty() {
            return None;
        }
        let &(bytes, slot) = self.waiting.first()?;
        (bytes <= self.send.grant(false)).then_some(slot)
    }

    /// The session to close because memory is short: that with the largest product of size and time without progress,
    /// of those without progress for longer than is allowed then.
    #[inline]
    pub(super) fn victim(&self, now: Instant) -> Option<u32> {
        if self.is_short() { self.largest_overdue(now) } else { None }
    }

    #[cold]
    fn largest_overdue(&self, now: Instant) -> Option<u32> {
        let overdue = self.candidates().filter(|&(_, since, _)| since + self.scarce_stall_limit <= now);
        // A class is as large as two to its power.
        let weight = |(class, since, _): (u32, Instant, u32)| now.saturating_duration_since(since).as_micros() << class;
        overdue.max_by_key(|&candidate| weight(candidate)).map(|(_, _, slot)| slot)
    }

    /// When there may be one next.
    #[inline]
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        if self.is_short() { self.next_overdue() } else { None }
    }

    #[inline]
    const fn is_short(&self) -> bool {
        self.recv.is_short() || self.send.is_short()
    }

    #[cold]
    fn next_overdue(&self) -> Option<Instant> {
        Some(self.candidates().map(|(_, since, _)| since).min()? + self.scarce_stall_limit)
    }

    fn candidates(&self) -> impl Iterator<Item = (u32, Instant, u32)> + '_ {
        self.recv.candidates().chain(self.send.candidates())
    }
}

/// The size class of so many bytes.
fn class(bytes: usize) -> u8 {
    (bytes.checked_ilog2().unwrap_or(0) as u8).min(CLASSES as u8 - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_millis(100_000);

    fn pools() -> MemoryPools {
        let config = EndpointConfig { max_recv_memory: 2 << 20, max_sessions: 1_024, ..EndpointConfig::default() };
        MemoryPools::new(&config)
    }

    /// A session that holds so many bytes, and has been without progress for so long.
    fn session(pools: &mut MemoryPools, slot: u32, bytes: usize, stalled: Option<Duration>) -> Charge {
        let mut charge = Charge::default();
        pools.charge(&mut charge, Memory { recv: bytes, send: 0 }, false);
        let since = stalled.map(|stalled| Instant::from_micros(NOW.as_micros() - stalled.as_micros() as u64));
        let place = pools.recv.place(NOW, false, bytes, since);
        pools.recv.stalled.set(slot, &mut charge.recv_stalled, place);
        charge
    }

    #[test]
    fn the_largest_product_of_size_and_time_gives_way_when_memory_is_short() {
        let mut pools = pools();
        let mut large = session(&mut pools, 1, 1 << 20, Some(Duration::from_secs(20)));
        session(&mut pools, 2, 1 << 16, Some(Duration::from_secs(60)));
        assert_eq!((pools.victim(NOW), pools.next_timeout()), (None, None), "there is enough");
        session(&mut pools, 3, 1 << 17, None);
        assert_eq!(pools.victim(NOW), Some(1));
        // It moves again.
        pools.recv.stalled.set(1, &mut large.recv_stalled, None);
        assert_eq!(pools.victim(NOW), Some(2));
        pools.forget(1, &mut large);
        assert_eq!(pools.victim(NOW), None, "there is enough");
    }

    #[test]
    fn what_a_session_held_is_granted_again_when_it_is_gone() {
        let mut pools = pools();
        let granted = |pools: &MemoryPools| [false, true].map(|unproved| pools.recv.grant(unproved));
        let before = granted(&pools);
        for unproved in [false, true] {
            let mut charge = Charge::default();
            pools.charge(&mut charge, Memory { recv: 50_000, send: 0 }, unproved);
            let unproved_bytes = if unproved { 50_000 } else { 0 };
            let beyond = 50_000 - pools.recv.guaranteed;
            assert_eq!(granted(&pools), [before[0] - beyond, before[1] - unproved_bytes]);
            pools.forget(0, &mut charge);
            assert_eq!(granted(&pools), before);
        }
    }
}
