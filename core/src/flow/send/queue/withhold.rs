//! A receiver that acknowledges what was lost is sent more and more, and its line is flooded. No sender sees that by what is
//! acknowledged alone.
//!
//! So once in a while a fragment of a bulk is given its number and kept back, until what was sent after it is acknowledged.
//! An honest receiver reports a gap there, as after a loss. One that conceals losses acknowledges the number, which was
//! never sent. It cannot know which gaps are losses, and one mistake ends the session (RFC 7016 §5, §3.6.1.3). To wait and
//! see does not help: a loss that is not acknowledged for a round trip has been noticed. One that conceals only gaps of two
//! numbers or more is not found out, nor is one whose window is less than twice what is in flight.

use super::{Next, SendQueue};

/// So many fragments of its length must wait to be sent after it.
const FOLLOWERS: usize = 8;

impl SendQueue {
    /// Keeps back the next fragment, of `len` bytes. False: there is one already, or too little after it.
    pub(in crate::flow::send) fn withhold(&mut self, len: usize) -> bool {
        let is_bulk = self.uncut > len.saturating_mul(FOLLOWERS) && len > 0 && !self.closing;
        let is_kept =
            |id: &u64| self.messages.get(*id).is_some_and(|message| message.retransmit && message.finish_by.is_none());
        if self.withheld().is_some()
            || !is_bulk
            || self.next() != Some(Next::New)
            || !self.unsent.front().is_some_and(is_kept)
        {
            return false;
        }
        self.withheld = self.preview(len).and_then(|cut| self.commit(cut));
        self.withheld.is_some()
    }

    /// The number that was never sent, unless it was abandoned since: then it may be forwarded over, and acknowledged.
    fn withheld(&self) -> Option<u64> {
        let is_kept =
            |sequence: &u64| self.window.get(*sequence).is_some_and(|kept| !kept.ever_sent && !kept.abandoned);
        self.withheld.filter(is_kept)
    }

    /// Whether a range that is acknowledged has the number that was never sent.
    pub(in crate::flow::send) fn is_withheld_in(&self, from: u64, to: u64) -> bool {
        self.withheld().is_some_and(|sequence| (from..=to).contains(&sequence))
    }

    /// What was sent with this number is acknowledged or lost: if it came after the fragment that is kept back, that may go.
    pub(in crate::flow::send) fn release_before(&mut self, sequence: u64) {
        if let Some(withheld) = self.withheld().filter(|withheld| *withheld < sequence) {
            self.withheld = None;
            self.lost.insert(withheld);
        }
    }

    /// The fragment that is kept back, if nothing comes after it after all that could be acknowledged or lost.
    pub(super) fn withheld_last(&self) -> Option<u64> {
        let is_last = self.unsent.is_empty() || self.window.span() >= self.max_span as usize;
        self.withheld().filter(|_| is_last && self.outstanding == 0)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::config::SendOptions;
    use crate::event::EventQueue;
    use crate::flow::tests::link::SEND;
    use crate::trace::AbandonCause;

    /// Twenty messages, of which the first is kept back, and the second is sent.
    fn withholding() -> (SendQueue, EventQueue) {
        let (mut queue, mut events) = (SendQueue::new(SEND), EventQueue::default());
        for _ in 0..20 {
            queue.push(Bytes::from_static(&[7; 100]), SendOptions::default(), &mut events);
        }
        assert!(queue.withhold(100) && !queue.withhold(100), "one at a time");
        assert_eq!(queue.next(), Some(Next::New));
        let cut = queue.preview(100).unwrap();
        assert_eq!(queue.commit(cut), Some(2));
        assert!(!queue.sent(2, 1, 100));
        (queue, events)
    }

    #[test]
    fn what_is_kept_back_goes_when_what_came_after_it_is_acknowledged_or_lost() {
        for lost in [false, true] {
            let (mut queue, mut events) = withholding();
            assert!(queue.is_withheld_in(0, 1) && queue.is_withheld_in(0, 2) && !queue.is_withheld_in(2, 9));
            assert_eq!(queue.forward_sequence_number(3), 0, "the receiver waits for it");
            assert_eq!(queue.next(), Some(Next::New));
            if lost {
                queue.lost(2, super::super::LossEpoch::NONE, &mut events);
            } else {
                assert!(queue.acked(2, 2, &mut events).is_some());
                queue.release_before(2);
            }
            assert_eq!(queue.next(), Some(Next::Numbered(1)));
            assert!(!queue.sent(1, 2, 100), "it is sent for the first time");
            assert!(!queue.is_withheld_in(0, 9));
        }
    }

    #[test]
    fn what_is_kept_back_is_sent_if_nothing_follows_after_all() {
        let (mut queue, mut events) = (SendQueue::new(SEND), EventQueue::default());
        for _ in 0..20 {
            queue.push(Bytes::from_static(&[7; 100]), SendOptions::default(), &mut events);
        }
        assert!(queue.withhold(100));
        (1..20).for_each(|id| assert!(queue.abandon(id, AbandonCause::User, &mut events)));
        let mut sent = false;
        for tsn in 1..30 {
            let Some(Next::Numbered(sequence)) = queue.next() else { break };
            sent |= sequence == 1;
            queue.sent(sequence, tsn, 100);
        }
        assert!(sent);
    }

    #[test]
    fn a_message_that_was_abandoned_may_be_acknowledged_though_a_part_of_it_was_kept_back() {
        let (mut queue, mut events) = withholding();
        queue.abandon(0, AbandonCause::User, &mut events);
        assert!(!queue.is_withheld_in(0, 2));
    }
}
