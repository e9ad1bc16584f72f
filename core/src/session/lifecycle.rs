//! The state of a session, and the exchange that ends it (RFC 7016 §3.5.5).
//!
//! A [`Lifecycle`] decides what an [`Ending`] means in each state, keeps the deadlines of the closing states, and says the
//! closes. What the ending means for the other parts of the session is for the session to do.

use alloc::vec::Vec;
use core::time::Duration;

use super::alarm::Alarm;
use super::state::StateMachine;
use crate::event::{CloseReason, OpenFailure};
use crate::params::{CLOSE_RETRY_INTERVAL, FARCLOSE_LINGER, NEARCLOSE_TIMEOUT};
use crate::session_state::SessionState;
use crate::time::Instant;
use crate::wire::{Chunks, Close, CloseAck, PacketWriter};

/// How to close a session (RFC 7016 §3.5.5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CloseMode {
    /// With a Session Close Request, repeated until acknowledged.
    Orderly,
    /// With a single Session Close Acknowledgement, without waiting.
    Abrupt,
}

/// What ends a session. While it opens, all of them let it fail: [`OpenFailure::Cancelled`], if no other reason is given.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    /// The session could not be opened.
    Failed(OpenFailure),
    /// ORDERLY CLOSE: to S_NEARCLOSE, with a Session Close Request that is repeated.
    Orderly(CloseReason),
    /// ABRUPT CLOSE: to S_CLOSED, with a single Session Close Acknowledgement.
    Abrupt(CloseReason),
    /// To S_CLOSED without a word to the far end.
    Silent(CloseReason),
    /// A Session Close Request came.
    Requested,
    /// A Session Close Acknowledgement came.
    Acknowledged,
    /// The time of S_NEARCLOSE or S_FARCLOSE_LINGER is over.
    Expired,
}

impl From<CloseMode> for Ending {
    /// The user's close.
    fn from(mode: CloseMode) -> Self {
        match mode {
            CloseMode::Orderly => Self::Orderly(CloseReason::Near),
            CloseMode::Abrupt => Self::Abrupt(CloseReason::Near),
        }
    }
}

/// Why S_OPEN was left, or not reached, as the user is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cause {
    Failed(OpenFailure),
    Closed(CloseReason),
}

/// What an ending has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Change {
    /// S_OPEN is left, or was not reached: the flows end.
    pub(super) ended: Option<Cause>,
    /// It was draining until then.
    pub(super) drained: bool,
    /// S_CLOSED is reached.
    pub(super) closed: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Lifecycle {
    state: StateMachine,
    deadlines: ClosingDeadlines,
    /// Nothing more is written, and when all is acknowledged the session closes.
    draining: bool,
    /// Other sessions have to end first.
    held: bool,
    /// In S_NEARCLOSE: the far end has asked to close the session too.
    far_closes: bool,
    /// A Session Close Request is due.
    request: bool,
    /// A Session Close Acknowledgement is due.
    acknowledgement: bool,
    /// Chunks that go along with each Session Close Request.
    farewell: Vec<u8>,
}

/// When a session that is idle, or closing, goes on to the next state.
#[derive(Debug, Default)]
pub(super) struct ClosingDeadlines {
    /// Without flows until then: close.
    pub(super) idle: Alarm,
    /// Repeat the Session Close Request (RFC 7016 §3.5.5).
    pub(super) retry: Alarm,
    /// The end of S_NEARCLOSE or S_FARCLOSE_LINGER (RFC 7016 §3.5.5). Before these: of the time to drain.
    pub(super) end: Alarm,
}

impl Lifecycle {
    /// In S_IHELLO_SENT.
    pub(super) fn new() -> Self {
        Self {
            state: StateMachine::new(),
            deadlines: ClosingDeadlines::default(),
            draining: false,
            held: false,
            far_closes: false,
            request: false,
            acknowledgement: false,
            farewell: Vec::new(),
        }
    }

    pub(super) const fn state(&self) -> SessionState {
        self.state.get()
    }

    pub(super) const fn is_open(&self) -> bool {
        self.state.is_open()
    }

    pub(super) const fn deadlines(&self) -> &ClosingDeadlines {
        &self.deadlines
    }

    /// To S_KEYING_SENT.
    pub(super) fn keying_sent(&mut self) {
        self.state.keying_sent();
    }

    /// To S_OPEN, if it is opening.
    pub(super) fn opened(&mut self) -> bool {
        self.state.opened()
    }

    /// Whether flows can be opened: it is open or opening, and does not drain.
    pub(super) fn takes_flows(&self) -> bool {
        !self.state().has_ended() && !self.draining
    }

    /// It closes once all is acknowledged.
    pub(super) const fn is_draining(&self) -> bool {
        self.draining && !self.held
    }

    /// The session closes at the deadline at the latest. Unless it is held, nothing more is written from now on. False:
    /// it has ended.
    pub(super) fn drain(&mut self, deadline: Instant, held: bool) -> bool {
        let begins = !self.state().has_ended();
        if begins {
            (self.draining, self.held) = (true, held);
            self.deadlines.end.set(deadline);
        }
        begins
    }

    /// It is held no longer. False: it does not drain, or was not held.
    pub(super) fn drain_now(&mut self) -> bool {
        core::mem::take(&mut self.held) && self.draining
    }

    /// In S_OPEN: without flows for `limit` it closes.
    pub(super) fn update_idle(&mut self, now: Instant, has_flows: bool, limit: Duration) {
        if has_flows {
            self.deadlines.idle.clear();
        } else {
            self.deadlines.idle.set_if_unset(now + limit);
        }
    }

    /// The time without flows begins anew.
    pub(super) const fn restart_idle(&mut self) {
        self.deadlines.idle.clear();
    }

    /// Does what is due. Returns what ends the session now.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Ending> {
        if self.deadlines.idle.take_due(now) {
            return Some(Ending::Orderly(CloseReason::Idle));
        }
        if self.deadlines.retry.take_due(now) && self.state() == SessionState::NearClose {
            self.request = true;
            self.deadlines.retry.set(now + CLOSE_RETRY_INTERVAL);
        }
        let over = self.deadlines.end.take_due(now);
        over.then(|| if self.state().has_ended() { Ending::Expired } else { Ending::from(CloseMode::Orderly) })
    }

    /// Whether the far end does not know yet that the session is over: it is open, opening, or in S_NEARCLOSE with neither
    /// an acknowledgement nor a close of the far end's own.
    pub(super) fn awaits_far_end(&self) -> bool {
        match self.state() {
            SessionState::HelloSent | SessionState::KeyingSent | SessionState::Open => true,
            SessionState::NearClose => !self.far_closes,
            SessionState::FarCloseLinger | SessionState::Closed | SessionState::OpenFailed => false,
        }
    }

    /// Goes where `ending` leads from the present state.
    pub(super) fn end(&mut self, now: Instant, ending: Ending) -> Change {
        if self.state().is_opening() {
            return self.fail(ending);
        }
        match ending {
            Ending::Failed(_) => Change::default(),
            Ending::Orderly(reason) => self.near_close(now, reason),
            Ending::Abrupt(reason) => {
                let change = self.close(reason);
                self.acknowledgement |= change.closed;
                change
            }
            Ending::Silent(reason) => self.close_silently(reason),
            // To acknowledge an acknowledgement would let two ends do so for ever.
            Ending::Acknowledged => self.close_silently(CloseReason::Far),
            Ending::Expired => self.close(CloseReason::Near),
            Ending::Requested => self.far_close(now),
        }
    }

    /// To S_OPEN_FAILED.
    fn fail(&mut self, ending: Ending) -> Change {
        let reason = if let Ending::Failed(reason) = ending { reason } else { OpenFailure::Cancelled };
        let drained = self.draining;
        self.state.open_failed();
        self.leave();
        Change { ended: Some(Cause::Failed(reason)), drained, closed: false }
    }

    /// To S_NEARCLOSE.
    fn near_close(&mut self, now: Instant, reason: CloseReason) -> Change {
        let drained = self.draining;
        if !self.state.near_close() {
            return Change::default();
        }
        self.leave();
        self.request = true;
        self.deadlines.retry.set(now + CLOSE_RETRY_INTERVAL);
        self.deadlines.end.set(now + NEARCLOSE_TIMEOUT);
        Change { ended: Some(Cause::Closed(reason)), drained, closed: false }
    }

    /// To S_FARCLOSE_LINGER, or S_CLOSED at the end of what was begun here. In all of S_OPEN, S_NEARCLOSE and
    /// S_FARCLOSE_LINGER the request is acknowledged.
    fn far_close(&mut self, now: Instant) -> Change {
        if self.state().is_closed() {
            return Change::default();
        }
        let (drained, left) = (self.draining, self.state.far_close());
        if left {
            self.leave();
            self.deadlines.end.set(now + FARCLOSE_LINGER);
        }
        self.far_closes = true;
        self.acknowledgement = true;
        Change { ended: left.then_some(Cause::Closed(CloseReason::Far)), drained, closed: false }
    }

    /// To S_CLOSED.
    fn close(&mut self, reason: CloseReason) -> Change {
        let (was_open, drained) = (self.is_open(), self.draining);
        if !self.state.closed() {
            return Change::default();
        }
        self.leave();
        self.request = false;
        self.farewell = Vec::new();
        Change { ended: was_open.then_some(Cause::Closed(reason)), drained, closed: true }
    }

    /// The same, and nothing is said any more.
    fn close_silently(&mut self, reason: CloseReason) -> Change {
        let change = self.close(reason);
        self.acknowledgement = false;
        change
    }

    /// A state is left with all its deadlines.
    fn leave(&mut self) {
        self.deadlines = ClosingDeadlines::default();
        self.draining = false;
        self.held = false;
        self.far_closes = false;
    }

    /// A close, or the acknowledgement of one, is to be sent.
    pub(super) const fn is_due(&self) -> bool {
        self.request || self.acknowledgement
    }

    /// Gives chunks, one after the other, to go along with each Session Close Request.
    ///
    /// These are acknowledgements of what has arrived. Those that were sent before may be lost. The far end would then
    /// hear of the close alone, and take for lost what this end has delivered: flows only exist in S_OPEN (RFC 7016 §3.5.5).
    pub(super) fn set_farewell(&mut self, chunks: &[u8]) {
        self.farewell = chunks.into();
    }

    /// What is due of the closes into a packet.
    pub(super) fn write(&mut self, packet: &mut PacketWriter<'_>) {
        self.acknowledgement = self.acknowledgement && !packet.push(&CloseAck);
        if self.request {
            let before = packet.mark();
            // In front, as the close ends the flows.
            let mut farewell = Chunks::new(&self.farewell);
            while let Some((kind, payload)) = farewell.next_raw() {
                packet.push_with(kind, |out| out.extend_from_slice(payload));
            }
            self.request = !packet.push(&Close);
            if self.request {
                packet.rollback(before);
                self.request = !packet.push(&Close);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Mode, PacketHeader};
    use Ending::{Abrupt, Acknowledged, Expired, Failed, Orderly, Requested, Silent};
    use SessionState::{Closed, FarCloseLinger, NearClose, OpenFailed};
    use alloc::vec::Vec;

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1_000)
    }

    /// A session that has gone through some endings at second 0.
    fn after(opened: bool, endings: &[Ending]) -> Lifecycle {
        let mut lifecycle = Lifecycle::new();
        assert!(!opened || lifecycle.opened());
        endings.iter().for_each(|ending| {
            lifecycle.end(at(0), *ending);
        });
        lifecycle
    }

    #[test]
    fn every_ending_of_an_opening_session_lets_it_fail() {
        let timed_out = OpenFailure::TimedOut;
        for (ending, told) in [
            (Failed(timed_out), timed_out),
            (Orderly(CloseReason::Near), OpenFailure::Cancelled),
            (Abrupt(CloseReason::Near), OpenFailure::Cancelled),
            (Silent(CloseReason::Overridden), OpenFailure::Cancelled),
        ] {
            let mut lifecycle = after(false, &[]);
            assert!(lifecycle.drain(at(9), false));
            let change = lifecycle.end(at(0), ending);
            assert_eq!(change, Change { ended: Some(Cause::Failed(told)), drained: true, closed: false });
            assert_eq!((lifecycle.state(), lifecycle.is_due()), (OpenFailed, false));
            assert_eq!(lifecycle.end(at(0), ending), Change::default(), "only once");
            assert_eq!(lifecycle.deadlines().end.get(), None);
        }
    }

    #[test]
    fn what_is_said_of_an_end_and_when_the_user_is_told() {
        let reason = CloseReason::Stalled;
        let far = CloseReason::Far;
        // The ending after these, the state after it, whether a request and an acknowledgement are due, and what is told.
        for (before, ending, state, due, told) in [
            (&[][..], Orderly(reason), NearClose, (true, false), Some(reason)),
            (&[], Abrupt(reason), Closed, (false, true), Some(reason)),
            (&[], Silent(reason), Closed, (false, false), Some(reason)),
            (&[], Requested, FarCloseLinger, (false, true), Some(far)),
            (&[], Acknowledged, Closed, (false, false), Some(far)),
            (&[Orderly(reason)], Orderly(reason), NearClose, (true, false), None),
            (&[Orderly(reason)], Requested, NearClose, (true, true), None),
            (&[Orderly(reason)], Acknowledged, Closed, (false, false), None),
            (&[Orderly(reason)], Abrupt(reason), Closed, (false, true), None),
            (&[Orderly(reason)], Expired, Closed, (false, false), None),
            (&[Requested], Orderly(reason), FarCloseLinger, (false, true), None),
            (&[Requested], Acknowledged, Closed, (false, false), None),
            (&[Requested], Expired, Closed, (false, true), None),
            (&[Abrupt(reason)], Silent(reason), Closed, (false, false), None),
            (&[Silent(reason)], Abrupt(reason), Closed, (false, false), None),
            (&[Silent(reason)], Requested, Closed, (false, false), None),
        ] {
            let mut lifecycle = after(true, before);
            let was = lifecycle.state();
            let change = lifecycle.end(at(0), ending);
            let context = alloc::format!("{ending:?} after {before:?}");
            assert_eq!(lifecycle.state(), state, "{context}");
            assert_eq!((lifecycle.request, lifecycle.acknowledgement), due, "{context}");
            assert_eq!(change.ended, told.map(Cause::Closed), "{context}");
            assert_eq!(change.closed, state == Closed && was != Closed, "{context}");
        }
    }

    #[test]
    fn a_request_is_repeated_until_its_time_is_over() {
        let mut lifecycle = after(true, &[Orderly(CloseReason::Near)]);
        let mut bytes = Vec::new();
        let mut requests = 0;
        let (now, ending) = loop {
            if lifecycle.is_due() {
                requests += 1;
                lifecycle.write(&mut PacketWriter::new(&mut bytes, 100));
            }
            let ClosingDeadlines { retry, end, .. } = lifecycle.deadlines();
            let now = Instant::earliest([retry.get(), end.get()]).unwrap();
            if let Some(ending) = lifecycle.handle_timeout(now) {
                break (now, ending);
            }
        };
        assert!(matches!(ending, Expired));
        assert_eq!(now, at(0) + NEARCLOSE_TIMEOUT);
        assert_eq!(requests, NEARCLOSE_TIMEOUT.as_secs() / CLOSE_RETRY_INTERVAL.as_secs());
    }

    #[test]
    fn an_acknowledgement_is_written_once_as_soon_as_it_fits() {
        let mut lifecycle = after(true, &[Requested]);
        let mut written = |limit| {
            let (mut bytes, header) = (Vec::new(), PacketHeader::new(Mode::Initiator));
            let mut packet = PacketWriter::new(&mut bytes, header.encoded_len() + limit);
            assert!(packet.header(&header));
            lifecycle.write(&mut packet);
            (packet.len() - header.encoded_len(), lifecycle.is_due())
        };
        assert_eq!([written(2), written(3), written(100)], [(0, true), (3, false), (0, false)]);
    }

    #[test]
    fn a_request_goes_alone_where_its_farewell_does_not_fit_too() {
        for (room, written) in [(10, 10), (9, 3)] {
            let mut lifecycle = after(true, &[Orderly(CloseReason::Near)]);
            lifecycle.set_farewell(&[0x51, 0, 4, 1, 2, 3, 4]);
            let (mut bytes, header) = (Vec::new(), PacketHeader::new(Mode::Initiator));
            let mut packet = PacketWriter::new(&mut bytes, header.encoded_len() + room);
            assert!(packet.header(&header));
            lifecycle.write(&mut packet);
            assert_eq!((packet.len() - header.encoded_len(), lifecycle.is_due()), (written, false));
        }
    }

    #[test]
    fn an_idle_session_closes_in_order_and_one_with_flows_does_not() {
        let limit = Duration::from_secs(60);
        for has_flows in [false, true] {
            let mut lifecycle = after(true, &[]);
            lifecycle.update_idle(at(0), false, limit);
            lifecycle.update_idle(at(30), has_flows, limit);
            assert!(lifecycle.handle_timeout(at(59)).is_none());
            let ending = lifecycle.handle_timeout(at(60));
            assert_eq!(matches!(ending, Some(Orderly(CloseReason::Idle))), !has_flows);
        }
    }
}
