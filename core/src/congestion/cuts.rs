//! One cut of the window for each window of data, and its way back.

use super::PacketFacts;

/// Whether losses cut the window now, and whether the last cut was for nothing.
///
/// After a cut, the bytes then in flight must be acknowledged or declared lost before the next cut or any growth (RFC 5681
/// §4.3, RFC 6582). Where packets come out of order, what was declared lost may come after all. If all of it does, nothing
/// was lost, and the cut is taken back (as in RFC 4015). With a congestion mark there is congestion, whatever comes late.
#[derive(Debug)]
pub(super) struct Cuts {
    /// Bytes in flight at the last cut that are neither acknowledged nor lost yet.
    recovery: u64,
    /// While the last cut can be taken back: bytes declared lost since, less those of spurious losses.
    lost: Option<u64>,
}

/// What a packet means for the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It is to be cut.
    Cut,
    /// The last cut was for nothing. `grow`: as after [`Grow`](Self::Grow), otherwise.
    TakeBack { grow: bool },
    /// It is cut already, or something was lost.
    Hold,
    /// It may grow, if it was full.
    Grow,
}

impl Cuts {
    pub(super) const fn new() -> Self {
        Self { recovery: 0, lost: None }
    }

    pub(super) fn on_packet(&mut self, facts: &PacketFacts) -> Verdict {
        let in_recovery = self.recovery > 0;
        self.recovery = self.recovery.saturating_sub(facts.acked_bytes.saturating_add(facts.lost_bytes));
        if facts.any_loss && !in_recovery {
            self.recovery = facts.outstanding;
            self.lost = (!facts.any_mark).then_some(facts.lost_bytes);
            return Verdict::Cut;
        }
        let grow = !facts.any_loss && !in_recovery;
        if self.take_back(facts) {
            self.recovery = 0;
            return Verdict::TakeBack { grow };
        }
        if grow { Verdict::Grow } else { Verdict::Hold }
    }

    fn take_back(&mut self, facts: &PacketFacts) -> bool {
        let Some(lost) = self.lost.filter(|_| !facts.any_mark) else {
            self.lost = None;
            return false;
        };
        let lost = lost.saturating_add(facts.lost_bytes).saturating_sub(facts.spurious_bytes);
        let back = facts.spurious_bytes > 0 && lost == 0;
        self.lost = (!back).then_some(lost);
        back
    }

    /// Everything counts as lost, or there is another path.
    pub(super) fn forget(&mut self) {
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::vec::Vec;
    use core::time::Duration;

    use quickcheck::quickcheck;

    use super::super::{CongestionControl, Controller, Reaction, TimeCritical};
    use super::*;
    use crate::time::Instant;

    const PLAIN: TimeCritical = TimeCritical { sent_here: false, fast_grow: true };

    fn controllers() -> [Box<dyn Controller>; 2] {
        [CongestionControl::Rfc7016, CongestionControl::Cubic].map(|control| {
            let mut controller = control.controller(1_200);
            // Past slow start, by a mark: that is not taken back.
            let mark = PacketFacts { any_mark: true, ..facts(&*controller, 0, 1_200, 0) };
            controller.on_packet(Instant::ORIGIN, &mark, PLAIN);
            controller
        })
    }

    fn facts(controller: &dyn Controller, acked: u64, lost: u64, spurious: u64) -> PacketFacts {
        let flight = controller.window();
        PacketFacts {
            pre_ack_outstanding: flight,
            acked_bytes: acked,
            any_acks: true,
            any_naks: lost > 0,
            any_loss: lost > 0,
            lost_bytes: lost,
            spurious_bytes: spurious,
            outstanding: flight.saturating_sub(acked + lost),
            segment: 1_200,
            srtt: Some(Duration::from_millis(40)),
            ..PacketFacts::default()
        }
    }

    quickcheck! {
        /// A far end may leave out what it has, and acknowledge it later; or acknowledge what it never got. The window is
        /// never larger for it than it was before the cut.
        fn what_is_taken_back_is_no_more_than_what_was_there(packets: Vec<(u8, u8)>) -> bool {
            let mut subjects = controllers().map(|controller| (controller, 0));
            packets.iter().cycle().take(20 * packets.len()).enumerate().all(|(number, (acked, what))| {
                let now = Instant::from_millis(5 * number as u64);
                let (acked, lost, spurious) = match what % 4 {
                    0 => (0, 1_200, 0),
                    1 => (0, 0, 1_200),
                    2 => (0, 1_200, 2_400),
                    _ => (u64::from(*acked) * 20, 0, 0),
                };
                subjects.iter_mut().all(|(controller, before_cut)| {
                    let before = controller.window();
                    let facts = facts(&**controller, acked, lost, spurious);
                    if controller.on_packet(now, &facts, PLAIN) == Reaction::Cut {
                        *before_cut = before;
                    }
                    acked > 0 || controller.window() <= before.max(*before_cut)
                })
            })
        }
    }
}
