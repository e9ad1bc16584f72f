//! Explicit Congestion Notification with the experimental report chunk 0xec: its one byte counts, modulo 256, the
//! packets received in this session with a Congestion Experienced mark.
//!
//! A receiver of marked packets puts a report before the first acknowledgement of the next packet that has any. A
//! sender takes the growth of the count for congestion, and goes on marking only while marks are seen to arrive: so
//! long as acknowledgements of its data come with reports. Middleboxes that clear marks, and peers that do not
//! report, are found out by [`SILENT_ACKS`] packets of acknowledgements in a row without one.

use core::time::Duration;

use crate::time::Instant;
use crate::transmit::Ecn as Mark;

/// Packets acknowledging data, in a row and without a report, that end the marking of data.
///
/// More than one, as reports are lost like other packets, and window updates come without one.
pub(in crate::session) const SILENT_ACKS: u8 = 10;
/// A count that seems to have grown by this much or more has gone back: the reports came in another order.
const REORDERED: u8 = 0xe0;

/// Both directions of one session.
#[derive(Debug)]
pub(in crate::session) struct EcnState {
    enabled: bool,
    /// Marked packets have come since the last report was sent.
    report_due: bool,
    ce_received: u64,
    marking: bool,
    /// A report came since the path changed.
    confirmed: bool,
    silent_acks: u8,
    ce_reported: u8,
    last_reaction: Option<Instant>,
}

impl EcnState {
    pub(in crate::session) const fn new(enabled: bool) -> Self {
        Self {
            enabled,
            report_due: false,
            ce_received: 0,
            marking: enabled,
            confirmed: false,
            silent_acks: 0,
            ce_reported: 0,
            last_reaction: None,
        }
    }

    pub(in crate::session) const fn ce_received(&self) -> u64 {
        self.ce_received
    }

    /// Whether marks arrive at the far end, once that is known of this path.
    pub(in crate::session) const fn arrives(&self) -> Option<bool> {
        match (self.enabled, self.marking, self.confirmed) {
            (true, true, true) => Some(true),
            (true, false, _) => Some(false),
            (false, ..) | (true, true, false) => None,
        }
    }

    /// How a packet with user data is to be marked.
    pub(in crate::session) fn mark(&self) -> Option<Mark> {
        self.marking.then_some(Mark::Ect0)
    }

    /// A packet came, marked like this.
    pub(in crate::session) fn on_packet(&mut self, mark: Option<Mark>) {
        if self.enabled && mark.is_some() {
            self.report_due = true;
            self.ce_received += u64::from(mark == Some(Mark::Ce));
        }
    }

    /// The count to report now, if a report is due.
    pub(in crate::session) fn report(&self) -> Option<u8> {
        self.report_due.then_some(self.ce_received.to_le_bytes()[0])
    }

    pub(in crate::session) fn report_sent(&mut self) {
        self.report_due = false;
    }

    /// A report came. Whether it tells of congestion: at most once a round trip, as one window is answered once
    /// (RFC 3168 §6.1.2).
    pub(in crate::session) fn on_report(&mut self, count: u8, now: Instant, srtt: Option<Duration>) -> bool {
        if !self.marking {
            return false;
        }
        (self.silent_acks, self.confirmed) = (0, true);
        let grown = count.wrapping_sub(self.ce_reported);
        if grown == 0 || grown >= REORDERED {
            return false;
        }
        self.ce_reported = count;
        // Nothing is measured before the first echo.
        let round_trip = srtt.unwrap_or(Duration::ZERO);
        let fresh = self.last_reaction.is_none_or(|last| now.saturating_duration_since(last) >= round_trip);
        if fresh {
            self.last_reaction = Some(now);
        }
        fresh
    }

    /// A packet was processed that acknowledged data sent here.
    pub(in crate::session) fn on_acks(&mut self, with_report: bool) {
        if self.marking && !with_report {
            self.silent_acks += 1;
            self.marking = self.silent_acks < SILENT_ACKS;
        }
    }

    /// Another path may treat marks otherwise: it gets a trial of its own. The far end's count goes on.
    pub(in crate::session) fn on_path_change(&mut self) {
        self.marking = self.enabled;
        (self.silent_acks, self.confirmed) = (0, false);
        self.last_reaction = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Instant = Instant::from_millis(1_000);

    #[test]
    fn a_report_is_due_after_marked_packets_only_and_counts_modulo_256() {
        let mut ecn = EcnState::new(true);
        ecn.on_packet(None);
        assert_eq!(ecn.report(), None);
        ecn.on_packet(Some(Mark::Ect0));
        assert_eq!(ecn.report(), Some(0));
        ecn.report_sent();
        assert_eq!(ecn.report(), None);
        for _ in 0..257 {
            ecn.on_packet(Some(Mark::Ce));
        }
        assert_eq!((ecn.report(), ecn.ce_received()), (Some(1), 257));
        let mut off = EcnState::new(false);
        off.on_packet(Some(Mark::Ce));
        assert_eq!((off.report(), off.mark()), (None, None));
    }

    #[test]
    fn growth_is_congestion_once_a_round_trip_and_a_step_back_is_not() {
        let srtt = Some(Duration::from_millis(50));
        let mut ecn = EcnState::new(true);
        assert!(!ecn.on_report(0, AT, srtt));
        assert!(ecn.on_report(0xdf, AT, srtt));
        assert!(!ecn.on_report(0xe0, AT + Duration::from_millis(49), srtt), "the same round trip");
        assert!(ecn.on_report(0xe1, AT + Duration::from_millis(50), srtt));
        assert!(!ecn.on_report(0xe1_u8.wrapping_add(0xe0), AT + Duration::from_secs(1), srtt), "reordered");
        assert!(ecn.on_report(0xe2, AT + Duration::from_secs(2), srtt));
    }

    #[test]
    fn marking_stops_when_reports_do_and_begins_anew_on_another_path() {
        let mut ecn = EcnState::new(true);
        assert_eq!(ecn.arrives(), None);
        for _ in 0..100 {
            ecn.on_report(0, AT, None);
            ecn.on_acks(true);
        }
        assert_eq!(ecn.arrives(), Some(true));
        for _ in 1..SILENT_ACKS {
            ecn.on_acks(false);
        }
        assert_eq!(ecn.mark(), Some(Mark::Ect0));
        ecn.on_report(0, AT, None);
        for _ in 0..SILENT_ACKS {
            assert_eq!(ecn.mark(), Some(Mark::Ect0));
            ecn.on_acks(false);
        }
        assert_eq!((ecn.mark(), ecn.arrives()), (None, Some(false)));
        assert!(!ecn.on_report(5, AT, None), "no answer to marks that were not sent");
        ecn.on_path_change();
        assert_eq!((ecn.mark(), ecn.arrives()), (Some(Mark::Ect0), None));
        assert_eq!(EcnState::new(false).arrives(), None);
    }
}
