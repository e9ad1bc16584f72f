//! How many data packets may be sent between acknowledgements (RFC 7016 §3.5.2.3).

use crate::congestion::PacketFacts;
use crate::params::BURST_PACKETS;
use crate::time::Instant;

/// Acknowledgements handled together that count for the limit.
const MAX_ACKS_TOGETHER: u16 = 32;

/// The data packets since the last acknowledgement or timeout, and their limit.
#[derive(Debug)]
pub(in crate::session) struct Burst {
    /// DATA_PACKET_COUNT.
    packets: u16,
    /// What it may reach: six, or as many more as would have been sent between acknowledgements handled together.
    limit: u16,
    last_ack: Option<Instant>,
    /// Before the last acknowledgement the window was full.
    was_full: bool,
}

impl Burst {
    pub(super) const fn new() -> Self {
        Self { packets: 0, limit: BURST_PACKETS, last_ack: None, was_full: false }
    }

    /// Nothing more may be sent before an acknowledgement or a timeout.
    pub(super) const fn is_over(&self) -> bool {
        self.packets >= self.limit
    }

    /// Packets sent since the last acknowledgement or timeout.
    pub(in crate::session) const fn packets(&self) -> u16 {
        self.packets
    }

    /// So many packets count as sent since then.
    pub(in crate::session) const fn set_packets(&mut self, packets: u16) {
        self.packets = packets;
    }

    /// Nothing was acknowledged yet.
    pub(super) const fn is_first(&self) -> bool {
        self.last_ack.is_none()
    }

    /// A packet with user data was sent.
    pub(super) const fn on_data_sent(&mut self) {
        self.packets = self.packets.saturating_add(1);
    }

    /// A packet of acknowledgements came: six more data packets may be sent. `window`: the congestion window before it.
    ///
    /// Drivers hand over packets in batches. Had they come one by one, with a backlog, six data packets could have
    /// followed each, and have filled the window again. So those of one instant with nothing sent in between add up, to
    /// some extent. A window that was full before the first counts as full before the others. Those that
    /// acknowledge nothing new let no more out than one does.
    pub(super) fn on_ack_packet(&mut self, now: Instant, backlog: bool, window: u64, facts: &mut PacketFacts) {
        let pre_ack_outstanding = &mut facts.pre_ack_outstanding;
        let together = facts.acked_bytes > 0 && backlog && self.last_ack == Some(now) && self.packets == 0;
        if together {
            self.limit = (self.limit + BURST_PACKETS).min(BURST_PACKETS * MAX_ACKS_TOGETHER);
            if self.was_full {
                *pre_ack_outstanding = window.max(*pre_ack_outstanding);
            }
        } else {
            self.limit = BURST_PACKETS;
        }
        self.was_full = *pre_ack_outstanding >= window;
        self.last_ack = Some(now);
        self.packets = 0;
    }

    /// There is nothing to send: what comes later is not for the acknowledgements of now to let out.
    pub(super) const fn end(&mut self) {
        self.limit = BURST_PACKETS;
    }

    /// All in flight counts as lost: a burst begins anew.
    pub(super) const fn restart(&mut self) {
        self.packets = 0;
        self.limit = BURST_PACKETS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_handled_together_let_out_six_packets_each() {
        let now = Instant::from_millis(5_000);
        let mut burst = Burst::new();
        for _ in 0..3 {
            burst.on_ack_packet(now, true, 1_000, &mut PacketFacts { acked_bytes: 100, ..PacketFacts::default() });
        }
        (0..3 * BURST_PACKETS).for_each(|sent| {
            assert!(!burst.is_over(), "after {sent}");
            burst.on_data_sent();
        });
        assert!(burst.is_over());
        assert_eq!(burst.packets(), 3 * BURST_PACKETS);
    }
}
