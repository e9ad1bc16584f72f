//! What the flows of a session hold, and may hold, in bytes of memory.

use alloc::vec::Vec;
use core::time::Duration;

use super::reassembly::SmallMessagePool;
use crate::params;
use crate::time::micros;

/// Windows grow by this part of what the session may hold, in all.
const WINDOWS_PART: usize = 2;
const WINDOW_BLOCK: usize = params::WINDOW_BLOCK as usize;

/// The most that is kept from a flow without a limit: the window that another flow begins with.
const RESERVE: usize = 262_144;
/// It is no more than this part of what the session may hold.
const RESERVE_PART: usize = 16;
/// Of the reserve the flow may take this part in a round trip: a message that is nearly as long as the limit ends in a few.
const OF_RESERVE: usize = 8;

/// The receive side of one session. Everything that its flows keep because of the far end is charged here: fragments,
/// messages that nobody has read yet, and what it takes to keep track of them.
#[derive(Debug)]
pub(crate) struct RecvBudget {
    held: usize,
    /// What of it is not buffered, but the flows themselves.
    flows: usize,
    /// Flows with a message to read.
    readable: u32,
    /// The slot of the flow whose window has no limit of its own.
    unlimited: Option<u32>,
    /// `SessionConfig::max_recv_bytes`.
    limit: usize,
    /// The most that the endpoint grants at present. It falls while the memory of the endpoint is scarce, also below
    /// what is held: then nothing more is taken until something is let go.
    granted: usize,
    /// By how much the endpoint lets all windows grow at present.
    granted_windows: usize,
    /// By how much the windows of all flows have grown, in blocks.
    windows: u32,
    /// How long the path takes there and back in microseconds, at least 1; 0 if that is not measured.
    round_trip: u32,
    /// Gaps in the sequence numbers of all flows.
    gaps: u32,
    /// How many gaps were closed, ever.
    gaps_closed: u64,
    /// Memory that all flows share.
    pub(super) pool: SmallMessagePool,
}

impl RecvBudget {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            held: 0,
            flows: 0,
            readable: 0,
            unlimited: None,
            limit,
            granted: usize::MAX,
            granted_windows: usize::MAX,
            windows: 0,
            round_trip: 0,
            gaps: 0,
            gaps_closed: 0,
            pool: SmallMessagePool::default(),
        }
    }

    /// Bytes that are held.
    #[cfg(test)]
    pub(crate) const fn held(&self) -> usize {
        self.held
    }

    /// The most that the session may ever hold.
    pub(crate) const fn limit(&self) -> usize {
        self.limit
    }

    /// Whether the endpoint grants less at present than the session may hold by itself.
    pub(crate) const fn is_granted_less(&self) -> bool {
        self.granted < self.limit
    }

    /// Bytes that may be charged in addition now.
    pub(crate) fn room(&self) -> usize {
        self.limit.min(self.granted).saturating_sub(self.held)
    }

    /// By how much all windows may grow. One half of the session's memory is left for what it takes to keep track, for
    /// messages of which a fragment is missing, and for windows that have not grown.
    fn window_share(&self) -> usize {
        (self.limit / WINDOWS_PART).min(self.granted_windows)
    }

    /// The same in blocks.
    pub(super) fn window_share_blocks(&self) -> u32 {
        u32::try_from(self.window_share() / WINDOW_BLOCK).unwrap_or(u32::MAX)
    }

    /// What is left of it.
    pub(super) fn window_room(&self) -> usize {
        self.window_share().saturating_sub((self.windows as usize).saturating_mul(WINDOW_BLOCK))
    }

    /// What flows have received may never take more than this.
    pub(super) const fn most_buffered(&self) -> usize {
        self.limit.saturating_sub(self.flows)
    }

    /// Tells whether the window of the flow in this slot has no limit of its own. So it is with one flow at a time that
    /// `wants` it, until it does no more: two could fill the memory with parts of messages that never become whole.
    pub(super) fn lift_limit(&mut self, slot: u32, wants: bool) -> bool {
        if wants {
            return *self.unlimited.get_or_insert(slot) == slot;
        }
        self.unlimited.take_if(|unlimited| *unlimited == slot);
        false
    }

    /// What may come for the flow in this slot whatever the limit of its window is: not the reserve, which is for other
    /// flows, and no more than windows may grow by, so that all sessions together do not take all that the endpoint has.
    pub(super) fn lifted_room(&self, slot: u32) -> u32 {
        if self.unlimited != Some(slot) {
            return 0;
        }
        let room = self.room();
        let beyond_reserve = room.saturating_sub(RESERVE.min(self.limit / RESERVE_PART));
        u32::try_from(beyond_reserve.max(room / OF_RESERVE).min(self.granted_windows)).unwrap_or(u32::MAX)
    }

    /// The slot of the flow whose window has no limit of its own.
    pub(crate) const fn unlimited(&self) -> Option<u32> {
        self.unlimited
    }

    /// Changes how long the path takes there and back.
    pub(crate) fn set_round_trip(&mut self, round_trip: Option<Duration>) {
        self.round_trip =
            round_trip.map_or(0, |round_trip| u32::try_from(micros(round_trip)).unwrap_or(u32::MAX).max(1));
    }

    /// How long it takes, as far as that is measured.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        (self.round_trip > 0).then(|| Duration::from_micros(self.round_trip.into()))
    }

    /// By how many blocks a window has grown has changed.
    pub(super) const fn charge_window(&mut self, before: u32, after: u32) {
        self.windows = self.windows.saturating_sub(before).saturating_add(after);
    }

    /// What a part of a flow takes has changed. Growth by more than [`room`](Self::room) is for the caller to refuse.
    pub(crate) const fn charge(&mut self, before: usize, after: usize) {
        self.held = self.held.saturating_sub(before).saturating_add(after);
    }

    /// The same for a flow itself, which takes this much as long as it is there.
    pub(crate) const fn charge_flow(&mut self, before: usize, after: usize) {
        self.charge(before, after);
        self.flows = self.flows.saturating_sub(before).saturating_add(after);
    }

    /// Whether a flow has a message to read has changed.
    pub(super) fn count_readable(&mut self, before: bool, after: bool) {
        self.readable = (self.readable + u32::from(after)).saturating_sub(u32::from(before));
    }

    /// The number of gaps in a flow has changed.
    pub(super) fn count_gaps(&mut self, before: usize, after: usize) {
        let gaps = (self.gaps as usize).saturating_sub(before).saturating_add(after);
        self.gaps = u32::try_from(gaps).unwrap_or(u32::MAX);
        self.gaps_closed += before.saturating_sub(after) as u64;
    }

    /// How many gaps there are in the sequence numbers of all flows, and how many were closed, ever.
    pub(crate) const fn gaps(&self) -> (usize, u64) {
        (self.gaps as usize, self.gaps_closed)
    }

    /// Bytes that are held beside the flows themselves.
    pub(crate) const fn buffered(&self) -> usize {
        self.held.saturating_sub(self.flows)
    }

    /// Bytes that wait for the far end: what is buffered, unless a reader could free some of it.
    pub(crate) const fn incomplete(&self) -> usize {
        if self.readable == 0 { self.buffered() } else { 0 }
    }

    /// Bytes of memory that are taken, with what is kept for use again. What is buffered lies in that, as far as it has
    /// room.
    pub(crate) fn memory(&self) -> usize {
        self.held.max(self.flows.saturating_add(self.pool.memory()))
    }

    /// Changes what the endpoint grants.
    pub(crate) const fn grant(&mut self, bytes: usize, windows: usize) {
        self.granted = bytes;
        self.granted_windows = windows;
    }

    /// Frees memory that is kept for use again, once nothing is buffered.
    pub(super) fn trim_if_empty(&mut self) {
        if self.held == self.flows {
            self.pool.trim();
        }
    }
}

/// What a sending flow holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct SendHeld {
    /// Bytes of memory, at most.
    pub(crate) memory: usize,
    /// Of messages that the far end has not acknowledged, with an overhead for each entry; 0 if there are none.
    pub(crate) unacknowledged: usize,
}

/// The send side of one session: messages that wait, and what is in flight.
#[derive(Debug)]
pub(crate) struct SendBudget {
    held: SendHeld,
    /// `SessionConfig::max_send_bytes`.
    limit: usize,
    /// The most that the endpoint grants at present.
    granted: usize,
    /// While this much is granted, a session that holds nothing may hold one message of any size.
    ample: usize,
    /// The flows that were refused because of this budget, since they were told of room the last time.
    refused: Vec<u32>,
    /// The least that one of them asked for.
    wanted: usize,
}

impl SendBudget {
    pub(crate) const fn new(limit: usize) -> Self {
        let held = SendHeld { memory: 0, unacknowledged: 0 };
        Self { held, limit, granted: usize::MAX, ample: 0, refused: Vec::new(), wanted: usize::MAX }
    }

    /// The most that the session may ever hold.
    pub(crate) const fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) const fn held(&self) -> SendHeld {
        self.held
    }

    /// What a flow holds has changed.
    pub(crate) const fn charge(&mut self, before: SendHeld, after: SendHeld) {
        let (memory, unacknowledged) = (self.held.memory, self.held.unacknowledged);
        self.held = SendHeld {
            memory: memory.saturating_sub(before.memory).saturating_add(after.memory),
            unacknowledged: unacknowledged.saturating_sub(before.unacknowledged).saturating_add(after.unacknowledged),
        };
    }

    /// Changes what the endpoint grants.
    pub(crate) const fn grant(&mut self, bytes: usize, ample: usize) {
        self.granted = bytes;
        self.ample = ample;
    }

    /// How much the endpoint must grant for a message that takes `bytes`. None: it does not depend on the endpoint.
    fn needed(&self, bytes: usize) -> Option<usize> {
        let after = self.held.memory.saturating_add(bytes);
        if self.held.unacknowledged == 0 {
            return Some(after.min(self.ample));
        }
        Some(after).filter(|&after| after <= self.limit)
    }

    /// Whether a message that takes `bytes` may be queued.
    pub(crate) fn admits(&self, bytes: usize) -> bool {
        self.needed(bytes).is_some_and(|needed| needed <= self.granted)
    }

    /// A flow was refused a message of `bytes`; `again`: it waits already.
    pub(crate) fn refuse(&mut self, slot: u32, bytes: usize, again: bool) {
        if !again {
            self.refused.push(slot);
        }
        self.wanted = self.wanted.min(bytes);
    }

    /// How much the endpoint must grant for a flow that was refused. None: nobody waits for it.
    pub(crate) fn awaited(&self) -> Option<usize> {
        if self.refused.is_empty() { None } else { self.needed(self.wanted) }
    }

    /// The flows that were refused, to be told that there is room.
    pub(crate) fn take_refused(&mut self) -> Vec<u32> {
        self.wanted = usize::MAX;
        core::mem::take(&mut self.refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parts of messages of two flows could fill the memory, and neither of them become whole.
    #[test]
    fn one_flow_at_a_time_has_all_the_room() {
        let mut budget = RecvBudget::new(1_000);
        assert!(budget.lift_limit(3, true) && budget.lift_limit(3, true));
        assert!(!budget.lift_limit(4, true));
        assert!(!budget.lift_limit(4, false));
        assert!(!budget.lift_limit(4, true), "it is not for another flow to give up");
        assert!(!budget.lift_limit(3, false));
        assert!(budget.lift_limit(4, true));
        assert_eq!(budget.unlimited(), Some(4));
    }

    #[test]
    fn a_flow_without_a_limit_leaves_a_reserve_and_what_the_endpoint_keeps() {
        let mut budget = RecvBudget::new(16 << 20);
        assert!(budget.lift_limit(3, true));
        assert_eq!(budget.lifted_room(4), 0);
        assert_eq!(budget.lifted_room(3), (16 << 20) - (256 << 10));
        budget.charge(0, (16 << 20) - (256 << 10));
        assert_eq!(budget.lifted_room(3), 32 << 10, "the end of a long message takes few round trips");
        budget.charge(15 << 20, 0);
        for (windows, room) in [(100_000, 100_000), (0, 0)] {
            budget.grant(usize::MAX, windows);
            assert_eq!(budget.lifted_room(3), room);
        }
    }

    #[test]
    fn a_session_is_granted_less_than_it_may_hold_while_memory_is_scarce() {
        let mut budget = RecvBudget::new(1_000);
        assert!(!budget.is_granted_less());
        budget.grant(999, 0);
        assert!(budget.is_granted_less());
        assert_eq!(budget.room(), 999);
        budget.grant(1_000, 0);
        assert!(!budget.is_granted_less());
    }

    fn held(bytes: usize) -> SendHeld {
        SendHeld { memory: bytes, unacknowledged: bytes }
    }

    #[test]
    fn a_session_that_holds_nothing_may_hold_one_message_of_any_size_while_there_is_plenty() {
        let mut budget = SendBudget::new(1_000);
        budget.grant(500, 400);
        assert!(budget.admits(1_000_000));
        budget.charge(SendHeld::default(), held(10));
        assert!(budget.admits(490) && !budget.admits(491), "no more than is granted");
        budget.grant(5_000, 400);
        assert!(budget.admits(990) && !budget.admits(991), "no more than its limit");
        budget.charge(held(10), SendHeld::default());
        budget.grant(399, 400);
        assert!(budget.admits(399) && !budget.admits(1_000_000), "memory is scarce");
    }

    #[test]
    fn what_was_refused_is_awaited_until_it_is_told_of() {
        let mut budget = SendBudget::new(1_000);
        budget.charge(SendHeld::default(), held(900));
        budget.grant(900, 400);
        assert_eq!(budget.awaited(), None);
        budget.refuse(3, 80, false);
        budget.refuse(3, 50, true);
        budget.refuse(4, 70, false);
        assert_eq!(budget.awaited(), Some(950), "the least");
        budget.charge(SendHeld::default(), held(90));
        assert_eq!(budget.awaited(), None, "it waits for its own");
        assert_eq!(budget.take_refused(), [3, 4]);
        assert_eq!(budget.awaited(), None);
    }
}
